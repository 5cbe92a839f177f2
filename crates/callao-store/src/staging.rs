//! A fetch under way: a preallocated file, what it is about, and which of its leaves are proven.
//! Must not know where the bytes come from, nor where they go afterwards.
//!
//! ```text
//! <key>.part     the file, locked with flock for as long as somebody works on it; it becomes `data` by a rename
//! <key>.json     what it is about: decides whether another process may go on with it
//! <key>.leaves   without a layout: hashes of the leaves in file order, 32 bytes each
//! <key>.have     with a layout: which leaves are proven, for those who serve them meanwhile
//! ```
//! Nothing here is trusted on the next start: what counts is what the bytes of `.part` hash to. So a power cut may
//! cost the resume, never more, and only [`Staging::sync`] syncs anything.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use callao_content::layout::Layout;
use callao_content::leaf::VerifiedLeaf;

use crate::disk::{self, Disk, DiskFile, Stamp};
use crate::error::{At, Error};
use crate::limits;
use crate::lock::{self, Wait};
use crate::places::Places;
use crate::proof;
use crate::proven::Proven;
use crate::rescan;
use have::HaveFile;
use journal::Journal;

mod about;
pub(crate) mod have;
mod journal;
mod leftover;

pub use crate::lock::{WaitChoice, Waited};
pub use about::About;
pub(crate) use about::load as load_about;
pub use leftover::{Leftover, look};

/// One staging file, locked. Shared by the threads of a fetch: every method takes `&self`.
/// Dropping it releases the lock and keeps the files, for the next start.
#[derive(Debug)]
pub struct Staging {
    disk: Arc<dyn Disk>,
    places: Places,
    paths: Paths,
    file: Arc<dyn DiskFile>,
    size: AtomicU64,
    about: Mutex<About>,
    journal: Mutex<Journal>,
    layout: OnceLock<Arc<Layout>>,
    proven: OnceLock<Proven>,
    have: OnceLock<Option<HaveFile>>,
    resumed: AtomicBool,
    written: AtomicBool,
    waited: bool,
}

/// The files of one key.
#[derive(Debug, Clone)]
struct Paths {
    part: PathBuf,
    json: PathBuf,
    leaves: PathBuf,
    have: PathBuf,
}

impl Staging {
    /// Opens and locks the staging file of `key` (letters, digits, `.`, `_`, `-`). Goes on with what is there if
    /// `about` fits it ([`About::fits`]), else starts anew.
    ///
    /// While another process has the lock, `wait` is asked every 100 ms; [`Error::Locked`] when it gives up. Look
    /// whether the file is wanted at all if [`Staging::waited`]: the other process will have published it.
    pub fn open(
        disk: Arc<dyn Disk>,
        places: &Places,
        key: &str,
        about: &About,
        wait: Wait<'_>,
    ) -> Result<Self, Error> {
        check_key(key)?;
        let paths = Paths {
            part: places.staging_part(key),
            json: places.staging_json(key),
            leaves: places.staging_leaves(key),
            have: places.staging_have(key),
        };
        let dir = places.staging();
        disk::make_dirs(&*disk, &dir)?;
        let mut waited = false;
        let file = lock::acquire(
            &paths.part,
            &mut |state| {
                waited = true;
                wait(state)
            },
            || lock_part(&*disk, &paths.part),
        )?;

        let found = file.stamp().at("examine", &paths.part)?.size;
        let old = about::load(&*disk, &paths.json)?.filter(|old| found > 0 && about.fits(old));
        let resumed = old.is_some();
        let (about, size) = match old {
            Some(old) => (about.or(&old), found),
            None => {
                // First what speaks for the bytes, then the bytes.
                disk.remove(&paths.json).at("remove", &paths.json)?;
                disk.remove(&paths.leaves).at("remove", &paths.leaves)?;
                disk.remove(&paths.have).at("remove", &paths.have)?;
                file.set_len(0).at("cut", &paths.part)?;
                (about.clone(), 0)
            }
        };
        let staging = Self {
            journal: Mutex::new(Journal::new(paths.leaves.clone())),
            about: Mutex::new(about.clone()),
            disk,
            places: places.clone(),
            paths,
            file,
            size: AtomicU64::new(size),
            layout: OnceLock::new(),
            proven: OnceLock::new(),
            have: OnceLock::new(),
            resumed: AtomicBool::new(resumed),
            written: AtomicBool::new(false),
            waited,
        };
        staging.set_about(about)?;
        Ok(staging)
    }

