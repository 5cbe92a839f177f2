//! Whether a text is signed by one of the keys that the user names. The mathematics are the library's; which of the
//! signatures that it finds correct are also good enough is decided here. Opens no file and asks nobody.
//!
//! A signature counts if its key is one of the user's, can sign, and is neither revoked nor expired, now and when it
//! signed; if it has not expired itself; and if its hash is a strong one. Certificates of distributors are old, and many
//! of them bind themselves to their user with SHA-1: for that it is enough, since the user has named the certificate,
//! and the library refuses known collisions. A revocation counts whatever its reason; those by other keys do not.

use std::io::Cursor;

use pgp::composed::SignedPublicSubKey;
use pgp::composed::{CleartextSignedMessage, Deserializable, DetachedSignature, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, PublicParams, Tag};

/// Clocks that differ by no more than this are thought to agree.
const CLOCK_SKEW_SECONDS: i64 = 600;
/// An RSA modulus of 2048 bits and an exponent, each with its length.
const RSA_PARAMS_BYTES_MIN: usize = 2 + 256 + 2 + 1;
const ARMOUR: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const CLEARTEXT: &str = "-----BEGIN PGP SIGNED MESSAGE-----";

/// The certificates of those whose signatures count.
#[derive(Debug, Default)]
pub(super) struct Keys {
    certificates: Vec<SignedPublicKey>,
    /// Seconds since 1970.
    now: i64,
}

/// Whether a text carries its signature in it.
pub(super) fn is_cleartext(text: &str) -> bool {
    text.starts_with(CLEARTEXT)
}

impl Keys {
    /// No keys yet; `now` in seconds since 1970.
    pub(super) fn new(now: i64) -> Self {
        Keys {
            certificates: Vec::new(),
            now,
        }
    }

