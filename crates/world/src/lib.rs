//! What the rest of the world is to Kontiki: disk, clock and entropy, each as a trait with the real one beside it, and
//! a simulated disk that loses what was not synced.

mod clock;
mod disk;
mod entropy;
mod real;
mod sim;

pub use clock::{Clock, RealClock};
pub use disk::{Disk, File, OpenMode};
pub use entropy::{Random, entropy};
pub use real::{DirectoryLock, RealDisk, lower_thread_priority};
pub use sim::SimDisk;
