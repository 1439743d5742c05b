//! The sending side of one class to one peer: a bounded queue and, while there is one, the connection that drains it.
//!
//! Whoever holds the queue's lock may write to the socket, never waiting for it. So the engine's thread writes a small
//! batch itself when nothing waits before it, which saves a switch to another thread; only what the socket does not take
//! at once is left to the connection's task.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::frame::{Class, Frame};
use crate::pending::{NotTaken, Pending};
use crate::report::lock;
use crate::statistics::Counters;
use crate::stream::Stream;

/// A batch up to this size is written by the thread that sends it.
const DIRECT_BYTES_MAX: usize = 128 << 10;

/// The task writes about this much before it lets go of the lock.
const WRITE_BYTES_MAX: usize = 256 << 10;

/// One class of traffic to one peer.
pub(crate) struct Link {
    class: Class,
    queue: Mutex<Queue>,
    /// There is something for the connection's task to write.
    wake: Notify,
    /// The peer lives: redial now.
    redial: Notify,
}

struct Queue {
    pending: Pending,
    connection: Option<Connection>,
}

struct Connection {
    stream: Arc<Stream>,
    /// Of the peer's process at the other end.
    boot: u64,
    since: Instant,
    /// A ping is on its way.
    ping_open: bool,
    /// Bytes written in all, and how many these were at the last look for progress.
    written: u64,
    written_before: u64,
    /// Dropped with the connection, which tells the connection's task to end.
    _cut: oneshot::Sender<()>,
}

/// What is left after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing.
    All,
    /// Something, and the socket may take more.
    Part,
    /// Something that the socket does not take now.
    Blocked,
}

impl Link {
    pub(crate) fn new(class: Class, bytes_max: usize) -> Link {
        let queue = Queue { pending: Pending::new(bytes_max), connection: None };
        Link { class, queue: Mutex::new(queue), wake: Notify::new(), redial: Notify::new() }
    }

    pub(crate) fn is_connected(&self) -> bool {
        lock(&self.queue).connection.is_some()
    }

    /// Since when it has been connected, if it is.
    pub(crate) fn connected_for(&self) -> Option<Duration> {
        lock(&self.queue).connection.as_ref().map(|connection| connection.since.elapsed())
    }

    pub(crate) fn bytes_pending(&self) -> u64 {
        lock(&self.queue).pending.bytes() as u64
    }

    /// Queues frames and, if it is little, writes them at once. Without a connection they are dropped: kept, they would
    /// be stale when one comes.
    pub(crate) fn send<'a>(&self, frames: impl Iterator<Item = &'a Frame>, counters: &Counters) {
        let mut guard = lock(&self.queue);
        let queue = &mut *guard;
        let was_empty = queue.pending.is_empty();
        let (mut sent, mut dropped) = (0, 0);
        for frame in frames {
            if queue.connection.is_none() {
                dropped += 1;
                continue;
            }
            match queue.pending.push(frame) {
                Ok(()) => sent += 1,
                Err(NotTaken::Full) => dropped += 1,
                Err(NotTaken::Oversize(error)) => {
                    tracing::error!(group = %frame.group(), %error, "a frame that no member would take is dropped");
                    dropped += 1;
                }
            }
        }
        counters.frames_sent.add(sent);
        counters.frames_dropped.add(dropped);
        let direct = self.class == Class::Consensus && was_empty && queue.pending.bytes() <= DIRECT_BYTES_MAX;
        // An error of the socket shows again when the task writes, and is dealt with there.
        let done = direct && matches!(queue.flush(DIRECT_BYTES_MAX, counters), Ok(Flushed::All));
        let waits = direct || !queue.pending.is_empty();
        drop(guard);
        if waits && !done {
            self.wake.notify_one();
        }
    }

    /// A connection to this boot of the peer is established. The receiver ends when it is to be given up.
    pub(crate) fn attach(&self, stream: Arc<Stream>, boot: u64) -> oneshot::Receiver<()> {
        let (cut, ended) = oneshot::channel();
        let mut queue = lock(&self.queue);
        queue.pending.clear();
        queue.connection = Some(Connection {
            stream,
            boot,
            since: Instant::now(),
            ping_open: false,
            written: 0,
            written_before: 0,
            _cut: cut,
        });
        ended
    }

    /// Gives up the connection, if there is one, and what waits for it: half a frame may have left already.
    pub(crate) fn detach(&self) {
        let mut queue = lock(&self.queue);
        queue.connection = None;
        queue.pending.clear();
    }

    /// Gives up a connection to another boot of the peer than this one.
    pub(crate) fn detach_unless(&self, boot: u64) {
        let mut queue = lock(&self.queue);
        if queue.connection.as_ref().is_some_and(|connection| connection.boot != boot) {
            queue.connection = None;
            queue.pending.clear();
        }
    }

    /// The peer is known to live: a pause before the next dial ends.
    pub(crate) fn redial_now(&self) {
        if !self.is_connected() {
            self.redial.notify_one();
        }
    }

    /// Ends when [`Link::redial_now`] is called.
    pub(crate) async fn redial_wanted(&self) {
        self.redial.notified().await;
    }

    /// Ends when there is something to write.
    pub(crate) async fn write_wanted(&self) {
        self.wake.notified().await;
    }

    /// Writes what the socket takes now, up to a bound.
    pub(crate) fn flush(&self, counters: &Counters) -> io::Result<Flushed> {
        lock(&self.queue).flush(WRITE_BYTES_MAX, counters)
    }

    /// Sends a ping, unless traffic shows by itself that the connection moves. False: the peer is silent, for a whole
    /// interval neither an answer came nor a byte of the queue could leave.
    pub(crate) fn ping(&self, stamp: u64) -> bool {
        let mut guard = lock(&self.queue);
        let queue = &mut *guard;
        let Some(connection) = &mut queue.connection else { return true };
        if connection.ping_open {
            return false;
        }
        // A ping behind a long queue would measure the queue, so a busy connection is watched for progress instead.
        if !queue.pending.is_empty() {
            let moved = connection.written != connection.written_before;
            connection.written_before = connection.written;
            return moved;
        }
        connection.ping_open = true;
        queue.pending.push_ping(stamp);
        drop(guard);
        self.wake.notify_one();
        true
    }

    /// The answer to the last ping is there.
    pub(crate) fn ping_answered(&self) {
        if let Some(connection) = &mut lock(&self.queue).connection {
            connection.ping_open = false;
        }
    }
}

impl Queue {
    fn flush(&mut self, bytes_max: usize, counters: &Counters) -> io::Result<Flushed> {
        let Some(connection) = &mut self.connection else { return Ok(Flushed::All) };
        if self.pending.is_empty() {
            return Ok(if connection.stream.try_flush()? { Flushed::All } else { Flushed::Blocked });
        }
        match self.pending.write_with(bytes_max, |slices| connection.stream.try_write_vectored(slices)) {
            Ok(0) => Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                connection.written += written as u64;
                counters.bytes_sent.add(written as u64);
                Ok(match self.pending.is_empty() {
                    false => Flushed::Part,
                    true if connection.stream.try_flush()? => Flushed::All,
                    true => Flushed::Blocked,
                })
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Flushed::Blocked),
            Err(error) => Err(error),
        }
    }
}
