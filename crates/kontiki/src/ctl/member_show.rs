//! How answers about members look.

use kontiki_api::rpc::{Member, MemberAddResponse, MemberListResponse, MemberRemoveResponse, ResponseHeader};
use prost::Message;

use super::gotext::quote;
use super::json::{Json, Object};
use super::show::{self, Fields, Show, Text};
use super::table::Table;

/// A new member, with what its first start needs to know.
pub struct Added {
    pub name: String,
    pub peer_urls: Vec<String>,
    pub answer: MemberAddResponse,
}

/// A member that was removed, updated or promoted.
pub struct Changed {
    pub id: u64,
    /// The change and its preposition: `removed from`.
    pub how: &'static str,
    pub header: Option<ResponseHeader>,
    pub members: Vec<Member>,
}

fn member(member: &Member) -> Object {
    Object::new()
        .with_set("ID", member.id)
        .with_set("name", member.name.as_str())
        .with_set("peerURLs", member.peer_urls.as_slice())
        .with_set("clientURLs", member.client_urls.as_slice())
        .with_set("isLearner", member.is_learner)
}

fn cluster_id(header: &Option<ResponseHeader>) -> u64 {
    header.unwrap_or_default().cluster_id
}

impl Show for MemberListResponse {
    const TABLE: bool = true;
    const PROTOBUF: bool = true;
    const HEX_IDS: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.raw(&self.table().lines());
    }

    fn json(&self) -> Json {
        show::answer(&self.header).with_set("members", Json::list(&self.members, member)).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        for member in &self.members {
            lines.put("ID", member.id);
            lines.text("Name", &member.name);
            member.peer_urls.iter().for_each(|url| lines.text("PeerURL", url));
            member.client_urls.iter().for_each(|url| lines.text("ClientURL", url));
            lines.put("IsLearner", member.is_learner);
            lines.gap();
        }
    }

    fn table(&self) -> Table {
        let row = |member: &Member| {
            vec![
                format!("{:x}", member.id),
                // A member announces its name when it starts.
                if member.name.is_empty() { "unstarted" } else { "started" }.to_string(),
                member.name.clone(),
                member.peer_urls.join(","),
                member.client_urls.join(","),
                member.is_learner.to_string(),
            ]
        };
        let titles = ["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
        Table::new(&titles, self.members.iter().map(row).collect())
    }
}

impl Show for Added {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;
    const HEX_IDS: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        let added = self.answer.member.clone().unwrap_or_default();
        let how = if added.is_learner { "added as learner to" } else { "added to" };
        text.line(format!("Member {:16x} {how} cluster {:16x}", added.id, cluster_id(&self.answer.header)));
        let address = |member: &Member, url: &String| {
            let name = if member.id == added.id { &self.name } else { &member.name };
            format!("{name}={url}")
        };
        let members = self.answer.members.iter();
        let cluster: Vec<String> =
            members.flat_map(|member| member.peer_urls.iter().map(move |url| address(member, url))).collect();
        text.line("");
        text.line(format!("ETCD_NAME={}", quote(self.name.as_bytes())));
        text.line(format!("ETCD_INITIAL_CLUSTER={}", quote(cluster.join(",").as_bytes())));
        text.line(format!("ETCD_INITIAL_ADVERTISE_PEER_URLS={}", quote(self.peer_urls.join(",").as_bytes())));
        text.line("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    fn json(&self) -> Json {
        show::answer(&self.answer.header)
            .with_set("member", self.answer.member.as_ref().map(member))
            .with_set("members", Json::list(&self.answer.members, member))
            .into()
    }
}

impl Show for Changed {
    const FIELDS: bool = false;
    const PROTOBUF: bool = true;
    const HEX_IDS: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        let message = MemberRemoveResponse { header: self.header, members: self.members.clone() };
        message.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("Member {:16x} {} cluster {:16x}", self.id, self.how, cluster_id(&self.header)));
    }

    fn json(&self) -> Json {
        show::answer(&self.header).with_set("members", Json::list(&self.members, member)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::testing::{header, render};
    use super::super::show::{Format, Printer};
    use super::*;

    fn members() -> Vec<Member> {
        let started = Member {
            id: 0x82039f3eee02bfb3,
            name: "one".into(),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            client_urls: vec!["http://127.0.0.1:2379".into()],
            is_learner: false,
        };
        let fresh = Member {
            id: 0xabc,
            peer_urls: vec!["http://p:1".into(), "http://p:2".into()],
            is_learner: true,
            ..Default::default()
        };
        vec![started, fresh]
    }

    #[test]
    fn list() {
        let answer = MemberListResponse { header: header(0), members: members() };
        assert_eq!(
            render(Format::Simple, &answer),
            "82039f3eee02bfb3, started, one, http://127.0.0.1:2380, http://127.0.0.1:2379, false\n\
             abc, unstarted, , http://p:1,http://p:2, , true\n"
        );
        assert_eq!(
            render(Format::Json, &answer),
            "{\"header\":{\"cluster_id\":1,\"member_id\":2,\"raft_term\":3},\"members\":[{\"ID\":9368506742490709939,\
             \"name\":\"one\",\"peerURLs\":[\"http://127.0.0.1:2380\"],\"clientURLs\":[\"http://127.0.0.1:2379\"]},\
             {\"ID\":2748,\"peerURLs\":[\"http://p:1\",\"http://p:2\"],\"isLearner\":true}]}\n"
        );
        let hex = String::from_utf8(Printer { format: Format::Json, hex: true, value_only: false }.render(&answer));
        assert!(hex.is_ok_and(|hex| hex.starts_with(
            "{\"header\":{\"cluster_id\":\"1\",\"member_id\":\"2\",\"raft_term\":3},\"members\":[{\"ID\":\"82039f3eee02bfb3\","
        )));
        let table = "\
+------------------+-----------+------+-----------------------+-----------------------+------------+
|        ID        |  STATUS   | NAME |      PEER ADDRS       |     CLIENT ADDRS      | IS LEARNER |
+------------------+-----------+------+-----------------------+-----------------------+------------+
| 82039f3eee02bfb3 |   started |  one | http://127.0.0.1:2380 | http://127.0.0.1:2379 |      false |
|              abc | unstarted |      | http://p:1,http://p:2 |                       |       true |
+------------------+-----------+------+-----------------------+-----------------------+------------+
";
        assert_eq!(render(Format::Table, &answer), table);
    }

    #[test]
    fn added() {
        let members = members();
        let answer = MemberAddResponse { header: header(0), member: Some(members[1].clone()), members };
        let added = Added { name: "two".into(), peer_urls: vec!["http://p:1".into()], answer };
        assert_eq!(
            render(Format::Simple, &added),
            "Member              abc added as learner to cluster                1\n\nETCD_NAME=\"two\"\n\
             ETCD_INITIAL_CLUSTER=\"one=http://127.0.0.1:2380,two=http://p:1,two=http://p:2\"\n\
             ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://p:1\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        );
    }
}
