//! The links between members: which are cut, how good each is, and the connections that live on them.
//!
//! Between two members that run there is a connection: frames of a class come in the order sent, each at most once, unless a
//! fault says otherwise. It ends with a process, or by a reset; what is on its way then is lost.

use std::time::Duration;

use kontiki_raft::NodeId;
use kontiki_transport::{Class, Frame};
use kontiki_world::Random;

use super::quality::{Quality, strikes};

/// A cut that was this long has ended the connection.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(3);

/// One direction between two members.
#[derive(Clone, Debug, Default)]
struct Link {
    /// Since when nothing passes.
    cut: Option<Duration>,
    quality: Option<Quality>,
    /// When the last frame of each class comes.
    last: [Duration; 2],
    /// So many frames are still to be damaged.
    damage: u32,
    /// What is sent before comes then.
    stalled_until: Duration,
}

/// When a frame comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Course {
    /// The frame; none where it is lost.
    pub at: Option<Duration>,
    /// A second copy of it.
    pub again: Option<Duration>,
    /// It was parked: it comes even where its connection has ended.
    pub parked: bool,
    /// It is damaged on its way.
    pub damaged: bool,
}

/// All links.
#[derive(Debug)]
pub(super) struct Network {
    members: usize,
    links: Vec<Link>,
    /// Counts the connections between two members.
    connections: Vec<u64>,
    base: Quality,
    usual: Quality,
    pub random: Random,
}

impl Network {
    pub fn new(members: usize, base: Quality, random: Random) -> Network {
        let links = vec![Link::default(); members * members];
        Network { members, links, connections: vec![0; members * members], base, usual: base, random }
    }

    fn place(&self, from: NodeId, to: NodeId) -> usize {
        (from.0 as usize - 1) * self.members + to.0 as usize - 1
    }

    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links[self.place(from, to)].cut.is_some()
    }

    /// Whether a connection can be made.
    pub fn can_connect(&self, one: NodeId, other: NodeId) -> bool {
        !self.is_cut(one, other) && !self.is_cut(other, one)
    }

    pub fn cut(&mut self, from: NodeId, to: NodeId, now: Duration) {
        let place = self.place(from, to);
        self.links[place].cut.get_or_insert(now);
    }

    /// Frames pass again. Whether the connection between the two had ended and can be made again.
    pub fn join(&mut self, from: NodeId, to: NodeId, now: Duration) -> bool {
        let place = self.place(from, to);
        let since = self.links[place].cut.take();
        since.is_some_and(|since| now - since > CONNECTION_PATIENCE) && !self.is_cut(to, from)
    }

    pub fn set_quality(&mut self, from: NodeId, to: NodeId, quality: Quality) {
        let place = self.place(from, to);
        self.links[place].quality = Some(quality);
    }

    pub fn set_all(&mut self, quality: Quality) {
        self.base = quality;
        self.links.iter_mut().for_each(|link| link.quality = None);
    }

    /// All links are as good as at the beginning.
    pub fn restore(&mut self) {
        self.set_all(self.usual);
        for link in &mut self.links {
            (link.damage, link.stalled_until) = (0, Duration::ZERO);
        }
    }

    pub fn damage(&mut self, from: NodeId, to: NodeId, frames: u32) {
        let place = self.place(from, to);
        self.links[place].damage += frames;
    }

    /// What is sent until then comes then, in order.
    pub fn stall(&mut self, from: NodeId, to: NodeId, until: Duration) {
        let place = self.place(from, to);
        self.links[place].stalled_until = until;
    }

    /// The connection that lives between two members.
    pub fn connection(&self, one: NodeId, other: NodeId) -> u64 {
        self.connections[self.place(one.min(other), one.max(other))]
    }

    /// The connection between two members ends: what is on its way is lost.
    pub fn reset(&mut self, one: NodeId, other: NodeId) {
        let pair = self.place(one.min(other), one.max(other));
        self.connections[pair] += 1;
        for place in [self.place(one, other), self.place(other, one)] {
            self.links[place].last = [Duration::ZERO; 2];
        }
    }

    /// What becomes of a frame.
    pub fn course(&mut self, now: Duration, from: NodeId, to: NodeId, frame: &Frame) -> Course {
        let place = self.place(from, to);
        let link = &mut self.links[place];
        let quality = link.quality.unwrap_or(self.base);
        let random = &mut self.random;
        if link.cut.is_some() || strikes(random, quality.loss) {
            return Course::default();
        }
        let at = now.max(link.stalled_until) + quality.delay(random);
        // Messages of the core stand anything that a network does; proposals and questions rely on their connection.
        let anything = matches!(frame, Frame::Raft { .. });
        if anything && strikes(random, quality.late) {
            let later = Duration::from_millis(random.below(u64::from(quality.late_ms)));
            return Course { at: Some(at + later), parked: true, ..Course::default() };
        }
        let last = &mut link.last[usize::from(frame.class() == Class::Snapshot)];
        let in_order = at.max(*last);
        let at = if anything && strikes(random, quality.reordered) {
            in_order + 8 * quality.delay(random) // those behind it overtake it
        } else {
            *last = in_order;
            in_order
        };
        let doubles = (anything || frame.class() == Class::Snapshot) && strikes(random, quality.doubled);
        let again = doubles.then(|| at + 4 * quality.delay(random));
        let damaged = link.damage > 0;
        link.damage = link.damage.saturating_sub(1);
        Course { at: Some(at), again, parked: false, damaged }
    }
}
