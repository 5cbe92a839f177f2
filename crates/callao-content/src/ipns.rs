//! Signed records of `/ipns` names: reading one and proving that the key of its name signed it (IPNS Record
//! specification). Must not know where a record came from, nor what time it is: whoever asks says so.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cid::{self, Cid, IDENTITY};
use crate::dag_cbor::{self, Field};
use crate::error::Error;
use crate::limits::{IPNS_RECORD_BYTES_MAX, IPNS_TTL_MAX, PATH_SEGMENTS_MAX};
use crate::{hash, peer_id};

mod entry;
mod key;

use entry::Entry;

/// The media type of a record (IANA; trustless gateway specification, Delegated Routing V1).
pub const MEDIA_TYPE: &str = "application/vnd.ipfs.ipns-record";
/// What is before the data in what is signed.
const SIGNED_PREFIX: &[u8] = b"ipns-signature:";

/// A record that the key of its name has signed: [`Record::verify`] is the only constructor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    name: Cid,
    bytes: Bytes,
    target: Target,
    sequence: u64,
    ttl: Duration,
    valid_until: SystemTime,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/ipfs/CID[/path]`.
    Content {
        /// The CID.
        root: Cid,
        /// What follows it.
        path: Vec<String>,
    },
    /// `/ipns/NAME[/path]`: another key's name.
    Name {
        /// The CID of the key.
        name: Cid,
        /// What follows it.
        path: Vec<String>,
    },
    /// `/ipns/DOMAIN[/path]`: something that DNS says, which nothing proves.
    Domain(String),
}

impl Record {
    /// Reads and proves a record of this name (the CID of its key, see [`peer_id::parse`]). Whether it has expired is not
    /// looked at.
    ///
    /// # Errors
    /// [`Error::Ipns`] with the reason.
    pub fn verify(name: &Cid, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > IPNS_RECORD_BYTES_MAX {
            return Err(refuse("it is larger than any record"));
        }
        let entry = Entry::read(bytes).ok_or(refuse("it is not the protobuf of one"))?;
        let (Some(signature), Some(data)) = (entry.signature_v2, entry.data) else {
            return Err(refuse("it has no signature of version 2"));
        };
        let key = public_key(name, entry.public_key)?;
        let signed = [SIGNED_PREFIX, data].concat();
        key::verify(key, &signed, signature).map_err(refuse)?;
        let fields = Fields::read(data)?;
        if entry.has_legacy_copies() && !fields.are_copied_in(&entry) {
            return Err(refuse(
                "what is signed and what is not contradict each other",
            ));
        }
        if fields.validity_type != 0 {
            return Err(refuse("it does not say until when it counts"));
        }
        Ok(Record {
            name: *name,
            bytes: Bytes::copy_from_slice(bytes),
            target: Target::read(fields.value)?,
            sequence: fields.sequence,
            ttl: Duration::from_nanos(fields.ttl).min(IPNS_TTL_MAX),
            valid_until: time_of(fields.validity)?,
        })
    }

    /// The CID of the key that signed it.
    #[must_use]
    pub const fn name(&self) -> &Cid {
        &self.name
    }

    /// The record as it was signed and is passed on.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the name stands for.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// A higher number replaces a lower one.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How long it may be used without looking for a newer one.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// When it expires.
    #[must_use]
    pub const fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.valid_until <= now
    }

    /// Whether it replaces `other`: a higher sequence, or the same one that counts for longer (so do kubo and the DHT).
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        (self.sequence, self.valid_until) > (other.sequence, other.valid_until)
    }
}

impl Target {
    fn read(value: &[u8]) -> Result<Self, Error> {
        let no_path = || refuse("what it stands for is no path of /ipfs or /ipns");
        let text = std::str::from_utf8(value).map_err(|_| no_path())?;
        let mut segments = text.split('/').skip(1).filter(|part| !part.is_empty());
        let (space, first) = (segments.next(), segments.next().ok_or_else(no_path)?);
        let path: Vec<String> = segments.map(str::to_owned).collect();
        if path.len() > PATH_SEGMENTS_MAX {
            return Err(no_path());
        }
        match (space, peer_id::parse(first)) {
            (Some("ipfs"), _) => {
                let root = cid::parse(first).map_err(|_| no_path())?;
                Ok(Target::Content { root, path })
            }
            (Some("ipns"), Ok(name)) => Ok(Target::Name { name, path }),
            (Some("ipns"), Err(_)) => Ok(Target::Domain(first.to_owned())),
            _ => Err(no_path()),
        }
    }
}

/// The fields that are signed.
struct Fields<'a> {
    value: &'a [u8],
    validity: &'a [u8],
    validity_type: u64,
    sequence: u64,
    ttl: u64,
}

impl<'a> Fields<'a> {
    fn read(data: &'a [u8]) -> Result<Self, Error> {
        let fields = dag_cbor::fields(data)?;
        let find = |name: &str| {
            let found = fields.iter().find(|(key, _)| *key == name.as_bytes());
            found.map(|(_, field)| *field)
        };
        let bytes = |name| match find(name) {
            Some(Field::Bytes(bytes)) => Ok(bytes),
            _ => Err(refuse("a field that it must have is not in its data")),
        };
        let number = |name| match find(name) {
            Some(Field::Number(number)) => Ok(number),
            _ => Err(refuse("a field that it must have is not in its data")),
        };
        Ok(Fields {
            value: bytes("Value")?,
            validity: bytes("Validity")?,
            validity_type: number("ValidityType")?,
            sequence: number("Sequence")?,
            ttl: number("TTL")?,
        })
    }

    fn are_copied_in(&self, entry: &Entry<'_>) -> bool {
        entry.value.unwrap_or_default() == self.value
            && entry.validity.unwrap_or_default() == self.validity
            && entry.validity_type == self.validity_type
            && entry.sequence == self.sequence
            && entry.ttl == self.ttl
    }
}

/// The key of the name, in its protobuf: the one in the record if it is that of the name, or the one in the name.
fn public_key<'a>(name: &'a Cid, in_record: Option<&'a [u8]>) -> Result<&'a [u8], Error> {
    let digest = name.hash().digest();
    let is_inlined = name.hash().code() == IDENTITY;
    match in_record {
        Some(key) if is_inlined && key == digest => Ok(key),
        Some(key) if !is_inlined && hash::sha256(key) == digest => Ok(key),
        Some(_) => Err(refuse("the key in it is not that of the name")),
        None if is_inlined => Ok(digest),
        None => Err(refuse("the key of the name is not in it")),
    }
}

fn time_of(validity: &[u8]) -> Result<SystemTime, Error> {
    let no_time = || refuse("until when it counts is no time");
    let text = std::str::from_utf8(validity).map_err(|_| no_time())?;
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| no_time())?;
    let seconds = u64::try_from(time.unix_timestamp()).map_err(|_| no_time())?;
    let since = Duration::new(seconds, time.nanosecond());
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .ok_or_else(no_time)
}

const fn refuse(reason: &'static str) -> Error {
    Error::Ipns { reason }
}

#[cfg(test)]
mod tests;
