//! The production store as the simulator's subject: its members' processes, its clients, its final checks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::Engine;
use kontiki_kv::{Alarm, Failure, HashKv};
use kontiki_raft::{GroupId, NodeId};
use kontiki_store::{
    GROUP, Given, InitialMember, MemberParts, MembershipOptions, Opened, Options, Peers, StartError, StoreMachine,
    Surroundings, Tuning, Upkeep,
};
use kontiki_transport::PeerStatistics;

use super::Recorder;
use super::client::Site;
use super::committed::Committed;
use super::directory::Directory;
use super::probe::Probe;
use super::workload::Mix;
use crate::executor::Spawner;
use crate::observation::{End, Violation};
use crate::subject::{Birth, Process, StartFailure, Subject};
use crate::trace::Journal;

/// Every cluster has members of these numbers in its list, whether they are there or not.
const MEMBERS_MAX: u64 = 16;
/// etcd's default for requests: 1.5 MiB.
const REQUEST_BYTES_MAX: usize = 3 << 19;
/// Leases of more than so long are said to the next leader. etcd's minutes would show nothing.
const LEASE_ERROR: Duration = Duration::from_secs(2);
/// Watches that asked for it hear of progress this often. etcd's ten minutes would show too little.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The etcd store, with the clients of a mix.
#[derive(Debug)]
pub struct EtcdSubject {
    mix: Mix,
    directory: Directory,
    recorder: Recorder,
    committed: Committed,
    journal: Journal,
    site: Option<Arc<Site>>,
}

impl EtcdSubject {
    /// A store for these clients.
    #[must_use]
    pub fn new(mix: Mix) -> EtcdSubject {
        let recorder = Recorder::default();
        let committed = Committed::new(recorder.clone());
        EtcdSubject {
            mix,
            directory: Directory::default(),
            recorder,
            committed,
            journal: Journal::default(),
            site: None,
        }
    }

    /// Clients that are at work.
    #[must_use]
    pub fn working(&self) -> Vec<u64> {
        self.site.iter().flat_map(|site| site.working().clone()).collect()
    }

    /// What clients saw, and what was committed.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Asks each of these members to write, to read and to tell of it within a time. None before the cluster stands.
    #[must_use]
    pub fn probe(&self, members: &[NodeId], within: Duration) -> Option<Probe> {
        self.site.as_ref().map(|site| Probe::begin(site, members, within))
    }
}

impl Subject for EtcdSubject {
    type Machine = StoreMachine;

    fn groups(&self) -> Vec<GroupId> {
        vec![GROUP]
    }

    fn journal(&mut self, journal: &Journal) {
        self.journal = journal.clone();
    }

    fn start(&mut self, birth: Birth) -> Result<Process<StoreMachine>, StartFailure> {
        let member = birth.member;
        if birth.force_new_cluster {
            self.committed.fork();
        }
        let surroundings = Surroundings {
            disk: birth.disk.clone(),
            clock: birth.clock.clone(),
            entropy: birth.entropy.clone(),
            aside: Arc::new(|work| work()),
        };
        self.recorder.history().lives.push((member, birth.spawner.now()));
        let opened = kontiki_store::open(options(&birth), surroundings).map_err(|error| refusal(member, &error))?;
        Ok(self.live(member, opened))
    }

    fn gives_up(&self, member: NodeId) -> Option<String> {
        self.directory.stop_reason(member)
    }

    fn ended(&mut self, member: NodeId, _end: &End) {
        self.directory.ended(member);
        self.committed.ended(member);
    }

    fn begin(&mut self, spawner: &Spawner) {
        let (directory, recorder, journal) = (self.directory.clone(), self.recorder.clone(), self.journal.clone());
        let site = Site::new(spawner.clone(), directory, recorder, self.mix.line(), journal);
        self.mix.begin(&site);
        self.site = Some(site);
    }

    fn finish_work(&mut self) {
        self.site.iter().for_each(|site| site.stop());
    }

    fn is_idle(&self) -> bool {
        self.site.as_ref().is_none_or(|site| site.is_idle())
    }

    fn turned(&mut self, at: Duration, member: NodeId, engine: &mut Engine<StoreMachine>) -> Result<(), Violation> {
        self.committed.turned(at, member, engine)
    }

    fn check(&mut self, at: Duration, engines: &mut [(NodeId, &mut Engine<StoreMachine>)]) -> Result<(), Violation> {
        let members: Vec<NodeId> = engines.iter().map(|(member, _)| *member).collect();
        self.check_states(at, &members)?;
        self.check_alarms(at, &members)?;
        for (member, engine) in engines {
            self.committed.turned(at, *member, engine)?;
        }
        if self.committed.is_whole() { self.committed.check_complete(at) } else { Ok(()) }
    }
}

impl EtcdSubject {
    fn live(&mut self, member: NodeId, opened: Opened) -> Process<StoreMachine> {
        let parts = opened.assemble(Arc::new(Nobody), Arc::default());
        let waits_for_space = parts.hold();
        // The rest goes here, and with it the right to block a thread until a full disk has space: there is only one thread.
        let MemberParts { engine, inbox, store, tasks, timings, .. } = parts;
        self.directory.began(member, store);
        Process {
            engine,
            inbox,
            tasks,
            waits_for_space: Some(Box::new(waits_for_space)),
            log_written: Some(Box::new(move |time| timings.log_write.observe(time))),
        }
    }

