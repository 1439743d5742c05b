//! How changes look.

use kontiki_api::kv::Event;
use kontiki_api::rpc::WatchResponse;
use prost::Message;

use super::json::{Json, Object};
use super::show::{self, Fields, Show, Text};

impl Show for WatchResponse {
    const PROTOBUF: bool = true;

    fn protobuf(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn simple(&self, text: &mut Text) {
        for event in &self.events {
            text.line(event.r#type().as_str_name());
            event.prev_kv.iter().chain(&event.kv).for_each(|pair| text.pair(pair));
        }
    }

    fn json(&self) -> Json {
        let event = |event: &Event| {
            Object::new()
                .with_set("type", event.r#type)
                .with_set("kv", event.kv.as_ref().map(show::pair))
                .with_set("prev_kv", event.prev_kv.as_ref().map(show::pair))
        };
        Object::new()
            .with("Header", show::header(&self.header.unwrap_or_default()))
            .with("Events", Json::list(&self.events, event))
            .with("CompactRevision", self.compact_revision)
            .with("Canceled", self.canceled)
            .with("Created", self.created)
            .into()
    }

    fn fields(&self, lines: &mut Fields) {
        lines.header(&self.header);
        for event in &self.events {
            lines.put("Type", event.r#type().as_str_name());
            event.prev_kv.iter().for_each(|pair| lines.pair("Prev", pair));
            event.kv.iter().for_each(|pair| lines.pair("", pair));
        }
    }
}

#[cfg(test)]
mod tests {
    use kontiki_api::kv::KeyValue;

    use super::super::show::Format;
    use super::super::show::testing::{header, pair, render};
    use super::*;

    #[test]
    fn output() {
        let gone = KeyValue { key: "b".into(), mod_revision: 7, ..Default::default() };
        let events = vec![
            Event { r#type: 0, kv: Some(pair("a", "1")), prev_kv: None },
            Event { r#type: 1, kv: Some(gone), prev_kv: Some(pair("b", "2")) },
        ];
        let answer = WatchResponse { header: header(7), events, ..Default::default() };
        assert_eq!(render(Format::Simple, &answer), "PUT\na\n1\nDELETE\nb\n2\nb\n\n");
        assert_eq!(
            render(Format::Json, &answer),
            "{\"Header\":{\"cluster_id\":1,\"member_id\":2,\"revision\":7,\"raft_term\":3},\"Events\":[\
             {\"kv\":{\"key\":\"YQ==\",\"create_revision\":4,\"mod_revision\":5,\"version\":2,\"value\":\"MQ==\"}},\
             {\"type\":1,\"kv\":{\"key\":\"Yg==\",\"mod_revision\":7},\"prev_kv\":{\"key\":\"Yg==\",\
             \"create_revision\":4,\"mod_revision\":5,\"version\":2,\"value\":\"Mg==\"}}],\
             \"CompactRevision\":0,\"Canceled\":false,\"Created\":false}\n"
        );
        assert!(render(Format::Fields, &answer).contains("\"Type\" : DELETE\n\"PrevKey\" : \"b\"\n"));
    }
}
