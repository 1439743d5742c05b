//! Marks that observations show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kontiki_raft::{
    Body, Configuration, Decision, GroupId, Ignored, Index, LogPosition, Message, NodeId, Quiet, ReadId, RoleKind,
    StepDown, Term, VoteRefusal,
};
use kontiki_transport::Frame;

use super::Marks;
use crate::observation::{CoreView, End, LogEntry, Observation};

/// What was seen before, as far as marks need it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    replicas: BTreeMap<(GroupId, NodeId), Replica>,
    /// Who stood in each of the last terms, and whether somebody leads it.
    terms: BTreeMap<GroupId, BTreeMap<Term, (BTreeSet<NodeId>, bool)>>,
    /// To whom leadership is being handed over.
    handovers: BTreeMap<GroupId, NodeId>,
    /// Reads that leaders were asked for, and that they have not answered.
    reads: BTreeMap<(GroupId, NodeId), ReadId>,
    /// Snapshots under way.
    snapshots: BTreeMap<(GroupId, NodeId, NodeId), LogPosition>,
}

#[derive(Debug, Default)]
struct Replica {
    role: Option<RoleKind>,
    last: Index,
    damaged: bool,
    /// A leader came into office with entries up to here that were not known to be committed.
    inherited: Option<Index>,
}

const TERMS: usize = 4;

impl Marks {
    /// Something happened.
    pub fn observe(&mut self, _at: Duration, what: &Observation<'_>) {
        match *what {
            Observation::Started { life, .. } if life > 1 => self.reach("restarted"),
            Observation::Started { .. } => {}
            Observation::Ended { member, end, .. } => self.ended(member, end),
            Observation::Forced { .. } => self.reach("goes on alone"),
            Observation::Sent { from, to, frame } => self.sent(from, to, frame),
            Observation::Turned { member, group, before, now, appended, decisions, .. } => {
                for decision in decisions {
                    self.decided(group, decision);
                }
                self.changed((group, member), before, now, appended, decisions);
            }
        }
    }

    fn ended(&mut self, member: NodeId, end: &End) {
        self.seen.reads.retain(|(_, asks), _| *asks != member);
        let mut led = false;
        for (_, replica) in self.seen.replicas.iter_mut().filter(|((_, id), _)| *id == member) {
            led |= replica.role.take() == Some(RoleKind::Leader);
            if *end == End::Wiped {
                *replica = Replica::default();
            }
        }
        if led {
            self.reach("leader crashed");
        }
        if *end == End::Wiped {
            self.reach("wiped");
        }
    }

    fn sent(&mut self, from: NodeId, to: NodeId, frame: &Frame) {
        match frame {
            Frame::Raft { group, message, .. } => self.said(*group, from, to, message),
            Frame::Forward { .. } => self.reach("proposal forwarded"),
            Frame::Refused { .. } => self.reach("forwarded proposal refused"),
            Frame::SnapshotChunk { group, meta, sequence: 0, .. } => {
                let before = self.seen.snapshots.insert((*group, from, to), meta.position);
                if before == Some(meta.position) {
                    self.reach("snapshot begun again");
                }
            }
            Frame::SnapshotAck { accepted: false, .. } => self.reach("snapshot refused"),
            Frame::Repair { state: true, .. } => self.reach("state repair asked"),
            Frame::Repaired { payloads, .. } if !payloads.is_empty() => self.reach("entries repaired"),
            Frame::SnapshotChunk { .. }
            | Frame::SnapshotAck { .. }
            | Frame::Repair { .. }
            | Frame::Repaired { .. }
            | Frame::Call { .. }
            | Frame::Answer { .. } => {}
        }
    }

    fn said(&mut self, group: GroupId, from: NodeId, to: NodeId, message: &Message) {
        self.reads(group, from, to, &message.body);
        match &message.body {
            Body::RequestVote(request) if !request.pre_vote => self.stands(group, from, message.term),
            Body::Resigned => self.reach("resigned"),
            Body::Excluded(_) => self.reach("excluded"),
            Body::ReadIndex(_) => self.reach("read forwarded"),
            Body::ReadIndexReply { index: Some(_), .. } => self.reach("read confirmed"),
            Body::ReadIndexReply { index: None, .. } => self.reach("read refused"),
            _ => {}
        }
    }

    /// A member asks for one read at a time: another question before the answer means that this one was given up.
    fn reads(&mut self, group: GroupId, from: NodeId, to: NodeId, body: &Body) {
        match body {
            Body::ReadIndex(id) => {
                let before = self.seen.reads.insert((group, from), *id);
                if before.is_some_and(|before| before != *id) {
                    self.reach("read repeated");
                }
            }
            Body::ReadIndexReply { id, .. } if self.seen.reads.get(&(group, to)) == Some(id) => {
                self.seen.reads.remove(&(group, to));
            }
            _ => {}
        }
    }

