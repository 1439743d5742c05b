//! Between the core, which knows terms, and the log, which holds bytes.

use std::sync::Arc;

use bytes::Bytes;
use kontiki_log::{Entry, Log};
use kontiki_raft::{Append, Body, Content, Entries, EntrySizes, GroupId, Index};

use crate::entry::{self, Payload};
use crate::error::EngineError;
use crate::machine::Committed;

/// The log's sizes as the core asks for them.
pub(super) struct Sizes<'a> {
    pub log: &'a Log,
    pub group: GroupId,
}

impl EntrySizes for Sizes<'_> {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        self.log.fit(self.group, first, last, bytes_max)
    }
}

/// The payloads that came with an input: of a proposal, or of the entries of a message from index `first` on.
#[derive(Clone, Copy)]
pub(super) struct Payloads<'a> {
    first: Index,
    bytes: &'a [Bytes],
}

/// Nothing came with the input.
pub(super) const NO_PAYLOADS: Payloads<'static> = Payloads { first: Index(0), bytes: &[] };

impl<'a> Payloads<'a> {
    /// Those of a proposal.
    pub fn proposed(bytes: &'a [Bytes]) -> Payloads<'a> {
        Payloads { first: Index(0), bytes }
    }

    /// Those that came with a message; none where they are not as many as its entries.
    pub fn received(body: &Body, bytes: &'a [Bytes]) -> Option<Payloads<'a>> {
        let Some(entries) = entries(body) else { return Some(NO_PAYLOADS) };
        let count = entries.last.0.checked_sub(entries.prev.index.0)?;
        (count == bytes.len() as u64).then(|| Payloads { first: entries.prev.index.next(), bytes })
    }
}

/// The entries that a message speaks of, whose bytes travel beside it.
fn entries(body: &Body) -> Option<&Entries> {
    match body {
        Body::AppendEntries(append) => Some(&append.entries),
        Body::Pulled(entries) => Some(entries),
        _ => None,
    }
}

/// The bytes to send with a message. None where the log no longer holds the entries that it speaks of: a message that
/// waited for the disk may be about a log that was replaced meanwhile, and must not go out with the bytes of another.
pub(super) fn payloads_for(log: &Log, group: GroupId, body: &Body) -> Result<Option<Vec<Bytes>>, EngineError> {
    let Some(wanted) = entries(body).filter(|entries| entries.last > entries.prev.index) else {
        return Ok(Some(Vec::new()));
    };
    let first = wanted.prev.index.next();
    if first < log.first(group) || wanted.last > log.last(group) {
        return Ok(None);
    }
    let mut held = log.entries(group, first, wanted.last, u64::MAX)?;
    while let Some(next) = held.last().map(|entry| entry.index.next()).filter(|next| *next <= wanted.last) {
        // Damage ends an answer early; asked from there on, the log says what it is.
        held.append(&mut log.entries(group, next, wanted.last, u64::MAX)?);
    }
    Ok(are_of_terms(&held, wanted).then(|| held.into_iter().map(|entry| entry.payload).collect()))
}

/// Whether entries of a log have these terms. Terms never fall along a log, so the ends of each run tell.
fn are_of_terms(held: &[Entry], wanted: &Entries) -> bool {
    let term_at = |index: Index| held.get(usize::try_from(index.0 - held[0].index.0).ok()?).map(|entry| entry.term);
    let ends = wanted.runs.iter().skip(1).map(|next| next.first.previous()).chain([wanted.last]);
    wanted
        .runs
        .iter()
        .zip(ends)
        .all(|(run, last)| term_at(run.first) == Some(run.term) && term_at(last) == Some(run.term))
}

/// The entries of an append, with their bytes.
pub(super) fn entries_of(append: &Append, payloads: Payloads<'_>) -> Vec<Entry> {
    let count = usize::try_from(append.last.0 + 1 - append.first.0).expect("an append fits in memory");
    let mut entries = Vec::with_capacity(count);
    let mut runs = append.runs.iter().peekable();
    let mut term = runs.peek().expect("an append has at least one run").term;
    for offset in 0..count {
        let index = Index(append.first.0 + offset as u64);
        while let Some(run) = runs.next_if(|run| run.first <= index) {
            term = run.term;
        }
        let payload = match &append.content {
            Content::Proposals => payloads.bytes[offset].clone(),
            Content::Received => {
                let skip = usize::try_from(append.first.0 - payloads.first.0).expect("an append fits in memory");
                payloads.bytes[skip + offset].clone()
            }
            Content::Blank => Bytes::new(),
            Content::Configuration(configuration) => entry::configuration_payload(configuration),
        };
        entries.push(Entry { index, term, payload });
    }
    entries
}

/// A committed entry as the state machine sees it.
pub(super) fn understand(group: GroupId, entry: &Entry) -> Result<Committed, EngineError> {
    let payload = entry::decode(&entry.payload).map_err(|source| EngineError::Payload {
        group: group.0,
        index: entry.index.0,
        source,
    })?;
    let (command, configuration) = match payload {
        Payload::Blank => (None, None),
        Payload::Command(command) => (Some(command), None),
        Payload::Configuration(configuration) => (None, Some(Arc::new(configuration))),
    };
    Ok(Committed { index: entry.index, term: entry.term, command, configuration })
}
