//! The bank under simulation: how its members start, its clients, and what must hold.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kontiki_engine::{Engine, Event, GroupStart, Inbox};
use kontiki_log::{Identity, Log};
use kontiki_raft::{GroupId, NodeId};
use kontiki_sim::{Birth, End, Process, Spawner, StartFailure, Subject, Violation};
use kontiki_world::Random;
use tokio::sync::oneshot;

use crate::bank::{ACCOUNTS, Bank, Books, Bug, SharedDesk, Transfer, at};

const GROUP: GroupId = GroupId(1);
/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// The members that run, and what clients ask of them.
type Doors = Arc<Mutex<BTreeMap<NodeId, (SharedDesk, Arc<Inbox<Bank>>)>>>;

/// What clients know.
#[derive(Default)]
struct Town {
    /// Transfers of each account that were said to be done, and that were asked for at all.
    done: [AtomicU64; ACCOUNTS],
    asked: [AtomicU64; ACCOUNTS],
    reads: AtomicU64,
    at_work: AtomicU64,
    closing: AtomicBool,
    complaint: Mutex<Option<String>>,
}

/// The bank with its clients.
pub struct BankSubject {
    bug: Bug,
    seed: u64,
    doors: Doors,
    town: Arc<Town>,
}

impl BankSubject {
    /// A bank whose clients do by a seed what they do.
    pub fn new(seed: u64, bug: Bug) -> BankSubject {
        BankSubject { bug, seed, doors: Doors::default(), town: Arc::default() }
    }

    /// Transfers that were done, and reads.
    pub fn done(&self) -> (u64, u64) {
        (self.town.done.iter().map(|done| done.load(SeqCst)).sum(), self.town.reads.load(SeqCst))
    }

    fn begin_process(&self, birth: &Birth) -> Result<(Engine<Bank>, SharedDesk), Box<dyn std::error::Error>> {
        let identity = Identity { cluster_id: 1, member_id: birth.member.0 };
        let (log, mut recovered) = Log::open(birth.disk.clone(), Path::new("/wal"), identity, birth.log)?;
        let desk = SharedDesk::default();
        let bank = Bank::open(birth.disk.clone(), desk.clone(), self.bug)?;
        let mut engine = Engine::new(birth.member, log, birth.settings, birth.clock.now());
        let start = GroupStart {
            group: GROUP,
            configuration: birth.founders.clone(),
            incarnation: Some(birth.incarnation),
            seed: birth.entropy.draw(),
            force_new_cluster: birth.force_new_cluster,
        };
        engine.add_group(start, recovered.remove(&GROUP), bank)?;
        Ok((engine, desk))
    }
}

impl Subject for BankSubject {
    type Machine = Bank;

    fn start(&mut self, birth: Birth) -> Result<Process<Bank>, StartFailure> {
        let member = birth.member;
        let (engine, desk) = self.begin_process(&birth).map_err(|error| StartFailure {
            member,
            reason: error.to_string(),
            damaged: false,
        })?;
        let inbox = Arc::new(Inbox::default());
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(member, (desk, inbox.clone()));
        Ok(Process { engine, inbox, tasks: Vec::new(), waits_for_space: None, log_written: None })
    }

