//! The thin real runtime: one thread that turns the engine, one that writes the log, and one for all that nobody waits for:
//! checkpoints, snapshots that come in, and reading durable bytes again to find damage.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use kontiki_log::{LogError, ReserveJob, WriteJob};
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::{Frame, Transport};
use kontiki_world::{Clock, lower_thread_priority};

use crate::engine::{Engine, Event};
use crate::error::EngineError;
use crate::machine::{CheckpointJob, StateMachine};
use crate::outbox::{Outbox, Scrub};
use crate::timings::Timings;
use crate::transfer::PartJob;

/// How long an engine that stops waits for the log's thread to say why.
const CAUSE_PATIENCE: Duration = Duration::from_millis(200);

/// Where events wait for the engine's next turn. Any thread may post.
pub struct Inbox<S: StateMachine> {
    state: Mutex<InboxState<S>>,
    wake: Condvar,
}

struct InboxState<S: StateMachine> {
    events: Vec<Event<S>>,
    /// The engine's thread sleeps: only then is waking it worth a system call.
    asleep: bool,
    closed: bool,
}

impl<S: StateMachine> Default for Inbox<S> {
    fn default() -> Inbox<S> {
        let state = InboxState { events: Vec::new(), asleep: false, closed: false };
        Inbox { state: Mutex::new(state), wake: Condvar::new() }
    }
}

impl<S: StateMachine> std::fmt::Debug for Inbox<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl<S: StateMachine> Inbox<S> {
    /// Adds an event. False where the engine has stopped; the event is dropped then.
    pub fn post(&self, event: Event<S>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.events.push(event);
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// What has come in so far, for an owner that calls the engine itself.
    #[must_use]
    pub fn drain(&self) -> Vec<Event<S>> {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).events)
    }

    /// Whether something has come in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).events.is_empty()
    }

    /// Why the engine really stops. A turn may meet a log that has failed before it has been told how; the log's thread says
    /// so in a moment.
    fn cause(&self, error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Log(LogError::Failed)) {
            return error;
        }
        for event in self.take(CAUSE_PATIENCE).into_iter().flatten() {
            if let Event::LogWritten(Err(cause)) = event {
                return cause.into();
            }
        }
        error
    }

    /// Ends the engine after its present turn.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.wake.notify_one();
    }

    /// What has come in, waiting up to `patience` for something. None when closed.
    fn take(&self, patience: Duration) -> Option<Vec<Event<S>>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.events.is_empty() && !patience.is_zero() && !state.closed {
            state.asleep = true;
            state = self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
            state.asleep = false;
            if !state.events.is_empty() {
                // The first event of many wakes this thread, mostly before the others are posted. Giving way once lets
                // those come in that are ready to: under load a turn serves more of them, idle it costs nothing. Measured
                // in docs/benchmarks.md.
                drop(state);
                std::thread::yield_now();
                state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.closed { None } else { Some(std::mem::take(&mut state.events)) }
    }
}

