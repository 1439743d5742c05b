//! Watches: what is told is what happened, in order, each event once, whole revisions together, without a gap, and never
//! ahead of time; also across the sessions of one watch that a client resumes.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_kv::{Event, EventKind};

use crate::etcd::history::{History, Told, WatchSession};
use crate::etcd::model::contains;
use crate::etcd::replay::Replay;
use crate::observation::Violation;

const PROPERTY: &str = "watch";

/// Checks it.
///
/// # Errors
/// Where it does not hold.
pub fn check(history: &History, replay: &Replay) -> Result<(), Violation> {
    let mut watches: BTreeMap<u64, Progress> = BTreeMap::new();
    for session in &history.watches {
        let mut follower = Follower { session, replay, progress: Progress::default() };
        if let Some(before) = watches.get(&session.watch) {
            follower.resume(before)?;
        }
        follower.follow()?;
        // A session of which nothing came changes nothing.
        if follower.progress.next.is_some() {
            watches.insert(session.watch, follower.progress);
        }
    }
    Ok(())
}

/// Checks that every session that is still there has been told all that was there at some earlier time: for the end of a
/// run, when everything works again.
///
/// # Errors
/// Where one lags.
pub fn check_caught_up(history: &History, replay: &Replay, as_of: Duration) -> Result<(), Violation> {
    let revision = replay.revision_at(as_of);
    for session in history.watches.iter().filter(|session| session.ended.is_none() && session.begun <= as_of) {
        let mut follower = Follower { session, replay, progress: Progress::default() };
        follower.follow()?;
        let Progress { next, over, .. } = follower.progress;
        if over {
            continue;
        }
        let Some(next) = next else { return Err(follower.violation(as_of, "it was never created")) };
        if let Some(missing) = (next..=revision).find(|revision| follower.wanted(*revision).next().is_some()) {
            return Err(follower.violation(as_of, format_args!("it was not told of revision {missing}")));
        }
    }
    Ok(())
}

/// How far a watch is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Everything below was told. None before the watch exists.
    next: Option<i64>,
    /// The newest revision that it was told of, by events or by progress.
    newest: i64,
    /// The revision of the last event.
    last_event: i64,
    /// It was cancelled.
    over: bool,
}

struct Follower<'h> {
    session: &'h WatchSession,
    replay: &'h Replay,
    progress: Progress,
}

