//! The command line as etcd's users type it.
#![allow(clippy::unwrap_used)]

use super::*;

fn serve(words: &[&str], environment: &[(&str, &str)]) -> Result<Settings, FlagError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let environment: Vec<(String, String)> =
        environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    match read(&words, &environment)? {
        Request::Serve(settings) => Ok(settings),
        other => panic!("expected to serve, got {other:?}"),
    }
}

fn message(words: &[&str]) -> String {
    serve(words, &[]).unwrap_err().to_string()
}

#[test]
fn the_table_has_each_name_once_and_readable_defaults() {
    let mut names: Vec<&str> = all().map(|flag| flag.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice in the table");
    for flag in all() {
        assert!(Value::read(flag.kind, flag.default).is_ok(), "--{}", flag.name);
        assert!(!flag.help.is_empty(), "--{}", flag.name);
    }
    for twin in table::EXPERIMENTAL_TWINS {
        assert!(all().any(|flag| flag.name == *twin), "{twin}");
    }
}

#[test]
fn one_or_two_dashes_and_both_forms_of_values() {
    let settings = serve(&["-name", "a", "--data-dir=/x=y", "--pre-vote=false", "--socket-reuse-port"], &[]).unwrap();
    assert_eq!(settings.text("name"), "a");
    assert_eq!(settings.text("data-dir"), "/x=y");
    assert!(!settings.switch("pre-vote"));
    assert!(settings.switch("socket-reuse-port"));
    assert!(settings.is_set("name"));
    assert!(!settings.is_set("wal-dir"));
}

#[test]
fn a_flag_wins_over_its_variable_and_a_variable_over_the_default() {
    let environment = [("ETCD_NAME", "env"), ("ETCD_ELECTION_TIMEOUT", "2000"), ("ETCD_NONSENSE", "1"), ("PATH", "x")];
    let settings = serve(&["--name", "flag"], &environment).unwrap();
    assert_eq!(settings.text("name"), "flag");
    assert_eq!(settings.unsigned("election-timeout"), 2000);
    assert_eq!(settings.unsigned("heartbeat-interval"), 100);
    assert_eq!(settings.warnings.len(), 2, "{:?}", settings.warnings);
    assert!(settings.warnings.iter().any(|warning| warning.contains("ETCD_NONSENSE")));
}

#[test]
fn experimental_spellings_mean_the_same() {
    let settings = serve(&["--experimental-watch-progress-notify-interval=5s"], &[]).unwrap();
    assert_eq!(settings.duration("watch-progress-notify-interval"), Duration::from_secs(5));
    assert!(settings.warnings.is_empty());
    assert!(message(&["--experimental-name=x"]).contains("unknown flag --experimental-name"));
}

#[test]
fn mistakes_say_what_and_what_to_do() {
    assert!(message(&["--datadir", "x"]).contains("did you mean --data-dir?"));
    assert!(message(&["--election-timeout", "1s"]).contains("--election-timeout: \"1s\""));
    assert!(message(&["--name"]).contains("--name=VALUE"));
    assert!(message(&["--pre-vote", "false"]).contains("unexpected word \"false\""));
    assert!(message(&["--discovery-srv=example.org"]).contains("--initial-cluster"));
    assert!(message(&["--feature-gates=LeaseChekpoint=true"]).contains("LeaseCheckpoint"));
}

#[test]
fn a_flag_without_effect_warns_only_when_it_asks_for_a_change() {
    let settings = serve(&["--auto-tls=false", "--snapshot-count=10000", "--strict-reconfig-check"], &[]).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let settings = serve(&["--max-wals=7", "--max-wals=7", "--vv", "--force"], &[]).unwrap();
    assert_eq!(settings.warnings.len(), 3, "{:?}", settings.warnings);
}

#[test]
fn help_and_version_are_found_anywhere() {
    assert!(matches!(read(&["--name=x".into(), "-h".into()], &[]).unwrap(), Request::Help));
    assert!(matches!(read(&["--version".into()], &[]).unwrap(), Request::Version));
    assert!(help().contains("--listen-client-urls"));
}

#[test]
fn a_settings_file_replaces_flags_and_environment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("etcd.json");
    let text = r#"{"name": "filed", "election-timeout": 3000, "pre-vote": false, "grpc-keepalive-interval": 1000000000,
        "client-transport-security": {"cert-file": "", "auto-tls": false}}"#;
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    let settings = serve(&["--name=flag", "--config-file", path], &[("ETCD_NAME", "env")]).unwrap();
    assert_eq!(settings.text("name"), "filed");
    assert_eq!(settings.unsigned("election-timeout"), 3000);
    assert_eq!(settings.duration("grpc-keepalive-interval"), Duration::from_secs(1));
    assert!(!settings.switch("pre-vote"));
    assert_eq!(settings.warnings.len(), 1);

    std::fs::write(path, "name: yamled\npeer-transport-security: {auto-tls: true}\n").unwrap();
    let settings = serve(&[], &[("ETCD_CONFIG_FILE", path), ("ETCD_NAME", "env")]).unwrap();
    assert_eq!((settings.text("name"), settings.switch("peer-auto-tls")), ("yamled", true));
    assert_eq!(settings.warnings.len(), 1, "the variable is ignored");
    assert!(message(&["--config-file=/no/such/file"]).contains("cannot be read"));
}

/// What `etcd --help` of release 3.5.1 lists, with the values that it gives as defaults.
const HELP_OF_3_5_1: &str = include_str!("tests/help-3.5.1.txt");

#[test]
fn every_flag_that_etcd_3_5_1_lists_is_accepted_with_its_default() {
    let mut count = 0;
    for line in HELP_OF_3_5_1.lines().filter(|line| !line.starts_with('#')) {
        let (name, listed) = line.split_once(' ').unwrap_or((line, ""));
        let flag = find(name).unwrap_or_else(|| panic!("--{name} is unknown"));
        let word = format!("--{name}={}", if listed.is_empty() { flag.default } else { listed });
        serve(&[&word], &[]).unwrap_or_else(|error| panic!("{word}: {error}"));
        count += 1;
    }
    assert_eq!(count, 90);
}
