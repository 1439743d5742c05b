//! What clients asked, what they were told, and when, in true virtual time; and what the cluster committed meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, Event, KeyRange, OperationError, RangeRequest, RangeResult, Reply, TxnReply, TxnRequest};
use kontiki_raft::{Index, NodeId, Term};
use kontiki_store::LeaseTimeToLive;

/// What a client asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Reads keys.
    Range {
        /// Which, and as of when.
        range: RangeRequest,
        /// From the member's own state, without asking the leader.
        serializable: bool,
    },
    /// A transaction that only reads, linearizable.
    TxnRead(TxnRequest),
    /// Changes something: a put, deletion, transaction, compaction, a lease's grant or revocation.
    Write(Command),
    /// Gives a lease its time again.
    KeepAlive(i64),
    /// How long a lease has left, and which keys are attached to it.
    TimeToLive(i64),
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To a range, with the revision of the header.
    Range(RangeResult, i64),
    /// To a transaction that reads, with the revision of the header.
    TxnRead(TxnReply, i64),
    /// To a write: its reply, and the store's revision after it.
    Written(Reply, i64),
    /// The seconds that a lease was given; zero where there is none.
    KeepAlive(i64),
    /// A lease's time.
    TimeToLive(LeaseTimeToLive),
    /// A definite refusal by the store's rules: applied as an entry or refused before, it changed nothing.
    Refused(OperationError),
    /// It was certainly not done: refused before it was proposed, in these words.
    NotDone(String),
    /// Nobody knows whether it was or will be done: a time-out, a connection that broke, in these words.
    Unknown(String),
}

/// One call of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which client; its calls follow one another.
    pub client: u64,
    /// The member that was asked.
    pub member: NodeId,
    /// When the client asked.
    pub invoked: Duration,
    /// When it had the answer, or gave up.
    pub ended: Duration,
    /// What it asked.
    pub request: Request,
    /// What it was told.
    pub answer: Answer,
}

/// What a watch was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It exists, as of this revision of the header.
    Created(i64),
    /// Events, in the order told; those of one response.
    Events(Vec<Event>),
    /// All up to this revision has been told.
    Progress(i64),
    /// It is over; what it should show from some revision on is compacted up to this one, zero for other reasons.
    Canceled(i64),
}

/// One connection of a watch, from its creation to its end. A client that resumes makes another session, which goes on
/// behind the last revision that it has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSession {
    /// Which watch of which client: sessions with the same name resume one another.
    pub watch: u64,
    /// The member that was asked.
    pub member: NodeId,
    /// When it was asked for.
    pub begun: Duration,
    /// Which keys.
    pub range: KeyRange,
    /// First revision wanted; zero for whatever comes next.
    pub start_revision: i64,
    /// Puts are left out.
    pub no_put: bool,
    /// Deletions are left out.
    pub no_delete: bool,
    /// What was there before is shown.
    pub prev_kv: bool,
    /// What came, and when.
    pub told: Vec<(Duration, Told)>,
    /// When the session ended, where it has: the connection broke, or the client left.
    pub ended: Option<Duration>,
}

/// An entry that was committed and applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its place.
    pub index: Index,
    /// Its leader's term.
    pub term: Term,
    /// When the first member applied it.
    pub at: Duration,
    /// Its bytes, as in the log; see [`kontiki_store::decode_entry`].
    pub payload: Bytes,
}

/// Who led, and when the member knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The term.
    pub term: Term,
    /// The leader.
    pub leader: NodeId,
    /// When it became that.
    pub from: Duration,
}

/// All that is known of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// All calls, in the order of their ends. One that is still open when the run ends stands here too, with an unknown outcome.
    pub calls: Vec<Call>,
    /// All sessions of watches, in the order of their beginnings.
    pub watches: Vec<WatchSession>,
    /// The committed log, without holes, from index 1.
    pub applied: Vec<Applied>,
    /// Leaders, in the order of their terms.
    pub reigns: Vec<Reign>,
    /// When members began a life, in the order of time. Where a member has none here, nothing is demanded of its own memory.
    pub lives: Vec<(NodeId, Duration)>,
}

/// Where clients write down what they see. Clones are the same book.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<History>>);

impl Recorder {
    /// The history, to add to or to look at.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
