//! The two states of a disk: what is seen, and what a power cut leaves.
//! Must not know about handles beyond their numbers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, Survive};
use crate::disk::Stamp;

/// Pages survive a power cut one by one.
const PAGE_BYTES: usize = 4096;

/// Bytes of a file, or the fact that it is a directory.
#[derive(Debug, Clone, Default)]
struct Inode {
    is_dir: bool,
    live: Vec<u8>,
    durable: Vec<u8>,
    mtime_ns: i64,
    ctime_ns: i64,
}

/// Names that change together: survives a power cut as a whole or not at all.
#[derive(Debug, Clone)]
struct Change(Vec<(PathBuf, Option<u64>)>);

/// Everything behind the lock of a [`FaultyDisk`](super::FaultyDisk).
#[derive(Debug, Default)]
pub(super) struct State {
    inodes: BTreeMap<u64, Inode>,
    /// Names as a running system sees them.
    pub(super) live: BTreeMap<PathBuf, u64>,
    /// Names that survive a power cut for sure.
    durable: BTreeMap<PathBuf, u64>,
    /// Changes of names since, oldest first.
    pending: Vec<Change>,
    locks: BTreeMap<u64, u64>,
    /// Where other file systems begin.
    pub(super) mounts: Vec<PathBuf>,
    pub(super) fault: Option<(u64, Fault)>,
    pub(super) crashed: bool,
    pub(super) ops: u64,
    clock: i64,
    last_number: u64,
}

