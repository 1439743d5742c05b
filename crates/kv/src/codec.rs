//! Commands as bytes in the log. The layout is in `docs/formats/command.md`; a golden test holds it.
//!
//! Decoding trusts nothing: every length is checked against what is left, nesting is bounded, and what remains after the
//! command is an error. Keys and values come out as slices of the input.

use bytes::Bytes;

use crate::auth;
use crate::command::{Alarm, Command, FeatureLevel, Member};
use crate::membership::MemberCommand;
use crate::request::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyRange, PutRequest, RangeRequest, RequestOp,
    SortOrder, SortTarget, TxnRequest,
};
use crate::wire::{Wire, put_bytes, put_signed, put_varint};

/// The version byte that starts every command.
const VERSION: u8 = 1;

/// Deepest nesting of transactions that is read. The checks before proposing refuse deeper ones.
pub(crate) const DEPTH_MAX: usize = 256;

/// Why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The version byte is not one that this program knows.
    #[error("command has version {found}, this program reads {VERSION}; run the version that wrote it")]
    Version {
        /// What stands there.
        found: u8,
    },
    /// The bytes end early, or a number or length in them is out of bounds.
    #[error("command is cut short or has a bad length at byte {offset}")]
    Length {
        /// Where.
        offset: usize,
    },
    /// A kind that does not exist.
    #[error("command has unknown {what} {found} at byte {offset}")]
    Kind {
        /// Of what.
        what: &'static str,
        /// What stands there.
        found: u8,
        /// Where.
        offset: usize,
    },
    /// A name or URL is not UTF-8.
    #[error("command has text that is not UTF-8 before byte {offset}")]
    Text {
        /// Where it ends.
        offset: usize,
    },
    /// Transactions are nested too deeply.
    #[error("command nests transactions deeper than {DEPTH_MAX}")]
    Depth,
    /// Something follows the command.
    #[error("command is followed by other bytes from byte {offset}")]
    Trailing {
        /// From where.
        offset: usize,
    },
}

const PUT: u8 = 1;
const DELETE_RANGE: u8 = 2;
const TXN: u8 = 3;
const COMPACT: u8 = 4;
const LEASE_GRANT: u8 = 5;
const LEASE_REVOKE: u8 = 6;
const ALARM: u8 = 7;
const MEMBER_ATTRIBUTES: u8 = 8;
const RANGE: u8 = 9;
const MEMBER_ADD: u8 = 40;
const MEMBER_UPDATE: u8 = 41;
const MEMBERS_SETTLE: u8 = 42;
const LEASE_CHECKPOINT: u8 = 50;
const LEASE_EXPIRE: u8 = 51;
const CLUSTER_VERSION: u8 = 52;
const DOWNGRADE: u8 = 53;

/// The bytes of a command.
pub(crate) fn encode(command: &Command) -> Bytes {
    let mut out = Vec::with_capacity(capacity(command));
    out.push(VERSION);
    match command {
        Command::Put(put) => {
            out.push(PUT);
            write_put(&mut out, put);
        }
        Command::DeleteRange(delete) => {
            out.push(DELETE_RANGE);
            write_delete(&mut out, delete);
        }
        Command::Txn(txn) => {
            out.push(TXN);
            write_txn(&mut out, txn);
        }
        Command::Compact { revision } => {
            out.push(COMPACT);
            put_signed(&mut out, *revision);
        }
        Command::LeaseGrant { id, ttl } => {
            out.push(LEASE_GRANT);
            put_signed(&mut out, *id);
            put_signed(&mut out, *ttl);
        }
        Command::LeaseRevoke { id } => {
            out.push(LEASE_REVOKE);
            put_signed(&mut out, *id);
        }
        Command::Alarm { raise, member, alarm } => {
            out.extend_from_slice(&[ALARM, u8::from(*raise), alarm_byte(*alarm)]);
            put_varint(&mut out, *member);
        }
        Command::MemberAttributes(member) => {
            out.push(MEMBER_ATTRIBUTES);
            write_member(&mut out, member);
        }
        Command::Membership(command) => write_member_command(&mut out, command),
        Command::Auth(command) => auth::encode_command(&mut out, command),
        Command::LeaseCheckpoint { applied, leases } => {
            out.push(LEASE_CHECKPOINT);
            put_varint(&mut out, *applied);
            put_varint(&mut out, leases.len() as u64);
            for (id, left) in leases {
                put_signed(&mut out, *id);
                put_signed(&mut out, left.unwrap_or(-1));
            }
        }
        Command::LeaseExpire { applied, id } => {
            out.push(LEASE_EXPIRE);
            put_varint(&mut out, *applied);
            put_signed(&mut out, *id);
        }
        Command::ClusterVersion(level) => {
            out.push(CLUSTER_VERSION);
            write_level(&mut out, *level);
        }
        Command::Downgrade(target) => {
            out.extend_from_slice(&[DOWNGRADE, u8::from(target.is_some())]);
            target.iter().for_each(|level| write_level(&mut out, *level));
        }
    }
    Bytes::from(out)
}

