//! Bitswap messages as the tests write and read them. Written apart from the node's own code on purpose, so that the two do
//! not share a mistake; writes nonsense as readily as sense.

use callao_content::{Cid, cid};
use callao_testkit::dag::put_varint;

/// What a line of a wantlist asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Block,
    Have,
    Cancel,
}

/// One message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speech {
    pub(crate) wants: Vec<(Cid, Ask)>,
    pub(crate) full: bool,
    /// Prefix and data.
    pub(crate) blocks: Vec<(Vec<u8>, Vec<u8>)>,
    /// `true`: has it.
    pub(crate) presences: Vec<(Cid, bool)>,
}

impl Speech {
    pub(crate) fn wants(cids: impl IntoIterator<Item = Cid>) -> Self {
        Speech {
            wants: cids.into_iter().map(|cid| (cid, Ask::Block)).collect(),
            ..Speech::default()
        }
    }

    /// Honest blocks.
    pub(crate) fn blocks(blocks: impl IntoIterator<Item = (Cid, Vec<u8>)>) -> Self {
        let named = |(cid, data): (Cid, Vec<u8>)| (prefix(&cid), data);
        Speech {
            blocks: blocks.into_iter().map(named).collect(),
            ..Speech::default()
        }
    }

    /// With its length before it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut list = Vec::new();
        for (cid, ask) in &self.wants {
            let mut line = Vec::new();
            bytes(&mut line, 1, &cid.to_bytes());
            number(&mut line, 2, 1);
            number(&mut line, 3, u64::from(*ask == Ask::Cancel));
            number(&mut line, 4, u64::from(*ask == Ask::Have));
            number(&mut line, 5, 1);
            bytes(&mut list, 1, &line);
        }
        number(&mut list, 2, u64::from(self.full));
        let mut body = Vec::new();
        bytes(&mut body, 1, &list);
        for (prefix, data) in &self.blocks {
            let mut payload = Vec::new();
            bytes(&mut payload, 1, prefix);
            bytes(&mut payload, 2, data);
            bytes(&mut body, 3, &payload);
        }
        for (cid, has) in &self.presences {
            let mut line = Vec::new();
            bytes(&mut line, 1, &cid.to_bytes());
            number(&mut line, 2, u64::from(!has));
            bytes(&mut body, 4, &line);
        }
        framed(&body)
    }

    /// Without the length before it.
    pub(crate) fn decode(message: &[u8]) -> Self {
        let mut speech = Speech::default();
        for (field, value) in fields(message) {
            let inner = fields(&value.1);
            let bytes = |wanted: u64| inner.iter().find(|(field, _)| *field == wanted);
            let number = |wanted: u64| bytes(wanted).map_or(0, |(_, value)| value.0);
            let data = |wanted: u64| bytes(wanted).map(|(_, value)| value.1.clone());
            match field {
                1 => {
                    speech.full = number(2) != 0;
                    for (_, line) in inner.iter().filter(|(field, _)| *field == 1) {
                        speech.wants.push(want(&line.1));
                    }
                }
                3 => speech
                    .blocks
                    .push((data(1).unwrap_or_default(), data(2).unwrap_or_default())),
                4 => {
                    let about = cid::from_bytes(&data(1).expect("a CID")).expect("a CID");
                    speech.presences.push((about, number(2) == 0));
                }
                _ => {}
            }
        }
        speech
    }
}

/// `01 55 12 20` and the like.
pub(crate) fn prefix(cid: &Cid) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(
        &mut out,
        u64::from(cid.version() == callao_content::cid::Version::V1),
    );
    put_varint(&mut out, cid.codec());
    put_varint(&mut out, cid.hash().code());
    put_varint(&mut out, u64::from(cid.hash().size()));
    out
}

/// A body with its length before it.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    out
}

fn want(line: &[u8]) -> (Cid, Ask) {
    let (mut wanted, mut ask) = (None, Ask::Block);
    for (field, value) in fields(line) {
        match field {
            1 => wanted = cid::from_bytes(&value.1).ok(),
            3 if value.0 != 0 => ask = Ask::Cancel,
            4 if value.0 != 0 && ask != Ask::Cancel => ask = Ask::Have,
            _ => {}
        }
    }
    (wanted.expect("a CID"), ask)
}

fn bytes(out: &mut Vec<u8>, field: u64, data: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

/// Field, and its number or its bytes. Nothing where it is no protobuf.
fn fields(mut rest: &[u8]) -> Vec<(u64, (u64, Vec<u8>))> {
    let mut out = Vec::new();
    while let Some(key) = varint(&mut rest) {
        let Some(value) = varint(&mut rest) else {
            break;
        };
        if key & 7 == 2 {
            let Some((data, tail)) = rest.split_at_checked(value as usize) else {
                break;
            };
            rest = tail;
            out.push((key >> 3, (0, data.to_vec())));
        } else {
            out.push((key >> 3, (value, Vec::new())));
        }
    }
    out
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
