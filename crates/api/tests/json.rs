//! Golden JSON: bodies of the gateway, in and out.

use kontiki_api::kv::KeyValue;
use kontiki_api::rpc::{
    self, AlarmMember, AlarmResponse, AlarmType, Compare, HashKvResponse, Member, MemberListResponse, PutRequest,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, WatchCreateRequest, WatchRequest,
    WatchResponse, compare, range_request, request_op, watch_request,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn out(message: impl Serialize) -> String {
    serde_json::to_string(&message).expect("a message becomes JSON")
}

fn read<M: DeserializeOwned>(text: &str) -> M {
    serde_json::from_str(text).expect("JSON of a message")
}

#[test]
fn range_response_out() {
    let response = RangeResponse {
        header: Some(ResponseHeader { cluster_id: 14841639068965178418, member_id: 2, revision: 3, raft_term: 4 }),
        kvs: vec![KeyValue {
            key: "foo".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            value: "bar?>".into(),
            lease: 0,
        }],
        more: false,
        count: 1,
    };
    let text = r#"{"header":{"cluster_id":"14841639068965178418","member_id":"2","revision":"3","raft_term":"4"},"kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"3","version":"2","value":"YmFyPz4="}],"count":"1"}"#;
    assert_eq!(out(&response), text);
    assert_eq!(read::<RangeResponse>(text), response);
}

#[test]
fn watch_create_request_in() {
    let request: WatchRequest =
        read(r#"{"create_request":{"key":"Zm9v","startRevision":"5","prev_kv":true,"filters":["NODELETE",0]}}"#);
    let create = WatchCreateRequest {
        key: "foo".into(),
        start_revision: 5,
        prev_kv: true,
        filters: vec![1, 0],
        ..Default::default()
    };
    assert_eq!(request.request_union, Some(watch_request::RequestUnion::CreateRequest(create)));
}

#[test]
fn watch_response_out() {
    let response = WatchResponse {
        watch_id: 7,
        canceled: true,
        compact_revision: 20,
        cancel_reason: "why".into(),
        ..Default::default()
    };
    assert_eq!(out(response), r#"{"watch_id":"7","canceled":true,"compact_revision":"20","cancel_reason":"why"}"#);
    let event = kontiki_api::kv::Event { r#type: 1, kv: None, prev_kv: None };
    let response = WatchResponse { events: vec![event, Default::default()], ..Default::default() };
    assert_eq!(out(response), r#"{"events":[{"type":"DELETE"},{}]}"#);
}

#[test]
fn txn_in_both_spellings() {
    let expected = TxnRequest {
        compare: vec![Compare {
            result: compare::CompareResult::Greater as i32,
            target: compare::CompareTarget::Create as i32,
            key: "foo".into(),
            range_end: Default::default(),
            target_union: Some(compare::TargetUnion::CreateRevision(2)),
        }],
        success: vec![RequestOp {
            request: Some(request_op::Request::RequestPut(PutRequest {
                key: "foo".into(),
                value: "bar".into(),
                ..Default::default()
            })),
        }],
        failure: vec![],
    };
    let snake = r#"{"compare":[{"result":"GREATER","target":"CREATE","key":"Zm9v","create_revision":"2"}],
        "success":[{"request_put":{"key":"Zm9v","value":"YmFy"}}],"failure":[]}"#;
    let camel = r#"{"compare":[{"createRevision":2,"target":1,"key":"Zm9v","result":1}],
        "success":[{"requestPut":{"value":"YmFy","key":"Zm9v","ignoreLease":false}}]}"#;
    assert_eq!(read::<TxnRequest>(snake), expected);
    assert_eq!(read::<TxnRequest>(camel), expected);
}

#[test]
fn enums_by_name_or_number() {
    let by_name: RangeRequest = read(r#"{"key":"AA==","sort_order":"DESCEND","sort_target":3}"#);
    assert_eq!(by_name.sort_order(), range_request::SortOrder::Descend);
    assert_eq!(by_name.sort_target(), range_request::SortTarget::Mod);
    let alarms =
        AlarmResponse { header: None, alarms: vec![AlarmMember { member_id: 1, alarm: AlarmType::Nospace as i32 }] };
    assert_eq!(out(alarms), r#"{"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#);
}

#[test]
fn names_with_acronyms_stay_as_they_are() {
    let member = Member {
        id: 10,
        name: "m".into(),
        peer_urls: vec!["http://p".into()],
        client_urls: vec!["http://c".into()],
        is_learner: true,
    };
    let response = MemberListResponse { header: None, members: vec![member] };
    assert_eq!(
        out(response),
        r#"{"members":[{"ID":"10","name":"m","peerURLs":["http://p"],"clientURLs":["http://c"],"isLearner":true}]}"#
    );
    let grant: rpc::LeaseGrantRequest = read(r#"{"TTL":30,"ID":"5"}"#);
    assert_eq!((grant.ttl, grant.id), (30, 5));
}

#[test]
fn narrow_numbers_are_numbers() {
    let response = HashKvResponse { header: None, hash: u32::MAX, compact_revision: -1, hash_revision: 0 };
    assert_eq!(out(response), r#"{"hash":4294967295,"compact_revision":"-1"}"#);
}

#[test]
fn unknown_fields_are_ignored_and_wrong_types_are_not() {
    let request: RangeRequest = read(r#"{"key":"Zm9v","colour":{"nested":[1]}}"#);
    assert_eq!(request.key, "foo");
    assert!(serde_json::from_str::<RangeRequest>(r#"{"key":5}"#).is_err());
    assert!(serde_json::from_str::<RangeRequest>(r#"{"limit":"many"}"#).is_err());
}
