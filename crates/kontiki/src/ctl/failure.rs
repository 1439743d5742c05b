//! What went wrong, as one line on standard error and an exit code. The codes are etcdctl's.

use std::process::ExitCode;

use tonic::Status;

/// The end of a command that did not succeed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    text: String,
    code: u8,
}

const ERROR: u8 = 1;
const BAD_CONNECTION: u8 = 2;
const INVALID_INPUT: u8 = 3;
const BAD_FEATURE: u8 = 4;
const INTERRUPTED: u8 = 5;
const IO: u8 = 6;
const BAD_ARGUMENTS: u8 = 128;

impl Failure {
    /// The server refused, or did not answer in time.
    pub fn error(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: ERROR }
    }

    /// No endpoint could be reached.
    pub fn connection(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: BAD_CONNECTION }
    }

    /// Standard input is not what the command reads.
    pub fn input(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: INVALID_INPUT }
    }

    /// A value or a combination that this program does not support.
    pub fn feature(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: BAD_FEATURE }
    }

    /// A stream ended from the other side.
    pub fn interrupted(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: INTERRUPTED }
    }

    /// Reading or writing locally failed.
    pub fn io(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: IO }
    }

    /// The words of the command line make no sense.
    pub fn arguments(text: impl Into<String>) -> Failure {
        Failure { text: text.into(), code: BAD_ARGUMENTS }
    }

    /// A command of the user ended badly: its exit code is ours.
    pub fn of_command(code: Option<i32>, text: &str) -> Failure {
        let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(ERROR);
        Failure { text: text.replace("exit status: ", "exit status "), code }
    }

    /// Everything was said already; only the exit code is left.
    pub fn silent() -> Failure {
        Failure { text: String::new(), code: ERROR }
    }

    /// The same with words around it: `words (text)`.
    pub fn within(self, words: &str) -> Failure {
        Failure { text: format!("{words} ({})", self.text), ..self }
    }

    /// The same as trouble with the connection, which is how etcdctl counts failed calls about leases.
    pub fn blaming_connection(self) -> Failure {
        Failure { code: BAD_CONNECTION, ..self }
    }

    /// Prints the text and returns the code.
    pub fn report(&self) -> ExitCode {
        if !self.text.is_empty() {
            eprintln!("Error: {}", self.text);
        }
        ExitCode::from(self.code)
    }
}

/// The text of a failed call: the server's own words, or, when they come from the connection, what happened to it.
pub fn describe(status: &Status, endpoint: &str) -> String {
    let Some(mut cause) = std::error::Error::source(status) else {
        return status.message().to_string();
    };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("the connection to {endpoint} broke: {cause}")
}
