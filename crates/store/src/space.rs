//! Which commands take space: those that a full disk, or a used-up quota, refuses.

use kontiki_kv::Command;

/// Whether a command makes the store larger. A transaction that only reads and deletes does not.
#[must_use]
pub fn takes_space(command: &Command) -> bool {
    matches!(command, Command::Put(_) | Command::Txn(_) | Command::LeaseGrant { .. }) && kontiki_kv::cost(command) > 0
}
