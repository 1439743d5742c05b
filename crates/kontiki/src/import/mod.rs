//! `kontiki import`: brings the data of a running etcd (3.4 and later) over, through the API of both.
//!
//! 1. [`spool`]: all keys at one revision are read, page by page, into a file.
//! 2. [`leases`]: the leases are granted under the same ids, and kept alive from then on as long as the source has them.
//! 3. [`write`](mod@write): the keys are written in the order of their revisions, one transaction for each.
//! 4. [`access`]: roles, permissions and users.
//! 5. [`follow`]: on demand, every change since, until a signal says that it is enough.
//! 6. [`sum`]: both sides are compared by count and digest; [`report`] says what came over and what could not.

mod access;
mod args;
mod follow;
mod host;
mod leases;
mod pages;
mod report;
mod spool;
mod sum;
mod target;
mod write;

use std::collections::BTreeMap;
use std::process::ExitCode;

use kontiki_api::rpc::StatusRequest;
use tokio::time::Instant;

use crate::ctl::client::{Connection, Context};
use crate::ctl::failure::Failure;
use crate::output::{Form, print};

use access::{Access, Brought};
pub use args::ImportArgs;
use follow::Followed;
use host::Host;
use leases::Leases;
use report::{Auth, Report};
use spool::Spool;
use write::{Cut, Written};

/// Imports; what went wrong is on standard error by the time this returns.
pub fn run(args: &ImportArgs) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(format!("cannot start the runtime: {error}")))
        .and_then(|runtime| runtime.block_on(import(args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn import(args: &ImportArgs) -> Result<(), Failure> {
    let source = args.source()?;
    let host = match &args.data_dir {
        Some(_) => Some(Host::start(args).await?),
        None => None,
    };
    let endpoints = host.as_ref().map_or(args.to.clone(), |host| vec![host.endpoint.clone()]);
    let target = args.target(&endpoints)?;
    let report = bring(args, &source, &target).await;
    if let Some(host) = host {
        host.stop().await?;
    }
    let report = report?;
    let text = match args.write_out {
        Form::Simple => report.text(),
        Form::Json => format!("{}\n", report.json()),
    };
    print(text.as_bytes()).map_err(Failure::io)?;
    if report.same() { Ok(()) } else { Err(Failure::error("the target does not hold what the etcd holds")) }
}

async fn bring(args: &ImportArgs, source: &Context, target: &Context) -> Result<Report, Failure> {
    let start = Instant::now();
    let passwords = passwords(args)?;
    let going_on = args.resume || args.force;
    if !going_on {
        target::refuse_data(target).await?;
    }
    let version = version(source).await?;
    let mut spool = Spool::fill(source).await?;
    let extra = if going_on { target::compare(target, &mut spool).await? } else { Vec::new() };
    let deleted = target::settle_extra(target, extra, args.force).await?;
    let leases = Leases::bring(source, target).await?;
    let work = async {
        let cut = Cut { revisions: args.batch, operations: args.max_txn_ops };
        let written = write::write(target, &spool, &leases, cut).await?;
        let access = access::read(source).await?;
        let brought = access::write(target, &access, &passwords).await?;
        let followed = match args.follow {
            true => Some(follow::follow(source, target, &leases, spool.revision, args.max_txn_ops).await?),
            false => None,
        };
        Ok::<_, Failure>((written, access, brought, followed))
    };
    let (written, access, brought, followed) = tokio::select! {
        done = work => done?,
        failure = leases.keep() => return Err(failure),
    };
    let (source_sum, revision) = match &followed {
        Some(followed) => (sum::of_cluster(source, followed.revision).await?, followed.revision),
        None => (spool.sum(|pair| pair.lease != 0 && !leases.contains(pair.lease))?, spool.revision),
    };
    let target_sum = sum::of_cluster(target, 0).await?;
    let auth = enable_access(target, &access, &brought).await?;
    let Written { keys, transactions, split, expired } = written;
    Ok(Report {
        source: args.from.join(","),
        source_version: version,
        target: args.data_dir.as_ref().map_or(args.to.join(","), |directory| directory.display().to_string()),
        revision,
        revision_at_end: follow::present_revision(source).await?,
        keys_written: keys,
        keys_there_already: (spool.len() as u64).saturating_sub(keys + expired),
        keys_deleted: deleted,
        bytes: spool.bytes,
        transactions,
        split,
        expired,
        changes_followed: followed.as_ref().map_or(0, |Followed { changes, .. }| *changes),
        leases: leases.len() as u64,
        roles: access.roles.len() as u64,
        users: access.users.len() as u64,
        users_without_password: brought.without_password,
        auth,
        access_changed: access::read(source).await?.revision != access.revision,
        source_sum,
        target_sum,
        took: start.elapsed(),
    })
}

/// The passwords of the file, and the one that the etcd was read with.
fn passwords(args: &ImportArgs) -> Result<BTreeMap<String, String>, Failure> {
    let mut passwords: BTreeMap<String, String> = args.known_login().into_iter().collect();
    if let Some(path) = &args.passwords {
        passwords.extend(access::passwords(path)?);
    }
    Ok(passwords)
}

async fn version(source: &Context) -> Result<String, Failure> {
    let status = async |from: &Connection| Ok(from.maintenance().status(StatusRequest {}).await?.into_inner());
    Ok(source.read(status).await?.version)
}

/// The last step, because from then on the target asks who is there.
async fn enable_access(target: &Context, access: &Access, brought: &Brought) -> Result<Auth, Failure> {
    match (access.enabled, brought.root_can_log_in) {
        (false, _) => Ok(Auth::Off),
        (true, false) => Ok(Auth::LeftOff),
        (true, true) => access::enable(target).await.map(|()| Auth::On),
    }
}
