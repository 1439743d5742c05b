//! All metrics: name, type, labels, meaning. The text of `/metrics` is written from this table, and `docs/compatibility.md`,
//! too. A family that nobody fills stands at zero, so that dashboards and alerts find it, and its note says why.

mod debugging;
mod server;
mod storage;

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricKind {
    /// A number that only grows, since the start.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Numbers counted by upper bounds.
    Histogram(&'static [f64]),
}

/// A family of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricFamily {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// What it counts, for the line `HELP`.
    pub help: &'static str,
    /// The labels of its samples.
    pub labels: &'static [&'static str],
    /// How it differs from etcd's of the same name; empty where it does not.
    pub note: &'static str,
}

/// Every family, in the order of the text.
pub fn metric_families() -> impl Iterator<Item = &'static MetricFamily> {
    FAMILIES.iter().flat_map(|families| families.iter())
}

/// The row of a name.
pub(crate) fn family(name: &str) -> &'static MetricFamily {
    metric_families().find(|family| family.name == name).expect("every metric that is written has a row")
}

impl MetricKind {
    /// As in the line `TYPE`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        }
    }
}

/// Bounds that double, `COUNT` of them; as a static, because rows refer to them.
macro_rules! doubling {
    ($($name:ident = $first:literal, $count:literal;)*) => {
        $(static $name: [f64; $count] = doubled($first);)*
    };
}

const fn doubled<const COUNT: usize>(first: f64) -> [f64; COUNT] {
    let mut bounds = [first; COUNT];
    let mut number = 1;
    while number < COUNT {
        bounds[number] = bounds[number - 1] * 2.0;
        number += 1;
    }
    bounds
}

doubling! {
    FROM_0_0001_BY_16 = 0.0001, 16;
    FROM_0_0001_BY_20 = 0.0001, 20;
    FROM_0_001_BY_14 = 0.001, 14;
    FROM_0_01_BY_15 = 0.01, 15;
    FROM_0_01_BY_17 = 0.01, 17;
    FROM_0_1_BY_10 = 0.1, 10;
    FROM_0_1_BY_13 = 0.1, 13;
    FROM_0_5_BY_14 = 0.5, 14;
    FROM_100_BY_14 = 100.0, 14;
    FROM_1_BY_13 = 1.0, 13;
    FROM_1_BY_24 = 1.0, 24;
}

/// A family that means what it means in etcd.
const fn same(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricFamily {
    MetricFamily { name, kind, help, labels, note: "" }
}

/// A family that differs.
const fn noted(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
    note: &'static str,
) -> MetricFamily {
    MetricFamily { name, kind, help, labels, note }
}

static FAMILIES: &[&[MetricFamily]] = &[
    server::SERVER,
    storage::DISK,
    storage::MVCC,
    storage::NETWORK,
    debugging::DEBUGGING,
    server::GRPC,
    server::PROCESS,
    server::OURS,
];
