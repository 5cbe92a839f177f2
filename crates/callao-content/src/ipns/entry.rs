//! The protobuf around a record (`IpnsEntry`): which field holds what. Proves nothing.

use crate::varint;

/// Fields as they stand in the message; a number that is not there is 0.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) value: Option<&'a [u8]>,
    pub(super) signature_v1: Option<&'a [u8]>,
    pub(super) validity_type: u64,
    pub(super) validity: Option<&'a [u8]>,
    pub(super) sequence: u64,
    pub(super) ttl: u64,
    pub(super) public_key: Option<&'a [u8]>,
    pub(super) signature_v2: Option<&'a [u8]>,
    pub(super) data: Option<&'a [u8]>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of fixed length: no field of ours.
    Other,
}

impl<'a> Entry<'a> {
    /// `None` if it is no protobuf. Fields that are not known are passed over; of a field that is there twice the last one
    /// counts; an empty one is as good as none.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut entry = Entry::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, field) = next(&mut rest)?;
            match (number, field) {
                (1, Field::Bytes(value)) => entry.value = some(value),
                (2, Field::Bytes(signature)) => entry.signature_v1 = some(signature),
                (3, Field::Number(kind)) => entry.validity_type = kind,
                (4, Field::Bytes(validity)) => entry.validity = some(validity),
                (5, Field::Number(sequence)) => entry.sequence = sequence,
                (6, Field::Number(ttl)) => entry.ttl = ttl,
                (7, Field::Bytes(key)) => entry.public_key = some(key),
                (8, Field::Bytes(signature)) => entry.signature_v2 = some(signature),
                (9, Field::Bytes(data)) => entry.data = some(data),
                (1..=9, _) => return None,
                _ => {}
            }
        }
        Some(entry)
    }

    /// Whether it has copies of what is signed, for programs that know no signature of version 2.
    pub(super) const fn has_legacy_copies(&self) -> bool {
        self.value.is_some() || self.signature_v1.is_some()
    }
}

fn some(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

/// Takes the next field off the front.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = number(rest)?;
    let field = match tag & 7 {
        0 => Field::Number(number(rest)?),
        1 => take(rest, 8).map(|_| Field::Other)?,
        2 => {
            let length = number(rest)?;
            Field::Bytes(take(rest, length)?)
        }
        5 => take(rest, 4).map(|_| Field::Other)?,
        _ => return None,
    };
    Some((tag >> 3, field))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (value, length) = varint::read(rest)?;
    *rest = &rest[length..];
    Some(value)
}

fn take<'a>(rest: &mut &'a [u8], count: u64) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(usize::try_from(count).ok()?)?;
    *rest = left;
    Some(taken)
}
