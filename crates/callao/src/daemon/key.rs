//! The key that this computer's node is known by: `node.key` in the state directory, for its owner alone.

use std::path::Path;

use callao_p2p::NodeKey;

use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, Host};

const KEY_BYTES_MAX: u64 = 4096;

/// The key; a new one if there is none.
///
/// # Errors
/// Usage: no state directory is known, or the file is no key. Disk. It is never replaced: others know this node by it.
pub(super) fn load(host: &Host) -> Result<NodeKey, CommandError> {
    let dir = host.state_dir().map_err(CommandError::usage)?;
    let path = dir.join("node.key");
    match host::read_small_file(&path, KEY_BYTES_MAX) {
        Ok(bytes) => read(&path, &bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => make(&path),
        Err(error) => Err(CommandError::io("read", &path, &error)),
    }
}

fn read(path: &Path, bytes: &[u8]) -> Result<NodeKey, CommandError> {
    let is_private = host::owner_and_mode(path).is_some_and(|(_, mode)| mode & 0o077 == 0);
    if !is_private {
        let shown = path.display();
        return Err(CommandError::usage(format!(
            "the key of the node `{shown}` can be read by others"
        ))
        .hint(format!(
            "chmod 600 {shown}, or move it away: a new one is made"
        )));
    }
    NodeKey::from_bytes(bytes).map_err(|error| {
        CommandError::usage(format!("`{}`: {error}", path.display()))
            .hint("move it away: a new one is made, and others know this computer by another name")
    })
}

fn make(path: &Path) -> Result<NodeKey, CommandError> {
    let key = NodeKey::generate();
    let bytes = key
        .to_bytes()
        .map_err(|error| CommandError::new(ExitCode::Unexpected, error.to_string()))?;
    let written = host::write_secret(path, &bytes);
    written.map_err(|error| CommandError::io("write", path, &error))?;
    Ok(key)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "tests damage what they have written"
)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let host = Host::with_variables([("XDG_STATE_HOME", dir.path().to_str().expect("text"))]);
        let path = dir.path().join("callao/node.key");
        let key = load(&host).expect("a new key");
        assert_eq!(load(&host).expect("the same").peer_id(), key.peer_id());

        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        let shown = path.display();
        let error = load(&host).expect_err("for everybody");
        assert_eq!(
            error.message,
            format!("the key of the node `{shown}` can be read by others")
        );
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");

        fs::write(&path, b"x").expect("written");
        let error = load(&host).expect_err("no key");
        assert!(
            error
                .message
                .starts_with(&format!("`{shown}`: not a node key: ")),
            "{error}"
        );
        assert_eq!(fs::read(&path).expect("it is there"), b"x");
    }
}
