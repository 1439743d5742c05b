//! The etcd store under simulation: members, clients, and what they saw.

pub mod checks;
mod client;
mod clients;
mod committed;
mod directory;
mod front;
mod history;
mod matching;
mod model;
mod probe;
mod replay;
mod requests;
mod subject;
mod subscription;
mod words;
mod workload;

pub use history::{Answer, Applied, Call, History, Recorder, Reign, Request, Told, WatchSession};
pub use matching::Matching;
pub use model::{Found, Model, Moment, contains};
pub use probe::Probe;
pub use replay::{Replay, Step};
pub use subject::EtcdSubject;
pub use workload::Mix;
