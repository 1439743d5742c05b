//! `move-leader`: only the leader can hand leadership over, so it is looked for first.

use clap::Args;
use kontiki_api::rpc::{MoveLeaderRequest, MoveLeaderResponse, StatusRequest};
use prost::Message;

use super::client::Context;
use super::failure::Failure;
use super::json::Json;
use super::member::{members, parse_member};
use super::show::{self, Show, Text};

/// Words of `move-leader`.
#[derive(Args, Debug)]
pub struct MoveLeaderArgs {
    /// The member that shall lead, in hexadecimal
    #[arg(num_args = 0..)]
    id: Vec<String>,
}

/// A finished move.
struct Moved {
    from: u64,
    to: u64,
    answer: MoveLeaderResponse,
}

/// Moves leadership.
pub async fn run(context: &Context, args: MoveLeaderArgs) -> Result<(), Failure> {
    let printer = context.printer::<Moved>()?;
    let [word] = args.id.as_slice() else {
        return Err(Failure::arguments(
            "move-leader command needs 1 argument: the member's ID as `member list` prints it",
        ));
    };
    let to = parse_member(word)?;
    let (leader, endpoint) = find_leader(context).await?;
    let request = MoveLeaderRequest { target_id: to };
    let answer = context
        .ask_endpoint(&endpoint, async |leader| Ok(leader.maintenance().move_leader(request).await?.into_inner()))
        .await
        .map_err(Failure::error)?;
    printer.print(&Moved { from: leader, to, answer })
}

/// The leader and an endpoint of it: one of those given, else one that the cluster knows.
async fn find_leader(context: &Context) -> Result<(u64, String), Failure> {
    let mut endpoints = context.settings.endpoints.clone();
    let known = members(context, false).await?.members.into_iter().flat_map(|member| member.client_urls);
    endpoints.extend(known);
    for endpoint in &endpoints {
        let status = context
            .ask_endpoint(endpoint, async |member| {
                Ok(member.maintenance().status(StatusRequest {}).await?.into_inner())
            })
            .await;
        let Ok(status) = status else { continue }; // a member that cannot be asked is not the leader we need
        if status.leader != 0 && status.leader == status.header.unwrap_or_default().member_id {
            return Ok((status.leader, endpoint.clone()));
        }
    }
    Err(Failure::arguments(format!("no leader endpoint given at {endpoints:?}; name the leader's with --endpoints")))
}

impl Show for Moved {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("Leadership transferred from {:x} to {:x}", self.from, self.to));
    }

    fn json(&self) -> Json {
        show::answer(&self.answer.header).into()
    }
}
