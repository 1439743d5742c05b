//! What clients asked, what they were told, and when.

use std::collections::BTreeMap;
use std::fmt;

/// How an operation ended, as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Return<O> {
    /// The client was given an answer.
    Done {
        /// When.
        time: u64,
        /// What it was told.
        output: O,
    },
    /// The client never learned the outcome: a time-out, a lost connection. The operation may take effect at any time after it
    /// was invoked, or never.
    Unknown,
}

/// One call of one client. A call that certainly took no effect has no place in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// Who called. A client has at most one call open at a time, not counting those whose outcome it will never learn.
    pub client: u64,
    /// When, in any unit.
    pub invoke: u64,
    /// What was asked.
    pub input: I,
    /// How it ended.
    pub result: Return<O>,
}

impl<I, O> Operation<I, O> {
    /// The answer, if it was learned.
    pub fn output(&self) -> Option<&O> {
        match &self.result {
            Return::Done { output, .. } => Some(output),
            Return::Unknown => None,
        }
    }

    /// When the answer came, if it did.
    pub fn returned(&self) -> Option<u64> {
        match self.result {
            Return::Done { time, .. } => Some(time),
            Return::Unknown => None,
        }
    }
}

/// Where an operation begins and ends in the sequence of all events. This, not time, is what the checkers compare: two events
/// may bear the same time and yet have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: Option<usize>,
}

/// Operations in the order in which they were invoked.
#[derive(Clone, Debug)]
pub struct History<I, O> {
    operations: Vec<Operation<I, O>>,
    spans: Vec<Span>,
}

impl<I, O> History<I, O> {
    /// An empty history that takes events as they happen.
    pub fn builder() -> HistoryBuilder<I, O> {
        HistoryBuilder { calls: Vec::new(), open: BTreeMap::new(), events: 0, now: 0 }
    }

    /// A history of finished records.
    ///
    /// Of a return and an invocation at the same time nobody knows which was first; they count as concurrent, be they of one
    /// client. Where that loses too much, use [`History::builder`], which keeps the order of events.
    ///
    /// # Errors
    /// A return that precedes its invocation; two answered calls of one client that overlap.
    pub fn from_operations(mut operations: Vec<Operation<I, O>>) -> Result<Self, HistoryError> {
        operations.sort_by_key(|operation| operation.invoke);
        let mut busy_until: BTreeMap<u64, u64> = BTreeMap::new();
        for operation in &operations {
            let Operation { client, invoke, .. } = *operation;
            if busy_until.get(&client).is_some_and(|&until| until > invoke) {
                return Err(HistoryError::Overlap { client, time: invoke });
            }
            let Some(returned) = operation.returned() else { continue };
            if returned < invoke {
                return Err(HistoryError::ReturnBeforeInvoke { client, invoke, returned });
            }
            busy_until.insert(client, returned);
        }
        let spans = spans(&operations);
        Ok(Self { operations, spans })
    }

    /// All operations, in the order in which they were invoked.
    pub fn operations(&self) -> &[Operation<I, O>] {
        &self.operations
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// All operations, each with its place in the sequence of events.
    pub(crate) fn spanned(&self) -> impl Iterator<Item = (&Operation<I, O>, Span)> {
        self.operations.iter().zip(self.spans.iter().copied())
    }
}

/// Ranks the events by time; at the same time invocations come first, so that nothing is ordered which may not have been.
fn spans<I, O>(operations: &[Operation<I, O>]) -> Vec<Span> {
    let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * operations.len());
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.invoke, false, index));
        if let Some(time) = operation.returned() {
            events.push((time, true, index));
        }
    }
    events.sort_unstable();
    let mut spans = vec![Span { start: 0, end: None }; operations.len()];
    for (position, &(_, is_return, index)) in events.iter().enumerate() {
        if is_return {
            spans[index].end = Some(position);
        } else {
            spans[index].start = position;
        }
    }
    spans
}

