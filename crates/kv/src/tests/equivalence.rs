//! Random histories: whatever checkpoints, compactions and crashes come between, every answer is the naive model's.

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::*;

/// What happens to a machine.
#[derive(Clone, Debug)]
enum Step {
    Apply(Command),
    /// Compacts somewhere between the last compaction and now.
    Compact(u8),
    BeginCheckpoint,
    RunCheckpoint,
    FinishCheckpoint,
    /// Begins, runs and finishes.
    Checkpoint,
    Crash,
    /// Sends the last checkpoint to a new machine and goes on there.
    Snapshot,
    /// Reads a range at a revision around those that exist.
    Range(RangeRequest, u8),
    Events {
        from: u8,
        revisions_max: usize,
        bytes_max: usize,
    },
}

/// The machine under test, what it should be, and the log that it replays after a crash.
struct Pair {
    machine: Machine,
    model: Model,
    log: Vec<(Command, Outcome)>,
    begun: Option<Checkpoint>,
    run: Option<CheckpointDone>,
}

impl Pair {
    fn new() -> Pair {
        Pair { machine: Machine::new(), model: Model::new(), log: Vec::new(), begun: None, run: None }
    }

    /// A revision, from below the compacted one to above the current one.
    fn revision(&self, fraction: u8) -> i64 {
        let lowest = (self.model.compacted - 2).max(0);
        lowest + i64::from(fraction) * (self.model.revision + 2 - lowest) / 255
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Apply(command) => self.apply(command),
            Step::Compact(fraction) => {
                let revision = self.revision(fraction);
                self.apply(Command::Compact { revision });
            }
            Step::BeginCheckpoint => {
                self.begun = self.machine.kv.begin_checkpoint(bytes("opaque")).or(self.begun.take())
            }
            Step::RunCheckpoint => {
                if let Some(checkpoint) = self.begun.take() {
                    self.run = Some(checkpoint.run().unwrap());
                }
            }
            Step::FinishCheckpoint => {
                if let Some(done) = self.run.take() {
                    drop(self.machine.kv.finish_checkpoint(done));
                }
            }
            Step::Checkpoint => {
                for step in [Step::BeginCheckpoint, Step::RunCheckpoint, Step::FinishCheckpoint] {
                    self.step(step);
                }
            }
            Step::Crash => self.replace(Machine::open(self.machine.disk.after_crash())),
            Step::Snapshot => self.replace(copy(&self.machine)),
            Step::Range(request, fraction) => {
                let request = at(self.revision(fraction) - 1, request);
                assert_eq!(self.machine.range(&request), self.model.range(&request), "{request:?}");
            }
            Step::Events { from, revisions_max, bytes_max } => {
                self.events(self.revision(from), revisions_max, bytes_max)
            }
        }
    }

    fn apply(&mut self, command: Command) {
        let outcome = self.machine.apply(&command);
        assert_eq!(outcome, self.model.apply(&command), "{command:?}");
        self.log.push((command, outcome));
    }

    /// Goes on with a machine that stands at an earlier entry.
    fn replace(&mut self, machine: Machine) {
        (self.begun, self.run) = (None, None);
        self.machine = machine;
        let applied = self.machine.kv.applied().0 as usize;
        for (command, outcome) in &self.log[applied..] {
            assert_eq!(&self.machine.apply(command), outcome, "replay of {command:?}");
        }
    }

    fn events(&self, from: i64, revisions_max: usize, bytes_max: usize) {
        let reader = self.machine.kv.reader();
        let expected = self.model.events(from);
        let (mut found, mut next) = (Vec::new(), from);
        while next <= self.model.revision || next == from {
            let page = match operation(reader.events(next, revisions_max, bytes_max)) {
                Ok(page) => page,
                Err(refusal) => return assert_eq!(Err(refusal), expected),
            };
            assert_eq!(page.revision, self.model.revision);
            assert!(page.next_revision > next || next > page.revision);
            found.extend(page.events);
            if next == page.next_revision {
                break;
            }
            next = page.next_revision;
        }
        let expected: Vec<Event> = expected.unwrap().into_iter().flat_map(|(_, events)| events).collect();
        assert_eq!(found, expected);
    }

    fn check_leases(&self) {
        let reader = self.machine.kv.reader();
        let leases: Vec<_> = self.model.leases.iter().map(|(id, ttl)| (*id, *ttl)).collect();
        assert_eq!(reader.leases().unwrap(), leases);
        for (id, _) in leases {
            assert_eq!(reader.lease_keys(id).unwrap(), self.model.lease_keys(id));
        }
    }
}

/// A machine made of another one's last checkpoint.
fn copy(machine: &Machine) -> Machine {
    let mut source = machine.kv.snapshot();
    let disk = Disk::default();
    let mut sink = SnapshotSink::create(disk.clone(), 9).unwrap();
    while let Some(piece) = source.next_rows(50).unwrap() {
        sink.write(&piece).unwrap();
    }
    sink.finish().unwrap();
    Machine::open(disk)
}

/// Keys: a few that fight, with zeros in them, or many that fill blocks.
fn key(many: bool) -> BoxedStrategy<Bytes> {
    if many {
        (0..90u8).prop_map(|n| Bytes::from(vec![b'k', n / 10, n % 10])).boxed()
    } else {
        prop::sample::select(vec!["a", "a\0", "a\0\0", "aa", "b", "c"]).prop_map(bytes).boxed()
    }
}

fn key_range(many: bool) -> impl Strategy<Value = KeyRange> {
    let end = prop_oneof![2 => Just(Bytes::new()), 1 => Just(bytes("\0")), 3 => key(many)];
    (key(many), end).prop_map(|(key, range_end)| KeyRange { key, range_end })
}

