//! What is left when a quorum is lost for good: one replica goes on alone, by the operator's order.
//!
//! Raft cannot decide this. The order takes the place of the election that can no longer be held: in one write the
//! replica enters a new term, gives itself the vote, and appends a configuration of itself alone behind whatever its log
//! holds. From there on the ordinary rules apply: it is the quorum, so that it leads and commits everything in its log.
//! What only the lost members had committed is lost, and a lost member that comes back belongs to another group.

use std::sync::Arc;

use crate::configuration::{Attributes, Configuration};
use crate::decision::Decision;
use crate::interface::{Append, Content, Effect};
use crate::node::Node;
use crate::role::Role;
use crate::types::{TermRun, TermRuns};

impl Node {
    /// Goes on as the only member of the group.
    pub(crate) fn on_force_new_cluster(&mut self, effects: &mut Vec<Effect>) {
        if let Role::Leader(_) = &self.role {
            self.become_follower(self.current_term, None, effects);
        }
        self.decide(|| Decision::GoesOnAlone);
        self.excluded = false;
        self.aside.exclusion = None;
        self.promise_left = 0;
        let mut alone = Configuration::of([self.id]);
        alone.set_attributes(self.id, Attributes { incarnation: self.incarnation(), ..Attributes::default() });
        self.become_candidate(effects);
        let index = self.log.last_index().next();
        let runs = TermRuns::One([TermRun { term: self.current_term, first: index }]);
        self.log.append(&runs, index);
        let configuration = Arc::new(alone);
        self.membership.append(index, Arc::clone(&configuration));
        self.durability.appended(index, index);
        let content = Content::Configuration(configuration);
        self.stage(Append { first: index, last: index, runs, content }, effects);
    }
}