impl State {
    /// One operation begins: counts it, and lets it meet the fault.
    pub(super) fn step(&mut self, needs_space: bool) -> io::Result<()> {
        if self.crashed {
            return Err(io::Error::other("the power is off"));
        }
        let number = self.ops;
        self.ops += 1;
        self.clock += 1;
        match self.fault {
            Some((at, Fault::Error)) if number == at => Err(io::Error::other("injected I/O error")),
            Some((at, Fault::Crash)) if number >= at => {
                self.crash();
                Err(io::Error::other("the power went off"))
            }
            Some((at, Fault::NoSpace)) if number >= at && needs_space => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn crash(&mut self) {
        self.crashed = true;
        self.locks.clear();
    }

    /// The state after the power came back.
    pub(super) fn recovered(&self, survive: Survive) -> Self {
        let mut dice = Dice::new(survive);
        let mut names = self.durable.clone();
        for change in &self.pending {
            if dice.keeps() {
                apply(&mut names, change);
            }
        }
        let mut state = Self {
            mounts: self.mounts.clone(),
            clock: self.clock,
            last_number: self.last_number,
            ..Self::default()
        };
        for (path, inode) in &names {
            // A name in a directory that did not survive leads nowhere. Parents sort before their children.
            if !state.is_dir(parent(path)) {
                continue;
            }
            let old = &self.inodes[inode];
            state.live.insert(path.clone(), *inode);
            state.inodes.entry(*inode).or_insert_with(|| {
                let bytes = dice.bytes(&old.durable, &old.live);
                Inode {
                    live: bytes.clone(),
                    durable: bytes,
                    ..old.clone()
                }
            });
        }
        state.durable = state.live.clone();
        state
    }

    pub(super) fn next_handle(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn take_lock(&mut self, inode: u64, handle: u64) -> bool {
        *self.locks.entry(inode).or_insert(handle) == handle
    }

    pub(super) fn release_lock(&mut self, inode: u64, handle: u64) {
        if self.locks.get(&inode) == Some(&handle) {
            self.locks.remove(&inode);
        }
    }

    pub(super) fn is_dir(&self, path: &Path) -> bool {
        path.parent().is_none()
            || path.as_os_str().is_empty()
            || self
                .live
                .get(path)
                .is_some_and(|inode| self.inodes[inode].is_dir)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<u64> {
        let inode = *self.live.get(path).ok_or(io::ErrorKind::NotFound)?;
        if self.inodes[&inode].is_dir {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(inode)
    }

    pub(super) fn dev(&self, path: &Path) -> u64 {
        self.mounts
            .iter()
            .position(|mount| path.starts_with(mount))
            .map_or(1, |index| index as u64 + 2)
    }

    pub(super) fn stamp(&self, inode: u64, dev: u64) -> Stamp {
        let node = &self.inodes[&inode];
        Stamp {
            dev,
            inode,
            size: node.live.len() as u64,
            mtime_ns: node.mtime_ns,
            ctime_ns: node.ctime_ns,
            nlink: self.live.values().filter(|&&name| name == inode).count() as u64,
            blocks: node.live.len().div_ceil(512) as u64,
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        if !self.is_dir(parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode = self.new_inode(false);
        self.change(vec![(path.to_owned(), Some(inode))]);
        Ok(inode)
    }

    pub(super) fn make_dir(&mut self, path: &Path) {
        let inode = self.new_inode(true);
        self.change(vec![(path.to_owned(), Some(inode))]);
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.file(from)?;
        self.may_enter(from, to)?;
        if self.live.get(to) == Some(&inode) {
            // POSIX: two names of one file, nothing happens.
            return Ok(());
        }
        self.touch_links(to);
        self.change(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        self.touch_links(to);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<bool> {
        match self.file(path) {
            Ok(_) => {
                self.touch_links(path);
                self.change(vec![(path.to_owned(), None)]);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> bool {
        let removable = self.live.contains_key(path)
            && self.is_dir(path)
            && !self.live.keys().any(|name| parent(name) == path);
        if removable {
            self.change(vec![(path.to_owned(), None)]);
        }
        removable
    }

    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.file(from)?;
        self.may_enter(from, to)?;
        if self.live.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(vec![(to.to_owned(), Some(inode))]);
        self.touch_links(to);
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> Vec<String> {
        self.live
            .keys()
            .filter(|name| parent(name) == path)
            .filter_map(|name| Some(name.file_name()?.to_str()?.to_owned()))
            .collect()
    }

    /// Makes durable every change that concerns the directory, and every older one that these build upon.
    pub(super) fn sync_dir(&mut self, dir: &Path) {
        let mut chosen = vec![false; self.pending.len()];
        let mut names: Vec<PathBuf> = Vec::new();
        for (index, Change(sets)) in self.pending.iter().enumerate().rev() {
            if sets
                .iter()
                .any(|(path, _)| parent(path) == dir || names.contains(path))
            {
                chosen[index] = true;
                names.extend(sets.iter().map(|(path, _)| path.clone()));
            }
        }
        for (change, chosen) in std::mem::take(&mut self.pending).into_iter().zip(chosen) {
            if chosen {
                apply(&mut self.durable, &change);
            } else {
                self.pending.push(change);
            }
        }
    }

    pub(super) fn read(&self, inode: u64, buffer: &mut [u8], offset: u64) -> usize {
        let bytes = &self.inodes[&inode].live;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let count = buffer.len().min(bytes.len() - start);
        buffer[..count].copy_from_slice(&bytes[start..start + count]);
        count
    }

    pub(super) fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) {
        let clock = self.clock;
        let node = self.inodes.entry(inode).or_default();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(bytes.len());
        if node.live.len() < end {
            node.live.resize(end, 0);
        }
        node.live[start..end].copy_from_slice(bytes);
        (node.mtime_ns, node.ctime_ns) = (clock, clock);
    }

    pub(super) fn set_len(&mut self, inode: u64, len: u64) {
        let clock = self.clock;
        let node = self.inodes.entry(inode).or_default();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if node.live.len() != len {
            node.live.resize(len, 0);
            (node.mtime_ns, node.ctime_ns) = (clock, clock);
        }
    }

    pub(super) fn sync_data(&mut self, inode: u64) {
        let node = self.inodes.entry(inode).or_default();
        node.durable.clone_from(&node.live);
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.live
            .iter()
            .filter(|(_, inode)| !self.inodes[inode].is_dir)
            .map(|(path, _)| path.clone())
            .collect()
    }

    pub(super) fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        Some(self.inodes[&self.file(path).ok()?].live.clone())
    }

    pub(super) fn plant(&mut self, path: &Path, bytes: &[u8]) {
        self.clock += 1;
        let dirs: Vec<&Path> = parent(path).ancestors().collect();
        for dir in dirs.into_iter().rev() {
            if !self.is_dir(dir) {
                let inode = self.new_inode(true);
                self.live.insert(dir.to_owned(), inode);
                self.durable.insert(dir.to_owned(), inode);
            }
        }
        let inode = self.new_inode(false);
        self.write(inode, bytes, 0);
        self.sync_data(inode);
        self.live.insert(path.to_owned(), inode);
        self.durable.insert(path.to_owned(), inode);
    }

    fn new_inode(&mut self, is_dir: bool) -> u64 {
        self.last_number += 1;
        self.inodes.insert(
            self.last_number,
            Inode {
                is_dir,
                mtime_ns: self.clock,
                ctime_ns: self.clock,
                ..Inode::default()
            },
        );
        self.last_number
    }

    fn change(&mut self, sets: Vec<(PathBuf, Option<u64>)>) {
        let change = Change(sets);
        apply(&mut self.live, &change);
        self.pending.push(change);
    }

    /// The number of links of what is named changes: its ctime too.
    fn touch_links(&mut self, path: &Path) {
        let clock = self.clock;
        if let Some(node) = self
            .live
            .get(path)
            .and_then(|inode| self.inodes.get_mut(inode))
        {
            node.ctime_ns = clock;
        }
    }

    fn may_enter(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !self.is_dir(parent(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if self.is_dir(to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if self.dev(from) != self.dev(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &Change) {
    for (path, inode) in &change.0 {
        match inode {
            Some(inode) => names.insert(path.clone(), *inode),
            None => names.remove(path),
        };
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Decides what survives.
struct Dice {
    survive: Survive,
    state: u64,
}

impl Dice {
    fn new(survive: Survive) -> Self {
        let seed = match survive {
            Survive::Seed(seed) => seed,
            Survive::Worst | Survive::Best => 0,
        };
        Self {
            survive,
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    fn keeps(&mut self) -> bool {
        match self.survive {
            Survive::Worst => false,
            Survive::Best => true,
            Survive::Seed(_) => {
                // xorshift64: small, and the same everywhere.
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                self.state >> 40 & 1 == 1
            }
        }
    }

    fn bytes(&mut self, durable: &[u8], live: &[u8]) -> Vec<u8> {
        if durable == live {
            return live.to_vec();
        }
        let length = if self.keeps() {
            live.len()
        } else {
            durable.len()
        };
        let mut bytes = vec![0; length];
        for start in (0..length).step_by(PAGE_BYTES) {
            let source = if self.keeps() { live } else { durable };
            let end = (start + PAGE_BYTES).min(length);
            if start < source.len() {
                let available = end.min(source.len());
                bytes[start..available].copy_from_slice(&source[start..available]);
            }
        }
        bytes
    }
}
