//! A chain of hashes over what every command did, by which members notice that their states went apart: cheap enough to
//! run along with every command, and the same however each member keeps its state.
//!
//! What goes in is what a command did and what it found, not what was asked: events with the versions that they replace,
//! refusals, leases, alarms. So a member whose stored value rotted in memory goes another way as soon as it is replaced.

use crate::auth::AuthReply;
use crate::codec::{alarm_byte, encode_member};
use crate::command::{Command, Outcome, Reply};
use crate::error::OperationError;
use crate::request::{Event, EventKind, KeyValue};

/// Odd, with about half of its bits set: an arbitrary choice, part of the format.
const FACTOR: u64 = 0x9e6c_63d0_876a_3f6b;

/// The chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digest(u64);

impl Digest {
    /// Goes on from a value.
    pub(crate) fn of(value: u64) -> Digest {
        Digest(value)
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }

    /// Adds a command that was applied. `compacted` is the compacted revision afterwards.
    pub(crate) fn add(&mut self, index: u64, compacted: i64, command: &Command, outcome: &Outcome) {
        self.word(index);
        self.word(outcome.revision as u64);
        self.word(compacted as u64);
        match &outcome.result {
            Ok(reply) => self.reply(reply, command),
            Err(refusal) => [u64::MAX, refusal_code(*refusal)].into_iter().for_each(|word| self.word(word)),
        }
        self.word(outcome.events.len() as u64);
        outcome.events.iter().for_each(|event| self.event(event));
    }

    /// What events do not show.
    fn reply(&mut self, reply: &Reply, command: &Command) {
        match reply {
            Reply::Put(_) => self.word(1),
            Reply::DeleteRange(reply) => [2, reply.deleted as u64].into_iter().for_each(|word| self.word(word)),
            Reply::Txn(reply) => [3, u64::from(reply.succeeded)].into_iter().for_each(|word| self.word(word)),
            Reply::Compact => self.word(4),
            Reply::LeaseGrant { id, ttl } => [5, *id as u64, *ttl as u64].into_iter().for_each(|word| self.word(word)),
            Reply::LeaseRevoke => self.word(6),
            Reply::Alarm(changed) => {
                self.word(7);
                for (member, alarm) in changed {
                    self.word(*member);
                    self.word(u64::from(alarm_byte(*alarm)));
                }
            }
            Reply::MemberAttributes => self.word(8),
            Reply::LeaseCheckpoint => self.word(50),
            Reply::ClusterVersion => self.word(52),
            Reply::Downgrade => self.word(53),
            Reply::Auth(AuthReply::Done) => self.word(9),
            Reply::Auth(AuthReply::Issued { index }) => [10, *index].into_iter().for_each(|word| self.word(word)),
            Reply::Membership => self.word(40),
        }
        match command {
            Command::MemberAttributes(member) => self.bytes(&encode_member(member)),
            Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. } => self.word(*id as u64),
            Command::LeaseCheckpoint { .. } | Command::ClusterVersion(_) | Command::Downgrade(_) => {
                self.bytes(&command.encode());
            }
            Command::Auth(_) | Command::Membership(_) => self.bytes(&command.encode()),
            Command::Put(_)
            | Command::DeleteRange(_)
            | Command::Txn(_)
            | Command::Compact { .. }
            | Command::LeaseGrant { .. }
            | Command::Alarm { .. } => {} // told by the reply, the revisions and the events
        }
    }

    fn event(&mut self, event: &Event) {
        self.word(match event.kind {
            EventKind::Put => 1,
            EventKind::Delete => 2,
        });
        self.key_value(&event.kv);
        match &event.prev_kv {
            Some(previous) => self.key_value(previous),
            None => self.word(u64::MAX),
        }
    }

    fn key_value(&mut self, kv: &KeyValue) {
        self.bytes(&kv.key);
        self.bytes(&kv.value);
        for number in [kv.create_revision, kv.mod_revision, kv.version, kv.lease] {
            self.word(number as u64);
        }
    }

    /// The length goes in too, so that no byte can change sides unnoticed.
    fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|&word| self.word(u64::from_le_bytes(word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last));
        }
    }

    /// Two steps that each can be undone, so that no word is ever lost: only later words can hide it, by chance.
    fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(FACTOR);
        self.0 = (mixed ^ (mixed >> 29)).wrapping_add(FACTOR);
    }
}

/// A refusal by number: its text may change between releases that run side by side.
fn refusal_code(refusal: OperationError) -> u64 {
    match refusal {
        OperationError::EmptyKey => 1,
        OperationError::KeyNotFound => 2,
        OperationError::ValueProvided => 3,
        OperationError::LeaseProvided => 4,
        OperationError::TooManyOps => 5,
        OperationError::DuplicateKey => 6,
        OperationError::InvalidSortOption => 7,
        OperationError::Compacted => 8,
        OperationError::FutureRevision => 9,
        OperationError::LeaseTtlTooLarge => 10,
        OperationError::NoSpace => 11,
        OperationError::LeaseNotFound => 12,
        OperationError::LeaseExists => 13,
        OperationError::Corrupt => 14,
        OperationError::UserEmpty => 15,
        OperationError::RoleEmpty => 16,
        OperationError::AuthFailed => 17,
        OperationError::NoPasswordUser => 18,
        OperationError::PermissionNotGiven => 19,
        OperationError::InvalidAuthManagement => 20,
        OperationError::AuthOldRevision => 21,
        OperationError::RootUserNotExist => 22,
        OperationError::RootRoleNotExist => 23,
        OperationError::UserAlreadyExists => 24,
        OperationError::UserNotFound => 25,
        OperationError::RoleAlreadyExists => 26,
        OperationError::RoleNotFound => 27,
        OperationError::RoleNotGranted => 28,
        OperationError::PermissionNotGranted => 29,
        OperationError::AuthNotEnabled => 30,
        OperationError::PermissionDenied => 31,
        OperationError::InvalidAuthToken => 32,
        OperationError::PasswordTooLong => 33,
        OperationError::PeerUrlExists => 40,
        OperationError::TooManyLearners => 41,
        OperationError::MemberExists => 42,
        OperationError::MemberNotFound => 43,
    }
}
