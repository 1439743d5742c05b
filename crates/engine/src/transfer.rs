//! Snapshots on their way: numbered parts with a window, so that memory at both ends is bounded, and a broken connection
//! costs what was on it and no more.
//!
//! The sender keeps the parts that are not acknowledged. When the connection is back, or nothing was acknowledged for a
//! while, it sends again from the first of them on; the receiver takes each part once, in order, and acknowledges again
//! what it has already. A receiver that has lost the beginning (it crashed) says so, and the transfer begins anew.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kontiki_raft::planted::planted;
use kontiki_raft::{GroupId, Index, NodeId, SnapshotMeta};
use kontiki_transport::Frame;

use crate::error::EngineError;
use crate::machine::{MachineError, ReceiveJob, SnapshotSource, StateMachine};
use crate::settings::Settings;

/// Without an acknowledgement for this long, parts are sent again.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// A receiver that still writes has so many times as long as one that says nothing.
const WRITING_PATIENCE: u32 = 6;

/// Acknowledges every part: the receiver holds what the snapshot stands for.
pub const HOLDS_ALL: u64 = u64::MAX;

/// How many bytes of a transfer may go out: so many in a second.
#[derive(Debug, Default)]
struct Allowance {
    /// What is left; below zero by up to a part.
    bytes: i64,
    /// Until when it has been filled.
    filled: Duration,
}

impl Allowance {
    /// Time passes. Nothing is saved up for more than a fiftieth of a second, so that what goes out goes out evenly.
    fn refill(&mut self, now: Duration, bytes_per_second: u64) {
        let rate = i64::try_from(bytes_per_second).unwrap_or(i64::MAX);
        if rate == 0 {
            self.bytes = i64::MAX; // no bound
            return;
        }
        let micros = i64::try_from(now.saturating_sub(self.filled).as_micros()).unwrap_or(i64::MAX);
        let gained = rate.saturating_mul(micros.min(1_000_000)) / 1_000_000;
        if gained > 0 {
            self.bytes = self.bytes.saturating_add(gained).min((rate / 50).max(1));
            self.filled = now;
        }
    }

    fn spend(&mut self, bytes: usize) {
        if self.bytes < i64::MAX {
            self.bytes -= i64::try_from(bytes).unwrap_or(i64::MAX);
        }
    }

    fn is_left(&self) -> bool {
        self.bytes > 0
    }
}

/// A snapshot being sent to one member.
pub struct Outgoing {
    meta: SnapshotMeta,
    source: Box<dyn SnapshotSource>,
    /// Parts read and not acknowledged, oldest first: at most a window of them. The first has the number `acknowledged`.
    held: VecDeque<Bytes>,
    /// Parts acknowledged.
    acknowledged: u64,
    /// Number of the part that is sent next.
    next: u64,
    /// Number of the last part, once it was read.
    end: Option<u64>,
    allowance: Allowance,
    /// The connection broke: nothing is sent until it is back, or its turn comes to try.
    broken: bool,
    /// When something was acknowledged last.
    progress: Duration,
    /// When the receiver last said that it still writes.
    heard: Duration,
    /// When sending began at the first unacknowledged part last.
    began: Duration,
}

/// What an acknowledgement means for a transfer.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More parts are to come.
    Goes,
    /// The receiver holds the snapshot.
    Arrived,
    /// The receiver gave up, or lost the beginning.
    Failed,
}

impl Outgoing {
    /// Begins to send.
    #[must_use]
    pub fn new(meta: SnapshotMeta, source: Box<dyn SnapshotSource>, now: Duration) -> Outgoing {
        Outgoing {
            meta,
            source,
            held: VecDeque::new(),
            acknowledged: 0,
            next: 0,
            end: None,
            allowance: Allowance::default(),
            broken: false,
            progress: now,
            heard: now,
            began: now,
        }
    }

