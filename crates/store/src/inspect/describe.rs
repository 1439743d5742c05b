//! Commands and configurations as records.

use bytes::Bytes;
use kontiki_engine::{Payload, decode_payload};
use kontiki_kv::{
    Alarm, Command, Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyRange, MemberCommand, Proposer,
    PutRequest, RequestOp, TxnRequest,
};
use kontiki_raft::{Configuration, NodeId};

use super::record::{DumpRecord, DumpValue};
use crate::auth::read_body;
use crate::machine::HEADER_BYTES;

/// What an entry's payload says; in words why it cannot be read.
pub(super) fn payload(payload: &Bytes) -> Result<DumpRecord, String> {
    match decode_payload(payload).map_err(|error| error.to_string())? {
        Payload::Blank => Ok(DumpRecord::new("blank")),
        Payload::Configuration(configuration) => Ok(self::configuration(&configuration)),
        Payload::Command(bytes) => {
            // In front of the command: the member that waits for its result, a token, and in whose name it is.
            let Some(encoded) = (bytes.len() >= HEADER_BYTES - 1).then(|| bytes.slice(HEADER_BYTES - 1..)) else {
                return Err(format!("a command of {} bytes is too short", bytes.len()));
            };
            let (proposer, command) = read_body(&encoded).map_err(|error| error.to_string())?;
            let member = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            let record = self::command(&command).with("proposed_at", DumpValue::Id(member));
            Ok(match proposer {
                Proposer::User(subject) => record.with("user", &*subject.user),
                Proposer::Member | Proposer::Anonymous => record,
            })
        }
    }
}

fn configuration(configuration: &Configuration) -> DumpRecord {
    let ids = |nodes: &[NodeId]| DumpValue::Ids(nodes.iter().map(|node| node.0).collect());
    let mut record = DumpRecord::new("configuration").with("voters", ids(&configuration.voters));
    if !configuration.outgoing.is_empty() {
        record = record.with("outgoing", ids(&configuration.outgoing));
    }
    if !configuration.learners.is_empty() {
        record = record.with("learners", ids(&configuration.learners));
    }
    record
}

fn command(command: &Command) -> DumpRecord {
    match command {
        Command::Put(request) => put(request),
        Command::DeleteRange(request) => delete(request),
        Command::Txn(request) => txn(request),
        Command::Compact { revision } => DumpRecord::new("compact").with("revision", *revision),
        Command::LeaseGrant { id, ttl } => DumpRecord::new("lease_grant").with("lease", *id).with("ttl", *ttl),
        Command::LeaseRevoke { id } => DumpRecord::new("lease_revoke").with("lease", *id),
        Command::Alarm { raise, member, alarm } => {
            let name = match alarm {
                Alarm::NoSpace => "NOSPACE",
                Alarm::Corrupt => "CORRUPT",
            };
            let kind = if *raise { "alarm_raise" } else { "alarm_clear" };
            DumpRecord::new(kind).with("alarm", name).with("member", DumpValue::Id(*member))
        }
        Command::LeaseExpire { applied, id } => {
            DumpRecord::new("lease_expire").with("lease", *id).with("applied", *applied)
        }
        Command::LeaseCheckpoint { applied, leases } => {
            let lease = |(id, left): &(i64, Option<i64>)| {
                DumpRecord::new("left").with("lease", *id).with("seconds", left.unwrap_or(-1))
            };
            let leases: Vec<DumpRecord> = leases.iter().map(lease).collect();
            DumpRecord::new("lease_checkpoint").with("applied", *applied).with("leases", leases)
        }
        Command::ClusterVersion(level) => {
            DumpRecord::new("cluster_version").with("version", level.to_string().as_str())
        }
        Command::Downgrade(target) => {
            let target = target.map(|level| level.to_string()).unwrap_or_default();
            DumpRecord::new("downgrade").with("target", target.as_str())
        }
        Command::MemberAttributes(member) => DumpRecord::new("member")
            .with("member", DumpValue::Id(member.id))
            .with("name", member.name.as_str())
            .with("peer_urls", member.peer_urls.join(","))
            .with("client_urls", member.client_urls.join(",")),
        Command::Auth(command) => DumpRecord::new(command.kind()),
        Command::Membership(command) => membership(command),
    }
}

fn membership(command: &MemberCommand) -> DumpRecord {
    match command {
        MemberCommand::Add { id, peer_urls, learner, .. } => {
            let kind = if *learner { "member_add_learner" } else { "member_add" };
            DumpRecord::new(kind).with("member", DumpValue::Id(*id)).with("peer_urls", peer_urls.join(","))
        }
        MemberCommand::Update { id, peer_urls } => {
            DumpRecord::new("member_update").with("member", DumpValue::Id(*id)).with("peer_urls", peer_urls.join(","))
        }
        MemberCommand::Settle { members } => {
            let ids: Vec<String> = members.iter().map(|(id, _)| format!("{id:x}")).collect();
            DumpRecord::new("members_settle").with("members", ids.join(","))
        }
    }
}

fn put(request: &PutRequest) -> DumpRecord {
    let kind = match (request.ignore_value, request.ignore_lease) {
        (false, false) => "put",
        (true, _) => "put_keeping_value",
        (false, true) => "put_keeping_lease",
    };
    DumpRecord::new(kind).with("key", &request.key).with("value", &request.value).with_set("lease", request.lease)
}

fn delete(request: &DeleteRangeRequest) -> DumpRecord {
    range("delete", &request.range)
}

fn range(kind: &'static str, range: &KeyRange) -> DumpRecord {
    let record = DumpRecord::new(kind).with("key", &range.key);
    if range.range_end.is_empty() { record } else { record.with("range_end", &range.range_end) }
}

fn txn(request: &TxnRequest) -> DumpRecord {
    let branch = |operations: &[RequestOp]| operations.iter().map(operation).collect::<Vec<_>>();
    let mut record = DumpRecord::new("txn").with("if", request.compare.iter().map(compare).collect::<Vec<_>>());
    record = record.with("then", branch(&request.success));
    if request.failure.is_empty() { record } else { record.with("else", branch(&request.failure)) }
}

fn operation(operation: &RequestOp) -> DumpRecord {
    match operation {
        RequestOp::Range(request) => range("range", &request.range),
        RequestOp::Put(request) => put(request),
        RequestOp::DeleteRange(request) => delete(request),
        RequestOp::Txn(request) => txn(request),
    }
}

fn compare(compare: &Compare) -> DumpRecord {
    let relation = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "!=",
    };
    let (kind, value): (_, DumpValue) = match &compare.target {
        CompareTarget::Version(number) => ("version", (*number).into()),
        CompareTarget::CreateRevision(number) => ("create_revision", (*number).into()),
        CompareTarget::ModRevision(number) => ("mod_revision", (*number).into()),
        CompareTarget::Value(bytes) => ("value", bytes.into()),
        CompareTarget::Lease(number) => ("lease", (*number).into()),
    };
    range(kind, &compare.range).with("is", relation).with("than", value)
}
