//! `snapshot save`, `status` and `restore`: the first talks to a member or reads a stopped one's directory, the others
//! work on files.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use kontiki_api::rpc::SnapshotRequest;
use kontiki_store::{SnapshotFile, offline_snapshot};

use super::client::Context;
use super::failure::Failure;
use super::restore::{self, RestoreArgs};
use super::show::print;
use super::snapshot_save::Saving;
use super::snapshot_show::State;
use crate::progress::Progress;

/// Commands about snapshots.
#[derive(Subcommand, Debug)]
pub enum SnapshotCommand {
    /// Save a snapshot of a member to a file.
    Save(SaveArgs),
    /// Check a snapshot file and describe it.
    Status {
        /// The file
        #[arg(num_args = 0..)]
        file: Vec<PathBuf>,
    },
    /// Make the data directory of a member of a new cluster from a snapshot file.
    Restore(Box<RestoreArgs>),
}

/// Words and flags of `snapshot save`.
#[derive(Args, Debug)]
pub struct SaveArgs {
    /// The file to write; one that exists is replaced once the new one is whole
    #[arg(num_args = 0..)]
    file: Vec<PathBuf>,
    /// Save the last checkpoint of a stopped member, in its data directory, instead of asking one that runs
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: SnapshotCommand) -> Result<(), Failure> {
    match command {
        SnapshotCommand::Save(args) => {
            let path = only_file("save", &args.file)?;
            match args.data_dir {
                Some(data_dir) => save_stopped(&data_dir, path),
                None => save(context, path).await,
            }
        }
        SnapshotCommand::Status { file } => status(context, only_file("status", &file)?),
        SnapshotCommand::Restore(args) => restore::run(*args),
    }
}

/// The one file that a command works on.
pub(super) fn only_file<'a>(command: &str, files: &'a [PathBuf]) -> Result<&'a Path, Failure> {
    match files {
        [file] if !file.as_os_str().is_empty() => Ok(file),
        _ => Err(Failure::arguments(format!("snapshot {command} requires exactly one argument: the snapshot's file"))),
    }
}

async fn save(context: &Context, path: &Path) -> Result<(), Failure> {
    let endpoints = &context.settings.endpoints;
    if endpoints.len() > 1 {
        return Err(Failure::arguments(format!(
            "snapshot must be requested to one selected node, not multiple {endpoints:?}: name one with --endpoints"
        )));
    }
    let connection = context.connect(0).await?;
    let failed = |status: tonic::Status| connection.failure(&status);
    // As etcdctl: a snapshot takes as long as it takes; a member that is gone is noticed by the connection.
    let mut blobs = connection.maintenance().snapshot(SnapshotRequest {}).await.map_err(failed)?.into_inner();
    let mut saving = Saving::begin(path)?;
    let progress = Progress::of_bytes("saving", 0);
    let (mut version, mut bytes) = (String::new(), 0);
    while let Some(blob) = blobs.message().await.map_err(failed)? {
        saving.write(&blob.blob)?;
        bytes += blob.blob.len() as u64;
        progress.expect(bytes + blob.remaining_bytes);
        progress.advance(blob.blob.len() as u64);
        version = blob.version;
    }
    drop(progress);
    saving.finish()?;
    let mut text = format!("Snapshot saved at {}\n", path.display());
    if !version.is_empty() {
        text += &format!("Server version {version}\n");
    }
    print(text.as_bytes())
}

fn save_stopped(data_dir: &Path, path: &Path) -> Result<(), Failure> {
    let mut stream = offline_snapshot(data_dir).map_err(|error| Failure::error(error.to_string()))?;
    let mut saving = Saving::begin(path)?;
    let progress = Progress::of_bytes("saving", stream.estimated_bytes());
    while let Some(blob) = stream.next_blob().map_err(|error| Failure::error(error.to_string()))? {
        saving.write(&blob.bytes)?;
        progress.advance(blob.bytes.len() as u64);
    }
    drop(progress);
    saving.finish()?;
    let header = stream.header();
    let text = format!(
        "Snapshot saved at {}\nIt holds the member's last checkpoint: revision {}, log index {}. What its log has behind that \
         is not in it,\nbecause a member alone cannot tell what of it is committed: prefer --endpoints while the cluster runs.\n",
        path.display(),
        header.revision,
        header.index,
    );
    print(text.as_bytes())
}

fn status(context: &Context, path: &Path) -> Result<(), Failure> {
    let printer = context.printer::<State>()?;
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    let progress = Progress::of_bytes("checking", 2 * length); // the digest, then the content
    let failed = |error: kontiki_store::SnapshotError| Failure::error(error.to_string());
    let file = SnapshotFile::open(path, true, &mut |bytes| progress.advance(bytes)).map_err(failed)?;
    let summary = file.summary(&mut |bytes| progress.advance(bytes)).map_err(failed)?;
    drop(progress);
    printer.print(&State(summary))
}