fn write_level(out: &mut Vec<u8>, level: FeatureLevel) {
    put_varint(out, level.major.into());
    put_varint(out, level.minor.into());
}

/// A version as in the table of the cluster.
pub(crate) fn encode_level(level: FeatureLevel) -> Bytes {
    let mut out = Vec::new();
    write_level(&mut out, level);
    Bytes::from(out)
}

/// Reads a version back.
pub(crate) fn decode_level(bytes: &Bytes) -> Result<FeatureLevel, DecodeError> {
    Reader { wire: Wire::new(bytes), whole: bytes }.level()
}

/// Reads a command back.
pub(crate) fn decode(bytes: &Bytes) -> Result<Command, DecodeError> {
    let mut reader = Reader { wire: Wire::new(bytes), whole: bytes };
    let version = reader.byte()?;
    if version != VERSION {
        return Err(DecodeError::Version { found: version });
    }
    let command = reader.command()?;
    if reader.wire.remaining() > 0 {
        return Err(DecodeError::Trailing { offset: reader.wire.position() });
    }
    Ok(command)
}

/// The byte that an alarm is written as, here and in the alarms table.
pub(crate) fn alarm_byte(alarm: Alarm) -> u8 {
    match alarm {
        Alarm::NoSpace => 1,
        Alarm::Corrupt => 2,
    }
}

/// The alarm that a byte stands for.
pub(crate) fn alarm_of(byte: u8) -> Option<Alarm> {
    match byte {
        1 => Some(Alarm::NoSpace),
        2 => Some(Alarm::Corrupt),
        _ => None,
    }
}

/// A member as in the members table.
pub(crate) fn encode_member(member: &Member) -> Bytes {
    let mut out = Vec::new();
    write_member(&mut out, member);
    Bytes::from(out)
}

/// Reads a member back.
pub(crate) fn decode_member(bytes: &Bytes) -> Result<Member, DecodeError> {
    Reader { wire: Wire::new(bytes), whole: bytes }.member()
}

/// Room for the common commands, so that encoding them allocates once.
fn capacity(command: &Command) -> usize {
    match command {
        Command::Put(put) => put.key.len() + put.value.len() + 32,
        Command::DeleteRange(delete) => delete.range.key.len() + delete.range.range_end.len() + 32,
        Command::Txn(_) | Command::MemberAttributes(_) | Command::Auth(_) | Command::Membership(_) => 256,
        Command::LeaseCheckpoint { leases, .. } => 16 + 20 * leases.len(),
        Command::Compact { .. }
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke { .. }
        | Command::LeaseExpire { .. }
        | Command::Alarm { .. }
        | Command::ClusterVersion(_)
        | Command::Downgrade(_) => 32,
    }
}

pub(crate) fn write_key_range(out: &mut Vec<u8>, range: &KeyRange) {
    put_bytes(out, &range.key);
    put_bytes(out, &range.range_end);
}

