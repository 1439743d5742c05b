//! A run of the etcd store, from its order to its report: faults and clients; then the faults end for some quorum, which must
//! recover while the others stay as they are; then for all. At the end everything that clients saw is checked.

use std::ops::Range;
use std::time::Duration;

use kontiki_raft::NodeId;
use kontiki_store::GROUP;

use crate::checkers;
use crate::cluster::{Cluster, Quality, purpose, stream};
use crate::etcd::checks::{self, Limits};
use crate::etcd::{EtcdSubject, History, Mix};
use crate::marks::SharedMarks;
use crate::observation::Violation;
use crate::order::{Failure, Order, OrderError, Report};
use crate::script::{Action, ClockFault, Script};
use crate::subject::Subject;
use crate::swarm::{Plan, Profile};
use crate::trace::Line;

/// The trace is told in such steps of virtual time.
const STEP: Duration = Duration::from_secs(1);
/// Within so long, and so many election timeouts, a healed quorum agrees and serves again.
const RECOVERY: Duration = Duration::from_secs(30);
const RECOVERY_ELECTIONS: u32 = 20;
/// Longer than this nothing is committed only where the cluster cannot: clients never rest so long.
const QUIET_MAX: Duration = Duration::from_millis(500);

/// Clients may take so long to end what they do: watches want to be told everything first, and may have to ask elsewhere for it.
const GOOD_BYE: Duration = Duration::from_secs(60);
/// How often the simulator looks whether members have recovered.
const POLL: Duration = Duration::from_millis(50);

/// Checks that an order can be carried out.
///
/// # Errors
/// Where its profile or its script is none.
pub fn check(order: &Order) -> Result<(), OrderError> {
    if order.planted > 0 && cfg!(not(feature = "planted")) {
        return Err(OrderError::NothingToPlant);
    }
    plan(order).map(|_| ())
}

/// The faults of an order, as a script's text.
///
/// # Errors
/// As [`check`].
pub fn script(order: &Order) -> Result<String, OrderError> {
    Ok(plan(order)?.script.to_string())
}

fn plan(order: &Order) -> Result<Plan, OrderError> {
    let profile = order.profile.parse::<Profile>()?;
    let mut plan = Plan::draw(order.seed, profile);
    plan.settings.raft.check_quorum = true; // a store cannot turn it off: keeping leases alive rests on it
    if let Some(text) = &order.script {
        plan.script = text.parse::<Script>().map_err(|error| OrderError::Script(error.to_string()))?;
    }
    Ok(plan)
}

/// Runs it, and tells the lines of the trace to `told` as they come.
///
/// # Errors
/// Where the order cannot be carried out. A property that does not hold is no error but a report.
///
/// # Panics
/// Where the production code asserts that something is wrong.
pub fn run(order: &Order, told: Option<&mut dyn FnMut(&Line)>) -> Result<Report, OrderError> {
    check(order)?;
    #[cfg(feature = "planted")]
    kontiki_store::planted::plant(order.planted);
    let mut plan = plan(order)?;
    plan.keep_trace = told.is_some();
    let mix = if order.profile == Profile::Storm.name() { Mix::storm(order.seed) } else { Mix::drawn(order.seed) };
    let subject = EtcdSubject::new(mix);
    let marks = SharedMarks::default();
    let recovery = RECOVERY + election_timeout(&plan) * RECOVERY_ELECTIONS;
    let mut run = Run { told, recovery };
    let mut report = Report {
        seed: order.seed,
        profile: order.profile.clone(),
        members: plan.founders,
        time: Duration::ZERO,
        turns: 0,
        calls: 0,
        faults: std::collections::BTreeMap::new(),
        marks: std::collections::BTreeMap::new(),
        hash: 0,
        failure: None,
    };
    let mut watching = checkers::all();
    watching.push(Box::new(marks.clone()));
    let outcome = match Cluster::new(plan, subject, watching) {
        Err(violation) => Err(violation),
        Ok(mut cluster) => {
            cluster.tell_marks(marks.clone());
            let outcome = run.phases(&mut cluster);
            run.tell(&mut cluster);
            report.time = cluster.now();
            report.turns = cluster.turns();
            report.calls = cluster.subject().recorder().history().calls.len() as u64;
            report.faults = cluster.counts().iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
            report.hash = cluster.trace().fingerprint().value();
            outcome
        }
    };
    report.marks = marks.lock().reached().iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    report.failure =
        outcome.err().map(|Violation { property, at, what }| Failure { property: property.to_owned(), at, what });
    Ok(report)
}

struct Run<'a> {
    told: Option<&'a mut dyn FnMut(&Line)>,
    recovery: Duration,
}

