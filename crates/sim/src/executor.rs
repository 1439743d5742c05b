//! Tasks in virtual time, in one thread: what was woken runs in the order of birth, so that a run follows from its seed alone.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Something that runs beside everything else.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that end together, such as those of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(pub u64);

impl Scope {
    /// The scope of what lives as long as the run.
    pub const RUN: Scope = Scope(0);
}

/// Runs tasks.
#[derive(Default)]
pub struct Executor {
    tasks: BTreeMap<u64, (Scope, Task)>,
    spawner: Spawner,
    /// Scopes whose tasks get no time.
    held: BTreeSet<Scope>,
    /// Tasks of those that were woken meanwhile.
    woken: BTreeSet<u64>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Gives tasks to an executor, and tells its time. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spawner(Arc<Mutex<Shared>>);

#[derive(Default)]
struct Shared {
    now: Duration,
    born: u64,
    ready: BTreeSet<u64>,
    newborn: Vec<(u64, Scope, Task)>,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_made: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Spawner {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.lock().now
    }

    /// Adds a task that lives as long as the run, or until it ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_in(Scope::RUN, Box::pin(task));
    }

    /// Adds a task that ends with its scope.
    pub fn spawn_in(&self, scope: Scope, task: Task) {
        let mut shared = self.lock();
        shared.born += 1;
        let id = shared.born;
        shared.newborn.push((id, scope, task));
        shared.ready.insert(id);
    }

    /// Waits until a moment of virtual time.
    #[must_use]
    pub fn sleep_until(&self, at: Duration) -> Sleep {
        Sleep { spawner: self.clone(), at, timer: None }
    }

    /// Waits for so long.
    #[must_use]
    pub fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now() + time)
    }

    /// Waits for a future, but only for so long; none where it took longer.
    pub async fn timeout<F: Future>(&self, patience: Duration, future: F) -> Option<F::Output> {
        let late = self.sleep(patience);
        tokio::select! {
            biased;
            output = future => Some(output),
            () = late => None,
        }
    }
}

/// Waits in virtual time.
#[derive(Debug)]
pub struct Sleep {
    spawner: Spawner,
    at: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let mut shared = self.spawner.lock();
        if shared.now >= at {
            return Poll::Ready(());
        }
        let timer = self.timer.unwrap_or_else(|| {
            shared.timers_made += 1;
            shared.timers_made
        });
        shared.timers.insert((at, timer), context.waker().clone());
        drop(shared);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.spawner.lock().timers.remove(&(self.at, timer));
            drop(waker); // outside the lock: it may hold the last handle of a task
        }
    }
}

struct TaskWaker {
    id: u64,
    spawner: Spawner,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.spawner.lock().ready.insert(self.id);
    }
}

impl Executor {
    /// Where tasks are given to it.
    #[must_use]
    pub fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// When a sleeping task is due, if any sleeps.
    #[must_use]
    pub fn next_timer(&self) -> Option<Duration> {
        self.spawner.lock().timers.keys().next().map(|(at, _)| *at)
    }

