//! When the operations of an open loop are due: at fixed distances, or as independent users would come (Poisson).

use std::time::Duration;

use clap::ValueEnum;
use kontiki_world::Random;
use serde::Serialize;

/// How operations are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Spacing {
    /// At equal distances
    Fixed,
    /// At random distances, as independent users come
    Poisson,
}

/// The times at which operations are due, counted from the start of the load. Never ends.
#[derive(Clone, Debug)]
pub struct Arrivals {
    rate: f64,
    spacing: Spacing,
    random: Random,
    given: u64,
    seconds: f64,
}

impl Arrivals {
    /// So many per second, which is above zero. A seed gives the same times again.
    pub fn new(rate: f64, spacing: Spacing, seed: u64) -> Arrivals {
        Arrivals { rate, spacing, random: Random::new(seed), given: 0, seconds: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.seconds = match self.spacing {
            // From the number and not from the one before: distances that are rounded would add up.
            Spacing::Fixed => self.given as f64 / self.rate,
            Spacing::Poisson => self.seconds + exponential(&mut self.random) / self.rate,
        };
        self.given += 1;
        Some(Duration::from_secs_f64(self.seconds))
    }
}

/// A number of the exponential distribution with mean 1.
fn exponential(random: &mut Random) -> f64 {
    let above_zero = ((random.next_u64() >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
    -above_zero.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_times_do_not_drift() {
        let mut arrivals = Arrivals::new(3.0, Spacing::Fixed, 1);
        assert_eq!(arrivals.next(), Some(Duration::ZERO));
        let last = arrivals.take(3_000_000).last();
        assert_eq!(last, Some(Duration::from_secs(1_000_000)));
    }

    #[test]
    fn random_times_have_the_rate_and_the_spread_of_independent_users() {
        let times: Vec<f64> =
            Arrivals::new(1000.0, Spacing::Poisson, 7).take(100_000).map(|due| due.as_secs_f64()).collect();
        let distances: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(distances.iter().all(|distance| *distance >= 0.0));
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        let variance = distances.iter().map(|distance| (distance - mean).powi(2)).sum::<f64>() / distances.len() as f64;
        assert!((mean * 1000.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "mean and deviation of the exponential are the same");
        let again: Vec<f64> =
            Arrivals::new(1000.0, Spacing::Poisson, 7).take(10).map(|due| due.as_secs_f64()).collect();
        assert_eq!(again, times[..10], "a seed gives the same times again");
    }
}
