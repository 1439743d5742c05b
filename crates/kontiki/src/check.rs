//! `kontiki check`: whether a stopped member's data directory is whole. Ends with 0 where it is, 1 where something is
//! damaged, 2 where nothing can be said.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kontiki_store::{CheckReport, CheckStep, Severity, check};

use crate::ctl::json::{Json, Object};
use crate::output::{Form, print};
use crate::progress::Progress;

/// Something is damaged.
const DAMAGED: u8 = 1;
/// Length of a block of the state file.
const BLOCK_BYTES: u64 = 4096;
/// Nothing can be said.
const UNKNOWN: u8 = 2;

/// Words and flags of `check`.
#[derive(Args)]
pub struct CheckArgs {
    /// The data directory of a member that does not run
    dir: PathBuf,
    /// Where its log is, if it was started with --wal-dir
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
    /// Form of the report
    #[arg(short, long, default_value = "simple", value_name = "FORM")]
    write_out: Form,
}

/// Checks and reports.
pub fn run(args: &CheckArgs) -> ExitCode {
    let (mut log, mut state) = (None, None);
    let report = check(&args.dir, args.wal_dir.as_deref(), &mut |step| match step {
        CheckStep::Log { segment } => {
            log.get_or_insert_with(|| Progress::of_steps("checking the log, segment")).reach(segment);
        }
        CheckStep::State { done, total } => {
            log = None;
            let bytes = |blocks: u64| blocks.saturating_mul(BLOCK_BYTES);
            state.get_or_insert_with(|| Progress::of_bytes("checking the state", bytes(total))).reach(bytes(done));
        }
    });
    drop((log, state));
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("kontiki: cannot check: {error}");
            return ExitCode::from(UNKNOWN);
        }
    };
    let text = match args.write_out {
        Form::Simple => simple(args, &report),
        Form::Json => format!("{}\n", json(args, &report)),
    };
    if let Err(error) = print(text.as_bytes()) {
        eprintln!("kontiki: {error}");
        return ExitCode::from(UNKNOWN);
    }
    if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Repairable => "damaged",
        Severity::Fatal => "fatal",
    }
}

fn simple(args: &CheckArgs, report: &CheckReport) -> String {
    let mut text = String::new();
    if let Some((name, member, cluster)) = &report.identity {
        line(&mut text, format_args!("member {name} ({member:x}) of cluster {cluster:x}"));
    }
    if let Some(log) = &report.log {
        line(
            &mut text,
            format_args!(
                "log: {} segments, {} batches, {} entries; compacted to {}, last {}, term {}",
                log.segments, log.batches, log.entries, log.compacted, log.last, log.term
            ),
        );
    }
    if let Some(state) = &report.state {
        let (index, term) = state.applied;
        line(
            &mut text,
            format_args!(
                "state: index {index} of term {term}, revision {}, compacted {}, {} keys, {} leases, {} blocks, hash {:08x}",
                state.revision, state.compacted, state.keys, state.leases, state.blocks, state.hash
            ),
        );
    }
    for finding in &report.findings {
        line(&mut text, format_args!("{}: {}; {}", word(finding.severity), finding.what, finding.advice));
    }
    let dir = args.dir.display();
    if report.is_whole() {
        line(&mut text, format_args!("{dir} is whole"));
    } else {
        let damaged = report.findings.iter().filter(|finding| finding.severity != Severity::Note).count();
        line(&mut text, format_args!("{dir} is damaged in {damaged} place{}", if damaged == 1 { "" } else { "s" }));
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}"); // a String takes everything
}

fn json(args: &CheckArgs, report: &CheckReport) -> Json {
    let identity = report.identity.as_ref().map(|(name, member, cluster)| {
        Object::new().with("name", name.as_str()).with("memberID", *member).with("clusterID", *cluster)
    });
    let log = report.log.as_ref().map(|log| {
        Object::new()
            .with("segments", log.segments)
            .with("batches", log.batches)
            .with("records", log.records)
            .with("entries", log.entries)
            .with("bytes", log.bytes)
            .with("compactedIndex", log.compacted)
            .with("lastIndex", log.last)
            .with("term", log.term)
    });
    let state = report.state.as_ref().map(|state| {
        let rows = state.rows.iter().fold(Object::new(), |rows, (table, count)| rows.with(table, *count));
        Object::new()
            .with("index", state.applied.0)
            .with("term", state.applied.1)
            .with("revision", state.revision)
            .with("compactRevision", state.compacted)
            .with("keys", state.keys)
            .with("leases", state.leases)
            .with("rows", rows)
            .with("bytes", state.bytes)
            .with("fileBytes", state.file_bytes)
            .with("blocks", state.blocks)
            .with("tornBlocks", state.torn)
            .with("hash", state.hash)
            .with("digest", state.digest)
    });
    let findings = Json::list(&report.findings, |finding| {
        Object::new()
            .with("severity", word(finding.severity))
            .with("what", finding.what.as_str())
            .with("advice", finding.advice)
    });
    Object::new()
        .with("dir", &*args.dir.to_string_lossy())
        .with("whole", report.is_whole())
        .with("identity", identity)
        .with("log", log)
        .with("state", state)
        .with("findings", findings)
        .into()
}
