//! What an append and its sync take on a disk, without any server: what a put can be compared with.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::plan::BadInput;
use super::tally::{Latencies, latencies};

/// Appends at most, and time that they take at most.
const APPENDS_MAX: u64 = 1000;
const TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of an append at most.
const BYTES_MAX: usize = 4096;

/// Figures of a disk.
#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    pub directory: String,
    pub append_bytes: usize,
    pub appends: u64,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// Appends to a file in the directory and syncs its data, again and again. The file is removed.
pub fn measure(directory: &Path, bytes: usize) -> Result<Disk, BadInput> {
    let bytes = bytes.clamp(1, BYTES_MAX);
    let start = Instant::now();
    let latencies = append(directory, &vec![b'k'; bytes])
        .map_err(|error| BadInput::Disk { path: directory.display().to_string(), reason: error.to_string() })?;
    let took = start.elapsed().as_secs_f64();
    let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    Ok(Disk {
        directory: directory.display().to_string(),
        append_bytes: bytes,
        appends: latencies.len(),
        per_second: latencies.len() as f64 / took.max(1e-9),
        p50_ms: milliseconds(latencies.value_at_quantile(0.5)),
        p99_ms: milliseconds(latencies.value_at_quantile(0.99)),
        max_ms: milliseconds(latencies.max()),
    })
}

fn append(directory: &Path, bytes: &[u8]) -> std::io::Result<Latencies> {
    let mut file = tempfile::Builder::new().prefix("kontiki-bench-").tempfile_in(directory)?;
    let (mut latencies, start) = (latencies(), Instant::now());
    while latencies.len() < APPENDS_MAX && start.elapsed() < TIME_MAX {
        let began = Instant::now();
        file.write_all(bytes)?;
        file.as_file().sync_data()?;
        latencies.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_is_removed_and_a_wrong_place_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let disk = measure(directory.path(), 100_000).unwrap();
        assert!(disk.appends > 0 && disk.append_bytes == BYTES_MAX && disk.p99_ms >= disk.p50_ms);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let problem = measure(&directory.path().join("gone"), 100).unwrap_err();
        assert!(matches!(problem, BadInput::Disk { .. }), "{problem}");
    }
}
