//! Makes up legal histories: a store that does all that is promised, and no more. Clients overlap, answers get lost, what was
//! given up is done later, members lag, leaders change, watches break and go on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kontiki_kv::{Command, Event, EventKind, KeyRange, Reply};
use kontiki_raft::{NodeId, Term};
use kontiki_store::LeaseTimeToLive;
use kontiki_world::Random;

use super::{ELECTION_TIMEOUT, append, payload, requests};
use crate::etcd::history::{Answer, Call, History, Reign, Request, Told, WatchSession};
use crate::etcd::model::{Model, Moment, contains};

const MEMBERS: u64 = 3;
const CLIENTS: u64 = 5;

struct Open {
    call: Call,
    /// What it will be told, once it has taken effect.
    answer: Option<Answer>,
    lost: bool,
}

struct Watching {
    session: WatchSession,
    /// The first revision that it was not told of; none before it exists.
    next: Option<i64>,
}

pub(super) struct Store {
    chance: Random,
    now: Duration,
    model: Model,
    history: History,
    term: u64,
    open: BTreeMap<u64, Open>,
    /// Commands that clients gave up.
    adrift: Vec<(NodeId, Command)>,
    /// What members have applied.
    members: BTreeMap<NodeId, Moment>,
    /// When leases are over.
    leases: BTreeMap<i64, Duration>,
    watches: BTreeMap<u64, Watching>,
    values: u64,
}

/// A history of so many events.
pub(super) fn history(seed: u64, events: usize) -> History {
    let mut store = Store::new(seed);
    for _ in 0..events {
        store.event();
    }
    store.finish()
}

impl Store {
    fn new(seed: u64) -> Store {
        let moment = Moment { revision: 1, compacted: -1 };
        let mut store = Store {
            chance: Random::new(seed),
            now: Duration::ZERO,
            model: Model::default(),
            history: History::default(),
            term: 0,
            open: BTreeMap::new(),
            adrift: Vec::new(),
            members: (1..=MEMBERS).map(|member| (NodeId(member), moment)).collect(),
            leases: BTreeMap::new(),
            watches: BTreeMap::new(),
            values: 0,
        };
        store.history.lives = store.members.keys().map(|member| (*member, Duration::ZERO)).collect();
        store.elect();
        store
    }

    fn elect(&mut self) {
        self.term += 1;
        let leader = self.member();
        self.history.reigns.push(Reign { term: Term(self.term), leader, from: self.now });
        append(&mut self.history, self.now, self.term, Bytes::from_static(&[0]));
        for (id, over) in &mut self.leases {
            *over = self.now + seconds(self.model.lease(*id).unwrap_or(0)) + ELECTION_TIMEOUT;
        }
    }

    fn member(&mut self) -> NodeId {
        NodeId(1 + self.chance.below(MEMBERS))
    }

    fn event(&mut self) {
        self.now += Duration::from_micros(match self.chance.below(40) {
            0 => 100_000,
            1..10 => 0,
            _ => self.chance.below(8_000),
        });
        self.expire();
        match self.chance.below(100) {
            0 if self.chance.one_in(4) => self.elect(),
            0..30 => self.ask(),
            30..60 => self.take_effect(),
            60..80 => self.answer(),
            80..85 => {
                let member = self.member();
                self.catch_up(member);
            }
            85..88 => self.drift(),
            88..90 => self.watch(),
            _ => self.tell(),
        }
    }

    fn catch_up(&mut self, member: NodeId) {
        let moment = Moment { revision: self.model.revision(), compacted: self.model.compacted() };
        self.members.insert(member, moment);
    }

    fn ask(&mut self) {
        let client = 1 + self.chance.below(CLIENTS);
        if self.open.contains_key(&client) {
            return;
        }
        self.values += 1;
        let value = format!("c{client}-{}", self.values).into();
        let leases: Vec<i64> = self.leases.keys().copied().collect();
        let request = requests::request(&mut self.chance, self.model.revision(), value, &leases);
        let member = self.member();
        let answer = Answer::Unknown("no answer".into());
        let call = Call { client, member, invoked: self.now, ended: self.now, request, answer };
        let lost = self.chance.one_in(8);
        self.open.insert(client, Open { call, answer: None, lost });
    }

