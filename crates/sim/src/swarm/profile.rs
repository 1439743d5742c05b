//! Profiles: which families of faults a plan may have, and how often they happen.

use std::fmt;
use std::str::FromStr;

/// Which faults a drawn plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Everything that must do no harm, each seed with a choice of its own.
    Default,
    /// None.
    Calm,
    /// Links only.
    Network,
    /// Disks and what they hold, with crashes.
    Disk,
    /// Clocks and pauses.
    Clocks,
    /// Changes of membership, with crashes and partitions.
    Membership,
    /// Processes and power only.
    Crashes,
    /// Everything at once, and much of it.
    Storm,
    /// Leaders that come and go: cut off, handed over, slow.
    Leaders,
}

/// Faults that are turned on and off together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Power of one member, at any moment.
    Crash,
    /// Power of all.
    CrashAll,
    /// Power between two changes of a disk.
    CrashInWork,
    /// Death of a process.
    Kill,
    /// A process or a machine stands still.
    Pause,
    /// Partitions of all shapes.
    Partition,
    /// Links that lose, double, reorder and delay.
    BadLinks,
    /// Connections break, frames are damaged.
    Reset,
    /// Clocks drift and jump.
    Clock,
    /// Disks are slow or hang.
    SlowDisk,
    /// Disks are full.
    FullDisk,
    /// Writes and syncs fail.
    DiskError,
    /// Stored data is damaged.
    Damage,
    /// A disk is lost, and its member replaced.
    Wipe,
    /// Parts of snapshots are damaged.
    DamagedSnapshot,
    /// Leadership is handed over.
    Transfer,
    /// The membership changes.
    Membership,
    /// A file is of an older format.
    OldFormat,
}

/// One row for each family: mean seconds between two of its faults in each profile, zero for none; in the order of
/// [`Profile::ALL`].
const GAPS: [(Family, [u64; 9]); 18] = [
    (Family::Crash, [15, 0, 0, 12, 40, 20, 6, 5, 15]),
    (Family::CrashAll, [90, 0, 0, 60, 0, 0, 30, 40, 0]),
    (Family::CrashInWork, [20, 0, 0, 10, 0, 30, 8, 6, 0]),
    (Family::Kill, [25, 0, 0, 30, 0, 40, 8, 10, 0]),
    (Family::Pause, [20, 0, 0, 0, 6, 0, 0, 8, 0]),
    (Family::Partition, [15, 0, 6, 0, 25, 20, 0, 6, 4]),
    (Family::BadLinks, [20, 0, 8, 0, 0, 30, 0, 8, 6]),
    (Family::Reset, [10, 0, 3, 0, 0, 0, 0, 4, 10]),
    (Family::Clock, [15, 0, 0, 0, 4, 0, 0, 8, 0]),
    (Family::SlowDisk, [20, 0, 0, 8, 0, 0, 0, 8, 5]),
    (Family::FullDisk, [40, 0, 0, 20, 0, 0, 0, 20, 0]),
    (Family::DiskError, [40, 0, 0, 15, 0, 0, 0, 15, 0]),
    (Family::Damage, [30, 0, 0, 8, 0, 0, 0, 10, 0]),
    (Family::Wipe, [120, 0, 0, 60, 0, 60, 0, 60, 0]),
    (Family::DamagedSnapshot, [30, 0, 0, 15, 0, 0, 0, 10, 0]),
    (Family::Transfer, [15, 0, 20, 0, 20, 15, 0, 8, 8]),
    (Family::Membership, [40, 0, 0, 0, 0, 6, 0, 15, 0]),
    (Family::OldFormat, [120, 0, 0, 60, 0, 0, 0, 60, 0]),
];

impl Profile {
    /// All profiles, in the order of the table's columns.
    pub const ALL: [Profile; 9] = [
        Profile::Default,
        Profile::Calm,
        Profile::Network,
        Profile::Disk,
        Profile::Clocks,
        Profile::Membership,
        Profile::Crashes,
        Profile::Storm,
        Profile::Leaders,
    ];

    /// The families that may happen, with the mean seconds between two of their faults.
    pub fn families(self) -> impl Iterator<Item = (Family, u64)> {
        let column = self as usize;
        GAPS.iter().map(move |(family, gaps)| (*family, gaps[column])).filter(|(_, gap)| *gap > 0)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Profile::Default => "default",
            Profile::Calm => "calm",
            Profile::Network => "network",
            Profile::Disk => "disk",
            Profile::Clocks => "clocks",
            Profile::Membership => "membership",
            Profile::Crashes => "crashes",
            Profile::Storm => "storm",
            Profile::Leaders => "leaders",
        }
    }
}

impl Profile {
    /// What it is for, in a line.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Profile::Default => "everything that must do no harm, each seed with a choice of its own",
            Profile::Calm => "no faults",
            Profile::Network => "links only: partitions, loss, doubles, delays, broken connections",
            Profile::Disk => "disks and what they hold, with crashes",
            Profile::Clocks => "clocks and pauses",
            Profile::Membership => "changes of membership, with crashes and partitions",
            Profile::Crashes => "processes and power only",
            Profile::Storm => "everything at once and much of it, with busy clients",
            Profile::Leaders => "leaders that come and go: cut off, handed over, slow",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Profile, UnknownProfile> {
        let known = Profile::ALL.into_iter().find(|profile| profile.name() == name);
        known.ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

/// There is no such profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no profile is called `{0}`; there are default, calm, network, disk, clocks, membership, crashes, storm and leaders"
)]
pub struct UnknownProfile(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_known_by_their_names_and_calm_is_calm() {
        for (place, profile) in Profile::ALL.into_iter().enumerate() {
            assert_eq!(profile as usize, place);
            assert_eq!(profile.to_string().parse(), Ok(profile));
        }
        assert!("wild".parse::<Profile>().is_err());
        assert_eq!(Profile::Calm.families().count(), 0);
        assert_eq!(Profile::Storm.families().count(), GAPS.len());
    }
}
