//! Clients that ping more often than they may (`--grpc-keepalive-min-time`), by the rules of gRPC's servers in Go.
//!
//! The HTTP/2 library answers pings without telling, so frames are looked at as bytes pass: their heads only, nine bytes
//! each, whatever lies between is skipped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const ACK: u8 = 1;

/// So many pings too early are borne.
const STRIKES_MAX: u32 = 2;
/// Between pings while no call is open.
const WITHOUT_CALLS: Duration = Duration::from_secs(2 * 60 * 60);

/// GOAWAY: no stream is named as refused, because what was asked may have been done; ENHANCE_YOUR_CALM, and the words by
/// which gRPC clients know that they must ping less.
const FAREWELL: &[u8; 31] = b"\x00\x00\x16\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x0btoo_many_pings";

/// Looks at one connection.
pub(crate) struct PingGuard {
    least: Duration,
    /// Calls that are open.
    calls: Arc<AtomicUsize>,
    received: Frames,
    sent: Frames,
    last: Option<Instant>,
    strikes: u32,
    /// Something was answered since the last ping: a client may measure how fast it comes.
    answered: bool,
}

impl PingGuard {
    pub(crate) fn new(least: Duration, calls: Arc<AtomicUsize>) -> PingGuard {
        PingGuard {
            least,
            calls,
            received: Frames::default(),
            sent: Frames::default(),
            last: None,
            strikes: 0,
            answered: false,
        }
    }

    /// Looks at what the client sent. True: it has pinged too often.
    pub(crate) fn has_enough_of(&mut self, bytes: &[u8]) -> bool {
        let mut pings = 0;
        self.received.pass(bytes, |kind, flags| pings += u32::from(kind == PING && flags & ACK == 0));
        (0..pings).any(|_| self.is_too_many(Instant::now()))
    }

    /// Looks at what the client is sent.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let mut answered = false;
        self.sent.pass(bytes, |kind, _| answered |= matches!(kind, DATA | HEADERS));
        self.answered |= answered;
    }

    /// The last frame, if one can be sent now.
    pub(crate) fn farewell(&self) -> Option<&'static [u8]> {
        self.sent.is_between().then_some(FAREWELL.as_slice())
    }

    fn is_too_many(&mut self, now: Instant) -> bool {
        let last = self.last.replace(now);
        if std::mem::take(&mut self.answered) {
            self.strikes = 0;
            return false;
        }
        let least = if self.calls.load(Relaxed) == 0 { WITHOUT_CALLS } else { self.least };
        if last.is_some_and(|last| now.duration_since(last) < least) {
            self.strikes += 1;
        }
        self.strikes > STRIKES_MAX
    }
}

/// Follows frames in one direction.
#[derive(Default)]
struct Frames {
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// Of the frame's content, still to come.
    content_bytes: usize,
}

impl Frames {
    /// Passes bytes; tells of each frame's type and flags.
    fn pass(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            let skipped = self.content_bytes.min(bytes.len());
            self.content_bytes -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..self.head_bytes + taken].copy_from_slice(&bytes[..taken]);
            self.head_bytes += taken;
            bytes = &bytes[taken..];
            if self.head_bytes == HEAD_BYTES {
                let [high, middle, low, kind, flags, ..] = self.head;
                self.content_bytes = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.head_bytes = 0;
                tell(kind, flags);
            }
        }
    }

    fn is_between(&self) -> bool {
        self.head_bytes == 0 && self.content_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, content: &[u8]) -> Vec<u8> {
        let length = (content.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], content].concat()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let all =
            [frame(PING, 0, &[6; 8]), frame(DATA, 1, &[6; 300]), frame(4, 0, &[]), frame(PING, ACK, &[0; 8])].concat();
        for size in 1..all.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for piece in all.chunks(size) {
                frames.pass(piece, |kind, flags| found.push((kind, flags)));
            }
            assert_eq!(found, [(PING, 0), (DATA, 1), (4, 0), (PING, ACK)]);
            assert!(frames.is_between());
        }
    }

    #[test]
    fn the_third_early_ping_is_too_many_unless_something_was_answered() {
        let calls = Arc::new(AtomicUsize::new(1));
        let mut guard = PingGuard::new(Duration::from_secs(3600), Arc::clone(&calls));
        let ping = frame(PING, 0, &[0; 8]);
        for _ in 0..10 {
            assert!(!guard.has_enough_of(&ping));
            guard.sent(&frame(DATA, 0, b"an answer"));
        }
        assert!(!guard.has_enough_of(&ping), "the answer excuses it");
        assert!(!guard.has_enough_of(&ping) && !guard.has_enough_of(&ping));
        assert!(guard.has_enough_of(&ping));
        assert_eq!(guard.farewell().map(|frame| &frame[17..]), Some(&b"too_many_pings"[..]));
        guard.sent(&frame(DATA, 0, b"half")[..10]);
        assert!(guard.farewell().is_none(), "a frame cannot stand inside another");
    }

    #[test]
    fn pings_at_their_time_are_welcome() {
        let calls = Arc::new(AtomicUsize::new(1));
        let mut guard = PingGuard::new(Duration::ZERO, Arc::clone(&calls));
        let ping = frame(PING, 0, &[0; 8]);
        assert!((0..100).all(|_| !guard.has_enough_of(&ping)));
        calls.store(0, Relaxed);
        assert!((0..10).any(|_| guard.has_enough_of(&ping)), "without a call there is nothing to keep alive");
    }
}
