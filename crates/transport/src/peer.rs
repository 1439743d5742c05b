//! One peer: its two links, the connections accepted from it, and what is believed about its process.
//!
//! The rules, all under one lock so that what is delivered about a peer has one order:
//!
//! - A peer lives in one boot (one life of its process) at a time. Whoever meets a newer one, by either direction, ends
//!   all connections of the former.
//! - Of each class one accepted connection counts, the one dialed last; frames are delivered only while it counts.
//! - A peer is suspected once per outage. A new boot ends the outage, and so does an established connection for
//!   consensus traffic; one for snapshots does not, because its handshake may have been under way when the peer died.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kontiki_raft::NodeId;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

use crate::frame::{Class, Frame};
use crate::handshake::Hello;
use crate::link::Link;
use crate::options::Options;
use crate::report::{Received, Reporter, WarnLimit, lock};
use crate::statistics::{Counters, PeerStatistics};
use crate::stream::Stream;

/// One peer.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) counters: Counters,
    /// Of warnings about dialing it.
    pub(crate) warnings: WarnLimit,
    links: [Link; 2],
    addresses: Mutex<Vec<String>>,
    /// Where it said itself that it is reached.
    told: Mutex<Vec<String>>,
    state: Mutex<State>,
    reporter: Arc<Reporter>,
}

#[derive(Default)]
struct State {
    /// Of the process met last.
    boot: Option<u64>,
    /// That process is thought dead, and this was said.
    suspected: bool,
    accepted: [Option<Accepted>; 2],
    /// Names accepted connections.
    accepted_count: u64,
    /// Tasks that dial. None once the peer was removed.
    dialers: Vec<Task>,
    closed: bool,
}

/// An accepted connection that counts.
struct Accepted {
    number: u64,
    boot: u64,
    sequence: u64,
    _task: Task,
}

/// A task that ends when this is dropped.
pub(crate) struct Task(AbortHandle);

impl Task {
    pub(crate) fn new(handle: &JoinHandle<()>) -> Task {
        Task(handle.abort_handle())
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peer {
    pub(crate) fn new(id: NodeId, addresses: Vec<String>, options: &Options, reporter: Arc<Reporter>) -> Peer {
        Peer {
            id,
            counters: Counters::default(),
            warnings: WarnLimit::default(),
            links: Class::ALL.map(|class| Link::new(class, options.queue_bytes_max(class))),
            addresses: Mutex::new(addresses),
            told: Mutex::default(),
            state: Mutex::default(),
            reporter,
        }
    }

    pub(crate) fn link(&self, class: Class) -> &Link {
        &self.links[class.slot()]
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        let mut addresses = lock(&self.addresses).clone();
        let told = lock(&self.told).clone();
        addresses.extend(told.into_iter().filter(|address| !addresses.contains(address)).collect::<Vec<_>>());
        addresses
    }

    /// Whether a connection that it dialed is open.
    pub(crate) fn is_heard(&self) -> bool {
        lock(&self.state).accepted.iter().any(Option::is_some)
    }

    /// Whether the layer above knows it at an address, and not only the peer itself says so.
    pub(crate) fn is_known_at(&self, address: &str) -> bool {
        lock(&self.addresses).iter().any(|known| known == address)
    }

    /// It says where it is reached: tried behind what the layer above knows, which may be older or newer.
    pub(crate) fn tells(&self, addresses: &[String]) {
        addresses.clone_into(&mut lock(&self.told));
    }

    /// Takes effect with the next dial.
    pub(crate) fn set_addresses(&self, addresses: Vec<String>) {
        *lock(&self.addresses) = addresses;
    }

    /// Keeps the tasks that dial the peer for as long as it is one.
    pub(crate) fn keep(&self, dialers: Vec<Task>) {
        lock(&self.state).dialers = dialers;
    }

    /// Sends frames on the connections of their classes.
    pub(crate) fn send(&self, frames: &[Frame]) {
        for class in Class::ALL {
            if frames.iter().any(|frame| frame.class() == class) {
                self.link(class).send(frames.iter().filter(|frame| frame.class() == class), &self.counters);
            }
        }
    }

    /// A connection that we dialed is established. None: the peer was removed meanwhile.
    pub(crate) fn dialed(&self, class: Class, stream: Arc<Stream>, boot: u64) -> Option<oneshot::Receiver<()>> {
        let mut state = lock(&self.state);
        if state.closed {
            return None;
        }
        self.meet(&mut state, boot, class);
        let ended = self.link(class).attach(stream, boot);
        if class == Class::Consensus {
            self.warnings.reset();
            self.reporter.deliver(vec![Received::Connected(self.id)]);
        }
        Some(ended)
    }

    /// A connection that the peer dialed asks to be let in. `receive` starts the task that reads it, given its number.
    ///
    /// # Errors
    ///
    /// The text of a refusal.
    pub(crate) fn accept(
        &self,
        hello: &Hello,
        address: SocketAddr,
        receive: impl FnOnce(u64) -> Task,
    ) -> Result<(), String> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(format!("unknown member: the peer at {address} was removed"));
        }
        let boot = hello.identity.boot;
        let newer = state.accepted[hello.class.slot()]
            .as_ref()
            .is_some_and(|current| current.boot == boot && current.sequence > hello.sequence);
        if newer {
            return Err("outdated connection: the same process dialed again since".to_owned());
        }
        self.meet(&mut state, boot, hello.class);
        state.accepted_count += 1;
        let number = state.accepted_count;
        state.accepted[hello.class.slot()] =
            Some(Accepted { number, boot, sequence: hello.sequence, _task: receive(number) });
        for link in &self.links {
            link.redial_now();
        }
        Ok(())
    }

