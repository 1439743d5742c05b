//! Snapshots on their way: parts with a window of credits, so that memory at both ends is bounded and a broken transfer ends.

use std::time::Duration;

use kontiki_raft::{GroupId, Index, NodeId, SnapshotMeta};
use kontiki_transport::Frame;

use crate::error::EngineError;
use crate::machine::{SnapshotSource, StateMachine};
use crate::settings::Settings;

/// A snapshot being sent to one member.
pub struct Outgoing {
    meta: SnapshotMeta,
    source: Box<dyn SnapshotSource>,
    /// Sequence number of the next part.
    next: u64,
    /// Parts acknowledged.
    acknowledged: u64,
    /// The last part has been sent; its number.
    end: Option<u64>,
    progress: Duration,
}

/// What an acknowledgement means for a transfer.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More parts are to come.
    Goes,
    /// The receiver holds the snapshot.
    Arrived,
    /// The receiver gave up.
    Failed,
}

impl Outgoing {
    /// Begins to send.
    #[must_use]
    pub fn new(meta: SnapshotMeta, source: Box<dyn SnapshotSource>, now: Duration) -> Outgoing {
        Outgoing { meta, source, next: 0, acknowledged: 0, end: None, progress: now }
    }

    /// What is being sent.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The parts that the window allows now.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn parts(&mut self, group: GroupId, settings: &Settings) -> Result<Vec<Frame>, EngineError> {
        let mut frames = Vec::new();
        while self.end.is_none() && self.next - self.acknowledged < settings.snapshot_window {
            let rows = self.source.next_rows(settings.snapshot_chunk_bytes)?;
            let last = rows.is_none();
            frames.push(Frame::SnapshotChunk {
                group,
                meta: self.meta.clone(),
                sequence: self.next,
                last,
                rows: rows.unwrap_or_default(),
            });
            if last {
                self.end = Some(self.next);
            }
            self.next += 1;
        }
        Ok(frames)
    }

    /// The receiver answered to a part.
    pub fn acknowledge(&mut self, sequence: u64, accepted: bool, now: Duration) -> Outcome {
        if !accepted {
            return Outcome::Failed;
        }
        if sequence >= self.acknowledged && sequence < self.next {
            self.acknowledged = sequence + 1;
            self.progress = now;
        }
        if self.end.is_some_and(|end| self.acknowledged > end) { Outcome::Arrived } else { Outcome::Goes }
    }

    /// Whether nothing was acknowledged for too long.
    #[must_use]
    pub fn stalled(&self, now: Duration, settings: &Settings) -> bool {
        now.saturating_sub(self.progress) > settings.snapshot_timeout
    }
}

/// A snapshot being received. At most one for each group.
#[derive(Debug)]
pub struct Incoming {
    from: NodeId,
    meta: SnapshotMeta,
    next: u64,
}

/// What a part that came in means.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Taken; more are to come.
    Taken,
    /// That was the last one and all are whole.
    Whole,
    /// Out of order, damaged or of a transfer given up: the sender must begin anew.
    Refused,
}

impl Incoming {
    /// Takes a part into the state machine. `incoming` is the transfer under way, if any.
    ///
    /// # Errors
    /// Where the machine cannot write it.
    #[allow(clippy::too_many_arguments, reason = "the fields of one frame, and where they go")]
    pub fn take<S: StateMachine>(
        incoming: &mut Option<Incoming>,
        machine: &mut S,
        from: NodeId,
        meta: &SnapshotMeta,
        sequence: u64,
        last: bool,
        rows: &bytes::Bytes,
    ) -> Result<Part, EngineError> {
        if sequence == 0 {
            machine.receive_begin(meta)?;
            *incoming = Some(Incoming { from, meta: meta.clone(), next: 0 });
        }
        let Some(current) = incoming else { return Ok(Part::Refused) };
        if current.from != from || current.meta != *meta || current.next != sequence {
            // A part of a transfer that was given up, or one got lost: a repeated first part begins anew.
            *incoming = None;
            return Ok(Part::Refused);
        }
        current.next += 1;
        let whole = if last { machine.receive_end()? } else { machine.receive_rows(rows)? };
        if last || !whole {
            *incoming = None;
        }
        Ok(match (whole, last) {
            (false, _) => Part::Refused,
            (true, true) => Part::Whole,
            (true, false) => Part::Taken,
        })
    }
}

/// A member needs a snapshot, at or beyond this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The member.
    pub to: NodeId,
    /// An older snapshot would not connect to the log.
    pub at_least: Index,
}