    /// Whether a task could run now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.spawner.lock().ready.is_empty()
    }

    /// It is later now: tasks whose time has come are woken.
    pub fn advance(&mut self, now: Duration) {
        let mut due = Vec::new();
        {
            let mut shared = self.spawner.lock();
            assert!(now >= shared.now, "virtual time never goes back");
            shared.now = now;
            while let Some(entry) = shared.timers.first_entry()
                && entry.key().0 <= now
            {
                due.push(entry.remove());
            }
        }
        due.into_iter().for_each(Waker::wake);
    }

    /// Runs all tasks that can run, once each, in the order of their birth. True where any ran.
    pub fn run_ready(&mut self) -> bool {
        let (ready, newborn) = {
            let mut shared = self.spawner.lock();
            (std::mem::take(&mut shared.ready), std::mem::take(&mut shared.newborn))
        };
        self.tasks.extend(newborn.into_iter().map(|(id, scope, task)| (id, (scope, task))));
        for id in &ready {
            let Some((scope, task)) = self.tasks.get_mut(id) else { continue };
            if self.held.contains(scope) {
                self.woken.insert(*id);
                continue;
            }
            let waker = Waker::from(Arc::new(TaskWaker { id: *id, spawner: self.spawner.clone() }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(id);
            }
        }
        !ready.is_empty()
    }

    /// The tasks of a scope get no time until [`Executor::release`].
    pub fn hold(&mut self, scope: Scope) {
        self.held.insert(scope);
    }

    /// The tasks of a scope get time again.
    pub fn release(&mut self, scope: Scope) {
        if self.held.remove(&scope) {
            let tasks = &self.tasks;
            let of = |id: &u64| tasks.get(id).is_none_or(|(of, _)| *of == scope);
            let (woken, others) = std::mem::take(&mut self.woken).into_iter().partition(of);
            self.woken = others;
            let woken: BTreeSet<u64> = woken;
            self.spawner.lock().ready.extend(woken);
        }
    }

    /// Ends all tasks of a scope, wherever they are.
    pub fn end(&mut self, scope: Scope) {
        self.held.remove(&scope);
        let newborn = {
            let mut shared = self.spawner.lock();
            let (gone, left) = std::mem::take(&mut shared.newborn).into_iter().partition(|(_, of, _)| *of == scope);
            shared.newborn = left;
            let gone: Vec<(u64, Scope, Task)> = gone;
            gone
        };
        drop(newborn);
        self.tasks.retain(|_, (of, _)| *of != scope);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn run(executor: &mut Executor, until: Duration) {
        loop {
            while executor.run_ready() {}
            match executor.next_timer() {
                Some(at) if at <= until => executor.advance(at),
                _ => break,
            }
        }
    }

    #[test]
    fn tasks_sleep_in_virtual_time_and_wake_in_order() {
        let mut executor = Executor::default();
        let log: Arc<Mutex<Vec<(u64, u32)>>> = Arc::default();
        for name in 0..3 {
            let (spawner, log) = (executor.spawner().clone(), log.clone());
            executor.spawner().spawn(async move {
                for round in 1..=2 {
                    spawner.sleep(Duration::from_secs(round * 60)).await;
                    log.lock().unwrap_or_else(PoisonError::into_inner).push((spawner.now().as_secs(), name));
                }
            });
        }
        run(&mut executor, Duration::from_secs(3_600));
        let log = log.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*log, [(60, 0), (60, 1), (60, 2), (180, 0), (180, 1), (180, 2)]);
        assert!(executor.tasks.is_empty());
    }

    #[test]
    fn a_timeout_is_told_from_an_answer() {
        let mut executor = Executor::default();
        let answers = Arc::new(AtomicUsize::new(0));
        let (spawner, sum) = (executor.spawner().clone(), answers.clone());
        executor.spawner().spawn(async move {
            let second = Duration::from_secs(1);
            assert!(spawner.timeout(second, spawner.sleep(second * 2)).await.is_none());
            assert!(spawner.timeout(second, spawner.sleep(second / 2)).await.is_some());
            sum.fetch_add(1, Ordering::Relaxed);
        });
        run(&mut executor, Duration::from_secs(10));
        assert_eq!(answers.load(Ordering::Relaxed), 1);
        assert_eq!(executor.next_timer(), None, "what nobody waits for any more is forgotten");
    }

    #[test]
    fn a_held_scope_runs_late() {
        let mut executor = Executor::default();
        let woken = Arc::new(AtomicUsize::new(0));
        let (spawner, at) = (executor.spawner().clone(), woken.clone());
        let task = Box::pin(async move {
            spawner.sleep(Duration::from_secs(1)).await;
            at.store(spawner.now().as_secs() as usize, Ordering::Relaxed);
        });
        executor.spawner().spawn_in(Scope(1), task);
        executor.run_ready();
        executor.hold(Scope(1));
        run(&mut executor, Duration::from_secs(2));
        executor.advance(Duration::from_secs(5));
        while executor.run_ready() {}
        assert_eq!(woken.load(Ordering::Relaxed), 0);
        executor.release(Scope(1));
        run(&mut executor, Duration::from_secs(6));
        assert_eq!(woken.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_scope_ends_its_tasks_and_no_others() {
        let mut executor = Executor::default();
        let ran = Arc::new(AtomicUsize::new(0));
        for scope in [Scope::RUN, Scope(1), Scope(1)] {
            let (spawner, ran) = (executor.spawner().clone(), ran.clone());
            let task = Box::pin(async move {
                spawner.sleep(Duration::from_secs(1)).await;
                ran.fetch_add(1, Ordering::Relaxed);
            });
            executor.spawner().spawn_in(scope, task);
        }
        executor.run_ready();
        executor.end(Scope(1));
        run(&mut executor, Duration::from_secs(2));
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    }
}
