//! Opening a Unix socket. One that a former process left behind is taken away; nothing else is.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Opens a path that only this user may use, or says what is in the way.
pub fn listen(path: &Path) -> Result<UnixListener, String> {
    make_way(path)?;
    // Made under another name and closed to others before it can be found under its own.
    let name = path.file_name().ok_or("the path names no file")?;
    let fresh = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let failed = |error: std::io::Error| format!("{} cannot be opened: {error}", path.display());
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh).map_err(failed)?;
    std::fs::set_permissions(&fresh, Permissions::from_mode(0o700)).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)?;
    Ok(listener)
}

fn make_way(path: &Path) -> Result<(), String> {
    let shown = path.display();
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{shown} cannot be looked at: {error}")),
        Ok(data) if !data.file_type().is_socket() => {
            return Err(format!("{shown} is there already and is no socket: move it away, or choose another path"));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()), // nobody listens: replaced below
        Err(error) => Err(format!("{shown} is a socket of which nothing is known: {error}")),
        Ok(_) => Err(format!("{shown} is in use by another process: stop that one, or choose another path")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("door");
        let first = listen(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(UnixStream::connect(&path).is_ok());
        assert!(listen(&path).unwrap_err().contains("in use"));
        drop(first);
        let _second = listen(&path).unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(listen(&file).unwrap_err().contains("no socket"));
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
