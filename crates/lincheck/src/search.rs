//! The search for a legal order of one key's operations.
//!
//! A *configuration* says which operations have taken effect so far and what the state is. The search goes from return to
//! return: where an operation returned, it must have taken effect, so a configuration in which it did not is expanded by
//! every operation that was open (Wing and Gong). An operation is put in order only when some return asks for it (Lowe's
//! just-in-time order), and a configuration that was seen before is not expanded again (Lowe's memory).
//!
//! What keeps it cheap:
//! - **The furthest first.** Configurations that got past more returns go first, among them those that used up fewer operations
//!   before their time. A legal history is usually walked without turning back.
//! - **Reads do not branch.** A read that agrees with the state takes effect at once: it would change nothing later either.
//! - **Unknown operations weigh nothing.** One that took effect for no reason only narrows what can follow. So of two
//!   configurations with the same state the one that used more unknown operations is dropped.
//! - **Unknown operations need a reason.** One takes effect only right before an operation that comes out differently for it.
//!   Of several that ask for the same the first goes first. And where an order goes on without, the reasons are not even looked for until that order has failed.
//! - **Cuts.** Where no answered operation is open, all configurations differ only in state and in unknown operations used.
//!   The search halts there, finishes what lies before, and forgets it. Where finishing would take long, it goes on
//!   without, and tries again at the next cut: credit that grows with the history pays for it. Where memory runs out, what lies
//!   before a cut is dropped unfinished; then the search can still find an order, but no longer say that there is none.

use std::cmp::{Ordering, Reverse};
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use crate::bits::Bits;
use crate::checker::Limits;
use crate::model::Model;
use crate::partition::{Choice, OperationOf, Partition, number};
use crate::witness::Witness;

/// Steps of the model before a cut that each cut reached pays for, and the most that can be saved up.
const CREDIT_PER_CUT: u64 = 64;
const CREDIT_MAX: u64 = 100_000;

/// How often the caller is asked whether to stop, in expansions.
const INTERRUPT_EVERY: u64 = 1024;

/// How many operations before the last cut a witness shows.
const EARLIER_SHOWN: u32 = 8;

/// A memory larger than this is given back at a cut, because clearing it costs as much as it could hold.
const MEMORY_KEPT: usize = 1024;

/// What the search found.
pub(crate) enum Outcome<M: Model> {
    Legal,
    Illegal(Box<Witness<M>>),
    Unfinished,
}

#[derive(Clone)]
struct Configuration<S> {
    /// All known operations before this one have taken effect.
    position: u32,
    /// Slots whose operation has taken effect, but not yet returned.
    open: Bits,
    /// Unknown operations that have taken effect.
    used: Bits,
    state: S,
    /// The last step taken since the last cut, and how many there were.
    path: Option<u32>,
    length: u32,
    /// Whether known operations have had their turn here, and unknown ones have theirs next.
    unknown_next: bool,
}

/// For each place, set of open operations and state: the smallest sets of unknown operations that lead there.
///
/// Its hasher has no random part, and nothing walks over it.
type Seen<S> = HashMap<(u32, Bits, S), Vec<Bits>, BuildHasherDefault<DefaultHasher>>;

/// A known operation that is open, and the state that it leaves, if it is permitted.
type Outlook<S> = (u32, Option<S>);

/// A step and the one before it: all paths since the last cut, as a tree that grows from its root.
struct Step {
    before: Option<u32>,
    choice: Choice,
}

pub(crate) struct Search<'a, M: Model> {
    model: &'a M,
    key: &'a M::Key,
    partition: &'a Partition<'a, M>,
    limits: &'a Limits,
    queue: BinaryHeap<Queued<M::State>>,
    seen: Seen<M::State>,
    /// For each operation that was asked about, the unknown ones that explain it.
    explaining: BTreeMap<Choice, Vec<u32>>,
    /// How many configurations were seen, large ones counted as several.
    seen_weight: usize,
    steps: Vec<Step>,
    /// The place where configurations wait until all are there.
    cut: u32,
    parked: Vec<Configuration<M::State>>,
    /// Known operations before the last cut, which are explained and forgotten.
    forgotten: u32,
    credit: u64,
    /// The configuration that came furthest before the operation due next was refused.
    furthest: Option<Configuration<M::State>>,
    finished: bool,
    /// No configuration was dropped that might have led to an order.
    is_complete: bool,
    model_steps: u64,
    expansions: u64,
    pushed: u64,
}

