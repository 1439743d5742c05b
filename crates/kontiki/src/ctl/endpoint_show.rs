//! How answers of endpoints look.

use std::time::Duration;

use kontiki_api::rpc::{HashKvResponse, StatusResponse};

use super::gotext;
use super::json::{Json, Object};
use super::show::{self, Fields, Show, Text};
use super::table::Table;

/// Whether one endpoint is well.
pub struct Health {
    pub endpoint: String,
    pub took: Duration,
    /// What is wrong; empty: nothing.
    pub error: String,
}

/// All endpoints' health. The sick are reported on standard error when the form is simple.
pub struct Healths(pub Vec<Health>);

/// What one endpoint says about itself.
pub struct State {
    pub endpoint: String,
    pub answer: StatusResponse,
}

/// All endpoints' states.
pub struct States(pub Vec<State>);

/// The hash of one endpoint's history.
pub struct Hash {
    pub endpoint: String,
    pub answer: HashKvResponse,
}

/// All endpoints' hashes.
pub struct Hashes(pub Vec<Hash>);

impl Show for Healths {
    const TABLE: bool = true;

    fn simple(&self, text: &mut Text) {
        for health in self.0.iter().filter(|health| health.error.is_empty()) {
            let took = gotext::duration(health.took);
            text.line(format!("{} is healthy: successfully committed proposal: took = {took}", health.endpoint));
        }
    }

    fn json(&self) -> Json {
        Json::list(&self.0, |health| {
            Object::new()
                .with("endpoint", health.endpoint.as_str())
                .with("health", health.error.is_empty())
                .with("took", gotext::duration(health.took).as_str())
                .with_set("error", health.error.as_str())
        })
    }

    fn fields(&self, lines: &mut Fields) {
        for health in &self.0 {
            lines.text("Endpoint", &health.endpoint);
            lines.put("Health", health.error.is_empty());
            lines.put("Took", gotext::duration(health.took));
            lines.put("Error", &health.error);
            lines.gap();
        }
    }

    fn table(&self) -> Table {
        let row = |health: &Health| {
            let healthy = health.error.is_empty().to_string();
            vec![health.endpoint.clone(), healthy, gotext::duration(health.took), health.error.clone()]
        };
        Table::new(&["endpoint", "health", "took", "error"], self.0.iter().map(row).collect())
    }
}

impl State {
    fn member_id(&self) -> u64 {
        self.answer.header.unwrap_or_default().member_id
    }

    fn row(&self) -> Vec<String> {
        let answer = &self.answer;
        let downgrade = answer.downgrade_info.clone().unwrap_or_default();
        let size = |bytes: i64| gotext::size(u64::try_from(bytes).unwrap_or_default());
        vec![
            self.endpoint.clone(),
            format!("{:x}", self.member_id()),
            answer.version.clone(),
            answer.storage_version.clone(),
            size(answer.db_size),
            size(answer.db_size_in_use),
            format!("{}%", percent_free(answer.db_size, answer.db_size_in_use)),
            size(answer.db_size_quota),
            (answer.leader == self.member_id()).to_string(),
            answer.is_learner.to_string(),
            answer.raft_term.to_string(),
            answer.raft_index.to_string(),
            answer.raft_applied_index.to_string(),
            answer.errors.join(", "),
            downgrade.target_version,
            downgrade.enabled.to_string(),
        ]
    }
}

/// The share of the store that holds nothing, in percent.
fn percent_free(size: i64, in_use: i64) -> i64 {
    let used = in_use.saturating_mul(100).checked_div(size).unwrap_or(100);
    100 - used.clamp(0, 100)
}

const STATE_TITLES: [&str; 16] = [
    "endpoint",
    "ID",
    "version",
    "storage version",
    "db size",
    "in use",
    "percentage not in use",
    "quota",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
    "downgrade target version",
    "downgrade enabled",
];

impl Show for States {
    const TABLE: bool = true;

    fn simple(&self, text: &mut Text) {
        text.raw(&self.table().lines());
    }

    fn json(&self) -> Json {
        Json::list(&self.0, |state| {
            let answer = &state.answer;
            let downgrade = answer.downgrade_info.as_ref().map(|downgrade| {
                Object::new()
                    .with_set("enabled", downgrade.enabled)
                    .with_set("targetVersion", downgrade.target_version.as_str())
            });
            let status = show::answer(&answer.header)
                .with_set("version", answer.version.as_str())
                .with_set("dbSize", answer.db_size)
                .with_set("leader", answer.leader)
                .with_set("raftIndex", answer.raft_index)
                .with_set("raftTerm", answer.raft_term)
                .with_set("raftAppliedIndex", answer.raft_applied_index)
                .with_set("errors", answer.errors.as_slice())
                .with_set("dbSizeInUse", answer.db_size_in_use)
                .with_set("isLearner", answer.is_learner)
                .with_set("storageVersion", answer.storage_version.as_str())
                .with_set("dbSizeQuota", answer.db_size_quota)
                .with_set("downgradeInfo", downgrade);
            Object::new().with("Endpoint", state.endpoint.as_str()).with("Status", status)
        })
    }

