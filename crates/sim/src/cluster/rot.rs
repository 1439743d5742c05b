//! Bits that rot where they rest.

use std::path::{Path, PathBuf};

use super::Cluster;
use super::member::Member;
use crate::script::RotPlace;
use crate::subject::Subject;

/// How long a stretch must have something in it to be worth damage.
const STRETCH: usize = 256;

/// The newest batch of a segment stands within so many bytes of its end, and its row within so many of the ledger's.
const NEWEST_BATCH: u64 = 8 << 10;
const NEWEST_ROWS: u64 = 1 << 10;

fn ends(path: &Path, endings: &[&str]) -> bool {
    path.extension().is_some_and(|end| endings.iter().any(|ending| end == *ending))
}

fn is_of_log(path: &Path) -> bool {
    ends(path, &["log", "ledger"])
}

/// Files that a crash may leave half made, or that are kept for later: damage there proves nothing.
fn is_unused(path: &Path) -> bool {
    ends(path, &["new", "new-ledger", "spare", "spare-ledger", "reserve", "reserve-ledger"])
}

impl<S: Subject> Cluster<S> {
    /// Damages something that a member has stored. False where it has nothing.
    pub(super) fn rot(&mut self, place: usize, what: RotPlace) -> bool {
        let disk = self.members[place].disk.clone();
        let fits = |path: &Path| match what {
            RotPlace::Log => is_of_log(path),
            RotPlace::LogBoth => ends(path, &["log"]),
            // What stands beside log and state is small and kept once: a member that lost it says so and does not start.
            RotPlace::State => !is_of_log(path) && !is_unused(path) && path.file_name() != Some("identity".as_ref()),
        };
        let files: Vec<(PathBuf, u64)> =
            disk.files().into_iter().filter(|(path, len)| fits(path) && *len > 0).collect();
        let Member { random, refusals, .. } = &mut self.members[place];
        for _ in 0..64 {
            let Some((path, len)) = files.get(random.below(files.len() as u64) as usize) else { return false };
            let at = random.below(*len);
            let start = at / STRETCH as u64 * STRETCH as u64;
            if disk.is_blank(path, start, STRETCH.min((*len - start) as usize)) {
                continue;
            }
            // The newest batch, with nothing written behind it, cannot be told from one that a crash tore (decision 17).
            let newest = at + if ends(path, &["ledger"]) { NEWEST_ROWS } else { NEWEST_BATCH };
            if what != RotPlace::State && (newest >= *len || disk.is_blank(path, newest, (*len - newest) as usize)) {
                continue;
            }
            let bits = 1 << random.below(8);
            let mut done = disk.rot(path, at, bits).is_ok();
            if path.file_name().is_some_and(|name| name == IDENTITY) {
                *refusals = 1; // it will not start again before somebody restores the file
            }
            if what == RotPlace::LogBoth {
                // The second copy of what a segment says of itself begins as the segment does.
                done &= disk.rot(&path.with_extension("ledger"), at % 4_096, bits).is_ok();
            }
            return done;
        }
        false
    }

    /// The files of the log say that they are of an older format, from the next start on.
    pub(super) fn make_old_format(&mut self, place: usize) {
        let member = &mut self.members[place];
        let files = member.disk.files().into_iter().filter(|(path, len)| is_of_log(path) && *len > FORMAT_AT);
        let changed = files.map(|(path, _)| path).filter(|path| member.disk.rot(path, FORMAT_AT, OLDER).is_ok());
        member.format_changed = changed.collect();
    }

    /// They are as they were. False where they were not touched.
    pub(super) fn restore_format(&mut self, place: usize) -> bool {
        let member = &mut self.members[place];
        let changed = std::mem::take(&mut member.format_changed);
        // One that is gone needs no restoring.
        changed.iter().filter(|path| member.disk.rot(path, FORMAT_AT, OLDER).is_ok()).count() > 0
    }
}

/// Who a member is: without this file it refuses to start.
const IDENTITY: &str = "identity";
/// Where a segment of the log says of which format it is.
const FORMAT_AT: u64 = 8;
/// Makes the present format another one.
const OLDER: u8 = 3;
