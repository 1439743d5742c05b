//! Frames on their way, in the real codec's bytes, and what members learn of their connections.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kontiki_engine::Event;
use kontiki_raft::NodeId;
use kontiki_transport::{Frame, Received, decode, encode};

use super::network::Course;
use super::{Cluster, Happening};
use crate::observation::Violation;
use crate::subject::Subject;

/// A frame on its way.
pub(super) struct Flight {
    from: NodeId,
    to: NodeId,
    bytes: Bytes,
    /// The lives of the processes between which it was sent.
    lives: (u64, u64),
    /// The connection on which.
    connection: u64,
    /// It comes whatever has become of its connection.
    parked: bool,
    damaged: bool,
}

impl<S: Subject> Cluster<S> {
    /// A member gives a frame to the network.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, frame: Frame) {
        let Some(receiver) = self.place_of(to) else { return };
        let frame = self.damage_snapshot(frame);
        let mut bytes = BytesMut::with_capacity(256);
        encode(&frame, &mut bytes);
        let bytes = bytes.freeze();
        let course = self.network.course(self.now, from, to, &frame);
        self.fold_frame(from, to, &bytes, course);
        let Course { at: Some(at), again, parked, damaged } = course else {
            self.counts.add(if self.network.is_cut(from, to) { "cut-frame" } else { "lost-frame" }, 1);
            return;
        };
        if self.members[receiver].process.is_none() && !parked {
            return;
        }
        self.counts.add("late-frame", u64::from(parked));
        self.counts.add("doubled-frame", u64::from(again.is_some()));
        let lives = (self.members[from.0 as usize - 1].life, self.members[receiver].life);
        let connection = self.network.connection(from, to);
        if let Some(again) = again {
            let flight = Flight { from, to, bytes: bytes.clone(), lives, connection, parked, damaged: false };
            self.schedule(again, Happening::Frame(Box::new(flight)));
        }
        let flight = Flight { from, to, bytes, lives, connection, parked, damaged };
        self.schedule(at, Happening::Frame(Box::new(flight)));
    }

    /// The head of a frame has a checksum of all that is behind it.
    fn fold_frame(&mut self, from: NodeId, to: NodeId, bytes: &Bytes, course: Course) {
        self.trace.fold(from.0 << 32 | to.0);
        if let Some(head) = bytes.first_chunk::<8>() {
            self.trace.fold(u64::from_le_bytes(*head));
        }
        self.trace.fold(course.at.map_or(0, |at| at.as_nanos() as u64));
    }

    fn damage_snapshot(&mut self, frame: Frame) -> Frame {
        match frame {
            Frame::SnapshotChunk { group, meta, sequence, last, rows }
                if self.snapshots_to_damage > 0 && !rows.is_empty() =>
            {
                self.snapshots_to_damage -= 1;
                self.counts.add("damaged-snapshot", 1);
                let mut changed = rows.to_vec();
                let at = self.random.below(changed.len() as u64) as usize;
                changed[at] ^= 1 << self.random.below(8);
                Frame::SnapshotChunk { group, meta, sequence, last, rows: changed.into() }
            }
            frame => frame,
        }
    }

    /// A frame arrives, if its connection still lives.
    pub(super) fn arrive(&mut self, flight: Flight) -> Result<(), Violation> {
        let Flight { from, to, bytes, lives, connection, parked, damaged } = flight;
        let (Some(sender), Some(receiver)) = (self.place_of(from), self.place_of(to)) else { return Ok(()) };
        let now = (self.members[sender].life, self.members[receiver].life);
        let ended = now != lives || connection != self.network.connection(from, to);
        if (ended && !parked) || self.network.is_cut(from, to) {
            return Ok(());
        }
        if damaged {
            return self.arrive_damaged(from, to, &bytes);
        }
        let frame = decode(bytes).map_err(|error| Violation {
            property: "Frames come as they were sent",
            at: self.now,
            what: format!("a frame from {from} to {to}, which nobody touched, is refused: {error}"),
        })?;
        if let Some(process) = &self.members[receiver].process {
            process.inbox.post(Event::Received(vec![Received::Frame { from, frame }]));
        }
        Ok(())
    }

    /// Some bits are others: the codec must refuse the frame, and the connection is given up.
    fn arrive_damaged(&mut self, from: NodeId, to: NodeId, bytes: &Bytes) -> Result<(), Violation> {
        let mut changed = bytes.to_vec();
        for _ in 0..=self.network.random.below(3) {
            let at = self.network.random.below(changed.len() as u64) as usize;
            changed[at] ^= 1 << self.network.random.below(8);
        }
        if changed[..] == bytes[..] {
            return Ok(());
        }
        self.counts.add("damaged-frame", 1);
        match decode(changed.into()) {
            Err(_) => {
                self.break_connection(from, to);
                Ok(())
            }
            Ok(frame) => Err(Violation {
                property: "Damaged frames are refused",
                at: self.now,
                what: format!("from {from} to {to}: {frame:?}"),
            }),
        }
    }

    /// The connection between two members ends, and comes back soon.
    pub(super) fn break_connection(&mut self, one: NodeId, other: NodeId) {
        self.network.reset(one, other);
        for (member, peer) in [(one, other), (other, one)] {
            self.news(member, peer, false, Duration::ZERO);
        }
        self.connect(one, other);
    }

    /// Two members connect, where they can.
    pub(super) fn connect(&mut self, one: NodeId, other: NodeId) {
        if self.network.can_connect(one, other) && self.is_running(one) && self.is_running(other) {
            self.news(one, other, true, Duration::from_millis(2));
            self.news(other, one, true, Duration::from_millis(2));
        }
    }

    fn is_running(&self, id: NodeId) -> bool {
        self.place_of(id).is_some_and(|place| self.members[place].process.is_some())
    }

    /// A member learns, a little later, of its connection to another.
    pub(super) fn news(&mut self, member: NodeId, peer: NodeId, connected: bool, least: Duration) {
        let Some(place) = self.place_of(member) else { return };
        let at = self.now + least + Duration::from_micros(self.network.random.below(3_000));
        let life = self.members[place].life;
        self.schedule(at, Happening::News { place, life, peer, connected });
    }

    pub(super) fn tell_news(&mut self, place: usize, life: u64, peer: NodeId, connected: bool) {
        let member = &self.members[place];
        let cut = connected && !self.network.can_connect(member.id, peer);
        if let Some(process) = member.process.as_ref().filter(|_| member.life == life && !cut) {
            let news = if connected { Received::Connected(peer) } else { Received::Suspect(peer) };
            process.inbox.post(Event::Received(vec![news]));
        }
    }
}
