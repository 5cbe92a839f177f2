//! The header of a version 1 CAR: just enough DAG-CBOR for `{roots: [CID...], version: 1}`. Nothing nests, nothing is
//! allocated by a length that the bytes only claim.

use crate::cid::{self, Cid};
use crate::limits::CAR_ROOTS_MAX;

/// Where in the header, and why.
type Refusal = (usize, &'static str);

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
/// The CBOR tag of a CID.
const CID_TAG: u64 = 42;

/// The roots. The keys may come in any order; `roots` may be missing.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Cid>, Refusal> {
    let mut reader = Reader { bytes, at: 0 };
    let mut version = None;
    let mut roots = None;
    for _ in 0..reader.expect(MAP, "the header is not a map")? {
        let length = reader.expect(TEXT, "a key of the header is not text")?;
        match reader.take(length)? {
            b"version" if version.is_none() => {
                version = Some(reader.expect(UNSIGNED, "the version is not a number")?)
            }
            b"roots" if roots.is_none() => roots = Some(reader.roots()?),
            _ => return Err(reader.refuse("an unknown or repeated key in the header")),
        }
    }
    if reader.at != bytes.len() {
        return Err(reader.refuse("bytes after the header's map"));
    }
    match version {
        Some(1) => Ok(roots.unwrap_or_default()),
        Some(_) => Err((0, "its version is not 1 or 2")),
        None => Err((0, "the header has no version")),
    }
}

/// Whether a header can begin with this byte.
pub(super) const fn begins(first: u8) -> bool {
    first >> 5 == MAP
}

/// The canonical header.
pub(super) fn encode(roots: &[Cid]) -> Vec<u8> {
    let mut out = vec![0xa2, 0x65];
    out.extend_from_slice(b"roots");
    write_head(ARRAY, roots.len() as u64, &mut out);
    for root in roots {
        let cid = root.to_bytes();
        write_head(TAG, CID_TAG, &mut out);
        write_head(BYTES, cid.len() as u64 + 1, &mut out);
        // The zero is the multibase prefix of binary, which a CID in CBOR has for historical reasons.
        out.push(0);
        out.extend_from_slice(&cid);
    }
    out.push(0x67);
    out.extend_from_slice(b"version\x01");
    out
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn refuse(&self, reason: &'static str) -> Refusal {
        (self.at, reason)
    }

    /// The argument of the next item, which must be of this major type.
    fn expect(&mut self, major: u8, reason: &'static str) -> Result<u64, Refusal> {
        let start = self.at;
        let head = self.take(1)?[0];
        if head >> 5 != major {
            return Err((start, reason));
        }
        let low = head & 0x1f;
        match low {
            0..=23 => Ok(u64::from(low)),
            24..=27 => {
                let bytes = self.take(1 << (low - 24))?;
                Ok(bytes
                    .iter()
                    .fold(0, |value, &byte| value << 8 | u64::from(byte)))
            }
            _ => Err((start, "an item of indefinite length")),
        }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Refusal> {
        let rest = &self.bytes[self.at..];
        let length = usize::try_from(length)
            .ok()
            .filter(|&length| length <= rest.len());
        let length = length.ok_or(self.refuse("an item reaches beyond the header"))?;
        self.at += length;
        Ok(&rest[..length])
    }

    fn roots(&mut self) -> Result<Vec<Cid>, Refusal> {
        let count = self.expect(ARRAY, "the roots are not a list")?;
        if count > CAR_ROOTS_MAX as u64 {
            return Err(self.refuse("too many roots"));
        }
        let mut out = Vec::new();
        for _ in 0..count {
            let start = self.at;
            if self.expect(TAG, "a root is not a CID")? != CID_TAG {
                return Err((start, "a root is not a CID"));
            }
            let length = self.expect(BYTES, "a root is not a CID")?;
            let cid = self
                .take(length)?
                .strip_prefix(&[0])
                .and_then(|bytes| cid::from_bytes(bytes).ok());
            out.push(cid.ok_or((start, "a root is not a CID"))?);
        }
        Ok(out)
    }
}

fn write_head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match value {
        0..=23 => out.push(major | value as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, value as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
