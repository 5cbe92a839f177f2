//! From an address to the CID of a file: `ipfs://CID/a/b`. Asks for one directory block after the other and fetches nothing.
//!
//! If the root is a file, the path is only its name (so Lima's users write it). Otherwise every segment is looked up, in
//! plain and in sharded directories.

use crate::address::IpfsAddress;
use crate::cid::{self, Cid};
use crate::dag_pb;
use crate::error::Error;
use crate::hamt::{Found, Lookup};
use crate::unixfs::{self, Kind};

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The file's CID. Whether it really is a file shows when it is walked, unless the root was read.
    pub cid: Cid,
    /// The file's name: the last segment of the path, if there is one.
    pub name: Option<String>,
}

/// The resolution of one address.
#[derive(Debug, Clone)]
pub struct Resolve {
    path: Vec<String>,
    /// The block that is read next.
    at: Cid,
    /// How many segments are behind it.
    passed: usize,
    /// The way of the current segment through the shards of one directory.
    lookup: Option<Lookup>,
    done: bool,
}

impl Resolve {
    /// Begins. An address without a path, and a raw root, need no block.
    #[must_use]
    pub fn new(address: IpfsAddress) -> Self {
        let done = address.path.is_empty() || address.cid.codec() == cid::RAW;
        Self {
            path: address.path,
            at: address.cid,
            passed: 0,
            lookup: None,
            done,
        }
    }

    /// The block that is needed next; `None` when it is done. An identity block is asked for as well: its bytes are
    /// `cid.hash().digest()`.
    #[must_use]
    pub fn wants(&self) -> Option<Cid> {
        (!self.done).then_some(self.at)
    }

    /// Where the address leads, once nothing is wanted.
    #[must_use]
    pub fn done(&self) -> Option<Target> {
        self.done.then(|| Target {
            cid: self.at,
            name: self.path.last().cloned(),
        })
    }

    /// Takes the block that is wanted: hashes it and goes on.
    ///
    /// # Errors
    /// [`Error::NotWanted`], [`Error::BlockMismatch`] and [`Error::BlockTooLarge`] are faults of whoever gave the block. Every other one
    /// ends the resolution: [`Error::NoSuchName`], [`Error::PathThroughFile`], [`Error::NotAFile`] (a symlink),
    /// [`Error::Hamt`], [`Error::Block`], and CIDs that are not allowed.
    pub fn supply(&mut self, cid: &Cid, block: &[u8]) -> Result<(), Error> {
        if self.done || cid::normal(cid) != cid::normal(&self.at) {
            return Err(Error::NotWanted { cid: *cid });
        }
        cid::check_allowed(&self.at)?;
        cid::verify_block(&self.at, block)?;
        let at = self.at;
        let in_block = |error: Error| error.in_block(&at);
        let node = dag_pb::decode(block).map_err(in_block)?;
        let data = unixfs::decode(node.data.unwrap_or_default()).map_err(in_block)?;
        let Some(segment) = self.path.get(self.passed) else {
            self.done = true;
            return Ok(());
        };
        match data.kind {
            Kind::HamtShard => {
                let mut lookup = self
                    .lookup
                    .take()
                    .unwrap_or_else(|| Lookup::new(segment.as_bytes()));
                match lookup.step(&at, &data, &node.links)? {
                    Found::Entry(entry) => self.pass(entry),
                    Found::Nothing => Err(Error::NoSuchName {
                        cid: at,
                        name: segment.clone(),
                    }),
                    Found::Shard(shard) => {
                        cid::check_allowed(&shard)?;
                        self.at = shard;
                        self.lookup = Some(lookup);
                        Ok(())
                    }
                }
            }
            _ if self.lookup.is_some() => Err(Error::Hamt {
                cid: at,
                reason: "it is not a shard",
            }),
            Kind::Directory => match node
                .links
                .iter()
                .find(|link| link.name == segment.as_bytes())
            {
                Some(link) => self.pass(link.cid),
                None => Err(Error::NoSuchName {
                    cid: at,
                    name: segment.clone(),
                }),
            },
            Kind::File | Kind::Raw if self.passed == 0 => {
                self.done = true;
                Ok(())
            }
            Kind::File | Kind::Raw => Err(self.through_file()),
            Kind::Symlink | Kind::Metadata => Err(Error::NotAFile {
                cid: at,
                kind: data.kind.name(),
            }),
        }
    }

    /// Goes into the entry of the current segment.
    fn pass(&mut self, entry: Cid) -> Result<(), Error> {
        cid::check_allowed(&entry)?;
        self.at = entry;
        self.passed += 1;
        self.lookup = None;
        if self.passed == self.path.len() {
            self.done = true;
        } else if entry.codec() == cid::RAW {
            return Err(self.through_file());
        }
        Ok(())
    }

    fn through_file(&self) -> Error {
        let (file, rest) = self.path.split_at(self.passed);
        Error::PathThroughFile {
            file: file.join("/"),
            rest: rest.join("/"),
        }
    }
}
