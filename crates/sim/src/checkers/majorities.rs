//! Majorities by their definition, apart from the code that is checked.

use std::collections::BTreeSet;

use kontiki_raft::{Configuration, NodeId};

/// Whether those of whom `is_in` is true are a quorum: more than half of each half that there is.
pub(super) fn is_quorum(configuration: &Configuration, is_in: impl Fn(NodeId) -> bool) -> bool {
    let halves = [&configuration.voters, &configuration.outgoing];
    let mut halves = halves.into_iter().filter(|half| !half.is_empty()).peekable();
    halves.peek().is_some() && halves.all(|half| 2 * half.iter().filter(|voter| is_in(**voter)).count() > half.len())
}

/// Two quorums, one of each configuration, that have nobody in common, if there are any. Looks at every set of voters.
pub(super) fn apart(one: &Configuration, other: &Configuration) -> Option<(Vec<NodeId>, Vec<NodeId>)> {
    let lists = [&one.voters, &one.outgoing, &other.voters, &other.outgoing];
    let voters: Vec<NodeId> = lists.into_iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
    assert!(voters.len() <= VOTERS_MAX, "{} voters are too many to look at every set of them", voters.len());
    let is_in = |set: u32, voter: NodeId| voters.binary_search(&voter).is_ok_and(|place| set & (1 << place) != 0);
    let mut sets = 0..1_u32 << voters.len();
    let found =
        sets.find(|set| is_quorum(one, |voter| is_in(*set, voter)) && is_quorum(other, |voter| !is_in(*set, voter)))?;
    Some(voters.iter().partition(|voter| is_in(found, **voter)))
}

const VOTERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(voters: &[u64]) -> Configuration {
        Configuration::of(voters.iter().copied().map(NodeId))
    }

    #[test]
    fn a_quorum_is_more_than_half_of_each_half() {
        let joint = Configuration { outgoing: vec![NodeId(4), NodeId(5)], ..of(&[1, 2, 3]) };
        assert!(is_quorum(&of(&[1, 2, 3]), |voter| voter.0 <= 2));
        assert!(!is_quorum(&of(&[1, 2, 3, 4]), |voter| voter.0 <= 2));
        assert!(!is_quorum(&joint, |voter| voter.0 <= 4));
        assert!(is_quorum(&joint, |voter| voter.0 != 3));
        assert!(!is_quorum(&Configuration::default(), |_| true));
    }

    #[test]
    fn one_step_at_a_time_has_quorums_that_meet_and_two_have_not() {
        assert_eq!(apart(&of(&[1, 2, 3]), &of(&[1, 2, 3, 4])), None);
        assert!(apart(&of(&[1, 2, 3]), &of(&[1, 2, 3, 4, 5])).is_some());
        let joint = Configuration { outgoing: of(&[1, 2, 3]).voters, ..of(&[3, 4, 5, 6, 7]) };
        assert_eq!(apart(&of(&[1, 2, 3]), &joint), None);
        assert_eq!(apart(&joint, &joint.left()), None);
    }
}
