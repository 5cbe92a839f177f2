//! Trees that must be refused, before a byte of them is written anywhere.

use callao_content::cid::{self, Cid};
use callao_content::limits::{BLOCK_SIZE_BYTES_MAX, DEPTH_MAX};
use callao_content::unixfs::{Data, Kind};
use callao_content::walk::{Limits, Walk};
use callao_content::{Error, dag_pb, hash, unixfs};

use crate::blocks::{Blocks, Part};

fn message(result: Result<callao_content::layout::Layout, Error>) -> String {
    result.expect_err("a refusal").to_string()
}

/// Walks each tree, which must be refused with this in the message.
fn all_refused(blocks: &Blocks, cases: &[(Part, &str)]) {
    for (part, expected) in cases {
        let message = message(blocks.walk(part.cid));
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn blocksizes_that_do_not_fit_the_links() {
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"abc"), blocks.raw(b"de"));
    let file = |filesize, blocksizes| Data {
        filesize,
        blocksizes,
        ..Data::empty(Kind::File)
    };
    let cases = [
        (
            blocks.node(&file(Some(5), vec![5]), &[a, b]),
            "2 links and 1 blocksizes",
        ),
        (
            blocks.node(&file(Some(5), vec![]), &[a, b]),
            "2 links and 0 blocksizes",
        ),
        (
            blocks.node(&file(Some(5), vec![3, 2, 0]), &[a, b]),
            "2 links and 3 blocksizes",
        ),
        (
            blocks.node(&file(Some(3), vec![3]), &[]),
            "0 links and 1 blocksizes",
        ),
        (
            blocks.node(&file(Some(6), vec![3, 2]), &[a, b]),
            "declares 6 bytes, its parts have 5",
        ),
        (
            blocks.node(&file(Some(u64::MAX), vec![u64::MAX, 2]), &[a, b]),
            "its parts have 18446744073709551615",
        ),
        (
            blocks.node(&file(None, vec![u64::MAX, u64::MAX]), &[a, b]),
            "its parts have",
        ),
        (
            blocks.node(
                &Data {
                    data: b"abc",
                    ..file(Some(4), vec![])
                },
                &[],
            ),
            "declares 4 bytes, its parts have 3",
        ),
    ];
    all_refused(&blocks, &cases);
}

#[test]
fn children_that_are_not_what_the_parent_says() {
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"abc"), blocks.raw(b"de"));
    let inner = blocks.inner(b"", &[a, b]);
    let longer = Part { size: 6, ..inner };
    let cases = [
        (
            blocks.inner(b"", &[longer]),
            "has 5 bytes of file, its parent declares 6",
        ),
        (blocks.inner(b"", &[inner, longer]), "its parent declares 6"),
        (
            blocks.inner(
                b"",
                &[Part {
                    size: BLOCK_SIZE_BYTES_MAX as u64 + 1,
                    ..a
                }],
            ),
            "the most that is accepted",
        ),
        (
            blocks.inner(b"", &[Part { size: 0, ..a }]),
            "do not have its hash",
        ),
        (
            blocks.node(&Data::empty(Kind::Directory), &[]),
            "is a directory, not a file",
        ),
        (
            blocks.node(
                &Data {
                    data: b"target",
                    ..Data::empty(Kind::Symlink)
                },
                &[],
            ),
            "is a symlink, not a file",
        ),
        (
            blocks.node(&Data::empty(Kind::HamtShard), &[]),
            "is a sharded directory, not a file",
        ),
    ];
    all_refused(&blocks, &cases);
}

#[test]
fn a_later_parent_that_says_something_else() {
    // The child is known with five bytes when a second parent, met later, declares six.
    let mut blocks = Blocks::default();
    let (a, b) = (blocks.raw(b"abc"), blocks.raw(b"de"));
    let child = blocks.inner(b"", &[a, b]);
    let good = blocks.inner(b"", &[child]);
    let bad = blocks.inner(b"", &[Part { size: 6, ..child }]);
    let root = blocks.inner(b"", &[good, bad]);
    assert!(message(blocks.walk(root.cid)).contains("its parent declares"));
}

