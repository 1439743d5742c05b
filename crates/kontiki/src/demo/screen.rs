//! What the demo prints: a table, first steps, and a status line that stays above the prompt.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use super::cluster::{Cluster, Summary};

/// Keeps the cursor: go up to the status line, clear it, print, come back.
const TO_STATUS_LINE: &str = "\x1b7\x1b[1A\r\x1b[2K";
const BACK: &str = "\x1b8";

/// The demo's output: a terminal with a status line, or plain lines.
pub struct Screen {
    lively: bool,
    reads_commands: bool,
    /// Whether a status line with a prompt under it stands at the bottom.
    prompted: bool,
    last_status: String,
}

impl Screen {
    /// Lively only where a person sits at both ends.
    pub fn new(no_tty: bool) -> Screen {
        let person = std::io::stdin().is_terminal();
        let lively = !no_tty && person && std::io::stdout().is_terminal();
        Screen { lively, reads_commands: lively || !person, prompted: false, last_status: String::new() }
    }

    /// Whether the standard input is to be read.
    pub fn reads_commands(&self) -> bool {
        self.reads_commands
    }

    /// How often the status is worth a line.
    pub fn status_interval(&self) -> Duration {
        if self.lively { Duration::from_millis(500) } else { Duration::from_secs(5) }
    }

    /// The table and the first things to try.
    pub fn introduce(&mut self, cluster: &Cluster, temporary: Option<&Path>, log: &Path) {
        let mut text = format!("\n{}\n", table(cluster));
        match temporary {
            Some(path) => {
                let _ = writeln!(text, "Data: {} (temporary, removed at the end; --data-dir keeps it)", path.display());
            }
            None => text.push_str("Data is kept, and a later demo with the same --data-dir continues with it\n"),
        }
        let _ = writeln!(text, "Log:  {}\n", log.display());
        text.push_str(&first_steps(&cluster.endpoints().join(","), cluster.rows().len(), log));
        if self.reads_commands {
            text.push_str("\nType a command here, or help; Ctrl-C ends.\n");
        } else {
            text.push_str("\nCtrl-C ends.\n");
        }
        print(&text);
    }

    /// Shows the state of the cluster.
    pub fn status(&mut self, summary: &Summary, operations_per_second: Option<u64>) {
        let mut line = format!(
            "leader {} · term {} · commit {} · applied {} · {}/{} running",
            summary.leader.as_deref().unwrap_or("none"),
            summary.term,
            summary.commit,
            summary.applied,
            summary.running,
            summary.members,
        );
        if let Some(rate) = operations_per_second {
            let _ = write!(line, " · load {rate} ops/s");
        }
        if !self.lively {
            print(&format!("{line}\n"));
        } else if self.prompted {
            print(&format!("{TO_STATUS_LINE}{line}{BACK}"));
        }
        self.last_status = line;
    }

    /// Prints an answer.
    pub fn say(&mut self, text: &str) {
        self.prompted = false;
        print(&format!("{text}\n"));
    }

    /// Asks for a command, under a status line.
    pub fn prompt(&mut self) {
        if self.lively {
            print(&format!("\n{}\n> ", self.last_status));
            self.prompted = true;
        }
    }

    /// The last word after the prompt's line.
    pub fn end(&mut self, text: &str) {
        if self.prompted {
            print("\n");
        }
        self.say(text);
    }
}

/// Every member: role, term, client URL, data directory.
pub fn table(cluster: &Cluster) -> String {
    let mut text = format!("{:<8}{:<15}{:>6}  {:<26}{}\n", "MEMBER", "ROLE", "TERM", "CLIENT URL", "DATA DIRECTORY");
    for row in cluster.rows() {
        let _ = writeln!(
            text,
            "{:<8}{:<15}{:>6}  {:<26}{}",
            row.name,
            row.role,
            row.term,
            row.client_url,
            row.data_dir.display()
        );
    }
    text
}

/// Commands to type in another terminal, and how to break something.
fn first_steps(endpoints: &str, members: usize, log: &Path) -> String {
    let program = program();
    let mut text = format!(
        "In another terminal:\n\
         \x20 {program} ctl --endpoints {endpoints} put greeting hello\n\
         \x20 cargo run --release -- ctl --endpoints {endpoints} get greeting\n\
         \x20 etcdctl --endpoints {endpoints} put greeting hello\n\n"
    );
    if members == 1 {
        text.push_str("To break it: `stop 1`, then `start 1`: what was acknowledged is still there.\n");
    } else {
        let _ = writeln!(
            text,
            "To break it: `stop leader` and watch another take over; stop {} members and nothing can be written until one \
             is started.",
            members.div_ceil(2)
        );
    }
    if let Some(directory) = log.parent() {
        let _ = writeln!(
            text,
            "To break it hard: `kill -9 {}` ends all members in the middle of their work; start them again with\n\
             \x20 {program} demo --members {members} --data-dir {}",
            std::process::id(),
            directory.display()
        );
    }
    text
}

/// How this program was called, short where it lies below the current directory.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| "kontiki".into());
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(&path).display().to_string()
}

/// Writes and flushes. A reader that went away (a closed pipe) is no reason to stop the cluster.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
