//! How answers about leases look.

use kontiki_api::rpc::{
    LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse, LeaseRevokeResponse, LeaseTimeToLiveResponse,
    ResponseHeader,
};
use prost::Message;

use super::json::{Json, Object};
use super::show::{self, Fields, Show, Text};

/// The end of a lease, with the id that the answer lacks.
pub struct Revoked {
    pub id: i64,
    pub answer: LeaseRevokeResponse,
}

/// The life left, and whether the keys were asked for: an empty list is printed only then.
pub struct TimeToLive {
    pub answer: LeaseTimeToLiveResponse,
    pub keys_asked: bool,
}

/// Go embeds the header in these answers, so its fields stand beside the others.
fn flat(header: &Option<ResponseHeader>) -> Object {
    header.as_ref().map(show::header).unwrap_or_default()
}

impl Show for LeaseGrantResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("lease {:016x} granted with TTL({}s)", self.id, self.ttl));
    }

    fn json(&self) -> Json {
        flat(&self.header).with("ID", self.id).with("TTL", self.ttl).with("Error", self.error.as_str()).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        lines.put("ID", self.id);
        lines.put("TTL", self.ttl);
    }
}

impl Show for Revoked {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("lease {:016x} revoked", self.id));
    }

    fn json(&self) -> Json {
        show::answer(&self.answer.header).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.answer.header);
    }
}

impl Show for LeaseKeepAliveResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("lease {:016x} keepalived with TTL({})", self.id, self.ttl));
    }

    fn json(&self) -> Json {
        flat(&self.header).with("ID", self.id).with("TTL", self.ttl).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        lines.put("ID", self.id);
        lines.put("TTL", self.ttl);
    }
}

impl Show for TimeToLive {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.answer.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        let answer = &self.answer;
        if answer.granted_ttl == 0 && answer.ttl == -1 {
            return text.line(format!("lease {:016x} already expired", answer.id));
        }
        let mut line =
            format!("lease {:016x} granted with TTL({}s), remaining({}s)", answer.id, answer.granted_ttl, answer.ttl);
        if self.keys_asked {
            let keys: Vec<_> = answer.keys.iter().map(|key| String::from_utf8_lossy(key)).collect();
            line += &format!(", attached keys([{}])", keys.join(" "));
        }
        text.line(line);
    }

    fn json(&self) -> Json {
        let answer = &self.answer;
        let keys = if answer.keys.is_empty() { Json::Null } else { show::keys(&answer.keys) };
        flat(&answer.header)
            .with("id", answer.id)
            .with("ttl", answer.ttl)
            .with("granted-ttl", answer.granted_ttl)
            .with("keys", keys)
            .into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.answer.header);
        lines.put("ID", self.answer.id);
        lines.put("TTL", self.answer.ttl);
        lines.put("GrantedTTL", self.answer.granted_ttl);
        self.answer.keys.iter().for_each(|key| lines.text("Key", key));
    }
}

impl Show for LeaseLeasesResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        text.line(format!("found {} leases", self.leases.len()));
        self.leases.iter().for_each(|lease| text.line(format!("{:016x}", lease.id)));
    }

    fn json(&self) -> Json {
        flat(&self.header).with("leases", Json::list(&self.leases, |lease| Object::new().with("id", lease.id))).into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        self.leases.iter().for_each(|lease| lines.put("ID", lease.id));
    }
}

#[cfg(test)]
mod tests {
    use kontiki_api::rpc::LeaseStatus;

    use super::super::show::Format;
    use super::super::show::testing::{header, render};
    use super::*;

    const HEADER: &str = r#""cluster_id":1,"member_id":2,"revision":6,"raft_term":3"#;

    #[test]
    fn granted() {
        let answer = LeaseGrantResponse { header: header(6), id: 0x1f, ttl: 100, error: String::new() };
        assert_eq!(render(Format::Simple, &answer), "lease 000000000000001f granted with TTL(100s)\n");
        assert_eq!(render(Format::Json, &answer), format!("{{{HEADER},\"ID\":31,\"TTL\":100,\"Error\":\"\"}}\n"));
    }

    #[test]
    fn time_to_live() {
        let answer = LeaseTimeToLiveResponse {
            header: header(6),
            id: 0x1f,
            ttl: 49,
            granted_ttl: 50,
            keys: vec!["a".into(), "b".into()],
        };
        let shown = TimeToLive { answer: answer.clone(), keys_asked: true };
        assert_eq!(
            render(Format::Simple, &shown),
            "lease 000000000000001f granted with TTL(50s), remaining(49s), attached keys([a b])\n"
        );
        assert_eq!(
            render(Format::Json, &shown),
            format!("{{{HEADER},\"id\":31,\"ttl\":49,\"granted-ttl\":50,\"keys\":[\"YQ==\",\"Yg==\"]}}\n")
        );
        let answer = LeaseTimeToLiveResponse { ttl: -1, granted_ttl: 0, keys: vec![], ..answer };
        let gone = TimeToLive { answer, keys_asked: true };
        assert_eq!(render(Format::Simple, &gone), "lease 000000000000001f already expired\n");
        assert!(render(Format::Json, &gone).ends_with("\"ttl\":-1,\"granted-ttl\":0,\"keys\":null}\n"));
    }

    #[test]
    fn list() {
        let answer = LeaseLeasesResponse { header: header(6), leases: vec![LeaseStatus { id: 1 }] };
        assert_eq!(render(Format::Simple, &answer), "found 1 leases\n0000000000000001\n");
        assert_eq!(render(Format::Json, &answer), format!("{{{HEADER},\"leases\":[{{\"id\":1}}]}}\n"));
    }
}
