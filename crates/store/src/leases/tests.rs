//! The clock by itself, and under a model of leaders that come and go: no lease ends before the time that a client was told
//! of.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_kv::{Command, Kv, LeaseRow, Options, Reply};
use kontiki_world::{Entropy, SeededEntropy};
use redb::backends::InMemoryBackend;

use super::clock::{Due, LeaseClock};
use super::pace::{REVOKES_IN_FLIGHT, REVOKES_PER_TURN, ROWS_PER_TURN, SAID_PER_TURN};
use crate::calls::LeaseAnswer;

const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn row(ttl: i64, left: Option<i64>) -> LeaseRow {
    LeaseRow { ttl, granted: 1, left }
}

/// A clock that leads since a moment, with these leases in its table.
fn leading(since: f64, rows: &[(i64, LeaseRow)]) -> LeaseClock {
    let mut clock = LeaseClock::new(at(60.0));
    clock.lead(at(since), ELECTION_TIMEOUT);
    clock.start();
    clock.load(rows);
    clock
}

fn over(clock: &mut LeaseClock, now: f64) -> Vec<i64> {
    clock.due(at(now)).over
}

#[test]
fn a_lease_lives_its_time_and_renewal_starts_it_anew() {
    let mut clock = leading(0.0, &[]);
    clock.granted(at(10.0), 7, 5);
    assert_eq!(clock.time_to_live(at(10.0), 7).ttl, 5);
    assert!(over(&mut clock, 15.0).is_empty(), "never early");
    assert_eq!(clock.renew(at(15.0), 7).ttl, 5);
    assert!(over(&mut clock, 19.9).is_empty());
    assert_eq!(over(&mut clock, 20.2), vec![7]);
    assert_eq!(clock.renew(at(20.2), 7), LeaseAnswer { ttl: 0, granted_ttl: 5 }, "its time is over, and it is there");
    assert_eq!(clock.time_to_live(at(20.2), 7).ttl, -1);
    assert!(over(&mut clock, 20.3).is_empty(), "named once");
    assert_eq!(clock.due(at(26.0)), Due { over: vec![7], ..Due::default() }, "and again when nothing came of it");
    clock.revoked(7);
    assert!(over(&mut clock, 60.0).is_empty());
    assert_eq!(clock.renew(at(60.0), 7), LeaseAnswer::NONE);
    assert_eq!(clock.time_to_live(at(60.0), 7).ttl, -1);
}

#[test]
fn a_revocation_that_was_dropped_is_named_again_at_once() {
    let mut clock = leading(0.0, &[]);
    clock.granted(at(0.0), 7, 5);
    clock.granted(at(1.0), 8, 5);
    assert_eq!(over(&mut clock, 5.2), vec![7]);
    assert_eq!(over(&mut clock, 6.2), vec![8]);
    clock.dropped(at(6.2));
    assert_eq!(over(&mut clock, 6.21), vec![8], "the other one is on its way");
    assert!(over(&mut clock, 6.22).is_empty());
}

#[test]
fn a_new_leader_gives_what_is_left_and_an_election_timeout() {
    let mut clock = LeaseClock::new(at(60.0));
    clock.granted(at(1.0), 1, 5);
    assert_eq!(clock.time_to_live(at(1.0), 1).ttl, -1, "a follower has no clock");
    clock.lead(at(100.0), ELECTION_TIMEOUT);
    clock.granted(at(100.0), 1, 5);
    assert_eq!(clock.time_to_live(at(100.0), 1).ttl, -1, "what earlier leaders did is not all applied yet");
    clock.start();
    assert!(clock.may_lack(1) && clock.wants().is_some());
    clock.load(&[(1, row(5, None)), (2, row(900, None)), (3, row(900, Some(7)))]);
    assert!(!clock.may_lack(1) && clock.wants().is_none());
    assert!(over(&mut clock, 105.9).is_empty());
    assert_eq!(over(&mut clock, 106.1), vec![1]);
    assert!(over(&mut clock, 107.9).is_empty());
    assert_eq!(over(&mut clock, 108.1), vec![3], "its last leader had said so");
    clock.follow();
    assert!(over(&mut clock, 2_000.0).is_empty());
}

