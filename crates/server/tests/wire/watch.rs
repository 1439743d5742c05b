//! Watches.

use kontiki_api::kv::event::EventType;
use kontiki_api::rpc::watch_create_request::FilterType;
use kontiki_api::rpc::watch_request::RequestUnion;
use kontiki_api::rpc::{
    CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Streaming};

use crate::harness::{Member, REQUEST_BYTES_MAX, delete, refused, soon};

/// One stream.
pub struct Watcher {
    requests: mpsc::Sender<WatchRequest>,
    pub responses: Streaming<WatchResponse>,
}

/// A stream of requests out of a channel.
struct Requests(mpsc::Receiver<WatchRequest>);

impl futures_util::Stream for Requests {
    type Item = WatchRequest;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<WatchRequest>> {
        self.0.poll_recv(context)
    }
}

impl Watcher {
    async fn open(member: &Member) -> Watcher {
        Watcher::open_with(member, |_| ()).await
    }

    /// Opens a stream with metadata.
    pub async fn open_with(member: &Member, change: impl FnOnce(&mut MetadataMap)) -> Watcher {
        let (requests, receiver) = mpsc::channel(16);
        let mut request = Request::new(Requests(receiver));
        change(request.metadata_mut());
        let responses = member.watch().watch(request).await.unwrap().into_inner();
        Watcher { requests, responses }
    }

    pub async fn send(&self, union: RequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(union) }).await.unwrap();
    }

    async fn create(&self, request: WatchCreateRequest) {
        self.send(RequestUnion::CreateRequest(request)).await;
    }

    pub async fn next(&mut self) -> WatchResponse {
        soon(self.responses.message()).await.unwrap().expect("the stream goes on")
    }

    /// Creates a watch and takes the confirmation.
    pub async fn created(&mut self, request: WatchCreateRequest) -> WatchResponse {
        self.create(request).await;
        let response = self.next().await;
        assert!(response.created && !response.canceled, "{response:?}");
        response
    }

    /// Collects so many events of any watch as text.
    async fn events(&mut self, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            let response = self.next().await;
            for event in response.events {
                let kind = if event.r#type == EventType::Put as i32 { "put" } else { "delete" };
                let kv = event.kv.unwrap();
                let before =
                    event.prev_kv.map_or(String::new(), |kv| format!(" before {}", String::from_utf8_lossy(&kv.value)));
                events.push(format!(
                    "{}@{} {kind} {}={}{before}",
                    response.watch_id,
                    kv.mod_revision,
                    String::from_utf8_lossy(&kv.key),
                    String::from_utf8_lossy(&kv.value)
                ));
            }
        }
        events
    }
}

