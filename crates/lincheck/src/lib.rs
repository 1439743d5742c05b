//! A history in, a verdict out: is a concurrent object *linearizable*?
//!
//! An object is linearizable if each operation seems to take effect at one moment between its invocation and its return. To
//! test a store for it, let many clients call it at once, break what can break, and write down who asked what, when, and what
//! they were told. This crate says whether some order of the operations explains all answers:
//!
//! - [`History`] holds the operations; a builder takes the events as they happen.
//! - [`Model`] says what the object does when operations come one at a time. [`Register`], [`Kv`] and [`Counter`] are here; another
//!   one takes thirty lines.
//! - [`Checker`] searches for an order and gives a [`Verdict`]: `Ok`, `Illegal` with a [`Witness`] that can be printed,
//!   or `Unknown`, where the search would have cost more than was allowed.
//! - [`ordered`] checks, without a search, stores whose answers say what the order is meant to be.
//!
//! ```
//! use kontiki_lincheck::{Checker, History, Register, RegisterCall, RegisterInput, RegisterOutput};
//!
//! let write = |value| RegisterInput { key: "x", call: RegisterCall::Write(value) };
//! let read = || RegisterInput { key: "x", call: RegisterCall::Read };
//!
//! let mut history = History::builder();
//! history.invoke(1, 0, write("a"))?;
//! history.complete(1, 10, RegisterOutput::Written)?;
//! history.invoke(1, 20, write("b"))?;
//! history.lose(1)?; // timed out: the write of "b" may take effect at any time, or never
//! history.invoke(2, 30, read())?;
//! history.complete(2, 35, RegisterOutput::Read(Some("b")))?;
//! let checker = Checker::new(Register::default());
//! assert!(checker.check(&history.clone().finish()).is_ok());
//!
//! history.invoke(3, 40, read())?; // "b" has been seen, so it must stay
//! history.complete(3, 45, RegisterOutput::Read(Some("a")))?;
//! let verdict = checker.check(&history.finish());
//! println!("{verdict}");
//! let witness = verdict.witness().ok_or("not noticed")?;
//! assert_eq!(witness.refused.client, 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What is printed is the longest order that could be found, each operation with the time it took, and the one that cannot
//! follow. Those marked *earlier* were over at some quiet moment before, in whatever order:
//!
//! ```text
//! not linearizable: key "x", after 2 operations in order
//!   earlier  client 1           ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  RegisterInput { key: "x", call: Write("b") } → ?
//!   earlier  client 1    ├───┤                      RegisterInput { key: "x", call: Write("a") } → Written
//!   earlier  client 2               ├────┤          RegisterInput { key: "x", call: Read } → Read(Some("b"))
//!   here the state is Some("b")
//!   refused  client 3                       ├────┤  RegisterInput { key: "x", call: Read } → Read(Some("a"))
//! ```
//!
//! # Unknown outcomes
//!
//! Under faults many calls time out. [`Return::Unknown`] says that such an operation may take effect at any time after it was
//! invoked, or never. A call that certainly failed is left out of the history. To count a time-out as a failure hides bugs
//! at best; at worst it makes right stores look wrong.
//!
//! # Cost
//!
//! To decide linearizability is NP-complete. The search is that of Wing and Gong (1993) with Lowe's improvements (2017), a key
//! at a time; `search.rs` says what keeps it cheap. A history in which few operations of a key overlap takes linear time, even
//! when it is long and all of one key, and memory for the part between two quiet moments only. Many overlapping writes of one
//! key whose answers say nothing are what it fears; then [`Checker::steps`] bounds the time.
//!
//! Nothing here uses a clock, a thread or chance: the same history gets the same verdict.

mod bits;
mod checker;
mod history;
mod model;
mod models;
pub mod ordered;
mod partition;
mod search;
mod witness;

pub use checker::{Checker, Verdict};
pub use history::{History, HistoryBuilder, HistoryError, Operation, Return};
pub use model::Model;
pub use models::counter::{Counter, CounterInput};
pub use models::kv::{Compare, Found, Kv, KvCall, KvInput, KvOutput, KvState};
pub use models::register::{Register, RegisterCall, RegisterInput, RegisterOutput};
pub use witness::Witness;
