//! From facts to a judgement: what is wrong, how bad, and what to do. A pure function.

use std::collections::{BTreeMap, BTreeSet};

use kontiki_api::rpc::{AlarmType, Member, StatusResponse};

use super::super::gotext;
use super::facts::Facts;
use super::report::{Finding, Report, Role, Row, Weight};

/// Log entries that a member may be behind without being worth a word: the answers are not of one instant.
const LAG: u64 = 1_000;
/// Share of the quota, in percent, from which on space is said to run out.
const NEARLY_FULL: i64 = 80;

/// Judges.
pub fn judge(facts: &Facts) -> Report {
    let mut findings = Vec::new();
    let answered = by_member(facts);
    let members = known_members(facts, &answered, &mut findings);
    let leader = agreed_leader(&answered, &mut findings);
    let rows: Vec<Row> = members.iter().map(|member| row(member, answered.get(&member.id).copied(), leader)).collect();
    unreachable(&members, &answered, facts, &mut findings);
    one_cluster(&answered, &mut findings);
    versions(&rows, &mut findings);
    lagging(&rows, leader, &mut findings);
    own_words(&rows, &answered, &mut findings);
    space(&rows, &answered, &mut findings);
    if !answered.is_empty() {
        alarms(facts, &members, &mut findings);
    }
    let voters = members.iter().filter(|member| !member.is_learner).count();
    let reachable = members.iter().filter(|member| !member.is_learner && answered.contains_key(&member.id)).count();
    let quorum = voters / 2 + 1;
    if voters > 0 && reachable < quorum {
        findings.push(Finding::problem(
            format!("{reachable} of {voters} voters answer, {quorum} are needed: nothing can be written"),
            "bring back members with their data directories first; only when more than half of them are lost for good, \
             restore a snapshot (`kontiki snapshot restore`)",
        ));
    } else if reachable == quorum && voters > 2 {
        findings.push(Finding::note(
            "the loss of one more voter stops all writes".to_string(),
            "bring back or replace the missing member before anything else is touched",
        ));
    }
    findings.sort_by_key(|finding| finding.weight);
    let header = answered.values().filter_map(|status| status.header).next().unwrap_or_default();
    let term = answered.values().map(|status| status.raft_term).max().unwrap_or_default();
    let spare = reachable.checked_sub(quorum).filter(|_| voters > 0);
    Report { cluster_id: header.cluster_id, leader, term, voters, reachable, quorum, spare, rows, findings }
}

/// The latest answer of each member, wherever it came from.
fn by_member(facts: &Facts) -> BTreeMap<u64, &StatusResponse> {
    let answers = facts.answers.iter().filter_map(|answer| answer.status.as_ref().ok());
    answers.map(|status| (status.header.unwrap_or_default().member_id, status)).collect()
}

fn known_members(facts: &Facts, answered: &BTreeMap<u64, &StatusResponse>, findings: &mut Vec<Finding>) -> Vec<Member> {
    match &facts.members {
        Ok(members) => members.clone(),
        Err(why) => {
            findings.push(Finding::problem(
                format!("the list of members cannot be read: {why}"),
                "name endpoints of members that run with --endpoints; with users, log in with --user",
            ));
            let member = |(id, status): (&u64, &&StatusResponse)| Member {
                id: *id,
                is_learner: status.is_learner,
                ..Default::default()
            };
            answered.iter().map(member).collect()
        }
    }
}

fn agreed_leader(answered: &BTreeMap<u64, &StatusResponse>, findings: &mut Vec<Finding>) -> u64 {
    let newest = answered.values().map(|status| status.raft_term).max().unwrap_or_default();
    let voices = answered.values().filter(|status| status.raft_term == newest && status.leader != 0);
    let leaders: BTreeSet<u64> = voices.map(|status| status.leader).collect();
    match leaders.first() {
        None if !answered.is_empty() => {
            findings.push(Finding::problem(
                "there is no leader".to_string(),
                "an election takes about a second; if it lasts, too few voters reach each other: look at the unreachable \
                 ones, at the network between the peer URLs and at slow disks",
            ));
            0
        }
        Some(leader) if leaders.len() == 1 => {
            let without = answered.values().filter(|status| status.leader == 0).count();
            if without > 0 {
                findings.push(Finding::problem(
                    format!("{without} of the members that answer know no leader"),
                    "they are cut off from the others: check the network between the peer URLs",
                ));
            }
            *leader
        }
        Some(leader) => {
            findings.push(Finding::note(
                "members name different leaders".to_string(),
                "leadership moved just now, or endpoints of two clusters are mixed: ask again",
            ));
            *leader
        }
        None => 0,
    }
}

fn row(member: &Member, status: Option<&StatusResponse>, leader: u64) -> Row {
    let role = match status {
        None => Role::Unreachable,
        Some(_) if member.is_learner => Role::Learner,
        Some(_) if member.id == leader => Role::Leader,
        Some(_) => Role::Follower,
    };
    let status = status.cloned().unwrap_or_default();
    Row {
        id: member.id,
        name: if member.name.is_empty() { "(unstarted)".into() } else { member.name.clone() },
        role,
        version: status.version,
        db_size: status.db_size,
        quota: status.db_size_quota,
        index: status.raft_index,
        applied: status.raft_applied_index,
        client_urls: member.client_urls.clone(),
    }
}

