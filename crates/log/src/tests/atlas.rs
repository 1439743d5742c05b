//! One fault in every block of every file: all is as it was, or exactly what the block held is lost, by name.

use std::collections::BTreeSet;

use kontiki_world::Random;

use super::fault::FragileDisk;
use super::workload::steps;
use super::*;

/// The log with its fault is opened, mended from `whole` and opened again. Returns how many entries were lost.
fn check(disk: &Arc<SimDisk>, whole: &State, may_lose: bool, what: &str) -> u64 {
    let (mut log, groups) = open(disk, small()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = state(&log);
    assert_eq!(found.len(), whole.len(), "{what}");
    let mut lost = 0;
    for (group, (expected, entries)) in whole {
        let (recovered, held) = &found[group];
        assert_eq!(recovered, &groups[group]);
        let without_gaps = Recovered { gaps: vec![], ..recovered.clone() };
        assert_eq!(&without_gaps, expected, "{what}: all but the payloads is known");
        assert!(held.iter().all(|entry| entries.contains(entry)), "{what}: no wrong bytes");
        lost += (entries.len() - held.len()) as u64;
    }
    assert!(may_lose || lost == 0, "{what}: lost {lost} entries");
    if lost > 0 {
        assert!(log.findings().iter().any(|finding| matches!(finding, Finding::Lost { needed: true, .. })), "{what}");
        for (group, (recovered, _)) in &found {
            if !recovered.gaps.is_empty() {
                let missing: Vec<Entry> = whole[group].1.clone();
                log.mend(*group, Ticket(77), missing).unwrap();
            }
        }
        assert!(!flush(&mut log).is_empty());
    }
    assert_eq!(&state(&log), whole, "{what}: whole again");
    drop(log);
    disk.crash();
    let (log, _) = open(disk, small()).unwrap_or_else(|error| panic!("{what}, after mending: {error}"));
    assert_eq!(&state(&log), whole, "{what}: whole after a restart");
    lost
}

#[test]
fn one_fault_in_every_block_of_every_file() {
    let steps = steps();
    let last = steps.last().unwrap();
    let mut random = Random::new(9);
    let (mut cases, mut lossy) = (0, 0);
    for size in [512, 4096] {
        let blocks: Vec<(&String, usize)> = last
            .files
            .iter()
            .flat_map(|(name, bytes)| (0..bytes.len()).step_by(size).map(move |at| (name, at)))
            .collect();
        for (name, at) in &blocks {
            let range = *at..at + size;
            let now = &last.files[*name][range.clone()];
            let mut bad = BTreeSet::from([vec![0; size], vec![0xff; size]]);
            for _ in 0..6 {
                let mut flipped = now.to_vec();
                flipped[random.below(size as u64) as usize] ^= 1 << random.below(8);
                bad.insert(flipped);
            }
            // As it was at any time before.
            let before = steps.iter().filter_map(|step| step.files.get(*name)?.get(range.clone()));
            bad.extend(before.map(<[u8]>::to_vec));
            // As any other block is.
            bad.extend(blocks.iter().map(|(other, at)| last.files[*other][*at..at + size].to_vec()));
            bad.remove(now);
            for bytes in bad {
                let mut files = last.files.clone();
                files.get_mut(*name).unwrap()[range.clone()].copy_from_slice(&bytes);
                let what = format!("{name}, {size} bytes at {at} become {:02x?}…", &bytes[..16]);
                lossy += u64::from(check(&disk_of(&files), &last.state, name.ends_with(".log"), &what) > 0);
                cases += 1;
            }
        }
    }
    assert!(cases > 1000 && lossy > 200, "{cases} cases, {lossy} with losses");
}

#[test]
fn two_blocks_change_places() {
    let steps = steps();
    let last = steps.last().unwrap();
    let blocks: Vec<(&String, usize)> =
        last.files.iter().flat_map(|(name, bytes)| (0..bytes.len()).step_by(512).map(move |at| (name, at))).collect();
    let logs: Vec<_> = blocks.iter().filter(|(name, _)| name.ends_with(".log")).collect();
    for (one, (name, at)) in logs.iter().enumerate() {
        for (other, there) in logs[..one].iter().step_by(3) {
            let mut files = last.files.clone();
            let bytes = last.files[*other][*there..there + 512].to_vec();
            let moved = std::mem::replace(&mut files.get_mut(*name).unwrap()[*at..at + 512].to_vec(), bytes.clone());
            files.get_mut(*name).unwrap()[*at..at + 512].copy_from_slice(&bytes);
            files.get_mut(*other).unwrap()[*there..there + 512].copy_from_slice(&moved);
            check(&disk_of(&files), &last.state, true, &format!("{name} at {at} with {other} at {there}"));
        }
    }
}

#[test]
fn every_file_may_be_missing_or_short() {
    let steps = steps();
    let last = steps.last().unwrap();
    for (name, bytes) in &last.files {
        let may_lose = name.ends_with(".log");
        let mut files = last.files.clone();
        files.remove(name);
        check(&disk_of(&files), &last.state, may_lose, &format!("{name} is missing"));
        for len in (0..bytes.len()).step_by(211) {
            files.insert(name.clone(), bytes[..len].to_vec());
            check(&disk_of(&files), &last.state, may_lose, &format!("{name} has {len} bytes"));
        }
    }
}

#[test]
fn every_block_may_be_unreadable() {
    let steps = steps();
    let last = steps.last().unwrap();
    let newest = last.files.keys().rfind(|name| name.ends_with(".log")).unwrap();
    let mut lossy = 0;
    for (name, bytes) in &last.files {
        for at in (0..bytes.len()).step_by(4096) {
            let below = disk_of(&last.files);
            let disk = FragileDisk::new(below.as_ref().clone());
            disk.fail_reads(name, at as u64..at as u64 + 4096);
            let opened = Log::open(Arc::new(disk.clone()), &dir(), IDENTITY, small());
            if name == newest {
                // A batch whose row was lost with the power may stand behind the last one.
                assert!(matches!(opened, Err(LogError::Io { action: "read", .. })), "{opened:?}");
                assert_eq!(image(&below), last.files, "nothing is changed");
                continue;
            }
            let (log, _) = opened.unwrap();
            let lost: usize = log.groups.keys().map(|group| log.gaps(*group).len()).sum();
            assert!(name.ends_with(".log") || lost == 0);
            assert!(log.findings().iter().any(|finding| matches!(finding, Finding::Unreadable { .. })));
            lossy += usize::from(lost > 0);
            state(&log);
        }
    }
    assert!(lossy > 0);
}

#[test]
fn both_copies_of_an_identity_are_refused_by_place_and_nothing_is_changed() {
    let steps = steps();
    let last = steps.last().unwrap();
    let mut refused = 0;
    for number in 1..=last.files.len() as u64 / 2 {
        let (log, ledger) = (segment_name(number), ledger_name(number));
        if !last.files.contains_key(&log) {
            continue;
        }
        for at in (0..4096).step_by(512) {
            let mut files = last.files.clone();
            files.get_mut(&log).unwrap()[at..at + 512].fill(0xee);
            files.get_mut(&ledger).unwrap().fill(0xee);
            let disk = disk_of(&files);
            match open(&disk, small()) {
                Ok((log, _)) => drop(state(&log)),
                Err(LogError::Damaged { file, damage, .. }) => {
                    assert_eq!(file, dir().join(&log), "{damage}");
                    refused += 1;
                    assert_eq!(image(&disk), files, "nothing is changed");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert!(refused > 5, "{refused}");
}
