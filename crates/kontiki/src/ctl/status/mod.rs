//! `status`: asks every member and says in plain words whether the cluster is well, why not, how much more it bears, and
//! what to do next. etcdctl has no such command.

mod facts;
mod judge;
mod report;
mod screen;

use std::io::{IsTerminal, stdout};

use super::client::Context;
use super::failure::Failure;
use super::show::{Format, print};

/// Gathers facts, judges them and prints the judgement. Ends with 1 when something is wrong.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let format = context.settings.format()?;
    let facts = facts::gather(context).await;
    let report = judge::judge(&facts);
    let text = match format {
        Format::Simple => {
            let colours = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            screen::draw(&report, colours)
        }
        Format::Json => format!("{}\n", report.json()),
        Format::Table => report.table().draw(),
        Format::Fields | Format::Protobuf => {
            return Err(Failure::feature("status is printed as simple, json or table"));
        }
    };
    print(text.as_bytes())?;
    if report.healthy() { Ok(()) } else { Err(Failure::silent()) }
}
