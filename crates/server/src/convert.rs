//! From the wire's messages to the store's requests, and from its replies back. Byte fields move, nothing is copied.

use bytes::Bytes;
use kontiki_api::rpc::{self, compare, request_op, response_op};
use kontiki_api::{kv as mvccpb, rpc::ResponseHeader};
use kontiki_kv as kv;

/// A header that shows only the revision: those of answers within a transaction.
pub(crate) fn revision_header(revision: i64) -> ResponseHeader {
    ResponseHeader { revision, ..ResponseHeader::default() }
}

pub(crate) fn key_range(key: Bytes, range_end: Bytes) -> kv::KeyRange {
    kv::KeyRange { key, range_end }
}

/// # Errors
/// Where the sort order or target does not exist, or there is no key: that is noticed first.
pub(crate) fn range_request(request: rpc::RangeRequest) -> Result<kv::RangeRequest, kv::OperationError> {
    if request.key.is_empty() {
        return Err(kv::OperationError::EmptyKey);
    }
    Ok(kv::RangeRequest {
        sort_order: match request.sort_order {
            0 => kv::SortOrder::None,
            1 => kv::SortOrder::Ascend,
            2 => kv::SortOrder::Descend,
            _ => return Err(kv::OperationError::InvalidSortOption),
        },
        sort_target: match request.sort_target {
            0 => kv::SortTarget::Key,
            1 => kv::SortTarget::Version,
            2 => kv::SortTarget::Create,
            3 => kv::SortTarget::Mod,
            4 => kv::SortTarget::Value,
            _ => return Err(kv::OperationError::InvalidSortOption),
        },
        range: key_range(request.key, request.range_end),
        limit: request.limit,
        revision: request.revision,
        keys_only: request.keys_only,
        count_only: request.count_only,
        min_mod_revision: request.min_mod_revision,
        max_mod_revision: request.max_mod_revision,
        min_create_revision: request.min_create_revision,
        max_create_revision: request.max_create_revision,
    })
}

pub(crate) fn put_request(request: rpc::PutRequest) -> kv::PutRequest {
    kv::PutRequest {
        key: request.key,
        value: request.value,
        lease: request.lease,
        prev_kv: request.prev_kv,
        ignore_value: request.ignore_value,
        ignore_lease: request.ignore_lease,
    }
}

pub(crate) fn delete_range_request(request: rpc::DeleteRangeRequest) -> kv::DeleteRangeRequest {
    kv::DeleteRangeRequest { range: key_range(request.key, request.range_end), prev_kv: request.prev_kv }
}

/// Reads a transaction, and refuses it for what etcd would refuse it first: level by level the number of operations, the
/// conditions' keys, then each operation in turn.
///
/// # Errors
/// `TooManyOps`, `KeyNotFound` for an operation without content, and what each operation may be refused for.
pub(crate) fn txn_request(
    request: rpc::TxnRequest,
    operations_max: usize,
) -> Result<kv::TxnRequest, kv::OperationError> {
    let largest = request.compare.len().max(request.success.len()).max(request.failure.len());
    let left = operations_max.checked_sub(largest).ok_or(kv::OperationError::TooManyOps)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(kv::OperationError::EmptyKey);
    }
    let branch = |ops: Vec<rpc::RequestOp>| ops.into_iter().map(|op| request_op(op, left)).collect::<Result<_, _>>();
    Ok(kv::TxnRequest {
        compare: request.compare.into_iter().map(compare).collect(),
        success: branch(request.success)?,
        failure: branch(request.failure)?,
    })
}

fn request_op(op: rpc::RequestOp, operations_max: usize) -> Result<kv::RequestOp, kv::OperationError> {
    use request_op::Request;
    Ok(match op.request.ok_or(kv::OperationError::KeyNotFound)? {
        Request::RequestRange(request) => kv::RequestOp::Range(range_request(request)?),
        Request::RequestPut(request) => {
            let request = put_request(request);
            kv::check_put(&request)?;
            kv::RequestOp::Put(request)
        }
        Request::RequestDeleteRange(request) => {
            let request = delete_range_request(request);
            kv::check_delete_range(&request)?;
            kv::RequestOp::DeleteRange(request)
        }
        Request::RequestTxn(request) => kv::RequestOp::Txn(txn_request(request, operations_max)?),
    })
}

