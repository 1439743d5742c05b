//! Where events wait for the engine's next turn, and who makes that turn.
//!
//! The engine has a thread of its own, but waking it costs a system call and a switch, and whoever brings an event has
//! often nothing better to do than to see to it. So the engine belongs to whoever takes it: one thread at a time *turns*
//! it, and goes on as long as events come in. Everybody else only adds an event; the one who turns sees it.
//!
//! - What comes from peers is turned by the task that read it.
//! - A client's call is turned by the client's task while few are under way. Many are better taken together, and it is the
//!   waking of a thread that lets them gather.
//! - All else, passing time and what one turn leaves over belong to the engine's thread. So do the log's finished writes: its
//!   own thread has the next one to begin (docs/decisions/0030).

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kontiki_log::LogError;
use kontiki_world::Clock;

use crate::engine::{Engine, Event};
use crate::error::EngineError;
use crate::machine::StateMachine;
use crate::outbox::Outbox;
use crate::timings::Timings;

/// How long an engine that stops waits for the log's thread to say why.
const CAUSE_PATIENCE: Duration = Duration::from_millis(200);

/// So many turns a thread makes that has other work, before it leaves the rest to the engine's.
const BORROWED_TURNS_MAX: u32 = 4;

/// The engine and what it works with.
pub(crate) struct Core<S: StateMachine> {
    engine: Engine<S>,
    outbox: Box<dyn Outbox<S> + Send>,
    clock: Arc<dyn Clock>,
    timings: Arc<Timings>,
    failed: Option<Box<dyn FnOnce(EngineError) + Send>>,
}

impl<S: StateMachine> Core<S> {
    /// `failed` is called once if the engine has to stop.
    pub(crate) fn new(
        engine: Engine<S>,
        outbox: Box<dyn Outbox<S> + Send>,
        clock: Arc<dyn Clock>,
        timings: Arc<Timings>,
        failed: Box<dyn FnOnce(EngineError) + Send>,
    ) -> Core<S> {
        Core { engine, outbox, clock, timings, failed: Some(failed) }
    }

    /// One turn. The clock is read once the inbox is drained: a lease must be judged by a time after the read came, or the
    /// read might be served by a lease that ended before it was asked for.
    fn turn(&mut self, events: Vec<Event<S>>) -> Result<Left, EngineError> {
        let more = self.engine.turn(self.clock.now(), events, &mut *self.outbox)?;
        self.timings.log_bytes.store(self.engine.log().disk_bytes(), Relaxed);
        Ok(Left { more, next_tick: self.engine.next_tick() })
    }
}

/// What a turn leaves over.
#[derive(Clone, Copy)]
struct Left {
    /// Work: the next turn should follow at once.
    more: bool,
    /// When the next turn is due even if nothing happens.
    next_tick: Duration,
}

/// Where events wait for the engine's next turn. Any thread may post.
pub struct Inbox<S: StateMachine> {
    state: Mutex<State<S>>,
    wake: Condvar,
    /// Held by whoever turns, and so by one at a time; none before the engine runs and after it.
    core: Mutex<Option<Core<S>>>,
}

struct State<S: StateMachine> {
    events: Vec<Event<S>>,
    /// A core is there to be turned.
    installed: bool,
    /// Somebody turns, and will see what comes in.
    turning: bool,
    /// The engine's thread waits: only then is waking it worth a system call.
    asleep: bool,
    /// The engine's thread waits for somebody else's turn to end.
    overdue: bool,
    left: Left,
    closed: bool,
}

impl<S: StateMachine> Default for Inbox<S> {
    fn default() -> Inbox<S> {
        let state = State {
            events: Vec::new(),
            installed: false,
            turning: false,
            asleep: false,
            overdue: false,
            left: Left { more: false, next_tick: Duration::ZERO },
            closed: false,
        };
        Inbox { state: Mutex::new(state), wake: Condvar::new(), core: Mutex::new(None) }
    }
}

impl<S: StateMachine> std::fmt::Debug for Inbox<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl<S: StateMachine> State<S> {
    fn has_work(&self) -> bool {
        !self.events.is_empty() || self.left.more
    }

    /// The right to turn, where it is free, with all that waits.
    fn take_turn(&mut self) -> Option<Vec<Event<S>>> {
        if self.turning || !self.installed || self.closed {
            return None;
        }
        self.turning = true;
        Some(std::mem::take(&mut self.events))
    }
}

