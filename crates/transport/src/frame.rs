//! What one member says to another: the frames, and the class of traffic that each belongs to.

use bytes::Bytes;
use kontiki_raft::{Body, Entries, GroupId, LogPosition, Message, SnapshotMeta};

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
}

/// Kinds of traffic. Each has connections and bounds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Small and urgent: everything but snapshots.
    Consensus,
    /// Large and patient.
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
            Frame::Raft { .. } | Frame::Forward { .. } | Frame::Call { .. } | Frame::Answer { .. } => Class::Consensus,
            Frame::SnapshotChunk { .. } | Frame::SnapshotAck { .. } => Class::Snapshot,
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
            | Frame::SnapshotAck { group, .. } => *group,
        }
    }

    /// The opaque bytes that the frame carries, in order.
    #[must_use]
    pub fn payloads(&self) -> &[Bytes] {
        match self {
            Frame::Raft { payloads, .. } | Frame::Forward { payloads, .. } => payloads,
            Frame::Call { body, .. } | Frame::Answer { body, .. } => std::slice::from_ref(body),
            Frame::SnapshotChunk { rows, .. } => std::slice::from_ref(rows),
            Frame::SnapshotAck { .. } => &[],
        }
    }

    /// How many payloads the fields of the frame call for; none where any number will do.
    pub(crate) fn payloads_expected(&self) -> Option<u64> {
        match self {
            Frame::Raft { message, .. } => {
                Some(entries(&message.body).map_or(0, |entries| entries.last.0.saturating_sub(entries.prev.index.0)))
            }
            Frame::SnapshotAck { .. } => Some(0),
            Frame::Call { .. } | Frame::Answer { .. } | Frame::SnapshotChunk { .. } => Some(1),
            Frame::Forward { .. } => None,
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
