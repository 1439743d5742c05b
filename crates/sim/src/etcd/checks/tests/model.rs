//! The model against the store itself: what both say of random commands and questions must be the same.

use kontiki_kv::{Command, Failure, Kv, OperationError, Options, is_read_only};
use kontiki_world::Random;
use redb::backends::InMemoryBackend;

use super::requests;
use crate::etcd::model::{Model, Moment};

#[test]
fn the_model_does_what_the_store_does() {
    for seed in 0..40 {
        let mut chance = Random::new(seed);
        let mut kv = Kv::open(InMemoryBackend::new(), Options { salt: 1, ..Options::default() }).unwrap();
        let mut model = Model::default();
        for index in 1..300 {
            let leases: Vec<i64> = (1..=4).filter(|id| model.lease(*id).is_some()).collect();
            let value = format!("v{index}").into();
            let command = draw(&mut chance, model.revision(), value, &leases);
            let outcome = kv.batch().apply(index, 1, &command).unwrap();
            assert_eq!(model.apply(&command), outcome, "seed {seed}, {command:?}");
            assert_eq!(model.compacted(), kv.compacted());
            ask(&mut chance, &kv, &model, seed);
        }
        for id in 1..=4 {
            assert_eq!(model.lease_keys(id), kv.reader().lease_keys(id).unwrap());
        }
    }
}

fn draw(chance: &mut Random, newest: i64, value: bytes::Bytes, leases: &[i64]) -> Command {
    use kontiki_kv::Alarm::{Corrupt, NoSpace};
    match chance.below(40) {
        1 => Command::Alarm {
            raise: true,
            member: chance.below(2),
            alarm: if chance.one_in(5) { Corrupt } else { NoSpace },
        },
        2..6 => Command::Alarm {
            raise: false,
            member: chance.below(2),
            alarm: if chance.one_in(2) { Corrupt } else { NoSpace },
        },
        6..10 => {
            let txn = requests::txn(chance, newest, &value, 2);
            if kontiki_kv::check(&txn, 128).is_ok() {
                Command::Txn(txn)
            } else {
                Command::Compact { revision: newest - 20 }
            }
        }
        _ => requests::command(chance, newest, value, leases),
    }
}

fn ask(chance: &mut Random, kv: &Kv, model: &Model, seed: u64) {
    let moment = Moment { revision: model.revision(), compacted: model.compacted() };
    let range = requests::read(chance, model.revision());
    let ours = model.range(&range, moment).map(|found| found.to_result());
    let theirs = kv.reader().range(&range).map(|(result, _)| result);
    assert_eq!(ours, refusal(theirs), "seed {seed}, {range:?}");
    if let (Ok(found), Ok(result)) = (model.range(&range, moment), &ours) {
        assert!(found.is(result));
    }
    let txn = requests::txn(chance, model.revision(), &"".into(), 0);
    if is_read_only(&txn) {
        assert_eq!(model.txn_read(&txn, moment), refusal(kv.reader().txn_read(&txn)), "seed {seed}, {txn:?}");
    }
}

fn refusal<T>(result: Result<T, Failure>) -> Result<T, OperationError> {
    result.map_err(|failure| match failure {
        Failure::Operation(refusal) => refusal,
        Failure::Storage(error) => panic!("{error}"),
    })
}