    /// Takes the certificates of a file, armoured or not.
    ///
    /// # Errors
    /// Why it holds none.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        let before = self.certificates.len();
        let text = String::from_utf8_lossy(bytes);
        let wrong = |error: pgp::errors::Error| format!("it is no OpenPGP certificate: {error}");
        if text.contains(ARMOUR) {
            for block in text.split(ARMOUR).skip(1) {
                let block = format!("{ARMOUR}{block}");
                let (found, _) =
                    SignedPublicKey::from_armor_many(Cursor::new(block)).map_err(wrong)?;
                for one in found {
                    self.certificates.push(one.map_err(wrong)?);
                }
            }
        } else {
            let found = SignedPublicKey::from_bytes_many(Cursor::new(bytes)).map_err(wrong)?;
            for one in found {
                self.certificates.push(one.map_err(wrong)?);
            }
        }
        match self.certificates.len() > before {
            true => Ok(()),
            false => Err("it holds no OpenPGP certificate".into()),
        }
    }

    /// Who signed `data`, by the fingerprint of the certificate.
    ///
    /// # Errors
    /// Why no signature counts.
    pub(super) fn signer(&self, data: &[u8], signatures: &[u8]) -> Result<String, String> {
        let no = |error: pgp::errors::Error| format!("it is no OpenPGP signature: {error}");
        let (found, _) =
            DetachedSignature::from_reader_many(Cursor::new(signatures)).map_err(no)?;
        let mut all = Vec::new();
        for one in found {
            all.push(one.map_err(no)?.signature);
        }
        self.first_good(&all, data)
    }

    /// The signed part of a text that carries its signature in it, and who signed it.
    ///
    /// # Errors
    /// Why no signature counts.
    pub(super) fn open(&self, text: &str) -> Result<(String, String), String> {
        let (message, _) = CleartextSignedMessage::from_string(text)
            .map_err(|error| format!("it is not signed as it claims to be: {error}"))?;
        let signed = message.signed_text();
        let signer = self.first_good(message.signatures(), signed.as_bytes())?;
        Ok((signed, signer))
    }

    fn first_good(&self, signatures: &[Signature], data: &[u8]) -> Result<String, String> {
        let mut reasons: Vec<String> = Vec::new();
        for signature in signatures {
            match self.judge(signature, data) {
                Ok(signer) => return Ok(signer),
                Err(reason) => reasons.push(reason),
            }
        }
        reasons.dedup();
        match reasons.is_empty() {
            true => Err("it holds no signature".into()),
            false => Err(reasons.join("; ")),
        }
    }

    /// The fingerprint of the certificate whose key made this signature.
    fn judge(&self, signature: &Signature, data: &[u8]) -> Result<String, String> {
        for certificate in &self.certificates {
            let primary = &certificate.primary_key;
            let made_by_subkey = certificate
                .public_subkeys
                .iter()
                .find(|subkey| signature.verify(&subkey.key, data).is_ok());
            if made_by_subkey.is_none() && signature.verify(primary, data).is_err() {
                continue;
            }
            let fingerprint = format!("{:X}", primary.fingerprint());
            let by = |reason| format!("the signature by {fingerprint} does not count: {reason}");
            let made = self.check_signature(signature).map_err(by)?;
            let can_sign = self.check_primary(certificate, made).map_err(by)?;
            match made_by_subkey {
                Some(subkey) => self.check_subkey(certificate, subkey, made).map_err(by)?,
                None if can_sign => {}
                None => return Err(by("its key is not one for signing".into())),
            }
            return Ok(fingerprint);
        }
        let issuer = signature
            .issuer_fingerprint()
            .first()
            .map(|fingerprint| format!("{fingerprint:X}"))
            .or_else(|| {
                let ids = signature.issuer_key_id();
                ids.first().map(|id| id.to_string().to_uppercase())
            });
        Err(match issuer {
            Some(issuer) => {
                format!(
                    "the signature by {issuer} is of none of the given keys, or of another text"
                )
            }
            None => "the signature is of none of the given keys, or of another text".into(),
        })
    }

    /// When a signature of data was made, if it is one that counts.
    fn check_signature(&self, signature: &Signature) -> Result<i64, String> {
        if !matches!(
            signature.typ(),
            Some(SignatureType::Binary | SignatureType::Text)
        ) {
            return Err("it is not a signature of data".into());
        }
        match signature.hash_alg() {
            Some(
                HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512,
            ) => {}
            Some(weak) => return Err(format!("its hash is {weak}")),
            None => return Err("its hash is not known".into()),
        }
        check_critical(signature)?;
        let made = seconds(signature).ok_or("it has no date")?;
        if made > self.now + CLOCK_SKEW_SECONDS {
            return Err("it is dated in the future".into());
        }
        let lasts = signature.signature_expiration_time();
        let lasts = lasts.map_or(0, |lasts| i64::from(lasts.as_secs()));
        if lasts > 0 && made + lasts < self.now {
            return Err("it has expired".into());
        }
        Ok(made)
    }

    /// Whether the primary key may sign; an error if nothing by this certificate counts.
    fn check_primary(&self, certificate: &SignedPublicKey, made: i64) -> Result<bool, String> {
        let (primary, details) = (&certificate.primary_key, &certificate.details);
        check_strength(primary.public_params())?;
        let is_revoked = |signature: &Signature| {
            signature.typ() == Some(SignatureType::KeyRevocation)
                && signature.verify_key(primary).is_ok()
        };
        if details.revocation_signatures.iter().any(is_revoked) {
            return Err("its key was revoked".into());
        }
        let mut own: Vec<&Signature> = Vec::new();
        let directs = details.direct_signatures.iter();
        own.extend(directs.filter(|signature| {
            signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
        }));
        for user in &details.users {
            let users: Vec<&Signature> = user
                .signatures
                .iter()
                .filter(|signature| {
                    signature
                        .verify_certification(primary, Tag::UserId, &user.id)
                        .is_ok()
                })
                .collect();
            let is_revocation =
                |signature: &&Signature| signature.typ() == Some(SignatureType::CertRevocation);
            if !users.iter().any(is_revocation) {
                own.extend(users);
            }
        }
        let latest = self
            .latest(own)
            .ok_or("its key does not vouch for itself")?;
        self.check_life(i64::from(primary.created_at().as_secs()), latest, made)?;
        Ok(!has_flags(latest) || latest.key_flags().sign())
    }

    fn check_subkey(
        &self,
        certificate: &SignedPublicKey,
        subkey: &SignedPublicSubKey,
        made: i64,
    ) -> Result<(), String> {
        let primary = &certificate.primary_key;
        check_strength(subkey.key.public_params())?;
        let is_bound = |signature: &&Signature| {
            signature
                .verify_subkey_binding(primary, &subkey.key)
                .is_ok()
        };
        let bound: Vec<&Signature> = subkey.signatures.iter().filter(is_bound).collect();
        let is_revocation =
            |signature: &&Signature| signature.typ() == Some(SignatureType::SubkeyRevocation);
        if bound.iter().any(is_revocation) {
            return Err("its subkey was revoked".into());
        }
        let latest = self
            .latest(bound)
            .ok_or("its subkey does not belong to the key")?;
        if !latest.key_flags().sign() {
            return Err("its subkey is not one for signing".into());
        }
        let back = latest.embedded_signature();
        let agrees = back.is_some_and(|back| {
            is_sound(back)
                && back
                    .verify_primary_key_binding(&subkey.key, primary)
                    .is_ok()
        });
        if !agrees {
            return Err("its subkey does not say to which key it belongs".into());
        }
        self.check_life(i64::from(subkey.key.created_at().as_secs()), latest, made)
    }

    /// The latest of the signatures that a certificate made of itself.
    fn latest<'s>(&self, own: Vec<&'s Signature>) -> Option<&'s Signature> {
        let counts = |signature: &&Signature| {
            is_sound(signature)
                && seconds(signature).is_some_and(|made| made <= self.now + CLOCK_SKEW_SECONDS)
        };
        own.into_iter()
            .filter(counts)
            .max_by_key(|signature| seconds(signature))
    }

    /// Whether a key lived when it signed, and lives now.
    fn check_life(&self, born: i64, own: &Signature, made: i64) -> Result<(), String> {
        if made < born {
            return Err("it is older than its key".into());
        }
        let lasts = own
            .key_expiration_time()
            .map_or(0, |lasts| i64::from(lasts.as_secs()));
        if lasts > 0 && born + lasts < self.now.max(made) {
            return Err("its key has expired".into());
        }
        Ok(())
    }
}

