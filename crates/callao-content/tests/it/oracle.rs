//! A second importer, the crate `rust-unixfs`, must give the same blocks.

use std::collections::BTreeMap;

use ::cid::Version;
use callao_content::import;
use callao_content::profile::Shape;
use proptest::prelude::*;
use rust_unixfs::file::adder::{BalancedCollector, Chunker, FileAdder};

use crate::blocks::Blocks;
use crate::images;

/// Every block that `rust-unixfs` makes, and the root's CID, which it makes last.
fn other_importer(bytes: &[u8], shape: Shape) -> (Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>) {
    let version = match shape.cid_version {
        Version::V0 => rust_unixfs_version(false),
        Version::V1 => rust_unixfs_version(true),
    };
    let mut adder = FileAdder::builder()
        .with_chunker(Chunker::Size(shape.chunk_size as usize))
        .with_collector(BalancedCollector::with_branching_factor(
            shape.width as usize,
        ))
        .with_cid_version(version)
        .with_raw_leaves(shape.raw_leaves)
        .build();
    let mut blocks = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (made, consumed) = adder.push(rest);
        blocks.extend(made);
        rest = &rest[consumed..];
    }
    blocks.extend(adder.finish());
    let root = blocks.last().expect("at least one block").0.to_bytes();
    (
        root,
        blocks
            .into_iter()
            .map(|(cid, block)| (cid.to_bytes(), block))
            .collect(),
    )
}

/// Its version type is the same crate's, but only by way of its own dependencies.
fn rust_unixfs_version(v1: bool) -> Version {
    if v1 { Version::V1 } else { Version::V0 }
}

fn shapes() -> impl Strategy<Value = Shape> {
    (any::<bool>(), any::<bool>(), 1_u32..300, 2_u32..9).prop_map(
        |(v1, raw_leaves, chunk_size, width)| Shape {
            cid_version: if v1 { Version::V1 } else { Version::V0 },
            raw_leaves,
            chunk_size,
            width,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn gives_the_same_blocks(seed in any::<u64>(), size in 0_usize..20_000, shape in shapes()) {
        let bytes = images::patchwork(seed, size);
        let layout = import::import(&bytes, shape).expect("a good shape");
        let (root, expected) = other_importer(&bytes, shape);
        prop_assert_eq!(layout.root().to_bytes(), root);
        let ours: BTreeMap<_, _> =
            Blocks::of(&layout, &bytes).0.into_iter().map(|(cid, block)| (cid.to_bytes(), block)).collect();
        prop_assert_eq!(ours, expected);
    }
}
