//! `kontiki bench`: puts a load on a cluster (ours or etcd) and reports what it bore. `docs/bench.md` says how to read it.
//!
//! 1. [`args`] are settled into a [`plan`], or refused with what to do.
//! 2. [`environment`], [`servers`] and, on demand, [`disk`] make the head of the report.
//! 3. [`run`](mod@run) starts clients ([`load`]) and [`watchers`]; [`pace`] says who may send and when, [`arrivals`] when operations of
//!    an open loop are due; [`operate`] makes the calls, on [`keys`] and with a [`stamp`] where they are watched.
//! 4. [`tally`] counts, [`process`] looks at the servers, [`report`], [`text`] and [`hgrm`] tell.

mod args;
mod arrivals;
mod disk;
mod environment;
mod hgrm;
mod keys;
mod load;
mod operate;
mod pace;
mod plan;
mod process;
mod report;
mod run;
mod servers;
mod stamp;
mod tally;
mod text;
mod watchers;

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::ctl::client::{Connection, Context};
use crate::ctl::failure::Failure;
use crate::ctl::session::asked_to_end;
use crate::output::print;

pub use args::BenchArgs;
use environment::Environment;
use operate::Work;
use plan::{BadInput, Plan};
use report::{Around, Place, Report};
use run::Run;
use stamp::Stamps;

/// Makes a run; what went wrong is on standard error by the time this returns.
pub fn run(args: &BenchArgs) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(format!("cannot start the runtime: {error}")))
        .and_then(|runtime| runtime.block_on(bench(args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let plan = Plan::settle(args)?;
    let context = Context::new(args.settings.clone())?;
    let json = plan::as_json(&context)?;
    process::look_at(&args.pids)?; // refused before anything is written
    let hgrm = args.hgrm.as_deref().map(create).transpose()?;
    let environment = Environment::look();
    let servers = servers::ask(&context).await?;
    let connections = servers::connect(&context, &plan, &servers).await?;
    let members = servers::count_members(&context).await?;
    let disk = args.disk.as_deref().map(|path| disk::measure(path, plan.key_size + plan.value_size)).transpose()?;
    let place = Place { environment, servers, members, disk };
    let work = Arc::new(work(&plan)?);

    let measured = measure(args, &plan, &context, &work, connections).await;
    let deleted = match args.cleanup {
        true => servers::clean(&context, &work).await.map(Some),
        false => Ok(None),
    };
    let (ran, mut around) = measured?;
    around.keys_deleted = deleted.as_ref().ok().copied().flatten();
    if let Some(file) = hgrm {
        let latencies = ran.tally.of_operations();
        hgrm::write(&latencies, file).map_err(|error| Failure::io(format!("--hgrm: {error}")))?;
    }
    let report = Report::new(plan, place, ran, around);
    let text = if json { report.json() + "\n" } else { report.text() };
    print(text.as_bytes()).map_err(Failure::io)?;
    deleted?;
    match report.result.operations {
        0 => Err(Failure::error("no operation succeeded while it was measured")),
        _ => Ok(()),
    }
}

/// Fills the keys where they are read, then makes the run.
async fn measure(
    args: &BenchArgs,
    plan: &Plan,
    context: &Context,
    work: &Arc<Work>,
    connections: Vec<Arc<Connection>>,
) -> Result<(run::Ran, Around), Failure> {
    let (_, keys_before) = servers::revision_and_keys(context, work).await?;
    if plan.operation.needs_keys() && keys_before < plan.keys {
        tokio::select! {
            filled = servers::fill(&connections, work) => filled?,
            () = asked_to_end() => return Err(Failure::interrupted("interrupted while the keys were written")),
        }
    }
    let (revision_before, _) = servers::revision_and_keys(context, work).await?;
    let (patience, pids, progress) = (args.patience(), &*args.pids, args.progress);
    let ran = Run { plan, work: Arc::clone(work), connections, patience, pids, progress }.make().await?;
    // The report is worth having even where the cluster is away by now.
    let revision_after = servers::revision_and_keys(context, work).await.ok().map(|(revision, _)| revision);
    Ok((ran, Around { keys_before, revision_before, revision_after, keys_deleted: None }))
}

fn work(plan: &Plan) -> Result<Work, Failure> {
    let run = getrandom::u64().map_err(|error| Failure::io(format!("no random number: {error}")))?;
    Ok(Work {
        operation: plan.operation,
        keys: plan.key_space(),
        value: plan.value(),
        limit: plan.limit.unwrap_or_default(),
        reads: plan.reads_percent.unwrap_or_default(),
        stamps: Stamps::new(run),
    })
}

fn create(path: &Path) -> Result<File, BadInput> {
    File::create(path).map_err(|error| BadInput::Hgrm { path: path.display().to_string(), reason: error.to_string() })
}
