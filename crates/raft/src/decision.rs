//! What a replica decided, and why: the same words for tests, traces, metrics and pages.
//!
//! Nothing is built while nobody listens: every decision is passed as a closure.

use std::fmt;

use crate::configuration::Exclusion;
use crate::node::Node;
use crate::types::{Index, LogPosition, NodeId, Term};

/// Something that a replica decided, with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// No leader was heard for this many ticks.
    ElectionTimedOut {
        /// Ticks waited.
        after: u32,
    },
    /// The timer ran out, but this replica does not stand.
    StaysQuiet(Quiet),
    /// A newer term was met.
    TermAdopted {
        /// The newer term.
        term: Term,
        /// Who spoke of it.
        from: NodeId,
    },
    /// A vote was given, or would be.
    VoteGranted {
        /// The candidate.
        to: NodeId,
        /// In which term.
        term: Term,
        /// Only asked in advance (§9.6).
        pre_vote: bool,
    },
    /// A vote was refused, or would be.
    VoteRefused {
        /// The candidate.
        to: NodeId,
        /// For which term.
        term: Term,
        /// Only asked in advance (§9.6).
        pre_vote: bool,
        /// Why.
        why: VoteRefusal,
    },
    /// An election or the question before it was decided by these answers.
    ElectionDecided {
        /// The term stood for.
        term: Term,
        /// Only asked in advance (§9.6).
        pre_vote: bool,
        /// Whether it was won.
        won: bool,
    },
    /// Entries were refused: the one before them is not held.
    AppendRefused {
        /// What they were to follow.
        prev: LogPosition,
        /// What can match at best.
        hint: LogPosition,
    },
    /// Entries that no leader has were cut off.
    Truncated {
        /// The first of them.
        first: Index,
        /// What was the last.
        last: Index,
    },
    /// A quorum holds entries of an earlier term; that alone commits nothing (§3.6.2).
    NotCommittedYet {
        /// What a quorum holds.
        held: LogPosition,
    },
    /// Committed, because a quorum holds it durably.
    Committed {
        /// Up to here.
        up_to: Index,
    },
    /// The leader goes back in search of where a follower's log equals its own.
    Probes {
        /// The follower.
        peer: NodeId,
        /// Entries behind this one are tried next.
        behind: Index,
    },
    /// A follower's disk has lost what it had acknowledged: its log is looked through anew.
    Forgotten {
        /// The follower.
        peer: NodeId,
        /// What it had acknowledged.
        held: Index,
    },
    /// What a follower needs next is compacted.
    SendsSnapshot {
        /// The follower.
        peer: NodeId,
        /// What it needs next.
        next: Index,
    },
    /// Leadership was given up.
    StepsDown(StepDown),
    /// The leader is probably dead: its connection broke, or it said that it leads no more.
    Suspects(NodeId),
    /// Leadership is to be handed over.
    HandsOver {
        /// To whom.
        to: NodeId,
        /// Its log is complete: it was told to stand.
        told: bool,
    },
    /// A handover was given up.
    HandoverFailed {
        /// To whom.
        to: NodeId,
    },
    /// A message was ignored.
    Ignores {
        /// The sender.
        from: NodeId,
        /// Why.
        why: Ignored,
    },
    /// Another configuration is in force.
    MembershipChanged {
        /// Where it stands.
        at: Index,
        /// Two halves decide.
        joint: bool,
    },
    /// This replica does not count as a member.
    Excluded(Exclusion),
    /// The own log is too old to be elected and no leader is to be had: another's newer log is asked for.
    Pulls {
        /// Whose.
        from: NodeId,
        /// Its end.
        last: LogPosition,
    },
    /// A read was served without asking, by the lease.
    ReadByLease,
    /// The operator ordered this replica to go on alone.
    GoesOnAlone,
}

/// Why a vote was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteRefusal {
    /// The own log is newer (§3.6.1).
    LogIsNewer {
        /// The own log's end.
        own: LogPosition,
        /// The candidate's.
        theirs: LogPosition,
    },
    /// Somebody else has the vote of this term.
    Voted(NodeId),
    /// A leader is in office (§4.2.3).
    LeaderIsHeard(Option<NodeId>),
    /// A leader was promised that nobody else is elected for so many ticks (§6.4.1).
    Promised {
        /// Ticks left.
        ticks_left: u32,
    },
    /// The term is not newer than the own.
    TermHasBegun(Term),
    /// This replica waits to be added to a group that exists: one whose log is empty cannot lead that.
    FoundsAnother,
}

/// Why a replica whose timer ran out does not stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quiet {
    /// Has no vote in the configuration in force.
    NoVoter,
    /// Was told that it does not count as a member.
    Excluded,
    /// Leads only if told to: priority zero.
    PriorityZero,
    /// Promised a leader not to help another into office.
    Promised,
    /// The disk has not taken the last candidacy yet.
    DiskIsSlow,
}

/// Why leadership was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StepDown {
    /// No quorum was heard for an election timeout (§6.2).
    NoQuorum,
    /// Somebody has a newer term.
    NewerTerm(Term),
    /// Not a voter any more, and the change that says so is committed (§4.2.2).
    NoVoter,
    /// Slept, or lost track of time.
    Paused,
}

