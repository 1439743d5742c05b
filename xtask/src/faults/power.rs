//! Power cuts: file systems that are shut down without writing out what no sync made durable, on one member and on all at
//! once; and copies of what had reached the devices at random instants, from which a twin is started.
//!
//! The members that lose their power are halted first, each thread outside of any call. Not for their sake: ext4 gives
//! success to a sync that is under way while the file system is shut down, though nothing of it became durable (seen on Linux
//! 6.18 with a program that does nothing but write and sync). A member that runs on would acknowledge what no disk holds.

use std::path::PathBuf;
use std::time::Duration;

use kontiki_world::Random;
use rustix::process::Signal;
use tokio::time::sleep;

use super::cluster::{Cluster, PATIENCE};
use super::ledger::{Ledger, Load};
use super::places::{Place, cut_power};
use super::tally::Tally;
use super::{Bench, block_on};

const WRITERS: usize = 8;
/// Lengths of the values, one to a round: many small batches, or few that fill segments.
const WIDTHS: [usize; 3] = [300, 3000, 12_000];
const MEBIBYTES: u64 = 128;
/// Cuts in one round, on the same disks.
const CUTS: u64 = 4;
/// Copies that one round takes.
const COPIES: u64 = 3;
/// How often a copy is tried until nothing was written while it was made.
const TRIES: u64 = 10;

/// One member loses its power.
pub fn one(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(cuts(bench, seed, tally, false))
}

/// All members lose their power at once.
pub fn all(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(cuts(bench, seed, tally, true))
}

fn width(seed: u64) -> usize {
    WIDTHS[(seed % 3) as usize]
}

fn places(bench: &Bench) -> Result<Vec<Place>, String> {
    let place = |index: usize| {
        let image = bench.directory.join(format!("image{index}"));
        Place::ext4(&bench.directory.join(format!("place{index}")), &image, MEBIBYTES)
    };
    (0..3).map(place).collect()
}

fn data(places: &[Place]) -> Vec<PathBuf> {
    places.iter().map(|place| place.path.join("data")).collect()
}

async fn cuts(bench: &Bench, seed: u64, tally: &mut Tally, everywhere: bool) -> Result<(), String> {
    let mut random = Random::new(seed);
    let mut places = places(bench)?;
    let mut cluster = Cluster::start(bench, &data(&places), &[]).await?;
    let load = Load::start("load/", &cluster.urls(), WRITERS, width(seed));
    for _ in 0..CUTS {
        load.more(50, PATIENCE).await.ok_or("no writes before the cut")?;
        sleep(Duration::from_millis(random.below(700))).await;
        let victims: Vec<usize> = if everywhere { vec![0, 1, 2] } else { vec![random.below(3) as usize] };
        for victim in &victims {
            cluster.halt(*victim).await?;
        }
        cut_power(victims.iter().map(|victim| &places[*victim]))?;
        tally.faults += victims.len() as u64;
        victims.iter().for_each(|victim| cluster.kill(*victim));
        for victim in victims {
            places[victim].unmount()?;
            places[victim].mount()?;
        }
        cluster.start_all().await?;
    }
    load.more(50, PATIENCE).await.ok_or("no writes after the last cut")?;
    let ledger = load.stop().await;
    tally.count(&ledger);
    cluster.whole(&ledger, tally).await
}

/// What had reached the devices at some instant, and what was acknowledged before it.
struct Instant {
    images: Vec<PathBuf>,
    ledger: Ledger,
}

/// Twins from copies of the devices.
pub fn copy(bench: &Bench, seed: u64, tally: &mut Tally) -> Result<(), String> {
    block_on(async {
        let mut random = Random::new(seed);
        let mut places = places(bench)?;
        let mut cluster = Cluster::start(bench, &data(&places), &[]).await?;
        let load = Load::start("load/", &cluster.urls(), WRITERS, width(seed));
        let mut instants = Vec::new();
        for number in 0..COPIES {
            load.more(50, PATIENCE).await.ok_or("no writes before the copy")?;
            sleep(Duration::from_millis(random.below(1500))).await;
            let mut tries = 0..TRIES;
            let instant = loop {
                let Some(_) = tries.next() else { break None };
                if let Some(instant) = take(bench, &cluster, &places, &load, number).await? {
                    break Some(instant);
                }
            };
            instants.push(instant.ok_or("the devices were never quiet for as long as a copy takes")?);
            tally.faults += 1;
        }
        let ledger = load.stop().await;
        tally.count(&ledger);
        cluster.whole(&ledger, tally).await?;
        cluster.kill_all();
        for (number, instant) in instants.into_iter().enumerate() {
            places.clear();
            for (index, image) in instant.images.iter().enumerate() {
                places.push(Place::existing(&bench.directory.join(format!("place{index}")), image)?);
            }
            let say = |error| format!("from copy {number}: {error}");
            cluster.start_all().await.map_err(say)?;
            cluster.whole(&instant.ledger, tally).await.map_err(say)?;
            cluster.kill_all();
        }
        Ok(())
    })
}

/// Copies the devices while the members stand still; none where the kernel wrote to them meanwhile.
async fn take(
    bench: &Bench,
    cluster: &Cluster,
    places: &[Place],
    load: &Load,
    number: u64,
) -> Result<Option<Instant>, String> {
    let ledger = load.so_far();
    for index in 0..cluster.size() {
        cluster.halt(index).await?;
    }
    let copied = copies(bench, places, number);
    (0..cluster.size()).try_for_each(|index| cluster.signal(index, Signal::CONT))?;
    Ok(copied?.map(|images| Instant { images, ledger }))
}

fn copies(bench: &Bench, places: &[Place], number: u64) -> Result<Option<Vec<PathBuf>>, String> {
    let mut images = Vec::new();
    for (index, image) in places.iter().enumerate().filter_map(|(index, place)| Some((index, place.image.as_ref()?))) {
        let copy = bench.directory.join(format!("copy{number}-{index}"));
        std::fs::copy(image, &copy).map_err(|error| format!("{}: {error}", copy.display()))?;
        images.push((image, copy));
    }
    for (image, copy) in &images {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        if read(image)? != read(copy)? {
            return Ok(None);
        }
    }
    Ok(Some(images.into_iter().map(|(_, copy)| copy).collect()))
}
