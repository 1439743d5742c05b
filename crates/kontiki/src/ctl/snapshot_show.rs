//! How the state of a snapshot file is printed: etcdutl's columns, and in JSON and fields what else the file says.

use kontiki_server::Versions;
use kontiki_store::{SnapshotOrigin, SnapshotSummary};

use super::gotext;
use super::json::{Json, Object};
use super::show::{Fields, Show, Text};
use super::table::Table;

/// What a snapshot file holds.
pub struct State(pub SnapshotSummary);

impl State {
    fn table_of(&self) -> Table {
        let State(summary) = self;
        let row = vec![
            format!("{:x}", summary.hash),
            summary.header.revision.to_string(),
            summary.versions.to_string(),
            gotext::size(summary.bytes),
            Versions::default().storage,
        ];
        Table::new(&["hash", "revision", "total keys", "total size", "version"], vec![row])
    }

    fn origin(&self) -> &'static str {
        match self.0.header.origin {
            SnapshotOrigin::Confirmed => "confirmed",
            SnapshotOrigin::Alone => "unconfirmed",
            SnapshotOrigin::Checkpoint => "checkpoint",
        }
    }
}

impl Show for State {
    const TABLE: bool = true;

    fn simple(&self, text: &mut Text) {
        text.raw(&self.table_of().lines());
    }

    fn json(&self) -> Json {
        let State(summary) = self;
        let header = &summary.header;
        Object::new()
            .with("hash", summary.hash)
            .with("revision", header.revision)
            .with("totalKey", summary.versions)
            .with("totalSize", summary.bytes)
            .with("version", Versions::default().storage.as_str())
            .with("clusterID", header.cluster_id)
            .with("memberID", header.member_id)
            .with("raftIndex", header.index)
            .with("raftTerm", header.term)
            .with("takenUnixMs", header.taken_ms)
            .with("origin", self.origin())
            .into()
    }

    fn fields(&self, lines: &mut Fields) {
        let State(summary) = self;
        lines.put("Hash", summary.hash);
        lines.put("Revision", summary.header.revision);
        lines.put("Keys", summary.versions);
        lines.put("Size", summary.bytes);
        lines.text("Version", Versions::default().storage);
        lines.put("ClusterID", summary.header.cluster_id);
        lines.put("MemberID", summary.header.member_id);
        lines.put("RaftIndex", summary.header.index);
        lines.put("RaftTerm", summary.header.term);
        lines.put("TakenUnixMs", summary.header.taken_ms);
        lines.text("Origin", self.origin());
    }

    fn table(&self) -> Table {
        self.table_of()
    }
}

#[cfg(test)]
mod tests {
    use kontiki_store::SnapshotHeader;

    use super::super::show::Format;
    use super::super::show::testing::render;
    use super::*;

    #[test]
    fn output() {
        let header = SnapshotHeader {
            cluster_id: 1,
            member_id: 2,
            index: 9,
            term: 3,
            revision: 7,
            taken_ms: 1_000,
            origin: SnapshotOrigin::Checkpoint,
        };
        let state = State(SnapshotSummary { header, hash: 0xe0b8_7161, versions: 5, bytes: 20_512 });
        assert_eq!(render(Format::Simple, &state), "e0b87161, 7, 5, 20 kB, 3.7.0\n");
        let json = render(Format::Json, &state);
        assert!(json.starts_with("{\"hash\":3770184033,\"revision\":7,\"totalKey\":5,\"totalSize\":20512,"), "{json}");
        assert!(json.ends_with("\"origin\":\"checkpoint\"}\n"), "{json}");
        let table = render(Format::Table, &state);
        assert!(table.contains("|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |"), "{table}");
        let fields = render(Format::Fields, &state);
        assert!(
            fields.starts_with("\"Hash\" : 3770184033\n\"Revision\" : 7\n\"Keys\" : 5\n\"Size\" : 20512\n"),
            "{fields}"
        );
    }
}
