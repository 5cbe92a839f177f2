//! Addresses are resolved through plain and sharded directories; `rust-unixfs` makes the sharded ones.

use ::cid::Version;
use callao_content::address::IpfsAddress;
use callao_content::cid::{self, Cid};
use callao_content::path::{Resolve, Target};
use callao_content::unixfs::Kind;
use callao_content::{Error, hash};
use rust_unixfs::dir::builder::{BufferingTreeBuilder, TreeOptions};

use crate::blocks::Blocks;

fn resolve(blocks: &Blocks, root: Cid, path: &str) -> Result<Target, Error> {
    let path = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect();
    let mut resolve = Resolve::new(IpfsAddress { cid: root, path });
    while let Some(cid) = resolve.wants() {
        assert_eq!(resolve.done(), None);
        let block = blocks
            .0
            .get(&cid)
            .unwrap_or_else(|| panic!("no block {cid}"));
        resolve.supply(&cid, block)?;
    }
    Ok(resolve.done().expect("nothing is wanted"))
}

#[test]
fn plain_directories() {
    for version in [Version::V0, Version::V1] {
        let mut blocks = Blocks::default();
        let raw = blocks.raw(b"abc").cid;
        let file = blocks.leaf(Kind::File, b"abc").cid;
        let symlink = blocks
            .node(&callao_content::unixfs::Data::empty(Kind::Symlink), &[])
            .cid;
        let (inner, size) = blocks.directory(
            version,
            &[("raw.img", raw, 3), ("ü b", file, 11), ("link", symlink, 9)],
        );
        let (root, _) = blocks.directory(version, &[("images", inner, size), ("README", raw, 3)]);

        for (path, cid, name) in [
            ("images/raw.img", raw, Some("raw.img")),
            ("images/ü b", file, Some("ü b")),
            ("README", raw, Some("README")),
            ("images", inner, Some("images")),
            ("images/link", symlink, Some("link")),
            ("", root, None),
        ] {
            assert_eq!(
                resolve(&blocks, root, path),
                Ok(Target {
                    cid,
                    name: name.map(str::to_owned)
                }),
                "{path}"
            );
        }
        // The root is a file: whatever follows is its name.
        for root in [raw, file] {
            for path in ["disk.qcow2", "x/disk.qcow2"] {
                let expected = Target {
                    cid: root,
                    name: Some("disk.qcow2".to_owned()),
                };
                assert_eq!(resolve(&blocks, root, path), Ok(expected));
            }
        }
        for (path, expected) in [
            ("image", "has no entry `image`"),
            ("images/raw", "has no entry `raw`"),
            ("..", "has no entry `..`"),
            (
                "README/x",
                "`README` is a file, so the path cannot go on to `x`",
            ),
            (
                "images/raw.img/x/y",
                "`images/raw.img` is a file, so the path cannot go on to `x/y`",
            ),
            ("images/ü b/x", "is a file"),
            ("images/link/x", "is a symlink, not a file"),
        ] {
            let message = resolve(&blocks, root, path).expect_err(path).to_string();
            assert!(message.contains(expected), "{path}: {message}");
        }
    }
}

/// A directory of `count` entries `entry-N.img`, sharded if that is more than a handful.
fn sharded(version: Version, count: u32) -> (Blocks, Cid) {
    let mut options = TreeOptions::default();
    options.wrap_with_directory();
    options.cid_version(version);
    options.shard_threshold(Some(100));
    let mut builder = BufferingTreeBuilder::new(options);
    for index in 0..count {
        let target = target(index).to_bytes();
        let target = target.as_slice().try_into().expect("a CID");
        builder
            .put_link(&format!("entry-{index}.img"), target, 4)
            .expect("a new name");
    }
    let mut blocks = Blocks::default();
    let mut root = None;
    for node in builder.build() {
        let node = node.expect("a good tree");
        let cid = cid::from_bytes(&node.cid.to_bytes()).expect("a CID");
        blocks.0.insert(cid, node.block.to_vec());
        root = Some(cid);
    }
    (blocks, root.expect("at least one node"))
}

fn target(index: u32) -> Cid {
    cid::raw_sha256(hash::sha256(&index.to_le_bytes()))
}

#[test]
fn sharded_directories() {
    for version in [Version::V0, Version::V1] {
        for count in [10, 1000, 20_000] {
            let (blocks, root) = sharded(version, count);
            let data = callao_content::dag_pb::decode(&blocks.0[&root])
                .expect("dag-pb")
                .data
                .expect("data")
                .to_vec();
            assert_eq!(
                callao_content::unixfs::decode(&data).expect("UnixFS").kind,
                Kind::HamtShard
            );
            for index in (0..count).step_by(1 + count as usize / 500) {
                let name = format!("entry-{index}.img");
                let expected = Target {
                    cid: target(index),
                    name: Some(name.clone()),
                };
                assert_eq!(resolve(&blocks, root, &name), Ok(expected));
            }
            for name in ["entry-20000.img", "entry-", "00", "x"] {
                assert!(
                    matches!(resolve(&blocks, root, name), Err(Error::NoSuchName { .. })),
                    "{name}"
                );
            }
            let through = resolve(&blocks, root, "entry-1.img/x").expect_err("through a file");
            assert!(matches!(through, Error::PathThroughFile { .. }));
        }
    }
}

#[test]
fn blocks_that_do_not_belong() {
    let mut blocks = Blocks::default();
    let raw = blocks.raw(b"abc").cid;
    let (root, _) = blocks.directory(Version::V0, &[("a", raw, 3)]);
    let mut resolve = Resolve::new(IpfsAddress {
        cid: root,
        path: vec!["a".to_owned()],
    });
    assert_eq!(
        resolve.supply(&raw, b"abc"),
        Err(Error::NotWanted { cid: raw })
    );
    assert_eq!(
        resolve.supply(&root, b"abc"),
        Err(Error::BlockMismatch {
            cid: root,
            length: 3
        })
    );
    // The same block under its version 1 name is the block that is wanted.
    let v1 = cid::dag_pb_sha256(Version::V1, hash::sha256(&blocks.0[&root]));
    resolve
        .supply(&v1, &blocks.0[&root])
        .expect("the right block");
    assert_eq!(resolve.done().map(|target| target.cid), Some(raw));
    assert_eq!(
        resolve.supply(&root, &blocks.0[&root]),
        Err(Error::NotWanted { cid: root })
    );
}
