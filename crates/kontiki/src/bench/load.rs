//! The clients at work: each takes a turn, does an operation, counts what came of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::operate::Operate;
use super::pace::Pace;
use super::tally::{Finished, Kind, Latencies, Tally, latencies, merge};

/// Clients that share a count; one for each would take much memory, one for all would make them wait for each other.
const SHARDS: usize = 16;
/// Pause of a client whose operation failed, so that a member that is away is not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(10);

/// What all clients counted.
#[derive(Debug)]
pub struct Board(Vec<Mutex<Tally>>);

impl Board {
    /// Nothing yet.
    pub fn new(progress: bool) -> Board {
        Board((0..SHARDS).map(|_| Mutex::new(Tally::new(progress))).collect())
    }

    /// Where the client or watcher with a number counts.
    pub fn shard(&self, number: usize) -> MutexGuard<'_, Tally> {
        self.0[number % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub fn sum(&self) -> Tally {
        let mut sum = Tally::new(false);
        (0..SHARDS).for_each(|number| sum.merge(&self.shard(number)));
        sum
    }

    /// The latencies since this was asked last, and all errors so far. Only for a board with progress.
    pub fn recent(&self) -> (Latencies, u64) {
        let (mut recent, mut errors) = (latencies(), 0);
        for number in 0..SHARDS {
            let mut shard = self.shard(number);
            errors += shard.errors();
            if let Some(latencies) = &mut shard.recent {
                merge(&mut recent, latencies);
                latencies.reset();
            }
        }
        (recent, errors)
    }

    /// An event that a watcher got.
    pub fn event(&self, number: usize, latency: Duration) {
        self.shard(number).add(Kind::Event, latency);
    }
}

/// One client, until there is no turn left. An operation that is not answered within `patience` has failed.
pub async fn work(mut client: impl Operate, number: usize, pace: Arc<Pace>, board: Arc<Board>, patience: Duration) {
    while let Some(turn) = pace.next().await {
        let sent = Instant::now();
        let since = turn.due.unwrap_or(sent);
        let outcome = timeout(patience, client.operate(turn, since)).await;
        let finished = Finished { turn, sent, answered: Instant::now() };
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {patience:?} (--command-timeout)")));
        match outcome {
            Ok(done) => board.shard(number).succeeded(finished, done.kind, done.conflict),
            Err(text) => {
                board.shard(number).failed(finished, text);
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::arrivals::{Arrivals, Spacing};
    use crate::bench::operate::Done;
    use crate::bench::pace::{Closed, Limits, Open, Turn};

    /// A server that answers after a moment, but for one operation that takes long.
    struct Stalling(u32);

    const STALL: Duration = Duration::from_millis(400);

    impl Operate for Stalling {
        async fn operate(&mut self, _: Turn, _: Instant) -> Result<Done, String> {
            self.0 += 1;
            sleep(if self.0 == 20 { STALL } else { Duration::from_millis(1) }).await;
            Ok(Done { kind: Kind::Write, conflict: false })
        }
    }

    struct Failing;

    impl Operate for Failing {
        async fn operate(&mut self, _: Turn, _: Instant) -> Result<Done, String> {
            Err("away".into())
        }
    }

    async fn run(client: impl Operate, pace: Pace) -> (Tally, Arc<Pace>) {
        let (pace, board) = (Arc::new(pace), Arc::new(Board::new(false)));
        let clock = Arc::clone(&pace);
        let clock = std::thread::spawn(move || match &*clock {
            Pace::Open(open) => open.keep_time(Arrivals::new(100.0, Spacing::Fixed, 1)),
            Pace::Closed(_) => {}
        });
        work(client, 0, Arc::clone(&pace), Arc::clone(&board), Duration::from_secs(10)).await;
        clock.join().unwrap();
        (board.sum(), pace)
    }

    /// Operations that took a quarter of the stall or more.
    fn slow(tally: &Tally) -> u64 {
        tally.writes.len() - tally.writes.count_between(0, STALL.as_nanos() as u64 / 4)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_open_loop_shows_a_stall_that_a_closed_one_hides() {
        let limits = || Limits::starting_now(Duration::ZERO, None, Some(100));
        let (closed, _) = run(Stalling(0), Pace::Closed(Closed::new(limits()))).await;
        let (open, pace) = run(Stalling(0), Pace::Open(Open::new(limits(), 1))).await;
        assert_eq!((closed.operations(), open.operations()), (100, 100));
        // One operation met the stall; forty were due while it lasted, and thirty of them waited for a quarter of it or more.
        assert!(slow(&open) >= 20, "{} of the open loop", slow(&open));
        assert!(slow(&open) > 5 * slow(&closed), "{} against {}", slow(&open), slow(&closed));
        assert!(open.delay_max >= STALL / 2 && open.late >= 20, "{:?} {}", open.delay_max, open.late);
        assert_eq!(open.from_sending.len(), 100);
        assert!(open.from_sending.value_at_quantile(0.9) < open.writes.value_at_quantile(0.9));
        let Pace::Open(pace) = &*pace else { panic!("it was an open loop") };
        assert_eq!((pace.due(), pace.not_sent()), (100, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_due_and_not_sent_by_the_end_is_counted() {
        let limits = Limits::starting_now(Duration::ZERO, Some(Duration::from_millis(500)), None);
        let (tally, pace) = run(Stalling(0), Pace::Open(Open::new(limits, 1))).await;
        let Pace::Open(pace) = &*pace else { panic!("it was an open loop") };
        assert_eq!(pace.due(), 50);
        assert_eq!(tally.operations() + pace.not_sent(), 50);
        assert!(pace.not_sent() > 10, "{}", pace.not_sent());
    }

    /// A server that bears a tenth of what is asked.
    struct Slow;

    impl Operate for Slow {
        async fn operate(&mut self, _: Turn, _: Instant) -> Result<Done, String> {
            sleep(Duration::from_millis(100)).await;
            Ok(Done { kind: Kind::Read, conflict: false })
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_warmup_that_was_too_much_is_not_what_is_measured() {
        let part = Duration::from_secs(1);
        let (tally, pace) = run(Slow, Pace::Open(Open::new(Limits::starting_now(part, Some(part), None), 1))).await;
        let Pace::Open(pace) = &*pace else { panic!("it was an open loop") };
        assert_eq!(pace.due(), 100);
        assert!(
            (1..=11).contains(&tally.operations()) && tally.warmup <= 11,
            "{} and {}",
            tally.operations(),
            tally.warmup
        );
        assert_eq!(tally.operations() + pace.not_sent(), 100);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn failures_are_counted_and_a_run_can_be_stopped() {
        let limits = Limits::starting_now(Duration::ZERO, Some(Duration::from_millis(100)), None);
        let (tally, _) = run(Failing, Pace::Closed(Closed::new(limits))).await;
        assert_eq!(tally.operations(), 0);
        assert!(tally.errors["away"] > 0 && tally.errors() <= 11, "{:?}", tally.errors);
        let pace = Pace::Open(Open::new(Limits::starting_now(Duration::ZERO, None, None), 1));
        pace.stop();
        let (tally, _) = run(Failing, pace).await;
        assert_eq!(tally.errors(), 0);
    }
}
