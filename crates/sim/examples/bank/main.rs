//! How to run a state machine of one's own under the simulator.
//!
//! `bank.rs` is the state machine: a small bank. `town.rs` is the rest: how a member starts, what clients do, and what must
//! hold. Here plans are drawn from seeds and run.
//!
//! ```text
//! cargo run --release --example bank                        # sound: 20 seeds pass
//! cargo run --release --example bank -- --bug stale-read    # finds it, and says how to see it again
//! cargo run --release --example bank -- --bug twice
//! cargo run --release --example bank -- --seed 7 --seeds 1 --script what-happens.txt
//! ```

mod bank;
mod town;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bank::Bug;
use kontiki_raft::GroupId;
use kontiki_sim::{Cluster, Plan, Profile, Script, Subject, Violation};
use kontiki_world::Random;
use town::BankSubject;

/// How long the members may take to agree once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(120);

struct Arguments {
    seed: u64,
    seeds: u64,
    profile: Profile,
    bug: Bug,
    trace: bool,
    /// What happens, in place of what the seed would have chosen.
    script: Option<Script>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed =
        Arguments { seed: 1, seeds: 20, profile: Profile::Default, bug: Bug::None, trace: false, script: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--trace" {
            parsed.trace = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{value} is not a number"));
        match word.as_str() {
            "--seed" => parsed.seed = number()?,
            "--seeds" => parsed.seeds = number()?,
            "--profile" => parsed.profile = value.parse().map_err(|error| format!("{error}"))?,
            "--bug" if value == "twice" => parsed.bug = Bug::Twice,
            "--bug" if value == "stale-read" => parsed.bug = Bug::StaleRead,
            "--script" => {
                let text = std::fs::read_to_string(&value).map_err(|error| format!("{value}: {error}"))?;
                parsed.script = Some(text.parse().map_err(|error| format!("{value}: {error}"))?);
            }
            _ => return Err(format!("{word} {value} is unknown")),
        }
    }
    Ok(parsed)
}

/// One run: faults, then the end of all faults for a quorum, then for all.
fn run(cluster: &mut Cluster<BankSubject>) -> Result<(), Violation> {
    cluster.run_until(cluster.plan().duration)?;
    let stuck = |cluster: &Cluster<BankSubject>, who| Violation {
        property: "Members agree once nothing is wrong",
        at: cluster.now(),
        what: cluster.describe().iter().fold(format!("{who}:"), |mut text, line| {
            let _ = write!(text, "\n  {line}"); // to a string nothing fails
            text
        }),
    };
    let mut random = Random::new(cluster.plan().seed);
    cluster.subject_mut().finish_work();
    if let Some(core) = cluster.draw_core(GroupId(1), &mut random) {
        cluster.heal(&core)?;
        if !cluster.converge(&core, PATIENCE)? {
            return Err(stuck(cluster, format!("a quorum, {core:?}")));
        }
        cluster.check(&core)?;
    }
    cluster.heal_all()?;
    let members = cluster.fit_members(GroupId(1));
    if !cluster.converge(&members, PATIENCE)? {
        return Err(stuck(cluster, format!("all, {members:?}")));
    }
    cluster.check(&members)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("bank: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let (begin, mut virtual_time) = (Instant::now(), Duration::ZERO);
    for seed in arguments.seed..arguments.seed + arguments.seeds {
        match one(seed, &arguments) {
            Ok(time) => virtual_time += time,
            Err(violation) => {
                tell_how_to_repeat(seed, &violation, &arguments);
                return ExitCode::FAILURE;
            }
        }
    }
    let speed = virtual_time.as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("{virtual_time:?} of virtual time, {speed:.0} times as fast as real time");
    ExitCode::SUCCESS
}

/// The run of a seed. How much virtual time it took.
fn one(seed: u64, arguments: &Arguments) -> Result<Duration, Violation> {
    let mut plan = Plan::draw(seed, arguments.profile);
    plan.keep_trace = arguments.trace;
    if let Some(script) = &arguments.script {
        plan.script = script.clone();
    }
    let mut cluster = Cluster::new(plan, BankSubject::new(seed, arguments.bug), Vec::new())?;
    let done = run(&mut cluster);
    cluster.trace().lines().iter().for_each(|line| println!("{line}"));
    if done.is_ok() {
        let (transfers, reads) = cluster.subject().done();
        let (hash, counts) = (cluster.trace().fingerprint(), cluster.counts());
        println!("seed {seed}: {hash}, {transfers} transfers, {reads} reads; {counts}");
    }
    done.map(|()| cluster.now())
}

fn tell_how_to_repeat(seed: u64, violation: &Violation, arguments: &Arguments) {
    let Arguments { profile, bug, .. } = arguments;
    println!("seed {seed}: {violation}\n\nwhat happened to it:\n{}", Plan::draw(seed, *profile).script);
    let bug = match bug {
        Bug::None => "",
        Bug::Twice => " --bug twice",
        Bug::StaleRead => " --bug stale-read",
    };
    println!("again: cargo run --release --example bank -- --seed {seed} --seeds 1 --profile {profile}{bug} --trace");
}
