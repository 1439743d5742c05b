//! `check perf` and `check datascale`: put a load on a cluster and judge how it bears it.

use clap::{Args, Subcommand, ValueEnum};
use kontiki_api::rpc::{CompactionRequest, DeleteRangeRequest, RangeRequest};

use super::check_load::{Outcome, Plan, run_load};
use super::client::{Connection, Context};
use super::defrag::{self, DefragArgs};
use super::failure::Failure;
use super::keys::KeyRange;
use super::memory;
use super::show::print;

/// Commands that measure.
#[derive(Subcommand, Debug)]
pub enum CheckCommand {
    /// Write for a minute and judge throughput and latency.
    Perf(CheckArgs<PerfPrefix>),
    /// Write many keys and tell how much memory they take at a member.
    Datascale(CheckArgs<ScalePrefix>),
}

// Flags of both; they differ in the default of the prefix only.
#[derive(Args, Debug)]
pub struct CheckArgs<P: Args> {
    /// How much: s, m, l or xl
    #[arg(long, default_value = "s", value_enum, ignore_case = true)]
    load: Load,
    #[command(flatten)]
    prefix: P,
    /// Compact the history of the keys that were written
    #[arg(long)]
    auto_compact: bool,
    /// Have the members give the space back
    #[arg(long)]
    auto_defrag: bool,
}

#[derive(Args, Debug)]
pub struct PerfPrefix {
    /// Prefix of the keys to write; none may be there
    #[arg(long, default_value = "/etcdctl-check-perf/")]
    prefix: String,
}

#[derive(Args, Debug)]
pub struct ScalePrefix {
    /// Prefix of the keys to write; none may be there
    #[arg(long, default_value = "/etcdctl-check-datascale/")]
    prefix: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Load {
    #[value(name = "s", alias = "small")]
    Small,
    #[value(name = "m", alias = "medium")]
    Medium,
    #[value(name = "l", alias = "large")]
    Large,
    #[value(name = "xl", aliases = ["xlarge"])]
    ExtraLarge,
}

impl Load {
    fn perf(self) -> Plan {
        let (rate, clients) = match self {
            Load::Small => (150, 50),
            Load::Medium => (1_000, 200),
            Load::Large => (8_000, 500),
            Load::ExtraLarge => (15_000, 1_000),
        };
        Plan { rate: Some(rate), writes: rate * 60, clients }
    }

