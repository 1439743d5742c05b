//! The replicated state machine: kv's rules under the engine, with those who wait for results and the leases' clock.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_engine::{
    COMMAND, ChangeOutcome, CheckpointJob, Committed, EngineError, MachineError, Mend, NotTaken, Progress, ReceiveJob,
    ScrubStateJob, ScrubbedState, SnapshotSource, StateMachine, decode_configuration, encode_configuration,
};
use kontiki_kv::{
    CheckpointDone, Command, DecodeError, Kv, KvError, MemberCommand, OperationError, Options as KvOptions, Outcome,
    Proposer, Reply, Retired, Scrub,
};
use kontiki_raft::planted::planted;
use kontiki_raft::{
    Configuration, Exclusion, Index, Leadership as RaftLeadership, LogPosition, NodeId, ReadId, RoleKind, SnapshotMeta,
    Term,
};
use kontiki_world::Entropy;

use crate::auth::{read_body, write_proposer};
use crate::calls::{Call, LeaseAnswer};
use crate::error::{StopReason, StoreError};
use crate::leases::clock::LeaseClock;
use crate::link::{Applied, Link};
use crate::receiving::Receiving;
use crate::saves::Saves;
use crate::shrinking::{self, StateLives};
use crate::space::takes_space;
use crate::state_file::StateDir;
use crate::states::States;
use crate::status::{Counters, Leadership};

/// The one group of an etcd store.
pub const GROUP: kontiki_raft::GroupId = kontiki_raft::GroupId(1);

/// Bytes in front of a command in an entry: the engine's tag, the member that waits for it, its token.
pub(crate) const HEADER_BYTES: usize = 17;

/// Bytes of the state file that one part of the scrub reads, about.
const SCRUB_BYTES: u64 = 1 << 20;

/// How often those who wait are looked through for some that wait too long.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

/// How long what was compacted waits for another checkpoint to remove a portion of it.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// The payload of an entry: a command, with who waits for its result and in whose name it is.
#[must_use]
pub fn payload(member: u64, token: u64, proposer: &Proposer, command: &Bytes) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES + command.len());
    out.put_u8(COMMAND);
    out.put_u64_le(member);
    out.put_u64_le(token);
    write_proposer(&mut out, proposer);
    out.put_slice(command);
    out.freeze()
}

/// Who waits for an entry (member and token), and its command. None where it is none of the store's: an entry of Raft's own.
///
/// # Errors
/// Where the bytes are no command of this version.
pub fn decode_entry(payload: &Bytes) -> Result<Option<(u64, u64, Command)>, DecodeError> {
    if payload.first() != Some(&COMMAND) || payload.len() < HEADER_BYTES {
        return Ok(None);
    }
    let mut header = &payload[1..HEADER_BYTES];
    let (member, token) = (header.get_u64_le(), header.get_u64_le());
    Ok(Some((member, token, read_body(&payload.slice(HEADER_BYTES..))?.1)))
}

/// Frees what a checkpoint replaced, which takes too long for the engine's turn.
pub type Discard = Box<dyn Fn(Retired) + Send>;

/// What the machine is made with.
pub struct MachineOptions {
    pub member_id: u64,
    pub data_dir: PathBuf,
    pub state: StateDir,
    pub kv: KvOptions,
    pub election_timeout: Duration,
    pub request_timeout: Duration,
    pub discard: Discard,
    pub entropy: Arc<dyn Entropy>,
    /// The smallest error in a lease's time across a change of leader that is worth an entry.
    pub lease_error: Duration,
}

/// kv under the engine.
pub struct StoreMachine {
    options: MachineOptions,
    kv: Kv,
    checkpointed: SnapshotMeta,
    receiving: Receiving,
    /// Clients that wait for a checkpoint to save.
    saves: Saves,
    link: Arc<Link>,
    clock: LeaseClock,
    states: States,
    /// The time of the last tick: apply has no other.
    now: Duration,
    looked: Duration,
    leading: bool,
    /// The present term.
    term: u64,
    /// What was compacted is still in the file, and it is time for another portion of it.
    sweep_due: bool,
    sweep_looked: Duration,
    /// The leases could not be read: told with the next entry.
    unreadable: Option<KvError>,
    /// The state was found damaged, and no checkpoint of another is there yet.
    lost: bool,
    /// Reads the state file through. Of another file once the state is replaced.
    scrub: Arc<Mutex<Scrub>>,
    lives: StateLives,
    /// The revision that readers and watches had reached when the state was lost. They keep what they have until the new state
    /// is as far.
    shown: Option<i64>,
    /// The newest revision that watches were told of.
    published: i64,
}

