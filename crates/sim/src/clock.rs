//! A member's own clock: it drifts, jumps and stands still, and who sleeps by it wakes by it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use kontiki_world::Clock;

use crate::executor::{Sleep, Spawner};

/// The rate of a clock that is right, in parts of a million.
pub const TRUE_RATE: u64 = 1_000_000;

/// The wall clock's time at the beginning of a run, in milliseconds since 1970.
const DAY_ONE_MS: u64 = 1_750_000_000_000;

/// A clock that shows true time bent by a script. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct MemberClock {
    spawner: Spawner,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// At this true time it showed `shown`, and has gone at `rate` since.
    since: Duration,
    shown: Duration,
    rate: u64,
    frozen: bool,
    /// By how much the wall clock is ahead of true time, in milliseconds.
    wall_ahead_ms: i64,
    sleepers: BTreeMap<u64, Waker>,
    sleepers_made: u64,
}

impl State {
    fn shown_at(&self, now: Duration) -> Duration {
        if self.frozen {
            return self.shown;
        }
        let elapsed = u128::from(nanos(now.saturating_sub(self.since)));
        self.shown + Duration::from_nanos((elapsed * u128::from(self.rate) / u128::from(TRUE_RATE)) as u64)
    }

    /// The first true time at which it shows `at`; none while it stands still.
    fn true_at(&self, at: Duration) -> Option<Duration> {
        let ahead = u128::from(nanos(at.saturating_sub(self.shown)));
        let wait = (ahead * u128::from(TRUE_RATE)).div_ceil(u128::from(self.rate)) as u64;
        (!self.frozen || ahead == 0).then(|| self.since + Duration::from_nanos(wait))
    }

    /// What it shows now becomes the base of what it will show.
    fn rebase(&mut self, now: Duration) {
        self.shown = self.shown_at(now);
        self.since = now;
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

impl MemberClock {
    /// A clock that is right, and shows `shown` now.
    #[must_use]
    pub fn new(spawner: Spawner, shown: Duration) -> MemberClock {
        let since = spawner.now();
        let state = State {
            since,
            shown,
            rate: TRUE_RATE,
            frozen: false,
            wall_ahead_ms: 0,
            sleepers: BTreeMap::new(),
            sleepers_made: 0,
        };
        MemberClock { spawner, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The true time at which this clock will show `at`, should nothing happen to it; none while it stands still.
    #[must_use]
    pub fn true_at(&self, at: Duration) -> Option<Duration> {
        self.lock().true_at(at)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let now = self.spawner.now();
        let mut state = self.lock();
        state.rebase(now);
        change(&mut state);
        let sleepers = std::mem::take(&mut state.sleepers);
        drop(state);
        sleepers.into_values().for_each(Waker::wake);
    }

    /// A new process begins to count: this is what its clock shows now.
    pub fn begin(&self, shown: Duration) {
        self.change(|state| (state.shown, state.frozen) = (shown, false));
    }

    /// From now on it gains so many parts of a million; negative ones are lost.
    pub fn drift(&self, ppm: i32) {
        self.change(|state| state.rate = TRUE_RATE.saturating_add_signed(i64::from(ppm)).max(1));
    }

    /// It shows so much more at once.
    pub fn jump(&self, by: Duration) {
        self.change(|state| state.shown += by);
    }

    /// It stands still, or goes on from where it stood.
    pub fn freeze(&self, frozen: bool) {
        self.change(|state| state.frozen = frozen);
    }

    /// The wall clock is set: so many milliseconds ahead of true time.
    pub fn set_wall(&self, ahead_ms: i64) {
        self.lock().wall_ahead_ms = ahead_ms;
    }
}

impl Clock for MemberClock {
    fn now(&self) -> Duration {
        let now = self.spawner.now();
        self.lock().shown_at(now)
    }

    fn sleep_until(&self, at: Duration) -> kontiki_world::Sleep {
        Box::pin(MemberSleep { clock: self.clone(), at, place: None, sleep: None })
    }

    fn time_of_day_ms(&self) -> u64 {
        let true_ms = DAY_ONE_MS + self.spawner.now().as_millis() as u64;
        true_ms.saturating_add_signed(self.lock().wall_ahead_ms)
    }
}

/// Sleeps by a member's clock.
struct MemberSleep {
    clock: MemberClock,
    at: Duration,
    /// Where the clock keeps whom to wake when it changes.
    place: Option<u64>,
    sleep: Option<Sleep>,
}

impl Future for MemberSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now = self.clock.spawner.now();
        let due = {
            let mut state = self.clock.lock();
            if state.shown_at(now) >= self.at {
                return Poll::Ready(());
            }
            let place = self.place.unwrap_or_else(|| {
                state.sleepers_made += 1;
                state.sleepers_made
            });
            state.sleepers.insert(place, context.waker().clone());
            let due = state.true_at(self.at);
            drop(state);
            self.place = Some(place);
            due
        };
        let clock = self.clock.clone();
        self.sleep = due.map(|due| clock.spawner.sleep_until(due));
        match &mut self.sleep {
            Some(sleep) => Pin::new(sleep).poll(context),
            None => Poll::Pending,
        }
    }
}

impl Drop for MemberSleep {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.clock.lock().sleepers.remove(&place);
            drop(waker); // outside the lock: it may hold the last handle of a task
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::executor::Executor;

    fn run(executor: &mut Executor, until: Duration) {
        loop {
            while executor.run_ready() {}
            match executor.next_timer() {
                Some(at) if at <= until => executor.advance(at),
                _ => break,
            }
        }
        executor.advance(until);
        while executor.run_ready() {}
    }

    #[test]
    fn a_sleeper_wakes_by_its_own_clock_whatever_happens_to_it() {
        let seconds = Duration::from_secs;
        let mut executor = Executor::default();
        let clock = MemberClock::new(executor.spawner().clone(), seconds(100));
        let woke = Arc::new(AtomicU64::new(0));
        let (spawner, sleeper, at) = (executor.spawner().clone(), clock.clone(), woke.clone());
        executor.spawner().spawn(async move {
            sleeper.sleep_until(seconds(130)).await;
            assert!(sleeper.now() >= seconds(130));
            at.store(spawner.now().as_millis() as u64, Ordering::Relaxed);
        });
        run(&mut executor, seconds(5)); // shows 105
        clock.drift(1_000_000);
        run(&mut executor, seconds(10)); // twice as fast: 115
        clock.freeze(true);
        run(&mut executor, seconds(20));
        assert_eq!(clock.now(), seconds(115));
        clock.freeze(false);
        clock.drift(0);
        clock.jump(seconds(5)); // 120
        run(&mut executor, seconds(60));
        assert_eq!(woke.load(Ordering::Relaxed), 30_000);
    }

    #[test]
    fn what_true_at_says_is_never_too_early() {
        let executor = Executor::default();
        let clock = MemberClock::new(executor.spawner().clone(), Duration::from_nanos(7));
        for ppm in [-200_000, -333, 0, 1, 499, 777_777] {
            clock.drift(ppm);
            for at in (0..5_000_000).step_by(7_919).map(Duration::from_nanos) {
                let state = clock.lock();
                assert!(state.true_at(at).is_some_and(|due| state.shown_at(due) >= at));
            }
        }
    }
}
