//! Kontiki's engine behind a channel: clients send a command and where to answer; one task drives three engines through
//! [`Engine::turn`], each with its log on a disk in memory.
//!
//! This is all that the server runs below its sockets: the core, the log with its records and checksums, and the state
//! machine's interface. The others keep their logs as plain entries in memory.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_engine::{
    COMMAND, ChangeOutcome, CheckpointJob, Committed, Engine, EngineError, Event, GroupStart, MachineError, Mend,
    NotTaken, Outbox, PartJob, Progress, Scrub, Settings, SnapshotSource, StateMachine,
};
use kontiki_log::{Identity, Log, Options, ReserveJob, WriteJob};
use kontiki_raft::{
    Configuration, Exclusion, GroupId, Leadership, LogPosition, NodeId, ReadId, RoleKind, Settings as RaftSettings,
    SnapshotMeta,
};
use kontiki_transport::{Frame, Received};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::memory_disk::MemoryDisk;
use super::{Handle, Service};
use crate::closed_loop::Load;
use crate::cluster::MEMBERS;
use crate::machine::Machine;

const GROUP: GroupId = GroupId(1);

/// Most requests that one round of the driver takes.
const REQUESTS_MAX: usize = 4096;

/// What is sent to an engine by the two others in a turn of theirs, and what it posts to itself.
type Inbox = Vec<Event<Counter>>;

struct Request {
    payload: Bytes,
    answer: oneshot::Sender<()>,
}

/// The driver's task, and the way to it.
pub struct Engines {
    requests: mpsc::UnboundedSender<Request>,
    driver: JoinHandle<u64>,
}

impl Service for Engines {
    type Handle = Sender;

    async fn start(_: &Load) -> Engines {
        let (requests, inbox) = mpsc::unbounded_channel();
        Engines { requests, driver: tokio::spawn(drive(Cluster::start(), inbox)) }
    }

    fn handle(&self) -> Sender {
        Sender(self.requests.clone())
    }

    async fn finish(self) -> u64 {
        drop(self.requests);
        self.driver.await.expect("the driver does not fail")
    }
}

/// A client's end of the channel.
pub struct Sender(mpsc::UnboundedSender<Request>);

impl Handle for Sender {
    async fn write(&self, command: &[u8]) {
        let mut payload = Vec::with_capacity(1 + command.len());
        payload.push(COMMAND);
        payload.extend_from_slice(command);
        let (answer, answered) = oneshot::channel();
        let request = Request { payload: payload.into(), answer };
        self.0.send(request).unwrap_or_else(|_| panic!("the driver outlives its clients"));
        answered.await.expect("every command is answered");
    }
}

/// Takes what has come in, proposes it, and turns the engines until nothing is left to do.
async fn drive(mut cluster: Cluster, mut inbox: mpsc::UnboundedReceiver<Request>) -> u64 {
    let mut requests = Vec::new();
    while inbox.recv_many(&mut requests, REQUESTS_MAX).await > 0 {
        cluster.propose(requests.drain(..));
        cluster.settle();
    }
    cluster.finish()
}

/// Three engines in one thread, with a network that copies and disks that are done at once.
struct Cluster {
    engines: [Engine<Counter>; MEMBERS],
    inboxes: [Inbox; MEMBERS],
    /// The last turn left work behind.
    more: [bool; MEMBERS],
    leader: usize,
    born: Instant,
    /// Time that has passed before the birth: until a leader is elected, it passes as fast as it can.
    ahead: Duration,
}

