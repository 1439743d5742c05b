//! Full disks: filled to the last byte under load, and freed again. Reads and votes go on, writes are refused as etcd
//! refuses them, nothing ends, and service resumes by itself.

use std::time::Duration;

use kontiki_api::rpc::RangeRequest;
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{Cluster, ELECTION, PATIENCE};
use super::ledger::{Load, NO_SPACE, client};
use super::places::{Ballast, Place};
use super::tally::Tally;
use super::{Bench, block_on};

/// Room for a log with its reserve and for what is written until the reserve is used up, twice.
const MEBIBYTES: u64 = 128;
/// Where only one is full at a time, the others go on: room for all that they write meanwhile, as log and as state.
const MEBIBYTES_ONE: u64 = 384;
/// Values large enough that the log's segments fill soon.
const WIDTH: usize = 16 << 10;
const WRITERS: usize = 8;
/// How soon after space returns a write must be acknowledged.
const RESUMES: Duration = Duration::from_secs(1);
/// How long a read may take.
const READ: Duration = Duration::from_secs(3);
/// How long what is in reserve may last under load.
const RESERVE: Duration = Duration::from_secs(60);

/// One member's disk is full, in memory: the leader's, then, in another cluster, a follower's.
pub fn one(bench: &Bench, _: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        one_on(bench, tally, true).await?;
        one_on(bench, tally, false).await
    })
}

async fn one_on(bench: &Bench, tally: &mut Tally, leads: bool) -> Result<(), String> {
    let places = places(bench, false, MEBIBYTES_ONE)?;
    let mut cluster = start(bench, &places).await?;
    let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
    load.more(100, PATIENCE).await.ok_or("no writes before the fault")?;
    let leader = cluster.leader().await?;
    let victim = if leads { leader } else { (leader + 1) % cluster.size() };
    let mut ballast = places[victim].fill()?;
    tally.faults += 1;
    let before = (load.acked(), load.refused(NO_SPACE));
    // Long enough to use up what the member has in reserve, if it still writes.
    for _ in 0..16 {
        sleep(Duration::from_millis(250)).await;
        ballast.fill_again()?;
        alive(&mut cluster)?;
        serves(&cluster, Some(victim)).await?;
    }
    let answers = linearizable(&cluster.urls()[victim], READ).await;
    let (acked, refused) = (load.acked() - before.0, load.refused(NO_SPACE) - before.1);
    let role = if leads { "leader" } else { "follower" };
    let reads = if answers { "answered" } else { "not answered in time" };
    tally.note(format!(
        "the {role} full for 4 s: {acked} writes acknowledged, {refused} refused, its own linearizable reads {reads}"
    ));
    if acked + refused == 0 {
        return Err(format!("the {role} is full, and writes are neither acknowledged nor refused"));
    }
    resume(&cluster, &load, &places, ballast, tally).await?;
    alive(&mut cluster)?;
    finish(&mut cluster, load, tally).await
}

/// All members' disks are full, in memory.
pub fn all(bench: &Bench, _: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(all_on(bench, tally, false))
}

/// All members' disks are full, on ext4.
pub fn all_ext4(bench: &Bench, _: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(all_on(bench, tally, true))
}

async fn all_on(bench: &Bench, tally: &mut Tally, ext4: bool) -> Result<(), String> {
    let places = places(bench, ext4, MEBIBYTES)?;
    let mut cluster = start(bench, &places).await?;
    let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
    load.more(100, PATIENCE).await.ok_or("no writes before the fault")?;
    for round in 0..2 {
        let mut ballast = places.iter().map(Place::fill).collect::<Result<Vec<_>, _>>()?;
        tally.faults += ballast.len() as u64;
        let (begin, before) = (Instant::now(), load.refused(NO_SPACE));
        while load.refused(NO_SPACE) < before + 10 {
            if begin.elapsed() > RESERVE {
                let refusals = load.so_far().refusals;
                return Err(format!("no write is refused with NOSPACE within {RESERVE:?}; refusals: {refusals:?}"));
            }
            sleep(Duration::from_millis(100)).await;
            alive(&mut cluster)?;
            ballast.iter_mut().try_for_each(Ballast::fill_again)?;
        }
        tally.note(format!("round {round}: the first refusals after {:.1?}", begin.elapsed()));
        // Refused for good, not now and then.
        ballast.iter_mut().try_for_each(Ballast::fill_again)?;
        for _ in 0..4 {
            sleep(Duration::from_millis(250)).await;
            alive(&mut cluster)?;
            serves(&cluster, None).await?;
        }
        votes(&cluster).await?;
        serves(&cluster, None).await?;
        alive(&mut cluster)?;
        resume(&cluster, &load, &places, ballast, tally).await?;
    }
    finish(&mut cluster, load, tally).await
}

