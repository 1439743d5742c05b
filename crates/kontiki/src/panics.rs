//! What the operator sees when the program itself fails: one line instead of a raw panic message.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// From now on a panic is told in a line that says what, where, and what to do. `RUST_BACKTRACE` adds the calls that led
/// there.
pub fn report() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), |at| place(at.file(), at.line()));
        eprintln!("{}", line(reason(info), &place));
        let calls = Backtrace::capture();
        if calls.status() == BacktraceStatus::Captured {
            eprintln!("{calls}");
        }
    }));
}

fn line(reason: &str, place: &str) -> String {
    format!(
        "kontiki: internal error, or a damaged state file: {} (at {place}). What was acknowledged is on disk: start the \
         member again; if this comes back, restore its data directory from a backup, and report this line",
        reason.split_whitespace().collect::<Vec<_>>().join(" ")
    )
}

fn reason<'a>(info: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no reason was given")
}

/// File and line, without where the compiling machine keeps the sources of other people's crates.
fn place(file: &str, line: u32) -> String {
    let behind = |mark: &str| Some(file.split_once(mark)?.1.split_once('/')?.1);
    let short = behind("/registry/src/").or_else(|| behind("/git/checkouts/")).or_else(|| behind("/rustc/"));
    format!("{}:{line}", short.unwrap_or(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_in_one_line_without_foreign_paths() {
        let registry = "/home/x/.cargo/registry/src/index.example-1f/redb-4.6.0/src/tree.rs";
        assert_eq!(place(registry, 7), "redb-4.6.0/src/tree.rs:7");
        assert_eq!(place("/rustc/4f2/library/core/src/slice.rs", 1), "library/core/src/slice.rs:1");
        assert_eq!(place("crates/kv/src/base.rs", 2), "crates/kv/src/base.rs:2");
        let line = line("assertion failed\n  left: 1\n right: 2", "a.rs:1");
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("assertion failed left: 1 right: 2 (at a.rs:1)"), "{line}");
    }
}
