//! The checkers themselves: legal histories pass, and lies are found.

mod book;
mod generate;
mod legal;
mod lies;
mod lies_about_keys;
mod lies_about_leases;
mod lies_about_revisions;
mod lies_about_watches;
mod model;
mod requests;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kontiki_kv::Command;
use kontiki_raft::{Index, Term};
use kontiki_world::Random;

use super::Limits;
use crate::etcd::history::{Applied, History};
use crate::observation::Violation;

const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);

fn limits() -> Limits {
    Limits {
        election_timeout: ELECTION_TIMEOUT,
        leader_doubt: Duration::ZERO,
        unavailable: Vec::new(),
        question_way: Duration::ZERO,
        clock_drift_permille: 1,
    }
}

fn payload(member: u64, token: u64, command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(kontiki_engine::COMMAND);
    out.put_u64_le(member);
    out.put_u64_le(token);
    out.put_slice(&command.encode());
    out.freeze()
}

/// Appends an entry to the log.
fn append(history: &mut History, at: Duration, term: u64, payload: Bytes) {
    let index = Index(history.applied.len() as u64 + 1);
    history.applied.push(Applied { index, term: Term(term), at, payload });
}

/// Plants a lie into legal histories, and demands that the check finds each. `plant` says whether it could.
fn finds(check: impl Fn(&History) -> Result<(), Violation>, plant: impl Fn(&mut History, &mut Random) -> Option<()>) {
    let mut planted = 0;
    for seed in 0..60 {
        let mut history = generate::history(seed, 1_200);
        check(&history).unwrap();
        if plant(&mut history, &mut Random::new(seed)).is_some() {
            planted += 1;
            assert!(check(&history).is_err(), "seed {seed}: the lie was not found");
        }
    }
    assert!(planted > 5, "planted {planted} times only");
}

/// One of those for which there is a `Some`.
fn pick<T>(chance: &mut Random, all: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<T> = all.collect();
    let one = usize::try_from(chance.below(all.len() as u64)).unwrap();
    (one < all.len()).then(|| all.swap_remove(one))
}
