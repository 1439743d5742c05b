//! Turns of members: the engine is called, what it gives out gets under way, and what changed is told.

use std::sync::Arc;
use std::time::Duration;

use kontiki_engine::{CheckpointJob, Engine, Outbox, PartJob, Scrub, StateMachine};
use kontiki_log::{Entry, ReserveJob, WriteJob};
use kontiki_raft::{Decision, GroupId, Index, NodeId, PeerStatus, RoleKind};
use kontiki_transport::Frame;
use kontiki_world::Clock;

use super::member::{Background, LogJob, Running};
use super::shadow::Shadow;
use super::{Cluster, TURN_TIME};
use crate::marks::SharedMarks;
use crate::observation::{End, Observation, Violation};
use crate::subject::Subject;

/// What a turn gives out.
pub(super) struct Given<M: StateMachine> {
    frames: Vec<(NodeId, Vec<Frame>)>,
    log_jobs: Vec<LogJob>,
    background: Vec<Background<M>>,
}

impl<M: StateMachine> Default for Given<M> {
    fn default() -> Given<M> {
        Given { frames: Vec::new(), log_jobs: Vec::new(), background: Vec::new() }
    }
}

impl<M: StateMachine> Outbox<M> for Given<M> {
    fn send(&mut self, to: NodeId, frames: Vec<Frame>) {
        self.frames.push((to, frames));
    }

    fn write(&mut self, job: WriteJob) {
        self.log_jobs.push(LogJob::Write(job));
    }

    fn reserve(&mut self, job: ReserveJob) {
        self.log_jobs.push(LogJob::Reserve(job));
    }

    fn receive(&mut self, group: GroupId, job: PartJob) {
        self.background.push(Background::Part(group, job));
    }

    fn checkpoint(&mut self, group: GroupId, job: CheckpointJob<M::CheckpointDone>) {
        self.background.push(Background::Checkpoint(group, job));
    }

    fn scrub(&mut self, job: Scrub) {
        self.background.push(Background::Scrub(job));
    }
}

