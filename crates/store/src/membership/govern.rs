//! The leader makes the configuration follow: it carries out orders, oldest first, and takes in who is wanted. One change at
//! a time, as Raft allows it; the rest waits.

use std::time::Duration;

use kontiki_engine::{ChangeOutcome, Event};
use kontiki_raft::{MemberChange, NodeId};
use tokio::sync::oneshot;

use super::orders::{Order, OrderState};
use crate::machine::GROUP;
use crate::store::Store;

/// How long to wait before a change is tried again that another one is in the way of.
const AGAIN: Duration = Duration::from_millis(20);

/// What is to be done next.
enum Step {
    Order(u64, Order),
    TakeIn { id: u64, learner: bool },
}

/// Governs whenever this member leads, for as long as the store lives.
pub(crate) async fn govern(store: Store) {
    let link = store.0.link.clone();
    let mut leadership = link.leadership.subscribe();
    let mut described = link.members_changed.subscribe();
    let mut arrived = link.orders().arrived.subscribe();
    while leadership.wait_for(|now| now.is_leader).await.is_ok() {
        while leadership.borrow_and_update().is_leader {
            described.borrow_and_update();
            arrived.borrow_and_update();
            if let Some(step) = store.next_step() {
                store.take_step(step).await;
                continue;
            }
            tokio::select! {
                _ = leadership.changed() => {}
                _ = described.changed() => {}
                _ = arrived.changed() => {}
            }
        }
        link.orders().forget();
    }
}

impl Store {
    fn next_step(&self) -> Option<Step> {
        if let Some((number, order)) = self.0.link.orders().next() {
            return Some(Step::Order(number, order));
        }
        let directory = self.directory().inspect_err(|error| tracing::error!(%error, "cannot read the members"));
        let wanted = directory.ok()?.wanted.into_iter().next()?;
        Some(Step::TakeIn { id: wanted.id, learner: wanted.is_learner })
    }

    async fn take_step(&self, step: Step) {
        let change = match &step {
            Step::Order(_, order) => order.change(),
            Step::TakeIn { id, learner } => {
                let promote = !learner || self.0.membership.promotes_learners;
                MemberChange::AddLearner { id: NodeId(*id), promote }
            }
        };
        let end = match self.change_configuration(change).await {
            Some(ChangeOutcome::Done) => Some(OrderState::Done),
            Some(ChangeOutcome::Refused(refusal)) => {
                tracing::debug!(?change, %refusal, "a change of the membership was refused");
                OrderState::refused(refusal)
            }
            Some(ChangeOutcome::Unknown) | None => None,
        };
        match (step, end) {
            (Step::Order(number, _), Some(end)) => self.0.link.orders().end(number, end),
            (_, Some(OrderState::Done)) => {}
            _ => self.0.sleep(AGAIN).await,
        }
    }

    /// Asks the core for a change, and waits for its end; none where there is none in time.
    async fn change_configuration(&self, change: MemberChange) -> Option<ChangeOutcome> {
        let parts = &*self.0;
        let id = parts.link.token();
        let (sender, outcome) = oneshot::channel();
        parts.link.expect_change(id, sender);
        if !parts.inbox.post(Event::ChangeMembership { group: GROUP, id, changes: vec![change] }) {
            return None;
        }
        let outcome = parts.within(parts.request_timeout, outcome).await;
        parts.link.forget_change(id);
        outcome?.ok()
    }
}
