//! Members that have applied the same entries are in the same state: the digest of what was applied tells it for every
//! entry, etcd's checksum of the keys for every revision.

use std::collections::BTreeMap;
use std::time::Duration;

use kontiki_kv::HashKv;
use kontiki_raft::{Index, NodeId};

use crate::observation::Violation;

const PROPERTY: &str = "equal states";

/// A member's state at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Whose.
    pub member: NodeId,
    /// When it was looked at.
    pub at: Duration,
    /// The last entry applied.
    pub applied: Index,
    /// Over everything up to there.
    pub digest: u64,
    /// The checksum of its keys, where it was made.
    pub hash: Option<HashKv>,
}

/// Checks it, over members and over time.
///
/// # Errors
/// Where two states differ that must not.
pub fn check(states: &[MemberState]) -> Result<(), Violation> {
    let mut digests: BTreeMap<Index, &MemberState> = BTreeMap::new();
    let mut hashes: BTreeMap<(i64, i64), &MemberState> = BTreeMap::new();
    for state in states {
        let other = digests.entry(state.applied).or_insert(state);
        if other.digest != state.digest {
            return Err(differ("entry", state, other));
        }
        let Some(hash) = state.hash else { continue };
        let other = hashes.entry((hash.hash_revision, hash.compact_revision)).or_insert(state);
        if other.hash != state.hash {
            return Err(differ("revision", state, other));
        }
    }
    Ok(())
}

fn differ(place: &str, one: &MemberState, other: &MemberState) -> Violation {
    let what = format!("two states at the same {place} differ: {one:?} and {other:?}");
    Violation { property: PROPERTY, at: one.at, what }
}
