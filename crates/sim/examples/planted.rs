//! Plants one bug after the other, and looks after how many seeds the simulator notices.
//!
//! `cargo run -p kontiki-sim --features planted --example planted -- [--bugs 1,13,46] [--seeds 10000] [--seconds 300]`
//! prints a table and ends with 1 where one was missed. `--seconds` bounds the time for each bug, `--profile` hunts with
//! another profile than the bug's own. Bug 0 is none: it lists the seeds that fail anyway; with `--sound FILE` such seeds
//! are left out, so that what is found is the bug's doing.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kontiki_sim::{Order, PLANTED, Planted};

/// Seeds tried for each bug, and for how long, where nothing else is said.
const SEEDS: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(300);

struct Wishes {
    bugs: Vec<u8>,
    first: u64,
    seeds: u64,
    patience: Duration,
    profile: Option<String>,
}

thread_local! {
    /// Where the code asserted that something is wrong, and what.
    static ASSERTED: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    let wishes = match wishes() {
        Ok(wishes) => wishes,
        Err(error) => {
            eprintln!("planted: {error}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|info| ASSERTED.set(info.to_string().replace('\n', " "))));
    println!("| bug | profile | property | seeds | seconds | what was seen |\n|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for bug in &wishes.bugs {
        if !hunt(*bug, &wishes) {
            missed.push(*bug);
        }
    }
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("planted: missed {missed:?}");
    ExitCode::FAILURE
}

/// Plants a bug and tries seeds until one fails that is sound without it.
fn hunt(bug: u8, wishes: &Wishes) -> bool {
    let known = PLANTED.iter().find(|planted| planted.number == bug);
    let own = known.map_or("default", |planted| planted.profile);
    let profile = wishes.profile.as_deref().unwrap_or(own);
    let begin = Instant::now();
    let mut tried = 0;
    for seed in wishes.first..wishes.first + wishes.seeds {
        if begin.elapsed() > wishes.patience {
            break;
        }
        tried += 1;
        let Some((property, what)) = fails(seed, profile, bug) else { continue };
        // A seed that fails so without the bug as well proves nothing.
        let is_new = bug > 0 && fails(seed, profile, 0).is_none_or(|(known, _)| known != property);
        let expected = bug == 0 || known.is_none_or(|bug| bug.may_break(&property));
        let seconds = begin.elapsed().as_secs_f64();
        let short: String = what.chars().take(SHOWN).collect::<String>().replace('\n', " ");
        let note = if bug == 0 || is_new && expected { "" } else { " (not counted)" };
        println!("| P{bug} | {profile} | {property} | {tried} | {seconds:.1} | seed {seed}{note}: {short} |");
        if is_new && expected {
            return true;
        }
    }
    println!("| P{bug} | {profile} | – | {tried} | {:.1} | |", begin.elapsed().as_secs_f64());
    bug == 0
}

/// So many letters of what was seen are shown.
const SHOWN: usize = 200;

/// What fails with a seed.
fn fails(seed: u64, profile: &str, bug: u8) -> Option<(String, String)> {
    let order = Order { seed, profile: profile.to_owned(), script: None, planted: bug };
    match catch_unwind(AssertUnwindSafe(|| kontiki_sim::run(&order, None))) {
        Ok(Ok(report)) => report.failure.map(|failure| (failure.property, failure.what)),
        Ok(Err(error)) => Some(("order".to_owned(), error.to_string())),
        Err(_) => Some(("assertion".to_owned(), ASSERTED.take())),
    }
}

fn wishes() -> Result<Wishes, String> {
    let all = PLANTED.iter().map(|Planted { number, .. }| *number).collect();
    let mut wishes = Wishes { bugs: all, first: 0, seeds: SEEDS, patience: PATIENCE, profile: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let wrong = |_| format!("{word} {value}: not a number");
        match word.as_str() {
            "--bugs" => {
                let bugs = value.split(',').map(|bug| bug.trim_start_matches('P').parse());
                wishes.bugs = bugs.collect::<Result<_, _>>().map_err(|_| format!("--bugs {value}: not numbers"))?;
            }
            "--first" => wishes.first = value.parse().map_err(wrong)?,
            "--seeds" => wishes.seeds = value.parse().map_err(wrong)?,
            "--seconds" => wishes.patience = Duration::from_secs(value.parse().map_err(wrong)?),
            "--profile" => wishes.profile = Some(value),
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(wishes)
}
