//! What a walk draws from its seed before it begins: the group, its settings, and which faults it has.

use kontiki_raft::{Attributes, Configuration, Lease, NodeId, Settings};

use super::chance::Chance;
use crate::cluster::{Beginning, life};

/// Members of every walk, in the group or waiting to join.
pub const MEMBERS: u64 = 7;

/// One walk, but for what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub configuration: Configuration,
    pub settings: Settings,
    /// Settings of one member that differ, as after half of an upgrade.
    pub other_settings: Option<(NodeId, Settings)>,
    pub lives: bool,
    pub applies_at_once: bool,
    pub faults: Faults,
    /// By how much the slowest clock lags behind the fastest, in thousandths; leases need to know. None where clocks do
    /// as they like.
    pub drift: Option<u32>,
    /// How far each clock goes in a unit of time, in thousandths of a tick.
    pub rates: Vec<u64>,
}

/// Which faults a walk has: not all at once in each, since some hide others.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Of a hundred packets.
    pub loss: usize,
    pub repetition: usize,
    pub delay: usize,
    pub slow_disks: bool,
    pub crashes: bool,
    pub wipes: bool,
    pub cuts: bool,
    pub pauses: bool,
    pub snapshots: bool,
    pub changes: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Plan {
        let mut chance = Chance::new(seed);
        let settings = settings(&mut chance);
        let lives = chance.percent(60);
        let bound = lives && chance.percent(70);
        let drift = chance.percent(40).then(|| chance.of(&[0, 100, 250]));
        let rates = (0..MEMBERS).map(|_| 1000 - chance.below(drift.unwrap_or(0) as usize + 1) as u64).collect();
        let faults = Faults {
            loss: chance.of(&[0, 5, 20]),
            repetition: chance.of(&[0, 5, 10]),
            delay: chance.of(&[0, 5, 20]),
            slow_disks: chance.one_in(2),
            crashes: !chance.one_in(4),
            wipes: lives && chance.one_in(2),
            cuts: !chance.one_in(3),
            pauses: chance.one_in(3),
            snapshots: !chance.one_in(3),
            changes: !chance.one_in(5),
        };
        let other_settings = chance.one_in(6).then(|| {
            let other = Settings { pre_vote: !settings.pre_vote, ..settings };
            (NodeId(1 + chance.below(5) as u64), other)
        });
        let configuration = configuration(&mut chance, drift, bound, &settings);
        let applies_at_once = !chance.one_in(3);
        Plan { seed, configuration, settings, other_settings, lives, applies_at_once, faults, drift, rates }
    }

    pub fn beginning(&self) -> Beginning {
        Beginning {
            configuration: self.configuration.clone(),
            settings: self.settings,
            seed: self.seed,
            lives: self.lives,
        }
    }

    /// The commands of a script that begins as this walk does.
    pub fn script(&self) -> String {
        let ids = |list: &[NodeId]| list.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join("/");
        let Configuration { voters, outgoing, learners, lease, .. } = &self.configuration;
        let yes = |set: bool| if set { "yes" } else { "no" };
        let mut members = ids(voters);
        if !outgoing.is_empty() {
            members = format!("{}-{members}", ids(outgoing));
        }
        if !learners.is_empty() {
            members += &format!(".{}", ids(learners));
        }
        let settings = |settings: &Settings| {
            format!(
                "timeout={} heartbeat={} prevote={} quorumcheck={} atonce={} batch={} inflight={} window={} uncommitted={}",
                settings.election_timeout_ticks,
                settings.heartbeat_interval_ticks,
                yes(settings.pre_vote),
                yes(settings.check_quorum),
                yes(settings.tell_commit_at_once),
                settings.append_bytes_max,
                settings.inflight_messages_max,
                settings.inflight_bytes_max,
                settings.uncommitted_bytes_max
            )
        };
        let bound = self.configuration.attributes.iter().any(|(_, attributes)| attributes.incarnation.is_some());
        let lives = match (self.lives, bound) {
            (true, true) => " incarnations=bound",
            (true, false) => " incarnations=yes",
            (false, _) => "",
        };
        let lease = lease.map_or(String::new(), |lease| format!(" lease={}/{}", lease.ticks, lease.drift_permille));
        let priorities: Vec<String> = self
            .configuration
            .attributes
            .iter()
            .filter(|(_, attributes)| attributes.priority != Attributes::PRIORITY)
            .map(|(id, attributes)| format!("{}@{}", id.0, attributes.priority))
            .collect();
        let priorities =
            if priorities.is_empty() { String::new() } else { format!(" priorities={}", priorities.join("/")) };
        let apply = if self.applies_at_once { "" } else { " apply=manual" };
        let mut text = format!(
            "cluster members={members}{lives}{lease}{priorities}{apply} delivery=manual seed={} {}\n",
            self.seed,
            settings(&self.settings)
        );
        for id in (1..=MEMBERS).map(NodeId).filter(|id| !self.configuration.is_member(*id)) {
            text += &format!("join {} seed={}\n", id.0, self.seed);
        }
        if let Some((id, other)) = &self.other_settings {
            text += &format!("settings {} {}\n", id.0, settings(other));
        }
        text
    }
}

fn settings(chance: &mut Chance) -> Settings {
    Settings {
        election_timeout_ticks: 8 + chance.below(8) as u32,
        heartbeat_interval_ticks: 1 + chance.below(2) as u32,
        pre_vote: !chance.one_in(4),
        check_quorum: !chance.one_in(4),
        tell_commit_at_once: !chance.one_in(3),
        append_bytes_max: 1 + chance.below(4) as u64,
        inflight_messages_max: 1 + chance.below(4),
        inflight_bytes_max: 2 + chance.below(12) as u64,
        uncommitted_bytes_max: 20,
    }
}

/// Groups of three to seven, some with learners, some in the middle of a change.
fn configuration(chance: &mut Chance, drift: Option<u32>, bound: bool, settings: &Settings) -> Configuration {
    let ids = |range: std::ops::RangeInclusive<u64>| range.map(NodeId).collect::<Vec<_>>();
    let (voters, outgoing, learners) = match chance.below(10) {
        0 => (ids(1..=2), vec![], vec![]),
        1 => (ids(1..=4), vec![], vec![]),
        2 => (ids(1..=5), vec![], ids(6..=6)),
        3 => (ids(1..=3), vec![], ids(4..=5)),
        4 => (ids(3..=5), ids(1..=3), vec![]),
        5 => (ids(1..=7), vec![], vec![]),
        6 => (ids(1..=1), vec![], ids(2..=3)),
        7 => (ids(1..=5), vec![], vec![]),
        _ => (ids(1..=3), vec![], vec![]),
    };
    let mut first = Configuration { voters, outgoing, learners, ..Configuration::default() };
    if let Some(drift_permille) = drift.filter(|_| chance.percent(70)) {
        first.lease =
            Some(Lease { ticks: 3 + chance.below(settings.election_timeout_ticks as usize) as u32, drift_permille });
    }
    for id in first.members() {
        let incarnation = bound.then(|| life(id, 1));
        let promote = first.is_learner(id) && chance.one_in(2);
        let priority = if chance.one_in(6) { chance.of(&[50, 200]) } else { Attributes::PRIORITY };
        first.set_attributes(id, Attributes { incarnation, priority, promote });
    }
    first
}
