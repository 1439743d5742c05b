//! Words and flags of `kontiki bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::arrivals::Spacing;
use crate::ctl::settings::Settings;

/// What is written where, for the help; it must not surprise anybody.
const LEFT_BEHIND: &str = "\
WHAT IS WRITTEN: every operation writes keys under --prefix, numbered from 0 to --keys less one, and overwrites what \
stands there under the same names; reads write those that are missing before they begin. The keys stay, for the next \
run, unless --cleanup is given: it deletes keys between the first and the last of these names, however the run ends.

The load is spread over all --endpoints. The report is printed as simple or json (--write-out). Ctrl-C ends a run early \
and prints what there is.";

/// Everything behind `kontiki bench`.
#[derive(Args, Debug)]
#[command(after_help = LEFT_BEHIND)]
pub struct BenchArgs {
    /// What each client does, again and again
    #[arg(value_enum)]
    pub operation: Operation,
    /// Clients: most operations that are under way at once
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub clients: usize,
    /// Connections that the clients share, spread over the endpoints; as many as clients, but at most 8, where not given
    #[arg(long, value_name = "N")]
    pub connections: Option<usize>,
    /// How long to measure; 10 where neither this nor --total is given
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// End after this many measured operations
    #[arg(long, value_name = "N")]
    pub total: Option<u64>,
    /// Load before the measurement begins; 1 where not given, 0 with --total
    #[arg(long, value_name = "SECONDS")]
    pub warmup: Option<f64>,
    /// OPEN LOOP: this many operations are due per second, and each one's latency counts from when it was due.
    /// Without it each client sends its next operation when the last one is answered (closed loop)
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// How operations of an open loop are spaced
    #[arg(long, value_enum, default_value = "fixed", requires = "rate")]
    pub arrivals: Spacing,
    /// Different keys
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub keys: u64,
    /// Bytes of a key, prefix included
    #[arg(long, default_value_t = 32, value_name = "BYTES")]
    pub key_size: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    pub value_size: usize,
    /// Take the keys in their order
    #[arg(long, conflicts_with = "random")]
    pub sequential: bool,
    /// Take the keys in a random order (the default)
    #[arg(long)]
    pub random: bool,
    /// Makes the same random choices again
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// range: keys in an answer
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub limit: u32,
    /// mixed: how many of a hundred operations read
    #[arg(long, default_value_t = 80, value_name = "PERCENT")]
    pub reads: u8,
    /// watch: how many watch all the keys
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub watchers: usize,
    /// Ask the leader only, which must be one of --endpoints
    #[arg(long)]
    pub target_leader: bool,
    /// Keys begin with this
    #[arg(long, default_value = "bench/")]
    pub prefix: String,
    /// Delete the keys at the end
    #[arg(long)]
    pub cleanup: bool,
    /// Print a line per second on standard error
    #[arg(long)]
    pub progress: bool,
    /// Write the distribution of the latencies to this file, for HdrHistogram's plotter
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// First measure what an append and its sync take in this directory: that of the servers' data, or one on its disk
    #[arg(long, value_name = "DIR")]
    pub disk: Option<PathBuf>,
    /// Processes of servers on this machine, separated by commas: their CPU time and memory are reported (Linux only)
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub pids: Vec<u32>,
    #[command(flatten)]
    pub settings: Settings,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Write a key
    Put,
    /// Read a key, linearizably
    Get,
    /// Read a key at the member that is asked, as it is there (serializable)
    Sget,
    /// Read --limit keys from a random one on, linearizably
    Range,
    /// Read a key, then write it in a transaction if nobody did meanwhile
    Cas,
    /// Reads and writes, see --reads
    Mixed,
    /// Write keys that --watchers watch: latency is from a write to its arrival at each of them
    Watch,
    /// Grant a lease, put a key under it, revoke it
    Lease,
}

impl Operation {
    /// Whether it is of no use on keys that do not exist.
    pub fn needs_keys(self) -> bool {
        match self {
            Operation::Get | Operation::Sget | Operation::Range | Operation::Cas | Operation::Mixed => true,
            Operation::Put | Operation::Watch | Operation::Lease => false,
        }
    }
}

impl BenchArgs {
    /// How long to wait for the answer of one operation.
    pub fn patience(&self) -> Duration {
        self.settings.command_timeout
    }
}
