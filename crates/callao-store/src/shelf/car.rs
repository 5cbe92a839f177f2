//! A CAR file that is served where it lies: all its blocks, whatever they are, and the files among them. Every block is
//! hashed before it leaves. Must not know whether it may be served.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callao_content::layout::Layout;
use callao_content::walk::{Limits, Walk};
use callao_content::{Cid, cid};

use crate::disk::Stamp;
use crate::foreign::BlockReader;
use crate::foreign::car::CarFile;
use crate::served::{self, Served};

/// One CAR.
#[derive(Debug)]
pub struct ShelvedCar {
    car: CarFile,
    pub(super) path: PathBuf,
    pub(super) roots: Vec<Cid>,
    pub(super) stamp: Stamp,
    retired: AtomicBool,
}

impl ShelvedCar {
    pub(super) fn new(car: CarFile, path: &Path, stamp: Stamp) -> Self {
        ShelvedCar {
            roots: car.roots().to_vec(),
            car,
            path: path.to_owned(),
            stamp,
            retired: AtomicBool::new(false),
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The file with this root, if all its inner nodes are here.
    pub(super) fn file(self: &Arc<Self>, root: &Cid) -> Option<PackedFile> {
        self.length(root)?;
        let mut walk = Walk::new(*root, Limits::NONE).ok()?;
        let mut buffer = Vec::new();
        loop {
            let wants = walk.wants();
            if wants.is_empty() {
                break;
            }
            for cid in wants {
                if !self.read(&cid, &mut buffer) {
                    return None;
                }
                walk.supply(&cid, &bytes::Bytes::copy_from_slice(&buffer))
                    .ok()?;
            }
        }
        Some(PackedFile {
            layout: Arc::new(walk.finish().ok()?),
            car: Arc::clone(self),
        })
    }
}

impl Served for ShelvedCar {
    fn length(&self, cid: &Cid) -> Option<u32> {
        if self.is_retired() {
            return None;
        }
        self.car.length(cid)
    }

    /// A block that is not what its CID says takes the whole CAR out of service.
    fn read(&self, cid: &Cid, buffer: &mut Vec<u8>) -> bool {
        // The codec says nothing of the hash: any may be served.
        let raw = Cid::new_v1(cid::RAW, *cid.hash());
        let read = !self.is_retired() && self.car.read_into(cid, buffer).unwrap_or(false);
        let good = read && cid::verify_block(&raw, buffer).is_ok();
        if !good {
            buffer.clear();
            self.retired.fetch_or(read, Ordering::AcqRel);
        }
        good
    }
}

/// A file whose blocks are in a CAR.
#[derive(Debug)]
pub struct PackedFile {
    layout: Arc<Layout>,
    car: Arc<ShelvedCar>,
}

impl PackedFile {
    /// What it is made of.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The bytes whose blocks are in the CAR: sorted ranges that neither touch nor overlap.
    pub fn have(&self) -> Vec<Range<u64>> {
        self.layout.ranges_of(|index| {
            let cid = self.layout.leaf_cid(index);
            cid.is_none_or(|cid| self.car.length(&cid).is_some())
        })
    }

    /// Replaces the buffer's contents by the bytes of consecutive leaves, hashed. `false` (and the buffer empty) if one of
    /// them is not here or is not what it should be.
    pub fn read_leaves(&self, leaves: Range<usize>, buffer: &mut Vec<u8>) -> bool {
        served::read_leaves(&*self.car, &self.layout, leaves, buffer)
    }
}