/// What a checkpoint stands for, and kv's part of it.
#[derive(Debug)]
pub struct Done {
    pub meta: SnapshotMeta,
    pub kv: CheckpointDone,
    /// It is in another file than the one before.
    pub rewritten: bool,
}

fn meta_of(kv: &Kv) -> Result<SnapshotMeta, MachineError> {
    let (index, term) = kv.applied();
    let position = LogPosition { term: Term(term), index: Index(index) };
    let opaque = kv.opaque();
    if opaque.is_empty() {
        return Ok(SnapshotMeta { position, configuration: Arc::default() });
    }
    let configuration = decode_configuration(&opaque).ok_or_else(|| {
        failure("the membership in the checkpoint is malformed; restore this member's data directory")
    })?;
    Ok(SnapshotMeta { position, configuration: Arc::new(configuration) })
}

/// What follows from a configuration for what the state says of members.
fn settle(configuration: &Configuration) -> Command {
    let member = |id: NodeId| (id.0, configuration.is_learner(id));
    Command::Membership(MemberCommand::Settle { members: configuration.members().into_iter().map(member).collect() })
}

pub fn failure(reason: impl std::fmt::Display) -> MachineError {
    MachineError { group: GROUP.0, reason: reason.to_string(), damaged: false }
}

/// The state file failed, or is damaged.
pub fn kv_failure(error: KvError) -> MachineError {
    MachineError { damaged: error.is_damage(), ..failure(error) }
}

impl std::fmt::Debug for StoreMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreMachine").field("checkpointed", &self.checkpointed).finish_non_exhaustive()
    }
}

impl StoreMachine {
    /// The machine over an opened kv. `lost` says that it is empty because the last life's state could not be read.
    ///
    /// # Errors
    /// Where the checkpoint's membership is malformed.
    pub(crate) fn new(
        options: MachineOptions,
        kv: Kv,
        link: Arc<Link>,
        lost: bool,
    ) -> Result<StoreMachine, MachineError> {
        let checkpointed = meta_of(&kv)?;
        let scrub = Arc::new(Mutex::new(kv.scrub()));
        let published = kv.revision();
        link.stateless.store(lost, Relaxed);
        let clock = LeaseClock::new(options.lease_error);
        if !checkpointed.configuration.voters.is_empty() {
            link.configuration.send_replace(checkpointed.configuration.clone());
        }
        Ok(StoreMachine {
            options,
            kv,
            checkpointed,
            receiving: Receiving::default(),
            saves: Saves::default(),
            link,
            clock,
            states: States::default(),
            now: Duration::ZERO,
            looked: Duration::ZERO,
            leading: false,
            term: 0,
            sweep_due: false,
            sweep_looked: Duration::ZERO,
            unreadable: None,
            lost,
            scrub,
            lives: StateLives::default(),
            shown: None,
            published,
        })
    }

    /// The index of the last entry applied, and a digest of all that was applied: equal on all members that applied the same.
    #[must_use]
    pub fn digest(&self) -> (u64, u64) {
        self.kv.digest()
    }

    /// The new state is as far as the lost one was: readers and watches go over to it. True where there is none to wait for.
    fn catches_up(&mut self) -> bool {
        if self.shown.is_some_and(|shown| self.kv.revision() < shown) {
            return false;
        }
        if self.shown.take().is_some() {
            self.link.replace_reader(self.kv.reader());
        }
        true
    }

    /// Whether a checkpoint is wanted for the sake of what was compacted: its turn has come, or somebody waits for it to be
    /// gone from the file.
    fn wants_sweep(&self) -> bool {
        self.sweep_due || self.kv.reader().swept() < self.link.sweep_wanted.load(Relaxed).min(self.kv.compacted())
    }

