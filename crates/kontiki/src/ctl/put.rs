//! `put`.

use std::ffi::OsString;
use std::io::Read;

use bytes::Bytes;
use clap::Args;
use kontiki_api::rpc::{PutRequest, PutResponse};
use prost::Message;

use super::client::Context;
use super::failure::Failure;
use super::json::Json;
use super::keys::bytes;
use super::lease::parse_lease;
use super::show::{self, Fields, Show, Text};

/// Words and flags of `put`.
#[derive(Args, Debug)]
pub struct PutArgs {
    /// The key and its value; without a value it is read from standard input
    #[arg(value_names = ["KEY", "VALUE"], num_args = 0..)]
    words: Vec<OsString>,
    /// Lease (in hexadecimal) to hang the key on
    #[arg(long, default_value = "0", hide_default_value = true)]
    lease: String,
    /// Print the pair as it was before
    #[arg(long)]
    prev_kv: bool,
    /// Keep the stored value and change only the lease
    #[arg(long)]
    ignore_value: bool,
    /// Keep the stored lease and change only the value
    #[arg(long)]
    ignore_lease: bool,
}

/// Writes one key.
pub async fn run(context: &Context, args: PutArgs) -> Result<(), Failure> {
    let printer = context.printer::<PutResponse>()?;
    let request = args.request(Some(&mut std::io::stdin()))?;
    let answer = context.write(async |to| Ok(to.kv().put(request.clone()).await?.into_inner())).await?;
    printer.print(&answer)
}

impl PutArgs {
    /// The request that the words ask for. In a transaction there is no `input` to read the value from.
    pub fn request(self, input: Option<&mut dyn Read>) -> Result<PutRequest, Failure> {
        let lease = parse_lease(&self.lease, "bad lease ID")?;
        let mut words = self.words.into_iter().map(bytes);
        let (key, value) = match (words.next(), words.next(), words.next()) {
            (Some(key), None, None) if self.ignore_value => (key, Bytes::new()),
            (Some(_), Some(_), None) if self.ignore_value => {
                return Err(Failure::arguments("put command needs only 1 argument when 'ignore-value' is set"));
            }
            (Some(key), Some(value), None) => (key, value),
            (key, None, None) => match (key, input) {
                (Some(key), Some(input)) => (key, read_value(input)?),
                _ => return Err(wrong_count()),
            },
            _ => return Err(wrong_count()),
        };
        Ok(PutRequest {
            key,
            value,
            lease,
            prev_kv: self.prev_kv,
            ignore_value: self.ignore_value,
            ignore_lease: self.ignore_lease,
        })
    }
}

fn wrong_count() -> Failure {
    Failure::arguments("put command needs 1 argument and input from stdin or 2 arguments; quote a value with blanks")
}

fn read_value(input: &mut dyn Read) -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    input.read_to_end(&mut value).map_err(|error| Failure::io(format!("cannot read the value: {error}")))?;
    if value.is_empty() {
        return Err(Failure::arguments(
            "put command needs 1 argument and input from stdin or 2 arguments: the input is empty; for an empty value \
             write put KEY ''",
        ));
    }
    Ok(value.into())
}

impl Show for PutResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line("OK");
        if let Some(pair) = &self.prev_kv {
            text.pair(pair);
        }
    }

    fn json(&self) -> Json {
        show::answer(&self.header).with_set("prev_kv", self.prev_kv.as_ref().map(show::pair)).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        if let Some(pair) = &self.prev_kv {
            lines.pair("Prev", pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::Format;
    use super::super::show::testing::{header, pair, render};
    use super::*;

    #[test]
    fn output() {
        let answer = PutResponse { header: header(6), prev_kv: Some(pair("k", "v")) };
        assert_eq!(render(Format::Simple, &answer), "OK\nk\nv\n");
        assert_eq!(
            render(Format::Json, &answer),
            "{\"header\":{\"cluster_id\":1,\"member_id\":2,\"revision\":6,\"raft_term\":3},\
             \"prev_kv\":{\"key\":\"aw==\",\"create_revision\":4,\"mod_revision\":5,\"version\":2,\"value\":\"dg==\"}}\n"
        );
        assert_eq!(
            render(Format::Fields, &answer),
            "\"ClusterID\" : 1\n\"MemberID\" : 2\n\"Revision\" : 6\n\"RaftTerm\" : 3\n\"PrevKey\" : \"k\"\n\
             \"PrevCreateRevision\" : 4\n\"PrevModRevision\" : 5\n\"PrevVersion\" : 2\n\"PrevValue\" : \"v\"\n\"PrevLease\" : 0\n"
        );
    }
}
