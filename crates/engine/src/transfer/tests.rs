//! Both ends of a transfer with what a network does between them: loss, repetition, disorder; and a receiver that
//! forgets.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;

use kontiki_raft::{LogPosition, Term};
use kontiki_world::Random;

use super::*;

const SENDER: NodeId = NodeId(1);
const TICK: Duration = Duration::from_millis(10);
const PARTS: u64 = 40;

/// A snapshot of numbered parts.
struct Numbered(u64);

impl SnapshotSource for Numbered {
    fn next_rows(&mut self, _bytes_max: usize) -> Result<Option<Bytes>, MachineError> {
        let rows = (self.0 < PARTS - 1).then(|| Bytes::from(vec![u8::try_from(self.0).unwrap(); 100]));
        self.0 += 1;
        Ok(rows)
    }
}

fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta { position: LogPosition { term: Term(1), index: Index(index) }, configuration: Arc::default() }
}

fn outgoing(now: Duration) -> Outgoing {
    Outgoing::new(meta(9), Box::new(Numbered(0)), now)
}

fn incoming(next: u64, written: u64) -> Incoming {
    Incoming { from: SENDER, meta: meta(9), next, written, token: Arc::default() }
}

/// The receiving end, without a state machine.
#[derive(Default)]
struct Receiver {
    incoming: Option<Incoming>,
    taken: Vec<u64>,
    whole: bool,
}

impl Receiver {
    /// The answer to a part, if there is one.
    fn take(&mut self, sequence: u64, last: bool) -> Option<bool> {
        if self.whole {
            return Some(true);
        }
        match Incoming::turn(self.incoming.as_ref(), SENDER, &meta(9), sequence) {
            Turn::First => {
                self.taken.clear();
                self.incoming = Some(incoming(0, 0));
            }
            Turn::Next => {}
            Turn::Again => return Some(true),
            Turn::Early | Turn::Writing => return None,
            Turn::Stray => return Some(false),
        }
        self.incoming.as_mut().unwrap().next += 1;
        self.incoming.as_mut().unwrap().written += 1;
        self.taken.push(sequence);
        self.whole = last;
        Some(true)
    }
}

/// What is on its way: a part, or an answer.
#[derive(Clone, Copy)]
enum OnWay {
    Part(u64, bool),
    Answer(u64, bool),
}

struct Run {
    random: Random,
    now: Duration,
    on_way: BTreeMap<(Duration, u64), OnWay>,
    sent: u64,
    /// One in so many is lost, doubled, late; zero for none.
    lost: u64,
    doubled: u64,
    late: u64,
    /// The receiver forgets everything after so many parts.
    forgets_at: Option<u64>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let now = Duration::from_secs(10);
        let on_way = BTreeMap::new();
        Run { random: Random::new(seed), now, on_way, sent: 0, lost: 0, doubled: 0, late: 0, forgets_at: None }
    }

    fn send(&mut self, what: OnWay) {
        let copies = 1 + u64::from(self.random.one_in(self.doubled));
        for _ in 0..copies {
            if self.random.one_in(self.lost) {
                continue;
            }
            let late = if self.random.one_in(self.late) { 500 } else { 1 };
            self.sent += 1;
            self.on_way.insert((self.now + Duration::from_millis(1 + self.random.below(late)), self.sent), what);
        }
    }

    /// Runs transfers until one arrives; how many began.
    fn transfer(&mut self) -> (Receiver, u32) {
        let settings = Settings { snapshot_window: 8, ..Settings::default() };
        let (mut receiver, mut sender, mut began) = (Receiver::default(), outgoing(self.now), 1);
        for _ in 0..100_000 {
            self.now += Duration::from_millis(1);
            if self.now.as_millis().is_multiple_of(TICK.as_millis()) {
                sender.pass_time(self.now);
                assert!(!sender.stalled(self.now, &settings), "no progress for ten seconds");
            }
            for frame in sender.parts(GroupId(1), self.now, &settings, 1).unwrap() {
                let Frame::SnapshotChunk { sequence, last, .. } = frame else { unreachable!() };
                self.send(OnWay::Part(sequence, last));
            }
            assert!(sender.held.len() <= 8, "{} parts in memory", sender.held.len());
            while let Some(entry) = self.on_way.first_entry().filter(|entry| entry.key().0 <= self.now) {
                match entry.remove() {
                    OnWay::Part(sequence, last) => {
                        if self.forgets_at.is_some_and(|at| receiver.taken.len() as u64 == at) {
                            (self.forgets_at, receiver) = (None, Receiver::default());
                        }
                        if let Some(accepted) = receiver.take(sequence, last) {
                            self.send(OnWay::Answer(sequence, accepted));
                        }
                    }
                    OnWay::Answer(sequence, accepted) => match sender.acknowledge(sequence, accepted, self.now) {
                        Outcome::Goes => {}
                        Outcome::Arrived => return (receiver, began),
                        Outcome::Failed => (sender, began) = (outgoing(self.now), began + 1),
                    },
                }
            }
        }
        panic!("the transfer does not end");
    }
}

