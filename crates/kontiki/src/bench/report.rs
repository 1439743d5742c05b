//! The report of a run: what was asked for, where it was made, what came of it. As JSON, its names are stable.

use serde::Serialize;

use super::args::Operation;
use super::disk::Disk;
use super::environment::Environment;
use super::plan::Plan;
use super::process::Usage;
use super::run::Ran;
use super::servers::{Members, Server};
use super::tally::{LATE, Latencies, Tally};

/// Changes when a name of the report gets another meaning.
const FORMAT: u32 = 1;

/// Everything about a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub format: u32,
    pub settings: Plan,
    pub environment: Environment,
    pub servers: Vec<Server>,
    pub members: Members,
    pub disk: Option<Disk>,
    pub interrupted: bool,
    pub result: Figures,
    pub processes: Vec<Usage>,
}

/// What came of the operations.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    pub seconds: f64,
    /// Those that succeeded.
    pub operations: u64,
    pub per_second: f64,
    pub errors: u64,
    pub error_texts: Vec<ErrorText>,
    /// Errors whose text is none of these, because there were too many different ones.
    pub other_errors: u64,
    pub warmup_operations: u64,
    pub warmup_errors: u64,
    /// Of all operations; none where there are none.
    pub latency_ms: Option<Summary>,
    /// Of a mix: those that read.
    pub reads_ms: Option<Summary>,
    /// Of a mix: those that write.
    pub writes_ms: Option<Summary>,
    pub events: Option<Events>,
    pub open_loop: Option<OpenLoop>,
    /// Transactions that found their key changed since they had read it.
    pub conflicts: Option<u64>,
    /// Processor time, user and system, of the processes given by --pids; none where one of them ended.
    pub cpu_us_per_operation: Option<f64>,
    pub keys_before: u64,
    pub revision_before: i64,
    /// None where the cluster could not be asked any more.
    pub revision_after: Option<i64>,
    pub keys_deleted: Option<u64>,
}

/// An error and how often it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorText {
    pub text: String,
    pub count: u64,
}

/// What watchers got.
#[derive(Clone, Debug, Serialize)]
pub struct Events {
    /// One for each watcher and each write that succeeded.
    pub expected: u64,
    pub received: u64,
    pub per_second: f64,
    pub broken_watchers: usize,
    /// From a write (or from when it was due) to its arrival.
    pub latency_ms: Option<Summary>,
}

/// How an open loop went.
#[derive(Clone, Debug, Serialize)]
pub struct OpenLoop {
    pub rate: f64,
    pub due: u64,
    /// More than a millisecond after they were due.
    pub sent_late: u64,
    pub delay_max_ms: f64,
    /// Due by the end, but all clients were busy. They are in no percentile.
    pub not_sent: u64,
    /// From when operations were sent: what a closed loop would have shown.
    pub from_sending_ms: Option<Summary>,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
    pub mean: f64,
}

impl Summary {
    /// Of a histogram that holds anything.
    pub fn of(latencies: &Latencies) -> Option<Summary> {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e6;
        (!latencies.is_empty()).then(|| Summary {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: latencies.max() as f64 / 1e6,
            mean: latencies.mean() / 1e6,
        })
    }
}

/// The cluster around a run.
#[derive(Clone, Copy, Debug)]
pub struct Around {
    /// Keys of the run that were there.
    pub keys_before: u64,
    pub revision_before: i64,
    pub revision_after: Option<i64>,
    pub keys_deleted: Option<u64>,
}

/// The place of a run, which its report begins with.
#[derive(Clone, Debug)]
pub struct Place {
    pub environment: Environment,
    pub servers: Vec<Server>,
    pub members: Members,
    pub disk: Option<Disk>,
}

impl Report {
    /// Of a finished run.
    pub fn new(plan: Plan, place: Place, ran: Ran, around: Around) -> Report {
        let Place { environment, servers, members, disk } = place;
        let result = Figures::of(&plan, &ran, around);
        let Ran { interrupted, processes, .. } = ran;
        Report { format: FORMAT, settings: plan, environment, servers, members, disk, interrupted, result, processes }
    }

