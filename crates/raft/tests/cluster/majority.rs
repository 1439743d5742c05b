//! Quorums by their definition, written for the tests alone: the core's own counting is one of the things that are tested.

use std::sync::Arc;

use kontiki_raft::{Configuration, NodeId};

/// Whether those of whom `agrees` is true can decide: more than half of each half that has voters.
pub fn decides(configuration: &Configuration, agrees: impl Fn(NodeId) -> bool) -> bool {
    let halves = [&configuration.voters, &configuration.outgoing];
    let mut with_voters = halves.into_iter().filter(|half| !half.is_empty()).peekable();
    with_voters.peek().is_some()
        && with_voters.all(|half| half.iter().filter(|voter| agrees(**voter)).count() * 2 > half.len())
}

/// Whether two configurations could decide different things at the same time: with quorums that share nobody.
pub fn can_decide_apart(one: &Arc<Configuration>, two: &Arc<Configuration>) -> bool {
    let mut members = one.members();
    members.extend(two.members());
    members.sort_unstable();
    members.dedup();
    let place = |id: NodeId| members.binary_search(&id).expect("is a member of one of them");
    (0..1_u32 << members.len()).any(|side| {
        let inside = |id: NodeId| side & (1 << place(id)) != 0;
        decides(one, inside) && decides(two, |id| !inside(id))
    })
}
