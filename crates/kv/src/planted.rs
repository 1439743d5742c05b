//! Planted bugs: the switch of `kontiki_raft::planted` once more, for this crate knows no other of ours.
//!
//! Without the cargo feature `planted`, which nothing but a test turns on, `planted` is the constant `false`, and nothing of
//! all this is left in the program. With it, only builds with debug assertions compile.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are for test builds only: the feature `planted` needs debug assertions");

/// Whether this bug is planted: never, in this build.
#[cfg(not(feature = "planted"))]
#[must_use]
#[inline]
pub const fn planted(_bug: u8) -> bool {
    false
}

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;

    thread_local! {
        /// Zero for none.
        static PLANTED: Cell<u8> = Cell::new(from_environment());
    }

    fn from_environment() -> u8 {
        std::env::var("KONTIKI_PLANTED").map_or(0, |number| number.parse().expect("KONTIKI_PLANTED is a bug's number"))
    }

    /// Whether this bug is planted on this thread.
    #[must_use]
    pub fn planted(bug: u8) -> bool {
        PLANTED.get() == bug
    }

    /// Plants this bug on this thread, in place of any other; zero plants none.
    pub fn plant(bug: u8) {
        PLANTED.set(bug);
    }
}

#[cfg(feature = "planted")]
pub use switch::{plant, planted};
