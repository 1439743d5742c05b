//! The reference: what a request touches and what a user was granted, as sets of keys, key by key. It shares no code with
//! the decision.

use std::collections::BTreeSet;

use super::*;
use crate::tests::{delete_request, put_leased};

const WORLDS: u64 = 250;
const REQUESTS: u64 = 480;
const USERS: [&str; 4] = ["u0", "u1", "u2", "u3"];
const ROLES: [&str; 4] = ["r0", "r1", "r2", "r3"];
const LEASES: [i64; 3] = [1, 2, 3];

/// Chance that a seed repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn key(&mut self) -> String {
        let length = 1 + self.below(2);
        (0..length).map(|_| self.pick(&['\0', 'a', 'b', 'c'])).collect()
    }

    /// A single key, an open end, or a range; that may end before it begins only where asked for.
    fn range(&mut self, sensible: bool) -> KeyRange {
        loop {
            let (key, end) = (self.key(), self.key());
            let end = match self.below(8) {
                0..=2 => String::new(),
                3 => "\0".to_owned(),
                _ => end,
            };
            if !sensible || end.is_empty() || end == "\0" || key < end {
                return keys(&key, &end);
            }
        }
    }
}

/// Every key that a boundary can separate: boundaries have at most two letters, and a single key ends one letter later.
fn universe() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![Vec::new()];
    for at in 0.. {
        if all[at].len() == 3 {
            break;
        }
        for letter in *b"\0abc" {
            let longer = [&all[at][..], &[letter]].concat();
            all.push(longer);
        }
    }
    all.split_off(1)
}

/// A range that ends before it begins still names its first key.
fn touched<'u>(universe: &'u [Vec<u8>], range: &KeyRange) -> BTreeSet<&'u [u8]> {
    let within = |key: &&[u8]| {
        let open = range.range_end[..] == [0];
        *key == &range.key[..]
            || !range.range_end.is_empty() && *key >= &range.key[..] && (open || *key < &range.range_end[..])
    };
    universe.iter().map(Vec::as_slice).filter(within).collect()
}

/// What somebody was granted, by what was said, in order.
#[derive(Default)]
struct Monitor {
    grants: Vec<(&'static str, KeyRange, PermissionKind)>,
    roles: BTreeSet<(&'static str, &'static str)>,
}

impl Monitor {
    fn may(&self, universe: &[Vec<u8>], user: &str, write: bool, range: &KeyRange) -> bool {
        touched(universe, range).into_iter().all(|key| {
            self.grants.iter().any(|(role, granted, kind)| {
                let of_kind = if write { kind.writes() } else { kind.reads() };
                of_kind && self.roles.contains(&(user, role)) && touched(universe, granted).contains(key)
            })
        })
    }

    fn may_lease(&self, universe: &[Vec<u8>], machine: &Machine, user: &str, write: bool, lease: i64) -> bool {
        let attached = machine.kv.reader().lease_keys(lease).unwrap();
        attached
            .iter()
            .all(|key| self.may(universe, user, write, &KeyRange { key: key.clone(), range_end: Bytes::new() }))
    }

    fn may_put(&self, universe: &[Vec<u8>], machine: &Machine, user: &str, put: &PutRequest) -> bool {
        let range = KeyRange { key: put.key.clone(), range_end: Bytes::new() };
        self.may(universe, user, true, &range)
            && (!put.prev_kv || self.may(universe, user, false, &range))
            && (put.lease == 0 || self.may_lease(universe, machine, user, true, put.lease))
    }

    fn may_txn(&self, universe: &[Vec<u8>], machine: &Machine, user: &str, txn: &TxnRequest) -> bool {
        txn.compare.iter().all(|compare| self.may(universe, user, false, &compare.range))
            && txn.success.iter().chain(&txn.failure).all(|operation| match operation {
                RequestOp::Range(range) => self.may(universe, user, false, &range.range),
                RequestOp::Put(put) => self.may_put(universe, machine, user, put),
                RequestOp::DeleteRange(delete) => self.may_delete(universe, user, delete),
                RequestOp::Txn(txn) => self.may_txn(universe, machine, user, txn),
            })
    }