    fn stands(&mut self, group: GroupId, candidate: NodeId, term: Term) {
        let terms = self.seen.terms.entry(group).or_default();
        let known = terms.contains_key(&term);
        terms.entry(term).or_default().0.insert(candidate);
        if known {
            return;
        }
        let split = |back: u64| {
            let earlier = term.0.checked_sub(back).and_then(|earlier| terms.get(&Term(earlier)));
            earlier.is_some_and(|(candidates, led)| candidates.len() > 1 && !led)
        };
        let twice = split(1) && split(2);
        if terms.len() > TERMS {
            terms.pop_first();
        }
        if twice {
            self.reach("vote split twice");
        }
    }

    fn decided(&mut self, group: GroupId, decision: &Decision) {
        let name = match decision {
            Decision::ElectionDecided { pre_vote: false, won: true, .. } => "election won",
            Decision::ElectionDecided { pre_vote: false, won: false, .. } => "election lost",
            Decision::VoteRefused { pre_vote, why, .. } => match (why, pre_vote) {
                (VoteRefusal::LeaderIsHeard(_), true) => "pre-vote refused: leader heard",
                (VoteRefusal::LeaderIsHeard(_), false) => "vote refused: leader heard",
                (VoteRefusal::FoundsAnother, _) => "vote refused: founds another",
                (VoteRefusal::LogIsNewer { .. }, _) => "vote refused: log newer",
                (VoteRefusal::Voted(_), _) => "vote refused: voted",
                (VoteRefusal::Promised { .. }, _) => "vote refused: promised",
                (VoteRefusal::TermHasBegun(_), _) => return,
            },
            Decision::Suspects(_) => "leader suspected",
            Decision::StaysQuiet(Quiet::DiskIsSlow) => "quiet: slow disk",
            Decision::StaysQuiet(Quiet::Promised) => "quiet: promised",
            Decision::Pulls { .. } => "pull",
            Decision::StepsDown(StepDown::NewerTerm(_)) => "step-down: newer term",
            Decision::StepsDown(StepDown::NoQuorum) => "step-down: no quorum",
            Decision::StepsDown(StepDown::NoVoter) => "step-down: no voter",
            Decision::StepsDown(StepDown::Paused) => "step-down: paused",
            Decision::HandsOver { to, told } => {
                self.seen.handovers.insert(group, *to);
                if *told {
                    return;
                }
                "transfer begun"
            }
            Decision::HandoverFailed { .. } => {
                self.seen.handovers.remove(&group);
                "transfer failed"
            }
            Decision::AppendRefused { .. } => "append refused",
            Decision::Probes { .. } => "leader probes",
            Decision::Truncated { .. } => "conflict truncated",
            Decision::NotCommittedYet { .. } => "old term not committed",
            Decision::SendsSnapshot { .. } => "snapshot needed",
            Decision::Ignores { why: Ignored::Stranger, .. } => "ignored: stranger",
            Decision::Ignores { why: Ignored::OtherSession, .. } => "ignored: other session",
            Decision::Ignores { why: Ignored::NoMember, .. } => "ignored: no member",
            Decision::ReadByLease => "lease read",
            Decision::ElectionTimedOut { .. }
            | Decision::StaysQuiet(_)
            | Decision::TermAdopted { .. }
            | Decision::VoteGranted { .. }
            | Decision::ElectionDecided { .. }
            | Decision::Committed { .. }
            | Decision::Forgotten { .. }
            | Decision::Ignores { why: Ignored::Malformed, .. }
            | Decision::MembershipChanged { .. }
            | Decision::Excluded(_)
            | Decision::GoesOnAlone => return,
        };
        self.reach(name);
    }

    fn changed(
        &mut self,
        (group, member): (GroupId, NodeId),
        before: Option<&CoreView>,
        now: Option<&CoreView>,
        appended: &[LogEntry],
        decisions: &[Decision],
    ) {
        let known = self.seen.replicas.entry((group, member)).or_default();
        let Some(now) = now else {
            if !std::mem::replace(&mut known.damaged, true) {
                self.reach("replica damaged");
            }
            return;
        };
        let led = known.role == Some(RoleKind::Leader);
        let mended = std::mem::take(&mut known.damaged);
        let shorter = before.is_none() && !mended && now.last.index < known.last;
        (known.role, known.last) = (Some(now.role), now.last.index);
        let leads = now.role == RoleKind::Leader;
        if leads && !led {
            known.inherited = before.filter(|before| before.last.index > before.commit).map(|before| before.last.index);
        }
        let own_carried_older = leads && known.inherited.take_if(|inherited| now.commit > *inherited).is_some();
        if own_carried_older {
            self.reach("old term committed with own");
        }
        if mended {
            self.reach("replica mended");
        }
        if shorter {
            self.reach("tail lost");
        }
        if leads && !led {
            self.leads(group, member, now.term);
        }
        if let Some(before) = before {
            self.logs(before, now, appended);
            self.memberships(member, before, now, decisions);
        }
    }

