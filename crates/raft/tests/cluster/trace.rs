//! Effects as lines that read as a story.

use std::sync::Arc;

use kontiki_raft::{
    AppendEntries, Body, Configuration, Content, Decision, Effect, Entries, Incarnation, Index, Leadership, Message,
    NodeId, Persist, Refusal, RoleKind, Term, TermRun,
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
    /// Nothing is told: nobody will read it.
    pub mute: bool,
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

    /// Forgets all but the newest lines: a long run is told by its end.
    pub fn keep(&mut self, newest: usize) {
        if self.lines.len() > 4 * newest {
            self.lines.drain(..self.lines.len() - newest);
        }
    }

    pub fn decision(&mut self, id: NodeId, decision: &Decision) {
        self.lines.push(format!("({id}: {decision})"));
    }

    pub fn effect(&mut self, id: NodeId, term: Term, effect: &Effect) {
        if self.mute {
            return;
        }
        let who = format!("{id}@{term}");
        match effect {
            Effect::Persist(persist) => self.write(&who, persist),
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
                self.lines.push(format!("{who} refuses the proposal: {}", why(*refusal)));
            }
            Effect::ChangeRefused(refusal) => self.lines.push(format!("{who} refuses the change: {refusal}")),
            Effect::Excluded(exclusion) => self.lines.push(format!("{who} is out: {exclusion}")),
            Effect::SendSnapshot { to, at_least } => {
                self.lines.push(format!("{who} streams a snapshot to {to}, at {at_least} or later"));
            }
            Effect::InstallSnapshot(meta) => self.lines.push(format!("{who} installs the snapshot {}", meta.position)),
            Effect::LeadershipChanged(leadership) => self.role(id, *leadership),
        }
    }

    fn write(&mut self, who: &str, persist: &Persist) {
        if self.writes {
            self.lines.push(format!("{who} writes {}", write(persist)));
        }
        if let Some(append) = &persist.append
            && let Content::Configuration(next) = &append.content
        {
            self.lines.push(format!("{who} appends configuration {}: {}", append.first, members(next)));
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
        parts.push(format!("{what}{}", stretches(&append.runs, append.last)));
    }
    format!("{} ({})", parts.join(" and "), persist.ticket)
}

/// One line for a message.
pub fn send(from: NodeId, to: NodeId, message: &Message) -> String {
    let yes = |granted: bool| if granted { "yes" } else { "no" };
    let in_session = |session: Index| if session.0 > 0 { format!(" session={session}") } else { String::new() };
    let what = match &message.body {
        Body::RequestVote(request) => {
            let transfer = if request.transfer { " transfer" } else { "" };
            format!("last={}{transfer}", request.last)
        }
        Body::RequestVoteReply(reply) if reply.granted => format!("granted={}", yes(true)),
        Body::RequestVoteReply(reply) => format!("granted={} last={}", yes(false), reply.last),
        Body::AppendEntries(request) => append(request) + &in_session(request.session),
        Body::AppendAccepted(answer) => format!("matched={}{}", answer.matched, in_session(answer.session)),
        Body::AppendRejected(answer) => {
            format!("prev={} hint={}{}", answer.rejected, answer.hint, in_session(answer.session))
        }
        Body::Heartbeat(heartbeat) => {
            format!("round={} commit={}{}", heartbeat.round, heartbeat.commit, in_session(heartbeat.session))
        }
        Body::HeartbeatReply(reply) => {
            let promise =
                if reply.promise_ticks > 0 { format!(" promise={}", reply.promise_ticks) } else { String::new() };
            format!("round={}{promise}{}", reply.round, in_session(reply.session))
        }
        Body::InstallSnapshot(meta) => meta.position.to_string(),
        Body::TimeoutNow | Body::Resigned => String::new(),
        Body::Excluded(exclusion) => exclusion.to_string(),
        Body::Pull(pull) if pull.behind == pull.last => format!("last={}", pull.last),
        Body::Pull(pull) => format!("last={} behind={}", pull.last, pull.behind),
        Body::Pulled(entries) => content(entries),
        Body::ReadIndex(id) => id.to_string(),
        Body::ReadIndexReply { id, index: Some(index) } => format!("{id} at {index}"),
        Body::ReadIndexReply { id, index: None } => format!("{id} refused"),
    };
    let line =
        format!("{from}@{} → {to} {} {what}{}", message.term, super::network::kind(&message.body), life(message));
    line.trim_end().into()
}

/// The lives of a member's disk are told from the second on.
fn life(message: &Message) -> String {
    match message.incarnation {
        Some(Incarnation(number)) if number % 0x100 > 1 => format!(" (life {})", number % 0x100),
        _ => String::new(),
    }
}

fn append(request: &AppendEntries) -> String {
    format!("{} commit={}", content(&request.entries), request.leader_commit)
}

fn content(entries: &Entries) -> String {
    let what = match entries.runs.first() {
        None => "nothing".into(),
        Some(_) => stretches(&entries.runs, entries.last),
    };
    let brought = |(index, next): &(Index, Arc<Configuration>)| format!(" {index}: {}", members(next));
    let configurations: String = entries.configurations.iter().map(brought).collect();
    format!("prev={} [{what}]{configurations}", entries.prev)
}

/// Entries as index@term, a stretch of one term as first..last@term.
fn stretches(runs: &[TermRun], last: Index) -> String {
    let ends = runs.iter().skip(1).map(|run| run.first.previous()).chain([last]);
    let stretch = |(run, end): (&TermRun, Index)| {
        if run.first == end { format!("{}@{}", end, run.term) } else { format!("{}..{}@{}", run.first, end, run.term) }
    };
    runs.iter().zip(ends).map(stretch).collect::<Vec<_>>().join(" ")
}

/// A configuration as `{1 2 3}`, a joint one as `{1 2 3}→{3 4 5}`, with what else there is to be said.
pub fn members(configuration: &Configuration) -> String {
    let list = |ids: &[NodeId]| ids.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(" ");
    let mut text = String::new();
    if configuration.is_joint() {
        text += &format!("{{{}}}→", list(&configuration.outgoing));
    }
    text += &format!("{{{}}}", list(&configuration.voters));
    if !configuration.learners.is_empty() {
        text += &format!(" learners {{{}}}", list(&configuration.learners));
    }
    for (id, attributes) in &configuration.attributes {
        if attributes.promote {
            text += &format!(" {id} to be promoted");
        }
        if attributes.priority != kontiki_raft::Attributes::PRIORITY {
            text += &format!(" {id} priority {}", attributes.priority);
        }
        if let Some(Incarnation(number)) = attributes.incarnation {
            text += &format!(" {id} life {}", number % 0x100);
        }
    }
    if let Some(lease) = configuration.lease {
        text += &format!(" lease {} ticks, drift {}‰", lease.ticks, lease.drift_permille);
    }
    text
}
