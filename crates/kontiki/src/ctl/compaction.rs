//! `compaction`.

use clap::Args;
use kontiki_api::rpc::CompactionRequest;

use super::client::Context;
use super::failure::Failure;
use super::show::print;

/// Words and flags of `compaction`.
#[derive(Args, Debug)]
pub struct CompactionArgs {
    /// Oldest revision that stays readable
    #[arg(num_args = 0..)]
    revision: Vec<String>,
    /// Wait until the space is free on disk
    #[arg(long)]
    physical: bool,
}

/// Forgets history. The answer looks the same in every form of output.
pub async fn run(context: &Context, args: CompactionArgs) -> Result<(), Failure> {
    let [word] = args.revision.as_slice() else {
        return Err(Failure::arguments("compaction command needs 1 argument: the oldest revision to keep"));
    };
    let revision = word.parse().map_err(|_| Failure::arguments(format!("{word:?} is no revision")))?;
    let request = CompactionRequest { revision, physical: args.physical };
    context.write(async |to| Ok(to.kv().compact(request).await?.into_inner())).await?;
    print(format!("compacted revision {revision}\n").as_bytes())
}