    /// Delivers what came over an accepted connection. False: it does not count any more, and nothing was delivered.
    pub(crate) fn deliver(&self, class: Class, number: u64, batch: Vec<Received>) -> bool {
        let state = lock(&self.state);
        let counts = state.is_current(class, number);
        if counts && !batch.is_empty() {
            self.counters.frames_received.add(batch.len() as u64);
            self.reporter.deliver(batch);
        }
        counts
    }

    /// An accepted connection ended. `lost`: the other side ended it, not we.
    pub(crate) fn accepted_ended(&self, class: Class, number: u64, lost: bool) {
        let mut state = lock(&self.state);
        if !state.is_current(class, number) {
            return;
        }
        let ended = state.accepted[class.slot()].take();
        if let Some(ended) = ended.filter(|_| lost && class == Class::Consensus) {
            self.suspect(&mut state, Some(ended.boot));
        }
    }

    /// A connection that we dialed ended. `lost`: the other side ended it, not we.
    pub(crate) fn dialed_ended(&self, class: Class, boot: u64, lost: bool) {
        let mut state = lock(&self.state);
        self.link(class).detach();
        self.counters.disconnects.add(1);
        if lost && class == Class::Consensus {
            self.suspect(&mut state, Some(boot));
        }
    }

    /// Nobody listens at any address of the peer. A peer that still holds a connection to us lives all the same.
    pub(crate) fn dial_refused(&self) {
        let mut state = lock(&self.state);
        if state.accepted[Class::Consensus.slot()].is_none() {
            self.suspect(&mut state, None);
        }
    }

    /// Ends every connection and task; nothing more is delivered from or about the peer.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.dialers.clear();
        state.accepted = [None, None];
        for link in &self.links {
            link.detach();
        }
    }

    pub(crate) fn statistics(&self) -> PeerStatistics {
        let counters = &self.counters;
        PeerStatistics {
            connected: self.link(Class::Consensus).is_connected(),
            connected_for: self.link(Class::Consensus).connected_for(),
            accepted: lock(&self.state).accepted[Class::Consensus.slot()].is_some(),
            frames_sent: counters.frames_sent.get(),
            bytes_sent: counters.bytes_sent.get(),
            frames_dropped: counters.frames_dropped.get(),
            bytes_pending: self.links.iter().map(Link::bytes_pending).sum(),
            frames_received: counters.frames_received.get(),
            bytes_received: counters.bytes_received.get(),
            disconnects: counters.disconnects.get(),
            rtt_us: Some(counters.rtt_us.get()).filter(|rtt_us| *rtt_us > 0),
            rtt_counts: std::array::from_fn(|bucket| counters.rtt_counts[bucket].get()),
            rtt_sum_us: counters.rtt_sum_us.get(),
        }
    }

    /// This boot of the peer has established a connection.
    fn meet(&self, state: &mut State, boot: u64, class: Class) {
        let reborn = state.boot != Some(boot);
        if reborn && state.boot.is_some() {
            // It died unnoticed, say behind a cut network: whatever it led or promised, it does no more.
            self.suspect(state, None);
            for accepted in &mut state.accepted {
                if accepted.as_ref().is_some_and(|accepted| accepted.boot != boot) {
                    *accepted = None;
                }
            }
            for link in &self.links {
                link.detach_unless(boot);
            }
        }
        state.boot = Some(boot);
        if reborn || class == Class::Consensus {
            state.suspected = false;
        }
    }

    /// This boot of the peer, or whichever there is, seems dead.
    fn suspect(&self, state: &mut State, boot: Option<u64>) {
        let outdated = boot.is_some() && boot != state.boot;
        if !outdated && !state.suspected && !state.closed {
            state.suspected = true;
            self.reporter.deliver(vec![Received::Suspect(self.id)]);
        }
    }
}

impl State {
    fn is_current(&self, class: Class, number: u64) -> bool {
        self.accepted[class.slot()].as_ref().is_some_and(|accepted| accepted.number == number)
    }
}
