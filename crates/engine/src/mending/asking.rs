//! Whom to ask for what is lost, and when nobody can help any more.
//!
//! All other members are asked at once, so that one that is silent or damaged too costs no time. One of them, the carrier,
//! is asked for much, the others for little, so that a large loss does not come several times. Each has one question at a
//! time; a question is asked again after a while, whatever the answer, since what the members hold and know changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use kontiki_raft::{Configuration, Index, NodeId};
use kontiki_transport::Held;

use super::answer::Question;

/// Bytes that those are asked for who do not carry.
const BYTES_OF_OTHERS: u64 = 64 << 10;

/// After so many questions without an answer a member is taken for silent.
const PATIENCE: u32 = 3;

/// A carrier that was asked for a state may need so many questions' time to begin.
const STATE_PATIENCE: u32 = 20;

/// What is missing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Entries of the log.
    Entries(Index, Index),
    /// A state that holds at least this entry.
    State(Index),
}

impl Missing {
    /// The index that a question names first.
    pub fn first(self) -> Index {
        match self {
            Missing::Entries(first, _) | Missing::State(first) => first,
        }
    }
}

/// What is known of one member.
#[derive(Clone, Debug, Default)]
struct Peer {
    /// When it was last asked.
    asked: Option<Duration>,
    /// Questions since it last answered.
    unanswered: u32,
    /// What it said last.
    held: Option<Held>,
    /// It can help if it is asked from here on.
    ask_from: Option<Index>,
    /// It can help with a state that holds this entry, and with nothing else.
    state_at_least: Option<Index>,
}

impl Peer {
    /// Whether its state has what is missing.
    fn gives_state(&self, missing: Missing) -> bool {
        self.held.as_ref().is_some_and(|held| match missing {
            Missing::State(_) => !held.stateless,
            Missing::Entries(first, _) => {
                !held.stateless && (held.compacted.index >= first || self.state_at_least.is_some())
            }
        })
    }

    /// What it said about this index, or about the one that it was asked for instead.
    fn about(&self, first: Index) -> Option<&Held> {
        let instead = [self.ask_from, self.state_at_least];
        self.held.as_ref().filter(|held| held.asked == first || instead.contains(&Some(held.asked)))
    }
}

/// The questions of one replica.
#[derive(Debug, Default)]
pub struct Asking {
    peers: BTreeMap<NodeId, Peer>,
    carrier: Option<NodeId>,
    /// Questions to the present carrier since it last helped.
    in_vain: u32,
}

impl Asking {
    /// Ask these and nobody else.
    pub fn ask_members(&mut self, members: impl Iterator<Item = NodeId>) {
        let members: Vec<NodeId> = members.collect();
        self.peers.retain(|id, _| members.contains(id));
        for id in members {
            self.peers.entry(id).or_default();
        }
    }

    /// Ask this one as well.
    pub fn ask_also(&mut self, id: NodeId) {
        self.peers.entry(id).or_default();
    }

