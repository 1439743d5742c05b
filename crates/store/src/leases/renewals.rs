//! Renewals on their way to the leader: those that come while some are being asked for are asked for together.
//!
//! A client with a hundred thousand leases, or a hundred thousand clients with one, cost the leader a question for some
//! thousands of leases and not one each.
//!
//! Who has left meanwhile is left out: a client that is gone keeps no lease alive by what its member still tries for it.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::pace::RENEWALS_PER_CALL;
use kontiki_kv::Proposer;

use crate::calls::{Call, LeaseAnswer};
use crate::error::StoreError;
use crate::store::Store;

/// A lease to be renewed, and who waits for it.
type Renewal = (i64, oneshot::Sender<Result<LeaseAnswer, StoreError>>);

/// Renewals that nobody has asked the leader for yet.
#[derive(Debug, Default)]
pub struct Renewals {
    /// None once the store has stopped.
    waiting: Mutex<Stopped<VecDeque<Renewal>>>,
    some: Notify,
}

#[derive(Debug, Default)]
struct Stopped<T> {
    stopped: bool,
    content: T,
}

impl Renewals {
    fn lock(&self) -> MutexGuard<'_, Stopped<VecDeque<Renewal>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; the answer comes once the leader has been asked.
    pub fn add(&self, id: i64) -> oneshot::Receiver<Result<LeaseAnswer, StoreError>> {
        let (sender, answer) = oneshot::channel();
        let mut waiting = self.lock();
        if !waiting.stopped {
            waiting.content.push_back((id, sender));
            self.some.notify_one();
        }
        answer
    }

    /// Waits until there are some and takes them, so many at most.
    async fn take(&self) -> Vec<Renewal> {
        loop {
            let taken = self.take_now();
            if !taken.is_empty() {
                return taken;
            }
            self.some.notified().await; // whoever adds one behind the look leaves a notice
        }
    }

    fn take_now(&self) -> Vec<Renewal> {
        let mut waiting = self.lock();
        let count = waiting.content.len().min(RENEWALS_PER_CALL);
        let taken = waiting.content.drain(..count).collect();
        if !waiting.content.is_empty() {
            self.some.notify_one(); // somebody else may carry the rest meanwhile
        }
        taken
    }

    /// Nobody carries them any more.
    pub fn stop(&self) {
        *self.lock() = Stopped { stopped: true, content: VecDeque::new() };
    }
}

/// Carries renewals to the leader, batch after batch, as long as the store lives.
pub fn carry(store: &Store) -> impl Future<Output = ()> + Send + 'static {
    let (link, parts) = (store.0.link.clone(), std::sync::Arc::downgrade(&store.0));
    async move {
        loop {
            let batch = link.renewals.take().await;
            let Some(parts) = parts.upgrade() else { return };
            answer(&Store(parts, Proposer::Member), batch).await;
        }
    }
}

async fn answer(store: &Store, mut batch: Vec<Renewal>) {
    let answers =
        store.ask_leader(&mut batch, question, |batch, bytes| LeaseAnswer::decode_all(bytes, batch.len())).await;
    match answers {
        Ok(answers) => {
            for ((_, waiter), answer) in batch.into_iter().zip(answers) {
                let _ = waiter.send(Ok(answer)); // the client may have gone
            }
        }
        Err(error) => {
            for (_, waiter) in batch {
                let _ = waiter.send(Err(error.clone()));
            }
        }
    }
}

/// The question for those renewals whose clients still wait; the others go.
fn question(batch: &mut Vec<Renewal>) -> Option<Call> {
    batch.retain(|(_, waiter)| !waiter.is_closed());
    let ids: Vec<i64> = batch.iter().map(|(id, _)| *id).collect();
    (!ids.is_empty()).then_some(Call::KeepAlive(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_renews_for_who_has_left() {
        let renewals = Renewals::default();
        let (stays, leaves) = (renewals.add(1), renewals.add(2));
        let mut batch = renewals.take_now();
        assert_eq!(question(&mut batch), Some(Call::KeepAlive(vec![1, 2])));
        drop(leaves);
        assert_eq!(question(&mut batch), Some(Call::KeepAlive(vec![1])));
        drop(stays);
        assert_eq!(question(&mut batch), None);
    }
}
