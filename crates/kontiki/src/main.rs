//! Kontiki, the program: `server` runs a member with etcd's flags, `demo` a whole cluster to play with, `ctl` talks to
//! one, `snapshot` saves and restores what it holds, `check` and `dump` look at the files of a member that is down,
//! `sim` runs whole clusters in one thread under every fault, `bench` puts a load on a cluster and reports what it bore. Without
//! a subcommand it is the server, so that the binary can stand in for `etcd`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod check;
#[cfg(test)]
mod compatibility;
mod config;
mod ctl;
mod demo;
mod dump;
mod flags;
mod import;
mod logging;
mod member;
mod notify;
mod output;
mod panics;
mod ports;
mod progress;
mod server;
mod sim;
mod version;

#[derive(Parser)]
#[command(name = "kontiki", about = "A replicated key-value store that speaks etcd v3")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one member of a cluster; flags and variables are etcd's (`kontiki server --help`)
    #[command(disable_help_flag = true)]
    Server {
        /// etcd's flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<String>,
    },
    /// Start a cluster in this process, on loopback, to look at and to break
    Demo(demo::DemoArgs),
    /// Talk to a cluster with etcdctl's commands
    Ctl(Box<ctl::CtlArgs>),
    /// Save, check and restore snapshots
    Snapshot(Box<ctl::SnapshotArgs>),
    /// Bring the data of a running etcd over into a cluster of Kontiki
    Import(Box<import::ImportArgs>),
    /// Check the data directory of a stopped member: is it whole? Ends with 0 if so, 1 if not, 2 if that cannot be told
    Check(check::CheckArgs),
    /// Print what stands in the log and in the state of a stopped member
    Dump(dump::DumpArgs),
    /// Run whole simulated clusters under every fault, from a seed, and check that nothing is lost
    Sim(sim::SimArgs),
    /// Put a load on a cluster and report throughput and latency; writes keys under bench/
    Bench(Box<bench::BenchArgs>),
    /// Print the versions
    Version,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let stands_in_for_etcd = match words.first().map(String::as_str) {
        Some("-h" | "--help") => false,
        Some(word) => word.starts_with('-'),
        None => true,
    };
    if stands_in_for_etcd {
        return server::run(&words);
    }
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        // etcdctl ends with 1 where its command line cannot be read; the code 2 of other programs has a meaning there.
        let of_ctl = words.first().is_some_and(|word| word == "ctl" || word == "snapshot") && error.use_stderr();
        let _ = error.print(); // nobody may be there to read it
        std::process::exit(if of_ctl { 1 } else { error.exit_code() });
    });
    match arguments.command {
        Command::Server { flags } => server::run(&flags),
        Command::Demo(args) => demo::run(&args),
        Command::Ctl(args) => ctl::run(*args),
        Command::Snapshot(args) => ctl::run(args.into()),
        Command::Import(args) => import::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Dump(args) => dump::run(&args),
        Command::Sim(args) => sim::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Version => {
            print!("{}", version::text());
            ExitCode::SUCCESS
        }
    }
}