    /// Removes what is left of a fetch that nobody needs any more, because its file was published, unless somebody is
    /// working on it. `true` if there was something and it is gone.
    pub fn remove_leftover(disk: &dyn Disk, places: &Places, key: &str) -> Result<bool, Error> {
        check_key(key)?;
        let part = places.staging_part(key);
        let mut lock = None;
        if disk.stat(&part).at("examine", &part)?.is_some() {
            lock = lock_part(disk, &part)?;
            if lock.is_none() {
                return Ok(false);
            }
        }
        let mut removed = false;
        let json = places.staging_json(key);
        for path in [
            about::temporary(&json),
            json,
            places.staging_leaves(key),
            places.staging_have(key),
            part,
        ] {
            removed |= disk.remove(&path).at("remove", &path)?;
        }
        drop(lock);
        Ok(removed)
    }

    /// Is there something from an earlier start? Then [`Staging::rescan`] or [`Staging::resume_prefix`] tells what.
    pub fn is_resumed(&self) -> bool {
        self.resumed.load(Ordering::Acquire)
    }

    /// Whether nothing was found here and nothing was written: nobody could go on with it.
    pub fn is_untouched(&self) -> bool {
        !self.is_resumed() && !self.written.load(Ordering::Acquire)
    }

    /// Did [`Staging::open`] have to wait for another process?
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// The `.part` file.
    pub fn path(&self) -> &Path {
        &self.paths.part
    }

    /// Sets the length and reserves the space: [`Error::DiskFull`] comes here, before a byte is fetched. Bytes that
    /// are there stay.
    pub fn set_size(&self, size: u64) -> Result<(), Error> {
        let stamp = self.stamp()?;
        let missing = size.saturating_sub(stamp.blocks.saturating_mul(512));
        self.file
            .allocate(size)
            .at_needing("allocate", &self.paths.part, missing)?;
        self.size.store(size, Ordering::Release);
        Ok(())
    }

    /// Makes the file longer without reserving the space, for bytes whose number nobody knows before they are there.
    /// What is not written stays a hole.
    pub fn extend(&self, size: u64) -> Result<(), Error> {
        if size > self.size() {
            self.file
                .set_len(size)
                .at_needing("extend", &self.paths.part, 0)?;
            self.size.store(size, Ordering::Release);
        }
        Ok(())
    }

