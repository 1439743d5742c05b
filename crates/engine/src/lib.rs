//! The Multi-Raft engine: carries out the effects of many groups' cores over one shared log.
//!
//! It knows no keys. A group is data ([`Engine::add_group`]); one [`Engine::turn`] serves all groups that have something to
//! do, their appends share one batch and one sync of the log, and their messages to a member leave together. Everything
//! here but [`Runtime`] is deterministic: events and time in, disk and network work out through an [`Outbox`].
//!
//! A replica whose log or state is found damaged has no core until it holds again everything that it ever acknowledged: it
//! neither votes nor acknowledges nor serves, is mended by the other members, and says what was done
//! ([`StateMachine::mended`]). What is durable is read again in the background, to find damage before it is needed.

mod engine;
mod entry;
mod error;
mod group;
mod inbox;
mod lag;
mod machine;
mod mending;
mod outbox;
mod parked;
mod proposals;
mod questions;
mod reads;
mod replica;
mod room;
mod runtime;
mod scrubbing;
mod settings;
mod stall;
mod timings;
mod transfer;

pub use engine::{Engine, Event, GroupStart};
pub use entry::{COMMAND, Payload, PayloadError, decode as decode_payload, decode_configuration, encode_configuration};
pub use error::EngineError;
pub use inbox::Inbox;
pub use machine::{
    ChangeOutcome, CheckpointJob, Committed, MachineError, Mend, Progress, ReceiveJob, ScrubStateJob, ScrubbedState,
    SnapshotSource, StateMachine,
};
pub use outbox::{Outbox, Scrub, Scrubbed};
pub use proposals::NotTaken;
pub use runtime::Runtime;
pub use settings::Settings;
pub use timings::{Histogram, HistogramSnapshot, Timings};
pub use transfer::{PartDone, PartJob};