#[test]
fn a_lease_that_a_new_leader_has_not_read_yet_is_renewed_all_the_same() {
    let mut clock = LeaseClock::new(at(60.0));
    clock.lead(at(0.0), ELECTION_TIMEOUT);
    clock.start();
    let rows: Vec<(i64, LeaseRow)> = (0..ROWS_PER_TURN as i64).map(|id| (id, row(5, None))).collect();
    clock.load(&rows);
    let later = rows.len() as i64 + 7;
    assert!(clock.may_lack(later) && !clock.may_lack(3));
    clock.add(later, row(10, None));
    assert_eq!(clock.renew(at(2.0), later).ttl, 10);
    assert_eq!(clock.wants().unwrap().0, rows.len() as i64);
    clock.load(&[(later, row(10, None))]);
    assert_eq!(clock.time_to_live(at(2.0), later).ttl, 10, "its renewal is not forgotten");
    assert!(clock.wants().is_none());
}

#[test]
fn what_is_left_of_a_long_lease_is_said_and_taken_back_before_it_is_renewed() {
    let mut clock = leading(0.0, &[]);
    clock.granted(at(0.0), 1, 3_600);
    clock.granted(at(0.0), 2, 60);
    assert_eq!(clock.due(at(299.0)).said, vec![], "nothing is worth an entry yet");
    clock.renew(at(299.0), 1);
    assert_eq!(clock.due(at(590.0)).said, vec![], "it was renewed meanwhile");
    assert_eq!(clock.due(at(600.0)).said, vec![(1, Some(3_299))], "rounded up");
    assert_eq!(clock.due(at(700.0)).said, vec![]);
    // A renewal waits until the word is taken back.
    let again = LeaseAnswer { ttl: LeaseAnswer::AGAIN, granted_ttl: 3_600 };
    assert_eq!(clock.renew(at(800.0), 1), again);
    assert_eq!(clock.take_back(at(800.0), 70), vec![(1, None)]);
    assert_eq!(clock.take_back(at(800.0), 71), vec![], "once");
    clock.said(5, &[(1, None)]);
    assert_eq!(clock.renew(at(800.1), 1), again, "that was another proposal");
    assert_eq!(clock.renew(at(802.0), 1), again);
    assert_eq!(clock.take_back(at(802.0), 72), vec![(1, None)], "the first one may be lost");
    clock.said(70, &[(1, None)]);
    assert_eq!(clock.renew(at(802.1), 1), again, "the newest one counts");
    clock.said(72, &[(1, None)]);
    assert_eq!(clock.renew(at(802.1), 1).ttl, 3_600);
    assert_eq!(clock.due(at(1_102.5)).said, vec![(1, Some(3_300))]);
}

#[test]
fn a_word_behind_one_that_is_being_taken_back_is_taken_back_itself() {
    let mut clock = leading(0.0, &[]);
    clock.granted(at(0.0), 1, 3_600);
    assert_eq!(clock.due(at(301.0)).said.len(), 1);
    let again = LeaseAnswer { ttl: LeaseAnswer::AGAIN, granted_ttl: 3_600 };
    assert_eq!(clock.renew(at(400.0), 1), again);
    assert_eq!(clock.take_back(at(400.0), 70), vec![(1, None)]);
    // Nothing is applied for so long that there is more to say, and nobody asks again meanwhile.
    let (later, said) = (401..2_000)
        .map(|second| (f64::from(second), clock.due(at(f64::from(second))).said))
        .find(|(_, said)| !said.is_empty())
        .unwrap();
    assert!(said[0].1.is_some());
    assert_eq!(clock.take_back(at(later), 71), vec![(1, None)], "behind the new word");
    clock.said(70, &[(1, None)]);
    assert_eq!(clock.renew(at(later), 1), again, "the new word still comes");
    clock.said(71, &said);
    clock.said(71, &[(1, None)]);
    assert_eq!(clock.renew(at(later), 1).ttl, 3_600);
}

#[test]
fn however_many_leases_end_at_once_a_turn_does_only_so_much_and_all_end() {
    let mut clock = leading(0.0, &[]);
    let count = 20_000;
    for id in 0..count {
        clock.granted(at(1.0), id, 5);
    }
    let (mut now, mut ended, mut in_flight) = (7.0, 0, Vec::new());
    while ended < count {
        let due = clock.due(at(now));
        assert!(due.over.len() <= REVOKES_PER_TURN && due.first == due.over.len());
        in_flight.extend(due.over);
        assert!(in_flight.len() <= REVOKES_IN_FLIGHT);
        now += 0.01;
        // The cluster lags: what was proposed is applied in lumps.
        if in_flight.len() == REVOKES_IN_FLIGHT || ended + in_flight.len() as i64 == count {
            ended += in_flight.len() as i64;
            in_flight.drain(..).for_each(|id| clock.revoked(id));
        }
    }
    assert!(now < 14.0, "within seconds: {now}");
    assert!(over(&mut clock, now).is_empty());
}

