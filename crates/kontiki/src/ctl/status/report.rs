//! The judgement as a value, and its forms for programs.

use super::super::gotext;
use super::super::json::{Json, Object};
use super::super::table::Table;

/// What is said about the cluster.
#[derive(Debug)]
pub struct Report {
    pub cluster_id: u64,
    /// 0 where there is none.
    pub leader: u64,
    pub term: u64,
    pub voters: usize,
    /// Voters that answer.
    pub reachable: usize,
    pub quorum: usize,
    /// Voters that may fail before writes stop; none where they have stopped.
    pub spare: Option<usize>,
    pub rows: Vec<Row>,
    /// The worst first.
    pub findings: Vec<Finding>,
}

/// One member.
#[derive(Debug)]
pub struct Row {
    pub id: u64,
    pub name: String,
    pub role: Role,
    pub version: String,
    pub db_size: i64,
    pub quota: i64,
    pub index: u64,
    pub applied: u64,
    pub client_urls: Vec<String>,
}

/// What a member does at present.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    Leader,
    Follower,
    Learner,
    Unreachable,
}

impl Role {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Learner => "learner",
            Role::Unreachable => "unreachable",
        }
    }
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Something is wrong now.
    Problem,
    /// Worth knowing.
    Note,
}

/// Something to know, and what to do about it.
#[derive(Debug)]
pub struct Finding {
    pub weight: Weight,
    pub what: String,
    pub advice: &'static str,
}

impl Finding {
    /// Something is wrong.
    pub fn problem(what: String, advice: &'static str) -> Finding {
        Finding { weight: Weight::Problem, what, advice }
    }

    /// Worth knowing.
    pub fn note(what: String, advice: &'static str) -> Finding {
        Finding { weight: Weight::Note, what, advice }
    }
}

impl Report {
    /// Whether nothing is wrong.
    pub fn healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.weight != Weight::Problem)
    }

    /// The leader's name.
    pub fn leader_name(&self) -> Option<&str> {
        self.rows.iter().find(|row| row.id == self.leader).map(|row| row.name.as_str())
    }

    /// Everything, for programs.
    pub fn json(&self) -> Json {
        let row = |row: &Row| {
            Object::new()
                .with("id", format!("{:x}", row.id).as_str())
                .with("name", row.name.as_str())
                .with("role", row.role.word())
                .with("version", row.version.as_str())
                .with("dbSize", row.db_size)
                .with("quota", row.quota)
                .with("raftIndex", row.index)
                .with("raftAppliedIndex", row.applied)
                .with("clientURLs", row.client_urls.as_slice())
        };
        let finding = |finding: &Finding| {
            let weight = if finding.weight == Weight::Problem { "problem" } else { "note" };
            Object::new().with("weight", weight).with("what", finding.what.as_str()).with("advice", finding.advice)
        };
        Object::new()
            .with("healthy", self.healthy())
            .with("clusterID", format!("{:x}", self.cluster_id).as_str())
            .with("leader", format!("{:x}", self.leader).as_str())
            .with("raftTerm", self.term)
            .with("voters", self.voters as u64)
            .with("votersReachable", self.reachable as u64)
            .with("quorum", self.quorum as u64)
            .with("failuresSurvived", self.spare.map(|spare| spare as u64))
            .with("members", Json::list(&self.rows, row))
            .with("findings", Json::list(&self.findings, finding))
            .into()
    }

    /// The members.
    pub fn table(&self) -> Table {
        let row = |row: &Row| {
            vec![
                row.name.clone(),
                format!("{:x}", row.id),
                row.role.word().to_string(),
                row.version.clone(),
                gotext::size(u64::try_from(row.db_size).unwrap_or_default()),
                row.applied.to_string(),
                row.client_urls.join(","),
            ]
        };
        let titles = ["name", "ID", "role", "version", "db size", "applied index", "client addrs"];
        Table::new(&titles, self.rows.iter().map(row).collect())
    }
}
