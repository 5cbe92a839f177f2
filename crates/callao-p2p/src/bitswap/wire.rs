//! Bitswap 1.2.0 messages, as bytes: protobuf by hand, blocks as slices of what arrived. Pure; opens no stream.
//!
//! ```text
//! Message { 1 wantlist { 1 entry* { 1 cid, 2 priority, 3 cancel, 4 wantType, 5 sendDontHave }, 2 full },
//!           3 payload* { 1 prefix, 2 data }, 4 blockPresences* { 1 cid, 2 type }, 5 pendingBytes }
//! prefix  = varints version, codec, multihash code, multihash length
//! ```
//! (bitswap specification; kubo and Helia agree.) Every message that is written has a wantlist field, empty or not:
//! one js client dies without it. Field 2 (blocks of version 1.0.0) is skipped.

use bytes::Bytes;
use callao_content::Cid;
use callao_content::cid;
use callao_content::limits::{BLOCK_SIZE_BYTES_MAX, CID_BYTES_MAX};

/// One line of a wantlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub cid: Cid,
    pub priority: i32,
    pub what: Asked,
    /// Say so if it is not here.
    pub send_dont_have: bool,
}

/// What is asked about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Block,
    Have,
    /// Nothing any more.
    Cancel,
}

/// Whether somebody has a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Have,
    DontHave,
}

/// A block as it was sent: nothing is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub prefix: Prefix,
    pub data: Bytes,
}

/// A CID without its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    pub version: u64,
    pub codec: u64,
    pub hash: u64,
    pub length: u64,
}

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub entries: Vec<Entry>,
    /// The entries replace what was wanted before.
    pub full: bool,
    pub blocks: Vec<Block>,
    pub presences: Vec<(Cid, Presence)>,
}

/// Bytes that are no message. The stream is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a field is cut short")]
    Cut,
    #[error("a number that does not end")]
    Varint,
    #[error("an unknown kind of field")]
    WireType,
    #[error("a prefix that names no CID")]
    Prefix,
    #[error("a block over 2 MiB")]
    Block,
}

impl Prefix {
    /// The prefix of a CID.
    pub(crate) fn of(cid: &Cid) -> Self {
        Prefix {
            version: u64::from(cid.version()),
            codec: cid.codec(),
            hash: cid.hash().code(),
            length: cid.hash().digest().len() as u64,
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut rest = Rest(bytes);
        let mut next = || rest.varint().map_err(|_| Malformed::Prefix);
        let prefix = Prefix {
            version: next()?,
            codec: next()?,
            hash: next()?,
            length: next()?,
        };
        let v0 = prefix.codec == cid::DAG_PB && prefix.hash == cid::SHA2_256 && prefix.length == 32;
        let known = prefix.version == 1 || (prefix.version == 0 && v0);
        if rest.0.is_empty() && known {
            Ok(prefix)
        } else {
            Err(Malformed::Prefix)
        }
    }
}

/// Reads one message, without its length. CIDs that callao cannot read are left out, as boxo does it with long ones.
pub(crate) fn decode(bytes: &Bytes) -> Result<Message, Malformed> {
    let mut message = Message::default();
    let mut rest = Rest(bytes);
    while let Some((field, value)) = rest.field()? {
        match (field, value) {
            (1, Value::Bytes(list)) => read_wantlist(list, &mut message)?,
            (3, Value::Bytes(payload)) => {
                if let Some(block) = read_payload(bytes, payload)? {
                    message.blocks.push(block);
                }
            }
            (4, Value::Bytes(presence)) => {
                if let Some(presence) = read_presence(presence)? {
                    message.presences.push(presence);
                }
            }
            _ => {}
        }
    }
    Ok(message)
}

fn read_wantlist(list: &[u8], message: &mut Message) -> Result<(), Malformed> {
    let mut rest = Rest(list);
    while let Some((field, value)) = rest.field()? {
        match (field, value) {
            (1, Value::Bytes(entry)) => message.entries.extend(read_entry(entry)?),
            (2, Value::Number(full)) => message.full = full != 0,
            _ => {}
        }
    }
    Ok(())
}

fn read_entry(entry: &[u8]) -> Result<Option<Entry>, Malformed> {
    let mut rest = Rest(entry);
    let (mut wanted, mut priority, mut cancel, mut have, mut tell) = (None, 1, false, false, false);
    while let Some((field, value)) = rest.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => wanted = read_cid(bytes),
            // Negative numbers are written as 64 bits.
            (2, Value::Number(number)) => priority = number as i32,
            (3, Value::Number(number)) => cancel = number != 0,
            (4, Value::Number(number)) => have = number == 1,
            (5, Value::Number(number)) => tell = number != 0,
            _ => {}
        }
    }
    Ok(wanted.map(|cid| Entry {
        cid,
        priority,
        what: match (cancel, have) {
            (true, _) => Asked::Cancel,
            (false, true) => Asked::Have,
            (false, false) => Asked::Block,
        },
        send_dont_have: tell,
    }))
}

