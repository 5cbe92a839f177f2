//! dag-pb: a list of links and a piece of data. It does not know what the data means (that is [`crate::unixfs`]).
//!
//! ```text
//! PBNode = { 12 vi(len) PBLink }*  0a vi(len) Data          links first, although their field number is higher
//! PBLink = 0a vi(len) Hash   12 vi(len) Name   18 vi(Tsize)
//! ```
//! What is written is canonical. What is read may have its data before its links and may lack names and Tsizes, as
//! old importers wrote it; everything else is refused.

use crate::cid::{self, Cid};
use crate::error::Error;
use crate::limits::LINKS_PER_NODE_MAX;
use crate::varint;

/// A decoded node; names and data point into the block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node<'a> {
    /// The links, in the order of the block.
    pub links: Vec<Link<'a>>,
    /// The data field. `None` if it is absent, which is not the same as empty.
    pub data: Option<&'a [u8]>,
}

/// A link to another block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// The block it leads to.
    pub cid: Cid,
    /// Its name: empty in files, the entry's name in directories. Bytes, because Linux names need not be UTF-8.
    pub name: &'a [u8],
    /// Length in bytes of the block and everything below it, as the importer claims. Advice: nothing proves it.
    pub tsize: Option<u64>,
}

/// Reads a node.
///
/// # Errors
/// [`Error::DagPb`] with the place. Never panics, and allocates in proportion to the block.
pub fn decode(block: &[u8]) -> Result<Node<'_>, Error> {
    let mut reader = Reader { block, at: 0 };
    let mut node = Node::default();
    let mut links_ended = false;
    while let Some(tag) = reader.tag()? {
        match tag {
            TAG_LINKS => {
                if links_ended {
                    return Err(reader.refuse("links on both sides of the data"));
                }
                if node.links.len() >= LINKS_PER_NODE_MAX {
                    return Err(reader.refuse("too many links"));
                }
                let bytes = reader.bytes()?;
                node.links
                    .push(decode_link(bytes, reader.at - bytes.len())?);
            }
            TAG_DATA => {
                if node.data.is_some() {
                    return Err(reader.refuse("two data fields"));
                }
                links_ended = !node.links.is_empty();
                node.data = Some(reader.bytes()?);
            }
            _ => return Err(reader.refuse("unknown field in the node")),
        }
    }
    Ok(node)
}

/// Writes a node in its canonical form. A Tsize that is `None` is left out; a name is always written.
#[must_use]
pub fn encode(node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(node.links.len() * 64 + node.data.map_or(0, <[u8]>::len) + 16);
    for link in &node.links {
        let cid = link.cid.to_bytes();
        let length = field_length(cid.len())
            + field_length(link.name.len())
            + link.tsize.map_or(0, |tsize| 1 + varint::length(tsize));
        out.push(TAG_LINKS);
        varint::write(length as u64, &mut out);
        write_bytes(TAG_HASH, &cid, &mut out);
        write_bytes(TAG_NAME, link.name, &mut out);
        if let Some(tsize) = link.tsize {
            out.push(TAG_TSIZE);
            varint::write(tsize, &mut out);
        }
    }
    if let Some(data) = node.data {
        write_bytes(TAG_DATA, data, &mut out);
    }
    out
}

const TAG_LINKS: u8 = 0x12;
const TAG_DATA: u8 = 0x0a;
const TAG_HASH: u8 = 0x0a;
const TAG_NAME: u8 = 0x12;
const TAG_TSIZE: u8 = 0x18;

