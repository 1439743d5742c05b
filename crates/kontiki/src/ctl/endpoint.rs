//! `endpoint health`, `status` and `hashkv`: each endpoint is asked for itself.

use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::future::join_all;
use kontiki_api::rpc::{HashKvRequest, RangeRequest, StatusRequest};
use tokio::time::Instant;
use tonic::Code;

use super::client::Context;
use super::endpoint_show::{Hash, Hashes, Health, Healths, State, States};
use super::failure::Failure;
use super::show::Format;
use super::{alarm, member};

/// Commands about endpoints.
#[derive(Args, Debug)]
pub struct EndpointArgs {
    /// Ask all members that the cluster knows, not only the endpoints given
    #[arg(long, global = true)]
    cluster: bool,
    #[command(subcommand)]
    command: EndpointCommand,
}

#[derive(Subcommand, Debug)]
enum EndpointCommand {
    /// Check that each endpoint can reach a quorum.
    Health,
    /// Describe each endpoint.
    Status,
    /// Print the hash of each endpoint's history.
    Hashkv {
        /// Up to this revision; 0: the current one
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        rev: i64,
    },
}

/// Runs one of the commands.
pub async fn run(context: &Context, args: EndpointArgs) -> Result<(), Failure> {
    let endpoints = if args.cluster { of_cluster(context).await? } else { context.settings.endpoints.clone() };
    match args.command {
        EndpointCommand::Health => health(context, &endpoints).await,
        EndpointCommand::Status => status(context, &endpoints).await,
        EndpointCommand::Hashkv { rev } => hashkv(context, &endpoints, rev).await,
    }
}

/// The client addresses of all members.
pub async fn of_cluster(context: &Context) -> Result<Vec<String>, Failure> {
    let members =
        member::members(context, true).await.map_err(|failure| failure.within("failed to fetch endpoints"))?;
    let mut endpoints: Vec<String> = members.members.into_iter().flat_map(|member| member.client_urls).collect();
    endpoints.dedup();
    Ok(endpoints)
}

async fn health(context: &Context, endpoints: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Healths>()?;
    let healths = Healths(join_all(endpoints.iter().map(|endpoint| health_of(context, endpoint))).await);
    printer.print(&healths)?;
    let mut sick = healths.0.iter().filter(|health| !health.error.is_empty()).peekable();
    if sick.peek().is_none() {
        return Ok(());
    }
    if printer.format == Format::Simple {
        sick.for_each(|health| {
            eprintln!("{} is unhealthy: failed to commit proposal: {}", health.endpoint, health.error);
        });
    }
    Err(Failure::error("unhealthy cluster"))
}

/// An endpoint is healthy when it answers a linearizable read and no alarm is on.
async fn health_of(context: &Context, endpoint: &str) -> Health {
    let start = Instant::now();
    let request = RangeRequest { key: "health".into(), ..Default::default() };
    let read = context.ask_endpoint(endpoint, async |member| match member.kv().range(request.clone()).await {
        // Being told that one may not read that key took a quorum, too.
        Err(status) if status.code() == Code::PermissionDenied => Ok(()),
        other => other.map(|_| ()),
    });
    let outcome = read.await;
    let took = start.elapsed();
    let error = match outcome {
        Err(error) => error,
        Ok(()) => match context.ask_endpoint(endpoint, alarm::list).await {
            Err(error) => format!("Unable to fetch the alarm list: {error}"),
            Ok(answer) if answer.alarms.is_empty() => String::new(),
            Ok(answer) => {
                let names = answer.alarms.iter().map(|alarm| format!("{} ", alarm.alarm().as_str_name()));
                format!("Active Alarm(s): {}", names.collect::<String>())
            }
        },
    };
    Health { endpoint: endpoint.to_string(), took: round(took), error }
}

/// Microseconds are fine enough for a person.
fn round(duration: Duration) -> Duration {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

async fn status(context: &Context, endpoints: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<States>()?;
    let ask = |endpoint: &String| {
        let endpoint = endpoint.clone();
        async move {
            let answer = context
                .ask_endpoint(&endpoint, async |member| {
                    Ok(member.maintenance().status(StatusRequest {}).await?.into_inner())
                })
                .await;
            (endpoint, answer)
        }
    };
    let mut states = Vec::new();
    let mut outcome = Ok(());
    for (endpoint, answer) in join_all(endpoints.iter().map(ask)).await {
        match answer {
            Ok(answer) => states.push(State { endpoint, answer }),
            Err(error) => {
                eprintln!("Failed to get the status of endpoint {endpoint} ({error})");
                outcome = Err(Failure::silent());
            }
        }
    }
    printer.print(&States(states))?;
    outcome
}

async fn hashkv(context: &Context, endpoints: &[String], revision: i64) -> Result<(), Failure> {
    let printer = context.printer::<Hashes>()?;
    let request = HashKvRequest { revision };
    let ask = |endpoint: &String| {
        let endpoint = endpoint.clone();
        async move {
            let answer = context
                .ask_endpoint(&endpoint, async |member| Ok(member.maintenance().hash_kv(request).await?.into_inner()))
                .await;
            (endpoint, answer)
        }
    };
    let mut hashes = Vec::new();
    let mut outcome = Ok(());
    for (endpoint, answer) in join_all(endpoints.iter().map(ask)).await {
        match answer {
            Ok(answer) => hashes.push(Hash { endpoint, answer }),
            Err(error) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({error})");
                outcome = Err(Failure::error(error));
            }
        }
    }
    printer.print(&Hashes(hashes))?;
    outcome
}
