//! Content identifiers: reading them from text and bytes, writing them, and checking a block against one.
//! It does not know what is inside a block.

use ::cid::CidGeneric;
pub use ::cid::Version;
use ::cid::multihash::Multihash;
use multibase::Base;

use crate::error::Error;
use crate::hash;
use crate::limits::{BLOCK_SIZE_BYTES_MAX, CID_BYTES_MAX, CID_TEXT_BYTES_MAX, IDENTITY_BYTES_MAX};

/// A content identifier with room for an identity digest of [`IDENTITY_BYTES_MAX`] bytes. `Copy`.
pub type Cid = CidGeneric<IDENTITY_BYTES_MAX>;

/// Codec of a block that is bytes of a file and nothing else.
pub const RAW: u64 = 0x55;
/// Codec of a node with links.
pub const DAG_PB: u64 = 0x70;
/// Multihash code of SHA-256.
pub const SHA2_256: u64 = 0x12;
/// Multihash code of SHA-512.
pub const SHA2_512: u64 = 0x13;
/// Multihash code of a digest that is the block itself.
pub const IDENTITY: u64 = 0x00;

/// The CID that `text` spells: version 0 (`Qm...`), or version 1 in any multibase. No path, no scheme.
///
/// # Errors
/// [`Error::NotACid`] with the reason.
pub fn parse(text: &str) -> Result<Cid, Error> {
    let refuse = |reason: &str| Error::NotACid {
        text: shortened(text),
        reason: reason.to_owned(),
    };
    if text.len() < 2 {
        return Err(refuse("too short"));
    }
    if text.len() > CID_TEXT_BYTES_MAX {
        return Err(refuse("too long"));
    }
    if text.len() == 46 && text.starts_with("Qm") {
        let bytes = Base::Base58Btc
            .decode(text)
            .map_err(|_| refuse("not base58btc"))?;
        return from_bytes(&bytes).map_err(|_| refuse("not a sha2-256 multihash"));
    }
    if text.len() == 46 && text.starts_with("qm") {
        return Err(refuse(
            "version 0 CIDs are case-sensitive and this one was folded to lower case; write version 1",
        ));
    }
    let (_, bytes) = multibase::decode(text).map_err(|error| match error {
        multibase::Error::UnknownBase(_) => refuse("unknown multibase prefix"),
        multibase::Error::InvalidBaseString => refuse("characters outside its multibase"),
    })?;
    if bytes.first() == Some(&0x12) {
        return Err(refuse("a version 0 CID carries no multibase prefix"));
    }
    from_bytes(&bytes).map_err(|error| match error {
        Error::NotACid { reason, .. } => refuse(&reason),
        other => other,
    })
}

/// The CID that is exactly `bytes`.
///
/// # Errors
/// [`Error::NotACid`] with the bytes in hexadecimal.
pub fn from_bytes(bytes: &[u8]) -> Result<Cid, Error> {
    match from_prefix(bytes)? {
        (cid, length) if length == bytes.len() => Ok(cid),
        _ => Err(not_bytes(bytes, "bytes after the multihash".to_owned())),
    }
}

/// The CID at the start of `bytes` and how many bytes it takes. A CAR section begins so.
///
/// # Errors
/// [`Error::NotACid`] with the bytes in hexadecimal.
pub fn from_prefix(bytes: &[u8]) -> Result<(Cid, usize), Error> {
    let mut rest = &bytes[..bytes.len().min(CID_BYTES_MAX)];
    let before = rest.len();
    let cid = Cid::read_bytes(&mut rest).map_err(|error| {
        let reason = match error {
            ::cid::Error::InvalidCidVersion | ::cid::Error::InvalidExplicitCidV0 => {
                "its version is neither 0 nor 1"
            }
            _ => "cut short or malformed",
        };
        not_bytes(bytes, reason.to_owned())
    })?;
    Ok((cid, before - rest.len()))
}