/// What is compared with is zero, or empty, where it is not given or given for another target. A relation or a target whose
/// number etcd does not know is no error there, and so none here: such a relation always holds (of values, where there is one),
/// and what such a target looks at counts as equal.
fn compare(compare: rpc::Compare) -> kv::Compare {
    use compare::TargetUnion as Given;
    let known = match compare.result {
        0 => Some(kv::CompareResult::Equal),
        1 => Some(kv::CompareResult::Greater),
        2 => Some(kv::CompareResult::Less),
        3 => Some(kv::CompareResult::NotEqual),
        _ => None,
    };
    let target = match (compare.target, compare.target_union) {
        (0, Some(Given::Version(version))) => Some(kv::CompareTarget::Version(version)),
        (0, _) => Some(kv::CompareTarget::Version(0)),
        (1, Some(Given::CreateRevision(revision))) => Some(kv::CompareTarget::CreateRevision(revision)),
        (1, _) => Some(kv::CompareTarget::CreateRevision(0)),
        (2, Some(Given::ModRevision(revision))) => Some(kv::CompareTarget::ModRevision(revision)),
        (2, _) => Some(kv::CompareTarget::ModRevision(0)),
        (3, Some(Given::Value(value))) => Some(kv::CompareTarget::Value(value)),
        (3, _) => Some(kv::CompareTarget::Value(Bytes::new())),
        (4, Some(Given::Lease(lease))) => Some(kv::CompareTarget::Lease(lease)),
        (4, _) => Some(kv::CompareTarget::Lease(0)),
        _ => None,
    };
    // Versions are never negative: what is above −1 always holds, what is below it never does.
    let (result, target) = match (known, target) {
        (Some(result), Some(target)) => (result, target),
        (None, Some(kv::CompareTarget::Value(_))) => (kv::CompareResult::Greater, kv::CompareTarget::Version(0)),
        (None | Some(kv::CompareResult::Equal), _) => (kv::CompareResult::Greater, kv::CompareTarget::Version(-1)),
        (Some(_), None) => (kv::CompareResult::Less, kv::CompareTarget::Version(-1)),
    };
    kv::Compare { range: key_range(compare.key, compare.range_end), result, target }
}

pub(crate) fn key_value(kv: kv::KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}

pub(crate) fn key_values(kvs: Vec<kv::KeyValue>) -> Vec<mvccpb::KeyValue> {
    kvs.into_iter().map(key_value).collect()
}

pub(crate) fn range_response(header: ResponseHeader, result: kv::RangeResult) -> rpc::RangeResponse {
    rpc::RangeResponse { header: Some(header), kvs: key_values(result.kvs), more: result.more, count: result.count }
}

pub(crate) fn put_response(header: ResponseHeader, prev_kv: Option<kv::KeyValue>) -> rpc::PutResponse {
    rpc::PutResponse { header: Some(header), prev_kv: prev_kv.map(key_value) }
}

pub(crate) fn delete_range_response(header: ResponseHeader, reply: kv::DeleteRangeReply) -> rpc::DeleteRangeResponse {
    rpc::DeleteRangeResponse { header: Some(header), deleted: reply.deleted, prev_kvs: key_values(reply.prev_kvs) }
}

pub(crate) fn txn_response(header: ResponseHeader, reply: kv::TxnReply) -> rpc::TxnResponse {
    rpc::TxnResponse {
        header: Some(header),
        succeeded: reply.succeeded,
        responses: reply.responses.into_iter().map(response_op).collect(),
    }
}

fn response_op(response: kv::ResponseOp) -> rpc::ResponseOp {
    use response_op::Response;
    let response = match response {
        kv::ResponseOp::Range(result, revision) => {
            Response::ResponseRange(range_response(revision_header(revision), result))
        }
        kv::ResponseOp::Put(prev_kv, revision) => {
            Response::ResponsePut(put_response(revision_header(revision), prev_kv))
        }
        kv::ResponseOp::DeleteRange(reply, revision) => {
            Response::ResponseDeleteRange(delete_range_response(revision_header(revision), reply))
        }
        // etcd leaves the header of a transaction within empty.
        kv::ResponseOp::Txn(reply) => Response::ResponseTxn(txn_response(ResponseHeader::default(), reply)),
    };
    rpc::ResponseOp { response: Some(response) }
}

/// An event, with what was there before only where it was asked for.
pub(crate) fn event(event: &kv::Event, prev_kv: bool) -> mvccpb::Event {
    mvccpb::Event {
        r#type: event_type(event.kind),
        kv: Some(key_value(event.kv.clone())),
        prev_kv: event.prev_kv.clone().filter(|_| prev_kv).map(key_value),
    }
}

/// The number of a kind of event.
pub(crate) fn event_type(kind: kv::EventKind) -> i32 {
    match kind {
        kv::EventKind::Put => mvccpb::event::EventType::Put as i32,
        kv::EventKind::Delete => mvccpb::event::EventType::Delete as i32,
    }
}

pub(crate) fn member(member: kv::Member) -> rpc::Member {
    rpc::Member {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_urls,
        client_urls: member.client_urls,
        is_learner: member.is_learner,
    }
}

