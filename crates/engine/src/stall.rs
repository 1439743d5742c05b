//! A disk that hangs: since when the log's write has been under way, and what the member does about it.
//!
//! A leader needs its own disk neither to send entries nor to commit them, but what it takes on meanwhile is bounded, and
//! a group whose leader cannot write is one failure from standing still. So a member whose write has been under way for
//! an election timeout hands over what it leads, which needs no disk; what it still leads half an election timeout later
//! it gives up. Until the write ends it neither stands for election nor lets the state machine propose anything: nobody
//! could tell how old its knowledge is by the time its disk answers (bug G05).

use std::time::Duration;

use kontiki_raft::Input;

/// The log's write under way.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    since: Option<Duration>,
    stage: Stage,
}

/// What has been done about a write that does not end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// None is under way for long.
    #[default]
    Fine,
    /// Groups were told to hand over.
    HandedOver,
    /// Groups were told to give up their office.
    GaveUp,
}

impl Stall {
    /// A write begins.
    pub fn begin(&mut self, now: Duration) {
        self.since = Some(now);
    }

    /// The write ended.
    pub fn end(&mut self, now: Duration) {
        let took = self.since.take().map_or(Duration::ZERO, |since| now.saturating_sub(since));
        if std::mem::take(&mut self.stage) != Stage::Fine {
            tracing::info!(?took, "the log's disk answers again; this member takes full part again");
        }
    }

    /// What groups that are led here are to be told now: each thing once while a write does not end.
    pub fn pass_time(&mut self, now: Duration, election_timeout: Duration) -> Option<Input> {
        let under_way = now.saturating_sub(self.since?);
        let stage = match under_way {
            _ if under_way >= election_timeout + election_timeout / 2 => Stage::GaveUp,
            _ if under_way >= election_timeout => Stage::HandedOver,
            _ => Stage::Fine,
        };
        let before = std::mem::replace(&mut self.stage, stage);
        if before == Stage::Fine && stage != Stage::Fine {
            tracing::warn!(
                ?under_way,
                "the log's disk does not answer: this member hands over what it leads, and neither leads nor acknowledges \
                 anything new until it does"
            );
        }
        match stage {
            Stage::HandedOver if before != stage => Some(Input::TransferLeadership(None)),
            Stage::GaveUp if before != stage => Some(Input::Paused),
            Stage::Fine | Stage::HandedOver | Stage::GaveUp => None,
        }
    }

    /// Whether a write has been under way for longer than an election timeout.
    #[must_use]
    pub fn hangs(&self) -> bool {
        self.stage != Stage::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_does_not_end_is_told_of_once_at_each_stage() {
        let (mut stall, second) = (Stall::default(), Duration::from_secs(1));
        assert_eq!(stall.pass_time(100 * second, second), None, "no write is under way");
        stall.begin(100 * second);
        assert_eq!(stall.pass_time(100 * second + second / 2, second), None);
        assert!(!stall.hangs());
        assert_eq!(stall.pass_time(101 * second, second), Some(Input::TransferLeadership(None)));
        assert_eq!(stall.pass_time(101 * second, second), None);
        assert_eq!(stall.pass_time(102 * second, second), Some(Input::Paused));
        assert_eq!(stall.pass_time(103 * second, second), None);
        assert!(stall.hangs());
        stall.end(104 * second);
        assert!(!stall.hangs());
        stall.begin(104 * second);
        assert_eq!(stall.pass_time(104 * second, second), None);
        assert_eq!(stall.pass_time(106 * second, second), Some(Input::Paused), "time may jump over the first stage");
    }
}
