//! `KV.Txn`.

use kontiki_api::rpc;
use kontiki_kv::{Command, Reply, TxnReply, check};
use tonic::Status;

use crate::front::Front;
use crate::services::propose::{mismatch, propose};
use crate::{convert, errors};

/// Reads and writes atomically. What only reads is answered without a log entry.
pub(crate) async fn txn(front: &Front, request: rpc::TxnRequest) -> Result<rpc::TxnResponse, Status> {
    let reads = Reads::of(&request);
    let request = convert::txn_request(request, front.settings.txn_ops_max).map_err(errors::operation)?;
    check(&request, front.settings.txn_ops_max).map_err(errors::operation)?;
    if reads != Reads::No {
        if reads == Reads::Linearizable {
            front.store.read_barrier().await.map_err(errors::store)?;
        } else {
            front.store.check_state().map_err(errors::store)?;
        }
        let reply = front.store.reader().txn_read(&request).map_err(|failure| front.read_failed(failure))?;
        return Ok(response(front.header(reply.revision), reply));
    }
    let applied = propose(front, Command::Txn(request)).await?;
    let header = front.header_at(applied.revision, applied.term);
    match applied.reply {
        Reply::Txn(reply) => Ok(response(header, reply)),
        other => mismatch(&other),
    }
}

fn response(header: rpc::ResponseHeader, reply: TxnReply) -> rpc::TxnResponse {
    convert::txn_response(header, reply)
}

/// Whether a transaction needs the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reads {
    /// It writes, or holds a transaction that might.
    No,
    /// It only reads, and at least one read must be current.
    Linearizable,
    /// It only reads, and the client takes what this member has.
    Serializable,
}

impl Reads {
    /// Only ranges in both branches: no entry. A transaction within goes through the log even where it only reads, and one
    /// without any operation reads nothing that could be stale.
    fn of(request: &rpc::TxnRequest) -> Reads {
        let mut serializable = true;
        for op in request.success.iter().chain(&request.failure) {
            match &op.request {
                Some(rpc::request_op::Request::RequestRange(range)) => serializable &= range.serializable,
                _ => return Reads::No,
            }
        }
        if serializable { Reads::Serializable } else { Reads::Linearizable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_api::rpc::request_op::Request;

    fn range(serializable: bool) -> rpc::RequestOp {
        let range = rpc::RangeRequest { serializable, ..rpc::RangeRequest::default() };
        rpc::RequestOp { request: Some(Request::RequestRange(range)) }
    }

    #[test]
    fn only_ranges_need_no_entry() {
        let txn = |success, failure| Reads::of(&rpc::TxnRequest { compare: Vec::new(), success, failure });
        assert_eq!(txn(vec![range(true)], vec![range(true)]), Reads::Serializable);
        assert_eq!(txn(vec![range(true)], vec![range(false)]), Reads::Linearizable);
        let put = rpc::RequestOp { request: Some(Request::RequestPut(rpc::PutRequest::default())) };
        assert_eq!(txn(vec![range(true)], vec![put]), Reads::No);
        let nested = rpc::RequestOp { request: Some(Request::RequestTxn(rpc::TxnRequest::default())) };
        assert_eq!(txn(vec![nested], Vec::new()), Reads::No);
    }
}