    fn fields(&self, lines: &mut Fields) {
        for state in &self.0 {
            let answer = &state.answer;
            let downgrade = answer.downgrade_info.clone().unwrap_or_default();
            lines.header(&answer.header);
            lines.text("Version", &answer.version);
            lines.text("StorageVersion", &answer.storage_version);
            lines.put("DBSize", answer.db_size);
            lines.put("DBSizeInUse", answer.db_size_in_use);
            lines.put("DBSizeQuota", answer.db_size_quota);
            lines.put("Leader", answer.leader);
            lines.put("IsLearner", answer.is_learner);
            lines.put("RaftIndex", answer.raft_index);
            lines.put("RaftTerm", answer.raft_term);
            lines.put("RaftAppliedIndex", answer.raft_applied_index);
            lines.put("Errors", format_args!("[{}]", answer.errors.join(" ")));
            lines.text("Endpoint", &state.endpoint);
            lines.text("DowngradeTargetVersion", &downgrade.target_version);
            lines.put("DowngradeEnabled", downgrade.enabled);
            lines.gap();
        }
    }

    fn table(&self) -> Table {
        Table::new(&STATE_TITLES, self.0.iter().map(State::row).collect())
    }
}

impl Show for Hashes {
    const TABLE: bool = true;

    fn simple(&self, text: &mut Text) {
        text.raw(&self.table().lines());
    }

    fn json(&self) -> Json {
        Json::list(&self.0, |hash| {
            let answer = show::answer(&hash.answer.header)
                .with_set("hash", hash.answer.hash)
                .with_set("compact_revision", hash.answer.compact_revision)
                .with_set("hash_revision", hash.answer.hash_revision);
            Object::new().with("Endpoint", hash.endpoint.as_str()).with("HashKV", answer)
        })
    }

    fn fields(&self, lines: &mut Fields) {
        for hash in &self.0 {
            lines.header(&hash.answer.header);
            lines.text("Endpoint", &hash.endpoint);
            lines.put("Hash", hash.answer.hash);
            lines.put("HashRevision", hash.answer.hash_revision);
            lines.gap();
        }
    }

    fn table(&self) -> Table {
        let row = |hash: &Hash| {
            vec![hash.endpoint.clone(), hash.answer.hash.to_string(), hash.answer.hash_revision.to_string()]
        };
        Table::new(&["endpoint", "hash", "hash_revision"], self.0.iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::Format;
    use super::super::show::testing::{header, render};
    use super::*;

    #[test]
    fn states() {
        let answer = StatusResponse {
            header: header(9),
            version: "3.7.1".into(),
            db_size: 20_480,
            db_size_in_use: 16_384,
            leader: 2,
            raft_index: 19,
            raft_term: 3,
            raft_applied_index: 18,
            ..Default::default()
        };
        let states = States(vec![State { endpoint: "localhost:2379".into(), answer }]);
        assert_eq!(
            render(Format::Simple, &states),
            "localhost:2379, 2, 3.7.1, , 20 kB, 16 kB, 20%, 0 B, true, false, 3, 19, 18, , , false\n"
        );
        assert_eq!(
            render(Format::Json, &states),
            "[{\"Endpoint\":\"localhost:2379\",\"Status\":{\"header\":{\"cluster_id\":1,\"member_id\":2,\"revision\":9,\
             \"raft_term\":3},\"version\":\"3.7.1\",\"dbSize\":20480,\"leader\":2,\"raftIndex\":19,\"raftTerm\":3,\
             \"raftAppliedIndex\":18,\"dbSizeInUse\":16384}}]\n"
        );
    }

    #[test]
    fn healths() {
        let well = Health { endpoint: "a:1".into(), took: Duration::from_micros(2_500), error: String::new() };
        let sick = Health { endpoint: "b:2".into(), took: Duration::from_secs(5), error: "gone".into() };
        let healths = Healths(vec![well, sick]);
        assert_eq!(render(Format::Simple, &healths), "a:1 is healthy: successfully committed proposal: took = 2.5ms\n");
        assert_eq!(
            render(Format::Json, &healths),
            "[{\"endpoint\":\"a:1\",\"health\":true,\"took\":\"2.5ms\"},\
             {\"endpoint\":\"b:2\",\"health\":false,\"took\":\"5s\",\"error\":\"gone\"}]\n"
        );
        let table = "\
+----------+--------+-------+-------+
| ENDPOINT | HEALTH | TOOK  | ERROR |
+----------+--------+-------+-------+
|      a:1 |   true | 2.5ms |       |
|      b:2 |  false |    5s |  gone |
+----------+--------+-------+-------+
";
        assert_eq!(render(Format::Table, &healths), table);
    }

    #[test]
    fn free_space() {
        assert_eq!([percent_free(100, 25), percent_free(0, 0), percent_free(10, 20)], [75, 0, 0]);
    }
}
