//! Effects as lines that read as a story.

use kontiki_raft::{
    AppendEntries, Body, Content, Effect, Index, Leadership, Message, NodeId, Persist, Refusal, RoleKind, Term, TermRun,
};

/// What happened, in words.
#[derive(Default)]
pub struct Trace {
    lines: Vec<String>,
    /// Role and leader of each member as last told.
    roles: std::collections::BTreeMap<NodeId, String>,
    /// Heartbeats are told only when they are the subject.
    pub heartbeats: bool,
    /// Writes are told only when they are the subject.
    pub writes: bool,
}

impl Trace {
    /// The lines since this was last called.
    pub fn take(&mut self) -> String {
        let lines = std::mem::take(&mut self.lines);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    pub fn say(&mut self, line: String) {
        self.lines.push(line);
    }

    pub fn effect(&mut self, id: NodeId, term: Term, effect: &Effect) {
        let who = format!("{id}@{term}");
        match effect {
            Effect::Persist(persist) => {
                if self.writes {
                    self.lines.push(format!("{who} writes {}", write(persist)));
                }
            }
            Effect::Send { to, message } => {
                let quiet = matches!(message.body, Body::Heartbeat(_) | Body::HeartbeatReply(_));
                if self.heartbeats || !quiet {
                    self.lines.push(send(id, *to, message));
                }
            }
            Effect::Committed(index) => self.lines.push(format!("{who} commits up to {index}")),
            Effect::ReadReady { id, index } => self.lines.push(format!("{who} may serve {id} at {index}")),
            Effect::ReadRefused(id) => self.lines.push(format!("{who} refuses {id}")),
            Effect::ProposalRefused(refusal) => {
                self.lines.push(format!("{who} refuses the proposal: {}", why(*refusal)))
            }
            Effect::SendSnapshot { to, at_least } => {
                self.lines.push(format!("{who} streams a snapshot to {to}, at {at_least} or later"));
            }
            Effect::InstallSnapshot(meta) => self.lines.push(format!("{who} installs the snapshot {}", meta.position)),
            Effect::LeadershipChanged(leadership) => self.role(id, *leadership),
        }
    }

    fn role(&mut self, id: NodeId, leadership: Leadership) {
        let known = leadership.leader.map_or(String::new(), |leader| leader.to_string());
        let now = match leadership.role {
            RoleKind::Follower => format!("{id}@{} follower({known})", leadership.term),
            RoleKind::PreCandidate => format!("{id}@{} pre-candidate", leadership.term),
            RoleKind::Candidate => format!("{id}@{} candidate", leadership.term),
            RoleKind::Leader => format!("{id}@{} leader", leadership.term),
        };
        let before = self.roles.insert(id, now.clone()).unwrap_or_else(|| format!("{id} follower()"));
        self.lines.push(format!("{before} ⇨ {now}"));
    }

    /// A member starts anew; the next change of role is told against this.
    pub fn restarted(&mut self, id: NodeId, term: Term) {
        self.roles.insert(id, format!("{id}@{term} follower()"));
    }
}

fn why(refusal: Refusal) -> String {
    match refusal {
        Refusal::NotLeader(None) => "not the leader, and knows none".into(),
        Refusal::NotLeader(Some(leader)) => format!("not the leader, {leader} is"),
        Refusal::Transferring => "leadership is being handed over".into(),
        Refusal::TooMuchUncommitted => "too much is uncommitted".into(),
    }
}

fn write(persist: &Persist) -> String {
    let mut parts = Vec::new();
    if let Some(state) = persist.hard_state {
        let vote = state.voted_for.map_or("nobody".into(), |candidate| candidate.to_string());
        parts.push(format!("term={} vote={vote}", state.term));
    }
    if let Some(append) = &persist.append {
        let what = match &append.content {
            Content::Proposals => "proposed ",
            Content::Received => "",
            Content::Blank => "blank ",
            Content::Configuration(_) => "configuration ",
        };
        parts.push(format!("{what}{}", entries(&append.runs, append.last)));
    }
    format!("{} ({})", parts.join(" and "), persist.ticket)
}

fn send(from: NodeId, to: NodeId, message: &Message) -> String {
    let yes = |granted: bool| if granted { "yes" } else { "no" };
    let what = match &message.body {
        Body::RequestVote(request) => {
            let name = if request.pre_vote { "PreVote" } else { "RequestVote" };
            let transfer = if request.transfer { " transfer" } else { "" };
            format!("{name} last={}{transfer}", request.last)
        }
        Body::RequestVoteReply(reply) => {
            let name = if reply.pre_vote { "PreVoteReply" } else { "RequestVoteReply" };
            format!("{name} granted={}", yes(reply.granted))
        }
        Body::AppendEntries(request) => append(request),
        Body::AppendAccepted(answer) => format!("AppendAccepted matched={}", answer.matched),
        Body::AppendRejected(answer) => format!("AppendRejected prev={} hint={}", answer.rejected, answer.hint),
        Body::Heartbeat(heartbeat) => format!("Heartbeat round={} commit={}", heartbeat.round, heartbeat.commit),
        Body::HeartbeatReply(reply) => format!("HeartbeatReply round={}", reply.round),
        Body::InstallSnapshot(meta) => format!("InstallSnapshot {}", meta.position),
        Body::TimeoutNow => "TimeoutNow".into(),
        Body::ReadIndex(id) => format!("ReadIndex {id}"),
        Body::ReadIndexReply { id, index: Some(index) } => format!("ReadIndexReply {id} at {index}"),
        Body::ReadIndexReply { id, index: None } => format!("ReadIndexReply {id} refused"),
    };
    format!("{from}@{} → {to} {what}", message.term)
}

fn append(request: &AppendEntries) -> String {
    let content = match request.runs.first() {
        None => "nothing".into(),
        Some(_) => entries(&request.runs, request.last),
    };
    format!("AppendEntries prev={} [{content}] commit={}", request.prev, request.leader_commit)
}

/// Entries as index@term, a stretch of one term as first..last@term.
fn entries(runs: &[TermRun], last: Index) -> String {
    let ends = runs.iter().skip(1).map(|run| run.first.previous()).chain([last]);
    let stretch = |(run, end): (&TermRun, Index)| {
        if run.first == end { format!("{}@{}", end, run.term) } else { format!("{}..{}@{}", run.first, end, run.term) }
    };
    runs.iter().zip(ends).map(stretch).collect::<Vec<_>>().join(" ")
}
