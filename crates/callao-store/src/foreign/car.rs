//! A CAR file, read in place: an index of where each block is, built from the section headers alone.
//! Must not keep payload in memory, nor believe that a block is what the section says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callao_content::car::{self, SectionHead, V2_PRAGMA};
use callao_content::{Cid, cid, varint};

use super::{BlockReader, identity};
use crate::disk::{self, Disk, DiskFile, RealDisk};
use crate::error::{At, Error};
use crate::limits;

/// Bytes of the fixed part of version 2: pragma, characteristics, data offset, data size, index offset.
const V2_HEAD_BYTES: usize = V2_PRAGMA.len() + 40;

/// An open CAR, version 1 or 2.
#[derive(Debug)]
pub struct CarFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    roots: Vec<Cid>,
    /// Multihash to offset and length.
    index: HashMap<Box<[u8]>, (u64, u32)>,
    truncated: bool,
}

impl CarFile {
    /// Opens a CAR and finds its blocks. One that ends in the middle of a block serves those before.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = RealDisk.open_read(path).at("open", path)?;
        let size = file.stamp().at("examine", path)?.size;
        let mut scan = Scan {
            path,
            file: &*file,
            end: size,
            window: Window::default(),
        };
        let start = scan.payload()?;
        let (roots, first) = scan.header(start)?;
        let (index, truncated) = scan.sections(first)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            roots,
            index,
            truncated,
        })
    }

    /// The roots that the header names: a hint, no proof.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// Number of different blocks.
    pub fn block_count(&self) -> usize {
        self.index.len()
    }

    /// Bytes of a block; `None` if it is not there.
    pub fn length(&self, cid: &Cid) -> Option<u32> {
        let found = self.index.get(cid.hash().to_bytes().as_slice());
        found.map(|(_, length)| *length)
    }

    /// Reads every block once and hashes it; the number of those that are not what they should be. Blocks whose hash is
    /// none that this program knows count as such.
    pub fn check(&self) -> Result<usize, Error> {
        let (mut wrong, mut buffer) = (0, Vec::new());
        let mut places: Vec<_> = self.index.iter().collect();
        places.sort_unstable_by_key(|(_, (offset, _))| *offset);
        for (key, (offset, length)) in places {
            buffer.resize(*length as usize, 0);
            let read = disk::read_full(&*self.file, &mut buffer, *offset).at("read", &self.path)?;
            // Version 1, raw: the hash alone is looked at.
            let cid = cid::from_bytes(&[&[1, 0x55], &**key].concat());
            let good = cid.is_ok_and(|cid| cid::verify_block(&cid, &buffer[..read]).is_ok());
            wrong += usize::from(!good);
        }
        Ok(wrong)
    }

    /// Did the file end in the middle of a block?
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }
}

impl BlockReader for CarFile {
    fn read_into(&self, cid: &Cid, buffer: &mut Vec<u8>) -> Result<bool, Error> {
        if identity(cid, buffer) {
            return Ok(true);
        }
        let Some(&(offset, length)) = self.index.get(cid.hash().to_bytes().as_slice()) else {
            return Ok(false);
        };
        buffer.resize(length as usize, 0);
        let read = disk::read_full(&*self.file, buffer, offset).at("read", &self.path)?;
        // Fewer if somebody cut the file meanwhile: the hash will tell.
        buffer.truncate(read);
        Ok(true)
    }

    fn describe(&self) -> String {
        format!("CAR file {}", self.path.display())
    }
}

type Index = HashMap<Box<[u8]>, (u64, u32)>;

struct Scan<'a> {
    path: &'a Path,
    file: &'a dyn DiskFile,
    /// Where the inner version 1 ends.
    end: u64,
    window: Window,
}

/// The bytes that were read last.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Scan<'_> {
    /// Where version 1 begins; for version 2 it also ends where that says.
    fn payload(&mut self) -> Result<u64, Error> {
        let head = self.bytes(0, V2_HEAD_BYTES)?;
        if !head.starts_with(&V2_PRAGMA) {
            return Ok(0);
        }
        let number = |at: usize| {
            let bytes: Option<&[u8; 8]> = head.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map(|bytes| u64::from_le_bytes(*bytes))
        };
        let (start, size) = (number(27), number(35));
        match (start, size) {
            (Some(start), Some(size)) if start >= V2_HEAD_BYTES as u64 && start < self.end => {
                self.end = self.end.min(start.saturating_add(size));
                Ok(start)
            }
            _ => Err(self.bad("its version 2 header places the blocks nowhere")),
        }
    }

    /// The roots, and where the first section begins.
    fn header(&mut self, start: u64) -> Result<(Vec<Cid>, u64), Error> {
        let head = self.bytes(start, varint::VARINT_BYTES_MAX)?;
        let Some((length, prefix)) = varint::read(head) else {
            return Err(self.bad("it does not begin with the length of a header"));
        };
        let total = length.saturating_add(prefix as u64);
        if length > limits::CAR_HEADER_BYTES_MAX || total > self.end - start {
            return Err(self.bad("its header is longer than it may be"));
        }
        let mut reader = car::Reader::new();
        let head = self.bytes(start, total as usize)?;
        let events = reader.push(head).map_err(|source| Error::Content {
            path: self.path.to_owned(),
            source: Box::new(source),
        })?;
        match events.into_iter().next() {
            Some(car::Event::Header { roots }) => Ok((roots, start + total)),
            _ => Err(self.bad("it has no header")),
        }
    }

    fn sections(&mut self, first: u64) -> Result<(Index, bool), Error> {
        let mut index = Index::new();
        let mut at = first;
        while at < self.end {
            let path = self.path;
            let bytes = self.bytes(at, SectionHead::BYTES_MAX)?;
            // Zeros up to the end are padding.
            if bytes.first() == Some(&0) {
                break;
            }
            let head = SectionHead::decode(bytes, at).map_err(|source| Error::Content {
                path: path.to_owned(),
                source: Box::new(source),
            })?;
            let Some(head) = head else {
                return Ok((index, true));
            };
            let data = at + head.head_length as u64;
            at = data + head.data_length as u64;
            if at > self.end {
                return Ok((index, true));
            }
            if index.len() >= limits::CAR_BLOCKS_MAX {
                return Err(self.bad("it has more blocks than the index may hold"));
            }
            let key = head.cid.hash().to_bytes().into_boxed_slice();
            // A block is at most 2 MiB, SectionHead sees to that.
            index.entry(key).or_insert((data, head.data_length as u32));
        }
        Ok((index, false))
    }

    /// At least `wanted` bytes from an offset, fewer only at the end.
    fn bytes(&mut self, offset: u64, wanted: usize) -> Result<&[u8], Error> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = wanted.min(left);
        let inside = offset >= self.window.start
            && offset + wanted as u64 <= self.window.start + self.window.bytes.len() as u64;
        if !inside {
            let size = wanted.max(limits::CAR_WINDOW_BYTES).min(left);
            self.window.bytes.resize(size, 0);
            let read =
                disk::read_full(self.file, &mut self.window.bytes, offset).at("read", self.path)?;
            self.window.bytes.truncate(read);
            self.window.start = offset;
        }
        let from = (offset - self.window.start) as usize;
        let until = (from + wanted).min(self.window.bytes.len());
        Ok(&self.window.bytes[from..until])
    }

    fn bad(&self, reason: &'static str) -> Error {
        Error::BadCar {
            path: self.path.to_owned(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
