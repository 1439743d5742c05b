//! Readers beside a writer: whatever moment they meet, it is one that existed.

use super::*;

/// The key that round `n` creates, spread over the key space.
fn key_of(n: u32) -> String {
    format!("m{:03}", n * 7 % 101)
}

#[test]
fn a_reader_never_sees_half_a_transaction() {
    const ROUNDS: u32 = 1_500;
    const ALIVE: u32 = 40;
    let mut machine = Machine::new();
    // Every round changes both ends, creates a key and deletes the one created ALIVE rounds before.
    let round = |n: u32| {
        let mut success = vec![
            RequestOp::Put(put_request("a", &n.to_string())),
            RequestOp::Put(put_request("z", &n.to_string())),
            RequestOp::Put(put_request(&key_of(n), "")),
        ];
        if n >= ALIVE {
            success.push(RequestOp::DeleteRange(delete_request(&key_of(n - ALIVE), "")));
        }
        Command::Txn(TxnRequest { success, ..TxnRequest::default() })
    };
    (0..ALIVE).for_each(|n| drop(machine.must(&round(n))));
    let (reader, done) = (machine.kv.reader(), AtomicBool::new(false));
    let read = || {
        let mut last = 0;
        while !done.load(Ordering::SeqCst) {
            let (all, revision) = reader.range(&get("\0", "\0")).unwrap();
            assert_eq!((all.kvs.len(), all.count), (ALIVE as usize + 2, i64::from(ALIVE) + 2));
            assert_eq!(all.kvs[0].value, all.kvs.last().unwrap().value);
            assert_eq!(all.kvs[0].mod_revision, revision);
            assert!(revision >= last);
            last = revision;
            let (few, _) = reader.range(&RangeRequest { limit: 3, ..get("m", "n") }).unwrap();
            assert_eq!((few.kvs.len(), few.more, few.count), (3, true, i64::from(ALIVE)));
            let page = reader.events(revision.max(2), 2, usize::MAX).unwrap();
            assert_eq!(page.events[0].kv.mod_revision, revision);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(read);
        scope.spawn(read);
        for n in ALIVE..ROUNDS {
            machine.must(&round(n));
            if n % 50 == 0 {
                machine.checkpoint();
            }
        }
        done.store(true, Ordering::SeqCst);
    });
}