#[test]
fn nodes_that_are_no_file_nodes() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"abc");
    let link = |name| dag_pb::Link {
        cid: leaf.cid,
        name,
        tsize: Some(3),
    };
    let data = unixfs::encode(&Data {
        filesize: Some(3),
        blocksizes: vec![3],
        ..Data::empty(Kind::File)
    });
    let mut put = |node: &dag_pb::Node<'_>| blocks.put(cid::DAG_PB, &dag_pb::encode(node));
    let cases = [
        (
            put(&dag_pb::Node {
                links: vec![link(b"name")],
                data: Some(&data),
            }),
            "has a name on link 0",
        ),
        (
            put(&dag_pb::Node {
                links: vec![link(b"")],
                data: None,
            }),
            "the node has no data field",
        ),
        (
            put(&dag_pb::Node {
                links: vec![],
                data: Some(b"\x08\x09"),
            }),
            "an unknown kind of node (byte 2)",
        ),
        (blocks.put(cid::DAG_PB, b"\xff\xff"), "not a dag-pb node"),
        (blocks.put(cid::DAG_PB, b""), "the node has no data field"),
    ];
    for (root, expected) in cases {
        let message = message(blocks.walk(root));
        assert!(
            message.contains(expected) && message.contains(&cid::text(&root)),
            "{expected}: {message}"
        );
    }
}

#[test]
fn codecs_and_hashes() {
    let digest = hash::sha256(b"abc");
    let cid = |codec: &[u8], code: &[u8], digest: &[u8]| {
        cid::from_bytes(&[&[1], codec, code, &[digest.len() as u8], digest].concat())
            .expect("a CID")
    };
    let long = [0; 127];
    let cases = [
        (cid(&[0x71], &[0x12], &digest), "codec 0x71"),
        (cid(&[0x72], &[0x12], &digest), "codec 0x72"),
        (
            cid(&[0x55], &[0x11], &digest[..20]),
            "multihash 0x11 of 20 bytes",
        ),
        (
            cid(&[0x55], &[0xd5, 0x01], &digest[..16]),
            "multihash 0xd5 of 16 bytes",
        ),
        (cid(&[0x55], &[0x1e], &digest), "multihash 0x1e of 32 bytes"),
        (
            cid(&[0x55], &[0x12], &digest[..31]),
            "multihash 0x12 of 31 bytes",
        ),
        (cid(&[0x55], &[0x12], &long), "multihash 0x12 of 127 bytes"),
        (cid(&[0x70], &[0x13], &digest), "multihash 0x13 of 32 bytes"),
    ];
    for (root, expected) in cases {
        let message_of_root = Walk::new(root, Limits::NONE)
            .expect_err("a refusal")
            .to_string();
        assert!(
            message_of_root.contains(expected),
            "{expected}: {message_of_root}"
        );
        let mut blocks = Blocks::default();
        let parent = blocks.inner(
            b"",
            &[Part {
                cid: root,
                size: 3,
                tsize: Some(3),
            }],
        );
        assert_eq!(message(blocks.walk(parent.cid)), message_of_root);
    }
    // 129 bytes of identity do not even make a CID here.
    assert!(cid::from_bytes(&[&[1, 0x55, 0, 0x81, 0x01][..], &[0; 129]].concat()).is_err());
}

