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
pub mod auth;
mod auth_show;
pub mod changes;
mod check;
mod check_load;
pub mod client;
mod compaction;
mod compare;
mod completion;
mod defrag;
mod del;
mod dial;
mod downgrade;
mod elect;
mod endpoint;
mod endpoint_show;
pub mod failure;
mod get;
pub mod goflags;
pub mod gotext;
pub mod json;
pub mod keys;
mod lease;
mod lease_show;
mod lock;
mod member;
mod member_show;
mod memory;
pub mod mirror;
mod move_leader;
pub mod password;
mod put;
mod restore;
mod role;
mod secure;
pub mod session;
pub mod settings;
pub mod show;
mod snapshot;
mod snapshot_save;
mod snapshot_show;
mod status;
mod table;
mod txn;
mod user;
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
    /// Say whether the cluster is well, why not, and what to do.
    Status,
    /// List and clear alarms.
    #[command(subcommand)]
    Alarm(alarm::AlarmCommand),
    /// Hold a lock until interrupted, or while a command runs.
    Lock(lock::LockArgs),
    /// Campaign for a leadership, or watch who leads.
    Elect(elect::ElectArgs),
    /// Give back space of members' files that holds nothing.
    Defrag(defrag::DefragArgs),
    /// Go back to an earlier version.
    #[command(subcommand)]
    Downgrade(downgrade::DowngradeCommand),
    /// Copy keys to another cluster, and every change of them, until interrupted.
    MakeMirror(Box<mirror::MirrorArgs>),
    /// Put a load on the cluster and judge how it bears it.
    #[command(subcommand)]
    Check(check::CheckCommand),
    /// Print a script that completes words in a shell.
    Completion {
        /// The shell
        shell: completion::Name,
    },
    /// Print the flags that every command has.
    Options,
    /// Turn the check of who may do what on and off.
    #[command(subcommand)]
    Auth(auth::AuthCommand),
    /// Create and change users.
    #[command(subcommand)]
    User(user::UserCommand),
    /// Create and change roles.
    #[command(subcommand)]
    Role(role::RoleCommand),
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
        Family::Status => status::run(context).await,
        Family::Alarm(command) => alarm::run(context, command).await,
        Family::Lock(args) => lock::run(context, args).await,
        Family::Elect(args) => elect::run(context, args).await,
        Family::Defrag(args) => defrag::run(context, &args).await,
        Family::Downgrade(command) => downgrade::run(context, command).await,
        Family::MakeMirror(args) => mirror::run(context, *args).await,
        Family::Check(command) => check::run(context, command).await,
        Family::Completion { shell } => completion::run(shell, <crate::Arguments as clap::CommandFactory>::command()),
        Family::Options => completion::options(settings::Settings::augment_args(Command::new("ctl"))),
        Family::Auth(command) => auth::run(context, command).await,
        Family::User(command) => user::run(context, command).await,
        Family::Role(command) => role::run(context, command).await,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{CommandFactory, Parser};

    fn parses(line: &str) -> bool {
        crate::Arguments::try_parse_from(["kontiki"].into_iter().chain(line.split(' '))).is_ok()
    }

    #[test]
    fn the_command_line_fits_together() {
        crate::Arguments::command().debug_assert();
    }

    #[test]
    fn lines_that_etcdctl_takes() {
        for line in [
            "ctl --user root:pw user add alice --interactive=false",
            "ctl user add alice --new-user-password=pw --no-password=false",
            "ctl role grant-permission r readwrite a --prefix=true -w json",
            "ctl --insecure-transport=false --insecure-skip-tls-verify --cacert ca.pem get k",
            "ctl lock name --ttl 5 -- sh -c true",
            "ctl elect -l name",
            "ctl make-mirror localhost:1 --prefix a --no-dest-prefix --dest-insecure-transport=false",
            "ctl check perf --load xl --auto-compact",
            "ctl check datascale --load=S --prefix /x/",
            "ctl defrag --cluster",
            "ctl downgrade validate 3.6",
            "ctl get k --stream --rev 3",
            "import --from a:1,b:2 --to c:3 --follow --batch 10",
            "import --from a:1 --data-dir d --name m0",
        ] {
            assert!(parses(line), "{line}");
        }
        for line in ["ctl user", "ctl completion tcsh", "import --from a:1", "import --from a:1 --to b:1 --data-dir d"]
        {
            assert!(!parses(line), "{line}");
        }
    }
}
