//! Compaction by a rule instead of by clients, as etcd's `--auto-compaction-mode` has it.
//!
//! Every member keeps the rule's memory, so that whoever leads next goes on with it; only the leader compacts.

mod periodic;
mod retention;
mod revisions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kontiki_kv::{OperationError, Proposer};

use self::periodic::Periodic;
use self::revisions::Revisions;
use crate::error::StoreError;
use crate::store::Store;

pub use retention::RetentionError;

/// Which history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCompaction {
    /// That of so long a time, about.
    Periodic(Duration),
    /// So many revisions.
    Revisions(i64),
}

/// A rule at work.
enum Rule {
    Periodic(Periodic),
    Revisions(Revisions),
}

impl Rule {
    fn of(auto: AutoCompaction, now: Duration) -> Rule {
        match auto {
            AutoCompaction::Periodic(period) => Rule::Periodic(Periodic::new(period, now)),
            AutoCompaction::Revisions(kept) => Rule::Revisions(Revisions::new(kept)),
        }
    }

    /// How long until it is asked again.
    fn pause(&self) -> Duration {
        match self {
            Rule::Periodic(rule) => rule.pause(),
            Rule::Revisions(_) => revisions::PAUSE,
        }
    }

    /// Before the pause: what the rule is to remember.
    fn sample(&mut self, revision: i64) {
        if let Rule::Periodic(rule) = self {
            rule.sample(revision);
        }
    }

    /// Behind the pause: up to where to compact, if at all.
    fn due(&self, now: Duration, revision: i64) -> Option<i64> {
        match self {
            Rule::Periodic(rule) => rule.due(now),
            Rule::Revisions(rule) => rule.due(revision),
        }
    }

    /// It was done, or somebody had done it before.
    fn done(&mut self, now: Duration, revision: i64) {
        match self {
            Rule::Periodic(rule) => rule.done(now, revision),
            Rule::Revisions(rule) => rule.done(revision),
        }
    }
}

/// Compacts by a rule as long as the store lives.
pub(crate) fn run(store: &Store, auto: AutoCompaction) -> impl Future<Output = ()> + Send + 'static {
    let (clock, parts) = (store.0.surroundings.clock.clone(), Arc::downgrade(&store.0));
    let revision = store.reader().revision();
    async move {
        let mut rule = Rule::of(auto, clock.now());
        rule.sample(revision);
        loop {
            clock.sleep_until(clock.now() + rule.pause()).await;
            let Some(parts) = parts.upgrade() else { return };
            let store = Store(parts, Proposer::Member);
            let leads = store.0.link.leadership.borrow().is_leader;
            let due = rule.due(clock.now(), store.reader().revision()).filter(|_| leads);
            if let Some(revision) = due {
                match store.compact(revision, false).await {
                    Ok(_) => tracing::info!(revision, "compacted, as --auto-compaction-retention says"),
                    Err(StoreError::Operation(OperationError::Compacted)) => {}
                    Err(error) => {
                        tracing::warn!(revision, %error, "automatic compaction failed; it is tried again");
                        rule.sample(store.reader().revision());
                        continue;
                    }
                }
                rule.done(clock.now(), revision);
            }
            rule.sample(store.reader().revision());
        }
    }
}
