//! History as events: what watchers that start in the past are told.

use crate::changes::{Change, ChangeKind, Changes};
use crate::error::{Failure, KvError, OperationError};
use crate::layers::{Table, View};
use crate::range::Moment;
use crate::record::Version;
use crate::request::{Event, EventKind, KeyValue};
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
    let mut changes = Changes::from(moment.view, from);
    let (mut revisions, mut bytes, mut current) = (0, 0, None);
    while let Some(change) = changes.next()? {
        let (main, _) = change.place;
        if main > moment.revision {
            break; // written since
        }
        if current != Some(main) {
            if revisions > 0 && (revisions >= revisions_max || bytes >= bytes_max) {
                page.next_revision = main;
                break;
            }
            revisions += 1;
            current = Some(main);
        }
        let event = event(moment, &change)?;
        bytes += size(&event.kv) + event.prev_kv.as_ref().map_or(0, size);
        page.events.push(event);
    }
    Ok(page)
}

fn event(moment: Moment<'_>, change: &Change) -> Result<Event, KvError> {
    let (main, _) = change.place;
    let key = change.key();
    let (kind, kv) = match change.kind {
        ChangeKind::Deleted => {
            (EventKind::Delete, KeyValue { key: key.clone(), mod_revision: main, ..KeyValue::default() })
        }
        ChangeKind::Created | ChangeKind::Changed => {
            (EventKind::Put, written(moment.view, &change.prefix, change.place)?.key_value(key.clone()))
        }
    };
    // The state before may be compacted away even though the event itself is readable.
    let prev_kv = if change.kind == ChangeKind::Created || main - 1 < moment.compacted {
        None
    } else {
        moment.view.visible(&change.prefix, main - 1)?.map(|version| version.key_value(key))
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
