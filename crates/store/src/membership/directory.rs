//! What a member knows of all members at some moment, put together: the configuration, the state, and the list of its first
//! start for those who have not said anything yet.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kontiki_kv::{KvError, Member, Reader, Standing};
use kontiki_raft::{Configuration, NodeId};

use crate::identity::Identity;

/// The format of what a process that is to join is told.
const FORMAT: u8 = 1;
/// Most members, and most URLs of one, that are read.
const COUNT_MAX: usize = 1_024;

/// Who the members are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    /// The members of the configuration, sorted by identity.
    pub members: Vec<Member>,
    /// Those who have told the leader which disk is theirs.
    pub bound: BTreeSet<u64>,
    /// Those who vote now, whatever they are shown as.
    pub voting: BTreeSet<u64>,
    /// Wanted, and not in the configuration yet: identity and peer URLs.
    pub wanted: Vec<Member>,
    /// Were members.
    pub removed: BTreeSet<u64>,
}

impl Directory {
    /// Reads what this member's state says.
    pub fn read(reader: &Reader, configuration: &Configuration, identity: &Identity) -> Result<Directory, KvError> {
        let said: BTreeMap<u64, Member> = reader.members()?.into_iter().map(|member| (member.id, member)).collect();
        let standings = reader.standings()?;
        let standing = |wanted: Standing| standings.iter().filter(move |(_, standing)| *standing == wanted);
        let wanted = standing(Standing::Wanted).filter(|(id, _)| !configuration.is_member(NodeId(*id)));
        Ok(Directory {
            members: configuration.members().into_iter().map(|id| member(id, &said, configuration, identity)).collect(),
            bound: configuration
                .attributes
                .iter()
                .filter(|(_, a)| a.incarnation.is_some())
                .map(|(id, _)| id.0)
                .collect(),
            voting: configuration.members().iter().filter(|id| configuration.is_voter(**id)).map(|id| id.0).collect(),
            wanted: wanted.filter_map(|(id, _)| said.get(id).cloned()).collect(),
            removed: standing(Standing::Removed).map(|(id, _)| *id).collect(),
        })
    }

    /// Where the others are reached.
    pub fn others(&self, own: u64) -> BTreeMap<u64, Vec<String>> {
        let all = self.members.iter().chain(&self.wanted).filter(|member| member.id != own);
        all.map(|member| (member.id, member.peer_urls.clone())).collect()
    }

    /// The answer to a process that asks who the members are.
    pub fn encode(&self, cluster_id: u64, applied: u64) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(FORMAT);
        out.put_u64_le(cluster_id);
        out.put_u64_le(applied);
        put_count(&mut out, self.members.len());
        for member in &self.members {
            out.put_u64_le(member.id);
            out.put_u8(u8::from(self.bound.contains(&member.id)) | u8::from(self.voting.contains(&member.id)) << 1);
            put_text(&mut out, &member.name);
            put_count(&mut out, member.peer_urls.len());
            member.peer_urls.iter().for_each(|url| put_text(&mut out, url));
        }
        out.freeze()
    }
}

/// What there is to know of a member of the configuration. One that is to be promoted as soon as it can be counts as a voter
/// for whoever asks, as it was added as one.
fn member(id: NodeId, said: &BTreeMap<u64, Member>, configuration: &Configuration, identity: &Identity) -> Member {
    let said = said.get(&id.0);
    let to_vote = configuration.attributes(id).promote && said.is_some_and(|member| !member.is_learner);
    let mut member = said.cloned().unwrap_or_default();
    member.id = id.0;
    member.is_learner = configuration.is_learner(id) && !to_vote;
    if member.peer_urls.is_empty() {
        member.peer_urls = identity.urls_of(id.0);
    }
    member
}

/// What a process that is to join was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub cluster_id: u64,
    /// How far the member was that told it.
    pub applied: u64,
    pub members: Vec<ToldMember>,
}

/// A member in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToldMember {
    pub id: u64,
    /// Empty where it has not started yet.
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Its disk is known.
    pub bound: bool,
    /// It votes.
    pub votes: bool,
}

impl Told {
    /// Reads an answer; none where it is malformed.
    pub fn decode(mut bytes: &[u8]) -> Option<Told> {
        if bytes.try_get_u8().ok()? != FORMAT {
            return None;
        }
        let (cluster_id, applied) = (bytes.try_get_u64_le().ok()?, bytes.try_get_u64_le().ok()?);
        let mut members = Vec::new();
        for _ in 0..count(&mut bytes)? {
            let id = bytes.try_get_u64_le().ok()?;
            let flags = bytes.try_get_u8().ok()?;
            let name = text(&mut bytes)?;
            let peer_urls = (0..count(&mut bytes)?).map(|_| text(&mut bytes)).collect::<Option<_>>()?;
            members.push(ToldMember { id, name, peer_urls, bound: flags & 1 != 0, votes: flags & 2 != 0 });
        }
        bytes.is_empty().then_some(Told { cluster_id, applied, members })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a configuration has at most as many members, a member fewer URLs")]
fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(count as u32);
}

fn put_text(out: &mut BytesMut, text: &str) {
    put_count(out, text.len());
    out.put_slice(text.as_bytes());
}

fn count(bytes: &mut &[u8]) -> Option<usize> {
    let count = bytes.try_get_u32_le().ok()? as usize;
    (count <= COUNT_MAX).then_some(count)
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_answer_survives_the_wire_and_half_of_one_is_none() {
        let member = |id, name: &str| Member {
            id,
            name: name.into(),
            peer_urls: vec![format!("http://h:{id}"), "http://é:1".into()],
            ..Member::default()
        };
        let directory = Directory {
            members: vec![member(1, "m1"), member(2, "")],
            bound: [1].into(),
            voting: [1].into(),
            ..Directory::default()
        };
        let bytes = directory.encode(7, 99);
        let told = Told::decode(&bytes).unwrap();
        assert_eq!((told.cluster_id, told.applied, told.members.len()), (7, 99, 2));
        assert!(told.members[0].bound && told.members[0].votes && !told.members[1].bound);
        assert_eq!(told.members[1].peer_urls, directory.members[1].peer_urls);
        for cut in 0..bytes.len() {
            assert_eq!(Told::decode(&bytes[..cut]), None, "{cut} bytes");
        }
    }
}
