//! Draws a plan from a seed: the cluster and its settings first, each from the whole range in which it must work.

use std::time::Duration;

use kontiki_engine::Settings;
use kontiki_log::Options;
use kontiki_raft::Settings as RaftSettings;
use kontiki_world::Random;

use super::{Plan, Profile, faults};
use crate::cluster::{Pace, Quality, purpose, stream};
use crate::script::Script;

/// Draws numbers from ranges.
pub(super) struct Dice<'a>(pub &'a mut Random);

impl Dice<'_> {
    /// From `least` to `most`, each as likely.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.below(most - least + 1)
    }

    /// From `least` to `most`, each order of magnitude about as likely.
    pub fn any_size(&mut self, least: u64, most: u64) -> u64 {
        let magnitudes = u64::from((most / least.max(1)).max(1).ilog2()) + 1;
        let low = least.max(1) << self.0.below(magnitudes);
        self.between(low.min(most), (2 * low - 1).min(most))
    }

    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.any_size(least, most))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.0.below(from.len() as u64) as usize).copied()
    }
}

impl Plan {
    /// The plan of a seed. The same seed and profile give the same plan, for ever as far as one version goes.
    #[must_use]
    pub fn draw(seed: u64, profile: Profile) -> Plan {
        let mut random = stream(seed, purpose::PLAN, profile as u64);
        let mut dice = Dice(&mut random);
        // With fewer than three, nobody's data may be damaged or lost.
        let sizes: &[u64] =
            if profile == Profile::Crashes { &[1, 1, 2, 3, 3, 3, 4, 5, 5, 7] } else { &[3, 3, 3, 3, 4, 5, 5, 5, 6, 7] };
        let founders = dice.pick(sizes).unwrap_or(3);
        let spares = if dice.percent(50) { dice.between(1, 2) } else { 0 };
        let mut plan = Plan {
            seed,
            founders,
            spares,
            settings: settings(&mut dice),
            log: log_options(&mut dice),
            network: network(&mut dice),
            disk: disk(&mut dice),
            damageable: minority(&mut dice, founders),
            duration: Duration::from_secs(dice.any_size(30, 300)),
            script: Script::default(),
            keep_trace: false,
        };
        plan.script = faults::script(&plan, profile);
        plan
    }
}

/// The members whose data may be damaged: the others hold a copy of everything.
fn minority(dice: &mut Dice<'_>, founders: u64) -> Vec<u64> {
    let mut all: Vec<u64> = (1..=founders).collect();
    let mut chosen = Vec::new();
    for _ in 0..(founders - 1) / 2 {
        chosen.push(all.swap_remove(dice.0.below(all.len() as u64) as usize));
    }
    chosen.sort_unstable();
    chosen
}

fn settings(dice: &mut Dice<'_>) -> Settings {
    let election = dice.between(20, 120);
    let inflight = dice.any_size(1, 64);
    let append = if dice.percent(25) { dice.between(64, 512) } else { dice.any_size(512, 1 << 20) };
    let checkpoint = dice.any_size(2 << 10, 4 << 20);
    Settings {
        tick: Duration::from_millis(if dice.percent(70) { 10 } else { dice.between(5, 40) }),
        raft: RaftSettings {
            election_timeout_ticks: election as u32,
            heartbeat_interval_ticks: (election / dice.between(5, 12)).max(1) as u32,
            pre_vote: dice.percent(80),
            check_quorum: dice.percent(85),
            tell_commit_at_once: dice.percent(50),
            append_bytes_max: append,
            inflight_messages_max: inflight as usize,
            inflight_bytes_max: append * dice.between(1, inflight),
            uncommitted_bytes_max: dice.any_size(64 << 10, 64 << 20),
        },
        checkpoint_bytes: checkpoint,
        unsaved_bytes_max: checkpoint * dice.between(2, 4),
        checkpoint_quiet: dice.millis(100, 5_000),
        checkpoint_age: dice.millis(1_000, 30_000),
        trailing_entries: dice.any_size(1, 4_000),
        trailing_bytes: dice.any_size(256, 1 << 20),
        follower_bytes_max: dice.any_size(64 << 10, 8 << 20),
        apply_bytes_max: dice.any_size(256, 1 << 20),
        // Not so small that a member far behind needs hundreds of parts: each costs a round trip and a write.
        snapshot_chunk_bytes: dice.any_size(4 << 10, 64 << 10) as usize,
        snapshot_window: dice.between(1, 8),
        snapshot_bytes_per_second: if dice.percent(50) { 0 } else { dice.any_size(256 << 10, 64 << 20) },
        snapshot_timeout: dice.millis(2_000, 10_000),
        parked_bytes_max: dice.any_size(16 << 10, 16 << 20),
        parked_patience: dice.millis(1_000, 7_000),
        read_retry: dice.millis(100, 500),
        repair_retry: dice.millis(100, 500),
        repair_bytes_max: dice.any_size(512, 1 << 20),
        scrub_bytes: dice.any_size(4 << 10, 1 << 20),
        scrub_cpu_permille: dice.any_size(10, 500) as u32,
        scrub_round: dice.millis(5_000, 300_000),
    }
}

fn log_options(dice: &mut Dice<'_>) -> Options {
    Options {
        segment_bytes: dice.any_size(4 << 10, 1 << 20).next_multiple_of(4_096),
        cache_bytes: dice.any_size(1 << 10, 4 << 20),
        spare_segments: dice.between(0, 2) as usize,
        salt: None,
        reserve: dice.percent(85),
    }
}

fn network(dice: &mut Dice<'_>) -> Quality {
    let delay_us = dice.any_size(20, 20_000) as u32;
    Quality { delay_us, jitter_us: dice.any_size(20, 20_000) as u32, ..Quality::default() }
}

fn disk(dice: &mut Dice<'_>) -> Pace {
    let mut range = |least, most| (dice.any_size(least, most) as u32, dice.any_size(least, 2 * most) as u32);
    Pace { log_us: range(20, 4_000), background_us: range(100, 60_000) }
}
