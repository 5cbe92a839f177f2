//! Whole files, read once: their digests, their layout, their bad ranges.
//! Must not know what a file is for.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use callao_content::digest::{Algorithm, Digest};
use callao_content::import::Builder;
use callao_content::layout::Layout;
use callao_content::profile::Shape;
use callao_content::stream::InOrder;

use crate::disk::{self, Disk, DiskFile, Stamp};
use crate::error::{At, Error};
use crate::limits;
use crate::proven::Proven;
use crate::reader::Reader;
use crate::rescan;

/// What [`adopt`] found.
#[derive(Debug)]
pub struct Adopted {
    /// The tree that the file has in the given shape.
    pub layout: Layout,
    /// Its digests, in the order asked for.
    pub digests: Vec<Digest>,
    /// The state of the file in which this is true.
    pub stamp: Stamp,
}

/// Digests of a whole file, in the order asked for, and the state in which they are true. `progress` gets the number
/// of bytes hashed so far. [`Error::Changed`] if somebody writes to it meanwhile.
pub fn hash_file(
    disk: &dyn Disk,
    path: &Path,
    algorithms: &[Algorithm],
    progress: &dyn Fn(u64),
) -> Result<(Vec<Digest>, Stamp), Error> {
    let mut hashes = InOrder::new(algorithms);
    let stamp = stream(disk, path, limits::HASH_BUFFER_BYTES, &mut |bytes| {
        hashes.plain(bytes);
        progress(hashes.position());
    })?;
    Ok((hashes.finish(), stamp))
}

