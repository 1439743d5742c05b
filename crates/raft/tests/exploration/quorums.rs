//! Quorums by their definition, apart from the core's arithmetic.

use kontiki_raft::{Configuration, NodeId};

/// A set of members, by bit.
pub type Members = u32;

pub fn bit(id: NodeId) -> Members {
    1 << id.0
}

/// Whether `set` has more than half of the voters, of both halves of a joint configuration.
pub fn is_quorum(configuration: &Configuration, set: Members) -> bool {
    let majority = |half: &[NodeId]| half.iter().filter(|id| set & bit(**id) != 0).count() * 2 > half.len();
    !configuration.voters.is_empty()
        && majority(&configuration.voters)
        && (configuration.outgoing.is_empty() || majority(&configuration.outgoing))
}

/// Whether any two quorums of the two configurations have somebody in common.
pub fn share(one: &Configuration, other: &Configuration) -> bool {
    let all = 0..32;
    all.clone().filter(|set| is_quorum(one, *set)).all(|set| !is_quorum(other, !set & 31))
}

#[test]
fn sharing_is_what_it_says() {
    let of = |ids: &[u64]| Configuration::of(ids.iter().copied().map(NodeId));
    assert!(share(&of(&[1, 2, 3]), &of(&[1, 2, 3, 4])));
    assert!(!share(&of(&[1, 2, 3]), &of(&[1, 3, 4])));
    assert!(!share(&of(&[1, 2, 3]), &of(&[1, 4])));
    let joint = Configuration { outgoing: of(&[1, 2, 3]).voters, ..of(&[1, 4]) };
    assert!(share(&of(&[1, 2, 3]), &joint) && share(&joint, &of(&[1, 4])));
}