impl Follower<'_> {
    fn violation(&self, at: Duration, why: impl std::fmt::Display) -> Violation {
        let WatchSession { watch, member, begun, range, start_revision, no_put, no_delete, prev_kv, .. } = self.session;
        let what = format!(
            "{why}; watch {watch} at member {} since {begun:?}, {range:?} from revision {start_revision}, no_put {no_put}, \
             no_delete {no_delete}, prev_kv {prev_kv}; {:?}",
            member.0, self.progress
        );
        Violation { property: PROPERTY, at, what }
    }

    /// What the watch is to be told of a revision.
    fn wanted(&self, revision: i64) -> impl Iterator<Item = &Event> {
        let session = self.session;
        self.replay.model.events(revision).iter().filter(|event| {
            let kind = match event.kind {
                EventKind::Put => !session.no_put,
                EventKind::Delete => !session.no_delete,
            };
            kind && (session.range.key.is_empty() || contains(&session.range, &event.kv.key))
        })
    }

    /// The session goes on where another one was.
    fn resume(&self, before: &Progress) -> Result<(), Violation> {
        let start = self.session.start_revision;
        let Some(next) = before.next.filter(|_| start > 0) else { return Ok(()) };
        let begun = self.session.begun;
        if start <= before.last_event {
            return Err(self.violation(begun, format_args!("revision {} was told already", before.last_event)));
        }
        let skipped = (next..start).find(|revision| self.wanted(*revision).next().is_some());
        match skipped.filter(|_| !before.over) {
            Some(revision) => Err(self.violation(begun, format_args!("it skips revision {revision}"))),
            None => Ok(()),
        }
    }

    fn follow(&mut self) -> Result<(), Violation> {
        let mut now = self.session.begun;
        for (at, told) in &self.session.told {
            let at = *at;
            if at < now || self.session.ended.is_some_and(|ended| at > ended) {
                return Err(self.violation(at, "it was told something before the last word, or after its end"));
            }
            now = at;
            if self.progress.over {
                return Err(self.violation(at, format_args!("it was over, and then told {told:?}")));
            }
            match told {
                Told::Created(revision) => self.created(at, *revision)?,
                Told::Events(events) => self.events(at, events)?,
                Told::Progress(revision) => self.progress(at, *revision)?,
                Told::Canceled(compacted) => self.canceled(at, *compacted)?,
            }
        }
        Ok(())
    }

    fn created(&mut self, at: Duration, revision: i64) -> Result<(), Violation> {
        if self.progress.next.is_some() {
            return Err(self.violation(at, "it was created twice"));
        }
        let newest = self.replay.revision_at(at);
        if revision < 1 || revision > newest {
            let why = format_args!("it was created at revision {revision}, the newest anywhere was {newest}");
            return Err(self.violation(at, why));
        }
        let start = self.session.start_revision;
        self.progress.next = Some(if start > 0 { start } else { revision + 1 });
        Ok(())
    }

    fn events(&mut self, at: Duration, events: &[Event]) -> Result<(), Violation> {
        let Some(mut next) = self.progress.next else {
            return Err(self.violation(at, "it was told events before it was created"));
        };
        let mut rest = events.iter().peekable();
        if rest.peek().is_none() {
            return Err(self.violation(at, "it was told no event at all"));
        }
        let newest = self.replay.revision_at(at);
        while let Some(first) = rest.peek() {
            let revision = (next..=newest).find(|revision| self.wanted(*revision).next().is_some());
            let Some(revision) = revision else {
                let why =
                    format_args!("nothing more had happened anywhere, the newest revision was {newest}: {first:?}");
                return Err(self.violation(at, why));
            };
            for expected in self.wanted(revision) {
                let told = rest.next();
                if !told.is_some_and(|told| self.is_same(at, expected, told)) {
                    return Err(
                        self.violation(at, format_args!("it should be told {expected:?}, and was told {told:?}"))
                    );
                }
            }
            next = revision + 1;
        }
        self.progress = Progress { next: Some(next), newest: next - 1, last_event: next - 1, over: false };
        Ok(())
    }

    /// The state before may be unknown where it was compacted. Whoever did not ask for it may get it or not: members keep it
    /// with the event, the front door takes it away.
    fn is_same(&self, at: Duration, expected: &Event, told: &Event) -> bool {
        let unknown = told.prev_kv.is_none()
            && (!self.session.prev_kv || expected.kv.mod_revision - 1 < self.replay.compacted_at(at));
        expected.kind == told.kind && expected.kv == told.kv && (unknown || expected.prev_kv == told.prev_kv)
    }

    fn progress(&mut self, at: Duration, revision: i64) -> Result<(), Violation> {
        let Some(next) = self.progress.next else {
            return Err(self.violation(at, "it was told of progress before it was created"));
        };
        let newest = self.replay.revision_at(at);
        if revision > newest {
            let why = format_args!("progress up to {revision} was told, the newest revision anywhere was {newest}");
            return Err(self.violation(at, why));
        }
        if revision < self.progress.newest {
            return Err(self.violation(at, format_args!("progress fell back to {revision}")));
        }
        if let Some(skipped) = (next..=revision).find(|revision| self.wanted(*revision).next().is_some()) {
            let why = format_args!("progress up to {revision} was told, but not revision {skipped}");
            return Err(self.violation(at, why));
        }
        self.progress.next = Some(next.max(revision + 1));
        self.progress.newest = revision;
        Ok(())
    }

    fn canceled(&mut self, at: Duration, compacted: i64) -> Result<(), Violation> {
        self.progress.over = true;
        let newest = self.replay.compacted_at(at);
        if compacted > newest.max(1) {
            let why = format_args!("compaction up to {compacted} was told, the newest anywhere was {newest}");
            return Err(self.violation(at, why));
        }
        if compacted > 0 && self.session.start_revision >= 0 && self.could_go_on(compacted) {
            return Err(self.violation(at, format_args!("nothing that it should show lies below {compacted}")));
        }
        Ok(())
    }

    /// Whether a watch that was told everything so far needs nothing below a revision.
    fn could_go_on(&self, compacted: i64) -> bool {
        self.progress.next.is_some_and(|next| next >= compacted)
    }
}