impl Run<'_> {
    fn phases(&mut self, cluster: &mut Cluster<EtcdSubject>) -> Result<(), Violation> {
        let plan = cluster.plan().clone();
        while cluster.now() < plan.duration {
            let until = plan.duration.min(cluster.now() + STEP);
            cluster.run_until(until)?;
            self.tell(cluster);
        }
        let mut random = stream(plan.seed, purpose::PLAN, 1);
        if let Some(core) = cluster.draw_core(GROUP, &mut random) {
            cluster.heal(&core)?;
            self.recover(cluster, &core, "some quorum")?;
        }
        cluster.heal_all()?;
        let all = cluster.fit_members(GROUP);
        self.recover(cluster, &all, "all members")?;
        cluster.check(&all)?;
        let history = cluster.subject().recorder().history();
        checks::all(&history, &limits(&history, &plan))
    }

    /// After the end of faults these members must agree, and serve clients.
    fn recover(&mut self, cluster: &mut Cluster<EtcdSubject>, core: &[NodeId], whose: &str) -> Result<(), Violation> {
        let begun = cluster.now();
        if let Some(probe) = cluster.subject().probe(core, self.recovery) {
            while !probe.is_over() {
                cluster.run_for(POLL)?;
            }
            self.tell(cluster);
            // A change of the membership that was under way may have come to its end meanwhile.
            let members = cluster.fit_members(GROUP);
            probe
                .verdict(cluster.now(), &members)
                .map_err(|violation| unrecovered(cluster, violation.what, core, whose, begun))?;
        }
        cluster.subject_mut().finish_work();
        if !cluster.converge(core, self.recovery + GOOD_BYE)? {
            let working = cluster.subject().working();
            let agree = if cluster.converged(core) { "agree" } else { "do not agree" };
            let what = format!("the members {agree}, and clients {working:?} are at work");
            return Err(unrecovered(cluster, what, core, whose, begun));
        }
        self.tell(cluster);
        Ok(())
    }

    fn tell(&mut self, cluster: &mut Cluster<EtcdSubject>) {
        if let Some(told) = &mut self.told {
            cluster.take_lines().iter().for_each(told);
        }
    }
}

fn unrecovered(
    cluster: &Cluster<EtcdSubject>,
    what: String,
    core: &[NodeId],
    whose: &str,
    begun: Duration,
) -> Violation {
    let members = cluster.describe().join("\n    ");
    let at = cluster.now();
    let what = format!("{what}, {:?} after faults ended for {whose} ({core:?}):\n    {members}", at - begun);
    Violation { property: "liveness", at, what }
}

fn election_timeout(plan: &Plan) -> Duration {
    plan.settings.tick * plan.settings.raft.election_timeout_ticks
}

/// What the checks must bear with in this run.
fn limits(history: &History, plan: &Plan) -> Limits {
    let mut unavailable: Vec<Range<Duration>> = Vec::new();
    let mut before = Duration::ZERO;
    for applied in &history.applied {
        if applied.at > before + QUIET_MAX {
            unavailable.push(before..applied.at);
        }
        before = before.max(applied.at);
    }
    unavailable.push(before..Duration::MAX);
    Limits {
        election_timeout: election_timeout(plan),
        leader_doubt: 2 * election_timeout(plan) + latest(plan),
        unavailable,
        question_way: question_way(plan),
        clock_drift_permille: drift_permille(&plan.script),
    }
}

/// How late a frame may come, beyond what a connection permits: a leader may take an old answer for a new one for so long.
fn latest(plan: &Plan) -> Duration {
    let late = qualities(plan).filter(|quality| quality.late > 0).map(|quality| quality.late_ms);
    Duration::from_millis(late.max().unwrap_or(0).into())
}

/// How good links are in the course of a run.
fn qualities(plan: &Plan) -> impl Iterator<Item = &Quality> {
    let scripted = plan.script.lines.iter().filter_map(|line| match &line.action {
        Action::Links(quality) | Action::Link(_, _, quality) => Some(quality),
        _ => None,
    });
    scripted.chain([&plan.network])
}

/// How long a frame that relies on its connection is on its way at most: held back, and then as long as a link takes.
fn question_way(plan: &Plan) -> Duration {
    let stalls = plan.script.lines.iter().filter_map(|line| match line.action {
        Action::Stall(_, _, time) => Some(time),
        _ => None,
    });
    let delays = qualities(plan).map(Quality::delay_max);
    stalls.max().unwrap_or_default() + delays.max().unwrap_or_default()
}

/// How far clocks drift at most, in parts of a thousand.
fn drift_permille(script: &Script) -> u32 {
    let drifts = script.lines.iter().filter_map(|line| match line.action {
        Action::Clock(_, ClockFault::Drift(ppm)) => Some(ppm.unsigned_abs()),
        _ => None,
    });
    drifts.max().unwrap_or(0).div_ceil(1_000)
}

/// A seed that nobody has run before, most probably.
#[must_use]
pub fn fresh_seed() -> u64 {
    kontiki_world::entropy() >> 24
}
