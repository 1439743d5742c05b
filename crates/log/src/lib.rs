//! The write-ahead log that all Raft groups of a process share: what makes bytes survive.
//!
//! One [`Log`] is one directory of segments. Groups stage their changes ([`Log::save`], [`Log::compact`],
//! [`Log::reset`]) into the batch that is being filled; [`Log::start_write`] turns the batch into a [`WriteJob`] for the
//! thread that owns the disk: one write and one sync for all groups. Meanwhile the next batch fills; one write is in
//! flight at a time. [`Log::finish_write`] then tells which tickets are durable.
//!
//! ```text
//!   save, compact, reset            start_write            run                 finish_write
//!  ────────────────────▶ filling ───────────────▶ job ────────────▶ done ─────────────────────▶ tickets
//!        (engine)         batch n+1              batch n   (log thread)             (engine)
//!
//!  00000000000000000006.log    removed (or kept as a spare) once no group has a live entry in it
//!  00000000000000000007.log    │header│batch│batch│batch│      zeros or stale bytes
//!  00000000000000000007.ledger │header│row  │row  │row  │      identities once more, each row written when its batch is durable
//!  00000000000000000008.log    │header│heads of all groups, batch│batch│batch torn by a crash
//!  00000000000000000008.ledger │header│row                       │row  │
//! ```
//!
//! What a crash leaves: whole batches up to the last one whose sync had returned, and perhaps the one in flight, whole
//! or torn. [`Log::open`] tells a torn tail, which it cuts, from damage to what was durable, which it never does: entries
//! whose payloads are lost are *gaps* ([`Recovered::gaps`]), known by group, index and term, until [`Log::mend`] gets them
//! again from elsewhere; it refuses to open only where it cannot know what is lost. See `docs/formats/log.md` for every byte
//! and every case. Beside writes there are two kinds of work for other threads: [`ScrubJob`] reads back what is durable,
//! [`ReserveJob`] keeps space for one more segment. [`inspect`] reads a log without opening it.
//!
//! The log is a deterministic struct: no thread, clock or chance of its own but the salt of a new segment.
//!
//! ```
//! # fn main() -> Result<(), kontiki_log::LogError> {
//! use std::{path::Path, sync::Arc};
//! use kontiki_log::{Entry, Identity, Log, Options, Write};
//! use kontiki_raft::{GroupId, HardState, Index, Term, Ticket};
//! use kontiki_world::SimDisk;
//!
//! let (disk, dir) = (Arc::new(SimDisk::new(1)), Path::new("/log"));
//! let identity = Identity { cluster_id: 7, member_id: 1 };
//! let (mut log, groups) = Log::open(disk.clone(), dir, identity, Options::default())?;
//! assert!(groups.is_empty());
//!
//! log.save(Write {
//!     group: GroupId(1),
//!     ticket: Ticket(1),
//!     hard_state: Some(HardState { term: Term(1), voted_for: None }),
//!     entries: vec![Entry { index: Index(1), term: Term(1), payload: "x=1".into() }],
//! });
//! if let Some(job) = log.start_write() {
//!     let done = job.run()?; // on the thread that may wait for the disk
//!     assert_eq!(log.finish_write(done), [(GroupId(1), Ticket(1))]);
//! }
//! drop(log);
//!
//! let (log, groups) = Log::open(disk, dir, identity, Options::default())?;
//! assert_eq!(groups[&GroupId(1)].last, Index(1));
//! assert_eq!(log.entries(GroupId(1), Index(1), Index(1), u64::MAX)?[0].payload, "x=1");
//! # Ok(())
//! # }
//! ```

mod cache;
mod error;
mod extent;
mod finding;
mod format;
mod gaps;
mod group;
mod inspect;
mod job;
mod judge;
mod ledger;
mod log;
mod mend;
mod names;
mod read;
mod read_file;
mod record;
mod recover;
mod relocate;
mod repair;
mod reserve;
mod restore;
mod scan;
mod scrub;
mod segments;
mod staged;
mod stalled;
mod types;
mod walk;

pub use error::{BatchProblem, Damage, LogError, Proof};
pub use extent::Misfit;
pub use finding::Finding;
pub use gaps::Gap;
pub use inspect::{Inspection, Seen, What, inspect};
pub use job::{WriteDone, WriteJob};
pub use log::Log;
pub use reserve::{ReserveDone, ReserveJob, Space};
pub use scrub::{ScrubDone, ScrubJob};
pub use types::{ENTRY_OVERHEAD, Entry, Identity, Options, Recovered, Write};

#[cfg(test)]
mod tests;