fn decode_link(bytes: &[u8], base: usize) -> Result<Link<'_>, Error> {
    let mut reader = Reader {
        block: bytes,
        at: 0,
    };
    let placed = |error: Error| match error {
        Error::DagPb { offset, reason } => Error::DagPb {
            offset: base + offset,
            reason,
        },
        other => other,
    };
    let mut read = || -> Result<Link<'_>, Error> {
        let (mut hash, mut name, mut tsize) = (None, None, None);
        while let Some(tag) = reader.tag()? {
            match tag {
                TAG_HASH if hash.is_none() && name.is_none() && tsize.is_none() => {
                    let start = reader.at;
                    let cid = cid::from_bytes(reader.bytes()?);
                    hash = Some(cid.map_err(|_| Error::DagPb {
                        offset: start,
                        reason: "the hash of a link is no CID",
                    })?);
                }
                TAG_NAME if name.is_none() && tsize.is_none() => name = Some(reader.bytes()?),
                TAG_TSIZE if tsize.is_none() => tsize = Some(reader.varint()?),
                _ => return Err(reader.refuse("unknown, repeated or misplaced field in a link")),
            }
        }
        let cid = hash.ok_or(reader.refuse("a link without a hash"))?;
        Ok(Link {
            cid,
            name: name.unwrap_or_default(),
            tsize,
        })
    };
    read().map_err(placed)
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn refuse(&self, reason: &'static str) -> Error {
        Error::DagPb {
            offset: self.at,
            reason,
        }
    }

    /// The next field's tag, or `None` at the end. All tags of dag-pb are one byte.
    fn tag(&mut self) -> Result<Option<u8>, Error> {
        if self.at == self.block.len() {
            return Ok(None);
        }
        match self.varint()? {
            tag @ 0..=0x7f => Ok(Some(tag as u8)),
            _ => Err(self.refuse("unknown field")),
        }
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let (value, length) =
            varint::read(&self.block[self.at..]).ok_or(self.refuse("a bad integer"))?;
        self.at += length;
        Ok(value)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.varint()?;
        let rest = &self.block[self.at..];
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= rest.len());
        let length = length.ok_or(self.refuse("a field reaches beyond the end"))?;
        self.at += length;
        Ok(&rest[..length])
    }
}

const fn field_length(length: usize) -> usize {
    1 + varint::length(length as u64) + length
}

fn write_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    varint::write(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    fn link(name: &[u8], tsize: Option<u64>) -> Link<'_> {
        Link {
            cid: cid::raw_sha256(sha256(name)),
            name,
            tsize,
        }
    }

    #[test]
    fn reads_back_what_it_writes() {
        for node in [
            Node::default(),
            Node {
                links: vec![],
                data: Some(b""),
            },
            Node {
                links: vec![link(b"", Some(7)), link(b"b", None)],
                data: None,
            },
            Node {
                links: vec![link(b"a", Some(u64::MAX))],
                data: Some(b"data"),
            },
        ] {
            assert_eq!(decode(&encode(&node)), Ok(node));
        }
    }

    #[test]
    fn data_may_come_first() {
        let links = Node {
            links: vec![link(b"", Some(7))],
            data: None,
        };
        let data = Node {
            links: vec![],
            data: Some(b"data"),
        };
        let block = [encode(&data), encode(&links)].concat();
        assert_eq!(
            decode(&block),
            Ok(Node {
                links: links.links,
                data: data.data
            })
        );
    }

    #[test]
    fn refusals_say_why() {
        let links = encode(&Node {
            links: vec![link(b"", Some(7))],
            data: None,
        });
        let data = encode(&Node {
            links: vec![],
            data: Some(b"data"),
        });
        let hash = &links[2..40];
        for (block, expected) in [
            ([&*links, &*data, &*links].concat(), "both sides"),
            ([&*data, &*data].concat(), "two data fields"),
            (b"\x1a\x00".to_vec(), "unknown field in the node"),
            (b"\x0a\x05abc".to_vec(), "beyond the end"),
            (
                b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
                "beyond the end",
            ),
            (b"\x0a".to_vec(), "bad integer"),
            (b"\x12\x00".to_vec(), "without a hash"),
            (b"\x12\x04\x0a\x02\x01\x55".to_vec(), "no CID"),
            ([b"\x12\x28", hash, b"\x0a\x00"].concat(), "misplaced"),
            ([b"\x12\x2a\x12\x00\x18\x01", hash].concat(), "misplaced"),
        ] {
            let message = decode(&block).expect_err(expected).to_string();
            assert!(message.contains(expected), "{block:02x?}: {message}");
        }
    }
}
