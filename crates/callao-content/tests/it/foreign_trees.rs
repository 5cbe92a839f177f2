//! Trees that our importer does not make, and other tools do: they must be read.

use ::cid::Version;
use callao_content::cid::{self, Cid};
use callao_content::layout::{Layout, LeafForm};
use callao_content::limits::IDENTITY_BYTES_MAX;
use callao_content::profile;
use callao_content::stream::InOrder;
use callao_content::unixfs::{self, Data, Kind};
use callao_content::{dag_pb, digest, hash};

use crate::blocks::{Blocks, Part};
use crate::images;

/// Walks to a layout, puts the file together, proves it in one run, and compares.
fn reads(blocks: &Blocks, root: Cid, expected: &[u8]) -> Layout {
    let layout = blocks.walk(root).expect("a good tree");
    assert_eq!(blocks.read(&layout), expected);
    let mut out = Vec::new();
    layout
        .verify_run(0, expected, &mut out)
        .expect("good leaves");
    assert_eq!(out.len(), layout.leaves().len());
    out.clear();
    let mut digests = InOrder::new(&[digest::Algorithm::Sha256]);
    digests
        .proving(&layout, 0, expected, &mut out)
        .expect("good leaves");
    assert_eq!(out.len(), layout.leaves().len());
    assert_eq!(
        digests.finish(),
        [digest::Digest::of(digest::Algorithm::Sha256, expected)]
    );
    for index in 0..layout.leaves().len() {
        if let Some(cid) = layout.leaf_cid(index) {
            let leaf = &layout.leaves()[index];
            let payload = &expected[leaf.offset as usize..leaf.end() as usize];
            assert_eq!(layout.block(index, payload), blocks.0[&cid]);
        }
    }
    layout
}

/// An identity CID.
fn identity(codec: u64, bytes: &[u8]) -> Cid {
    let mut text = vec![1, codec as u8, 0, bytes.len() as u8];
    text.extend_from_slice(bytes);
    cid::from_bytes(&text).expect("an identity CID")
}

#[test]
fn trickle_trees_with_leaves_of_kind_raw() {
    let bytes = images::patchwork(1, 1100);
    let mut chunks = bytes.chunks(100);
    let mut blocks = Blocks::default();
    let mut leaves = |blocks: &mut Blocks, count: usize| -> Vec<Part> {
        chunks
            .by_ref()
            .take(count)
            .map(|chunk| blocks.leaf(Kind::Raw, chunk))
            .collect()
    };
    // Direct leaves first, then subtrees that are one level deeper each.
    let mut parts = leaves(&mut blocks, 3);
    let first = leaves(&mut blocks, 3);
    parts.push(blocks.inner(b"", &first));
    let mut second = leaves(&mut blocks, 2);
    let below = leaves(&mut blocks, 3);
    second.push(blocks.inner(b"", &below));
    parts.push(blocks.inner(b"", &second));
    let root = blocks.inner(b"", &parts);

    let layout = reads(&blocks, root.cid, &bytes);
    assert_eq!((layout.leaves().len(), layout.nodes().len()), (11, 4));
    assert!(
        layout
            .leaves()
            .iter()
            .all(|leaf| matches!(leaf.form, LeafForm::File(_)))
    );
    assert_eq!(profile::detect(&layout), None);
}

#[test]
fn bytes_inside_inner_nodes() {
    let mut blocks = Blocks::default();
    let parts = [
        blocks.raw(b"of a leaf, "),
        blocks.leaf(Kind::File, b"of another, "),
    ];
    let inner = blocks.inner(b"of a node, ", &parts);
    let last = blocks.raw(b"the end");
    let root = blocks.inner(b"of the root, ", &[inner, last]);
    let layout = reads(
        &blocks,
        root.cid,
        b"of the root, of a node, of a leaf, of another, the end",
    );
    let inline: Vec<_> = layout.inline().map(|(index, _)| index).collect();
    assert_eq!(inline, [0, 1]);
    assert_eq!(layout.max_leaf(), 13);
}

