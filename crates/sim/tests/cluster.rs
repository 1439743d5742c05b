//! The harness itself, with a small bank in it.

#![allow(clippy::unwrap_used)]

#[path = "../examples/bank/bank.rs"]
#[allow(dead_code, missing_docs, reason = "the example uses the rest")]
mod bank;
#[path = "../examples/bank/town.rs"]
#[allow(dead_code, missing_docs, reason = "the example uses the rest")]
mod town;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bank::Bug;
use kontiki_raft::{GroupId, Index, NodeId, Term};
use kontiki_sim::{Checker, Cluster, Observation, Plan, Profile, Script, Subject, Violation};
use kontiki_world::Random;
use town::BankSubject;

const GROUP: GroupId = GroupId(1);

fn run(plan: Plan, checkers: Vec<Box<dyn Checker>>) -> Cluster<BankSubject> {
    let (seed, end) = (plan.seed, plan.duration);
    let mut cluster = Cluster::new(plan, BankSubject::new(seed, Bug::None), checkers).unwrap();
    let done = cluster.run_until(end);
    assert_eq!(done, Ok(()), "seed {seed}: {:#?}", cluster.describe());
    cluster
}

/// Ends all faults, for a quorum first, and looks whether the members agree.
fn finish(cluster: &mut Cluster<BankSubject>) {
    cluster.subject_mut().finish_work();
    let patience = Duration::from_secs(120);
    let seed = cluster.plan().seed;
    let core = cluster.draw_core(GROUP, &mut Random::new(seed));
    if let Some(core) = core {
        cluster.heal(&core).unwrap();
        assert!(cluster.converge(&core, patience).unwrap(), "seed {seed}: {core:?} {:#?}", cluster.describe());
        cluster.check(&core).unwrap();
    }
    cluster.heal_all().unwrap();
    let members = cluster.fit_members(GROUP);
    assert!(cluster.converge(&members, patience).unwrap(), "seed {seed}: {members:?} {:#?}", cluster.describe());
    cluster.check(&members).unwrap();
}

#[test]
fn a_calm_cluster_elects_and_commits() {
    let mut cluster = run(Plan::calm(1, 3), Vec::new());
    assert!(cluster.leader(GROUP).is_some());
    let (transfers, reads) = cluster.subject().done();
    assert!(transfers > 1_000 && reads > 500, "{transfers} transfers and {reads} reads");
    finish(&mut cluster);
}

#[test]
fn a_seed_is_a_run_and_another_seed_is_another() {
    let fingerprint = |seed| {
        let mut plan = Plan::draw(seed, Profile::Storm);
        plan.duration = Duration::from_secs(40);
        let mut cluster = run(plan, Vec::new());
        finish(&mut cluster);
        (cluster.trace().fingerprint(), cluster.counts())
    };
    let first = fingerprint(2);
    assert_eq!(first, fingerprint(2));
    assert_ne!(first.0, fingerprint(3).0);
    let mut kept = Plan::draw(2, Profile::Storm);
    kept.duration = Duration::from_secs(40);
    kept.keep_trace = true;
    let mut cluster = run(kept, Vec::new());
    finish(&mut cluster);
    assert_eq!(cluster.trace().fingerprint(), first.0, "whoever looks changes nothing");
    assert!(cluster.trace().lines().len() > 1_000);
}

