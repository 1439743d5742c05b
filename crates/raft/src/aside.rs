//! What a replica carries in special situations only.

use crate::configuration::Exclusion;
use crate::decision::Decision;
use crate::message::{Message, Pull};
use crate::rare::Empty;
use crate::read_index::ForwardedRead;
use crate::types::{NodeId, Ticket};

/// What an idle replica does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Aside {
    /// Messages that rest on writes under way, oldest first.
    pub(crate) withheld: Vec<Withheld>,
    /// Batches of reads that the leader was asked about.
    pub(crate) forwarded: Vec<ForwardedRead>,
    /// The leader whose connection broke, and for how many ticks the short timers hold.
    pub(crate) suspicion: Option<Suspicion>,
    /// Who asked for entries of this log, and which.
    pub(crate) pulls: Vec<(NodeId, Pull)>,
    /// What says that this replica does not count as a member.
    pub(crate) exclusion: Option<Exclusion>,
    /// What was decided since the listener last asked.
    pub(crate) decisions: Vec<Decision>,
    /// The transfer of a leadership that is over, for planted bug 12.
    #[cfg(feature = "planted")]
    pub(crate) left_transfer: Option<crate::transfer::Transfer>,
}

/// A message that may be sent once its ticket is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Withheld {
    pub(crate) ticket: Ticket,
    pub(crate) to: NodeId,
    pub(crate) message: Message,
}

/// A leader that is probably dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Suspicion {
    pub(crate) leader: NodeId,
    /// Ticks for which the short timers hold; an election timeout altogether.
    pub(crate) ticks_left: u32,
}

impl Empty for Aside {
    fn empty() -> &'static Aside {
        const {
            &Aside {
                withheld: Vec::new(),
                forwarded: Vec::new(),
                suspicion: None,
                pulls: Vec::new(),
                exclusion: None,
                decisions: Vec::new(),
                #[cfg(feature = "planted")]
                left_transfer: None,
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.withheld.is_empty()
            && self.forwarded.is_empty()
            && self.suspicion.is_none()
            && self.pulls.is_empty()
            && self.exclusion.is_none()
            && self.decisions.is_empty()
    }
}
