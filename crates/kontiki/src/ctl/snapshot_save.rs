//! A snapshot on its way into a file: under another name until it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::failure::Failure;

/// Length of the digest at the end.
const DIGEST_BYTES: usize = 32;
/// What the length before the digest is a multiple of.
const SECTOR: u64 = 512;

/// The file under its temporary name. Dropping it before its end removes it.
pub struct Saving {
    file: File,
    path: PathBuf,
    part: PathBuf,
    digest: Sha256,
    bytes: u64,
    /// The last bytes that came: at the end, the digest of all before them.
    last: Vec<u8>,
    whole: bool,
}

impl Saving {
    /// Makes the file.
    pub fn begin(path: &Path) -> Result<Saving, Failure> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = match fs::remove_file(&part) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => options.open(&part), // what an earlier try left is gone
        };
        let file = file.map_err(|error| failed("make", &part, &error))?;
        let (path, digest) = (path.to_owned(), Sha256::new());
        Ok(Saving { file, path, part, digest, bytes: 0, last: Vec::new(), whole: false })
    }

    /// Adds what came.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| failed("write", &self.part, &error))?;
        self.bytes += bytes.len() as u64;
        self.last.extend_from_slice(bytes);
        let before = self.last.len().saturating_sub(DIGEST_BYTES);
        self.digest.update(&self.last[..before]);
        self.last.drain(..before);
        Ok(())
    }

    /// Checks that all came, makes it durable, and gives it its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        let digest: [u8; DIGEST_BYTES] = self.digest.clone().finalize().into();
        if self.bytes % SECTOR != DIGEST_BYTES as u64 || self.last != digest {
            return Err(Failure::error(format!(
                "the snapshot did not arrive whole: its {} bytes do not end with their digest; nothing was saved, try again",
                self.bytes
            )));
        }
        self.file.sync_all().map_err(|error| failed("sync", &self.part, &error))?;
        fs::rename(&self.part, &self.path).map_err(|error| failed("rename", &self.part, &error))?;
        self.whole = true;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(parent).and_then(|parent| parent.sync_all());
        synced.map_err(|error| failed("sync", parent, &error))
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_file(&self.part); // what cannot be removed now, the next try removes
        }
    }
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::io(format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn whole() -> Vec<u8> {
        let content = vec![5; 1024];
        [&content[..], &Sha256::digest(&content)].concat()
    }

    fn save(path: &Path, pieces: &[&[u8]]) -> Result<(), Failure> {
        let mut saving = Saving::begin(path)?;
        pieces.iter().try_for_each(|piece| saving.write(piece))?;
        saving.finish()
    }

    #[test]
    fn what_arrives_whole_is_saved_however_it_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        let whole = whole();
        for step in [1, 31, 32, 33, 500, whole.len()] {
            save(&path, &whole.chunks(step).collect::<Vec<_>>()).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn what_does_not_leaves_the_former_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        fs::write(&path, "former").unwrap();
        let mut flipped = whole();
        flipped[100] ^= 1;
        for wrong in [&whole()[..1000], &[], &flipped] {
            let error = save(&path, &[wrong]).unwrap_err().to_string();
            assert!(error.contains("did not arrive whole"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"former");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }
}