    fn take_effect(&mut self) {
        let client = 1 + self.chance.below(CLIENTS);
        let Some(open) = self.open.get(&client).filter(|open| open.answer.is_none()) else { return };
        let (request, member) = (open.call.request.clone(), open.call.member);
        let answer = self.carry_out(&request, member);
        self.open.get_mut(&client).unwrap().answer = Some(answer);
    }

    fn carry_out(&mut self, request: &Request, member: NodeId) -> Answer {
        let is_stale = matches!(request, Request::Range { serializable: true, .. });
        if !is_stale {
            self.catch_up(member);
        }
        let moment = self.members[&member];
        match request {
            Request::Range { range, .. } => match self.model.range(range, moment) {
                Ok(found) => Answer::Range(found.to_result(), moment.revision),
                Err(refusal) => Answer::Refused(refusal),
            },
            Request::TxnRead(txn) => match self.model.txn_read(txn, moment) {
                Ok(reply) => Answer::TxnRead(reply, moment.revision),
                Err(refusal) => Answer::Refused(refusal),
            },
            Request::Write(command) => self.write(member, command),
            Request::KeepAlive(id) => match (self.leases.get_mut(id), self.model.lease(*id)) {
                (Some(over), Some(ttl)) => {
                    *over = self.now + seconds(ttl);
                    Answer::KeepAlive(ttl)
                }
                _ => Answer::KeepAlive(0),
            },
            Request::TimeToLive(id) => Answer::TimeToLive(match (self.leases.get(id), self.model.lease(*id)) {
                (Some(over), Some(granted_ttl)) => {
                    let left = (*over - self.now).as_secs() as i64;
                    LeaseTimeToLive { ttl: left.min(granted_ttl), granted_ttl, keys: self.model.lease_keys(*id) }
                }
                _ => LeaseTimeToLive { ttl: -1, ..LeaseTimeToLive::default() },
            }),
        }
    }

    fn write(&mut self, member: NodeId, command: &Command) -> Answer {
        let chosen = match command {
            Command::LeaseGrant { id: 0, ttl } => Command::LeaseGrant { id: self.values as i64 + 100, ttl: *ttl },
            other => other.clone(),
        };
        self.values += 1;
        append(&mut self.history, self.now, self.term, payload(member.0, self.values, &chosen));
        let outcome = self.model.apply(&chosen);
        self.catch_up(member);
        match (&chosen, &outcome.result) {
            (Command::LeaseGrant { id, .. }, Ok(Reply::LeaseGrant { ttl, .. })) => {
                self.leases.insert(*id, self.now + seconds(*ttl));
            }
            (Command::LeaseRevoke { id }, Ok(_)) => {
                self.leases.remove(id);
            }
            _ => {}
        }
        outcome.result.map_or_else(Answer::Refused, |reply| Answer::Written(reply, outcome.revision))
    }

    fn answer(&mut self) {
        let client = 1 + self.chance.below(CLIENTS);
        let Some(open) = self.open.get(&client).filter(|open| open.answer.is_some() || open.lost) else { return };
        // A call of a lost answer may end before it took effect.
        if open.answer.is_none() && !self.chance.one_in(3) {
            return;
        }
        let mut open = self.open.remove(&client).unwrap();
        match open.answer {
            Some(answer) if !open.lost => open.call.answer = answer,
            Some(_) => {}
            None if self.chance.one_in(3) => open.call.answer = Answer::NotDone("refused".into()),
            None => {
                if let Request::Write(command) = &open.call.request {
                    self.adrift.push((open.call.member, command.clone()));
                }
            }
        }
        open.call.ended = self.now;
        self.history.calls.push(open.call);
    }

    /// What a client gave up is done, or lost for ever.
    fn drift(&mut self) {
        if self.adrift.is_empty() {
            return;
        }
        let one = self.chance.below(self.adrift.len() as u64) as usize;
        let (member, command) = self.adrift.swap_remove(one);
        if self.chance.one_in(2) {
            self.write(member, &command);
        }
    }