    /// As JSON, on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("the report has only names as keys")
    }
}

impl Figures {
    fn of(plan: &Plan, ran: &Ran, around: Around) -> Figures {
        let Ran { tally, seconds, .. } = ran;
        let operations = tally.operations();
        let per_second = |count: u64| count as f64 / seconds.max(1e-9);
        let mixed = plan.operation == Operation::Mixed;
        let cpu: f64 = ran.processes.iter().map(|process| process.user_seconds + process.system_seconds).sum();
        // Of a process that is gone nobody knows what it used.
        let counted = operations > 0 && !ran.processes.is_empty() && ran.processes.iter().all(|process| !process.ended);
        Figures {
            seconds: *seconds,
            operations,
            per_second: per_second(operations),
            errors: tally.errors(),
            error_texts: error_texts(tally),
            other_errors: tally.other_errors,
            warmup_operations: tally.warmup,
            warmup_errors: tally.warmup_errors,
            latency_ms: Summary::of(&tally.of_operations()),
            reads_ms: Summary::of(&tally.reads).filter(|_| mixed),
            writes_ms: Summary::of(&tally.writes).filter(|_| mixed),
            events: plan.watchers.map(|watchers| Events {
                expected: operations * watchers as u64,
                received: tally.events.len(),
                per_second: per_second(tally.events.len()),
                broken_watchers: ran.broken_watchers,
                latency_ms: Summary::of(&tally.events),
            }),
            open_loop: plan.rate.zip(ran.due).map(|(rate, (due, not_sent))| OpenLoop {
                rate,
                due,
                sent_late: tally.late,
                delay_max_ms: tally.delay_max.as_secs_f64() * 1e3,
                not_sent,
                from_sending_ms: Summary::of(&tally.from_sending),
            }),
            conflicts: (plan.operation == Operation::Cas).then_some(tally.conflicts),
            cpu_us_per_operation: counted.then(|| cpu * 1e6 / operations as f64),
            keys_before: around.keys_before,
            revision_before: around.revision_before,
            revision_after: around.revision_after,
            keys_deleted: around.keys_deleted,
        }
    }
}

/// The most frequent first.
fn error_texts(tally: &Tally) -> Vec<ErrorText> {
    let mut texts: Vec<ErrorText> =
        tally.errors.iter().map(|(text, count)| ErrorText { text: text.clone(), count: *count }).collect();
    texts.sort_by_key(|error| std::cmp::Reverse(error.count));
    texts
}

