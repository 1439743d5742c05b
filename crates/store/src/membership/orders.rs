//! What the leader is asked to do to the configuration, and what came of it.
//!
//! A change takes a while, and a question to the leader is answered at once. So the question is put again and again, under
//! one number, until the answer is an end. The leader does one order at a time. When it loses its office it forgets them all;
//! the next leader hears the question as a new one, and finds what is done already.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_raft::{ChangeRefusal, MemberChange, NodeId};
use tokio::sync::watch;

/// Orders that are remembered.
const ORDERS_MAX: usize = 1_000;
/// For how long.
const REMEMBERED: Duration = Duration::from_secs(60);

/// A change of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// A member is none any more.
    Remove(u64),
    /// A learner votes.
    Promote(u64),
}

impl Order {
    pub(super) fn change(self) -> MemberChange {
        match self {
            Order::Remove(id) => MemberChange::Remove(NodeId(id)),
            Order::Promote(id) => MemberChange::Promote(NodeId(id)),
        }
    }
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderState {
    /// Not done yet.
    Open,
    /// The configuration has it.
    Done,
    /// There is no such member.
    NotMember,
    /// It is no learner.
    NotLearner,
    /// The learner lacks too much, or its disk is not known yet.
    NotReady,
    /// No voter would be left.
    NoVoter,
}

impl OrderState {
    /// What a refusal means for an order; none where it is to be tried again.
    pub(super) fn refused(refusal: ChangeRefusal) -> Option<OrderState> {
        match refusal {
            ChangeRefusal::NotLeader(_)
            | ChangeRefusal::Transferring
            | ChangeRefusal::TooEarly
            | ChangeRefusal::Unfinished(_) => None,
            ChangeRefusal::NotMember(_) => Some(OrderState::NotMember),
            ChangeRefusal::NotLearner(_) => Some(OrderState::NotLearner),
            ChangeRefusal::Behind { .. } | ChangeRefusal::Unbound(_) => Some(OrderState::NotReady),
            ChangeRefusal::NoVoter => Some(OrderState::NoVoter),
            // What is there already is as good as done; the rest is about changes that are never ordered.
            ChangeRefusal::Member(_)
            | ChangeRefusal::Nothing
            | ChangeRefusal::NotVoter(_)
            | ChangeRefusal::BadLease(_) => Some(OrderState::Done),
        }
    }

    /// The bytes of the answer, never none.
    pub(crate) fn encode(self) -> Bytes {
        let code = match self {
            OrderState::Open => 1,
            OrderState::Done => 2,
            OrderState::NotMember => 3,
            OrderState::NotLearner => 4,
            OrderState::NotReady => 5,
            OrderState::NoVoter => 6,
        };
        let mut out = BytesMut::with_capacity(1);
        out.put_u8(code);
        out.freeze()
    }

    /// Reads an answer; none where it is malformed.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<OrderState> {
        match (bytes.try_get_u8().ok()?, bytes.is_empty()) {
            (1, true) => Some(OrderState::Open),
            (2, true) => Some(OrderState::Done),
            (3, true) => Some(OrderState::NotMember),
            (4, true) => Some(OrderState::NotLearner),
            (5, true) => Some(OrderState::NotReady),
            (6, true) => Some(OrderState::NoVoter),
            _ => None,
        }
    }
}

/// The orders that the leader has, by number.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    known: BTreeMap<u64, Known>,
    arrivals: u64,
    /// Grows with every new one.
    pub arrived: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    order: Order,
    state: OrderState,
    arrival: u64,
    since: Duration,
}

impl Orders {
    /// How far an order is; a new one is taken.
    pub fn ask(&mut self, now: Duration, number: u64, order: Order) -> OrderState {
        if let Some(known) = self.known.get(&number) {
            return known.state;
        }
        self.known.retain(|_, known| known.state == OrderState::Open || now.saturating_sub(known.since) < REMEMBERED);
        if self.known.len() < ORDERS_MAX {
            self.arrivals += 1;
            let known = Known { order, state: OrderState::Open, arrival: self.arrivals, since: now };
            self.known.insert(number, known);
            self.arrived.send_modify(|count| *count += 1);
        }
        OrderState::Open
    }

    /// The oldest that is not done.
    pub fn next(&self) -> Option<(u64, Order)> {
        let open = self.known.iter().filter(|(_, known)| known.state == OrderState::Open);
        open.min_by_key(|(_, known)| known.arrival).map(|(number, known)| (*number, known.order))
    }

    /// An order came to an end.
    pub fn end(&mut self, number: u64, state: OrderState) {
        if let Some(known) = self.known.get_mut(&number) {
            known.state = state;
        }
    }

    /// This member does not lead any more.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    #[test]
    fn an_order_is_taken_once_and_its_end_is_remembered() {
        let mut orders = Orders::default();
        assert_eq!(orders.ask(START, 9, Order::Remove(1)), OrderState::Open);
        assert_eq!(orders.ask(START, 3, Order::Promote(2)), OrderState::Open);
        assert_eq!(orders.ask(START, 9, Order::Remove(1)), OrderState::Open);
        assert_eq!(orders.next(), Some((9, Order::Remove(1))), "the one that came first");
        orders.end(9, OrderState::Done);
        assert_eq!(orders.ask(START, 9, Order::Remove(1)), OrderState::Done);
        assert_eq!(orders.next(), Some((3, Order::Promote(2))));
        orders.forget();
        assert_eq!(orders.next(), None);
    }

    #[test]
    fn states_survive_the_wire() {
        let states = [
            OrderState::Open,
            OrderState::Done,
            OrderState::NotMember,
            OrderState::NotLearner,
            OrderState::NotReady,
            OrderState::NoVoter,
        ];
        for state in states {
            assert_eq!(OrderState::decode(&state.encode()), Some(state));
        }
        for bytes in [&[][..], &[0], &[7], &[1, 1]] {
            assert_eq!(OrderState::decode(bytes), None);
        }
    }
}
