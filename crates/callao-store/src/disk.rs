//! The disk behind a trait, and the real one: the only file of this crate that may use `std::fs`.
//! Must not know what a staging file, an entry or a proof is.
//!
//! Everything that staging, Lima entries and proofs do to the disk goes through [`Disk`], so that
//! [`faulty::FaultyDisk`] can stop each of these operations and lose what was not synced.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place where the file system is touched"
)]

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{At, Error};

pub mod faulty;

/// What identifies the state of a file: a verified file is trusted only while this stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the bytes, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of bytes, owner, mode or number of links, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Names (hard links) of the file.
    pub nlink: u64,
    /// Blocks of 512 bytes that are allocated.
    pub blocks: u64,
}

impl Stamp {
    /// The same file, whatever its state.
    pub fn same_file(&self, other: &Self) -> bool {
        self.dev == other.dev && self.inode == other.inode
    }

    /// The same file with the same bytes, as far as size and mtime tell; links and mode may have changed.
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.same_file(other) && self.size == other.size && self.mtime_ns == other.mtime_ns
    }
}

/// A directory's lock; gone when dropped (and when the process dies).
pub trait DirLock: Send + fmt::Debug {}

/// The operations on paths.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing, creating it (0644) if it is missing; never truncates.
    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a file (0644) that must not exist yet.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a directory (0700) and its parents; answers with those that were created, outermost first.
    fn create_dir_all(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Names in a directory; none if there is no such directory.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// The stamp of what the path leads to (links are followed); `None` if there is nothing.
    fn stat(&self, path: &Path) -> io::Result<Option<Stamp>>;
    /// Renames over whatever has the name `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; `false` if there was none.
    fn remove(&self, path: &Path) -> io::Result<bool>;
    /// Removes an empty directory; `false` if something is in it, or if there is no such directory.
    fn remove_dir(&self, path: &Path) -> io::Result<bool>;
    /// Gives a file a second name, which must not exist yet.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Creates `to` (0644) sharing the blocks of `from`, where the file system can.
    fn reflink(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes an exclusive `flock` on the directory itself, as Lima does; `None` if somebody else holds it, or if
    /// the directory was replaced while it was taken.
    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>>;
}

/// The operations on an open file. All positioned, so that several threads share one handle.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Reads at most `buffer.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends (with a hole) to `len`.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Gives the file the length `len` with the space for it reserved, where the file system can; "no space" comes
    /// here and not in the middle of a download. What was in the file stays.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Asks the kernel to begin writing a range to the disk. No durability; best effort.
    fn start_writeback(&self, range: Range<u64>);
    /// Makes the bytes and the length durable.
    fn sync_data(&self) -> io::Result<()>;
    /// The state of the file.
    fn stamp(&self) -> io::Result<Stamp>;
    /// Bytes of the file that have been written, where the file system tells them from reserved ones; at most, where
    /// it does not.
    fn written_bytes(&self) -> io::Result<u64> {
        let stamp = self.stamp()?;
        Ok(stamp.size.min(stamp.blocks.saturating_mul(512)))
    }
    /// Takes an exclusive `flock` on this handle; `false` if another handle holds it. Released when the handle goes.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Reads a whole small file through a [`Disk`]: `None` if it is missing; an error of kind `FileTooLarge` beyond `max`.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.stamp()?.size;
    if size > max as u64 {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Creates a directory and its parents, durably where they are new.
pub(crate) fn make_dirs(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    for created in disk.create_dir_all(path).at("create", path)? {
        if let Some(parent) = created.parent() {
            disk.sync_dir(parent).at("sync", parent)?;
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; answers with the number of bytes read.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    Ok(done)
}

/// The disk of this computer.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl RealDisk {
    /// There is only one.
    pub fn new() -> Self {
        Self
    }
}

impl Disk for RealDisk {
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(File::open(path)?)))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(create_new(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut created = Vec::new();
        for dir in missing_ancestors(path) {
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => created.push(dir),
                // Somebody else was quicker.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(created)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stamp>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(stamp_of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        match fs::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<bool> {
        use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
        match fs::remove_dir(path) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), DirectoryNotEmpty | NotADirectory | NotFound) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        // A hard link to a symbolic link would be another symbolic link.
        fs::hard_link(fs::canonicalize(from)?, to)
    }

    fn reflink(&self, from: &Path, to: &Path) -> io::Result<()> {
        reflink(&File::open(from)?, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let dir = File::open(path)?;
        if !try_flock(&dir)? {
            return Ok(None);
        }
        // `limactl prune` may have removed the directory, and somebody made it anew, since it was opened.
        let locked = stamp_of(&dir.metadata()?);
        match self.stat(path)? {
            Some(now) if now.same_file(&locked) => Ok(Some(Box::new(RealDirLock { _dir: dir }))),
            _ => Ok(None),
        }
    }
}

/// An open file of this computer.
#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let before = self.0.metadata()?.len();
        if len > 0
            && let Err(error) = reserve(&self.0, len)
        {
            // Give back what was reserved before the space ran out.
            let _ = self.0.set_len(before);
            return Err(error);
        }
        self.0.set_len(len)
    }

    fn start_writeback(&self, range: Range<u64>) {
        start_writeback(&self.0, range);
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(stamp_of(&self.0.metadata()?))
    }

    #[cfg(target_os = "linux")]
    fn written_bytes(&self) -> io::Result<u64> {
        written_bytes(&self.0)
    }

    fn try_lock(&self) -> io::Result<bool> {
        try_flock(&self.0)
    }
}

