//! UnixFS: what the data field of a dag-pb node says, and the exact envelope of a leaf. It does not follow links.
//!
//! ```text
//! Data = 08 kind  [12 vi(n) data]  18 vi(filesize)  { 20 vi(blocksize) }*  [28 vi(hashType)] [30 vi(fanout)]
//! ```

use crate::error::Error;
use crate::limits::LINKS_PER_NODE_MAX;
use crate::varint;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes of a file, as old importers and trickle trees write leaves.
    Raw,
    /// A directory whose entries are the node's links.
    Directory,
    /// A file or a part of one.
    File,
    /// Not in use.
    Metadata,
    /// A symbolic link; its target is the data.
    Symlink,
    /// One shard of a large directory.
    HamtShard,
}

impl Kind {
    /// For messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw node",
            Self::Directory => "directory",
            Self::File => "file",
            Self::Metadata => "metadata node",
            Self::Symlink => "symlink",
            Self::HamtShard => "sharded directory",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Directory => 1,
            Self::File => 2,
            Self::Metadata => 3,
            Self::Symlink => 4,
            Self::HamtShard => 5,
        }
    }

    const fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Raw,
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Metadata,
            4 => Self::Symlink,
            5 => Self::HamtShard,
            _ => return None,
        })
    }
}

/// A decoded data field. Mode and modification time are read over: nothing here uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data<'a> {
    /// What the node is.
    pub kind: Kind,
    /// Bytes of the file, target of the symlink, or bitfield of the shard; empty if absent.
    pub data: &'a [u8],
    /// Bytes of file in and below this node.
    pub filesize: Option<u64>,
    /// Bytes of file below each link, in order.
    pub blocksizes: Vec<u64>,
    /// Hash function of a sharded directory.
    pub hash_type: Option<u64>,
    /// Width of a sharded directory.
    pub fanout: Option<u64>,
}

impl Data<'_> {
    /// A node of this kind with nothing in it.
    #[must_use]
    pub const fn empty(kind: Kind) -> Self {
        Self {
            kind,
            data: &[],
            filesize: None,
            blocksizes: Vec::new(),
            hash_type: None,
            fanout: None,
        }
    }
}

/// Reads a data field. Unknown fields are skipped, as protobuf readers do; blocksizes may be packed.
///
/// # Errors
/// [`Error::UnixFs`] with the place. Never panics, and allocates in proportion to the input.
pub fn decode(bytes: &[u8]) -> Result<Data<'_>, Error> {
    let mut reader = Reader { bytes, at: 0 };
    let mut kind = None;
    let mut data = None;
    let mut out = Data::empty(Kind::File);
    while reader.at < bytes.len() {
        let tag = reader.varint()?;
        match tag {
            0x08 => {
                let number = reader.varint()?;
                let known =
                    Kind::from_number(number).ok_or(reader.refuse("an unknown kind of node"))?;
                once(&mut kind, known, &reader)?;
            }
            0x12 => once(&mut data, reader.bytes()?, &reader)?,
            0x18 => once(&mut out.filesize, reader.varint()?, &reader)?,
            0x20 => {
                let size = reader.varint()?;
                push_size(&mut out.blocksizes, size, &reader)?;
            }
            0x22 => {
                let mut packed = Reader {
                    bytes: reader.bytes()?,
                    at: 0,
                };
                while packed.at < packed.bytes.len() {
                    let size = packed
                        .varint()
                        .map_err(|_| reader.refuse("a bad integer in the blocksizes"))?;
                    push_size(&mut out.blocksizes, size, &reader)?;
                }
            }
            0x28 => once(&mut out.hash_type, reader.varint()?, &reader)?,
            0x30 => once(&mut out.fanout, reader.varint()?, &reader)?,
            _ => reader.skip(tag)?,
        }
    }
    out.kind = kind.ok_or(reader.refuse("no kind of node"))?;
    out.data = data.unwrap_or_default();
    Ok(out)
}

/// Writes a data field in its canonical form: data only if there is any, blocksizes unpacked.
#[must_use]
pub fn encode(data: &Data<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.data.len() + 5 * data.blocksizes.len() + 32);
    out.extend_from_slice(&[0x08, data.kind.number()]);
    if !data.data.is_empty() {
        out.push(0x12);
        varint::write(data.data.len() as u64, &mut out);
        out.extend_from_slice(data.data);
    }
    let mut field = |tag: u8, value: u64| {
        out.push(tag);
        varint::write(value, &mut out);
    };
    if let Some(filesize) = data.filesize {
        field(0x18, filesize);
    }
    for &size in &data.blocksizes {
        field(0x20, size);
    }
    if let Some(hash_type) = data.hash_type {
        field(0x28, hash_type);
    }
    if let Some(fanout) = data.fanout {
        field(0x30, fanout);
    }
    out
}

/// The bytes around the payload of a canonical dag-pb leaf: a block is `head`, the payload, `tail`. Holds no heap memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope {
    bytes: [u8; 32],
    head: u8,
    tail: u8,
}

impl Envelope {
    /// No envelope: a raw leaf.
    pub const RAW_LEAF: Self = Self {
        bytes: [0; 32],
        head: 0,
        tail: 0,
    };

