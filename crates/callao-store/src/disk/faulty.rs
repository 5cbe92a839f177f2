//! A disk in memory that fails, fills up, or loses power at a chosen operation. For tests, of this crate and others.
//! Must not know what is stored on it.
//!
//! It keeps two states: what a running system sees, and what a power cut would leave ([`model`](self)). Bytes become
//! durable by `sync_data`, names by `sync_dir`; a rename is atomic but not durable. Everything not synced may or may
//! not survive: [`Survive`] decides, worst case, best case, or any mixture by a seed.
//!
//! ```text
//! let disk = FaultyDisk::new();
//! disk.arm(17, Fault::Crash);            // the 18th operation from now on does not return well
//! run(&disk);                            // fails somewhere
//! let disk = disk.recover(Survive::Worst);   // power is back
//! run(&disk);                            // has to finish
//! ```

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DirLock, Disk, DiskFile, Stamp};
use model::State;

mod model;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// That operation alone fails with an I/O error; a write may have been done in part.
    Error,
    /// Power goes: that operation and all later ones fail, all locks are gone, and only
    /// [`FaultyDisk::recover`] gives a working disk again. A write may have been done in part.
    Crash,
    /// From that operation on there is no space: whatever needs some fails.
    NoSpace,
}

/// What of the unsynced state survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survive {
    /// Nothing that was not synced.
    Worst,
    /// Everything.
    Best,
    /// Any mixture: each name change and each page of 4 KiB on its own.
    Seed(u64),
}

/// The disk. Clones share the state, as processes share a disk.
#[derive(Debug, Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// An empty disk without faults, one file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets another file system begin at `path`: renames and links across its border fail as they do on a real one.
    pub fn mount(&self, path: &Path) {
        self.lock().mounts.push(path.to_owned());
    }

    /// Arms one fault: `after` operations from now succeed, the next one meets it. Replaces an earlier one.
    pub fn arm(&self, after: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.ops + after, fault));
    }

    /// Takes an armed fault back, and gives the space back; does not undo a crash.
    pub fn disarm(&self) {
        self.lock().fault = None;
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        self.lock().ops
    }

    /// Has the armed fault been met?
    pub fn fault_met(&self) -> bool {
        let state = self.lock();
        state.fault.is_some_and(|(at, _)| state.ops > at)
    }

    /// Cuts the power (if the fault did not) and starts again with what survives. The old disk stays dead.
    pub fn recover(&self, survive: Survive) -> Self {
        let mut state = self.lock();
        state.crash();
        Self {
            state: Arc::new(Mutex::new(state.recovered(survive))),
        }
    }

    /// Paths of all files that a running system sees; for the assertions of tests. Not an operation.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().files()
    }

    /// The bytes of a file as a running system sees them; for the assertions of tests. Not an operation.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().peek(path)
    }

    /// Puts a file there, with its directories, all durable; for the set-up of tests. Not an operation.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        self.lock().plant(path, bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &mut State, inode: u64, dev: u64, writable: bool) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile {
            disk: self.clone(),
            inode,
            dev,
            handle: state.next_handle(),
            writable,
        })
    }
}