/// What counts as late, in words.
pub fn late() -> String {
    format!("over {} ms", LATE.as_millis())
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use clap::Parser;

    use super::*;
    use crate::bench::pace::Turn;
    use crate::bench::tally::{Finished, Kind};

    /// The report of a run with operations that took 1 to 100 ms, each due 2 ms before it was sent, and three errors.
    pub fn sample(line: &str) -> Report {
        let words = ["kontiki", "bench"].into_iter().chain(line.split(' '));
        let crate::Command::Bench(args) = crate::Arguments::try_parse_from(words).unwrap().command else {
            panic!("{line} is not for bench")
        };
        let plan = Plan::settle(&args).unwrap();
        let mut tally = Tally::new(false);
        let base = Instant::now();
        for number in 1..=100 {
            let turn = Turn { number, due: plan.rate.map(|_| base), measured: true };
            let sent = base + Duration::from_millis(2);
            let finished = Finished { turn, sent, answered: sent + Duration::from_millis(number) };
            tally.succeeded(finished, if number % 5 == 0 { Kind::Write } else { Kind::Read }, number == 7);
            if number <= 3 {
                tally.failed(finished, if number == 1 { "one".into() } else { "two".into() });
            }
        }
        tally.add(Kind::Event, Duration::from_millis(4));
        let process = Usage {
            pid: 7,
            name: "etcd".into(),
            user_seconds: 0.015,
            system_seconds: 0.005,
            resident_bytes_before: 1 << 20,
            resident_bytes_after: 3 << 20,
            ended: false,
        };
        let due = plan.rate.map(|_| (120, 17));
        let processes = vec![process];
        let ran = Ran { tally, seconds: 2.0, interrupted: false, due, broken_watchers: 0, processes };
        let around = Around { keys_before: 5, revision_before: 10, revision_after: Some(30), keys_deleted: None };
        Report::new(plan, place(), ran, around)
    }

    fn place() -> Place {
        let environment = Environment {
            kontiki_version: "0.1.0",
            build: "debug",
            os: "linux",
            arch: "x86_64",
            kernel: Some("6.1".into()),
            cpu_model: Some("Some CPU".into()),
            cpus: 2,
            memory_bytes: Some(8 << 30),
            load_average: Some(0.5),
            unix_time: 1,
        };
        let server = Server {
            endpoint: "127.0.0.1:2379".into(),
            version: "3.5.1".into(),
            member_id: "a1".into(),
            leads: true,
            db_size_bytes: 4096,
        };
        let disk = Disk {
            directory: "/d".into(),
            append_bytes: 288,
            appends: 1000,
            per_second: 900.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            max_ms: 3.0,
        };
        let members = Members { voters: 3, learners: 0 };
        Place { environment, servers: vec![server], members, disk: Some(disk) }
    }

    fn json(line: &str) -> serde_json::Value {
        serde_json::from_str(&sample(line).json()).unwrap()
    }

    fn names(value: &serde_json::Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_names_of_the_report_are_stable() {
        let report = json("mixed --rate 60");
        let mut top =
            ["format", "settings", "environment", "servers", "members", "disk", "interrupted", "result", "processes"];
        top.sort_unstable();
        assert_eq!(names(&report), top);
        for (path, expected) in [
            ("/format", 1.into()),
            ("/settings/operation", "mixed".into()),
            ("/settings/arrivals", "fixed".into()),
            ("/settings/reads_percent", 80.into()),
            ("/environment/build", "debug".into()),
            ("/environment/load_average", 0.5.into()),
            ("/servers/0/version", "3.5.1".into()),
            ("/servers/0/leads", true.into()),
            ("/members/voters", 3.into()),
            ("/disk/p99_ms", 2.0.into()),
            ("/result/operations", 100.into()),
            ("/result/per_second", 50.0.into()),
            ("/result/errors", 3.into()),
            ("/result/error_texts/0/text", "two".into()),
            ("/result/error_texts/0/count", 2.into()),
            ("/result/open_loop/due", 120.into()),
            ("/result/open_loop/not_sent", 17.into()),
            ("/result/open_loop/sent_late", 103.into()),
            ("/result/open_loop/delay_max_ms", 2.0.into()),
            ("/result/cpu_us_per_operation", 200.0.into()),
            ("/result/revision_before", 10.into()),
            ("/result/revision_after", 30.into()),
            ("/processes/0/resident_bytes_after", (3 << 20).into()),
        ] {
            assert_eq!(report.pointer(path), Some(&expected), "{path}");
        }
        assert_eq!(names(&report["result"]["latency_ms"]), ["max", "mean", "p50", "p90", "p99", "p99_9"]);
        let near = |path: &str, expected: f64| {
            let found = report.pointer(path).unwrap().as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < 0.002, "{path}: {found}");
        };
        near("/result/latency_ms/p50", 52.0);
        near("/result/latency_ms/p99", 101.0);
        near("/result/latency_ms/max", 102.0);
        near("/result/open_loop/from_sending_ms/p50", 50.0);
        near("/result/reads_ms/max", 101.0);
        near("/result/writes_ms/max", 102.0);
    }

    #[test]
    fn what_a_run_does_not_have_is_null() {
        let report = json("put");
        for path in ["open_loop", "events", "conflicts", "reads_ms", "writes_ms", "keys_deleted"] {
            assert_eq!(report["result"].get(path), Some(&serde_json::Value::Null), "{path}");
        }
        assert_eq!(json("cas")["result"]["conflicts"], 1);
        let events = &json("watch --watchers 3")["result"]["events"];
        assert_eq!((&events["expected"], &events["received"]), (&300.into(), &1.into()));
    }
}