    /// What was compacted goes out of the file a portion with each checkpoint. Where there are none, because nothing is
    /// written, some are made.
    fn go_on_sweeping(&mut self, now: Duration) {
        if now.saturating_sub(self.sweep_looked) >= SWEEP_PAUSE {
            self.sweep_looked = now;
            self.sweep_due = self.kv.reader().swept() < self.kv.compacted() && !self.options.state.full();
        }
    }

    /// Gives clients the snapshots that they wait for: not of a state that is only being made again.
    fn serve_saves(&mut self) {
        if !self.awaits_state() {
            self.saves.serve(&self.link, &self.kv);
        }
    }

    /// The leases' clock and the counters follow what was applied.
    fn follow_up(&mut self, command: &Command, outcome: &Outcome, own: Option<u64>) {
        let counters = &self.link.counters;
        match command {
            Command::Put(_) => Counters::add(&counters.puts, 1),
            Command::DeleteRange(_) => Counters::add(&counters.deletes, 1),
            Command::Txn(_) => Counters::add(&counters.txns, 1),
            Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. } => {
                if outcome.result.is_ok() {
                    self.clock.revoked(*id);
                    Counters::add(&counters.leases_revoked, 1);
                }
            }
            Command::LeaseGrant { .. } => {
                if let Ok(Reply::LeaseGrant { id, ttl }) = &outcome.result {
                    self.clock.granted(self.now, *id, *ttl);
                    Counters::add(&counters.leases_granted, 1);
                }
            }
            Command::LeaseCheckpoint { leases, .. } => {
                if let Some(token) = own {
                    self.clock.said(token, leases);
                }
            }
            Command::Auth(command) => self.follow_tokens(command, outcome),
            Command::MemberAttributes(_) | Command::Membership(_) => self.link.note_members(),
            Command::Compact { .. } | Command::Alarm { .. } | Command::ClusterVersion(_) | Command::Downgrade(_) => {}
        }
        Counters::add(&counters.events, outcome.events.len() as u64);
    }
}

impl StateMachine for StoreMachine {
    type CheckpointDone = Done;

    fn checkpointed(&self) -> SnapshotMeta {
        self.checkpointed.clone()
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), MachineError> {
        if let Some(error) = self.unreadable.take() {
            return Err(kv_failure(error));
        }
        let mut done = Vec::with_capacity(entries.len());
        let mut batch = self.kv.batch();
        let (mut configuration, mut failed) = (None, Ok(()));
        for entry in entries {
            let Some(mut bytes) = entry.command else {
                if let Some(membership) = entry.configuration {
                    if let Err(error) = batch.apply(entry.index.0, entry.term.0, &settle(&membership)) {
                        failed = Err(kv_failure(error));
                        break;
                    }
                    configuration = Some(membership);
                } else {
                    batch.skip(entry.index.0, entry.term.0);
                }
                continue;
            };
            if bytes.len() < HEADER_BYTES - 1 {
                return Err(failure(format_args!("entry {} is too short for a command", entry.index)));
            }
            let (member, token) = (bytes.get_u64_le(), bytes.get_u64_le());
            let (proposer, command) = read_body(&bytes).map_err(|error| {
                failure(format_args!("entry {}: {error}; was it written by a newer version?", entry.index))
            })?;
            let outcome = match batch.apply_as(entry.index.0, entry.term.0, &proposer, &command) {
                Ok(outcome) => outcome,
                Err(error) => {
                    failed = Err(kv_failure(error));
                    break;
                }
            };
            done.push((member, token, entry.term.0, command, outcome));
            if States::marks_behind(entry.index.0) {
                drop(batch);
                self.states.mark(&self.kv);
                batch = self.kv.batch();
            }
        }
        drop(batch);
        if failed.is_ok() {
            self.states.mark(&self.kv);
        }
        self.catches_up();
        if let Some(configuration) = configuration {
            self.link.configuration.send_replace(configuration);
            self.link.note_members();
        }
        Counters::add(&self.link.counters.proposals_applied, done.len() as u64);
        let mut answers = Vec::with_capacity(done.len());
        for (member, token, term, command, mut outcome) in done {
            if self.leading && term == self.term {
                self.clock.start(); // a lease that is granted now has its time from now on, not from the election on
            }
            let own = (member == self.options.member_id).then_some(token);
            self.follow_up(&command, &outcome, own);
            let events = std::mem::take(&mut outcome.events);
            // What a state that was lost had published is not published again.
            if outcome.revision > self.published || events.is_empty() && outcome.revision == self.published {
                self.link.hub.publish(outcome.revision, events);
                self.published = outcome.revision;
            }
            if member == self.options.member_id {
                let revision = outcome.revision;
                let answer = outcome.result.map(|reply| Applied { reply, revision, term }).map_err(StoreError::from);
                answers.push((token, answer));
            }
        }
        self.link.hub.wake();
        self.link.answer_proposals(answers.into_iter());
        failed
    }

