//! Starting a member: data directory, identity, log, state, engine, connections; in this order, each with its own words
//! for what can be wrong.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_engine::{Engine, EngineError, Event, GroupStart, Inbox, Runtime, Settings, Timings};
use kontiki_kv::{Kv, Options as KvOptions, Proposer};
use kontiki_log::{Finding, Log};
use kontiki_raft::{Configuration, NodeId, Settings as RaftSettings};
use kontiki_transport::{Identity as PeerIdentity, Options as TransportOptions, Received, Transport};
use kontiki_world::{DirectoryLock, Disk, Entropy, RealDisk};

use crate::auth;
use crate::claim::{self, Mark, Places};
use crate::error::{StartError, StopReason};
use crate::identity::Identity;
use crate::leases::renewals;
use crate::link::Link;
use crate::machine::{Discard, GROUP, MachineOptions, StoreMachine};
use crate::membership::{self, Directory, Joined};
use crate::options::{Options, QUOTA_BYTES_DEFAULT};
use crate::state_file::StateDir;
use crate::store::{Parts, Running, Store, Waits};
use crate::surroundings::{Peers, Surroundings};
use crate::upkeep;
use crate::watch::Hub;

/// How long to wait for a lock that this very process holds.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Length of a tick of the consensus core.
const TICK: Duration = Duration::from_millis(10);
/// etcd's: a request may take this long beside two election timeouts.
const REQUEST_TIMEOUT_BASE: Duration = Duration::from_secs(5);

impl Store {
    /// Starts a member. To be called within a tokio runtime; its sockets and the watch hub run there, the engine on threads
    /// of its own.
    ///
    /// # Errors
    /// Where flags, data directory or operating system do not allow it; the text says what, where, and what to do.
    pub async fn start(options: Options) -> Result<Store, StartError> {
        let surroundings = Surroundings::real();
        let joined = if needs_to_join(&options)? { Some(membership::join(&options).await?) } else { None };
        // Opening reads files and may replay a log: not on a thread that serves sockets.
        let opened = tokio::task::spawn_blocking(move || {
            Places::of(&options).make_private(&options.data_dir)?;
            open_as(options, joined, surroundings)
        });
        let opened = opened.await;
        let opened =
            opened.map_err(|error| StartError::Configuration(format!("could not open the store: {error}")))??;
        opened.run()
    }
}

/// A member whose files are open.
#[derive(Debug)]
pub struct Opened {
    options: Options,
    auth: auth::Settings,
    identity: Identity,
    boot: u64,
    lock: Arc<DirectoryLock>,
    mark: Option<Mark>,
    engine: Engine<StoreMachine>,
    link: Arc<Link>,
    surroundings: Surroundings,
    waits: Waits,
}

/// A member in its parts, for who runs them: the engine in turns, with what comes into the inbox, and the tasks beside it.
pub struct MemberParts {
    /// Carries out what the core decides.
    pub engine: Engine<StoreMachine>,
    /// Where the store posts what the engine is to do.
    pub inbox: Arc<Inbox<StoreMachine>>,
    /// The handle.
    pub store: Store,
    /// To be run beside the engine.
    pub tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// To be told how long the disk takes.
    pub timings: Arc<Timings>,
    waits: Waits,
    lock: Arc<DirectoryLock>,
}

impl std::fmt::Debug for MemberParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberParts").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl MemberParts {
    /// The state's writes are held back while its disk is full, or go on: said by who runs them, where they cannot wait
    /// themselves.
    pub fn hold(&self) -> impl Fn(bool) + Send + 'static {
        let state = self.waits.0.clone();
        move |held| state.hold(held)
    }
}

/// Whether this is the first start of a member of a cluster that runs already.
fn needs_to_join(options: &Options) -> Result<bool, StartError> {
    let identity = Places::of(options).identity;
    let io = |source| StartError::Io { action: "look for", path: identity.clone(), source };
    Ok(!options.new_cluster && !options.force_new_cluster && !RealDisk.exists(&identity).map_err(io)?)
}

/// Opens a member's files, and changes nothing but them.
///
/// # Errors
/// As [`Store::start`].
pub fn open(options: Options, surroundings: Surroundings) -> Result<Opened, StartError> {
    open_as(options, None, surroundings)
}

