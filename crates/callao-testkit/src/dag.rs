//! A second, small reading of dag-pb and UnixFS, for the fakes alone: the links of a node and what kind of node it is.
//!
//! Written apart from `callao-content` on purpose, so that a fake does not share a mistake with what it tests. Reads only
//! honest blocks: anything else is `None`.

use callao_content::{Cid, cid};

/// One link of a node.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it leads.
    pub cid: Cid,
    /// Empty within a file.
    pub name: String,
}

/// What a dag-pb block says.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// In order.
    pub links: Vec<Link>,
    /// UnixFS type: 0 raw, 1 directory, 2 file, 5 HAMT shard.
    pub kind: u64,
    /// Bytes of the file below.
    pub file_size: u64,
    /// Bytes of the file below each link.
    pub block_sizes: Vec<u64>,
}

/// Reads a dag-pb block with UnixFS data.
pub fn read(block: &[u8]) -> Option<Node> {
    let mut node = Node::default();
    for (field, value) in fields(block)? {
        match (field, value) {
            (2, Value::Bytes(link)) => node.links.push(read_link(link)?),
            (1, Value::Bytes(data)) => {
                for (field, value) in fields(data)? {
                    match (field, value) {
                        (1, Value::Number(kind)) => node.kind = kind,
                        (3, Value::Number(size)) => node.file_size = size,
                        (4, Value::Number(size)) => node.block_sizes.push(size),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(node)
}

fn read_link(bytes: &[u8]) -> Option<Link> {
    let (mut target, mut name) = (None, String::new());
    for (field, value) in fields(bytes)? {
        match (field, value) {
            (1, Value::Bytes(hash)) => target = cid::from_bytes(hash).ok(),
            (2, Value::Bytes(text)) => name = String::from_utf8(text.to_vec()).ok()?,
            _ => {}
        }
    }
    Some(Link { cid: target?, name })
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn fields(mut rest: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let number = varint(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(number),
            2 => {
                let (bytes, tail) = rest.split_at_checked(usize::try_from(number).ok()?)?;
                rest = tail;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        out.push((key >> 3, value));
    }
    Some(out)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// `value` as an unsigned LEB128.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The header of a CARv1 with one root.
pub fn car_header(root: &Cid) -> Vec<u8> {
    let bytes = root.to_bytes();
    let mut cbor = vec![0xa2, 0x65];
    cbor.extend_from_slice(b"roots");
    cbor.extend_from_slice(&[0x81, 0xd8, 0x2a, 0x58, (bytes.len() + 1) as u8, 0]);
    cbor.extend_from_slice(&bytes);
    cbor.push(0x67);
    cbor.extend_from_slice(b"version");
    cbor.push(1);
    let mut out = Vec::new();
    put_varint(&mut out, cbor.len() as u64);
    out.extend(cbor);
    out
}

/// One section of a CAR.
pub fn car_section(block_cid: &Cid, block: &[u8]) -> Vec<u8> {
    let bytes = block_cid.to_bytes();
    let mut out = Vec::with_capacity(block.len() + bytes.len() + 5);
    put_varint(&mut out, (bytes.len() + block.len()) as u64);
    out.extend(bytes);
    out.extend_from_slice(block);
    out
}