fn seconds(signature: &Signature) -> Option<i64> {
    signature.created().map(|at| i64::from(at.as_secs()))
}

/// Good enough for what a certificate says of itself.
fn is_sound(signature: &Signature) -> bool {
    let hash = !matches!(
        signature.hash_alg(),
        None | Some(HashAlgorithm::Md5 | HashAlgorithm::Ripemd160)
    );
    hash && check_critical(signature).is_ok()
}

/// What a signature says must be understood for it to count.
fn check_critical(signature: &Signature) -> Result<(), String> {
    let Some(config) = signature.config() else {
        return Err("it is of an unknown version".into());
    };
    let is_unknown = |data: &SubpacketData| {
        matches!(
            data,
            SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_)
        )
    };
    let mut subpackets = config.hashed_subpackets();
    match subpackets.any(|one| one.is_critical && is_unknown(&one.data)) {
        true => Err("it has conditions that are not understood".into()),
        false => Ok(()),
    }
}

fn has_flags(signature: &Signature) -> bool {
    let is_flags = |data: &SubpacketData| matches!(data, SubpacketData::KeyFlags(_));
    let config = signature.config();
    config.is_some_and(|config| {
        let mut subpackets = config.hashed_subpackets();
        subpackets.any(|one| is_flags(&one.data))
    })
}

