//! Transactions.

use kontiki_api::rpc::compare::{CompareResult, CompareTarget, TargetUnion};
use kontiki_api::rpc::request_op::Request;
use kontiki_api::rpc::response_op::Response;
use kontiki_api::rpc::{Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use tonic::Code;

use crate::harness::{Member, delete, get, put, range, refused};

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

fn puts(key: &str, value: &str) -> RequestOp {
    op(Request::RequestPut(put(key, value)))
}

fn gets(key: &str) -> RequestOp {
    op(Request::RequestRange(get(key)))
}

fn compare(key: &str, result: CompareResult, target: CompareTarget, given: TargetUnion) -> Compare {
    Compare {
        result: result as i32,
        target: target as i32,
        key: key.to_owned().into(),
        target_union: Some(given),
        ..Compare::default()
    }
}

fn absent(key: &str) -> Compare {
    compare(key, CompareResult::Equal, CompareTarget::Create, TargetUnion::CreateRevision(0))
}

fn success(operations: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { success: operations, ..TxnRequest::default() }
}

async fn run(member: &Member, request: TxnRequest) -> TxnResponse {
    member.kv().txn(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_and_revisions() {
    let member = Member::start().await;
    let create = TxnRequest {
        compare: vec![absent("a")],
        success: vec![puts("a", "1"), puts("b", "1"), gets("a")],
        failure: vec![gets("a")],
    };
    let first = run(&member, create.clone()).await;
    assert!(first.succeeded);
    assert_eq!((first.header.unwrap().revision, first.responses.len()), (2, 3));
    let Some(Response::ResponseRange(seen)) = &first.responses[2].response else { panic!("{first:?}") };
    assert_eq!(seen.kvs[0].value.as_ref(), b"1", "operations see earlier ones");
    let header = seen.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id, header.raft_term), (0, 0, 0), "parts show only the revision");
    assert_eq!(header.revision, 2);
    let second = run(&member, create).await;
    assert!(!second.succeeded);
    assert_eq!(second.header.unwrap().revision, 2, "what changes nothing does not bump");
    let empty = run(&member, TxnRequest::default()).await;
    assert!(empty.succeeded && empty.responses.is_empty());
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compares() {
    let member = Member::start().await;
    member.put("a", "1").await;
    let holds = async |compare: Compare| {
        run(&member, TxnRequest { compare: vec![compare], ..TxnRequest::default() }).await.succeeded
    };
    let value =
        |key, result, given: &'static str| compare(key, result, CompareTarget::Value, TargetUnion::Value(given.into()));
    assert!(holds(value("a", CompareResult::Equal, "1")).await);
    assert!(holds(value("a", CompareResult::Greater, "0")).await, "stored is greater than given");
    assert!(!holds(value("none", CompareResult::NotEqual, "1")).await, "a missing key has no value at all");
    let version = |key, result, given| compare(key, result, CompareTarget::Version, TargetUnion::Version(given));
    assert!(holds(version("none", CompareResult::Equal, 0)).await);
    assert!(holds(version("a", CompareResult::Less, 2)).await);
    let ranged = Compare { range_end: "z".into(), ..version("b", CompareResult::Equal, 0) };
    assert!(holds(ranged).await, "an empty range compares as zero");
    let unset = Compare { target_union: None, ..version("none", CompareResult::Equal, 9) };
    assert!(holds(unset).await);
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals() {
    let member = Member::start().await;
    let mut kv = member.kv();
    let too_many = "etcdserver: too many operations in txn request";
    let duplicate = "etcdserver: duplicate key given in txn request";
    let many = (0..129).map(|number| puts(&format!("k{number}"), "1")).collect::<Vec<_>>();
    refused(kv.txn(success(many[..].to_vec())).await, Code::InvalidArgument, too_many);
    kv.txn(success(many[..128].to_vec())).await.unwrap();
    let nested = |inner: Vec<RequestOp>| op(Request::RequestTxn(success(inner)));
    let mut outer = many[..100].to_vec();
    outer.push(nested((0..28).map(|number| puts(&format!("n{number}"), "1")).collect()));
    refused(kv.txn(success(outer)).await, Code::InvalidArgument, too_many);
    refused(kv.txn(success(vec![puts("a", "1"), puts("a", "2")])).await, Code::InvalidArgument, duplicate);
    let covered = vec![op(Request::RequestDeleteRange(delete("a", "c"))), puts("b", "1")];
    refused(kv.txn(success(covered)).await, Code::InvalidArgument, duplicate);
    refused(
        kv.txn(success(vec![puts("a", "1"), nested(vec![puts("a", "2")])])).await,
        Code::InvalidArgument,
        duplicate,
    );
    refused(
        kv.txn(success(vec![RequestOp { request: None }])).await,
        Code::InvalidArgument,
        "etcdserver: key not found",
    );
    let keyless = TxnRequest { compare: vec![absent("")], ..TxnRequest::default() };
    refused(kv.txn(keyless).await, Code::InvalidArgument, "etcdserver: key is not provided");
    let leased = op(Request::RequestPut(PutRequest { lease: 77, ..put("y", "1") }));
    refused(
        kv.txn(success(vec![puts("x", "1"), leased])).await,
        Code::NotFound,
        "etcdserver: requested lease not found",
    );
    assert_eq!(member.range(get("x")).await.count, 0, "a refused transaction has no effect");
    let future = op(Request::RequestRange(RangeRequest { revision: 1000, ..get("a") }));
    refused(
        kv.txn(success(vec![future])).await,
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    );
    member.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_takes_no_entry() {
    let member = Member::start().await;
    member.put("a", "1").await;
    // What the status shows may lag behind what was answered, so it gets a moment.
    let entries = async || {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        member.store.status().raft_index
    };
    let before = entries().await;
    for serializable in [false, true] {
        let read = op(Request::RequestRange(RangeRequest { serializable, ..range("a", "z") }));
        let response = run(&member, success(vec![read])).await;
        let Some(Response::ResponseRange(range)) = &response.responses[0].response else { panic!("{response:?}") };
        assert_eq!((range.count, response.header.unwrap().revision), (1, 2));
    }
    assert_eq!(entries().await, before);
    run(&member, success(vec![op(Request::RequestTxn(success(vec![gets("a")])))])).await;
    assert_eq!(entries().await, before + 1, "a transaction within goes through the log");
    member.stop().await;
}