fn read_payload(message: &Bytes, payload: &[u8]) -> Result<Option<Block>, Malformed> {
    let mut rest = Rest(payload);
    let (mut prefix, mut data) = (None, Bytes::new());
    while let Some((field, value)) = rest.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => prefix = Some(Prefix::decode(bytes)?),
            (2, Value::Bytes(bytes)) if bytes.len() > BLOCK_SIZE_BYTES_MAX => {
                return Err(Malformed::Block);
            }
            (2, Value::Bytes(bytes)) => data = message.slice_ref(bytes),
            _ => {}
        }
    }
    let prefix = prefix.ok_or(Malformed::Prefix)?;
    Ok(Some(Block { prefix, data }))
}

fn read_presence(presence: &[u8]) -> Result<Option<(Cid, Presence)>, Malformed> {
    let mut rest = Rest(presence);
    let (mut about, mut kind) = (None, Presence::Have);
    while let Some((field, value)) = rest.field()? {
        match (field, value) {
            (1, Value::Bytes(bytes)) => about = read_cid(bytes),
            (2, Value::Number(1)) => kind = Presence::DontHave,
            _ => {}
        }
    }
    Ok(about.map(|cid| (cid, kind)))
}

fn read_cid(bytes: &[u8]) -> Option<Cid> {
    (bytes.len() <= CID_BYTES_MAX)
        .then(|| cid::from_bytes(bytes).ok())
        .flatten()
}

/// What of a message has not been read yet.
struct Rest<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Skipped,
}

impl<'a> Rest<'a> {
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Skipped)?,
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| Malformed::Cut)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Skipped)?,
            _ => return Err(Malformed::WireType),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed::Cut)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed::Varint)
    }
}

/// A message of wants, with its length before it.
pub(crate) fn encode_wants(entries: &[Entry], full: bool) -> Vec<u8> {
    let mut list = Vec::with_capacity(entries.len() * 64);
    for entry in entries {
        let mut line = Vec::with_capacity(64);
        put_bytes(&mut line, 1, &entry.cid.to_bytes());
        put_number(&mut line, 2, i64::from(entry.priority) as u64);
        put_number(&mut line, 3, u64::from(entry.what == Asked::Cancel));
        put_number(&mut line, 4, u64::from(entry.what == Asked::Have));
        put_number(&mut line, 5, u64::from(entry.send_dont_have));
        put_bytes(&mut list, 1, &line);
    }
    put_number(&mut list, 2, u64::from(full));
    let mut body = Vec::with_capacity(list.len() + 8);
    put_bytes(&mut body, 1, &list);
    let mut out = Vec::with_capacity(body.len() + 4);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(&body);
    out
}

/// A message of blocks and presences, in pieces that are written one after the other: what stands before each block,
/// and at the end the rest. The blocks themselves are not copied.
pub(crate) struct Reply {
    /// One per block: written before it.
    pub heads: Vec<Vec<u8>>,
    /// Written after the last block; a message without blocks is only this.
    pub tail: Vec<u8>,
}

/// The frame of a reply to blocks of these CIDs and lengths.
pub(crate) fn encode_reply(
    blocks: &[(Cid, usize)],
    presences: &[(Cid, Presence)],
    pending_bytes: u64,
) -> Reply {
    let mut heads: Vec<Vec<u8>> = Vec::with_capacity(blocks.len());
    for (cid, length) in blocks {
        let prefix = Prefix::of(cid);
        let mut name = Vec::with_capacity(8);
        for number in [prefix.version, prefix.codec, prefix.hash, prefix.length] {
            put_varint(&mut name, number);
        }
        let mut inner = Vec::with_capacity(16);
        put_bytes(&mut inner, 1, &name);
        put_varint(&mut inner, 2 << 3 | 2);
        put_varint(&mut inner, *length as u64);
        let mut head = Vec::with_capacity(32);
        put_varint(&mut head, 3 << 3 | 2);
        put_varint(&mut head, (inner.len() + length) as u64);
        head.extend_from_slice(&inner);
        heads.push(head);
    }
    let mut tail = Vec::new();
    for (cid, presence) in presences {
        let mut line = Vec::with_capacity(48);
        put_bytes(&mut line, 1, &cid.to_bytes());
        put_number(&mut line, 2, u64::from(*presence == Presence::DontHave));
        put_bytes(&mut tail, 4, &line);
    }
    put_number(&mut tail, 5, pending_bytes.min(i32::MAX as u64));
    let data: usize = blocks.iter().map(|(_, length)| length).sum();
    let framing: usize = heads.iter().map(Vec::len).sum();
    // The empty wantlist.
    let start = [1 << 3 | 2, 0];
    let total = start.len() + framing + data + tail.len();
    let mut first = Vec::with_capacity(40);
    put_varint(&mut first, total as u64);
    first.extend_from_slice(&start);
    match heads.first_mut() {
        Some(head) => {
            first.extend_from_slice(head);
            *head = first;
        }
        None => {
            first.extend_from_slice(&tail);
            tail = first;
        }
    }
    Reply { heads, tail }
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Nothing, if it is zero: that is what a missing field means.
fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    if number != 0 {
        put_varint(out, field << 3);
        put_varint(out, number);
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
