//! The engine's settings.

use std::time::Duration;

use kontiki_raft::Settings as RaftSettings;

/// Settings of an engine, the same for all of its groups.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Length of a tick: what the core's times are counted in.
    pub tick: Duration,
    /// The core's settings.
    pub raft: RaftSettings,
    /// A checkpoint starts when this many bytes of the state are only in memory, or this many bytes of log were applied
    /// since the last one. Bounds memory and the replay after a crash.
    pub checkpoint_bytes: u64,
    /// Nothing is applied while a checkpoint is being written and so many bytes of the state besides are only in memory.
    pub unsaved_bytes_max: u64,
    /// A checkpoint starts when nothing was applied for this long and something is not in the last one: a restart after
    /// quiet replays nothing.
    pub checkpoint_quiet: Duration,
    /// A checkpoint starts when something applied has not been in one for this long, however little it is.
    pub checkpoint_age: Duration,
    /// Entries that stay in the log behind a checkpoint, so that a member that was away for a short time needs no snapshot.
    pub trailing_entries: u64,
    /// The same bound in bytes; the smaller of the two counts.
    pub trailing_bytes: u64,
    /// While a follower that answers, or a snapshot on its way, still needs entries, they stay up to this many bytes.
    pub follower_bytes_max: u64,
    /// Most bytes of a group's entries that are applied in one turn, so that heartbeats are never late.
    pub apply_bytes_max: u64,
    /// Size of a snapshot's parts.
    pub snapshot_chunk_bytes: usize,
    /// Parts of a snapshot that may be on their way unacknowledged: the bound on memory at both ends.
    pub snapshot_window: u64,
    /// Most bytes of a group's snapshots that go out in a second, all receivers together, so that they leave the network and
    /// the disk to others; zero for no bound.
    pub snapshot_bytes_per_second: u64,
    /// A snapshot that makes no progress for this long is given up.
    pub snapshot_timeout: Duration,
    /// Proposals that wait for a leader are kept up to this many bytes for each group; more are refused.
    pub parked_bytes_max: u64,
    /// They are dropped after this long: whoever proposed them has been told that it took too long.
    pub parked_patience: Duration,
    /// A batch of reads that is not confirmed after this long is asked for again.
    pub read_retry: Duration,
    /// A member that is damaged asks the others again after this long.
    pub repair_retry: Duration,
    /// Most bytes of entries in an answer to it.
    pub repair_bytes_max: u64,
    /// Durable bytes are read again and compared with their checksums in parts of about this size.
    pub scrub_bytes: u64,
    /// Most of a core that this may take, in thousandths. Zero turns it off.
    pub scrub_cpu_permille: u32,
    /// Once round everything takes about this long, or longer where the bound on the core's time says so.
    pub scrub_round: Duration,
}

impl Default for Settings {
    /// etcd's times: heartbeats each 100 ms, elections after 1 s.
    fn default() -> Settings {
        Settings {
            tick: Duration::from_millis(10),
            raft: RaftSettings { election_timeout_ticks: 100, heartbeat_interval_ticks: 10, ..RaftSettings::default() },
            checkpoint_bytes: 48 << 20,
            unsaved_bytes_max: 96 << 20,
            checkpoint_quiet: Duration::from_secs(1),
            checkpoint_age: Duration::from_secs(30),
            trailing_entries: 5_000,
            trailing_bytes: 16 << 20,
            follower_bytes_max: 128 << 20,
            apply_bytes_max: 4 << 20,
            snapshot_chunk_bytes: 256 << 10,
            snapshot_window: 8,
            snapshot_bytes_per_second: 128 << 20,
            snapshot_timeout: Duration::from_secs(10),
            parked_bytes_max: 16 << 20,
            parked_patience: Duration::from_secs(7),
            read_retry: Duration::from_millis(300),
            repair_retry: Duration::from_millis(200),
            repair_bytes_max: 1 << 20,
            scrub_bytes: 1 << 20,
            scrub_cpu_permille: 20,
            scrub_round: Duration::from_secs(6 * 3_600),
        }
    }
}
