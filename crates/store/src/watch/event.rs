//! An event as all who watch it share it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use kontiki_kv::Event;

/// An event, shared by all who watch it, with room for what a front door makes of it: the bytes for its clients are made
/// once, whoever comes first.
#[derive(Clone)]
pub struct SharedEvent(Arc<Told>);

struct Told {
    event: Event,
    /// Without and with what was there before.
    encoded: [OnceLock<Bytes>; 2],
}

impl SharedEvent {
    /// The event in a front door's own form, with or without the previous value. None where nobody else holds the event and
    /// the form was not made yet: then there is nobody to keep it for.
    pub fn encoded(&self, prev_kv: bool, encode: impl FnOnce(&Event) -> Bytes) -> Option<&Bytes> {
        // An event that does not show what was before looks the same either way.
        let form = &self.0.encoded[usize::from(prev_kv && self.0.event.prev_kv.is_some())];
        if Arc::strong_count(&self.0) == 1 {
            return form.get();
        }
        Some(form.get_or_init(|| encode(&self.0.event)))
    }
}

impl From<Event> for SharedEvent {
    fn from(event: Event) -> SharedEvent {
        SharedEvent(Arc::new(Told { event, encoded: Default::default() }))
    }
}

impl Deref for SharedEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0.event
    }
}

impl PartialEq for SharedEvent {
    fn eq(&self, other: &SharedEvent) -> bool {
        **self == **other
    }
}

impl Eq for SharedEvent {}

impl fmt::Debug for SharedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.event.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontiki_kv::{EventKind, KeyValue};

    #[test]
    fn a_form_is_made_once_and_for_others_only() {
        let kv = KeyValue { key: "k".into(), ..KeyValue::default() };
        let event = SharedEvent::from(Event { kind: EventKind::Put, kv: kv.clone(), prev_kv: Some(kv) });
        assert_eq!(event.encoded(false, |_| unreachable!("nobody shares it")), None);
        let other = event.clone();
        assert_eq!(event.encoded(false, |_| "plain".into()), Some(&"plain".into()));
        assert_eq!(other.encoded(true, |_| "previous".into()), Some(&"previous".into()));
        assert_eq!(other.encoded(false, |_| unreachable!("it is made")), Some(&"plain".into()));
        drop(event);
        assert_eq!(other.encoded(true, |_| unreachable!("it is made")), Some(&"previous".into()));
    }
}