fn places(bench: &Bench, ext4: bool, mebibytes: u64) -> Result<Vec<Place>, String> {
    let path = |index: usize| bench.directory.join(format!("place{index}"));
    let place = |index: usize| {
        if ext4 {
            Place::ext4(&path(index), &bench.directory.join(format!("image{index}")), mebibytes)
        } else {
            Place::memory(&path(index), mebibytes)
        }
    };
    (0..3).map(place).collect()
}

async fn start(bench: &Bench, places: &[Place]) -> Result<Cluster, String> {
    let data: Vec<_> = places.iter().map(|place| place.path.join("data")).collect();
    Cluster::start(bench, &data, &[]).await
}

/// No process has ended.
fn alive(cluster: &mut Cluster) -> Result<(), String> {
    for index in 0..cluster.size() {
        if let Some(status) = cluster.exited(index) {
            return Err(format!("member {index} ended with {status}{}", cluster.tail(index)));
        }
    }
    Ok(())
}

/// Every member answers reads: linearizable ones, except for one that may be behind since it cannot write, and serializable
/// ones.
async fn serves(cluster: &Cluster, behind: Option<usize>) -> Result<(), String> {
    for (index, url) in cluster.urls().iter().enumerate() {
        let local = answered(url, true, READ).await;
        if !local || (behind != Some(index) && !linearizable(url, READ).await) {
            let kind = if local { "linearizable" } else { "serializable" };
            return Err(format!("member {index} answers no {kind} read within {READ:?}{}", cluster.tail(index)));
        }
    }
    Ok(())
}

async fn linearizable(url: &str, limit: Duration) -> bool {
    answered(url, false, limit).await
}

/// Whether a read is answered in time; it may be asked again.
async fn answered(url: &str, serializable: bool, limit: Duration) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        let range = RangeRequest {
            key: "load/".into(),
            range_end: "load0".into(),
            limit: 1,
            serializable,
            ..RangeRequest::default()
        };
        if let Ok(Ok(answer)) = timeout(limit, client(url).range(range)).await
            && answer.get_ref().count > 0
        {
            return true;
        }
    }
    false
}

/// With the leader halted the others elect one, which takes a place for its term and vote.
async fn votes(cluster: &Cluster) -> Result<(), String> {
    let leader = cluster.leader().await?;
    let others: Vec<usize> = (0..cluster.size()).filter(|index| *index != leader).collect();
    cluster.signal(leader, Signal::STOP)?;
    let elected = cluster.leader_of(&others, 10 * ELECTION).await;
    cluster.signal(leader, Signal::CONT)?;
    elected.map(drop).map_err(|error| format!("no votes on full disks: {error}"))
}

/// Space returns, and with it service.
async fn resume<T>(
    cluster: &Cluster,
    load: &Load,
    places: &[Place],
    ballast: T,
    tally: &mut Tally,
) -> Result<(), String> {
    drop(ballast);
    let Some(took) = load.more(1, PATIENCE).await else {
        let free: Vec<u64> = places.iter().map(Place::mebibytes_free).collect();
        let (refusals, views) = (load.so_far().refusals, cluster.views().await);
        let tails: String = (0..cluster.size()).map(|index| cluster.tail(index)).collect();
        return Err(format!("no write after space has returned, {free:?} MiB are free; {refusals:?}; {views}{tails}"));
    };
    tally.note(format!("the first write {took:.2?} after space returned"));
    load.more(50, PATIENCE).await.ok_or("writes stop again after space has returned")?;
    if took > RESUMES { Err(format!("service resumed after {took:.2?}, not within {RESUMES:?}")) } else { Ok(()) }
}

async fn finish(cluster: &mut Cluster, load: Load, tally: &mut Tally) -> Result<(), String> {
    for index in 0..cluster.size() {
        cluster.ready(index, PATIENCE).await?;
    }
    let ledger = load.stop().await;
    tally.count(&ledger);
    cluster.whole(&ledger, tally).await?;
    // What was written meanwhile is also there after a restart.
    cluster.kill_all();
    cluster.start_all().await?;
    cluster.whole(&ledger, tally).await
}
