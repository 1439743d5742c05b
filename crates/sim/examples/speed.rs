//! How many times faster than real time the simulator runs a cluster of three under the default profile, in one thread.
//!
//! `cargo run --release -p kontiki-sim --example speed [-- SEEDS]`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use kontiki_sim::Order;

/// Seeds tried where nothing else is said.
const SEEDS: u64 = 200;

fn main() -> ExitCode {
    let seeds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(SEEDS);
    let (mut virtual_time, mut took, mut runs, mut failures) = (Duration::ZERO, Duration::ZERO, 0, 0);
    for seed in 0..seeds {
        let order = Order { seed, profile: "default".to_owned(), script: None, planted: 0 };
        let begin = Instant::now();
        match kontiki_sim::run(&order, None) {
            Ok(report) if report.members == 3 => {
                took += begin.elapsed();
                virtual_time += report.time;
                runs += 1;
                failures += u64::from(report.failure.is_some());
            }
            Ok(_) => {}
            Err(error) => {
                eprintln!("speed: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    let times = virtual_time.as_secs_f64() / took.as_secs_f64().max(0.001);
    println!(
        "{runs} runs of three members, {:.2} virtual hours in {:.1} s: {times:.0} times real time, {failures} failures",
        virtual_time.as_secs_f64() / 3_600.0,
        took.as_secs_f64()
    );
    ExitCode::SUCCESS
}
