//! Processes: how they start, and the ways in which they end.

use std::sync::Arc;
use std::time::Duration;

use kontiki_log::Finding;
use kontiki_raft::{Configuration, Incarnation};
use kontiki_world::{Disk, FaultyDisk, SeededEntropy, SimDisk};

use super::member::{Queue, Running};
use super::shadow::Shadow;
use super::{Cluster, Happening, purpose, stream};
use crate::observation::{End, Observation, Violation};
use crate::subject::{Birth, Subject};

impl<S: Subject> Cluster<S> {
    /// A member's process starts from what its disk holds, where none runs.
    pub(super) fn start(&mut self, place: usize) -> Result<(), Violation> {
        if self.members[place].process.is_some() {
            return Ok(());
        }
        let birth = self.birth(place);
        let (id, life, scope) = (birth.member, birth.life, birth.scope);
        // A state that is opened on a full disk waits on its thread until there is room; here nothing can wait.
        self.members[place].faulty.full(None);
        self.retire_faults(place);
        let failed_before = self.members[place].disk.syncs_failed();
        let started = self.subject.start(birth);
        let member = &mut self.members[place];
        member.faulty.full(member.health.full);
        let dark = member.disk.has_lost_power();
        let process = match started {
            Ok(process) if !dark => process,
            failed => {
                self.executor.end(scope);
                let words = match failed {
                    Ok(_) => "the power fails".to_owned(),
                    Err(failure) => failure.reason,
                };
                let excused = dark || self.members[place].disk.syncs_failed() > failed_before;
                return self.did_not_start(place, dark, excused, &words);
            }
        };
        if let Some(path) = member.format_changed.first() {
            let what = format!("{id} starts, although {} is of an older format", path.display());
            return Err(Violation { property: "Other formats are refused", at: self.now, what });
        }
        member.refusals = 0;
        if process.engine.log().findings().iter().any(|finding| matches!(finding, Finding::Cut { .. })) {
            self.marks.lock().reach("torn tail");
        }
        let groups = self.subject.groups();
        member.process = Some(Running {
            tick_at: member.clock.true_at(process.engine.next_tick()),
            engine: process.engine,
            inbox: process.inbox,
            scope,
            paused: false,
            more: true,
            free_at: self.now,
            log_jobs: Queue::default(),
            background: Queue::default(),
            waits_for_space: process.waits_for_space,
            waits: false,
            stalls: false,
            low_on_space: false,
            log_written: process.log_written,
            shadows: groups.into_iter().map(|group| (group, Shadow::default())).collect(),
        });
        process.tasks.into_iter().for_each(|task| self.executor.spawner().spawn_in(scope, task));
        self.trace.say(self.now, Some(id.0), "start", &format!("life {life}"));
        self.observe(&Observation::Started { member: id, life })?;
        for peer in self.ids().into_iter().filter(|peer| *peer != id) {
            let down = self.place_of(peer).is_none_or(|place| self.members[place].process.is_none());
            if down {
                self.news(id, peer, false, Duration::from_millis(1));
            } else {
                self.connect(id, peer);
            }
        }
        Ok(())
    }

    fn birth(&mut self, place: usize) -> Birth {
        let Self { plan, members, executor, .. } = self;
        let member = &mut members[place];
        member.life += 1;
        let mut random = stream(plan.seed, purpose::LIFE, member.id.0 << 32 | member.life);
        member.clock.begin(Duration::from_millis(random.below(1_000)));
        let founders = if member.waits_to_join {
            Configuration::default()
        } else {
            Configuration::of((1..=plan.founders).map(kontiki_raft::NodeId))
        };
        let incarnation = stream(plan.seed, purpose::INCARNATION, member.id.0 << 32 | member.disks).next_u64();
        Birth {
            member: member.id,
            life: member.life,
            disk: Arc::new(member.faulty.clone()),
            clock: Arc::new(member.clock.clone()),
            entropy: Arc::new(SeededEntropy::new(random.next_u64())),
            founders: Arc::new(founders),
            incarnation: Incarnation(incarnation),
            force_new_cluster: false,
            spawner: executor.spawner().clone(),
            scope: member.scope(),
            settings: plan.settings,
            log: kontiki_log::Options { salt: Some(random.next_u64()), ..plan.log },
        }
    }

    /// The process refuses to start, or the power fails while it does. A supervisor tries again.
    fn did_not_start(&mut self, place: usize, dark: bool, excused: bool, words: &str) -> Result<(), Violation> {
        let member = &mut self.members[place];
        if dark {
            member.lose_power(member.struck);
        }
        let (id, life) = (member.id, member.life);
        self.counts.add(if dark { "crash-in-start" } else { "refused-start" }, 1);
        self.trace.say(self.now, Some(id.0), "refuses", words);
        let excused = self.undo_old_format(place, words)? || excused;
        self.must_start(place, excused, words)?;
        let member = &mut self.members[place];
        member.refusals += u32::from(!dark);
        let patience = 4_000 * u64::from(member.refusals.clamp(1, 15));
        let wait = Duration::from_millis(500 + self.random.below(patience));
        self.schedule(self.now + wait, Happening::Restart { place, life });
        Ok(())
    }

