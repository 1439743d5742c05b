//! `txn`: three blocks of lines from standard input (conditions, what to do when they hold, what to do when not), each
//! closed by an empty line.

use std::ffi::OsString;
use std::io::BufRead;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, Parser};
use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::response_op::Response;
use kontiki_api::rpc::{RequestOp, ResponseOp, TxnRequest, TxnResponse};
use prost::Message;

use super::client::Context;
use super::failure::Failure;
use super::json::{Json, Object};
use super::show::{self, Fields, Show, Text};
use super::{compare, del, get, goflags, put, words};

/// Flags of `txn`.
#[derive(Args, Debug)]
pub struct TxnArgs {
    /// Say which block is expected next
    #[arg(short, long)]
    interactive: bool,
}

/// Runs a transaction.
pub async fn run(context: &Context, args: TxnArgs) -> Result<(), Failure> {
    let printer = context.printer::<TxnResponse>()?;
    let prompt = |text: &str| if args.interactive { show::print(text.as_bytes()) } else { Ok(()) };
    let request = read(&mut std::io::stdin().lock(), prompt)?;
    let answer = context.write(async |to| Ok(to.kv().txn(request.clone()).await?.into_inner())).await?;
    printer.print(&answer)
}

fn read(input: &mut dyn BufRead, prompt: impl Fn(&str) -> Result<(), Failure>) -> Result<TxnRequest, Failure> {
    prompt("compares:\n")?;
    let compare = block(input, compare::parse)?;
    prompt("success requests (get, put, del):\n")?;
    let success = block(input, operation)?;
    prompt("failure requests (get, put, del):\n")?;
    let failure = block(input, operation)?;
    Ok(TxnRequest { compare, success, failure })
}

/// Reads lines up to an empty one. Input that ends earlier is refused: half a transaction must not run.
fn block<T>(input: &mut dyn BufRead, parse: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    let mut items = Vec::new();
    loop {
        let mut line = String::new();
        let length = input.read_line(&mut line);
        let length = length.map_err(|error| Failure::input(format!("cannot read the transaction: {error}")))?;
        if length == 0 {
            return Err(Failure::input(
                "EOF: the transaction is cut short; an empty line closes each of its three blocks",
            ));
        }
        match line.trim() {
            "" => return Ok(items),
            line => items.push(parse(line)?),
        }
    }
}

/// The commands that a transaction is made of.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true, disable_help_subcommand = true)]
enum Operation {
    Get(get::GetArgs),
    Put(put::PutArgs),
    Del(del::DelArgs),
}

fn operation(line: &str) -> Result<RequestOp, Failure> {
    let invalid = |why: String| Failure::input(format!("invalid txn request: {line} ({why})"));
    let words = words::split(line).map_err(invalid)?.into_iter().map(OsString::from_vec);
    let command = goflags::teach_switches(<Operation as clap::CommandFactory>::command());
    let operation = command
        .try_get_matches_from(words)
        .and_then(|matches| <Operation as clap::FromArgMatches>::from_arg_matches(&matches))
        .map_err(|error| invalid(first_line(&error.to_string())))?;
    let request = match operation {
        Operation::Get(args) => Request::RequestRange(args.request()?),
        Operation::Put(args) => Request::RequestPut(args.request(None)?),
        Operation::Del(args) => Request::RequestDeleteRange(args.request()?),
    };
    Ok(RequestOp { request: Some(request) })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
}

impl Show for TxnResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(if self.succeeded { "SUCCESS" } else { "FAILURE" });
        for answer in self.responses.iter().filter_map(|answer| answer.response.as_ref()) {
            text.line("");
            match answer {
                Response::ResponseRange(answer) => answer.simple(text),
                Response::ResponsePut(answer) => answer.simple(text),
                Response::ResponseDeleteRange(answer) => answer.simple(text),
                Response::ResponseTxn(answer) => answer.simple(text),
            }
        }
    }

    fn json(&self) -> Json {
        show::answer(&self.header)
            .with_set("succeeded", self.succeeded)
            .with_set("responses", Json::list(&self.responses, answer))
            .into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        lines.put("Succeeded", self.succeeded);
        for answer in self.responses.iter().filter_map(|answer| answer.response.as_ref()) {
            match answer {
                Response::ResponseRange(answer) => answer.fields(lines),
                Response::ResponsePut(answer) => answer.fields(lines),
                Response::ResponseDeleteRange(answer) => answer.fields(lines),
                Response::ResponseTxn(answer) => answer.fields(lines),
            }
        }
    }
}

