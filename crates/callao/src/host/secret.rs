//! Small files that only their owner may read: one that is locked for as long as a process lives, and secrets. Knows
//! nothing of what is in them.

#![expect(
    clippy::disallowed_methods,
    reason = "with its parent the one place that touches files in this crate"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::FlockOperation;

/// For its owner alone.
const MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

/// A file that this process has locked; the lock goes with it, or with the process.
#[derive(Debug)]
pub struct LockedFile(File);

impl LockedFile {
    /// Replaces what is in it. Somebody who reads at that very moment may see half of it.
    ///
    /// # Errors
    /// The disk.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.write_all_at(bytes, 0)
    }
}

/// Opens a file, or creates it and the directories above it, and locks it; `None` if another process has it.
///
/// # Errors
/// The disk.
pub fn lock_file(path: &Path) -> io::Result<Option<LockedFile>> {
    make_dir(path)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    // Somebody may have removed it meanwhile: then the lock is one that nobody else would meet.
    let here = std::fs::metadata(path).ok();
    let own = file.metadata()?;
    let is_same = here.is_some_and(|here| here.ino() == own.ino() && here.dev() == own.dev());
    Ok(is_same.then_some(LockedFile(file)))
}

/// What is in a file that a process has locked; `None` if there is no such process, or no file.
///
/// # Errors
/// The disk, or more than `bytes_max`.
pub fn read_locked(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        // Nobody has it; the lock goes with the file.
        Ok(()) => return Ok(None),
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(error) => return Err(error.into()),
    }
    let mut bytes = Vec::new();
    (&mut file).take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(bytes))
}

/// Writes a secret, durably, complete or not at all. One that is there already stays: then it is an error of kind
/// [`io::ErrorKind::AlreadyExists`].
///
/// # Errors
/// The disk.
pub fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_dir(path)?;
    let temporary = crate::commands::beside(path);
    let written = || {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(MODE)
            .open(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        std::fs::hard_link(&temporary, path)?;
        match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    let done = written();
    // The first error is the one to tell.
    std::fs::remove_file(&temporary).unwrap_or(());
    done
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// The system has none.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn make_dir(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_private_dir)
}

/// Makes a directory, and those above it that are missing, for the user alone.
///
/// # Errors
/// The disk.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_file_can_be_read_while_it_is_locked() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b/state.json");
        assert_eq!(read_locked(&path, 100).expect("no file"), None);
        let held = lock_file(&path).expect("it can be made").expect("free");
        held.write(b"a longer text").expect("written");
        held.write(b"text").expect("written");
        assert_eq!(
            read_locked(&path, 100).expect("it is read"),
            Some(b"text".to_vec())
        );
        assert!(read_locked(&path, 3).is_err());
        assert!(lock_file(&path).expect("it is asked").is_none());
        let mode = std::fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, MODE);
        drop(held);
        assert_eq!(read_locked(&path, 100).expect("nobody has it"), None);
        assert!(lock_file(&path).expect("it is asked").is_some());
    }

    #[test]
    fn a_secret_is_for_its_owner_and_is_never_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state/key");
        write_secret(&path, b"secret").expect("written");
        let again = write_secret(&path, b"other").expect_err("it is there");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).expect("it is there"), b"secret");
        let mode = std::fs::metadata(&path).expect("it is there").mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(
            std::fs::read_dir(path.parent().expect("a directory"))
                .expect("read")
                .count(),
            1
        );
    }

    #[test]
    fn random_bytes_differ() {
        let draw = || random_bytes::<16>().expect("bytes");
        assert_ne!(draw(), draw());
    }
}
