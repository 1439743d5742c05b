//! The changes behind the revision that was copied, one by one, until it is enough.

use std::time::Duration;

use kontiki_api::kv::Event;
use kontiki_api::kv::event::EventType;
use kontiki_api::rpc::RangeRequest;
use tokio::time::Instant;

use super::leases::Leases;
use super::write::{apply, delete, put};
use crate::ctl::changes::{Change, Changes};
use crate::ctl::client::Context;
use crate::ctl::failure::Failure;
use crate::ctl::keys::KeyRange;
use crate::ctl::session::asked_to_end;

/// How often the source is asked how far its changes were told.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How often it is said how far the target is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What following brought.
#[derive(Debug, Default)]
pub struct Followed {
    /// The source's revision that the target has reached.
    pub revision: i64,
    pub revisions: u64,
    pub changes: u64,
}

/// Follows until a signal comes, and then to the revision at which the source is then.
pub async fn follow(
    source: &Context,
    target: &Context,
    leases: &Leases<'_>,
    from: i64,
    operations: usize,
) -> Result<Followed, Failure> {
    let mut followed = Followed { revision: from, ..Default::default() };
    let everything = KeyRange::prefix(bytes::Bytes::new());
    let mut changes = Changes::from(source, everything, from + 1).asking_progress(ASK_EVERY);
    let mut stop = std::pin::pin!(asked_to_end());
    let mut last = None;
    let mut said = Instant::now();
    eprintln!("following the etcd from revision {from} on; press Ctrl-C when its clients are stopped");
    while last.is_none_or(|last| followed.revision < last) {
        tokio::select! {
            change = changes.next() => match change? {
                Change::Revision(revision, events) => {
                    bring(target, leases, &events, operations).await?;
                    followed.revisions += 1;
                    followed.changes += events.len() as u64;
                    followed.revision = followed.revision.max(revision);
                }
                Change::Reached(revision) => followed.revision = followed.revision.max(revision),
            },
            () = &mut stop, if last.is_none() => last = Some(present_revision(source).await?),
        }
        if said.elapsed() >= SAY_EVERY {
            said = Instant::now();
            eprintln!("at revision {}: {} changes", followed.revision, followed.changes);
        }
    }
    Ok(followed)
}

/// The revision that the source is at.
pub async fn present_revision(source: &Context) -> Result<i64, Failure> {
    let request = RangeRequest { key: "\0".into(), count_only: true, ..Default::default() };
    let answer = source.read(async |from| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
    Ok(answer.header.unwrap_or_default().revision)
}

async fn bring(target: &Context, leases: &Leases<'_>, events: &[Event], operations: usize) -> Result<(), Failure> {
    for part in events.chunks(operations.max(1)) {
        let mut todo = Vec::new();
        for event in part {
            let mut pair = event.kv.clone().unwrap_or_default();
            if event.r#type() == EventType::Delete {
                todo.push(delete(pair.key));
                continue;
            }
            // Where the lease has ended meanwhile, the deletion of the key follows.
            if pair.lease != 0 && !leases.ensure(pair.lease).await? {
                pair.lease = 0;
            }
            todo.push(put(pair));
        }
        apply(target, todo).await?;
    }
    Ok(())
}
