//! The key that a node is known by. Must not know where it is kept.

use libp2p::identity::Keypair;

use crate::error::Error;

/// An Ed25519 key pair; its public half is the peer ID. Its text form shows only that.
#[derive(Clone)]
pub struct NodeKey(Keypair);

impl NodeKey {
    /// A new one, from the system's random numbers.
    #[must_use]
    pub fn generate() -> Self {
        NodeKey(Keypair::generate_ed25519())
    }

    /// The key in libp2p's protobuf encoding (peer-ids specification, "Keys").
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Keypair::from_protobuf_encoding(bytes)
            .map(NodeKey)
            .map_err(|error| Error::Key {
                reason: error.to_string(),
            })
    }

    /// In libp2p's protobuf encoding. A secret: for a file that only its owner reads.
    ///
    /// # Errors
    /// [`Error::Key`], for kinds of key that cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        self.0.to_protobuf_encoding().map_err(|error| Error::Key {
            reason: error.to_string(),
        })
    }

    /// `12D3Koo...`
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.0.public().to_peer_id().to_string()
    }

    pub(crate) fn pair(&self) -> &Keypair {
        &self.0
    }
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NodeKey").field(&self.peer_id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_written_and_shows_no_secret() {
        let key = NodeKey::generate();
        let bytes = key.to_bytes().expect("ed25519 can be written");
        let again = NodeKey::from_bytes(&bytes).expect("the same key");
        assert_eq!(again.peer_id(), key.peer_id());
        assert_eq!(
            format!("{key:?}"),
            format!("NodeKey(\"{}\")", key.peer_id())
        );
        assert_ne!(NodeKey::generate().peer_id(), key.peer_id());
    }

    #[test]
    fn garbage_is_not_a_key() {
        let error = NodeKey::from_bytes(b"hello").expect_err("garbage");
        assert!(error.to_string().starts_with("not a node key: "), "{error}");
    }
}
