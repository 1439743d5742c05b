//! What a search has come across, so that one which sees too little is noticed.

use std::fmt;

/// Something worth seeing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Sight {
    Leader,
    LaterLeader,
    TwoLeaders,
    Committed,
    CommittedWithoutOwnDisk,
    /// A majority holds an entry of an earlier term durably, and its leader rightly does not commit it (Figure 3.7).
    HeldButNotCommitted,
    ConflictReplaced,
    WriteLost,
    VoteRefused,
    AppendRejected,
    EntriesPulled,
    Joint,
    JointLeft,
    ConfigurationRolledBack,
    LearnerPromoted,
    LeadsWithoutVote,
    HandedOver,
    Resigned,
    Excluded,
    SnapshotInstalled,
}

use Sight::{
    AppendRejected, Committed, CommittedWithoutOwnDisk, ConfigurationRolledBack, ConflictReplaced, EntriesPulled,
    Excluded, HandedOver, HeldButNotCommitted, Joint, JointLeft, LaterLeader, Leader, LeadsWithoutVote,
    LearnerPromoted, Resigned, SnapshotInstalled, TwoLeaders, VoteRefused, WriteLost,
};

const ALL: [Sight; 20] = [
    Leader,
    LaterLeader,
    TwoLeaders,
    Committed,
    CommittedWithoutOwnDisk,
    HeldButNotCommitted,
    ConflictReplaced,
    WriteLost,
    VoteRefused,
    AppendRejected,
    EntriesPulled,
    Joint,
    JointLeft,
    ConfigurationRolledBack,
    LearnerPromoted,
    LeadsWithoutVote,
    HandedOver,
    Resigned,
    Excluded,
    SnapshotInstalled,
];

/// A set of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Sights(u32);

impl Sights {
    pub fn note(&mut self, sight: Sight) {
        self.0 |= 1 << sight as u32;
    }

    pub fn add(&mut self, other: Sights) {
        self.0 |= other.0;
    }

    pub fn has(self, sight: Sight) -> bool {
        self.0 & (1 << sight as u32) != 0
    }
}

impl fmt::Debug for Sights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(ALL.into_iter().filter(|sight| self.has(*sight))).finish()
    }
}
