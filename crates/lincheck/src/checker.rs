//! From a history to a verdict.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::History;
use crate::model::Model;
use crate::partition::Partition;
use crate::search::{Outcome, Search};
use crate::witness::Witness;

/// What a checker found.
pub enum Verdict<M: Model> {
    /// There is an order of all operations that the model permits and that agrees with real time.
    Ok,
    /// There is none. The first key, in key order, that shows it.
    Illegal(Box<Witness<M>>),
    /// Nobody knows: the budget was used up at these keys, and all others are fine.
    Unknown(Vec<M::Key>),
}

impl<M: Model> Verdict<M> {
    /// Whether the history is linearizable.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok)
    }

    /// Whether the history is certainly not linearizable.
    pub fn is_illegal(&self) -> bool {
        matches!(self, Self::Illegal(_))
    }

    /// What shows that the history is not linearizable.
    pub fn witness(&self) -> Option<&Witness<M>> {
        match self {
            Self::Illegal(witness) => Some(witness),
            Self::Ok | Self::Unknown(_) => None,
        }
    }
}

impl<M: Model> fmt::Display for Verdict<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => write!(f, "linearizable"),
            Self::Illegal(witness) => write!(f, "{witness}"),
            Self::Unknown(keys) => write!(f, "unknown: the budget was used up at keys {keys:?}"),
        }
    }
}

impl<M: Model> fmt::Debug for Verdict<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How much work each key is worth.
pub(crate) struct Limits {
    pub(crate) steps: u64,
    pub(crate) configurations: usize,
    interrupt: Option<Box<dyn Fn() -> bool>>,
}

impl Limits {
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|interrupt| interrupt())
    }
}

/// Checks histories against a model.
///
/// Keys are looked at one after the other. Time and memory are bounded by [`steps`](Self::steps) and
/// [`configurations`](Self::configurations), for each key anew. The same history gets the same verdict and the same witness
/// each time, unless it is interrupted.
///
/// ```
/// use kontiki_lincheck::{Checker, History, Register, RegisterCall, RegisterInput, RegisterOutput};
///
/// let mut history = History::builder();
/// history.invoke(1, 0, RegisterInput { key: "x", call: RegisterCall::Write(7) })?;
/// history.complete(1, 5, RegisterOutput::Written)?;
/// history.invoke(2, 6, RegisterInput { key: "x", call: RegisterCall::Read })?;
/// history.complete(2, 9, RegisterOutput::Read(None))?; // the write was over: this read is stale
///
/// let verdict = Checker::new(Register::default()).steps(1_000).check(&history.finish());
/// assert!(verdict.is_illegal());
/// println!("{verdict}");
/// # Ok::<(), kontiki_lincheck::HistoryError>(())
/// ```
pub struct Checker<M> {
    model: M,
    limits: Limits,
}

impl<M: Model> Checker<M> {
    /// A checker with limits that suit a test: up to about ten seconds, and a few hundred megabytes, for the worst key.
    pub fn new(model: M) -> Self {
        Self { model, limits: Limits { steps: 50_000_000, configurations: 1_000_000, interrupt: None } }
    }

    /// How many steps of the model a key is worth. A key without contention needs little more than one for each operation.
    #[must_use]
    pub fn steps(mut self, steps: u64) -> Self {
        self.limits.steps = steps;
        self
    }

    /// How many configurations to remember at once; this bounds the memory.
    #[must_use]
    pub fn configurations(mut self, configurations: usize) -> Self {
        self.limits.configurations = configurations;
        self
    }

    /// Asked now and then, and once for each key, whether to give up; for deadlines. All keys not looked at by then are unknown.
    #[must_use]
    pub fn interrupt(mut self, interrupt: impl Fn() -> bool + 'static) -> Self {
        self.limits.interrupt = Some(Box::new(interrupt));
        self
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The verdict on a history.
    pub fn check(&self, history: &History<M::Input, M::Output>) -> Verdict<M> {
        let mut by_key: BTreeMap<M::Key, Vec<_>> = BTreeMap::new();
        for (operation, span) in history.spanned() {
            by_key.entry(self.model.key(&operation.input)).or_default().push((operation, span));
        }
        let mut unfinished = Vec::new();
        for (key, operations) in by_key {
            if self.limits.is_interrupted() {
                unfinished.push(key);
                continue;
            }
            let partition = Partition::new(&self.model, operations.into_iter());
            match Search::new(&self.model, &key, &partition, &self.limits).run() {
                Outcome::Legal => {}
                Outcome::Illegal(witness) => return Verdict::Illegal(witness),
                Outcome::Unfinished => unfinished.push(key),
            }
        }
        if unfinished.is_empty() { Verdict::Ok } else { Verdict::Unknown(unfinished) }
    }
}