impl Cluster {
    fn start() -> Cluster {
        let raft = RaftSettings { tell_commit_at_once: false, ..Settings::default().raft };
        // Logs are cut often, as those of the others are.
        let settings = Settings {
            raft,
            checkpoint_bytes: 1 << 20,
            trailing_entries: 1024,
            scrub_cpu_permille: 0,
            ..Settings::default()
        };
        let options = Options { segment_bytes: 1 << 20, cache_bytes: 4 << 20, ..Options::default() };
        let engines = std::array::from_fn(|place| {
            let id = node_id(place);
            let identity = Identity { cluster_id: 1, member_id: id.0 };
            let disk = Arc::new(MemoryDisk::default());
            let (log, _) = Log::open(disk, Path::new("/log"), identity, options).expect("an empty disk can be opened");
            let mut engine = Engine::new(id, log, settings, Duration::ZERO);
            let start = GroupStart {
                group: GROUP,
                configuration: Arc::new(Configuration::of((0..MEMBERS).map(node_id))),
                incarnation: None,
                seed: 42 + id.0,
                force_new_cluster: false,
            };
            engine.add_group(start, None, Counter::default()).expect("a new group fits an empty log");
            engine
        });
        let mut cluster = Cluster {
            engines,
            inboxes: Default::default(),
            more: [false; MEMBERS],
            leader: 0,
            born: Instant::now(),
            ahead: Duration::ZERO,
        };
        cluster.leader = cluster.elect();
        cluster
    }

    fn elect(&mut self) -> usize {
        for _ in 0..10_000 {
            self.ahead += Duration::from_millis(10);
            self.turns(true);
            self.settle();
            let leads = |engine: &Engine<Counter>| engine.node(GROUP).is_some_and(|node| node.committed_in_own_term());
            if let Some(leader) = self.engines.iter().position(leads) {
                return leader;
            }
        }
        panic!("three members elect a leader");
    }

    fn propose(&mut self, requests: impl Iterator<Item = Request>) {
        let machine = self.engines[self.leader].machine_mut(GROUP).expect("the group was added");
        for Request { payload, answer } in requests {
            machine.waiting.push_back(answer);
            self.inboxes[self.leader].push(Event::Propose { group: GROUP, payload });
        }
    }

    /// Gives turns until nobody has anything to do.
    fn settle(&mut self) {
        while self.inboxes.iter().any(|inbox| !inbox.is_empty()) || self.more.contains(&true) {
            self.turns(false);
        }
    }

    /// Gives turns to each engine that has something to do, or to all. The followers go first and are served until they
    /// have nothing left, so that the end of the leader's write and their answers come to the leader in one turn.
    fn turns(&mut self, all: bool) {
        let now = self.ahead + self.born.elapsed();
        for place in [(self.leader + 1) % MEMBERS, (self.leader + 2) % MEMBERS, self.leader] {
            let mut due = all || self.engines[place].next_tick() <= now;
            while due || self.more[place] || !self.inboxes[place].is_empty() {
                let events = std::mem::take(&mut self.inboxes[place]);
                let mut outbox = Links { from: place, inboxes: &mut self.inboxes };
                self.more[place] = self.engines[place].turn(now, events, &mut outbox).expect("nothing fails in memory");
                due = false;
                if place == self.leader {
                    break;
                }
            }
        }
    }

    /// Lets heartbeats tell what is committed, and compares.
    fn finish(mut self) -> u64 {
        for _ in 0..20 {
            self.ahead += Duration::from_millis(10);
            self.turns(true);
            self.settle();
        }
        assert_eq!(self.engines[self.leader].node(GROUP).map(|node| node.role()), Some(RoleKind::Leader));
        let [first, second, third] = self.engines.each_ref().map(|engine| {
            let counter = engine.machine(GROUP).expect("the group was added");
            assert!(counter.waiting.is_empty(), "commands were lost");
            counter.machine
        });
        assert_eq!(first, second, "replicas differ");
        assert_eq!(first, third, "replicas differ");
        first.count
    }
}

fn node_id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

/// Where a turn's work goes.
struct Links<'a> {
    from: usize,
    inboxes: &'a mut [Inbox; MEMBERS],
}

impl Outbox<Counter> for Links<'_> {
    fn send(&mut self, to: NodeId, frames: Vec<Frame>) {
        let from = node_id(self.from);
        let received = frames.into_iter().map(|frame| Received::Frame { from, frame: copied(frame) }).collect();
        self.inboxes[to.0 as usize - 1].push(Event::Received(received));
    }

    fn write(&mut self, job: WriteJob) {
        self.inboxes[self.from].push(Event::LogWritten(job.run()));
    }

    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<SnapshotMeta>) {
        self.inboxes[self.from].push(Event::CheckpointDone(group, job()));
    }

    fn reserve(&mut self, job: ReserveJob) {
        self.inboxes[self.from].push(Event::LogReserved(job.run()));
    }

    fn receive(&mut self, _: GroupId, _: PartJob) {
        unreachable!("no follower is behind")
    }

    fn scrub(&mut self, _: Scrub) {
        unreachable!("the scrub is off")
    }
}

