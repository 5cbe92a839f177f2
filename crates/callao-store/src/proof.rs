//! Proofs: the inner nodes of one layout in a CARv1 named after the root, so that a layout need not be fetched twice.
//! Must not know where the file is that the layout describes.
//!
//! Nothing in a proof is believed: loading it walks the tree from the root, so a damaged one is as good as none.
//! A file of a single block has no inner nodes; its proof is one identity block with the file's length (8 bytes, big
//! endian), which the leaf's bytes confirm later.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use callao_content::layout::Layout;
use callao_content::walk::{self, Walk};
use callao_content::{Cid, car, cid};

use crate::disk::{self, Disk};
use crate::error::{At, Error};
use crate::limits;
use crate::places::Places;

/// Keeps the proof of a layout. Not synced: it can be fetched again.
pub fn save(disk: &dyn Disk, places: &Places, layout: &Layout) -> Result<(), Error> {
    let path = places.proof(layout.root());
    let bytes = encode(layout);
    if let Ok(Some(present)) = disk::read_small(disk, &path, limits::PROOF_BYTES_MAX)
        && present == bytes
    {
        return Ok(());
    }
    let dir = places.proofs();
    disk::make_dirs(disk, &dir)?;
    write(disk, &path, &bytes).at_needing("write", &path, bytes.len() as u64)
}

/// One temporary name for all: two processes that save the same proof at once write the same bytes, so it does no harm
/// if both have the file open, or if one renames it under the other's hands.
fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    let file = disk.open_write(&temporary)?;
    file.set_len(bytes.len() as u64)?;
    file.write_at(bytes, 0)?;
    match disk.rename(&temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The layout of a root, if there is a proof and it holds.
pub fn load(disk: &dyn Disk, places: &Places, root: &Cid) -> Option<Layout> {
    let bytes = read(disk, &places.proof(root))?;
    decode(root, &bytes).ok().flatten()
}

/// The roots for which there is a proof, good or not.
pub fn list(disk: &dyn Disk, places: &Places) -> Result<Vec<Cid>, Error> {
    let dir = places.proofs();
    let names = disk.list(&dir).at("list", &dir)?;
    Ok(names
        .iter()
        .filter_map(|name| cid::parse(name.strip_suffix(".car")?).ok())
        .collect())
}

/// Removes the proof of a root; `false` if there was none.
pub fn remove(disk: &dyn Disk, places: &Places, root: &Cid) -> Result<bool, Error> {
    let path = places.proof(root);
    disk.remove(&path).at("remove", &path)
}

fn read(disk: &dyn Disk, path: &Path) -> Option<Vec<u8>> {
    disk::read_small(disk, path, limits::PROOF_BYTES_MAX)
        .ok()
        .flatten()
}

fn encode(layout: &Layout) -> Vec<u8> {
    let mut bytes = car::Writer::header(&[*layout.root()]);
    let mut block = |cid: &Cid, data: &[u8]| {
        bytes.extend(car::Writer::block_prefix(cid, data.len()));
        bytes.extend_from_slice(data);
    };
    for node in layout.nodes() {
        block(&node.cid, &node.bytes);
    }
    if layout.nodes().is_empty()
        && let Some(marker) = length_marker(layout.size())
    {
        block(&marker, marker.hash().digest());
    }
    bytes
}

fn decode(root: &Cid, bytes: &[u8]) -> Result<Option<Layout>, callao_content::Error> {
    let mut reader = car::Reader::new();
    let events = reader.push(bytes)?;
    reader.finish()?;
    let mut blocks: HashMap<Vec<u8>, Bytes> = HashMap::new();
    let mut length = None;
    for event in events {
        if let car::Event::Block { cid, data, .. } = event {
            if cid.hash().code() == cid::IDENTITY {
                length = data.first_chunk().map(|length| u64::from_be_bytes(*length));
            }
            blocks.insert(cid.hash().to_bytes(), data);
        }
    }
    if let Some(length) = length.and_then(|length| u32::try_from(length).ok()) {
        return Layout::single_leaf(*root, length).map(Some);
    }
    let mut walk = Walk::new(*root, walk::Limits::NONE)?;
    loop {
        let wanted = walk.wants();
        if wanted.is_empty() {
            return walk.finish().map(Some);
        }
        for cid in wanted {
            let Some(block) = blocks.get(&cid.hash().to_bytes()) else {
                return Ok(None);
            };
            walk.supply(&cid, block)?;
        }
    }
}

/// An identity CID that says a length.
fn length_marker(length: u64) -> Option<Cid> {
    // The text form is the only constructor that needs no multihash crate here: f, version, codec, hash, length.
    cid::parse(&format!("f01550008{length:016x}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::FaultyDisk;
    use callao_content::import::import;
    use callao_content::profile::{Profile, Shape};

    fn places() -> Places {
        Places::new(Path::new("/c"))
    }

    fn layouts() -> Vec<Layout> {
        let content: Vec<u8> = (0..100_000_u32).map(|index| (index % 249) as u8).collect();
        let mut layouts = Vec::new();
        for profile in Profile::ALL {
            for (chunk_size, length) in
                [(1000, 100_000), (1000, 1500), (262_144, 100_000), (1000, 0)]
            {
                let shape = Shape {
                    chunk_size,
                    width: 5,
                    ..profile.shape()
                };
                layouts.push(import(&content[..length], shape).expect("the shape is a usable one"));
            }
        }
        layouts
    }

    #[test]
    fn layouts_come_back() -> Result<(), Error> {
        for layout in layouts() {
            let disk = FaultyDisk::new();
            assert_eq!(load(&disk, &places(), layout.root()), None);
            save(&disk, &places(), &layout)?;
            assert_eq!(
                load(&disk, &places(), layout.root()).as_ref(),
                Some(&layout)
            );
            let ops = disk.files().len();
            save(&disk, &places(), &layout)?;
            assert_eq!(disk.files().len(), ops);
        }
        Ok(())
    }

    #[test]
    fn proofs_are_listed_and_removed() -> Result<(), Error> {
        let disk = FaultyDisk::new();
        let mut roots: Vec<Cid> = Vec::new();
        for layout in layouts() {
            save(&disk, &places(), &layout)?;
            if !roots.contains(layout.root()) {
                roots.push(*layout.root());
            }
        }
        disk.plant(&places().proofs().join("README"), b"foreign");
        let listed = list(&disk, &places())?;
        assert_eq!(listed.len(), roots.len());
        assert!(roots.iter().all(|root| listed.contains(root)));
        assert!(remove(&disk, &places(), &roots[0])?);
        assert!(!remove(&disk, &places(), &roots[0])?);
        assert_eq!(list(&disk, &places())?.len(), roots.len() - 1);
        assert!(disk.peek(&places().proofs().join("README")).is_some());
        Ok(())
    }

    #[test]
    fn a_damaged_proof_is_none_and_is_replaced() -> Result<(), Error> {
        let layout = layouts().swap_remove(0);
        let path = places().proof(layout.root());
        let good = encode(&layout);
        for position in (0..good.len()).step_by(97) {
            let disk = FaultyDisk::new();
            let mut bad = good.clone();
            bad[position] ^= 0x10;
            disk.plant(&path, &bad);
            let loaded = load(&disk, &places(), layout.root());
            assert!(
                loaded.is_none_or(|loaded| loaded == layout),
                "byte {position}"
            );
            save(&disk, &places(), &layout)?;
            assert_eq!(
                load(&disk, &places(), layout.root()).as_ref(),
                Some(&layout)
            );
        }
        Ok(())
    }
}
