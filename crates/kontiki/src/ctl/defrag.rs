//! `defrag`: each member gives back space of its files that holds nothing.

use clap::Args;
use kontiki_api::rpc::DefragmentRequest;
use tokio::time::Instant;

use super::client::Context;
use super::endpoint::of_cluster;
use super::failure::Failure;
use super::gotext;
use super::show::print;

/// Flags of `defrag`.
#[derive(Args, Debug)]
pub struct DefragArgs {
    /// Do it at all members that the cluster knows, not only at the endpoints given
    #[arg(long)]
    pub cluster: bool,
}

/// Asks the members one after the other, so that not all are busy at a time.
pub async fn run(context: &Context, args: &DefragArgs) -> Result<(), Failure> {
    let endpoints = if args.cluster { of_cluster(context).await? } else { context.settings.endpoints.clone() };
    let mut failures = 0;
    for endpoint in &endpoints {
        let start = Instant::now();
        let ask = async |member: &super::client::Connection| {
            Ok(member.maintenance().defragment(DefragmentRequest {}).await?.into_inner())
        };
        let outcome = context.ask_endpoint(endpoint, ask).await;
        let took = gotext::duration(start.elapsed());
        match outcome {
            Ok(_) => print(format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n").as_bytes())?,
            Err(error) => {
                eprintln!("Failed to defragment etcd member[{endpoint}]. took {took}. ({error})");
                failures += 1;
            }
        }
    }
    if failures > 0 { Err(Failure::silent()) } else { Ok(()) }
}
