//! Messages that no correct peer would send now: malformed, repeated, from other terms and other lives. A replica may
//! ignore them or be misled as far as their content allows, but nothing in it breaks.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use kontiki_raft::{
    AppendAccepted, AppendEntries, AppendRejected, Attributes, Body, Configuration, Configurations, Effect, Entries,
    EntrySizes, Exclusion, HardState, Heartbeat, HeartbeatReply, Incarnation, Index, Input, LogPosition, Message, Node,
    NodeId, Pull, ReadId, RequestVote, RequestVoteReply, RoleKind, Settings, SnapshotMeta, Start, Term, TermRun,
};
use proptest::prelude::*;

struct OneByteEach;

impl EntrySizes for OneByteEach {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
        (last, last.0 + 1 - first.0)
    }
}

fn life(id: u64) -> Incarnation {
    Incarnation(0x100 * id)
}

/// Three voters; the lives of n1 and n2 are bound.
fn membership() -> Arc<Configuration> {
    let mut configuration = Configuration::of((1..=3).map(NodeId));
    for id in 1..=2 {
        configuration.set_attributes(NodeId(id), Attributes { incarnation: Some(life(id)), ..Attributes::default() });
    }
    Arc::new(configuration)
}

/// A message of the life that is a member.
fn message(from: u64, term: u64, body: Body) -> Input {
    of_life(from, Some(life(from)), term, body)
}

fn of_life(from: u64, incarnation: Option<Incarnation>, term: u64, body: Body) -> Input {
    Input::Receive { from: NodeId(from), message: Message { term: Term(term), incarnation, body } }
}

