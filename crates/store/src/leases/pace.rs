//! How much is done about leases at a time, so that neither a mass expiry nor a new leader with a million leases holds up
//! anybody else. A turn of the clock comes with each tick of the engine, some ten milliseconds apart.

use std::time::Duration;

/// Revocations proposed in one turn: about six thousand a second.
pub const REVOKES_PER_TURN: usize = 64;
/// Revocations that were proposed and not applied yet. Where the cluster does not keep up, no more are proposed.
pub const REVOKES_IN_FLIGHT: usize = 512;
/// A revocation that was proposed and not seen after this long is proposed again.
pub const REVOKE_AGAIN: Duration = Duration::from_secs(5);
/// Leases looked at in one turn because something may be due.
pub const LOOKS_PER_TURN: usize = 4_096;
/// Leases that a new leader takes on its clock in one turn.
pub const ROWS_PER_TURN: usize = 2_000;
/// Leases in one entry that says how long they have left.
pub const SAID_PER_TURN: usize = 200;
/// A word that was to be taken back, and was not after this long, is taken back again when somebody asks.
pub const CLEAR_AGAIN: Duration = Duration::from_secs(1);
/// Renewals in one question to the leader.
pub const RENEWALS_PER_CALL: usize = 4_096;
