//! The same bytes under another name: hard link, else reflink, else copy.
//! Must not know why; nor what the bytes are.

use std::io;
use std::path::Path;

use crate::disk::{self, Disk};
use crate::error::{At, Error};
use crate::limits;

/// How bytes came to their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// The staging file got its final name.
    Renamed,
    /// Another name of a file that was there: no new bytes on disk.
    HardLinked,
    /// A file that shares the blocks of another one.
    Reflinked,
    /// A copy, re-read and compared.
    Copied,
    /// They were there already.
    AlreadyThere,
}

/// Gives the bytes of `from` the name `to`, which must not exist, on its file system: hard link, reflink or copy.
/// A copy is synced; nothing is verified here.
pub fn place(disk: &dyn Disk, from: &Path, to: &Path) -> Result<How, Error> {
    match disk.hard_link(from, to) {
        Ok(()) => Ok(How::HardLinked),
        Err(error) if is_final(&error) => Err(error).at("link to", to),
        // Another file system, one without links, too many links, a file of another user (protected_hardlinks).
        Err(_) => place_own(disk, from, to),
    }
}

/// Like [`place`], but never as another name of the same file: for files that their owner may write to.
pub fn place_own(disk: &dyn Disk, from: &Path, to: &Path) -> Result<How, Error> {
    match disk.reflink(from, to) {
        Ok(()) => Ok(How::Reflinked),
        Err(error) if is_final(&error) => Err(error).at("clone to", to),
        Err(_) => copy(disk, from, to).map(|()| How::Copied),
    }
}

/// Errors that the next way would meet as well.
fn is_final(error: &io::Error) -> bool {
    use io::ErrorKind::{
        AlreadyExists, NotADirectory, NotFound, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        error.kind(),
        AlreadyExists | NotADirectory | NotFound | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

fn copy(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), Error> {
    let copied = copy_bytes(disk, from, to);
    if copied.is_err() {
        let _ = disk.remove(to);
    }
    copied
}

fn copy_bytes(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), Error> {
    let source = disk.open_read(from).at("open", from)?;
    let size = source.stamp().at("examine", from)?.size;
    let target = disk.create_new(to).at("create", to)?;
    target.allocate(size).at_needing("allocate", to, size)?;
    let mut buffer = vec![0; limits::COPY_BUFFER_BYTES];
    let mut offset = 0;
    loop {
        let read = disk::read_full(&*source, &mut buffer, offset).at("read", from)?;
        for (index, slice) in buffer[..read].chunks(limits::WRITE_SLICE_BYTES).enumerate() {
            let at = offset + (index * limits::WRITE_SLICE_BYTES) as u64;
            target
                .write_at(slice, at)
                .at_needing("write", to, size - at.min(size))?;
        }
        if read == 0 {
            break;
        }
        target.start_writeback(offset..offset + read as u64);
        offset += read as u64;
    }
    // The source may have been shorter than it was said to be.
    target.set_len(offset).at("cut", to)?;
    target.sync_data().at("sync", to)
}
