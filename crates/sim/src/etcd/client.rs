//! A client: asks one member after the other, loses patience, tries again elsewhere, and writes down what it was told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, RangeRequest, RangeResult, Reply, TxnReply, TxnRequest, is_read_only};
use kontiki_raft::NodeId;
use kontiki_world::Random;
use tokio::sync::watch;

use super::directory::{Connection, Directory};
use super::{Answer, Call, Recorder, Request, front, words};
use crate::executor::Spawner;
use crate::trace::Journal;

/// How often a question is put again, at most.
const ATTEMPTS_MAX: u32 = 8;

/// What lies between clients and members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Longest way from a client to a member, or back.
    pub(crate) delay_max: Duration,
    /// One in so many answers is lost on its way; zero for none.
    pub(crate) loses_one_in: u64,
}

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) spawner: Spawner,
    pub(crate) directory: Directory,
    pub(crate) recorder: Recorder,
    pub(crate) line: Line,
    pub(crate) journal: Journal,
    stopping: watch::Sender<bool>,
    /// Operators leave the leader where it is.
    settled: AtomicBool,
    working: Mutex<BTreeSet<u64>>,
    clients: AtomicU64,
    watches: AtomicU64,
    /// The newest revision that any client has seen.
    revision: AtomicI64,
    /// The newest revision up to which history was compacted.
    compacted: AtomicI64,
}

impl Site {
    pub(crate) fn new(
        spawner: Spawner,
        directory: Directory,
        recorder: Recorder,
        line: Line,
        journal: Journal,
    ) -> Arc<Site> {
        Arc::new(Site {
            spawner,
            directory,
            recorder,
            line,
            journal,
            stopping: watch::Sender::new(false),
            settled: AtomicBool::new(false),
            working: Mutex::default(),
            clients: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            revision: AtomicI64::new(1),
            compacted: AtomicI64::new(1),
        })
    }

    /// Nobody is to begin new work.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Faults are over, and everybody must get on: moving the leader is one of them, because a snapshot on its way begins anew.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Relaxed);
    }

    /// Whether faults are over.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Relaxed)
    }

    /// Whether no client is at work.
    pub(crate) fn is_idle(&self) -> bool {
        self.working().is_empty()
    }

    /// The clients that are at work.
    pub(crate) fn working(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for a watch.
    pub(crate) fn watch_name(&self) -> u64 {
        self.watches.fetch_add(1, Relaxed) + 1
    }

    /// The newest revision that any client has seen.
    pub(crate) fn revision(&self) -> i64 {
        self.revision.load(Relaxed)
    }

    /// The newest revision up to which history was compacted.
    pub(crate) fn compacted(&self) -> i64 {
        self.compacted.load(Relaxed)
    }

    /// History was compacted.
    pub(crate) fn compacts(&self, revision: i64) {
        self.compacted.fetch_max(revision, Relaxed);
    }

    /// A client has seen a revision.
    pub(crate) fn saw(&self, revision: i64) {
        self.revision.fetch_max(revision, Relaxed);
    }
}

/// One client. Its calls follow one another.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) site: Arc<Site>,
    pub(crate) chance: Random,
    id: u64,
    member: NodeId,
    patience: Duration,
    values: u64,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.site.working().remove(&self.id);
    }
}

impl Client {
    /// A client with chance of its own.
    pub(crate) fn new(site: &Arc<Site>, seed: u64) -> Client {
        let mut chance = Random::new(seed);
        let members = site.directory.members();
        let member = pick(&mut chance, &members).unwrap_or(NodeId(0));
        let patience = Duration::from_millis(500 + chance.below(9_500));
        let id = site.clients.fetch_add(1, Relaxed) + 1;
        site.working().insert(id);
        Client { site: site.clone(), chance, id, member, patience, values: 0 }
    }

    /// Another client of the same program, connected to the same member.
    pub(crate) fn companion(&mut self) -> Client {
        let mut companion = Client::new(&self.site, self.chance.next_u64());
        (companion.member, companion.patience) = (self.member, self.patience);
        companion
    }