/// Everything that a script can say, once.
const EVERYTHING: &str = "
    4.0 crash leader            # and somebody else leads
    5.0 start-all
    8.0 crash-in-work n2 after 3
    12.0 kill follower0
    12.5 start-all
    14.0 pause leader
    16.0 resume n1
    16.0 resume n2
    16.0 resume n3
    17.0 suspend n3
    18.0 resume n3
    20.0 partition isolate leader
    22.0 heal
    22.1 partition minority
    23.0 heal
    23.1 partition majority
    24.0 heal
    24.1 partition deaf n1
    25.0 heal
    25.1 partition mute n1
    26.0 heal
    26.1 partition bridge n2
    27.0 heal
    27.1 partition chain
    28.0 heal
    28.1 partition ring
    29.0 heal
    29.1 partition star n3
    30.0 cut n1 n2
    31.0 join n1 n2
    31.5 heal
    32.0 link n1 n2 delay 100 jitter 1000 loss 2000 doubled 100 reordered 100 late 100 late-ms 2000
    33.0 links delay 100 jitter 1000 loss 500 doubled 2000 reordered 2000 late 500 late-ms 4000
    36.0 heal
    36.5 reset n1 n2
    37.0 damage-frames n1 n2 2
    37.0 damage-frames n2 n1 2
    38.0 clock n1 drift 5000
    38.0 clock n2 drift -5000
    38.0 clock n3 jump 20.5
    38.0 clock n3 wall -3600000
    40.0 clock n1 drift 0
    41.0 disk n1 slow 50
    43.0 disk n1 slow 1
    43.0 stall n1 n2 0.300000
    43.0 disk leader hang
    46.0 disk n1 unhang
    46.0 disk n2 unhang
    46.0 disk n3 unhang
    47.0 disk n1 full 100
    52.0 disk n1 free
    53.0 disk n2 strike write-error after 5 times 1 files *
    58.0 disk n3 strike sync-error after 0 times 1 files *
    61.0 disk n1 sync-fails after 3
    63.0 disk n1 syncs-fail dropped
    68.0 disk n1 syncs-fail kept
    74.0 disk n2 strike read-flip after 0 times 1 files *.log
    74.0 disk n2 strike read-error after 0 times 1 files *.log
    74.0 disk n2 strike write-flip after 0 times 1 files *.log
    74.1 kill n2
    74.2 start n2
    78.0 rot n2 log
    78.1 kill n2
    78.2 start n2
    80.0 rot n2 state
    80.1 kill n2
    80.2 start n2
    85.0 disk n2 strike lose-write after 10 times 1 files *.log
    87.0 disk n2 strike misdirect-write after 10 times 1 files *.log
    89.0 damage-snapshots 3
    90.0 transfer n3
    92.0 member add n4
    100.0 member demote n1
    104.0 member promote n1
    106.0 member prefer n1
    108.0 member remove n3
    115.0 member replace n2
    125.0 wipe n2
    126.0 start n2
    130.0 member add-learner n3
    140.0 old-format n1
    150.0 crash-all
    151.0 start-all
    152.0 rot n2 log-both
    153.0 crash n2
";

#[test]
fn everything_that_a_script_can_say_happens() {
    let mut plan = Plan::calm(5, 3);
    plan.spares = 1;
    plan.damageable = vec![2];
    plan.settings.checkpoint_bytes = 4 << 10;
    (plan.settings.trailing_entries, plan.settings.trailing_bytes) = (10, 1 << 10);
    plan.settings.checkpoint_age = Duration::from_secs(2);
    plan.script = EVERYTHING.parse().unwrap();
    plan.duration = Duration::from_secs(160);
    let mut cluster = run(plan, Vec::new());
    finish(&mut cluster);
    let counts = cluster.counts();
    let expected = "
        bad-link bad-links clock-drift clock-jump clock-wall crash crash-all crash-in-work cut cut-frame damaged-frame
        damaged-snapshot disk-full disk-hang disk-slow doubled-frame ended-itself kill late-frame lost-frame
        lost-write member-change misdirected-write new-disk old-format-refused partition pause read-error read-flip
        reset resume rot stall suspend sync-error sync-fails syncs-fail transfer wipe write-error write-flip";
    for kind in expected.split_whitespace() {
        assert!(counts.of(kind) > 0, "{kind} never struck; there were {counts}");
    }
}

#[test]
fn scripts_are_read_as_they_are_printed() {
    let everything: Script = EVERYTHING.parse().unwrap();
    let drawn = (0..60).map(|seed| Plan::draw(seed, Profile::ALL[seed as usize % Profile::ALL.len()]).script);
    for script in drawn.chain([everything]) {
        assert_eq!(script.to_string().parse(), Ok(script));
    }
    let wrong = [
        ("1.0 crash", "line 1: ends where a member is expected"),
        ("1.0 crash n1 n2", "line 1: `n2` is too much"),
        ("\n# fine\n1.0 explode n1", "line 3: `explode` is not an action"),
        ("1.0000001 heal", "line 1: `1.0000001` is not a time in seconds"),
        ("1 disk n1 full -1", "line 1: `-1` is not a number that fits"),
        ("1 disk n1 strike read-error before 1", "line 1: `before` is not after"),
        ("1 partition square", "line 1: `square` is not the shape of a partition"),
    ];
    for (text, problem) in wrong {
        assert_eq!(text.parse::<Script>().map_err(|error| error.to_string()), Err(problem.to_owned()));
    }
}

