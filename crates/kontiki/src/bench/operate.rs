//! What the clients do: one operation of each kind, as calls to a member.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use kontiki_api::rpc::compare::{CompareResult, CompareTarget, TargetUnion};
use kontiki_api::rpc::kv_client::KvClient;
use kontiki_api::rpc::lease_client::LeaseClient;
use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::{
    Compare, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use tonic::Status;

use super::args::Operation;
use super::keys::KeySpace;
use super::pace::Turn;
use super::stamp::Stamps;
use super::tally::Kind;
use crate::ctl::client::{Connection, Link};
use crate::ctl::failure::describe;

/// Seconds that a lease lives if a run ends before it is revoked.
const TTL: i64 = 60;

/// A finished operation.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// What it was.
    pub kind: Kind,
    /// Whether it was a transaction that found its key changed.
    pub conflict: bool,
}

impl Done {
    fn of(kind: Kind) -> Done {
        Done { kind, conflict: false }
    }
}

/// Does operations, one after the other.
pub trait Operate: Send + 'static {
    /// Does one, which counts since then. An error is the text to count.
    fn operate(&mut self, turn: Turn, since: Instant) -> impl Future<Output = Result<Done, String>> + Send;
}

/// What all clients of a run have in common.
#[derive(Debug)]
pub struct Work {
    /// What they do.
    pub operation: Operation,
    /// On which keys.
    pub keys: KeySpace,
    /// What they write.
    pub value: Bytes,
    /// Keys in the answer of a range.
    pub limit: u32,
    /// Reads of a hundred operations of a mix.
    pub reads: u8,
    /// What watchers read.
    pub stamps: Stamps,
}

/// One client.
pub struct Client {
    work: Arc<Work>,
    connection: Arc<Connection>,
    kv: KvClient<Link>,
    lease: LeaseClient<Link>,
}

impl Client {
    /// A client that shares a connection.
    pub fn new(work: Arc<Work>, connection: Arc<Connection>) -> Client {
        let (kv, lease) = (connection.kv(), connection.lease());
        Client { work, connection, kv, lease }
    }

    async fn call(&mut self, turn: Turn, since: Instant) -> Result<Done, Status> {
        let key = self.work.keys.of_turn(turn.number);
        match self.work.operation {
            Operation::Put => self.put(key, self.work.value.clone(), 0).await,
            Operation::Watch => {
                let value = self.work.stamps.stamp(&self.work.value, since, turn.measured);
                self.put(key, value, 0).await
            }
            Operation::Get => self.read(RangeRequest { key, ..Default::default() }).await,
            Operation::Sget => self.read(RangeRequest { key, serializable: true, ..Default::default() }).await,
            Operation::Range => {
                let (range_end, limit) = (self.work.keys.bounds().1, i64::from(self.work.limit));
                self.read(RangeRequest { key, range_end, limit, ..Default::default() }).await
            }
            Operation::Cas => self.compare_and_set(key).await,
            Operation::Mixed if self.work.keys.reads(turn.number, self.work.reads) => {
                self.read(RangeRequest { key, ..Default::default() }).await
            }
            Operation::Mixed => self.put(key, self.work.value.clone(), 0).await,
            Operation::Lease => self.lease(key).await,
        }
    }

    async fn put(&mut self, key: Bytes, value: Bytes, lease: i64) -> Result<Done, Status> {
        self.kv.put(PutRequest { key, value, lease, ..Default::default() }).await?;
        Ok(Done::of(Kind::Write))
    }

    async fn read(&mut self, request: RangeRequest) -> Result<Done, Status> {
        self.kv.range(request).await?;
        Ok(Done::of(Kind::Read))
    }

    async fn compare_and_set(&mut self, key: Bytes) -> Result<Done, Status> {
        let found = self.kv.range(RangeRequest { key: key.clone(), ..Default::default() }).await?.into_inner();
        let revision = found.kvs.first().map_or(0, |pair| pair.mod_revision);
        let unchanged = Compare {
            result: CompareResult::Equal as i32,
            target: CompareTarget::Mod as i32,
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(revision)),
            ..Default::default()
        };
        let put = PutRequest { key, value: self.work.value.clone(), ..Default::default() };
        let put = RequestOp { request: Some(Request::RequestPut(put)) };
        let request = TxnRequest { compare: vec![unchanged], success: vec![put], failure: Vec::new() };
        let answer = self.kv.txn(request).await?.into_inner();
        Ok(Done { kind: Kind::Write, conflict: !answer.succeeded })
    }

    async fn lease(&mut self, key: Bytes) -> Result<Done, Status> {
        let id = self.lease.lease_grant(LeaseGrantRequest { ttl: TTL, id: 0 }).await?.into_inner().id;
        let put = self.put(key, self.work.value.clone(), id).await;
        self.lease.lease_revoke(LeaseRevokeRequest { id }).await?;
        put
    }
}

impl Operate for Client {
    async fn operate(&mut self, turn: Turn, since: Instant) -> Result<Done, String> {
        let outcome = self.call(turn, since).await;
        outcome.map_err(|status| describe(&status, &self.connection.endpoint))
    }
}
