//! What the log says of members' URLs, whether it is applied or not.
//!
//! After a start nothing that the log holds is known to be committed before a leader has said so, and whoever leads may be
//! known by the log alone. Its configuration counts at once, as Raft has it; so must the addresses, or nobody could be asked.

use bytes::Bytes;
use kontiki_kv::{Command, MemberCommand};
use kontiki_log::Log;

use crate::machine::{GROUP, decode_entry};

/// Bytes of the log that are looked at together.
const BYTES_MAX: u64 = 4 << 20;

/// Members' peer URLs by the log, oldest first. What cannot be read says nothing.
pub(crate) fn heard(log: &Log) -> Vec<(u64, Vec<String>)> {
    let (mut next, last, mut heard) = (log.first(GROUP), log.last(GROUP), Vec::new());
    while next <= last {
        let Ok(entries) = log.entries(GROUP, next, last, BYTES_MAX) else { break };
        let Some(end) = entries.last() else { break };
        next = end.index.next();
        heard.extend(entries.iter().filter_map(|entry| said(&entry.payload)));
    }
    heard
}

fn said(payload: &Bytes) -> Option<(u64, Vec<String>)> {
    match decode_entry(payload).ok()?? {
        (
            _,
            _,
            Command::Membership(MemberCommand::Add { id, peer_urls, .. } | MemberCommand::Update { id, peer_urls }),
        ) => Some((id, peer_urls)),
        // Where members reach it is said here by one that founded the cluster, at its first start.
        (_, _, Command::MemberAttributes(member)) => Some((member.id, member.peer_urls)),
        _ => None,
    }
}
