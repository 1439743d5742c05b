//! The framing of messages: one byte that says "not compressed", four that say how long, then the message.

use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use prost::Message;
use tonic::Status;

/// Bytes before each message.
pub(crate) const PREFIX: usize = 5;

/// Puts the prefix of a message of `length` bytes.
///
/// # Panics
/// If the message is longer than a prefix can say: such an answer cannot be sent at all.
pub(crate) fn write_prefix(buffer: &mut BytesMut, length: usize) {
    buffer.put_u8(0);
    buffer.put_u32(u32::try_from(length).expect("an answer is below 4 GiB"));
}

/// A message with its prefix.
pub(crate) fn encode<T: Message>(message: &T) -> Bytes {
    let length = message.encoded_len();
    let mut buffer = BytesMut::with_capacity(PREFIX + length);
    write_prefix(&mut buffer, length);
    message.encode_raw(&mut buffer);
    buffer.freeze()
}

/// Reads a message; its byte fields share the memory of `bytes`.
///
/// # Errors
/// Where the bytes are not such a message.
pub(crate) fn decode<T: Message + Default>(bytes: Bytes) -> Result<T, Status> {
    T::decode(bytes).map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}

/// The messages of a request stream. State is kept between calls, so a `next` that is dropped loses nothing.
pub(crate) struct MessageReader {
    stream: RecvStream,
    bytes_max: usize,
    /// Received and not yet handed out. One frame as it came, as long as messages do not straddle frames.
    pending: Bytes,
}

impl MessageReader {
    /// Reads `stream`, whose messages may have `bytes_max` bytes.
    pub(crate) fn new(stream: RecvStream, bytes_max: usize) -> MessageReader {
        MessageReader { stream, bytes_max, pending: Bytes::new() }
    }

    /// The next message; none when the client has sent its last.
    ///
    /// # Errors
    /// Where a message is too large, compressed, or cut off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The one message of a unary call, read to the end of the stream.
    ///
    /// # Errors
    /// As [`MessageReader::next`], and where there is none.
    pub(crate) async fn only(&mut self) -> Result<Bytes, Status> {
        let message = self.next().await?.ok_or_else(|| Status::internal("grpc: the request has no message"))?;
        while !self.stream.is_end_stream() {
            if self.next().await?.is_none() {
                break;
            }
        }
        Ok(message)
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if let Some(message) = self.take_message()? {
                return Poll::Ready(Ok(Some(message)));
            }
            match ready!(self.stream.poll_data(context)) {
                Some(Ok(chunk)) => {
                    // The window reopens as we read: how much may be in flight is bounded by the size of a message.
                    self.stream.flow_control().release_capacity(chunk.len()).map_err(broken)?;
                    self.append(chunk);
                }
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None if self.pending.is_empty() => return Poll::Ready(Ok(None)),
                None => return Poll::Ready(Err(Status::internal("grpc: the request ends within a message"))),
            }
        }
    }

    fn append(&mut self, chunk: Bytes) {
        if self.pending.is_empty() {
            self.pending = chunk;
            return;
        }
        let mut joined = BytesMut::from(std::mem::take(&mut self.pending));
        if let Some(total) = announced(&joined) {
            joined.reserve((PREFIX + total).saturating_sub(joined.len()));
        }
        joined.extend_from_slice(&chunk);
        self.pending = joined.freeze();
    }

    fn take_message(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(length) = announced(&self.pending) else { return Ok(None) };
        if self.pending[0] != 0 {
            return Err(Status::unimplemented("grpc: the server takes no compressed messages"));
        }
        if length > self.bytes_max {
            let text = format!("grpc: received message larger than max ({length} vs. {})", self.bytes_max);
            return Err(Status::resource_exhausted(text));
        }
        if self.pending.len() < PREFIX + length {
            return Ok(None);
        }
        self.pending.advance(PREFIX);
        Ok(Some(self.pending.split_to(length)))
    }
}

/// The length in the prefix that `bytes` begins with, if the prefix is complete.
fn announced(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(1..PREFIX)?;
    Some(u32::from_be_bytes(length.try_into().ok()?) as usize)
}

fn broken(error: h2::Error) -> Status {
    Status::cancelled(format!("the request stream broke off: {error}"))
}