    fn may_delete(&self, universe: &[Vec<u8>], user: &str, delete: &DeleteRangeRequest) -> bool {
        self.may(universe, user, true, &delete.range)
            && (!delete.prev_kv || self.may(universe, user, false, &delete.range))
    }
}

fn put(dice: &mut Dice) -> PutRequest {
    let (key, lease) = (dice.key().into(), dice.pick(&[0, 0, 1, 2, 3]));
    PutRequest { key, lease, prev_kv: dice.below(3) == 0, ..PutRequest::default() }
}

fn delete(dice: &mut Dice) -> DeleteRangeRequest {
    DeleteRangeRequest { range: dice.range(false), prev_kv: dice.below(3) == 0 }
}

fn txn(dice: &mut Dice, depth: u64) -> TxnRequest {
    let mut txn = TxnRequest::default();
    for _ in 0..dice.below(2) {
        let (result, target) = (CompareResult::Equal, CompareTarget::Version(0));
        txn.compare.push(Compare { range: dice.range(false), result, target });
    }
    for _ in 0..dice.below(3) {
        let operation = match dice.below(if depth > 0 { 4 } else { 3 }) {
            0 => RequestOp::Range(RangeRequest { range: dice.range(false), ..RangeRequest::default() }),
            1 => RequestOp::Put(put(dice)),
            2 => RequestOp::DeleteRange(delete(dice)),
            _ => RequestOp::Txn(self::txn(dice, depth - 1)),
        };
        if dice.below(2) == 0 { txn.success.push(operation) } else { txn.failure.push(operation) }
    }
    txn
}

/// Users with roles with permissions, some taken back, and keys on leases.
fn world(dice: &mut Dice) -> (Machine, Monitor) {
    let (mut machine, mut monitor) = (enabled(), Monitor::default());
    USERS.iter().for_each(|user| drop(machine.must(&user_add(user))));
    ROLES.iter().for_each(|role| drop(machine.must(&role_add(role))));
    for id in LEASES {
        machine.must(&Command::LeaseGrant { id, ttl: 60 });
        for _ in 0..dice.below(3) {
            machine.must(&put_leased(&dice.key(), id));
        }
    }
    for _ in 0..dice.below(30) {
        let (user, role) = (dice.pick(&USERS), dice.pick(&ROLES));
        match dice.below(8) {
            0 => {
                if monitor.roles.remove(&(user, role)) {
                    machine.must(&auth(AuthCommand::UserRevokeRole { user: user.into(), role: role.into() }));
                }
            }
            1 => {
                if let Some((role, range, _)) = monitor.grants.pop() {
                    machine.must(&auth(AuthCommand::RoleRevokePermission { role: role.into(), range }));
                }
            }
            2 | 3 => {
                monitor.roles.insert((user, role));
                machine.must(&grant_role(user, role));
            }
            _ => {
                let kind = dice.pick(&[PermissionKind::Read, PermissionKind::Write, PermissionKind::ReadWrite]);
                let range = dice.range(true);
                monitor.grants.retain(|(of, granted, _)| (*of, granted) != (role, &range));
                monitor.grants.push((role, range.clone(), kind));
                machine.must(&permit(role, kind, range));
            }
        }
    }
    (machine, monitor)
}

/// Decisions by the front door and at apply are those of the monitor, 120,000 times. Named after what once went wrong
/// elsewhere: CVE-2026-33343 (nested transactions), CVE-2026-44283 (values from before, leases of nested puts),
/// CVE-2026-73499 (watches from a key on).
#[test]
fn decisions_are_those_of_the_reference_monitor() {
    let universe = universe();
    let mut allowed = [0u64; 7];
    for seed in 1..=WORLDS {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (mut machine, monitor) = world(&mut dice);
        for _ in 0..REQUESTS {
            let user = dice.pick(&USERS);
            let kind = usize::try_from(dice.below(7)).unwrap();
            let (needs, command, expected) = request(&mut dice, &universe, &machine, &monitor, user, kind);
            let subject = subject(&machine, user);
            let decided = crate::tests::operation(machine.kv.reader().permit(&subject, &needs));
            assert_eq!(decided.is_ok(), expected, "seed {seed}: {user} {needs:?}");
            assert!(matches!(decided, Ok(()) | Err(OperationError::PermissionDenied)));
            allowed[kind] += u64::from(expected);
            // What is refused changes nothing, so it can be tried. What is not was decided by the same needs.
            if let (Some(command), false) = (command, expected) {
                let applied = apply_as(&mut machine, &Proposer::User(subject), &command);
                assert_eq!(applied, Err(OperationError::PermissionDenied), "seed {seed}: {user} {command:?}");
            }
        }
    }
    assert!(allowed.iter().all(|&count| count > 500), "both answers are tried: {allowed:?}");
}

type Asked = (Vec<Need>, Option<Command>, bool);

fn request(
    dice: &mut Dice,
    universe: &[Vec<u8>],
    machine: &Machine,
    monitor: &Monitor,
    user: &str,
    kind: usize,
) -> Asked {
    match kind {
        0 => {
            // A range, or a watch: both are of the range as it is read.
            let range = dice.range(false);
            (vec![Need::of_read(&range)], None, monitor.may(universe, user, false, &range))
        }
        1 => {
            let put = put(dice);
            let expected = monitor.may_put(universe, machine, user, &put);
            (needs_of(&Command::Put(put.clone())), Some(Command::Put(put)), expected)
        }
        2 => {
            let delete = delete(dice);
            let expected = monitor.may_delete(universe, user, &delete);
            (needs_of(&Command::DeleteRange(delete.clone())), Some(Command::DeleteRange(delete)), expected)
        }
        3 => {
            let txn = txn(dice, 3);
            let expected = monitor.may_txn(universe, machine, user, &txn);
            (needs_of(&Command::Txn(txn.clone())), Some(Command::Txn(txn)), expected)
        }
        4 => {
            let id = dice.pick(&LEASES);
            let expected = monitor.may_lease(universe, machine, user, true, id);
            (vec![Need::LeaseKeys(Access::Write, id)], Some(Command::LeaseRevoke { id }), expected)
        }
        5 => {
            let id = dice.pick(&LEASES);
            let expected = monitor.may_lease(universe, machine, user, false, id);
            (vec![Need::LeaseKeys(Access::Read, id)], None, expected)
        }
        _ => {
            let expected = LEASES.iter().all(|id| monitor.may_lease(universe, machine, user, false, *id));
            (vec![Need::AllLeases], None, expected)
        }
    }
}

/// A user of one key, and everything that must not follow from it.
fn of_one_key() -> Machine {
    let mut machine = enabled();
    for command in [
        user_add("u"),
        role_add("r"),
        grant_role("u", "r"),
        permit("r", PermissionKind::Write, keys("mine", "")),
        Command::LeaseGrant { id: 7, ttl: 60 },
        put_leased("theirs", 7),
    ] {
        machine.must(&command);
    }
    machine
}

fn refused(command: Command) {
    let mut machine = of_one_key();
    let user = Proposer::User(subject(&machine, "u"));
    assert_eq!(apply_as(&mut machine, &user, &command), Err(OperationError::PermissionDenied), "{command:?}");
}

fn nested(operation: RequestOp, depth: usize) -> Command {
    let mut txn = TxnRequest { failure: vec![operation], ..TxnRequest::default() };
    for _ in 0..depth {
        txn = TxnRequest { success: vec![RequestOp::Txn(txn)], ..TxnRequest::default() };
    }
    Command::Txn(txn)
}

#[test]
fn cve_2026_33343_a_nested_transaction_is_decided_whole() {
    for depth in [0, 1, 2, 100] {
        refused(nested(RequestOp::Put(crate::tests::put_request("theirs", "x")), depth));
        refused(nested(RequestOp::DeleteRange(delete_request("a", "z")), depth));
        refused(nested(RequestOp::Range(crate::tests::get("theirs", "")), depth));
    }
}

#[test]
fn cve_2026_44283_what_was_before_is_read_and_a_lease_is_shared() {
    let put = crate::tests::put_request("mine", "x");
    let with_before = PutRequest { prev_kv: true, ..put.clone() };
    let with_lease = PutRequest { lease: 7, ..put };
    let delete = DeleteRangeRequest { prev_kv: true, ..delete_request("mine", "") };
    refused(Command::Put(with_before.clone()));
    refused(Command::Put(with_lease.clone()));
    refused(Command::DeleteRange(delete.clone()));
    for depth in [0, 1, 5] {
        refused(nested(RequestOp::Put(with_before.clone()), depth));
        refused(nested(RequestOp::Put(with_lease.clone()), depth));
        refused(nested(RequestOp::DeleteRange(delete.clone()), depth));
    }
    refused(Command::LeaseRevoke { id: 7 });
}