    fn ended(&mut self, member: NodeId, _end: &End) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).remove(&member);
    }

    fn begin(&mut self, spawner: &Spawner) {
        for account in 0..ACCOUNTS {
            self.town.at_work.fetch_add(1, SeqCst);
            let random = Random::new(self.seed.wrapping_mul(31).wrapping_add(account as u64));
            let client = Client {
                account,
                random,
                bug: self.bug,
                doors: self.doors.clone(),
                town: self.town.clone(),
                spawner: spawner.clone(),
            };
            spawner.spawn(client.live());
        }
    }

    fn finish_work(&mut self) {
        self.town.closing.store(true, SeqCst);
    }

    fn is_idle(&self) -> bool {
        self.town.at_work.load(SeqCst) == 0
    }

    fn turned(&mut self, now: Duration, _member: NodeId, _engine: &mut Engine<Bank>) -> Result<(), Violation> {
        match self.town.complaint.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(what) => Err(Violation { property: "Reads see what was done", at: now, what }),
            None => Ok(()),
        }
    }

    fn check(&mut self, now: Duration, engines: &mut [(NodeId, &mut Engine<Bank>)]) -> Result<(), Violation> {
        let books: Vec<(NodeId, Books)> =
            engines.iter().filter_map(|(id, engine)| Some((*id, engine.machine(GROUP)?.books.clone()))).collect();
        let wrong = |property, what| Err(Violation { property, at: now, what });
        for (id, own) in &books {
            let other = &books[0].1;
            if (own.balances, own.transfers) != (other.balances, other.transfers) {
                return wrong("All members hold the same", format!("{id}: {own:?}, but {}: {other:?}", books[0].0));
            }
            if own.balances.iter().sum::<i64>() != 0 {
                return wrong("Money neither comes nor goes", format!("{id}: {:?}", own.balances));
            }
            for account in 0..ACCOUNTS {
                let (done, asked) = (self.town.done[account].load(SeqCst), self.town.asked[account].load(SeqCst));
                if !(done..=asked).contains(&own.transfers[account]) {
                    let what =
                        format!("{id}, account {account}: {done} of {asked} done, {} held", own.transfers[account]);
                    return wrong("What was done is done, once", what);
                }
            }
        }
        Ok(())
    }
}

struct Client {
    account: usize,
    random: Random,
    bug: Bug,
    doors: Doors,
    town: Arc<Town>,
    spawner: Spawner,
}

impl Client {
    async fn live(mut self) {
        let mut number = (self.account as u64) << 32;
        while !self.town.closing.load(SeqCst) {
            let pause = Duration::from_micros(1_000 + self.random.below(60_000));
            self.spawner.sleep(pause).await;
            let Some((desk, inbox)) = self.door() else { continue };
            if self.random.one_in(3) {
                self.read(&desk, &inbox).await;
            } else {
                number += 1;
                self.transfer(number, &desk, &inbox).await;
            }
        }
        self.town.at_work.fetch_sub(1, SeqCst);
    }

    /// One of the members that run.
    fn door(&mut self) -> Option<(SharedDesk, Arc<Inbox<Bank>>)> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let which = self.random.below(doors.len() as u64) as usize;
        doors.values().nth(which).cloned()
    }

    async fn transfer(&mut self, number: u64, desk: &SharedDesk, inbox: &Inbox<Bank>) {
        let to = (self.account + 1 + self.random.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
        let amount = self.random.below(100) as u32;
        let transfer = Transfer { number, from: self.account as u8, to: to as u8, amount };
        let (sender, answer) = oneshot::channel();
        at(desk).transfers.insert(number, sender);
        self.town.asked[self.account].fetch_add(1, SeqCst);
        inbox.post(Event::Propose { group: GROUP, payload: transfer.payload() });
        if let Some(Ok(())) = self.spawner.timeout(PATIENCE, answer).await {
            self.town.done[self.account].fetch_add(1, SeqCst);
        }
    }

    async fn read(&mut self, desk: &SharedDesk, inbox: &Inbox<Bank>) {
        let done = self.town.done[self.account].load(SeqCst);
        let books = if self.bug == Bug::StaleRead {
            at(desk).books.clone()
        } else {
            let (sender, answer) = oneshot::channel();
            at(desk).reads.push(sender);
            inbox.post(Event::Read(GROUP));
            let Some(Ok(books)) = self.spawner.timeout(PATIENCE, answer).await else { return };
            books
        };
        self.town.reads.fetch_add(1, SeqCst);
        let seen = books.transfers[self.account];
        if seen < done {
            let complaint = format!("account {}: {done} transfers were done, and a read shows {seen}", self.account);
            self.town.complaint.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(complaint);
        }
    }
}
