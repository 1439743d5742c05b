//! `watch`: changes of keys as they happen. A watch outlives its member: when the connection breaks it goes on at the next
//! endpoint, from the revision behind the last one seen, so that nothing is printed twice or left out.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};
use kontiki_api::rpc::watch_request::RequestUnion;
use kontiki_api::rpc::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::time::sleep;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use super::client::{Connection, Context};
use super::failure::{Failure, describe};
use super::gotext::quote;
use super::keys::{KeyRange, Meaning};
use super::show::{Printer, print};
use super::watch_lines;

/// Words and flags of `watch`.
#[derive(Args, Clone, Debug)]
pub struct WatchArgs {
    /// The key, or the first key and the end of a range
    #[arg(value_names = ["KEY", "RANGE_END"], num_args = 0..)]
    words: Vec<OsString>,
    /// A command to run for each change, with the change in ETCD_WATCH_* variables
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Read watches from standard input: `watch [flags] KEY [RANGE_END] [-- COMMAND]`, or `progress`
    #[arg(short, long)]
    pub interactive: bool,
    /// Watch all keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// First revision to print; 0: from now on
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    rev: i64,
    /// Print each pair as it was before, too
    #[arg(long)]
    prev_kv: bool,
    /// Print the revision reached when nothing happens for a while
    #[arg(long)]
    progress_notify: bool,
}

/// Pause before a broken watch is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A watch that is being printed.
pub struct Watcher {
    pub create: WatchCreateRequest,
    command: Vec<OsString>,
    printer: Printer,
    /// Nothing has come since the last interruption, which was reported.
    interrupted: bool,
}

/// Watches until the server or the user ends it.
pub async fn run(context: &Context, args: WatchArgs) -> Result<(), Failure> {
    let printer = context.printer::<WatchResponse>()?;
    if args.interactive {
        return watch_lines::run(context, printer).await;
    }
    let mut watcher = args.watcher(printer, |name| std::env::var_os(name))?;
    let mut connection = context.connect(0).await?;
    loop {
        let broken = match watcher.follow(&connection).await? {
            Some(status) if may_go_on(&status) => describe(&status, &connection.endpoint),
            Some(status) => return Err(connection.failure(&status)),
            None => format!("{} closed the stream", connection.endpoint),
        };
        if !std::mem::replace(&mut watcher.interrupted, true) {
            eprintln!("the watch was interrupted ({broken}); trying again");
        }
        connection = loop {
            sleep(RETRY_PAUSE).await;
            match context.connect(connection.position + 1).await {
                Ok(connection) => break connection,
                Err(_) => continue, // said already: the watch waits until some member is back
            }
        };
    }
}

