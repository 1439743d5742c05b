//! `get`.

use std::ffi::OsString;

use clap::Args;
use kontiki_api::rpc::range_request::{SortOrder, SortTarget};
use kontiki_api::rpc::{RangeRequest, RangeResponse};
use prost::Message;

use super::client::Context;
use super::failure::Failure;
use super::json::Json;
use super::keys::{KeyRange, Meaning};
use super::show::{self, Fields, Format, Printer, Show, Text};

/// Words and flags of `get`.
#[derive(Args, Debug)]
pub struct GetArgs {
    /// The key, or the first key and the end of a range
    #[arg(value_names = ["KEY", "RANGE_END"], num_args = 0..)]
    words: Vec<OsString>,
    /// Read all keys that begin with KEY
    #[arg(long)]
    prefix: bool,
    /// Read all keys from KEY on
    #[arg(long)]
    from_key: bool,
    /// Ask the cluster (l) or only the member at hand (s)
    #[arg(long, default_value = "l")]
    consistency: String,
    /// Order of the result: ASCEND or DESCEND
    #[arg(long, default_value = "", hide_default_value = true)]
    order: String,
    /// What to order by: CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "", hide_default_value = true)]
    sort_by: String,
    /// Most keys to read; 0: all
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    limit: i64,
    /// Revision to read at; 0: now
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    rev: i64,
    /// Leave the values out
    #[arg(long)]
    keys_only: bool,
    /// Print only how many keys there are (with -w fields)
    #[arg(long)]
    count_only: bool,
    /// Have the answer sent in parts (servers of version 3.7 and later)
    #[arg(long)]
    pub stream: bool,
    /// Leave the keys out (with -w simple)
    #[arg(long)]
    print_value_only: bool,
    /// Skip keys created before this revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    min_create_rev: i64,
    /// Skip keys created after this revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    max_create_rev: i64,
    /// Skip keys last changed before this revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    min_mod_rev: i64,
    /// Skip keys last changed after this revision
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    max_mod_rev: i64,
}