    fn unsaved_bytes(&self) -> u64 {
        self.kv.memory_bytes() as u64
    }

    fn wants_checkpoint(&self) -> bool {
        self.saves.wants_checkpoint() || self.link.shrink_wanted.load(Relaxed) || self.wants_sweep()
    }

    fn begin_checkpoint(&mut self, at: LogPosition, configuration: &Arc<Configuration>) -> Option<CheckpointJob<Done>> {
        let mut opaque = BytesMut::new();
        encode_configuration(configuration, &mut opaque);
        let meta = SnapshotMeta { position: at, configuration: Arc::clone(configuration) };
        if self.link.shrink_wanted.swap(false, Relaxed) {
            let salt = self.options.entropy.draw();
            return shrinking::begin(&mut self.kv, &self.options.state, &self.lives, meta, opaque.freeze(), salt);
        }
        let opaque = opaque.freeze();
        let sweeps = self.wants_sweep();
        self.sweep_due = false;
        let checkpoint = if sweeps { self.kv.begin_sweep(opaque) } else { self.kv.begin_checkpoint(opaque) }?;
        Some(Box::new(move || match checkpoint.run() {
            Ok(kv) => Ok(Done { meta, kv, rewritten: false }),
            Err(error) => Err(kv_failure(error)),
        }))
    }

    fn finish_checkpoint(&mut self, done: Done) -> Result<(), MachineError> {
        (self.options.discard)(self.kv.finish_checkpoint(done.kv));
        self.checkpointed = done.meta;
        self.lost = false;
        self.link.stateless.store(false, Relaxed);
        if done.rewritten {
            self.scrub = Arc::new(Mutex::new(self.kv.scrub()));
            tracing::info!(file_bytes = self.kv.reader().file_bytes(), "the state file was rewritten");
        }
        self.serve_saves();
        Ok(())
    }

    fn state_lost(&self) -> bool {
        self.lost
    }

    fn awaits_state(&self) -> bool {
        self.lost || self.shown.is_some()
    }

    fn lose_state(&mut self) -> Result<(), MachineError> {
        let path = self.options.state.current();
        tracing::warn!(path = %path.display(), "the state is damaged; it is set aside and made anew from the log or another member");
        self.receiving = Receiving::default();
        let shown = self.shown.unwrap_or_else(|| self.kv.revision());
        self.lives.replace(|| self.options.state.set_aside()).map_err(failure)?;
        let file = self.options.state.open_current().map_err(failure)?;
        self.kv =
            Kv::open(file, KvOptions { salt: self.options.entropy.draw(), ..self.options.kv }).map_err(failure)?;
        self.states.replaced(&self.kv);
        self.checkpointed = meta_of(&self.kv)?;
        (self.lost, self.shown) = (true, Some(shown));
        (self.leading, self.unreadable) = (false, None);
        self.clock.follow();
        self.scrub = Arc::new(Mutex::new(self.kv.scrub()));
        Ok(())
    }

    fn scrub_job(&mut self) -> Option<ScrubStateJob> {
        let scrub = Arc::clone(&self.scrub);
        let total = self.kv.reader().size().0;
        let (lives, life) = (self.lives.clone(), self.lives.present());
        Some(Box::new(move || {
            let mut scrub = scrub.lock().unwrap_or_else(PoisonError::into_inner);
            match scrub.next(SCRUB_BYTES) {
                Ok(scrubbed) => Ok(ScrubbedState { bytes: scrubbed.bytes, total }),
                // Of a state that is not in force any more.
                Err(_) if lives.present() != life => Ok(ScrubbedState { bytes: 0, total }),
                Err(error) => Err(kv_failure(error)),
            }
        }))
    }

    fn mended(&mut self, _mend: Mend) {
        Counters::add(&self.link.counters.mended, 1);
    }