    fn leads(&mut self, group: GroupId, leader: NodeId, term: Term) {
        if let Some((_, led)) = self.seen.terms.entry(group).or_default().get_mut(&term) {
            *led = true;
        }
        if self.seen.handovers.remove(&group) == Some(leader) {
            self.reach("transfer completed");
        }
    }

    fn logs(&mut self, before: &CoreView, now: &CoreView, appended: &[LogEntry]) {
        if now.compacted.index > before.last.index
            && appended.first().is_none_or(|first| first.index > now.compacted.index)
        {
            self.reach("snapshot installed");
        } else if now.compacted.index > before.compacted.index {
            self.reach("log compacted");
        }
        if now.commit > before.commit && now.commit > now.durable {
            let leads = now.role == RoleKind::Leader;
            self.reach(if leads { "committed before own disk" } else { "follower commit beyond disk" });
        }
    }

    fn memberships(&mut self, member: NodeId, before: &CoreView, now: &CoreView, decisions: &[Decision]) {
        let (old, new): (&Configuration, &Configuration) = (&before.configuration, &now.configuration);
        if old == new {
            return;
        }
        if decisions.iter().any(|decision| matches!(decision, Decision::Truncated { .. })) {
            return self.reach("configuration truncated");
        }
        if now.role != RoleKind::Leader {
            return; // each change is counted once
        }
        match (old.is_joint(), new.is_joint()) {
            (false, true) => self.reach("joint entered"),
            (true, false) => self.reach("joint left"),
            _ => {}
        }
        if old.learners.iter().any(|learner| new.voters.contains(learner)) {
            self.reach("learner promoted");
        }
        if old.voters.iter().any(|voter| new.learners.contains(voter)) {
            self.reach("voter demoted");
        }
        if old.members().into_iter().any(|known| !new.is_member(known)) {
            self.reach("member removed");
        }
        if old.voters.contains(&member) && !new.voters.contains(&member) {
            self.reach("leader left out");
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_raft::{Decision, NodeId, StepDown};

    use crate::checkers::script::Script;

    #[track_caller]
    fn reached(script: &Script, names: &[&str]) {
        for name in names {
            assert!(script.marks.reached().contains_key(name), "{name}: {:?}", script.marks.reached());
        }
    }

    #[test]
    fn elections_leave_marks() {
        let mut script = Script::begin(4);
        for term in 1..=2 {
            for (candidate, voter) in [(1, 2), (3, 4)] {
                script.turn(candidate, |core| core.stand(term));
                let request = kontiki_raft::RequestVote {
                    last: kontiki_raft::LogPosition::START,
                    pre_vote: false,
                    transfer: false,
                };
                script.say(candidate, voter, term, kontiki_raft::Body::RequestVote(request));
            }
        }
        script.elect(1, 3, &[1, 2, 4]);
        script.turn(1, |core| core.decide(Decision::HandsOver { to: NodeId(2), told: true }));
        script.elect(2, 4, &[2, 3, 4]);
        script.turn(1, |core| core.decide(Decision::StepsDown(StepDown::NoQuorum)).term(4));
        script.crash(2);
        reached(&script, &["vote split twice", "transfer completed", "step-down: no quorum", "leader crashed"]);
        script.expect_none();
    }

    #[test]
    fn logs_and_memberships_leave_marks() {
        let mut script = Script::begin(3);
        script.elect(1, 1, &[1, 2]);
        script.replicate(1, &["a"], &[2]);
        script.turn(1, |core| core.lag(1));
        script.replicate(1, &[], &[3]);
        script.turn(1, |core| core.commit(2).apply(2));
        script.turn(1, |core| core.compact(1));
        script.turn(3, |core| core.commit(2).apply(2));
        script.turn(1, |core| core.lag(2).configure(1, &[1, 4, 5], &[1, 2, 3]));
        script.damage(2);
        script.turn(2, |core| core);
        script.join(4);
        script.turn(4, |core| core.snapshot(1, 2).members(&[1, 2, 3]));
        reached(&script, &["committed before own disk", "log compacted", "joint entered", "snapshot installed"]);
        reached(&script, &["replica damaged", "replica mended"]);
    }
}
