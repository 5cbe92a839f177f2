//! The only file of this crate that touches files. Must not know what is in them.
#![expect(
    clippy::disallowed_methods,
    reason = "the file system of this crate is here"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Only the owner may read and write.
pub(crate) const PRIVATE_FILE: u32 = 0o600;
/// Only the owner may enter.
pub(crate) const PRIVATE_DIR: u32 = 0o700;

/// A text of at most so many bytes.
///
/// # Errors
/// It cannot be read, is longer, or is no text.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(bytes_max + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("longer than {bytes_max} bytes"),
        ));
    }
    Ok(text)
}

/// Replaces a file as a whole: somebody who reads it sees the old text or the new one.
///
/// # Errors
/// It cannot be written.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Makes a file that only takes room on the disk, if it is not there.
///
/// # Errors
/// There is no such room, or the file system cannot say so; nothing is left then.
pub(crate) fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    if is_there(path) {
        return Ok(());
    }
    let file = create_new(path, PRIVATE_FILE)?;
    let flags = rustix::fs::FallocateFlags::empty();
    let reserved = rustix::fs::fallocate(&file, flags, 0, bytes);
    if reserved.is_err() {
        remove(path)?;
    }
    Ok(reserved?)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)
}

/// Opens a file to add to its end.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(PRIVATE_FILE)
        .open(path)
}

/// Opens a file to read.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Creates an empty file, which must not exist.
///
/// # Errors
/// It exists, or cannot be created.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// Copies a file that somebody else adds to, and empties it.
///
/// # Errors
/// It cannot be copied or emptied.
pub(crate) fn move_content(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    OpenOptions::new().write(true).open(from)?.set_len(0)
}

/// Whether there is anything at a path.
pub(crate) fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether a directory is at a path, following links.
pub(crate) fn is_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Whether a regular file that somebody may run is at a path, following links.
pub(crate) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Size of a file in bytes.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn size(path: &Path) -> io::Result<u64> {
    fs::metadata(path).map(|meta| meta.len())
}

/// The permission bits of a file.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn mode(path: &Path) -> io::Result<u32> {
    fs::metadata(path).map(|meta| meta.permissions().mode() & 0o777)
}

/// Removes a file, if it is there.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory that only the owner may enter, and those above it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn make_dirs(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(path)
}

/// Gives a file or directory another name.
///
/// # Errors
/// It cannot be renamed.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Removes a directory and all in it.
///
/// # Errors
/// Something in it cannot be removed.
pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The names in a directory, sorted; none if it cannot be read.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

/// Takes the lock of a file, which is made if it is not there; `None`: somebody else has it. It ends with the file, and
/// so with the process.
///
/// # Errors
/// It cannot be opened or locked.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = append(path)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Opens a file or device to read and write, and closes it again.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn try_read_write(path: &Path) -> io::Result<()> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map(drop)
}

/// The bytes from an offset on, at most so many of the last ones. A file that is shorter than that has begun anew.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_end(path: &Path, from: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let from = if from > size { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(size.saturating_sub(bytes_max))))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A name beside a file for what is not yet complete: it is renamed when it is.
pub(crate) fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// Gives a file a second name, which must be free.
///
/// # Errors
/// The name is taken ([`io::ErrorKind::AlreadyExists`]), or the file cannot be linked.
pub(crate) fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Whether a regular file is at a path, following links.
pub(crate) fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

/// When a file was last written, in nanoseconds since 1970.
///
/// # Errors
/// It cannot be examined.
pub(crate) fn modified(path: &Path) -> io::Result<i128> {
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(path)?;
    Ok(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()))
}

/// Whether a unix socket is at a path.
pub(crate) fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Adds a line to a log, with the time in seconds since 1970 before it.
///
/// # Errors
/// It cannot be written.
pub(crate) fn append_line(log: &Path, text: &str) -> io::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    append(log)?.write_all(format!("{seconds} {text}\n").as_bytes())
}