    fn stopped(&mut self, reason: &EngineError) {
        self.link.fail(StopReason::Engine(reason.to_string()));
    }

    fn snapshot(&mut self) -> Result<(SnapshotMeta, Box<dyn SnapshotSource>), MachineError> {
        let source = self.kv.snapshot();
        Counters::add(&self.link.counters.snapshots_sent, 1);
        Ok((self.checkpointed.clone(), Box::new(Rows(source))))
    }

    fn receive_begin(&mut self, _meta: &SnapshotMeta) -> Result<bool, MachineError> {
        if self.options.state.full() {
            return Ok(false); // its parts would gather in memory behind a checkpoint that waits for space
        }
        self.receiving = Receiving::begin(&self.options.state, self.options.entropy.draw());
        Ok(true)
    }

    fn receive_rows(&mut self, rows: &Bytes) -> Result<bool, MachineError> {
        self.receiving.take(rows, false).map_err(failure)
    }

    fn receive_end(&mut self) -> Result<bool, MachineError> {
        self.receiving.take(&Bytes::new(), true).map_err(failure)
    }

    fn receive_job(&mut self, rows: &Bytes, last: bool) -> Option<ReceiveJob> {
        let (receiving, rows) = (self.receiving.clone(), rows.clone());
        Some(Box::new(move || receiving.take(&rows, last).map_err(failure)))
    }

    fn install(&mut self, meta: &SnapshotMeta) -> Result<(), MachineError> {
        let file = self.lives.replace(|| self.options.state.install_incoming()).map_err(failure)?;
        self.kv = Kv::open(file, self.options.kv).map_err(kv_failure)?;
        self.lost = false;
        self.link.stateless.store(false, Relaxed);
        self.scrub = Arc::new(Mutex::new(self.kv.scrub()));
        self.checkpointed = meta_of(&self.kv)?;
        if self.checkpointed.position != meta.position {
            return Err(failure(format_args!(
                "a snapshot announced as {} holds {}",
                meta.position, self.checkpointed.position
            )));
        }
        self.states.replaced(&self.kv);
        self.link.configuration.send_replace(meta.configuration.clone());
        if self.catches_up() {
            self.link.replace_reader(self.kv.reader());
            self.link.hub.jump(self.kv.revision());
            self.published = self.kv.revision();
        }
        Counters::add(&self.link.counters.snapshots_installed, 1);
        Ok(())
    }

    fn leadership(&mut self, now: Duration, leadership: RaftLeadership) -> Result<(), MachineError> {
        let leads = leadership.role == RoleKind::Leader;
        if leads && !(self.leading && self.term == leadership.term.0) {
            self.link.tokens.learn(self.kv.reader().token_digests(), now);
            self.clock.lead(now, self.options.election_timeout);
        } else if !leads && !planted(44) {
            self.clock.follow();
        }
        if leads != self.leading {
            self.states.leadership_changed();
        }
        self.leading = leads;
        self.term = leadership.term.0;
        let next =
            Leadership { term: leadership.term.0, leader: leadership.leader.map(|leader| leader.0), is_leader: leads };
        self.link.leadership.send_if_modified(|current| {
            if next.leader.is_some() && next.leader != current.leader {
                Counters::add(&self.link.counters.leader_changes, 1);
            }
            let changed = *current != next;
            *current = next;
            changed
        });
        Ok(())
    }

    fn reads_begin(&mut self, id: ReadId) -> bool {
        self.link.begin_reads(id)
    }

    fn reads_ready(&mut self, id: ReadId) {
        self.link.finish_reads(id);
    }

    fn reads_again(&mut self, id: ReadId) {
        self.link.return_reads(id);
    }

    fn refused(&mut self, payload: Bytes, why: NotTaken) {
        let answer = match why {
            NotTaken::TooMuch => StoreError::TooManyRequests,
            NotTaken::NoSpace => StoreError::Operation(OperationError::NoSpace),
        };
        let mut header = &payload[1.min(payload.len())..];
        if let (Ok(member), Ok(token)) = (header.try_get_u64_le(), header.try_get_u64_le())
            && member == self.options.member_id
        {
            self.link.counters.proposals_failed.fetch_add(1, Relaxed);
            self.link.answer_proposals(std::iter::once((token, Err(answer))));
        }
    }

