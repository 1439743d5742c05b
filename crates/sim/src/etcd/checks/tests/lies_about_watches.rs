//! Lies that watches are told.

use std::time::Duration;

use kontiki_kv::{Event, EventKind};
use kontiki_world::Random;

use super::super::watch;
use super::{finds, pick};
use crate::etcd::history::{History, Told, WatchSession};
use crate::etcd::replay::Replay;
use crate::observation::Violation;

fn check(history: &History) -> Result<(), Violation> {
    watch::check(history, &Replay::of(history)?)
}

/// A response with events that are as wished: which session, and which of what it was told.
fn response(history: &History, chance: &mut Random, wish: impl Fn(&[Event]) -> bool) -> Option<(usize, usize)> {
    let places = history.watches.iter().enumerate().flat_map(|(session, watch)| {
        let told = watch.told.iter().enumerate();
        told.filter(|(_, (_, told))| matches!(told, Told::Events(events) if wish(events)))
            .map(move |(told, _)| (session, told))
    });
    pick(chance, places)
}

fn events(session: &mut WatchSession, told: usize) -> Option<&mut Vec<Event>> {
    match &mut session.told[told].1 {
        Told::Events(events) => Some(events),
        Told::Created(_) | Told::Progress(_) | Told::Canceled(_) => None,
    }
}

/// Changes the events of some response.
fn tamper(wish: impl Fn(&[Event]) -> bool + Copy, change: impl Fn(&mut Vec<Event>)) {
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, wish)?;
        change(events(&mut history.watches[session], told)?);
        Some(())
    });
}

/// Tells something else before or after some response.
fn insert(behind: usize, what: impl Fn(&[Event], &Replay) -> Told) {
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, |_| true)?;
        let replay = Replay::of(history).unwrap();
        let session = &mut history.watches[session];
        let (at, told_there) = session.told[told].clone();
        let Told::Events(events) = told_there else { return None };
        session.told.insert(told + behind, (at, what(&events, &replay)));
        Some(())
    });
}

#[test]
fn an_event_told_twice() {
    tamper(|_| true, |events| events.push(events[0].clone()));
    insert(1, |events, _| Told::Events(events.to_vec()));
}

#[test]
fn an_event_left_out() {
    tamper(|events| events.len() > 1, |events| drop(events.remove(0)));
    tamper(|events| events.len() > 2, |events| drop(events.remove(1)));
    // All of a response, where something follows.
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, |_| true)?;
        let told_all = &mut history.watches[session].told;
        let follows = matches!(told_all.get(told + 1), Some((_, Told::Events(_) | Told::Progress(_))));
        follows.then(|| drop(told_all.remove(told)))
    });
}

#[test]
fn events_out_of_order() {
    tamper(|events| events.len() > 1 && events[0] != events[1], |events| events.swap(0, 1));
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, |_| true)?;
        let told_all = &mut history.watches[session].told;
        let (_, Told::Events(_)) = told_all.get(told + 1)? else { return None };
        let (one, other) = (told_all[told].1.clone(), told_all[told + 1].1.clone());
        (told_all[told].1, told_all[told + 1].1) = (other, one);
        Some(())
    });
}

#[test]
fn a_revision_told_in_parts() {
    let of_one = |events: &[Event]| events.windows(2).any(|two| two[0].kv.mod_revision == two[1].kv.mod_revision);
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, of_one)?;
        let session = &mut history.watches[session];
        let at = session.told[told].0;
        let all = events(session, told)?;
        let cut = all.windows(2).position(|two| two[0].kv.mod_revision == two[1].kv.mod_revision)? + 1;
        let rest = all.split_off(cut);
        session.told.insert(told + 1, (at, Told::Events(rest)));
        Some(())
    });
}

#[test]
fn an_event_that_is_not_so() {
    tamper(|_| true, |events| events[0].kv.value = "never".into());
    tamper(
        |_| true,
        |events| {
            let kind = events[0].kind;
            events[0].kind = if kind == EventKind::Put { EventKind::Delete } else { EventKind::Put };
        },
    );
    let shown = |events: &[Event]| events[0].prev_kv.is_some();
    tamper(shown, |events| events[0].prev_kv.as_mut().unwrap().value = "never".into());
}

