//! How good links and disks are.

use std::time::Duration;

use kontiki_world::Random;

/// So many times the usual jitter comes on top now and then.
const OUTLIER: u64 = 4;

/// How good a link is. Shares are in parts of ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// Least delay, in microseconds.
    pub delay_us: u32,
    /// What comes on top: up to so much, and now and then four times that.
    pub jitter_us: u32,
    /// Frames that are lost.
    pub loss: u32,
    /// Frames that come twice, where the protocol may meet that.
    pub doubled: u32,
    /// Frames that overtake or are overtaken, where the protocol may meet that.
    pub reordered: u32,
    /// Frames that are parked and come very late, where the protocol may meet that.
    pub late: u32,
    /// How late those come at most, in milliseconds.
    pub late_ms: u32,
}

impl Default for Quality {
    /// A good local network.
    fn default() -> Quality {
        Quality { delay_us: 80, jitter_us: 200, loss: 0, doubled: 0, reordered: 0, late: 0, late_ms: 5_000 }
    }
}

impl Quality {
    /// How long a frame takes at most.
    #[must_use]
    pub fn delay_max(&self) -> Duration {
        Duration::from_micros(u64::from(self.delay_us) + OUTLIER * u64::from(self.jitter_us))
    }

    /// How long a frame takes.
    pub(super) fn delay(&self, random: &mut Random) -> Duration {
        let times = if random.one_in(32) { OUTLIER } else { 1 };
        let micros = u64::from(self.delay_us) + times * random.below(u64::from(self.jitter_us));
        Duration::from_micros(micros)
    }
}

/// Whether a share, in parts of ten thousand, strikes.
pub(super) fn strikes(random: &mut Random, share: u32) -> bool {
    share > 0 && random.below(10_000) < u64::from(share)
}

/// How long a disk takes for a job: at least so many microseconds, and up to so many more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A write of the log.
    pub log_us: (u32, u32),
    /// A checkpoint, a part of a snapshot, a part of the scrub.
    pub background_us: (u32, u32),
}

impl Default for Pace {
    /// A good solid-state disk.
    fn default() -> Pace {
        Pace { log_us: (100, 400), background_us: (300, 8_000) }
    }
}

impl Pace {
    pub(super) fn draw((least, more): (u32, u32), slower: u32, random: &mut Random) -> Duration {
        Duration::from_micros((u64::from(least) + random.below(u64::from(more))) * u64::from(slower))
    }
}
