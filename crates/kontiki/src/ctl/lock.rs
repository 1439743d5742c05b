//! `lock`: holds a named lock until interrupted, or while a command runs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitStatus;

use clap::Args;
use kontiki_api::lock::{LockRequest, LockResponse};
use kontiki_api::rpc::{RangeRequest, RangeResponse};
use tokio::process::Command;

use super::client::{Connection, Context};
use super::failure::Failure;
use super::keys::bytes;
use super::session::{Ended, Session};

/// Words and flags of `lock`.
#[derive(Args, Debug)]
pub struct LockArgs {
    /// The lock, and a command to run while it is held
    #[arg(value_names = ["NAME", "COMMAND"], num_args = 0..)]
    words: Vec<OsString>,
    /// The command, when it has flags of its own
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Seconds after which the lock is free again when this program was cut off
    #[arg(long, default_value_t = 10)]
    ttl: i64,
}

/// Takes the lock.
pub async fn run(context: &Context, args: LockArgs) -> Result<(), Failure> {
    let printer = context.printer::<RangeResponse>()?;
    let words: Vec<OsString> = args.words.into_iter().chain(args.command).collect();
    let Some((name, command)) = words.split_first() else {
        return Err(Failure::arguments("lock takes a lock name argument and an optional command to execute"));
    };
    let session = Session::open(context, args.ttl).await?;
    let request = LockRequest { name: bytes(name.clone()), lease: session.lease };
    let lock = session.wait(async |to| Ok(to.lock().lock(request.clone()).await?.into_inner()));
    let held = match session.during(lock).await {
        Ok(Ended::Done(held)) => held,
        Ok(Ended::Interrupted) => {
            session.close().await?;
            return Err(Failure::error("context canceled"));
        }
        Err(failure) => return Err(failure),
    };
    let outcome = match command {
        [] => {
            printer.print(&value_of(&session, &held).await?)?;
            session.during(std::future::pending::<Result<(), Failure>>()).await.map(|_| None)
        }
        [program, arguments @ ..] => {
            let status = run_command(program, arguments, &held);
            match session.during(status).await? {
                Ended::Done(status) => Ok(Some(status)),
                Ended::Interrupted => Ok(None),
            }
        }
    };
    if outcome.is_ok() {
        session.close().await?;
    }
    match outcome? {
        Some(status) if !status.success() => Err(Failure::of_command(status.code(), &status.to_string())),
        _ => Ok(()),
    }
}

async fn value_of(session: &Session<'_>, held: &LockResponse) -> Result<RangeResponse, Failure> {
    let request = RangeRequest { key: held.key.clone(), ..Default::default() };
    let answer =
        session.wait(async |from: &Connection| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
    if answer.kvs.is_empty() { Err(Failure::error("lock lost on init")) } else { Ok(answer) }
}

async fn run_command(program: &OsString, arguments: &[OsString], held: &LockResponse) -> Result<ExitStatus, Failure> {
    let revision = held.header.unwrap_or_default().revision;
    let status = Command::new(program)
        .args(arguments)
        .env("ETCD_LOCK_KEY", OsString::from_vec(held.key.to_vec()))
        .env("ETCD_LOCK_REV", revision.to_string())
        .status();
    status.await.map_err(|error| Failure::error(format!("cannot run {program:?}: {error}")))
}