fn check_strength(params: &PublicParams) -> Result<(), String> {
    match params {
        PublicParams::RSA(_) if params.write_len() < RSA_PARAMS_BYTES_MIN => {
            Err("its key is RSA of less than 2048 bits".into())
        }
        PublicParams::RSA(_)
        | PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => Ok(()),
        _ => Err("its key is of a kind that is not accepted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = include_bytes!("../../../../tests/data/openpgp/SHA256SUMS");
    /// In 2026.
    const NOW: i64 = 1_790_000_000;

    macro_rules! data {
        ($name:literal) => {
            include_bytes!(concat!("../../../../tests/data/openpgp/", $name))
        };
    }

    fn keys(files: &[&[u8]]) -> Keys {
        let mut keys = Keys::new(NOW);
        for file in files {
            keys.add(file).expect("a certificate");
        }
        keys
    }

    #[test]
    fn signatures_that_gpg_made_count() {
        let rsa = "0EE56BC618F1AA80E26C2D5E4725E4099E126736";
        let ed25519 = "E41B5AAD02AE11C2766A30EF786BD6509826502F";
        let cases: [(&[u8], &[u8], &str); 5] = [
            (data!("rsa.asc"), data!("SHA256SUMS.rsa.gpg"), rsa),
            // By a subkey; the certificate is what the user knows.
            (data!("ed.asc"), data!("SHA256SUMS.ed25519.asc"), ed25519),
            (
                data!("p256.asc"),
                data!("SHA256SUMS.p256.gpg"),
                "A768F807EEAA5B017EC7F3729F293923BB8F7E06",
            ),
            // Two signatures, and only one of the keys is known.
            (data!("ed.asc"), data!("SHA256SUMS.two.gpg"), ed25519),
            (data!("ring.gpg"), data!("SHA256SUMS.ed25519.asc"), ed25519),
        ];
        for (key, signature, signer) in cases {
            assert_eq!(keys(&[key]).signer(LIST, signature).as_deref(), Ok(signer));
        }
        let text = std::str::from_utf8(data!("CHECKSUM")).expect("text");
        let (signed, signer) = keys(&[data!("rsa.asc")]).open(text).expect("signed");
        assert_eq!(signer, rsa);
        assert!(signed.contains("SHA256 (a.img) = eb78") && signed.contains("\n- a line"));
        assert!(is_cleartext(text) && !signed.contains("PGP"));
    }

    #[test]
    fn signatures_that_do_not_count_say_why() {
        let refused = |key: &[u8], signature: &[u8]| {
            let refused = keys(&[key]).signer(LIST, signature).expect_err("refused");
            refused
                .split_once(": ")
                .map_or(refused.clone(), |(_, why)| why.to_string())
        };
        assert_eq!(
            refused(data!("rsa.asc"), data!("SHA256SUMS.sha1.gpg")),
            "its hash is SHA1"
        );
        assert_eq!(
            refused(data!("rsa.asc"), data!("SHA256SUMS.old.gpg")),
            "it has expired"
        );
        assert_eq!(
            refused(data!("expired.asc"), data!("SHA256SUMS.expired.gpg")),
            "its key has expired"
        );
        assert_eq!(
            refused(data!("revoked.asc"), data!("SHA256SUMS.revoked.gpg")),
            "its key was revoked"
        );
        let stranger = refused(data!("rsa.asc"), data!("SHA256SUMS.stranger.gpg"));
        assert_eq!(
            stranger,
            "the signature by 2C518C781252A170B3F05C2EC2DDACB9E31C7036 is of none of the given keys, or of another text"
        );
        let page = keys(&[data!("rsa.asc")]).signer(LIST, b"<html>");
        let told = page.expect_err("refused");
        assert!(told.starts_with("it is no OpenPGP signature: "), "{told}");
    }

    #[test]
    fn a_changed_text_is_not_what_was_signed() {
        let keys = keys(&[data!("rsa.asc"), data!("ed.asc")]);
        let mut changed = LIST.to_vec();
        changed[0] ^= 1;
        let refused = keys.signer(&changed, data!("SHA256SUMS.rsa.gpg"));
        assert!(refused.expect_err("refused").contains("or of another text"));
        let text = std::str::from_utf8(data!("CHECKSUM")).expect("text");
        let refused = keys.open(&text.replace("eb78", "eb79"));
        assert!(refused.expect_err("refused").contains("or of another text"));
        assert!(
            keys.open("-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n")
                .is_err()
        );
    }

    #[test]
    fn a_signature_before_its_key_or_in_the_future_does_not_count() {
        let mut early = keys(&[data!("rsa.asc")]);
        // A month before the signature was made.
        early.now = 1_704_200_000;
        let refused = early.signer(LIST, data!("SHA256SUMS.rsa.gpg"));
        assert!(
            refused
                .expect_err("refused")
                .ends_with("it is dated in the future")
        );
    }

    #[test]
    fn what_is_no_certificate_is_told() {
        let mut keys = Keys::new(NOW);
        for bytes in [&b""[..], b"<html>", LIST, data!("SHA256SUMS.rsa.gpg")] {
            assert!(keys.add(bytes).is_err());
        }
        assert!(keys.add(&data!("rsa.asc")[..300]).is_err());
    }
}
