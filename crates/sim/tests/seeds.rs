//! A seed is a run: the same everywhere, whoever looks, in whatever build. And the runs of some seeds hold.
//!
//! `hashes.txt` names a run of each profile (but of `storm`, whose runs are long) with the hash of all that happened in it. Where behaviour is meant to change, the
//! hashes change with it:
//!
//! ```text
//! KONTIKI_SIM_HASHES=write cargo test -p kontiki-sim --test seeds
//! ```

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use kontiki_sim::{Line, Order, Report, run};

/// A short run with some faults.
const SHORT: (&str, u64) = ("default", 6);

fn order(profile: &str, seed: u64) -> Order {
    Order { seed, profile: profile.to_owned(), script: None, planted: 0 }
}

fn report(profile: &str, seed: u64) -> Report {
    run(&order(profile, seed), None).unwrap()
}

#[test]
fn a_seed_is_the_same_run_every_time_in_every_thread_and_whoever_looks() {
    let (profile, seed) = SHORT;
    let first = report(profile, seed);
    assert!(first.calls > 0 && !first.faults.is_empty() && !first.marks.is_empty(), "{first:?}");
    let elsewhere = std::thread::spawn(move || report(profile, seed));
    let mut lines: Vec<Line> = Vec::new();
    let watched = run(&order(profile, seed), Some(&mut |line| lines.push(line.clone()))).unwrap();
    assert_eq!(watched, first, "a run that is watched");
    assert!(lines.len() > 1_000 && lines.is_sorted_by_key(|line| line.at_us), "{} lines", lines.len());
    assert_eq!(elsewhere.join().unwrap(), first, "a run in another thread");
}

#[test]
fn another_seed_and_another_profile_are_other_runs() {
    let (profile, seed) = SHORT;
    let hashes =
        [(profile, seed), (profile, seed - 2), ("calm", seed)].map(|(profile, seed)| report(profile, seed).hash);
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2], "{hashes:?}");
}

fn hashes_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hashes.txt")
}

/// The runs that are written down: profile, seed, hash.
fn known() -> Vec<(String, u64, u64)> {
    let text = std::fs::read_to_string(hashes_path()).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [profile, seed, hash] = words[..] else { panic!("`{line}` is not: profile, seed, hash") };
            (profile.to_owned(), seed.parse().unwrap(), u64::from_str_radix(hash, 16).unwrap())
        })
        .collect()
}

#[test]
fn known_runs_hold_and_have_the_hashes_that_are_written_down() {
    let known = known();
    let (halves, mut reports) = (known.len().div_ceil(2), BTreeMap::new());
    std::thread::scope(|scope| {
        let threads: Vec<_> = known
            .chunks(halves.max(1))
            .map(|part| {
                let reports = move || part.iter().map(|(profile, seed, _)| report(profile, *seed)).collect::<Vec<_>>();
                scope.spawn(reports)
            })
            .collect();
        for report in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            reports.insert((report.profile.clone(), report.seed), report);
        }
    });
    let mut differences = String::new();
    let mut text = String::from("# Profile, seed, and the hash of all that happens in their run. See seeds.rs.\n");
    for (profile, seed, hash) in &known {
        let report = &reports[&(profile.clone(), *seed)];
        assert_eq!(report.failure, None, "kontiki sim --seed {seed} --profile {profile}");
        writeln!(text, "{profile} {seed} {:016x}", report.hash).unwrap();
        if report.hash != *hash {
            writeln!(differences, "{profile} {seed}: {hash:016x} is written down, {:016x} came out", report.hash)
                .unwrap();
        }
    }
    if std::env::var_os("KONTIKI_SIM_HASHES").is_some_and(|wish| wish == "write") {
        return std::fs::write(hashes_path(), text).unwrap();
    }
    assert!(
        differences.is_empty(),
        "{differences}Where the store or the simulator is meant to behave otherwise now, write the hashes anew with\n  \
         KONTIKI_SIM_HASHES=write cargo test -p kontiki-sim --test seeds\n\
         Where only the build or the machine is another one, something is not determined by the seed."
    );
}
