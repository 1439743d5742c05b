//! Bytes that wait for a socket: small pieces are gathered, large ones stay where they are.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};

use crate::codec;
use crate::error::FrameError;
use crate::frame::Frame;

/// A payload above this is referred to; below, copying it costs less than one more slice to write.
const COPY_BYTES_MAX: usize = 4 << 10;

/// The gathered piece is closed at this size, so that growing it never copies much.
const GATHER_BYTES_MAX: usize = 64 << 10;

/// As many slices as one write takes.
const SLICES_MAX: usize = 64;

/// A queue of bytes with a bound.
pub(crate) struct Pending {
    /// Pieces that are closed, oldest first.
    pieces: VecDeque<Bytes>,
    /// The piece that grows; comes behind all others.
    tail: BytesMut,
    bytes: usize,
    bytes_max: usize,
}

/// Why a frame was not taken.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// The queue is at its bound.
    Full,
    /// No receiver would take it.
    Oversize(FrameError),
}

impl Pending {
    pub(crate) fn new(bytes_max: usize) -> Pending {
        Pending { pieces: VecDeque::new(), tail: BytesMut::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.tail.clear();
        self.bytes = 0;
    }

    /// Appends a frame, as a whole or not at all. An empty queue takes any frame.
    pub(crate) fn push(&mut self, frame: &Frame) -> Result<(), NotTaken> {
        let start = self.tail.len();
        let size = codec::encode_head(frame, &mut self.tail).map_err(NotTaken::Oversize)?;
        if self.bytes > 0 && self.bytes + size > self.bytes_max {
            self.tail.truncate(start);
            return Err(NotTaken::Full);
        }
        for payload in frame.payloads() {
            if payload.len() > COPY_BYTES_MAX {
                self.close_tail();
                self.pieces.push_back(payload.clone());
            } else {
                self.tail.extend_from_slice(payload);
            }
        }
        if self.tail.len() > GATHER_BYTES_MAX {
            self.close_tail();
        }
        self.bytes += size;
        Ok(())
    }

    /// Appends a ping.
    pub(crate) fn push_ping(&mut self, stamp: u64) {
        let start = self.tail.len();
        codec::encode_echo(&mut self.tail, codec::kind::PING, stamp);
        self.bytes += self.tail.len() - start;
    }

    /// Offers up to about `bytes_max` bytes from the front to `write` and takes off what it wrote. The last slice is not
    /// cut, so that a large payload goes out in one write where the socket has room.
    pub(crate) fn write_with(
        &mut self,
        bytes_max: usize,
        write: impl FnOnce(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut count, mut offered) = (0, 0);
        for piece in self.pieces.iter().map(|piece| &piece[..]).chain([&self.tail[..]]) {
            if count == SLICES_MAX || offered >= bytes_max {
                break;
            }
            slices[count] = IoSlice::new(piece);
            count += 1;
            offered += piece.len();
        }
        let written = write(&slices[..count])?;
        self.take_off(written);
        Ok(written)
    }

    fn take_off(&mut self, written: usize) {
        self.bytes -= written;
        let mut left = written;
        while left > 0 {
            let Some(front) = self.pieces.front_mut() else {
                self.tail.advance(left);
                break;
            };
            let step = left.min(front.len());
            front.advance(step);
            left -= step;
            if front.is_empty() {
                self.pieces.pop_front();
            }
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kontiki_raft::GroupId;

    use super::*;

    fn call(bytes: usize) -> Frame {
        Frame::Call { group: GroupId(1), id: 7, body: Bytes::from(vec![0x5a; bytes]) }
    }

    /// Writes everything out, `step` bytes at a time.
    fn drain(pending: &mut Pending, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !pending.is_empty() {
            let all = pending.write_with(usize::MAX, |slices| {
                let offered: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
                let taken = step.min(offered.len());
                out.extend_from_slice(&offered[..taken]);
                Ok(taken)
            });
            assert!(all.unwrap() > 0);
        }
        out
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes() {
        let sizes = [0, 10, COPY_BYTES_MAX, COPY_BYTES_MAX + 1, 3, 200_000, 1, 70_000, 5];
        let mut expected = BytesMut::new();
        for size in sizes {
            codec::encode(&call(size), &mut expected);
        }
        for step in [1013, 65_536, usize::MAX] {
            let mut pending = Pending::new(1 << 20);
            for size in sizes {
                pending.push(&call(size)).unwrap();
            }
            assert_eq!(pending.bytes(), expected.len());
            assert!(drain(&mut pending, step) == expected[..]);
            assert!(pending.pieces.is_empty() && pending.tail.is_empty());
        }
    }

    #[test]
    fn the_bound_holds_and_an_empty_queue_takes_anything() {
        let mut pending = Pending::new(1000);
        pending.push(&call(5000)).unwrap();
        assert!(matches!(pending.push(&call(1)), Err(NotTaken::Full)));
        let bytes = pending.bytes();
        assert_eq!(drain(&mut pending, usize::MAX).len(), bytes);
        pending.push(&call(400)).unwrap();
        pending.push(&call(400)).unwrap();
        assert!(matches!(pending.push(&call(400)), Err(NotTaken::Full)));
        pending.push(&call(10)).unwrap();
    }

    #[test]
    fn a_frame_that_nobody_would_take_leaves_no_trace() {
        let mut pending = Pending::new(usize::MAX);
        pending.push(&call(1)).unwrap();
        let bytes = pending.bytes();
        let oversize = pending.push(&call(codec::FRAME_BYTES_MAX));
        assert!(matches!(oversize, Err(NotTaken::Oversize(FrameError::TooLong { .. }))), "{oversize:?}");
        assert_eq!(drain(&mut pending, usize::MAX).len(), bytes);
    }
}