impl<'a, M: Model> Search<'a, M> {
    pub(crate) fn new(model: &'a M, key: &'a M::Key, partition: &'a Partition<'a, M>, limits: &'a Limits) -> Self {
        Self {
            model,
            key,
            partition,
            limits,
            queue: BinaryHeap::new(),
            seen: HashMap::default(),
            explaining: BTreeMap::new(),
            seen_weight: 0,
            steps: Vec::new(),
            cut: 0,
            parked: Vec::new(),
            forgotten: 0,
            credit: CREDIT_MAX,
            furthest: None,
            finished: false,
            is_complete: true,
            model_steps: 0,
            expansions: 0,
            pushed: 0,
        }
    }

    pub(crate) fn run(mut self) -> Outcome<M> {
        if self.partition.known.is_empty() {
            return Outcome::Legal;
        }
        let state = self.model.initial(self.key);
        let (open, used) = (Bits::default(), Bits::default());
        self.parked.push(Configuration { position: 0, open, used, state, path: None, length: 0, unknown_next: false });
        while !self.parked.is_empty() {
            self.forget();
            while let Some(Queued { configuration, .. }) = self.queue.pop() {
                if self.is_out_of_budget() {
                    return Outcome::Unfinished;
                }
                let steps_before = self.model_steps;
                self.expand(configuration);
                if self.finished {
                    return Outcome::Legal;
                }
                self.pay_for_the_cut(self.model_steps - steps_before);
            }
        }
        if !self.is_complete {
            return Outcome::Unfinished;
        }
        Outcome::Illegal(Box::new(self.witness()))
    }

    /// All configurations that can be are at the cut: what led to them no longer matters.
    fn forget(&mut self) {
        self.forgotten = self.cut;
        self.steps.clear();
        self.furthest = None;
        self.explaining.clear();
        self.seen_weight = 0;
        if self.seen.capacity() > MEMORY_KEPT {
            self.seen = HashMap::default();
        } else {
            self.seen.clear();
        }
        for configuration in &mut self.parked {
            configuration.path = None;
            configuration.length = 0;
        }
        self.go_past_the_cut();
    }

    fn go_past_the_cut(&mut self) {
        self.cut = number(self.partition.next_cut(self.cut as usize));
        self.credit = (self.credit + CREDIT_PER_CUT).min(CREDIT_MAX);
        for configuration in std::mem::take(&mut self.parked) {
            self.push(configuration);
        }
    }

    /// While some wait at the cut, looking at others is only worth it for being able to forget.
    fn pay_for_the_cut(&mut self, steps: u64) {
        if self.parked.is_empty() {
            return;
        }
        if self.seen_weight > self.limits.configurations / 8 * 7 {
            return self.abandon_the_rest();
        }
        match self.credit.checked_sub(steps) {
            Some(rest) => self.credit = rest,
            None => self.go_past_the_cut(),
        }
    }

    /// Memory is running out: only those at the cut are kept. An order that is found is still an order, but if none is found,
    /// there may be one.
    fn abandon_the_rest(&mut self) {
        self.queue.clear();
        self.is_complete = false;
    }

    fn is_out_of_budget(&mut self) -> bool {
        self.expansions += 1;
        self.model_steps > self.limits.steps
            || self.seen_weight > self.limits.configurations
            || self.steps.len() > u32::MAX as usize / 2
            || self.expansions.is_multiple_of(INTERRUPT_EVERY) && self.limits.is_interrupted()
    }

