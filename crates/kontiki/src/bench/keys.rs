//! The keys of a run: their names, and which one an operation takes.

use bytes::Bytes;

/// Keys of one length, numbered under a prefix.
#[derive(Clone, Debug)]
pub struct KeySpace {
    /// Every key begins with it.
    pub prefix: String,
    /// Bytes of a key.
    pub size: usize,
    /// How many there are, at least one.
    pub count: u64,
    /// Whether they are taken in their order.
    pub sequential: bool,
    /// What the random order depends on.
    pub seed: u64,
}

impl KeySpace {
    /// The shortest keys that tell so many apart.
    pub fn size_min(prefix: &str, count: u64) -> usize {
        prefix.len() + count.saturating_sub(1).to_string().len()
    }

    /// The key with a number.
    pub fn key(&self, number: u64) -> Bytes {
        let digits = self.size - self.prefix.len();
        format!("{}{number:0digits$}", self.prefix).into()
    }

    /// The key that an operation takes.
    pub fn of_turn(&self, number: u64) -> Bytes {
        self.key(self.chosen(number))
    }

    fn chosen(&self, number: u64) -> u64 {
        let place = if self.sequential { number } else { scramble(self.seed.wrapping_add(number)) };
        place % self.count
    }

    /// Whether one of the operations of a mix reads, where so many of a hundred do.
    pub fn reads(&self, number: u64, percent: u8) -> bool {
        scramble(!self.seed ^ number) % 100 < u64::from(percent)
    }

    /// The first key and what follows the last one. Names that differ in form, under the same prefix, are not between.
    pub fn bounds(&self) -> (Bytes, Bytes) {
        let mut behind = self.key(self.count - 1).to_vec();
        behind.push(0);
        (self.key(0), behind.into())
    }
}

/// Different numbers for different numbers, spread over all of them.
fn scramble(number: u64) -> u64 {
    kontiki_world::Random::new(number).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(sequential: bool) -> KeySpace {
        KeySpace { prefix: "bench/".into(), size: 10, count: 1000, sequential, seed: 5 }
    }

    #[test]
    fn names_have_one_length_and_sort_as_their_numbers() {
        let keys = space(true);
        assert_eq!(keys.key(7), "bench/0007");
        assert_eq!(keys.of_turn(1003), "bench/0003");
        assert_eq!(keys.bounds(), ("bench/0000".into(), "bench/0999\0".into()));
        assert_eq!(KeySpace::size_min("bench/", 1000), 9);
        assert_eq!(KeySpace::size_min("", 1), 1);
    }

    #[test]
    fn the_random_order_reaches_all_keys_and_a_seed_gives_it_again() {
        let keys = space(false);
        let chosen: std::collections::BTreeSet<u64> = (0..20_000).map(|number| keys.chosen(number)).collect();
        assert_eq!(chosen.len(), 1000);
        assert_eq!(keys.chosen(3), space(false).chosen(3));
        assert_ne!(keys.chosen(3), KeySpace { seed: 6, ..keys.clone() }.chosen(3));
        let reads = (0..10_000).filter(|number| keys.reads(*number, 80)).count();
        assert!((7_800..8_200).contains(&reads), "{reads}");
        assert!((0..1000).all(|number| keys.reads(number, 100) && !keys.reads(number, 0)));
    }
}