/// The usual text of a CID: `Qm...` for version 0, base32 in lower case for version 1.
#[must_use]
pub fn text(cid: &Cid) -> String {
    cid.to_string()
}

/// Version 1, raw codec, this SHA-256.
#[must_use]
pub fn raw_sha256(digest: [u8; 32]) -> Cid {
    Cid::new_v1(RAW, sha256_multihash(&digest))
}

/// A dag-pb CID of version 0 or 1 with this SHA-256.
#[must_use]
pub fn dag_pb_sha256(version: Version, digest: [u8; 32]) -> Cid {
    let v1 = Cid::new_v1(DAG_PB, sha256_multihash(&digest));
    match version {
        // The multihash is SHA-256 of 32 bytes, the one that version 0 can hold.
        Version::V0 => Cid::new_v0(*v1.hash()).unwrap_or(v1),
        Version::V1 => v1,
    }
}

/// Whether both name the same bytes: the same multihash, whatever version and codec.
#[must_use]
pub fn same_block(a: &Cid, b: &Cid) -> bool {
    a.hash() == b.hash()
}

/// Whether the CID may be part of a file: codec raw or dag-pb; SHA-256, SHA-512, or an identity digest of at most
/// 128 bytes.
///
/// # Errors
/// [`Error::CodecNotAllowed`], [`Error::HashNotAllowed`].
pub fn check_allowed(cid: &Cid) -> Result<(), Error> {
    if cid.codec() != RAW && cid.codec() != DAG_PB {
        return Err(Error::CodecNotAllowed {
            cid: *cid,
            codec: cid.codec(),
        });
    }
    let length = cid.hash().digest().len();
    match (cid.hash().code(), length) {
        (SHA2_256, 32) | (SHA2_512, 64) | (IDENTITY, 0..=IDENTITY_BYTES_MAX) => Ok(()),
        (code, _) => Err(Error::HashNotAllowed {
            cid: *cid,
            code,
            length,
        }),
    }
}

/// The multihash in base32, upper case, without padding: the key of a flatfs file.
#[must_use]
pub fn multihash_base32_upper(cid: &Cid) -> String {
    Base::Base32Upper.encode(cid.hash().to_bytes())
}

/// Whether `block` is what `cid` names: it is hashed and compared (identity: compared).
///
/// # Errors
/// [`Error::BlockTooLarge`], [`Error::HashNotAllowed`], [`Error::BlockMismatch`].
pub fn verify_block(cid: &Cid, block: &[u8]) -> Result<(), Error> {
    if block.len() > BLOCK_SIZE_BYTES_MAX {
        return Err(Error::BlockTooLarge {
            cid: *cid,
            length: block.len() as u64,
            max: BLOCK_SIZE_BYTES_MAX as u64,
        });
    }
    let digest = cid.hash().digest();
    let fits = match (cid.hash().code(), digest.len()) {
        (SHA2_256, 32) => hash::sha256(block) == digest,
        (SHA2_512, 64) => hash::sha512(block) == digest,
        (IDENTITY, _) => block == digest,
        (code, length) => {
            return Err(Error::HashNotAllowed {
                cid: *cid,
                code,
                length,
            });
        }
    };
    if fits {
        Ok(())
    } else {
        Err(Error::BlockMismatch {
            cid: *cid,
            length: block.len(),
        })
    }
}

