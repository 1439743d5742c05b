//! gRPC over HTTP/2, by hand: length-prefixed messages in, length-prefixed messages and trailers out.
//!
//! A call needs little of HTTP: a path, five bytes before each message, a status in the trailers. Speaking that directly on
//! `h2` streams keeps what a small call costs near to what the store costs. Messages and status codes are tonic's and prost's.

mod answer;
mod frame;
mod metadata;

pub(crate) use answer::{AnswerStream, Gone, answer_unary, refuse};
pub(crate) use frame::{MessageReader, PREFIX, decode, encode, write_prefix};
pub(crate) use metadata::{Metadata, token};
