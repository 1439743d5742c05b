//! History as events: what watchers that start in the past are told.

use crate::error::{Failure, KvError, OperationError};
use crate::key;
use crate::layers::{Table, View};
use crate::range::Moment;
use crate::record::{Change, Version, decode_change};
use crate::request::{Event, EventKind, KeyValue};
use crate::scan::Scan;
use crate::versions::Place;

/// A piece of history, in whole revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The first revision that is not in here. Above `revision` once everything is.
    pub next_revision: i64,
    /// The store's revision when the page was read.
    pub revision: i64,
}

/// Events from a revision on: whole revisions until `revisions_max` or `bytes_max` is reached, at least one.
pub(crate) fn events(
    moment: Moment<'_>,
    from: i64,
    revisions_max: usize,
    bytes_max: usize,
) -> Result<EventPage, Failure> {
    if from < moment.compacted {
        return Err(OperationError::Compacted.into());
    }
    let mut page =
        EventPage { events: Vec::new(), next_revision: from.max(moment.revision + 1), revision: moment.revision };
    let (start, end) = (key::revision(from.max(0), 0), key::revision(moment.revision + 1, 0));
    let mut scan = Scan::new(moment.view, Table::Revisions, &start, Some(&end));
    let (mut revisions, mut bytes, mut current) = (0, 0, None);
    while let Some((row_key, row)) = scan.next()? {
        let (main, sub) = key::split_revision(&row_key)?;
        if current != Some(main) {
            if revisions > 0 && (revisions >= revisions_max || bytes >= bytes_max) {
                page.next_revision = main;
                break;
            }
            revisions += 1;
            current = Some(main);
        }
        let event = event(moment, main, sub, &decode_change(&row)?)?;
        bytes += size(&event.kv) + event.prev_kv.as_ref().map_or(0, size);
        page.events.push(event);
    }
    Ok(page)
}

fn event(moment: Moment<'_>, main: i64, sub: u32, change: &Change) -> Result<Event, KvError> {
    let prefix = key::prefix(&change.key);
    let (kind, kv) = if change.tombstone {
        (EventKind::Delete, KeyValue { key: change.key.clone(), mod_revision: main, ..KeyValue::default() })
    } else {
        (EventKind::Put, written(moment.view, &prefix, (main, sub))?.key_value(change.key.clone()))
    };
    // The state before may be compacted away even though the event itself is readable.
    let prev_kv = if change.created || main - 1 < moment.compacted {
        None
    } else {
        let before = moment.view.visible(&prefix, main - 1)?;
        before.map(|version| version.key_value(change.key.clone()))
    };
    Ok(Event { kind, kv, prev_kv })
}

/// The version that was written at a place in history.
fn written(view: &View, prefix: &[u8], place: Place) -> Result<Version, KvError> {
    let version = view.version_at(prefix, place)?.filter(|version| (version.main, version.sub) == place);
    version.ok_or(KvError::Damaged { table: Table::Revisions, what: "change without its version" })
}

fn size(kv: &KeyValue) -> usize {
    kv.key.len() + kv.value.len() + 32
}
