//! Many seeds, in as many processes as there are cores, with progress while they run and one line at the end.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kontiki_sim::{Failure, Order, Summary};

use super::worker::{self, Worker};
use super::{MINUTES_DEFAULT, SimArgs, one, replay};
use crate::output::print;

/// How often progress is told on a terminal, and elsewhere.
const EVERY: Duration = Duration::from_secs(1);
const EVERY_IN_A_LOG: Duration = Duration::from_secs(30);
/// Failures in full; more are only counted.
const FAILURES_SHOWN: usize = 20;

/// Runs them. True where everything held.
pub fn run(args: &SimArgs, order: &Order) -> Result<bool, String> {
    let (first, end, until) = match (args.seeds, args.minutes) {
        (Some((from, to)), _) => (from, to, None),
        (None, minutes) => {
            let minutes = minutes.unwrap_or(MINUTES_DEFAULT);
            if !(minutes > 0.0 && minutes < 1e6) {
                return Err(format!("--minutes {minutes}: must be above zero"));
            }
            let first = args.from.unwrap_or_else(kontiki_sim::fresh_seed);
            (first, u64::MAX, Some(Instant::now() + Duration::from_secs_f64(minutes * 60.0)))
        }
    };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let next = AtomicU64::new(first);
    let (done, summary) = (AtomicBool::new(false), Mutex::new(Summary::default()));
    let unusable: Mutex<Option<String>> = Mutex::default();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                scope.spawn(|| {
                    let mut worker = Worker::new();
                    loop {
                        let seed = next.fetch_add(1, Relaxed);
                        if seed >= end || until.is_some_and(|until| Instant::now() >= until) {
                            break;
                        }
                        let order = Order { seed, ..order.clone() };
                        let outcome = worker.run(&order);
                        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                        match outcome {
                            Ok(report) => {
                                summary.add(&report);
                                report.failure.iter().for_each(|failure| tell(args, &order, failure));
                            }
                            Err(failure) if failure.property == worker::NO_PROCESS => {
                                unusable.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure.what);
                                break;
                            }
                            Err(failure) => {
                                summary.add_lost(seed, failure.clone());
                                tell(args, &order, &failure);
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| progress(&done, &summary, begin));
        for worker in workers {
            let _ = worker.join(); // one that panicked has said so
        }
        done.store(true, Relaxed);
    });
    if let Some(why) = unusable.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(why);
    }
    let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    conclude(args, order, &summary, begin.elapsed())
}

/// Says at once that a seed fails, and how to run it again.
fn tell(args: &SimArgs, order: &Order, failure: &Failure) {
    eprintln!("\rFAILED: {failure}\n        replay: {}", replay(order, args.script.as_deref()));
}

fn progress(done: &AtomicBool, summary: &Mutex<Summary>, begin: Instant) {
    let terminal = std::io::stderr().is_terminal();
    let every = if terminal { EVERY } else { EVERY_IN_A_LOG };
    let mut told = Instant::now();
    while !done.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        if told.elapsed() < every {
            continue;
        }
        told = Instant::now();
        let line = figures(&summary.lock().unwrap_or_else(PoisonError::into_inner), begin.elapsed());
        eprint!("{}{line}{}", if terminal { "\r" } else { "" }, if terminal { "   " } else { "\n" });
        let _ = std::io::stderr().flush(); // nobody may be there to read it
    }
    if terminal {
        eprintln!();
    }
}

fn figures(summary: &Summary, took: Duration) -> String {
    let faults: u64 = summary.faults.values().sum();
    let hours = summary.time.as_secs_f64() / 3_600.0;
    let speed = summary.time.as_secs_f64() / took.as_secs_f64().max(0.001);
    format!(
        "{} seeds, {hours:.2} virtual hours ({speed:.0} times real time), {} calls, {faults} faults, {} failures",
        summary.runs,
        summary.calls,
        summary.failures.len()
    )
}

fn conclude(args: &SimArgs, order: &Order, summary: &Summary, took: Duration) -> Result<bool, String> {
    if let Some(path) = &args.report {
        let text = serde_json::to_string_pretty(summary).map_err(|error| error.to_string())?;
        std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    let mut text = String::new();
    let list = |title: &str, counts: &BTreeMap<String, u64>| {
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        format!("{title}: {}\n", counts.join(", "))
    };
    text += &list("faults", &summary.faults);
    text += &list("marks", &summary.marks);
    let names = kontiki_sim::marks::ALL.iter().map(|(name, _)| *name);
    let missed: Vec<&str> = names.filter(|name| !summary.marks.contains_key(*name)).collect();
    if !missed.is_empty() {
        text += &format!("not reached: {}\n", missed.join(", "));
    }
    for (seed, failure) in summary.failures.iter().take(FAILURES_SHOWN) {
        let order = Order { seed: *seed, ..order.clone() };
        text += &format!("FAILED: {failure}\n        replay: {}\n", replay(&order, args.script.as_deref()));
        if args.shrink {
            text += &one::smallest(&order, failure)?;
        }
    }
    let mut held = summary.failures.is_empty();
    let lacking: Vec<&str> = kontiki_sim::marks::required().filter(|name| !summary.marks.contains_key(*name)).collect();
    if args.require_marks && !lacking.is_empty() {
        held = false;
        text += &format!("FAILED: marks that are required and were not reached: {}\n", lacking.join(", "));
    }
    text += &format!("{}: {}\n", if held { "ok" } else { "FAILED" }, figures(summary, took));
    print(text.as_bytes())?;
    Ok(held)
}
