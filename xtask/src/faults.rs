//! `cargo xtask faults`: breaks the disks under real members and tells whether anything was lost.
//!
//! Needs root, since it mounts. It runs itself again in a mount namespace and a process namespace of its own: whatever ends
//! it, the mounts and processes that it made end with it. What is injected where stands in `docs/faults.md`.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

mod cluster;
mod errors;
mod full;
mod hung;
mod kill;
#[path = "../../crates/kontiki/tests/ledger/mod.rs"]
mod ledger;
mod mirror;
mod places;
mod power;
mod report;
mod rot;
mod tally;

use report::Report;
use tally::Tally;
use tokio::signal::unix::{SignalKind, signal};

/// How it is called.
pub const USAGE: &str =
    "usage: cargo xtask faults [--minutes M] [--only NAME] [--seed S] [--rounds N] [--report FILE] [--binary FILE]

Breaks the disks under real members. Scenarios with chance in them are repeated, each time with the next seed, until the
minutes (default 5) are over; the others run once. --only runs those whose name begins so. Needs root on Linux.
";
/// Set in the process that runs inside the namespaces.
const INSIDE: &str = "KONTIKI_FAULTS_INSIDE";
/// How a scenario ends that was asked to.
const INTERRUPTED: &str = "interrupted";
/// Programs that the scenarios call.
const PROGRAMS: &[&str] = &["unshare", "mount", "umount", "mkfs.ext4", "e2fsck", "fsfreeze", "python3"];

/// What was asked for.
#[derive(Debug)]
struct Options {
    minutes: f64,
    only: String,
    seed: u64,
    rounds: Option<u64>,
    report: Option<PathBuf>,
    binary: Option<PathBuf>,
}

/// What every scenario needs to know.
pub struct Bench {
    /// The program under test.
    pub binary: PathBuf,
    /// A directory for logs and mounts.
    pub directory: PathBuf,
}

/// A scenario: its name, whether chance makes each round another, and what it does.
struct Scenario {
    name: &'static str,
    repeated: bool,
    run: fn(&Bench, u64, &mut Tally) -> Result<(), String>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "full-one", repeated: false, run: full::one },
    Scenario { name: "full-all", repeated: false, run: full::all },
    Scenario { name: "full-all-ext4", repeated: false, run: full::all_ext4 },
    Scenario { name: "eio-write-leader", repeated: false, run: errors::write_leader },
    Scenario { name: "eio-write-follower", repeated: false, run: errors::write_follower },
    Scenario { name: "eio-sync-leader", repeated: false, run: errors::sync_leader },
    Scenario { name: "eio-sync-follower", repeated: false, run: errors::sync_follower },
    Scenario { name: "eio-sync-state", repeated: false, run: errors::sync_state },
    Scenario { name: "eio-read", repeated: true, run: errors::read },
    Scenario { name: "eio-kernel", repeated: false, run: errors::kernel },
    Scenario { name: "hung-freeze", repeated: false, run: hung::freeze },
    Scenario { name: "hung-sync", repeated: false, run: hung::sync },
    Scenario { name: "slow-follower", repeated: false, run: hung::slow_follower },
    Scenario { name: "kill-at", repeated: true, run: kill::at },
    Scenario { name: "power-one", repeated: true, run: power::one },
    Scenario { name: "power-all", repeated: true, run: power::all },
    Scenario { name: "power-copy", repeated: true, run: power::copy },
    Scenario { name: "rot-down", repeated: true, run: rot::down },
    Scenario { name: "rot-live", repeated: true, run: rot::live },
    Scenario { name: "lying-writes", repeated: true, run: rot::lying_writes },
];

/// Runs the task. What it lacks gives status 2, a scenario that failed 1.
pub fn run(arguments: &[&str]) -> ExitCode {
    let lacking = |text: String| {
        eprintln!("{text}");
        ExitCode::from(2)
    };
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(text) => return lacking(format!("{text}\n{USAGE}")),
    };
    if let Some(missing) = missing() {
        return lacking(format!("the task `faults` needs {missing}"));
    }
    if std::env::var_os(INSIDE).is_none() {
        return lacking(enter(&options));
    }
    match options.run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(text) => lacking(text),
    }
}

