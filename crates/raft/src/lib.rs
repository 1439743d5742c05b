//! Raft consensus, pure: inputs in, effects out.
//!
//! This crate decides what may be committed, and nothing else. It has no clock, no source of chance, no thread, no
//! socket, no file and no payload: a [`Node`] is a value that takes an [`Input`] and says what is to be done as a list
//! of [`Effect`]s. Whoever owns the node, its *driver*, moves the bytes: the engine does in the server, and in the tests
//! a cluster in one thread. References such as §3.4 are to Ongaro's dissertation, *Consensus: Bridging Theory and
//! Practice*; `bug C17` and the like are to `docs/raft-bugs.md`, which tells what others got wrong.
//!
//! # Elections
//!
//! Time is divided into terms, each with at most one leader ([`Term`], §3.3). A follower that hears no leader for a
//! random time asks the others whether it could win (pre-vote, §9.6), and only if so enters a new term and stands. A
//! vote goes to the first who asks and whose log is at least as complete as the voter's: [`LogPosition`] orders as
//! §3.6.1 demands. Members that hear their leader grant nothing, and a leader that no quorum answers steps down (§6.2)
//! and says so, so that nobody waits for it.
//!
//! A member that is told by [`Input::Suspect`] that the connection to its leader broke asks at once and grants others
//! who ask; if the leader lives after all, the rest of the group still refuses. So a dead process costs a few ticks, a
//! silent one an election timeout. Members may have priorities: who has a lower one waits longer, and a leader hands
//! over to a better placed member that has caught up. Where the only member that reaches a quorum lacks entries, it
//! fetches them from one that has them and asks again (`pull.rs`).
//!
//! # Replication
//!
//! A leader appends a proposal to its log, hands it to its disk and to its followers at the same time, and commits it
//! when a quorum holds it *durably*, its own disk being one among the others. It only ever counts entries of its own
//! term (§3.6.2). Each follower has a pace: a *probe* finds the last place where both logs agree, skipping a whole term
//! with each question; a *stream* sends without waiting within a window; where the entries are compacted, a *snapshot*
//! goes first. A follower's commit index never moves beyond what the leader's messages of this term have shown to be
//! equal to the leader's log.
//!
//! # Membership
//!
//! [`Input::ChangeMembership`] takes any number of changes as one step. A configuration is an entry of the log and in
//! force from the moment it is appended, committed or not; truncation puts back what was in force before, with everything
//! that follows from it (§4.1). If more than one vote is given or taken, the group first decides by both majorities
//! (joint consensus, §4.3), and whichever leader finds that applied leaves it. New members start as learners, which do
//! not count, and are promoted only once they have caught up (§4.2.1). A leader that is left out leads without counting
//! itself until that is committed, then hands over (§4.2.2); whoever is left out is told so and falls silent.
//!
//! An identity alone makes no member: configurations also say which *life of its disk* is meant ([`Incarnation`]), so
//! that one who lost what it had promised does not return in its own name. And what it acknowledges counts only within
//! the session of membership in which it was asked.
//!
//! # Reads
//!
//! [`Input::Read`] names a batch of linearizable reads, at any member. The leader notes its commit index and opens a
//! round of heartbeats; when a quorum has acknowledged that round, it was still the leader after the batch came, and
//! [`Effect::ReadReady`] tells which index must be applied first (§6.4). One round serves all batches of a turn. Where
//! the group has agreed on a [`Lease`], the leader need not ask while a quorum's promise lasts (§6.4.1).
//!
//! # Effects, and why no driver can get the order wrong
//!
//! Every effect may be carried out at once. A message that promises something (a vote, an acknowledgement, a leader's
//! own vote for its entry) does not become an effect before the driver has reported the write under it with
//! [`Input::Persisted`]. Until then it stays inside. A write that was replaced by a newer one meanwhile vouches for
//! nothing (bugs C16, C17).
//!
//! # What is checked
//!
//! Invariants are asserted in release builds: terms and commit never fall, a vote and a leader are set once in a term,
//! `compacted ≤ applied ≤ commit ≤ last`, `match < next`. A replica that finds one broken, or meets a second leader of
//! its term, panics with the invariant's name rather than go on. What comes from other members and is merely malformed
//! is ignored.
//!
//! Why a replica did what it did can be listened to: [`Node::listen`] and [`Decision`]; where it stands, and why not
//! further, is in [`Node::status`].
//!
//! # What is left out
//!
//! - Payloads. The core knows which index has which term; bytes of entries go from socket to log and never through it.
//!   For the bounds on messages it asks the driver's log through [`EntrySizes`].
//! - Clusters. The transport makes sure that a message comes from the member that it claims, and of this cluster.
//! - The first moments of a new group. Until the first leader has bound its members' disks, a member that loses its disk
//!   cannot be told from one that never had any: it takes part in anything that those know who have never heard a leader.
//! - Rounds of a failed disk. A replica whose disk hangs commits with the others, but does not hand over by itself.
//!
//! # The driver's loop
//!
//! A driver gathers what happened, steps the node through it, then flushes it once. This one runs three members in
//! memory, with a disk that is always done at once:
//!
//! ```
//! use std::collections::VecDeque;
//! use kontiki_raft::*;
//!
//! /// Every entry counts as one byte. A real driver asks its log.
//! struct OneByteEach;
//! impl EntrySizes for OneByteEach {
//!     fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
//!         let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
//!         (last, last.0 + 1 - first.0)
//!     }
//! }
//!
//! fn start(id: u64) -> Node {
//!     Node::new(Start {
//!         id: NodeId(id),
//!         incarnation: None,
//!         hard_state: HardState::default(),
//!         compacted: LogPosition::START,
//!         runs: TermRuns::None,
//!         last: Index(0),
//!         configuration: Configuration::of([NodeId(1), NodeId(2), NodeId(3)]).into(),
//!         configurations: vec![],
//!         applied: Index(0),
//!         seed: 42,
//!         settings: Settings::default().into(),
//!     })
//! }
//!
//! /// Steps one node through its inputs, flushes it, and returns what it wants to send.
//! fn turn(node: &mut Node, mut inputs: VecDeque<Input>) -> Vec<(NodeId, NodeId, Message)> {
//!     let mut sent = Vec::new();
//!     let mut effects = Vec::new();
//!     loop {
//!         let input = inputs.pop_front();
//!         let flushed = input.is_none();
//!         match input {
//!             Some(input) => node.step(input, &mut effects),
//!             None => node.flush(&OneByteEach, &mut effects),
//!         }
//!         for effect in effects.drain(..) {
//!             match effect {
//!                 // A real driver writes hard state and entries, and reports when they are durable.
//!                 Effect::Persist(persist) => inputs.push_back(Input::Persisted(persist.ticket)),
//!                 // A real driver attaches the bytes of the entries.
//!                 Effect::Send { to, message } => sent.push((node.id(), to, message)),
//!                 // A real driver applies the entries.
//!                 Effect::Committed(index) => inputs.push_back(Input::Applied(index)),
//!                 _ => {}
//!             }
//!         }
//!         if flushed && inputs.is_empty() {
//!             return sent;
//!         }
//!     }
//! }
//!
//! let mut nodes: Vec<Node> = (1..=3).map(start).collect();
//! // Time passes until somebody leads. Messages arrive at once.
//! let mut network = VecDeque::new();
//! while !nodes.iter().any(|node| node.committed_in_own_term()) {
//!     for place in 0..3 {
//!         network.extend(turn(&mut nodes[place], [Input::Tick].into()));
//!         while let Some((from, to, message)) = network.pop_front() {
//!             let receiver = &mut nodes[to.0 as usize - 1];
//!             network.extend(turn(receiver, [Input::Receive { from, message }].into()));
//!         }
//!     }
//! }
//! // Two commands, one turn, one message to each follower.
//! let leader = nodes.iter().position(|node| node.role() == RoleKind::Leader).unwrap();
//! let propose = Input::Propose { count: 1, bytes: 1 };
//! let sent = turn(&mut nodes[leader], [propose.clone(), propose].into());
//! assert_eq!(sent.len(), 2);
//! network.extend(sent);
//! while let Some((from, to, message)) = network.pop_front() {
//!     network.extend(turn(&mut nodes[to.0 as usize - 1], [Input::Receive { from, message }].into()));
//! }
//! // The blank entry of the new term, and the two commands.
//! assert!(nodes.iter().all(|node| node.applied() == Index(3)));
//! ```
//!
//! # Where to read on
//!
//! `node.rs` is the table of contents: what every role does with every message. `role.rs` has the transitions;
//! `election.rs`, `replication.rs`, `reconfiguration.rs`, `read_index.rs`, `lease.rs`, `snapshot.rs`, `transfer.rs`,
//! `pull.rs` and `recovery.rs` one protocol each; `progress.rs`, `quorum.rs`, `log_view.rs`, `configuration.rs`,
//! `membership.rs` and `durability.rs` are the small machines under them. The scripts in `tests/scripts/` tell one
//! situation each, the figures of the dissertation among them; `docs/raft-rules.md` leads from each rule to its code and
//! its test.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod aside;
mod configuration;
mod decision;
mod durability;
mod election;
mod forgotten;
mod interface;
mod invariants;
mod lease;
mod log_view;
mod membership;
mod message;
mod node;
pub mod planted;
mod progress;
mod pull;
mod quorum;
mod random;
mod rare;
mod read_index;
mod reconfiguration;
mod recovery;
mod replication;
mod role;
mod snapshot;
mod status;
mod timer;
mod transfer;
mod types;

pub use configuration::{Attributes, ChangeRefusal, Configuration, Exclusion, Lease, MemberChange};
pub use decision::{Decision, Ignored, Quiet, StepDown, VoteRefusal};
pub use interface::*;
pub use message::*;
pub use node::Node;
pub use status::*;
pub use types::*;
