//! Directories of the host in the guest: which way each goes, and the programs on the host's side of it.
//! Must not know how the guest is started, nor what the guest's scripts do with a tag.

pub mod plan;
pub mod sshfs;
pub mod virtiofsd;
