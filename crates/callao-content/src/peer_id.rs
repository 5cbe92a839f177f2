//! Peer IDs in their two spellings: base58btc (`12D3Koo...`, `Qm...`) and as a CID (`k51...`, `bafz...`).
//! Must not know what a peer is or how it is reached.

use ::cid::multihash::Multihash;
use multibase::Base;

use crate::cid::{self, Cid, IDENTITY, SHA2_256};
use crate::error::Error;
use crate::limits::{CID_TEXT_BYTES_MAX, IDENTITY_BYTES_MAX};

/// Codec of a CID that names a key (multicodec `libp2p-key`).
pub const LIBP2P_KEY: u64 = 0x72;
/// An Ed25519 key in its protobuf; RSA keys are hashed (peer ID specification: at most 42 bytes are inlined).
const INLINE_BYTES_MAX: u8 = 42;

/// The CID form of a peer ID in either spelling.
///
/// # Errors
/// [`Error::NotACid`] with the reason.
pub fn parse(text: &str) -> Result<Cid, Error> {
    let refuse = |reason: &str| Error::NotACid {
        text: text.chars().take(80).collect(),
        reason: reason.to_owned(),
    };
    if text.len() > CID_TEXT_BYTES_MAX {
        return Err(refuse("too long"));
    }
    let hash = if text.starts_with('1') || text.starts_with("Qm") {
        let bytes = Base::Base58Btc.decode(text);
        let bytes = bytes.map_err(|_| refuse("not base58btc"))?;
        Multihash::<IDENTITY_BYTES_MAX>::from_bytes(&bytes)
            .map_err(|_| refuse("not a multihash"))?
    } else {
        let cid = cid::parse(text)?;
        if cid.codec() != LIBP2P_KEY {
            return Err(refuse("the CID of something else than a peer"));
        }
        cid.hash().to_owned()
    };
    match (hash.code(), hash.size()) {
        (IDENTITY, 1..=INLINE_BYTES_MAX) | (SHA2_256, 32) => Ok(Cid::new_v1(LIBP2P_KEY, hash)),
        _ => Err(refuse("not the hash of a key")),
    }
}

/// `12D3Koo...` or `Qm...`, which most programs print.
#[must_use]
pub fn base58(peer: &Cid) -> String {
    Base::Base58Btc.encode(peer.hash().to_bytes())
}

/// `k51...`, the usual spelling of a name of `/ipns`.
#[must_use]
pub fn name_text(peer: &Cid) -> String {
    multibase::encode(Base::Base36Lower, peer.to_bytes())
}

/// `bafz...`, which is all that some servers take.
#[must_use]
pub fn cid_text(peer: &Cid) -> String {
    cid::text(peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn both_spellings_mean_the_same() {
        for text in [PEER, "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"] {
            let peer = parse(text).expect("a peer ID");
            assert_eq!(base58(&peer), text);
            assert!(cid_text(&peer).starts_with("baf"), "{}", cid_text(&peer));
            assert_eq!(parse(&cid_text(&peer)), Ok(peer));
            let name = name_text(&peer);
            assert!(name.starts_with('k'), "{name}");
            assert_eq!(parse(&name), Ok(peer));
        }
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        let table = [
            ("12D3KooW0", "not base58btc"),
            ("12D3", "not a multihash"),
            (
                "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4",
                "the CID of something else than a peer",
            ),
            ("", "too short"),
        ];
        for (text, wanted) in table {
            match parse(text) {
                Err(Error::NotACid { reason, .. }) => assert_eq!(reason, wanted, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
