//! What the group has done, and the properties of Figure 3.2 between its members: checked at every new state.

use kontiki_raft::{Index, NodeId, Term};

use super::disk::{Command, Entry};
use super::member::Member;
use super::quorums;
use super::sights::{Sight, Sights};

/// What a state does not tell but properties need: who led which term, and what was committed in which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub leaders: Vec<(Term, NodeId)>,
    /// From index 1 on; with the term whose leader counted it.
    pub committed: Vec<(Entry, Term)>,
}

impl History {
    pub fn commit(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    fn entry(&self, index: Index) -> &(Entry, Term) {
        &self.committed[usize::try_from(index.0 - 1).expect("a short log")]
    }

    /// Notes what `member` has become; says what is wrong about it. None: nothing that history is made of.
    pub fn after(&self, member: &Member, all: &[&Member]) -> Result<Option<History>, String> {
        let mut next = None;
        let (id, term) = (member.id, member.node.term());
        if member.leads() {
            match self.leaders.iter().find(|(of, _)| *of == term) {
                Some((_, leader)) if *leader == id => {}
                Some((_, leader)) => return Err(format!("Election Safety: {leader} and {id} both lead term {term}")),
                None => {
                    let leaders = &mut next.get_or_insert_with(|| self.clone()).leaders;
                    leaders.push((term, id));
                    leaders.sort_unstable();
                }
            }
        }
        for index in (self.commit().0 + 1..=member.node.commit_index().0).map(Index) {
            let Some(entry) = member.log.entry(index) else {
                return Err(format!("{id} compacted entry {index}, which nobody has committed"));
            };
            check_durable(member, index, entry, all)?;
            next.get_or_insert_with(|| self.clone()).committed.push((entry.clone(), term));
        }
        Ok(next)
    }

    /// State Machine Safety, and that nothing committed leaves a disk.
    pub fn check_member(&self, member: &Member, before: &Member) -> Result<(), String> {
        let id = member.id;
        let first = member.log.compacted.index;
        for index in (first.0.max(1)..=member.node.commit_index().0).map(Index) {
            let (entry, _) = self.entry(index);
            let same = member.log.term_at(index) == Some(entry.term)
                && member.log.entry(index).is_none_or(|held| held == entry);
            if !same {
                return Err(format!("State Machine Safety: {id} has another entry committed at {index}"));
            }
        }
        for (index, held) in before.disk.log.indexed() {
            let committed = index <= self.commit() && self.entry(index).0 == *held;
            let kept = index <= member.disk.log.compacted.index || member.disk.log.entry(index) == Some(held);
            if committed && !kept {
                return Err(format!("{id} loses {index}, which is committed, from its disk"));
            }
        }
        // I9, bug M02: a change waits for the one before it.
        let pending = member.log.configurations().iter().filter(|(index, _)| *index > self.commit()).count();
        if pending > 1 {
            return Err(format!("{id} has {pending} configurations that are not committed"));
        }
        Ok(())
    }

    /// Leader Completeness (I4).
    pub fn check_leader(&self, leader: &Member) -> Result<(), String> {
        if !leader.leads() {
            return Ok(());
        }
        let term = leader.node.term();
        for (place, (entry, committed_in)) in self.committed.iter().enumerate() {
            let index = Index(place as u64 + 1);
            let held = index < leader.log.compacted.index || leader.log.term_at(index) == Some(entry.term);
            if *committed_in < term && !held {
                return Err(format!("Leader Completeness: {} leads term {term} without entry {index}", leader.id));
            }
        }
        Ok(())
    }
}

/// I8: what is committed is durable on a quorum of the configuration in force.
fn check_durable(member: &Member, index: Index, entry: &Entry, all: &[&Member]) -> Result<(), String> {
    let holds = |other: &&&Member| {
        let log = &other.disk.log;
        index <= log.compacted.index || log.entry(index) == Some(entry)
    };
    let holders = all.iter().filter(holds).map(|other| quorums::bit(other.id)).sum();
    let configuration = member.node.configuration();
    if quorums::is_quorum(configuration, holders) {
        Ok(())
    } else {
        Err(format!("{} commits {index} in term {}, which no quorum holds durably", member.id, member.node.term()))
    }
}

/// What must hold between two members: Log Matching (I3), and that a leader's belief is true (I25).
pub fn check_pair(one: &Member, other: &Member) -> Result<(), String> {
    for log in [&one.log, &one.disk.log] {
        for against in [&other.log, &other.disk.log] {
            if let Some(index) = log.mismatch(against) {
                return Err(format!("Log Matching: {} and {} differ at or before {index}", one.id, other.id));
            }
        }
    }
    check_belief(one, other)?;
    check_belief(other, one)
}

fn check_belief(leader: &Member, peer: &Member) -> Result<(), String> {
    // Who has gone on to a later term may have replaced what the deposed leader knew.
    if !leader.leads() || peer.node.term() > leader.node.term() {
        return Ok(());
    }
    for (id, matched) in leader.matches() {
        let held = leader.log.common(&peer.disk.log);
        if id == peer.id && matched > held {
            return Err(format!("{} believes that {id} holds {matched}, it holds {held}", leader.id));
        }
    }
    Ok(())
}

/// What is worth seeing in all members together.
pub fn note_group(all: &[&Member], history: &History, sights: &mut Sights) {
    if all.iter().filter(|member| member.leads()).count() > 1 {
        sights.note(Sight::TwoLeaders);
    }
    if history.committed.iter().any(|(entry, _)| entry.command != Command::Blank) {
        sights.note(Sight::Committed);
    }
    for leader in all.iter().filter(|member| member.leads()) {
        let known = |id: &NodeId| {
            let matched = leader.matches().into_iter().find(|(peer, _)| peer == id);
            matched.map_or(leader.node.durable_index(), |(_, index)| index)
        };
        for (index, entry) in leader.log.indexed().filter(|(index, _)| *index > history.commit()) {
            let holders = all.iter().filter(|member| known(&member.id) >= index);
            let holders = holders.map(|member| quorums::bit(member.id)).sum();
            let earlier = entry.term < leader.node.term() && entry.command != Command::Blank;
            if earlier && quorums::is_quorum(leader.node.configuration(), holders) {
                sights.note(Sight::HeldButNotCommitted);
            }
        }
    }
}
