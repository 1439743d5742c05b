//! Who belongs to the cluster, and how that changes while it runs.
//!
//! Three things say who a member is. Raft's *configuration* says who votes and who learns. The *state* says where members are
//! reached, what they are called, who is still to be taken in and who is out for good (`kontiki_kv::MemberCommand`). Each
//! member's *connections* follow both ([`follow`]). They change in an order that leaves nothing half done:
//!
//! - Somebody new is first written into the state, as wanted. The leader, whoever it is by then, makes the configuration
//!   follow ([`govern`]). A crash in between leaves a wish that is fulfilled later, and URLs that nobody uses yet.
//! - A voter is taken in as a learner that is promoted as soon as it has caught up. So a cluster of one that is to grow
//!   goes on alone until the second has come, and no member counts before it can carry its part.
//! - Whoever is to leave leaves the configuration first. The entry that drops it also drops, on every member alike, what the
//!   state says of it; its identity is kept, to tell it when it calls.
//!
//! Clients ask any member ([`change`]); what only the leader can do, it is asked for as [`orders`]. A process that is to
//! become a member asks the others who they are before it has an identity ([`join`]).

mod change;
mod checks;
mod directory;
mod follow;
mod govern;
mod heard;
mod join;
mod orders;

pub use change::MemberChanged;
pub(crate) use change::leave;
pub(crate) use directory::Directory;
pub(crate) use follow::{addresses, follow};
pub(crate) use govern::govern;
pub(crate) use heard::heard;
pub(crate) use join::{Joined, join};
pub(crate) use orders::{Order, OrderState, Orders};

/// Settings of the membership, after etcd's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipOptions {
    /// `--max-learners`.
    pub learners_max: u32,
    /// `--strict-reconfig-check`.
    pub strict: bool,
    /// Learners are promoted as soon as they have caught up. Not one of etcd's.
    pub promotes_learners: bool,
    /// A strict check counts members that have been connected for this long.
    pub healthy_after: std::time::Duration,
}

impl Default for MembershipOptions {
    /// etcd's defaults.
    fn default() -> MembershipOptions {
        MembershipOptions {
            learners_max: 1,
            strict: true,
            promotes_learners: false,
            healthy_after: std::time::Duration::from_secs(5),
        }
    }
}