    /// Lets one more operation take effect, in every way there is.
    fn expand(&mut self, mut from: Configuration<M::State>) {
        let partition = self.partition;
        let due = from.position;
        let mut choices = Vec::new();
        for index in partition.open_at(due) {
            let operation = &partition.known[index as usize];
            if from.open.contains(operation.slot) {
                continue;
            }
            let next = self.step(&from.state, index);
            if operation.read_only && next.as_ref() == Some(&from.state) {
                self.take(&mut from, Choice::Known(index));
                from.open.insert(operation.slot);
            } else {
                choices.push((index, next));
            }
        }
        if from.open.contains(partition.known[due as usize].slot) {
            return self.settle(from);
        }
        let reasons = self.reasons(&from, &choices);
        if from.unknown_next {
            return self.expand_unknown(&from, &choices, &reasons);
        }
        // The operation that is due is the first that is open.
        let refused = choices.first().is_some_and(|(_, next)| next.is_none());
        if refused {
            self.remember_stuck(&from);
        }
        for (index, next) in &choices {
            let Some(state) = next else { continue };
            let mut to = Configuration { state: state.clone(), ..from.clone() };
            self.take(&mut to, Choice::Known(*index));
            to.open.insert(partition.known[*index as usize].slot);
            self.settle(to);
        }
        if refused {
            self.expand_unknown(&from, &choices, &reasons);
        } else if !reasons.is_empty() {
            from.unknown_next = true;
            self.push(from);
        }
    }

    /// The unused unknown operations that explain one of these, or explain an unknown one that does, and so on.
    fn reasons(&mut self, from: &Configuration<M::State>, choices: &[Outlook<M::State>]) -> BTreeSet<u32> {
        let partition = self.partition;
        let unknowns = partition.known[from.position as usize].unknowns;
        let mut reasons = BTreeSet::new();
        if unknowns == from.used.count() {
            return reasons;
        }
        let mut unexplained: Vec<Choice> = choices.iter().map(|&(index, _)| Choice::Known(index)).collect();
        while let Some(choice) = unexplained.pop() {
            for &index in
                self.explaining.entry(choice).or_insert_with(|| partition.explaining(self.model, choice)).iter()
            {
                if index < unknowns && !from.used.contains(index) && reasons.insert(index) {
                    unexplained.push(Choice::Unknown(index));
                }
            }
        }
        reasons
    }

    /// Lets an unknown operation take effect, each for which there is a reason: `choices` are the known ones and what they come
    /// to without it.
    fn expand_unknown(
        &mut self,
        from: &Configuration<M::State>,
        choices: &[Outlook<M::State>],
        reasons: &BTreeSet<u32>,
    ) {
        let unknown = &self.partition.unknown;
        let mut sensitive = Vec::new();
        for &index in reasons.iter().filter(|&&index| !unknown[index as usize].overwrites) {
            sensitive.push((index, self.step_unknown(&from.state, index)));
        }
        for &index in reasons {
            if unknown[index as usize].twin.is_some_and(|twin| !from.used.contains(twin)) {
                continue;
            }
            for state in self.step_unknown(&from.state, index) {
                if !self.makes_a_difference(index, &state, choices, &sensitive) {
                    continue;
                }
                let mut to = Configuration { state, unknown_next: false, ..from.clone() };
                self.take(&mut to, Choice::Unknown(index));
                to.used.insert(index);
                self.settle(to);
            }
        }
    }

    /// Whether some operation comes out in `state` as it does not without the unknown operation that led there. If none does,
    /// whatever follows can follow without it.
    fn makes_a_difference(
        &mut self,
        unknown: u32,
        state: &M::State,
        choices: &[Outlook<M::State>],
        sensitive: &[(u32, Vec<M::State>)],
    ) -> bool {
        let known = &self.partition.known;
        choices.iter().filter(|&&(index, _)| !known[index as usize].overwrites).any(|(index, without)| {
            let with = self.step(state, *index);
            with.is_some() && with != *without
        }) || sensitive.iter().filter(|&&(index, _)| index != unknown).any(|(index, without)| {
            let with = self.step_unknown(state, *index);
            with.iter().any(|next| !without.contains(next))
        })
    }

    fn step(&mut self, state: &M::State, index: u32) -> Option<M::State> {
        self.model_steps += 1;
        let known = &self.partition.known[index as usize];
        self.model.step(state, &known.operation.input, known.output)
    }

    fn step_unknown(&mut self, state: &M::State, index: u32) -> Vec<M::State> {
        self.model_steps += 1;
        self.model.step_unknown(state, &self.partition.unknown[index as usize].operation.input)
    }

    fn take(&mut self, configuration: &mut Configuration<M::State>, choice: Choice) {
        let step = number(self.steps.len());
        self.steps.push(Step { before: configuration.path, choice });
        configuration.path = Some(step);
        configuration.length += 1;
    }

