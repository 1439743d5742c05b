//! Real processes whose logs are damaged while they are down: what peers still have is fetched from them, what nobody has
//! any more stops the member that needs it, with the exact index, and nothing is lost in silence.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod ledger;
mod support;
mod whole;

use std::path::PathBuf;
use std::time::Duration;

use kontiki_api::rpc::PutRequest;
use ledger::Load;
use support::Cluster;
use tokio::time::{Instant, sleep, timeout};
use whole::{FOUND, REPAIRED, agree, bodies, files, flip, places, progress, says, tell, whole};

/// How many writes lie in the log before the damage is done.
const WRITES: u64 = 500;
/// Length of the values.
const WIDTH: usize = 300;
/// How long a member that was damaged may take until it is healthy, on a busy machine with a debug build.
const REPAIR: Duration = Duration::from_secs(10);

/// What a test does to the files of a member that is down.
type Hurt = fn(&Cluster, usize);

/// Whether a member that was hurt tells of it: damage it does, what any crash may leave it does not.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tells {
    Yes,
    No,
}

/// One bit of a body in the middle of the log: certainly durable, and not the last.
fn middle(cluster: &Cluster, index: usize) {
    let bodies = bodies(cluster, index);
    let (path, at) = &bodies[bodies.len() / 2];
    flip(path, *at);
}

/// One bit of the last body.
fn last(cluster: &Cluster, index: usize) {
    let (path, at) = bodies(cluster, index).pop().expect("the log has bodies");
    flip(&path, at);
}

/// A whole sector of zeros over bodies, and another one further on.
fn holes(cluster: &Cluster, index: usize) {
    let bodies = bodies(cluster, index);
    for part in [3, 5] {
        let (path, at) = &bodies[bodies.len() * part / 7];
        let mut bytes = std::fs::read(path).unwrap();
        let sector = at / 512 * 512;
        bytes[sector..sector + 512].fill(0);
        std::fs::write(path, bytes).unwrap();
    }
}

/// One bit in each of four places of the ledger. To the newest ledger, whose rows reach the disk in any order, a crash does
/// the same.
fn ledger(cluster: &Cluster, index: usize) {
    let path = files(cluster, index, "wal", ".ledger").pop().expect("a segment has a ledger");
    let written = std::fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).expect("the ledger has rows");
    (1..5).for_each(|part| flip(&path, written * part / 5));
}

/// The ledger is gone.
fn no_ledger(cluster: &Cluster, index: usize) {
    let path = files(cluster, index, "wal", ".ledger").pop().expect("a segment has a ledger");
    std::fs::remove_file(path).unwrap();
}

/// The segment is cut in the middle of what was written.
fn cut(cluster: &Cluster, index: usize) {
    let bodies = bodies(cluster, index);
    let (path, at) = &bodies[bodies.len() / 2];
    std::fs::File::options().write(true).open(path).unwrap().set_len(*at as u64).unwrap();
}

/// The segment is gone.
fn gone(cluster: &Cluster, index: usize) {
    std::fs::remove_file(files(cluster, index, "wal", ".log").pop().unwrap()).unwrap();
}

