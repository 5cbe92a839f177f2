//! Everything that may be given to others: files of Lima's cache and of the user's, and files that are being fetched, by
//! the CID of every block. It serves from the files where they lie; there is no second copy.
//!
//! Must not know which protocol asks. What the disk says is looked at again by [`Shelf::refresh`]; between two of them a
//! file that changes is noticed when a block of it is read, since every block is hashed before it leaves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use callao_content::digest::Digest;
use callao_content::{Cid, cid, hash};

use crate::catalogue::Catalogue;
use crate::disk::Disk;
use crate::error::Error;
use crate::places::Places;
use crate::served::Served;

mod adopt;
mod car;
mod fetches;
mod file;
mod index;
mod look;
mod origin;

pub use car::{PackedFile, ShelvedCar};
pub use file::{Owner, Shelved};
use index::Index;
use look::Looker;

/// What may be given away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Also what came from servers that not everybody can reach: a LAN, this computer.
    pub private_origins: bool,
    /// Nothing at all (metered connections).
    pub nothing: bool,
}

impl Policy {
    /// Whether a file from this location may be given away.
    pub fn allows(&self, location: &str) -> bool {
        !self.nothing && origin::check(location, self.private_origins).is_ok()
    }
}

/// What a refresh found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file, as [`Listed::path`] has it.
    pub path: std::path::PathBuf,
    /// What happened to it.
    pub what: What,
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is served from now on, as the file with these roots.
    Appeared(Vec<Cid>),
    /// It is not there any more, or is not wanted any more.
    Gone,
    /// It is not what it was: out of service.
    Retired(String),
    /// It was unknown and has been hashed.
    Hashed,
}

/// A file that is here, served or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where it is.
    pub path: std::path::PathBuf,
    /// A name for people.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Whose it is.
    pub owner: Owner,
    /// The location that it came from.
    pub url: Option<String>,
    /// Digests of the whole.
    pub digests: Vec<Digest>,
    /// Roots of its trees.
    pub roots: Vec<Cid>,
    /// Proven bytes; `size` if it is whole.
    pub have_bytes: u64,
    /// Why it is not served, as the end of a sentence; `None` if it is.
    pub why_not: Option<String>,
}

/// All files that are served. Shared by threads.
#[derive(Debug)]
pub struct Shelf {
    /// Replaced as a whole, so that nobody waits for a refresh.
    now: RwLock<Arc<Now>>,
    looker: Mutex<Looker>,
}

/// What is served at one time.
#[derive(Debug, Default)]
struct Now {
    files: Vec<Arc<Shelved>>,
    index: Index,
    cars: Vec<Arc<ShelvedCar>>,
    listed: Vec<Listed>,
}

impl Shelf {
    /// An empty one: [`Shelf::refresh`] fills it.
    pub fn new(disk: Arc<dyn Disk>, places: Places, policy: Policy) -> Self {
        Shelf {
            now: RwLock::default(),
            looker: Mutex::new(Looker::new(disk, places, policy)),
        }
    }

    /// Looks at what is there. Cheap if nothing has changed: call it about every second, on a thread that may wait for
    /// the disk. At most one file that nobody has hashed yet is hashed.
    ///
    /// # Errors
    /// A disk or a catalogue that cannot be read; what was served before goes on being served.
    pub fn refresh(&self, catalogue: Option<&Catalogue>) -> Result<Vec<Change>, Error> {
        let mut looker = lock(&self.looker);
        let before = self.now();
        let (seen, changes) = looker.look(catalogue, &before.files, &before.cars)?;
        if let Some(seen) = seen {
            let index = Index::of(&seen.files);
            let now = Now {
                index,
                files: seen.files,
                cars: seen.cars,
                listed: seen.listed,
            };
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        }
        Ok(changes)
    }

    /// The file with this root, whole if there is a whole one.
    pub fn file(&self, root: &Cid) -> Option<Arc<Shelved>> {
        let now = self.now();
        let fits =
            |file: &&Arc<Shelved>| cid::same_block(file.layout.root(), root) && !file.is_retired();
        let mut found = now.files.iter().filter(fits);
        let first = found.next()?;
        if first.is_complete() {
            return Some(Arc::clone(first));
        }
        let whole = found.find(|file| file.is_complete());
        Some(Arc::clone(whole.unwrap_or(first)))
    }

    /// The file with this root, if its blocks are in a CAR.
    pub fn packed_file(&self, root: &Cid) -> Option<PackedFile> {
        self.now().cars.iter().find_map(|car| car.file(root))
    }

