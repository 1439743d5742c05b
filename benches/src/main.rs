//! Measures what a commit costs: Kontiki's consensus beside its peers'. README.md has the rules.

mod allocations;
mod batch;
mod closed_loop;
mod cluster;
mod contestants;
mod handle;
mod machine;
mod measure;
mod memory_log;
mod table;

use clap::{Parser, ValueEnum};

use crate::closed_loop::{Load, Order};
use crate::contestants::{BareReplica, KontikiReplica, RaftReplica};
use crate::handle::{Channel, Engines, Openraft};
use crate::measure::Cost;
use crate::table::Row;

#[global_allocator]
static ALLOCATOR: allocations::CountingAllocator = allocations::CountingAllocator;

/// CPU time per commit of three replicas in one process.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, required = true)]
    suites: Vec<Suite>,
    /// How often each contestant is run under each load; they take turns.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each run is measured.
    #[arg(long, default_value_t = 300.0)]
    milliseconds: f64,
    /// Count allocations per commit instead of time.
    #[arg(long)]
    allocations: bool,
    /// Threads of the runtime in `handle`.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Only these contestants.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only commands of so many bytes.
    #[arg(long)]
    bytes: Option<usize>,
    /// Only so many outstanding.
    #[arg(long)]
    outstanding: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Suite {
    /// One group, the cores in a loop.
    Core,
    /// One group behind handles, with concurrent clients.
    Handle,
    /// Many groups, the cores in a loop.
    Groups,
}

type Run = fn(&Load) -> Cost;

const CORES: [(&str, Run); 3] = [
    ("loop", closed_loop::run::<BareReplica>),
    ("raft", closed_loop::run::<RaftReplica>),
    ("kontiki", closed_loop::run::<KontikiReplica>),
];

const HANDLES: [(&str, Run); 4] = [
    ("openraft", handle::run::<Openraft>),
    ("raft", handle::run::<Channel<RaftReplica>>),
    ("kontiki core", handle::run::<Channel<KontikiReplica>>),
    ("kontiki", handle::run::<Engines>),
];

fn main() {
    let arguments = Arguments::parse();
    if arguments.allocations {
        allocations::start_counting();
    }
    for suite in &arguments.suites {
        println!("\n{suite:?}: {} rounds of {} ms", arguments.rounds, arguments.milliseconds);
        let contestants: &[_] = if let Suite::Handle = suite { &HANDLES } else { &CORES };
        let rows = measure(contestants, &loads(*suite, &arguments), &arguments);
        table::print(&rows, "raft", arguments.allocations);
    }
}

fn loads(suite: Suite, arguments: &Arguments) -> Vec<Load> {
    use Order::{ByGroup, ByMember};
    let (groups, orders, sizes, outstanding): (&[usize], &[Order], &[usize], &[usize]) = match suite {
        Suite::Core | Suite::Handle => (&[1], &[ByMember], &[16, 256], &[1, 64, 1024]),
        Suite::Groups => (&[1000, 10_000], &[ByGroup, ByMember], &[16], &[1024]),
    };
    let (threads, milliseconds) = (arguments.threads, arguments.milliseconds);
    let mut loads = Vec::new();
    for &groups in groups {
        for &order in orders {
            for &command_bytes in sizes {
                for &outstanding in outstanding {
                    loads.push(Load { groups, order, command_bytes, outstanding, threads, milliseconds });
                }
            }
        }
    }
    loads.retain(|load| {
        arguments.bytes.is_none_or(|bytes| bytes == load.command_bytes)
            && arguments.outstanding.is_none_or(|count| count == load.outstanding)
    });
    loads
}

/// Runs all contestants under each load, in turns, so that what the machine does meanwhile meets all of them.
fn measure(contestants: &[(&'static str, Run)], loads: &[Load], arguments: &Arguments) -> Vec<Row> {
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let mut rows = Vec::new();
    for load in loads {
        let mut of_load: Vec<(Run, Row)> = contestants
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(contestant, run)| (*run, Row { contestant, load: load.to_string(), rounds: Vec::new() }))
            .collect();
        for _ in 0..arguments.rounds {
            for (run, row) in &mut of_load {
                row.rounds.push(run(load));
            }
        }
        rows.extend(of_load.into_iter().map(|(_, row)| row));
    }
    rows
}