fn range(many: bool) -> impl Strategy<Value = RangeRequest> {
    let order = prop::sample::select(vec![SortOrder::None, SortOrder::None, SortOrder::Ascend, SortOrder::Descend]);
    let target = prop::sample::select(vec![
        SortTarget::Key,
        SortTarget::Key,
        SortTarget::Version,
        SortTarget::Create,
        SortTarget::Mod,
        SortTarget::Value,
    ]);
    let bound = || prop_oneof![6 => Just(0), 1 => 1..40i64];
    let bounds = (bound(), bound(), bound(), bound());
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.2), 0..12i64);
    (key_range(many), order, target, bounds, flags).prop_map(|(range, sort_order, sort_target, bounds, flags)| {
        RangeRequest {
            range,
            sort_order,
            sort_target,
            revision: 0,
            min_mod_revision: bounds.0,
            max_mod_revision: bounds.1,
            min_create_revision: bounds.2,
            max_create_revision: bounds.3,
            keys_only: flags.0,
            count_only: flags.1,
            limit: flags.2,
        }
    })
}

fn put_of(many: bool) -> impl Strategy<Value = PutRequest> {
    let flag = || prop::bool::weighted(0.1);
    let lease = prop_oneof![4 => Just(0), 1 => 1..4i64];
    (key(many), 0..4u8, lease, any::<bool>(), flag(), flag()).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| {
            let value = if ignore_value { Bytes::new() } else { Bytes::from(vec![value; usize::from(value)]) };
            PutRequest { key, value, lease: if ignore_lease { 0 } else { lease }, prev_kv, ignore_value, ignore_lease }
        },
    )
}

fn delete_of(many: bool) -> impl Strategy<Value = DeleteRangeRequest> {
    (key_range(many), any::<bool>()).prop_map(|(range, prev_kv)| DeleteRangeRequest { range, prev_kv })
}

fn compare(many: bool) -> impl Strategy<Value = Compare> {
    let result = prop::sample::select(vec![
        CompareResult::Equal,
        CompareResult::Greater,
        CompareResult::Less,
        CompareResult::NotEqual,
    ]);
    let target = prop_oneof![
        (0..3i64).prop_map(CompareTarget::Version),
        (0..30i64).prop_map(CompareTarget::CreateRevision),
        (0..30i64).prop_map(CompareTarget::ModRevision),
        (0..4u8).prop_map(|n| CompareTarget::Value(Bytes::from(vec![n; usize::from(n)]))),
        (0..4i64).prop_map(CompareTarget::Lease),
    ];
    (key_range(many), result, target).prop_map(|(range, result, target)| Compare { range, result, target })
}

fn txn(many: bool) -> impl Strategy<Value = TxnRequest> {
    let leaf = move || {
        prop_oneof![
            (range(many), prop_oneof![4 => Just(0), 1 => -1..30i64])
                .prop_map(|(range, revision)| RequestOp::Range(at(revision, range))),
            put_of(many).prop_map(RequestOp::Put),
            delete_of(many).prop_map(RequestOp::DeleteRange),
        ]
    };
    let assemble = |(compare, success, failure)| TxnRequest { compare, success, failure };
    let inner = (vec(compare(many), 0..2), vec(leaf(), 0..3), vec(leaf(), 0..3)).prop_map(assemble).boxed();
    let operation = move || prop_oneof![4 => leaf(), 1 => inner.clone().prop_map(RequestOp::Txn)];
    (vec(compare(many), 0..3), vec(operation(), 0..4), vec(operation(), 0..4))
        .prop_map(assemble)
        .prop_filter("written twice", |txn| check(txn, 128).is_ok())
}

fn step(many: bool) -> impl Strategy<Value = Step> {
    let command = prop_oneof![
        12 => put_of(many).prop_map(Command::Put),
        2 => delete_of(many).prop_map(Command::DeleteRange),
        3 => txn(many).prop_map(Command::Txn),
        2 => (1..4i64, 5..9i64).prop_map(|(id, ttl)| Command::LeaseGrant { id, ttl }),
        1 => (1..4i64).prop_map(|id| Command::LeaseRevoke { id }),
    ];
    prop_oneof![
        20 => command.prop_map(Step::Apply),
        1 => any::<u8>().prop_map(Step::Compact),
        1 => Just(Step::BeginCheckpoint),
        1 => Just(Step::RunCheckpoint),
        1 => Just(Step::FinishCheckpoint),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
        1 => Just(Step::Snapshot),
        6 => (range(many), prop_oneof![1 => Just(255u8), 2 => any::<u8>()]).prop_map(|(r, at)| Step::Range(r, at)),
        2 => (any::<u8>(), 1..5usize, 1..400usize)
            .prop_map(|(from, revisions_max, bytes_max)| Step::Events { from, revisions_max, bytes_max }),
    ]
}

/// Runs a history, and its commands alone on a second machine; both must end alike.
fn run(steps: Vec<Step>) {
    let mut pair = Pair::new();
    for step in steps {
        pair.step(step);
    }
    pair.check_leases();
    let mut plain = Machine::new();
    for (command, outcome) in &pair.log {
        assert_eq!(&plain.apply(command), outcome);
    }
    let (a, b) = (pair.machine.kv.reader(), plain.kv.reader());
    for revision in [0, pair.model.compacted.max(1), (pair.model.compacted.max(1) + pair.model.revision) / 2] {
        assert_eq!(operation(a.hash_kv(revision)), operation(b.hash_kv(revision)));
    }
    assert_eq!(a.hash().unwrap(), b.hash().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn few_keys_with_long_histories(steps in vec(step(false), 1..120)) {
        run(steps);
    }

    #[test]
    fn many_keys_in_blocks(steps in vec(step(true), 1..250)) {
        run(steps);
    }
}