/// Whether another member may well serve what this one could not.
fn may_go_on(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

impl WatchArgs {
    /// The watch that the words, or else the environment, ask for.
    pub fn watcher(self, printer: Printer, variable: impl Fn(&str) -> Option<OsString>) -> Result<Watcher, Failure> {
        let mut words = self.words;
        let named = variable("ETCDCTL_WATCH_KEY").filter(|key| !key.is_empty());
        match (words.is_empty(), named) {
            (true, Some(key)) => {
                words.push(key);
                words.extend(variable("ETCDCTL_WATCH_RANGE_END").filter(|end| !end.is_empty()));
            }
            (true, None) => return Err(Failure::arguments("bad number of arguments: watch KEY [RANGE_END]")),
            (false, Some(_)) => {
                return Err(Failure::arguments("bad number of arguments (found conflicting environment key)"));
            }
            (false, None) => {}
        }
        let range = KeyRange::parse("watch", words, Meaning { prefix: self.prefix, from_key: false })?;
        let create = WatchCreateRequest {
            key: range.key,
            range_end: range.range_end,
            start_revision: self.rev,
            progress_notify: self.progress_notify,
            prev_kv: self.prev_kv,
            ..Default::default()
        };
        Ok(Watcher { create, command: self.command, printer, interrupted: false })
    }
}

impl Watcher {
    /// Prints what one member sends until its stream ends; remembers where to go on.
    async fn follow(&mut self, connection: &Connection) -> Result<Option<Status>, Failure> {
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(self.create.clone())) };
        // The stream of requests stays open: its end would end the watch.
        let mut requests = Request::new(stream::iter([create]).chain(stream::pending()));
        // A member that lost the leader ends the stream instead of falling silent.
        requests.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
        let mut answers = match connection.watch().watch(requests).await {
            Ok(answers) => answers.into_inner(),
            Err(status) => return Ok(Some(status)),
        };
        loop {
            match answers.message().await {
                Ok(Some(answer)) => self.take(&answer)?,
                Ok(None) => return Ok(None),
                Err(status) => return Ok(Some(status)),
            }
        }
    }

    /// Prints an answer, runs the command for its changes and moves the start for the case that the connection breaks.
    pub fn take(&mut self, answer: &WatchResponse) -> Result<(), Failure> {
        self.interrupted = false;
        let revision = answer.header.unwrap_or_default().revision;
        if answer.created && !answer.canceled {
            // From now on "from now on" has a number.
            if self.create.start_revision == 0 {
                self.create.start_revision = revision + 1;
            }
            return Ok(());
        }
        if answer.canceled {
            let reason = cancel_reason(answer);
            eprintln!("watch was canceled ({reason})");
        }
        if answer.events.is_empty() && !answer.canceled {
            print(format!("progress notify: {revision}\n").as_bytes())?;
        }
        self.printer.print(answer)?;
        if answer.canceled {
            return Err(Failure::interrupted("watch is canceled by the server"));
        }
        let last = answer.events.iter().filter_map(|event| event.kv.as_ref()).map(|pair| pair.mod_revision).max();
        // Progress says that everything up to its revision was sent.
        self.create.start_revision = self.create.start_revision.max(last.unwrap_or(revision) + 1);
        self.run_command(answer, revision)
    }

    fn run_command(&self, answer: &WatchResponse, revision: i64) -> Result<(), Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Ok(());
        };
        for event in &answer.events {
            let pair = event.kv.clone().unwrap_or_default();
            let status = Command::new(program)
                .args(arguments)
                .env("ETCD_WATCH_REVISION", revision.to_string())
                .env("ETCD_WATCH_EVENT_TYPE", quote(event.r#type().as_str_name().as_bytes()))
                .env("ETCD_WATCH_KEY", quote(&pair.key))
                .env("ETCD_WATCH_VALUE", quote(&pair.value))
                .status();
            match status {
                Ok(status) if status.success() => {}
                Ok(status) => return Err(Failure::error(format!("command {:?} error ({status})", self.command))),
                Err(error) => return Err(Failure::error(format!("cannot run {program:?}: {error}"))),
            }
        }
        Ok(())
    }
}

/// A compacted start has no reason of its own; its number says it all.
fn cancel_reason(answer: &WatchResponse) -> &str {
    match answer.cancel_reason.as_str() {
        "" if answer.compact_revision != 0 => "etcdserver: mvcc: required revision has been compacted",
        reason => reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kontiki_api::kv::{Event, KeyValue};

    use super::super::show::Format;
    use super::super::show::testing::header;
    use super::*;

    const PRINTER: Printer = Printer { format: Format::Simple, hex: false, value_only: false };

    fn args(words: &[&str]) -> WatchArgs {
        WatchArgs {
            words: words.iter().map(OsString::from).collect(),
            command: Vec::new(),
            interactive: false,
            prefix: false,
            rev: 0,
            prev_kv: false,
            progress_notify: false,
        }
    }

    #[test]
    fn keys_from_words_or_environment() {
        let environment = |name: &str| (name == "ETCDCTL_WATCH_KEY").then(|| OsString::from("k"));
        assert_eq!(args(&["a", "b"]).watcher(PRINTER, |_| None).unwrap().create.range_end, "b");
        assert_eq!(args(&[]).watcher(PRINTER, environment).unwrap().create.key, "k");
        assert!(args(&[]).watcher(PRINTER, |_| None).is_err());
        assert!(args(&["a"]).watcher(PRINTER, environment).is_err());
    }

    #[test]
    fn goes_on_behind_what_was_seen() {
        let mut watcher = args(&["a"]).watcher(PRINTER, |_| None).unwrap();
        watcher.take(&WatchResponse { header: header(10), created: true, ..Default::default() }).unwrap();
        assert_eq!(watcher.create.start_revision, 11);
        let kv = Some(KeyValue { mod_revision: 12, ..Default::default() });
        let events = vec![Event { r#type: 0, kv, prev_kv: None }];
        watcher.take(&WatchResponse { header: header(15), events, ..Default::default() }).unwrap();
        assert_eq!(watcher.create.start_revision, 13);
        watcher.take(&WatchResponse { header: header(20), ..Default::default() }).unwrap();
        assert_eq!(watcher.create.start_revision, 21);
    }

    #[test]
    fn a_cancelled_watch_is_an_error() {
        let mut watcher = args(&["a"]).watcher(PRINTER, |_| None).unwrap();
        let answer = WatchResponse { canceled: true, compact_revision: 5, ..Default::default() };
        assert_eq!(cancel_reason(&answer), "etcdserver: mvcc: required revision has been compacted");
        assert!(watcher.take(&answer).is_err());
    }
}
