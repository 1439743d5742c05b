//! The thin real runtime: a thread that turns the engine where no other does (see [`Inbox`]), one that writes the log, and
//! one for all that nobody waits for: checkpoints, snapshots that come in, and reading durable bytes again to find damage.

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use kontiki_log::{ReserveJob, WriteJob};
use kontiki_raft::{GroupId, NodeId};
use kontiki_transport::{Frame, Transport};
use kontiki_world::{Clock, lower_thread_priority};

use crate::engine::{Engine, Event};
use crate::error::EngineError;
use crate::inbox::{Core, Inbox};
use crate::machine::{CheckpointJob, StateMachine};
use crate::outbox::{Outbox, Scrub};
use crate::timings::Timings;
use crate::transfer::PartJob;

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
        engine: Engine<S>,
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
        let outbox = Threads { transport, writes, background };
        inbox.install(Core::new(engine, Box::new(outbox), clock, timings, Box::new(failed)));
        let turning = inbox.clone();
        threads.push(spawn("engine", move || turning.keep_turning())?);
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
