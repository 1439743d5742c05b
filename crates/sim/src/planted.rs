//! The bugs that can be planted, and where the simulator meets each soonest.
//!
//! What each bug is, and what else finds it, is in `docs/planted-bugs.md`.

/// A bug that the simulator is asked to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Its number.
    pub number: u8,
    /// The profile whose seeds meet it soonest.
    pub profile: &'static str,
    /// Of the properties that are judged from what clients saw, those that it breaks.
    pub breaks: &'static [&'static str],
}

/// Properties that are judged from what clients saw: each can be broken in many ways.
const SEEN_BY_CLIENTS: [&str; 2] = ["leases", "liveness"];

impl Planted {
    /// Whether a property that does not hold may be this bug's doing.
    #[must_use]
    pub fn may_break(&self, property: &str) -> bool {
        !SEEN_BY_CLIENTS.contains(&property) || self.breaks.contains(&property)
    }
}

/// All bugs that have a place in this code, by their numbers.
pub const PLANTED: &[Planted] = &[
    Planted { number: 1, profile: "default", breaks: &[] },
    Planted { number: 2, profile: "default", breaks: &[] },
    Planted { number: 3, profile: "network", breaks: &[] },
    Planted { number: 4, profile: "default", breaks: &[] },
    Planted { number: 5, profile: "network", breaks: &[] },
    Planted { number: 6, profile: "default", breaks: &[] },
    Planted { number: 7, profile: "network", breaks: &[] },
    Planted { number: 8, profile: "default", breaks: &[] },
    Planted { number: 9, profile: "membership", breaks: &[] },
    Planted { number: 10, profile: "default", breaks: &["liveness"] },
    Planted { number: 11, profile: "network", breaks: &["liveness"] },
    Planted { number: 12, profile: "leaders", breaks: &["liveness"] },
    Planted { number: 13, profile: "network", breaks: &[] },
    Planted { number: 14, profile: "network", breaks: &[] },
    Planted { number: 15, profile: "default", breaks: &[] },
    Planted { number: 16, profile: "network", breaks: &[] },
    Planted { number: 17, profile: "network", breaks: &[] },
    Planted { number: 18, profile: "leaders", breaks: &[] },
    Planted { number: 19, profile: "membership", breaks: &[] },
    Planted { number: 20, profile: "network", breaks: &[] },
    Planted { number: 21, profile: "default", breaks: &[] },
    Planted { number: 22, profile: "crashes", breaks: &[] },
    Planted { number: 23, profile: "default", breaks: &[] },
    Planted { number: 24, profile: "leaders", breaks: &[] },
    Planted { number: 25, profile: "crashes", breaks: &[] },
    Planted { number: 26, profile: "leaders", breaks: &[] },
    Planted { number: 27, profile: "membership", breaks: &[] },
    Planted { number: 28, profile: "default", breaks: &["liveness"] },
    Planted { number: 29, profile: "membership", breaks: &[] },
    Planted { number: 30, profile: "disk", breaks: &[] },
    Planted { number: 31, profile: "default", breaks: &["liveness"] },
    Planted { number: 32, profile: "default", breaks: &[] },
    Planted { number: 33, profile: "default", breaks: &["leases"] },
    Planted { number: 34, profile: "membership", breaks: &[] },
    Planted { number: 35, profile: "membership", breaks: &["liveness"] },
    Planted { number: 36, profile: "membership", breaks: &["liveness"] },
    Planted { number: 37, profile: "membership", breaks: &[] },
    Planted { number: 38, profile: "membership", breaks: &[] },
    Planted { number: 39, profile: "default", breaks: &[] },
    Planted { number: 40, profile: "network", breaks: &["liveness"] },
    Planted { number: 41, profile: "network", breaks: &[] },
    Planted { number: 42, profile: "leaders", breaks: &[] },
    Planted { number: 43, profile: "network", breaks: &[] },
    Planted { number: 44, profile: "default", breaks: &["leases"] },
    Planted { number: 45, profile: "network", breaks: &["leases"] },
    Planted { number: 46, profile: "disk", breaks: &[] },
    Planted { number: 47, profile: "default", breaks: &[] },
    Planted { number: 48, profile: "disk", breaks: &[] },
    Planted { number: 49, profile: "default", breaks: &["liveness"] },
    Planted { number: 50, profile: "disk", breaks: &[] },
    Planted { number: 51, profile: "disk", breaks: &[] },
    Planted { number: 52, profile: "disk", breaks: &[] },
    Planted { number: 53, profile: "crashes", breaks: &[] },
    Planted { number: 54, profile: "crashes", breaks: &[] },
    Planted { number: 55, profile: "default", breaks: &[] },
    Planted { number: 56, profile: "default", breaks: &[] },
    Planted { number: 57, profile: "default", breaks: &[] },
    Planted { number: 58, profile: "default", breaks: &[] },
    Planted { number: 59, profile: "crashes", breaks: &[] },
];
