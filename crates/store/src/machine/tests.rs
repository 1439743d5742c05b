//! State machines without an engine: what they do at full disks, and how they find out that their states differ.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use kontiki_kv::{Alarm, PutRequest, TxnRequest};
use kontiki_raft::NodeId;
use kontiki_world::{DirectoryLock, Disk, OpenMode, RealEntropy, SimDisk};

use super::*;
use crate::watch::Hub;

const TICK: Duration = Duration::from_millis(10);
const MEMBERS: [u64; 3] = [1, 2, 3];

/// A member's machine, with its disk and the directory whose lock it holds.
struct Member {
    disk: SimDisk,
    machine: StoreMachine,
    _dir: tempfile::TempDir,
}

fn member(id: u64) -> Member {
    let dir = tempfile::tempdir().unwrap();
    let lock = Arc::new(DirectoryLock::acquire(dir.path()).unwrap());
    let disk = SimDisk::new(id);
    let state = StateDir::open(Arc::new(disk.clone()), std::path::Path::new("/state"), lock).unwrap();
    let kv = Kv::open(state.open_current().unwrap(), KvOptions::default()).unwrap();
    let configuration = Arc::new(Configuration::of(MEMBERS.map(NodeId)));
    let link = Arc::new(Link::new(kv.reader(), 1, Hub::new(kv.revision()), configuration));
    let options = MachineOptions {
        member_id: id,
        data_dir: dir.path().to_owned(),
        state,
        kv: KvOptions::default(),
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(7),
        discard: Box::new(drop),
        entropy: Arc::new(RealEntropy),
        lease_error: Duration::from_secs(60),
    };
    Member { disk, machine: StoreMachine::new(options, kv, link, false).unwrap(), _dir: dir }
}

fn put(key: &str, value: &str) -> Command {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    Command::Put(PutRequest { key, value, ..PutRequest::default() })
}

fn entry(index: u64, command: &Command) -> Committed {
    let command = payload(9, index, &Proposer::Anonymous, &command.encode()).slice(1..);
    Committed { index: Index(index), term: Term(1), command: Some(command), configuration: None }
}

/// A cluster of machines whose first leads.
struct Machines {
    members: Vec<Member>,
    now: Duration,
    index: u64,
}

impl Machines {
    fn new() -> Machines {
        let now = Duration::from_secs(1);
        let mut members: Vec<Member> = MEMBERS.into_iter().map(member).collect();
        let leads = RaftLeadership { term: Term(1), leader: Some(NodeId(1)), role: RoleKind::Leader };
        members[0].machine.leadership(now, leads).unwrap();
        Machines { members, now, index: 0 }
    }

    /// All apply a command; one of them another in its place, as if a row of its state had changed by itself.
    fn apply(&mut self, command: &Command, damaged: Option<(u64, &Command)>) {
        self.index += 1;
        for (id, member) in MEMBERS.into_iter().zip(&mut self.members) {
            let own = damaged.filter(|(at, _)| *at == id).map_or(command, |(_, other)| other);
            member.machine.apply(vec![entry(self.index, own)]).unwrap();
        }
    }

    /// Time passes; the alarms that the leader proposes.
    fn pass(&mut self, time: Duration) -> Vec<u64> {
        let (end, mut alarms) = (self.now + time, Vec::new());
        while self.now < end {
            self.now += TICK;
            let (leader, others) = self.members.split_first_mut().unwrap();
            for payload in leader.machine.tick(self.now, true) {
                let (Proposer::Member, Command::Alarm { raise: true, member, alarm: Alarm::Corrupt }) =
                    read_body(&payload.slice(HEADER_BYTES..)).unwrap()
                else {
                    panic!("nothing else is due");
                };
                alarms.push(member);
            }
            assert!(leader.machine.question(self.now).is_none(), "the leader asks nobody");
            for member in others {
                assert!(member.machine.tick(self.now, false).is_empty());
                if let Some((id, body)) = member.machine.question(self.now) {
                    let answer = leader.machine.call(self.now, &body);
                    assert!(!answer.is_empty());
                    member.machine.answered(id, Some(answer));
                }
            }
        }
        alarms
    }
}