#[test]
fn what_is_said_of_many_leases_goes_out_in_portions() {
    let mut clock = leading(0.0, &[]);
    for id in 0..1_000 {
        clock.granted(at(0.0), id, 3_600);
    }
    for _ in 0..1_000 / SAID_PER_TURN {
        assert_eq!(clock.due(at(301.0)).said.len(), SAID_PER_TURN);
    }
    assert!(clock.due(at(301.0)).said.is_empty());
}

/// A cluster as leases see it: one log, a state, a leader with its clock, perhaps one before it that does not know yet.
struct World {
    chance: SeededEntropy,
    now: Duration,
    kv: Kv,
    /// Terms and commands; none for a leader's first entry. Those behind `committed` may be lost with their leader.
    log: Vec<(u64, Option<Proposal>)>,
    committed: usize,
    applied: usize,
    term: u64,
    token: u64,
    leader: Leader,
    /// The leader before, and until when it still answers.
    former: Option<(Leader, Duration)>,
    /// Until when clients rely on leases.
    promised: BTreeMap<i64, Duration>,
    figures: Figures,
}

/// A command in the log, its token, and when it was asked for.
#[derive(Clone)]
struct Proposal {
    command: Command,
    token: u64,
    asked: Duration,
}

/// That the model is worth something.
#[derive(Default)]
struct Figures {
    ended: u32,
    said: u32,
    cleared: u32,
    shortened: u32,
    by_former: u32,
}

/// A leader, with a time of its own.
struct Leader {
    clock: LeaseClock,
    offset: Duration,
}

impl World {
    fn new(seed: u64) -> World {
        let kv = Kv::open(InMemoryBackend::new(), Options::default()).unwrap();
        let clock = LeaseClock::new(at(3.0));
        let mut world = World {
            chance: SeededEntropy::new(seed),
            now: at(10.0),
            kv,
            log: Vec::new(),
            committed: 0,
            applied: 0,
            term: 0,
            token: 0,
            leader: Leader { clock, offset: Duration::ZERO },
            former: None,
            promised: BTreeMap::new(),
            figures: Figures::default(),
        };
        world.elect();
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.chance.draw() % bound
    }

    /// Another leader, or the same one after a crash: of what was not committed it has a part.
    fn elect(&mut self) {
        let kept = self.committed + self.below((self.log.len() - self.committed) as u64 + 1) as usize;
        self.log.truncate(kept);
        self.term += 1;
        self.log.push((self.term, None));
        let mut clock = LeaseClock::new(at(3.0));
        let offset = Duration::from_millis(self.below(1_000_000));
        clock.lead(self.now + offset, ELECTION_TIMEOUT);
        let former = std::mem::replace(&mut self.leader, Leader { clock, offset });
        self.former = Some((former, self.now + ELECTION_TIMEOUT / 2));
    }

    fn propose(&mut self, command: Command) {
        self.token += 1;
        self.log.push((self.term, Some(Proposal { command, token: self.token, asked: self.now })));
    }

    /// Some entries are committed, and applied.
    fn commit(&mut self) {
        self.committed += self.below((self.log.len() - self.committed) as u64 + 1) as usize;
        while self.applied < self.committed {
            let (term, entry) = self.log[self.applied].clone();
            self.applied += 1;
            let index = self.applied as u64;
            let Some(Proposal { command, token, asked }) = entry else {
                self.kv.skip(index, term);
                continue;
            };
            if term == self.term {
                self.leader.clock.start();
            }
            let reply = self.kv.batch().apply(index, term, &command).unwrap().result;
            let (now, clock) = (self.now + self.leader.offset, &mut self.leader.clock);
            match (&command, reply) {
                (Command::LeaseGrant { id, ttl }, Ok(Reply::LeaseGrant { .. })) => {
                    clock.granted(now, *id, *ttl);
                    self.promised.insert(*id, asked + Duration::from_secs(*ttl as u64));
                }
                (Command::LeaseRevoke { id }, Ok(_)) => {
                    clock.revoked(*id);
                    self.promised.remove(id);
                }
                (Command::LeaseExpire { id, .. }, Ok(_)) => {
                    clock.revoked(*id);
                    let promised = self.promised.remove(id).unwrap();
                    assert!(self.now >= promised, "lease {id} was promised until {promised:?}: {:?}", self.now);
                    self.figures.ended += 1;
                }
                (Command::LeaseCheckpoint { leases, .. }, _) if term == self.term => clock.said(token, leases),
                _ => {}
            }
        }
        if !self.leader.clock.runs() && self.kv.applied().1 == self.term {
            self.leader.clock.start();
        }
    }