    /// A member can be reached: it is asked at once.
    pub fn connected(&mut self, id: NodeId) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.asked = None;
        }
    }

    /// The questions that are due.
    pub fn questions(
        &mut self,
        now: Duration,
        retry: Duration,
        bytes_max: u64,
        missing: Missing,
    ) -> Vec<(NodeId, Question)> {
        let giver = self.giver(missing);
        let wants_state = matches!(missing, Missing::State(_)) || giver.is_some();
        let patience = if wants_state { STATE_PATIENCE } else { PATIENCE };
        let gone = self.carrier.is_none_or(|carrier| !self.peers.contains_key(&carrier));
        if gone || self.in_vain >= patience || giver.is_some_and(|giver| Some(giver) != self.carrier) {
            self.carrier = giver.or_else(|| self.next_carrier(missing));
            self.in_vain = 0;
            if let Some(peer) = self.carrier.and_then(|carrier| self.peers.get_mut(&carrier)) {
                peer.asked = None;
            }
        }
        let mut questions = Vec::new();
        for (id, peer) in &mut self.peers {
            if peer.asked.is_some_and(|asked| now.saturating_sub(asked) < retry) {
                continue;
            }
            peer.asked = Some(now);
            peer.unanswered += 1;
            let carries = Some(*id) == self.carrier;
            self.in_vain += u32::from(carries);
            let last = if let Missing::Entries(_, last) = missing { last } else { missing.first() };
            let first = peer.ask_from.unwrap_or_else(|| missing.first());
            let bytes_max = match missing {
                Missing::State(_) => 0,
                Missing::Entries(..) if carries => bytes_max,
                Missing::Entries(..) => bytes_max.min(BYTES_OF_OTHERS),
            };
            // What replaces own entries may go on behind the gap.
            let last = if peer.ask_from.is_some() { Index(u64::MAX) } else { last };
            let at_least = peer.state_at_least.unwrap_or_else(|| missing.first()).max(missing.first());
            let first = if carries && wants_state { at_least } else { first };
            questions.push((*id, Question { first, last, bytes_max, state: carries && wants_state }));
        }
        questions
    }

    /// A member that keeps the entries only in its state, where everybody who could have them in the log was heard.
    fn giver(&self, missing: Missing) -> Option<NodeId> {
        let Missing::Entries(first, _) = missing else { return None };
        let heard = self.peers.values().all(|peer| peer.unanswered > PATIENCE || peer.about(first).is_some());
        if !heard {
            return None;
        }
        let gives = |id: &NodeId| self.peers.get(id).is_some_and(|peer| peer.gives_state(missing));
        let present = self.carrier.filter(|carrier| self.in_vain < STATE_PATIENCE && gives(carrier));
        let other = || self.peers.keys().copied().find(|id| Some(*id) != self.carrier && gives(id));
        present.or_else(other).or_else(|| self.carrier.filter(gives))
    }

    /// The next member in turn, those first that may have something.
    fn next_carrier(&self, missing: Missing) -> Option<NodeId> {
        let fit = |peer: &Peer| match (missing, &peer.held) {
            (_, None) => true,
            (Missing::State(_), Some(held)) => !held.stateless,
            (Missing::Entries(first, _), Some(held)) => held.last >= first,
        };
        let behind = self.peers.iter().filter(|(id, _)| Some(**id) > self.carrier);
        let in_turn: Vec<_> = behind.chain(&self.peers).collect();
        in_turn.iter().find(|(_, peer)| fit(peer)).or(in_turn.first()).map(|(id, _)| **id)
    }

    /// A member answered.
    pub fn answered(
        &mut self,
        from: NodeId,
        held: Held,
        helped: bool,
        ask_from: Option<Index>,
        state_at_least: Option<Index>,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.unanswered = 0;
        peer.held = Some(held);
        let elsewhere = ask_from.is_some() && peer.ask_from != ask_from;
        peer.ask_from = ask_from;
        peer.state_at_least = state_at_least;
        let carries = self.carrier == Some(from);
        if (helped && carries) || elsewhere {
            peer.asked = None; // there may be more
        }
        if carries && helped {
            self.in_vain = 0;
        }
    }

    /// The carrier's state is coming in.
    pub fn state_comes(&mut self, from: NodeId) {
        if self.carrier == Some(from) {
            self.in_vain = 0;
        }
    }

    /// Whether nobody can help: every other voter has said that it has not got what is missing either, and those that are not
    /// damaged there are too few to decide without this replica. Whoever is silent may still have it.
    pub fn is_hopeless(&self, own: NodeId, members: &Configuration, missing: Missing) -> bool {
        let first = missing.first();
        let damaged = |id: NodeId| match self.peers.get(&id).and_then(|peer| peer.about(first)) {
            None => false,
            Some(held) if matches!(missing, Missing::State(_)) => held.stateless,
            Some(held) => {
                held.gap.is_some_and(|(from, to)| from <= first && first <= to)
                    || (held.compacted.index >= first && held.stateless)
            }
        };
        let heard = |id: NodeId| self.peers.get(&id).is_some_and(|peer| peer.about(first).is_some());
        let mut others = members.members().into_iter().filter(|id| *id != own);
        let silent = |id: NodeId| {
            let votes = members.voters.contains(&id) || members.outgoing.contains(&id);
            let waits = self.peers.get(&id).is_none_or(|peer| peer.unanswered <= PATIENCE);
            !heard(id) && (votes || waits)
        };
        if members.voters.is_empty() || others.any(silent) || self.peers.values().any(|peer| peer.gives_state(missing))
        {
            return false;
        }
        let fit = |half: &[NodeId]| half.iter().filter(|id| **id != own && !damaged(**id)).count();
        let decides = |half: &[NodeId]| half.is_empty() || 2 * fit(half) > half.len();
        !(decides(&members.voters) && decides(&members.outgoing))
    }

    /// Who said what, in words.
    pub fn said(&self, first: Index) -> String {
        let mut said = String::new();
        for (id, peer) in &self.peers {
            let separator = if said.is_empty() { "" } else { ", " };
            let _ = write!(said, "{separator}{id} ");
            let _ = match &peer.held {
                Some(held) if peer.unanswered <= PATIENCE => match held.gap {
                    _ if held.compacted.index >= first && held.stateless => write!(said, "has lost its state"),
                    _ if held.compacted.index >= first => write!(said, "has it in its state only"),
                    Some((from, to)) if from <= first => write!(said, "has lost {from} to {to}"),
                    _ if held.last < first => write!(said, "ends at {}", held.last),
                    _ if held.stateless => write!(said, "has lost its state"),
                    _ => write!(said, "has another entry there"),
                },
                _ => write!(said, "is silent"),
            };
        }
        if said.is_empty() { "there is no other member".to_owned() } else { said }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_raft::{LogPosition, Term};

    use super::*;

    const ENTRY: Missing = Missing::Entries(Index(5), Index(7));
    const RETRY: Duration = Duration::from_millis(200);

    fn asking(peers: u64) -> (Asking, Configuration) {
        let members = Configuration::of((1..=peers + 1).map(NodeId));
        let mut asking = Asking::default();
        asking.ask_members((2..=peers + 1).map(NodeId));
        (asking, members)
    }

    fn held(last: u64, gap: Option<(u64, u64)>) -> Held {
        let gap = gap.map(|(first, last)| (Index(first), Index(last)));
        Held { asked: Index(5), last: Index(last), gap, ..Held::default() }
    }

    #[test]
    fn all_are_asked_at_once_and_one_of_them_for_much() {
        let (mut asking, _) = asking(2);
        let now = Duration::from_secs(1);
        let questions = asking.questions(now, RETRY, 1 << 20, ENTRY);
        let wanted: Vec<_> =
            questions.iter().map(|(id, question)| (id.0, question.first.0, question.bytes_max)).collect();
        assert_eq!(wanted, [(2, 5, 1 << 20), (3, 5, BYTES_OF_OTHERS)]);
        assert!(asking.questions(now, RETRY, 1 << 20, ENTRY).is_empty(), "one question at a time");
        asking.answered(NodeId(2), held(9, None), true, None, None);
        let questions = asking.questions(now, RETRY, 1 << 20, ENTRY);
        assert_eq!(questions.len(), 1, "whoever helps is asked for more at once");
        let mut carriers = BTreeMap::new();
        for round in 1..20 {
            for (id, question) in asking.questions(now + RETRY * round, RETRY, 1 << 20, ENTRY) {
                *carriers.entry(id.0).or_insert(0) += u32::from(question.bytes_max > BYTES_OF_OTHERS);
            }
        }
        assert!(carriers[&2] > 0 && carriers[&3] > 0, "who does not answer does not stay the carrier: {carriers:?}");
    }

    #[test]
    fn a_state_is_asked_of_one_only_when_nobody_has_the_entry() {
        let (mut asking, members) = asking(2);
        let now = Duration::from_secs(1);
        asking.questions(now, RETRY, 1 << 20, ENTRY);
        let compacted = Held { compacted: LogPosition { term: Term(1), index: Index(8) }, ..held(9, None) };
        asking.answered(NodeId(3), compacted, false, None, None);
        let questions = asking.questions(now + RETRY, RETRY, 1 << 20, ENTRY);
        assert!(questions.iter().all(|(_, question)| !question.state), "the other one may still have it");
        assert!(!asking.is_hopeless(NodeId(1), &members, ENTRY));
        asking.answered(NodeId(2), held(4, None), false, None, None);
        let questions = asking.questions(now + 2 * RETRY, RETRY, 1 << 20, ENTRY);
        let states: Vec<_> = questions.iter().filter(|(_, question)| question.state).map(|(id, _)| id.0).collect();
        assert_eq!(states, [3]);
        assert!(!asking.is_hopeless(NodeId(1), &members, ENTRY), "it can come as a state");
    }

    #[test]
    fn it_is_hopeless_when_all_have_spoken_and_too_few_are_whole() {
        let hopeless = |answers: &[Held]| {
            let (mut asking, members) = asking(2);
            asking.questions(RETRY, RETRY, 1 << 20, ENTRY);
            for (id, held) in (2..).map(NodeId).zip(answers) {
                asking.answered(id, held.clone(), false, None, None);
            }
            asking.is_hopeless(NodeId(1), &members, ENTRY)
        };
        assert!(hopeless(&[held(9, Some((5, 5))), held(9, Some((4, 6)))]));
        assert!(hopeless(&[held(9, Some((5, 5))), held(4, None)]), "the only whole one cannot decide alone");
        assert!(!hopeless(&[held(4, None), held(4, None)]), "two whole ones decide what stands there");
        assert!(!hopeless(&[held(9, Some((5, 5)))]), "a silent one may have it");
    }
}