#[test]
fn a_falsified_row_is_found_within_ten_seconds_and_the_alarm_names_its_member() {
    for damaged in MEMBERS {
        let mut machines = Machines::new();
        for n in 0..300 {
            machines.apply(&put(&format!("key{n}"), "value"), None);
        }
        assert!(machines.pass(Duration::from_secs(30)).is_empty(), "all states are equal");
        machines.apply(&put("key7", "value"), Some((damaged, &put("key7", "valve"))));
        let alarms = machines.pass(Duration::from_secs(10) + TICK);
        assert!(alarms.contains(&damaged) && alarms.iter().all(|named| *named == damaged), "{damaged}: {alarms:?}");
        // Once it is raised it is not raised again, and writes are refused.
        machines.apply(&Command::Alarm { raise: true, member: damaged, alarm: Alarm::Corrupt }, None);
        assert!(machines.pass(Duration::from_secs(30)).is_empty());
        assert_eq!(machines.members[0].machine.kv.reader().alarms().unwrap(), [(damaged, Alarm::Corrupt)]);
    }
}

#[test]
fn members_that_apply_in_other_steps_and_lag_are_equal() {
    let mut machines = Machines::new();
    for round in 0..20_u64 {
        let entries: Vec<Committed> =
            (1..=500).map(|n| entry(round * 500 + n, &put(&format!("key{}", n % 7), &round.to_string()))).collect();
        for (at, member) in machines.members.iter_mut().enumerate() {
            for step in entries.chunks([500, 1, 37][at]) {
                member.machine.apply(step.to_vec()).unwrap();
            }
            // Between the members' steps time passes: reports speak of different moments.
        }
        assert!(machines.pass(Duration::from_secs(3)).is_empty());
    }
}

#[test]
fn what_takes_space_is_known_by_its_command() {
    let Member { mut machine, _dir, .. } = member(1);
    let takes = |machine: &StoreMachine, command: &Command| {
        machine.takes_space(&payload(1, 1, &Proposer::Anonymous, &command.encode()).slice(1..))
    };
    assert!(takes(&machine, &put("a", "b")));
    assert!(takes(&machine, &Command::LeaseGrant { id: 1, ttl: 5 }));
    assert!(!takes(&machine, &Command::LeaseRevoke { id: 1 }));
    assert!(!takes(&machine, &Command::Compact { revision: 3 }));
    assert!(!takes(&machine, &Command::Txn(TxnRequest::default())));
    assert!(!machine.takes_space(&Bytes::from_static(b"short")));
    machine.observe(Progress { low_space: true, ..Progress::default() });
    assert!(machine.link.counters.low_space.load(Relaxed));
}

#[test]
fn a_checkpoint_that_waits_for_space_is_told_and_ends_by_itself() {
    let Member { mut machine, disk, _dir } = member(1);
    for n in 1..=200 {
        machine.apply(vec![entry(n, &put(&format!("key{n}"), &"value".repeat(1_000)))]).unwrap();
    }
    assert!(!machine.is_low_on_space());
    disk.full(Some(0));
    let position = LogPosition { term: Term(1), index: Index(200) };
    let job = machine.begin_checkpoint(position, &Arc::new(Configuration::of(MEMBERS.map(NodeId)))).unwrap();
    let checkpoint = std::thread::spawn(job);
    while !machine.is_low_on_space() {
        assert!(!checkpoint.is_finished(), "there was no room for it");
        std::thread::yield_now();
    }
    machine.apply(vec![entry(201, &put("key7", "meanwhile"))]).unwrap();
    disk.full(None);
    machine.finish_checkpoint(checkpoint.join().unwrap().unwrap()).unwrap();
    assert!(!machine.is_low_on_space());
}

#[test]
fn a_refusal_reaches_who_waits_in_its_own_words() {
    let Member { mut machine, _dir, .. } = member(1);
    let mut wait = |token, why, head: Bytes| {
        let (sender, mut answer) = tokio::sync::oneshot::channel();
        let waiter = crate::link::Waiter { sender, since: Duration::ZERO, term: 1 };
        machine.link.expect_proposal(token, waiter);
        machine.refused(head, why);
        answer.try_recv().unwrap()
    };
    let whole = payload(1, 5, &Proposer::Anonymous, &put("a", "b").encode());
    assert_eq!(wait(5, NotTaken::NoSpace, whole.slice(..20)), Err(StoreError::Operation(OperationError::NoSpace)));
    assert_eq!(wait(5, NotTaken::TooMuch, whole), Err(StoreError::TooManyRequests));
    machine.refused(Bytes::from_static(b"odd"), NotTaken::TooMuch); // a head that no member of this version sends
}

