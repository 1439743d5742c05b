//! A member's part in comparing the members' states: its own marks, and while it leads what the others told it.

use std::time::Duration;

use kontiki_kv::{Alarm, Command, Kv};

use crate::calls::{Call, Report};
use crate::comparison::{Comparison, EVERY};
use crate::link::Link;
use crate::marks::{GRID, Mark, Marks};

/// What the machine keeps for it.
#[derive(Debug, Default)]
pub struct States {
    marks: Marks,
    comparison: Comparison,
    reported: Duration,
}

impl States {
    /// Whether a mark is to be made right behind this entry, whatever follows it in the same go.
    #[must_use]
    pub fn marks_behind(index: u64) -> bool {
        index.is_multiple_of(GRID)
    }

    /// Notes where the state stands now.
    pub fn mark(&mut self, kv: &Kv) {
        let (index, digest) = kv.digest();
        self.marks.note(Mark { index, digest });
    }

    /// A snapshot took the state's place.
    pub fn replaced(&mut self, kv: &Kv) {
        self.marks.clear();
        self.mark(kv);
    }

    /// This member does not lead any more, or leads anew.
    pub fn leadership_changed(&mut self) {
        self.comparison.clear();
    }

    /// What the leader is to be told now, if it is time.
    pub fn report(&mut self, now: Duration, member: u64) -> Option<Call> {
        if now.saturating_sub(self.reported) < EVERY {
            return None;
        }
        self.reported = now;
        let marks = self.marks.report();
        (!marks.is_empty()).then_some(Call::Report(Report { member, marks }))
    }

    /// Another member told its marks.
    pub fn reported(&mut self, report: Report) {
        self.comparison.report(report.member, report.marks);
    }

    /// Compares the states where it is time to. What comes back is to be proposed by this leader.
    pub fn compare(&mut self, now: Duration, leader: u64, kv: &Kv, link: &Link) -> Vec<Command> {
        let members: Vec<u64> = link.configuration.borrow().members().iter().map(|member| member.0).collect();
        let Some(difference) = self.comparison.compare(now, leader, &self.marks, &members) else { return Vec::new() };
        let raised = kv.reader().alarms().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the alarms");
            Vec::new()
        });
        let suspects =
            difference.suspects.iter().copied().filter(|member| !raised.contains(&(*member, Alarm::Corrupt)));
        let alarms: Vec<Command> =
            suspects.map(|member| Command::Alarm { raise: true, member, alarm: Alarm::Corrupt }).collect();
        if !alarms.is_empty() {
            tracing::error!(%difference, "raising the alarm CORRUPT");
        }
        alarms
    }
}
