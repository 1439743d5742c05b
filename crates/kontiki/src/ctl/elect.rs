//! `elect`: campaigns for a leadership and holds it until interrupted, or watches who leads.

use std::ffi::OsString;

use clap::Args;
use kontiki_api::election::{CampaignRequest, LeaderRequest};
use kontiki_api::rpc::{RangeRequest, RangeResponse};

use super::client::{Connection, Context};
use super::failure::Failure;
use super::keys::bytes;
use super::session::{Ended, Session, asked_to_end};

/// Seconds after which a leader that was cut off is no leader any more.
const TTL: i64 = 60;

/// Words and flags of `elect`.
#[derive(Args, Debug)]
pub struct ElectArgs {
    /// The election, and what to say when it is won
    #[arg(value_names = ["NAME", "PROPOSAL"], num_args = 0..)]
    words: Vec<OsString>,
    /// Print who leads, now and whenever it changes
    #[arg(short, long)]
    listen: bool,
}

/// Campaigns or listens.
pub async fn run(context: &Context, args: ElectArgs) -> Result<(), Failure> {
    match (args.words.as_slice(), args.listen) {
        ([name], true) => observe(context, name).await,
        ([_, _], true) => Err(Failure::arguments("elect takes no proposal with -l")),
        ([name, proposal], false) => campaign(context, name, proposal).await,
        ([_], false) => Err(Failure::arguments("no proposal argument but -l not set")),
        _ => Err(Failure::arguments("elect takes one election name argument and an optional proposal argument")),
    }
}

async fn observe(context: &Context, name: &OsString) -> Result<(), Failure> {
    let printer = context.printer::<RangeResponse>()?;
    let connection = context.connect(0).await?;
    let request = LeaderRequest { name: bytes(name.clone()) };
    let failed = |status: tonic::Status| connection.failure(&status);
    let mut client = connection.election();
    let listen = async {
        let mut leaders = client.observe(request).await.map_err(failed)?.into_inner();
        while let Some(leader) = leaders.message().await.map_err(failed)? {
            let kvs = leader.kv.into_iter().collect();
            printer.print(&RangeResponse { header: leader.header, kvs, more: false, count: 0 })?;
        }
        Err(Failure::error("elect: observer lost"))
    };
    tokio::select! {
        outcome = listen => outcome,
        () = asked_to_end() => Ok(()),
    }
}

async fn campaign(context: &Context, name: &OsString, proposal: &OsString) -> Result<(), Failure> {
    let printer = context.printer::<RangeResponse>()?;
    let session = Session::open(context, TTL).await?;
    let request = CampaignRequest { name: bytes(name.clone()), lease: session.lease, value: bytes(proposal.clone()) };
    let lead = async {
        let won = session.wait(async |to| Ok(to.election().campaign(request.clone()).await?.into_inner())).await?;
        let request = RangeRequest { key: won.leader.unwrap_or_default().key, ..Default::default() };
        let read = async |from: &Connection| Ok(from.kv().range(request.clone()).await?.into_inner());
        printer.print(&session.wait(read).await?)?;
        std::future::pending::<Result<(), Failure>>().await
    };
    match session.during(lead).await? {
        Ended::Done(()) => Ok(()),
        Ended::Interrupted => session.close().await, // resigns
    }
}
