//! The leader compares the members' states: whoever differs from the majority at the same entry is damaged.
//!
//! A member whose memory, disk or program has changed its state answers wrongly and does not know it. The digests of what
//! was applied make that visible as soon as a command meets the changed row. As in etcd, the alarm CORRUPT then names the
//! member, and the cluster takes no more writes until somebody has looked; where no majority tells who is right it names
//! nobody (member zero).

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::marks::{Mark, Marks};

/// How often members tell the leader their marks, and the leader compares them. Twice that is the time within which a
/// difference is found.
pub const EVERY: Duration = Duration::from_secs(5);

/// Whom the alarm names where nobody can tell which member is right.
const NOBODY: u64 = 0;

/// What a leader knows of the others' states.
#[derive(Debug, Default)]
pub struct Comparison {
    reports: BTreeMap<u64, Vec<Mark>>,
    compared: Duration,
    /// There was a difference, and not all members were heard at its index: they get time for another report.
    waits: bool,
}

/// States that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The entry.
    pub index: u64,
    /// Each member's digest there, as far as known.
    pub digests: BTreeMap<u64, u64>,
    /// The members that differ from the majority; zero alone where there is none.
    pub suspects: Vec<u64>,
}

impl Comparison {
    /// A member told its marks.
    pub fn report(&mut self, member: u64, marks: Vec<Mark>) {
        self.reports.insert(member, marks);
    }

    /// Forgets everything: this member does not lead any more.
    pub fn clear(&mut self) {
        *self = Comparison::default();
    }

    /// Compares what is known, where it is time to. `own` are the marks of this member, which leads.
    pub fn compare(&mut self, now: Duration, leader: u64, own: &Marks, members: &[u64]) -> Option<Difference> {
        if now.saturating_sub(self.compared) < EVERY {
            return None;
        }
        self.compared = now;
        self.reports.retain(|member, _| members.contains(member) && *member != leader);
        let Some((index, digests)) = self.difference(leader, own) else {
            self.waits = false;
            return None;
        };
        let suspects = match outvoted(&digests, members.len()) {
            Some(suspects) => suspects,
            None if digests.len() == members.len() || self.waits => vec![NOBODY],
            None => {
                self.waits = true;
                return None;
            }
        };
        self.waits = false;
        Some(Difference { index, digests, suspects })
    }

    /// The digests at an index where they differ: at the one that most members have a mark for, the newest of these.
    fn difference(&self, leader: u64, own: &Marks) -> Option<(u64, BTreeMap<u64, u64>)> {
        let marks = || self.reports.values().flatten();
        let differs = marks().filter(|mark| own.at(mark.index).is_some_and(|digest| digest != mark.digest));
        let known = |index: u64| marks().filter(|mark| mark.index == index).count();
        let index = differs.map(|mark| mark.index).max_by_key(|index| (known(*index), *index))?;
        let digest = |marks: &[Mark]| marks.iter().find(|mark| mark.index == index).map(|mark| mark.digest);
        let mut digests: BTreeMap<u64, u64> =
            self.reports.iter().filter_map(|(member, marks)| Some((*member, digest(marks)?))).collect();
        digests.extend(own.at(index).map(|digest| (leader, digest)));
        Some((index, digests))
    }
}

/// Who has another digest than more than half of all members have; none where no digest has so many.
fn outvoted(digests: &BTreeMap<u64, u64>, members: usize) -> Option<Vec<u64>> {
    let votes = |digest: u64| digests.values().filter(|other| **other == digest).count();
    let right = digests.values().copied().find(|digest| 2 * votes(*digest) > members)?;
    Some(digests.iter().filter(|(_, digest)| **digest != right).map(|(member, _)| *member).collect())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the members' states differ at entry {}:", self.index)?;
        for (member, digest) in &self.digests {
            write!(f, " member {member:x} has {digest:016x};")?;
        }
        match &self.suspects[..] {
            [NOBODY] => f.write_str(" no majority tells which of them is right"),
            suspects => {
                f.write_str(" damaged, by the majority:")?;
                suspects.iter().try_for_each(|member| write!(f, " {member:x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [u64; 3] = [1, 2, 3];

    /// Marks of the entries up to `last`, different from entry `differs` on.
    fn marks(last: u64, differs: u64) -> Marks {
        let mut marks = Marks::default();
        for index in 1..=last {
            marks.note(Mark { index, digest: index * 1_000 + u64::from(index >= differs) });
        }
        marks
    }

    fn at(rounds: u32) -> Duration {
        Duration::from_secs(100) + EVERY * rounds
    }

    #[test]
    fn the_majority_decides_who_is_damaged_even_if_that_is_the_leader() {
        for damaged in MEMBERS {
            let mut comparison = Comparison::default();
            let of = |member| marks(700, if member == damaged { 600 } else { u64::MAX });
            comparison.report(2, of(2).report());
            comparison.report(3, of(3).report());
            let difference = comparison.compare(at(0), 1, &of(1), &MEMBERS).unwrap();
            assert_eq!((difference.suspects, difference.digests.len()), (vec![damaged], 3));
            assert_eq!(difference.index, 700);
        }
    }

    #[test]
    fn equal_states_are_never_suspected_wherever_members_stand() {
        let mut comparison = Comparison::default();
        for (rounds, last) in [(0, 10), (1, 1_000), (2, 5_000), (3, 400_000)] {
            comparison.report(2, marks(last, u64::MAX).report());
            comparison.report(3, marks(last / 2, u64::MAX).report());
            assert_eq!(comparison.compare(at(rounds), 1, &marks(last + last / 3, u64::MAX), &MEMBERS), None);
        }
    }

    #[test]
    fn without_a_majority_nobody_is_named() {
        let mut comparison = Comparison::default();
        comparison.report(2, marks(300, 1).report());
        let own = marks(300, u64::MAX);
        let alone = comparison.compare(at(0), 1, &own, &[1, 2]).unwrap();
        assert_eq!(alone.suspects, vec![NOBODY]);
        // Of three members one is not heard: it gets time, and then nobody can tell.
        assert_eq!(comparison.compare(at(1), 1, &own, &MEMBERS), None);
        assert_eq!(comparison.compare(at(1), 1, &own, &MEMBERS), None, "it is not time to compare again");
        assert_eq!(comparison.compare(at(2), 1, &own, &MEMBERS).unwrap().suspects, vec![NOBODY]);
        assert_eq!(comparison.compare(at(3), 1, &own, &MEMBERS), None);
        comparison.report(3, marks(301, u64::MAX).report());
        let difference = comparison.compare(at(4), 1, &own, &MEMBERS).unwrap();
        assert_eq!((difference.suspects.clone(), difference.index), (vec![2], 300));
        assert_eq!(
            difference.to_string(),
            "the members' states differ at entry 300: member 1 has 00000000000493e0; member 2 has 00000000000493e1; \
             member 3 has 00000000000493e0; damaged, by the majority: 2"
        );
    }

    #[test]
    fn who_left_the_cluster_does_not_count() {
        let mut comparison = Comparison::default();
        comparison.report(2, marks(300, 1).report());
        assert_eq!(comparison.compare(at(0), 1, &marks(300, u64::MAX), &[1, 3]), None);
    }
}
