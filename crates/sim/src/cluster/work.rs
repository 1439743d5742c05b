//! Work on disks: each member writes its log one job after the other, and beside it what nobody waits for.

use std::time::Duration;

use kontiki_world::Clock;

use super::member::{Background, LogJob};
use super::quality::Pace;
use super::{Cluster, Happening};
use crate::observation::{End, Violation};
use crate::subject::Subject;

impl<S: Subject> Cluster<S> {
    /// Gives a job to the thread that writes the log.
    pub(super) fn begin_log_job(&mut self, place: usize, job: LogJob) {
        if let LogJob::Write(job) = &job {
            self.trace.fold(job.bytes());
        }
        let Some(process) = &mut self.members[place].process else { return };
        process.log_jobs.jobs.push_back(job);
        if process.log_jobs.jobs.len() == 1 {
            self.start_log_job(place);
        }
    }

    fn start_log_job(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return };
        let pace = self.plan.disk.log_us;
        process.log_jobs.began = member.clock.now();
        let at = self.now + Pace::draw(pace, member.health.slower, &mut member.random);
        let life = member.life;
        let end = self.schedule(at, Happening::LogJob { place, life });
        if let Some(process) = &mut self.members[place].process {
            process.log_jobs.end = end;
        }
    }

    /// Gives a job to the thread for which nobody waits.
    pub(super) fn begin_background(&mut self, place: usize, job: Background<S::Machine>) {
        let Some(process) = &mut self.members[place].process else { return };
        process.background.jobs.push_back(job);
        if process.background.jobs.len() == 1 {
            self.start_background(place);
        }
    }

    fn start_background(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return };
        let pace = self.plan.disk.background_us;
        process.background.began = member.clock.now();
        let at = self.now + Pace::draw(pace, member.health.slower, &mut member.random);
        let life = member.life;
        let end = self.schedule(at, Happening::Background { place, life });
        if let Some(process) = &mut self.members[place].process {
            process.background.end = end;
        }
    }

    /// A write of the log ends.
    pub(super) fn log_job(&mut self, place: usize, life: u64) -> Result<(), Violation> {
        let member = &mut self.members[place];
        let Some(process) = member.process.as_mut().filter(|_| member.life == life) else { return Ok(()) };
        if member.health.hangs || process.paused {
            process.log_jobs.held = true;
            return Ok(());
        }
        let Some(job) = process.log_jobs.jobs.pop_front() else { return Ok(()) };
        let took = member.clock.now().saturating_sub(process.log_jobs.began);
        let writes = matches!(job, LogJob::Write(_));
        let event = job.run();
        if member.disk.has_lost_power() {
            return self.end(place, End::Crash);
        }
        process.inbox.post(event);
        if let Some(written) = process.log_written.as_ref().filter(|_| writes) {
            written(took);
        }
        if !process.log_jobs.jobs.is_empty() {
            self.start_log_job(place);
        }
        Ok(())
    }

    /// A job of the background ends.
    pub(super) fn background_job(&mut self, place: usize, life: u64) -> Result<(), Violation> {
        let member = &mut self.members[place];
        let Some(process) = member.process.as_mut().filter(|_| member.life == life) else { return Ok(()) };
        if member.health.hangs || process.paused {
            process.background.held = true;
            return Ok(());
        }
        // A checkpoint waits on its thread until the disk has room; here nothing can wait, so it does not begin.
        if member.health.full.is_some() && process.background.jobs.front().is_some_and(Background::takes_space) {
            process.background.held = true;
            process.tell_waits(true);
            return Ok(());
        }
        let Some(job) = process.background.jobs.pop_front() else { return Ok(()) };
        let took: Duration = member.clock.now().saturating_sub(process.background.began);
        let event = job.run(took);
        if member.disk.has_lost_power() {
            return self.end(place, End::Crash);
        }
        process.inbox.post(event);
        if !process.background.jobs.is_empty() {
            self.start_background(place);
        }
        Ok(())
    }

    /// From now on a disk is so many times slower than a sound one. What is left of the jobs under way goes at the new pace:
    /// else a job that began while the disk was slow would last on for up to a minute after the disk is well again.
    pub(super) fn slow_down(&mut self, place: usize, slower: u32) {
        let member = &mut self.members[place];
        let before = std::mem::replace(&mut member.health.slower, slower);
        let Some(process) = member.process.as_ref().filter(|_| before != slower) else { return };
        let ends = [process.log_jobs.end, process.background.end];
        let moved = ends.map(|end| {
            let Some(what) = self.queue.remove(&end) else { return end };
            self.schedule(self.now + end.0.saturating_sub(self.now) * slower / before, what)
        });
        if let Some(process) = &mut self.members[place].process {
            (process.log_jobs.end, process.background.end) = (moved[0], moved[1]);
        }
    }

    /// Work that would have ended while the disk hung, or the process stood still, ends soon.
    pub(super) fn let_work_end(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(process) = &mut member.process else { return };
        let held = [&mut process.log_jobs.held, &mut process.background.held].map(std::mem::take);
        if held[0] {
            self.start_log_job(place);
        }
        if held[1] {
            self.start_background(place);
        }
    }

    /// The process ends in the middle of its work: of the jobs under way some operations are done.
    pub(super) fn cut_work_short(&mut self, place: usize) {
        let member = &mut self.members[place];
        let Some(process) = member.process.as_mut().filter(|_| !member.disk.has_lost_power()) else { return };
        if let Some(job) = process.log_jobs.jobs.pop_front() {
            member.disk.lose_power_after(member.random.below(OPERATIONS_SPREAD));
            drop(job.run::<S::Machine>());
        }
        let fits = |job: &Background<S::Machine>| member.health.full.is_none() || !job.takes_space();
        if let Some(job) = process.background.jobs.pop_front().filter(fits) {
            member.disk.lose_power_after(member.random.below(4 * OPERATIONS_SPREAD));
            drop(job.run(Duration::ZERO));
        }
        member.disk.keep_power();
    }
}

/// About how many changes a job of the log makes to a disk.
const OPERATIONS_SPREAD: u64 = 8;