    /// What is being sent.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// The parts that window, allowance and connection let go now. `transfers` is how many go on at the same time: each has
    /// its share.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn parts(
        &mut self,
        group: GroupId,
        now: Duration,
        settings: &Settings,
        transfers: usize,
    ) -> Result<Vec<Frame>, EngineError> {
        self.allowance.refill(now, settings.snapshot_bytes_per_second.div_ceil(transfers.max(1) as u64));
        let mut frames = Vec::new();
        while !self.broken
            && self.next - self.acknowledged < settings.snapshot_window
            && self.end.is_none_or(|end| self.next <= end)
            && self.allowance.is_left()
        {
            let at = usize::try_from(self.next - self.acknowledged).expect("a window fits in memory");
            if at == self.held.len() {
                let rows = self.source.next_rows(settings.snapshot_chunk_bytes)?;
                if rows.is_none() {
                    self.end = Some(self.next);
                }
                self.held.push_back(rows.unwrap_or_default());
            }
            let rows = self.held[at].clone();
            self.allowance.spend(rows.len());
            frames.push(Frame::SnapshotChunk {
                group,
                meta: self.meta.clone(),
                sequence: self.next,
                last: self.end == Some(self.next),
                rows,
            });
            self.next += 1;
        }
        Ok(frames)
    }

    /// The receiver answered to a part. It takes parts in order, so its yes to one is its yes to all before it; its no
    /// counts where everything before it was acknowledged, else the part only came too early.
    pub fn acknowledge(&mut self, sequence: u64, accepted: bool, now: Duration) -> Outcome {
        if sequence == HOLDS_ALL && accepted {
            return Outcome::Arrived;
        }
        let known = sequence.checked_sub(self.acknowledged).filter(|ahead| *ahead < self.held.len() as u64);
        match known {
            Some(0) if !accepted => return Outcome::Failed,
            Some(ahead) if accepted => {
                self.held.drain(..=usize::try_from(ahead).expect("a window fits in memory"));
                self.acknowledged = sequence + 1;
                self.next = self.next.max(self.acknowledged);
                self.broken = false;
                self.progress = now;
            }
            None if accepted && sequence < self.acknowledged => self.heard = now,
            Some(_) | None => {}
        }
        if self.end.is_some_and(|end| self.acknowledged > end) { Outcome::Arrived } else { Outcome::Goes }
    }

    /// The connection to the receiver broke: what was on it is lost.
    pub fn disconnected(&mut self) {
        self.next = self.acknowledged;
        self.broken = true;
    }

    /// The receiver may be reached (again): everything that is not acknowledged is sent again.
    pub fn begin_again(&mut self, now: Duration) {
        self.next = self.acknowledged;
        self.broken = false;
        self.began = now;
    }

    /// Time passes. Parts may have been lost without a word.
    pub fn pass_time(&mut self, now: Duration) {
        let waits = self.next > self.acknowledged || self.broken;
        if waits && now.saturating_sub(self.progress.max(self.began)) >= SEND_AGAIN {
            self.begin_again(now);
        }
    }

    /// Whether nothing was acknowledged for too long. A receiver that says that it still writes gets longer: the last part is
    /// acknowledged once all is durable, which takes its time, and to begin anew would help nobody.
    #[must_use]
    pub fn stalled(&self, now: Duration, settings: &Settings) -> bool {
        let timeout = settings.snapshot_timeout;
        now.saturating_sub(self.progress.max(self.heard)) > timeout
            || now.saturating_sub(self.progress) > timeout * WRITING_PATIENCE
    }
}

/// A snapshot being received. At most one for each group.
#[derive(Debug)]
pub struct Incoming {
    from: NodeId,
    meta: SnapshotMeta,
    /// Number of the part whose turn comes next.
    next: u64,
    /// Parts that are written.
    written: u64,
    /// Tells this transfer from others, for work of theirs that ends late.
    token: Arc<()>,
}

/// What a part that came in means.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Taken, or here already; more are to come.
    Taken,
    /// That was the last one and all are whole.
    Whole,
    /// There is nothing new to be said yet. It is being written: the last one that is written is acknowledged again, if there
    /// is one, as a sign of life. Or it is ahead of its turn, and those before it come again.
    Pending(Option<u64>),
    /// Damaged, without room, or of a transfer whose beginning is not here: the sender must begin anew.
    Refused,
}

/// A part of a snapshot to be written beside the engine.
pub struct PartJob {
    token: Arc<()>,
    last: bool,
    job: ReceiveJob,
}

