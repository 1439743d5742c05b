//! Messages that no correct peer would send now: malformed, repeated, from other terms and other lives. A replica may
//! ignore them or be misled as far as their content allows, but nothing in it breaks.

#![allow(clippy::unwrap_used)]

use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Body, Configuration, Effect, EntrySizes, HardState, Heartbeat,
    HeartbeatReply, Index, Input, LogPosition, Message, Node, NodeId, ReadId, RequestVote, RequestVoteReply, RoleKind,
    Settings, SnapshotMeta, Start, Term, TermRun,
};
use proptest::prelude::*;

struct OneByteEach;

impl EntrySizes for OneByteEach {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
        (last, last.0 + 1 - first.0)
    }
}

/// n1 of three, with entries 4 to 8 of terms 2 and 3 behind a compacted 3@2; the disk answers at once.
fn replica() -> Node {
    let run = |term, first| TermRun { term: Term(term), first: Index(first) };
    Node::new(Start {
        id: NodeId(1),
        hard_state: HardState { term: Term(3), voted_for: None },
        compacted: LogPosition { term: Term(2), index: Index(3) },
        runs: vec![run(2, 4), run(3, 6)],
        last: Index(8),
        configuration: Configuration::of((1..=3).map(NodeId)),
        configurations: Vec::new(),
        applied: Index(5),
        seed: 1,
        settings: Settings { pre_vote: false, ..Settings::default() },
    })
}

fn turn(node: &mut Node, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    node.step(input, &mut effects);
    node.flush(&OneByteEach, &mut effects);
    let mut place = 0;
    while place < effects.len() {
        if let Effect::Persist(persist) = &effects[place] {
            let ticket = persist.ticket;
            node.step(Input::Persisted(ticket), &mut effects);
            node.flush(&OneByteEach, &mut effects);
        }
        place += 1;
    }
    effects
}

fn leader() -> Node {
    let mut node = replica();
    turn(&mut node, Input::Campaign);
    let vote = Body::RequestVoteReply(RequestVoteReply { granted: true, pre_vote: false });
    turn(&mut node, Input::Receive { from: NodeId(2), message: Message { term: Term(4), body: vote } });
    assert_eq!(node.role(), RoleKind::Leader);
    node
}

fn index() -> impl Strategy<Value = Index> {
    prop_oneof![8 => 0..14_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)].prop_map(Index)
}

fn position() -> impl Strategy<Value = LogPosition> {
    (0..6_u64, index()).prop_map(|(term, index)| LogPosition { term: Term(term), index })
}

/// Answers and questions, but no claims of leadership.
fn talk() -> impl Strategy<Value = Body> {
    prop_oneof![
        (position(), any::<bool>(), any::<bool>())
            .prop_map(|(last, pre_vote, transfer)| Body::RequestVote(RequestVote { last, pre_vote, transfer })),
        (any::<bool>(), any::<bool>())
            .prop_map(|(granted, pre_vote)| Body::RequestVoteReply(RequestVoteReply { granted, pre_vote })),
        index().prop_map(|matched| Body::AppendAccepted(AppendAccepted { matched })),
        (index(), position()).prop_map(|(rejected, hint)| Body::AppendRejected(AppendRejected { rejected, hint })),
        (0..9_u64).prop_map(|round| Body::HeartbeatReply(HeartbeatReply { round })),
        Just(Body::TimeoutNow),
        (0..5_u64).prop_map(|id| Body::ReadIndex(ReadId(id))),
        (0..5_u64, proptest::option::of(index()))
            .prop_map(|(id, index)| Body::ReadIndexReply { id: ReadId(id), index }),
    ]
}

/// Claims of a leader whose log agrees with the replica's committed part, sound or not.
fn claim() -> impl Strategy<Value = Body> {
    let runs = proptest::collection::vec((0..6_u64, index()), 0..3)
        .prop_map(|runs| runs.into_iter().map(|(term, first)| TermRun { term: Term(term), first }).collect::<Vec<_>>());
    prop_oneof![
        (position(), index(), runs, index()).prop_map(|(prev, last, runs, leader_commit)| {
            Body::AppendEntries(AppendEntries { prev, last, runs, configurations: Vec::new(), leader_commit })
        }),
        (0..9_u64, index()).prop_map(|(round, commit)| Body::Heartbeat(Heartbeat { round, commit })),
        position().prop_map(|position| {
            Body::InstallSnapshot(SnapshotMeta { position, configuration: Configuration::of([NodeId(2)]) })
        }),
    ]
}

