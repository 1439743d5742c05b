//! Whether a directory, and what lies in it, belongs to this process's user alone.
//!
//! Whoever can write to a member's files can make it vote twice, and whoever can put a link in their place can have it
//! write over somebody else's. So what others could have changed is not used; what others can merely read is closed.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bits of a mode that let group or others write.
const OTHERS_WRITE: u32 = 0o022;
/// Bits of a mode that let group or others do anything at all.
const OTHERS: u32 = 0o077;
/// Bits of a mode that say who may do what.
const MODE: u32 = 0o7777;

/// Why a directory or a file in it is not used.
#[derive(Debug, thiserror::Error)]
pub enum Unsafe {
    /// A link stands in its place.
    #[error("{} is a symbolic link: whoever can change the link chooses what is written. Name the real place instead", .path.display())]
    Link {
        /// Where.
        path: PathBuf,
    },
    /// It belongs to another user.
    #[error(
        "{} belongs to user {owner}, but this process runs as user {own}: run it as user {owner}, or give the files to user \
         {own} (chown -R {own} DIRECTORY)",
        .path.display()
    )]
    Owner {
        /// Where.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// Others can write to it.
    #[error(
        "{} can be written by others (mode {mode:04o}), who may have changed what is in it: see that all in it is yours, then \
         take their right away (chmod -R go-w DIRECTORY)",
        .path.display()
    )]
    Writable {
        /// Where.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is neither file nor directory, or the other of the two.
    #[error("{} is not a {expected}: remove it, or name another place", .path.display())]
    Kind {
        /// Where.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The operating system does not tell.
    #[error("cannot look at {}: {source}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

/// A right that others had and have no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tightened {
    /// Of what.
    pub path: PathBuf,
    /// The mode that it had.
    pub before: u32,
    /// The mode that it has now.
    pub after: u32,
}

/// A directory to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// Where. One that does not exist is fine.
    pub dir: &'p Path,
    /// Whether the files right in it are looked at, too.
    pub with_files: bool,
}

/// Checks directories and files: they must be this user's, no links, and nobody else may write to them. Once all are found
/// to be so, what others can read is closed to them, and told.
///
/// # Errors
/// The first thing that is not as it must be. Nothing is changed then.
pub fn make_private(places: &[Place<'_>]) -> Result<Vec<Tightened>, Unsafe> {
    let mut found = Vec::new();
    for place in places {
        look(*place, &mut found)?;
    }
    let mut tightened = Vec::new();
    for (path, before) in found.into_iter().filter(|(_, mode)| mode & OTHERS != 0) {
        let after = before & !OTHERS;
        match fs::set_permissions(&path, Permissions::from_mode(after)) {
            Ok(()) => tightened.push(Tightened { path, before, after }),
            Err(source) => return Err(Unsafe::Io { path, source }),
        }
    }
    Ok(tightened)
}

/// Checks a place, and notes what is there with its mode.
fn look(place: Place<'_>, found: &mut Vec<(PathBuf, u32)>) -> Result<(), Unsafe> {
    let dir = place.dir;
    let io = |path: &Path, source| Unsafe::Io { path: path.to_owned(), source };
    let metadata = match fs::symlink_metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(dir, error)),
    };
    check(dir, &metadata, true)?;
    found.push((dir.to_owned(), metadata.mode() & MODE));
    if !place.with_files {
        return Ok(());
    }
    for entry in fs::read_dir(dir).map_err(|error| io(dir, error))? {
        let path = entry.map_err(|error| io(dir, error))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(|error| io(&path, error))?;
        if metadata.is_dir() {
            continue; // looked at as a place of its own, if it is one of ours
        }
        check(&path, &metadata, false)?;
        found.push((path, metadata.mode() & MODE));
    }
    Ok(())
}

