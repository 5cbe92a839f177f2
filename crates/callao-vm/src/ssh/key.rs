//! The key that opens every machine: made once by `ssh-keygen`, the same for all instances, as Lima's `_config/user`.
//! Must not know who is let in with it.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use super::client::Client;
use super::said::said;
use crate::files;
use crate::limits::{KEY_BYTES_MAX, KEYGEN_WAIT};

/// A key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The file of the private key.
    pub path: PathBuf,
    /// The public key, as a line of `authorized_keys` without its end.
    pub public: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("key {}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others can read the private key; ssh would not use it.
    #[error(
        "key {}: others than its owner may read it (mode {mode:04o}), so ssh does not use it: `chmod 600 {}`",
        path.display(),
        path.display()
    )]
    Mode {
        /// The private key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// `ssh-keygen` cannot be run.
    #[error("{} cannot be run: {error}", program.display())]
    Program {
        /// Where it is.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// `ssh-keygen` does not end.
    #[error("key {}: ssh-keygen gave no answer within {} s", path.display(), KEYGEN_WAIT.as_secs())]
    Slow {
        /// The private key.
        path: PathBuf,
    },
    /// `ssh-keygen` made none.
    #[error("key {}: ssh-keygen could not make it: `{said}`", path.display())]
    Make {
        /// The private key.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// `ssh-keygen` cannot read it.
    #[error(
        "key {}: ssh-keygen cannot read it: `{said}`; move it away and a new one is made, which existing machines get when \
         they start again",
        path.display()
    )]
    Unreadable {
        /// The private key.
        path: PathBuf,
        /// What it said.
        said: String,
    },
}

/// The key pair `user` and `user.pub` of a directory, which are made if they are missing. Two callers at once get the
/// same key.
///
/// # Errors
/// See [`Error`].
pub async fn ensure(client: &Client, dir: &Path) -> Result<Key, Error> {
    let path = dir.join("user");
    if !files::is_there(&path) {
        files::make_dirs(dir).map_err(|error| wrong(dir, error))?;
        make(client, &path).await?;
    }
    let mode = files::mode(&path).map_err(|error| wrong(&path, error))?;
    if mode & 0o077 != 0 {
        return Err(Error::Mode { path, mode });
    }
    let public = public_of(client, &path).await?;
    // ssh offers the public key that lies beside the private one, without comparing them: a stale one locks out.
    let beside = dir.join("user.pub");
    let is_stale = files::read_text(&beside, KEY_BYTES_MAX).map_or(true, |text| {
        without_comment(&text) != without_comment(&public)
    });
    if is_stale {
        let line = format!("{public}\n");
        files::replace(&beside, line.as_bytes(), 0o644).map_err(|error| wrong(&beside, error))?;
    }
    Ok(Key { path, public })
}

/// Makes the private key under a name of its own, then gives it the real one unless another process was faster.
async fn make(client: &Client, path: &Path) -> Result<(), Error> {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_file_name(format!("user.{}-{number}.tmp", std::process::id()));
    let temporary_pub = temporary.with_extension("tmp.pub");
    // ssh-keygen asks before it overwrites what a process with the same number left.
    files::remove(&temporary).map_err(|error| wrong(&temporary, error))?;
    let kind = ["-q", "-t", "ed25519", "-N", "", "-C", "callao", "-f"].map(OsStr::new);
    let arguments = [&kind[..], &[temporary.as_os_str()]].concat();
    let made = keygen(client, path, &arguments).await;
    let linked = match made {
        Ok((true, _)) => match files::link_new(&temporary, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(wrong(path, error)),
            _ => Ok(()),
        },
        Ok((false, said)) => Err(Error::Make {
            path: path.to_owned(),
            said,
        }),
        Err(error) => Err(error),
    };
    for left in [&temporary, &temporary_pub] {
        files::remove(left).map_err(|error| wrong(left, error))?;
    }
    linked
}

async fn public_of(client: &Client, path: &Path) -> Result<String, Error> {
    // With the empty passphrase it does not ask for one.
    let arguments = ["-y", "-P", "", "-f"].map(OsStr::new);
    let arguments = [&arguments[..], &[path.as_os_str()]].concat();
    match keygen(client, path, &arguments).await? {
        (true, public) if without_comment(&public).is_some() => Ok(public),
        (_, said) => Err(Error::Unreadable {
            path: path.to_owned(),
            said,
        }),
    }
}

/// Whether it succeeded, and what it printed: on success the answer, else why.
async fn keygen(
    client: &Client,
    path: &Path,
    arguments: &[&OsStr],
) -> Result<(bool, String), Error> {
    let child = tokio::process::Command::new(&client.keygen)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(KEYGEN_WAIT, child)
        .await
        .map_err(|_| Error::Slow {
            path: path.to_owned(),
        })?
        .map_err(|error| Error::Program {
            program: client.keygen.clone(),
            error,
        })?;
    if output.status.success() {
        let answer = String::from_utf8_lossy(&output.stdout);
        return Ok((true, answer.trim().to_owned()));
    }
    Ok((false, said(&output.stderr)))
}

