//! A cluster that nobody uses is quiet: for a virtual hour its members tick, the leader's heartbeats are answered, and now and
//! then the followers tell the leader sums of their states. Nothing is appended, nothing is elected, nothing is written.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kontiki_raft::{Body, Index, LogPosition, NodeId, RoleKind, Term};
use kontiki_sim::etcd::{EtcdSubject, Mix};
use kontiki_sim::{Checker, Cluster, Observation, Plan, Violation};
use kontiki_store::GROUP;
use kontiki_transport::Frame;

const MEMBERS: u64 = 3;
const HOUR: Duration = Duration::from_secs(3_600);
/// Until then a leader is elected, the members have introduced themselves, and the first checkpoints are written.
const SETTLED: Duration = Duration::from_secs(120);
/// How often each follower tells the leader sums of its state.
const REPORTS: Duration = Duration::from_secs(5);

/// Counts frames by their kind, and entries that were appended.
#[derive(Clone, Default)]
struct Traffic(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Traffic {
    fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Checker for Traffic {
    fn property(&self) -> &'static str {
        "traffic"
    }

    fn observe(&mut self, _at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        let kind = match what {
            Observation::Sent { frame: Frame::Raft { message, .. }, .. } => match message.body {
                Body::Heartbeat(_) => "heartbeat",
                Body::HeartbeatReply(_) => "answer",
                _ => "other message of the core",
            },
            Observation::Sent { frame: Frame::Call { .. }, .. } => "report",
            Observation::Sent { frame: Frame::Answer { .. }, .. } => "receipt",
            Observation::Sent { .. } => "other frame",
            Observation::Turned { appended, decisions, .. } if !appended.is_empty() || !decisions.is_empty() => {
                "entry or decision"
            }
            Observation::Turned { .. } => return Ok(()),
            _ => "start or end",
        };
        *self.0.lock().unwrap().entry(kind).or_default() += 1;
        Ok(())
    }
}

fn nobody() -> Mix {
    Mix {
        keys: 0,
        own: 0,
        ranges: 0,
        txns: 0,
        watches: 0,
        leases: 0,
        locks: 0,
        elections: 0,
        compactors: 0,
        admins: 0,
        bursts: 0,
        ..Mix::calm(1)
    }
}

/// What must not move in a member.
#[derive(Debug, PartialEq, Eq)]
struct Still {
    elected: (Term, RoleKind, Option<NodeId>),
    log: (LogPosition, Index),
    bytes_written: u64,
    syncs: u64,
}

fn still(cluster: &Cluster<EtcdSubject>) -> Vec<Still> {
    let ids = cluster.ids().into_iter();
    ids.map(|id| {
        let core = cluster.engine(id).unwrap().node(GROUP).unwrap();
        let disk = cluster.disk(id).unwrap();
        Still {
            elected: (core.term(), core.role(), core.leader()),
            log: (core.last_position(), core.commit_index()),
            bytes_written: disk.bytes_written(),
            syncs: disk.syncs(),
        }
    })
    .collect()
}

#[test]
fn a_quiet_hour_costs_heartbeats_and_nothing_else() {
    let traffic = Traffic::default();
    let plan = Plan::calm(1, MEMBERS);
    let settings = plan.settings;
    let mut cluster = Cluster::new(plan, EtcdSubject::new(nobody()), vec![Box::new(traffic.clone())]).unwrap();
    cluster.run_until(SETTLED).unwrap();
    traffic.take();
    let (before, turns_before) = (still(&cluster), cluster.turns());
    cluster.run_for(HOUR).unwrap();
    let (after, turns) = (still(&cluster), cluster.turns() - turns_before);
    assert_eq!(before, after, "nobody is elected, nothing is appended, nothing is written");

    let counts = traffic.take();
    let heartbeats = HOUR.as_nanos() / (settings.tick * settings.raft.heartbeat_interval_ticks).as_nanos();
    let reports = HOUR.as_secs() / REPORTS.as_secs() * (MEMBERS - 1);
    // A leader that is asked something makes sure by a round of heartbeats that it leads: one for each report.
    let rounds = heartbeats as u64 + reports;
    let expected = [
        ("heartbeat", rounds * (MEMBERS - 1)),
        ("answer", rounds * (MEMBERS - 1)),
        ("report", reports),
        ("receipt", reports),
    ];
    for (kind, expected) in expected {
        let count = counts.get(kind).copied().unwrap_or(0);
        assert!(count.abs_diff(expected) * 100 <= expected, "{kind}: {expected} expected, of all {counts:?}");
    }
    let others: Vec<_> = counts.keys().filter(|kind| expected.iter().all(|(known, _)| known != *kind)).collect();
    assert!(others.is_empty(), "{counts:?}");

    // A turn for each tick of each member, and at most one for each frame that came.
    let ticks = (HOUR.as_nanos() / settings.tick.as_nanos()) as u64 * MEMBERS;
    let frames: u64 = counts.values().sum();
    assert!(turns <= (ticks + frames) * 101 / 100, "{turns} turns for {ticks} ticks and {frames} frames");
}