fn unreachable(
    members: &[Member],
    answered: &BTreeMap<u64, &StatusResponse>,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) {
    for member in members.iter().filter(|member| !answered.contains_key(&member.id)) {
        if member.client_urls.is_empty() {
            findings.push(Finding::problem(
                format!("member {:x} was added and never started ({})", member.id, member.peer_urls.join(",")),
                "start it with --initial-cluster-state=existing, or take it out with `ctl member remove`",
            ));
            continue;
        }
        let why = facts.answers.iter().filter(|answer| member.client_urls.contains(&answer.endpoint));
        let why = why.filter_map(|answer| answer.status.as_ref().err()).next().map_or("", String::as_str);
        findings.push(Finding::problem(
            format!("{} ({:x}) cannot be reached at {}: {why}", member.name, member.id, member.client_urls.join(",")),
            "start it with its data directory; if that is lost, `ctl member remove` it and add a new one",
        ));
    }
}

fn one_cluster(answered: &BTreeMap<u64, &StatusResponse>, findings: &mut Vec<Finding>) {
    let ids: BTreeSet<u64> = answered.values().map(|status| status.header.unwrap_or_default().cluster_id).collect();
    if ids.len() > 1 {
        let ids: Vec<String> = ids.iter().map(|id| format!("{id:x}")).collect();
        findings.push(Finding::problem(
            format!("the endpoints belong to different clusters: {}", ids.join(", ")),
            "name only endpoints of one cluster; if they should be one, a member was started with another \
             --initial-cluster-token or an old data directory",
        ));
    }
}

fn versions(rows: &[Row], findings: &mut Vec<Finding>) {
    let versions: BTreeSet<&str> =
        rows.iter().map(|row| row.version.as_str()).filter(|version| !version.is_empty()).collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        findings.push(Finding::note(
            format!("members run different versions: {}", versions.join(", ")),
            "finish the upgrade, member by member",
        ));
    }
}

fn lagging(rows: &[Row], leader: u64, findings: &mut Vec<Finding>) {
    let Some(front) = rows.iter().find(|row| row.id == leader).map(|row| row.index) else { return };
    for row in rows.iter().filter(|row| row.role != Role::Unreachable) {
        let behind = front.saturating_sub(row.applied);
        if behind > LAG {
            findings.push(Finding::problem(
                format!("{} is {behind} log entries behind the leader", row.name),
                "if the number shrinks it is catching up; if not, look at its disk and its network",
            ));
        }
    }
}

fn own_words(rows: &[Row], answered: &BTreeMap<u64, &StatusResponse>, findings: &mut Vec<Finding>) {
    for row in rows {
        let Some(status) = answered.get(&row.id) else { continue };
        // Alarms and the lack of a leader are told elsewhere, with more to say.
        let own = status.errors.iter().filter(|error| !error.contains("no leader") && !error.contains("alarm"));
        for error in own {
            findings.push(Finding::problem(
                format!("{} reports: {error}", row.name),
                "its log says more; a disk that fails is replaced together with the member",
            ));
        }
    }
}

fn space(rows: &[Row], answered: &BTreeMap<u64, &StatusResponse>, findings: &mut Vec<Finding>) {
    for row in rows.iter().filter(|row| answered.contains_key(&row.id) && row.quota > 0) {
        let percent = row.db_size.saturating_mul(100) / row.quota;
        if percent >= NEARLY_FULL {
            let size = |bytes: i64| gotext::size(u64::try_from(bytes).unwrap_or_default());
            findings.push(Finding::note(
                format!(
                    "{} has filled {percent}% of its quota ({} of {})",
                    row.name,
                    size(row.db_size),
                    size(row.quota)
                ),
                "delete what is not needed, then `ctl compaction` and `ctl defrag`, or raise --quota-backend-bytes",
            ));
        }
    }
}

fn alarms(facts: &Facts, members: &[Member], findings: &mut Vec<Finding>) {
    let alarms = match &facts.alarms {
        Ok(alarms) => alarms,
        Err(why) => {
            let advice = "ask again once a member answers; with users, log in with --user";
            return findings.push(Finding::problem(format!("alarms cannot be read: {why}"), advice));
        }
    };
    for alarm in alarms {
        let name = members.iter().find(|member| member.id == alarm.member_id).map(|member| member.name.clone());
        let name = name.unwrap_or_else(|| format!("{:x}", alarm.member_id));
        let (what, advice) = match alarm.alarm() {
            AlarmType::Nospace => (
                format!("alarm NOSPACE at {name}: only reads and deletions are served"),
                "make room (`ctl del`, `ctl compaction`, `ctl defrag`) or raise --quota-backend-bytes, then `ctl alarm disarm`",
            ),
            AlarmType::Corrupt => (
                format!("alarm CORRUPT at {name}: its data differs from the others'"),
                "compare with `ctl endpoint hashkv --cluster`, replace the member that differs, then `ctl alarm disarm`",
            ),
            AlarmType::None => continue,
        };
        findings.push(Finding { weight: Weight::Problem, what, advice });
    }
}

#[cfg(test)]
mod tests;
