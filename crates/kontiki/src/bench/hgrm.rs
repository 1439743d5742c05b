//! The distribution of latencies as a file that HdrHistogram's plotters read.

use std::io::{self, Write};

use super::tally::Latencies;

/// Steps for each halving of the distance to 100 %, as HdrHistogram's own tools have.
const STEPS: u32 = 5;

/// Writes it, in milliseconds.
pub fn write(latencies: &Latencies, mut to: impl Write) -> io::Result<()> {
    writeln!(to, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut count = 0;
    for step in latencies.iter_quantiles(STEPS) {
        count += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e6, step.quantile_iterated_to());
        write!(to, "{value:>12.3} {quantile:>14.12} {count:>10}")?;
        match quantile < 1.0 {
            true => writeln!(to, " {:>14.2}", 1.0 / (1.0 - quantile))?,
            false => writeln!(to)?,
        }
    }
    let (mean, deviation) = (latencies.mean() / 1e6, latencies.stdev() / 1e6);
    writeln!(to, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    let (max, total) = (latencies.max() as f64 / 1e6, latencies.len());
    writeln!(to, "#[Max     = {max:>12.3}, Total count    = {total:>12}]")?;
    to.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::tally::latencies;

    #[test]
    fn the_last_row_has_everything() {
        let mut histogram = latencies();
        (1..=1000).for_each(|milliseconds| histogram.saturating_record(milliseconds * 1_000_000));
        let mut file = Vec::new();
        write(&histogram, &mut file).unwrap();
        let text = String::from_utf8(file).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
        let last = rows.iter().rev().find(|row| row.len() == 3).unwrap();
        assert_eq!(last[1..], ["1.000000000000", "1000"]);
        let median = rows.iter().find(|row| row.get(1) == Some(&"0.500000000000")).unwrap();
        assert!(median[0].starts_with("500.") && median[3] == "2.00", "{median:?}");
        assert!(text.ends_with("Total count    =         1000]\n"));
    }
}
