//! Golden bytes: what goes over the wire for a few messages, worked out by hand from the protobuf encoding.

use kontiki_api::kv::{Event, KeyValue, event::EventType};
use kontiki_api::rpc::{
    Compare, LeaseGrantRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, WatchCreateRequest, WatchRequest,
    WatchResponse, compare, request_op, watch_request,
};
use prost::Message;

/// Encodes to `bytes` and decodes back to the same message.
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(message: M, bytes: &[u8]) {
    assert_eq!(message.encode_to_vec(), bytes);
    assert_eq!(M::decode(bytes).expect("golden bytes decode"), message);
}

#[test]
fn range_response() {
    let message = RangeResponse {
        header: Some(ResponseHeader { cluster_id: 1, member_id: 2, revision: 300, raft_term: 4 }),
        kvs: vec![KeyValue {
            key: "k".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            value: "v".into(),
            lease: 0,
        }],
        more: true,
        count: 9,
    };
    check(
        message,
        b"\x0a\x09\x08\x01\x10\x02\x18\xac\x02\x20\x04\
          \x12\x0c\x0a\x01k\x10\x02\x18\x03\x20\x02\x2a\x01v\
          \x18\x01\x20\x09",
    );
}

#[test]
fn watch_request_with_packed_filters() {
    let create = WatchCreateRequest {
        key: "a".into(),
        range_end: "b".into(),
        start_revision: 7,
        filters: vec![0, 1],
        prev_kv: true,
        watch_id: 5,
        ..Default::default()
    };
    let message = WatchRequest { request_union: Some(watch_request::RequestUnion::CreateRequest(create)) };
    check(message, b"\x0a\x10\x0a\x01a\x12\x01b\x18\x07\x2a\x02\x00\x01\x30\x01\x38\x05");
}

#[test]
fn unpacked_filters_are_understood() {
    let create = WatchCreateRequest::decode(&b"\x28\x00\x28\x01"[..]).expect("unpacked enums decode");
    assert_eq!(create.filters, [0, 1]);
}

#[test]
fn watch_response_has_events_at_number_eleven() {
    let event = Event {
        r#type: EventType::Delete as i32,
        kv: Some(KeyValue { key: "k".into(), ..Default::default() }),
        prev_kv: None,
    };
    let message = WatchResponse { watch_id: -1, events: vec![event], ..Default::default() };
    check(message, b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x5a\x07\x08\x01\x12\x03\x0a\x01k");
}

#[test]
fn txn_with_a_compare_of_a_range() {
    let compare = Compare {
        result: compare::CompareResult::NotEqual as i32,
        target: compare::CompareTarget::Lease as i32,
        key: "k".into(),
        range_end: "l".into(),
        target_union: Some(compare::TargetUnion::Lease(6)),
    };
    let inner = RequestOp { request: Some(request_op::Request::RequestTxn(TxnRequest::default())) };
    let message = TxnRequest { compare: vec![compare], success: vec![], failure: vec![inner] };
    check(message, b"\x0a\x0d\x08\x03\x10\x04\x1a\x01k\x40\x06\x82\x04\x01l\x1a\x02\x22\x00");
}

#[test]
fn negative_numbers_take_ten_bytes() {
    check(LeaseGrantRequest { ttl: -1, id: 0 }, b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

#[test]
fn decoded_bytes_share_the_frame() {
    let frame = bytes::Bytes::from_static(b"\x0a\x04boat");
    let key = kontiki_api::rpc::RangeRequest::decode(frame.clone()).expect("a valid frame").key;
    assert_eq!(key.as_ptr(), frame[2..].as_ptr());
}
