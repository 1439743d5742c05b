//! Elections: the first in line leads, proclaims a few times, and resigns.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::RequestOp;

use super::leases::{self, Lease};
use super::place::Place;
use crate::etcd::client::Client;
use crate::etcd::requests::{oldest, prefix, put};

const LINE: &[u8] = b"election/";

/// Campaigns now and then; looks who leads otherwise.
pub(crate) async fn run(mut client: Client, thinks: Duration) {
    while client.thinks(thinks).await {
        if client.chance.one_in(2) {
            client.read(oldest(prefix(LINE)), false).await;
            continue;
        }
        let seconds = 4 + client.chance.below(6);
        let Some(lease) = leases::grant(&mut client, seconds).await else { continue };
        let keeper = client.companion();
        tokio::select! {
            biased;
            () = leases::keep_alive(keeper, lease) => continue,
            () = campaign(&mut client, lease) => {}
        }
        leases::revoke(&mut client, lease).await;
    }
}

async fn campaign(client: &mut Client, lease: Lease) {
    let value = client.value(0);
    let Some(place) = Place::take(client, Bytes::from_static(LINE), lease, value).await else { return };
    if place.reaches_front(client).await {
        for _ in 0..client.chance.below(4) {
            let says = client.value(0);
            let proclaim = RequestOp::Put(put(place.key.clone(), says, lease.id));
            if place.guarded(client, proclaim).await != Some(true) || !client.thinks(Duration::from_millis(500)).await {
                break;
            }
        }
    }
    place.leave(client).await;
}