#[derive(Debug)]
struct RealDirLock {
    /// Closing it releases the lock.
    _dir: File,
}

impl DirLock for RealDirLock {}

/// Reads a whole file into a buffer that is used again and again: one open, one read for the bytes, one that finds
/// the end. `false` if there is no such file. At most `max` bytes and one more are read, so that the caller sees
/// that a file is too long. For blocks of other programs' repositories, which are not behind [`Disk`].
pub(crate) fn read_whole_into(path: &Path, buffer: &mut Vec<u8>, max: usize) -> io::Result<bool> {
    buffer.clear();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Untouched pages of the reservation cost nothing; the kernel writes straight into it.
    buffer.reserve(max + 1);
    while buffer.len() <= max {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Reads the beginning of a file straight into its place, as much as fits; `None` if there is no such file. For blocks,
/// as [`read_whole_into`].
pub(crate) fn read_start_of(path: &Path, place: &mut [u8]) -> io::Result<Option<usize>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut done = 0;
    while done < place.len() {
        match rustix::io::read(&file, &mut place[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(done))
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
}

/// The directories on the way to `path` that do not exist, outermost first.
fn missing_ancestors(path: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}

fn stamp_of(metadata: &fs::Metadata) -> Stamp {
    let nanoseconds =
        |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Stamp {
        dev: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        nlink: metadata.nlink(),
        blocks: metadata.blocks(),
    }
}

/// flock(2), which is what Lima uses; fcntl locks would not be seen by it.
fn try_flock(file: &File) -> io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Adds up what SEEK_DATA and SEEK_HOLE tell: reserved space that was never written is a hole to them.
#[cfg(target_os = "linux")]
fn written_bytes(file: &File) -> io::Result<u64> {
    use rustix::fs::{SeekFrom, seek};
    let (mut written, mut at) = (0, 0);
    loop {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole up to the end.
            Err(rustix::io::Errno::NXIO) => return Ok(written),
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?;
        written += end - start;
        at = end;
    }
}

#[cfg(target_os = "linux")]
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::io::Errno;
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            // A file system without fallocate: the length alone has to do.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_file: &File, _len: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no safe wrapper of sync_file_range(2) exists")]
fn start_writeback(file: &File, range: Range<u64>) {
    use std::os::fd::AsRawFd;
    let (Ok(offset), Ok(length)) = (
        i64::try_from(range.start),
        i64::try_from(range.end.saturating_sub(range.start)),
    ) else {
        return;
    };
    if length == 0 {
        // 0 would mean "to the end of the file".
        return;
    }
    // SAFETY: takes a descriptor that `file` keeps open for the time of the call, and three integers; it touches no
    // memory of this process. Its result is of no interest: the later fdatasync reports what could not be written.
    unsafe {
        libc::sync_file_range(
            file.as_raw_fd(),
            offset,
            length,
            libc::SYNC_FILE_RANGE_WRITE,
        );
    }
}

#[cfg(not(target_os = "linux"))]
fn start_writeback(_file: &File, _range: Range<u64>) {}

#[cfg(target_os = "linux")]
fn reflink(from: &File, to: &Path) -> io::Result<()> {
    let target = create_new(to)?;
    rustix::fs::ioctl_ficlone(&target, from).map_err(|error| {
        let _ = fs::remove_file(to);
        error.into()
    })
}

#[cfg(target_vendor = "apple")]
fn reflink(from: &File, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, CloneFlags, fclonefileat};
    Ok(fclonefileat(from, CWD, to, CloneFlags::empty())?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn reflink(_from: &File, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> io::Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[test]
    fn directories_are_private_and_files_readable() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = root.path().join("a/b");
        let created = RealDisk.create_dir_all(&dir)?;
        assert_eq!(created, [root.path().join("a"), dir.clone()]);
        assert!(RealDisk.create_dir_all(&dir)?.is_empty());
        RealDisk.open_write(&dir.join("f"))?;
        assert_eq!(mode(&dir)?, 0o700);
        assert_eq!(mode(&root.path().join("a"))?, 0o700);
        assert_eq!(mode(&dir.join("f"))? & 0o600, 0o600);
        Ok(())
    }

    #[test]
    fn allocate_reserves_and_keeps_what_is_there() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let file = RealDisk.open_write(&root.path().join("f"))?;
        file.write_at(b"kept", 0)?;
        file.allocate(1 << 20)?;
        file.start_writeback(0..1 << 20);
        let stamp = file.stamp()?;
        assert_eq!(stamp.size, 1 << 20);
        let mut head = [0; 4];
        assert_eq!(read_full(&*file, &mut head, 0)?, 4);
        assert_eq!(&head, b"kept");
        file.allocate(2)?;
        assert_eq!(file.stamp()?.size, 2);
        file.allocate(0)?;
        assert_eq!(file.stamp()?.size, 0);
        Ok(())
    }

    #[test]
    fn only_empty_directories_are_removed() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let dir = root.path().join("d");
        assert!(!RealDisk.remove_dir(&dir)?, "there is none");
        RealDisk.create_dir_all(&dir)?;
        RealDisk.create_new(&dir.join("f"))?;
        assert!(!RealDisk.remove_dir(&dir)?, "it is not empty");
        assert!(!RealDisk.remove_dir(&dir.join("f"))?, "it is a file");
        RealDisk.remove(&dir.join("f"))?;
        assert!(RealDisk.remove_dir(&dir)?);
        assert_eq!(RealDisk.stat(&dir)?, None);
        Ok(())
    }

    #[test]
    fn reserved_space_does_not_count_as_written() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let file = RealDisk.open_write(&root.path().join("f"))?;
        file.allocate(8 << 20)?;
        file.write_at(&[7; 1 << 20], 2 << 20)?;
        file.sync_data()?;
        let written = file.written_bytes()?;
        assert!((1 << 20..=8 << 20).contains(&written), "{written}");
        // A hole is told from data on every file system that has holes.
        let sparse = RealDisk.open_write(&root.path().join("s"))?;
        sparse.set_len(8 << 20)?;
        sparse.write_at(&[7; 1 << 20], 2 << 20)?;
        sparse.sync_data()?;
        assert!((1 << 20..2 << 20).contains(&sparse.written_bytes()?));
        Ok(())
    }

    #[test]
    fn locks_exclude_other_handles() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("f");
        let (one, two) = (RealDisk.open_write(&path)?, RealDisk.open_write(&path)?);
        assert!(one.try_lock()?);
        assert!(!two.try_lock()?);
        drop(one);
        assert!(two.try_lock()?);

        let held = RealDisk.try_lock_dir(root.path())?;
        assert!(held.is_some());
        assert!(RealDisk.try_lock_dir(root.path())?.is_none());
        drop(held);
        assert!(RealDisk.try_lock_dir(root.path())?.is_some());
        Ok(())
    }

    #[test]
    fn whole_reads_show_that_a_file_is_too_long() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("f");
        fs::write(&path, [7; 100])?;
        let mut buffer = Vec::new();
        assert!(read_whole_into(&path, &mut buffer, 100)?);
        assert_eq!(buffer, [7; 100]);
        assert!(read_whole_into(&path, &mut buffer, 50)?);
        assert!(buffer.len() > 50);
        assert!(!read_whole_into(
            &root.path().join("none"),
            &mut buffer,
            50
        )?);
        Ok(())
    }
}
