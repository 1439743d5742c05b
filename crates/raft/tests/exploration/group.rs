//! The whole group as a handful of numbers, and what may happen to it next.
//!
//! The network is the set of all parcels ever sent: each may arrive at any time, again and again, or never. This is more
//! than any number of losses, repetitions and reorderings, and needs no budget. A parcel that can never matter again is
//! left out ([`Member::is_done_with`]). A crash and the restart after it are one event: a member that is down is one to
//! which nothing happens.

use std::collections::HashMap;
use std::sync::Arc;

use kontiki_raft::{Input, NodeId};

use super::history::{self, History};
use super::member::{Happening, Member, Parcel, What};
use super::projection::{self, Fingerprint};
use super::scenario::{Budget, Scenario};
use super::sights::Sights;
use super::tables::{Copy, Kept, Table};

/// One state of everything.
#[derive(Clone, Debug)]
pub struct State {
    pub members: Vec<u32>,
    pub network: Vec<u32>,
    pub history: u32,
    pub left: Budget,
}

/// Something that happens to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Receive(u32),
    Campaign,
    WriteDone,
    Crash(u8),
    Propose(u8),
    Change(u8),
    Tick,
    Suspect(u8),
    Compact,
}

/// An event and the place of its member.
pub type Action = (u8, Event);

/// Everything that was ever seen, by number.
#[derive(Default)]
pub struct Tables {
    pub members: Table<Member>,
    pub parcels: Table<Parcel>,
    histories: Table<History>,
}

/// A turn that was taken before.
struct Taken {
    member: u32,
    sent: Vec<u32>,
    sights: Sights,
    violation: Option<String>,
}

/// One worker's view: its copies of the tables, and the turns it has seen.
pub struct Worker<'a> {
    pub scenario: &'a Scenario,
    pub tables: &'a Tables,
    members: Copy<Member>,
    parcels: Copy<Parcel>,
    histories: Copy<History>,
    turns: HashMap<(u32, Event), Arc<Taken>>,
    pub sights: Sights,
}

