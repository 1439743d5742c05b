//! Something that is made from files, and made anew when they change.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::TlsError;

/// What tells two states of a set of files apart. A file that is not there has none.
type Stamp = Vec<Option<(i64, i64, u64, u64)>>;

/// A value and the state of the files that it came from.
pub(crate) struct Reloading<T> {
    paths: Vec<PathBuf>,
    make: Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    value: T,
    /// Of the files that were looked at last, whether these could be used or not.
    stamp: Stamp,
}

impl<T: Clone> Reloading<T> {
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T, TlsError> + Send + Sync + 'static,
    ) -> Result<Reloading<T>, TlsError> {
        // Looked at before they are read: a change in between is noticed at the next look.
        let stamp = stamp(&paths);
        let value = make()?;
        Ok(Reloading { paths, make: Box::new(make), current: Mutex::new(Current { value, stamp }) })
    }

    /// The value for the files as they are now; the last good one where they cannot be used.
    pub(crate) fn get(&self) -> T {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.paths);
        if stamp != current.stamp {
            current.stamp = stamp;
            match (self.make)() {
                Ok(value) => {
                    tracing::info!(files = ?self.paths, "TLS files have changed and were read again");
                    current.value = value;
                }
                Err(error) => {
                    tracing::warn!(%error, "TLS files have changed and cannot be used: the former ones stay in use");
                }
            }
        }
        current.value.clone()
    }
}

fn stamp(paths: &[PathBuf]) -> Stamp {
    let of = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.mtime(), data.mtime_nsec(), data.len(), data.ino()))
    };
    paths.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_broken_change_keeps_the_former_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n");
        std::fs::write(&path, "1").unwrap();
        let read = path.clone();
        let number = Reloading::new(vec![path.clone()], move || {
            let text = std::fs::read_to_string(&read).map_err(|error| TlsError::file("n", &read, error))?;
            text.parse::<u32>().map_err(|error| TlsError::file("n", &read, error))
        })
        .unwrap();
        assert_eq!(number.get(), 1);
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(number.get(), 1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(number.get(), 1);
        std::fs::write(&path, "22").unwrap();
        assert_eq!(number.get(), 22);
    }
}