impl<S: StateMachine> Inbox<S> {
    /// Adds an event, and leaves it to the engine's thread. False where the engine has stopped; the event is dropped then.
    pub fn post(&self, event: Event<S>) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.events.push(event);
        self.leave(state);
        true
    }

    /// Adds an event that [`Inbox::turn`] follows on the same thread.
    pub fn add(&self, event: Event<S>) {
        let mut state = self.lock();
        if !state.closed {
            state.events.push(event);
        }
    }

    /// Adds an event and has the engine turn on this thread, unless another one turns. False where the engine has stopped.
    pub fn post_and_turn(&self, event: Event<S>) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.events.push(event);
        self.turn_from(state);
        true
    }

    /// Has the engine turn on this thread, where something waits and no other thread turns.
    pub fn turn(&self) {
        let state = self.lock();
        if state.has_work() {
            self.turn_from(state);
        }
    }

    /// What has come in so far, for an owner that calls the engine itself.
    #[must_use]
    pub fn drain(&self) -> Vec<Event<S>> {
        std::mem::take(&mut self.lock().events)
    }

    /// Whether something has come in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().events.is_empty()
    }

    /// Ends the engine after its present turn.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// From now on there is an engine to turn.
    pub(crate) fn install(&self, core: Core<S>) {
        let next_tick = core.engine.next_tick();
        *self.core.lock().unwrap_or_else(PoisonError::into_inner) = Some(core);
        let mut state = self.lock();
        state.left.next_tick = next_tick;
        state.installed = true;
    }

    /// The engine's thread: turns whatever others leave to it, until the inbox is closed. The core ends with it.
    pub(crate) fn keep_turning(&self) {
        let clock = self.core().as_ref().map(|core| core.clock.clone());
        let Some(clock) = clock else { return };
        while let Some(events) = self.wait_for_turn(&*clock) {
            self.keep_turn(events, u32::MAX);
        }
        let mut state = self.lock();
        while state.turning {
            state.overdue = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        let core = self.core().take();
        drop(core);
    }

    /// The right to turn with what came in, once there is something to do. None when closed.
    fn wait_for_turn(&self, clock: &dyn Clock) -> Option<Vec<Event<S>>> {
        let mut state = self.lock();
        let mut woken = false;
        while !state.closed {
            if state.turning {
                state.overdue = true;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let patience = state.left.next_tick.saturating_sub(clock.now());
            if state.has_work() || patience.is_zero() {
                if !std::mem::take(&mut woken) || state.events.is_empty() {
                    return state.take_turn();
                }
                // The first event of many wakes this thread, mostly before the others are posted. Giving way once lets
                // those come in that are ready to: under load a turn serves more of them, idle it costs nothing. Measured
                // in docs/benchmarks.md.
                drop(state);
                std::thread::yield_now();
                state = self.lock();
                continue;
            }
            state.asleep = true;
            state = self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
            state.asleep = false;
            woken = true;
        }
        None
    }

    /// Leaves what waits to the engine's thread, or to whoever turns.
    fn leave(&self, mut state: MutexGuard<'_, State<S>>) {
        let wake = !state.turning && std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    fn turn_from(&self, mut state: MutexGuard<'_, State<S>>) {
        match state.take_turn() {
            Some(events) => {
                drop(state);
                self.keep_turn(events, BORROWED_TURNS_MAX);
            }
            None => self.leave(state),
        }
    }

    /// Turns, with the right to do so, until nothing waits or so many turns are made; then gives the right back.
    fn keep_turn(&self, mut events: Vec<Event<S>>, turns_max: u32) {
        let unfinished = Unfinished(self);
        let mut guard = self.core();
        let core = guard.as_mut().expect("a core is there as long as turns are given out");
        for turn in 1.. {
            let turned = core.turn(events);
            let mut state = match turned {
                Ok(left) => {
                    let mut state = self.lock();
                    state.left = left;
                    state
                }
                Err(error) => {
                    let error = self.cause(error);
                    self.close();
                    if let Some(failed) = core.failed.take() {
                        failed(error);
                    }
                    self.lock()
                }
            };
            if state.closed || !state.has_work() || turn == turns_max {
                std::mem::forget(unfinished);
                drop(guard);
                return self.give_back(state);
            }
            events = std::mem::take(&mut state.events);
        }
    }

    /// Whoever turned does so no more. What is left then is the engine's thread's.
    fn give_back(&self, mut state: MutexGuard<'_, State<S>>) {
        state.turning = false;
        let wake = std::mem::take(&mut state.overdue) || (state.has_work() && std::mem::take(&mut state.asleep));
        drop(state);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Why the engine really stops. A turn may meet a log that has failed before it has been told how; the log's thread says
    /// so in a moment.
    fn cause(&self, error: EngineError) -> EngineError {
        if !matches!(error, EngineError::Log(LogError::Failed)) {
            return error;
        }
        let end = Instant::now() + CAUSE_PATIENCE;
        while self.is_empty() && Instant::now() < end {
            std::thread::sleep(CAUSE_PATIENCE / 20);
        }
        for event in self.drain() {
            if let Event::LogWritten(Err(cause)) = event {
                return cause.into();
            }
        }
        error
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn core(&self) -> MutexGuard<'_, Option<Core<S>>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn under way. Where it panics, nobody turns any more.
struct Unfinished<'i, S: StateMachine>(&'i Inbox<S>);

impl<S: StateMachine> Drop for Unfinished<'_, S> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        state.turning = false;
        drop(state);
        self.0.wake.notify_all();
    }
}
