//! The count and the digest by which two clusters are compared: over key, value and lease, in the order of keys.

use kontiki_api::kv::KeyValue;
use sha2::{Digest, Sha256};

use super::pages::Pages;
use crate::ctl::client::Context;
use crate::ctl::failure::Failure;

/// A sum under construction.
#[derive(Default)]
pub struct Summing {
    keys: u64,
    digest: Sha256,
}

/// What two clusters have in common when their keys, values and leases are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    pub keys: u64,
    pub digest: String,
}

impl Summing {
    /// Adds the next key.
    pub fn add(&mut self, pair: &KeyValue) {
        self.keys += 1;
        for part in [&pair.key, &pair.value] {
            // Lengths, so that no key and value can be read as another key and value.
            self.digest.update((part.len() as u64).to_be_bytes());
            self.digest.update(part);
        }
        self.digest.update(pair.lease.to_be_bytes());
    }

    /// The sum.
    pub fn finish(self) -> Sum {
        let digest = self.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Sum { keys: self.keys, digest }
    }
}

/// The sum of a cluster at a revision; 0: the present one.
pub async fn of_cluster(context: &Context, revision: i64) -> Result<Sum, Failure> {
    let mut pages = Pages::new(context, revision);
    let mut summing = Summing::default();
    while let Some(page) = pages.next().await? {
        page.iter().for_each(|pair| summing.add(pair));
    }
    Ok(summing.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pairs: &[(&'static str, &'static str, i64)]) -> Sum {
        let mut summing = Summing::default();
        for (key, value, lease) in pairs {
            let pair = KeyValue { key: (*key).into(), value: (*value).into(), lease: *lease, ..Default::default() };
            summing.add(&pair);
        }
        summing.finish()
    }

    #[test]
    fn what_differs_has_another_sum() {
        let one = sum(&[("a", "bc", 0)]);
        assert_eq!(one, sum(&[("a", "bc", 0)]));
        for other in [sum(&[("ab", "c", 0)]), sum(&[("a", "bc", 1)]), sum(&[]), sum(&[("a", "bc", 0), ("d", "", 0)])] {
            assert_ne!(one.digest, other.digest);
        }
    }
}
