//! Public keys as libp2p writes them, and their signatures. Ed25519 is what every name has that was made since 2020; RSA
//! is what older names have. Which key a name has is not known here.

use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::entry::{Field, next};

const RSA: u64 = 0;
const ED25519_TYPE: u64 = 1;
/// DER: the algorithm of an RSA key (`rsaEncryption`, no parameters) in its SubjectPublicKeyInfo.
const RSA_ALGORITHM: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
const DER_SEQUENCE: u8 = 0x30;
const DER_BIT_STRING: u8 = 0x03;

/// Whether the key (in its protobuf) signed the message.
///
/// # Errors
/// Why not.
pub(super) fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), &'static str> {
    let (kind, data) = read(key).ok_or("the key of the name cannot be read")?;
    let verified = match kind {
        ED25519_TYPE => UnparsedPublicKey::new(&ED25519, data).verify(message, signature),
        RSA => {
            let key = rsa_key(data).ok_or("the key of the name cannot be read")?;
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature)
        }
        _ => return Err("the key of the name is neither Ed25519 nor RSA"),
    };
    verified.map_err(|_| "its signature is not that of the name's key")
}

/// Type and data.
fn read(mut key: &[u8]) -> Option<(u64, &[u8])> {
    let (mut kind, mut data) = (None, None);
    while !key.is_empty() {
        match next(&mut key)? {
            (1, Field::Number(number)) => kind = Some(number),
            (2, Field::Bytes(bytes)) => data = Some(bytes),
            _ => {}
        }
    }
    Some((kind?, data?))
}

/// The `RSAPublicKey` inside of a SubjectPublicKeyInfo.
fn rsa_key(info: &[u8]) -> Option<&[u8]> {
    let content = der(DER_SEQUENCE, info)?;
    let bits = der(DER_BIT_STRING, content.strip_prefix(RSA_ALGORITHM)?)?;
    bits.strip_prefix(&[0])
}

/// The content of a DER value with this tag, which is all that there is.
fn der(tag: u8, bytes: &[u8]) -> Option<&[u8]> {
    let (first, rest) = bytes.strip_prefix(&[tag])?.split_first()?;
    let (length, content) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81 => {
            let (length, content) = rest.split_first()?;
            (usize::from(*length), content)
        }
        0x82 => {
            let (length, content) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), content)
        }
        _ => return None,
    };
    (content.len() == length).then_some(content)
}