impl Disk for FaultyDisk {
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.step(false)?;
        let inode = state.file(path)?;
        let dev = state.dev(path);
        Ok(self.handle(&mut state, inode, dev, false))
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let exists = state.live.contains_key(path);
        state.step(!exists)?;
        let inode = if exists {
            state.file(path)?
        } else {
            state.create(path)?
        };
        let dev = state.dev(path);
        Ok(self.handle(&mut state, inode, dev, true))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        state.step(true)?;
        if state.live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.create(path)?;
        let dev = state.dev(path);
        Ok(self.handle(&mut state, inode, dev, true))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut state = self.lock();
        let mut missing: Vec<&Path> = path
            .ancestors()
            .take_while(|dir| !state.is_dir(dir))
            .collect();
        missing.reverse();
        if missing.is_empty() {
            state.step(false)?;
        }
        let mut created = Vec::new();
        for dir in missing {
            state.step(true)?;
            if state.live.contains_key(dir) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state.make_dir(dir);
            created.push(dir.to_owned());
        }
        Ok(created)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.step(false)?;
        Ok(state.list(path))
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stamp>> {
        let mut state = self.lock();
        state.step(false)?;
        Ok(state
            .live
            .get(path)
            .map(|&inode| state.stamp(inode, state.dev(path))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        state.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.lock();
        state.step(false)?;
        state.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.lock();
        state.step(false)?;
        Ok(state.remove_dir(path))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step(true)?;
        state.hard_link(from, to)
    }

    fn reflink(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        self.lock().step(false)?;
        // As on ext4, where a copy is the next thing to try.
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step(false)?;
        if !state.is_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.sync_dir(path);
        Ok(())
    }

    fn try_lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        let mut state = self.lock();
        state.step(false)?;
        let Some(&inode) = state.live.get(path) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let handle = state.next_handle();
        if !state.take_lock(inode, handle) {
            return Ok(None);
        }
        Ok(Some(Box::new(FaultyDirLock {
            disk: self.clone(),
            inode,
            handle,
        })))
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    inode: u64,
    dev: u64,
    handle: u64,
    writable: bool,
}

impl FaultyFile {
    fn writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.step(false)?;
        Ok(state.read(self.inode, buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writable()?;
        let mut state = self.disk.lock();
        let was_alive = !state.crashed;
        let result = state.step(true);
        // A write that fails may have been done in part.
        let done = match &result {
            Ok(()) => bytes.len(),
            Err(_) if was_alive => bytes.len() / 2,
            Err(_) => 0,
        };
        if done > 0 {
            state.write(self.inode, &bytes[..done], offset);
        }
        result
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        let mut state = self.disk.lock();
        state.step(false)?;
        state.set_len(self.inode, len);
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.writable()?;
        let mut state = self.disk.lock();
        state.step(true)?;
        state.set_len(self.inode, len);
        Ok(())
    }

    fn start_writeback(&self, _range: Range<u64>) {
        // Counts, so that power may go here; what it wrote, a seed may keep anyway.
        let _ = self.disk.lock().step(false);
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step(false)?;
        state.sync_data(self.inode);
        Ok(())
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let mut state = self.disk.lock();
        state.step(false)?;
        Ok(state.stamp(self.inode, self.dev))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.lock();
        state.step(false)?;
        Ok(state.take_lock(self.inode, self.handle))
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        self.disk.lock().release_lock(self.inode, self.handle);
    }
}

#[derive(Debug)]
struct FaultyDirLock {
    disk: FaultyDisk,
    inode: u64,
    handle: u64,
}

impl DirLock for FaultyDirLock {}

impl Drop for FaultyDirLock {
    fn drop(&mut self) {
        self.disk.lock().release_lock(self.inode, self.handle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_dir() -> FaultyDisk {
        let disk = FaultyDisk::new();
        disk.plant(Path::new("/d/old"), b"old");
        disk
    }

    #[test]
    fn unsynced_bytes_and_names_are_lost_or_kept() -> io::Result<()> {
        let path = Path::new("/d/new");
        for (sync_file, sync_dir, worst) in [
            (false, false, None),
            (true, false, None),
            (false, true, Some(&b""[..])),
            (true, true, Some(&b"bytes"[..])),
        ] {
            let disk = disk_with_dir();
            let file = disk.create_new(path)?;
            file.write_at(b"bytes", 0)?;
            if sync_file {
                file.sync_data()?;
            }
            if sync_dir {
                disk.sync_dir(Path::new("/d"))?;
            }
            assert_eq!(
                disk.recover(Survive::Best).peek(path).as_deref(),
                Some(&b"bytes"[..])
            );
            assert_eq!(disk.recover(Survive::Worst).peek(path).as_deref(), worst);
            assert!(disk.open_read(path).is_err(), "the old disk stays dead");
        }
        Ok(())
    }

    #[test]
    fn a_rename_is_one_change() -> io::Result<()> {
        for seed in 0..64 {
            let disk = disk_with_dir();
            disk.create_dir_all(Path::new("/e"))?;
            disk.sync_dir(Path::new("/"))?;
            disk.rename(Path::new("/d/old"), Path::new("/e/moved"))?;
            let disk = disk.recover(Survive::Seed(seed));
            let found = [Path::new("/d/old"), Path::new("/e/moved")]
                .iter()
                .filter(|path| disk.peek(path).is_some())
                .count();
            assert_eq!(found, 1, "seed {seed}");
        }
        Ok(())
    }

    #[test]
    fn faults_meet_the_chosen_operation() -> io::Result<()> {
        let disk = disk_with_dir();
        let file = disk.open_write(Path::new("/d/old"))?;
        disk.arm(1, Fault::Error);
        file.write_at(b"x", 0)?;
        assert!(file.write_at(b"y", 0).is_err());
        file.write_at(b"z", 0)?;
        disk.arm(0, Fault::NoSpace);
        let full = file.write_at(b"y", 0).expect_err("no space is left");
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.sync_data()?;
        disk.arm(0, Fault::Crash);
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_err());
        assert!(disk.fault_met());
        Ok(())
    }

    #[test]
    fn locks_links_stamps_and_borders_behave() -> io::Result<()> {
        let disk = disk_with_dir();
        let (old, link) = (Path::new("/d/old"), Path::new("/d/link"));
        let (one, two) = (disk.open_write(old)?, disk.open_write(old)?);
        assert!(one.try_lock()? && one.try_lock()? && !two.try_lock()?);
        drop(one);
        assert!(two.try_lock()?);

        let before = two.stamp()?;
        disk.hard_link(old, link)?;
        let after = two.stamp()?;
        assert!(after.same_bytes(&before) && after.ctime_ns != before.ctime_ns && after.nlink == 2);
        two.write_at(b"new", 0)?;
        assert!(!two.stamp()?.same_bytes(&before));
        assert_eq!(disk.peek(link).as_deref(), Some(&b"new"[..]));

        disk.create_dir_all(Path::new("/m"))?;
        disk.mount(Path::new("/m"));
        let crossing = disk
            .rename(old, Path::new("/m/f"))
            .expect_err("another device");
        assert_eq!(crossing.kind(), io::ErrorKind::CrossesDevices);
        Ok(())
    }
}