impl<S: Subject> Cluster<S> {
    /// One turn of a member.
    pub(super) fn turn(&mut self, place: usize) -> Result<(), Violation> {
        self.turns += 1;
        let mut given = std::mem::take(&mut self.given);
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return Ok(()) };
        let events = process.inbox.drain();
        let turned = process.engine.turn(member.clock.now(), events, &mut given);
        mark_disk(process, &self.marks);
        process.free_at = self.now + TURN_TIME;
        process.more = matches!(turned, Ok(true));
        process.tick_at = member.clock.true_at(process.engine.next_tick());
        let (id, dark) = (member.id, member.disk.has_lost_power());
        for (to, frames) in given.frames.drain(..) {
            for frame in frames {
                self.observe(&Observation::Sent { from: id, to, frame: &frame })?;
                self.send(id, to, frame);
            }
        }
        given.log_jobs.drain(..).for_each(|job| self.begin_log_job(place, job));
        given.background.drain(..).for_each(|job| self.begin_background(place, job));
        self.given = given;
        if dark {
            return self.end(place, End::Crash);
        }
        if let Err(error) = turned {
            return self.end(place, End::Itself(error.to_string()));
        }
        self.members[place].faulty.overlook(true);
        let seen = self.look_on(place);
        self.members[place].faulty.overlook(false);
        seen?;
        match self.subject.gives_up(id) {
            Some(words) => self.end(place, End::Itself(words)),
            None => Ok(()),
        }
    }

    /// What a turn came to, for all who look on.
    fn look_on(&mut self, place: usize) -> Result<(), Violation> {
        self.tell_changes(place)?;
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return Ok(()) };
        self.subject.turned(self.now, member.id, &mut process.engine)
    }

    /// Tells the checkers what a turn changed.
    fn tell_changes(&mut self, place: usize) -> Result<(), Violation> {
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return Ok(()) };
        let mut shadows = std::mem::take(&mut process.shadows);
        let mut told = Ok(());
        for (group, shadow) in &mut shadows {
            told = self.tell_group(place, *group, shadow);
            if told.is_err() {
                break;
            }
        }
        if let Some(process) = &mut self.members[place].process {
            process.shadows = shadows;
        }
        told
    }

    fn tell_group(&mut self, place: usize, group: GroupId, shadow: &mut Shadow) -> Result<(), Violation> {
        let (member, life) = (self.members[place].id, self.members[place].life);
        let Some(Running { engine, .. }) = &mut self.members[place].process else { return Ok(()) };
        let decisions = engine.take_decisions(group);
        if engine.disk_stalls() && decisions.iter().any(|what| matches!(what, Decision::HandsOver { told: false, .. }))
        {
            self.marks.lock().reach("disk stall handover");
        }
        let Some(node) = engine.node(group) else {
            if shadow.view.is_none() && shadow.known {
                return Ok(());
            }
            shadow.known = true;
            self.counts.add("mending", 1);
            self.trace.say(self.now, Some(member.0), "damaged", "it has no core until it is mended");
            self.may_mend(place)?;
            let (before, now) = (shadow.view.as_ref(), None);
            let told = Observation::Turned {
                member,
                life,
                group,
                before,
                now,
                appended: &[],
                applied: &[],
                decisions: &[],
                peers: &[],
            };
            tell(&mut self.checkers, self.now, &told)?;
            shadow.lose();
            return Ok(());
        };
        if decisions.is_empty() && shadow.is_same(node) {
            return Ok(());
        }
        let peers: Vec<PeerStatus> = if node.role() == RoleKind::Leader { node.peers().collect() } else { Vec::new() };
        shadow.known = true;
        let mut seen = None;
        let now = Shadow::view_of(node);
        let first = shadow.first_appended(node, &now);
        let appended = entries(engine, group, first, now.last.index);
        let applied_before = shadow.view.as_ref().map_or(now.applied, |view| view.applied);
        let applied = entries(engine, group, applied_before.max(now.compacted.index).next(), now.applied);
        let before = shadow.view.as_ref();
        if before.is_none_or(|view| (view.role, view.term) != (now.role, now.term)) {
            let leader = now.leader.map_or_else(|| "nobody".to_owned(), |leader| leader.to_string());
            self.trace.note(self.now, Some(member.0), "role", || {
                format!("{group} {:?} in term {}, led by {leader}", now.role, now.term)
            });
        }
        for entry in &appended {
            self.trace.fold(entry.index.0 << 20 ^ entry.term.0);
            self.trace.fold_bytes(&entry.payload);
        }
        if let (Some(from), Some(to)) = (appended.first(), appended.last()) {
            self.trace.note(self.now, Some(member.0), "append", || {
                format!("{group} {} to {} at term {}", from.index, to.index, to.term)
            });
        }
        for number in [member.0, group.0, now.term.0, now.voted_for.map_or(0, |id| id.0), now.role as u64, now.commit.0]
        {
            self.trace.fold(number);
        }
        self.trace.fold(now.applied.0);
        self.trace.fold(self.now.as_nanos() as u64);
        if applied_before < now.applied {
            self.trace.note(self.now, Some(member.0), "apply", || format!("{group} up to {}", now.applied));
        }
        let told = Observation::Turned {
            member,
            life,
            group,
            before,
            now: Some(&now),
            appended: &appended,
            applied: &applied,
            decisions: &decisions,
            peers: &peers,
        };
        tell(&mut self.checkers, self.now, &told)?;
        if before.is_none_or(|view| view.commit != now.commit) {
            let known = self.committed.entry(group).or_default();
            if now.commit >= known.0 {
                *known = (now.commit, node.configuration_at(now.commit).clone());
            }
        }
        if before.is_none_or(|view| !Arc::ptr_eq(&view.configuration, &now.configuration)) {
            seen = Some(now.configuration.clone());
        }
        shadow.take(node, now, first);
        if let Some(seen) = seen {
            self.members[place].memberships.insert(group, seen);
        }
        Ok(())
    }

    /// Tells all checkers.
    pub(super) fn observe(&mut self, what: &Observation<'_>) -> Result<(), Violation> {
        tell(&mut self.checkers, self.now, what)
    }
}

fn tell(
    checkers: &mut [Box<dyn crate::observation::Checker>],
    at: Duration,
    what: &Observation<'_>,
) -> Result<(), Violation> {
    checkers.iter_mut().try_for_each(|checker| checker.observe(at, what))
}

/// Tells what a turn found out about its disk.
fn mark_disk<M: StateMachine>(process: &mut Running<M>, marks: &SharedMarks) {
    let (stalls, low_on_space) = (process.engine.disk_stalls(), process.engine.is_low_on_space());
    if stalls && !process.stalls {
        marks.lock().reach("disk stalled");
    }
    if low_on_space && !process.low_on_space {
        marks.lock().reach("disk full");
    }
    (process.stalls, process.low_on_space) = (stalls, low_on_space);
}

/// Entries of a log, as far as it gives them.
fn entries<M: StateMachine>(engine: &Engine<M>, group: GroupId, first: Index, last: Index) -> Vec<Entry> {
    if first > last {
        return Vec::new();
    }
    let mut all = engine.log().entries(group, first, last, u64::MAX).unwrap_or_default();
    while let Some(next) = all.last().map(|entry| entry.index.next()).filter(|next| *next <= last) {
        match engine.log().entries(group, next, last, u64::MAX) {
            Ok(more) if !more.is_empty() => all.extend(more),
            _ => break,
        }
    }
    all
}
