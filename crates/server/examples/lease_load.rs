//! What a mass expiry does to writes beside it, of any server of etcd's API:
//!
//! ```text
//! cargo run --release -p kontiki-server --example lease_load -- http://127.0.0.1:2379 100000 30
//! ```
//!
//! Grants so many leases that end so many seconds later, all at once, each with a key, puts a key over and over until all of them have ended, and
//! prints how long puts took before and while they did. With `renew` behind the numbers the leases have no keys; they are
//! renewed for some seconds, as fast as the server answers.
#![allow(clippy::unwrap_used, reason = "a tool that ends at the first surprise")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::lease_client::LeaseClient;
use kontiki_api::rpc::{LeaseGrantRequest, LeaseKeepAliveRequest, PutRequest, RangeRequest};
use tonic::transport::Channel;

/// Grants under way at a time.
const GRANTERS: i64 = 256;
/// Puts under way at a time, while leases end.
const PUTTERS: usize = 8;
/// Streams of renewals, requests on their way in each, and for how long.
const STREAMS: usize = 8;
const WINDOW: usize = 500;
const RENEWING: Duration = Duration::from_secs(5);

/// Grants leases that all end at about the same time, with a key each.
async fn grant(channel: Channel, next: Arc<AtomicI64>, count: i64, end: Instant, keys: bool) {
    let (mut lease, mut kv) = (LeaseClient::new(channel.clone()), KvClient::new(channel));
    loop {
        let id = next.fetch_add(1, Relaxed);
        if id > count {
            return;
        }
        let left = end.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
        lease.lease_grant(LeaseGrantRequest { id, ttl: left as i64 }).await.unwrap();
        if keys {
            let put = PutRequest { key: format!("lease/{id:08}").into(), lease: id, ..PutRequest::default() };
            kv.put(put).await.unwrap();
        }
    }
}

/// Puts until told to stop; how long each took, and when it began.
async fn put(channel: Channel, stop: Arc<AtomicBool>, number: usize) -> Vec<(Instant, Duration)> {
    let mut kv = KvClient::new(channel);
    let mut times = Vec::new();
    while !stop.load(Relaxed) {
        let begin = Instant::now();
        let put = PutRequest { key: format!("beside/{number}").into(), value: "value".into(), ..PutRequest::default() };
        kv.put(put).await.unwrap();
        times.push((begin, begin.elapsed()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times
}

/// Renews leases over a few streams, each with some hundred requests on their way.
async fn renew(channel: Channel, count: i64) {
    let begin = Instant::now();
    let streams = (0..STREAMS).map(|number| {
        let mut lease = LeaseClient::new(channel.clone());
        tokio::spawn(async move {
            let (ask, asked) = tokio::sync::mpsc::channel(WINDOW);
            let requests = futures_util::stream::unfold(asked, |mut asked| async move {
                asked.recv().await.map(|id| (LeaseKeepAliveRequest { id }, asked))
            });
            let mut next = (number..).step_by(STREAMS).map(|n| 1 + i64::try_from(n).unwrap() % count);
            for _ in 0..WINDOW {
                ask.send(next.next().unwrap()).await.unwrap();
            }
            let mut answers = lease.lease_keep_alive(requests).await.unwrap().into_inner();
            let mut renewed = 0;
            while begin.elapsed() < RENEWING {
                assert!(answers.message().await.unwrap().unwrap().ttl > 0);
                renewed += 1;
                ask.send(next.next().unwrap()).await.unwrap();
            }
            renewed
        })
    });
    let mut renewed = 0;
    for stream in streams.collect::<Vec<_>>() {
        renewed += stream.await.unwrap();
    }
    println!("{renewed} renewals in {:?}", begin.elapsed());
}

async fn left(kv: &mut KvClient<Channel>) -> i64 {
    let range = RangeRequest {
        key: "lease/".into(),
        range_end: "lease0".into(),
        count_only: true,
        serializable: true,
        ..RangeRequest::default()
    };
    kv.range(range).await.unwrap().into_inner().count
}

fn shown(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
    let (middle, late, last) = (at(0.5), at(0.99), times.last().copied().unwrap_or_default());
    println!("{name}: {} puts, p50 {middle:?}, p99 {late:?}, max {last:?}", times.len());
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut words = std::env::args().skip(1);
    let endpoint = words.next().unwrap();
    let (count, ttl): (i64, u64) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
    let keys = words.next().is_none();
    let channel = || async { Channel::from_shared(endpoint.clone()).unwrap().connect().await.unwrap() };
    let (begin, next) = (Instant::now(), Arc::new(AtomicI64::new(1)));
    let end = begin + Duration::from_secs(ttl);
    let shared = channel().await;
    let granters = (0..GRANTERS).map(|_| tokio::spawn(grant(shared.clone(), next.clone(), count, end, keys)));
    for granter in granters.collect::<Vec<_>>() {
        granter.await.unwrap();
    }
    println!("{count} leases granted in {:?}", begin.elapsed());
    if !keys {
        return renew(shared, count).await;
    }
    let (stop, mut putters) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for number in 0..PUTTERS {
        putters.push(tokio::spawn(put(channel().await, stop.clone(), number)));
    }
    let mut kv = KvClient::new(channel().await);
    let granted = left(&mut kv).await;
    let (mut first, mut leased) = (None, granted);
    while leased > 0 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        leased = left(&mut kv).await;
        if leased < granted && first.is_none() {
            first = Some(Instant::now());
        }
    }
    let (first, end) = (first.unwrap(), Instant::now());
    stop.store(true, Relaxed);
    let (mut before, mut beside) = (Vec::new(), Vec::new());
    for putter in putters {
        for (at, took) in putter.await.unwrap() {
            if at < first { before.push(took) } else { beside.push(took) }
        }
    }
    println!("{granted} leases left when all were granted; they ended in {:?}", end - first);
    shown("before", before);
    shown("while they ended", beside);
}
