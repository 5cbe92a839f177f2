//! What the importer writes the walk reads, whatever the order of the blocks; and what a layout says can be proven.

use ::cid::Version;
use callao_content::digest::{Algorithm, Digest};
use callao_content::import::{self, Builder, Importer};
use callao_content::layout::Layout;
use callao_content::profile::{Profile, Shape};
use callao_content::stream::InOrder;
use callao_content::walk::{Limits, Walk};
use callao_content::{Error, cid};
use proptest::prelude::*;

use crate::blocks::Blocks;
use crate::images;

fn shapes() -> impl Strategy<Value = Shape> {
    (any::<bool>(), any::<bool>(), 1_u32..400, 2_u32..12).prop_map(
        |(v1, raw_leaves, chunk_size, width)| Shape {
            cid_version: if v1 { Version::V1 } else { Version::V0 },
            raw_leaves,
            chunk_size,
            width,
        },
    )
}

fn files() -> impl Strategy<Value = (Vec<u8>, Shape)> {
    (any::<u64>(), 0_usize..30_000, shapes()).prop_map(|(seed, size, shape)| {
        // Few leaves are enough, and hashing many is slow.
        let size = size.min(shape.chunk_size as usize * 300);
        (images::patchwork(seed, size), shape)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn walking_finds_what_was_imported((bytes, shape) in files(), order in any::<u64>()) {
        let layout = import::import(&bytes, shape).expect("a good shape");
        let blocks = Blocks::of(&layout, &bytes);
        let limits = Limits { size: Some(bytes.len() as u64), size_max: bytes.len() as u64 };
        let mut walk = Walk::new(*layout.root(), limits).expect("an allowed root");
        let mut asked = 0_u64;
        while let wants @ [_, ..] = walk.wants().as_slice() {
            asked += 1;
            let cid = wants[(order.rotate_left((asked % 64) as u32) % wants.len() as u64) as usize];
            walk.supply(&cid, &blocks.0[&cid]).expect("a good block");
        }
        prop_assert!(asked <= layout.nodes().len() as u64 + 1);
        let walked = walk.finish();
        prop_assert_eq!(walked.as_ref(), Ok(&layout));
        prop_assert_eq!(blocks.read(&layout), bytes);
    }

    #[test]
    fn pieces_of_any_size_give_the_same((bytes, shape) in files(), cuts in prop::collection::vec(1_usize..2_000, 1..40)) {
        let algorithms = [Algorithm::Sha512, Algorithm::Sha256, Algorithm::Sha384];
        for algorithms in [&algorithms[..], &[]] {
            let mut importer = Importer::new(shape, algorithms).expect("a good shape");
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at(rest.len().min(*cut));
                importer.update(piece);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            let (layout, digests) = importer.finish();
            prop_assert_eq!(Ok(layout), import::import(&bytes, shape));
            let expected: Vec<_> = algorithms.iter().map(|&algorithm| Digest::of(algorithm, &bytes)).collect();
            prop_assert_eq!(digests, expected);
        }
    }

    #[test]
    fn runs_are_proven_up_to_the_first_false_leaf((bytes, shape) in files(), flip in any::<prop::sample::Index>()) {
        let layout = import::import(&bytes, shape).expect("a good shape");
        check_run(&layout, &bytes, None);
        if !bytes.is_empty() {
            let flip = flip.index(bytes.len());
            let mut bad = bytes.clone();
            bad[flip] ^= 1;
            check_run(&layout, &bad, Some(flip as u64));
        }
    }

    #[test]
    fn offsets_and_ranges((bytes, shape) in files(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let layout = import::import(&bytes, shape).expect("a good shape");
        let size = bytes.len() as u64;
        let (from, to) = (from.index(bytes.len() + 1) as u64, to.index(bytes.len() + 1) as u64);
        let range = from.min(to)..from.max(to);
        let leaf = &layout.leaves()[layout.leaf_at(range.start)];
        prop_assert!(leaf.offset <= range.start && (range.start < leaf.end() || range.start == size));
        let inside: Vec<usize> = layout.leaves_in(range.clone()).collect();
        let expected: Vec<usize> = layout
            .leaves()
            .iter()
            .enumerate()
            .filter(|(_, leaf)| range.start <= leaf.offset && leaf.end() <= range.end)
            .map(|(index, _)| index)
            .collect();
        prop_assert_eq!(inside, expected);
        for (copy, first) in layout.duplicates() {
            let [copy, first] = [copy, first].map(|index| &layout.leaves()[index]);
            let bytes_of = |leaf: &callao_content::layout::Leaf| &bytes[leaf.offset as usize..leaf.end() as usize];
            prop_assert!(first.offset < copy.offset);
            prop_assert_eq!(bytes_of(first), bytes_of(copy));
        }
        let distinct: std::collections::HashSet<_> =
            layout.leaves().iter().map(|leaf| &bytes[leaf.offset as usize..leaf.end() as usize]).collect();
        prop_assert_eq!(layout.leaves().len() - layout.duplicates().len(), distinct.len());
    }
}

/// Proves all bytes as one run, with and without digests; `flipped` is a byte that is false.
fn check_run(layout: &Layout, bytes: &[u8], flipped: Option<u64>) {
    let false_leaf = flipped.map(|offset| layout.leaf_at(offset));
    let good = false_leaf.unwrap_or(layout.leaves().len());
    let proven_bytes = layout
        .leaves()
        .get(good)
        .map_or(layout.size(), |leaf| leaf.offset) as usize;

    let mut out = Vec::new();
    let result = layout.verify_run(0, bytes, &mut out);
    assert_eq!(
        result.map_err(|mismatch| Some(mismatch.index)).err(),
        false_leaf.map(Some)
    );
    assert_eq!(
        out.iter().map(|leaf| leaf.index()).collect::<Vec<_>>(),
        (0..good).collect::<Vec<_>>()
    );
    assert!(
        out.iter()
            .all(|leaf| layout.leaves()[leaf.index()].offset == leaf.offset())
    );

    for algorithms in [
        &[Algorithm::Sha256][..],
        &[Algorithm::Sha512],
        &[Algorithm::Sha384, Algorithm::Sha256],
        &[],
    ] {
        let mut digests = InOrder::new(algorithms);
        let mut proven = Vec::new();
        let result = digests.proving(layout, 0, bytes, &mut proven);
        assert_eq!(result.map_err(|mismatch| mismatch.index).err(), false_leaf);
        assert_eq!(
            proven
                .iter()
                .map(|leaf| leaf.bytes())
                .collect::<Vec<_>>()
                .concat(),
            &bytes[..proven_bytes]
        );
        assert_eq!(digests.position(), proven_bytes as u64);
        // After a false leaf the same stream goes on with the right bytes.
        digests.plain(&bytes[proven_bytes..]);
        let expected: Vec<_> = algorithms
            .iter()
            .map(|&algorithm| Digest::of(algorithm, bytes))
            .collect();
        assert_eq!(digests.finish(), expected);
    }
}

#[test]
fn a_run_may_begin_anywhere_and_must_hold_whole_leaves() {
    let bytes = images::patchwork(3, 1000);
    let shape = Shape {
        chunk_size: 100,
        ..Profile::KuboCidV1.shape()
    };
    let layout = import::import(&bytes, shape).expect("a good shape");
    let mut out = Vec::new();
    layout
        .verify_run(3, &bytes[300..700], &mut out)
        .expect("good leaves");
    assert_eq!(
        out.iter().map(|leaf| leaf.index()).collect::<Vec<_>>(),
        [3, 4, 5, 6]
    );

    out.clear();
    let cut = layout
        .verify_run(3, &bytes[300..650], &mut out)
        .expect_err("a leaf that is cut short");
    assert_eq!(
        (cut.index, cut.offset, cut.length, out.len()),
        (6, 600, 100, 3)
    );
    let beyond = layout
        .verify_run(10, b"x", &mut out)
        .expect_err("a leaf that is not there");
    assert_eq!((beyond.index, beyond.offset), (10, 1000));
    assert!(layout.verify(10, b"").is_err());
    assert!(layout.verify(0, &bytes[..99]).is_err());
    assert_eq!(layout.leaf_cid(10), None);
    assert_eq!(
        layout.payload(10, b""),
        Err(Error::LeafForm {
            index: 10,
            length: 0
        })
    );
}

#[test]
fn the_builder_takes_hashes_from_elsewhere() {
    let bytes = images::patchwork(5, 5000);
    for profile in Profile::ALL {
        let shape = Shape {
            chunk_size: 64,
            width: 5,
            ..profile.shape()
        };
        let layout = import::import(&bytes, shape).expect("a good shape");
        let mut builder = Builder::new(shape).expect("a good shape");
        let mut digests = InOrder::new(&[Algorithm::Sha256]);
        for piece in bytes.chunks(640) {
            digests.importing(&mut builder, piece);
        }
        assert_eq!(builder.finish(), layout);
        assert_eq!(digests.finish(), [Digest::of(Algorithm::Sha256, &bytes)]);
    }
}

#[test]
fn shapes_that_cannot_be_built() {
    let good = Profile::KuboCidV1.shape();
    for (chunk_size, width) in [
        (0, 174),
        (2 * 1024 * 1024 - 255, 174),
        (100, 0),
        (100, 1),
        (100, 16_385),
    ] {
        let refused = Builder::new(Shape {
            chunk_size,
            width,
            ..good
        });
        assert!(
            matches!(refused, Err(Error::Shape { .. })),
            "{chunk_size} {width}"
        );
    }
}

#[test]
fn files_of_one_block() {
    for (bytes, profile) in [
        (&b"hello"[..], Profile::KuboCidV1),
        (b"hello", Profile::UnixfsV0_2015),
        (b"", Profile::KuboCidV1),
    ] {
        let layout = import::import(bytes, profile.shape()).expect("a good shape");
        assert!(layout.nodes().is_empty());
        assert_eq!(layout.leaf_cid(0), Some(*layout.root()));
        assert_eq!(
            Layout::single_leaf(*layout.root(), bytes.len() as u32),
            Ok(layout.clone())
        );
        assert_eq!(Blocks::of(&layout, bytes).walk(*layout.root()), Ok(layout));
    }
    let identity = cid::parse("bafkqabtimvwgy3yk").expect("a CID");
    let layout = Layout::single_leaf(identity, 6).expect("six bytes");
    assert_eq!(layout.inline().collect::<Vec<_>>(), [(0, &b"hello\n"[..])]);
    assert_eq!(Blocks::default().walk(identity), Ok(layout));
    assert!(Layout::single_leaf(identity, 5).is_err());
}
