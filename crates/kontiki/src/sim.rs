//! `kontiki sim`: whole clusters under every fault, from a seed. Ends with 0 where everything held, 1 where something did
//! not, 2 where it could not be tried.

mod many;
mod one;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kontiki_sim::{Order, Profile};

/// Something did not hold.
const FAILED: u8 = 1;
/// Nothing could be tried.
const UNUSABLE: u8 = 2;
/// How long to go on where nothing is said.
const MINUTES_DEFAULT: f64 = 1.0;

/// Words and flags of `sim`.
#[derive(Args)]
pub struct SimArgs {
    /// Run this one seed; the same seed is the same run, on any machine
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "minutes"])]
    seed: Option<u64>,
    /// Run these seeds, the last one not included
    #[arg(long, value_name = "A..B", value_parser = range, conflicts_with = "minutes")]
    seeds: Option<(u64, u64)>,
    /// Run fresh seeds for so long; one minute where nothing else is said
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// With --minutes: the first of the seeds, in place of a fresh one
    #[arg(long, value_name = "N", conflicts_with_all = ["seed", "seeds"])]
    from: Option<u64>,
    /// Which faults, and how many: see --profiles
    #[arg(long, default_value = "default", value_name = "NAME")]
    profile: String,
    /// List the profiles
    #[arg(long)]
    profiles: bool,
    /// Take the faults from a script instead of from the seed
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Print what happens, as it happens
    #[arg(long, value_name = "FORM", num_args = 0..=1, default_missing_value = "text")]
    trace: Option<TraceForm>,
    /// Where a seed fails, find the smallest script that still does, and print it
    #[arg(long)]
    shrink: bool,
    /// Print the faults that a seed draws, as a script, and run nothing
    #[arg(long, requires = "seed")]
    print_script: bool,
    /// Processes that run seeds beside each other; as many as there are cores where nothing is said
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Fail where these seeds together do not reach every rare situation that runs must reach
    #[arg(long, conflicts_with = "seed")]
    require_marks: bool,
    /// Write the summary to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Plant a bug, in a build that can
    #[arg(long, default_value_t = 0, hide = true)]
    planted: u8,
    /// Serve a supervisor: orders come in on standard input, reports go out on standard output
    #[arg(long, hide = true)]
    worker: bool,
}

/// Forms of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TraceForm {
    /// Lines for people
    Text,
    /// An object on each line
    Json,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("{text:?} is no range of seeds; write it as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if from < to { Ok((from, to)) } else { Err(format!("the range {text} is empty")) }
}

/// Runs what was asked for.
pub fn run(args: &SimArgs) -> ExitCode {
    if args.worker {
        return worker::run();
    }
    if args.profiles {
        let lines: String =
            Profile::ALL.iter().map(|profile| format!("{:<12} {}\n", profile.name(), profile.about())).collect();
        return ending(crate::output::print(lines.as_bytes()).map(|()| true));
    }
    ending(match args.seed {
        Some(seed) => order(args, seed).and_then(|order| one::run(args, &order)),
        None => order(args, 0).and_then(|order| many::run(args, &order)),
    })
}

fn ending(outcome: Result<bool, String>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("kontiki: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

/// The run that the flags ask for, checked.
fn order(args: &SimArgs, seed: u64) -> Result<Order, String> {
    let script = match &args.script {
        None => None,
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?)
        }
    };
    let order = Order { seed, profile: args.profile.clone(), script, planted: args.planted };
    kontiki_sim::check(&order).map_err(|error| error.to_string())?;
    Ok(order)
}

/// How to run a seed again.
fn replay(order: &Order, script: Option<&std::path::Path>) -> String {
    let script = script.map(|path| format!(" --script {}", path.display())).unwrap_or_default();
    let planted = if order.planted > 0 { format!(" --planted {}", order.planted) } else { String::new() };
    format!("kontiki sim --seed {} --profile {}{script}{planted}", order.seed, order.profile)
}