    fn datascale(self) -> Plan {
        let (writes, clients) = match self {
            Load::Small => (10_000, 50),
            Load::Medium => (100_000, 200),
            Load::Large => (1_000_000, 500),
            Load::ExtraLarge => (3_000_000, 1_000),
        };
        Plan { rate: None, writes, clients }
    }
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: CheckCommand) -> Result<(), Failure> {
    match command {
        CheckCommand::Perf(args) => perf(context, &args).await,
        CheckCommand::Datascale(args) => datascale(context, &args).await,
    }
}

async fn perf(context: &Context, args: &CheckArgs<PerfPrefix>) -> Result<(), Failure> {
    let prefix = &args.prefix.prefix;
    refuse_keys(context, prefix).await?;
    let plan = args.load.perf();
    let outcome = run_load(context, prefix, plan).await?;
    clean(context, prefix, args.auto_compact, args.auto_defrag).await?;
    let (text, passed) = judge(plan.rate.unwrap_or_default(), &outcome);
    print(text.as_bytes())?;
    if passed { Ok(()) } else { Err(Failure::silent()) }
}

async fn datascale(context: &Context, args: &CheckArgs<ScalePrefix>) -> Result<(), Failure> {
    let prefix = &args.prefix.prefix;
    let [endpoint] = context.settings.endpoints.as_slice() else {
        return Err(Failure::arguments("check datascale looks at the memory of one member: name one with --endpoints"));
    };
    refuse_keys(context, prefix).await?;
    let before = memory::resident(context, endpoint).await?;
    let plan = args.load.datascale();
    print(
        format!(
            "Start data scale check for work load [{} key-value pairs, 1024 bytes per key-value, {} concurrent clients].\n",
            plan.writes, plan.clients
        )
        .as_bytes(),
    )?;
    let outcome = run_load(context, prefix, plan).await?;
    let after = memory::resident(context, endpoint).await?;
    clean(context, prefix, args.auto_compact, args.auto_defrag).await?;
    if !outcome.errors.is_empty() {
        let lines: String =
            outcome.errors.iter().map(|(error, count)| format!("FAIL: ERROR({error}) -> {count}\n")).collect();
        print(lines.as_bytes())?;
        return Err(Failure::silent());
    }
    let used = after.saturating_sub(before) as f64 / f64::from(1 << 20);
    print(format!("PASS: Approximate system memory used : {used:.2} MB.\n").as_bytes())
}

/// A check deletes what it wrote, so nothing else may stand under its prefix.
async fn refuse_keys(context: &Context, prefix: &str) -> Result<(), Failure> {
    let range = KeyRange::prefix(prefix.to_string().into());
    let request = RangeRequest { key: range.key, range_end: range.range_end, limit: 1, ..Default::default() };
    let found = context.read(async |from| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
    if found.kvs.is_empty() {
        return Ok(());
    }
    Err(Failure::input(format!("prefix {prefix:?} has keys. Delete with `kontiki ctl del --prefix {prefix}` first")))
}

async fn clean(context: &Context, prefix: &str, compact: bool, defragment: bool) -> Result<(), Failure> {
    let range = KeyRange::prefix(prefix.to_string().into());
    let request = DeleteRangeRequest { key: range.key, range_end: range.range_end, prev_kv: false };
    let deleted = context.write(async |to| Ok(to.kv().delete_range(request.clone()).await?.into_inner())).await?;
    if compact {
        let revision = deleted.header.unwrap_or_default().revision;
        let request = CompactionRequest { revision, physical: true };
        context.write(async |to: &Connection| to.kv().compact(request).await.map(|_| ())).await?;
        print(format!("Compacting with revision {revision}\nCompacted with revision {revision}\n").as_bytes())?;
    }
    if defragment {
        defrag::run(context, &DefragArgs { cluster: false }).await?;
    }
    Ok(())
}

/// Slowest write, and standard deviation of all, that pass, in seconds.
const SLOWEST: f64 = 0.5;
const DEVIATION: f64 = 0.1;

fn judge(rate: u64, outcome: &Outcome) -> (String, bool) {
    let throughput = outcome.throughput();
    let (slowest, deviation) = (outcome.slowest(), outcome.deviation());
    let enough = throughput >= 0.9 * rate as f64;
    let steady = slowest <= SLOWEST;
    let even = deviation <= DEVIATION;
    let mut lines: Vec<String> =
        outcome.errors.iter().map(|(error, count)| format!("FAIL: {count} errors: {error}")).collect();
    lines.push(match enough {
        true => format!("PASS: Throughput is {} writes/s", throughput.round()),
        false => format!("FAIL: Throughput too low: {} writes/s", throughput.round()),
    });
    lines.push(match steady {
        true => format!("PASS: Slowest request took {slowest:.6}s"),
        false => format!("FAIL: Slowest request took too long: {slowest:.6}s"),
    });
    lines.push(match even {
        true => format!("PASS: Stddev is {deviation:.6}s"),
        false => format!("FAIL: Stddev too high: {deviation:.6}s"),
    });
    let passed = enough && steady && even && outcome.errors.is_empty();
    lines.push(if passed { "PASS" } else { "FAIL" }.to_string());
    (lines.join("\n") + "\n", passed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    #[test]
    fn judgements() {
        let good = Outcome { latencies: vec![0.01; 300], errors: BTreeMap::new(), took: Duration::from_secs(2) };
        let (text, passed) = judge(150, &good);
        assert!(passed);
        assert_eq!(
            text,
            "PASS: Throughput is 150 writes/s\nPASS: Slowest request took 0.010000s\nPASS: Stddev is 0.000000s\nPASS\n"
        );
        let mut bad = good;
        bad.latencies[7] = 3.0;
        bad.took = Duration::from_secs(3);
        let (text, passed) = judge(150, &bad);
        assert!(!passed);
        assert_eq!(text.matches("FAIL").count(), 4, "{text}");
    }
}
