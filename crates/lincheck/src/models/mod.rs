//! Models of common objects. Each is a few lines, and shows how to write another.

pub(crate) mod counter;
pub(crate) mod kv;
pub(crate) mod register;