    /// Members that are at the same revision hold the same.
    fn check_states(&self, at: Duration, members: &[NodeId]) -> Result<(), Violation> {
        let mut sums: BTreeMap<(i64, i64), (NodeId, HashKv)> = BTreeMap::new();
        for (member, reader) in self.readers(members) {
            let sum = match reader.hash_kv(0) {
                Ok(sum) => sum,
                // Its disk was damaged, and nobody had noticed yet: now it is mended.
                Err(Failure::Storage(error)) if error.is_damage() => continue,
                Err(error) => return Err(unreadable(at, member, &error)),
            };
            let (witness, first) = *sums.entry((sum.hash_revision, sum.compact_revision)).or_insert((member, sum));
            if first != sum {
                let what = format!("member {witness} has {first:?}, member {member} has {sum:?}");
                return Err(Violation { property: "equal state", at, what });
            }
        }
        Ok(())
    }

    /// Nobody's own comparison of the states has found a difference.
    fn check_alarms(&self, at: Duration, members: &[NodeId]) -> Result<(), Violation> {
        for (member, reader) in self.readers(members) {
            let alarms = reader.alarms().map_err(|error| unreadable(at, member, &error))?;
            if alarms.iter().any(|(_, alarm)| *alarm == Alarm::Corrupt) {
                let what = format!("member {member} holds the alarms {alarms:?}");
                return Err(Violation { property: "equal state", at, what });
            }
        }
        Ok(())
    }

    fn readers<'m>(&self, members: &'m [NodeId]) -> impl Iterator<Item = (NodeId, kontiki_kv::Reader)> + use<'_, 'm> {
        members.iter().filter_map(|member| Some((*member, self.directory.connect(*member)?.store.reader())))
    }
}

fn unreadable(at: Duration, member: NodeId, error: &dyn std::error::Error) -> Violation {
    Violation { property: "equal state", at, what: format!("member {member} cannot read its state: {error}") }
}

/// The flags of a member. All members have the same list of first members, so that they are of one cluster.
fn options(birth: &Birth) -> Options {
    let settings = birth.settings;
    let time = |ticks: u32| settings.tick * ticks;
    Options {
        name: name(birth.member.0),
        given: Given::default(),
        data_dir: "/kontiki".into(),
        wal_dir: None,
        initial_cluster: (1..=MEMBERS_MAX).map(initial_member).collect(),
        initial_cluster_token: "simulated".into(),
        new_cluster: true,
        force_new_cluster: birth.force_new_cluster,
        advertise_peer_urls: initial_member(birth.member.0).peer_urls,
        advertise_client_urls: vec![format!("sim://client/{}", birth.member)],
        peer_listeners: Vec::new(),
        peer_connector: None,
        heartbeat_interval: time(settings.raft.heartbeat_interval_ticks),
        election_timeout: time(settings.raft.election_timeout_ticks),
        pre_vote: settings.raft.pre_vote,
        quota_bytes: -1,
        trailing_entries: settings.trailing_entries,
        progress_notify_interval: PROGRESS_INTERVAL,
        request_bytes_max: REQUEST_BYTES_MAX,
        upkeep: Upkeep { lease_error: LEASE_ERROR, ..Upkeep::default() },
        auth: kontiki_store::AuthOptions::default(),
        membership: MembershipOptions::default(),
        tuning: Tuning {
            log: birth.log,
            engine: settings,
            founders: Some(birth.founders.clone()),
            numbered: Some(number),
            incarnation: Some(birth.incarnation),
            ..Tuning::default()
        },
    }
}

fn name(member: u64) -> String {
    format!("m{member}")
}

fn initial_member(member: u64) -> InitialMember {
    InitialMember { name: name(member), peer_urls: vec![format!("sim://peer/{member}")] }
}

/// The simulator's number of a member, by its name.
fn number(name: &str) -> u64 {
    name.trim_start_matches('m').parse().unwrap_or(0)
}

fn refusal(member: NodeId, error: &StartError) -> StartFailure {
    let damaged = match error {
        StartError::Damaged { .. }
        | StartError::Io { .. }
        | StartError::Log(_)
        | StartError::LogMissing { .. }
        | StartError::Kv { .. }
        | StartError::Engine(_) => true,
        StartError::Configuration(_)
        | StartError::Unsafe(_)
        | StartError::Locked { .. }
        | StartError::Foreign { .. } => false,
    };
    StartFailure { member, reason: error.to_string(), damaged }
}

/// The simulated network tells no figures.
#[derive(Debug)]
struct Nobody;

impl Peers for Nobody {
    fn statistics(&self) -> BTreeMap<NodeId, PeerStatistics> {
        BTreeMap::new()
    }

    fn set_members(&self, _others: Vec<(NodeId, Vec<String>)>, _removed: BTreeSet<NodeId>) {}

    fn shutdown(&self) {}
}