/// Does damage to some members while all are down, starts all under load, and expects all to be whole again.
async fn repaired(hurts: &[(usize, Hurt, Tells)]) {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::start("load/", &cluster.endpoints(), 8, WIDTH);
    progress(&cluster, &load, WRITES, "the start").await;
    (0..3).for_each(|index| cluster.kill(index));
    let lengths: Vec<usize> = (0..3).map(|index| cluster.log(index).len()).collect();
    hurts.iter().for_each(|(index, hurt, _)| hurt(&cluster, *index));
    let begin = Instant::now();
    (0..3).for_each(|index| cluster.spawn(index));
    for (index, _, tells) in hurts {
        cluster.wait_ready(*index).await;
        if *tells == Tells::Yes {
            says(&cluster, *index, lengths[*index], FOUND).await;
        }
    }
    let took = begin.elapsed();
    println!("healthy again after {took:?}");
    assert!(took < REPAIR, "the repair took {took:?}");
    progress(&cluster, &load, 50, "the repair").await;
    let ledger = load.stop().await;
    whole(&cluster, &ledger).await;

    // What was repaired is repaired for good: the next start knows that the damaged places are no longer needed.
    for (index, _, _) in hurts {
        cluster.kill(*index);
        let before = cluster.log(*index).len();
        cluster.spawn(*index);
        cluster.wait_ready(*index).await;
        let said = cluster.log(*index)[before..].to_owned();
        let needed = |line: &&str| line.contains("lost entries") && !line.contains("(no longer needed)");
        assert!(!said.lines().any(|line| needed(&line)), "damage comes back:\n{said}");
        assert!(!REPAIRED.iter().any(|word| said.contains(word)), "it is repaired again:\n{said}");
    }
    whole(&cluster, &ledger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_middle_of_the_log_is_repaired_from_the_peers() {
    repaired(&[(0, middle, Tells::Yes)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_in_the_last_batch_is_repaired_from_the_peers() {
    repaired(&[(1, last, Tells::Yes)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_on_two_members_in_different_places_are_repaired() {
    repaired(&[(0, middle, Tells::Yes), (2, holes, Tells::Yes)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_on_every_member_in_different_places_is_repaired() {
    repaired(&[(0, middle, Tells::Yes), (1, last, Tells::Yes), (2, holes, Tells::Yes)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_lost_ledger_is_made_again() {
    repaired(&[(0, ledger, Tells::No), (1, no_ledger, Tells::Yes)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_cut_is_filled_again() {
    repaired(&[(1, cut, Tells::Yes)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_gone_is_filled_again() {
    repaired(&[(2, gone, Tells::Yes)]).await;
}

/// A segment put back from an older copy is a log whose end was synced and is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_from_an_older_copy_is_filled_again() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::start("load/", &cluster.endpoints(), 8, WIDTH);
    progress(&cluster, &load, WRITES, "the start").await;
    cluster.kill(0);
    let segment = files(&cluster, 0, "wal", ".log").pop().unwrap();
    let older = std::fs::read(&segment).unwrap();
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    progress(&cluster, &load, WRITES, "the first stop").await;
    cluster.kill(0);
    std::fs::write(&segment, older).unwrap();
    let before = cluster.log(0).len();
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    says(&cluster, 0, before, FOUND).await;
    says(&cluster, 0, before, REPAIRED).await;
    progress(&cluster, &load, 50, "the repair").await;
    whole(&cluster, &load.stop().await).await;
}

/// Puts one key while nothing else is written, and gives its index in the log.
async fn put_alone(cluster: &Cluster, key: &str) -> u64 {
    let request =
        PutRequest { key: key.to_owned().into(), value: ledger::value(key, WIDTH).into(), ..PutRequest::default() };
    timeout(support::PATIENCE, cluster.kv(0).put(request)).await.unwrap().unwrap();
    // The status is told now and then: it settles when nothing is written.
    let mut settled = (0, Instant::now());
    while settled.0 == 0 || settled.1.elapsed() < Duration::from_millis(300) {
        let index = cluster.status(0).await.unwrap().raft_index;
        if index != settled.0 {
            settled = (index, Instant::now());
        }
        sleep(Duration::from_millis(20)).await;
    }
    settled.0
}

/// Where the value of a key stands in a member's log.
fn body_of(cluster: &Cluster, index: usize, key: &str) -> (PathBuf, usize) {
    let logs = files(cluster, index, "wal", ".log");
    let found = |path: PathBuf| places(&path, &format!("{key}=v")).pop().map(|at| (path, at + key.len() + 8));
    logs.into_iter().rev().find_map(found).expect("the log has the key's value")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_member_stops_at_what_it_has_lost() {
    let mut cluster = Cluster::start(1, &[]).await;
    let load = Load::start("load/", &cluster.endpoints(), 8, WIDTH);
    progress(&cluster, &load, 100, "the start").await;
    let first = load.stop().await;
    let lost = put_alone(&cluster, "lost").await;
    let load = Load::start("more/", &cluster.endpoints(), 8, WIDTH);
    progress(&cluster, &load, 100, "the pause").await;
    let second = load.stop().await;
    cluster.kill(0);
    let (path, at) = body_of(&cluster, 0, "lost");
    flip(&path, at);
    let (before, damaged) = (cluster.log(0).len(), std::fs::read(&path).unwrap());
    cluster.spawn(0);
    let status = cluster.ended(0).await;
    assert!(!status.success(), "a member that lost a write ended with {status}");
    let said = cluster.log(0)[before..].to_owned();
    assert!(FOUND.iter().any(|word| said.to_lowercase().contains(word)), "it does not say what is wrong:\n{said}");
    assert!(names(&said, lost), "it does not name index {lost}:\n{said}");
    assert!(std::fs::read(&path).unwrap() == damaged, "a member that refuses changes nothing");
    // Nothing else was thrown away: with the bit back, everything is there.
    flip(&path, at);
    cluster.spawn(0);
    cluster.wait_ready(0).await;
    whole(&cluster, &first).await;
    whole(&cluster, &second).await;
}

/// Whether a text has this number, as a number of its own.
fn names(text: &str, number: u64) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).any(|word| word == number.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_member_has_any_more_stops_the_group_and_comes_back_with_one_copy() {
    let mut cluster = Cluster::start(3, &[]).await;
    let load = Load::start("load/", &cluster.endpoints(), 8, WIDTH);
    progress(&cluster, &load, 100, "the start").await;
    let first = load.stop().await;
    let lost = put_alone(&cluster, "lost").await;
    agree(&cluster).await;
    (0..3).for_each(|index| cluster.kill(index));
    let places: Vec<(PathBuf, usize)> = (0..3).map(|index| body_of(&cluster, index, "lost")).collect();
    places.iter().for_each(|(path, at)| flip(path, *at));
    let before: Vec<usize> = (0..3).map(|index| cluster.log(index).len()).collect();
    (0..3).for_each(|index| cluster.spawn(index));
    let deadline = Instant::now() + REPAIR;
    for (index, before) in before.into_iter().enumerate() {
        while !names(&cluster.log(index)[before..], lost) {
            if Instant::now() > deadline {
                tell(&cluster);
                panic!("member {index} does not name index {lost}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    // Nobody answers as if nothing were missing: neither a read nor a write.
    for index in 0..3 {
        let missing = timeout(Duration::from_secs(3), first.missing(&cluster.client_url(index))).await;
        assert!(!matches!(missing, Ok(Ok(_))), "member {index} serves what has a hole");
        assert!(!cluster.is_healthy(index).await, "member {index} calls itself healthy");
    }
    // One copy comes back, and with it the group.
    cluster.kill(1);
    flip(&places[1].0, places[1].1);
    cluster.spawn(1);
    for index in 0..3 {
        // One that has found that nobody has a copy may end only now.
        let deadline = Instant::now() + support::PATIENCE;
        while !cluster.is_healthy(index).await {
            for other in 0..3 {
                if cluster.exited(other).is_some() {
                    cluster.kill(other);
                    cluster.spawn(other);
                }
            }
            if Instant::now() > deadline {
                tell(&cluster);
                panic!("member {index} is not whole again, though member 1 has a copy");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    whole(&cluster, &first).await;
}
