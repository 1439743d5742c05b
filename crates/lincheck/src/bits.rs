//! A set of small numbers.
//!
//! A configuration of the search holds two of them. Most are empty or fit one word, so words are added as they are needed,
//! and words that became zero at the end are dropped: equal sets are equal vectors.

/// A set of small numbers, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn contains(&self, number: u32) -> bool {
        let (word, mask) = place(number);
        self.0.get(word).is_some_and(|bits| bits & mask != 0)
    }

    pub(crate) fn insert(&mut self, number: u32) {
        let (word, mask) = place(number);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= mask;
    }

    /// Takes a number out; whether it was in.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        if !self.contains(number) {
            return false;
        }
        let (word, mask) = place(number);
        self.0[word] &= !mask;
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        true
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// How much memory it takes.
    pub(crate) fn words(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_subset(&self, of: &Bits) -> bool {
        self.0.len() <= of.0.len() && self.0.iter().zip(&of.0).all(|(mine, theirs)| mine & !theirs == 0)
    }
}

fn place(number: u32) -> (usize, u64) {
    ((number / 64) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_equal_whatever_was_in_them_before() {
        let mut bits = Bits::default();
        bits.insert(3);
        let small = bits.clone();
        bits.insert(200);
        assert!(bits.contains(200) && bits.contains(3) && !bits.contains(64));
        assert_eq!(bits.count(), 2);
        assert!(small.is_subset(&bits) && !bits.is_subset(&small));
        assert!(bits.remove(200) && !bits.remove(200));
        assert_eq!(bits, small);
    }
}
