//! Time.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// Ends at some moment.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock that never goes back.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since some moment before the process's first question.
    fn now(&self) -> Duration;

    /// Waits until this clock shows `at`.
    fn sleep_until(&self, at: Duration) -> Sleep;

    /// Milliseconds since 1970 by the wall clock, which may jump either way. For people to read, never to decide by.
    fn time_of_day_ms(&self) -> u64;
}

/// Waits for a future until a clock shows `until`; none where that came first.
pub async fn before<F: Future>(clock: &dyn Clock, until: Duration, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut late = clock.sleep_until(until);
    std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(context) {
            return std::task::Poll::Ready(Some(output));
        }
        late.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// The operating system's monotonic clock.
#[derive(Debug)]
pub struct RealClock {
    born: Instant,
}

impl Default for RealClock {
    fn default() -> RealClock {
        RealClock { born: Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    /// To be awaited within a tokio runtime.
    fn sleep_until(&self, at: Duration) -> Sleep {
        let at = tokio::time::Instant::from_std(self.born + at);
        Box::pin(tokio::time::sleep_until(at))
    }

    fn time_of_day_ms(&self) -> u64 {
        crate::real::time_of_day_ms()
    }
}
