//! What is on its way between members, and how a test picks from it.

use std::collections::BTreeSet;

use kontiki_raft::{Body, Message, NodeId, SnapshotMeta};

use super::log::Entry;

/// Something on its way between two members.
#[derive(Clone, Debug)]
pub struct Packet {
    pub from: NodeId,
    pub to: NodeId,
    pub content: Content,
}

/// What is on its way.
#[derive(Clone, Debug)]
pub enum Content {
    /// A message with the entries that travel beside it.
    Message(Message, Vec<Entry>),
    /// A whole snapshot.
    Snapshot(SnapshotMeta),
}

impl Packet {
    /// The kind of message, in the words of the traces.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Message(message, _) => kind(&message.body),
            Content::Snapshot(_) => "Snapshot",
        }
    }
}

/// The name of a kind of message.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::RequestVote(request) if request.pre_vote => "PreVote",
        Body::RequestVote(_) => "RequestVote",
        Body::RequestVoteReply(reply) if reply.pre_vote => "PreVoteReply",
        Body::RequestVoteReply(_) => "RequestVoteReply",
        Body::AppendEntries(_) => "AppendEntries",
        Body::AppendAccepted(_) => "AppendAccepted",
        Body::AppendRejected(_) => "AppendRejected",
        Body::Heartbeat(_) => "Heartbeat",
        Body::HeartbeatReply(_) => "HeartbeatReply",
        Body::InstallSnapshot(_) => "InstallSnapshot",
        Body::TimeoutNow => "TimeoutNow",
        Body::Resigned => "Resigned",
        Body::Excluded(_) => "Excluded",
        Body::Pull(_) => "Pull",
        Body::Pulled(_) => "Pulled",
        Body::ReadIndex(_) => "ReadIndex",
        Body::ReadIndexReply { .. } => "ReadIndexReply",
    }
}

/// Some of the packets under way: those that agree with everything that is named, and of those the oldest.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub from: Option<NodeId>,
    pub to: Option<NodeId>,
    pub kind: Option<String>,
    pub count: Option<u64>,
}

impl Choice {
    /// Whether a packet is chosen; counts it if so.
    pub fn takes(&mut self, packet: &Packet) -> bool {
        let chosen = self.count != Some(0)
            && self.from.is_none_or(|id| packet.from == id)
            && self.to.is_none_or(|id| packet.to == id)
            && self.kind.as_ref().is_none_or(|kind| packet.kind() == kind);
        if chosen && let Some(count) = &mut self.count {
            *count -= 1;
        }
        chosen
    }
}

/// Everything under way.
#[derive(Default)]
pub struct Network {
    /// Oldest first.
    pub packets: Vec<Packet>,
    /// Taken out of the stream, until they are released.
    pub held: Vec<Packet>,
    /// What is taken out as it is sent.
    pub holds: Vec<Choice>,
    /// Pairs of which the second cannot hear the first.
    pub cut: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    pub fn send(&mut self, packet: Packet) {
        if self.cut.contains(&(packet.from, packet.to)) {
            return;
        }
        if self.holds.iter_mut().any(|choice| choice.takes(&packet)) {
            self.held.push(packet);
        } else {
            self.packets.push(packet);
        }
    }

    /// Takes the chosen packets out of the stream, oldest first.
    pub fn take(&mut self, mut choice: Choice) -> Vec<Packet> {
        self.packets.extract_if(.., |packet| choice.takes(packet)).collect()
    }

    /// Holds back what is chosen: what is under way and what will be sent.
    pub fn hold(&mut self, choice: Choice) {
        let taken = self.take(choice.clone());
        let count = choice.count.map(|count| count - taken.len() as u64);
        self.held.extend(taken);
        self.holds.push(Choice { count, ..choice });
    }

    /// Everything that was held back is under way again, behind all others.
    pub fn release(&mut self) {
        self.holds.clear();
        self.packets.append(&mut self.held);
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
        let gone = |packet: &Packet| packet.from == from && packet.to == to;
        self.packets.retain(|packet| !gone(packet));
    }

    /// A process died: what was on its way to it is lost.
    pub fn forget(&mut self, to: NodeId) {
        self.packets.retain(|packet| packet.to != to);
    }
}
