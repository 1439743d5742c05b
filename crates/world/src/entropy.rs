//! Chance: from the operating system at birth, from a seed afterwards.

use std::sync::{Mutex, PoisonError};

/// 64 bits of the operating system's entropy.
///
/// # Panics
/// Where the operating system has none: nothing can be done without identities.
#[must_use]
pub fn entropy() -> u64 {
    let mut bytes = [0u8; 8];
    assert!(getrandom::fill(&mut bytes).is_ok(), "the operating system gives no entropy");
    u64::from_le_bytes(bytes)
}

/// A source of identities: 64 bits that nobody else draws.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// The next 64 bits.
    fn draw(&self) -> u64;
}

/// The operating system's entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealEntropy;

impl Entropy for RealEntropy {
    fn draw(&self) -> u64 {
        entropy()
    }
}

/// Chance that follows from a seed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Random>);

impl SeededEntropy {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> SeededEntropy {
        SeededEntropy(Mutex::new(Random::new(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn draw(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// A small generator (SplitMix64 by Steele, Lea and Flood) whose sequence for a seed is part of our contract: seeds stand in bug reports.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero where `bound` is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// True once in `n` on average; never where `n` is zero.
    pub const fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }
}
