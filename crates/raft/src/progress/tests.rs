//! The table of paces: every pace with everything that can happen to it.

use super::*;

const MATCH: u64 = 4;
const HELD: u64 = 3; // the leader's first entry

/// A follower in a pace, with 4 matched. The probe went out behind 6 with entries 7 to 9; the stream goes up to 9.
fn follower(pace: &str) -> Progress {
    let mut peer = Progress::new(NodeId(2), Index(0), Index(7), 0);
    peer.match_index = Index(MATCH);
    peer.commit_told = Index(MATCH);
    match pace {
        "ready" => {}
        "probe" => peer.on_sent(Index(9), 30, 0),
        "stream" => {
            peer.pace = Pace::Replicate;
            peer.next_index = Index(5);
            peer.on_sent(Index(6), 20, 0);
            peer.on_sent(Index(9), 30, 0);
        }
        "idle" => {
            peer.pace = Pace::Replicate;
            peer.next_index = Index(5);
        }
        "snapshot" => {
            peer.match_index = Index(0);
            peer.next_index = Index(1);
            peer.become_snapshot(0);
        }
        _ => unreachable!(),
    }
    peer
}

fn happen(peer: &mut Progress, event: &str) {
    let settings = Settings { election_timeout_ticks: 10, heartbeat_interval_ticks: 2, ..Settings::default() };
    match event {
        "accepted 3" => peer.on_accepted(Index(3), Index(HELD), 1),
        "accepted 6" => peer.on_accepted(Index(6), Index(HELD), 1),
        "accepted 9" => peer.on_accepted(Index(9), Index(HELD), 1),
        "rejected 6" => drop(peer.on_rejected(Index(6), Index(5))),
        "rejected 4" => drop(peer.on_rejected(Index(4), Index(2))),
        "forgotten 2" => drop(peer.on_forgotten(Index(2))),
        "heartbeat 1" => peer.on_heartbeat_reply(&settings, 1),
        "heartbeat 6" => peer.on_heartbeat_reply(&settings, 6),
        "reset" => peer.on_reset(),
        "installed 8" => peer.on_snapshot_ended(Some(Index(8)), 1),
        "failed" => peer.on_snapshot_ended(None, 1),
        _ => unreachable!(),
    }
}

fn describe(peer: &Progress) -> String {
    let pace = match peer.pace {
        Pace::Probe(None) => "ready",
        Pace::Probe(Some(_)) => "probe",
        Pace::Replicate if peer.window.is_empty() => "idle",
        Pace::Replicate => "stream",
        Pace::Snapshot { .. } => "snapshot",
    };
    assert!(peer.next_index > peer.match_index, "bug L09");
    format!("{pace} {}+{}", peer.next_index, peer.window.len())
}

/// Pace, next index and messages on their way after each event. "ready" may probe, "probe" waits; "stream" has
/// something on its way, "idle" has not.
const TABLE: &[(&str, [&str; 5])] = &[
    //  from            ready 7+0     probe 7+1     stream 10+2    idle 5+0      snapshot 1+0
    ("accepted 3", ["idle 5+0", "idle 5+0", "idle 5+0", "idle 5+0", "idle 4+0"]), // late, or from a new life
    ("accepted 6", ["idle 7+0", "stream 10+1", "stream 10+1", "idle 7+0", "idle 7+0"]),
    ("accepted 9", ["idle 10+0", "idle 10+0", "idle 10+0", "idle 10+0", "idle 10+0"]),
    ("rejected 6", ["ready 7+0", "ready 6+0", "ready 6+0", "idle 5+0", "snapshot 1+0"]),
    ("rejected 4", ["ready 7+0", "probe 7+1", "stream 10+2", "idle 5+0", "snapshot 1+0"]), // no news (bug L10)
    ("forgotten 2", ["ready 3+0", "ready 3+0", "ready 3+0", "ready 3+0", "snapshot 1+0"]),
    ("heartbeat 1", ["ready 7+0", "probe 7+1", "stream 10+2", "idle 5+0", "snapshot 1+0"]),
    ("heartbeat 6", ["ready 7+0", "ready 7+0", "ready 5+0", "idle 5+0", "snapshot 1+0"]), // lost on its way
    ("reset", ["ready 7+0", "ready 7+0", "ready 5+0", "idle 5+0", "snapshot 1+0"]),
    ("installed 8", ["ready 7+0", "probe 7+1", "stream 10+2", "idle 5+0", "ready 9+0"]),
    ("failed", ["ready 7+0", "probe 7+1", "stream 10+2", "idle 5+0", "probe 1+0"]), // waits for a sign of life
];

#[test]
fn every_pace_meets_every_event() {
    for (event, expected) in TABLE {
        for (pace, expected) in ["ready", "probe", "stream", "idle", "snapshot"].iter().zip(expected) {
            let mut peer = follower(pace);
            happen(&mut peer, event);
            assert_eq!(describe(&peer), *expected, "{pace} meets {event}");
        }
    }
}

#[test]
fn the_window_bounds_messages_and_bytes() {
    let settings = Settings { inflight_messages_max: 2, inflight_bytes_max: 40, ..Settings::default() };
    let mut peer = follower("idle");
    peer.on_sent(Index(5), 10, 0);
    assert!(!peer.is_paused(&settings));
    assert_eq!(peer.window.bytes_left(&settings), 30);
    peer.on_sent(Index(6), 10, 0);
    assert!(peer.is_paused(&settings), "two messages are under way");
    peer.on_accepted(Index(5), Index(HELD), 1);
    assert!(!peer.is_paused(&settings));
    peer.on_sent(Index(7), 30, 1);
    assert!(peer.is_paused(&settings), "forty bytes are under way");
    peer.on_accepted(Index(7), Index(HELD), 2);
    assert_eq!(peer.window.bytes_left(&settings), 40); // bug L11: nothing leaks
}

#[test]
fn a_snapshot_that_does_not_connect_does_not_end_the_wait() {
    let mut peer = follower("snapshot");
    peer.on_accepted(Index(HELD - 2), Index(HELD), 1);
    assert_eq!(describe(&peer), "snapshot 2+0");
    peer.on_accepted(Index(HELD - 1), Index(HELD), 1); // bug S01: it need not be the one that was sent
    assert_eq!(describe(&peer), "idle 3+0");
}
