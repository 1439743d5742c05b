//! Writing into the target: one transaction for each revision of the source, in their order.

use kontiki_api::kv::KeyValue;
use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};

use super::leases::Leases;
use super::spool::Spool;
use crate::ctl::client::Context;
use crate::ctl::failure::Failure;
use crate::progress::Progress;

/// Bytes of keys and values in one transaction, at most; servers refuse requests above 1.5 MiB.
const TXN_BYTES: usize = 1 << 20;

/// How transactions are cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Revisions that may share a transaction.
    pub revisions: usize,
    /// Operations that one may have.
    pub operations: usize,
}

/// What was written.
#[derive(Debug, Default)]
pub struct Written {
    pub keys: u64,
    pub transactions: u64,
    /// Revisions of the source too large for one transaction.
    pub split: u64,
    /// Keys whose lease had ended meanwhile.
    pub expired: u64,
}

/// A transaction under construction.
#[derive(Default)]
struct Txn {
    operations: Vec<RequestOp>,
    bytes: usize,
    revisions: usize,
}

/// Writes what is not settled.
pub async fn write(target: &Context, spool: &Spool, leases: &Leases<'_>, cut: Cut) -> Result<Written, Failure> {
    let mut written = Written::default();
    let mut txn = Txn::default();
    let progress = Progress::of_steps("keys written");
    for revision in spool.revisions() {
        let (mut own_bytes, mut pairs) = (0, Vec::new());
        for index in revision {
            let pair = spool.read(index)?;
            if pair.lease != 0 && !leases.contains(pair.lease) {
                written.expired += 1;
                continue;
            }
            own_bytes += pair.key.len() + pair.value.len();
            pairs.push(pair);
        }
        let full = txn.revisions >= cut.revisions.max(1)
            || txn.operations.len() + pairs.len() > cut.operations
            || txn.bytes + own_bytes > TXN_BYTES;
        if full {
            send(target, &mut txn, &mut written).await?;
        }
        if pairs.len() > cut.operations || own_bytes > TXN_BYTES {
            written.split += 1;
        }
        for pair in pairs {
            let bytes = pair.key.len() + pair.value.len();
            if txn.operations.len() >= cut.operations.max(1) || txn.bytes + bytes > TXN_BYTES {
                send(target, &mut txn, &mut written).await?;
            }
            txn.bytes += bytes;
            txn.operations.push(put(pair));
        }
        txn.revisions += 1;
        progress.reach(written.keys);
    }
    send(target, &mut txn, &mut written).await?;
    Ok(written)
}

async fn send(target: &Context, txn: &mut Txn, written: &mut Written) -> Result<(), Failure> {
    let Txn { operations, .. } = std::mem::take(txn);
    if operations.is_empty() {
        return Ok(());
    }
    written.keys += operations.len() as u64;
    written.transactions += 1;
    apply(target, operations).await
}

/// Runs a transaction without conditions. It is asked again where a member is away: it puts what it puts, and nobody else
/// writes.
pub async fn apply(target: &Context, operations: Vec<RequestOp>) -> Result<(), Failure> {
    let request = TxnRequest { success: operations, ..Default::default() };
    target.read(async |to| to.kv().txn(request.clone()).await.map(|_| ())).await
}

/// Writes a pair.
pub fn put(pair: KeyValue) -> RequestOp {
    let put = PutRequest { key: pair.key, value: pair.value, lease: pair.lease, ..Default::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// Deletes a key.
pub fn delete(key: bytes::Bytes) -> RequestOp {
    RequestOp { request: Some(Request::RequestDeleteRange(DeleteRangeRequest { key, ..Default::default() })) }
}
