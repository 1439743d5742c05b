//! Headers, directories and rows that the scrub found damaged: the next write puts them right from their second copies.

use std::path::PathBuf;
use std::sync::Arc;

use kontiki_world::File;

use crate::finding::Finding;
use crate::format::Part;
use crate::log::Log;

/// What is to be written again, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) segment: u64,
    pub(crate) part: Part,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The same with its file.
#[derive(Debug)]
pub(crate) struct Restore {
    file: Arc<dyn File>,
    path: PathBuf,
    offset: u64,
    bytes: Vec<u8>,
}

/// Writes everything again. What cannot be written is no failure of the log, since its second copy is whole.
pub(crate) fn run(restores: &[Restore]) -> Vec<Finding> {
    let failed = |restore: &Restore| {
        let written = restore.file.write_all_at(&restore.bytes, restore.offset);
        let error = written.and_then(|()| restore.file.sync_data()).err()?.to_string();
        Some(Finding::Unrepaired { file: restore.path.clone(), offset: restore.offset, error })
    };
    restores.iter().filter_map(failed).collect()
}

impl Log {
    /// Takes out what the next write is to put right, but for what is gone.
    pub(crate) fn take_restores(&mut self) -> Vec<Restore> {
        let mut restores = Vec::new();
        for Damaged { segment, part, offset, bytes } in std::mem::take(&mut self.damaged) {
            let Some(segment) = self.shared.segments.iter().find(|found| found.number() == segment) else { continue };
            let (file, path) = match part {
                Part::Log => (&segment.files.log, &segment.path),
                Part::Ledger => (&segment.files.ledger, &segment.ledger_path),
            };
            if let Some(file) = file {
                restores.push(Restore { file: Arc::clone(file), path: path.clone(), offset, bytes });
            }
        }
        restores
    }
}
