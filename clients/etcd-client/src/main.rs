//! Talks to a cluster as an application on the crate `etcd-client` does, and checks every answer. Endpoints are the
//! arguments; the first wrong answer ends the program with an error.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LeaseTimeToLiveOptions, PutOptions,
    SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, WatchOptions,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoints: Vec<String> = std::env::args().skip(1).collect();
    assert!(!endpoints.is_empty(), "usage: kontiki-check-etcd-client ENDPOINT…");
    let mut client = Client::connect(&endpoints, None).await?;
    client.delete("crate/", Some(DeleteOptions::new().with_prefix())).await?;
    put_get_delete(&mut client).await?;
    transactions(&mut client).await?;
    watches(&mut client).await?;
    leases(&mut client).await?;
    cluster(&mut client, endpoints.len()).await?;
    println!("etcd-client: everything as expected");
    Ok(())
}

async fn put_get_delete(client: &mut Client) -> Result<(), Error> {
    for number in 0..10 {
        client.put(format!("crate/key{number}"), format!("value{number}"), None).await?;
    }
    let before = client.put("crate/key3", "new", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(before.prev_key().map(|kv| kv.value().to_vec()), Some(b"value3".to_vec()));

    let one = client.get("crate/key3", None).await?;
    assert_eq!((one.count(), one.kvs().len()), (1, 1));
    assert_eq!(one.kvs()[0].value(), b"new");
    assert_eq!(one.kvs()[0].version(), 2);
    assert!(one.kvs()[0].mod_revision() > one.kvs()[0].create_revision());

    let options = GetOptions::new().with_prefix().with_limit(3).with_sort(SortTarget::Key, SortOrder::Descend);
    let page = client.get("crate/", Some(options)).await?;
    assert!(page.more());
    assert_eq!(page.count(), 10);
    let keys: Vec<&[u8]> = page.kvs().iter().map(|kv| kv.key()).collect();
    assert_eq!(keys, [b"crate/key9", b"crate/key8", b"crate/key7"]);

    let past = GetOptions::new().with_revision(one.kvs()[0].mod_revision() - 1);
    let old = client.get("crate/key3", Some(past)).await?;
    assert_eq!(old.kvs()[0].value(), b"value3");

    let deleted = client.delete("crate/key", Some(DeleteOptions::new().with_prefix().with_prev_key())).await?;
    assert_eq!(deleted.deleted(), 10);
    assert_eq!(deleted.prev_kvs().len(), 10);
    assert_eq!(client.get("crate/key3", None).await?.count(), 0);
    println!("put, get, delete: ok");
    Ok(())
}

async fn transactions(client: &mut Client) -> Result<(), Error> {
    let create = || {
        Txn::new()
            .when([Compare::create_revision("crate/once", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("crate/once", "first", None)])
            .or_else([TxnOp::get("crate/once", None)])
    };
    assert!(client.txn(create()).await?.succeeded());
    let second = client.txn(create()).await?;
    assert!(!second.succeeded());
    match &second.op_responses()[0] {
        TxnOpResponse::Get(range) => assert_eq!(range.kvs()[0].value(), b"first"),
        other => panic!("expected the answer of a get, not {other:?}"),
    }
    let nested = Txn::new()
        .when([Compare::value("crate/once", CompareOp::Equal, "first")])
        .and_then([TxnOp::txn(Txn::new().and_then([TxnOp::put("crate/inner", "yes", None)]))]);
    assert!(client.txn(nested).await?.succeeded());
    assert_eq!(client.get("crate/inner", None).await?.kvs()[0].value(), b"yes");

    let twice = Txn::new().and_then([TxnOp::put("crate/twice", "1", None), TxnOp::put("crate/twice", "2", None)]);
    let error = client.txn(twice).await.expect_err("a key may be written once in a transaction");
    assert!(error.to_string().contains("duplicate key given in txn request"), "{error}");
    println!("txn: ok");
    Ok(())
}

async fn watches(client: &mut Client) -> Result<(), Error> {
    let start = client.put("crate/watched", "0", None).await?;
    let revision = start.header().map_or(0, |header| header.revision());
    let options = WatchOptions::new().with_start_revision(revision).with_prev_key();
    let mut stream = client.watch("crate/watched", Some(options)).await?;
    for number in 1..=5 {
        client.put("crate/watched", number.to_string(), None).await?;
    }
    client.delete("crate/watched", None).await?;

    let mut seen = Vec::new();
    while seen.len() < 7 {
        let message = timeout(PATIENCE, stream.message()).await.expect("events arrive in time")?;
        let message = message.expect("the stream stays open");
        for event in message.events() {
            let kv = event.kv().expect("an event has a key");
            let before = event.prev_kv().map(|kv| kv.value().to_vec());
            seen.push((event.event_type(), kv.value().to_vec(), before));
        }
    }
    for (number, (kind, value, before)) in seen.iter().enumerate().take(6) {
        assert_eq!(*kind, EventType::Put);
        assert_eq!(*value, number.to_string().into_bytes());
        assert_eq!(*before, number.checked_sub(1).map(|previous| previous.to_string().into_bytes()));
    }
    assert_eq!(seen[6].0, EventType::Delete);
    assert_eq!(seen[6].2.as_deref(), Some(b"5".as_slice()));
    println!("watch: ok");
    Ok(())
}

async fn leases(client: &mut Client) -> Result<(), Error> {
    let id = client.lease_grant(60, None).await?.id();
    client.put("crate/leased", "x", Some(PutOptions::new().with_lease(id))).await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    let answer = timeout(PATIENCE, answers.message()).await.expect("an answer arrives in time")?;
    assert_eq!(answer.map(|answer| answer.ttl()), Some(60));
    let left = client.lease_time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys())).await?;
    assert_eq!(left.granted_ttl(), 60);
    assert!((1..=60).contains(&left.ttl()), "{}", left.ttl());
    assert_eq!(left.keys(), [b"crate/leased".to_vec()]);
    assert!(client.leases().await?.leases().iter().any(|lease| lease.id() == id));
    client.lease_revoke(id).await?;
    assert_eq!(client.get("crate/leased", None).await?.count(), 0);
    assert_eq!(client.lease_time_to_live(id, None).await?.ttl(), -1);
    let error = client.lease_revoke(id).await.expect_err("it is gone");
    assert!(error.to_string().contains("requested lease not found"), "{error}");

    let short = client.lease_grant(2, None).await?.id();
    client.put("crate/short", "x", Some(PutOptions::new().with_lease(short))).await?;
    let mut stream = client.watch("crate/short", None).await?;
    let gone = async {
        loop {
            let message = stream.message().await?.expect("the stream stays open");
            if message.events().iter().any(|event| event.event_type() == EventType::Delete) {
                return Ok::<(), Error>(());
            }
        }
    };
    timeout(PATIENCE, gone).await.expect("a lease that nobody keeps alive expires")?;
    println!("lease: ok");
    Ok(())
}

async fn cluster(client: &mut Client, members: usize) -> Result<(), Error> {
    let list = client.member_list().await?;
    assert_eq!(list.members().len(), members);
    assert!(list.members().iter().all(|member| !member.name().is_empty() && member.client_urls().len() == 1));
    let status = client.status().await?;
    assert!(list.members().iter().any(|member| member.id() == status.leader()), "the leader is a member");
    println!("members and status: ok");
    Ok(())
}
