//! `lease grant`, `revoke`, `timetolive`, `list` and `keep-alive`.

use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::stream;
use kontiki_api::rpc::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseLeasesResponse, LeaseRevokeRequest, LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use tokio::time::sleep;
use tonic::Status;

use super::client::Context;
use super::failure::Failure;
use super::lease_show::{Revoked, TimeToLive};
use super::show::{Format, print};

/// Commands about leases.
#[derive(Subcommand, Debug)]
pub enum LeaseCommand {
    /// Create a lease that lives TTL seconds.
    Grant {
        /// Time to live in seconds
        #[arg(num_args = 0..)]
        ttl: Vec<String>,
    },
    /// End a lease and delete its keys.
    Revoke {
        /// The lease, in hexadecimal
        #[arg(num_args = 0..)]
        id: Vec<String>,
    },
    /// Tell how long a lease has left.
    Timetolive(TimeToLiveArgs),
    /// List all leases.
    List,
    /// Renew a lease until it ends.
    KeepAlive(KeepAliveArgs),
}

/// Words and flags of `lease timetolive`.
#[derive(Args, Debug)]
pub struct TimeToLiveArgs {
    /// The lease, in hexadecimal
    #[arg(num_args = 0..)]
    id: Vec<String>,
    /// List the keys that hang on it, too
    #[arg(long)]
    keys: bool,
}

/// Words and flags of `lease keep-alive`.
#[derive(Args, Debug)]
pub struct KeepAliveArgs {
    /// The lease, in hexadecimal
    #[arg(num_args = 0..)]
    id: Vec<String>,
    /// Renew once and stop
    #[arg(long)]
    once: bool,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: LeaseCommand) -> Result<(), Failure> {
    match command {
        LeaseCommand::Grant { ttl } => grant(context, &ttl).await,
        LeaseCommand::Revoke { id } => revoke(context, &id).await,
        LeaseCommand::Timetolive(args) => time_to_live(context, args).await,
        LeaseCommand::List => list(context).await,
        LeaseCommand::KeepAlive(args) => keep_alive(context, args).await,
    }
}

/// Reads a lease as it is printed: in hexadecimal.
pub fn parse_lease(word: &str, complaint: &str) -> Result<i64, Failure> {
    i64::from_str_radix(word, 16)
        .map_err(|_| Failure::arguments(format!("{complaint} ({word:?} is no number), expecting ID in Hex")))
}

/// The lease that is a command's only word.
fn only_lease(command: &str, words: &[String]) -> Result<i64, Failure> {
    match words {
        [word] => parse_lease(word, "bad lease ID arg"),
        _ => Err(Failure::arguments(format!("lease {command} command needs lease ID as argument"))),
    }
}

async fn grant(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<LeaseGrantResponse>()?;
    let [word] = words else {
        return Err(Failure::arguments("lease grant command needs TTL argument"));
    };
    let ttl = word.parse().map_err(|_| Failure::arguments(format!("bad TTL ({word:?} is no number of seconds)")))?;
    let request = LeaseGrantRequest { ttl, id: 0 };
    let answer = context.write(async |to| Ok(to.lease().lease_grant(request).await?.into_inner())).await;
    printer.print(&answer.map_err(|failure| failure.within("failed to grant lease").blaming_connection())?)
}

async fn revoke(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Revoked>()?;
    let id = only_lease("revoke", words)?;
    let request = LeaseRevokeRequest { id };
    let answer = context.write(async |to| Ok(to.lease().lease_revoke(request).await?.into_inner())).await;
    let answer = answer.map_err(|failure| failure.within("failed to revoke lease"))?;
    printer.print(&Revoked { id, answer })
}

async fn time_to_live(context: &Context, args: TimeToLiveArgs) -> Result<(), Failure> {
    let printer = context.printer::<TimeToLive>()?;
    let id = only_lease("timetolive", &args.id)?;
    let request = LeaseTimeToLiveRequest { id, keys: args.keys };
    let answer = context.read(async |from| Ok(from.lease().lease_time_to_live(request).await?.into_inner())).await;
    let answer: LeaseTimeToLiveResponse = answer.map_err(Failure::blaming_connection)?;
    printer.print(&TimeToLive { answer, keys_asked: args.keys })
}

async fn list(context: &Context) -> Result<(), Failure> {
    let printer = context.printer::<LeaseLeasesResponse>()?;
    let request = LeaseLeasesRequest {};
    let answer = context.read(async |from| Ok(from.lease().lease_leases(request).await?.into_inner())).await;
    printer.print(&answer.map_err(Failure::blaming_connection)?)
}

async fn keep_alive(context: &Context, args: KeepAliveArgs) -> Result<(), Failure> {
    let printer = context.printer::<LeaseKeepAliveResponse>()?;
    let id = only_lease("keep-alive", &args.id)?;
    loop {
        let answer = renew(context, id).await.map_err(Failure::blaming_connection)?;
        if answer.ttl <= 0 {
            return if args.once {
                Err(Failure::error("etcdserver: requested lease not found").blaming_connection())
            } else if printer.format == Format::Simple {
                print(format!("lease {id:016x} expired or revoked.\n").as_bytes())
            } else {
                Ok(())
            };
        }
        printer.print(&answer)?;
        if args.once {
            return Ok(());
        }
        // Three times per life, so that two renewals may be lost on the way.
        sleep(Duration::from_millis(answer.ttl.unsigned_abs().saturating_mul(1000) / 3)).await;
    }
}

/// Renews once. Each renewal is a stream of its own, so a member that went away is no different from one that never was.
async fn renew(context: &Context, id: i64) -> Result<LeaseKeepAliveResponse, Failure> {
    context
        .read(async |from| {
            let requests = stream::iter([LeaseKeepAliveRequest { id }]);
            let mut answers = from.lease().lease_keep_alive(requests).await?.into_inner();
            answers.message().await?.ok_or_else(|| Status::unavailable("the member closed the stream of renewals"))
        })
        .await
}