    /// A client that asks this member, and waits so long for an answer.
    pub(crate) fn at(site: &Arc<Site>, member: NodeId, patience: Duration) -> Client {
        let mut client = Client::new(site, member.0);
        (client.member, client.patience) = (member, patience);
        client
    }

    /// From now on it asks this member.
    pub(crate) fn ask_only(&mut self, member: NodeId) {
        self.member = member;
    }

    /// The member that it asks.
    pub(crate) fn member(&self) -> NodeId {
        self.member
    }

    /// From now on it asks another member, if there is one.
    pub(crate) fn turn_away(&mut self) {
        let others: Vec<NodeId> =
            self.site.directory.members().into_iter().filter(|member| *member != self.member).collect();
        self.member = pick(&mut self.chance, &others).unwrap_or(self.member);
    }

    /// Connects to its member; none where that refuses, and another one is asked next.
    pub(crate) async fn connect(&mut self) -> Option<Connection> {
        self.travel().await;
        let connection = self.site.directory.connect(self.member);
        if connection.is_none() {
            self.turn_away();
        }
        connection
    }

    /// A value that nobody else writes, of about so many bytes.
    pub(crate) fn value(&mut self, bytes: usize) -> Bytes {
        self.values += 1;
        let mut value = format!("c{}-{}", self.id, self.values).into_bytes();
        if bytes > value.len() {
            value.push(b' ');
            value.resize(bytes, b'.');
        }
        value.into()
    }

