//! Which programs of OpenSSH there are. Must not know what they are called for, nor where the list of directories and
//! the override came from.

use std::ffi::OsString;
use std::path::PathBuf;

use super::quote::split;
use crate::program;

/// OpenSSH's client programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// `ssh`, with the arguments that the override gives it.
    pub ssh: Vec<OsString>,
    /// Whether `ssh` is what somebody chose, so that `scp` must be told to use it too.
    pub is_chosen: bool,
    /// `scp`.
    pub scp: PathBuf,
    /// `ssh-keygen`.
    pub keygen: PathBuf,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is nowhere.
    #[error(
        "no `{name}` on this computer: install OpenSSH's client (Debian, Ubuntu: openssh-client; Fedora: openssh-clients)"
    )]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// The override cannot be read.
    #[error(
        "SSH={text}: a command line is wanted, such as `ssh -4`; a quote does not end or there is nothing in it"
    )]
    Override {
        /// What it is.
        text: String,
    },
}

/// Looks for the programs in the directories of `PATH`. The override is a command line (Lima: the variable `SSH`).
///
/// # Errors
/// A program is missing, or the override is no command line.
pub fn find(dirs: &[PathBuf], chosen: Option<&str>) -> Result<Client, Error> {
    let program = |name| program::find(name, dirs).ok_or(Error::Missing { name });
    let ssh: Vec<OsString> = match chosen {
        Some(text) => {
            let words = split(text).filter(|words| !words.is_empty());
            let words = words.ok_or_else(|| Error::Override {
                text: text.to_owned(),
            })?;
            words.into_iter().map(OsString::from).collect()
        }
        None => vec![program("ssh")?.into_os_string()],
    };
    Ok(Client {
        ssh,
        is_chosen: chosen.is_some(),
        scp: program("scp")?,
        keygen: program("ssh-keygen")?,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files::create_new;

    fn place(names: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().expect("a directory");
        for name in names {
            create_new(&dir.path().join(name), 0o755).expect("a program");
        }
        let dirs = vec![Path::new("nowhere").to_owned(), dir.path().to_owned()];
        (dir, dirs)
    }

    #[test]
    fn programs_are_found_in_the_directories() {
        let (dir, dirs) = place(&["ssh", "scp", "ssh-keygen"]);
        let client = find(&dirs, None).expect("a client");
        assert_eq!(client.ssh, [dir.path().join("ssh").into_os_string()]);
        assert_eq!(client.scp, dir.path().join("scp"));
        assert_eq!(client.keygen, dir.path().join("ssh-keygen"));
        assert!(!client.is_chosen);
    }

    #[test]
    fn an_override_is_a_command_line() {
        let (_dir, dirs) = place(&["scp", "ssh-keygen"]);
        let client = find(&dirs, Some("'my ssh' -4")).expect("a client");
        assert_eq!(client.ssh, ["my ssh", "-4"].map(OsString::from));
        assert!(client.is_chosen);
    }

    #[test]
    fn what_is_missing_is_named_with_the_package() {
        let (_dir, dirs) = place(&["ssh", "ssh-keygen"]);
        assert_eq!(
            find(&dirs, None).expect_err("no scp").to_string(),
            "no `scp` on this computer: install OpenSSH's client (Debian, Ubuntu: openssh-client; Fedora: openssh-clients)"
        );
        for text in ["", "'ssh"] {
            assert_eq!(
                find(&dirs, Some(text)).expect_err("no command").to_string(),
                format!(
                    "SSH={text}: a command line is wanted, such as `ssh -4`; a quote does not end or there is nothing in it"
                )
            );
        }
    }
}
