//! One seed: its trace as it happens, its verdict, and the smallest script that still fails.

use std::io::Write;

use kontiki_sim::{Failure, Line, Order, Report, shrink};

use super::worker::Worker;
use super::{SimArgs, TraceForm, replay};
use crate::output::print;

/// Most attempts to make a script smaller.
const ATTEMPTS: usize = 400;

/// Runs it. True where everything held.
pub fn run(args: &SimArgs, order: &Order) -> Result<bool, String> {
    if args.print_script {
        let script = kontiki_sim::script(order).map_err(|error| error.to_string())?;
        print(script.as_bytes())?;
        return Ok(true);
    }
    let outcome = match args.trace {
        // In this process, so that an assertion that ends it comes behind the trace that led there.
        Some(form) => Ok(traced(order, form)?),
        None => Worker::new().run(order),
    };
    match &outcome {
        Ok(report) => print(format!("{}\n", verdict(report)).as_bytes())?,
        Err(failure) => print(format!("FAILED: {failure}\n").as_bytes())?,
    }
    let failure = match outcome {
        Ok(report) => report.failure,
        Err(failure) => Some(failure),
    };
    let Some(failure) = failure else { return Ok(true) };
    if args.shrink {
        print(smallest(order, &failure)?.as_bytes())?;
    } else {
        print(format!("replay: {}\n", replay(order, args.script.as_deref())).as_bytes())?;
    }
    Ok(false)
}

fn traced(order: &Order, form: TraceForm) -> Result<Report, String> {
    let mut out = std::io::stdout().lock();
    let mut written = Ok(());
    let mut tell = |line: &Line| {
        if written.is_ok() {
            written = match form {
                TraceForm::Text => writeln!(out, "{line}"),
                TraceForm::Json => {
                    serde_json::to_writer(&mut out, line).map_err(Into::into).and_then(|()| writeln!(out))
                }
            };
        }
    };
    let report = kontiki_sim::run(order, Some(&mut tell));
    crate::output::finish(written)?;
    report.map_err(|error| error.to_string())
}

/// One line on a run.
fn verdict(report: &Report) -> String {
    let Report { seed, profile, members, time, turns, calls, faults, hash, failure, .. } = report;
    let faults: u64 = faults.values().sum();
    let figures = format!(
        "seed {seed}, profile {profile}: {members} members, {:.1} virtual s, {turns} turns, {calls} calls, {faults} faults, trace {hash:016x}",
        time.as_secs_f64()
    );
    match failure {
        None => format!("ok: {figures}"),
        Some(failure) => format!("FAILED: {failure}\n        {figures}"),
    }
}

/// The smallest script found that fails in the same way.
pub fn smallest(order: &Order, failure: &Failure) -> Result<String, String> {
    let text = kontiki_sim::script(order).map_err(|error| error.to_string())?;
    let lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let mut worker = Worker::new();
    let mut attempt = 0;
    let whole = lines.len();
    let least = shrink(&lines, ATTEMPTS, |lines| {
        attempt += 1;
        eprint!("\rshrinking: attempt {attempt}, {} of {whole} lines ", lines.len());
        let script = Some(lines.concat());
        let fails = match worker.run(&Order { script, ..order.clone() }) {
            Ok(report) => report.failure,
            Err(failure) => Some(failure),
        };
        fails.is_some_and(|other| other.property == failure.property)
    });
    eprintln!();
    Ok(format!(
        "# {}\n# replay: save this as FILE, and: {} --script FILE\n{}",
        failure.to_string().replace('\n', "\n# "),
        replay(order, None),
        least.concat()
    ))
}
