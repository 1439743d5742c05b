//! The version that the cluster is of as a whole, and permission to go back to the one before.
//!
//! Both are recorded in the log and told to clients in etcd's words. Nothing in the data depends on the version so far, so a
//! downgrade changes nothing but what members say of themselves.

use kontiki_kv::{Command, FeatureLevel};

use crate::error::StoreError;
use crate::store::Store;

/// The version of etcd's features that this program has.
pub const FEATURE_LEVEL: FeatureLevel = FeatureLevel { major: 3, minor: 7 };

/// What is wanted of a downgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DowngradeAction {
    /// Would it be allowed to this version?
    Validate(String),
    /// Allow it.
    Enable(String),
    /// Allow it no more.
    Cancel,
}

impl Store {
    /// The version that the cluster is of: what all members know, or what a downgrade is allowed to. None before the
    /// first member has said what it knows.
    #[must_use]
    pub fn cluster_version(&self) -> Option<FeatureLevel> {
        let reader = self.reader();
        reader.downgrade_target().ok().flatten().or_else(|| reader.cluster_version().ok().flatten())
    }

    /// The version that a downgrade is allowed to.
    #[must_use]
    pub fn downgrade_target(&self) -> Option<FeatureLevel> {
        self.reader().downgrade_target().ok().flatten()
    }

    /// Looks at, allows, or ends the allowance of a downgrade. Gives the version of the cluster from before.
    ///
    /// # Errors
    /// In etcd's words where the version is malformed, not the one right before the cluster's, or a downgrade is under way;
    /// where nobody leads.
    pub async fn downgrade(&self, action: DowngradeAction) -> Result<FeatureLevel, StoreError> {
        match action {
            DowngradeAction::Validate(version) => Ok(self.check_downgrade(&version).await?.0),
            DowngradeAction::Enable(version) => {
                let (cluster, target) = self.check_downgrade(&version).await?;
                self.propose(Command::Downgrade(Some(target))).await?;
                tracing::info!(%cluster, %target, "a downgrade is allowed");
                Ok(cluster)
            }
            DowngradeAction::Cancel => {
                self.read_barrier().await?;
                let cluster = self.reader().cluster_version()?.ok_or(StoreError::ClusterVersionUnavailable)?;
                self.propose(Command::Downgrade(None)).await?;
                tracing::info!(%cluster, "no downgrade is allowed any more");
                Ok(cluster)
            }
        }
    }

    /// The cluster's version, and the one that a text means, where that is the one right before.
    async fn check_downgrade(&self, version: &str) -> Result<(FeatureLevel, FeatureLevel), StoreError> {
        let target = level_of(version).ok_or(StoreError::WrongDowngradeVersionFormat)?;
        self.read_barrier().await?;
        let reader = self.reader();
        let cluster = reader.cluster_version()?.ok_or(StoreError::ClusterVersionUnavailable)?;
        let enabled = reader.downgrade_target()?;
        // What is allowed is one below what the cluster is now: of one that is on its way down, one below that.
        let now = enabled.unwrap_or(cluster);
        if now.minor.checked_sub(1) != Some(target.minor) || now.major != target.major {
            return Err(StoreError::InvalidDowngradeTarget);
        }
        if enabled.is_some() {
            return Err(StoreError::DowngradeInProcess);
        }
        Ok((cluster, target))
    }

    /// Says once in a cluster's life, and after each upgrade of all of it, which version it is of.
    pub(crate) async fn publish_version(&self) -> Result<(), StoreError> {
        let known = self.reader().cluster_version()?;
        if known.is_none_or(|known| known < FEATURE_LEVEL) {
            self.propose(Command::ClusterVersion(FEATURE_LEVEL)).await?;
        }
        Ok(())
    }
}

/// `3.6`, or `3.6.0` with whatever patch and suffix: only the first two numbers count.
fn level_of(text: &str) -> Option<FeatureLevel> {
    let number = |part: &str| {
        let plain = part == "0" || !part.starts_with('0');
        if plain && part.bytes().all(|byte| byte.is_ascii_digit()) { part.parse::<u32>().ok() } else { None }
    };
    let (version, suffix) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
    let parts: Vec<&str> = version.split('.').collect();
    if !(2..=3).contains(&parts.len()) || suffix.len() == 1 {
        return None;
    }
    let numbers: Option<Vec<u32>> = parts.into_iter().map(number).collect();
    let numbers = numbers?;
    Some(FeatureLevel { major: numbers[0], minor: numbers[1] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_is_a_version() {
        let six = Some(FeatureLevel { major: 3, minor: 6 });
        for text in ["3.6", "3.6.0", "3.6.14", "3.6.0-rc.1"] {
            assert_eq!(level_of(text), six, "{text}");
        }
        for text in ["", "3", "3.", "3.6.", "v3.6", "3.6.0.0", "3.x", "three", "3.-6", " 3.6", "3.06"] {
            assert_eq!(level_of(text), None, "{text}");
        }
    }
}
