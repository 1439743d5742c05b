//! Members killed in the middle of what they do to their disk: at a chosen write, sync, renaming, removal or reservation.

use std::time::Duration;

use kontiki_world::{Damage, Fault, Operation, Random};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, PATIENCE};
use super::errors::mirrors;
use super::ledger::Load;
use super::tally::Tally;
use super::{Bench, block_on};

const WRITERS: usize = 8;
/// Values large enough that segments fill and are replaced.
const WIDTH: usize = 16_000;
/// Kills in one round.
const KILLS: u64 = 8;
/// How long an operation may not occur before another one is chosen.
const OCCURS: Duration = Duration::from_secs(8);

/// Kills a random member when it is in a random operation, again and again.
pub fn at(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mut random = Random::new(seed);
        let mirrors = mirrors(bench, seed)?;
        let data: Vec<_> = mirrors.iter().map(|mirror| mirror.path.join("data")).collect();
        let mut cluster = Cluster::start(bench, &data, &[]).await?;
        let load = Load::start("load/", &cluster.urls(), WRITERS, WIDTH);
        for _ in 0..KILLS {
            load.more(20, PATIENCE).await.ok_or("no writes before the kill")?;
            let victim = random.below(3) as usize;
            let disk = &mirrors[victim].disk;
            // Each batch writes and syncs; names change with segments.
            let (operation, most) = match random.below(8) {
                0 | 1 => (Operation::Write, 60),
                2 | 3 => (Operation::Sync, 60),
                4 => (Operation::Rename, 3),
                5 => (Operation::SyncDir, 3),
                6 => (Operation::Resize, 3),
                _ => (Operation::Remove, 1),
            };
            let after = random.below(most);
            let id = disk.inject(Fault { operation, name: "*".to_owned(), after, times: 1, damage: Damage::Hang });
            let begin = Instant::now();
            while disk.struck(id) == 0 && begin.elapsed() < OCCURS {
                sleep(Duration::from_millis(1)).await;
            }
            disk.lift(id);
            tally.faults += 1;
            tally.note(match disk.struck(id) {
                0 => format!("member {victim} killed at no chosen moment: there was no {operation:?}"),
                _ => format!("member {victim} killed in {operation:?} {}", after + 1),
            });
            cluster.signal(victim, Signal::KILL)?;
            disk.release(); // who waits for the disk dies when it answers
            cluster.kill(victim);
            cluster.spawn(victim)?;
            cluster.ready(victim, PATIENCE).await?;
        }
        let ledger = load.stop().await;
        tally.count(&ledger);
        cluster.whole(&ledger, tally).await
    })
}
