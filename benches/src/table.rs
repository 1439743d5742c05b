//! Medians, spreads and ratios, as a table.

use crate::measure::Cost;

/// One line: a contestant under a load, measured several times.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub contestant: &'static str,
    /// Under what: equal in the rows that are to be compared.
    pub load: String,
    /// What each round cost.
    pub rounds: Vec<Cost>,
}

/// Prints rows in the order given, each beside `reference`'s row of the same load.
pub fn print(rows: &[Row], reference: &str, allocations: bool) {
    let unit = if allocations { "allocations" } else { "cpu us" };
    println!(
        "{:<14} {:>28} {:>12} {unit:>12} {:>8} {:>10} {:>12}",
        "contestant",
        "load",
        "commits",
        "spread",
        "wall us",
        format!("of {reference}"),
    );
    for row in rows {
        let value = |cost: &Cost| if allocations { cost.allocations } else { cost.cpu_us };
        let median = median(&row.rounds, value);
        let (least, most) = row
            .rounds
            .iter()
            .map(value)
            .fold((f64::MAX, 0.0), |(least, most): (f64, f64), value| (least.min(value), most.max(value)));
        let peer = rows.iter().find(|other| other.contestant == reference && other.load == row.load);
        let ratio = peer.map(|peer| median / self::median(&peer.rounds, value));
        println!(
            "{:<14} {:>28} {:>12} {:>12.4} {:>7.0}% {:>10.4} {:>12}",
            row.contestant,
            row.load,
            row.rounds.iter().map(|cost| cost.commits).sum::<u64>(),
            median,
            if median > 0.0 { (most - least) / median * 100.0 } else { 0.0 },
            self::median(&row.rounds, |cost| cost.wall_us),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        );
    }
}

fn median(rounds: &[Cost], value: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}