#[test]
fn a_state_before_that_is_kept_back() {
    finds(check, |history, chance| {
        let replay = Replay::of(history).unwrap();
        let readable = |events: &[Event]| events[0].prev_kv.is_some();
        let (session, told) = response(history, chance, readable)?;
        let session = &mut history.watches[session];
        let compacted = replay.compacted_at(session.told[told].0);
        let event = &mut events(session, told)?[0];
        event.prev_kv = None;
        (event.kv.mod_revision > compacted).then_some(())
    });
}

#[test]
fn an_event_that_was_not_asked_for() {
    finds(check, |history, chance| {
        let (session, _) = response(history, chance, |_| true)?;
        let session = &mut history.watches[session];
        session.range.key = "nothing".into();
        session.range.range_end.clear();
        Some(())
    });
    finds(check, |history, chance| {
        let (session, _) = response(history, chance, |events| events.iter().any(|event| event.kind == EventKind::Put))?;
        history.watches[session].no_put = true;
        Some(())
    });
}

#[test]
fn something_told_ahead_of_time() {
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, |_| true)?;
        let replay = Replay::of(history).unwrap();
        let session = &mut history.watches[session];
        let newest = events(session, told)?.last()?.kv.mod_revision;
        let begun = session.begun;
        session.told.iter_mut().take(told + 1).skip(1).for_each(|(at, _)| *at = begun);
        (newest > replay.revision_at(begun)).then_some(())
    });
    insert(1, |_, replay| Told::Progress(replay.model.revision() + 1));
}

#[test]
fn progress_ahead_of_events_or_backwards() {
    insert(0, |events, _| Told::Progress(events[0].kv.mod_revision));
    insert(0, |events, _| Told::Progress(events.last().unwrap().kv.mod_revision));
    insert(1, |events, _| Told::Progress(events.last().unwrap().kv.mod_revision - 1));
}

#[test]
fn a_watch_that_begins_or_ends_wrongly() {
    insert(0, |_, _| Told::Created(1));
    insert(0, |_, _| Told::Canceled(0));
    insert(1, |_, replay| Told::Canceled(replay.model.revision() + 1));
    insert(1, |events, _| Told::Canceled(events[0].kv.mod_revision));
    finds(check, |history, chance| {
        let (session, _) = response(history, chance, |_| true)?;
        history.watches[session].told.remove(0);
        Some(())
    });
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, |_| true)?;
        let session = &mut history.watches[session];
        session.ended = Some(session.told[told].0.checked_sub(Duration::from_nanos(1))?);
        Some(())
    });
}

#[test]
fn a_watch_that_goes_on_in_the_wrong_place() {
    // Told again what the session before was told last.
    finds(check, |history, chance| {
        let (first, told) = response(history, chance, |_| true)?;
        let last = events(&mut history.watches[first], told)?.last()?.kv.mod_revision;
        let watch = history.watches[first].watch;
        let next = history.watches[first + 1..]
            .iter_mut()
            .find(|session| session.watch == watch && !session.told.is_empty())?;
        next.start_revision = last;
        Some(())
    });
    // What it should be told next is skipped.
    finds(check, |history, chance| {
        let (session, told) = response(history, chance, |_| true)?;
        let watch = history.watches[session].watch;
        let first = told == 1 && history.watches[session].start_revision > 0;
        let resumes = history.watches[..session].iter().any(|other| {
            other.watch == watch && !other.told.is_empty() && !matches!(other.told.last(), Some((_, Told::Canceled(_))))
        });
        let session = &mut history.watches[session];
        let skipped = events(session, told)?.first()?.kv.mod_revision;
        session.start_revision = skipped + 1;
        let rest = events(session, told)?;
        rest.retain(|event| event.kv.mod_revision > skipped);
        if rest.is_empty() {
            session.told.remove(told);
        }
        (first && resumes).then_some(())
    });
}
