//! The thin real runtime: one thread that turns the engine, one that writes the log, one that writes checkpoints.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use kontiki_log::WriteJob;
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::{Frame, Transport};
use kontiki_world::{Clock, lower_thread_priority};

use crate::engine::{Engine, Event};
use crate::error::EngineError;
use crate::machine::{CheckpointJob, StateMachine};
use crate::outbox::Outbox;
use crate::timings::Timings;

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
        let (writes, write_jobs) = mpsc::channel::<WriteJob>();
        let (checkpoints, checkpoint_jobs) = mpsc::channel::<(GroupId, CheckpointJob<S::CheckpointDone>)>();
        let mut threads = Vec::with_capacity(3);
        let (answers, watch, times) = (inbox.clone(), clock.clone(), timings.clone());
        threads.push(spawn("log", move || {
            for job in write_jobs {
                let begin = watch.now();
                let done = job.run();
                times.log_write.observe(watch.now().saturating_sub(begin));
                answers.post(Event::LogWritten(done));
            }
        })?);
        let (answers, watch, times) = (inbox.clone(), clock.clone(), timings.clone());
        threads.push(spawn("checkpoint", move || {
            // Nobody waits for a checkpoint; on few cores it would stand in the way of those who wait for writes.
            lower_thread_priority();
            for (group, job) in checkpoint_jobs {
                let begin = watch.now();
                let done = job();
                times.checkpoint.observe(watch.now().saturating_sub(begin));
                answers.post(Event::CheckpointDone(group, done));
            }
        })?);
        let events = inbox.clone();
        threads.push(spawn("engine", move || {
            let mut outbox = Threads { transport, writes, checkpoints };
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

/// Gives the engine's work to threads and sockets.
struct Threads<S: StateMachine> {
    transport: Arc<Transport>,
    writes: mpsc::Sender<WriteJob>,
    checkpoints: mpsc::Sender<(GroupId, CheckpointJob<S::CheckpointDone>)>,
}

impl<S: StateMachine> Outbox<S> for Threads<S> {
    fn send(&mut self, to: NodeId, frames: Vec<Frame>) {
        self.transport.send(to, frames);
    }

    fn write(&mut self, job: WriteJob) {
        // The thread lives as long as this sender.
        let _ = self.writes.send(job);
    }

    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<S::CheckpointDone>) {
        let _ = self.checkpoints.send((group, job));
    }
}
