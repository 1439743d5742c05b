//! `del`.

use std::ffi::OsString;

use clap::Args;
use kontiki_api::rpc::{DeleteRangeRequest, DeleteRangeResponse};
use prost::Message;

use super::client::Context;
use super::failure::Failure;
use super::json::Json;
use super::keys::{KeyRange, Meaning};
use super::show::{self, Fields, Show, Text};

/// Words and flags of `del`.
#[derive(Args, Debug)]
pub struct DelArgs {
    /// The key, or the first key and the end of a range
    #[arg(value_names = ["KEY", "RANGE_END"], num_args = 0..)]
    words: Vec<OsString>,
    /// Delete all keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// Delete all keys from KEY on
    #[arg(long)]
    from_key: bool,
    /// Print the pairs as they were
    #[arg(long)]
    prev_kv: bool,
    /// Say that RANGE_END is meant; not needed here
    #[arg(long)]
    range: bool,
}

/// Deletes keys.
pub async fn run(context: &Context, args: DelArgs) -> Result<(), Failure> {
    let printer = context.printer::<DeleteRangeResponse>()?;
    let request = args.request()?;
    let answer = context.write(async |to| Ok(to.kv().delete_range(request.clone()).await?.into_inner())).await?;
    printer.print(&answer)
}

impl DelArgs {
    /// The request that the words ask for.
    pub fn request(self) -> Result<DeleteRangeRequest, Failure> {
        if self.range && self.words.len() != 2 {
            return Err(Failure::arguments(
                "`--range` says that two keys follow: the first one and the end of the range",
            ));
        }
        let range = KeyRange::parse("del", self.words, Meaning { prefix: self.prefix, from_key: self.from_key })?;
        Ok(DeleteRangeRequest { key: range.key, range_end: range.range_end, prev_kv: self.prev_kv })
    }
}

impl Show for DeleteRangeResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(self.deleted.to_string());
        self.prev_kvs.iter().for_each(|pair| text.pair(pair));
    }

    fn json(&self) -> Json {
        show::answer(&self.header)
            .with_set("deleted", self.deleted)
            .with_set("prev_kvs", Json::list(&self.prev_kvs, show::pair))
            .into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        lines.put("Deleted", self.deleted);
        self.prev_kvs.iter().for_each(|pair| lines.pair("Prev", pair));
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::Format;
    use super::super::show::testing::{header, pair, render};
    use super::*;

    #[test]
    fn output() {
        let answer = DeleteRangeResponse { header: header(6), deleted: 1, prev_kvs: vec![pair("k", "v")] };
        assert_eq!(render(Format::Simple, &answer), "1\nk\nv\n");
        assert!(render(Format::Json, &answer).contains(r#""deleted":1,"prev_kvs":[{"key":"aw==","#));
        assert!(render(Format::Fields, &answer).contains("\"Deleted\" : 1\n\"PrevKey\" : \"k\"\n"));
    }
}