    /// A process that met a file of an older format has refused it, in words: the file is as it was.
    /// False where there was no such file.
    fn undo_old_format(&mut self, place: usize, words: &str) -> Result<bool, Violation> {
        if !self.restore_format(place) {
            return Ok(false);
        }
        self.counts.add("old-format-refused", 1);
        if words.is_empty() {
            let what = format!("{} gives no reason", self.members[place].id);
            return Err(Violation { property: "Other formats are refused", at: self.now, what });
        }
        Ok(true)
    }

    /// Only a member whose stored data was damaged, or whose disk fails right now, may refuse to start.
    fn must_start(&self, place: usize, excused: bool, words: &str) -> Result<(), Violation> {
        let member = &self.members[place];
        let fails = !member.health.faults.is_empty() || member.health.syncs_fail || member.health.full.is_some();
        if excused || fails || self.plan.damageable.contains(&member.id.0) {
            return Ok(());
        }
        let what = format!("{} refuses: {words}", member.id);
        Err(Violation { property: "A member whose disk is sound starts", at: self.now, what })
    }

    /// Only a member whose stored data was damaged may need others to mend it.
    pub(super) fn may_mend(&self, place: usize) -> Result<(), Violation> {
        let id = self.members[place].id;
        if self.members[place].damaged {
            return Ok(());
        }
        let what = format!("{id} finds its log or its state damaged, and nothing was done to its disk");
        Err(Violation { property: "A member whose disk is sound needs no mending", at: self.now, what })
    }

    /// A member's process ends.
    pub(super) fn end(&mut self, place: usize, end: End) -> Result<(), Violation> {
        let by_itself = matches!(end, End::Itself(_)) || self.members[place].disk.has_lost_power();
        self.cut_work_short(place);
        let member = &mut self.members[place];
        let end = if end == End::Crash && member.struck { End::Struck } else { end };
        // The fault may still be in the way of what the next life writes.
        member.struck &= end != End::Struck || !member.health.faults.is_empty();
        if member.process.take().is_none() {
            let (member, life) = (member.id, member.life);
            self.end_disk(place, &end)?;
            // What was told of it counts no more; of any other end it has been told already.
            let lost = matches!(end, End::Wiped);
            return if lost { self.observe(&Observation::Ended { member, life, end: &end }) } else { Ok(()) };
        }
        let (id, life) = (member.id, member.life);
        self.executor.end(member.scope());
        self.end_disk(place, &end)?;
        let words = match &end {
            End::Crash | End::Struck => "crash",
            End::Wiped => "its disk is lost",
            End::Itself(words) => words,
        };
        self.trace.say(self.now, Some(id.0), "end", words);
        self.subject.ended(id, &end);
        self.observe(&Observation::Ended { member: id, life, end: &end })?;
        // Whose power fails says no good-bye.
        let silent = !matches!(end, End::Itself(_)) && self.network.random.one_in(2);
        for peer in self.ids().into_iter().filter(|peer| *peer != id && !silent) {
            if !self.network.is_cut(id, peer) {
                self.news(peer, id, false, Duration::ZERO);
            }
        }
        if by_itself {
            self.counts.add(if matches!(end, End::Itself(_)) { "ended-itself" } else { "crash-in-work" }, 1);
            let wait = Duration::from_millis(200 + self.random.below(5_000));
            self.schedule(self.now + wait, Happening::Restart { place, life });
        }
        Ok(())
    }

    /// What becomes of the disk of a process that has ended.
    fn end_disk(&mut self, place: usize, end: &End) -> Result<(), Violation> {
        let member = &mut self.members[place];
        let healthy = matches!(end, End::Itself(_));
        if !healthy {
            member.lose_power(matches!(end, End::Struck));
        }
        self.syncs_succeed(place);
        if matches!(end, End::Wiped) {
            self.withdraw_faults(place);
            let member = &mut self.members[place];
            member.disks += 1;
            member.memberships.clear();
            member.disk = SimDisk::new(member.random.next_u64());
            let inner: Arc<dyn Disk> = Arc::new(member.disk.clone());
            member.faulty = FaultyDisk::new(inner, member.random.next_u64());
        }
        Ok(())
    }

    /// A process dies, and nothing else does: what it wrote is still there for the next one.
    pub(super) fn kill(&mut self, place: usize) -> Result<(), Violation> {
        self.cut_work_short(place);
        let member = &mut self.members[place];
        if member.process.take().is_none() {
            return Ok(());
        }
        let (id, life) = (member.id, member.life);
        self.executor.end(member.scope());
        self.syncs_succeed(place);
        self.counts.add("kill", 1);
        self.trace.say(self.now, Some(id.0), "end", "killed");
        self.subject.ended(id, &End::Crash);
        self.observe(&Observation::Ended { member: id, life, end: &End::Crash })?;
        for peer in self.ids().into_iter().filter(|peer| *peer != id) {
            if !self.network.is_cut(id, peer) {
                self.news(peer, id, false, Duration::ZERO);
            }
        }
        Ok(())
    }
}
