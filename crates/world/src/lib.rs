//! What the rest of the world is to Kontiki: disk, clock and entropy, each as a trait with the real one beside it,
//! a simulated disk that loses what was not synced, and a wrapper that puts scripted faults in the way of any disk.

mod clock;
mod disk;
mod entropy;
mod faulty;
mod private;
mod read_only;
mod real;
mod sim;

pub use clock::{Clock, RealClock, Sleep, before};
pub use disk::{Disk, File, OpenMode};
pub use entropy::{Entropy, Random, RealEntropy, SeededEntropy, entropy};
pub use faulty::{Damage, Fault, FaultId, FaultyDisk, Operation};
pub use private::{Place, Tightened, Unsafe, make_private};
pub use read_only::ReadOnlyDisk;
pub use real::{DirectoryLock, RealDisk, lower_thread_priority, time_of_day_ms};
pub use sim::SimDisk;
