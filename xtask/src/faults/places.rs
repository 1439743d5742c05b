//! Small file systems that scenarios may break: in memory, and on images over loop devices. All of them are mounted in this
//! task's own namespace and unmounted when they are dropped.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A mounted file system.
pub struct Place {
    /// Where it is mounted.
    pub path: PathBuf,
    /// The image that it lies on; none in memory.
    pub image: Option<PathBuf>,
    mounted: bool,
}

/// Runs a program; its errors where it fails.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{program} {}: {} {}", arguments.join(" "), output.status, text(&output.stderr)))
}

impl Place {
    /// A file system in memory.
    pub fn memory(path: &Path, mebibytes: u64) -> Result<Place, String> {
        std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "kontiki-faults", text(path)?])?;
        Ok(Place { path: path.to_owned(), image: None, mounted: true })
    }

    /// ext4 on an image, which is made.
    pub fn ext4(path: &Path, image: &Path, mebibytes: u64) -> Result<Place, String> {
        let file = File::create(image).map_err(|error| format!("{}: {error}", image.display()))?;
        file.set_len(mebibytes << 20).map_err(|error| format!("{}: {error}", image.display()))?;
        // No blocks kept for root, or the disk of this task's members would never be full; nothing made later.
        let how = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-O", "^resize_inode"];
        run("mkfs.ext4", &[&how[..], &[text(image)?]].concat())?;
        Place::existing(path, image)
    }

    /// ext4 on an image that is there.
    pub fn existing(path: &Path, image: &Path) -> Result<Place, String> {
        std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut place = Place { path: path.to_owned(), image: Some(image.to_owned()), mounted: false };
        place.mount()?;
        Ok(place)
    }

    /// Mounts it again.
    pub fn mount(&mut self) -> Result<(), String> {
        if let (Some(image), false) = (&self.image, self.mounted) {
            run("mount", &["-t", "ext4", "-o", "loop", text(image)?, text(&self.path)?])?;
            self.mounted = true;
        }
        Ok(())
    }

    /// Unmounts it; it may take a moment until nobody uses it any more.
    pub fn unmount(&mut self) -> Result<(), String> {
        let begin = Instant::now();
        while self.mounted {
            match run("umount", &[text(&self.path)?]) {
                Ok(_) => self.mounted = false,
                Err(_) if begin.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Repairs what the file system itself needs after a kernel's error. Must not be mounted.
    pub fn check(&self) -> Result<(), String> {
        let Some(image) = &self.image else { return Ok(()) };
        let status = Command::new("e2fsck").args(["-f", "-y"]).arg(image).output();
        // 1 says that something was repaired.
        match status.map(|output| output.status.code()) {
            Ok(Some(0 | 1)) => Ok(()),
            other => Err(format!("e2fsck ended with {other:?}")),
        }
    }

    /// The space that is left.
    pub fn mebibytes_free(&self) -> u64 {
        rustix::fs::statvfs(&self.path).map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize) >> 20)
    }

    /// Takes all space that is left. What is given back ends it when it is dropped or released.
    pub fn fill(&self) -> Result<Ballast, String> {
        Ballast::fill(&self.path.join("ballast"))
    }
}

/// Cuts the power of some at once: what no sync made durable is gone, journals are not written out, every further access
/// fails.
pub fn cut_power<'a>(places: impl Iterator<Item = &'a Place>) -> Result<(), String> {
    // The file system's own shutdown call, without a flush of the log. Neither std nor a program of the base system offers
    // it.
    const SHUTDOWN: &str = "import fcntl, os, struct, sys
for place in [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]:
    fcntl.ioctl(place, 0x8004587d, struct.pack('I', 2))";
    let paths = places.map(|place| text(&place.path)).collect::<Result<Vec<_>, _>>()?;
    run("python3", &[&["-c", SHUTDOWN], &paths[..]].concat()).map(drop)
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.path).output();
        }
        if let Some(image) = &self.image {
            let _ = std::fs::remove_file(image);
        }
    }
}

/// A file that takes the space of a file system.
pub struct Ballast {
    path: PathBuf,
    /// How many bytes it takes.
    pub bytes: u64,
}

impl Ballast {
    fn fill(path: &Path) -> Result<Ballast, String> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut ballast = Ballast { path: path.to_owned(), bytes: 0 };
        // Large pieces first, then to the last byte.
        for piece in [1 << 20, 4096, 1] {
            let zeros = vec![0; piece];
            loop {
                match file.write(&zeros) {
                    Ok(0) => break,
                    Ok(written) => ballast.bytes += written as u64,
                    Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(format!("{}: {error}", ballast.path.display())),
                }
            }
        }
        // ext4 promises space before it gives it: now it does, or finds that it has none.
        match file.sync_all() {
            Err(error) if error.kind() != std::io::ErrorKind::StorageFull => {
                Err(format!("{}: {error}", ballast.path.display()))
            }
            _ => Ok(ballast),
        }
    }

    /// Takes what has become free since.
    pub fn fill_again(&mut self) -> Result<(), String> {
        let more = Ballast::fill(&self.path)?;
        self.bytes += more.bytes;
        std::mem::forget(more); // the file is this one's
        Ok(())
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A path as programs take it.
pub fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} is no text", path.display()))
}
