//! `kontiki dump`: what stands in a stopped member's log and state, a line for each thing.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use kontiki_store::{DumpRecord, DumpValue, InspectError, KeyFilter, LogFilter, dump_keys, dump_log};

use crate::ctl::gotext;
use crate::ctl::json::{Json, Object};
use crate::output::{Form, finish};
use crate::progress::Progress;

/// Words and flags of `dump`.
#[derive(Args)]
pub struct DumpArgs {
    /// The data directory of a member that does not run
    dir: PathBuf,
    /// The log only: every record in the order in which it was written
    #[arg(long)]
    log: bool,
    /// The keys only, as of the last checkpoint
    #[arg(long)]
    keys: bool,
    /// Where its log is, if it was started with --wal-dir
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
    /// Entries of the log from this index on
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "INDEX")]
    from: u64,
    /// Entries of the log up to this index
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_name = "INDEX")]
    to: u64,
    /// Records of this group of the log
    #[arg(long, value_name = "GROUP")]
    group: Option<u64>,
    /// Keys that begin so
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    prefix: String,
    /// Keys last changed in this revision or later
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "REVISION")]
    min_revision: i64,
    /// Keys last changed in this revision or before
    #[arg(long, default_value_t = i64::MAX, hide_default_value = true, value_name = "REVISION")]
    max_revision: i64,
    /// Form of the lines; in JSON keys and values are base64, as etcdctl has them
    #[arg(short, long, default_value = "simple", value_name = "FORM")]
    write_out: Form,
}

/// Prints what was asked for: log and keys where neither is named.
pub fn run(args: &DumpArgs) -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = dump(args, &mut out).and_then(|()| finish(out.flush()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = out.flush(); // what was read before belongs to the answer
            eprintln!("kontiki: {text}");
            ExitCode::FAILURE
        }
    }
}

fn dump(args: &DumpArgs, out: &mut impl Write) -> Result<(), String> {
    let both = !args.log && !args.keys;
    // Lines on a terminal show by themselves how far it is.
    let bar = (!io::IsTerminal::is_terminal(&io::stdout())).then(|| Progress::of_steps("dumping, line"));
    let mut written = Ok(());
    let mut each = |record: DumpRecord| {
        let line = match args.write_out {
            Form::Simple => simple(&record),
            Form::Json => json(&record).to_string(),
        };
        written = writeln!(out, "{line}");
        bar.iter().for_each(|bar| bar.advance(1));
        written.is_ok()
    };
    let log = LogFilter { indexes: args.from..=args.to, group: args.group };
    let keys = KeyFilter {
        prefix: Bytes::copy_from_slice(args.prefix.as_bytes()),
        revisions: args.min_revision..=args.max_revision,
    };
    let read = |args: &DumpArgs, each: &mut dyn FnMut(DumpRecord) -> bool| -> Result<(), InspectError> {
        let dir: &Path = &args.dir;
        if both || args.log {
            dump_log(dir, args.wal_dir.as_deref(), &log, each)?;
        }
        if both || args.keys {
            dump_keys(dir, &keys, each)?;
        }
        Ok(())
    };
    let outcome = read(args, &mut each);
    drop(bar);
    finish(written)?;
    outcome.map_err(|error| error.to_string())
}

/// `kind name=value name=value`, with bytes quoted as Go does.
fn simple(record: &DumpRecord) -> String {
    let mut text = record.kind.to_owned();
    for (name, value) in &record.fields {
        text += &format!(" {name}={}", simple_value(value));
    }
    text
}

fn simple_value(value: &DumpValue) -> String {
    match value {
        DumpValue::Number(number) => number.to_string(),
        DumpValue::Count(number) => number.to_string(),
        DumpValue::Id(id) => format!("{id:x}"),
        DumpValue::Text(text) if is_word(text) => text.clone(),
        DumpValue::Text(text) => gotext::quote(text.as_bytes()),
        DumpValue::Bytes(bytes) => gotext::quote(bytes),
        DumpValue::List(parts) => format!("[{}]", parts.iter().map(simple).collect::<Vec<_>>().join("; ")),
        DumpValue::Ids(ids) => ids.iter().map(|id| format!("{id:x}")).collect::<Vec<_>>().join(","),
    }
}

/// Whether a text is one word, which needs no quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"')
}

fn json(record: &DumpRecord) -> Json {
    let object = Object::new().with("kind", record.kind);
    record.fields.iter().fold(object, |object, (name, value)| object.with(name, json_value(value))).into()
}

fn json_value(value: &DumpValue) -> Json {
    match value {
        DumpValue::Number(number) => (*number).into(),
        DumpValue::Count(number) | DumpValue::Id(number) => (*number).into(),
        DumpValue::Text(text) => text.as_str().into(),
        DumpValue::Bytes(bytes) => bytes.into(),
        DumpValue::List(parts) => Json::List(parts.iter().map(json).collect()),
        DumpValue::Ids(ids) => Json::List(ids.iter().map(|id| Json::Unsigned(*id)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let put = DumpRecord::new("put").with("key", &Bytes::from_static(b"a\n\xff")).with("value", &Bytes::new());
        let record = DumpRecord::new("entry")
            .with("index", 7u64)
            .with("voters", DumpValue::Ids(vec![0xab, 1]))
            .with("then", vec![put.clone(), put])
            .with("name", "two words")
            .with("urls", "http://a:1");
        assert_eq!(
            simple(&record),
            "entry index=7 voters=ab,1 then=[put key=\"a\\n\\xff\" value=\"\"; put key=\"a\\n\\xff\" value=\"\"] \
             name=\"two words\" urls=http://a:1"
        );
        assert_eq!(
            json(&record).to_string(),
            "{\"kind\":\"entry\",\"index\":7,\"voters\":[171,1],\"then\":[{\"kind\":\"put\",\"key\":\"YQr/\",\"value\":\"\"},\
             {\"kind\":\"put\",\"key\":\"YQr/\",\"value\":\"\"}],\"name\":\"two words\",\"urls\":\"http://a:1\"}"
        );
    }
}
