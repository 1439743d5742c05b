//! Majorities, plain and joint: the one place that counts. Votes, commitment, read rounds and check-quorum all ask here
//! (bugs M08, M19).

use crate::configuration::Configuration;
use crate::planted::planted;
use crate::types::NodeId;

/// The largest value that a quorum has reached: the majority's median of each half, and of both halves the smaller.
///
/// With match indexes this is what may be committed, with acknowledged rounds what is confirmed, with times of last
/// contact since when a quorum has been heard. Zero where nobody votes.
pub(crate) fn reached(configuration: &Configuration, value: impl Fn(NodeId) -> u64) -> u64 {
    if planted(8) {
        return reached_with(configuration, &configuration.learners, value);
    }
    let new = majority_reached(&configuration.voters, &value);
    let old = majority_reached(&configuration.outgoing, &value);
    match (new, old) {
        (Some(new), Some(_)) if planted(9) => new,
        (Some(new), Some(old)) => new.min(old), // §4.3: agreement needs separate majorities of both
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => 0,
    }
}

/// What as many as are a majority of the voters have reached, `others` among them: the wrong count of planted bugs.
pub(crate) fn reached_with(configuration: &Configuration, others: &[NodeId], value: impl Fn(NodeId) -> u64) -> u64 {
    let count = |half: &[NodeId]| {
        let mut values: Vec<u64> = half.iter().chain(others).map(|id| value(*id)).collect();
        values.sort_unstable_by(|one, other| other.cmp(one));
        values.get(half.len() / 2).copied().filter(|_| !half.is_empty())
    };
    count(&configuration.voters).unwrap_or(0).min(count(&configuration.outgoing).unwrap_or(u64::MAX))
}

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Won,
    Lost,
    Open,
}

/// How an election stands, given each voter's answer so far.
pub(crate) fn outcome(configuration: &Configuration, vote: impl Fn(NodeId) -> Option<bool>) -> Outcome {
    if reached(configuration, |voter| u64::from(vote(voter) == Some(true))) == 1 {
        Outcome::Won
    } else if reached(configuration, |voter| u64::from(vote(voter) != Some(false))) == 0 {
        Outcome::Lost
    } else {
        Outcome::Open
    }
}

/// Whether `node` alone is a quorum.
pub(crate) fn is_sole_voter(configuration: &Configuration, node: NodeId) -> bool {
    reached(configuration, |voter| u64::from(voter == node)) == 1
}

/// Groups up to this size are counted without allocating.
const SMALL: usize = 9;

fn majority_reached(voters: &[NodeId], value: &impl Fn(NodeId) -> u64) -> Option<u64> {
    if voters.is_empty() {
        return None;
    }
    let mut small = [0; SMALL];
    let mut large;
    let values = if voters.len() <= SMALL {
        &mut small[..voters.len()]
    } else {
        large = vec![0; voters.len()];
        &mut large[..]
    };
    for (slot, voter) in values.iter_mut().zip(voters) {
        *slot = value(*voter);
    }
    values.sort_unstable();
    // Of n sorted upwards, everything from place (n - 1) / 2 on is a majority: 2 of 3, 3 of 4, 3 of 5.
    Some(values[(values.len() - 1) / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, half by half: the largest value that more than half of the voters have reached.
    fn naive(voters: &[NodeId], values: &[u64]) -> Option<u64> {
        let reached_by = |bound: u64| voters.iter().filter(|voter| values[voter.0 as usize] >= bound).count();
        (0..=9).rev().find(|bound| reached_by(*bound) * 2 > voters.len()).filter(|_| !voters.is_empty())
    }

    fn naive_joint(configuration: &Configuration, values: &[u64]) -> u64 {
        match (naive(&configuration.voters, values), naive(&configuration.outgoing, values)) {
            (Some(new), Some(old)) => new.min(old),
            (one, other) => one.or(other).unwrap_or(0),
        }
    }

    /// What each of `places` members is, as the digits of a number to the base `kinds`: every combination once.
    fn combinations(places: u32, kinds: u64) -> impl Iterator<Item = Vec<u64>> {
        (0..kinds.pow(places)).map(move |number| (0..places).map(|place| number / kinds.pow(place) % kinds).collect())
    }

    fn members(kinds: &[u64], fit: impl Fn(u64) -> bool) -> Vec<NodeId> {
        (0..kinds.len() as u64).filter(|place| fit(kinds[*place as usize])).map(NodeId).collect()
    }

    /// Every group of up to seven with every assignment of four values (bugs C08, C15).
    #[test]
    fn a_majority_is_what_its_definition_says() {
        let mut checked = 0;
        // Zero: no voter; 1 to 4: a voter that has reached so much.
        for kinds in combinations(7, 5) {
            let configuration = Configuration { voters: members(&kinds, |kind| kind > 0), ..Configuration::default() };
            assert_eq!(reached(&configuration, |voter| kinds[voter.0 as usize]), naive_joint(&configuration, &kinds));
            checked += 1;
        }
        assert_eq!(checked, 78_125);
    }

    /// Every pair of halves among seven members, with every choice of who has reached something. More values than two
    /// say no more: a count only ever asks who is at or above a bound.
    #[test]
    fn joint_majorities_are_what_their_definition_says() {
        let mut checked = 0;
        // Zero: no voter. Else which halves it is in, and whether it has reached something.
        for kinds in combinations(7, 7) {
            let halves = |kind: u64| if kind == 0 { 0 } else { (kind - 1) % 3 + 1 };
            let values: Vec<u64> = kinds.iter().map(|kind| u64::from(*kind > 3)).collect();
            let configuration = Configuration {
                voters: members(&kinds, |kind| halves(kind) & 1 != 0),
                outgoing: members(&kinds, |kind| halves(kind) & 2 != 0),
                ..Configuration::default()
            };
            let expected = naive_joint(&configuration, &values);
            assert_eq!(reached(&configuration, |voter| values[voter.0 as usize]), expected, "{configuration:?}");
            checked += 1;
        }
        assert_eq!(checked, 823_543);
    }

    /// Every pair of halves over four members with every combination of yes, no and silence (bug M22).
    #[test]
    fn elections_are_decided_as_soon_as_they_can_be() {
        for kinds in combinations(4, 4) {
            let configuration = Configuration {
                voters: members(&kinds, |kind| kind & 1 != 0),
                outgoing: members(&kinds, |kind| kind & 2 != 0),
                ..Configuration::default()
            };
            if configuration.voters.is_empty() && configuration.outgoing.is_empty() {
                continue;
            }
            for answers in combinations(4, 3) {
                let vote = |voter: NodeId| [None, Some(true), Some(false)][answers[voter.0 as usize] as usize];
                let possible =
                    |open: bool| reached(&configuration, |voter| u64::from(vote(voter).unwrap_or(open))) == 1;
                let expected = match (possible(false), possible(true)) {
                    (true, _) => Outcome::Won,
                    (false, true) => Outcome::Open,
                    (false, false) => Outcome::Lost,
                };
                assert_eq!(outcome(&configuration, vote), expected);
            }
        }
    }

    #[test]
    fn large_groups_are_counted_too() {
        let configuration = Configuration::of((0..21).map(NodeId));
        assert_eq!(reached(&configuration, |voter| voter.0), 10);
        assert!(!is_sole_voter(&configuration, NodeId(3)));
        assert!(is_sole_voter(&Configuration::of([NodeId(3)]), NodeId(3)));
        assert_eq!(reached(&Configuration::default(), |_| 7), 0);
    }
}