#[test]
fn identity_cids_at_every_place() {
    let mut blocks = Blocks::default();
    let raw = Part {
        cid: identity(cid::RAW, b"raw, "),
        size: 5,
        tsize: Some(5),
    };
    let data = unixfs::encode(&Data {
        data: b"wrapped, ",
        filesize: Some(9),
        ..Data::empty(Kind::File)
    });
    let block = dag_pb::encode(&dag_pb::Node {
        links: vec![],
        data: Some(&data),
    });
    let wrapped = Part {
        cid: identity(cid::DAG_PB, &block),
        size: 9,
        tsize: Some(block.len() as u64),
    };
    let leaf = blocks.raw(b"a block");
    let link = dag_pb::Link {
        cid: leaf.cid,
        name: b"",
        tsize: leaf.tsize,
    };
    let data = unixfs::encode(&Data {
        filesize: Some(7),
        blocksizes: vec![7],
        ..Data::empty(Kind::File)
    });
    let node = dag_pb::encode(&dag_pb::Node {
        links: vec![link],
        data: Some(&data),
    });
    assert!(node.len() <= IDENTITY_BYTES_MAX);
    let inner = Part {
        cid: identity(cid::DAG_PB, &node),
        size: 7,
        tsize: None,
    };
    let root = blocks.inner(b"", &[raw, wrapped, inner]);

    let layout = reads(&blocks, root.cid, b"raw, wrapped, a block");
    assert_eq!(
        layout.nodes().len(),
        1,
        "identity nodes stand in their parents"
    );
    reads(&blocks, inner.cid, b"a block");
    reads(&blocks, wrapped.cid, b"wrapped, ");
}

#[test]
fn leaves_that_the_link_does_not_show() {
    let mut blocks = Blocks::default();
    // A modification time makes the leaf longer than a canonical one.
    let mut data = unixfs::encode(&Data {
        data: b"with a time, ",
        filesize: Some(13),
        ..Data::empty(Kind::File)
    });
    data.extend_from_slice(b"\x42\x05\x08\x80\xe2\xcf\xaa");
    let block = dag_pb::encode(&dag_pb::Node {
        links: vec![],
        data: Some(&data),
    });
    let timed = Part {
        cid: blocks.put(cid::DAG_PB, &block),
        size: 13,
        tsize: Some(block.len() as u64),
    };
    let without_tsize = Part {
        tsize: None,
        ..blocks.leaf(Kind::File, b"without a size, ")
    };
    let without_filesize = blocks.node(
        &Data {
            data: b"no filesize, ",
            ..Data::empty(Kind::Raw)
        },
        &[],
    );
    let without_filesize = Part {
        size: 13,
        ..without_filesize
    };
    let last = blocks.leaf(Kind::File, b"usual");
    let root = blocks.inner(b"", &[timed, without_tsize, without_filesize, last]);
    let layout = reads(
        &blocks,
        root.cid,
        b"with a time, without a size, no filesize, usual",
    );
    let wrapped = layout
        .leaves()
        .iter()
        .filter(|leaf| matches!(leaf.form, LeafForm::Wrapped { .. }))
        .count();
    assert_eq!(wrapped, 2);
    // The same leaf as a file of its own.
    reads(&blocks, timed.cid, b"with a time, ");
}