/// Kind and key of a line of `authorized_keys`.
fn without_comment(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    Some((words.next()?, words.next()?))
}

fn wrong(path: &Path, error: io::Error) -> Error {
    Error::File {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests damage the files")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ssh::client::find;

    fn client() -> Client {
        let path = std::env::var_os("PATH").expect("a path");
        let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
        find(&dirs, None).expect("the client of OpenSSH")
    }

    fn made() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let keys = dir.path().join("with space").join("_config");
        (dir, keys)
    }

    #[tokio::test]
    async fn a_key_is_made_once_for_its_owner_alone() {
        let (_dir, keys) = made();
        let key = ensure(&client(), &keys).await.expect("a key");
        assert_eq!(key.path, keys.join("user"));
        assert!(key.public.starts_with("ssh-ed25519 AAAA"), "{}", key.public);
        assert!(key.public.ends_with(" callao"), "{}", key.public);
        assert_eq!(files::mode(&key.path).expect("a mode"), 0o600);
        assert_eq!(files::mode(&keys).expect("a mode"), 0o700);
        assert_eq!(files::names_in(&keys), ["user", "user.pub"]);
        let text = fs::read_to_string(keys.join("user.pub")).expect("a text");
        assert_eq!(text.trim_end(), key.public);
        assert_eq!(ensure(&client(), &keys).await.expect("a key"), key);
    }

    #[tokio::test]
    async fn many_at_once_get_the_same_key() {
        let (_dir, keys) = made();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let keys = keys.clone();
            tasks.spawn(async move { ensure(&client(), &keys).await.expect("a key").public });
        }
        let mut publics = tasks.join_all().await;
        publics.dedup();
        assert_eq!(publics.len(), 1, "{publics:?}");
        assert_eq!(files::names_in(&keys), ["user", "user.pub"]);
    }

    #[tokio::test]
    async fn a_public_key_that_is_stale_or_missing_is_made_again() {
        let (_dir, keys) = made();
        let key = ensure(&client(), &keys).await.expect("a key");
        let beside = keys.join("user.pub");
        for text in [Some("ssh-ed25519 AAAAother callao\n"), Some(""), None] {
            match text {
                Some(text) => fs::write(&beside, text).expect("a file"),
                None => fs::remove_file(&beside).expect("a file"),
            }
            assert_eq!(ensure(&client(), &keys).await.expect("a key"), key);
            let text = fs::read_to_string(&beside).expect("a text");
            assert_eq!(text, format!("{}\n", key.public));
        }
    }

    #[tokio::test]
    async fn a_mode_that_ssh_refuses_is_an_error_that_says_how_to_mend_it() {
        let (_dir, keys) = made();
        let path = ensure(&client(), &keys).await.expect("a key").path;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        let error = ensure(&client(), &keys).await.expect_err("a wrong mode");
        let shown = path.display();
        assert_eq!(
            error.to_string(),
            format!(
                "key {shown}: others than its owner may read it (mode 0644), so ssh does not use it: `chmod 600 {shown}`"
            )
        );
    }

    #[tokio::test]
    async fn a_key_that_is_none_or_has_a_passphrase_is_an_error() {
        let (_dir, keys) = made();
        files::make_dirs(&keys).expect("a directory");
        let path = keys.join("user");
        files::replace(&path, b"rubbish\n", 0o600).expect("a file");
        let error = ensure(&client(), &keys)
            .await
            .expect_err("no key")
            .to_string();
        let start = format!(
            "key {}: ssh-keygen cannot read it: `Load key",
            path.display()
        );
        assert!(error.starts_with(&start), "{error}");
        let end = "`; move it away and a new one is made, which existing machines get when they start again";
        assert!(error.ends_with(end), "{error}");

        files::remove(&path).expect("removed");
        let status = std::process::Command::new(client().keygen)
            .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
            .arg(&path)
            .status();
        assert!(status.expect("ssh-keygen").success());
        let error = ensure(&client(), &keys).await.expect_err("no key");
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_keygen_that_fails_leaves_nothing() {
        let (dir, keys) = made();
        let program = dir.path().join("ssh-keygen");
        fs::write(&program, "#!/bin/sh\necho 'no room' >&2\nexit 1\n").expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
        let client = Client {
            keygen: program,
            ..client()
        };
        let error = ensure(&client, &keys).await.expect_err("no key");
        assert_eq!(
            error.to_string(),
            format!(
                "key {}: ssh-keygen could not make it: `no room`",
                keys.join("user").display()
            )
        );
        assert_eq!(files::names_in(&keys), Vec::<String>::new());
        let missing = Client {
            keygen: dir.path().join("missing"),
            ..client
        };
        let error = ensure(&missing, &keys).await.expect_err("no program");
        let shown = dir.path().join("missing");
        assert_eq!(
            error.to_string(),
            format!(
                "{} cannot be run: No such file or directory (os error 2)",
                shown.display()
            )
        );
    }
}