    /// Whether no new work is to be begun.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.site.stopping.borrow()
    }

    /// Waits until no new work is to be begun.
    pub(crate) async fn stopping(&self) {
        let mut stopping = self.site.stopping.subscribe();
        // The sender lives in the site, which the client holds.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    /// Thinks for a while: between half and one and a half of this. False where no new work is to be begun.
    pub(crate) async fn thinks(&mut self, about: Duration) -> bool {
        let micros = u64::try_from(about.as_micros()).unwrap_or(u64::MAX);
        let time = about / 2 + Duration::from_micros(self.chance.below(micros + 1));
        tokio::select! {
            biased;
            () = self.stopping() => false,
            () = self.site.spawner.sleep(time) => true,
        }
    }

    /// A message's way to the member, or back.
    pub(crate) async fn travel(&mut self) {
        let delay = self.delay();
        self.site.spawner.sleep(delay).await;
    }

    /// How long a message is on its way.
    pub(crate) fn delay(&mut self) -> Duration {
        let most = u64::try_from(self.site.line.delay_max.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(50 + self.chance.below(most))
    }

    /// Asks once.
    pub(crate) async fn call(&mut self, request: Request) -> Answer {
        let pending = Pending::begin(self, request);
        let answer = self.attempt(&pending.request).await;
        if matches!(answer, Answer::NotDone(_) | Answer::Unknown(_)) {
            self.turn_away();
        }
        self.site.saw(revision_of(&answer));
        pending.end(answer.clone());
        answer
    }

    async fn attempt(&mut self, request: &Request) -> Answer {
        let (there, back) = (self.delay(), self.delay());
        let lost = self.chance.one_in(self.site.line.loses_one_in);
        let spawner = self.site.spawner.clone();
        let Some(mut connection) = self.site.directory.connect(self.member) else {
            spawner.sleep(there).await;
            return Answer::NotDone("connection refused".into());
        };
        let store = connection.store.clone();
        let asked = async {
            spawner.sleep(there).await;
            let answer = front::answer(&store, request).await;
            spawner.sleep(if lost { self.patience } else { back }).await;
            answer
        };
        tokio::select! {
            biased;
            () = connection.broken() => Answer::Unknown("the connection broke".into()),
            answer = spawner.timeout(self.patience, asked) => {
                answer.unwrap_or_else(|| Answer::Unknown("the client's time is over".into()))
            }
        }
    }

    /// Asks until there is an answer, or patience with all members is over. At the end of the work there is no second try.
    async fn call_until_answered(&mut self, request: Request) -> Answer {
        let mut answer = self.call(request.clone()).await;
        for _ in 1..ATTEMPTS_MAX {
            if !matches!(answer, Answer::NotDone(_) | Answer::Unknown(_)) || self.is_stopping() {
                break;
            }
            self.backs_off().await;
            answer = self.call(request.clone()).await;
        }
        answer
    }

    /// Waits a little before it tries again.
    pub(crate) async fn backs_off(&mut self) {
        let time = Duration::from_millis(50 + self.chance.below(400));
        self.site.spawner.sleep(time).await;
    }

    /// Reads, at another member where one does not answer. None where it is refused, or nobody answers.
    pub(crate) async fn read(&mut self, range: RangeRequest, serializable: bool) -> Option<(RangeResult, i64)> {
        match self.call_until_answered(Request::Range { range, serializable }).await {
            Answer::Range(result, revision) => Some((result, revision)),
            _ => None,
        }
    }

    /// Writes, again only where it was certainly not done.
    pub(crate) async fn write(&mut self, command: Command) -> Answer {
        let mut answer = self.call(Request::Write(command.clone())).await;
        for _ in 1..ATTEMPTS_MAX {
            if !matches!(answer, Answer::NotDone(_)) || self.is_stopping() {
                break;
            }
            self.backs_off().await;
            answer = self.call(Request::Write(command.clone())).await;
        }
        answer
    }

    /// Writes what may be done twice without harm, until it is done. None where it is refused, or nobody answers.
    pub(crate) async fn write_again(&mut self, command: Command) -> Option<(Reply, i64)> {
        match self.call_until_answered(Request::Write(command)).await {
            Answer::Written(reply, revision) => Some((reply, revision)),
            _ => None,
        }
    }

    /// A transaction that may be tried twice without harm, because its conditions see to it.
    pub(crate) async fn transact(&mut self, txn: TxnRequest) -> Option<(TxnReply, i64)> {
        let request = if is_read_only(&txn) { Request::TxnRead(txn) } else { Request::Write(Command::Txn(txn)) };
        match self.call_until_answered(request).await {
            Answer::Written(Reply::Txn(reply), revision) | Answer::TxnRead(reply, revision) => Some((reply, revision)),
            _ => None,
        }
    }
}

fn pick(chance: &mut Random, members: &[NodeId]) -> Option<NodeId> {
    let at = usize::try_from(chance.below(members.len() as u64)).unwrap_or(0);
    members.get(at).copied()
}

fn revision_of(answer: &Answer) -> i64 {
    match answer {
        Answer::Range(_, revision) | Answer::TxnRead(_, revision) | Answer::Written(_, revision) => *revision,
        _ => 0,
    }
}

/// A call under way. One that is given up is written down as one of unknown outcome.
struct Pending {
    site: Arc<Site>,
    client: u64,
    member: NodeId,
    invoked: Duration,
    request: Request,
    answer: Option<Answer>,
}

impl Pending {
    fn begin(client: &Client, request: Request) -> Pending {
        let (site, invoked) = (client.site.clone(), client.site.spawner.now());
        Pending { site, client: client.id, member: client.member, invoked, request, answer: None }
    }

    fn end(mut self, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let answer = self.answer.take().unwrap_or_else(|| Answer::Unknown("the client went away".into()));
        let call = Call {
            client: self.client,
            member: self.member,
            invoked: self.invoked,
            ended: self.site.spawner.now(),
            request: std::mem::replace(&mut self.request, Request::KeepAlive(0)),
            answer,
        };
        let (asked, told) = (words::request(&call.request), words::answer(&call.answer));
        self.site.journal.say("client", format!("c{} n{}: {asked}: {told}", call.client, call.member.0));
        self.site.recorder.history().calls.push(call);
    }
}
