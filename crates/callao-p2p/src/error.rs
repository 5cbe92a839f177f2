//! Why the node could not do something. Rendering, hints and exit codes are the caller's.

/// The error of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An address that cannot be used.
    #[error("{reason}: `{address}`")]
    Address {
        /// As given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing can be received at this address.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// As given.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The peer could not be reached.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// As given.
        address: String,
        /// What went wrong, per address that was tried.
        reason: String,
    },
    /// The bytes are not a private key.
    #[error("not a node key: {reason}")]
    Key {
        /// What is wrong with them.
        reason: String,
    },
    /// Transports could not be made.
    #[error("cannot start the libp2p node: {reason}")]
    Start {
        /// What the library says.
        reason: String,
    },
    /// The node was shut down.
    #[error("the libp2p node has stopped")]
    Stopped,
}
