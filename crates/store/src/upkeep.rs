//! What a member does of its own accord: compaction by time or number, and lowering its own alarm.
//!
//! The tasks hold the store only while they work, so that one that is dropped ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kontiki_kv::{Alarm, Command, Proposer};

use crate::compactor;
use crate::options::Upkeep;
use crate::store::Store;

/// How often a member looks whether its alarm can be lowered.
const LOOKS_EVERY: Duration = Duration::from_secs(5);

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The tasks that the options ask for.
pub fn tasks(store: &Store, upkeep: Upkeep) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    if let Some(auto) = upkeep.auto_compaction {
        tasks.push(Box::pin(compactor::run(store, auto)));
    }
    if upkeep.clears_no_space {
        tasks.push(Box::pin(lower_alarms(store)));
    }
    tasks
}

/// Lowers this member's alarm NOSPACE once a tenth of the quota is free again: then it is not raised by the next write.
fn lower_alarms(store: &Store) -> impl Future<Output = ()> + Send + 'static {
    let (clock, parts) = (store.0.surroundings.clock.clone(), Arc::downgrade(&store.0));
    async move {
        loop {
            clock.sleep_until(clock.now() + LOOKS_EVERY).await;
            let Some(parts) = parts.upgrade() else { return };
            let store = Store(parts, Proposer::Member);
            let member = store.0.identity.member_id;
            let reader = store.reader();
            let raised = reader.alarms().is_ok_and(|alarms| alarms.contains(&(member, Alarm::NoSpace)));
            let room = i64::try_from(reader.size().1).unwrap_or(i64::MAX) < store.0.quota - store.0.quota / 10;
            if !raised || store.0.quota > 0 && !room {
                continue;
            }
            match store.propose(Command::Alarm { raise: false, member, alarm: Alarm::NoSpace }).await {
                Ok(_) => tracing::info!("a tenth of the quota is free again: lowered the alarm NOSPACE"),
                Err(error) => tracing::debug!(%error, "could not lower the alarm NOSPACE; trying again"),
            }
        }
    }
}
