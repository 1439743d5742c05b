//! What came over, what did not, and whether both sides are the same: for people and for programs.

use std::time::Duration;

use super::sum::Sum;
use crate::ctl::gotext;
use crate::ctl::json::{Json, Object};

/// The whole story.
#[derive(Debug)]
pub struct Report {
    pub source: String,
    pub source_version: String,
    pub target: String,
    /// The source's revision whose state the target has.
    pub revision: i64,
    /// The source's revision at the end.
    pub revision_at_end: i64,
    pub keys_written: u64,
    pub keys_there_already: u64,
    pub keys_deleted: u64,
    pub bytes: u64,
    pub transactions: u64,
    pub split: u64,
    pub expired: u64,
    pub changes_followed: u64,
    pub leases: u64,
    pub roles: u64,
    pub users: u64,
    pub users_without_password: Vec<String>,
    pub auth: Auth,
    pub access_changed: bool,
    pub source_sum: Sum,
    pub target_sum: Sum,
    pub took: Duration,
}

/// What became of the check of users.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Auth {
    /// Off in the source, off in the target.
    Off,
    /// On in both.
    On,
    /// On in the source; in the target nobody could log in as root.
    LeftOff,
}

impl Auth {
    fn word(self) -> &'static str {
        match self {
            Auth::Off => "off",
            Auth::On => "on",
            Auth::LeftOff => "left off",
        }
    }
}

impl Report {
    /// Whether both sides hold the same.
    pub fn same(&self) -> bool {
        self.source_sum == self.target_sum
    }

    /// What cannot come over through the API, or did not.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = vec![
            "revisions: the keys keep their order, with numbers of the target; clients that remember a revision of the etcd \
             must read anew"
                .to_string(),
            "create revisions and versions of keys: each key begins with version 1".to_string(),
            "history: only the present value of each key came over".to_string(),
        ];
        if self.leases > 0 {
            missing.push("the time that leases had left: each begins with its whole life".to_string());
        }
        if !self.users_without_password.is_empty() {
            missing.push(format!(
                "passwords: set them with `kontiki ctl user passwd NAME` for {}",
                self.users_without_password.join(", ")
            ));
        }
        if self.users > 0 {
            missing
                .push("users without a password (certificates only): the API does not tell which they are".to_string());
        }
        if self.auth == Auth::LeftOff {
            missing.push(
                "the check of users is on in the etcd and off here, because nobody could log in as root: set root's \
                 password, then run `kontiki ctl auth enable`"
                    .to_string(),
            );
        }
        if self.access_changed {
            missing.push("users or roles were changed in the etcd meanwhile: run again with --resume".to_string());
        }
        if self.revision_at_end > self.revision {
            missing.push(format!(
                "changes behind revision {}: the etcd is at {} now; use --follow, or stop its clients first",
                self.revision, self.revision_at_end
            ));
        }
        if self.expired > 0 {
            missing.push(format!("{} keys whose leases ended while they were copied", self.expired));
        }
        if self.split > 0 {
            missing.push(format!("{} revisions were too large for one transaction and became several", self.split));
        }
        missing
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "Imported {} (version {}) at revision {} into {} in {}\n",
            self.source,
            self.source_version,
            self.revision,
            self.target,
            gotext::duration(Duration::from_millis(u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX))),
        );
        text += &format!(
            "  keys    {} written in {} transactions ({}), {} were there already, {} deleted\n",
            self.keys_written,
            self.transactions,
            gotext::size(self.bytes),
            self.keys_there_already,
            self.keys_deleted,
        );
        text += &format!("  changes {} followed\n", self.changes_followed);
        text += &format!("  leases  {}\n  roles   {}\n  users   {}\n", self.leases, self.roles, self.users);
        text += &format!("  check of users: {}\n", self.auth.word());
        if self.same() {
            let Sum { keys, digest } = &self.target_sum;
            text += &format!("Verified: both hold {keys} keys with the same values and leases (SHA-256 {digest})\n");
        } else {
            let (source, target) = (&self.source_sum, &self.target_sum);
            text += &format!(
                "NOT THE SAME: the etcd holds {} keys (SHA-256 {}), the target {} ({}). Did somebody write into the target, or \
                 did leases end? Run again with --resume\n",
                source.keys, source.digest, target.keys, target.digest
            );
        }
        text += "Not brought over:\n";
        self.missing().iter().for_each(|line| text += &format!("  - {line}\n"));
        text
    }

    /// For programs.
    pub fn json(&self) -> Json {
        let sum = |sum: &Sum| Object::new().with("keys", sum.keys).with("sha256", sum.digest.as_str());
        Object::new()
            .with("source", self.source.as_str())
            .with("sourceVersion", self.source_version.as_str())
            .with("target", self.target.as_str())
            .with("revision", self.revision)
            .with("revisionAtEnd", self.revision_at_end)
            .with("keysWritten", self.keys_written)
            .with("keysThereAlready", self.keys_there_already)
            .with("keysDeleted", self.keys_deleted)
            .with("transactions", self.transactions)
            .with("changesFollowed", self.changes_followed)
            .with("leases", self.leases)
            .with("roles", self.roles)
            .with("users", self.users)
            .with("usersWithoutPassword", self.users_without_password.as_slice())
            .with("auth", self.auth.word())
            .with("same", self.same())
            .with("sourceSum", sum(&self.source_sum))
            .with("targetSum", sum(&self.target_sum))
            .with("missing", self.missing().as_slice())
            .with("milliseconds", u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX))
            .into()
    }
}
