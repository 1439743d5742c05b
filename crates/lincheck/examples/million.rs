//! Checks histories of a million operations and prints how fast that went.
//!
//! `cargo run --release -p kontiki-lincheck --example million`
//!
//! Clients call a simulated store: each call takes effect at one moment between its invocation and its return, so the history
//! is linearizable. One in a hundred calls is lost, half of these after taking effect.

use std::collections::BTreeMap;
use std::time::Instant;

use kontiki_lincheck::ordered::{self, Kind};
use kontiki_lincheck::{
    Checker, Found, History, HistoryError, Kv, KvCall, KvInput, KvOutput, Register, RegisterCall, RegisterInput,
    RegisterOutput,
};

const OPERATIONS: usize = 1_000_000;

fn main() -> Result<(), HistoryError> {
    for (name, clients, keys) in [
        ("64 clients, 10 000 keys", 64, 10_000),
        ("64 clients, 100 keys", 64, 100),
        ("16 clients, 4 keys", 16, 4),
        ("2 clients, 1 key", 2, 1),
        ("1 client, 1 key", 1, 1),
    ] {
        let history = kv_history(clients, keys)?;
        let started = Instant::now();
        let verdict = Checker::new(Kv::default()).check(&history);
        report(&format!("kv with revisions, {name}"), history.len(), started, &verdict.to_string());

        let started = Instant::now();
        let claims = ordered::claims(&history, |operation| match operation.output()? {
            KvOutput::Put { revision } => revision.map(|revision| (Kind::Write, revision)),
            _ => None,
        });
        let order = ordered::check(&claims).map_or_else(|violation| violation.to_string(), |()| "in order".to_owned());
        report(&format!("order of its writes, {name}"), claims.len(), started, &order);

        let history = register_history(&history)?;
        let started = Instant::now();
        let verdict = Checker::new(Register::default()).check(&history);
        report(&format!("registers, {name}"), history.len(), started, &verdict.to_string());
    }
    Ok(())
}

fn report(what: &str, operations: usize, started: Instant, verdict: &str) {
    let seconds = started.elapsed().as_secs_f64();
    let rate = operations as f64 / seconds;
    println!("{what:<52} {operations:>8} operations {seconds:>7.2} s {rate:>10.0}/s  {verdict}");
}

/// Where a client is with its call.
enum Phase {
    Idle,
    Called(KvInput<u64, u64>),
    TookEffect(KvOutput<u64>),
}

/// Each turn some client goes one step further: calls, takes effect, returns.
fn kv_history(clients: u64, keys: u64) -> Result<History<KvInput<u64, u64>, KvOutput<u64>>, HistoryError> {
    let mut random = 42_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) % bound
    };
    let mut phases: Vec<Phase> = (0..clients).map(|_| Phase::Idle).collect();
    let mut store: BTreeMap<u64, Found<u64>> = BTreeMap::new();
    let mut history = History::builder();
    let (mut now, mut called, mut revision) = (0, 0, 0);
    while called < OPERATIONS {
        now += 1;
        let client = below(clients);
        let phase = &mut phases[client as usize];
        *phase = match std::mem::replace(phase, Phase::Idle) {
            Phase::Idle => {
                called += 1;
                // A thousand values, so that a value says little about its write.
                let call = if below(2) == 0 { KvCall::Get } else { KvCall::Put(below(1000)) };
                let input = KvInput { key: below(keys), call };
                history.invoke(client, now, input.clone())?;
                Phase::Called(input)
            }
            Phase::Called(_) if below(200) == 0 => {
                history.lose(client)?;
                Phase::Idle
            }
            Phase::Called(KvInput { key, call: KvCall::Put(value) }) => {
                revision += 1;
                store.insert(key, Found { value, mod_revision: Some(revision) });
                Phase::TookEffect(KvOutput::Put { revision: Some(revision) })
            }
            Phase::Called(KvInput { key, .. }) => Phase::TookEffect(KvOutput::Got(store.get(&key).cloned())),
            Phase::TookEffect(_) if below(200) == 0 => {
                history.lose(client)?;
                Phase::Idle
            }
            Phase::TookEffect(output) => {
                history.complete(client, now, output)?;
                Phase::Idle
            }
        };
    }
    Ok(history.finish())
}

type RegisterHistory = History<RegisterInput<u64, u64>, RegisterOutput<u64>>;

/// The same history without revisions: it leaves much more to the search.
fn register_history(of: &History<KvInput<u64, u64>, KvOutput<u64>>) -> Result<RegisterHistory, HistoryError> {
    let operations = of.operations().iter().map(|operation| {
        let call = match operation.input.call {
            KvCall::Put(value) => RegisterCall::Write(value),
            _ => RegisterCall::Read,
        };
        let result = match (&operation.result, operation.returned()) {
            (kontiki_lincheck::Return::Done { output, .. }, Some(time)) => {
                let output = match output {
                    KvOutput::Got(found) => RegisterOutput::Read(found.as_ref().map(|found| found.value)),
                    _ => RegisterOutput::Written,
                };
                kontiki_lincheck::Return::Done { time, output }
            }
            _ => kontiki_lincheck::Return::Unknown,
        };
        let input = RegisterInput { key: operation.input.key, call };
        kontiki_lincheck::Operation { client: operation.client, invoke: operation.invoke, input, result }
    });
    History::from_operations(operations.collect())
}
