//! Digests of a whole file as Lima templates and OCI write them: `sha256:<hex>`. Not CIDs.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use crate::error::Error;

/// The algorithms that go-digest registers, and Lima therefore accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl Algorithm {
    /// All of them, in the order of their length.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// As it stands before the colon, and in the name of Lima's `<algorithm>.digest` file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a digest in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest of a whole file. Its text is `<algorithm>:<lower-case hexadecimal>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    bytes: [u8; 64],
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// A digest that was computed elsewhere. `None` if the length is not the algorithm's.
    #[must_use]
    pub fn from_bytes(algorithm: Algorithm, digest: &[u8]) -> Option<Self> {
        (digest.len() == algorithm.length()).then(|| {
            let mut bytes = [0; 64];
            bytes[..digest.len()].copy_from_slice(digest);
            Self { algorithm, bytes }
        })
    }

    /// A SHA-256 that was computed elsewhere.
    #[must_use]
    pub fn from_sha256(digest: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&digest);
        Self {
            algorithm: Algorithm::Sha256,
            bytes,
        }
    }

    /// Which algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest itself, [`Algorithm::length`] bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.length()]
    }

    /// The digest in lower-case hexadecimal, without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        multibase::Base::Base16Lower.encode(self.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = Error;

    /// As strict as go-digest: a registered algorithm, lower-case hexadecimal of its exact length, nothing around it.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::NotADigest {
            text: text.chars().take(160).collect(),
            reason,
        };
        let Some((name, hex)) = text.split_once(':') else {
            return Err(refuse("expected `<algorithm>:<hexadecimal>`".to_owned()));
        };
        let Some(algorithm) = Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
        else {
            return Err(refuse(format!(
                "unknown algorithm `{name}`; sha256, sha384 and sha512 are known"
            )));
        };
        if hex.len() != 2 * algorithm.length() {
            let expected = 2 * algorithm.length();
            return Err(refuse(format!(
                "{algorithm} has {expected} hexadecimal digits, this has {}",
                hex.len()
            )));
        }
        let mut bytes = [0; 64];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            match (hex_value(pair[0]), hex_value(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => {
                    return Err(refuse(
                        "only the digits 0-9 and a-f (lower case) may follow the colon".to_owned(),
                    ));
                }
            }
        }
        Ok(Self { algorithm, bytes })
    }
}

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha384 => State::Sha384(sha2::Sha384::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Which algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha384(_) => Algorithm::Sha384,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha384(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of everything given.
    #[must_use]
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let mut bytes = [0; 64];
        let out = &mut bytes[..algorithm.length()];
        match self.0 {
            State::Sha256(state) => out.copy_from_slice(&state.finalize()),
            State::Sha384(state) => out.copy_from_slice(&state.finalize()),
            State::Sha512(state) => out.copy_from_slice(&state.finalize()),
        }
        Digest { algorithm, bytes }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, b"abc");
            assert_eq!(digest.to_string().parse(), Ok(digest));
            assert_eq!(
                Digest::from_bytes(algorithm, digest.as_bytes()),
                Some(digest)
            );
        }
        assert_eq!(
            Digest::of(Algorithm::Sha256, b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn is_as_strict_as_go_digest() {
        let good = Digest::of(Algorithm::Sha256, b"").to_string();
        for (text, reason) in [
            (String::new(), "expected"),
            (good.replace("sha256:", ""), "expected"),
            (good.replace("sha256", "sha512"), "128 hexadecimal digits"),
            (good.replace("sha256", "SHA256"), "unknown algorithm"),
            (good.replace("sha256", "md5"), "unknown algorithm"),
            (good.replace('e', "E"), "lower case"),
            (format!("{good} "), "this has 65"),
            (format!(" {good}"), "unknown algorithm"),
            (good.replace('e', "é"), "hexadecimal"),
        ] {
            let message = text.parse::<Digest>().expect_err(&text).to_string();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }
}