/// Layout and digests of a file in one pass. [`Error::Changed`] if somebody writes to it meanwhile.
pub fn adopt(
    disk: &dyn Disk,
    path: &Path,
    shape: Shape,
    algorithms: &[Algorithm],
    progress: &dyn Fn(u64),
) -> Result<Adopted, Error> {
    let mut builder = Builder::new(shape).map_err(|source| Error::Content {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    let mut hashes = InOrder::new(algorithms);
    // Buffers hold whole leaves.
    let leaf = (shape.chunk_size as usize).max(1);
    let buffer = leaf * (limits::HASH_BUFFER_BYTES / leaf).max(1);
    let stamp = stream(disk, path, buffer, &mut |bytes| {
        hashes.importing(&mut builder, bytes);
        progress(hashes.position());
    })?;
    Ok(Adopted {
        layout: builder.finish(),
        digests: hashes.finish(),
        stamp,
    })
}

/// The byte ranges of a file that do not match its layout, in order, neighbours joined. What is missing at the end is
/// bad, and so is what is there beyond it.
pub fn bad_ranges(disk: &dyn Disk, path: &Path, layout: &Layout) -> Result<Vec<Range<u64>>, Error> {
    let file = disk.open_read(path).at("open", path)?;
    let length = file.stamp().at("examine", path)?.size;
    let proven = Proven::new(layout.leaves().len());
    rescan::rescan(&*file, length, layout, &|_| {}, &|leaf| {
        proven.set(leaf.index());
    })
    .at("read", path)?;
    let mut bad = layout.ranges_of(|index| !proven.get(index));
    if length > layout.size() {
        match bad.last_mut() {
            Some(last) if last.end == layout.size() => last.end = length,
            _ => bad.push(layout.size()..length),
        }
    }
    Ok(bad)
}

/// Is any of a few leaves, spread over the layout, where the layout says? Quick, and proves nothing: it tells which of
/// several layouts a damaged file may have had. Leaves that occur twice (zeros, mostly) say nothing.
pub fn resembles(disk: &dyn Disk, path: &Path, layout: &Layout) -> Result<bool, Error> {
    let reader = Reader::open(disk, path)?;
    let twice: BTreeSet<usize> = layout
        .duplicates()
        .into_iter()
        .flat_map(|(leaf, first)| [leaf, first])
        .collect();
    let telling: Vec<usize> = (0..layout.leaves().len())
        .filter(|leaf| !twice.contains(leaf))
        .collect();
    let step = telling.len().div_ceil(limits::SAMPLE_LEAVES).max(1);
    for leaf in telling.into_iter().step_by(step) {
        match reader.read_leaf(layout, leaf) {
            Ok(_) => return Ok(true),
            Err(Error::CorruptLeaf { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Feeds a file to `consume`, in buffers that are full except for the last, and answers with its state. A second
/// thread reads ahead, so that the hash need not wait for the page cache.
fn stream(
    disk: &dyn Disk,
    path: &Path,
    buffer_bytes: usize,
    consume: &mut dyn FnMut(&[u8]),
) -> Result<Stamp, Error> {
    let file = disk.open_read(path).at("open", path)?;
    let before = file.stamp().at("examine", path)?;
    let read = if before.size <= buffer_bytes as u64 {
        let mut buffer = vec![0; buffer_bytes.min(before.size as usize + 1)];
        let read = disk::read_full(&*file, &mut buffer, 0).at("read", path)?;
        if read > 0 {
            consume(&buffer[..read]);
        }
        read as u64
    } else {
        read_ahead(&*file, buffer_bytes, consume).at("read", path)?
    };
    let after = file.stamp().at("examine", path)?;
    if read == before.size && after.same_bytes(&before) {
        Ok(after)
    } else {
        Err(Error::Changed {
            path: path.to_owned(),
        })
    }
}

fn read_ahead(
    file: &dyn DiskFile,
    buffer_bytes: usize,
    consume: &mut dyn FnMut(&[u8]),
) -> std::io::Result<u64> {
    let (full_in, full_out) = mpsc::sync_channel::<Vec<u8>>(limits::HASH_BUFFERS);
    let (empty_in, empty_out) = mpsc::sync_channel::<Vec<u8>>(limits::HASH_BUFFERS);
    for _ in 0..limits::HASH_BUFFERS {
        // The channel has room for all of them.
        let _ = empty_in.send(vec![0; buffer_bytes]);
    }
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut offset = 0;
            while let Ok(mut buffer) = empty_out.recv() {
                buffer.resize(buffer_bytes, 0);
                let read = disk::read_full(file, &mut buffer, offset)?;
                buffer.truncate(read);
                offset += read as u64;
                if read > 0 && full_in.send(buffer).is_err() || read < buffer_bytes {
                    break;
                }
            }
            Ok(offset)
        });
        for buffer in full_out {
            consume(&buffer);
            // The reader may have seen the end already.
            let _ = empty_in.send(buffer);
        }
        drop(empty_in);
        reader
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread that reads the file died")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;
    use callao_content::import::import;
    use callao_content::profile::Profile;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index / 7 % 251) as u8).collect()
    }

    fn path() -> &'static Path {
        Path::new("/d/f")
    }

    #[test]
    fn digests_and_layout_are_those_of_the_bytes() -> Result<(), Error> {
        let shape = Profile::KuboCidV1.shape();
        for length in [0, 1, 262_144, 1 << 20, (1 << 20) + 1, (3 << 20) + 12345] {
            let (disk, content) = (FaultyDisk::new(), bytes(length));
            disk.plant(path(), &content);
            let algorithms = [Algorithm::Sha512, Algorithm::Sha256];
            let expected: Vec<Digest> = algorithms
                .iter()
                .map(|&algorithm| Digest::of(algorithm, &content))
                .collect();
            assert_eq!(hash_file(&disk, path(), &algorithms, &|_| {})?.0, expected);
            let adopted = adopt(&disk, path(), shape, &algorithms, &|_| {})?;
            assert_eq!(adopted.digests, expected);
            let layout = import(&content, shape).expect("the shape is a known one");
            assert_eq!(adopted.layout, layout);
            assert!(bad_ranges(&disk, path(), &layout)?.is_empty());
        }
        Ok(())
    }

    #[test]
    fn odd_chunks_keep_their_borders() -> Result<(), Error> {
        let shape = Shape {
            chunk_size: 300_001,
            ..Profile::UnixfsV0_2015.shape()
        };
        let (disk, content) = (FaultyDisk::new(), bytes(2_500_000));
        disk.plant(path(), &content);
        let adopted = adopt(&disk, path(), shape, &[Algorithm::Sha256], &|_| {})?;
        assert_eq!(
            adopted.layout,
            import(&content, shape).expect("the shape is a usable one")
        );
        Ok(())
    }

    #[test]
    fn a_damaged_file_still_resembles_its_layout_and_no_other() -> Result<(), Error> {
        let shape = Shape {
            chunk_size: 1000,
            ..Profile::KuboCidV1.shape()
        };
        let mut good = bytes(100_500);
        // Zeros occur everywhere: they tell nothing.
        good[..50_000].fill(0);
        let layout = import(&good, shape).expect("the shape is a usable one");
        let disk = FaultyDisk::new();
        let resembles = |content: &[u8]| {
            disk.plant(path(), content);
            resembles(&disk, path(), &layout)
        };
        assert!(resembles(&good)?);
        assert!(resembles(&good[..90_000])?, "cut");
        let mut damaged = good.clone();
        damaged[95_000] ^= 1;
        assert!(resembles(&damaged)?, "a leaf is wrong");
        assert!(!resembles(&vec![0; 100_500])?, "zeros");
        assert!(!resembles(&good[..50_000])?, "cut to its zeros");
        assert!(!resembles(&[])?, "empty");
        Ok(())
    }

    #[test]
    fn bad_ranges_are_exact() -> Result<(), Error> {
        let shape = Shape {
            chunk_size: 1000,
            ..Profile::KuboCidV1.shape()
        };
        let good = bytes(10_500);
        let layout = import(&good, shape).expect("the shape is a usable one");
        let check = |damage: &dyn Fn(&mut Vec<u8>)| {
            let (disk, mut content) = (FaultyDisk::new(), good.clone());
            damage(&mut content);
            disk.plant(path(), &content);
            bad_ranges(&disk, path(), &layout)
        };
        assert_eq!(check(&|_| {})?, []);
        assert_eq!(check(&|bytes| bytes[0] ^= 1)?, vec![0..1000]);
        assert_eq!(
            check(&|bytes| {
                bytes[2999] ^= 1;
                bytes[3000] ^= 1;
                bytes[10_499] ^= 1;
            })?,
            [2000..4000, 10_000..10_500]
        );
        assert_eq!(check(&|bytes| bytes.truncate(9_500))?, vec![9_000..10_500]);
        assert_eq!(check(&|bytes| bytes.push(0))?, vec![10_500..10_501]);
        assert_eq!(check(&|bytes| bytes.clear())?, vec![0..10_500]);
        Ok(())
    }
}
