//! What a replica weighs, and that its work costs no allocation: a process may have a hundred thousand of them.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;

use kontiki_raft::*;

/// Every entry counts as one byte.
struct OneByteEach;

impl EntrySizes for OneByteEach {
    fn fit(&self, first: Index, last: Index, bytes_max: u64) -> (Index, u64) {
        let last = last.min(Index(first.0 + bytes_max.max(1) - 1));
        (last, last.0 + 1 - first.0)
    }
}

/// Three replicas in memory whose disks are done at once. Everything that the driver needs is reused from turn to turn.
struct Trio {
    nodes: Vec<Node>,
    effects: Vec<Effect>,
    inputs: VecDeque<Input>,
    network: VecDeque<(NodeId, NodeId, Message)>,
}

impl Trio {
    fn new(configuration: &Arc<Configuration>, settings: &Arc<Settings>) -> Trio {
        let start = |id| {
            Node::new(Start {
                id: NodeId(id),
                incarnation: None,
                hard_state: HardState::default(),
                compacted: LogPosition::START,
                runs: TermRuns::None,
                last: Index(0),
                configuration: Arc::clone(configuration),
                configurations: Vec::new(),
                applied: Index(0),
                seed: 1,
                settings: Arc::clone(settings),
            })
        };
        Trio {
            nodes: (1..=3).map(start).collect(),
            effects: Vec::with_capacity(64),
            inputs: VecDeque::with_capacity(64),
            network: VecDeque::with_capacity(64),
        }
    }

    fn turn(&mut self, place: usize, input: Input) {
        self.inputs.push_back(input);
        loop {
            let node = &mut self.nodes[place];
            let input = self.inputs.pop_front();
            let flushed = input.is_none();
            match input {
                Some(input) => node.step(input, &mut self.effects),
                None => node.flush(&OneByteEach, &mut self.effects),
            }
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Persist(persist) => self.inputs.push_back(Input::Persisted(persist.ticket)),
                    Effect::Send { to, message } => self.network.push_back((node.id(), to, message)),
                    Effect::Committed(index) => self.inputs.push_back(Input::Applied(index)),
                    _ => {}
                }
            }
            if flushed && self.inputs.is_empty() {
                return;
            }
        }
    }

    fn settle(&mut self) {
        while let Some((from, to, message)) = self.network.pop_front() {
            self.turn(to.0 as usize - 1, Input::Receive { from, message });
        }
    }

    fn elect(&mut self) {
        self.turn(0, Input::Campaign);
        self.settle();
        assert_eq!(self.nodes[0].role(), RoleKind::Leader);
    }

    fn commit(&mut self, rounds: u64, count: u64) {
        for _ in 0..rounds {
            self.turn(0, Input::Propose { count, bytes: count });
            self.settle();
        }
    }

    fn tick(&mut self, count: u32) {
        for _ in 0..count {
            for place in 0..3 {
                self.turn(place, Input::Tick);
                self.settle();
            }
        }
    }
}

fn trio() -> (Trio, Arc<Configuration>) {
    let configuration = Arc::new(Configuration::of((1..=3).map(NodeId)));
    (Trio::new(&configuration, &Arc::new(Settings::default())), configuration)
}

#[test]
fn an_idle_follower_weighs_at_most_256_bytes() {
    assert!(size_of::<Node>() <= 256, "{}", size_of::<Node>());
    let (mut trio, configuration) = trio();
    trio.elect();
    trio.commit(100, 3);
    trio.tick(3);
    // What it holds outside of itself is what a copy of it would have to allocate, the shared parts aside.
    let idle = &trio.nodes[1];
    assert_eq!((idle.role(), idle.applied()), (RoleKind::Follower, Index(301)));
    let copied = allocation_counter::measure(|| drop(std::hint::black_box(idle.clone())));
    assert_eq!(copied.bytes_total, 0, "an idle follower holds {} bytes on the heap", copied.bytes_total);
    assert!(Arc::strong_count(&configuration) > 3, "the configuration is shared, not copied");
}

#[test]
fn committing_allocates_nothing() {
    let (mut trio, _) = trio();
    trio.elect();
    trio.commit(200, 3); // until every queue has its size
    let before = trio.nodes[2].applied();
    for count in [1, 64, 1024] {
        let spent = allocation_counter::measure(|| trio.commit(1000, count));
        assert_eq!(spent.count_total, 0, "1000 rounds of {count} proposals allocate {} times", spent.count_total);
    }
    assert_eq!(trio.nodes[2].applied(), Index(before.0 + 1000 * (1 + 64 + 1024)));
}

#[test]
fn reads_at_the_leader_allocate_nothing() {
    let (mut trio, _) = trio();
    trio.elect();
    let read = |trio: &mut Trio, id| {
        trio.turn(0, Input::Read(ReadId(id)));
        trio.settle();
    };
    (0..200).for_each(|id| read(&mut trio, id));
    let spent = allocation_counter::measure(|| (200..1200).for_each(|id| read(&mut trio, id)));
    assert_eq!(spent.count_total, 0, "1000 reads allocate {} times", spent.count_total);
}