    /// The length: of what was found, then as set; 0 at first.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Writes at an offset, in slices of 64 KiB. The bytes are unproven until [`Staging::hold`] says otherwise.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check_range(offset, bytes.len())?;
        self.written.store(true, Ordering::Release);
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            // Slices end on multiples of their size in the file, whatever the first offset.
            let room = limits::WRITE_SLICE_BYTES as u64 - at % limits::WRITE_SLICE_BYTES as u64;
            let (slice, later) = rest.split_at(rest.len().min(room as usize));
            self.file.write_at(slice, at).at_needing(
                "write",
                &self.paths.part,
                rest.len() as u64,
            )?;
            at += slice.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// Fills the buffer from an offset.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.check_range(offset, buffer.len())?;
        let read = disk::read_full(&*self.file, buffer, offset).at("read", &self.paths.part)?;
        if read < buffer.len() {
            let short = Err(io::ErrorKind::UnexpectedEof.into());
            return short.at("read", &self.paths.part);
        }
        Ok(())
    }

    /// Asks the kernel to begin writing a range to the disk, so that [`Staging::sync`] finds little left to do.
    pub fn start_writeback(&self, range: Range<u64>) {
        self.file.start_writeback(range);
    }

    /// Makes the bytes durable (and the journal visible to the next start).
    pub fn sync(&self) -> Result<(), Error> {
        self.journal().flush(&*self.disk)?;
        self.file.sync_data().at("sync", &self.paths.part)
    }

    /// The state of the file.
    pub fn stamp(&self) -> Result<Stamp, Error> {
        self.file.stamp().at("examine", &self.paths.part)
    }

    /// From now on leaves of this layout are counted, and others may serve them: its proof is kept, if that is possible.
    /// Once only: another root needs a staging file of its own.
    pub fn use_layout(&self, layout: Arc<Layout>) -> Result<(), Error> {
        let root = *layout.root();
        self.proven
            .get_or_init(|| Proven::new(layout.leaves().len()));
        let used = self.layout.get_or_init(|| layout);
        if *used.root() == root {
            self.have.get_or_init(|| self.tell_others(used));
            Ok(())
        } else {
            Err(Error::LayoutChanged {
                path: self.paths.part.clone(),
            })
        }
    }

    /// The layout in use.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.layout.get()
    }

    /// Counts a leaf as held. The caller has written these very bytes at the leaf's offset. Without a layout in
    /// use, nothing is counted.
    pub fn hold(&self, leaf: &VerifiedLeaf<'_>) {
        if let Some(proven) = self.proven.get() {
            proven.set(leaf.index());
            if let Some(Some(have)) = self.have.get() {
                have.note(proven, leaf.index());
            }
        }
    }

    /// Is this leaf held? Takes no lock.
    pub fn is_held(&self, index: usize) -> bool {
        self.proven.get().is_some_and(|proven| proven.get(index))
    }

    /// Number of leaves held.
    pub fn held_count(&self) -> usize {
        self.proven.get().map_or(0, Proven::count)
    }

    /// Re-hashes the file against the layout, on two threads, and holds every good leaf. `progress` gets the number
    /// of bytes looked at so far, on the calling thread. Answers with the number of bytes held.
    pub fn rescan(&self, layout: &Layout, progress: &dyn Fn(u64)) -> Result<u64, Error> {
        let proven = self
            .proven
            .get_or_init(|| Proven::new(layout.leaves().len()));
        let length = self.stamp()?.size;
        rescan::rescan(&*self.file, length, layout, progress, &|leaf| {
            proven.set(leaf.index());
        })
        .at("read", &self.paths.part)?;
        if let Some(Some(have)) = self.have.get() {
            have.note_all(proven, layout.leaves().len());
        }
        Ok(layout
            .leaves()
            .iter()
            .enumerate()
            .filter(|(index, _)| proven.get(*index))
            .map(|(_, leaf)| u64::from(leaf.length))
            .sum())
    }

    /// Takes over the bytes of another file, for [`Staging::rescan`] to tell which of them are good: a file that is
    /// damaged in places is completed, not fetched again. What was in the staging file is gone.
    pub fn take_over(&self, path: &Path) -> Result<(), Error> {
        let source = self.disk.open_read(path).at("open", path)?;
        let size = source.stamp().at("examine", path)?.size;
        self.set_size(size)?;
        let mut buffer = vec![0; limits::COPY_BUFFER_BYTES];
        let mut offset = 0;
        while offset < size {
            let wanted = buffer.len().min((size - offset) as usize);
            let read = disk::read_full(&*source, &mut buffer[..wanted], offset).at("read", path)?;
            if read == 0 {
                break;
            }
            self.write(offset, &buffer[..read])?;
            self.start_writeback(offset..offset + read as u64);
            offset += read as u64;
        }
        self.resumed.store(true, Ordering::Release);
        Ok(())
    }

    /// Without a CID: notes the hash of the next 256 KiB, in file order (the last leaf may be shorter). Written out
    /// every 8 leaves; a kill costs at most these.
    pub fn journal_leaf(&self, hash: [u8; 32]) -> Result<(), Error> {
        self.journal().push(&*self.disk, hash)
    }

    /// Without a CID: re-hashes the file against the noted hashes; answers with those of the good prefix, after
    /// which [`Staging::journal_leaf`] goes on.
    pub fn resume_prefix(&self) -> Result<Vec<[u8; 32]>, Error> {
        let length = self.stamp()?.size;
        let noted = journal::load(&*self.disk, &self.paths.leaves)?;
        let good = journal::good_prefix(&*self.file, length, noted).at("read", &self.paths.part)?;
        self.journal().restart(good.clone());
        Ok(good)
    }

    /// Forgets every byte: the next attempt at the same file begins at byte 0. Held leaves are not forgotten: use it
    /// where the whole digest decides.
    pub fn start_over(&self) -> Result<(), Error> {
        self.remove_notes()?;
        let mut about = self.about();
        (about.etag, about.last_modified, about.length) = (None, None, None);
        self.set_about(about)?;
        self.file.set_len(0).at("cut", &self.paths.part)?;
        self.size.store(0, Ordering::Release);
        self.resumed.store(false, Ordering::Release);
        Ok(())
    }

    /// What the file is about.
    pub fn about(&self) -> About {
        lock(&self.about).clone()
    }

    /// Notes what became known about it: validators, length.
    pub fn set_about(&self, about: About) -> Result<(), Error> {
        let mut current = lock(&self.about);
        about::save(&*self.disk, &self.paths.json, &about)?;
        *current = about;
        Ok(())
    }

    /// Removes the files and releases the lock.
    pub fn discard(self) -> Result<(), Error> {
        self.remove_notes()?;
        self.disk
            .remove(&self.paths.part)
            .at("remove", &self.paths.part)?;
        Ok(())
    }

    /// After the file got its final name: removes what was beside it.
    pub(crate) fn remove_notes(&self) -> Result<(), Error> {
        self.journal().restart(Vec::new());
        for path in [&self.paths.json, &self.paths.leaves, &self.paths.have] {
            self.disk.remove(path).at("remove", path)?;
        }
        Ok(())
    }

    /// Nothing depends on it: whoever is not told does not serve this file yet.
    fn tell_others(&self, layout: &Layout) -> Option<HaveFile> {
        proof::save(&*self.disk, &self.places, layout).ok()?;
        let leaves = layout.leaves().len();
        HaveFile::create(&*self.disk, &self.paths.have, layout.root(), leaves)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    fn check_range(&self, offset: u64, length: usize) -> Result<(), Error> {
        let size = self.size();
        if offset
            .checked_add(length as u64)
            .is_some_and(|end| end <= size)
        {
            return Ok(());
        }
        Err(Error::OutOfBounds {
            path: self.paths.part.clone(),
            offset,
            length: length as u64,
            size,
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Best effort: what is not noted is fetched again.
        let _ = self.journal().flush(&*self.disk);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check_key(key: &str) -> Result<(), Error> {
    let usable = !key.is_empty()
        && key.len() <= limits::STAGING_KEY_BYTES_MAX
        && !key.starts_with('.')
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if usable {
        Ok(())
    } else {
        Err(Error::BadKey {
            key: key.to_owned(),
        })
    }
}

/// One try for the lock. Whoever held it may have renamed the file to its final place meanwhile: then the lock is on
/// a published file, and the name is free for a new one.
fn lock_part(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<dyn DiskFile>>, Error> {
    loop {
        let file = disk.open_write(path).at("create", path)?;
        if !file.try_lock().at("lock", path)? {
            return Ok(None);
        }
        let locked = file.stamp().at("examine", path)?;
        let named = disk.stat(path).at("examine", path)?;
        if !named.is_some_and(|named| named.same_file(&locked)) {
            continue;
        }
        if locked.nlink > 1 {
            // The same bytes have another name: never write to them.
            disk.remove(path).at("remove", path)?;
            continue;
        }
        return Ok(Some(file));
    }
}

#[cfg(test)]
mod tests;
