//! A disk that is full: what is still taken on, and when to look for space again.
//!
//! The log keeps a reserve. While it cannot be made, the member takes nothing that makes the store larger; with little of
//! the reserve left it takes no entries at all. It goes on voting, answering heartbeats and reading, for which the rest is
//! ample, and everything is taken again as soon as there is space: nobody has to tell it.

use std::time::Duration;

use kontiki_log::Space;

/// How often a full disk is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// What the log keeps for terms, votes and its own notes.
const LAST_BYTES: u64 = 1 << 20;

/// The space that the log has left.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Bytes left where the reserve could not be made.
    left: Option<u64>,
    tried: Duration,
}

impl Room {
    /// Takes over what the log says.
    pub fn observe(&mut self, space: Space) {
        let left = match space {
            Space::Ample => None,
            Space::Low { bytes_left } => Some(bytes_left),
        };
        match (self.left, left) {
            (None, Some(bytes_left)) => tracing::error!(
                bytes_left,
                "the log's disk is full: this member refuses whatever takes space until there is some; free space on the disk"
            ),
            (Some(_), None) => tracing::info!("the log's disk has space again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.left = left;
    }

    /// Whether the reserve may be tried to be made now.
    pub fn tries(&mut self, now: Duration) -> bool {
        if self.is_low() && now.saturating_sub(self.tried) < TRY_AGAIN {
            return false;
        }
        self.tried = now;
        true
    }

    /// Whether there is no reserve: nothing more should be taken on that takes space.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.left.is_some()
    }

    /// Takes room for entries of so many bytes, where there is enough besides what terms and votes need.
    pub fn take(&mut self, bytes: u64) -> bool {
        match &mut self.left {
            None => true,
            Some(left) if *left >= LAST_BYTES + bytes => {
                *left -= bytes;
                true
            }
            Some(_) => false,
        }
    }

    /// Whether what is left is needed for terms and votes: no entries can be taken.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.left.is_some_and(|left| left < LAST_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_tried_again_ten_times_a_second() {
        let (mut room, second) = (Room::default(), Duration::from_secs(1));
        assert!(room.tries(second) && room.tries(second), "while there is space every write may need a new reserve");
        room.observe(Space::Low { bytes_left: 2 * LAST_BYTES });
        assert!(room.is_low() && !room.is_exhausted());
        assert!(!room.tries(second));
        assert!(room.tries(second + TRY_AGAIN));
        assert!(!room.tries(second + TRY_AGAIN));
        room.observe(Space::Low { bytes_left: LAST_BYTES - 1 });
        assert!(room.is_exhausted());
        room.observe(Space::Ample);
        assert!(!room.is_low() && !room.is_exhausted());
    }
}
