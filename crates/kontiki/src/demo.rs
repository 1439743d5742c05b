//! `kontiki demo`: a whole cluster in this process, with real sockets and files, to look at and to break.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::logging::{LogError, LogSettings};
use crate::server::{Signals, SystemError, runtime};

mod cluster;
mod command;
mod load;
mod plan;
mod screen;

use cluster::Cluster;
use command::Command;
use load::Load;
use plan::Plan;
use screen::Screen;

/// How long the first election may take before something must be wrong.
const ELECTION_PATIENCE: Duration = Duration::from_secs(30);

/// What the demo is to be like.
#[derive(clap::Args)]
pub struct DemoArgs {
    /// How many members: 1, 3 or 5
    #[arg(long, default_value_t = 3, value_parser = members)]
    members: usize,
    /// Keep the data here; a later demo continues with it [default: a temporary directory, removed at the end]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Let some clients write and read all the time
    #[arg(long)]
    load: bool,
    /// Plain lines instead of a screen that changes; commands are read only from a pipe
    #[arg(long)]
    no_tty: bool,
}

fn members(text: &str) -> Result<usize, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("must be 1, 3 or 5: an even number bears no more failures than one less".to_owned()),
    }
}

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("{path}: {problem} ({source})", path = path.display())]
    Directory { path: PathBuf, problem: &'static str, source: std::io::Error },
    #[error("{path}: this directory holds a demo of {found} members; use --members {found}, or another --data-dir", path = path.display())]
    OtherSize { path: PathBuf, found: usize },
    #[error("{path}: is not the plan of a demo ({source}); use another --data-dir", path = path.display())]
    Plan { path: PathBuf, source: serde_json::Error },
    #[error("{path}: another demo{holder} runs in this directory; end it first, or use another --data-dir", path = path.display())]
    Taken { path: PathBuf, holder: String },
    #[error("member {0}")]
    Failed(String),
    #[error("member {name}: {problem}")]
    Member { name: String, problem: String },
    #[error("the members elected no leader within {} s; their log is {log}", ELECTION_PATIENCE.as_secs(), log = log.display())]
    NoLeader { log: PathBuf },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    System(#[from] SystemError),
}

/// Runs the demo until it is told to end.
pub fn run(args: &DemoArgs) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kontiki demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &DemoArgs) -> Result<(), DemoError> {
    let failed = |path: &Path, problem| {
        let path = path.to_owned();
        move |source| DemoError::Directory { path, problem, source }
    };
    // Removed when this function ends, whichever way.
    let mut temporary = None;
    let directory = match &args.data_dir {
        Some(path) => {
            std::fs::create_dir_all(path).map_err(failed(path, "the data directory cannot be created"))?;
            path.clone()
        }
        None => {
            let created = tempfile::Builder::new().prefix("kontiki-demo-").tempdir();
            let created = created.map_err(failed(&std::env::temp_dir(), "no temporary directory can be created"))?;
            temporary.insert(created).path().to_owned()
        }
    };
    let _taken = take(&directory)?;
    let log = directory.join("demo.log");
    LogSettings::to_file(log.to_string_lossy().into_owned()).start()?;
    let screen = Screen::new(args.no_tty);
    let ended = runtime()?.block_on(play(args, &directory, temporary.is_some(), &log, screen));
    if let Some(temporary) = temporary {
        let path = temporary.path().to_owned();
        temporary.close().map_err(failed(&path, "the temporary directory cannot be removed"))?;
    }
    ended
}

/// Makes the directory this demo's own until the returned file is closed.
fn take(directory: &Path) -> Result<File, DemoError> {
    let path = directory.join("demo.lock");
    let failed = |source| DemoError::Directory { path: path.clone(), problem: "cannot be locked", source };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(source)) => return Err(failed(source)),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let holder = match file.read_to_string(&mut text) {
                Ok(length) if length > 0 => format!(" (process {})", text.trim()),
                _ => String::new(),
            };
            return Err(DemoError::Taken { path: directory.to_owned(), holder });
        }
    }
    file.set_len(0).map_err(failed)?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(failed)?;
    Ok(file)
}

async fn play(
    args: &DemoArgs,
    directory: &Path,
    temporary: bool,
    log: &Path,
    mut screen: Screen,
) -> Result<(), DemoError> {
    let mut signals = Signals::listen()?;
    let plan = Plan::find(directory, args.members)?;
    let mut cluster = Cluster::start(directory, &plan).await?;
    let led = tokio::select! {
        led = timeout(ELECTION_PATIENCE, cluster.until_led()) => led.map_err(|_| DemoError::NoLeader { log: log.to_owned() }),
        failure = cluster.failed() => Err(DemoError::Failed(failure)),
        _ = signals.next() => {
            cluster.stop_all().await;
            return Ok(());
        }
    };
    if let Err(error) = led {
        cluster.stop_all().await;
        return Err(error);
    }
    screen.introduce(&cluster, temporary.then_some(directory), log);
    let load = args.load.then(|| Load::start(cluster.endpoints()));
    let mut commands = command::read_from_stdin(screen.reads_commands());
    let mut status = interval(screen.status_interval());
    status.set_missed_tick_behavior(MissedTickBehavior::Delay);
    screen.prompt();
    loop {
        tokio::select! {
            _ = signals.next() => break,
            failure = cluster.failed() => {
                screen.end("a member failed; stopping …");
                cluster.stop_all().await;
                return Err(DemoError::Failed(failure));
            }
            _ = status.tick() => screen.status(&cluster.summary(), load.as_ref().map(Load::rate)),
            Some(line) = commands.recv() => match Command::read(&line) {
                Ok(Command::Quit) => break,
                Ok(command) => {
                    obey(command, &mut cluster, &mut screen).await;
                    screen.prompt();
                }
                Err(problem) => {
                    screen.say(&problem);
                    screen.prompt();
                }
            },
        }
    }
    screen.end("stopping …");
    if let Some(load) = load {
        load.stop();
    }
    tokio::select! {
        () = cluster.stop_all() => {}
        _ = signals.next() => {}
    }
    screen.say(if temporary { "stopped; the temporary data is removed" } else { "stopped; the data is kept" });
    Ok(())
}

/// Carries out one command of the person at the screen, and says how long it took where that is of interest.
async fn obey(command: Command, cluster: &mut Cluster, screen: &mut Screen) {
    let began = Instant::now();
    let outcome = match command {
        Command::Stop(which) => match cluster.find(&which) {
            Ok(member) => cluster.stop(member).await,
            Err(problem) => Err(problem),
        },
        Command::Start(which) => match cluster.find(&which) {
            Ok(member) => cluster.restart(member).await,
            Err(problem) => Err(problem),
        },
        Command::Table => return screen.say(&screen::table(cluster)),
        Command::Leader => return screen.say(&cluster.summary().leader_line()),
        Command::Help => return screen.say(command::HELP),
        Command::Nothing | Command::Quit => return,
    };
    match outcome {
        Ok(done) => screen.say(&format!("{done} ({} ms)", began.elapsed().as_millis())),
        Err(problem) => screen.say(&problem),
    }
}
