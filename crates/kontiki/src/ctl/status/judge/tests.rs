#![allow(clippy::unwrap_used)]
use kontiki_api::rpc::{AlarmMember, ResponseHeader};

use super::super::facts::Answer;
use super::super::screen;
use super::*;

fn member(id: u64) -> Member {
    Member {
        id,
        name: format!("m{id}"),
        peer_urls: vec![format!("http://p:{id}")],
        client_urls: vec![format!("http://c:{id}")],
        is_learner: false,
    }
}

fn answer(id: u64, change: impl Fn(&mut StatusResponse)) -> Answer {
    let mut status = StatusResponse {
        header: Some(ResponseHeader { cluster_id: 7, member_id: id, revision: 9, raft_term: 3 }),
        version: "3.7.1".into(),
        db_size: 1_000_000,
        db_size_quota: 2_000_000_000,
        leader: 1,
        raft_index: 100,
        raft_applied_index: 100,
        raft_term: 3,
        ..Default::default()
    };
    change(&mut status);
    Answer { endpoint: format!("http://c:{id}"), status: Ok(status) }
}

fn gone(id: u64) -> Answer {
    Answer { endpoint: format!("http://c:{id}"), status: Err("Connection refused".into()) }
}

fn facts(answers: Vec<Answer>) -> Facts {
    Facts { members: Ok((1..=3).map(member).collect()), answers, alarms: Ok(Vec::new()) }
}

fn well() -> Facts {
    facts((1..=3).map(|id| answer(id, |_| ())).collect())
}

fn problems(report: &Report) -> Vec<&str> {
    let problems = report.findings.iter().filter(|finding| finding.weight == Weight::Problem);
    problems.map(|finding| finding.what.as_str()).collect()
}

#[test]
fn a_cluster_that_is_well() {
    let report = judge(&well());
    assert!(report.healthy(), "{:?}", report.findings);
    assert_eq!((report.voters, report.reachable, report.quorum, report.spare), (3, 3, 2, Some(1)));
    let text = screen::draw(&report, false);
    assert_eq!(
        text,
        "Cluster 7 is healthy.\n3 of 3 voters answer, m1 leads at term 3; it survives the loss of 1 more voter.\n\n\
         * m1  0000000000000001  leader       3.7.1  1.0 MB  applied 100  http://c:1\n\
         \x20 m2  0000000000000002  follower     3.7.1  1.0 MB  applied 100  http://c:2\n\
         \x20 m3  0000000000000003  follower     3.7.1  1.0 MB  applied 100  http://c:3\n"
    );
    assert!(screen::draw(&report, true).contains("\x1b[32mhealthy\x1b[0m"));
    assert!(report.json().to_string().starts_with("{\"healthy\":true,\"clusterID\":\"7\",\"leader\":\"1\","));
}

#[test]
fn one_member_is_gone() {
    let report = judge(&facts(vec![answer(1, |_| ()), answer(2, |_| ()), gone(3)]));
    assert_eq!(report.spare, Some(0));
    assert_eq!(problems(&report), ["m3 (3) cannot be reached at http://c:3: Connection refused"]);
    assert!(report.findings.iter().any(|finding| finding.what.contains("one more voter stops all writes")));
}

#[test]
fn a_majority_is_gone() {
    let report = judge(&facts(vec![answer(1, |status| status.leader = 0), gone(2), gone(3)]));
    assert_eq!(report.spare, None);
    let problems = problems(&report);
    assert!(problems.contains(&"there is no leader"), "{problems:?}");
    assert!(problems.contains(&"1 of 3 voters answer, 2 are needed: nothing can be written"), "{problems:?}");
    assert!(screen::draw(&report, false).contains("writes have stopped"));
}

#[test]
fn nobody_answers() {
    let facts =
        Facts { members: Err("refused".into()), answers: vec![gone(1)], alarms: Err("no member answers".into()) };
    let report = judge(&facts);
    assert!(!report.healthy());
    assert_eq!((report.voters, report.spare), (0, None));
}

#[test]
fn lag_errors_versions_and_space() {
    let answers = vec![
        answer(1, |status| {
            status.raft_index = 5_000;
            status.raft_applied_index = 5_000;
        }),
        answer(2, |status| {
            status.version = "3.6.0".into();
            status.raft_applied_index = 5_000;
            status.errors = vec!["disk: write failed".into()];
        }),
        answer(3, |status| status.db_size = 1_900_000_000),
    ];
    let report = judge(&facts(answers));
    let problems = problems(&report);
    assert_eq!(problems, ["m3 is 4900 log entries behind the leader", "m2 reports: disk: write failed"]);
    let notes: Vec<&str> = report.findings[2..].iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        notes,
        ["members run different versions: 3.6.0, 3.7.1", "m3 has filled 95% of its quota (1.9 GB of 2.0 GB)"]
    );
}

#[test]
fn alarms_clusters_and_new_members() {
    let mut facts = well();
    facts.alarms = Ok(vec![AlarmMember { member_id: 2, alarm: AlarmType::Nospace as i32 }]);
    facts.answers[2] = answer(3, |status| status.header.as_mut().unwrap().cluster_id = 8);
    let fresh = Member { id: 4, peer_urls: vec!["http://p:4".into()], is_learner: true, ..Default::default() };
    facts.members.as_mut().unwrap().push(fresh);
    let report = judge(&facts);
    let problems = problems(&report);
    assert!(problems.iter().any(|text| text.starts_with("alarm NOSPACE at m2")), "{problems:?}");
    assert!(problems.contains(&"the endpoints belong to different clusters: 7, 8"), "{problems:?}");
    assert!(problems.iter().any(|text| text.starts_with("member 4 was added and never started")), "{problems:?}");
    assert_eq!(report.voters, 3, "a learner has no vote");
}
