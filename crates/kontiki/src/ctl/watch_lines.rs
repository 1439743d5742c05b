//! `watch -i`: watches named line by line on standard input, all on one stream.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use clap::{CommandFactory, FromArgMatches, Parser};
use futures_util::stream;
use kontiki_api::rpc::watch_request::RequestUnion;
use kontiki_api::rpc::{WatchProgressRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::client::Context;
use super::failure::Failure;
use super::show::{Printer, print};
use super::watch::{WatchArgs, Watcher};
use super::{goflags, words};

/// What a line may ask for.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
enum Line {
    Watch(WatchArgs),
    Progress,
}

/// The id that stands for all watches of the stream in the answer to `progress`.
const WHOLE_STREAM: i64 = -1;

/// Serves lines and changes until one of the two ends.
pub async fn run(context: &Context, printer: Printer) -> Result<(), Failure> {
    let connection = context.connect(0).await?;
    let (requests, queue) = unbounded_channel();
    let queue = stream::unfold(queue, async |mut queue| queue.recv().await.map(|request| (request, queue)));
    let mut watchers: BTreeMap<i64, Watcher> = BTreeMap::new();
    let mut lines = read_lines();
    let mut client = connection.watch();
    // The server answers the call when the first request arrives, so lines are served meanwhile.
    let mut call = Box::pin(client.watch(Box::pin(queue)));
    let mut answers = None;
    let ended = || Failure::interrupted("watch is canceled by the server");
    loop {
        tokio::select! {
            line = lines.recv() => {
                let line = line.ok_or_else(|| Failure::input("error reading watch request line: EOF"))?;
                if let Some(request) = take_line(&line, printer, &mut watchers) {
                    requests.send(request).map_err(|_| ended())?;
                }
            }
            opened = &mut call, if answers.is_none() => {
                answers = Some(opened.map_err(|status| connection.failure(&status))?.into_inner());
            }
            answer = next(&mut answers), if answers.is_some() => {
                let answer = answer.map_err(|status| connection.failure(&status))?.ok_or_else(ended)?;
                take_answer(&answer, printer, &mut watchers)?;
            }
        }
    }
}

async fn next(answers: &mut Option<tonic::Streaming<WatchResponse>>) -> Result<Option<WatchResponse>, tonic::Status> {
    match answers {
        Some(answers) => answers.message().await,
        None => std::future::pending().await,
    }
}

/// Turns a line into a request; what cannot be understood is reported and skipped.
fn take_line(line: &str, printer: Printer, watchers: &mut BTreeMap<i64, Watcher>) -> Option<WatchRequest> {
    let union = match parse(line, printer) {
        Ok(None) => RequestUnion::ProgressRequest(WatchProgressRequest {}),
        Ok(Some(mut watcher)) => {
            watcher.create.watch_id = watchers.last_key_value().map_or(1, |(id, _)| id + 1);
            let create = watcher.create.clone();
            watchers.insert(create.watch_id, watcher);
            RequestUnion::CreateRequest(create)
        }
        Err(complaint) => {
            eprintln!("Invalid command {line} ({complaint})");
            return None;
        }
    };
    Some(WatchRequest { request_union: Some(union) })
}

/// A watch, or none when the line asks for progress.
fn parse(line: &str, printer: Printer) -> Result<Option<Watcher>, String> {
    let words = words::split(line)?.into_iter().map(OsString::from_vec);
    let command = goflags::teach_switches(Line::command());
    let parsed = command.try_get_matches_from(words).and_then(|matches| Line::from_arg_matches(&matches));
    match parsed {
        Ok(Line::Progress) => Ok(None),
        Ok(Line::Watch(args)) => args.watcher(printer, |_| None).map(Some).map_err(|failure| failure.to_string()),
        Err(_) => Err("only support watch and progress: watch [flags] KEY [RANGE_END] [-- COMMAND]".into()),
    }
}

fn take_answer(answer: &WatchResponse, printer: Printer, watchers: &mut BTreeMap<i64, Watcher>) -> Result<(), Failure> {
    if answer.watch_id == WHOLE_STREAM {
        let revision = answer.header.unwrap_or_default().revision;
        print(format!("progress notify: {revision}\n").as_bytes())?;
        return printer.print(answer);
    }
    match watchers.get_mut(&answer.watch_id) {
        Some(watcher) => watcher.take(answer),
        None => Ok(()), // an answer for a watch that ended
    }
}

/// Lines of standard input, read on a thread of its own because reading blocks.
fn read_lines() -> UnboundedReceiver<String> {
    let (sender, lines) = unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return }; // as good as the end of the input
            if !line.trim().is_empty() && sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::show::Format;
    use super::*;

    #[test]
    fn lines() {
        let printer = Printer { format: Format::Simple, hex: false, value_only: false };
        assert!(parse("progress", printer).unwrap().is_none());
        let watcher = parse("watch --prefix \"a b\" --rev=3 -- echo --prefix", printer).unwrap().unwrap();
        assert_eq!((&watcher.create.key[..], watcher.create.start_revision), (&b"a b"[..], 3));
        assert_eq!(watcher.create.range_end, "a c");
        assert!(parse("bogus", printer).is_err());
        assert!(parse("watch", printer).is_err());
    }
}