/// n1 of three, with entries 4 to 8 of terms 2 and 3 behind a compacted 3@2; the disk answers at once.
fn replica() -> Node {
    let run = |term, first| TermRun { term: Term(term), first: Index(first) };
    Node::new(Start {
        id: NodeId(1),
        incarnation: Some(life(1)),
        hard_state: HardState { term: Term(3), voted_for: None },
        compacted: LogPosition { term: Term(2), index: Index(3) },
        runs: vec![run(2, 4), run(3, 6)].into(),
        last: Index(8),
        configuration: membership(),
        configurations: Vec::new(),
        applied: Index(5),
        seed: 1,
        settings: Arc::new(Settings { pre_vote: false, ..Settings::default() }),
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
    let vote = Body::RequestVoteReply(RequestVoteReply { granted: true, pre_vote: false, last: LogPosition::START });
    turn(&mut node, message(2, 4, vote));
    assert_eq!(node.role(), RoleKind::Leader);
    node
}

fn index() -> impl Strategy<Value = Index> {
    prop_oneof![8 => 0..14_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX / 2)].prop_map(Index)
}

fn position() -> impl Strategy<Value = LogPosition> {
    (0..6_u64, index()).prop_map(|(term, index)| LogPosition { term: Term(term), index })
}

/// Nearly always that of somebody who was a member when the leader was elected.
fn session() -> impl Strategy<Value = Index> {
    prop_oneof![4 => Just(Index(0)), 1 => index()]
}

/// Lives of n2 and n3, others, and none.
fn any_life() -> impl Strategy<Value = Option<Incarnation>> {
    proptest::option::weighted(0.9, (1..5_u64).prop_map(life))
}

fn exclusion() -> impl Strategy<Value = Exclusion> {
    prop_oneof![
        index().prop_map(|at| Exclusion::Removed { at }),
        (index(), 1..4_u64).prop_map(|(at, id)| Exclusion::Stranger { at, member: life(id) }),
    ]
}

fn entries() -> impl Strategy<Value = Entries> {
    let runs = proptest::collection::vec((0..6_u64, index()), 0..3)
        .prop_map(|runs| runs.into_iter().map(|(term, first)| TermRun { term: Term(term), first }).collect());
    (position(), index(), runs, configurations()).prop_map(|(prev, last, runs, configurations)| Entries {
        prev,
        last,
        runs,
        configurations,
    })
}

/// Mostly none; sound and unsound ones, in any order.
fn configurations() -> impl Strategy<Value = Configurations> {
    let ids = || proptest::collection::vec((1..6_u64).prop_map(NodeId), 0..4);
    let one = (ids(), ids(), ids()).prop_map(|(voters, outgoing, learners)| {
        Arc::new(Configuration { voters, outgoing, learners, ..Configuration::default() })
    });
    let sound = ids().prop_map(|voters| Arc::new(Configuration::of(voters)));
    let some = proptest::collection::vec((index(), prop_oneof![one, sound]), 0..3);
    prop_oneof![3 => Just(Vec::new()), 1 => some].prop_map(Configurations::from)
}

/// Answers and questions, but no claims of leadership.
fn talk() -> impl Strategy<Value = Body> {
    prop_oneof![
        (position(), any::<bool>(), any::<bool>())
            .prop_map(|(last, pre_vote, transfer)| Body::RequestVote(RequestVote { last, pre_vote, transfer })),
        (any::<bool>(), any::<bool>(), position()).prop_map(|(granted, pre_vote, last)| {
            Body::RequestVoteReply(RequestVoteReply { granted, pre_vote, last })
        }),
        (index(), session()).prop_map(|(matched, session)| Body::AppendAccepted(AppendAccepted { matched, session })),
        (index(), position(), session()).prop_map(|(rejected, hint, session)| Body::AppendRejected(AppendRejected {
            rejected,
            hint,
            session
        })),
        (0..9_u64, session(), 0..9_u32).prop_map(|(round, session, promise_ticks)| {
            Body::HeartbeatReply(HeartbeatReply { round, session, promise_ticks })
        }),
        exclusion().prop_map(Body::Excluded),
        (position(), position()).prop_map(|(last, behind)| Body::Pull(Pull { last, behind })),
        (0..5_u64).prop_map(|id| Body::ReadIndex(ReadId(id))),
        (0..5_u64, proptest::option::of(index()))
            .prop_map(|(id, index)| Body::ReadIndexReply { id: ReadId(id), index }),
    ]
}

/// Claims of a leader whose log agrees with the replica's committed part, sound or not.
fn claim() -> impl Strategy<Value = Body> {
    prop_oneof![
        (entries(), index(), session()).prop_map(|(entries, leader_commit, session)| {
            Body::AppendEntries(AppendEntries { entries, leader_commit, session })
        }),
        entries().prop_map(Body::Pulled),
        (0..9_u64, index(), session()).prop_map(|(round, commit, session)| Body::Heartbeat(Heartbeat {
            round,
            commit,
            session
        })),
        position().prop_map(|position| {
            Body::InstallSnapshot(SnapshotMeta { position, configuration: Arc::new(Configuration::of([NodeId(2)])) })
        }),
        Just(Body::TimeoutNow),
        Just(Body::Resigned),
    ]
}

/// Whether a claim leaves alone what the replica has committed, entries up to 5 of term 2. Otherwise it proves that
/// something is corrupt, and the replica is right to halt.
fn respects_commit(body: &Body) -> bool {
    let request = match body {
        Body::AppendEntries(AppendEntries { entries, .. }) | Body::Pulled(entries) => entries,
        _ => return true,
    };
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
        talk in proptest::collection::vec((2..5_u64, any_life(), 2..6_u64, talk()), 1..30),
    ) {
        let mut node = leader();
        for (from, life, term, body) in talk {
            turn(&mut node, of_life(from, life, term, body));
            turn(&mut node, Input::Propose { count: 1, bytes: 1 });
            turn(&mut node, Input::Tick);
        }
    }

    #[test]
    fn a_follower_survives_every_message(
        messages in proptest::collection::vec((any_life(), 2..6_u64, prop_oneof![talk(), claim()]), 1..30),
    ) {
        let mut node = replica();
        for (life, term, body) in messages {
            // One voice for each term, as Election Safety demands; commit stays where `respects_commit` knows it.
            let body = match body {
                Body::AppendEntries(request) => Body::AppendEntries(AppendEntries { leader_commit: Index(5), ..request }),
                Body::Heartbeat(heartbeat) => Body::Heartbeat(Heartbeat { commit: Index(5), ..heartbeat }),
                other => other,
            };
            if respects_commit(&body) && node.role() != RoleKind::Leader {
                turn(&mut node, of_life(2, life, term, body));
            }
        }
    }
}

