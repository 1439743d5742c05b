//! A log file that is put aside when it is full: `--enable-log-rotation` and `--log-rotation-config-json`.
//!
//! `kontiki.log` becomes `kontiki-2026-11-23T06-17-19.000412.log`, and a new `kontiki.log` begins. Old files beyond the number
//! or the age that is kept are removed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::timestamp::timestamp;

const MEGABYTE: u64 = 1 << 20;
/// Size of a file when the settings do not say, as etcd's.
const MEGABYTES: u64 = 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a file is put aside, and how long what was put aside is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a full file.
    bytes_max: u64,
    /// Old files are removed after this.
    age_max: Option<Duration>,
    /// Most old files.
    files_max: Option<usize>,
}

/// The object of `--log-rotation-config-json`. Keys that etcd does not know it ignores, and so do we.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Json {
    maxsize: u64,
    maxage: u64,
    maxbackups: usize,
    localtime: bool,
    compress: bool,
}

impl Rotation {
    /// Reads the settings; what they ask for in vain comes beside them.
    pub fn parse(text: &str) -> Result<(Rotation, Vec<String>), String> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|error| wrong(&error))?;
        let json: Json = serde_json::from_value(object.into()).map_err(|error| wrong(&error))?;
        let megabytes = if json.maxsize == 0 { MEGABYTES } else { json.maxsize };
        let rotation = Rotation {
            bytes_max: megabytes.saturating_mul(MEGABYTE),
            age_max: Some(json.maxage)
                .filter(|days| *days > 0)
                .map(|days| DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX))),
            files_max: Some(json.maxbackups).filter(|files| *files > 0),
        };
        let mut warnings = Vec::new();
        for (on, what) in [
            (json.localtime, "localtime: old files are named in UTC"),
            (json.compress, "compress: old files stay as they are"),
        ] {
            if on {
                warnings.push(format!("--log-rotation-config-json has no effect in {what}"));
            }
        }
        Ok((rotation, warnings))
    }
}

fn wrong(error: &serde_json::Error) -> String {
    format!("is not the object that rotation takes, as in {{\"maxsize\": 100, \"maxbackups\": 5}}: {error}")
}

/// A log file that grows no further than its settings allow.
pub struct RotatedFile {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    bytes: u64,
}

impl RotatedFile {
    /// Opens the file, to go on where it ends.
    pub fn open(path: &str, rotation: Rotation) -> io::Result<RotatedFile> {
        let path = PathBuf::from(path);
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(RotatedFile { path, rotation, file, bytes })
    }

    /// Writes a line, into a new file where the old one has no room. Where no new one can be made, the old one grows on:
    /// a log that is too long is better than none.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + line.len() as u64 > self.rotation.bytes_max {
            let _ = self.rotate(SystemTime::now());
        }
        self.bytes += line.len() as u64;
        self.file.write_all(line)
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        fs::rename(&self.path, self.aside(now))?;
        self.file = append(&self.path)?;
        self.bytes = 0;
        self.forget_old(now)
    }

    /// The name of a file that is put aside now.
    fn aside(&self, now: SystemTime) -> PathBuf {
        let moment = timestamp(now).replace(':', "-");
        let name = format!("{}-{}{}", self.stem(), moment.trim_end_matches('Z'), self.end());
        self.path.with_file_name(name)
    }

    fn stem(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn end(&self) -> String {
        self.path.extension().map(|end| format!(".{}", end.to_string_lossy())).unwrap_or_default()
    }

    /// Removes what was put aside too long ago, or has too many newer ones behind it.
    fn forget_old(&self, now: SystemTime) -> io::Result<()> {
        let mut old = self.put_aside()?;
        old.sort_unstable(); // by their times, which are their names
        let surplus = self.rotation.files_max.map_or(0, |most| old.len().saturating_sub(most));
        for (number, path) in old.iter().enumerate() {
            let age = fs::metadata(path)
                .and_then(|data| data.modified())
                .map(|at| now.duration_since(at).unwrap_or_default());
            let too_old = self.rotation.age_max.is_some_and(|most| age.is_ok_and(|age| age > most));
            if number < surplus || too_old {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn put_aside(&self) -> io::Result<Vec<PathBuf>> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (start, end) = (format!("{}-", self.stem()), self.end());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let middle = name.strip_prefix(&start).and_then(|rest| rest.strip_suffix(&end));
            if middle.is_some_and(is_moment) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

/// Whether a text has the form of [`RotatedFile::aside`]'s times, so that nothing else is ever removed.
fn is_moment(text: &str) -> bool {
    let form = "dddd-dd-ddTdd-dd-dd.dddddd";
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(byte, form)| if form == b'd' { byte.is_ascii_digit() } else { byte == form })
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn settings_are_read_with_etcds_defaults() {
        let (rotation, warnings) =
            Rotation::parse(r#"{"maxsize": 0, "maxage": 3, "maxbackups": 2, "compress": true}"#).unwrap();
        assert_eq!(rotation, Rotation { bytes_max: 100 * MEGABYTE, age_max: Some(DAY * 3), files_max: Some(2) });
        assert_eq!(warnings.len(), 1);
        for wrong in ["", "{", "[]", r#"{"maxsize": -1}"#, r#"{"maxsize": "1"}"#] {
            assert!(Rotation::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.log");
        fs::write(folder.path().join("k-mine.log"), "not ours").unwrap();
        let rotation = Rotation { bytes_max: 10, age_max: None, files_max: Some(2) };
        let mut file = RotatedFile::open(path.to_str().unwrap(), rotation).unwrap();
        for number in 0..5 {
            file.write(format!("line {number}\n").as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(2)); // names differ by their times
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
        let names = names(folder.path());
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&"k-mine.log".to_owned()));
        let newest = names.iter().rev().find(|name| name.starts_with("k-2")).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(newest)).unwrap(), "line 3\n");
    }

    #[test]
    fn old_files_go_when_their_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.log");
        let rotation = Rotation { bytes_max: 1, age_max: Some(DAY), files_max: None };
        let mut file = RotatedFile::open(path.to_str().unwrap(), rotation).unwrap();
        file.write(b"a\n").unwrap();
        file.rotate(SystemTime::now()).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        file.rotate(SystemTime::now() + DAY * 2).unwrap();
        assert_eq!(names(folder.path()).len(), 1, "{:?}", names(folder.path()));
    }
}