fn check(path: &Path, metadata: &Metadata, directory: bool) -> Result<(), Unsafe> {
    let path = || path.to_owned();
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return Err(Unsafe::Link { path: path() });
    }
    let strange = kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device();
    if strange || kind.is_dir() != directory {
        return Err(Unsafe::Kind { path: path(), expected: if directory { "directory" } else { "file" } });
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(Unsafe::Owner { path: path(), owner: metadata.uid(), own });
    }
    let mode = metadata.mode() & MODE;
    if mode & OTHERS_WRITE != 0 {
        return Err(Unsafe::Writable { path: path(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn all(dir: &Path) -> Result<Vec<Tightened>, Unsafe> {
        make_private(&[Place { dir, with_files: true }])
    }

    #[test]
    fn what_others_can_read_is_closed_and_told() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("data");
        assert_eq!(all(&dir).unwrap(), [], "what is not there yet is fine");
        fs::create_dir(&dir).unwrap();
        let file = dir.join("file");
        fs::write(&file, "x").unwrap();
        mode(&dir, 0o755);
        mode(&file, 0o640);
        let told = all(&dir).unwrap();
        assert_eq!(told[0], Tightened { path: dir.clone(), before: 0o755, after: 0o700 });
        assert_eq!(told[1], Tightened { path: file.clone(), before: 0o640, after: 0o600 });
        assert_eq!(fs::metadata(&file).unwrap().mode() & MODE, 0o600);
        assert_eq!(all(&dir).unwrap(), []);
    }

    #[test]
    fn what_others_can_write_is_refused_and_left_as_it_is() {
        for (of_dir, of_file) in [(0o777, 0o600), (0o770, 0o600), (0o1777, 0o600), (0o755, 0o602), (0o755, 0o660)] {
            let temporary = tempfile::tempdir().unwrap();
            let dir = temporary.path().join("data");
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("file"), "x").unwrap();
            mode(&dir.join("file"), of_file);
            mode(&dir, of_dir);
            let error = all(&dir).unwrap_err();
            assert!(matches!(error, Unsafe::Writable { .. }), "{error}");
            assert!(error.to_string().contains("chmod"), "{error}");
            assert_eq!(fs::metadata(&dir).unwrap().mode() & MODE, of_dir);
            let readable = temporary.path().join("readable");
            fs::create_dir(&readable).unwrap();
            mode(&readable, 0o755);
            let places = [&readable, &dir].map(|dir| Place { dir, with_files: true });
            make_private(&places).unwrap_err();
            assert_eq!(fs::metadata(&readable).unwrap().mode() & MODE, 0o755, "nothing at all is changed");
        }
    }

    #[test]
    fn links_are_refused_wherever_they_lead() {
        let temporary = tempfile::tempdir().unwrap();
        let (real, link) = (temporary.path().join("real"), temporary.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(matches!(all(&link).unwrap_err(), Unsafe::Link { path } if path == link));
        std::os::unix::fs::symlink("/etc/passwd", real.join("identity")).unwrap();
        assert!(matches!(all(&real).unwrap_err(), Unsafe::Link { path } if path.ends_with("identity")));
        assert!(make_private(&[Place { dir: &real, with_files: false }]).is_ok(), "the directory alone");
        fs::remove_file(real.join("identity")).unwrap();
        std::os::unix::fs::symlink("nowhere", real.join("dangling")).unwrap();
        assert!(matches!(all(&real).unwrap_err(), Unsafe::Link { .. }));
    }

    #[test]
    fn a_file_in_the_directory_s_place_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(all(file.path()).unwrap_err(), Unsafe::Kind { expected: "directory", .. }));
    }

    #[test]
    fn what_belongs_to_another_user_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        // Only the superuser can give files away; everybody else already owns nothing but their own.
        let given = std::os::unix::fs::chown(temporary.path(), Some(12_345), None).is_ok();
        let place = if given { temporary.path() } else { Path::new("/usr") };
        let error = all(place).unwrap_err();
        assert!(matches!(error, Unsafe::Owner { .. }), "{error}");
        assert!(error.to_string().contains("chown"), "{error}");
    }
}
