//! `kontiki ctl`: the client on the command line, with etcdctl's commands, flags, environment and output.
//!
//! One file per family of commands; each holds the arguments, what is asked of the server, and how the answer looks in
//! every form ([`show::Show`]). Around them:
//!
//! - [`settings`] flags that every command has, [`goflags`] Go's spelling of switches, [`gotext`] Go's text of values;
//! - [`client`] dials the endpoints in turn and makes calls; [`failure`] turns what went wrong into text and exit code;
//! - [`keys`] keys and ranges from words, [`words`] the quoting rules of lines read from standard input;
//! - [`show`], [`json`], [`table`] the output.

mod alarm;
mod client;
mod compaction;
mod compare;
mod del;
mod endpoint;
mod endpoint_show;
mod failure;
mod get;
mod goflags;
pub mod gotext;
pub mod json;
mod keys;
mod lease;
mod lease_show;
mod member;
mod member_show;
mod move_leader;
mod put;
mod restore;
mod settings;
mod show;
mod snapshot;
mod snapshot_save;
mod snapshot_show;
mod table;
mod txn;
mod version;
mod watch;
mod watch_lines;
mod watch_show;
mod words;

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use client::Context;
use failure::Failure;

/// Everything behind `kontiki ctl`.
#[derive(Debug)]
pub struct CtlArgs(Parsed);

#[derive(Args, Debug)]
struct Parsed {
    #[command(flatten)]
    settings: settings::Settings,
    #[command(subcommand)]
    command: Family,
}

#[derive(Subcommand, Debug)]
enum Family {
    /// Print the version of this program and of the API that it speaks.
    Version,
    /// Write a key.
    Put(put::PutArgs),
    /// Read a key or a range of keys.
    Get(get::GetArgs),
    /// Delete a key or a range of keys.
    Del(del::DelArgs),
    /// Run a transaction, read from standard input.
    Txn(txn::TxnArgs),
    /// Print changes of a key or a range of keys as they happen.
    Watch(watch::WatchArgs),
    /// Forget history before a revision.
    #[command(visible_alias = "compact")]
    Compaction(compaction::CompactionArgs),
    /// Create, renew, end and list leases.
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    /// List and change the members of the cluster.
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// Ask each endpoint how it is.
    Endpoint(endpoint::EndpointArgs),
    /// List and clear alarms.
    #[command(subcommand)]
    Alarm(alarm::AlarmCommand),
    /// Hand leadership to another member.
    MoveLeader(move_leader::MoveLeaderArgs),
    /// Save, check and restore snapshots.
    #[command(subcommand)]
    Snapshot(snapshot::SnapshotCommand),
}

/// Everything behind `kontiki snapshot`, which is `kontiki ctl snapshot` for short.
#[derive(Debug)]
pub struct SnapshotArgs(OfSnapshot);

#[derive(Args, Debug)]
struct OfSnapshot {
    #[command(flatten)]
    settings: settings::Settings,
    #[command(subcommand)]
    command: snapshot::SnapshotCommand,
}

impl From<Box<SnapshotArgs>> for CtlArgs {
    fn from(args: Box<SnapshotArgs>) -> CtlArgs {
        let OfSnapshot { settings, command } = args.0;
        CtlArgs(Parsed { settings, command: Family::Snapshot(command) })
    }
}

/// Runs one command; what went wrong is on standard error by the time this returns.
pub fn run(args: CtlArgs) -> ExitCode {
    let Parsed { settings, command } = args.0;
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(format!("cannot start the runtime: {error}")))
        .and_then(|runtime| {
            let context = Context::new(settings)?;
            runtime.block_on(dispatch(&context, command))
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn dispatch(context: &Context, family: Family) -> Result<(), Failure> {
    match family {
        Family::Version => version::run(context),
        Family::Put(args) => put::run(context, args).await,
        Family::Get(args) => get::run(context, args).await,
        Family::Del(args) => del::run(context, args).await,
        Family::Txn(args) => txn::run(context, args).await,
        Family::Watch(args) => watch::run(context, args).await,
        Family::Compaction(args) => compaction::run(context, args).await,
        Family::Lease(command) => lease::run(context, command).await,
        Family::Member(command) => member::run(context, command).await,
        Family::Endpoint(args) => endpoint::run(context, args).await,
        Family::Alarm(command) => alarm::run(context, command).await,
        Family::MoveLeader(args) => move_leader::run(context, args).await,
        Family::Snapshot(command) => snapshot::run(context, command).await,
    }
}

// By hand instead of derived, because every switch below is taught Go's spelling on the way.
macro_rules! taught {
    ($outer:ident, $inner:ident) => {
        impl Args for $outer {
            fn augment_args(command: Command) -> Command {
                goflags::teach_switches($inner::augment_args(command))
            }

            fn augment_args_for_update(command: Command) -> Command {
                goflags::teach_switches($inner::augment_args_for_update(command))
            }
        }

        impl FromArgMatches for $outer {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                $inner::from_arg_matches(matches).map($outer)
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0.update_from_arg_matches(matches)
            }
        }
    };
}

taught!(CtlArgs, Parsed);
taught!(SnapshotArgs, OfSnapshot);
