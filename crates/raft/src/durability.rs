//! Tickets: which writes are on stable storage, and what may be said because of it (design decision 2).

use std::collections::VecDeque;

use crate::planted::planted;
use crate::rare::{Empty, Rare};
use crate::types::{Index, Ticket};

/// What the driver has been asked to write, and what of it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Durability {
    /// Newest ticket given out.
    issued: Ticket,
    /// Every write up to this one is durable.
    durable: Ticket,
    /// The write that holds the newest term and vote.
    hard_state: Ticket,
    /// Appends not yet durable, oldest first.
    appends: Rare<Appends>,
    /// The log is durable up to here.
    index: Index,
}

/// Appends on their way to the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Appends {
    queue: VecDeque<Appended>,
}

impl Empty for Appends {
    fn empty() -> &'static Appends {
        const { &Appends { queue: VecDeque::new() } }
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// One append on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Appended {
    ticket: Ticket,
    /// Last entry that will be durable with it, as the log is now.
    last: Index,
}

impl Durability {
    /// After a start: all that was recovered is durable.
    pub(crate) fn new(last: Index) -> Durability {
        Durability {
            issued: Ticket(0),
            durable: Ticket(0),
            hard_state: Ticket(0),
            appends: Rare::default(),
            index: last,
        }
    }

    /// Last index of the log's durable prefix.
    pub(crate) fn index(&self) -> Index {
        self.index
    }

    /// The ticket that the write of the present step will get. One step makes at most one write.
    pub(crate) fn upcoming(&self) -> Ticket {
        Ticket(self.issued.0 + 1)
    }

    /// Gives the upcoming ticket out.
    pub(crate) fn issue(&mut self) -> Ticket {
        self.issued = self.upcoming();
        self.issued
    }

    /// Whether what rests on `ticket` may be said.
    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        ticket <= self.durable
    }

    /// The write that holds the newest term and vote.
    pub(crate) fn hard_state(&self) -> Ticket {
        self.hard_state
    }

    /// Term or vote changed: the present step's write will hold them.
    pub(crate) fn hard_state_changed(&mut self) {
        self.hard_state = self.upcoming();
    }

    /// The present step's write replaces everything from `first` on by entries up to `last`.
    ///
    /// Older writes that are still under way may yet become durable, but what they wrote from `first` on is no longer
    /// the log: they are cut down here, so that their late completion cannot vouch for the new entries (bugs C16, C17).
    pub(crate) fn appended(&mut self, first: Index, last: Index) {
        let kept = first.previous();
        self.index = self.index.min(kept);
        for older in self.appends.queue.iter_mut().rev() {
            if older.last <= kept || planted(24) {
                break; // lasts never fall along the queue
            }
            older.last = kept;
        }
        let ticket = self.upcoming();
        self.appends.queue.push_back(Appended { ticket, last });
    }

    /// The driver reports every write up to `ticket` as durable. Reports may repeat or come late (bug C19).
    pub(crate) fn persisted(&mut self, ticket: Ticket) {
        assert!(ticket <= self.issued, "write {ticket} is reported durable, {} is the newest asked for", self.issued);
        self.durable = self.durable.max(ticket);
        while let Some(oldest) = self.appends.queue.front() {
            if !self.is_durable(oldest.ticket) {
                break;
            }
            self.index = self.index.max(oldest.last);
            self.appends.queue.pop_front();
        }
    }

    /// Gives memory back that a quiet replica does not need.
    pub(crate) fn relax(&mut self) {
        self.appends.relax();
    }

    /// The log was replaced by a durable snapshot up to `index`.
    pub(crate) fn reset(&mut self, index: Index) {
        self.appends = Rare::default();
        self.index = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(durability: &mut Durability, first: u64, last: u64) -> Ticket {
        durability.appended(Index(first), Index(last));
        durability.issue()
    }

    #[test]
    fn a_late_completion_does_not_vouch_for_what_replaced_its_entries() {
        let mut durability = Durability::new(Index(3));
        let old = append(&mut durability, 4, 6);
        let new = append(&mut durability, 5, 8); // another leader's entries from 5 on
        durability.persisted(old);
        assert_eq!(durability.index(), Index(4)); // 5 and 6 are durable as what they no longer are
        durability.persisted(new);
        assert_eq!(durability.index(), Index(8));
    }

    #[test]
    fn truncation_lowers_the_durable_index() {
        let mut durability = Durability::new(Index(9));
        let ticket = append(&mut durability, 6, 6);
        assert_eq!(durability.index(), Index(5));
        durability.persisted(ticket);
        assert_eq!(durability.index(), Index(6));
    }

    #[test]
    fn twice_replaced_entries_wait_for_the_newest_write() {
        let mut durability = Durability::new(Index(0));
        let first = append(&mut durability, 1, 5);
        let second = append(&mut durability, 3, 5);
        let third = append(&mut durability, 2, 5);
        durability.persisted(first);
        assert_eq!(durability.index(), Index(1));
        durability.persisted(second);
        assert_eq!(durability.index(), Index(1));
        durability.persisted(third);
        durability.persisted(second); // repeated, late
        assert_eq!(durability.index(), Index(5));
    }

    #[test]
    fn term_and_vote_rest_on_their_own_write() {
        let mut durability = Durability::new(Index(0));
        durability.hard_state_changed();
        let vote = durability.issue();
        let entries = append(&mut durability, 1, 1);
        assert!(!durability.is_durable(durability.hard_state()));
        durability.persisted(vote);
        assert!(durability.is_durable(durability.hard_state()));
        assert!(!durability.is_durable(entries));
    }
}
