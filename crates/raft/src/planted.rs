//! Planted bugs: known faults of other systems, each put in on purpose to see that the tests find it.
//!
//! A test that never fails tells little. So each bug in the list of `docs/planted-bugs.md` has a number and a place in the
//! code where the rule stands that keeps it out; `planted(13)` there breaks that rule alone. One bug at a time is planted,
//! by the environment (`KONTIKI_PLANTED=13`) or by `plant`, and only on the thread that asks: simulations of several
//! bugs may run side by side.
//!
//! Without the cargo feature `planted`, which nothing but a test turns on, `planted` is the constant `false`, and nothing of
//! all this is left in the program. With it, only builds with debug assertions compile.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("planted bugs are for test builds only: the feature `planted` needs debug assertions");

use crate::node::Node;
use crate::transfer::Transfer;

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

/// Bug 12 needs what the sound core has no place for: a transfer beside the leadership that it belongs to.
impl Node {
    #[cfg(feature = "planted")]
    pub(crate) fn leave_transfer(&mut self, transfer: Option<Transfer>) {
        if planted(12) && transfer.is_some() {
            self.aside.left_transfer = transfer.map(|transfer| Transfer { ticks_left: u32::MAX, ..transfer });
        }
    }

    #[cfg(feature = "planted")]
    pub(crate) fn left_transfer(&mut self) -> Option<Transfer> {
        if planted(12) { self.aside.left_transfer.take() } else { None }
    }

    #[cfg(not(feature = "planted"))]
    pub(crate) fn leave_transfer(&mut self, _transfer: Option<Transfer>) {}

    #[cfg(not(feature = "planted"))]
    pub(crate) fn left_transfer(&mut self) -> Option<Transfer> {
        None
    }
}