/// A follower's tail behind what a message has shown to be equal may be stale (bugs C02, C04): it is not committed,
/// however far the leader is.
#[test]
fn commit_stops_at_what_is_verified() {
    let mut node = replica();
    let entries = Entries {
        prev: LogPosition { term: Term(2), index: Index(5) },
        last: Index(6),
        runs: vec![TermRun { term: Term(3), first: Index(6) }].into(),
        configurations: Configurations::default(),
    };
    let request = AppendEntries { entries, leader_commit: Index(8), session: Index(0) };
    let effects = turn(&mut node, message(2, 4, Body::AppendEntries(request)));
    assert!(effects.contains(&Effect::Committed(Index(6))), "{effects:?}");
    assert_eq!(node.last_index(), Index(8), "nothing conflicts, so nothing is cut (bug L01)");
    turn(&mut node, message(2, 4, Body::Heartbeat(Heartbeat { round: 1, commit: Index(8), session: Index(0) })));
    assert_eq!(node.commit_index(), Index(6));
}

/// What each rule of a well-formed AppendEntries keeps out.
#[test]
fn malformed_entries_are_not_looked_at() {
    let run = |term, first| TermRun { term: Term(term), first: Index(first) };
    let sound = Entries {
        prev: LogPosition { term: Term(3), index: Index(8) },
        last: Index(10),
        runs: vec![run(3, 9), run(4, 10)].into(),
        configurations: vec![(Index(10), Arc::new(Configuration::of([NodeId(1)])))].into(),
    };
    let well_formed = |entries: &Entries| {
        let request = AppendEntries { entries: entries.clone(), leader_commit: Index(5), session: Index(0) };
        let carries = |body| Message { term: Term(4), incarnation: None, body }.is_well_formed();
        let (sent, fetched) = (carries(Body::AppendEntries(request)), carries(Body::Pulled(entries.clone())));
        assert_eq!(sent, fetched);
        sent
    };
    let of = |index, configuration| vec![(Index(index), Arc::new(configuration))].into();
    assert!(well_formed(&sound));
    let broken = [
        ("no terms for entries", Entries { runs: vec![].into(), ..sound.clone() }),
        ("terms for no entries", Entries { last: Index(8), ..sound.clone() }),
        ("ends before it begins", Entries { last: Index(7), runs: vec![].into(), ..sound.clone() }),
        ("a gap behind prev", Entries { runs: vec![run(3, 10)].into(), ..sound.clone() }),
        ("terms fall", Entries { runs: vec![run(3, 9), run(2, 10)].into(), ..sound.clone() }),
        ("the first term falls", Entries { runs: vec![run(2, 9)].into(), ..sound.clone() }),
        ("a term to come", Entries { runs: vec![run(3, 9), run(5, 10)].into(), ..sound.clone() }),
        ("a run behind the end", Entries { runs: vec![run(3, 9), run(4, 11)].into(), ..sound.clone() }),
        ("a configuration outside", Entries { configurations: of(8, Configuration::of([NodeId(1)])), ..sound.clone() }),
        ("a configuration of nobody", Entries { configurations: of(9, Configuration::default()), ..sound.clone() }),
        ("no end", Entries { last: Index(u64::MAX), ..sound }),
    ];
    for (why, request) in broken {
        assert!(!well_formed(&request), "{why}");
    }
}
