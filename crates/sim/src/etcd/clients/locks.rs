//! Locks: a lease, a place in line, and behind it writes that name the place as their condition, so that a holder who has
//! lost the lock without knowing writes nothing.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::RequestOp;

use super::leases::{self, Lease};
use super::place::Place;
use crate::etcd::client::Client;
use crate::etcd::requests::{one, put, read};

/// Takes a lock now and then, and works under it.
pub(crate) async fn run(mut client: Client, thinks: Duration) {
    while client.thinks(thinks).await {
        let seconds = 4 + client.chance.below(6);
        let Some(lease) = leases::grant(&mut client, seconds).await else { continue };
        let keeper = client.companion();
        tokio::select! {
            biased;
            () = leases::keep_alive(keeper, lease) => continue, // lost: whatever was under way is void
            () = hold(&mut client, lease) => {}
        }
        leases::revoke(&mut client, lease).await;
    }
}

async fn hold(client: &mut Client, lease: Lease) {
    let name = client.chance.below(2);
    let line: Bytes = format!("lock/{name}/").into();
    let Some(place) = Place::take(client, line, lease, Bytes::new()).await else { return };
    if place.reaches_front(client).await {
        work(client, &place, format!("locked/{name}").into()).await;
    }
    if !client.chance.one_in(8) {
        place.leave(client).await; // else the end of the lease does it
    }
}

async fn work(client: &mut Client, place: &Place, key: Bytes) {
    for _ in 0..1 + client.chance.below(4) {
        client.read(read(one(key.clone())), false).await;
        let value = client.value(0);
        if place.guarded(client, RequestOp::Put(put(key.clone(), value, 0))).await != Some(true) {
            return;
        }
        if !client.thinks(Duration::from_millis(300)).await {
            return;
        }
    }
}
