//! `make-mirror`: copies a range of keys to another cluster and then every change of it, until interrupted.

use std::cell::Cell;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clap::Args;
use clap::builder::BoolishValueParser;
use kontiki_api::kv::Event;
use kontiki_api::kv::event::EventType;
use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::{DeleteRangeRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest};
use tokio::time::interval;

use super::changes::{Change, Changes};
use super::client::Context;
use super::failure::Failure;
use super::keys::KeyRange;
use super::session::asked_to_end;
use super::settings::{Login, TlsSettings};
use super::show::print;

/// Keys asked for at a time.
const PAGE: i64 = 1000;
/// How often the number of copied keys is printed.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// Words and flags of `make-mirror`.
#[derive(Args, Debug)]
pub struct MirrorArgs {
    /// Where to copy to: addresses of members, separated by commas
    #[arg(num_args = 0..)]
    destination: Vec<String>,
    /// Only keys that begin so
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// Revision to begin at; 0: now
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    rev: i64,
    /// Begin the copies' keys with this instead of the prefix
    #[arg(long, default_value = "", hide_default_value = true)]
    dest_prefix: String,
    /// Cut the prefix off the copies' keys
    #[arg(long)]
    no_dest_prefix: bool,
    /// Most changes to make in one transaction
    #[arg(long, default_value_t = 128)]
    max_txn_ops: usize,
    /// User of the destination
    #[arg(long)]
    dest_user: Option<String>,
    /// That user's password
    #[arg(long)]
    dest_password: Option<String>,
    /// Certificate for the destination
    #[arg(long)]
    dest_cert: Option<String>,
    /// Its private key
    #[arg(long)]
    dest_key: Option<String>,
    /// Certificates of the authorities of the destination
    #[arg(long)]
    dest_cacert: Option<String>,
    /// Speak plainly with the destination where neither http nor https is said
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set, value_name = "BOOL", hide_possible_values = true)]
    dest_insecure_transport: bool,
}

/// Copies until interrupted.
pub async fn run(context: &Context, args: MirrorArgs) -> Result<(), Failure> {
    let [destination] = args.destination.as_slice() else {
        return Err(Failure::arguments("make-mirror takes one destination argument"));
    };
    if args.no_dest_prefix && !args.dest_prefix.is_empty() {
        return Err(Failure::arguments(
            "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
        ));
    }
    let login = Login { user: args.dest_user.clone(), password: args.dest_password.clone(), auth_jwt_token: None };
    let tls = TlsSettings {
        cacert: args.dest_cacert.clone(),
        cert: args.dest_cert.clone(),
        key: args.dest_key.clone(),
        insecure_transport: args.dest_insecure_transport,
        insecure_skip_tls_verify: false,
    };
    let endpoints = destination.split(',').map(str::to_string).collect();
    let target = Context::new(context.settings.toward(endpoints, login, tls))?;
    let mirror = Mirror { source: context, target, args, copied: Cell::new(0) };
    tokio::select! {
        outcome = mirror.copy() => outcome,
        failure = mirror.report() => Err(failure),
        () = asked_to_end() => Ok(()),
    }
}

struct Mirror<'a> {
    source: &'a Context,
    target: Context,
    args: MirrorArgs,
    copied: Cell<u64>,
}

impl Mirror<'_> {
    async fn report(&self) -> Failure {
        let mut ticks = interval(REPORT_EVERY);
        ticks.tick().await; // the first is at once
        loop {
            ticks.tick().await;
            if let Err(failure) = print(format!("{}\n", self.copied.get()).as_bytes()) {
                return failure;
            }
        }
    }

    async fn copy(&self) -> Result<(), Failure> {
        let range = KeyRange::prefix(self.args.prefix.clone().into());
        let revision = self.base(&range).await?;
        let mut changes = Changes::from(self.source, range, revision + 1);
        loop {
            if let Change::Revision(_, events) = changes.next().await? {
                for part in events.chunks(self.args.max_txn_ops.max(1)) {
                    self.apply(part).await?;
                }
            }
        }
    }

    /// Copies what is there; returns the revision that it was read at.
    async fn base(&self, range: &KeyRange) -> Result<i64, Failure> {
        let mut request = RangeRequest {
            key: range.key.clone(),
            range_end: range.range_end.clone(),
            revision: self.args.rev,
            limit: PAGE,
            ..Default::default()
        };
        loop {
            let page: RangeResponse =
                self.source.read(async |from| Ok(from.kv().range(request.clone()).await?.into_inner())).await?;
            if request.revision == 0 {
                request.revision = page.header.unwrap_or_default().revision;
            }
            for pair in &page.kvs {
                self.put(self.key(&pair.key), pair.value.clone()).await?;
            }
            match page.kvs.last() {
                Some(last) if page.more => request.key = behind(&last.key),
                _ => return Ok(request.revision),
            }
        }
    }

    async fn put(&self, key: Bytes, value: Bytes) -> Result<(), Failure> {
        let request = PutRequest { key, value, ..Default::default() };
        // Asked again where a member is away: a copy may be made twice.
        self.target.read(async |to| to.kv().put(request.clone()).await.map(|_| ())).await?;
        self.copied.set(self.copied.get() + 1);
        Ok(())
    }

    async fn apply(&self, events: &[Event]) -> Result<(), Failure> {
        let success = events.iter().map(|event| self.operation(event)).collect();
        let request = TxnRequest { success, ..Default::default() };
        self.target.read(async |to| to.kv().txn(request.clone()).await.map(|_| ())).await?;
        self.copied.set(self.copied.get() + events.len() as u64);
        Ok(())
    }

    fn operation(&self, event: &Event) -> RequestOp {
        let pair = event.kv.clone().unwrap_or_default();
        let key = self.key(&pair.key);
        let request = match event.r#type() {
            EventType::Put => Request::RequestPut(PutRequest { key, value: pair.value, ..Default::default() }),
            EventType::Delete => Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() }),
        };
        RequestOp { request: Some(request) }
    }

    fn key(&self, key: &Bytes) -> Bytes {
        rename(key, &self.args.prefix, &self.args.dest_prefix, self.args.no_dest_prefix)
    }
}

/// The copy's key.
fn rename(key: &Bytes, prefix: &str, new_prefix: &str, cut: bool) -> Bytes {
    if new_prefix.is_empty() && !cut {
        return key.clone();
    }
    let mut renamed = BytesMut::from(new_prefix.as_bytes());
    renamed.extend_from_slice(key.strip_prefix(prefix.as_bytes()).unwrap_or(key));
    renamed.freeze()
}

/// The first key behind this one.
pub fn behind(key: &[u8]) -> Bytes {
    let mut next = BytesMut::from(key);
    next.extend_from_slice(b"\0");
    next.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_copies() {
        let key = Bytes::from_static(b"a/b");
        assert_eq!(rename(&key, "a/", "", false), "a/b");
        assert_eq!(rename(&key, "a/", "c/", false), "c/b");
        assert_eq!(rename(&key, "a/", "", true), "b");
        assert_eq!(behind(b"a"), "a\0");
    }
}
