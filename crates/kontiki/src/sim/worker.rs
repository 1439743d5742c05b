//! Runs in processes of their own: an assertion of the production code that ends its process ends one run, not all.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use kontiki_sim::{Failure, Order, Report};

/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// The property of a failure that is not one of the run: there was nothing to run it in.
pub const NO_PROCESS: &str = "a process to run in";

/// Serves orders until there are no more.
pub fn run() -> ExitCode {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let report = serde_json::from_str::<Order>(&line)
            .map_err(|error| error.to_string())
            .and_then(|order| kontiki_sim::run(&order, None).map_err(|error| error.to_string()))
            .and_then(|report| serde_json::to_string(&report).map_err(|error| error.to_string()));
        let written = match report {
            Ok(report) => writeln!(out, "{report}").and_then(|()| out.flush()),
            Err(error) => {
                eprintln!("kontiki: {error}");
                return ExitCode::FAILURE;
            }
        };
        if written.is_err() {
            break; // the supervisor has gone
        }
    }
    ExitCode::SUCCESS
}

/// A process that runs orders, one after the other. Another takes its place when it dies.
pub struct Worker(Option<Running>);

struct Running {
    child: Child,
    orders: ChildStdin,
    reports: Receiver<String>,
    words: Receiver<String>,
}

impl Worker {
    /// One that starts when it is needed.
    pub fn new() -> Worker {
        Worker(None)
    }

    /// Runs an order; a failure where the process died of it.
    pub fn run(&mut self, order: &Order) -> Result<Report, Failure> {
        let lost = |what: String| Failure { property: "assertion".to_owned(), at: Duration::ZERO, what };
        let text = serde_json::to_string(order).map_err(|error| lost(error.to_string()))?;
        if self.0.is_none() {
            let no_process = |error| Failure {
                property: NO_PROCESS.to_owned(),
                at: Duration::ZERO,
                what: format!("cannot start a process to run in: {error}"),
            };
            self.0 = Some(start().map_err(no_process)?);
        }
        let Some(running) = &mut self.0 else { return Err(lost("no process to run in".to_owned())) };
        let asked = writeln!(running.orders, "{text}").and_then(|()| running.orders.flush());
        let answer =
            asked.map_err(|_| RecvTimeoutError::Disconnected).and_then(|()| running.reports.recv_timeout(PATIENCE));
        match answer.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(error)) => Err(lost(format!("unreadable report: {error}"))),
            Err(error) => {
                let mut words = String::new();
                if let Some(mut running) = self.0.take() {
                    let _ = running.child.kill(); // it may have ended
                    let _ = running.child.wait();
                    words = running.words.recv().unwrap_or_default();
                }
                Err(match error {
                    RecvTimeoutError::Timeout => Failure {
                        property: "ends".to_owned(),
                        at: Duration::ZERO,
                        what: format!("the run had not ended after {PATIENCE:?}"),
                    },
                    RecvTimeoutError::Disconnected => lost(words.trim().to_owned()),
                })
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(mut running) = self.0.take() {
            drop(running.orders);
            let _ = running.child.wait();
        }
    }
}

fn start() -> std::io::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["sim", "--worker"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let missing = || std::io::Error::other("the process has no pipes");
    let orders = child.stdin.take().ok_or_else(missing)?;
    let out = child.stdout.take().ok_or_else(missing)?;
    let mut errors = child.stderr.take().ok_or_else(missing)?;
    let (report, reports) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if report.send(line).is_err() {
                break;
            }
        }
    });
    let (word, words) = channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let _ = errors.read_to_end(&mut text); // what was read is what there is
        let _ = word.send(String::from_utf8_lossy(&text).into_owned());
    });
    Ok(Running { child, orders, reports, words })
}
