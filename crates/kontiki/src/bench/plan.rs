//! What the words of the command line settle to, and what is wrong with them.

use std::time::Duration;

use bytes::Bytes;
use kontiki_world::Random;
use serde::Serialize;

use super::args::{BenchArgs, Operation};
use super::arrivals::Spacing;
use super::keys::KeySpace;
use super::stamp::STAMP;
use crate::ctl::client::Context;
use crate::ctl::failure::Failure;
use crate::ctl::show::Format;

const SECONDS: f64 = 10.0;
const WARMUP: f64 = 1.0;
/// Connections where their number is not given.
const CONNECTIONS: usize = 8;
/// Longest run; the clock of a run counts in smaller steps than this overflows.
const SECONDS_MAX: f64 = 1e6;
/// Densest open loop.
const RATE_MAX: f64 = 1e7;

/// A line of words that cannot be run, and what to do.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BadInput {
    #[error("--clients is 0: nobody would send anything; use 1 or more")]
    NoClients,
    #[error("--connections is 0: use 1 or more, or leave it out")]
    NoConnections,
    #[error("--connections {connections} is more than --clients {clients}: the others would be idle; lower it")]
    IdleConnections { connections: usize, clients: usize },
    #[error("{flag} {value}: must be a number above zero and at most {most}")]
    NotPositive { flag: &'static str, value: f64, most: f64 },
    #[error("--warmup {0}: must be zero or more seconds, and at most 1000000")]
    Warmup(f64),
    #[error("--total is 0: use 1 or more, or measure for --seconds")]
    NoOperations,
    #[error("--keys is 0: use 1 or more")]
    NoKeys,
    #[error("--prefix is empty: a run writes keys and --cleanup deletes them, so they must have a name of their own")]
    NoPrefix,
    #[error(
        "--key-size {size}: the prefix {prefix:?} and the numbers of {keys} keys take {least} bytes; raise it, or lower --keys"
    )]
    KeySize { size: usize, prefix: String, keys: u64, least: usize },
    #[error("--key-size {0} is longer than any request may be; use 65536 or less")]
    LongKeys(usize),
    #[error("--value-size {0}: watchers read the time of a write from its value; use {STAMP} or more")]
    NoRoomForStamp(usize),
    #[error("--reads {0}: a part of a hundred operations; use 0 to 100")]
    Reads(u8),
    #[error("--limit is 0: a range would hold all keys; use 1 or more")]
    NoLimit,
    #[error("--watchers is 0: use 1 or more, or the operation put")]
    NoWatchers,
    #[error("--write-out: a report is printed as simple or json")]
    Form,
    #[error("--pids reads /proc, which only Linux has; leave it out here")]
    PidsNeedLinux,
    #[error("--pids: there is no process {0} on this machine, or it may not be looked at; name servers that run here")]
    NoProcess(u32),
    #[error(
        "--target-leader: none of {0} leads; name the leader with --endpoints (`kontiki ctl endpoint status --cluster` tells)"
    )]
    LeaderNotNamed(String),
    #[error(
        "{endpoint} cannot be used: {reason}; start a member there, name others with --endpoints, or log in with --user"
    )]
    Unreachable { endpoint: String, reason: String },
    #[error("--disk {path}: {reason}; name a directory that can be written to")]
    Disk { path: String, reason: String },
    #[error("--hgrm {path}: {reason}; name a file that can be written")]
    Hgrm { path: String, reason: String },
}

impl From<BadInput> for Failure {
    fn from(problem: BadInput) -> Failure {
        match problem {
            BadInput::Unreachable { .. } | BadInput::LeaderNotNamed(_) => Failure::connection(problem.to_string()),
            _ => Failure::arguments(problem.to_string()),
        }
    }
}

/// A run that can be made. Its names are those of the report.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub operation: Operation,
    pub endpoints: Vec<String>,
    pub target_leader: bool,
    pub clients: usize,
    pub connections: usize,
    pub seconds: Option<f64>,
    pub total: Option<u64>,
    pub warmup_seconds: f64,
    /// Operations due per second; a closed loop where there is none.
    pub rate: Option<f64>,
    pub arrivals: Option<Spacing>,
    pub keys: u64,
    pub key_size: usize,
    pub value_size: usize,
    pub sequential: bool,
    pub seed: u64,
    pub prefix: String,
    pub limit: Option<u32>,
    pub reads_percent: Option<u8>,
    pub watchers: Option<usize>,
}