/// A running engine. Dropping it stops the threads and waits for them.
#[derive(Debug)]
pub struct Runtime<S: StateMachine> {
    inbox: Arc<Inbox<S>>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: StateMachine> Runtime<S> {
    /// Starts an engine's threads. `failed` is called once if the engine has to stop.
    ///
    /// # Errors
    /// Where the operating system gives no threads.
    pub fn start(
        mut engine: Engine<S>,
        inbox: Arc<Inbox<S>>,
        transport: Arc<Transport>,
        clock: Arc<dyn Clock>,
        timings: Arc<Timings>,
        failed: impl FnOnce(EngineError) + Send + 'static,
    ) -> std::io::Result<Runtime<S>> {
        let (writes, write_jobs) = mpsc::channel::<LogJob>();
        let (background, background_jobs) = mpsc::channel::<Background<S>>();
        let mut threads = Vec::with_capacity(3);
        let (answers, watch, times) = (inbox.clone(), clock.clone(), timings.clone());
        threads.push(spawn("log", move || {
            for job in write_jobs {
                match job {
                    LogJob::Write(job) => {
                        let begin = watch.now();
                        let done = job.run();
                        times.log_write.observe(watch.now().saturating_sub(begin));
                        answers.post(Event::LogWritten(done));
                    }
                    LogJob::Reserve(job) => {
                        answers.post(Event::LogReserved(job.run()));
                    }
                }
            }
        })?);
        let (answers, watch, times) = (inbox.clone(), clock.clone(), timings.clone());
        threads.push(spawn("checkpoint", move || {
            // Nobody waits for a checkpoint; on few cores it would stand in the way of those who wait for writes.
            lower_thread_priority();
            for job in background_jobs {
                let begin = watch.now();
                answers.post(match job {
                    Background::Checkpoint(group, job) => {
                        let done = job();
                        times.checkpoint.observe(watch.now().saturating_sub(begin));
                        Event::CheckpointDone(group, done)
                    }
                    Background::Part(group, job) => Event::PartWritten(group, job.run()),
                    Background::Scrub(job) => {
                        let done = job.run();
                        Event::Scrubbed(done, watch.now().saturating_sub(begin))
                    }
                });
            }
        })?);
        let events = inbox.clone();
        threads.push(spawn("engine", move || {
            let mut outbox = Threads { transport, writes, background };
            let mut more = false;
            loop {
                let patience = if more { Duration::ZERO } else { engine.next_tick().saturating_sub(clock.now()) };
                let Some(taken) = events.take(patience) else { break };
                // The clock is read once the inbox is drained: a lease must be judged by a time after the read came, or
                // the read might be served by a lease that ended before it was asked for.
                match engine.turn(clock.now(), taken, &mut outbox) {
                    Ok(left) => {
                        more = left;
                        timings.log_bytes.store(engine.log().disk_bytes(), Relaxed);
                    }
                    Err(error) => {
                        let error = events.cause(error);
                        events.close();
                        failed(error);
                        break;
                    }
                }
            }
        })?);
        Ok(Runtime { inbox, threads })
    }

    /// Where events are posted.
    #[must_use]
    pub fn inbox(&self) -> &Arc<Inbox<S>> {
        &self.inbox
    }
}

impl<S: StateMachine> Drop for Runtime<S> {
    fn drop(&mut self) {
        self.inbox.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; there is nothing left to do about it here.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(format!("kontiki-{name}")).spawn(body)
}

/// Work of the log's thread, one after the other.
#[allow(clippy::large_enum_variant, reason = "few are under way, and most are writes")]
enum LogJob {
    Write(WriteJob),
    Reserve(ReserveJob),
}

/// Work for which nobody waits, one after the other.
enum Background<S: StateMachine> {
    Checkpoint(GroupId, CheckpointJob<S::CheckpointDone>),
    Part(GroupId, PartJob),
    Scrub(Scrub),
}

/// Gives the engine's work to threads and sockets.
struct Threads<S: StateMachine> {
    transport: Arc<Transport>,
    writes: mpsc::Sender<LogJob>,
    background: mpsc::Sender<Background<S>>,
}

impl<S: StateMachine> Outbox<S> for Threads<S> {
    fn send(&mut self, to: NodeId, frames: Vec<Frame>) {
        self.transport.send(to, frames);
    }

    fn write(&mut self, job: WriteJob) {
        // The thread lives as long as this sender.
        let _ = self.writes.send(LogJob::Write(job));
    }

    fn reserve(&mut self, job: ReserveJob) {
        let _ = self.writes.send(LogJob::Reserve(job));
    }

    fn receive(&mut self, group: GroupId, job: PartJob) {
        let _ = self.background.send(Background::Part(group, job));
    }

    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<S::CheckpointDone>) {
        let _ = self.background.send(Background::Checkpoint(group, job));
    }

    fn scrub(&mut self, job: Scrub) {
        let _ = self.background.send(Background::Scrub(job));
    }
}
