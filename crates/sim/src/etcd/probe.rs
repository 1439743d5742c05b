//! The proof of life: a member must take a write, answer a linearizable read, and tell a watch of the write, in a given time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, OperationError};
use kontiki_raft::NodeId;
use kontiki_store::WatchCreate;

use super::client::{Client, Site};
use super::requests::{one, put, read};
use super::subscription::Subscription;
use super::{Answer, Request, Told};
use crate::observation::Violation;

/// An answer may be lost on its way to the client, which then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A watch was told that it is over.
const WATCH_ENDED: &str = "the watch ended";

/// Proofs under way. Clones are the same proofs.
#[derive(Clone, Debug, Default)]
pub struct Probe(Arc<Mutex<BTreeMap<NodeId, Course>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Course {
    UnderWay,
    Alive,
    Failed(String),
}

impl Probe {
    /// Asks these members.
    pub(crate) fn begin(site: &Arc<Site>, members: &[NodeId], within: Duration) -> Probe {
        site.settle();
        let probe = Probe::default();
        for member in members.iter().copied() {
            probe.courses().insert(member, Course::UnderWay);
            let client = Client::at(site, member, within.min(PATIENCE));
            let (probe, spawner) = (probe.clone(), site.spawner.clone());
            site.spawner.spawn(async move {
                let late = || Course::Failed(format!("it did not do so within {within:?}"));
                let course = spawner.timeout(within, keep_asking(client, member)).await.unwrap_or_else(late);
                probe.courses().insert(member, course);
            });
        }
        probe
    }

    fn courses(&self) -> MutexGuard<'_, BTreeMap<NodeId, Course>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every member has answered, or its time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.courses().values().all(|course| *course != Course::UnderWay)
    }

    /// What came of it, as far as these are still members.
    ///
    /// # Errors
    /// Where a member did not answer as it must.
    pub fn verdict(&self, at: Duration, members: &[NodeId]) -> Result<(), Violation> {
        for (member, course) in self.courses().iter().filter(|(member, _)| members.contains(member)) {
            let why = match course {
                Course::Alive => continue,
                Course::UnderWay => "it has not done so yet",
                Course::Failed(why) => why,
            };
            let what = format!("member {member} was asked to write, to read and to tell a watch of it: {why}");
            return Err(Violation { property: "liveness", at, what });
        }
        Ok(())
    }
}

/// A watch whose history is damaged ends, and is asked for again as any client does.
async fn keep_asking(mut client: Client, member: NodeId) -> Course {
    loop {
        let course = ask(&mut client, member).await;
        if course != Course::Failed(WATCH_ENDED.into()) {
            return course;
        }
    }
}

async fn ask(client: &mut Client, member: NodeId) -> Course {
    let key = Bytes::from(format!("probe/{member}"));
    client.ask_only(member);
    // Once it has read what is committed it is as far as the others: a watch from now on cannot meet a compaction.
    let range = Request::Range { range: read(one(key.clone())), serializable: false };
    if let Err(why) = until_answered(client, member, range).await {
        return Course::Failed(why);
    }
    client.ask_only(member);
    let Some(mut subscription) = Subscription::open(client).await else {
        return Course::Failed("it has no process".into());
    };
    let watch = client.site.watch_name();
    subscription.create(watch, &WatchCreate { range: one(key.clone()), ..WatchCreate::default() });
    let value = client.value(0);
    let write = Request::Write(Command::Put(put(key, value.clone(), 0)));
    if let Err(why) = until_answered(client, member, write).await {
        return Course::Failed(why);
    }
    while let Some(news) = subscription.next().await {
        match news.told {
            Told::Events(events) if events.iter().any(|event| event.kv.value == value) => return Course::Alive,
            Told::Canceled(_) => break,
            Told::Created(_) | Told::Events(_) | Told::Progress(_) => {}
        }
    }
    Course::Failed(WATCH_ENDED.into())
}

/// A member may still be looking for its leader: it is asked again as long as there is time.
async fn until_answered(client: &mut Client, member: NodeId, request: Request) -> Result<(), String> {
    loop {
        client.ask_only(member);
        match client.call(request.clone()).await {
            Answer::Written(..) | Answer::Range(..) => return Ok(()),
            Answer::Refused(OperationError::NoSpace) => clear_alarms(client, member).await,
            Answer::Refused(refusal) => return Err(refusal.to_string()),
            _ => {}
        }
        client.backs_off().await;
    }
}

/// An operator raised an alarm, and lost sight of it.
async fn clear_alarms(client: &mut Client, member: NodeId) {
    let Some(connection) = client.site.directory.connect(member) else { return };
    for (member, alarm) in connection.store.reader().alarms().unwrap_or_default() {
        client.write(Command::Alarm { raise: false, member, alarm }).await;
    }
}
