//! What the state says of the cluster's members: names and URLs, who is still to be taken in, and who is out for good.
//!
//! Who votes is not told here but by Raft's configuration. Both go hand in hand: [`MemberCommand::Add`] writes down that
//! somebody is wanted, the leader makes the configuration follow, and with each entry that is a configuration
//! [`MemberCommand::Settle`] is applied: who is in it is wanted no more, and who has fallen out of it is forgotten, but for
//! its identity, which nobody gets again. So a crash between the two leaves a wish that the next leader fulfils.

use bytes::Bytes;

use crate::codec::{decode_member, encode_member};
use crate::command::{Member, Reply};
use crate::error::{Failure, KvError, OperationError};
use crate::layers::{Table, View};
use crate::scan::Scan;
use crate::state::State;

/// A change of what is known of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberCommand {
    /// Somebody new is wanted. Its name comes when it has started.
    Add {
        /// Its identity, that no member has or had.
        id: u64,
        /// Where the others will reach it. No member has one of these.
        peer_urls: Vec<String>,
        /// It is to learn, and to vote only when it is promoted.
        learner: bool,
        /// More learners than these are refused.
        learners_max: u32,
    },
    /// A member is reached elsewhere from now on.
    Update {
        /// Which.
        id: u64,
        /// Where.
        peer_urls: Vec<String>,
    },
    /// This is the membership now: follows from the configuration in the log, and is never an entry by itself.
    Settle {
        /// Every member, and whether it only learns.
        members: Vec<(u64, bool)>,
    },
}

/// How an identity stands beside the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Wanted, and not in the configuration yet.
    Wanted,
    /// Was a member, and never will be again.
    Removed,
}

impl Standing {
    pub(crate) fn byte(self) -> u8 {
        match self {
            Standing::Wanted => 1,
            Standing::Removed => 2,
        }
    }

    pub(crate) fn of(row: &[u8]) -> Result<Standing, KvError> {
        match row {
            [1] => Ok(Standing::Wanted),
            [2] => Ok(Standing::Removed),
            _ => Err(KvError::Damaged { table: Table::Standings, what: "unknown standing" }),
        }
    }
}

/// What can be said of members, by identity.
pub(crate) fn members(view: &View) -> Result<Vec<Member>, KvError> {
    let mut scan = Scan::new(view, Table::Members, &[], None);
    let mut members = Vec::new();
    while let Some((_, row)) = scan.next()? {
        members.push(read(&row)?);
    }
    Ok(members)
}

/// Who is wanted and who is out, by identity.
pub(crate) fn standings(view: &View) -> Result<Vec<(u64, Standing)>, KvError> {
    let mut scan = Scan::new(view, Table::Standings, &[], None);
    let mut standings = Vec::new();
    while let Some((key, row)) = scan.next()? {
        standings.push((identity(Table::Standings, &key)?, Standing::of(&row)?));
    }
    Ok(standings)
}

/// The identity in the key of a row.
pub(crate) fn identity(table: Table, key: &[u8]) -> Result<u64, KvError> {
    let key = key.try_into().map_err(|_| KvError::Damaged { table, what: "key of wrong length" })?;
    Ok(u64::from_be_bytes(key))
}

fn read(row: &Bytes) -> Result<Member, KvError> {
    decode_member(row).map_err(|_| KvError::Damaged { table: Table::Members, what: "unreadable member" })
}

fn known(state: &State, id: u64) -> Result<Option<Member>, KvError> {
    state.view.get(Table::Members, &id.to_be_bytes())?.as_ref().map(read).transpose()
}

fn standing(state: &State, id: u64) -> Result<Option<Standing>, KvError> {
    state.view.get(Table::Standings, &id.to_be_bytes())?.map(|row| Standing::of(&row)).transpose()
}

fn write(state: &mut State, member: &Member) {
    state.write_row(Table::Members, &member.id.to_be_bytes(), Some(encode_member(member)));
}

fn stand(state: &mut State, id: u64, standing: Option<Standing>) {
    let row = standing.map(|standing| Bytes::copy_from_slice(&[standing.byte()]));
    state.write_row(Table::Standings, &id.to_be_bytes(), row);
}

/// A member says its name and its clients' URLs. Where members reach it is the cluster's to say, once it has said so.
pub(crate) fn describe(state: &mut State, said: &Member) -> Result<Reply, Failure> {
    if standing(state, said.id)? != Some(Standing::Removed) {
        let member = match known(state, said.id)? {
            Some(known) => Member { name: said.name.clone(), client_urls: said.client_urls.clone(), ..known },
            None => said.clone(),
        };
        write(state, &member);
    }
    Ok(Reply::MemberAttributes)
}

/// Carries a command out.
pub(crate) fn apply(state: &mut State, command: &MemberCommand) -> Result<Reply, Failure> {
    match command {
        MemberCommand::Add { id, peer_urls, learner, learners_max } => {
            add(state, *id, peer_urls, *learner, *learners_max)?
        }
        MemberCommand::Update { id, peer_urls } => update(state, *id, peer_urls)?,
        MemberCommand::Settle { members } => settle(state, members)?,
    }
    Ok(Reply::Membership)
}

fn add(state: &mut State, id: u64, peer_urls: &[String], learner: bool, learners_max: u32) -> Result<(), Failure> {
    let members = members(&state.view)?;
    if standing(state, id)?.is_some() || members.iter().any(|member| member.id == id) {
        return Err(OperationError::MemberExists.into());
    }
    refuse_taken(&members, id, peer_urls)?;
    let learners = members.iter().filter(|member| member.is_learner).count();
    if learner && learners >= learners_max as usize {
        return Err(OperationError::TooManyLearners.into());
    }
    write(state, &Member { id, peer_urls: peer_urls.to_vec(), is_learner: learner, ..Member::default() });
    stand(state, id, Some(Standing::Wanted));
    Ok(())
}

fn update(state: &mut State, id: u64, peer_urls: &[String]) -> Result<(), Failure> {
    if standing(state, id)? == Some(Standing::Removed) {
        return Err(OperationError::MemberNotFound.into());
    }
    refuse_taken(&members(&state.view)?, id, peer_urls)?;
    let member = known(state, id)?.unwrap_or_else(|| Member { id, ..Member::default() });
    write(state, &Member { peer_urls: peer_urls.to_vec(), ..member });
    Ok(())
}

/// No two members have an URL in common.
fn refuse_taken(members: &[Member], id: u64, peer_urls: &[String]) -> Result<(), OperationError> {
    let mut others = members.iter().filter(|member| member.id != id).flat_map(|member| &member.peer_urls);
    if others.any(|taken| peer_urls.contains(taken)) { Err(OperationError::PeerUrlExists) } else { Ok(()) }
}

fn settle(state: &mut State, configured: &[(u64, bool)]) -> Result<(), Failure> {
    for (id, _) in standings(&state.view)? {
        if configured.iter().any(|(member, _)| *member == id) {
            stand(state, id, None); // of one that was out, too: what the configuration says counts
        }
    }
    for member in members(&state.view)? {
        match configured.iter().find(|(id, _)| *id == member.id) {
            Some((_, learner)) if member.is_learner && !learner => {
                write(state, &Member { is_learner: false, ..member });
            }
            Some(_) => {}
            None if standing(state, member.id)? == Some(Standing::Wanted) => {}
            None => {
                state.write_row(Table::Members, &member.id.to_be_bytes(), None);
                stand(state, member.id, Some(Standing::Removed));
            }
        }
    }
    Ok(())
}