/// Whether a claim leaves alone what the replica has committed, entries up to 5 of term 2. Otherwise it proves that
/// something is corrupt, and the replica is right to halt.
fn respects_commit(body: &Body) -> bool {
    let Body::AppendEntries(request) = body else { return true };
    let term_at = |index: Index| request.runs.iter().rev().find(|run| run.first <= index).map(|run| run.term);
    request.prev.index.0 >= 6 && request.prev.term >= Term(2)
        || (request.prev.term == Term(2) || request.prev.index.0 < 3)
            && (request.prev.index.0 + 1..=5)
                .all(|index| index < 4 || index > request.last.0 || term_at(Index(index)) == Some(Term(2)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_leader_survives_every_answer(
        talk in proptest::collection::vec((2..5_u64, 2..6_u64, talk()), 1..30),
    ) {
        let mut node = leader();
        for (from, term, body) in talk {
            turn(&mut node, Input::Receive { from: NodeId(from), message: Message { term: Term(term), body } });
            turn(&mut node, Input::Propose { count: 1, bytes: 1 });
            turn(&mut node, Input::Tick);
        }
    }

    #[test]
    fn a_follower_survives_every_message(
        messages in proptest::collection::vec((2..6_u64, prop_oneof![talk(), claim()]), 1..30),
    ) {
        let mut node = replica();
        for (term, body) in messages {
            // One voice for each term, as Election Safety demands; commit stays where `respects_commit` knows it.
            let body = match body {
                Body::AppendEntries(request) => Body::AppendEntries(AppendEntries { leader_commit: Index(5), ..request }),
                Body::Heartbeat(heartbeat) => Body::Heartbeat(Heartbeat { commit: Index(5), ..heartbeat }),
                other => other,
            };
            if respects_commit(&body) && node.role() != RoleKind::Leader {
                turn(&mut node, Input::Receive { from: NodeId(2), message: Message { term: Term(term), body } });
            }
        }
    }
}

/// A follower's tail behind what a message has shown to be equal may be stale (bugs C02, C04): it is not committed,
/// however far the leader is.
#[test]
fn commit_stops_at_what_is_verified() {
    let mut node = replica();
    let message = |body| Input::Receive { from: NodeId(2), message: Message { term: Term(4), body } };
    let request = AppendEntries {
        prev: LogPosition { term: Term(2), index: Index(5) },
        last: Index(6),
        runs: vec![TermRun { term: Term(3), first: Index(6) }],
        configurations: Vec::new(),
        leader_commit: Index(8),
    };
    let effects = turn(&mut node, message(Body::AppendEntries(request)));
    assert!(effects.contains(&Effect::Committed(Index(6))), "{effects:?}");
    assert_eq!(node.last_index(), Index(8), "nothing conflicts, so nothing is cut (bug L01)");
    turn(&mut node, message(Body::Heartbeat(Heartbeat { round: 1, commit: Index(8) })));
    assert_eq!(node.commit_index(), Index(6));
}

/// What each rule of a well-formed AppendEntries keeps out.
#[test]
fn malformed_entries_are_not_looked_at() {
    let run = |term, first| TermRun { term: Term(term), first: Index(first) };
    let sound = AppendEntries {
        prev: LogPosition { term: Term(3), index: Index(8) },
        last: Index(10),
        runs: vec![run(3, 9), run(4, 10)],
        configurations: vec![(Index(10), Configuration::of([NodeId(1)]))],
        leader_commit: Index(5),
    };
    let well_formed = |request: &AppendEntries| {
        Message { term: Term(4), body: Body::AppendEntries(request.clone()) }.is_well_formed()
    };
    assert!(well_formed(&sound));
    let broken = [
        ("no terms for entries", AppendEntries { runs: vec![], ..sound.clone() }),
        ("terms for no entries", AppendEntries { last: Index(8), ..sound.clone() }),
        ("ends before it begins", AppendEntries { last: Index(7), runs: vec![], ..sound.clone() }),
        ("a gap behind prev", AppendEntries { runs: vec![run(3, 10)], ..sound.clone() }),
        ("terms fall", AppendEntries { runs: vec![run(3, 9), run(2, 10)], ..sound.clone() }),
        ("the first term falls", AppendEntries { runs: vec![run(2, 9)], ..sound.clone() }),
        ("a term to come", AppendEntries { runs: vec![run(3, 9), run(5, 10)], ..sound.clone() }),
        ("a run behind the end", AppendEntries { runs: vec![run(3, 9), run(4, 11)], ..sound.clone() }),
        (
            "a configuration outside",
            AppendEntries { configurations: vec![(Index(8), Configuration::default())], ..sound.clone() },
        ),
        ("no end", AppendEntries { last: Index(u64::MAX), ..sound }),
    ];
    for (why, request) in broken {
        assert!(!well_formed(&request), "{why}");
    }
}
