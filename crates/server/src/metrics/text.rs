//! Prometheus' text format: families of samples.

use std::fmt::{Display, Write};

/// A text in the making.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
}

impl Text {
    /// What was written.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// Begins a family.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
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

    /// A family of one counter.
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A family of one gauge.
    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
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
        text.counter("a_total", "Counts.", 3);
        text.family("b_seconds", "histogram", "Takes time.");
        text.histogram("b_seconds", &[("To", "x\"y")], &[0.5, 1.0], &[2, 0, 1], 4.25);
        assert_eq!(
            text.finish(),
            "# HELP a_total Counts.\n# TYPE a_total counter\na_total 3\n\
             # HELP b_seconds Takes time.\n# TYPE b_seconds histogram\n\
             b_seconds_bucket{To=\"x\\\"y\",le=\"0.5\"} 2\n\
             b_seconds_bucket{To=\"x\\\"y\",le=\"1\"} 2\n\
             b_seconds_bucket{To=\"x\\\"y\",le=\"+Inf\"} 3\n\
             b_seconds_sum{To=\"x\\\"y\"} 4.25\nb_seconds_count{To=\"x\\\"y\"} 3\n"
        );
    }
}
