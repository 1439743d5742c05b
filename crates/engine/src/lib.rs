//! The Multi-Raft engine: carries out the effects of many groups' cores over one shared log.
//!
//! It knows no keys. A group is data ([`Engine::add_group`]); one [`Engine::turn`] serves all groups that have something to
//! do, their appends share one batch and one sync of the log, and their messages to a member leave together. Everything
//! here but [`Runtime`] is deterministic: events and time in, disk and network work out through an [`Outbox`].

mod engine;
mod entry;
mod error;
mod group;
mod machine;
mod outbox;
mod parked;
mod reads;
mod runtime;
mod settings;
mod timings;
mod transfer;

pub use engine::{Engine, Event, GroupStart};
pub use entry::{COMMAND, PayloadError, decode_configuration, encode_configuration};
pub use error::EngineError;
pub use machine::{ChangeOutcome, CheckpointJob, Committed, MachineError, Progress, SnapshotSource, StateMachine};
pub use outbox::Outbox;
pub use runtime::{Inbox, Runtime};
pub use settings::Settings;
pub use timings::{Histogram, HistogramSnapshot, Timings};
