//! Command lines for the client of OpenSSH: a command in the guest, a login shell, a copy. Pure.
//! Must not know whether the machine runs, nor run anything.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use callao_template::machine::Mount;

use super::client::Client;
use super::quote::{join, quote};

/// A program and its arguments.
pub type Argv = Vec<OsString>;

/// How to reach a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The programs.
    pub client: Client,
    /// `ssh.config` of the instance.
    pub config: PathBuf,
    /// The instance's name in it ([`super::config::host_of`]).
    pub host: String,
}

impl Access {
    /// `ssh -F CONFIG`, options, the host and nothing after it.
    #[must_use]
    pub fn ssh<S: AsRef<std::ffi::OsStr>>(&self, options: &[S]) -> Argv {
        let mut argv = self.client.ssh.clone();
        argv.push("-F".into());
        argv.push(self.config.clone().into());
        argv.extend(options.iter().map(|option| option.as_ref().to_owned()));
        argv.push(self.host.clone().into());
        argv
    }

    /// Runs exactly these words in the guest, without a terminal.
    #[must_use]
    pub fn run<S: AsRef<str>>(&self, words: &[S]) -> Argv {
        self.script(&["-T"], &join(words))
    }

    /// Opens a login shell, or runs a command in one.
    #[must_use]
    pub fn shell(&self, shell: &Shell<'_>) -> Argv {
        let terminal = if shell.terminal { "-t" } else { "-T" };
        self.script(&[terminal], &shell.script())
    }

    fn script(&self, options: &[&str], script: &str) -> Argv {
        let mut argv = self.ssh(options);
        // ssh takes options after the host too; a script that begins with a dash is none.
        argv.push("--".into());
        argv.push(script.into());
        argv
    }
}

/// Where a shell begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workdir<'a> {
    /// Where the guest puts it.
    Home,
    /// There if it can be entered, else home; the guest says why.
    Try(&'a str),
    /// There, or not at all (Lima: `--workdir`).
    Must(&'a str),
}

/// A login shell in the guest (Lima: `cmd/limactl/shell.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shell<'a> {
    /// Where it begins.
    pub workdir: Workdir<'a>,
    /// Which one; `None`: the user's own.
    pub shell: Option<&'a str>,
    /// What it runs; none: it is interactive.
    pub command: &'a [String],
    /// Whether it gets a terminal.
    pub terminal: bool,
}

impl Shell<'_> {
    /// What the guest is told to run. `-l` is what every shell knows; `--login` is not known to dash.
    fn script(&self) -> String {
        let change = match self.workdir {
            Workdir::Home => String::new(),
            Workdir::Try(dir) => format!("cd {}; ", quote(dir)),
            Workdir::Must(dir) => format!("cd {} || exit 1; ", quote(dir)),
        };
        let shell = self
            .shell
            .map_or_else(|| "\"${SHELL:-/bin/sh}\"".to_owned(), quote);
        if self.command.is_empty() {
            return format!("{change}exec {shell} -l");
        }
        format!("{change}exec {shell} -l -c {}", quote(&join(self.command)))
    }
}

/// Where the guest has a directory of the host: through the mount that is nearest to it.
#[must_use]
pub fn dir_in_guest(dir: &Path, mounts: &[Mount]) -> Option<String> {
    let covering = mounts
        .iter()
        .filter_map(|mount| Some((mount, dir.strip_prefix(&mount.location).ok()?)));
    let (mount, rest) = covering.min_by_key(|(_, rest)| rest.components().count())?;
    // Joining an empty path would add a slash.
    let there = rest
        .components()
        .fold(PathBuf::from(&mount.mount_point), |path, part| {
            path.join(part)
        });
    there.into_os_string().into_string().ok()
}

/// One side of a copy, as somebody writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// A path of the host.
    Local(String),
    /// `NAME:path`, a path of a guest, relative to the user's home there.
    Remote {
        /// Name of the instance.
        name: String,
        /// The path.
        path: String,
    },
}