impl Plan {
    /// Checks the words.
    pub fn settle(args: &BenchArgs) -> Result<Plan, BadInput> {
        if args.clients == 0 {
            return Err(BadInput::NoClients);
        }
        let connections = args.connections.unwrap_or(CONNECTIONS.min(args.clients));
        match connections {
            0 => return Err(BadInput::NoConnections),
            more if more > args.clients => {
                return Err(BadInput::IdleConnections { connections, clients: args.clients });
            }
            _ => {}
        }
        check_time(args)?;
        check_keys(args)?;
        check_operation(args)?;
        let only = |operation| args.operation == operation;
        Ok(Plan {
            operation: args.operation,
            endpoints: args.settings.endpoints.clone(),
            target_leader: args.target_leader,
            clients: args.clients,
            connections,
            seconds: args.seconds.or(args.total.is_none().then_some(SECONDS)),
            total: args.total,
            warmup_seconds: args.warmup.unwrap_or(if args.total.is_some() { 0.0 } else { WARMUP }),
            rate: args.rate,
            arrivals: args.rate.map(|_| args.arrivals),
            keys: args.keys,
            key_size: args.key_size,
            value_size: args.value_size,
            sequential: args.sequential,
            seed: args.seed,
            prefix: args.prefix.clone(),
            limit: only(Operation::Range).then_some(args.limit),
            reads_percent: only(Operation::Mixed).then_some(args.reads),
            watchers: only(Operation::Watch).then_some(args.watchers),
        })
    }

    /// The keys.
    pub fn key_space(&self) -> KeySpace {
        KeySpace {
            prefix: self.prefix.clone(),
            size: self.key_size,
            count: self.keys,
            sequential: self.sequential,
            seed: self.seed,
        }
    }

    /// What is written: bytes that cannot be compressed, the same for a seed.
    pub fn value(&self) -> Bytes {
        let mut random = Random::new(self.seed);
        (0..self.value_size).map(|_| random.next_u64().to_le_bytes()[0]).collect()
    }

    /// Load before the measurement.
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_seconds)
    }

    /// The measurement, where it has an end in time.
    pub fn duration(&self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs_f64)
    }
}

/// Whether the report is printed as JSON.
pub fn as_json(context: &Context) -> Result<bool, Failure> {
    match context.settings.format()? {
        Format::Simple => Ok(false),
        Format::Json => Ok(true),
        Format::Fields | Format::Protobuf | Format::Table => Err(BadInput::Form.into()),
    }
}

fn check_time(args: &BenchArgs) -> Result<(), BadInput> {
    for (flag, value, most) in [("--seconds", args.seconds, SECONDS_MAX), ("--rate", args.rate, RATE_MAX)] {
        match value {
            Some(value) if !(value > 0.0 && value <= most) => {
                return Err(BadInput::NotPositive { flag, value, most });
            }
            _ => {}
        }
    }
    match args.warmup {
        Some(warmup) if !(0.0..=SECONDS_MAX).contains(&warmup) => Err(BadInput::Warmup(warmup)),
        _ if args.total == Some(0) => Err(BadInput::NoOperations),
        _ => Ok(()),
    }
}

fn check_keys(args: &BenchArgs) -> Result<(), BadInput> {
    if args.keys == 0 {
        return Err(BadInput::NoKeys);
    }
    if args.prefix.is_empty() {
        return Err(BadInput::NoPrefix);
    }
    let (size, least) = (args.key_size, KeySpace::size_min(&args.prefix, args.keys));
    if size < least {
        return Err(BadInput::KeySize { size, prefix: args.prefix.clone(), keys: args.keys, least });
    }
    if size > usize::from(u16::MAX) + 1 {
        return Err(BadInput::LongKeys(size));
    }
    Ok(())
}