/// Every replica owns its bytes: those of a message lie in one buffer of the receiver's, as one from a socket would.
fn copied(frame: Frame) -> Frame {
    match frame {
        Frame::Raft { group, message, payloads } if !payloads.is_empty() => {
            let mut buffer = BytesMut::with_capacity(payloads.iter().map(Bytes::len).sum());
            payloads.iter().for_each(|payload| buffer.put_slice(payload));
            let mut buffer = buffer.freeze();
            let payloads = payloads.iter().map(|payload| buffer.split_to(payload.len())).collect();
            Frame::Raft { group, message, payloads }
        }
        other => other,
    }
}

/// The counter and checksum as the engine's state machine. Commands are answered in the order in which they were proposed.
#[derive(Default)]
struct Counter {
    machine: Machine,
    waiting: VecDeque<oneshot::Sender<()>>,
    checkpoint: SnapshotMeta,
}

impl StateMachine for Counter {
    type CheckpointDone = SnapshotMeta;

    fn checkpointed(&self) -> SnapshotMeta {
        self.checkpoint.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), MachineError> {
        for command in entries.into_iter().filter_map(|entry| entry.command) {
            self.machine.apply(&command);
            if let Some(answer) = self.waiting.pop_front() {
                // A client that went away does not need its answer.
                let _ = answer.send(());
            }
        }
        Ok(())
    }

    fn unsaved_bytes(&self) -> u64 {
        0
    }

    /// Sixteen bytes that stay in memory: what lets the log be cut is as cheap as it can be.
    fn begin_checkpoint(
        &mut self,
        at: LogPosition,
        configuration: &Arc<Configuration>,
    ) -> Option<CheckpointJob<SnapshotMeta>> {
        let meta = SnapshotMeta { position: at, configuration: configuration.clone() };
        Some(Box::new(move || Ok(meta)))
    }

    fn finish_checkpoint(&mut self, done: SnapshotMeta) -> Result<(), MachineError> {
        self.checkpoint = done;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError> {
        unreachable!("no follower is behind")
    }

    fn receive_begin(&mut self, _: &SnapshotMeta) -> Result<bool, MachineError> {
        unreachable!("no follower is behind")
    }

    fn receive_rows(&mut self, _: &Bytes) -> Result<bool, MachineError> {
        unreachable!("no follower is behind")
    }

    fn receive_end(&mut self) -> Result<bool, MachineError> {
        unreachable!("no follower is behind")
    }

    fn install(&mut self, _: &SnapshotMeta) -> Result<(), MachineError> {
        unreachable!("no follower is behind")
    }

    fn leadership(&mut self, _: Duration, _: Leadership) -> Result<(), MachineError> {
        Ok(())
    }

    fn reads_begin(&mut self, _: ReadId) -> bool {
        false
    }

    fn reads_ready(&mut self, _: ReadId) {}

    fn reads_again(&mut self, _: ReadId) {}

    fn refused(&mut self, _: Bytes, _: NotTaken) {
        unreachable!("the leader takes proposals")
    }

    fn state_lost(&self) -> bool {
        false
    }

    fn lose_state(&mut self) -> Result<(), MachineError> {
        unreachable!("nothing is damaged")
    }

    fn mended(&mut self, _: Mend) {}

    fn stopped(&mut self, reason: &EngineError) {
        unreachable!("nothing is damaged: {reason}")
    }

    fn accepts(&self, _: &Bytes) -> bool {
        true
    }

    fn call(&mut self, _: Duration, _: &Bytes) -> Bytes {
        Bytes::new()
    }

    fn answered(&mut self, _: u64, _: Option<Bytes>) {}

    fn membership_answered(&mut self, _: u64, _: ChangeOutcome) {}

    fn excluded(&mut self, _: Exclusion) {
        unreachable!("the membership does not change")
    }

    fn tick(&mut self, _: Duration, _: bool) -> Vec<Bytes> {
        Vec::new()
    }

    fn observe(&mut self, _: Progress) {}
}
