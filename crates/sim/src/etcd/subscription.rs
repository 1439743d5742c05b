//! A client's stream of watches at one member, as far as its connection holds; all that it is told is written down.

use std::sync::Arc;
use std::time::Duration;

use kontiki_kv::Event;
use kontiki_raft::NodeId;
use kontiki_store::{WatchCreate, WatchKind, WatchResponse, WatchStream};

use super::client::{Client, Site};
use super::directory::Connection;
use super::{Told, WatchSession, words};

/// A stream of watches, all of them with sessions of their own in the history.
pub(crate) struct Subscription {
    site: Arc<Site>,
    connection: Connection,
    stream: WatchStream,
    /// Each watch's session in the history; its identity in the stream is its place here, from one.
    sessions: Vec<Session>,
    member: NodeId,
    /// Tells it from other streams in the trace.
    number: u64,
    /// How long an answer is on its way.
    way: Duration,
    /// An answer on its way, and when it arrives.
    arriving: Option<(WatchResponse, Duration)>,
}

struct Session {
    number: usize,
    prev_kv: bool,
    over: bool,
}

/// Something came, for the watch of this place, or for all of them.
pub(crate) struct News {
    pub(crate) place: Option<usize>,
    pub(crate) told: Told,
}

impl Subscription {
    /// Opens a stream at the client's member; none where that refuses.
    pub(crate) async fn open(client: &mut Client) -> Option<Subscription> {
        let member = client.member();
        let connection = client.connect().await?;
        let stream = connection.store.watch_stream();
        let number = client.site.watch_name();
        let (site, way) = (client.site.clone(), client.delay());
        Some(Subscription { site, connection, stream, sessions: Vec::new(), member, number, way, arriving: None })
    }

    /// Asks for a watch; gives its place.
    pub(crate) fn create(&mut self, watch: u64, wish: &WatchCreate) -> usize {
        let place = self.sessions.len();
        let number = {
            let mut history = self.site.recorder.history();
            history.watches.push(WatchSession {
                watch,
                member: self.member,
                begun: self.site.spawner.now(),
                range: wish.range.clone(),
                start_revision: wish.start_revision,
                no_put: wish.no_put,
                no_delete: wish.no_delete,
                prev_kv: wish.prev_kv,
                told: Vec::new(),
                ended: None,
            });
            history.watches.len() - 1
        };
        self.sessions.push(Session { number, prev_kv: wish.prev_kv, over: false });
        self.stream.create(WatchCreate { watch_id: identity(place), ..wish.clone() });
        place
    }

    /// Asks how far the watches are.
    pub(crate) fn request_progress(&mut self) {
        self.stream.request_progress();
    }

    /// Asks for the end of a watch.
    pub(crate) fn cancel(&mut self, place: usize) {
        self.stream.cancel(identity(place));
    }

    /// Waits for news; none where the connection broke: what was on its way then is lost. Nothing is lost where the future is
    /// dropped.
    pub(crate) async fn next(&mut self) -> Option<News> {
        if self.arriving.is_none() {
            let response = tokio::select! {
                biased;
                () = self.connection.broken() => return None,
                response = self.stream.next() => response,
            };
            self.arriving = Some((response, self.site.spawner.now() + self.way));
        }
        let (_, due) = self.arriving.as_ref()?;
        tokio::select! {
            biased;
            () = self.connection.broken() => return None,
            () = self.site.spawner.sleep_until(*due) => {}
        }
        let (response, _) = self.arriving.take()?;
        Some(self.note(response))
    }

    /// Does not read for a while. False where the connection broke.
    pub(crate) async fn rests(&mut self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.connection.broken() => false,
            () = self.site.spawner.sleep(time) => true,
        }
    }

    fn note(&mut self, response: WatchResponse) -> News {
        let place = usize::try_from(response.watch_id - 1).ok();
        let own = place.and_then(|place| self.sessions.get_mut(place));
        let told = match response.kind {
            WatchKind::Created => Told::Created(response.revision),
            WatchKind::Progress => Told::Progress(response.revision),
            WatchKind::Canceled { compact_revision } => Told::Canceled(compact_revision),
            WatchKind::Rejected(reason) => panic!("a watch was refused that is in order: {reason}"),
            WatchKind::Events(events) => {
                let shown = own.as_ref().is_some_and(|session| session.prev_kv);
                Told::Events(events.iter().map(|event| as_shown(event, shown)).collect())
            }
        };
        if let (Some(session), Told::Canceled(_)) = (own, &told) {
            session.over = true;
        }
        self.write_down(place, &told);
        News { place, told }
    }

    fn write_down(&self, place: Option<usize>, told: &Told) {
        let name = place.map_or_else(|| "all".to_owned(), |place| place.to_string());
        self.site
            .journal
            .say("watch", format!("stream {} n{} {name}: {}", self.number, self.member.0, words::told(told)));
        let now = self.site.spawner.now();
        let mut history = self.site.recorder.history();
        for (at, session) in self.sessions.iter().enumerate() {
            let concerned = place.map_or(!session.over, |place| place == at);
            if concerned && let Some(record) = history.watches.get_mut(session.number) {
                record.told.push((now, told.clone()));
                if matches!(told, Told::Canceled(_)) {
                    record.ended = Some(now);
                }
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let now = self.site.spawner.now();
        let mut history = self.site.recorder.history();
        for session in &self.sessions {
            if let Some(record) = history.watches.get_mut(session.number) {
                record.ended.get_or_insert(now);
            }
        }
    }
}

fn identity(place: usize) -> i64 {
    i64::try_from(place + 1).expect("a stream has few watches")
}

/// The event as the wire would show it: what was there before only to those who asked for it.
fn as_shown(event: &Event, prev_kv: bool) -> Event {
    let prev_kv = if prev_kv { event.prev_kv.clone() } else { None };
    Event { kind: event.kind, kv: event.kv.clone(), prev_kv }
}
