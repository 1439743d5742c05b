//! What clients do, one kind in a file.

pub(crate) mod admin;
pub(crate) mod bursts;
pub(crate) mod elections;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod locks;
mod place;
pub(crate) mod ranges;
pub(crate) mod txns;
pub(crate) mod watches;