/// Reads keys.
pub async fn run(context: &Context, args: GetArgs) -> Result<(), Failure> {
    let mut printer = context.printer::<RangeResponse>()?;
    printer.value_only = args.print_value_only;
    if args.print_value_only && printer.format != Format::Simple {
        return Err(Failure::arguments("print-value-only is only for `--write-out=simple`"));
    }
    if args.count_only && printer.format != Format::Fields {
        return Err(Failure::arguments("--count-only is only for `--write-out=fields`"));
    }
    let stream = args.stream;
    let request = args.request()?;
    if stream {
        return get_in_parts(context, printer, request).await;
    }
    let answer = context.read(async |from| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
    printer.print(&answer)
}

/// Simple output is printed as it comes; every other form is that of the whole answer.
async fn get_in_parts(context: &Context, printer: Printer, request: RangeRequest) -> Result<(), Failure> {
    let connection = context.connect(0).await?;
    let failed = |status: tonic::Status| connection.failure(&status);
    let mut parts = connection.kv().range_stream(request).await.map_err(failed)?.into_inner();
    let mut whole = RangeResponse::default();
    while let Some(part) = parts.message().await.map_err(failed)? {
        let part = part.range_response.unwrap_or_default();
        if printer.format == Format::Simple {
            printer.print(&part)?;
        } else {
            whole.kvs.extend(part.kvs);
            (whole.header, whole.more, whole.count) = (part.header, part.more, part.count);
        }
    }
    if printer.format == Format::Simple { Ok(()) } else { printer.print(&whole) }
}

impl GetArgs {
    /// The request that the words ask for.
    pub fn request(self) -> Result<RangeRequest, Failure> {
        if self.keys_only && self.count_only {
            return Err(Failure::arguments(
                "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
            ));
        }
        let meaning = Meaning { prefix: self.prefix, from_key: self.from_key };
        let range = KeyRange::parse("get", self.words, meaning)?;
        let sort_target = sort_target(&self.sort_by)?;
        Ok(RangeRequest {
            key: range.key,
            range_end: range.range_end,
            limit: self.limit,
            revision: self.rev,
            sort_order: sort_order(&self.order, sort_target)? as i32,
            sort_target: sort_target as i32,
            serializable: serializable(&self.consistency)?,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_mod_revision: self.min_mod_rev,
            max_mod_revision: self.max_mod_rev,
            min_create_revision: self.min_create_rev,
            max_create_revision: self.max_create_rev,
        })
    }
}

/// Reads `--consistency`.
pub fn serializable(consistency: &str) -> Result<bool, Failure> {
    match consistency {
        "l" => Ok(false),
        "s" => Ok(true),
        other => Err(Failure::feature(format!("unknown consistency flag {other:?}; it takes l or s"))),
    }
}

fn sort_target(name: &str) -> Result<SortTarget, Failure> {
    match name.to_uppercase().as_str() {
        "" | "KEY" => Ok(SortTarget::Key),
        "CREATE" => Ok(SortTarget::Create),
        "MODIFY" => Ok(SortTarget::Mod),
        "VALUE" => Ok(SortTarget::Value),
        "VERSION" => Ok(SortTarget::Version),
        _ => Err(Failure::feature(format!("bad sort target {name}; it is CREATE, KEY, MODIFY, VALUE or VERSION"))),
    }
}

/// Without a direction the server orders upwards.
fn sort_order(name: &str, target: SortTarget) -> Result<SortOrder, Failure> {
    match name.to_uppercase().as_str() {
        "" => Ok(SortOrder::None),
        "ASCEND" if target == SortTarget::Key => Ok(SortOrder::None), // the store's own order: saves the server a sort
        "ASCEND" => Ok(SortOrder::Ascend),
        "DESCEND" => Ok(SortOrder::Descend),
        _ => Err(Failure::feature(format!("bad sort order {name}; it is ASCEND or DESCEND"))),
    }
}

impl Show for RangeResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        self.kvs.iter().for_each(|pair| text.pair(pair));
    }

    fn json(&self) -> Json {
        show::answer(&self.header)
            .with_set("kvs", Json::list(&self.kvs, show::pair))
            .with_set("more", self.more)
            .with_set("count", self.count)
            .into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        self.kvs.iter().for_each(|pair| lines.pair("", pair));
        lines.put("More", self.more);
        lines.put("Count", self.count);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::show::testing::{header, pair, render};
    use super::*;

    #[test]
    fn output() {
        let answer =
            RangeResponse { header: header(6), kvs: vec![pair("a", "1"), pair("b", "")], more: true, count: 3 };
        assert_eq!(render(Format::Simple, &answer), "a\n1\nb\n\n");
        assert_eq!(
            render(Format::Json, &answer),
            "{\"header\":{\"cluster_id\":1,\"member_id\":2,\"revision\":6,\"raft_term\":3},\"kvs\":[\
             {\"key\":\"YQ==\",\"create_revision\":4,\"mod_revision\":5,\"version\":2,\"value\":\"MQ==\"},\
             {\"key\":\"Yg==\",\"create_revision\":4,\"mod_revision\":5,\"version\":2}],\"more\":true,\"count\":3}\n"
        );
        assert!(render(Format::Fields, &answer).ends_with("\"Lease\" : 0\n\"More\" : true\n\"Count\" : 3\n"));
    }

    #[test]
    fn sorting() {
        assert_eq!(sort_order("", sort_target("").unwrap()).unwrap(), SortOrder::None);
        assert_eq!(sort_order("ascend", sort_target("modify").unwrap()).unwrap(), SortOrder::Ascend);
        assert_eq!(sort_order("descend", SortTarget::Key).unwrap(), SortOrder::Descend);
        assert!(sort_target("MOD").is_err());
        assert!(sort_order("UP", SortTarget::Key).is_err());
    }
}
