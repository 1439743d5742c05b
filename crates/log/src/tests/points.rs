//! Crash points, all of them: the workload's files cut and torn everywhere that a crash can.

use super::fault::FragileDisk;
use super::workload::{Step, steps, work};
use super::*;

/// Opens what a crash left; what is found must be `allowed`, and must be found again after one more crash.
fn reopen(files: &Image, allowed: &[&State], what: &str) -> usize {
    let disk = disk_of(files);
    let (log, _) = open(&disk, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = state(&log);
    let position = allowed.iter().position(|state| **state == found);
    let position = position.unwrap_or_else(|| panic!("{what}: found {found:#?}"));
    drop(log);
    disk.crash();
    let (log, _) = open(&disk, small()).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    assert_eq!(&state(&log), allowed[position], "{what}: what a restart found survives");
    position
}

/// The file that differs and where: the write of one step.
fn change(before: &Image, after: &Image, ending: &str) -> (String, usize, usize) {
    let (name, bytes) =
        after.iter().find(|(name, bytes)| name.ends_with(ending) && before[*name] != **bytes).expect("a file changed");
    let differs = |at: &usize| before[name][*at] != bytes[*at];
    let first = (0..bytes.len()).find(differs).unwrap();
    (name.clone(), first, (0..bytes.len()).rfind(differs).unwrap() + 1)
}

fn pairs(steps: &[Step]) -> impl Iterator<Item = (&Step, &Step)> {
    steps.iter().zip(&steps[1..]).filter(|(_, after)| !after.moved_files)
}

#[test]
fn every_byte_of_every_write_may_be_the_last() {
    let steps = steps();
    let mut outcomes = [0; 2];
    for (before, after) in pairs(&steps) {
        let (name, first, end) = change(&before.files, &after.files, "log");
        for cut in first..=end {
            let mut files = before.files.clone();
            let file = files.get_mut(&name).unwrap();
            file[..cut].copy_from_slice(&after.files[&name][..cut]);
            let whole = file[..] == after.files[&name][..];
            let allowed = if whole { &[&after.state][..] } else { &[&before.state] };
            reopen(&files, allowed, &format!("{name} up to byte {cut}"));
            outcomes[usize::from(whole)] += 1;
        }
        // The batch is there; its row in the ledger is not, or is torn.
        let (name, first, end) = change(&before.files, &after.files, "ledger");
        for cut in (first..=end).chain(0..first / 512 * 512) {
            let mut files = after.files.clone();
            files.get_mut(&name).unwrap()[cut.max(64)..].fill(0);
            reopen(&files, &[&after.state], &format!("{name} up to byte {cut}"));
        }
    }
    assert!(outcomes[0] > 2000 && outcomes[1] > 5, "{outcomes:?}");
}

#[test]
fn every_subset_of_a_writes_sectors_may_be_there() {
    let steps = steps();
    for (before, after) in pairs(&steps) {
        let (name, first, end) = change(&before.files, &after.files, "log");
        let sectors: Vec<usize> = (first / 512..end.div_ceil(512)).collect();
        for subset in 0..1u32 << sectors.len() {
            let mut files = before.files.clone();
            let file = files.get_mut(&name).unwrap();
            for (bit, sector) in sectors.iter().enumerate() {
                if subset >> bit & 1 == 1 {
                    let range = sector * 512..(sector + 1) * 512;
                    file[range.clone()].copy_from_slice(&after.files[&name][range]);
                }
            }
            let whole = file[..] == after.files[&name][..];
            let allowed = if whole { &[&after.state][..] } else { &[&before.state] };
            reopen(&files, allowed, &format!("{name}, sectors {subset:b} of {sectors:?}"));
        }
    }
}

#[test]
fn power_may_go_at_every_change_of_the_disk() {
    // Segments being made, named, left and removed as well: power goes at each change that the workload asks for.
    let mut ended = 0;
    for seed in 0..6 {
        for changes in 0.. {
            let below = SimDisk::new(seed);
            let disk = FragileDisk::new(below);
            let (mut log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap();
            disk.fail_after(changes);
            let (mut durable, mut staged) = (State::new(), State::new());
            let mut all = true;
            work(&mut log, |log| {
                staged = state(log);
                match log.start_write().unwrap().run() {
                    Ok(done) => {
                        log.finish_write(done);
                        durable = staged.clone();
                        true
                    }
                    Err(_) => {
                        all = false;
                        false
                    }
                }
            });
            disk.crash();
            let (log, _) = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small()).unwrap();
            let found = state(&log);
            assert!(found == durable || found == staged, "power went after {changes} changes: {found:#?}");
            assert!(
                log.findings().iter().all(|finding| matches!(finding, Finding::Cut { .. })),
                "{:?}",
                log.findings()
            );
            if all {
                ended += 1;
                break;
            }
        }
    }
    assert_eq!(ended, 6, "the workload comes to its end");
}
