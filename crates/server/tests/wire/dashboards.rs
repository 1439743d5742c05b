//! The dashboard and the alerts that are shipped ask only for what a running member shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use kontiki_server::{MetricKind, metric_families};

use crate::harness::{Member, http, soon};
use crate::prometheus::{Family, parse};

/// Labels that Prometheus itself adds.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_dashboard_and_alerts_ask_for_is_there() {
    let members = Member::start_of_three_with(|options| options.extensive_metrics = true).await;
    let shown = soon(async {
        loop {
            let shown = parse(&http(members[0].address, "GET", "/metrics", "", "").await.body).unwrap();
            if !shown["etcd_network_peer_round_trip_time_seconds"].samples.is_empty() {
                break shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut checked = BTreeSet::new();
    for expression in expressions() {
        let words = selectors(&expression);
        assert!(!words.is_empty(), "no metric in {expression}");
        for (metric, labels) in words {
            if metric == "up" {
                continue; // Prometheus' own
            }
            check(&shown, &metric, &labels, &expression);
            checked.insert(metric);
        }
    }
    assert!(checked.len() > 25, "{checked:?}");
    for member in members {
        member.stop().await;
    }
}

fn check(shown: &BTreeMap<String, Family>, metric: &str, labels: &[String], expression: &str) {
    let base = metric.strip_suffix("_bucket").filter(|base| shown.contains_key(*base)).unwrap_or(metric);
    let family = shown.get(base).unwrap_or_else(|| panic!("{metric} is not shown, but {expression} asks for it"));
    let samples: Vec<_> = family.samples.iter().filter(|sample| sample.name == metric).collect();
    assert!(!samples.is_empty(), "{metric} has no samples, but {expression} asks for it");
    for label in labels.iter().filter(|label| !OF_PROMETHEUS.contains(&label.as_str())) {
        assert!(
            samples.iter().all(|sample| sample.labels.contains_key(label)),
            "{metric} has no label {label}, but {expression} asks for it"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_the_registry_is_shown_as_it_says() {
    let member = Member::start_with(|options| {
        options.extensive_metrics = true;
        options.features = vec![kontiki_server::Feature { name: "LeaseCheckpoint", stage: "ALPHA", on: false }];
    })
    .await;
    member.put("a", "1").await;
    for path in ["/readyz", "/livez", "/health"] {
        assert_eq!(member.get(path).await.status, 200);
    }
    let text = member.get("/metrics").await.body;
    let shown = parse(&text).unwrap_or_else(|problem| panic!("{problem}"));
    for row in metric_families() {
        let family = shown.get(row.name).unwrap_or_else(|| panic!("{} is not shown", row.name));
        assert_eq!(family.kind, row.kind.word(), "{}", row.name);
        let labels: BTreeSet<&str> = row.labels.iter().copied().collect();
        for sample in &family.samples {
            let found: BTreeSet<&str> =
                sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(found, labels, "{}", row.name);
        }
        if let MetricKind::Histogram(bounds) = row.kind {
            let of_first: Vec<f64> = family
                .samples
                .iter()
                .filter_map(|sample| sample.labels.get("le")?.parse().ok())
                .filter(|bound: &f64| bound.is_finite())
                .take(bounds.len())
                .collect();
            assert!(of_first.is_empty() || of_first == bounds, "{}: {of_first:?}", row.name);
        }
    }
    assert_eq!(shown.len(), metric_families().count());
    assert!(text.contains("etcd_debugging_mvcc_keys_total 1\n"));
    assert!(text.contains("etcd_server_feature_enabled{name=\"LeaseCheckpoint\",stage=\"ALPHA\"} 0\n"));
    assert!(text.contains("etcd_server_healthcheck{type=\"readyz\",name=\"non_learner\"} 1\n"));
    member.stop().await;
}

/// All expressions of both files.
fn expressions() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dashboards");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("grafana.json")).unwrap()).unwrap();
    let alerts: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(folder.join("alerts.yaml")).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let of_panels = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let of_alerts = alerts["groups"][0]["rules"].as_array().unwrap();
    let names: BTreeSet<&str> = of_alerts.iter().filter_map(|rule| rule["alert"].as_str()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("etcd")).count(), 13, "{names:?}");
    of_panels.chain(of_alerts).map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The metrics of an expression, each with the labels that it is chosen or summed by.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut summed_by = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '"' || c == '$' || c == '[') {
        let tail = &rest[start..];
        if let Some(skipped) = tail.strip_prefix(['"', '[']) {
            let close = if tail.starts_with('"') { '"' } else { ']' };
            rest = &skipped[skipped.find(close).unwrap() + 1..];
            continue;
        }
        let end = tail.find(|c: char| !is_word(c)).unwrap_or(tail.len()).max(1);
        let (word, behind) = tail.split_at(end);
        rest = behind;
        if word == "by" || word == "without" {
            let inside = behind.trim_start().strip_prefix('(').unwrap();
            let (labels, behind) = inside.split_once(')').unwrap();
            if word == "by" {
                summed_by.extend(labels.split(',').map(|label| label.trim().to_owned()));
            }
            rest = behind;
        } else if let Some(inside) = behind.strip_prefix('{') {
            let (matchers, behind) = inside.split_once('}').unwrap();
            let labels =
                matchers.split("\",").filter_map(|matcher| Some(matcher.trim().split_once(['=', '!'])?.0.to_owned()));
            found.push((word.to_owned(), labels.collect()));
            rest = behind;
        }
    }
    for (_, labels) in &mut found {
        labels.extend(summed_by.iter().cloned());
    }
    found
}
