//! `downgrade validate`, `enable` and `cancel`.

use clap::Subcommand;
use kontiki_api::rpc::downgrade_request::DowngradeAction;
use kontiki_api::rpc::{DowngradeRequest, DowngradeResponse};
use prost::Message;

use super::client::Context;
use super::failure::Failure;
use super::json::Json;
use super::show::{self, Show, Text};

/// Commands about going back to an earlier version.
#[derive(Subcommand, Debug)]
pub enum DowngradeCommand {
    /// Tell whether the cluster can go back to a version.
    Validate {
        /// The version to go back to
        #[arg(num_args = 0..)]
        version: Vec<String>,
    },
    /// Prepare the cluster for members of an earlier version.
    Enable {
        /// The version to go back to
        #[arg(num_args = 0..)]
        version: Vec<String>,
    },
    /// Stop going back.
    Cancel,
}

/// An answer, and the word for what was asked.
struct Answered {
    action: &'static str,
    answer: DowngradeResponse,
}

/// Runs one of the commands.
pub async fn run(context: &Context, command: DowngradeCommand) -> Result<(), Failure> {
    let printer = context.printer::<Answered>()?;
    let (action, number, version) = match &command {
        DowngradeCommand::Validate { version } => ("validate", DowngradeAction::Validate, target(version)?),
        DowngradeCommand::Enable { version } => ("enable", DowngradeAction::Enable, target(version)?),
        DowngradeCommand::Cancel => ("cancel", DowngradeAction::Cancel, String::new()),
    };
    let request = DowngradeRequest { action: number as i32, version };
    let ask =
        async |to: &super::client::Connection| Ok(to.maintenance().downgrade(request.clone()).await?.into_inner());
    printer.print(&Answered { action, answer: context.write(ask).await? })
}

fn target(words: &[String]) -> Result<String, Failure> {
    match words {
        [version] if !version.is_empty() => Ok(version.clone()),
        [] => Err(Failure::arguments("TARGET_VERSION not provided")),
        [_] => Err(Failure::arguments("target version not provided")),
        _ => Err(Failure::arguments("too many arguments")),
    }
}

impl Show for Answered {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("Downgrade {} success, cluster version {}", self.action, self.answer.version));
    }

    fn json(&self) -> Json {
        show::answer(&self.answer.header).with_set("version", self.answer.version.as_str()).into()
    }
}
