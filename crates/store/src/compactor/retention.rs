//! The texts of `--auto-compaction-mode` and `--auto-compaction-retention`.

use std::time::Duration;

use super::AutoCompaction;

/// Why the texts say nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// The mode is neither of the two.
    #[error("--auto-compaction-mode is {0:?}: it must be periodic or revision")]
    Mode(String),
    /// The retention cannot be read.
    #[error(
        "--auto-compaction-retention is {0:?}: give a number (hours, or revisions with --auto-compaction-mode=revision), \
         or for periodic compaction a time such as 30m or 1h30m"
    )]
    Retention(String),
    /// History cannot be kept for less than no time.
    #[error("--auto-compaction-retention is {0:?}: it must not be negative")]
    Negative(String),
}

impl AutoCompaction {
    /// Reads both texts as etcd does: a bare number is hours, or revisions; zero is no compaction. Unlike etcd, a negative
    /// retention is refused, and so is a time where revisions are counted.
    ///
    /// # Errors
    /// Where they do not say what to keep.
    pub fn parse(mode: &str, retention: &str) -> Result<Option<AutoCompaction>, RetentionError> {
        let unreadable = || RetentionError::Retention(retention.to_owned());
        let periodic = match mode {
            "periodic" => true,
            "revision" => false,
            other => return Err(RetentionError::Mode(other.to_owned())),
        };
        if retention.starts_with('-') {
            return Err(RetentionError::Negative(retention.to_owned()));
        }
        let number = retention.strip_prefix('+').unwrap_or(retention).parse::<i64>().ok();
        Ok(match number {
            Some(0) => None,
            Some(revisions) if !periodic => Some(AutoCompaction::Revisions(revisions)),
            Some(hours) => {
                let seconds = u64::try_from(hours).ok().and_then(|hours| hours.checked_mul(3_600));
                let seconds = seconds.filter(|seconds| *seconds <= GO_SECONDS_MAX).ok_or_else(unreadable)?;
                Some(AutoCompaction::Periodic(Duration::from_secs(seconds)))
            }
            None if periodic => {
                let period = go_duration(retention).ok_or_else(unreadable)?;
                (!period.is_zero()).then_some(AutoCompaction::Periodic(period))
            }
            None => return Err(unreadable()),
        })
    }
}

/// The longest time that Go can say: 292 years.
const GO_SECONDS_MAX: u64 = 9_223_372_036;

/// A time as Go writes it: numbers, each with its unit.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0_f64;
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total += number * seconds;
        rest = next;
    }
    #[allow(clippy::cast_precision_loss, reason = "a bound")]
    let in_bounds = total <= GO_SECONDS_MAX as f64;
    in_bounds.then(|| Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_etcd_takes_is_taken() {
        let hours = |hours: u64| Some(AutoCompaction::Periodic(Duration::from_secs(hours * 3_600)));
        for (mode, retention, expected) in [
            ("periodic", "0", None),
            ("revision", "0", None),
            ("periodic", "0s", None),
            ("periodic", "1", hours(1)),
            ("periodic", "72h", hours(72)),
            ("periodic", "5m", Some(AutoCompaction::Periodic(Duration::from_secs(300)))),
            ("periodic", "1h30m0.5s", Some(AutoCompaction::Periodic(Duration::from_millis(5_400_500)))),
            ("revision", "1000", Some(AutoCompaction::Revisions(1_000))),
        ] {
            assert_eq!(AutoCompaction::parse(mode, retention).unwrap(), expected, "{mode} {retention}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        for (mode, retention) in [("periodic", "-1"), ("periodic", "-1h"), ("revision", "-5")] {
            let error = AutoCompaction::parse(mode, retention).unwrap_err();
            assert_eq!(error, RetentionError::Negative(retention.to_owned()));
            assert!(error.to_string().contains("must not be negative"));
        }
        for (mode, retention) in
            [("periodic", ""), ("periodic", "1d"), ("periodic", "h"), ("periodic", "9999999999h"), ("revision", "1h")]
        {
            let error = AutoCompaction::parse(mode, retention).unwrap_err();
            assert_eq!(error, RetentionError::Retention(retention.to_owned()), "{mode} {retention}");
        }
        assert_eq!(AutoCompaction::parse("hourly", "1").unwrap_err(), RetentionError::Mode("hourly".to_owned()));
    }
}
