//! The audit log: what was refused, and what was done with the role root. Users and methods by name; of keys only a digest,
//! by which two lines about the same range are found; of passwords and tokens nothing.

use std::fmt::Write;

use kontiki_kv::{KeyRange, Need};
use sha2::{Digest, Sha256};

use crate::methods::{METHODS, Method};

/// Bytes of a digest that are shown.
const DIGEST_BYTES: usize = 8;

/// A call was refused.
pub(super) fn refused(method: Method, user: &str, needs: &[Need], outcome: &str) {
    let method = METHODS[method as usize].path;
    tracing::warn!(target: "audit", user, method, ranges = digest(needs), outcome, "audit: refused");
}

/// A call that needs the role root is let in.
pub(super) fn carried_out(method: Method, user: &str) {
    let method = METHODS[method as usize].path;
    tracing::info!(target: "audit", user, method, outcome = "let in", "audit: administration");
}

fn digest(needs: &[Need]) -> String {
    let mut sum = Sha256::new();
    for need in needs {
        if let Need::Keys(_, KeyRange { key, range_end }) = need {
            for part in [key, range_end] {
                sum.update((part.len() as u64).to_le_bytes());
                sum.update(part);
            }
        }
    }
    sum.finalize()[..DIGEST_BYTES].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes whatever is written");
        text
    })
}