fn open_as(options: Options, joined: Option<Joined>, surroundings: Surroundings) -> Result<Opened, StartError> {
    let Surroundings { disk, clock, entropy, aside } = &surroundings;
    let auth = auth::Settings::new(&options.auth, &surroundings)?;
    let places = Places::of(&options);
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |source| StartError::Io { action, path, source }
    };
    if !disk.exists(&places.identity).map_err(io("look for", &places.identity))? {
        if options.force_new_cluster {
            return Err(nothing_to_force(&options));
        }
        claim::first(disk, &options, joined.as_ref(), &**entropy)?; // before anything is made
    }
    disk.create_dir_all(&places.member).map_err(io("make", &places.member))?;
    let lock = Arc::new(lock(&**disk, &options.data_dir, &places.member)?);
    let mut identity = claim::identify(disk, &options, &places, &lock, joined.as_ref(), &**entropy)?;
    disk.create_dir_all(&places.log).map_err(io("make", &places.log))?;
    let log_options = options.tuning.log;
    let (log, mut recovered) = Log::open(disk.clone(), &places.log, claim::log_identity(&identity), log_options)?;
    for finding in log.findings() {
        match finding {
            Finding::Cut { .. } => tracing::info!(%finding, "opening the log"), // what every crash may leave
            damage => tracing::warn!(finding = %damage, "opening the log"),
        }
    }
    if options.force_new_cluster {
        if recovered.is_empty() {
            return Err(nothing_to_force(&options));
        }
        warn_of_force(&identity);
    }
    identity.heard = membership::heard(&log);
    let mark = claim::check_log(disk, &places, recovered.is_empty(), &lock)?;
    let state = StateDir::open(disk.clone(), &places.state, lock.clone()).map_err(io("open", &places.state))?;
    let waits = Waits(state.clone());
    let aside = aside.clone();
    let discard: Discard = Box::new(move |retired| aside(Box::new(move || drop(retired))));
    let (machine, link, boot) = open_state(state, &options, &identity, discard, entropy)?;
    let mut engine = Engine::new(NodeId(identity.member_id), log, settings(&options), clock.now());
    let start = GroupStart {
        group: GROUP,
        configuration: founders(&options, &identity),
        incarnation: Some(identity.incarnation),
        seed: entropy.draw(),
        force_new_cluster: options.force_new_cluster,
    };
    engine.add_group(start, recovered.remove(&GROUP), machine)?;
    Ok(Opened { options, auth, identity, boot, lock, mark, engine, link, surroundings, waits })
}

/// Takes the lock of a member's directory.
pub(crate) fn lock(disk: &dyn Disk, data_dir: &Path, member_dir: &Path) -> Result<DirectoryLock, StartError> {
    // A store of this very process that has just stopped holds the lock until its last reader is gone.
    let own = |dir: &Path| DirectoryLock::holder(dir) == Some(std::process::id());
    let mut attempt = disk.lock(member_dir);
    for _ in 0..LOCK_ATTEMPTS {
        if attempt.is_ok() || !own(member_dir) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        attempt = disk.lock(member_dir);
    }
    attempt.map_err(|source| {
        if source.kind() != std::io::ErrorKind::WouldBlock {
            return StartError::Io { action: "lock", path: member_dir.to_owned(), source };
        }
        let holder = DirectoryLock::holder(member_dir).map(|pid| format!(" by process {pid}")).unwrap_or_default();
        StartError::Locked { dir: data_dir.to_owned(), holder }
    })
}

fn open_state(
    state: StateDir,
    options: &Options,
    identity: &Identity,
    discard: Discard,
    entropy: &Arc<dyn Entropy>,
) -> Result<(StoreMachine, Arc<Link>, u64), StartError> {
    let io = |source| StartError::Io { action: "open", path: state.current(), source };
    let kv_options = KvOptions { salt: entropy.draw(), ..options.tuning.kv };
    let opened = Kv::open(state.open_current().map_err(io)?, kv_options);
    let mut lost = false;
    let kv = match opened {
        Err(error) if error.is_damage() => {
            tracing::warn!(path = %state.current().display(), %error, "the state is damaged; it is set aside");
            lost = true;
            state.set_aside().map_err(io)?;
            Kv::open(state.open_current().map_err(io)?, KvOptions { salt: entropy.draw(), ..kv_options })
        }
        opened => opened,
    };
    let kv = kv.map_err(|source| StartError::Kv { path: state.current(), source })?;
    let boot = entropy.draw();
    let founders = founders(options, identity);
    let link = Link::new(kv.reader(), entropy.draw(), Hub::new(kv.revision()), founders);
    let link = Arc::new(link.with_token_ttl(options.auth.token_ttl));
    let machine_options = MachineOptions {
        member_id: identity.member_id,
        data_dir: options.data_dir.clone(),
        state,
        kv: kv_options,
        election_timeout: options.election_timeout,
        request_timeout: request_timeout(options),
        discard,
        entropy: entropy.clone(),
        lease_error: options.upkeep.lease_error,
    };
    let machine = StoreMachine::new(machine_options, kv, link.clone(), lost).map_err(EngineError::from)?;
    Ok((machine, link, boot))
}

