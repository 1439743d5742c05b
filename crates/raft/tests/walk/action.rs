//! What may happen in a walk, as data: every action can be performed in every state, so that a walk from which actions
//! were taken out is a walk again. Each is told in the words of the scripts.

use std::fmt;

use kontiki_raft::{MemberChange, NodeId};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Real time passes: every clock goes at its own rate.
    Time,
    /// One member's clock goes on alone. Only where nothing rests on clocks.
    Tick(NodeId),
    /// The oldest packets between two members arrive, or the oldest of all; in one turn of the receiver or in several.
    Deliver {
        ends: Option<(NodeId, NodeId)>,
        count: u64,
        one_turn: bool,
    },
    Lose {
        ends: (NodeId, NodeId),
        count: u64,
    },
    Repeat {
        ends: (NodeId, NodeId),
        count: u64,
        late: bool,
    },
    /// Packets are overtaken by all that are sent until the release.
    Hold {
        ends: (NodeId, NodeId),
        count: u64,
    },
    Release,
    /// At the leader, or at a member that may not be it.
    Propose {
        at: Option<NodeId>,
        count: u64,
    },
    Change {
        at: Option<NodeId>,
        changes: Vec<MemberChange>,
    },
    Transfer {
        at: Option<NodeId>,
        to: Option<NodeId>,
    },
    Read(NodeId),
    Campaign(NodeId),
    Suspect {
        at: NodeId,
        peer: NodeId,
    },
    Slow(NodeId),
    Fast(NodeId),
    Persist {
        at: NodeId,
        count: usize,
    },
    Apply(NodeId),
    Compact {
        at: NodeId,
        keep: u64,
    },
    Crash {
        at: NodeId,
        survive: usize,
    },
    Restart {
        at: NodeId,
        seed: u64,
    },
    /// The disk is lost; the next life starts as at the beginning of the group, or waits to be added.
    Wipe {
        at: NodeId,
        joins: bool,
    },
    Sleep(NodeId),
    Wake(NodeId),
    Cut {
        from: NodeId,
        to: NodeId,
        one_way: bool,
    },
    Isolate(NodeId),
    Heal,
    SnapshotFailed {
        at: NodeId,
        to: NodeId,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = |(from, to): (NodeId, NodeId)| format!("from={} to={}", from.0, to.0);
        match self {
            Action::Time => write!(f, "# time passes"),
            Action::Tick(id) => write!(f, "tick {}", id.0),
            Action::Deliver { ends: chosen, count, one_turn } => {
                let between = chosen.map_or(String::new(), |chosen| ends(chosen) + " ");
                write!(f, "deliver {between}count={count}{}", if *one_turn { " turn=one" } else { "" })
            }
            Action::Lose { ends: chosen, count } => write!(f, "lose {} count={count}", ends(*chosen)),
            Action::Repeat { ends: chosen, count, late } => {
                write!(f, "repeat {} count={count}{}", ends(*chosen), if *late { " late=yes" } else { "" })
            }
            Action::Hold { ends: chosen, count } => write!(f, "hold {} count={count}", ends(*chosen)),
            Action::Release => write!(f, "release"),
            Action::Propose { at, count } => write!(f, "put {} count={count}", who(*at)),
            Action::Change { at, changes } => write!(f, "change {}{}", who(*at), told(changes)),
            Action::Transfer { at, to } => {
                write!(f, "transfer {}{}", who(*at), to.map_or(String::new(), |to| format!(" {}", to.0)))
            }
            Action::Read(id) => write!(f, "read {}", id.0),
            Action::Campaign(id) => write!(f, "campaign {}", id.0),
            Action::Suspect { at, peer } => write!(f, "suspect {} {}", at.0, peer.0),
            Action::Slow(id) => write!(f, "disk {} slow", id.0),
            Action::Fast(id) => write!(f, "disk {} fast", id.0),
            Action::Persist { at, count } => write!(f, "persist {} count={count}", at.0),
            Action::Apply(id) => write!(f, "apply {}", id.0),
            Action::Compact { at, keep } => write!(f, "compact {} keep={keep}", at.0),
            Action::Crash { at, survive } => write!(f, "crash {} survive={survive}", at.0),
            Action::Restart { at, seed } => write!(f, "restart {} seed={seed}", at.0),
            Action::Wipe { at, joins } => write!(f, "wipe {}{}", at.0, if *joins { " joins=yes" } else { "" }),
            Action::Sleep(id) => write!(f, "sleep {}", id.0),
            Action::Wake(id) => write!(f, "wake {}", id.0),
            Action::Cut { from, to, one_way } => {
                write!(f, "cut {} {}{}", from.0, to.0, if *one_way { " oneway=yes" } else { "" })
            }
            Action::Isolate(id) => write!(f, "isolate {}", id.0),
            Action::Heal => write!(f, "heal"),
            Action::SnapshotFailed { at, to } => write!(f, "report {} {} failed", at.0, to.0),
        }
    }
}

/// The leader is named once it is known who that is.
fn who(at: Option<NodeId>) -> String {
    at.map_or("LEADER".into(), |id| id.0.to_string())
}

fn told(changes: &[MemberChange]) -> String {
    let one = |change: &MemberChange| match change {
        MemberChange::AddVoter(id) => format!(" add={}", id.0),
        MemberChange::AddLearner { id, promote: false } => format!(" learner={}", id.0),
        MemberChange::AddLearner { id, promote: true } => format!(" candidate={}", id.0),
        MemberChange::Promote(id) => format!(" promote={}", id.0),
        MemberChange::Demote(id) => format!(" demote={}", id.0),
        MemberChange::Remove(id) => format!(" remove={}", id.0),
        MemberChange::SetPriority(id, priority) => format!(" priority={}@{priority}", id.0),
        MemberChange::SetLease(None) => " lease=none".into(),
        MemberChange::SetLease(Some(lease)) => format!(" lease={}/{}", lease.ticks, lease.drift_permille),
    };
    changes.iter().map(one).collect()
}
