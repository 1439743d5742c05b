//! Errors of the disk: the process that meets one in its log stops, says why, and starts again clean; the others go on.

use std::time::Duration;

use kontiki_world::{Damage, Fault, Operation, Random};

use super::cluster::{Cluster, PATIENCE};
use super::ledger::{Load, fill};
use super::mirror::Mirror;
use super::places::Place;
use super::tally::Tally;
use super::{Bench, block_on};

/// How long a process may live after its log's disk has failed.
const STOPS: Duration = Duration::from_secs(1);
/// The kernel finds its error at its own time: when it writes back, or at the next sync.
const KERNEL_STOPS: Duration = Duration::from_secs(10);
/// Names of the log's files: they begin with their number.
const LOG: &str = "0*";
const WRITERS: usize = 8;
const WIDTH: usize = 300;

/// The leader cannot write.
pub fn write_leader(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(strike(bench, seed, tally, Operation::Write, true))
}

/// A follower cannot write.
pub fn write_follower(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(strike(bench, seed, tally, Operation::Write, false))
}

/// The leader cannot sync.
pub fn sync_leader(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(strike(bench, seed, tally, Operation::Sync, true))
}

/// A follower cannot sync.
pub fn sync_follower(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(strike(bench, seed, tally, Operation::Sync, false))
}

/// One operation on one member's log fails once: were it tried again, it would succeed, and what it was for be lost.
async fn strike(bench: &Bench, seed: u64, tally: &mut Tally, operation: Operation, leads: bool) -> Result<(), String> {
    let mirrors = mirrors(bench, seed)?;
    let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
    let mut cluster = Cluster::start(bench, &data, &[]).await?;
    let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
    load.more(300, PATIENCE).await.ok_or("no writes before the fault")?;
    load.forget_pace();
    let leader = cluster.leader().await?;
    let victim = if leads { leader } else { (leader + 1) % cluster.size() };
    let fault = Fault { operation, name: LOG.to_owned(), after: 0, times: 1, damage: Damage::Error };
    let id = mirrors[victim].disk.inject(fault);
    let (status, took) = cluster.ended(victim, PATIENCE).await?;
    tally.faults += mirrors[victim].disk.struck(id);
    tally.note(format!("member {victim} ended with {status} after {took:.2?}"));
    stopped_well(&cluster, victim, status.success(), took, STOPS)?;
    load.more(100, PATIENCE).await.ok_or("the others do not go on")?;
    cluster.spawn(victim)?;
    cluster.ready(victim, PATIENCE).await?;
    load.more(100, PATIENCE).await.ok_or("no writes after the restart")?;
    let ledger = load.stop().await;
    tally.count(&ledger);
    cluster.whole(&ledger, tally).await
}

/// A sync of the state's file fails while a checkpoint is written.
pub fn sync_state(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mirrors = mirrors(bench, seed)?;
        let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
        let mut cluster = Cluster::start(bench, &data, &[]).await?;
        let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
        let fault =
            Fault { operation: Operation::Sync, name: "*.redb".to_owned(), after: 0, times: 1, damage: Damage::Error };
        let id = mirrors[0].disk.inject(fault);
        fill(&cluster.urls()[1], "fill/").await?;
        let (status, took) = cluster.ended(0, PATIENCE).await?;
        tally.faults += mirrors[0].disk.struck(id);
        tally.note(format!("member 0 ended with {status} {took:.2?} after the last large write"));
        stopped_well(&cluster, 0, status.success(), Duration::ZERO, STOPS)?;
        cluster.spawn(0)?;
        cluster.ready(0, PATIENCE).await?;
        load.more(100, PATIENCE).await.ok_or("no writes after the restart")?;
        let ledger = load.stop().await;
        tally.count(&ledger);
        cluster.whole(&ledger, tally).await
    })
}

/// A member starts while some reads of its log fail: what cannot be read is as good as damaged.
pub fn read(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mut random = Random::new(seed);
        let mirrors = mirrors(bench, seed)?;
        let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
        let mut cluster = Cluster::start(bench, &data, &[]).await?;
        let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
        for (victim, mirror) in mirrors.iter().enumerate() {
            load.more(300, PATIENCE).await.ok_or("no writes before the fault")?;
            cluster.kill(victim);
            let (after, times) = (random.below(3), 1 + random.below(3));
            let fault =
                Fault { operation: Operation::Read, name: "0*.log".to_owned(), after, times, damage: Damage::Error };
            let id = mirror.disk.inject(fault);
            cluster.spawn(victim)?;
            let took = cluster.ready(victim, PATIENCE).await?;
            mirror.disk.lift(id);
            let struck = mirror.disk.struck(id);
            tally.faults += struck;
            tally.note(format!("member {victim} was healthy {took:.2?} after {struck} reads had failed"));
        }
        let ledger = load.stop().await;
        tally.count(&ledger);
        cluster.whole(&ledger, tally).await
    })
}

/// Three mirrors without faults.
pub fn mirrors(bench: &Bench, seed: u64) -> Result<Vec<Mirror>, String> {
    (0..3)
        .map(|index| {
            let (seen, behind) = (format!("seen{index}"), format!("behind{index}"));
            Mirror::mount(&bench.directory.join(seen), &bench.directory.join(behind), seed + index)
        })
        .collect()
}

/// A process that met an error of its disk ended soon, not as if all were well, and says what it was.
fn stopped_well(
    cluster: &Cluster,
    victim: usize,
    success: bool,
    took: Duration,
    limit: Duration,
) -> Result<(), String> {
    if success {
        return Err(format!("member {victim} calls it a success{}", cluster.tail(victim)));
    }
    if took > limit {
        return Err(format!("member {victim} took {took:.2?} to stop, not {limit:?}"));
    }
    let log = cluster.log(victim);
    let last = log.lines().rev().find(|line| line.starts_with("kontiki: ")).unwrap_or_default();
    let says = last.contains("rror") && (last.contains("log") || last.contains("disk") || last.contains("state"));
    if says && !log.contains("panicked") { Ok(()) } else { Err(format!("it does not say why{}", cluster.tail(victim))) }
}

/// The kernel's own error: the image of a file system lies, with holes, on a device that has no room for them.
pub fn kernel(bench: &Bench, _: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let below = Place::memory(&bench.directory.join("below"), 64)?;
        let mut place = Place::ext4(&bench.directory.join("place"), &below.path.join("image"), 128)?;
        let data = [place.path.join("data"), bench.directory.join("m1"), bench.directory.join("m2")];
        let mut cluster = Cluster::start(bench, &data, &[]).await?;
        let load = Load::start("load/", &cluster.urls(), WRITERS, 4096);
        load.more(100, PATIENCE).await.ok_or("no writes before the fault")?;
        load.forget_pace();
        let ballast = below.fill()?;
        let (status, took) = cluster.ended(0, PATIENCE).await?;
        tally.faults += 1;
        tally.note(format!("member 0 ended with {status} after {took:.2?}"));
        stopped_well(&cluster, 0, status.success(), took, KERNEL_STOPS)?;
        load.more(100, PATIENCE).await.ok_or("the others do not go on")?;
        // The device recovers before the file system is left, or what its journal holds would be written out into nowhere.
        drop(ballast);
        place.unmount()?;
        place.check()?;
        place.mount()?;
        cluster.spawn(0)?;
        cluster.ready(0, PATIENCE).await?;
        let ledger = load.stop().await;
        tally.count(&ledger);
        cluster.whole(&ledger, tally).await
    })
}
