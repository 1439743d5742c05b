//! Log lines in the form that etcd's operators collect: JSON with `level`, `ts`, `caller`, `msg`, then the fields.
//!
//! ```text
//! {"level":"info","ts":"2026-11-23T06:17:19.000412Z","caller":"src/server.rs:61","msg":"ready to serve client requests","address":"…"}
//! ```

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::ConfigError;
use crate::flags::Settings;

mod rotation;
mod timestamp;

use rotation::{RotatedFile, Rotation};
use timestamp::timestamp;

/// What is logged, how, and where to.
#[derive(Clone, Debug)]
pub struct LogSettings {
    level: LevelFilter,
    console: bool,
    outputs: Vec<Output>,
    rotation: Option<Rotation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Output {
    Stderr,
    Stdout,
    File(String),
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log-outputs {path}: the file cannot be opened for appending ({source}): check the folder and its permissions"
)]
pub struct LogError {
    path: String,
    source: std::io::Error,
}

impl LogSettings {
    /// Reads the flags of logging.
    pub fn settle(settings: &Settings, warnings: &mut Vec<String>) -> Result<LogSettings, ConfigError> {
        let value = |flag, problem: String| ConfigError::Value { flag, problem };
        match settings.text("logger") {
            "zap" => {}
            other => return Err(value("logger", format!("{other:?} is not known: zap is the only logger"))),
        }
        let level = match settings.text("log-level") {
            "debug" => LevelFilter::DEBUG,
            "info" | "" => LevelFilter::INFO,
            "warn" => LevelFilter::WARN,
            "error" | "dpanic" | "panic" | "fatal" => LevelFilter::ERROR,
            other => {
                return Err(value(
                    "log-level",
                    format!("{other:?} is not known: it must be debug, info, warn or error"),
                ));
            }
        };
        let console = match settings.text("log-format") {
            "json" | "" => false,
            "console" => true,
            other => return Err(value("log-format", format!("{other:?} is not known: it must be json or console"))),
        };
        let mut outputs: Vec<Output> = Vec::new();
        for text in settings.list("log-outputs") {
            let output = match text.as_str() {
                "default" | "stderr" | "systemd/journal" => Output::Stderr, // systemd keeps what is written to stderr
                "stdout" => Output::Stdout,
                path => Output::File(path.to_owned()),
            };
            if !outputs.contains(&output) {
                outputs.push(output);
            }
        }
        if outputs.is_empty() {
            outputs.push(Output::Stderr);
        }
        let mut rotation = None;
        if settings.switch("enable-log-rotation") {
            let flag = "log-rotation-config-json";
            let (parsed, in_vain) = Rotation::parse(settings.text(flag)).map_err(|problem| value(flag, problem))?;
            if outputs.iter().filter(|output| matches!(output, Output::File(_))).count() != 1 {
                let problem = "needs exactly one file among --log-outputs".to_owned();
                return Err(value("enable-log-rotation", problem));
            }
            rotation = Some(parsed);
            warnings.extend(in_vain);
        }
        Ok(LogSettings { level, console, outputs, rotation })
    }

    /// The demo's: warnings into a file, since the screen is the demo's own.
    pub fn to_file(path: String) -> LogSettings {
        LogSettings { level: LevelFilter::INFO, console: true, outputs: vec![Output::File(path)], rotation: None }
    }

    /// Begins to log, for the rest of this process.
    pub fn start(&self) -> Result<(), LogError> {
        let mut sinks = Vec::new();
        for output in &self.outputs {
            sinks.push(match output {
                Output::Stderr => Sink::Stderr,
                Output::Stdout => Sink::Stdout,
                Output::File(path) => {
                    Sink::open(path, self.rotation).map_err(|source| LogError { path: path.clone(), source })?
                }
            });
        }
        let layer = ZapLayer { level: self.level, console: self.console, sinks };
        // A second call could only come from this program itself; the first logger then stays.
        let _ = tracing_subscriber::registry().with(layer).try_init();
        Ok(())
    }
}

enum Sink {
    Stderr,
    Stdout,
    File(File),
    Rotated(Mutex<RotatedFile>),
}

impl Sink {
    fn open(path: &str, rotation: Option<Rotation>) -> std::io::Result<Sink> {
        match rotation {
            None => File::options().create(true).append(true).open(path).map(Sink::File),
            Some(rotation) => RotatedFile::open(path, rotation).map(|file| Sink::Rotated(Mutex::new(file))),
        }
    }

    /// Writes one line in one call, so that lines of several threads do not mix. A log that cannot be written is not
    /// worth stopping a member for.
    fn write(&self, line: &str) {
        let _ = match self {
            Sink::Stderr => std::io::stderr().lock().write_all(line.as_bytes()),
            Sink::Stdout => std::io::stdout().lock().write_all(line.as_bytes()),
            Sink::File(file) => (&*file).write_all(line.as_bytes()),
            Sink::Rotated(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(line.as_bytes()),
        };
    }
}

struct ZapLayer {
    level: LevelFilter,
    console: bool,
    sinks: Vec<Sink>,
}

impl<S: Subscriber> Layer<S> for ZapLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // The network libraries tell every frame at debug: theirs only from warnings on.
        let ours = metadata.target().starts_with("kontiki") || metadata.target() == "audit";
        *metadata.level() <= self.level && (ours || *metadata.level() <= Level::WARN)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = line(self.console, event.metadata(), &timestamp(SystemTime::now()), &fields);
        for sink in &self.sinks {
            sink.write(&line);
        }
    }
}

/// One log line with its line break.
fn line(console: bool, metadata: &Metadata<'_>, timestamp: &str, fields: &Fields) -> String {
    let level = match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    };
    let caller = caller(metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
    let (message, others) = (&fields.message, &fields.others);
    if console {
        let tail = if others.is_empty() { String::new() } else { format!("\t{{{}}}", &others[1..]) };
        return format!("{timestamp}\t{level}\t{caller}\t{message}{tail}\n");
    }
    let message = quoted(message);
    format!("{{\"level\":\"{level}\",\"ts\":\"{timestamp}\",\"caller\":\"{caller}\",\"msg\":{message}{others}}}\n")
}

/// The last two parts of a path and the line, as zap abbreviates.
fn caller(file: &str, line: u32) -> String {
    let mut parts: Vec<&str> = file.rsplit('/').take(2).collect();
    parts.reverse();
    format!("{}:{line}", parts.join("/"))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An event's fields: the message, and the others as `,"name":value`. Names get zap's dashes.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Fields {
    fn push(&mut self, field: &Field, json: &str) {
        let name = field.name().replace('_', "-");
        let _ = write!(self.others, ",{}:{json}", quoted(&name));
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.push(field, &quoted(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, &value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, if value { "true" } else { "false" });
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_str(field, &value.to_string());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    #[test]
    fn lines_are_json_with_zaps_names_and_other_libraries_are_quiet() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let sinks = vec![Sink::File(file.reopen().unwrap())];
        let layer = ZapLayer { level: LevelFilter::INFO, console: false, sinks };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(target: "kontiki::x", member_id = 7_u64, path = "a\"b", "told {}", "well");
            tracing::debug!(target: "kontiki::x", "too quiet");
            tracing::info!(target: "h2::frame", "not ours");
        });
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{text}");
        let json: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(json["level"], "info");
        assert_eq!(json["msg"], "told well");
        assert_eq!(json["member-id"], 7);
        assert_eq!(json["path"], "a\"b");
        assert!(json["caller"].as_str().unwrap().starts_with("src/logging.rs:"), "{}", json["caller"]);
        assert!(json["ts"].as_str().unwrap().ends_with('Z'));
    }
}
