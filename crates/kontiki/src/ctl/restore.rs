//! `snapshot restore`: a member of a new cluster out of a file, with etcdutl's flags.

use std::path::PathBuf;

use clap::Args;
use kontiki_store::{InitialMember, RestoreOptions, Restored, SnapshotFile, restore};

use super::failure::Failure;
use super::show::print;
use super::snapshot::only_file;
use crate::config::founders;
use crate::progress::Progress;

/// Words and flags of `snapshot restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// The snapshot's file; every member of the new cluster is restored from the same one
    #[arg(num_args = 0..)]
    file: Vec<PathBuf>,
    /// The data directory to make, which must not exist or be empty [default: NAME.etcd]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The directory to make for the log, which must not exist [default: in the data directory]
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
    /// Name of this member
    #[arg(long, default_value = "default")]
    name: String,
    /// All members of the new cluster as NAME=PEER-URL, separated by commas [default: this one alone]
    #[arg(long, value_name = "MEMBERS")]
    initial_cluster: Option<String>,
    /// Tells this cluster apart from others with the same addresses
    #[arg(long, default_value = "etcd-cluster", value_name = "TOKEN")]
    initial_cluster_token: String,
    /// This member's addresses for other members, separated by commas
    #[arg(long, default_value = "http://localhost:2380", value_name = "URLS")]
    initial_advertise_peer_urls: String,
    /// Do not compare the file with the digest at its end; its parts are checked all the same
    #[arg(long)]
    skip_hash_check: bool,
    /// Raise the store's revision by so many, so that none is given twice
    #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "N")]
    bump_revision: u64,
    /// Compact everything before the raised revision, so that clients that remember an old one notice
    #[arg(long)]
    mark_compacted: bool,
    /// How etcdutl maps its file into memory: of no meaning here
    #[arg(long, hide = true)]
    initial_memory_map_size: Option<u64>,
}

/// Makes the data directory.
pub fn run(args: RestoreArgs) -> Result<(), Failure> {
    let path = only_file("restore", &args.file)?;
    if (args.bump_revision > 0) != args.mark_compacted {
        return Err(Failure::arguments(
            "--mark-compacted is required if --bump-revision is above 0, and not allowed otherwise: give both or neither",
        ));
    }
    let urls = &args.initial_advertise_peer_urls;
    let members = founders(&args.name, &args.initial_cluster_token, args.initial_cluster.as_deref(), urls);
    let members = members.map_err(|error| Failure::error(error.to_string()))?;
    let member = |member: &crate::config::InitialMember| InitialMember {
        name: member.name.clone(),
        peer_urls: member.peer_urls.iter().map(ToString::to_string).collect(),
    };
    let options = RestoreOptions {
        data_dir: args.data_dir.clone().unwrap_or_else(|| PathBuf::from(format!("{}.etcd", args.name))),
        wal_dir: args.wal_dir.clone(),
        name: args.name,
        initial_cluster: members.iter().map(member).collect(),
        initial_cluster_token: args.initial_cluster_token,
        bump_revision: args.bump_revision,
    };
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    let failed = |error: kontiki_store::SnapshotError| Failure::error(error.to_string());
    let progress = Progress::of_bytes("checking", length);
    let file = SnapshotFile::open(path, !args.skip_hash_check, &mut |bytes| progress.advance(bytes));
    drop(progress);
    let file = file.map_err(failed)?;
    let progress = Progress::of_bytes("restoring", length);
    let restored = restore(&file, &options, &mut |bytes| progress.advance(bytes));
    drop(progress);
    print(report(&restored.map_err(failed)?, &options).as_bytes())
}

fn report(restored: &Restored, options: &RestoreOptions) -> String {
    let mut text = format!(
        "Restored member {} ({:x}) of the new cluster {:x} at revision {} in {}\n",
        options.name,
        restored.member_id,
        restored.cluster_id,
        restored.revision,
        options.data_dir.display()
    );
    if restored.same_cluster {
        text += "WARNING: the new cluster has the same id as the one that the snapshot was taken of, because members, URLs and \
                 token are the same.\nStart no member of the old one with its old data any more, or restore again with another \
                 --initial-cluster-token.\n";
    }
    text
}
