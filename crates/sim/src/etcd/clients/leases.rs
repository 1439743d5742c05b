//! Leases: granted, kept alive, revoked, or left to end by themselves with all keys that hang on them.

use std::time::Duration;

use kontiki_kv::{Command, Reply};

use crate::etcd::client::Client;
use crate::etcd::requests::{KeySpace, put, read};
use crate::etcd::{Answer, Request};

/// How often the end of a lease that nobody renews is looked for.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// Renewals are tried so often, and so many times, while a lease ends.
const RENEWS_EVERY: Duration = Duration::from_millis(40);
const RENEWALS_AT_THE_END: u32 = 40;

/// A lease that was granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) id: i64,
    ttl: Duration,
}

/// Lives through one lease after the other.
pub(crate) async fn run(mut client: Client, space: KeySpace, thinks: Duration) {
    while client.thinks(thinks).await {
        let seconds = 2 + client.chance.below(9);
        let Some(lease) = grant(&mut client, seconds).await else { continue };
        for _ in 0..client.chance.below(4) {
            let (key, value) = (space.key(&mut client.chance), client.value(0));
            client.write(Command::Put(put(key, value, lease.id))).await;
        }
        if client.chance.one_in(2) {
            let until = client.site.spawner.now() + Duration::from_secs(client.chance.below(20));
            let keeper = client.companion();
            let (spawner, rest) = (client.site.spawner.clone(), client.stopping());
            tokio::select! {
                biased;
                () = rest => {}
                () = spawner.sleep_until(until) => {}
                () = keep_alive(keeper, lease) => {}
            }
        }
        if client.chance.one_in(2) {
            revoke(&mut client, lease).await;
        } else {
            let until = client.site.spawner.now() + 2 * lease.ttl;
            if client.chance.one_in(2) {
                renew_at_the_end(&mut client, lease).await;
            }
            while client.site.spawner.now() < until && client.thinks(LOOKS_EVERY).await {
                client.call(Request::TimeToLive(lease.id)).await;
            }
        }
        client.read(read(space.all()), false).await;
    }
}

/// Gets a lease.
pub(crate) async fn grant(client: &mut Client, seconds: u64) -> Option<Lease> {
    // As a rule the client's library lets the store choose the identity.
    let id = if client.chance.one_in(2) { 0 } else { i64::try_from(client.chance.next_u64() >> 2).unwrap_or(1) };
    let ttl = i64::try_from(seconds).unwrap_or(i64::MAX);
    match client.write(Command::LeaseGrant { id, ttl }).await {
        Answer::Written(Reply::LeaseGrant { id, ttl }, _) => {
            Some(Lease { id, ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or(0)) })
        }
        _ => None,
    }
}

/// Renews a lease three times in its time, until it is lost: it is not there any more, or nobody has answered for its whole
/// time.
pub(crate) async fn keep_alive(mut keeper: Client, lease: Lease) {
    let mut renewed = keeper.site.spawner.now();
    while keeper.site.spawner.now() < renewed + lease.ttl {
        let asked = keeper.site.spawner.now();
        match keeper.call(Request::KeepAlive(lease.id)).await {
            Answer::KeepAlive(0) => return,
            Answer::KeepAlive(_) => {
                renewed = asked;
                keeper.site.spawner.sleep(lease.ttl / 3).await;
            }
            _ => keeper.backs_off().await,
        }
    }
}

/// Asks for more time again and again while the lease ends.
async fn renew_at_the_end(client: &mut Client, lease: Lease) {
    client.site.spawner.sleep(lease.ttl).await;
    for _ in 0..RENEWALS_AT_THE_END {
        if !client.thinks(RENEWS_EVERY).await {
            return;
        }
        if let Answer::KeepAlive(0) = client.call(Request::KeepAlive(lease.id)).await {
            return;
        }
    }
}

/// Ends a lease.
pub(crate) async fn revoke(client: &mut Client, lease: Lease) {
    client.write_again(Command::LeaseRevoke { id: lease.id }).await;
}
