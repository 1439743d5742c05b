//! Leases in time: when they end, who is told so, and what a next leader has to know of it.
//!
//! The table of leases is `kv`'s and the same on all members. Time is the leader's alone: its [`clock`] names what is over,
//! in [bounded](pace) numbers; renewals reach it in [batches](renewals). Why no lease ever ends early is in
//! `docs/decisions/0026-leases-end-on-time.md`.

pub mod clock;
pub mod pace;
pub mod renewals;
#[cfg(test)]
mod tests;