/// Asks for a key or a range.
pub fn on(key: &str, range_end: &str) -> WatchCreateRequest {
    WatchCreateRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..WatchCreateRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_now_and_from_the_past() {
    let member = Member::start().await;
    member.put("a", "1").await;
    let mut watcher = Watcher::open(&member).await;
    let created = watcher.created(on("a", "")).await;
    assert_eq!((created.watch_id, created.header.unwrap().revision), (0, 2), "identities count up from zero");
    member.put("a", "2").await;
    member.put("b", "not watched").await;
    assert_eq!(watcher.events(1).await, ["0@3 put a=2"]);
    let past = WatchCreateRequest { start_revision: 2, prev_kv: true, ..on("a", "z") };
    assert_eq!(watcher.created(past).await.watch_id, 1);
    assert_eq!(watcher.events(3).await, ["1@2 put a=1", "1@3 put a=2 before 1", "1@4 put b=not watched"]);
    member.kv().delete_range(delete("a", "z")).await.unwrap();
    let mut both = watcher.events(3).await;
    both.sort();
    assert_eq!(both, ["0@5 delete a=", "1@5 delete a= before 2", "1@5 delete b= before not watched"]);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_identities() {
    let member = Member::start().await;
    let mut watcher = Watcher::open(&member).await;
    let puts_only = WatchCreateRequest { filters: vec![FilterType::Nodelete as i32], watch_id: 7, ..on("a", "") };
    assert_eq!(watcher.created(puts_only.clone()).await.watch_id, 7);
    watcher.create(puts_only).await;
    let again = watcher.next().await;
    assert!(again.created && again.canceled);
    assert_eq!(again.watch_id, -1);
    assert_eq!(again.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    let one_below_zero = WatchCreateRequest { watch_id: -1, ..on("c", "") };
    assert_eq!(watcher.created(one_below_zero).await.watch_id, -1, "an identity like any other");
    let deletions_only = WatchCreateRequest { filters: vec![FilterType::Noput as i32], ..on("a", "") };
    assert_eq!(watcher.created(deletions_only).await.watch_id, 0);
    member.put("a", "1").await;
    member.kv().delete_range(delete("a", "")).await.unwrap();
    let mut events = watcher.events(2).await;
    events.sort();
    assert_eq!(events, ["0@3 delete a=", "7@2 put a=1"]);
    watcher.create(on("b", "a")).await;
    let empty = watcher.next().await;
    assert!(empty.created && empty.canceled);
    assert_eq!((empty.watch_id, empty.cancel_reason.as_str()), (-1, "mvcc: watcher range is empty"));
    watcher.create(WatchCreateRequest { start_revision: -1, ..on("a", "") }).await;
    let negative = watcher.next().await;
    assert!(negative.created && negative.canceled);
    assert_eq!(
        (negative.watch_id, negative.cancel_reason.as_str()),
        (-1, "etcdserver: mvcc: required revision has been compacted")
    );
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelled_by_the_client_and_by_compaction() {
    let member = Member::start().await;
    for value in ["1", "2", "3", "4"] {
        member.put("a", value).await;
    }
    let mut watcher = Watcher::open(&member).await;
    watcher.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 99 })).await; // ignored
    watcher.created(on("a", "")).await;
    watcher.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 0 })).await;
    let cancelled = watcher.next().await;
    assert!(cancelled.canceled && !cancelled.created);
    assert_eq!((cancelled.watch_id, cancelled.compact_revision, cancelled.cancel_reason.as_str()), (0, 0, ""));
    member.kv().compact(CompactionRequest { revision: 4, physical: false }).await.unwrap();
    watcher.created(WatchCreateRequest { start_revision: 2, ..on("a", "") }).await;
    let compacted = watcher.next().await;
    assert!(compacted.canceled);
    assert_eq!((compacted.compact_revision, compacted.cancel_reason.as_str()), (4, ""));
    assert_eq!(compacted.header.unwrap().revision, 0);
    let at = watcher.created(WatchCreateRequest { start_revision: 4, ..on("a", "") }).await.watch_id;
    assert_eq!(watcher.events(2).await, [format!("{at}@4 put a=3"), format!("{at}@5 put a=4")]);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress() {
    let member = Member::start().await;
    let mut watcher = Watcher::open(&member).await;
    watcher.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await; // without watches: no answer
    watcher.created(on("a", "")).await;
    member.put("other", "1").await;
    watcher.send(RequestUnion::ProgressRequest(WatchProgressRequest {})).await;
    let manual = watcher.next().await;
    assert_eq!((manual.watch_id, manual.events.len(), manual.header.unwrap().revision), (-1, 0, 2));
    let notified = WatchCreateRequest { progress_notify: true, watch_id: 5, ..on("b", "") };
    watcher.created(notified).await;
    let automatic = watcher.next().await;
    assert_eq!((automatic.watch_id, automatic.events.len(), automatic.header.unwrap().revision), (5, 0, 2));
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fragments_where_asked_for() {
    let member = Member::start().await;
    let value = "v".repeat(REQUEST_BYTES_MAX / 4);
    for number in 0..10 {
        member.put(&format!("k{number}"), &value).await;
    }
    let mut watcher = Watcher::open(&member).await;
    watcher.created(WatchCreateRequest { start_revision: 2, fragment: true, ..on("k", "l") }).await;
    let (mut events, mut parts) = (0, 0);
    while events < 10 {
        let response = watcher.next().await;
        events += response.events.len();
        parts += 1;
        assert!(response.events.len() <= 3, "{} events in a part", response.events.len());
        if events == 10 {
            assert!(!response.fragment);
        }
    }
    assert!(parts >= 4);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_events_in_order_to_many_watchers() {
    const EVENTS: usize = 500;
    let member = Member::start().await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        let mut watcher = Watcher::open(&member).await;
        watcher.created(on("k", "l")).await;
        watchers.push(watcher);
    }
    let mut puts = Vec::new();
    for number in 0..EVENTS {
        let mut kv = member.kv();
        let request = crate::harness::put(&format!("k{}", number % 7), "v");
        puts.push(tokio::spawn(async move { kv.put(request).await.unwrap() }));
    }
    for put in puts {
        put.await.unwrap();
    }
    for watcher in &mut watchers {
        let mut expected = 2;
        while expected < 2 + EVENTS as i64 {
            for event in watcher.next().await.events {
                assert_eq!(event.kv.unwrap().mod_revision, expected, "no gap, nothing twice");
                expected += 1;
            }
        }
    }
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_closed_streams_go_on_until_the_server_stops() {
    let member = Member::start().await;
    let mut watcher = Watcher::open(&member).await;
    watcher.created(on("a", "")).await;
    let (unused, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut watcher.requests, unused));
    member.put("a", "1").await;
    assert_eq!(watcher.events(1).await, ["0@2 put a=1"]);
    member.stop().await;
    refused(watcher.responses.message().await, Code::Unavailable, "etcdserver: server stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_leaves_nothing() {
    let member = Member::start().await;
    let mut watcher = Watcher::open(&member).await;
    watcher.created(on("a", "")).await;
    assert_eq!(member.store.statistics().watchers, 1);
    drop(watcher); // resets the stream
    soon(async {
        while member.store.statistics().watch_streams > 0 || member.store.statistics().watchers > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    member.stop().await;
}

/// A stream that nobody reads fills up and is served from storage later; whoever shares the connection or the keys notices
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_read_holds_up_nobody() {
    let member = Member::start().await;
    let watched = || WatchCreateRequest { key: "k".into(), range_end: "l".into(), prev_kv: true, ..Default::default() };
    let mut unread = Watcher::open(&member).await;
    unread.created(watched()).await;
    let mut read = Watcher::open(&member).await;
    read.created(watched()).await;
    let value = "v".repeat(50_000);
    for number in 0..400 {
        member.put(&format!("k{}", number % 3), &value).await;
        assert_eq!(soon(read.events(1)).await.len(), 1);
    }
    let late = soon(unread.events(400)).await;
    assert_eq!(late.len(), 400);
    let revision = |event: &String| event.split_once('@').unwrap().1.split(' ').next().unwrap().parse::<i64>().unwrap();
    assert!(late.iter().map(revision).is_sorted());
    member.stop().await;
}
