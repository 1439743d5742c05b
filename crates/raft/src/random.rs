//! Chance from a seed: the same seed draws the same election timeouts, so that every run can be told again.

/// A SplitMix64 generator: eight bytes of state, good enough to keep timers apart, useless for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator for one life of one replica. The identity is mixed in, so that replicas that were given the same
    /// seed still time out apart.
    pub(crate) fn new(seed: u64, identity: u64) -> Random {
        Random(seed ^ identity.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    /// A number in `0..bound`; zero where `bound` is zero.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // The high half times the bound, shifted down: no division, and a bias far below what a timer could show.
        let scaled = u64::from(bound).wrapping_mul(self.draw() >> 32) >> 32;
        u32::try_from(scaled).expect("a 32-bit fraction of a 32-bit bound")
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_the_bound_and_reach_every_value() {
        let mut random = Random::new(7, 1);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[random.below(5) as usize] = true;
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
    }

    #[test]
    fn one_seed_differs_between_replicas() {
        let (mut one, mut two) = (Random::new(7, 1), Random::new(7, 2));
        let same = (0..64).filter(|_| one.below(1000) == two.below(1000)).count();
        assert!(same < 8, "two replicas draw alike: {same} of 64");
    }
}
