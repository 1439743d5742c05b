//! What one member says to another: the frames, and the class of traffic that each belongs to.

use bytes::Bytes;
use kontiki_raft::{Body, Entries, GroupId, Index, LogPosition, Message, SnapshotMeta, TermRuns};

/// One thing said to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message of the consensus core.
    Raft {
        /// The group that it is about.
        group: GroupId,
        /// The message.
        message: Message,
        /// The bytes of the entries of an `AppendEntries` or a `Pulled`, in order, one for each; empty for every other
        /// message.
        payloads: Vec<Bytes>,
    },
    /// Proposals of a member that does not lead, for the leader to append.
    Forward {
        /// The group that they are for.
        group: GroupId,
        /// The proposals, in the order in which they should be appended.
        payloads: Vec<Bytes>,
    },
    /// A question of the layer above to its counterpart, for example to the leader's lease clock.
    Call {
        /// The group that it is about.
        group: GroupId,
        /// Chosen by the asking side; comes back in the answer.
        id: u64,
        /// The question, opaque here.
        body: Bytes,
    },
    /// The answer to a [`Frame::Call`].
    Answer {
        /// The group that it is about.
        group: GroupId,
        /// The call's id.
        id: u64,
        /// The answer, opaque here.
        body: Bytes,
    },
    /// A piece of a snapshot.
    SnapshotChunk {
        /// The group whose state it is.
        group: GroupId,
        /// What the whole snapshot stands for.
        meta: SnapshotMeta,
        /// Counts the chunks of one snapshot from zero.
        sequence: u64,
        /// Nothing follows.
        last: bool,
        /// The piece itself, opaque here.
        rows: Bytes,
    },
    /// The receiver's word on a chunk.
    SnapshotAck {
        /// The group whose state it is.
        group: GroupId,
        /// The snapshot that is spoken of.
        position: LogPosition,
        /// The chunk that is spoken of.
        sequence: u64,
        /// Whether it was taken; if not, the snapshot has failed.
        accepted: bool,
    },
    /// Forwarded proposals that the leader did not take: those who wait for them need not wait any longer.
    Refused {
        /// The group that they were for.
        group: GroupId,
        /// Why, as the layer above numbers its reasons.
        reason: u8,
        /// The first bytes of each proposal, up to [`REFUSED_HEAD_BYTES`]: enough to know it by.
        payloads: Vec<Bytes>,
    },
    /// A member that has lost entries asks another for them, or for its state.
    Repair {
        /// The group that it is about.
        group: GroupId,
        /// The first entry that is wanted; of a state that is wanted, the least that it must hold.
        first: Index,
        /// The last entry that is wanted.
        last: Index,
        /// Most bytes of entries in the answer. One entry is sent even if larger, but none where this is zero.
        bytes_max: u64,
        /// A snapshot is wanted, not entries.
        state: bool,
    },
    /// What the other member has.
    Repaired {
        /// The group that it is about.
        group: GroupId,
        /// The log of the answering member.
        held: Held,
        /// The bytes of its entries from [`Held::asked`] on, in order, as far as they are whole there.
        payloads: Vec<Bytes>,
    },
}

/// What a member holds of a group, as it answers to a [`Frame::Repair`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The first entry that was asked for.
    pub asked: Index,
    /// The entry before the first one in its log.
    pub compacted: LogPosition,
    /// Entries up to here are committed, as far as it knows.
    pub commit: Index,
    /// The last entry in its log.
    pub last: Index,
    /// Terms of the entries in its log, damaged ones included, up to the last. Begins behind `compacted`, or later where
    /// there are too many.
    pub runs: TermRuns,
    /// Its own damage: the first lost entries at or behind `asked`.
    pub gap: Option<(Index, Index)>,
    /// It cannot give a state: its own is lost as well.
    pub stateless: bool,
}

impl Held {
    /// No answer has more runs: of older entries a state must be sent.
    pub const RUNS_MAX: usize = 4_096;
}

/// So many bytes of a refused proposal go back.
pub const REFUSED_HEAD_BYTES: usize = 32;

/// Kinds of traffic. Each has connections and bounds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent: everything but snapshots and repair.
    Consensus,
    /// Large and patient: snapshots and repair.
    Snapshot,
}

impl Class {
    /// All classes, in the order of [`Class::slot`].
    pub(crate) const ALL: [Class; 2] = [Class::Consensus, Class::Snapshot];

    /// Where a table with one row per class keeps this one.
    pub(crate) const fn slot(self) -> usize {
        self as usize
    }
}

impl Frame {
    /// The connection that the frame travels on.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Frame::Raft { .. }
            | Frame::Forward { .. }
            | Frame::Call { .. }
            | Frame::Answer { .. }
            | Frame::Refused { .. } => Class::Consensus,
            Frame::SnapshotChunk { .. } | Frame::SnapshotAck { .. } | Frame::Repair { .. } | Frame::Repaired { .. } => {
                Class::Snapshot
            }
        }
    }

    /// The group that the frame is about.
    #[must_use]
    pub fn group(&self) -> GroupId {
        match self {
            Frame::Raft { group, .. }
            | Frame::Forward { group, .. }
            | Frame::Call { group, .. }
            | Frame::Answer { group, .. }
            | Frame::SnapshotChunk { group, .. }
            | Frame::SnapshotAck { group, .. }
            | Frame::Repair { group, .. }
            | Frame::Repaired { group, .. }
            | Frame::Refused { group, .. } => *group,
        }
    }

    /// The opaque bytes that the frame carries, in order.
    #[must_use]
    pub fn payloads(&self) -> &[Bytes] {
        match self {
            Frame::Raft { payloads, .. }
            | Frame::Forward { payloads, .. }
            | Frame::Repaired { payloads, .. }
            | Frame::Refused { payloads, .. } => payloads,
            Frame::Call { body, .. } | Frame::Answer { body, .. } => std::slice::from_ref(body),
            Frame::SnapshotChunk { rows, .. } => std::slice::from_ref(rows),
            Frame::SnapshotAck { .. } | Frame::Repair { .. } => &[],
        }
    }

    /// How many payloads the fields of the frame call for; none where that is not one number.
    pub(crate) fn payloads_expected(&self) -> Option<u64> {
        match self {
            Frame::Raft { message, .. } => {
                Some(entries(&message.body).map_or(0, |entries| entries.last.0.saturating_sub(entries.prev.index.0)))
            }
            Frame::SnapshotAck { .. } | Frame::Repair { .. } => Some(0),
            Frame::Call { .. } | Frame::Answer { .. } | Frame::SnapshotChunk { .. } => Some(1),
            Frame::Forward { .. } | Frame::Repaired { .. } | Frame::Refused { .. } => None,
        }
    }
}

/// The entries that a message speaks of, whose bytes travel beside it.
fn entries(body: &Body) -> Option<&Entries> {
    match body {
        Body::AppendEntries(append) => Some(&append.entries),
        Body::Pulled(entries) => Some(entries),
        _ => None,
    }
}