    fn expire(&mut self) {
        let over: Vec<i64> = self.leases.iter().filter(|(_, over)| **over <= self.now).map(|(id, _)| *id).collect();
        for id in over {
            let leader = self.history.reigns.last().unwrap().leader;
            self.write(leader, &Command::LeaseRevoke { id });
        }
    }

    fn watch(&mut self) {
        let watch = 1 + self.chance.below(4);
        match self.watches.remove(&watch) {
            Some(mut old) => {
                old.session.ended = Some(self.now);
                let mut session = WatchSession { member: self.member(), begun: self.now, ..old.session.clone() };
                (session.told, session.ended) = (Vec::new(), None);
                let over = matches!(old.session.told.last(), Some((_, Told::Canceled(_))));
                session.start_revision = match old.next {
                    Some(_) if over => self.model.revision(),
                    Some(next) => next,
                    None => session.start_revision,
                };
                self.history.watches.push(old.session);
                self.watches.insert(watch, Watching { session, next: None });
            }
            None => {
                let newest = self.model.revision();
                let start_revision =
                    if self.chance.one_in(2) { 0 } else { 1 + self.chance.below(newest as u64 + 3) as i64 };
                let session = WatchSession {
                    watch,
                    member: self.member(),
                    begun: self.now,
                    range: requests::range(&mut self.chance),
                    start_revision,
                    no_put: self.chance.one_in(6),
                    no_delete: self.chance.one_in(6),
                    prev_kv: self.chance.one_in(2),
                    told: Vec::new(),
                    ended: None,
                };
                let empty = !session.range.range_end.is_empty()
                    && session.range.range_end[..] != [0]
                    && session.range.range_end <= session.range.key;
                if !empty {
                    self.watches.insert(watch, Watching { session, next: None });
                }
            }
        }
    }

    fn tell(&mut self) {
        let watch = 1 + self.chance.below(4);
        let Some(watching) = self.watches.get_mut(&watch) else { return };
        let session = &mut watching.session;
        if matches!(session.told.last(), Some((_, Told::Canceled(_)))) {
            return;
        }
        let Moment { revision, compacted } = self.members[&session.member];
        let Some(next) = watching.next else {
            let start = session.start_revision;
            watching.next = Some(if start > 0 { start } else { revision + 1 });
            return session.told.push((self.now, Told::Created(revision)));
        };
        if next < compacted {
            return session.told.push((self.now, Told::Canceled(compacted)));
        }
        let until = if self.chance.one_in(2) { revision } else { revision.min(next + self.chance.below(4) as i64) };
        let told: Vec<Event> = (next..=until)
            .flat_map(|revision| self.model.events(revision))
            .filter_map(|event| shown(session, event))
            .collect();
        if !told.is_empty() {
            session.told.push((self.now, Told::Events(told)));
        }
        if next <= until {
            watching.next = Some(until + 1);
        }
        if until == revision && self.chance.one_in(2) && next <= revision + 1 {
            session.told.push((self.now, Told::Progress(revision)));
        }
    }

    fn finish(mut self) -> History {
        for (_, open) in std::mem::take(&mut self.open) {
            self.history.calls.push(Call { ended: self.now, ..open.call });
        }
        let watches = std::mem::take(&mut self.watches);
        self.history.watches.extend(watches.into_values().map(|watching| watching.session));
        self.history.watches.sort_by_key(|session| session.begun);
        self.history
    }
}

fn shown(session: &WatchSession, event: &Event) -> Option<Event> {
    let kind = if event.kind == EventKind::Put { !session.no_put } else { !session.no_delete };
    let shown = Event { prev_kv: event.prev_kv.clone().filter(|_| session.prev_kv), ..event.clone() };
    (kind && in_range(&session.range, &event.kv.key)).then_some(shown)
}

fn in_range(range: &KeyRange, key: &[u8]) -> bool {
    contains(range, key)
}

fn seconds(ttl: i64) -> Duration {
    Duration::from_secs(ttl as u64)
}