/// How that went.
#[derive(Debug)]
pub struct PartDone {
    token: Arc<()>,
    last: bool,
    result: Result<bool, MachineError>,
}

impl PartJob {
    /// Writes the part.
    #[must_use]
    pub fn run(self) -> PartDone {
        PartDone { token: self.token, last: self.last, result: (self.job)() }
    }
}

impl std::fmt::Debug for PartJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartJob").field("last", &self.last).finish_non_exhaustive()
    }
}

/// Where a part stands in the transfer under way.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// It is the first of another transfer.
    First,
    /// Its turn has come.
    Next,
    /// It is here already.
    Again,
    /// It is being written.
    Writing,
    /// Some before it are not here.
    Early,
    /// It is of a transfer whose beginning is not here, or of one that another has replaced.
    Stray,
}

impl Incoming {
    /// Who sends it.
    #[must_use]
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// Takes a part into the state machine. `incoming` is the transfer under way, if any. Where the machine writes beside the
    /// engine, `begin` is given the work, whose end goes to [`Incoming::finish`].
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
        rows: &Bytes,
        begin: impl FnOnce(PartJob),
    ) -> Result<Part, EngineError> {
        match Incoming::turn(incoming.as_ref(), from, meta, sequence) {
            Turn::Next => {}
            Turn::Again => return Ok(Part::Taken),
            Turn::Writing => {
                let written = incoming.as_ref().and_then(|current| current.written.checked_sub(1));
                return Ok(Part::Pending(written));
            }
            Turn::Early => return Ok(Part::Pending(None)),
            Turn::Stray => return Ok(Part::Refused),
            Turn::First => {
                *incoming = None;
                if !machine.receive_begin(meta)? {
                    return Ok(Part::Refused);
                }
                *incoming = Some(Incoming { from, meta: meta.clone(), next: 0, written: 0, token: Arc::default() });
            }
        }
        let Some(current) = incoming else { return Ok(Part::Refused) };
        current.next += 1;
        if let Some(job) = machine.receive_job(rows, last) {
            begin(PartJob { token: Arc::clone(&current.token), last, job });
            return Ok(Part::Pending(None));
        }
        let whole = if last { machine.receive_end()? } else { machine.receive_rows(rows)? };
        Ok(Incoming::wrote(incoming, last, whole))
    }

    /// A part was written beside the engine: what it was, and what it means. None where its transfer is not the present one
    /// any more.
    ///
    /// # Errors
    /// Where the machine could not write it.
    pub fn finish(
        incoming: &mut Option<Incoming>,
        done: PartDone,
    ) -> Result<Option<(NodeId, SnapshotMeta, u64, Part)>, EngineError> {
        let whole = done.result?;
        let is_of = |current: &&Incoming| planted(31) || Arc::ptr_eq(&current.token, &done.token);
        let Some(current) = incoming.as_ref().filter(is_of) else {
            return Ok(None);
        };
        let (from, meta, sequence) = (current.from, current.meta.clone(), current.written);
        Ok(Some((from, meta, sequence, Incoming::wrote(incoming, done.last, whole))))
    }

    /// The oldest part that was not written is now, or could not be.
    fn wrote(incoming: &mut Option<Incoming>, last: bool, whole: bool) -> Part {
        if let Some(current) = incoming {
            current.written += 1;
        }
        if last || !whole {
            *incoming = None;
        }
        match (whole, last) {
            (false, _) => Part::Refused,
            (true, true) => Part::Whole,
            (true, false) => Part::Taken,
        }
    }

    fn turn(incoming: Option<&Incoming>, from: NodeId, meta: &SnapshotMeta, sequence: u64) -> Turn {
        match incoming {
            Some(current) if current.from == from && current.meta == *meta => match sequence {
                written if written < current.written => Turn::Again,
                next if next == current.next => Turn::Next,
                early if early > current.next => Turn::Early,
                _ => Turn::Writing,
            },
            Some(current) if meta.position < current.meta.position => Turn::Stray,
            Some(_) | None if sequence == 0 => Turn::First,
            Some(_) | None => Turn::Stray,
        }
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

#[cfg(test)]
mod tests;
