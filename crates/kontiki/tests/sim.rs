//! `kontiki sim` as a process: what it prints, how it ends, and what it says when something is wrong.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};

/// A run without faults that is over soon.
const CALM: [&str; 4] = ["--seed", "3", "--profile", "calm"];

/// What a run came to: its exit code, and what it said on both ways.
struct Said {
    code: Option<i32>,
    out: String,
    error: String,
}

fn sim(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontiki"));
    let output = command.arg("sim").args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
}

/// Runs what must hold, and gives what it printed.
#[track_caller]
fn held(arguments: &[&str]) -> String {
    let Said { code, out, error } = sim(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
    out
}

/// Asks for what cannot be tried, and gives the words on it.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let Said { code, out, error } = sim(arguments);
    assert_eq!(code, Some(2), "{arguments:?}: {out}{error}");
    error
}

/// The hash in a verdict.
fn hash(verdict: &str) -> &str {
    verdict.trim().rsplit(' ').next().unwrap()
}

fn file(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_seed_gives_one_line_and_the_same_again() {
    let first = held(&CALM);
    assert!(first.starts_with("ok: seed 3, profile calm: ") && first.lines().count() == 1, "{first}");
    assert_eq!(held(&CALM), first);
}

#[test]
fn a_trace_is_for_people_or_for_machines_and_changes_nothing() {
    let plain = held(&CALM);
    let text = held(&[&CALM[..], &["--trace"]].concat());
    assert!(text.lines().count() > 100 && text.lines().any(|line| line.contains(" role ")), "{text}");
    assert_eq!(text.lines().last().map(hash), Some(hash(&plain)));

    let json = held(&[&CALM[..], &["--trace", "json"]].concat());
    let lines: Vec<&str> = json.lines().collect();
    let (verdict, objects) = lines.split_last().unwrap();
    assert_eq!(hash(verdict), hash(&plain));
    assert_eq!(objects.len() + 1, text.lines().count());
    for line in objects {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["at_us"].is_u64() && object["kind"].is_string() && object["what"].is_string(), "{line}");
    }
}

#[test]
fn what_a_seed_draws_can_be_printed_and_run_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let drawn = ["--seed", "4", "--profile", "crashes"];
    let script = held(&[&drawn[..], &["--print-script"]].concat());
    assert!(script.lines().count() > 3, "{script}");
    let path = file(directory.path(), "drawn.sim", &format!("# by hand\n\n{script}"));
    let again = held(&[&drawn[..], &["--script", &path]].concat());
    assert_eq!(again, held(&drawn));
    let printed = held(&[&drawn[..], &["--script", &path, "--print-script"]].concat());
    assert_eq!(printed, script);
}

#[test]
fn many_seeds_give_a_summary_and_a_report() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("report.json");
    let out = held(&["--seeds", "3..5", "--profile", "calm", "--jobs", "2", "--report", path.to_str().unwrap()]);
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("ok: 2 seeds, ") && last.ends_with(" 0 failures"), "{out}");
    let report: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!((&report["runs"], &report["failures"]), (&2.into(), &serde_json::json!([])));
    assert!(report["marks"]["election won"].as_u64().unwrap() >= 2, "{report}");
}

#[test]
fn marks_that_are_not_reached_fail_where_they_are_required() {
    let Said { code, out, error } = sim(&["--seeds", "3..4", "--profile", "calm", "--require-marks"]);
    assert_eq!(code, Some(1), "{out}{error}");
    let line = out.lines().find(|line| line.starts_with("FAILED: marks that are required")).unwrap();
    assert!(line.contains("leader crashed") && !line.contains("election won"), "{line}");
    assert!(!line.contains("goes on alone"), "no run can reach it: {line}");
}

#[test]
fn profiles_are_listed() {
    let out = held(&["--profiles"]);
    for name in ["default", "calm", "network", "disk", "clocks", "membership", "crashes", "storm", "leaders"] {
        assert!(out.lines().any(|line| line.split_whitespace().next() == Some(name)), "{out}");
    }
}

#[test]
fn what_cannot_be_tried_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    assert!(refused(&["--seed", "1", "--profile", "wild"]).contains("no profile is called `wild`"));
    assert!(refused(&["--seeds", "5..5"]).contains("empty"));
    assert!(refused(&["--seeds", "five"]).contains("0..1000"));
    assert!(refused(&["--seed", "1", "--seeds", "1..2"]).contains("cannot be used with"));
    assert!(refused(&["--minutes", "0"]).contains("above zero"));
    assert!(refused(&["--seed", "1", "--script", "/no/such/file"]).contains("/no/such/file"));
    let path = file(directory.path(), "bad.sim", "# a head\n1.0 crash n1\n2.0 crash everybody\n");
    let error = refused(&["--seed", "1", "--script", &path]);
    assert!(error.contains("line 3") && error.contains("`everybody` is not a member"), "{error}");
}
