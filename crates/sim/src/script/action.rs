//! What a line of a script can do.

use std::time::Duration;

use crate::cluster::Quality;

/// A member, named or by what it is when the line is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This one.
    Member(u64),
    /// Whoever leads in the latest term.
    Leader,
    /// The so-manieth, from zero, of the running members that do not lead.
    Follower(u64),
}

/// What cuts a network. Members are counted over all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One from all others.
    Isolate(Target),
    /// The leader with as many others as still make no quorum, from the rest.
    Minority,
    /// The leader with a bare quorum, from the rest.
    Majority,
    /// Nothing gets to this one; what it says gets through.
    Deaf(Target),
    /// Nothing that this one says gets through.
    Mute(Target),
    /// Two halves that only this one hears and reaches.
    Bridge(Target),
    /// Each reaches only the next and the one before.
    Chain,
    /// A chain whose ends reach each other.
    Ring,
    /// All reach only this one.
    Star(Target),
}

/// What happens to a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    /// It gains so many parts of a million; negative ones are lost.
    Drift(i32),
    /// It shows so much more at once.
    Jump(Duration),
    /// The wall clock is set, so many milliseconds ahead of true time.
    Wall(i64),
}

/// What becomes of data that a sync did not make durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncFate {
    /// A later sync makes it durable.
    Kept,
    /// The kernel forgets that it was not: the next crash loses it, whatever is synced before.
    Dropped,
}

/// Which operations of a disk go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrikeKind {
    /// A read fails.
    ReadError,
    /// A write fails.
    WriteError,
    /// A sync fails.
    SyncError,
    /// A read gives a wrong bit.
    ReadFlip,
    /// A write leaves a wrong bit.
    WriteFlip,
    /// A write is said to be done, and was not.
    LoseWrite,
    /// A write goes elsewhere in its file.
    MisdirectWrite,
}

impl StrikeKind {
    /// Whether nobody is told that a write went wrong.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(self, StrikeKind::WriteFlip | StrikeKind::LoseWrite | StrikeKind::MisdirectWrite)
    }
}

/// Some operations of a disk go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Which and how.
    pub kind: StrikeKind,
    /// How many operations go right first.
    pub after: u64,
    /// How many go wrong.
    pub times: u64,
    /// The files, by a pattern in which `*` stands for anything.
    pub files: String,
}

/// What happens to a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// It takes so many times as long; one is as ever.
    Slow(u32),
    /// Nothing ends any more.
    Hang,
    /// Things end again.
    Unhang,
    /// Files may grow by so many bytes together.
    Full(u64),
    /// There is room again.
    Free,
    /// Single operations go wrong.
    Strike(Strike),
    /// One sync fails, after so many that do not, and what it should have made durable is forgotten: the next crash loses it.
    SyncFails(u64),
    /// All syncs fail, and what was dirty is forgotten, until the process has ended.
    SyncsFail(SyncFate),
}

/// Where bits rot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotPlace {
    /// Somewhere in a file of the log.
    Log,
    /// At the same place of a log file and of its second copy.
    LogBoth,
    /// Somewhere in a file that is not the log's.
    State,
}

/// What the operator asks of the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberOrder {
    /// Somebody new learns, and votes once it has caught up.
    Add(Target),
    /// Somebody new learns, and no more.
    AddLearner(Target),
    /// A learner is to vote.
    Promote(Target),
    /// A voter is to learn only.
    Demote(Target),
    /// A member is to go.
    Remove(Target),
    /// A member goes, gets an empty disk, and comes back.
    Replace(Target),
    /// A voter is to learn only, and in the same step a learner votes, or another voter learns only: two votes change at once.
    Swap(Target),
    /// A member is to lead rather than others, or as they are again.
    Prefer(Target),
    /// Leaders may answer reads by a lease of so many ticks. Clocks must neither jump nor stand still.
    ReadLease(u32),
}

/// What a line does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The power of a member fails, and comes back with [`Action::Start`].
    Crash(Target),
    /// The power of all members fails.
    CrashAll,
    /// The power of a member fails in its coming work on its disk, after so many changes.
    CrashInWork(Target, u64),
    /// A process is killed; what it wrote stays.
    Kill(Target),
    /// A process starts, where it is down.
    Start(Target),
    /// All processes start that are down.
    StartAll,
    /// The power of a member fails, and its disk is lost.
    Wipe(Target),
    /// A process gets no time; its clock goes on.
    Pause(Target),
    /// A machine sleeps: its process gets no time and its clock stands still.
    Suspend(Target),
    /// It goes on.
    Resume(Target),
    /// Links are cut, in both directions but where said otherwise. Links that are cut already stay so.
    Partition(Shape),
    /// Nothing gets from the first to the second.
    Cut(Target, Target),
    /// It does again.
    Join(Target, Target),
    /// No link is cut any more, and all are as good as ever.
    Heal,
    /// How good a link is, one way.
    Link(Target, Target, Quality),
    /// How good all links are.
    Links(Quality),
    /// What the first sends to the second is held back, and comes all at once after this time.
    Stall(Target, Target, Duration),
    /// The connections between two members break.
    Reset(Target, Target),
    /// The next so many frames from the first to the second are damaged.
    DamageFrames(Target, Target, u32),
    /// The next so many parts of snapshots are damaged at their source.
    DamageSnapshots(u32),
    /// Something about a clock.
    Clock(Target, ClockFault),
    /// Something about a disk.
    Disk(Target, DiskFault),
    /// Bits rot where they rest.
    Rot(Target, RotPlace),
    /// The leader is asked to hand over.
    Transfer(Target),
    /// The membership is to change.
    Members(MemberOrder),
    /// A process ends, and finds a file of an older format when it starts: it must refuse. Then the file is as it was.
    OldFormat(Target),
}
