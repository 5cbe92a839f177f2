//! What a machine is started with that neither its template nor its directory says. Whoever knows the environment fills it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::qemu::accel::Choice;

/// What a machine is started with.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The directories of `PATH`.
    pub path_dirs: Vec<PathBuf>,
    /// The QEMU to run instead of the one on `PATH`, with arguments ([`crate::qemu::probe::variable`]).
    pub qemu: Option<String>,
    /// The ssh to run instead of the one on `PATH`, with arguments.
    pub ssh: Option<String>,
    /// What runs the guest.
    pub accelerator: Choice,
    /// Directories with firmware of the user's own, under QEMU's names.
    pub firmware_dirs: Vec<PathBuf>,
    /// The directory of the key that gets into every machine.
    pub key_dir: PathBuf,
    /// Further public keys that may log in.
    pub public_keys: Vec<String>,
    /// The host's proxy variables.
    pub proxies: BTreeMap<String, String>,
    /// How long the guest may take until it is ready.
    pub ready_within: Duration,
}
