//! Named ways to cut a file into a tree. The same bytes have another CID under each. It computes hashes of nodes only,
//! never of file bytes.

use std::fmt;
use std::str::FromStr;

use ::cid::Version;

use crate::error::Error;
use crate::import::Builder;
use crate::layout::{Layout, LeafForm, LeafHash};

/// How a file becomes a tree. The layout is balanced, the hash SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Version of the CIDs of dag-pb nodes. Raw leaves always have version 1.
    pub cid_version: Version,
    /// Leaves are bare bytes instead of dag-pb nodes.
    pub raw_leaves: bool,
    /// Bytes per leaf; the last may be shorter.
    pub chunk_size: u32,
    /// Most links per node.
    pub width: u32,
}

/// The shapes that have names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `ipfs add`: version 0, dag-pb leaves of 256 KiB, 174 links.
    UnixfsV0_2015,
    /// `ipfs add --cid-version=1`: version 1, raw leaves of 256 KiB, 174 links. Lima's documentation uses these.
    KuboCidV1,
    /// `ipfs add --cid-version=1 --raw-leaves=false`.
    KuboCidV1DagPb,
    /// `ipfs add --raw-leaves`: version 0 above raw leaves.
    KuboRawLeaves,
    /// kubo's former `test-cid-v1`: version 1, raw leaves of 1 MiB, 174 links.
    Legacy1Mib,
    /// IPIP-499: version 1, raw leaves of 1 MiB, 1024 links.
    UnixfsV1_2025,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::UnixfsV0_2015,
        Self::KuboCidV1,
        Self::KuboCidV1DagPb,
        Self::KuboRawLeaves,
        Self::Legacy1Mib,
        Self::UnixfsV1_2025,
    ];

    /// The order in which [`detect`] tries: small files look alike in several profiles, and the more usual one is named.
    const BY_USE: [Self; 6] = [
        Self::KuboCidV1,
        Self::UnixfsV0_2015,
        Self::UnixfsV1_2025,
        Self::KuboCidV1DagPb,
        Self::KuboRawLeaves,
        Self::Legacy1Mib,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnixfsV0_2015 => "unixfs-v0-2015",
            Self::KuboCidV1 => "kubo-cid-v1",
            Self::KuboCidV1DagPb => "kubo-cid-v1-dag-pb",
            Self::KuboRawLeaves => "kubo-raw-leaves",
            Self::Legacy1Mib => "legacy-1mib",
            Self::UnixfsV1_2025 => "unixfs-v1-2025",
        }
    }

    /// What the name stands for.
    #[must_use]
    pub const fn shape(self) -> Shape {
        const KIB: u32 = 1024;
        let (cid_version, raw_leaves, chunk_size, width) = match self {
            Self::UnixfsV0_2015 => (Version::V0, false, 256 * KIB, 174),
            Self::KuboCidV1 => (Version::V1, true, 256 * KIB, 174),
            Self::KuboCidV1DagPb => (Version::V1, false, 256 * KIB, 174),
            Self::KuboRawLeaves => (Version::V0, true, 256 * KIB, 174),
            Self::Legacy1Mib => (Version::V1, true, KIB * KIB, 174),
            Self::UnixfsV1_2025 => (Version::V1, true, KIB * KIB, 1024),
        };
        Shape {
            cid_version,
            raw_leaves,
            chunk_size,
            width,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.name() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|profile| profile.name()).collect();
                Error::Shape {
                    reason: format!(
                        "there is no profile `{text}`; known are {}",
                        names.join(", ")
                    ),
                }
            })
    }
}

/// The profile that gives this root, found by building the tree again above the same leaves. A file that looks the same
/// in several profiles gets the most usual one.
#[must_use]
pub fn detect(layout: &Layout) -> Option<Profile> {
    Profile::BY_USE
        .into_iter()
        .find(|profile| rebuilds(layout, profile.shape()))
}

fn rebuilds(layout: &Layout, shape: Shape) -> bool {
    let Ok(mut builder) = Builder::new(shape) else {
        return false;
    };
    let last = layout.leaves().len() - 1;
    for (index, leaf) in layout.leaves().iter().enumerate() {
        let full = leaf.length == shape.chunk_size;
        let hash = match &leaf.form {
            LeafForm::Raw(LeafHash::Sha256(hash)) if shape.raw_leaves => hash,
            LeafForm::File(LeafHash::Sha256(hash)) if !shape.raw_leaves => hash,
            _ => return false,
        };
        if !full && (index != last || leaf.length > shape.chunk_size) {
            return false;
        }
        builder.leaf_hash(*hash, leaf.length);
    }
    builder.finish().root() == layout.root()
}