#[test]
fn a_full_disk_ends_a_snapshot_and_not_the_member() {
    let mut sender = member(1).machine;
    sender.apply(vec![entry(1, &put("a", "b"))]).unwrap();
    let position = LogPosition { term: Term(1), index: Index(1) };
    let configuration = Arc::new(Configuration::of(MEMBERS.map(NodeId)));
    let job = sender.begin_checkpoint(position, &configuration).unwrap();
    sender.finish_checkpoint(job().unwrap()).unwrap();
    let (meta, mut source) = sender.snapshot().unwrap();
    let parts: Vec<Bytes> = std::iter::from_fn(|| source.next_rows(100).unwrap()).collect();

    let dir = tempfile::tempdir().unwrap();
    let lock = Arc::new(DirectoryLock::acquire(dir.path()).unwrap());
    let disk = SimDisk::new(7);
    let state = StateDir::open(Arc::new(disk.clone()), std::path::Path::new("/state"), lock).unwrap();
    let receive = || {
        let receiving = Receiving::begin(&state, 7);
        let taken = parts.iter().all(|part| receiving.take(part, false).unwrap());
        let whole = receiving.take(&Bytes::new(), true).unwrap();
        assert!(taken || !whole, "whole without all parts");
        whole
    };
    let mut refused = 0;
    for bytes_left in (0..3_000_000).step_by(100_000) {
        disk.full(Some(bytes_left));
        refused += u32::from(!receive());
    }
    assert!(refused > 0, "no step met the full disk");
    disk.full(None);
    assert!(receive());
    let kv = Kv::open(state.install_incoming().unwrap(), KvOptions::default()).unwrap();
    assert_eq!(kv.applied().0, meta.position.index.0);
}

#[test]
fn a_crash_at_any_step_of_an_installation_leaves_one_of_the_two_states() {
    let mut sender = member(1).machine;
    sender.apply(vec![entry(1, &put("a", "b"))]).unwrap();
    let position = LogPosition { term: Term(1), index: Index(1) };
    let configuration = Arc::new(Configuration::of(MEMBERS.map(NodeId)));
    let job = sender.begin_checkpoint(position, &configuration).unwrap();
    sender.finish_checkpoint(job().unwrap()).unwrap();
    let (_, mut source) = sender.snapshot().unwrap();
    let parts: Vec<Bytes> = std::iter::from_fn(|| source.next_rows(100).unwrap()).collect();
    let dir = tempfile::tempdir().unwrap();
    let lock = Arc::new(DirectoryLock::acquire(dir.path()).unwrap());
    let mut seen = [0, 0];
    for step in 0..8 {
        for seed in 0..10 {
            let disk = SimDisk::new(seed);
            let state = StateDir::open(Arc::new(disk.clone()), std::path::Path::new("/state"), lock.clone()).unwrap();
            drop(Kv::open(state.open_current().unwrap(), KvOptions::default()).unwrap());
            let receiving = Receiving::begin(&state, 7);
            let take = |parts: &[Bytes]| parts.iter().for_each(|part| assert!(receiving.take(part, false).unwrap()));
            if step > 0 {
                take(&parts[..1]);
            }
            if step > 1 {
                take(&parts[1..parts.len() / 2]);
            }
            if step > 2 {
                take(&parts[parts.len() / 2..]);
            }
            if step > 3 {
                assert!(receiving.take(&Bytes::new(), true).unwrap());
            }
            if step == 5 {
                disk.fail_syncs(true); // between the rename and the directory's sync
                assert!(state.install_incoming().is_err());
            } else if step > 5 {
                state.install_incoming().unwrap();
            }
            disk.crash();
            disk.fail_syncs(false);
            let kv = Kv::open(state.open_current().unwrap(), KvOptions::default()).unwrap();
            let applied = kv.applied().0;
            assert!(step >= 5 || applied == 0, "an incomplete transfer took the state's place at step {step}");
            assert!(step < 6 || applied == 1, "an installed state is gone");
            seen[usize::try_from(applied).unwrap()] += 1;
        }
    }
    assert!(seen[0] > 40 && seen[1] > 20, "{seen:?}");
}

