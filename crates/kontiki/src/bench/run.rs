//! One run: clients and watchers are started, attended to while they work, and counted when they are done.

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{interval_at, sleep_until};

use super::arrivals::Arrivals;
use super::load::{Board, work};
use super::operate::{Client, Work};
use super::pace::{Closed, Limits, Open, Pace};
use super::plan::Plan;
use super::process::{self, Usage};
use super::tally::Tally;
use super::watchers::Watchers;
use crate::ctl::client::Connection;
use crate::ctl::failure::Failure;
use crate::ctl::session::asked_to_end;

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);

/// What a run needs.
pub struct Run<'a> {
    pub plan: &'a Plan,
    pub work: Arc<Work>,
    pub connections: Vec<Arc<Connection>>,
    /// How long to wait for an answer.
    pub patience: Duration,
    pub pids: &'a [u32],
    pub progress: bool,
}

/// What came of it.
pub struct Ran {
    pub tally: Tally,
    /// From the beginning of the measurement until every client was done.
    pub seconds: f64,
    pub interrupted: bool,
    /// Of an open loop: operations that were due, and those that were not sent.
    pub due: Option<(u64, u64)>,
    /// Watchers whose stream broke.
    pub broken_watchers: usize,
    pub processes: Vec<Usage>,
}

impl Run<'_> {
    /// Sends the load.
    pub async fn make(self) -> Result<Ran, Failure> {
        let board = Arc::new(Board::new(self.progress));
        let watchers = match self.plan.watchers {
            Some(count) => {
                let watchers = Watchers::start(count, &self.connections, &self.work, &board, self.patience).await;
                Some(watchers.map_err(Failure::error)?)
            }
            None => None,
        };
        let limits = Limits::starting_now(self.plan.warmup(), self.plan.duration(), self.plan.total);
        let pace = Arc::new(match self.plan.rate {
            Some(_) => Pace::Open(Open::new(limits, self.plan.clients)),
            None => Pace::Closed(Closed::new(limits)),
        });
        let clients = self.start(&pace, &board)?;
        let (interrupted, processes) = self.attend(clients, &pace, &board, limits).await?;
        let seconds = limits.measure_from.elapsed().as_secs_f64();
        pace.stop(); // the clock of an open loop, too
        let mut tally = board.sum();
        let mut broken_watchers = 0;
        if let Some(watchers) = watchers {
            let writes = tally.operations() + tally.warmup;
            watchers.settle(writes * self.plan.watchers.unwrap_or_default() as u64).await;
            broken_watchers = watchers.broken();
            tally = board.sum();
        }
        let due = match &*pace {
            Pace::Open(open) => Some((open.due(), open.not_sent())),
            Pace::Closed(_) => None,
        };
        Ok(Ran { tally, seconds, interrupted, due, broken_watchers, processes })
    }

    /// Starts the clients, and the clock of an open loop on a thread of its own.
    fn start(&self, pace: &Arc<Pace>, board: &Arc<Board>) -> Result<JoinSet<()>, Failure> {
        let mut clients = JoinSet::new();
        for number in 0..self.plan.clients {
            let connection = &self.connections[number % self.connections.len()];
            let client = Client::new(Arc::clone(&self.work), Arc::clone(connection));
            clients.spawn(work(client, number, Arc::clone(pace), Arc::clone(board), self.patience));
        }
        if let (Some(rate), Some(spacing)) = (self.plan.rate, self.plan.arrivals) {
            let arrivals = Arrivals::new(rate, spacing, self.plan.seed);
            let pace = Arc::clone(pace);
            let clock = std::thread::Builder::new().name("kontiki-bench-clock".into()).spawn(move || {
                if let Pace::Open(open) = &*pace {
                    open.keep_time(arrivals);
                }
            });
            clock.map_err(|error| Failure::io(format!("cannot start the clock's thread: {error}")))?;
        }
        Ok(clients)
    }

    /// Waits until all clients are done. A signal ends the run with what is under way; a second one at once.
    async fn attend(
        &self,
        mut clients: JoinSet<()>,
        pace: &Pace,
        board: &Board,
        limits: Limits,
    ) -> Result<(bool, Vec<Usage>), Failure> {
        let first = limits.measure_from + EVERY;
        let mut ticks = interval_at(first.into(), EVERY);
        let mut signal = pin!(asked_to_end());
        let mut interrupted = false;
        // Looked at when the measurement begins; processes that were there a moment ago may be gone by then.
        let look = || process::look_at(self.pids);
        let mut before = if self.plan.warmup().is_zero() { Some(look()?) } else { None };
        loop {
            tokio::select! {
                ended = clients.join_next() => match ended {
                    None => break,
                    Some(Err(error)) if error.is_panic() => {
                        return Err(Failure::error(format!("a client ended: {error}")));
                    }
                    Some(_) => {}
                },
                () = sleep_until(limits.measure_from.into()), if before.is_none() => before = Some(look()?),
                _ = ticks.tick(), if self.progress => tell(board, limits.measure_from),
                () = &mut signal => {
                    if interrupted {
                        clients.abort_all();
                    }
                    interrupted = true;
                    pace.stop();
                    signal.set(asked_to_end());
                }
            }
        }
        let processes = before.map_or_else(Vec::new, |before| process::usage(self.pids, &before));
        Ok((interrupted, processes))
    }
}

/// A line for the last second.
fn tell(board: &Board, since: Instant) {
    let (recent, errors) = board.recent();
    let milliseconds = |quantile| recent.value_at_quantile(quantile) as f64 / 1e6;
    // Nobody may be there to read it.
    let _ = writeln!(
        std::io::stderr(),
        "{:>5.0} s {:>9.0}/s   p50 {:>8.3} ms   p99 {:>8.3} ms   max {:>8.3} ms   {errors} errors",
        since.elapsed().as_secs_f64(),
        recent.len() as f64 / EVERY.as_secs_f64(),
        milliseconds(0.5),
        milliseconds(0.99),
        recent.max() as f64 / 1e6,
    );
}