fn write_put(out: &mut Vec<u8>, put: &PutRequest) {
    out.push(u8::from(put.prev_kv) | u8::from(put.ignore_value) << 1 | u8::from(put.ignore_lease) << 2);
    put_signed(out, put.lease);
    put_bytes(out, &put.key);
    put_bytes(out, &put.value);
}

fn write_delete(out: &mut Vec<u8>, delete: &DeleteRangeRequest) {
    out.push(u8::from(delete.prev_kv));
    write_key_range(out, &delete.range);
}

fn write_range(out: &mut Vec<u8>, range: &RangeRequest) {
    out.push(u8::from(range.keys_only) | u8::from(range.count_only) << 1);
    out.push(match range.sort_order {
        SortOrder::None => 0,
        SortOrder::Ascend => 1,
        SortOrder::Descend => 2,
    });
    out.push(match range.sort_target {
        SortTarget::Key => 0,
        SortTarget::Version => 1,
        SortTarget::Create => 2,
        SortTarget::Mod => 3,
        SortTarget::Value => 4,
    });
    for number in [
        range.limit,
        range.revision,
        range.min_mod_revision,
        range.max_mod_revision,
        range.min_create_revision,
        range.max_create_revision,
    ] {
        put_signed(out, number);
    }
    write_key_range(out, &range.range);
}

fn write_txn(out: &mut Vec<u8>, txn: &TxnRequest) {
    put_varint(out, txn.compare.len() as u64);
    for compare in &txn.compare {
        write_compare(out, compare);
    }
    for branch in [&txn.success, &txn.failure] {
        put_varint(out, branch.len() as u64);
        for operation in branch {
            match operation {
                RequestOp::Range(range) => {
                    out.push(RANGE);
                    write_range(out, range);
                }
                RequestOp::Put(put) => {
                    out.push(PUT);
                    write_put(out, put);
                }
                RequestOp::DeleteRange(delete) => {
                    out.push(DELETE_RANGE);
                    write_delete(out, delete);
                }
                RequestOp::Txn(txn) => {
                    out.push(TXN);
                    write_txn(out, txn);
                }
            }
        }
    }
}

fn write_compare(out: &mut Vec<u8>, compare: &Compare) {
    out.push(match compare.result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
    });
    let (kind, number) = match &compare.target {
        CompareTarget::Version(number) => (0, *number),
        CompareTarget::CreateRevision(number) => (1, *number),
        CompareTarget::ModRevision(number) => (2, *number),
        CompareTarget::Value(value) => {
            out.push(3);
            put_bytes(out, value);
            return write_key_range(out, &compare.range);
        }
        CompareTarget::Lease(number) => (4, *number),
    };
    out.push(kind);
    put_signed(out, number);
    write_key_range(out, &compare.range);
}

fn write_member(out: &mut Vec<u8>, member: &Member) {
    put_varint(out, member.id);
    out.push(u8::from(member.is_learner));
    put_bytes(out, member.name.as_bytes());
    write_urls(out, &member.peer_urls);
    write_urls(out, &member.client_urls);
}

fn write_urls(out: &mut Vec<u8>, urls: &[String]) {
    put_varint(out, urls.len() as u64);
    urls.iter().for_each(|url| put_bytes(out, url.as_bytes()));
}

fn write_member_command(out: &mut Vec<u8>, command: &MemberCommand) {
    match command {
        MemberCommand::Add { id, peer_urls, learner, learners_max } => {
            out.push(MEMBER_ADD);
            put_varint(out, *id);
            out.push(u8::from(*learner));
            put_varint(out, u64::from(*learners_max));
            write_urls(out, peer_urls);
        }
        MemberCommand::Update { id, peer_urls } => {
            out.push(MEMBER_UPDATE);
            put_varint(out, *id);
            write_urls(out, peer_urls);
        }
        MemberCommand::Settle { members } => {
            out.push(MEMBERS_SETTLE);
            put_varint(out, members.len() as u64);
            for (id, learner) in members {
                put_varint(out, *id);
                out.push(u8::from(*learner));
            }
        }
    }
}