impl Side {
    /// Reads `NAME:path` or a path. What has a slash before its first colon is a path, so `./a:b` is one too.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !name.is_empty() && !name.contains('/') => Self::Remote {
                name: name.to_owned(),
                path: path.to_owned(),
            },
            _ => Self::Local(text.to_owned()),
        }
    }
}

/// One side of a copy, with what is needed to reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// A path of the host.
    Local(&'a str),
    /// A path in a guest.
    Remote {
        /// The guest.
        guest: &'a Guest,
        /// The path.
        path: &'a str,
    },
}

/// A guest as `scp` reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// How.
    pub access: Access,
    /// The private key.
    pub key: PathBuf,
    /// Login name.
    pub user: String,
    /// Port of the host that leads to its ssh.
    pub port: u16,
}

/// Why there is no command line for a copy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Neither side is in a machine.
    #[error(
        "copy {from} {to}: neither is in a machine; NAME:path is, and a local name with a colon is written ./{to}"
    )]
    BothLocal {
        /// The source.
        from: String,
        /// The destination.
        to: String,
    },
}

/// `scp` from one place to another, through the host where both are in guests.
///
/// # Errors
/// Neither place is in a guest.
pub fn copy(recursive: bool, from: Place<'_>, to: Place<'_>) -> Result<Argv, Error> {
    let (client, mut argv) = match (from, to) {
        (Place::Local(from), Place::Local(to)) => {
            return Err(Error::BothLocal {
                from: from.to_owned(),
                to: to.to_owned(),
            });
        }
        (Place::Remote { guest, .. }, Place::Local(_))
        | (Place::Local(_), Place::Remote { guest, .. }) => {
            (&guest.access.client, config_of(guest))
        }
        (Place::Remote { guest: one, .. }, Place::Remote { guest: other, .. }) => {
            let mut argv = if one == other {
                config_of(one)
            } else {
                options_of(one)
            };
            argv.push("-3".into());
            (&one.access.client, argv)
        }
    };
    let is_between = matches!((from, to), (Place::Remote { guest: one, .. }, Place::Remote { guest: other, .. }) if one != other);
    argv.insert(0, client.scp.clone().into());
    if let (true, Some(program)) = (client.is_chosen, client.ssh.first()) {
        // scp can be told a program, but not that program's arguments.
        argv.extend(["-S".into(), program.clone()]);
    }
    if recursive {
        argv.push("-r".into());
    }
    argv.push("--".into());
    argv.extend([from, to].map(|place| written(place, is_between).into()));
    Ok(argv)
}

fn config_of(guest: &Guest) -> Argv {
    vec!["-F".into(), guest.access.config.clone().into()]
}

/// Two guests have two configurations, and scp reads one: what they share is said with options, the rest in URIs.
fn options_of(guest: &Guest) -> Argv {
    let mut argv: Argv = vec![
        "-F".into(),
        "none".into(),
        "-i".into(),
        guest.key.clone().into(),
    ];
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "NoHostAuthenticationForLocalhost=yes",
        "PreferredAuthentications=publickey",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "LogLevel=ERROR",
    ] {
        argv.extend(["-o".into(), option.into()]);
    }
    argv
}

fn written(place: Place<'_>, as_uri: bool) -> String {
    match place {
        // scp takes what is before a colon for a host, unless there is a slash before it.
        Place::Local(path)
            if path
                .split('/')
                .next()
                .is_some_and(|head| head.contains(':')) =>
        {
            format!("./{path}")
        }
        Place::Local(path) => path.to_owned(),
        Place::Remote { guest, path } if as_uri => {
            let (user, path) = (percent(&guest.user), percent(path));
            format!("scp://{user}@127.0.0.1:{}/{path}", guest.port)
        }
        Place::Remote { guest, path } => format!("{}:{path}", guest.access.host),
    }
}

/// Encoded as RFC 3986 wants it, slashes kept.
fn percent(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
