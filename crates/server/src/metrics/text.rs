//! Prometheus' text format: families of samples.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use super::registry::{MetricFamily, MetricKind, family, metric_families};

/// A text in the making.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
    written: BTreeSet<&'static str>,
}

impl Text {
    /// What was written, and every family that was not: those without labels at zero, the others without samples.
    pub(crate) fn finish(mut self) -> String {
        for family in metric_families().filter(|family| !self.written.contains(family.name)).collect::<Vec<_>>() {
            self.head(family);
            match family.kind {
                _ if !family.labels.is_empty() => {}
                MetricKind::Counter | MetricKind::Gauge => self.sample(family.name, &[], 0),
                MetricKind::Histogram(bounds) => {
                    self.histogram(family.name, &[], bounds, &vec![0; bounds.len() + 1], 0.0);
                }
            }
        }
        self.out
    }

    /// A family that is not there, rather than at zero.
    pub(crate) fn leave_out(&mut self, name: &'static str) {
        self.written.insert(name);
    }

    /// Begins a family.
    pub(crate) fn family(&mut self, name: &str) {
        self.head(family(name));
    }

    fn head(&mut self, family: &'static MetricFamily) {
        let MetricFamily { name, help, .. } = family;
        self.written.insert(name);
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {}", family.kind.word()));
    }

    /// Adds a sample to the family.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(name);
        if !labels.is_empty() {
            self.out.push('{');
            for (number, (label, value)) in labels.iter().enumerate() {
                if number > 0 {
                    self.out.push(',');
                }
                self.out.push_str(label);
                self.out.push_str("=\"");
                self.escaped(value);
                self.out.push('"');
            }
            self.out.push('}');
        }
        self.line(format_args!(" {value}"));
    }

    /// A family of one number.
    pub(crate) fn value(&mut self, name: &str, value: impl Display) {
        self.family(name);
        self.sample(name, &[], value);
    }

    /// A histogram of the family: `counts` has one more entry than `bounds`, for what lies beyond.
    pub(crate) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], bounds: &[f64], counts: &[u64], sum: f64) {
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (number, count) in counts.iter().enumerate() {
            total += count;
            let bound = bounds.get(number).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample(&bucket, &labels, total);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total);
    }

    fn line(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.out.write_fmt(arguments).expect("writing to a string does not fail");
        self.out.push('\n');
    }

    fn escaped(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                other => self.out.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_look_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.value("etcd_mvcc_put_total", 3);
        text.family("etcd_network_peer_round_trip_time_seconds");
        text.histogram("b_seconds", &[("To", "x\"y")], &[0.5, 1.0], &[2, 0, 1], 4.25);
        let whole = text.finish();
        let begun = "# HELP etcd_mvcc_put_total Total number of puts seen by this member.\n\
             # TYPE etcd_mvcc_put_total counter\netcd_mvcc_put_total 3\n\
             # HELP etcd_network_peer_round_trip_time_seconds Round-Trip-Time histogram between peers.\n\
             # TYPE etcd_network_peer_round_trip_time_seconds histogram\n\
             b_seconds_bucket{To=\"x\\\"y\",le=\"0.5\"} 2\n\
             b_seconds_bucket{To=\"x\\\"y\",le=\"1\"} 2\n\
             b_seconds_bucket{To=\"x\\\"y\",le=\"+Inf\"} 3\n\
             b_seconds_sum{To=\"x\\\"y\"} 4.25\nb_seconds_count{To=\"x\\\"y\"} 3\n";
        assert!(whole.starts_with(begun), "{whole}");
        assert_eq!(whole.matches("# TYPE etcd_mvcc_put_total ").count(), 1);
        assert!(whole.contains("\netcd_mvcc_delete_total 0\n"), "what nobody fills stands at zero");
        assert!(whole.contains("\netcd_disk_backend_defrag_duration_seconds_bucket{le=\"409.6\"} 0\n"));
    }
}