#[test]
fn parts_arrive_once_and_in_order_whatever_the_network_does() {
    let mut began_anew = 0;
    for seed in 0..300 {
        let mut run = Run::new(seed);
        run.lost = [0, 4, 10][(seed % 3) as usize];
        run.doubled = [0, 5][(seed / 3 % 2) as usize];
        run.late = [0, 3, 20][(seed / 6 % 3) as usize];
        let (receiver, began) = run.transfer();
        assert!(receiver.whole);
        assert_eq!(receiver.taken, (0..PARTS).collect::<Vec<u64>>(), "seed {seed}");
        assert!(began == 1 || run.late > 0, "seed {seed}: loss alone never begins anew");
        began_anew += began - 1;
    }
    // The refusal of a part that overtook the first one may itself come late, and be taken at its word.
    assert!(began_anew < 10, "{began_anew} transfers of 300 began anew because of disorder");
}

#[test]
fn a_receiver_that_crashed_at_any_part_gets_all_anew() {
    for at in 1..PARTS {
        let mut run = Run::new(at);
        run.forgets_at = Some(at);
        let (receiver, began) = run.transfer();
        assert_eq!(receiver.taken, (0..PARTS).collect::<Vec<u64>>(), "at part {at}");
        assert_eq!(began, 2, "at part {at}");
    }
}

#[test]
fn a_broken_connection_costs_what_was_on_it() {
    let settings = Settings { snapshot_window: 8, ..Settings::default() };
    let now = Duration::from_secs(1);
    let mut sender = outgoing(now);
    let sent = |sender: &mut Outgoing| -> Vec<u64> {
        let frames = sender.parts(GroupId(1), now, &settings, 1).unwrap();
        frames
            .iter()
            .map(|frame| match frame {
                Frame::SnapshotChunk { sequence, .. } => *sequence,
                _ => unreachable!(),
            })
            .collect()
    };
    assert_eq!(sent(&mut sender), (0..8).collect::<Vec<u64>>());
    assert_eq!(sender.acknowledge(2, true, now), Outcome::Goes);
    assert_eq!(sent(&mut sender), [8, 9, 10]);
    sender.disconnected();
    assert!(sent(&mut sender).is_empty());
    sender.begin_again(now);
    assert_eq!(sent(&mut sender), (3..11).collect::<Vec<u64>>(), "the state is not read again");
    // An answer from before the connection broke still counts, an older one changes nothing.
    assert_eq!(sender.acknowledge(5, true, now), Outcome::Goes);
    assert_eq!(sender.acknowledge(4, false, now), Outcome::Goes);
    assert_eq!(sent(&mut sender), [11, 12, 13]);
    sender.pass_time(now + SEND_AGAIN);
    assert_eq!(sent(&mut sender), (6..14).collect::<Vec<u64>>());
    assert_eq!(sender.acknowledge(HOLDS_ALL, true, now), Outcome::Arrived);
    assert_eq!(sender.acknowledge(6, false, now), Outcome::Failed, "the first that it waits for is refused");
}