/// Version 1 of the same codec and multihash: two CIDs of one block compare equal in this form.
pub(crate) fn normal(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

fn sha256_multihash(digest: &[u8; 32]) -> Multihash<IDENTITY_BYTES_MAX> {
    // 32 bytes always fit into the storage; the default is never used.
    Multihash::wrap(SHA2_256, digest).unwrap_or_default()
}

fn not_bytes(bytes: &[u8], reason: String) -> Error {
    let text = Base::Base16Lower.encode(&bytes[..bytes.len().min(40)]);
    Error::NotACid { text, reason }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmW54qrASwQDdCyE1ik8GjQzD2NBZkp6k3Gnu3wh7HoF71";
    const V1: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn every_multibase_of_one_cid_is_the_same() {
        let cid = parse(V1).expect("a CID");
        for base in [
            Base::Base2,
            Base::Base8,
            Base::Base10,
            Base::Base16Lower,
            Base::Base16Upper,
            Base::Base32Lower,
            Base::Base32Upper,
            Base::Base32HexLower,
            Base::Base32PadUpper,
            Base::Base32Z,
            Base::Base36Lower,
            Base::Base36Upper,
            Base::Base58Btc,
            Base::Base58Flickr,
            Base::Base64,
            Base::Base64Pad,
            Base::Base64Url,
            Base::Base256Emoji,
        ] {
            let text = multibase::encode(base, cid.to_bytes());
            assert_eq!(parse(&text), Ok(cid), "{text}");
        }
        assert_eq!(text(&cid), V1);
        assert_eq!(cid, raw_sha256(hash::sha256(b"")));
    }

    #[test]
    fn version_0_reads_and_writes() {
        let cid = parse(V0).expect("a CID");
        assert_eq!((cid.version(), cid.codec()), (Version::V0, DAG_PB));
        assert_eq!(text(&cid), V0);
        assert!(same_block(&cid, &normal(&cid)));
    }

    #[test]
    fn refusals_say_why() {
        let folded = V0.to_lowercase();
        let prefixed = format!("z{V0}");
        let trailing = format!(
            "f{}00",
            Base::Base16Lower.encode(parse(V1).expect("a CID").to_bytes())
        );
        let long = "b".repeat(5000);
        for (given, reason) in [
            ("", "too short"),
            (folded.as_str(), "case-sensitive"),
            (prefixed.as_str(), "no multibase prefix"),
            (trailing.as_str(), "bytes after the multihash"),
            ("xyz", "unknown multibase"),
            ("b0189", "characters outside"),
            ("f0155", "cut short or malformed"),
            ("f01551220aabb", "cut short or malformed"),
            ("f0255", "version"),
            (long.as_str(), "too long"),
        ] {
            let message = parse(given).expect_err(given).to_string();
            assert!(message.contains(reason), "{given}: {message}");
        }
    }

    #[test]
    fn blocks_are_checked_by_every_allowed_hash() {
        let sha512 = Cid::new_v1(
            RAW,
            Multihash::wrap(SHA2_512, &hash::sha512(b"abc")).expect("64 bytes"),
        );
        let identity = Cid::new_v1(RAW, Multihash::wrap(IDENTITY, b"abc").expect("3 bytes"));
        for cid in [raw_sha256(hash::sha256(b"abc")), sha512, identity] {
            assert_eq!(check_allowed(&cid), Ok(()));
            assert_eq!(verify_block(&cid, b"abc"), Ok(()));
            assert_eq!(
                verify_block(&cid, b"abd"),
                Err(Error::BlockMismatch { cid, length: 3 })
            );
        }
        let md5 = Cid::new_v1(RAW, Multihash::wrap(0xd5, &[0; 16]).expect("16 bytes"));
        assert_eq!(
            check_allowed(&md5),
            Err(Error::HashNotAllowed {
                cid: md5,
                code: 0xd5,
                length: 16
            })
        );
        let cbor = Cid::new_v1(0x71, *sha512.hash());
        assert_eq!(
            check_allowed(&cbor),
            Err(Error::CodecNotAllowed {
                cid: cbor,
                codec: 0x71
            })
        );
        let large = vec![0; BLOCK_SIZE_BYTES_MAX + 1];
        assert!(matches!(
            verify_block(&sha512, &large),
            Err(Error::BlockTooLarge {
                length: 2_097_153,
                ..
            })
        ));
    }

    #[test]
    fn flatfs_key() {
        let cid = parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").expect("a CID");
        assert_eq!(
            multihash_base32_upper(&cid),
            "CIQFTFEEHEDF6KLBT32BFAGLXEZL4UWFNWM4LFTLMXQBCERZ6CMLX3Y"
        );
    }
}