#[test]
fn parts_of_a_former_transfer_do_not_reach_the_next() {
    let mut sender = member(1).machine;
    sender.apply(vec![entry(1, &put("a", "b"))]).unwrap();
    let position = LogPosition { term: Term(1), index: Index(1) };
    let job = sender.begin_checkpoint(position, &Arc::new(Configuration::of(MEMBERS.map(NodeId)))).unwrap();
    sender.finish_checkpoint(job().unwrap()).unwrap();
    let (meta, mut source) = sender.snapshot().unwrap();
    let parts: Vec<Bytes> = std::iter::from_fn(|| source.next_rows(100).unwrap()).collect();

    let Member { mut machine, _dir, .. } = member(2);
    assert!(machine.receive_begin(&meta).unwrap());
    let late = machine.receive_job(&parts[0], false).unwrap();
    assert!(machine.receive_begin(&meta).unwrap());
    let jobs: Vec<ReceiveJob> = parts.iter().map(|part| machine.receive_job(part, false).unwrap()).collect();
    let end = machine.receive_job(&Bytes::new(), true).unwrap();
    assert!(late().unwrap());
    assert!(jobs.into_iter().all(|job| job().unwrap()) && end().unwrap());
    machine.install(&meta).unwrap();
    assert_eq!(machine.kv.applied().0, 1);
}

fn published(machine: &StoreMachine) -> i64 {
    let mut at = 0;
    machine.link.hub.progress(0, |revision, _| at = revision);
    at
}

#[test]
fn watches_miss_nothing_of_a_batch_that_met_damage() {
    let Member { mut machine, disk, _dir } = member(1);
    let value = "v".repeat(1_000);
    let configuration = Arc::new(Configuration::of(MEMBERS.map(NodeId)));
    let fill = |machine: &mut StoreMachine| {
        for n in 1..=3_000 {
            machine.apply(vec![entry(n, &put(&format!("key{n:05}"), &value))]).unwrap();
        }
        let at = LogPosition { term: Term(1), index: Index(3_000) };
        let job = machine.begin_checkpoint(at, &configuration).unwrap();
        machine.finish_checkpoint(job().unwrap()).unwrap();
    };
    fill(&mut machine);
    let state = machine.options.state.clone();
    drop(machine);
    let options = KvOptions { cache_bytes: 4096, ..KvOptions::default() };
    let kv = Kv::open(state.open_current().unwrap(), options).unwrap();
    let link = Arc::new(Link::new(kv.reader(), 1, Hub::new(kv.revision()), configuration.clone()));
    let options = MachineOptions {
        member_id: 1,
        data_dir: _dir.path().to_owned(),
        state: state.clone(),
        kv: options,
        election_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(7),
        discard: Box::new(drop),
        entropy: Arc::new(RealEntropy),
        lease_error: Duration::from_secs(60),
    };
    let mut machine = StoreMachine::new(options, kv, link, false).unwrap();
    machine.apply(vec![entry(3_001, &put("key00001", "warm"))]).unwrap();
    let file = disk.open(&state.current(), OpenMode::Existing).unwrap();
    let rest = file.len().unwrap() - 16_384;
    file.write_all_at(&vec![0x5a; rest as usize], 16_384).unwrap();
    let batch = vec![entry(3_002, &put("key00001", "before")), entry(3_003, &put("key02999", "at"))];
    assert!(machine.apply(batch.clone()).unwrap_err().damaged);
    assert_eq!(published(&machine), 3_003, "what was applied before the damage is published");
    machine.lose_state().unwrap();
    assert!(machine.state_lost() && machine.awaits_state());

    let mut leader = member(2).machine;
    fill(&mut leader);
    let (meta, mut source) = leader.snapshot().unwrap();
    assert!(machine.receive_begin(&meta).unwrap());
    while let Some(rows) = source.next_rows(1 << 20).unwrap() {
        assert!(machine.receive_rows(&rows).unwrap());
    }
    assert!(machine.receive_end().unwrap());
    machine.install(&meta).unwrap();
    assert!(!machine.state_lost() && machine.awaits_state(), "readers still have the former state");
    machine.apply(vec![entry(3_001, &put("key00001", "warm"))]).unwrap();
    for (entry, revision) in batch.into_iter().zip([3_003, 3_004]) {
        machine.apply(vec![entry]).unwrap();
        assert_eq!((machine.kv.revision(), published(&machine)), (revision, revision));
    }
    assert!(!machine.awaits_state());
    assert_eq!(machine.link.reader().revision(), 3_004);
}

#[test]
fn a_deposed_leader_revokes_nothing() {
    let mut machines = Machines::new();
    machines.apply(&Command::LeaseGrant { id: 7, ttl: 2 }, None);
    let machine = &mut machines.members[0].machine;
    let follows = RaftLeadership { term: Term(2), leader: Some(NodeId(2)), role: RoleKind::Follower };
    machine.leadership(machines.now, follows).unwrap();
    // The next leader may have renewed the lease meanwhile.
    assert!(machine.tick(machines.now + Duration::from_secs(60), false).is_empty());
}