/// The first configuration of the group.
fn founders(options: &Options, identity: &Identity) -> Arc<Configuration> {
    options.tuning.founders.clone().unwrap_or_else(|| identity.configuration().into())
}

fn request_timeout(options: &Options) -> Duration {
    REQUEST_TIMEOUT_BASE + 2 * options.election_timeout
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn settings(options: &Options) -> Settings {
    Settings {
        tick: TICK,
        raft: RaftSettings {
            election_timeout_ticks: ticks(options.election_timeout),
            heartbeat_interval_ticks: ticks(options.heartbeat_interval),
            pre_vote: options.pre_vote,
            ..options.tuning.engine.raft
        },
        trailing_entries: options.trailing_entries,
        parked_patience: request_timeout(options),
        ..options.tuning.engine
    }
}

/// A peer URL as the transport takes it, which reads `https` from it; the flags' parser has checked its form.
pub(crate) fn address(url: &str) -> String {
    url.trim_start_matches("http://").trim_end_matches('/').to_owned()
}

/// There is nothing to go on with.
fn nothing_to_force(options: &Options) -> StartError {
    StartError::Configuration(format!(
        "--force-new-cluster makes a cluster of one out of the data of a member that has lived, but the data directory {} \
         holds none: correct --data-dir, or leave the flag out to start a new member",
        options.data_dir.display()
    ))
}

/// What the operator's order means.
fn warn_of_force(identity: &Identity) {
    let member = format!("{:x}", identity.member_id);
    let others: Vec<&str> = identity
        .members
        .iter()
        .filter(|other| other.id != identity.member_id)
        .map(|other| other.name.as_str())
        .collect();
    tracing::warn!(member, "--force-new-cluster: this member goes on ALONE, as the only member of its cluster");
    tracing::warn!(
        member,
        "whatever the cluster had acknowledged and this member had not received is LOST; restart all clients, since \
         revisions may repeat"
    );
    tracing::warn!(
        member,
        former_members = others.join(","),
        "NEVER start a former member with its old data directory again: it would be part of a second cluster beside this \
         one; empty their directories first and add them as new members"
    );
    tracing::warn!(member, "leave --force-new-cluster out at the next start");
}

impl Opened {
    /// Puts the store's parts together, with the connections to the others.
    #[must_use]
    pub fn assemble(self, peers: Arc<dyn Peers>, inbox: Arc<Inbox<StoreMachine>>) -> MemberParts {
        let Opened { options, auth, identity, lock, mark, engine, link, surroundings, waits, .. } = self;
        let timings = Arc::new(Timings::default());
        let hub = link.clone();
        let parts = Parts {
            data_dir: options.data_dir.clone(),
            link,
            inbox: inbox.clone(),
            peers,
            timings: timings.clone(),
            election_timeout: options.election_timeout,
            request_timeout: request_timeout(&options),
            request_bytes_max: options.request_bytes_max,
            quota: if options.quota_bytes == 0 { QUOTA_BYTES_DEFAULT } else { options.quota_bytes },
            progress_interval: options.progress_notify_interval,
            membership: options.membership,
            logged: engine.membership(GROUP).cloned(),
            running: Mutex::new(None),
            auth,
            identity,
            surroundings,
        };
        let store = Store(Arc::new(parts), Proposer::Member);
        let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = vec![
            Box::pin(async move { hub.hub.run().await }),
            Box::pin(store.clone().publish(options.advertise_client_urls)),
            Box::pin(renewals::carry(&store)),
            Box::pin(renewals::carry(&store)),
            Box::pin(membership::follow(store.clone())),
            Box::pin(membership::govern(store.clone())),
            Box::pin(membership::leave(store.clone())),
        ];
        tasks.extend(upkeep::tasks(&store, options.upkeep));
        if let Some(mark) = mark {
            tasks.push(Box::pin(mark.make_in_time(store.clone())));
        }
        MemberParts { engine, inbox, store, tasks, timings, waits, lock }
    }

    fn run(mut self) -> Result<Store, StartError> {
        let inbox: Arc<Inbox<StoreMachine>> = Arc::default();
        let transport = self.connect(inbox.clone())?;
        let (stopped, clock, data_dir) =
            (self.link.clone(), self.surroundings.clock.clone(), self.options.data_dir.clone());
        let MemberParts { engine, inbox, store, tasks, timings, waits, lock } = self.assemble(transport.clone(), inbox);
        let told = Arc::downgrade(&store.0); // which holds the transport
        let tell =
            move || told.upgrade().map(|parts| Store(parts, Proposer::Member).tell_members()).unwrap_or_default();
        transport.answer_with(Arc::new(tell));
        let tended = Arc::clone(&inbox);
        transport.tend_with(Arc::new(move || tended.turn()));
        let runtime = Runtime::start(engine, inbox, transport, clock, timings, move |error| {
            stopped.stop();
            stopped.fail(StopReason::Engine(error.to_string()));
        })
        .map_err(|source| StartError::Io { action: "start threads for", path: data_dir, source })?;
        let tasks = tasks.into_iter().map(tokio::spawn).collect();
        let running = Running { waits, runtime, tasks, _lock: lock };
        *store.0.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(running);
        Ok(store)
    }

    fn connect(&mut self, inbox: Arc<Inbox<StoreMachine>>) -> Result<Arc<Transport>, StartError> {
        let own = PeerIdentity {
            cluster_id: self.identity.cluster_id,
            member_id: NodeId(self.identity.member_id),
            boot: self.boot,
        };
        let membership = self.engine.membership(GROUP).expect("the group was added");
        let directory = Directory::read(&self.link.reader(), membership, &self.identity)
            .map_err(|source| StartError::Kv { path: self.options.data_dir.clone(), source })?;
        let mut peers = directory.others(own.member_id.0);
        if directory.members.is_empty() {
            peers.extend(self.identity.members.iter().map(|member| (member.id, member.peer_urls.clone())));
        }
        let addresses = |urls: &[String], id| membership::addresses(urls, &self.identity, id);
        let peers = peers.iter().map(|(id, urls)| (NodeId(*id), addresses(urls, *id))).collect();
        let own_addresses = addresses(&self.options.advertise_peer_urls, own.member_id.0);
        let fresh = self.engine.node(GROUP).is_some_and(|node| node.term().0 == 0) && !self.identity.joined;
        let link = self.link.clone();
        let removed = StopReason::Removed { member: self.identity.member_id, dir: self.options.data_dir.clone() };
        let deliver = Arc::new(move |received: Vec<Received>| {
            for news in &received {
                match news {
                    Received::Refused { removed: true, .. } => link.remove(removed.clone()),
                    // A new cluster before its first leader: the members were not started with the same flags. As in etcd, that
                    // ends the process; a running cluster only says so.
                    Received::Refused { address, reason, .. } if fresh && link.leadership.borrow().term == 0 => {
                        link.fail(StopReason::Disagreement { address: address.to_string(), reason: reason.clone() });
                    }
                    _ => {}
                }
            }
            let frames = received.iter().all(|news| matches!(news, Received::Frame { .. }));
            let event = Event::Received(received);
            if frames {
                inbox.add(event); // seen to by whoever read them, see `run`
            } else {
                inbox.post(event);
            }
        });
        let listeners = std::mem::take(&mut self.options.peer_listeners);
        let connector = self.options.peer_connector.take();
        let started = Transport::start(own, listeners, peers, connector, deliver, TransportOptions::default());
        let transport = started.map_err(|source| StartError::Io {
            action: "listen for peers of",
            path: self.options.data_dir.clone(),
            source,
        })?;
        transport.set_own_addresses(own_addresses);
        Ok(Arc::new(transport))
    }
}
