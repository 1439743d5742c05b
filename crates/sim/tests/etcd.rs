//! The production store with its clients, whole.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use kontiki_raft::NodeId;
use kontiki_sim::etcd::{Answer, EtcdSubject, History, Mix, Request, checks};
use kontiki_sim::{Cluster, Plan, Profile, Subject, Violation};

fn run(plan: Plan, mix: Mix) -> Result<Cluster<EtcdSubject>, Violation> {
    let end = plan.duration;
    let mut cluster = Cluster::new(plan, EtcdSubject::new(mix), Vec::new())?;
    cluster.run_until(end)?;
    Ok(cluster)
}

/// Ends faults and work, and checks all that can be checked.
fn finish(cluster: &mut Cluster<EtcdSubject>) -> Result<(), Violation> {
    cluster.heal_all()?;
    cluster.run_for(Duration::from_secs(10))?;
    cluster.subject_mut().finish_work();
    let all = members(cluster);
    assert!(cluster.converge(&all, Duration::from_secs(120))?, "{:#?}", cluster.describe());
    let probe = cluster.subject().probe(&all, Duration::from_secs(10)).unwrap();
    cluster.run_for(Duration::from_secs(10))?;
    probe.verdict(cluster.now(), &all)?;
    cluster.converge(&all, Duration::from_secs(60))?;
    cluster.check(&all)
}

/// The members of the group, as its leader knows them.
fn members(cluster: &Cluster<EtcdSubject>) -> Vec<NodeId> {
    let group = cluster.subject().groups()[0];
    let leader = cluster.leader(group).and_then(|leader| cluster.engine(leader));
    leader.and_then(|engine| engine.membership(group)).map(|members| members.members()).unwrap_or_default()
}

fn history(cluster: &Cluster<EtcdSubject>) -> History {
    cluster.subject().recorder().history().clone()
}

#[test]
fn in_a_calm_cluster_every_client_gets_on() {
    let mut cluster = run(Plan::calm(1, 3), Mix::calm(1)).unwrap();
    finish(&mut cluster).unwrap();
    let history = history(&cluster);
    let calls = |wanted: &dyn Fn(&Request) -> bool| history.calls.iter().filter(|call| wanted(&call.request)).count();
    assert!(calls(&|request| matches!(request, Request::Range { .. })) > 100);
    assert!(calls(&|request| matches!(request, Request::TxnRead(_))) > 5);
    assert!(calls(&|request| matches!(request, Request::Write(_))) > 100);
    assert!(calls(&|request| matches!(request, Request::KeepAlive(_))) > 5);
    for call in history.calls.iter().filter(|call| call.invoked > Duration::from_secs(5)) {
        assert!(!matches!(call.answer, Answer::NotDone(_)), "{call:?}");
        // Whoever loses a lock by leaving gives a renewal up.
        let gave_up = matches!(&call.answer, Answer::Unknown(why) if why == "the client went away");
        assert!(gave_up || !matches!(call.answer, Answer::Unknown(_)), "{call:?}");
    }
    assert!(history.watches.iter().any(|session| session.told.len() > 10));
    checks::all(&history, &limits()).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let plan = || Plan { duration: Duration::from_secs(20), ..Plan::draw(3, Profile::Default) };
    let (one, other) = (run(plan(), Mix::drawn(3)).unwrap(), run(plan(), Mix::drawn(3)).unwrap());
    assert_eq!(history(&one), history(&other));
    assert_eq!(one.trace().fingerprint(), other.trace().fingerprint());
}

fn limits() -> checks::Limits {
    checks::Limits { election_timeout: Duration::from_secs(1), ..checks::Limits::default() }
}
