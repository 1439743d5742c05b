//! `member list`, `add`, `remove`, `update` and `promote`.

use clap::{Args, Subcommand};
use kontiki_api::rpc::{
    MemberAddRequest, MemberListRequest, MemberListResponse, MemberPromoteRequest, MemberRemoveRequest,
    MemberUpdateRequest,
};

use super::client::Context;
use super::failure::Failure;
use super::get;
use super::member_show::{Added, Changed};

/// Commands about members.
#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// List the members.
    List {
        /// Ask the cluster (l) or only the member at hand (s)
        #[arg(long, default_value = "l")]
        consistency: String,
    },
    /// Add a member.
    Add(AddArgs),
    /// Remove a member.
    Remove {
        /// The member, in hexadecimal
        #[arg(num_args = 0..)]
        id: Vec<String>,
    },
    /// Change a member's addresses for other members.
    Update(UpdateArgs),
    /// Let a learner vote.
    Promote {
        /// The member, in hexadecimal
        #[arg(num_args = 0..)]
        id: Vec<String>,
    },
}

/// Words and flags of `member add`.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Name of the new member
    #[arg(num_args = 0..)]
    name: Vec<String>,
    /// Its addresses for other members, separated by commas
    #[arg(long, value_delimiter = ',')]
    peer_urls: Vec<String>,
    /// Add it without a vote
    #[arg(long)]
    learner: bool,
}

/// Words and flags of `member update`.
#[derive(Args, Debug)]
pub struct UpdateArgs {
    /// The member, in hexadecimal
    #[arg(num_args = 0..)]
    id: Vec<String>,
    /// Its new addresses for other members, separated by commas
    #[arg(long, value_delimiter = ',')]
    peer_urls: Vec<String>,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::List { consistency } => list(context, &consistency).await,
        MemberCommand::Add(args) => add(context, args).await,
        MemberCommand::Remove { id } => remove(context, &id).await,
        MemberCommand::Update(args) => update(context, args).await,
        MemberCommand::Promote { id } => promote(context, &id).await,
    }
}

/// The members as the cluster, or only the member at hand, knows them.
pub async fn members(context: &Context, linearizable: bool) -> Result<MemberListResponse, Failure> {
    let request = MemberListRequest { linearizable };
    context.read(async |from| Ok(from.cluster().member_list(request).await?.into_inner())).await
}

async fn list(context: &Context, consistency: &str) -> Result<(), Failure> {
    let printer = context.printer::<MemberListResponse>()?;
    let linearizable = !get::serializable(consistency)?;
    printer.print(&members(context, linearizable).await?)
}

async fn add(context: &Context, args: AddArgs) -> Result<(), Failure> {
    let printer = context.printer::<Added>()?;
    let [name] = args.name.as_slice() else {
        let complaint = if args.name.is_empty() { "member name not provided" } else { "too many arguments" };
        return Err(Failure::arguments(format!("{complaint}: write member add NAME --peer-urls=URL")));
    };
    let peer_urls = given_urls(args.peer_urls)?;
    let request = MemberAddRequest { peer_urls: peer_urls.clone(), is_learner: args.learner };
    let answer = context.write(async |to| Ok(to.cluster().member_add(request.clone()).await?.into_inner())).await?;
    printer.print(&Added { name: name.clone(), peer_urls, answer })
}

async fn remove(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Changed>()?;
    let id = only_member(words)?;
    let request = MemberRemoveRequest { id };
    let answer = context.write(async |to| Ok(to.cluster().member_remove(request).await?.into_inner())).await?;
    printer.print(&Changed { id, how: "removed from", header: answer.header, members: answer.members })
}

async fn update(context: &Context, args: UpdateArgs) -> Result<(), Failure> {
    let printer = context.printer::<Changed>()?;
    let id = only_member(&args.id)?;
    let request = MemberUpdateRequest { id, peer_urls: given_urls(args.peer_urls)? };
    let answer = context.write(async |to| Ok(to.cluster().member_update(request.clone()).await?.into_inner())).await?;
    printer.print(&Changed { id, how: "updated in", header: answer.header, members: answer.members })
}

async fn promote(context: &Context, words: &[String]) -> Result<(), Failure> {
    let printer = context.printer::<Changed>()?;
    let id = only_member(words)?;
    let request = MemberPromoteRequest { id };
    let answer = context.write(async |to| Ok(to.cluster().member_promote(request).await?.into_inner())).await?;
    printer.print(&Changed { id, how: "promoted in", header: answer.header, members: answer.members })
}

/// Reads a member as it is printed: in hexadecimal.
pub fn parse_member(word: &str) -> Result<u64, Failure> {
    u64::from_str_radix(word, 16)
        .map_err(|_| Failure::arguments(format!("bad member ID arg ({word:?} is no number), expecting ID in Hex")))
}

fn only_member(words: &[String]) -> Result<u64, Failure> {
    match words {
        [word] => parse_member(word),
        _ => Err(Failure::arguments("member ID is not provided: one ID, as `member list` prints it")),
    }
}

fn given_urls(urls: Vec<String>) -> Result<Vec<String>, Failure> {
    if urls.iter().all(String::is_empty) {
        return Err(Failure::arguments("member peer urls not provided: add --peer-urls=URL[,URL]"));
    }
    Ok(urls)
}