    /// Every file that is served, but for those in CARs.
    pub fn files(&self) -> Vec<Arc<Shelved>> {
        let now = self.now();
        let files = now.files.iter().filter(|file| !file.is_retired());
        files.cloned().collect()
    }

    /// Roots of the files whose whole bytes have this digest (of a fetch: are going to have it).
    pub fn by_digest(&self, digest: &Digest) -> Vec<Cid> {
        let mut roots: Vec<Cid> = Vec::new();
        for file in self.files() {
            if file.digests().contains(digest) && !roots.contains(file.layout.root()) {
                roots.push(*file.layout.root());
            }
        }
        roots
    }

    /// The roots of all whole files and of the CARs.
    pub fn roots(&self) -> Vec<Cid> {
        let mut roots: Vec<Cid> = Vec::new();
        for file in self.files() {
            if file.is_complete() && !roots.contains(file.layout.root()) {
                roots.push(*file.layout.root());
            }
        }
        let now = self.now();
        let cars = now.cars.iter().filter(|car| !car.is_retired());
        for root in cars.flat_map(|car| &car.roots) {
            if !roots.contains(root) {
                roots.push(*root);
            }
        }
        roots
    }

    /// Everything that was there at the last refresh, served or not. Of a file that is being fetched it says what is
    /// proven by now; one of which that is nothing is not there yet.
    pub fn all(&self) -> Vec<Listed> {
        let now = self.now();
        let fetched = |listed: &Listed| {
            let of_it = |file: &&Arc<Shelved>| file.path() == listed.path;
            let is_fetch = listed.owner == Owner::Fetch;
            now.files.iter().find(of_it).filter(|_| is_fetch)
        };
        let by_now = |listed: &Listed| {
            let mut listed = listed.clone();
            if let Some(file) = fetched(&listed) {
                let have = file.have();
                listed.size = file.layout().size();
                listed.have_bytes = have.iter().map(|range| range.end - range.start).sum();
                if listed.have_bytes == 0 && listed.size > 0 {
                    return None;
                }
            }
            Some(listed)
        };
        now.listed.iter().filter_map(by_now).collect()
    }

    fn now(&self) -> Arc<Now> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Now {
    /// The bytes that ought to be a block of a file, not proven yet. `false`: they cannot be had, or cannot be proven by
    /// SHA-256.
    fn fill(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        let filled = cid.hash().code() == cid::SHA2_256
            && self.index.find(cid).next().is_some_and(|(file, block)| {
                let file = &self.files[file];
                file.length(block, cid).is_some() && file.read_unproven(block, buffer)
            });
        if !filled {
            buffer.clear();
        }
        filled
    }
}

impl Served for Shelf {
    fn length(&self, cid: &Cid) -> Option<u32> {
        if cid.hash().code() == cid::IDENTITY {
            return u32::try_from(cid.hash().digest().len()).ok();
        }
        let now = self.now();
        let mut found = now.index.find(cid);
        let in_file = found.find_map(|(file, block)| now.files[file].length(block, cid));
        in_file.or_else(|| now.cars.iter().find_map(|car| car.length(cid)))
    }

    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        if cid.hash().code() == cid::IDENTITY {
            buffer.extend_from_slice(cid.hash().digest());
            return true;
        }
        let now = self.now();
        let in_file = now.index.find(cid).any(|(file, block)| {
            let file = &now.files[file];
            file.length(block, cid).is_some() && file.read(block, cid, buffer)
        });
        in_file || now.cars.iter().any(|car| car.read(cid, buffer))
    }

    /// Blocks of one length are hashed in lockstep. What is not proven that way is read once more, by itself.
    fn read_many(&self, wanted: &[Cid], buffers: &mut [Vec<u8>]) -> Vec<bool> {
        let now = self.now();
        let filled: Vec<bool> = wanted
            .iter()
            .zip(&mut *buffers)
            .map(|(cid, buffer)| now.fill(cid, buffer))
            .collect();
        let blocks: Vec<&[u8]> = buffers.iter().map(|buffer| &buffer[..]).collect();
        let mut hashes = Vec::new();
        hash::sha256_many(&blocks, &mut hashes);
        let good = filled.iter().zip(wanted).zip(&hashes);
        let good: Vec<bool> = good
            .map(|((filled, cid), hash)| *filled && cid.hash().digest() == hash)
            .collect();
        let each = wanted.iter().zip(buffers).zip(good);
        each.map(|((cid, buffer), good)| good || self.read(cid, buffer))
            .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