    /// A turn of the leader's clock. Some of what it proposes is dropped.
    fn turn(&mut self) {
        let now = self.now + self.leader.offset;
        if let Some((from, _)) = self.leader.clock.wants() {
            let rows = self.kv.reader().lease_rows(from, ROWS_PER_TURN).unwrap();
            self.figures.shortened += rows.iter().filter(|(_, row)| row.left.is_some()).count() as u32;
            self.leader.clock.load(&rows);
        }
        let Due { over, said, .. } = self.leader.clock.due(now);
        for id in over {
            if self.below(10) > 0 {
                self.propose(Command::LeaseExpire { applied: self.applied as u64, id });
            }
        }
        let cleared = self.leader.clock.take_back(now, self.token + 1);
        self.figures.said += said.len() as u32;
        self.figures.cleared += cleared.len() as u32;
        let leases = [said, cleared].concat();
        if !leases.is_empty() {
            let command = Command::LeaseCheckpoint { applied: self.applied as u64, leases };
            if self.below(10) > 0 {
                self.propose(command);
            } else {
                self.token += 1;
            }
        }
    }

    /// A client renews: at the leader, or at one that was cut off and does not know it yet.
    fn renew(&mut self, id: i64) {
        if self.former.as_ref().is_some_and(|(_, until)| self.now >= *until) {
            self.former = None;
        }
        let cut_off = self.former.is_some() && self.below(2) == 0;
        let leader = match &mut self.former {
            Some((former, _)) if cut_off => former,
            _ => &mut self.leader,
        };
        if !leader.clock.runs() {
            return;
        }
        if leader.clock.may_lack(id) && !cut_off {
            let Some(row) = self.kv.reader().lease_row(id).unwrap() else { return };
            leader.clock.add(id, row);
        }
        let answer = leader.clock.renew(self.now + leader.offset, id);
        if answer.ttl > 0
            && let Some(promised) = self.promised.get_mut(&id)
        {
            *promised = (*promised).max(self.now + Duration::from_secs(answer.ttl as u64));
            self.figures.by_former += u32::from(cut_off);
        }
    }

    fn step(&mut self) {
        // Now and then nothing is committed for long.
        let longest = if self.below(40) == 0 { 6_000 } else { 250 };
        let time = Duration::from_millis(self.below(longest));
        self.now += time;
        let id = self.below(12) as i64;
        match self.below(100) {
            0..8 => {
                let ttl = 2 + self.below(40) as i64;
                self.propose(Command::LeaseGrant { id, ttl });
            }
            8 => {
                self.propose(Command::LeaseRevoke { id });
            }
            9..20 => self.renew(id),
            20..22 => self.elect(),
            22..60 => self.commit(),
            _ => self.turn(),
        }
    }
}

#[test]
fn no_lease_ends_before_the_time_that_a_client_was_told_of() {
    let mut all = Figures::default();
    for seed in 0..100 {
        let mut world = World::new(seed);
        for _ in 0..3_000 {
            world.step();
        }
        let Figures { ended, said, cleared, shortened, by_former } = world.figures;
        all.ended += ended;
        all.said += said;
        all.cleared += cleared;
        all.shortened += shortened;
        all.by_former += by_former;
    }
    let Figures { ended, said, cleared, shortened, by_former } = all;
    let met = ended > 1_000 && said > 1_000 && cleared > 100 && shortened > 100 && by_former > 10;
    assert!(met, "ended {ended}, said {said}, cleared {cleared}, shortened {shortened}, by former leaders {by_former}");
}
