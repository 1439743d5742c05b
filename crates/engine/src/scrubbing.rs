//! When the next part of the durable bytes is read again: slowly enough for those who work, and round everything in time.
//!
//! Parts of the log and of the groups' states take turns. After each comes a pause: as long as the bound on the core's time
//! says for what the part took, and as long as a round over all bytes should last.

use std::time::Duration;

use kontiki_log::Log;
use kontiki_raft::GroupId;

use crate::machine::ScrubStateJob;
use crate::outbox::{Scrub, Scrubbed};
use crate::settings::Settings;

/// No two parts are closer, whatever else is said: an empty log needs no attention.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Nor further apart, so that what is small is not read once a day only.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Log,
    /// The first group behind this one whose state can be scrubbed.
    State(Option<GroupId>),
}

/// The scrub of an engine.
#[derive(Debug)]
pub struct Scrubbing {
    due: Duration,
    running: bool,
    turn: Turn,
}

impl Scrubbing {
    /// Begins a pause after the start.
    #[must_use]
    pub fn new(now: Duration) -> Scrubbing {
        Scrubbing { due: now + PAUSE_MIN, running: false, turn: Turn::Log }
    }

    /// Whether a part may begin.
    #[must_use]
    pub fn is_due(&self, now: Duration, settings: &Settings) -> bool {
        !self.running && now >= self.due && settings.scrub_cpu_permille > 0
    }

    /// The next part. `state` gives that of the first group behind another. None where there is nothing to read; the next
    /// look is then a pause later.
    pub fn next(
        &mut self,
        now: Duration,
        log: &mut Log,
        bytes_max: u64,
        state: impl FnOnce(Option<GroupId>) -> Option<(GroupId, ScrubStateJob)>,
    ) -> Option<Scrub> {
        let of_state = match self.turn {
            Turn::Log => None,
            Turn::State(after) => state(after),
        };
        let job = match of_state {
            Some((group, job)) => {
                self.turn = Turn::State(Some(group));
                Some(Scrub::State(group, job))
            }
            None => {
                self.turn = Turn::State(None);
                log.start_scrub(bytes_max).map(Scrub::Log)
            }
        };
        self.running = job.is_some();
        self.due = now + PAUSE_MIN;
        job
    }

    /// A part ended, after it had a core for so long. `log_bytes` is the size of the log.
    pub fn ended(&mut self, now: Duration, settings: &Settings, done: &Scrubbed, took: Duration, log_bytes: u64) {
        self.running = false;
        let (bytes, total) = match done {
            Scrubbed::Log(done) => (done.bytes(), log_bytes),
            Scrubbed::State(_, Ok(done)) => (done.bytes, done.total),
            Scrubbed::State(_, Err(_)) => (0, 0),
        };
        self.due = now + pause(settings, took, bytes, total);
    }
}

/// The pause behind a part that took so long, and was so many bytes of all.
fn pause(settings: &Settings, took: Duration, bytes: u64, total: u64) -> Duration {
    let permille = settings.scrub_cpu_permille.clamp(1, 1000);
    let for_others = took * (1000 - permille) / permille;
    let share = if total == 0 { 0.0 } else { (bytes as f64 / total as f64).min(1.0) };
    for_others.max(settings.scrub_round.mul_f64(share).clamp(PAUSE_MIN, PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_left_to_others_and_a_round_ends_in_time() {
        let settings = Settings::default();
        let second = Duration::from_secs(1);
        assert_eq!(pause(&settings, 2 * second, 1 << 20, 1 << 20), 98 * second, "2 % of a core");
        let few = pause(&settings, Duration::from_millis(1), 1 << 20, 2 << 30);
        assert!(few * 2_048 <= settings.scrub_round + second, "{few:?} for each of 2,048 parts");
        assert_eq!(pause(&settings, Duration::ZERO, 0, 0), PAUSE_MIN);
        assert_eq!(pause(&settings, Duration::ZERO, 1 << 20, 1 << 20), PAUSE_MAX, "what is small is read more often");
    }
}
