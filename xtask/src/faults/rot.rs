//! Damage in the files of one member: flipped bits, holes, blocks in each other's place, blocks from an older copy; while
//! it is down and while it runs. And a disk that loses, misdirects or changes what is written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kontiki_world::{Damage, Fault, Operation, Random};
use tokio::time::sleep;

use super::cluster::{Cluster, PATIENCE};
use super::errors::mirrors;
use super::ledger::{Load, fill};
use super::tally::Tally;
use super::{Bench, block_on};

const WRITERS: usize = 6;
const WIDTH: usize = 600;
/// A short trailing log: what is behind a checkpoint comes by snapshot.
const FLAGS: &[&str] = &["--snapshot-catchup-entries=500"];
/// Times that one round does damage, to the same cluster.
const TIMES: u64 = 4;
const SECTOR: u64 = 512;
const BLOCK: u64 = 4096;

/// Damage while the member is down.
pub fn down(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(rot(bench, seed, tally, false))
}

/// Damage while the member runs; after a while it is killed and started again.
pub fn live(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(rot(bench, seed, tally, true))
}

async fn rot(bench: &Bench, seed: u64, tally: &mut Tally, live: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let data: Vec<PathBuf> = (0..3).map(|index| bench.directory.join(format!("m{index}"))).collect();
    let mut cluster = Cluster::start(bench, &data, FLAGS).await?;
    fill(&cluster.urls()[0], "fill/").await?;
    let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
    load.more(200, PATIENCE).await.ok_or("no writes before the damage")?;
    for _ in 0..TIMES {
        let victim = random.below(3) as usize;
        let file = choose(cluster.data(victim), &mut random)?;
        let older = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        load.more(100, PATIENCE).await.ok_or("no writes before the damage")?;
        if !live {
            cluster.kill(victim);
        }
        // A file may be replaced between the choice and now.
        if file.exists() {
            let done = hurt(&file, &older, &mut random).map_err(|error| format!("{}: {error}", file.display()))?;
            tally.faults += done.len() as u64;
            tally.note(format!("member {victim}: {}: {}", file.display(), done.join(", ")));
        }
        if live {
            load.more(100, PATIENCE).await.ok_or("no writes over the damage")?;
            sleep(Duration::from_millis(random.below(1000))).await;
            cluster.ready(victim, PATIENCE).await?;
            cluster.kill(victim);
        }
        cluster.spawn(victim)?;
        let took = cluster.ready(victim, PATIENCE).await?;
        tally.note(format!("member {victim} was healthy again after {took:.2?}"));
        // Reading everything finds what is left of it, before another member is damaged elsewhere.
        cluster.agree().await?;
    }
    end(&mut cluster, load, tally).await
}

/// One of a member's files with content in it: a log's segment, its ledger, or the state, each as likely.
fn choose(data: &Path, random: &mut Random) -> Result<PathBuf, String> {
    let mut kinds: Vec<Vec<PathBuf>> = Vec::new();
    for (dir, end) in [("wal", ".log"), ("wal", ".ledger"), ("state", ".redb")] {
        let dir = data.join("member").join(dir);
        let entries = std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.retain(|path| path.to_string_lossy().ends_with(end));
        paths.sort();
        if !paths.is_empty() {
            kinds.push(paths);
        }
    }
    let kind = pick(&kinds, random).ok_or("the member has no files")?;
    Ok(pick(kind, random).ok_or("the member has no files")?.clone())
}

fn pick<'a, T>(from: &'a [T], random: &mut Random) -> Option<&'a T> {
    from.get(random.below(from.len() as u64) as usize)
}

/// Damages a file in place, where something was written; what was done and where.
fn hurt(path: &Path, older: &[u8], random: &mut Random) -> std::io::Result<Vec<String>> {
    let now = std::fs::read(path)?;
    let file = File::options().write(true).open(path)?;
    let written = now.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
    let part = |from: u64, len: u64| {
        let from = from.min(written) as usize;
        now.get(from..(from + len as usize).min(written as usize)).unwrap_or_default()
    };
    let mut done = Vec::new();
    for _ in 0..=random.below(3) {
        let at = random.below(written);
        match random.below(4) {
            0 => {
                let byte = part(at, 1).first().copied().unwrap_or_default() ^ (1 << random.below(8));
                file.write_all_at(&[byte], at)?;
                done.push(format!("a bit flipped at {at}"));
            }
            1 => {
                let at = at / SECTOR * SECTOR;
                file.write_all_at(&vec![0; part(at, SECTOR).len()], at)?;
                done.push(format!("a sector of zeros at {at}"));
            }
            2 => {
                let (one, other) = (at / BLOCK * BLOCK, random.below(written) / BLOCK * BLOCK);
                let len = part(one, BLOCK).len().min(part(other, BLOCK).len()) as u64;
                file.write_all_at(part(one, len), other)?;
                file.write_all_at(part(other, len), one)?;
                done.push(format!("the blocks at {one} and {other} exchanged"));
            }
            _ => {
                let at = at / BLOCK * BLOCK;
                let end = (at + BLOCK).min(older.len() as u64);
                if let Some(stale) = older.get(at as usize..end as usize) {
                    file.write_all_at(stale, at)?;
                    done.push(format!("an older block at {at}"));
                }
            }
        }
    }
    Ok(done)
}

/// A disk that is not honest when it writes: on one member, some writes are lost, go astray or are changed.
pub fn lying_writes(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mut random = Random::new(seed);
        let mirrors = mirrors(bench, seed)?;
        let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
        let mut cluster = Cluster::start(bench, &data, FLAGS).await?;
        let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
        for _ in 0..TIMES {
            load.more(100, PATIENCE).await.ok_or("no writes before the fault")?;
            let victim = random.below(3) as usize;
            let damage = match random.below(3) {
                0 => Damage::Lose,
                1 => Damage::Misdirect(BLOCK * (1 + random.below(4))),
                _ => Damage::Flip,
            };
            // One of the two files, so that of everything one copy is true. A file goes by the name it was opened by.
            let names = if random.one_in(2) { ["0*.log", "0*.new"] } else { ["0*.ledger", "0*.new-ledger"] };
            let (after, times) = (random.below(20), 1 + random.below(3));
            let fault = |name: &str| Fault { operation: Operation::Write, name: name.to_owned(), after, times, damage };
            let disk = &mirrors[victim].disk;
            let ids = names.map(|name| disk.inject(fault(name)));
            load.more(200, PATIENCE).await.ok_or("no writes over the fault")?;
            ids.into_iter().for_each(|id| disk.lift(id));
            let struck: u64 = ids.into_iter().map(|id| disk.struck(id)).sum();
            tally.faults += struck;
            tally.note(format!("member {victim}: {struck} writes of {}: {damage:?}", names[0]));
            cluster.kill(victim);
            cluster.spawn(victim)?;
            cluster.ready(victim, PATIENCE).await?;
            cluster.agree().await?;
        }
        end(&mut cluster, load, tally).await
    })
}

/// Everything is there, also after all have been started again.
async fn end(cluster: &mut Cluster, load: Load, tally: &mut Tally) -> Result<(), String> {
    load.more(50, PATIENCE).await.ok_or("no writes after the last damage")?;
    let ledger = load.stop().await;
    tally.count(&ledger);
    cluster.whole(&ledger, tally).await?;
    cluster.kill_all();
    cluster.start_all().await?;
    cluster.whole(&ledger, tally).await
}