#[test]
fn mixed_leaves_and_mixed_versions() {
    let mut blocks = Blocks::default();
    let parts = [
        blocks.raw(b"raw, "),
        blocks.leaf(Kind::File, b"file, "),
        blocks.leaf(Kind::Raw, b"old, "),
        blocks.raw(b"end"),
    ];
    let root = blocks.inner(b"", &parts);
    reads(&blocks, root.cid, b"raw, file, old, end");

    // A version 0 root: its dag-pb leaves get version 0 as well, and are the same blocks.
    let v0 = cid::dag_pb_sha256(Version::V0, hash::sha256(&blocks.0[&root.cid]));
    blocks.0.insert(v0, blocks.0[&root.cid].clone());
    let layout = blocks.walk(v0).expect("a good tree");
    let leaf = layout.leaf_cid(1).expect("a block");
    assert_eq!(leaf.version(), Version::V0);
    assert!(cid::same_block(&leaf, &parts[1].cid));
}

#[test]
fn packed_blocksizes() {
    let mut blocks = Blocks::default();
    let parts = [blocks.raw(b"abc"), blocks.raw(b"de")];
    let links = parts
        .iter()
        .map(|part| dag_pb::Link {
            cid: part.cid,
            name: b"",
            tsize: part.tsize,
        })
        .collect();
    let block = dag_pb::encode(&dag_pb::Node {
        links,
        data: Some(b"\x08\x02\x18\x05\x22\x02\x03\x02"),
    });
    let root = blocks.put(cid::DAG_PB, &block);
    reads(&blocks, root, b"abcde");
}

#[test]
fn sha2_512_blocks() {
    let mut blocks = Blocks::default();
    let sha512 = |codec: u64, block: &[u8]| {
        let bytes = [&[1, codec as u8, 0x13, 64][..], &hash::sha512(block)].concat();
        cid::from_bytes(&bytes).expect("a CID")
    };
    let mut parts = Vec::new();
    for bytes in [&b"one "[..], b"two "] {
        parts.push(Part {
            cid: sha512(cid::RAW, bytes),
            ..blocks.raw(bytes)
        });
        blocks.0.insert(sha512(cid::RAW, bytes), bytes.to_vec());
    }
    let leaf = blocks.leaf(Kind::File, b"three");
    let block = blocks.0[&leaf.cid].clone();
    parts.push(Part {
        cid: sha512(cid::DAG_PB, &block),
        ..leaf
    });
    blocks.0.insert(sha512(cid::DAG_PB, &block), block);
    let root = blocks.inner(b"", &parts);
    let layout = reads(&blocks, root.cid, b"one two three");
    assert_eq!(layout.leaf_cid(0), Some(parts[0].cid));
}

#[test]
fn empty_parts() {
    let mut blocks = Blocks::default();
    let odd = blocks.node(
        &Data {
            filesize: Some(0),
            ..Data::empty(Kind::Symlink)
        },
        &[],
    );
    let parts = [
        blocks.raw(b""),
        blocks.raw(b"a"),
        blocks.leaf(Kind::File, b""),
        blocks.leaf(Kind::Raw, b""),
        blocks.raw(b"b"),
        blocks.raw(b""),
    ];
    let root = blocks.inner(b"", &parts);
    let layout = reads(&blocks, root.cid, b"ab");
    assert_eq!((layout.leaves().len(), layout.inline().count()), (6, 4));
    assert_eq!(
        layout.nodes().len(),
        4,
        "the root and three different empty blocks"
    );
    assert_eq!((layout.leaf_at(0), layout.leaf_at(1)), (1, 4));

    let not_a_file = blocks.inner(b"", &[odd]);
    assert!(blocks.walk(not_a_file.cid).is_err());
}

#[test]
fn one_subtree_many_times() {
    let mut blocks = Blocks::default();
    let zeros = blocks.raw(&[0; 64]);
    let low = blocks.inner(b"", &[zeros; 10]);
    let middle = blocks.inner(b"", &[low; 10]);
    let root = blocks.inner(b"", &[middle, low, middle]);
    let layout = reads(&blocks, root.cid, &[0; 64 * 210]);
    assert_eq!((layout.leaves().len(), layout.nodes().len()), (210, 3));
    assert_eq!(layout.duplicates().len(), 209);
    assert_eq!(layout.duplicates()[7], (8, 0));
}