/// What the machine lacks.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("root: it mounts file systems, in a namespace of its own".to_owned());
    }
    let found = |name: &&str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"]
            .iter()
            .any(|dir| Path::new(dir).join(name).exists())
    };
    if let Some(program) = PROGRAMS.iter().find(|program| !found(program)) {
        return Some(format!("the program {program}"));
    }
    let device = ["/dev/fuse", "/dev/loop-control"].into_iter().find(|device| !Path::new(device).exists())?;
    Some(format!("the device {device}"))
}

/// Runs this program again in namespaces of its own, in place of this process; comes back only with what went wrong.
fn enter(options: &Options) -> String {
    if options.binary.is_none() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        match Command::new(cargo).args(["build", "--quiet", "--package", "kontiki"]).status() {
            Ok(status) if status.success() => {}
            other => return format!("cannot build the program under test: {other:?}"),
        }
    }
    let Ok(own) = std::env::current_exe() else { return "cannot find this program's own file".to_owned() };
    let error = Command::new("unshare")
        .args(["--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    format!("cannot run unshare: {error}")
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let mut options =
            Options { minutes: 5.0, only: String::new(), seed: 1, rounds: None, report: None, binary: None };
        let mut words = arguments.iter();
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("{flag} wants a value"))?;
            let wrong = |_| format!("{flag} does not take {value:?}");
            match *flag {
                "--minutes" => options.minutes = value.parse().map_err(|_| wrong(()))?,
                "--only" => options.only = (*value).to_owned(),
                "--seed" => options.seed = value.parse().map_err(|_| wrong(()))?,
                "--rounds" => options.rounds = Some(value.parse().map_err(|_| wrong(()))?),
                "--report" => options.report = Some(value.into()),
                "--binary" => options.binary = Some(value.into()),
                _ => return Err(format!("{flag} is not known")),
            }
        }
        Ok(options)
    }

    /// Runs the scenarios; whether all held.
    fn run(&self) -> Result<bool, String> {
        let chosen: Vec<&Scenario> =
            SCENARIOS.iter().filter(|scenario| scenario.name.starts_with(&self.only)).collect();
        if chosen.is_empty() {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            return Err(format!("no scenario begins with {:?}; there are {}", self.only, names.join(", ")));
        }
        let directory = tempfile::tempdir().map_err(|error| format!("no directory for temporary files: {error}"))?;
        let binary = match &self.binary {
            Some(path) => path.clone(),
            None => own_directory()?.join("kontiki"),
        };
        let mut report = Report::new(&binary);
        let end = Instant::now() + Duration::from_secs_f64(60.0 * self.minutes);
        'rounds: for round in 0.. {
            let first = round == 0;
            for scenario in chosen.iter().filter(|scenario| first || scenario.repeated) {
                if self.rounds.map_or(!first && Instant::now() >= end, |rounds| round >= rounds) {
                    break;
                }
                let seed = self.seed.wrapping_add(round);
                report.begin(scenario.name, seed);
                let mut tally = Tally::default();
                let place = directory.path().join(format!("{}-{seed}", scenario.name));
                let outcome =
                    std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display())).and_then(
                        |()| (scenario.run)(&Bench { binary: binary.clone(), directory: place }, seed, &mut tally),
                    );
                let interrupted = outcome.as_ref().is_err_and(|error| error == INTERRUPTED);
                report.end(scenario.name, seed, tally, outcome);
                if interrupted {
                    break 'rounds;
                }
            }
            let over = self.rounds.map_or(Instant::now() >= end, |rounds| round + 1 >= rounds);
            if over || !chosen.iter().any(|scenario| scenario.repeated) {
                break;
            }
        }
        let text = report.table();
        println!("\n{text}");
        if let Some(path) = &self.report {
            std::fs::write(path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(report.held())
    }
}

fn own_directory() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
    own.parent().map(Path::to_path_buf).ok_or_else(|| "this program lies nowhere".to_owned())
}

/// Runs a scenario's asynchronous part to its end.
pub fn block_on<T>(scenario: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| format!("no signals: {error}"))?;
        tokio::select! {
            outcome = scenario => outcome,
            _ = tokio::signal::ctrl_c() => Err(INTERRUPTED.to_owned()),
            _ = terminate.recv() => Err(INTERRUPTED.to_owned()),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