#[test]
fn what_a_part_means_to_its_receiver() {
    let current = incoming(5, 4);
    let turn = |from, index, sequence| Incoming::turn(Some(&current), NodeId(from), &meta(index), sequence);
    assert_eq!(turn(1, 9, 3), Turn::Again);
    assert_eq!(turn(1, 9, 4), Turn::Writing);
    assert_eq!(turn(1, 9, 0), Turn::Again, "a sender that began anew goes on where the receiver is");
    assert_eq!(turn(1, 9, 5), Turn::Next);
    assert_eq!(turn(1, 9, 6), Turn::Early);
    assert_eq!(turn(2, 9, 5), Turn::Stray);
    assert_eq!(turn(2, 9, 0), Turn::First, "another leader");
    assert_eq!(turn(1, 10, 0), Turn::First, "a newer snapshot");
    assert_eq!(turn(1, 8, 0), Turn::Stray, "an older one: late");
    assert_eq!(Incoming::turn(None, SENDER, &meta(9), 0), Turn::First);
    assert_eq!(Incoming::turn(None, SENDER, &meta(9), 3), Turn::Stray);
}

#[test]
fn no_more_goes_out_than_is_allowed() {
    // Forty parts of a hundred bytes in a second, for all transfers together.
    let settings = Settings { snapshot_window: u64::MAX, snapshot_bytes_per_second: 4_000, ..Settings::default() };
    for transfers in [2, 4] {
        let mut now = Duration::from_secs(1);
        let mut senders: Vec<Outgoing> = (0..transfers).map(|_| outgoing(now)).collect();
        let mut parts = vec![0; transfers];
        for _ in 0..100 {
            now += TICK;
            for (sender, parts) in senders.iter_mut().zip(&mut parts) {
                *parts += sender.parts(GroupId(1), now, &settings, transfers).unwrap().len();
            }
        }
        let share = 40 / transfers;
        assert!(parts.iter().all(|parts| (share - 1..=share + 1).contains(parts)), "{parts:?} parts in a second");
    }
}

#[test]
fn work_of_a_transfer_that_was_given_up_means_nothing() {
    let mut current = Some(incoming(2, 0));
    let done = |of: &Option<Incoming>, last, whole| PartDone {
        token: Arc::clone(&of.as_ref().unwrap().token),
        last,
        result: Ok(whole),
    };
    let former = Some(incoming(1, 0));
    let late = done(&former, true, true);
    assert_eq!(Incoming::finish(&mut current, late).unwrap(), None);
    let first = done(&current, false, true);
    assert_eq!(Incoming::finish(&mut current, first).unwrap(), Some((SENDER, meta(9), 0, Part::Taken)));
    let (second, last) = (done(&current, false, false), done(&current, true, true));
    assert_eq!(Incoming::finish(&mut current, second).unwrap(), Some((SENDER, meta(9), 1, Part::Refused)));
    assert_eq!(Incoming::finish(&mut current, last).unwrap(), None, "a part before it was damaged");
}

#[test]
fn a_receiver_that_still_writes_gets_more_time_and_not_for_ever() {
    let settings = Settings::default();
    let second = Duration::from_secs(1);
    let mut sender = outgoing(second);
    assert!(!sender.parts(GroupId(1), second, &settings, 1).unwrap().is_empty());
    assert_eq!(sender.acknowledge(0, true, 2 * second), Outcome::Goes);
    assert!(sender.stalled(2 * second + settings.snapshot_timeout + TICK, &settings));
    let mut now = 2 * second;
    while !sender.stalled(now, &settings) {
        now += second;
        assert_eq!(sender.acknowledge(0, true, now), Outcome::Goes);
        assert!(now < 2 * second + 7 * settings.snapshot_timeout);
    }
    assert!(now > 2 * second + 5 * settings.snapshot_timeout);
}
