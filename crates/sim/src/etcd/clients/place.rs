//! Standing in line, etcd's recipe behind locks and elections, as its client library does it: who wants to be first creates
//! a key under the same prefix, bound to a lease; the key that was created first is first.

use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{
    DeleteRangeRequest, EventKind, RangeRequest, RequestOp, ResponseOp, SortOrder, SortTarget, TxnRequest,
};
use kontiki_store::WatchCreate;

use super::leases::Lease;
use crate::etcd::Told;
use crate::etcd::client::Client;
use crate::etcd::requests::{created_at, oldest, one, prefix, put, read};
use crate::etcd::subscription::Subscription;

/// So long at most a client waits in line.
const WAITS_MAX: Duration = Duration::from_secs(20);

/// A place in a line.
pub(crate) struct Place {
    /// The key that holds it.
    pub(crate) key: Bytes,
    /// Revision of its creation: the order of the line, and what guards the writes of whoever is first.
    pub(crate) created: i64,
    line: Bytes,
}

impl Place {
    /// Takes a place at the end, or the one that this lease already has: so it may be tried again.
    pub(crate) async fn take(client: &mut Client, line: Bytes, lease: Lease, value: Bytes) -> Option<Place> {
        let key: Bytes = [line.as_ref(), format!("{:x}", lease.id).as_bytes()].concat().into();
        let first = RequestOp::Range(oldest(prefix(&line)));
        let txn = TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: vec![RequestOp::Put(put(key.clone(), value, lease.id)), first.clone()],
            failure: vec![RequestOp::Range(read(one(key.clone()))), first],
        };
        let (reply, revision) = client.transact(txn).await?;
        let created = match reply.responses.first() {
            Some(ResponseOp::Range(found, _)) => found.kvs.first()?.create_revision,
            _ => revision,
        };
        Some(Place { key, created, line })
    }

    /// Waits until nobody stands before it, and the place is still there. False where it is given up.
    pub(crate) async fn reaches_front(&self, client: &mut Client) -> bool {
        let until = client.site.spawner.now() + WAITS_MAX;
        let before = RangeRequest {
            max_create_revision: self.created - 1,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Create,
            limit: 1,
            ..read(prefix(&self.line))
        };
        while client.site.spawner.now() < until && !client.is_stopping() {
            let Some((found, revision)) = client.read(before.clone(), false).await else { continue };
            let Some(neighbour) = found.kvs.into_iter().next() else { return self.stands(client).await };
            let spawner = client.site.spawner.clone();
            let gone = await_deletion(client, neighbour.key, revision + 1);
            spawner.timeout(until.saturating_sub(spawner.now()), gone).await;
        }
        false
    }

    async fn stands(&self, client: &mut Client) -> bool {
        match client.read(read(one(self.key.clone())), false).await {
            Some((found, _)) => found.kvs.first().is_some_and(|kv| kv.create_revision == self.created),
            None => false,
        }
    }

    /// Does something on condition that the place still stands. None where nobody knows whether it was done.
    pub(crate) async fn guarded(&self, client: &mut Client, operation: RequestOp) -> Option<bool> {
        let compare = vec![created_at(self.key.clone(), self.created)];
        let txn = TxnRequest { compare, success: vec![operation], failure: Vec::new() };
        Some(client.transact(txn).await?.0.succeeded)
    }

    /// Gives the place up.
    pub(crate) async fn leave(&self, client: &mut Client) {
        let deletion = DeleteRangeRequest { range: one(self.key.clone()), prev_kv: false };
        self.guarded(client, RequestOp::DeleteRange(deletion)).await;
    }
}

/// Watches a key from a revision on until it is deleted, the connection breaks, or history does not go back so far.
async fn await_deletion(client: &mut Client, key: Bytes, from: i64) {
    let Some(mut subscription) = Subscription::open(client).await else { return };
    let name = client.site.watch_name();
    let wish = WatchCreate { range: one(key), start_revision: from, no_put: true, ..WatchCreate::default() };
    subscription.create(name, &wish);
    loop {
        let news = tokio::select! {
            biased;
            () = client.stopping() => return,
            news = subscription.next() => news,
        };
        match news.map(|news| news.told) {
            Some(Told::Created(_) | Told::Progress(_)) => {}
            Some(Told::Events(events)) if events.iter().all(|event| event.kind == EventKind::Put) => {}
            Some(Told::Events(_) | Told::Canceled(_)) => return,
            None => return client.turn_away(),
        }
    }
}