    fn accepts(&self, command: &Bytes) -> bool {
        command.len() >= HEADER_BYTES - 1 && read_body(&command.slice(HEADER_BYTES - 1..)).is_ok()
    }

    fn takes_space(&self, command: &Bytes) -> bool {
        command.len() >= HEADER_BYTES - 1
            && read_body(&command.slice(HEADER_BYTES - 1..)).is_ok_and(|(_, command)| takes_space(&command))
    }

    fn is_low_on_space(&self) -> bool {
        self.options.state.full()
    }

    fn question(&mut self, now: Duration) -> Option<(u64, Bytes)> {
        if self.leading {
            return None;
        }
        let report = self.states.report(now, self.options.member_id)?;
        Some((self.link.token(), report.encode()))
    }

    fn call(&mut self, now: Duration, body: &Bytes) -> Bytes {
        if !self.clock.runs() && self.kv.applied().1 == self.term {
            self.clock.start();
        }
        match Call::decode(body) {
            Some(Call::Order(number, order)) => self.link.orders().ask(now, number, order).encode(),
            Some(Call::KeepAlive(ids)) => {
                Counters::add(&self.link.counters.leases_renewed, ids.len() as u64);
                let renew = |id: &i64| self.ask_clock(*id, |clock| clock.renew(now, *id));
                let answers: Option<Vec<LeaseAnswer>> = ids.iter().map(renew).collect();
                answers.map(|answers| LeaseAnswer::encode_all(&answers)).unwrap_or_default()
            }
            Some(Call::TimeToLive(id)) => {
                let answer = self.ask_clock(id, |clock| clock.time_to_live(now, id));
                answer.map(LeaseAnswer::encode).unwrap_or_default()
            }
            Some(Call::Report(report)) => {
                self.states.reported(report);
                LeaseAnswer::NONE.encode()
            }
            None => LeaseAnswer { ttl: -1, granted_ttl: 0 }.encode(),
        }
    }

    fn answered(&mut self, id: u64, body: Option<Bytes>) {
        self.link.answer_call(id, body);
    }

    fn membership_answered(&mut self, id: u64, outcome: ChangeOutcome) {
        tracing::info!(id, ?outcome, "a change of membership ended");
        self.link.answer_change(id, outcome);
    }

    fn excluded(&mut self, exclusion: Exclusion) {
        let (member, dir) = (self.options.member_id, self.options.data_dir.clone());
        match exclusion {
            Exclusion::Removed { .. } => self.link.remove(StopReason::Removed { member, dir }),
            Exclusion::Stranger { .. } => self.link.fail(StopReason::Bootstrapped { member, dir }),
        }
    }

    fn tick(&mut self, now: Duration, leading: bool) -> Vec<Bytes> {
        self.now = now;
        self.serve_saves();
        self.go_on_sweeping(now);
        let looks = now.saturating_sub(self.looked) >= LOOKS_EVERY;
        if looks {
            self.looked = now;
            self.link.expire(now, self.options.request_timeout);
        }
        if self.leading && self.unreadable.is_none() {
            self.unreadable = self.run_clock().err();
        }
        if !leading && !planted(44) {
            return Vec::new();
        }
        let own = self.options.member_id;
        let mut commands = self.lease_commands(now);
        if looks {
            let alarms = self.states.compare(now, own, &self.kv, &self.link).into_iter();
            let others = alarms.chain(self.old_tokens(now, leading));
            commands.extend(others.map(|command| (self.link.token(), command)));
        }
        let own_payload = |(token, command): (u64, Command)| payload(own, token, &Proposer::Member, &command.encode());
        commands.into_iter().map(own_payload).collect()
    }

    fn dropped(&mut self) {
        self.clock.dropped(self.now);
    }

    fn observe(&mut self, progress: Progress) {
        self.link.counters.observe(progress);
    }
}

/// kv's snapshot as the engine sends it.
struct Rows(kontiki_kv::SnapshotSource);

impl SnapshotSource for Rows {
    fn next_rows(&mut self, bytes_max: usize) -> Result<Option<Bytes>, MachineError> {
        self.0.next_rows(bytes_max).map_err(kv_failure)
    }
}

mod duties;
#[cfg(test)]
mod tests;
