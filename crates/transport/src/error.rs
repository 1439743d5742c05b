//! What can be wrong with bytes that claim to be a frame.

/// Bytes that are not a frame of this protocol. The connection that they came on is closed: behind them there is no
/// place where a next frame is known to begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than any member sends.
    #[error("frame of {length} bytes is over the limit of {max}")]
    TooLong {
        /// What the frame's head says.
        length: u64,
        /// The limit.
        max: u64,
    },
    /// The bytes handed over are not exactly one frame.
    #[error("frame should have {expected} bytes, {found} were given")]
    WrongLength {
        /// What the frame's head says, head included; the head's own size where not even that is there.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// The bytes were changed on their way.
    #[error("frame checksum is {found:08x}, its head says {expected:08x}")]
    Checksum {
        /// What the frame's head says.
        expected: u32,
        /// What the bytes add up to.
        found: u32,
    },
    /// A kind of frame that this release does not know.
    #[error("unknown frame kind {kind:#04x}")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// The frame ends within a field.
    #[error("frame ends within {what} at offset {offset}")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where the field begins, counted from the frame's first byte.
        offset: usize,
    },
    /// A field holds what it cannot hold.
    #[error("{what} at offset {offset} cannot be {value}")]
    Invalid {
        /// The field.
        what: &'static str,
        /// Where the field begins, counted from the frame's first byte.
        offset: usize,
        /// What was found.
        value: u64,
    },
    /// The frame goes on behind its last field.
    #[error("{extra} bytes behind the frame's last field at offset {offset}")]
    Trailing {
        /// Where the frame should have ended.
        offset: usize,
        /// How many bytes are too many.
        extra: usize,
    },
}
