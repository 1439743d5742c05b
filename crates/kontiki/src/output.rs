//! What tools print: a form, and standard output whose reader may have had enough.

use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Lines for people
    Simple,
    /// JSON; of a dump, an object on each line
    Json,
}

/// Writes to standard output. A reader that went away has seen enough: the program then ends quietly.
pub fn print(bytes: &[u8]) -> Result<(), String> {
    let mut out = io::stdout().lock();
    finish(out.write_all(bytes).and_then(|()| out.flush()))
}

/// The end of writing to standard output.
pub fn finish(outcome: io::Result<()>) -> Result<(), String> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        outcome => outcome.map_err(|error| format!("cannot write to standard output: {error}")),
    }
}
