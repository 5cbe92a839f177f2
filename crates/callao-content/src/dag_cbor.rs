//! dag-cbor: the links in a block, which of them a path leads to, and the plain fields of a map. It keeps nothing else of
//! what it reads, never recurses, and allocates by what is there, not by what a length claims.

use crate::cid::{self, Cid};
use crate::error::Error;

const NUMBER: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
/// The CBOR tag of a CID.
const CID_TAG: u64 = 42;

/// Every link, in the order of the block.
///
/// # Errors
/// [`Error::DagCbor`] with the place.
pub fn links(block: &[u8]) -> Result<Vec<Cid>, Error> {
    let mut reader = Reader { block, at: 0 };
    let mut links = Vec::new();
    reader.skip(&mut |link| links.push(link))?;
    if reader.at == block.len() {
        Ok(links)
    } else {
        Err(reader.refuse("bytes after the end"))
    }
}

/// Follows a path through maps (by key) and lists (by number) to the first link on it: the link, and how many segments it
/// took. `None` if the path leads nowhere, or ends before a link.
///
/// # Errors
/// [`Error::DagCbor`] with the place.
pub fn follow(block: &[u8], path: &[&str]) -> Result<Option<(Cid, usize)>, Error> {
    let mut reader = Reader { block, at: 0 };
    let mut used = 0;
    loop {
        let (major, count) = reader.head()?;
        if major == TAG && count == CID_TAG {
            return Ok(Some((reader.link()?, used)));
        }
        let Some(segment) = path.get(used) else {
            return Ok(None);
        };
        let found = match major {
            MAP => reader.find_key(count, segment)?,
            ARRAY => reader.find_item(count, segment)?,
            _ => false,
        };
        if !found {
            return Ok(None);
        }
        used += 1;
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number that is not negative.
    Number(u64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Something else.
    Other,
}

/// The keys and values of a block that is a map, in its order. No key is there twice.
///
/// # Errors
/// [`Error::DagCbor`] with the place.
pub fn fields(block: &[u8]) -> Result<Vec<(&[u8], Field<'_>)>, Error> {
    let mut reader = Reader { block, at: 0 };
    let (major, count) = reader.head()?;
    if major != MAP {
        return Err(reader.refuse("not a map"));
    }
    let mut fields: Vec<(&[u8], Field<'_>)> = Vec::new();
    for _ in 0..count {
        let (major, length) = reader.head()?;
        if major != TEXT {
            return Err(reader.refuse("a key that is not text"));
        }
        let key = reader.take(length)?;
        if fields.iter().any(|(known, _)| *known == key) {
            return Err(reader.refuse("a key that is there twice"));
        }
        fields.push((key, reader.field()?));
    }
    match reader.at == block.len() {
        true => Ok(fields),
        false => Err(reader.refuse("bytes after the end")),
    }
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn refuse(&self, reason: &'static str) -> Error {
        Error::DagCbor {
            offset: self.at,
            reason,
        }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Error> {
        let rest = &self.block[self.at..];
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let taken = rest.get(..count).ok_or(self.refuse("it ends too early"))?;
        self.at += count;
        Ok(taken)
    }

    /// Major type and argument of the next item.
    fn head(&mut self) -> Result<(u8, u64), Error> {
        let first = self.take(1)?[0];
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            wide @ 24..=27 => {
                let bytes = self.take(1 << (wide - 24))?;
                bytes
                    .iter()
                    .fold(0, |value, byte| value << 8 | u64::from(*byte))
            }
            _ => return Err(self.refuse("a length that is not stated")),
        };
        Ok((first >> 5, argument))
    }

    /// The CID after its tag. The zero is the multibase prefix of binary, which a CID in CBOR has for historical reasons.
    fn link(&mut self) -> Result<Cid, Error> {
        let (major, length) = self.head()?;
        let start = self.at;
        let bytes = self.take(length)?.strip_prefix(&[0]);
        let cid = bytes.filter(|_| major == BYTES).map(cid::from_bytes);
        match cid {
            Some(Ok(cid)) => Ok(cid),
            _ => Err(Error::DagCbor {
                offset: start,
                reason: "a link is no CID",
            }),
        }
    }

    /// Passes over one item and everything in it.
    fn skip(&mut self, found: &mut dyn FnMut(Cid)) -> Result<(), Error> {
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            let (major, argument) = self.head()?;
            match major {
                BYTES | TEXT => {
                    self.take(argument)?;
                }
                ARRAY | MAP => {
                    // Every item takes a byte at least.
                    if argument > (self.block.len() - self.at) as u64 {
                        return Err(self.refuse("it ends too early"));
                    }
                    left += if major == MAP { 2 * argument } else { argument };
                }
                TAG if argument == CID_TAG => found(self.link()?),
                TAG => left += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// The next item, if it is a plain one; whatever else it is, it is passed over.
    fn field(&mut self) -> Result<Field<'a>, Error> {
        let start = self.at;
        match self.head()? {
            (NUMBER, number) => Ok(Field::Number(number)),
            (BYTES, length) => Ok(Field::Bytes(self.take(length)?)),
            _ => {
                self.at = start;
                self.skip(&mut |_| {})?;
                Ok(Field::Other)
            }
        }
    }

    /// Goes to the value of a key.
    fn find_key(&mut self, count: u64, wanted: &str) -> Result<bool, Error> {
        for _ in 0..count {
            let (major, length) = self.head()?;
            if major != TEXT {
                return Err(self.refuse("a key that is not text"));
            }
            if self.take(length)? == wanted.as_bytes() {
                return Ok(true);
            }
            self.skip(&mut |_| {})?;
        }
        Ok(false)
    }

    /// Goes to an item of a list.
    fn find_item(&mut self, count: u64, wanted: &str) -> Result<bool, Error> {
        let is_number = wanted == "0" || !wanted.starts_with(['0', '+']);
        let index = wanted.parse::<u64>().ok().filter(|_| is_number);
        let Some(index) = index.filter(|index| *index < count) else {
            return Ok(false);
        };
        for _ in 0..index {
            self.skip(&mut |_| {})?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    fn link() -> Vec<u8> {
        let cid = cid::parse(CID).expect("a CID").to_bytes();
        [&[0xd8, 42, 0x58, cid.len() as u8 + 1, 0][..], &cid].concat()
    }

    /// `{"a": LINK, "list": [1, {"x": LINK}], "n": -5, "f": 1.5, "none": null}`
    fn sample() -> Vec<u8> {
        [
            &[0xa5, 0x61, b'a'][..],
            &link(),
            b"\x64list\x82\x01\xa1\x61x",
            &link(),
            b"\x61n\x24\x61f\xfb\x3f\xf8\0\0\0\0\0\0\x64none\xf6",
        ]
        .concat()
    }

    #[test]
    fn links_are_found_wherever_they_stand() {
        let cid = cid::parse(CID).expect("a CID");
        assert_eq!(links(&sample()), Ok(vec![cid, cid]));
        assert_eq!(links(&link()), Ok(vec![cid]));
        assert_eq!(links(&[0xa0]), Ok(vec![]));
    }

    #[test]
    fn paths_lead_through_maps_and_lists() {
        let (block, cid) = (sample(), cid::parse(CID).expect("a CID"));
        for (path, wanted) in [
            (&["a"][..], Some((cid, 1))),
            (&["a", "further"], Some((cid, 1))),
            (&["list", "1", "x"], Some((cid, 3))),
            (&["list", "1"], None),
            (&["list", "01", "x"], None),
            (&["list", "2"], None),
            (&["list", "x"], None),
            (&["n"], None),
            (&["n", "x"], None),
            (&["nothing"], None),
            (&[], None),
        ] {
            assert_eq!(follow(&block, path), Ok(wanted), "{path:?}");
        }
    }

    #[test]
    fn the_fields_of_a_map_are_read() {
        let block = b"\xa4\x61n\x18\x2a\x61b\x42xy\x61t\x61z\x61l\x82\x01\x02";
        let wanted: [(&[u8], Field<'_>); 4] = [
            (b"n", Field::Number(42)),
            (b"b", Field::Bytes(b"xy")),
            (b"t", Field::Other),
            (b"l", Field::Other),
        ];
        assert_eq!(fields(block).expect("a map"), wanted);
        assert_eq!(fields(b"\xa0").expect("a map"), []);
        for (block, message) in [
            (&b"\x81\x01"[..], "not dag-cbor: not a map (byte 1)"),
            (
                b"\xa1\x01\x01",
                "not dag-cbor: a key that is not text (byte 2)",
            ),
            (
                b"\xa2\x61a\x01\x61a\x02",
                "not dag-cbor: a key that is there twice (byte 6)",
            ),
            (b"\xa0\x01", "not dag-cbor: bytes after the end (byte 1)"),
            (
                b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
                "not dag-cbor: it ends too early (byte 9)",
            ),
        ] {
            assert_eq!(fields(block).expect_err(message).to_string(), message);
        }
    }

    #[test]
    fn what_is_no_dag_cbor_is_refused_at_its_place() {
        let cut = &sample()[..20];
        let cases: [(&[u8], &str); 8] = [
            (b"", "not dag-cbor: it ends too early (byte 0)"),
            (cut, "not dag-cbor: it ends too early (byte 7)"),
            (
                b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
                "not dag-cbor: it ends too early (byte 9)",
            ),
            (
                b"\xbb\x7f\xff\xff\xff\xff\xff\xff\xff",
                "not dag-cbor: it ends too early (byte 9)",
            ),
            (
                b"\x9f\x01\xff",
                "not dag-cbor: a length that is not stated (byte 1)",
            ),
            (
                b"\xd8\x2a\x41\x00",
                "not dag-cbor: a link is no CID (byte 3)",
            ),
            (b"\xd8\x2a\x01", "not dag-cbor: it ends too early (byte 3)"),
            (b"\x01\x01", "not dag-cbor: bytes after the end (byte 1)"),
        ];
        for (block, message) in cases {
            let error = links(block).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
        let keyed = follow(b"\xa1\x01\x01", &["a"]).expect_err("a key");
        assert_eq!(
            keyed.to_string(),
            "not dag-cbor: a key that is not text (byte 2)"
        );
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        let mut deep = vec![0x81; 1 << 20];
        deep.push(0xf6);
        assert_eq!(links(&deep), Ok(vec![]));
    }
}
