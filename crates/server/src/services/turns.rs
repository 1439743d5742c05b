//! How much of the store may be on its way out at once, over all connections.
//!
//! An answer that is read piece by piece holds a few pieces: what is staged from storage and what the connection has not
//! written yet, a MiB or a few. Only so many MiB move at a time; who comes later waits in line, and none fails. A client
//! that does not take what it asked for gives its turn to the next one, and lines up again when it takes more. Answers that
//! must be sorted as a whole are held as a whole: few of them at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// MiB that answers hold that move at once.
const MOVING_MAX: usize = 64;
/// Sorts of everything in a range that run at once.
const SORTING_MAX: usize = 2;
/// A client that takes nothing for so long gives up its turn.
const STALL: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 1000 });

/// Who may go.
#[derive(Debug)]
pub(crate) struct Turns {
    moving: Arc<Semaphore>,
    sorting: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { moving: Arc::new(Semaphore::new(MOVING_MAX)), sorting: Arc::new(Semaphore::new(SORTING_MAX)) }
    }
}

/// A place in the line for long answers, and perhaps the turn itself. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    line: Arc<Semaphore>,
    weight: u32,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// A turn for what holds so many MiB, if there is room at once.
    pub(crate) fn try_begin(&self, weight: u32) -> Turn {
        let line = Arc::clone(&self.moving);
        let permit = Arc::clone(&line).try_acquire_many_owned(weight).ok();
        Turn { line, weight, permit }
    }

    /// The right to hold all of a range, to sort it.
    pub(crate) async fn sort(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.sorting).acquire_owned().await.ok()
    }
}

impl Turn {
    /// Whether it is one's turn.
    pub(crate) fn has_come(&self) -> bool {
        self.permit.is_some()
    }

    /// Waits for it.
    pub(crate) async fn come(&mut self) {
        if self.permit.is_none() {
            // The line is never closed: an error cannot be.
            self.permit = Arc::clone(&self.line).acquire_many_owned(self.weight).await.ok();
        }
    }

    /// Waits until the client takes more. Where that takes long, `give_back` is called and the turn passes to others.
    pub(crate) async fn room<T>(&mut self, ready: impl Future<Output = T>, give_back: impl FnOnce()) -> T {
        let mut ready = std::pin::pin!(ready);
        if let Ok(room) = tokio::time::timeout(STALL, &mut ready).await {
            return room;
        }
        give_back();
        self.permit = None;
        let room = ready.await;
        self.come().await;
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_stalls_gives_the_turn_to_the_next_one() {
        let turns = Turns::default();
        let mut moving: Vec<Turn> = (0..MOVING_MAX).map(|_| turns.try_begin(1)).collect();
        assert!(moving.iter().all(Turn::has_come));
        let mut late = turns.try_begin(1);
        assert!(!late.has_come());
        let mut given = false;
        let (stalled, others) = moving.split_at_mut(1);
        let slow = stalled[0].room(tokio::time::sleep(STALL * 5), || given = true);
        let next = async {
            late.come().await;
            assert!(late.has_come());
            drop(late); // done: the slow one may go on
        };
        tokio::join!(slow, next);
        assert!(given && stalled[0].has_come() && others.iter().all(Turn::has_come));
    }
}