fn check_operation(args: &BenchArgs) -> Result<(), BadInput> {
    match args.operation {
        Operation::Range if args.limit == 0 => Err(BadInput::NoLimit),
        Operation::Mixed if args.reads > 100 => Err(BadInput::Reads(args.reads)),
        Operation::Watch if args.watchers == 0 => Err(BadInput::NoWatchers),
        Operation::Watch if args.value_size < STAMP => Err(BadInput::NoRoomForStamp(args.value_size)),
        _ if !args.pids.is_empty() && cfg!(not(target_os = "linux")) => Err(BadInput::PidsNeedLinux),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    fn settle(line: &str) -> Result<Plan, BadInput> {
        let words = ["kontiki", "bench"].into_iter().chain(line.split(' '));
        match crate::Arguments::try_parse_from(words).unwrap().command {
            crate::Command::Bench(args) => Plan::settle(&args),
            _ => panic!("{line} is not for bench"),
        }
    }

    #[test]
    fn what_is_left_out_has_a_sensible_value() {
        let plan = settle("put").unwrap();
        assert_eq!((plan.clients, plan.connections, plan.seconds, plan.warmup_seconds), (64, 8, Some(10.0), 1.0));
        assert_eq!((plan.rate, plan.arrivals, plan.limit, plan.watchers), (None, None, None, None));
        let plan = settle("watch --clients 3 --total 100 --rate 50").unwrap();
        assert_eq!((plan.connections, plan.seconds, plan.warmup_seconds), (3, None, 0.0));
        assert_eq!((plan.arrivals, plan.watchers), (Some(Spacing::Fixed), Some(100)));
        assert_eq!(plan.value().len(), 256);
        assert_eq!(plan.key_space().key(9_999), "bench/00000000000000000000009999");
        assert_eq!(settle("put --key-size 10 --keys 10000").unwrap().key_space().key(9_999), "bench/9999");
    }

    #[test]
    fn bad_input_is_told_apart() {
        let not_positive = |flag, value, most| BadInput::NotPositive { flag, value, most };
        let short = BadInput::KeySize { size: 8, prefix: "bench/".into(), keys: 10_000, least: 10 };
        for (line, expected) in [
            ("put --clients 0", BadInput::NoClients),
            ("put --connections 0", BadInput::NoConnections),
            ("put --clients 2 --connections 3", BadInput::IdleConnections { connections: 3, clients: 2 }),
            ("put --seconds 0", not_positive("--seconds", 0.0, SECONDS_MAX)),
            ("put --rate 0", not_positive("--rate", 0.0, RATE_MAX)),
            ("put --rate inf", not_positive("--rate", f64::INFINITY, RATE_MAX)),
            ("put --warmup=-1", BadInput::Warmup(-1.0)),
            ("put --total 0", BadInput::NoOperations),
            ("put --keys 0", BadInput::NoKeys),
            ("put --prefix=", BadInput::NoPrefix),
            ("put --key-size 8", short),
            ("put --key-size 100000", BadInput::LongKeys(100_000)),
            ("range --limit 0", BadInput::NoLimit),
            ("mixed --reads 101", BadInput::Reads(101)),
            ("watch --watchers 0", BadInput::NoWatchers),
            ("watch --value-size 16", BadInput::NoRoomForStamp(16)),
        ] {
            assert_eq!(settle(line).unwrap_err(), expected, "{line}");
        }
        assert!(settle("put --rate nan").is_err());
    }

    #[test]
    fn an_error_says_what_to_do() {
        let text = settle("put --key-size 8").unwrap_err().to_string();
        assert_eq!(
            text,
            "--key-size 8: the prefix \"bench/\" and the numbers of 10000 keys take 10 bytes; raise it, or lower --keys"
        );
    }

    #[test]
    fn words_that_contradict_each_other_are_refused() {
        for line in ["put --sequential --random", "put --arrivals poisson", "stroll", "put --clients many"] {
            let words = ["kontiki", "bench"].into_iter().chain(line.split(' '));
            assert!(crate::Arguments::try_parse_from(words).is_err(), "{line}");
        }
    }
}
