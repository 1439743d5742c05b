//! Golden scripts: what once went wrong, or might, as a script that must hold for ever.
//!
//! Each file of `lessons/` begins with what it teaches and the run that it belongs to, and is replayed as its head says:
//!
//! ```text
//! # lesson: in words, over as many lines as it takes
//! # seed: 7
//! # profile: calm
//! ```
//!
//! `kontiki sim --seed 7 --profile calm --script FILE --trace` shows it.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kontiki_sim::{Line, Order, Script, run};

/// Lines of the trace that a failure shows.
const SHOWN: usize = 50;

/// The files, by name.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lessons");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What stands behind a name in the head of a lesson.
fn told<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.lines().take_while(|line| line.starts_with('#'));
    head.filter_map(|line| line.trim_start_matches('#').trim().strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
        .find(|word| !word.is_empty())
}

/// The run of a lesson.
fn order(text: &str) -> Result<Order, String> {
    told(text, "lesson").ok_or("it does not say what it teaches")?;
    let seed = told(text, "seed").ok_or("it names no seed")?.parse().map_err(|_| "its seed is no number")?;
    let profile = told(text, "profile").ok_or("it names no profile")?.to_owned();
    Ok(Order { seed, profile, script: Some(text.to_owned()), planted: 0 })
}

/// Why a lesson does not hold, with the end of its trace.
fn complaint(text: &str) -> Option<String> {
    let order = match order(text) {
        Ok(order) => order,
        Err(problem) => return Some(problem),
    };
    let mut last: VecDeque<Line> = VecDeque::new();
    let report = run(
        &order,
        Some(&mut |line| {
            if last.len() == SHOWN {
                last.pop_front();
            }
            last.push_back(line.clone());
        }),
    );
    match report {
        Err(error) => Some(error.to_string()),
        Ok(report) => report.failure.map(|failure| {
            let mut words = format!("{failure}\nthe trace ends so:\n");
            last.iter().for_each(|line| writeln!(words, "{line}").unwrap());
            words
        }),
    }
}

#[test]
fn lessons_hold() {
    let files = files();
    assert!(!files.is_empty());
    let failed: Vec<String> = std::thread::scope(|scope| {
        let half = files.len().div_ceil(2);
        let threads = files.chunks(half).map(|part| {
            scope.spawn(move || {
                let text = |file: &Path| std::fs::read_to_string(file).unwrap();
                let failed = part.iter().filter_map(|file| Some((file, complaint(&text(file))?)));
                failed.map(|(file, what)| format!("{}: {what}", file.display())).collect::<Vec<_>>()
            })
        });
        threads.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

#[test]
fn a_lesson_is_a_script_that_can_be_written_and_read_again() {
    for file in files() {
        assert_eq!(file.extension().and_then(|word| word.to_str()), Some("sim"), "{}", file.display());
        let text = std::fs::read_to_string(&file).unwrap();
        let script: Script = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(!script.lines.is_empty(), "{} does nothing", file.display());
        assert_eq!(script.to_string().parse(), Ok(script), "{}", file.display());
    }
}

#[test]
fn what_the_seeds_draw_can_be_written_and_read_again() {
    for seed in 0..50 {
        let order = Order { seed, profile: "storm".to_owned(), script: None, planted: 0 };
        let text = kontiki_sim::script(&order).unwrap();
        let again = Order { script: Some(text.clone()), ..order };
        assert_eq!(kontiki_sim::script(&again).unwrap(), text, "seed {seed}");
    }
}

#[test]
fn a_lesson_that_fails_shows_what_led_there() {
    assert_eq!(complaint("# seed: 1\n# profile: calm\n"), Some("it does not say what it teaches".to_owned()));
    let unknown = "# lesson: none\n# seed: 1\n# profile: wild\n";
    assert!(complaint(unknown).unwrap().contains("wild"));
    let unreadable = "# lesson: none\n# seed: 1\n# profile: calm\n1.0 crash everybody\n";
    assert!(complaint(unreadable).unwrap().contains("line 4"));
}