/// Reads commands, with an error for each way to be wrong.
pub(crate) struct Reader<'a> {
    pub(crate) wire: Wire<'a>,
    pub(crate) whole: &'a Bytes,
}

impl Reader<'_> {
    fn command(&mut self) -> Result<Command, DecodeError> {
        Ok(match self.byte()? {
            PUT => Command::Put(self.put()?),
            DELETE_RANGE => Command::DeleteRange(self.delete()?),
            TXN => Command::Txn(self.txn(DEPTH_MAX)?),
            COMPACT => Command::Compact { revision: self.signed()? },
            LEASE_GRANT => Command::LeaseGrant { id: self.signed()?, ttl: self.signed()? },
            LEASE_REVOKE => Command::LeaseRevoke { id: self.signed()? },
            ALARM => {
                let raise = self.flags(1)? == 1;
                let byte = self.byte()?;
                let alarm = alarm_of(byte).ok_or_else(|| self.unknown("alarm", byte))?;
                Command::Alarm { raise, alarm, member: self.varint()? }
            }
            MEMBER_ATTRIBUTES => Command::MemberAttributes(self.member()?),
            MEMBER_ADD => Command::Membership(MemberCommand::Add {
                id: self.varint()?,
                learner: self.flags(1)? == 1,
                learners_max: u32::try_from(self.varint()?).map_err(|_| self.length())?,
                peer_urls: self.list(|reader| reader.text())?,
            }),
            MEMBER_UPDATE => Command::Membership(MemberCommand::Update {
                id: self.varint()?,
                peer_urls: self.list(|reader| reader.text())?,
            }),
            MEMBERS_SETTLE => Command::Membership(MemberCommand::Settle {
                members: self.list(|reader| Ok((reader.varint()?, reader.flags(1)? == 1)))?,
            }),
            LEASE_CHECKPOINT => {
                let applied = self.varint()?;
                let lease =
                    |reader: &mut Self| Ok((reader.signed()?, Some(reader.signed()?).filter(|left| *left >= 0)));
                Command::LeaseCheckpoint { applied, leases: self.list(lease)? }
            }
            LEASE_EXPIRE => Command::LeaseExpire { applied: self.varint()?, id: self.signed()? },
            CLUSTER_VERSION => Command::ClusterVersion(self.level()?),
            DOWNGRADE => Command::Downgrade(if self.flags(1)? == 1 { Some(self.level()?) } else { None }),
            kind => match auth::decode_command(kind, self)? {
                Some(command) => Command::Auth(command),
                None => return Err(self.unknown("kind", kind)),
            },
        })
    }

    pub(crate) fn key_range(&mut self) -> Result<KeyRange, DecodeError> {
        Ok(KeyRange { key: self.bytes()?, range_end: self.bytes()? })
    }

    fn put(&mut self) -> Result<PutRequest, DecodeError> {
        let flags = self.flags(0b111)?;
        Ok(PutRequest {
            prev_kv: flags & 1 != 0,
            ignore_value: flags & 2 != 0,
            ignore_lease: flags & 4 != 0,
            lease: self.signed()?,
            key: self.bytes()?,
            value: self.bytes()?,
        })
    }

    fn delete(&mut self) -> Result<DeleteRangeRequest, DecodeError> {
        Ok(DeleteRangeRequest { prev_kv: self.flags(1)? == 1, range: self.key_range()? })
    }

    fn range(&mut self) -> Result<RangeRequest, DecodeError> {
        let flags = self.flags(0b11)?;
        let sort_order = match self.byte()? {
            0 => SortOrder::None,
            1 => SortOrder::Ascend,
            2 => SortOrder::Descend,
            found => return Err(self.unknown("sort order", found)),
        };
        let sort_target = match self.byte()? {
            0 => SortTarget::Key,
            1 => SortTarget::Version,
            2 => SortTarget::Create,
            3 => SortTarget::Mod,
            4 => SortTarget::Value,
            found => return Err(self.unknown("sort target", found)),
        };
        Ok(RangeRequest {
            keys_only: flags & 1 != 0,
            count_only: flags & 2 != 0,
            sort_order,
            sort_target,
            limit: self.signed()?,
            revision: self.signed()?,
            min_mod_revision: self.signed()?,
            max_mod_revision: self.signed()?,
            min_create_revision: self.signed()?,
            max_create_revision: self.signed()?,
            range: self.key_range()?,
        })
    }

    fn txn(&mut self, depth: usize) -> Result<TxnRequest, DecodeError> {
        let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
        Ok(TxnRequest {
            compare: self.list(|reader| reader.compare())?,
            success: self.list(|reader| reader.operation(depth))?,
            failure: self.list(|reader| reader.operation(depth))?,
        })
    }

    fn operation(&mut self, depth: usize) -> Result<RequestOp, DecodeError> {
        Ok(match self.byte()? {
            RANGE => RequestOp::Range(self.range()?),
            PUT => RequestOp::Put(self.put()?),
            DELETE_RANGE => RequestOp::DeleteRange(self.delete()?),
            TXN => RequestOp::Txn(self.txn(depth)?),
            found => return Err(self.unknown("operation", found)),
        })
    }

    fn compare(&mut self) -> Result<Compare, DecodeError> {
        let result = match self.byte()? {
            0 => CompareResult::Equal,
            1 => CompareResult::Greater,
            2 => CompareResult::Less,
            3 => CompareResult::NotEqual,
            found => return Err(self.unknown("comparison", found)),
        };
        let target = match self.byte()? {
            0 => CompareTarget::Version(self.signed()?),
            1 => CompareTarget::CreateRevision(self.signed()?),
            2 => CompareTarget::ModRevision(self.signed()?),
            3 => CompareTarget::Value(self.bytes()?),
            4 => CompareTarget::Lease(self.signed()?),
            found => return Err(self.unknown("comparison target", found)),
        };
        Ok(Compare { result, target, range: self.key_range()? })
    }

    fn level(&mut self) -> Result<FeatureLevel, DecodeError> {
        let mut part = || u32::try_from(self.varint()?).map_err(|_| self.length());
        Ok(FeatureLevel { major: part()?, minor: part()? })
    }

    fn member(&mut self) -> Result<Member, DecodeError> {
        Ok(Member {
            id: self.varint()?,
            is_learner: self.flags(1)? == 1,
            name: self.text()?,
            peer_urls: self.list(|reader| reader.text())?,
            client_urls: self.list(|reader| reader.text())?,
        })
    }

    /// A counted list. Every item takes at least a byte, so a count above what is left is refused before allocating.
    pub(crate) fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.varint()?;
        if count > self.wire.remaining() as u64 {
            return Err(self.length());
        }
        (0..count).map(|_| item(self)).collect()
    }

    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        let slice = self.wire.slice().ok_or_else(|| self.length())?;
        let offset = self.wire.position();
        String::from_utf8(slice.to_vec()).map_err(|_| DecodeError::Text { offset })
    }

    pub(crate) fn flags(&mut self, known: u8) -> Result<u8, DecodeError> {
        let flags = self.byte()?;
        if flags & !known != 0 {
            return Err(self.unknown("flags", flags));
        }
        Ok(flags)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        self.wire.shared(self.whole).ok_or_else(|| self.length())
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.wire.byte().ok_or_else(|| self.length())
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        self.wire.varint().ok_or_else(|| self.length())
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        self.wire.signed().ok_or_else(|| self.length())
    }

    fn length(&self) -> DecodeError {
        DecodeError::Length { offset: self.wire.position() }
    }

    pub(crate) fn unknown(&self, what: &'static str, found: u8) -> DecodeError {
        DecodeError::Kind { what, found, offset: self.wire.position() - 1 }
    }
}

#[cfg(test)]
mod tests;