/// One operation's answer, wrapped twice as Go wraps the choice of a oneof.
fn answer(answer: &ResponseOp) -> Object {
    let choice = answer.response.as_ref().map(|answer| match answer {
        Response::ResponseRange(answer) => Object::new().with("response_range", answer.json()),
        Response::ResponsePut(answer) => Object::new().with("response_put", answer.json()),
        Response::ResponseDeleteRange(answer) => Object::new().with("response_delete_range", answer.json()),
        Response::ResponseTxn(answer) => Object::new().with("response_txn", answer.json()),
    });
    Object::new().with("Response", choice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kontiki_api::rpc::{DeleteRangeResponse, PutResponse, RangeResponse};

    use super::super::show::Format;
    use super::super::show::testing::{header, pair, render};
    use super::*;

    fn parse(text: &str) -> Result<TxnRequest, String> {
        read(&mut text.as_bytes(), |_| Ok(())).map_err(|failure| failure.to_string())
    }

    #[test]
    fn three_blocks() {
        let request = parse(
            "mod(\"a\") = \"0\"\nval(\"b\") > \"1\"\n\nput a \"x y\"\nget b --prefix=true --limit 2\n \ndel c d\n\n",
        )
        .unwrap();
        assert_eq!(request.compare.len(), 2);
        let Some(Request::RequestPut(put)) = &request.success[0].request else { panic!() };
        assert_eq!((&put.key[..], &put.value[..]), (&b"a"[..], &b"x y"[..]));
        let Some(Request::RequestRange(get)) = &request.success[1].request else { panic!() };
        assert_eq!((&get.key[..], &get.range_end[..], get.limit), (&b"b"[..], &b"c"[..], 2));
        let Some(Request::RequestDeleteRange(del)) = &request.failure[0].request else { panic!() };
        assert_eq!((&del.key[..], &del.range_end[..]), (&b"c"[..], &b"d"[..]));
    }

    #[test]
    fn complaints() {
        for text in ["", "\n", "\n\n", "\n\nput a b\n", "mod(\"a\") = \"0\""] {
            assert!(parse(text).unwrap_err().starts_with("EOF"), "{text:?}");
        }
        assert!(parse("\nfrob a\n\n\n").unwrap_err().starts_with("invalid txn request: frob a"));
        assert!(parse("\nget a --bogus\n\n\n").unwrap_err().contains("--bogus"));
        assert!(parse("\nput \"a\n\n\n").unwrap_err().contains("not closed"));
        assert!(parse("\nput a\n\n\n").unwrap_err().starts_with("put command needs"));
    }

    #[test]
    fn output() {
        let range = RangeResponse { header: None, kvs: vec![pair("a", "1")], more: false, count: 1 };
        let answers = [
            Response::ResponseRange(range),
            Response::ResponsePut(PutResponse::default()),
            Response::ResponseDeleteRange(DeleteRangeResponse { deleted: 2, ..Default::default() }),
            Response::ResponseTxn(TxnResponse::default()),
        ];
        let responses = answers.map(|answer| ResponseOp { response: Some(answer) }).to_vec();
        let answer = TxnResponse { header: header(6), succeeded: true, responses };
        assert_eq!(render(Format::Simple, &answer), "SUCCESS\n\na\n1\n\nOK\n\n2\n\nFAILURE\n");
        assert_eq!(
            render(Format::Json, &answer),
            "{\"header\":{\"cluster_id\":1,\"member_id\":2,\"revision\":6,\"raft_term\":3},\"succeeded\":true,\"responses\":[\
             {\"Response\":{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":4,\"mod_revision\":5,\
             \"version\":2,\"value\":\"MQ==\"}],\"count\":1}}},{\"Response\":{\"response_put\":{}}},\
             {\"Response\":{\"response_delete_range\":{\"deleted\":2}}},{\"Response\":{\"response_txn\":{}}}]}\n"
        );
    }
}