    /// The envelope of a leaf of `length` bytes whose kind is [`Kind::File`] or [`Kind::Raw`].
    ///
    /// ```text
    /// length > 0:  0a vi(L) 08 kind 12 vi(n)  payload  18 vi(n)        length 0:  0a 04 08 kind 18 00
    /// ```
    #[must_use]
    pub fn of_leaf(kind: Kind, length: u32) -> Self {
        let length = u64::from(length);
        let (size, size_length) = varint::encode(length);
        let size = &size[..size_length];
        let data_field = if length == 0 {
            0
        } else {
            1 + size_length as u64 + length
        };
        let (inner, inner_length) = varint::encode(2 + data_field + 1 + size_length as u64);
        let mut out = Self::RAW_LEAF;
        out.push(&[0x0a]);
        out.push(&inner[..inner_length]);
        out.push(&[0x08, kind.number()]);
        if length > 0 {
            out.push(&[0x12]);
            out.push(size);
        }
        let head = out.head;
        out.push(&[0x18]);
        out.push(size);
        Self {
            bytes: out.bytes,
            head,
            tail: out.head - head,
        }
    }

    /// Adds to the head. An envelope is at most 22 bytes long, so there is always room.
    fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.head);
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        self.head += bytes.len() as u8;
    }

    /// What comes before the payload.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.bytes[..usize::from(self.head)]
    }

    /// What comes after the payload.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.bytes[usize::from(self.head)..usize::from(self.head) + usize::from(self.tail)]
    }

    /// Bytes of head and tail together.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.head as usize + self.tail as usize
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn refuse(&self, reason: &'static str) -> Error {
        Error::UnixFs {
            offset: self.at,
            reason,
        }
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let (value, length) =
            varint::read(&self.bytes[self.at..]).ok_or(self.refuse("a bad integer"))?;
        self.at += length;
        Ok(value)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.varint()?;
        self.take(length)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.at..];
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= rest.len());
        let length = length.ok_or(self.refuse("a field reaches beyond the end"))?;
        self.at += length;
        Ok(&rest[..length])
    }

    /// Skips the value of an unknown field by its wire type.
    fn skip(&mut self, tag: u64) -> Result<(), Error> {
        match (tag >> 3, tag & 7) {
            (1..=6, _) => return Err(self.refuse("a field of the wrong type")),
            (0, _) => return Err(self.refuse("field number 0")),
            (_, 0) => drop(self.varint()?),
            (_, 1) => drop(self.take(8)?),
            (_, 2) => drop(self.bytes()?),
            (_, 5) => drop(self.take(4)?),
            _ => return Err(self.refuse("a field of a type that protobuf does not have")),
        }
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, value: T, reader: &Reader<'_>) -> Result<(), Error> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(reader.refuse("a field that comes twice")),
    }
}

fn push_size(sizes: &mut Vec<u64>, size: u64, reader: &Reader<'_>) -> Result<(), Error> {
    if sizes.len() >= LINKS_PER_NODE_MAX {
        return Err(reader.refuse("too many blocksizes"));
    }
    sizes.push(size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        let file = Data {
            filesize: Some(9),
            blocksizes: vec![4, 5],
            ..Data::empty(Kind::File)
        };
        let shard = Data {
            data: &[1, 2],
            hash_type: Some(0x22),
            fanout: Some(256),
            ..Data::empty(Kind::HamtShard)
        };
        let symlink = Data {
            data: b"target",
            filesize: Some(6),
            ..Data::empty(Kind::Symlink)
        };
        for data in [
            file,
            shard,
            symlink,
            Data::empty(Kind::Directory),
            Data::empty(Kind::Raw),
        ] {
            assert_eq!(decode(&encode(&data)), Ok(data));
        }
        assert_eq!(encode(&Data::empty(Kind::Directory)), b"\x08\x01");
    }

    #[test]
    fn packed_sizes_and_unknown_fields_are_read() {
        let mtime = b"\x38\xa4\x03\x42\x05\x08\x80\xe2\xcf\xaa";
        let bytes = [b"\x08\x02\x18\x09\x22\x02\x04\x05", &mtime[..]].concat();
        let expected = Data {
            filesize: Some(9),
            blocksizes: vec![4, 5],
            ..Data::empty(Kind::File)
        };
        assert_eq!(decode(&bytes), Ok(expected));
    }

    #[test]
    fn refusals_say_why() {
        for (bytes, expected) in [
            (&b""[..], "no kind"),
            (b"\x18\x01", "no kind"),
            (b"\x08\x09", "unknown kind"),
            (b"\x08\x02\x08\x02", "twice"),
            (b"\x08\x02\x12\x05abc", "beyond the end"),
            (b"\x08\x02\x18", "bad integer"),
            (b"\x08\x02\x22\x01\x80", "blocksizes"),
            (b"\x08\x02\x10\x01", "wrong type"),
            (b"\x08\x02\x3f", "protobuf does not have"),
            (b"\x08\x02\x00\x00", "field number 0"),
        ] {
            let message = decode(bytes).expect_err(expected).to_string();
            assert!(message.contains(expected), "{bytes:02x?}: {message}");
        }
    }

    #[test]
    fn envelopes_are_those_of_the_encoder() {
        for length in [
            0_u32, 1, 127, 128, 200, 16_383, 16_384, 262_144, 1_048_576, 2_096_896,
        ] {
            for kind in [Kind::File, Kind::Raw] {
                let payload = vec![7; length as usize];
                let data = Data {
                    data: &payload,
                    filesize: Some(u64::from(length)),
                    ..Data::empty(kind)
                };
                let node = crate::dag_pb::Node {
                    links: vec![],
                    data: Some(&encode(&data)),
                };
                let envelope = Envelope::of_leaf(kind, length);
                let block = [envelope.head(), &payload, envelope.tail()].concat();
                assert_eq!(block, crate::dag_pb::encode(&node), "{length}");
                assert_eq!(block.len(), payload.len() + envelope.length());
            }
        }
        assert_eq!(Envelope::of_leaf(Kind::File, 262_144).length(), 14);
    }
}
