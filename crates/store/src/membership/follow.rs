//! A member's connections follow the membership: whoever comes is let in and dialed, whoever moves is dialed elsewhere, and
//! whoever leaves is told so when it calls.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use kontiki_raft::NodeId;

use crate::identity::Identity;
use crate::start::address;
use crate::store::Store;

/// Keeps the connections as the membership is, for as long as the store lives.
pub(crate) async fn follow(store: Store) {
    let parts = store.0.clone();
    let own = parts.identity.member_id;
    let mut configuration = parts.link.configuration.subscribe();
    let mut described = parts.link.members_changed.subscribe();
    let mut told = None;
    // What the log held at the start counts before it is applied.
    let mut logged = parts.logged.clone();
    loop {
        let applied = configuration.borrow_and_update().clone();
        logged.take_if(|logged| *logged == applied);
        described.borrow_and_update();
        match store.directory() {
            // A state that is being mended says nothing, and one that waits to join knows nobody: what there is, stays.
            _ if parts.link.stateless.load(Relaxed) => {}
            Ok(directory) if directory.members.is_empty() => {}
            Ok(directory) => {
                let mut others = directory.others(own);
                if let Some(Ok(ahead)) = logged.as_ref().map(|logged| store.directory_of(logged)) {
                    let ahead = ahead.others(own).into_iter().filter(|(id, _)| !directory.removed.contains(id));
                    for (id, urls) in ahead {
                        others.entry(id).or_insert(urls);
                    }
                }
                let dialed = |(id, urls): (&u64, &Vec<String>)| (NodeId(*id), addresses(urls, &parts.identity, *id));
                let peers: Vec<(NodeId, Vec<String>)> = others.iter().map(dialed).collect();
                let removed: BTreeSet<NodeId> = directory.removed.iter().map(|id| NodeId(*id)).collect();
                let learns = directory.members.iter().any(|member| member.id == own && member.is_learner);
                parts.link.learner.store(learns, Relaxed);
                let next = Some((peers, removed));
                if next != told {
                    let (peers, removed) = next.clone().unwrap_or_default();
                    parts.peers.set_members(peers, removed);
                    told = next;
                }
            }
            Err(error) => tracing::error!(%error, "cannot read the members"),
        }
        tokio::select! {
            changed = configuration.changed() => if changed.is_err() { return },
            changed = described.changed() => if changed.is_err() { return },
        }
    }
}

/// Where a member is dialed: at what the state says, then at all that was ever heard of it. The state may be older than the
/// member's last move.
pub(crate) fn addresses(urls: &[String], identity: &Identity, id: u64) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    for url in urls.iter().chain(&identity.urls_of(id)) {
        let address = address(url);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}