#[test]
fn sizes_beyond_the_request() {
    let mut blocks = Blocks::default();
    let parts = [blocks.raw(b"abc"), blocks.raw(b"de")];
    let root = blocks.inner(b"", &parts).cid;
    let raw = parts[0].cid;
    let within = |size, size_max| Limits { size, size_max };
    assert!(blocks.walk_within(root, within(Some(5), 5)).is_ok());
    for (root, limits, expected) in [
        (
            root,
            within(Some(6), u64::MAX),
            "declares a file of 5 bytes, expected 6",
        ),
        (
            root,
            within(None, 4),
            "declares a file of 5 bytes; the most that is allowed is 4",
        ),
        (
            raw,
            within(Some(4), u64::MAX),
            "declares a file of 3 bytes, expected 4",
        ),
        (
            raw,
            within(None, 2),
            "declares a file of 3 bytes; the most that is allowed is 2",
        ),
    ] {
        let message = message(blocks.walk_within(root, limits));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_root_alone_decides_about_the_size() {
    // Nothing below a root that declares too much is asked for.
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"abc");
    let inner = blocks.inner(b"", &[leaf]);
    let root = blocks.inner(
        b"",
        &[Part {
            size: 1 << 60,
            ..inner
        }],
    );
    let mut walk = Walk::new(
        root.cid,
        Limits {
            size: None,
            size_max: 1 << 40,
        },
    )
    .expect("an allowed root");
    let refused = walk.supply(&root.cid, &blocks.0[&root.cid]);
    assert!(matches!(
        refused,
        Err(Error::SizeOverBudget {
            declared: 0x1000_0000_0000_0000,
            ..
        })
    ));
    assert_eq!(walk.wants(), [root.cid]);
}

#[test]
fn a_bomb_is_counted_and_not_expanded() {
    // Each level repeats the one below a thousand times: a few blocks that declare exabytes, leaf by honest leaf.
    let mut blocks = Blocks::default();
    let mut part = blocks.raw(&[0; 1000]);
    for _ in 0..5 {
        part = blocks.inner(b"", &[part; 1000]);
    }
    assert_eq!(part.size, 1_000_000_000_000_000_000);
    assert!(
        message(blocks.walk(part.cid))
            .contains("at least 1000000000000000 leaves; the most that is accepted is")
    );
    let budget = Limits {
        size: None,
        size_max: 1 << 40,
    };
    assert!(matches!(
        blocks.walk_within(part.cid, budget),
        Err(Error::SizeOverBudget { .. })
    ));

    // The same with nothing in it: no size gives it away, only the count.
    let mut part = blocks.raw(b"");
    for _ in 0..7 {
        part = blocks.inner(b"", &[part; 1000]);
    }
    let message = message(blocks.walk_within(
        part.cid,
        Limits {
            size: Some(0),
            size_max: 0,
        },
    ));
    assert!(
        message.contains("leaves; the most that is accepted is"),
        "{message}"
    );
}

#[test]
fn trees_that_are_too_deep() {
    let mut blocks = Blocks::default();
    let mut part = blocks.raw(b"abc");
    for level in 0..DEPTH_MAX + 2 {
        part = blocks.inner(b"", &[part]);
        let result = blocks.walk(part.cid);
        // The first node above the leaf is the root itself and lies at depth 0.
        if level <= DEPTH_MAX {
            assert!(result.is_ok(), "{level}")
        } else {
            assert!(message(result).contains("more than 16 levels below the root"))
        }
    }
}

#[test]
fn a_shared_subtree_that_is_too_deep_by_the_longer_way() {
    // The deep subtree is met near the root first, so only the count sees how deep it lies by the other way.
    let mut blocks = Blocks::default();
    let mut deep = blocks.raw(b"abc");
    for _ in 0..10 {
        deep = blocks.inner(b"", &[deep]);
    }
    let mut chain = deep;
    for _ in 0..10 {
        chain = blocks.inner(b"x", &[chain]);
    }
    let root = blocks.inner(b"", &[deep, chain]);
    assert!(message(blocks.walk(root.cid)).contains("levels below the root"));
}

#[test]
fn more_blocks_than_a_walk_asks_for() {
    // Five nodes of 16384 different children each.
    let mut blocks = Blocks::default();
    let mut nodes = Vec::new();
    for node in 0..5_u32 {
        let parts: Vec<_> = (0..16_384_u32)
            .map(|index| {
                let digest = hash::sha256(&(node << 16 | index).to_le_bytes());
                Part {
                    cid: cid::dag_pb_sha256(::cid::Version::V1, digest),
                    size: 1,
                    tsize: None,
                }
            })
            .collect();
        nodes.push(blocks.inner(b"", &parts));
    }
    let root = blocks.inner(b"", &nodes);
    assert!(message(blocks.walk(root.cid)).contains("nodes; the most that is accepted is 65536"));
}

#[test]
fn faults_of_the_source_do_not_end_a_walk() {
    let mut blocks = Blocks::default();
    let parts = [blocks.raw(b"abc"), blocks.raw(b"de")];
    let root = blocks.inner(b"", &parts).cid;
    let mut walk = Walk::new(root, Limits::NONE).expect("an allowed root");
    let large = vec![0; BLOCK_SIZE_BYTES_MAX + 1];
    assert_eq!(
        walk.supply(&root, b"abc"),
        Err(Error::BlockMismatch {
            cid: root,
            length: 3
        })
    );
    assert!(matches!(
        walk.supply(&root, &large),
        Err(Error::BlockTooLarge { .. })
    ));
    assert_eq!(
        walk.supply(&parts[0].cid, b"abc"),
        Err(Error::NotWanted { cid: parts[0].cid })
    );
    assert_eq!(
        walk.clone().finish(),
        Err(Error::Incomplete { root, missing: 1 })
    );
    assert_eq!(walk.wants(), [root]);
    walk.supply(&root, &blocks.0[&root]).expect("a good block");
    walk.supply(&root, b"given again, and ignored")
        .expect("known already");
    assert!(walk.wants().is_empty());
    assert_eq!(walk.finish().map(|layout| layout.size()), Ok(5));
}

#[test]
fn a_leaf_whose_tsize_lies_is_never_proven() {
    // An inner node that passes itself off as a leaf: accepted by its link, refused by its hash.
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"abc");
    let inner = blocks.inner(b"", &[leaf]);
    let canonical = 3 + unixfs::Envelope::of_leaf(Kind::File, 3).length() as u64;
    let root = blocks.inner(
        b"",
        &[Part {
            tsize: Some(canonical),
            ..inner
        }],
    );
    let layout = blocks.walk(root.cid).expect("nothing shows yet");
    assert!(layout.verify(0, b"abc").is_err());
    let cid: Cid = layout.leaf_cid(0).expect("a block");
    assert!(layout.payload(0, &blocks.0[&cid]).is_err());
}