/// Takes events in the order in which they happen, and refuses those that cannot be.
///
/// ```
/// use kontiki_lincheck::{History, HistoryError};
///
/// let mut history = History::<&str, u32>::builder();
/// history.invoke(1, 10, "read")?;
/// history.complete(1, 12, 0)?;
/// history.invoke(2, 12, "add one")?;
/// history.lose(2)?; // the answer never came
/// assert_eq!(history.complete(3, 13, 1), Err(HistoryError::ReturnWithoutInvoke { client: 3, time: 13 }));
/// assert_eq!(history.finish().len(), 2);
/// # Ok::<(), HistoryError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HistoryBuilder<I, O> {
    /// `None` where the call failed, which takes it out of the history.
    calls: Vec<Option<(Operation<I, O>, Span)>>,
    /// The call that each client waits for.
    open: BTreeMap<u64, usize>,
    events: usize,
    now: u64,
}

impl<I, O> HistoryBuilder<I, O> {
    /// A client calls.
    ///
    /// # Errors
    /// The client has a call open already; time went back.
    pub fn invoke(&mut self, client: u64, time: u64, input: I) -> Result<(), HistoryError> {
        if self.open.contains_key(&client) {
            return Err(HistoryError::Overlap { client, time });
        }
        let start = self.event(time)?;
        self.open.insert(client, self.calls.len());
        let operation = Operation { client, invoke: time, input, result: Return::Unknown };
        self.calls.push(Some((operation, Span { start, end: None })));
        Ok(())
    }

    /// A client is answered.
    ///
    /// # Errors
    /// The client has no call open; time went back.
    pub fn complete(&mut self, client: u64, time: u64, output: O) -> Result<(), HistoryError> {
        let &call = self.open.get(&client).ok_or(HistoryError::ReturnWithoutInvoke { client, time })?;
        let Some((operation, span)) = &mut self.calls[call] else { unreachable!("an open call is in the list") };
        if time < operation.invoke {
            return Err(HistoryError::ReturnBeforeInvoke { client, invoke: operation.invoke, returned: time });
        }
        if time < self.now {
            return Err(HistoryError::TimeWentBack { from: self.now, to: time });
        }
        operation.result = Return::Done { time, output };
        span.end = Some(self.events);
        self.event(time)?;
        self.open.remove(&client);
        Ok(())
    }

    /// A client gives up waiting and will never learn the outcome. It may call again.
    ///
    /// # Errors
    /// The client has no call open.
    pub fn lose(&mut self, client: u64) -> Result<(), HistoryError> {
        self.close(client).map(|_| ())
    }

    /// A client learns that its call took no effect and never will.
    ///
    /// # Errors
    /// The client has no call open.
    pub fn fail(&mut self, client: u64) -> Result<(), HistoryError> {
        let call = self.close(client)?;
        self.calls[call] = None;
        Ok(())
    }

    /// The history. Of calls still open nobody will learn the outcome.
    pub fn finish(self) -> History<I, O> {
        let (operations, spans) = self.calls.into_iter().flatten().unzip();
        History { operations, spans }
    }

    fn close(&mut self, client: u64) -> Result<usize, HistoryError> {
        self.open.remove(&client).ok_or(HistoryError::ReturnWithoutInvoke { client, time: self.now })
    }

    fn event(&mut self, time: u64) -> Result<usize, HistoryError> {
        if time < self.now {
            return Err(HistoryError::TimeWentBack { from: self.now, to: time });
        }
        self.now = time;
        self.events += 1;
        Ok(self.events - 1)
    }
}

/// Why a list of events is no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryError {
    /// An answer to a client that had not called.
    ReturnWithoutInvoke {
        /// Which client.
        client: u64,
        /// When the answer came.
        time: u64,
    },
    /// An answer before the question.
    ReturnBeforeInvoke {
        /// Which client.
        client: u64,
        /// When it called.
        invoke: u64,
        /// When it was answered.
        returned: u64,
    },
    /// A client that called while it waited for an answer.
    Overlap {
        /// Which client.
        client: u64,
        /// When it called again.
        time: u64,
    },
    /// An event that is older than the one before it.
    TimeWentBack {
        /// The time of the event before.
        from: u64,
        /// The time of this one.
        to: u64,
    },
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReturnWithoutInvoke { client, time } => write!(f, "client {client} has no call open at {time}"),
            Self::ReturnBeforeInvoke { client, invoke, returned } => {
                write!(f, "client {client} called at {invoke} and was answered before, at {returned}")
            }
            Self::Overlap { client, time } => write!(f, "client {client} called at {time} with a call still open"),
            Self::TimeWentBack { from, to } => write!(f, "an event at {to} follows one at {from}"),
        }
    }
}

impl std::error::Error for HistoryError {}