/// Why a message was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// Parts of it contradict each other.
    Malformed,
    /// Another life of the sender's disk is the member (bugs M28, M29).
    Stranger,
    /// Answers another session of the sender's membership (bug M30).
    OtherSession,
    /// Not a member, by a committed configuration.
    NoMember,
}

impl Node {
    /// Notes a decision, where somebody listens.
    pub(crate) fn decide(&mut self, decision: impl FnOnce() -> Decision) {
        if self.listening {
            self.aside.decisions.push(decision());
        }
    }

    /// Whether decisions are kept for [`Node::take_decisions`]. Nothing is built and nothing is kept otherwise.
    pub fn listen(&mut self, listening: bool) {
        self.listening = listening;
        if !listening && !self.aside.decisions.is_empty() {
            self.aside.decisions.clear();
        }
    }

    /// What was decided since this was last called, oldest first.
    pub fn take_decisions(&mut self) -> Vec<Decision> {
        if self.aside.decisions.is_empty() { Vec::new() } else { std::mem::take(&mut self.aside.decisions) }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = |pre_vote: bool| if pre_vote { "pre-vote" } else { "vote" };
        match self {
            Decision::ElectionTimedOut { after } => write!(f, "no leader heard for {after} ticks"),
            Decision::StaysQuiet(why) => write!(f, "does not stand: {why}"),
            Decision::TermAdopted { term, from } => write!(f, "term {term} adopted from {from}"),
            Decision::VoteGranted { to, term, pre_vote } => {
                write!(f, "{} granted to {to} for term {term}", asked(*pre_vote))
            }
            Decision::VoteRefused { to, pre_vote, why, .. } => {
                write!(f, "{} refused to {to}: {why}", asked(*pre_vote))
            }
            Decision::ElectionDecided { term, pre_vote, won } => {
                let what = if *pre_vote { "could an election be won" } else { "election" };
                write!(f, "{what} for term {term}: {}", if *won { "won" } else { "lost" })
            }
            Decision::AppendRefused { prev, hint } => write!(f, "entries refused: {prev} is not held, {hint} may be"),
            Decision::Truncated { first, last } => write!(f, "entries {first}..{last} cut off"),
            Decision::NotCommittedYet { held } => {
                write!(f, "not committed: a quorum holds {held}, which is of an earlier term")
            }
            Decision::Committed { up_to } => write!(f, "committed up to {up_to}: a quorum holds it"),
            Decision::Probes { peer, behind } => write!(f, "probes the log of {peer} behind {behind}"),
            Decision::Forgotten { peer, held } => {
                write!(f, "{peer} has lost entries that it acknowledged: it held everything up to {held}")
            }
            Decision::SendsSnapshot { peer, next } => write!(f, "{peer} needs {next}, which is compacted"),
            Decision::StepsDown(why) => write!(f, "steps down: {why}"),
            Decision::Suspects(leader) => write!(f, "suspects that {leader} leads no more"),
            Decision::HandsOver { to, told: false } => write!(f, "will hand over to {to}"),
            Decision::HandsOver { to, told: true } => write!(f, "hands over to {to}, whose log is complete"),
            Decision::HandoverFailed { to } => write!(f, "goes on leading: {to} did not take over"),
            Decision::Ignores { from, why } => write!(f, "ignores {from}: {why}"),
            Decision::MembershipChanged { at, joint: false } => write!(f, "configuration {at} is in force"),
            Decision::MembershipChanged { at, joint: true } => write!(f, "joint configuration {at} is in force"),
            Decision::Excluded(exclusion) => write!(f, "is out: {exclusion}"),
            Decision::Pulls { from, last } => write!(f, "fetches entries from {from}, whose log ends at {last}"),
            Decision::ReadByLease => write!(f, "read served by lease"),
            Decision::GoesOnAlone => write!(f, "goes on alone by order"),
        }
    }
}

impl fmt::Display for VoteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VoteRefusal::LogIsNewer { own, theirs } => write!(f, "log {own} is newer than {theirs}"),
            VoteRefusal::Voted(candidate) => write!(f, "{candidate} has the vote"),
            VoteRefusal::LeaderIsHeard(Some(leader)) => write!(f, "{leader} leads and is heard"),
            VoteRefusal::LeaderIsHeard(None) => write!(f, "leads itself"),
            VoteRefusal::Promised { ticks_left } => write!(f, "a leader was promised {ticks_left} more ticks"),
            VoteRefusal::TermHasBegun(term) => write!(f, "term {term} has begun"),
            VoteRefusal::FoundsAnother => write!(f, "waits to be added to a group that has entries"),
        }
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Quiet::NoVoter => "has no vote",
            Quiet::Excluded => "is no member",
            Quiet::PriorityZero => "leads only if told to",
            Quiet::Promised => "promised a leader to wait",
            Quiet::DiskIsSlow => "the disk has not taken the last candidacy yet",
        })
    }
}

impl fmt::Display for StepDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepDown::NoQuorum => f.write_str("no quorum was heard"),
            StepDown::NewerTerm(term) => write!(f, "term {term} has begun"),
            StepDown::NoVoter => f.write_str("is no voter any more"),
            StepDown::Paused => f.write_str("lost track of time"),
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ignored::Malformed => "the message contradicts itself",
            Ignored::Stranger => "another life of its disk is the member",
            Ignored::OtherSession => "it answers another session of its membership",
            Ignored::NoMember => "it is no member",
        })
    }
}
