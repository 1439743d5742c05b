//! Files as operators write them, and files as nobody should.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn value(text: &str, flag: &str) -> Option<Value> {
    let found = parse("f.yml", text).unwrap_or_else(|error| panic!("{text}: {error}"));
    found.into_iter().rev().find(|(row, _)| row.name == flag).map(|(_, value)| value)
}

fn message(text: &str) -> String {
    parse("f.yml", text).unwrap_err().to_string()
}

#[test]
fn yaml_and_json_say_the_same() {
    let yaml = "# a member\nname: \"infra1\"\nheartbeat-interval: 250\npre-vote: false\n\
                log-outputs: [stderr, /tmp/log]\nlisten-client-urls: http://a:1,http://b:2\n";
    let json = r#"{"name": "infra1", "heartbeat-interval": 250, "pre-vote": false,
                   "log-outputs": ["stderr", "/tmp/log"], "listen-client-urls": "http://a:1,http://b:2"}"#;
    for text in [yaml, json] {
        assert_eq!(value(text, "name"), Some(Value::Text("infra1".into())));
        assert_eq!(value(text, "heartbeat-interval"), Some(Value::Number(250)));
        assert_eq!(value(text, "pre-vote"), Some(Value::Bool(false)));
        assert_eq!(value(text, "log-outputs"), Some(Value::List(vec!["stderr".into(), "/tmp/log".into()])));
        assert_eq!(
            value(text, "listen-client-urls"),
            Some(Value::List(vec!["http://a:1".into(), "http://b:2".into()]))
        );
    }
}

#[test]
fn durations_are_nanoseconds_or_words() {
    for (text, seconds) in [("grpc-keepalive-interval: 2000000000", 2), ("grpc-keepalive-interval: 2s", 2)] {
        assert_eq!(value(text, "grpc-keepalive-interval"), Some(Value::Duration(Duration::from_secs(seconds))));
    }
    assert!(message("grpc-keepalive-interval: -1").contains("nanoseconds"));
}

#[test]
fn security_maps_are_the_flags_of_their_side() {
    let text = "client-transport-security:\n  cert-file: c.pem\n  client-cert-auth: true\n\
                peer-transport-security:\n  cert-file: p.pem\n  allowed-cn: [a, b]\n  auto-tls: false\n";
    assert_eq!(value(text, "cert-file"), Some(Value::Text("c.pem".into())));
    assert_eq!(value(text, "client-cert-auth"), Some(Value::Bool(true)));
    assert_eq!(value(text, "peer-cert-file"), Some(Value::Text("p.pem".into())));
    assert_eq!(value(text, "peer-cert-allowed-cn"), Some(Value::List(vec!["a".into(), "b".into()])));
    assert!(message("client-transport-security:\n  cert: x").contains("unknown key \"cert\""));
    assert!(message("client-transport-security: yes").contains("must be a map"));
    assert_eq!(value("socket-options:\n  reuse-port: true", "socket-reuse-port"), Some(Value::Bool(true)));
}

#[test]
fn empty_entries_keep_the_default() {
    assert_eq!(parse("f", "# nothing\n").unwrap().len(), 0);
    assert_eq!(value("wal-dir:\ncors:\ninitial-cluster: ~\n", "cors"), None);
    assert_eq!(value("client-transport-security:\nname: x\n", "name"), Some(Value::Text("x".into())));
}

#[test]
fn mistakes_name_the_file_and_the_key() {
    assert!(message("nam: x").contains("did you mean \"name\"?"));
    assert!(message("completely-unheard-of-setting: x").contains("keys are the names of flags"));
    assert!(message("- a\n- b\n").contains("must be a map"));
    assert!(message("name: [a").contains("f.yml") && message("name: [a").contains("YAML"));
    assert!(message("pre-vote: perhaps").contains("f.yml: pre-vote"));
    assert!(message("name: {a: b}").contains("single value"));
}

#[test]
fn every_flag_may_stand_in_a_file_with_its_default() {
    let mut text = String::new();
    for flag in super::super::all() {
        text.push_str(&format!("{}: {}\n", flag.name, Json::from(flag.default)));
    }
    let found = parse("f.yml", &text).unwrap();
    assert_eq!(found.len(), super::super::all().count());
    for (flag, value) in found {
        assert_eq!(Value::read(flag.kind, flag.default), Ok(value), "{}", flag.name);
    }
}

/// Almost a file: names of flags and words of YAML, in any order.
fn almost_a_file() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "name",
        "election-timeout",
        "client-transport-security",
        "cert-file",
        "log-outputs",
        ":",
        ": ",
        "\n",
        "\n  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<",
        "!!str ",
        "|",
        ">",
        "#",
        "%YAML",
        "---",
        "...",
        "1",
        "-1",
        "9e99",
        "true",
        "null",
        "~",
        "\t",
        "\u{0}",
        "\u{feff}",
    ]);
    prop::collection::vec(words, 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parser_panic(text in prop_oneof![almost_a_file(), any::<String>()]) {
        drop(parse("f.yml", &text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_word_makes_a_flag_panic(words in prop::collection::vec(any::<String>(), 0..4), text in any::<String>()) {
        let mut words = words;
        for flag in super::super::all() {
            words.push(format!("--{}={text}", flag.name));
            drop(super::super::read(&words, &[("ETCD_NAME".into(), text.clone())]));
            words.pop();
        }
    }
}
