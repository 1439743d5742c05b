//! What a person can tell the demo, a line at a time.

use std::io::BufRead as _;

use tokio::sync::mpsc;

/// The commands, explained.
pub const HELP: &str = "\
stop N        stop member N in good order (1, m1 or leader)
start N       start it again on its data
leader        who leads
table         all members
quit          end (so does Ctrl-C)";

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop a member.
    Stop(String),
    /// Start a member.
    Start(String),
    /// Say who leads.
    Leader,
    /// Print the table.
    Table,
    /// Print [`HELP`].
    Help,
    /// End the demo.
    Quit,
    /// An empty line.
    Nothing,
}

impl Command {
    /// Reads a line; the error says what could be typed instead.
    pub fn read(line: &str) -> Result<Command, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => Ok(Command::Nothing),
            ["stop", which] => Ok(Command::Stop((*which).to_owned())),
            ["start" | "restart", which] => Ok(Command::Start((*which).to_owned())),
            ["stop" | "start"] => Err(format!("which one? {} 1, or {0} leader", words[0])),
            ["leader"] => Ok(Command::Leader),
            ["table" | "status"] => Ok(Command::Table),
            ["help" | "?"] => Ok(Command::Help),
            ["quit" | "exit" | "q"] => Ok(Command::Quit),
            _ => Err(format!("{line:?} is no command; these are:\n{HELP}")),
        }
    }
}

/// Lines of the standard input, read on a thread of their own, since such a read cannot be cancelled. Where input is
/// not wanted, the channel stays empty.
pub fn read_from_stdin(wanted: bool) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    if wanted {
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { return };
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_commands() {
        assert_eq!(Command::read(" stop  2 "), Ok(Command::Stop("2".to_owned())));
        assert_eq!(Command::read("start leader"), Ok(Command::Start("leader".to_owned())));
        assert_eq!(Command::read(""), Ok(Command::Nothing));
        assert_eq!(Command::read("q"), Ok(Command::Quit));
        assert!(Command::read("stop").is_err_and(|problem| problem.contains("stop 1")));
        assert!(Command::read("explode").is_err_and(|problem| problem.contains("stop N")));
    }
}
