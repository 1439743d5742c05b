//! Reading files whose disk may not give all of them back.

use std::path::Path;

use kontiki_world::File;

use crate::finding::Finding;

/// Fills `buffer` from `offset`. What cannot be read is zero, which no checksum takes for anything, and is told; what lies
/// behind the file's end is zero too.
pub(crate) fn read_lenient(file: &dyn File, path: &Path, buffer: &mut [u8], offset: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.read_exact_at(buffer, offset).is_ok() {
        return findings;
    }
    let there = file.len().map_or(buffer.len() as u64, |len| len.saturating_sub(offset));
    let (there, mut done) = (there.min(buffer.len() as u64) as usize, 0);
    buffer[there..].fill(0);
    while done < there {
        let at = offset + done as u64;
        let end = there.min(done + (PIECE_BYTES - at % PIECE_BYTES) as usize);
        let piece = &mut buffer[done..end];
        done = end;
        if let Err(error) = file.read_exact_at(piece, at) {
            piece.fill(0);
            let (file, bytes, error) = (path.to_path_buf(), piece.len() as u64, error.to_string());
            match findings.last_mut() {
                Some(Finding::Unreadable { offset, bytes: before, .. }) if *offset + *before == at => *before += bytes,
                _ => findings.push(Finding::Unreadable { file, offset: at, bytes, error }),
            }
        }
    }
    findings
}

/// Disks lose whole pages, so these are tried one by one.
const PIECE_BYTES: u64 = 4096;