impl<'a> Worker<'a> {
    pub fn new(scenario: &'a Scenario, tables: &'a Tables) -> Worker<'a> {
        let (members, parcels, histories) = (Copy::default(), Copy::default(), Copy::default());
        Worker { scenario, tables, members, parcels, histories, turns: HashMap::new(), sights: Sights::default() }
    }

    pub fn member(&mut self, number: u32) -> Arc<Kept<Member>> {
        Arc::clone(self.members.get(&self.tables.members, number))
    }

    pub fn parcel(&mut self, number: u32) -> Arc<Kept<Parcel>> {
        Arc::clone(self.parcels.get(&self.tables.parcels, number))
    }

    fn history(&mut self, number: u32) -> Arc<Kept<History>> {
        Arc::clone(self.histories.get(&self.tables.histories, number))
    }

    fn keep_member(&self, member: Member) -> u32 {
        self.tables.members.number(projection::fingerprints(&format!("{member:?}"), &self.scenario.symmetry), member)
    }

    fn keep_parcel(&self, parcel: Parcel) -> u32 {
        self.tables.parcels.number(projection::fingerprints(&format!("{parcel:?}"), &self.scenario.symmetry), parcel)
    }

    fn keep_history(&self, history: History) -> u32 {
        self.tables
            .histories
            .number(projection::fingerprints(&format!("{history:?}"), &self.scenario.symmetry), history)
    }

    /// Where the exploration begins.
    pub fn first(&mut self) -> State {
        let members = self.scenario.members.iter().map(|member| self.keep_member(member.clone())).collect();
        let history = self.keep_history(History::default());
        let mut state = State { members, network: Vec::new(), history, left: self.scenario.budget };
        if self.scenario.led {
            state = self.lead(state);
        }
        state
    }

    /// The first member is elected and commits its first entry everywhere; all that was on its way is lost.
    fn lead(&mut self, mut state: State) -> State {
        state = self.after(&state, (0, Event::Campaign)).expect("no fault yet").expect("may stand");
        for _ in 0..40 {
            for place in 0..state.members.len() {
                while !self.member(state.members[place]).value.writes.is_empty() {
                    state =
                        self.after(&state, (place_of(place), Event::WriteDone)).expect("no fault yet").expect("writes");
                }
            }
            let Some(parcel) = state.network.first().copied() else { break };
            let to = self.parcel(parcel).value.to.0 - 1;
            let action = (place_of(usize::try_from(to).expect("small")), Event::Receive(parcel));
            state = self.after(&state, action).expect("no fault yet").expect("arrives");
            state.network.retain(|other| *other != parcel);
        }
        let followed = self.member(state.members[1]).value.node.commit_index().0 == 1;
        assert!(followed && state.network.is_empty(), "the first leader has settled");
        state
    }

    /// Everything that may happen in a state.
    pub fn actions(&mut self, state: &State, actions: &mut Vec<Action>) {
        actions.clear();
        for parcel in &state.network {
            let to = self.parcel(*parcel).value.to.0 - 1;
            actions.push((u8::try_from(to).expect("few members"), Event::Receive(*parcel)));
        }
        for (place, number) in state.members.iter().enumerate() {
            let kept = self.member(*number);
            let mut push = |event| actions.push((place_of(place), event));
            self.own_actions(&kept.value, state, &mut push);
        }
    }

    fn own_actions(&self, member: &Member, state: &State, push: &mut impl FnMut(Event)) {
        let (leads, left) = (member.leads(), state.left);
        if !leads && member.node.term().0 < self.scenario.terms {
            push(Event::Campaign);
        }
        if !member.writes.is_empty() {
            push(Event::WriteDone);
        }
        if left.crashes > 0 {
            (0..=member.writes.len()).for_each(|kept| push(Event::Crash(place_of(kept))));
        }
        if leads && left.proposals > 0 {
            push(Event::Propose(left.proposals));
        }
        if leads && left.changes > 0 {
            (0..self.scenario.changes.len()).for_each(|change| push(Event::Change(place_of(change))));
        }
        if leads && left.ticks > 0 {
            push(Event::Tick);
        }
        if left.suspicions > 0
            && let Some(leader) = member.node.leader().filter(|leader| *leader != member.id)
        {
            push(Event::Suspect(u8::try_from(leader.0).expect("few members")));
        }
        if left.compactions > 0 && member.node.applied() > member.log.compacted.index {
            push(Event::Compact);
        }
    }

    /// What a state becomes by an action; none where that is beyond the bounds; else what is violated.
    pub fn after(&mut self, state: &State, (place, event): Action) -> Result<Option<State>, String> {
        let place = usize::from(place);
        let taken = self.turn(state.members[place], event);
        self.sights.add(taken.sights);
        if let Some(violation) = &taken.violation {
            return Err(violation.clone());
        }
        let mut next = state.clone();
        next.members[place] = taken.member;
        next.left = spent(state.left, event);
        let member = self.member(taken.member);
        if member.value.node.term().0 > self.scenario.terms {
            return Ok(None);
        }
        let durable_before = self.member(state.members[place]).value.disk.hard_state.term;
        for parcel in &taken.sent {
            if let Err(gap) = next.network.binary_search(parcel) {
                next.network.insert(gap, *parcel);
            }
        }
        let moved =
            durable_before != member.value.disk.hard_state.term || member.value.node.role() != self.role(state, place);
        if moved || !taken.sent.is_empty() {
            self.clear_network(&mut next);
        }
        self.check(state, &mut next, place)?;
        Ok(Some(next))
    }

    fn role(&mut self, state: &State, place: usize) -> kontiki_raft::RoleKind {
        self.member(state.members[place]).value.node.role()
    }

    fn clear_network(&mut self, state: &mut State) {
        let members = std::mem::take(&mut state.members);
        state.network.retain(|number| {
            let parcel = self.parcel(*number);
            let receiver = self.member(members[usize::try_from(parcel.value.to.0 - 1).expect("small")]);
            !matches!(&parcel.value.what, What::Message(message, _) if receiver.value.is_done_with(message))
        });
        state.members = members;
    }

    fn check(&mut self, before: &State, next: &mut State, place: usize) -> Result<(), String> {
        let kept: Vec<Arc<Kept<Member>>> = next.members.clone().into_iter().map(|number| self.member(number)).collect();
        let all: Vec<&Member> = kept.iter().map(|kept| &kept.value).collect();
        let former = self.member(before.members[place]);
        let mut history = self.history(before.history);
        if let Some(changed) = history.value.after(all[place], &all)? {
            next.history = self.keep_history(changed);
            history = self.history(next.history);
            for leader in &all {
                history.value.check_leader(leader)?;
            }
        }
        if next.members[place] == before.members[place] {
            return Ok(());
        }
        history.value.check_leader(all[place])?;
        history.value.check_member(all[place], &former.value)?;
        for other in all.iter().filter(|other| other.id != all[place].id) {
            history::check_pair(all[place], other)?;
        }
        history::note_group(&all, &history.value, &mut self.sights);
        Ok(())
    }

    fn turn(&mut self, number: u32, event: Event) -> Arc<Taken> {
        if let Some(taken) = self.turns.get(&(number, event)) {
            return Arc::clone(taken);
        }
        let member = self.member(number);
        let happening = self.happening(event);
        let (next, outcome) = member.value.turn(&happening, &self.scenario.rules);
        let sent = outcome.sent.into_iter().map(|parcel| self.keep_parcel(parcel)).collect();
        let (sights, violation) = (outcome.sights, outcome.violation);
        let taken = Arc::new(Taken { member: self.keep_member(next), sent, sights, violation });
        self.turns.insert((number, event), Arc::clone(&taken));
        taken
    }

    pub fn happening(&mut self, event: Event) -> Happening {
        match event {
            Event::Receive(parcel) => Happening::Receive(self.parcel(parcel).value.clone()),
            Event::Campaign => Happening::Input(Input::Campaign),
            Event::WriteDone => Happening::WriteDone,
            Event::Crash(survivors) => Happening::Crash(usize::from(survivors)),
            Event::Propose(number) => Happening::Propose(number),
            Event::Change(change) => Happening::Change(self.scenario.changes[usize::from(change)].clone()),
            Event::Tick => Happening::Input(Input::Tick),
            Event::Suspect(peer) => Happening::Input(Input::Suspect(NodeId(u64::from(peer)))),
            Event::Compact => Happening::Compact,
        }
    }

    /// The least of the state's fingerprints under all renamings: the same for states that only names tell apart.
    pub fn fingerprint(&mut self, state: &State) -> Fingerprint {
        let mut sums = vec![projection::of_numbers(state.left.numbers()); self.scenario.symmetry.len()];
        let mut add = |parts: &[Fingerprint]| {
            sums.iter_mut().zip(parts).for_each(|(sum, part)| *sum = sum.wrapping_add(*part));
        };
        for number in &state.members {
            add(&self.members.get(&self.tables.members, *number).fingerprints);
        }
        for number in &state.network {
            add(&self.parcels.get(&self.tables.parcels, *number).fingerprints);
        }
        add(&self.histories.get(&self.tables.histories, state.history).fingerprints);
        sums.into_iter().min().expect("the identity is among the renamings")
    }
}

fn spent(left: Budget, event: Event) -> Budget {
    let mut left = left;
    match event {
        Event::Receive(_) | Event::Campaign | Event::WriteDone => {}
        Event::Crash(_) => left.crashes -= 1,
        Event::Propose(_) => left.proposals -= 1,
        Event::Change(_) => left.changes -= 1,
        Event::Tick => left.ticks -= 1,
        Event::Suspect(_) => left.suspicions -= 1,
        Event::Compact => left.compactions -= 1,
    }
    left
}

fn place_of(place: usize) -> u8 {
    u8::try_from(place).expect("few members and writes")
}
