//! Values that carry when they were written, so that a watcher can tell how long a change was on its way.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bytes of a stamp: the run, the time, and whether the write is measured.
pub const STAMP: usize = 17;

/// Writes and reads the stamps of one run. Those of other runs are none.
#[derive(Clone, Debug)]
pub struct Stamps {
    base: Instant,
    run: [u8; 8],
}

impl Stamps {
    /// Of a run with this number, which nobody else should have.
    pub fn new(run: u64) -> Stamps {
        Stamps { base: Instant::now(), run: run.to_le_bytes() }
    }

    /// The value with a stamp in front, in place of its first bytes.
    pub fn stamp(&self, value: &Bytes, since: Instant, measured: bool) -> Bytes {
        let nanoseconds = u64::try_from(since.saturating_duration_since(self.base).as_nanos()).unwrap_or(u64::MAX);
        let mut stamped = Vec::with_capacity(value.len().max(STAMP));
        stamped.extend_from_slice(&self.run);
        stamped.extend_from_slice(&nanoseconds.to_le_bytes());
        stamped.push(u8::from(measured));
        stamped.extend_from_slice(value.get(STAMP..).unwrap_or_default());
        stamped.into()
    }

    /// Since when a value was on its way, and whether that is measured.
    pub fn read(&self, value: &[u8]) -> Option<(Instant, bool)> {
        let (run, rest) = value.split_first_chunk::<8>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let since = self.base + Duration::from_nanos(u64::from_le_bytes(*time));
        (*run == self.run).then_some((since, *rest.first()? != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_by_its_own_run_only() {
        let stamps = Stamps::new(7);
        let since = Instant::now() + Duration::from_millis(3);
        let value = stamps.stamp(&Bytes::from(vec![b'v'; 40]), since, true);
        assert_eq!(value.len(), 40);
        assert_eq!(stamps.read(&value), Some((since, true)));
        assert_eq!(Stamps::new(8).read(&value), None);
        assert_eq!(stamps.read(b"short"), None);
    }
}