    /// Goes past the returns of operations that took effect, and leaves the configuration where it has to wait.
    fn settle(&mut self, mut configuration: Configuration<M::State>) {
        let known = &self.partition.known;
        while let Some(due) = known.get(configuration.position as usize) {
            if configuration.position == self.cut || !configuration.open.remove(due.slot) {
                break;
            }
            configuration.position += 1;
        }
        if configuration.position as usize == known.len() {
            self.finished = true;
        } else if self.is_new(&configuration) {
            if configuration.position == self.cut {
                self.parked.push(configuration);
            } else {
                self.push(configuration);
            }
        } else if configuration.path.is_some_and(|step| step as usize + 1 == self.steps.len()) {
            self.steps.pop(); // nobody will go on from there
        }
    }

    /// Whether no configuration was seen that permits all that this one does.
    fn is_new(&mut self, configuration: &Configuration<M::State>) -> bool {
        let Configuration { position, open, used, state, .. } = configuration;
        self.seen_weight += 1 + (open.words() + used.words()) / 8;
        match self.seen.entry((*position, open.clone(), state.clone())) {
            Entry::Vacant(entry) => {
                entry.insert(vec![used.clone()]);
                true
            }
            Entry::Occupied(mut entry) => {
                if entry.get().iter().any(|seen| seen.is_subset(used)) {
                    return false;
                }
                entry.get_mut().retain(|seen| !used.is_subset(seen));
                entry.get_mut().push(used.clone());
                true
            }
        }
    }

    fn push(&mut self, configuration: Configuration<M::State>) {
        let ahead = configuration.open.count() + configuration.used.count();
        let order =
            (configuration.position, Reverse(2 * ahead + u32::from(configuration.unknown_next)), Reverse(self.pushed));
        self.pushed += 1;
        self.queue.push(Queued { order, configuration });
    }

    fn remember_stuck(&mut self, at: &Configuration<M::State>) {
        let reach = |configuration: &Configuration<M::State>| (configuration.position, configuration.length);
        if self.furthest.as_ref().is_none_or(|furthest| reach(furthest) < reach(at)) {
            self.furthest = Some(at.clone());
        }
    }

    fn witness(self) -> Witness<M> {
        let stuck = self.furthest.expect("a search that ends without an order was stuck somewhere");
        let partition = self.partition;
        let known = |index: u32| -> &OperationOf<M> { partition.known[index as usize].operation };
        let mut prefix = Vec::new();
        let mut used_before = stuck.used.clone();
        let mut path = stuck.path;
        while let Some(step) = path {
            let Step { before, choice } = self.steps[step as usize];
            prefix.push(match choice {
                Choice::Known(index) => known(index).clone(),
                Choice::Unknown(index) => {
                    used_before.remove(index);
                    partition.unknown[index as usize].operation.clone()
                }
            });
            path = before;
        }
        prefix.reverse();
        let open = partition.open_at(stuck.position).into_iter().skip(1);
        let waiting = open.filter(|&index| !stuck.open.contains(partition.known[index as usize].slot)).map(known);
        let unknowns = partition.known[stuck.position as usize].unknowns;
        let unused = (0..unknowns).filter(|&index| !stuck.used.contains(index));
        let used_before = (0..unknowns).filter(|&index| used_before.contains(index));
        let earlier = (self.forgotten.saturating_sub(EARLIER_SHOWN)..self.forgotten).map(known);
        Witness {
            key: self.key.clone(),
            explained_before: self.forgotten as usize,
            earlier: used_before
                .map(|index| partition.unknown[index as usize].operation)
                .chain(earlier)
                .cloned()
                .collect(),
            prefix,
            state: stuck.state,
            refused: known(stuck.position).clone(),
            open: waiting.chain(unused.map(|index| partition.unknown[index as usize].operation)).cloned().collect(),
        }
    }
}

/// A configuration that waits to be expanded, ordered so that the greatest is the most promising one. No two are equal.
struct Queued<S> {
    order: (u32, Reverse<u32>, Reverse<u64>),
    configuration: Configuration<S>,
}

impl<S> Ord for Queued<S> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.cmp(&other.order)
    }
}

impl<S> PartialOrd for Queued<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> PartialEq for Queued<S> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<S> Eq for Queued<S> {}