/// Follows each replica by what the harness tells of it, and compares that with the whole.
#[derive(Default)]
struct Follower {
    logs: std::collections::BTreeMap<NodeId, Vec<(Index, Term)>>,
    told: Arc<Mutex<(u64, u64)>>,
}

impl Checker for Follower {
    fn property(&self) -> &'static str {
        "What is told is all that changes"
    }

    fn observe(&mut self, at: Duration, what: &Observation<'_>) -> Result<(), Violation> {
        let wrong = |what: String| Err(Violation { property: "What is told is all that changes", at, what });
        let Observation::Turned { member, before, now, appended, applied, .. } = what else { return Ok(()) };
        let Some(now) = now else { return Ok(()) };
        let log = self.logs.entry(*member).or_default();
        if before.is_none() {
            log.clear();
        }
        if let Some(first) = appended.first() {
            log.retain(|(index, _)| *index < first.index);
            log.extend(appended.iter().map(|entry| (entry.index, entry.term)));
        }
        log.retain(|(index, _)| *index <= now.last.index && *index > now.compacted.index);
        let expected = now.last.index.0 - now.compacted.index.0;
        if log.len() as u64 != expected || log.last().is_some_and(|last| *last != (now.last.index, now.last.term)) {
            return wrong(format!("{member}: {} entries to {:?}, but {now:?}", log.len(), log.last()));
        }
        let mut told = self.told.lock().unwrap();
        told.0 += appended.len() as u64;
        told.1 += applied.len() as u64;
        if let (Some(before), Some(first)) = (before, applied.first())
            && first.index != before.applied.max(now.compacted.index).next()
        {
            return wrong(format!("{member}: applied from {:?} on, after {before:?}", first.index));
        }
        Ok(())
    }
}

#[test]
fn checkers_are_told_exactly_what_changes() {
    for seed in 20..24 {
        let mut plan = Plan::draw(seed, Profile::Crashes);
        plan.duration = Duration::from_secs(40);
        let told = Arc::new(Mutex::new((0, 0)));
        let follower = Follower { told: told.clone(), ..Follower::default() };
        finish(&mut run(plan, vec![Box::new(follower)]));
        let (appended, applied) = *told.lock().unwrap();
        assert!(appended > 200 && applied > 200, "{appended} appended, {applied} applied");
    }
}

#[test]
fn all_profiles_pass() {
    for (place, profile) in Profile::ALL.into_iter().enumerate() {
        let mut plan = Plan::draw(100 + place as u64, profile);
        plan.duration = plan.duration.min(Duration::from_secs(60));
        finish(&mut run(plan, Vec::new()));
    }
}

#[test]
#[ignore = "an hour of virtual time: fast in release builds only"]
fn an_hour_of_everything() {
    let mut time = Duration::ZERO;
    for seed in 0.. {
        let mut cluster = run(Plan::draw(seed, Profile::Storm), Vec::new());
        finish(&mut cluster);
        time += cluster.now();
        if time > Duration::from_secs(3_600) {
            return;
        }
    }
}

/// The planted bugs of the example are found, and found again.
#[test]
fn planted_bugs_are_found_within_a_few_seeds() {
    for bug in [Bug::Twice, Bug::StaleRead] {
        let found = (1..=10).find(|seed| {
            let plan = Plan::draw(*seed, Profile::Crashes);
            let end = plan.duration;
            let mut cluster = Cluster::new(plan, BankSubject::new(*seed, bug), Vec::new()).unwrap();
            if cluster.run_until(end).is_err() {
                return true;
            }
            cluster.subject_mut().finish_work();
            cluster.heal_all().unwrap();
            let members = cluster.fit_members(GROUP);
            assert!(cluster.converge(&members, Duration::from_secs(120)).unwrap());
            cluster.check(&members).is_err()
        });
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