/// The number of a kind of alarm.
pub(crate) fn alarm_type(alarm: kv::Alarm) -> i32 {
    match alarm {
        kv::Alarm::NoSpace => rpc::AlarmType::Nospace as i32,
        kv::Alarm::Corrupt => rpc::AlarmType::Corrupt as i32,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn enums_out_of_range_are_refused() {
        let sorted = |sort_order, sort_target| rpc::RangeRequest {
            key: "k".into(),
            sort_order,
            sort_target,
            ..rpc::RangeRequest::default()
        };
        assert_eq!(range_request(sorted(3, 0)), Err(kv::OperationError::InvalidSortOption));
        assert_eq!(range_request(sorted(0, 5)), Err(kv::OperationError::InvalidSortOption));
        assert_eq!(range_request(sorted(2, 4)).unwrap().sort_order, kv::SortOrder::Descend);
    }

    #[test]
    fn a_compare_with_unknown_numbers_is_what_etcd_makes_of_it() {
        let made = |result, target| {
            let compare = compare(rpc::Compare { result, target, ..rpc::Compare::default() });
            (compare.result, compare.target)
        };
        let always = (kv::CompareResult::Greater, kv::CompareTarget::Version(-1));
        let never = (kv::CompareResult::Less, kv::CompareTarget::Version(-1));
        let exists = (kv::CompareResult::Greater, kv::CompareTarget::Version(0));
        assert_eq!(made(4, 0), always);
        assert_eq!(made(-1, 3), exists);
        assert_eq!(
            (made(0, 5), made(1, 5), made(2, 5), made(3, 5)),
            (always.clone(), never.clone(), never.clone(), never)
        );
        assert_eq!(made(9, 9), always);
    }

    #[test]
    fn a_transaction_is_refused_for_the_first_thing_that_etcd_finds() {
        let range = |key: &'static str, sort_order| rpc::RequestOp {
            request: Some(request_op::Request::RequestRange(rpc::RangeRequest {
                key: key.into(),
                sort_order,
                ..rpc::RangeRequest::default()
            })),
        };
        let txn = |success| rpc::TxnRequest { success, ..rpc::TxnRequest::default() };
        let refused = |txn, max| txn_request(txn, max).unwrap_err();
        assert_eq!(refused(txn(vec![range("k", 9), range("k", 0)]), 1), kv::OperationError::TooManyOps);
        assert_eq!(refused(txn(vec![range("", 9)]), 1), kv::OperationError::EmptyKey);
        let inner = rpc::RequestOp { request: Some(request_op::Request::RequestTxn(txn(vec![range("k", 9)]))) };
        assert_eq!(refused(txn(vec![inner.clone()]), 1), kv::OperationError::TooManyOps);
        assert_eq!(refused(txn(vec![inner]), 2), kv::OperationError::InvalidSortOption);
    }

    #[test]
    fn a_compare_without_a_fitting_value_compares_with_zero() {
        let given =
            |target, target_union| compare(rpc::Compare { target, target_union, ..rpc::Compare::default() }).target;
        assert_eq!(given(0, None), kv::CompareTarget::Version(0));
        assert_eq!(given(2, Some(compare::TargetUnion::Version(3))), kv::CompareTarget::ModRevision(0));
        assert_eq!(given(3, Some(compare::TargetUnion::Lease(3))), kv::CompareTarget::Value(Bytes::new()));
        assert_eq!(given(4, Some(compare::TargetUnion::Lease(3))), kv::CompareTarget::Lease(3));
    }

    #[test]
    fn an_operation_without_content_is_key_not_found() {
        let empty = rpc::TxnRequest { failure: vec![rpc::RequestOp { request: None }], ..rpc::TxnRequest::default() };
        assert_eq!(txn_request(empty, 1).unwrap_err(), kv::OperationError::KeyNotFound);
    }

    #[test]
    fn answers_within_a_transaction_show_only_the_revision() {
        let reply = kv::TxnReply {
            succeeded: true,
            revision: 7,
            responses: vec![
                kv::ResponseOp::Put(None, 7),
                kv::ResponseOp::Txn(kv::TxnReply { succeeded: false, revision: 7, responses: Vec::new() }),
            ],
        };
        let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 7, raft_term: 3 };
        let response = txn_response(header, reply);
        assert_eq!(response.header, Some(header));
        let headers: Vec<_> = response
            .responses
            .iter()
            .map(|op| match op.response.as_ref().unwrap() {
                response_op::Response::ResponsePut(put) => put.header,
                response_op::Response::ResponseTxn(txn) => txn.header,
                _ => None,
            })
            .collect();
        assert_eq!(headers, [Some(revision_header(7)), Some(ResponseHeader::default())], "of one within: an empty one");
    }
}
