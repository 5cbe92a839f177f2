//! A set of blocks by CID, trees built by hand, and a walk over them.

use std::collections::HashMap;

use ::cid::Version;
use callao_content::cid::{self, Cid};
use callao_content::dag_pb::{self, Link};
use callao_content::layout::Layout;
use callao_content::unixfs::{self, Data, Kind};
use callao_content::walk::{Limits, Walk};
use callao_content::{Error, hash};

/// Blocks that a walk or a resolution may ask for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Blocks(pub(crate) HashMap<Cid, Vec<u8>>);

/// A subtree built by hand: what a parent writes about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) cid: Cid,
    pub(crate) size: u64,
    pub(crate) tsize: Option<u64>,
}

impl Blocks {
    /// Everything below a file: inner nodes and leaves.
    pub(crate) fn of(layout: &Layout, file: &[u8]) -> Self {
        let mut out = Self::default();
        out.add(layout, file);
        out
    }

    pub(crate) fn add(&mut self, layout: &Layout, file: &[u8]) {
        for node in layout.nodes() {
            self.0.insert(node.cid, node.bytes.to_vec());
        }
        for (index, leaf) in layout.leaves().iter().enumerate() {
            let payload = &file[leaf.offset as usize..leaf.end() as usize];
            if let Some(cid) = layout.leaf_cid(index) {
                self.0.insert(cid, layout.block(index, payload));
            }
        }
    }

    /// A block under its version 1 CID.
    pub(crate) fn put(&mut self, codec: u64, block: &[u8]) -> Cid {
        let cid = match codec {
            cid::RAW => cid::raw_sha256(hash::sha256(block)),
            _ => cid::dag_pb_sha256(Version::V1, hash::sha256(block)),
        };
        self.0.insert(cid, block.to_vec());
        cid
    }

    /// A raw leaf.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Part {
        let size = bytes.len() as u64;
        Part {
            cid: self.put(cid::RAW, bytes),
            size,
            tsize: Some(size),
        }
    }

    /// A dag-pb leaf of this kind in canonical form.
    pub(crate) fn leaf(&mut self, kind: Kind, bytes: &[u8]) -> Part {
        let size = bytes.len() as u64;
        let data = unixfs::encode(&Data {
            data: bytes,
            filesize: Some(size),
            ..Data::empty(kind)
        });
        let block = dag_pb::encode(&dag_pb::Node {
            links: vec![],
            data: Some(&data),
        });
        Part {
            cid: self.put(cid::DAG_PB, &block),
            size,
            tsize: Some(block.len() as u64),
        }
    }

    /// An inner node with bytes of its own before its parts.
    pub(crate) fn inner(&mut self, own: &[u8], parts: &[Part]) -> Part {
        let size = own.len() as u64 + parts.iter().map(|part| part.size).sum::<u64>();
        let blocksizes = parts.iter().map(|part| part.size).collect();
        self.node(
            &Data {
                data: own,
                filesize: Some(size),
                blocksizes,
                ..Data::empty(Kind::File)
            },
            parts,
        )
    }

    /// A node that may break every rule.
    pub(crate) fn node(&mut self, data: &Data<'_>, parts: &[Part]) -> Part {
        let links = parts
            .iter()
            .map(|part| Link {
                cid: part.cid,
                name: b"",
                tsize: part.tsize,
            })
            .collect();
        let encoded = unixfs::encode(data);
        let block = dag_pb::encode(&dag_pb::Node {
            links,
            data: Some(&encoded),
        });
        let below = parts
            .iter()
            .filter_map(|part| part.tsize)
            .fold(0, u64::saturating_add);
        let tsize = Some(below.saturating_add(block.len() as u64));
        Part {
            cid: self.put(cid::DAG_PB, &block),
            size: data.filesize.unwrap_or_default(),
            tsize,
        }
    }

    /// A directory; entries are sorted here.
    pub(crate) fn directory(
        &mut self,
        version: Version,
        entries: &[(&str, Cid, u64)],
    ) -> (Cid, u64) {
        let mut entries = entries.to_vec();
        entries.sort_by_key(|(name, ..)| name.as_bytes());
        let links: Vec<_> = entries
            .iter()
            .map(|&(name, cid, tsize)| Link {
                cid,
                name: name.as_bytes(),
                tsize: Some(tsize),
            })
            .collect();
        let data = unixfs::encode(&Data::empty(Kind::Directory));
        let block = dag_pb::encode(&dag_pb::Node {
            links,
            data: Some(&data),
        });
        let cid = cid::dag_pb_sha256(version, hash::sha256(&block));
        let size = block.len() as u64 + entries.iter().map(|(.., tsize)| tsize).sum::<u64>();
        self.0.insert(cid, block);
        (cid, size)
    }

    pub(crate) fn walk(&self, root: Cid) -> Result<Layout, Error> {
        self.walk_within(root, Limits::NONE)
    }

    /// Walks to the end; a block that is not there leaves the walk incomplete.
    pub(crate) fn walk_within(&self, root: Cid, limits: Limits) -> Result<Layout, Error> {
        let mut walk = Walk::new(root, limits)?;
        loop {
            let found: Vec<Cid> = walk
                .wants()
                .into_iter()
                .filter(|cid| self.0.contains_key(cid))
                .collect();
            if found.is_empty() {
                return walk.finish();
            }
            for cid in found {
                walk.supply(&cid, &self.0[&cid])?;
            }
        }
    }

    /// The file that a layout describes, put together from the blocks and proven leaf by leaf.
    pub(crate) fn read(&self, layout: &Layout) -> Vec<u8> {
        let mut out = Vec::new();
        for index in 0..layout.leaves().len() {
            let inline = layout.inline().find(|&(inline, _)| inline == index);
            let bytes = match (layout.leaf_cid(index), inline) {
                (Some(cid), _) => layout
                    .payload(index, &self.0[&cid])
                    .expect("the form of its leaf"),
                (None, Some((_, bytes))) => bytes,
                (None, None) => panic!("leaf {index} has neither a block nor bytes"),
            };
            let leaf = layout.verify(index, bytes).expect("a good leaf");
            assert_eq!((leaf.index(), leaf.offset()), (index, out.len() as u64));
            out.extend_from_slice(leaf.bytes());
        }
        assert_eq!(out.len() as u64, layout.size());
        out
    }
}
