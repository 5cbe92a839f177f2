//! Reading a file that is held: by range, or leaf by leaf with the proof renewed.
//! Must not know who asks.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callao_content::layout::Layout;

use crate::disk::{self, Disk, DiskFile, Stamp};
use crate::error::{At, Error};
use crate::limits;

/// An open file; usable from several threads.
#[derive(Debug, Clone)]
pub struct Reader {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
}

impl Reader {
    /// Opens a file for reading.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            file: disk.open_read(path).at("open", path)?,
        })
    }

    /// The state of the open file, which may not be what the path leads to by now.
    pub fn stamp(&self) -> Result<Stamp, Error> {
        self.file.stamp().at("examine", &self.path)
    }

    /// Fills the buffer from an offset, unverified; answers with the number of bytes, fewer only at the end.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        disk::read_full(&*self.file, buffer, offset).at("read", &self.path)
    }

    /// The bytes of a range (at most 64 MiB), unverified. [`Error::OutOfBounds`] if the file is shorter.
    pub fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let length = range.end.saturating_sub(range.start);
        let out_of_bounds = |size| Error::OutOfBounds {
            path: self.path.clone(),
            offset: range.start,
            length,
            size,
        };
        let size = self.stamp()?.size;
        if range.end > size || length > limits::READ_RANGE_BYTES_MAX {
            return Err(out_of_bounds(size));
        }
        let mut bytes = vec![0; length as usize];
        let read = self.read_at(range.start, &mut bytes)?;
        if read < bytes.len() {
            return Err(out_of_bounds(range.start + read as u64));
        }
        Ok(bytes)
    }

    /// The bytes of one leaf, hashed again: [`Error::CorruptLeaf`] if they are not what the layout says.
    pub fn read_leaf(&self, layout: &Layout, index: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read_leaf_into(layout, index, &mut bytes)?;
        Ok(bytes)
    }

    /// Like [`Reader::read_leaf`], into a buffer that is used again and again.
    pub fn read_leaf_into(
        &self,
        layout: &Layout,
        index: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let (offset, length) = layout
            .leaves()
            .get(index)
            .map_or((layout.size(), 0), |leaf| (leaf.offset, leaf.length));
        buffer.resize(length as usize, 0);
        let read = self.read_at(offset, buffer)?;
        match layout.verify(index, &buffer[..read]) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::CorruptLeaf {
                path: self.path.clone(),
                offset,
                length: u64::from(length),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;
    use callao_content::import::import;
    use callao_content::profile::{Profile, Shape};

    #[test]
    fn ranges_are_bounded_and_leaves_proven() -> Result<(), Error> {
        let shape = Shape {
            chunk_size: 100,
            ..Profile::KuboCidV1.shape()
        };
        let content: Vec<u8> = (0..=249).collect();
        let layout = import(&content, shape).expect("the shape is a usable one");
        let (disk, path) = (FaultyDisk::new(), Path::new("/d/f"));
        let mut damaged = content.clone();
        damaged[150] ^= 1;
        disk.plant(path, &damaged);

        let reader = Reader::open(&disk, path)?;
        assert_eq!(reader.read_range(10..20)?, &content[10..20]);
        assert!(matches!(
            reader.read_range(240..251),
            Err(Error::OutOfBounds { size: 250, .. })
        ));
        assert_eq!(reader.read_leaf(&layout, 0)?, &content[..100]);
        assert_eq!(reader.read_leaf(&layout, 2)?, &content[200..]);
        for index in [1, 3] {
            assert!(matches!(
                reader.read_leaf(&layout, index),
                Err(Error::CorruptLeaf { .. })
            ));
        }
        Ok(())
    }
}
