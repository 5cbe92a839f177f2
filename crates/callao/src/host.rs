//! The process's surroundings: environment, home, working directory, terminals. Nothing else in callao reads them,
//! so a test can hand in others. What they mean is decided in `settings`.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the process's state"
)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use crate::{env_vars, process};

pub(crate) mod machine;
mod secret;

pub use secret::{
    LockedFile, lock_file, make_private_dir, random_bytes, read_locked, write_secret,
};

/// What this program is called where it is installed.
const PROGRAM: &str = "callao";

/// A snapshot of the surroundings, taken once at the start.
#[derive(Debug, Clone, Default)]
pub struct Host {
    variables: BTreeMap<OsString, OsString>,
    /// The arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// The working directory.
    pub working_dir: PathBuf,
    /// Whether stderr shows a progress bar well.
    pub stderr_is_terminal: bool,
    /// The path of this program.
    pub program: PathBuf,
}

impl Host {
    /// The surroundings of this process.
    pub fn of_this_process() -> Self {
        Host {
            variables: std::env::vars_os().collect(),
            arguments: std::env::args_os().collect(),
            working_dir: std::env::current_dir().unwrap_or_default(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            program: std::env::current_exe().unwrap_or_default(),
        }
    }

    /// A host with these variables and nothing else, for tests.
    pub fn with_variables<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Host {
            variables,
            working_dir: "/here".into(),
            ..Host::default()
        }
    }

    /// An environment variable; an empty one counts as not set.
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// An environment variable as text.
    pub fn text_variable(&self, name: &str) -> Option<String> {
        self.variable(name)
            .map(|value| value.to_string_lossy().into_owned())
    }

    /// The home directory.
    pub fn home(&self) -> Option<PathBuf> {
        self.variable(env_vars::HOME).map(PathBuf::from)
    }

    /// Go's `os.UserCacheDir`, which Lima uses: `$XDG_CACHE_HOME` (absolute) or `~/.cache`; on macOS
    /// `~/Library/Caches`; on Windows `%LocalAppData%`.
    pub fn user_cache_dir(&self) -> Result<PathBuf, String> {
        if cfg!(target_os = "windows") {
            return self
                .variable(env_vars::LOCAL_APP_DATA)
                .map(PathBuf::from)
                .ok_or("neither --cache-dir nor %LocalAppData% is set".into());
        }
        let home = || {
            self.home()
                .ok_or_else(|| "neither --cache-dir nor $HOME is set".to_string())
        };
        if cfg!(target_os = "macos") {
            return Ok(home()?.join("Library/Caches"));
        }
        match self.variable(env_vars::XDG_CACHE_HOME).map(PathBuf::from) {
            Some(dir) if dir.is_absolute() => Ok(dir),
            Some(dir) => Err(format!(
                "$XDG_CACHE_HOME is `{}`, which is not an absolute path",
                dir.display()
            )),
            None => Ok(home()?.join(".cache")),
        }
    }

    /// Where the settings file is looked for when nobody names one.
    pub fn config_file(&self) -> Option<PathBuf> {
        Some(self.config_dir()?.join("callao/config.toml"))
    }

    /// Where programs keep their settings: `$XDG_CONFIG_HOME`, or `~/.config`.
    pub fn config_dir(&self) -> Option<PathBuf> {
        match self.variable(env_vars::XDG_CONFIG_HOME) {
            Some(dir) => Some(PathBuf::from(dir)),
            None => Some(self.home()?.join(".config")),
        }
    }

    /// How files that call this program name it: as it is found on `PATH`, which outlives an update, if that is this very
    /// program.
    pub fn lasting_program(&self) -> PathBuf {
        let this = real_path(&self.program);
        process::on_path(self.variable(env_vars::PATH), PROGRAM, &|path| {
            is_program(path) && real_path(path) == this
        })
        .unwrap_or(this)
    }

    /// Where callao keeps what is the user's own: `$XDG_DATA_HOME/callao`, or `~/.local/share/callao`.
    ///
    /// # Errors
    /// Neither is set.
    pub fn data_dir(&self) -> Result<PathBuf, String> {
        self.own_dir(env_vars::XDG_DATA_HOME, ".local/share")
    }

    /// Where callao keeps what belongs to this computer: `$XDG_STATE_HOME/callao`, or `~/.local/state/callao`.
    ///
    /// # Errors
    /// Neither is set.
    pub fn state_dir(&self) -> Result<PathBuf, String> {
        self.own_dir(env_vars::XDG_STATE_HOME, ".local/state")
    }

    fn own_dir(&self, variable: &str, below_home: &str) -> Result<PathBuf, String> {
        let base = match self.variable(variable).map(PathBuf::from) {
            Some(dir) if dir.is_absolute() => dir,
            Some(dir) => {
                return Err(format!(
                    "${variable} is `{}`, which is not an absolute path",
                    dir.display()
                ));
            }
            None => self
                .home()
                .ok_or_else(|| format!("neither ${variable} nor $HOME is set"))?
                .join(below_home),
        };
        Ok(base.join("callao"))
    }

    /// A path as the user means it: relative to the working directory, `~/` the home directory.
    pub fn path(&self, text: &str) -> PathBuf {
        let expanded = match (text.strip_prefix("~/"), self.home()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        self.working_dir.join(expanded)
    }

    /// The architecture of this computer in Lima's words.
    pub fn arch(&self) -> &'static str {
        match std::env::consts::ARCH {
            "arm" => "armv7l",
            "powerpc64" => "ppc64le",
            other => other,
        }
    }
}

/// Reads a small file whole; more than `bytes_max` is an error of kind [`std::io::ErrorKind::FileTooLarge`].
pub fn read_small_file(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Gives a small file other bytes, durably, complete or not at all: its mode and (where that is allowed) its owner stay.
/// `false`, and nothing is changed, if it does not hold `before` any more.
///
/// # Errors
/// It cannot be read or written, or is read-only.
pub fn replace_file(
    path: &Path,
    temporary: &Path,
    before: &[u8],
    after: &[u8],
) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path)?;
    if about.permissions().readonly() {
        return Err(std::io::ErrorKind::ReadOnlyFilesystem.into());
    }
    let written = || {
        let mut file = std::fs::File::create_new(temporary)?;
        file.write_all(after)?;
        // Not everybody may give files away; they are the user's own in nearly all cases.
        std::os::unix::fs::chown(temporary, Some(about.uid()), Some(about.gid())).unwrap_or(());
        file.set_permissions(about.permissions())?;
        file.sync_all()?;
        // As late as can be: what somebody writes from here on would have to be written within microseconds.
        if std::fs::read(path)? != before {
            return Ok(false);
        }
        std::fs::rename(temporary, path)?;
        if let Some(dir) = path.parent() {
            std::fs::File::open(dir)?.sync_all()?;
        }
        Ok(true)
    };
    let done = written();
    if !matches!(done, Ok(true)) {
        // The first error is the one to tell.
        std::fs::remove_file(temporary).unwrap_or(());
    }
    done
}

/// What a path is, following links; `None` when there is nothing.
pub fn kind_of(path: &Path) -> Option<FileKind> {
    let about = std::fs::metadata(path).ok()?;
    Some(if about.is_dir() {
        FileKind::Directory
    } else {
        FileKind::File { size: about.len() }
    })
}

/// Whether a path is a file that may be run, following links.
pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Whether files can be made in a directory.
pub fn is_writable(dir: &Path) -> bool {
    may_write(dir).is_ok()
}

/// Why files cannot be made in a directory.
///
/// # Errors
/// The reason.
pub fn may_write(dir: &Path) -> std::io::Result<()> {
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    Ok(rustix::fs::access(dir, wanted)?)
}

/// The owner's number and the mode of a path; `None` when there is nothing.
pub fn owner_and_mode(path: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).ok()?;
    Some((about.uid(), about.mode()))
}

/// The number of the user whose rights this process has.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Bytes that this user may still write to the file system of a path.
///
/// # Errors
/// The path is not there, or the file system does not tell.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let about = rustix::fs::statvfs(path)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize))
}

/// Writes a file that may be run; it appears complete or not at all.
///
/// # Errors
/// The disk.
pub fn write_program(path: &Path, text: &str) -> std::io::Result<()> {
    write_beside(path, text, 0o755)
}

/// Writes a text and the directories above it; it appears complete or not at all. One that is there already, and is the
/// same, is not touched.
///
/// # Errors
/// The disk.
pub fn write_text(path: &Path, text: &str) -> std::io::Result<()> {
    write_if_other(path, text, 0o644)
}

/// As [`write_text`], for the eyes of the user alone.
///
/// # Errors
/// The disk.
pub fn write_private_text(path: &Path, text: &str) -> std::io::Result<()> {
    write_if_other(path, text, 0o600)
}

fn write_if_other(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if read_small_file(path, text.len() as u64).is_ok_and(|bytes| bytes == text.as_bytes()) {
        return Ok(());
    }
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    write_beside(path, text, mode)
}

fn write_beside(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let temporary = crate::commands::beside(path);
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        // Whatever the umask is.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| std::fs::remove_file(&temporary).unwrap_or(()))
}

/// Reads stdin to its end; more than `bytes_max` is an error of kind [`std::io::ErrorKind::FileTooLarge`].
///
/// # Errors
/// It is too long, or cannot be read.
pub fn read_stdin(bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Another program takes the place of this one, with our standard streams, or these bytes as its stdin. Comes back
/// only if that fails, and says why.
pub fn become_program(
    program: &Path,
    arguments: &[OsString],
    variables: &[(&str, OsString)],
    stdin: Option<Vec<u8>>,
) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .envs(variables.iter().map(|(name, value)| (name, value)));
    if let Some(bytes) = stdin {
        match file_with(&bytes) {
            Ok(file) => command.stdin(file),
            Err(error) => return error,
        };
    }
    command.exec()
}

/// An open file without a name that holds these bytes.
fn file_with(bytes: &[u8]) -> std::io::Result<std::fs::File> {
    use std::io::{Seek, Write};
    let dir = new_temporary_dir("callao-stdin")?;
    let path = dir.join("stdin");
    let opened = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    remove_tree(&dir)?;
    let mut file = opened?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Whether somebody sits in front of this process.
pub(crate) fn stdin_and_stdout_are_terminals() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Becomes independent of the terminal that this process was started from: its end, and its signals, are those of others.
/// A process that leads a group already stays where it is.
pub(crate) fn leave_terminal() {
    let _ = rustix::process::setsid();
}

/// What is in a file from a place on.
pub(crate) enum Piece {
    /// Bytes, at most as many as were asked for; none: the place is its end.
    Bytes(Vec<u8>),
    /// The file ends before this place.
    Shorter,
}

/// Reads a piece of a file. One that is not there is empty.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_at(path: &Path, at: u64, bytes_max: usize) -> std::io::Result<Piece> {
    use std::os::unix::fs::FileExt;
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Piece::Bytes(Vec::new()));
        }
        opened => opened?,
    };
    if file.metadata()?.len() < at {
        return Ok(Piece::Shorter);
    }
    let mut bytes = vec![0; bytes_max];
    let read = file.read_at(&mut bytes, at)?;
    bytes.truncate(read);
    Ok(Piece::Bytes(bytes))
}

/// Starts a program that outlives this one and its terminal: it reads nothing, and what it says is added to a file.
///
/// # Errors
/// It cannot be started, or the file not be opened.
pub(crate) fn start_detached(
    program: &Path,
    arguments: &[OsString],
    log: &Path,
) -> std::io::Result<std::process::Child> {
    use std::os::unix::fs::OpenOptionsExt;
    let said = std::fs::File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log)?;
    std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
}

/// The names in a directory, sorted; none where it cannot be read.
pub fn names_in(dir: &Path) -> Vec<OsString> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    names
}

/// When a file was read or written last, in seconds since 1970, as far as the file system notes it.
pub fn last_use(path: &Path) -> Option<i64> {
    use std::os::unix::fs::MetadataExt;
    let about = std::fs::metadata(path).ok()?;
    Some(about.atime().max(about.mtime()))
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A directory.
    Directory,
    /// Anything that can be read.
    File {
        /// Its length in bytes.
        size: u64,
    },
}

/// The absolute path without links, or the path itself where that is not known.
pub fn real_path(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A new, empty directory below the system's place for such.
///
/// # Errors
/// It cannot be made.
pub fn new_temporary_dir(name: &str) -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir(&path)?;
    Ok(path)
}

/// Removes a directory and everything in it.
///
/// # Errors
/// Something in it cannot be removed.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(path)
}

/// Removes directories that hold nothing but empty directories; anything else stays.
pub fn remove_empty_dirs(path: &Path) {
    let Ok(entries) = std::fs::read_dir(path) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_dirs(&entry.path());
        }
    }
    // Not empty, then: it is still needed.
    std::fs::remove_dir(path).unwrap_or(());
}

/// Seconds since 1970.
pub fn unix_now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |elapsed| {
        i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_kept_where_the_desktop_wants_it() {
        for (variables, want) in [
            ([("HOME", "/h"), ("XDG_STATE_HOME", "/s")], Ok("/s/callao")),
            (
                [("HOME", "/h"), ("XDG_STATE_HOME", "")],
                Ok("/h/.local/state/callao"),
            ),
            (
                [("HOME", "/h"), ("XDG_STATE_HOME", "s")],
                Err("$XDG_STATE_HOME is `s`, which is not an absolute path"),
            ),
            (
                [("HOME", ""), ("XDG_STATE_HOME", "")],
                Err("neither $XDG_STATE_HOME nor $HOME is set"),
            ),
        ] {
            let host = Host::with_variables(variables);
            let want = want.map(PathBuf::from).map_err(String::from);
            assert_eq!(host.state_dir(), want);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_cache_directory_is_that_of_lima() {
        let cases = [
            (Host::with_variables([("HOME", "/h")]), Ok("/h/.cache")),
            (
                Host::with_variables([("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]),
                Ok("/c"),
            ),
            (
                Host::with_variables([("HOME", "/h"), ("XDG_CACHE_HOME", "")]),
                Ok("/h/.cache"),
            ),
            (
                Host::with_variables([("XDG_CACHE_HOME", "c")]),
                Err("$XDG_CACHE_HOME is `c`, which is not an absolute path"),
            ),
            (
                Host::with_variables([]),
                Err("neither --cache-dir nor $HOME is set"),
            ),
        ];
        for (host, want) in cases {
            assert_eq!(
                host.user_cache_dir(),
                want.map(PathBuf::from).map_err(String::from)
            );
        }
    }

    #[test]
    fn data_is_kept_where_the_desktop_wants_it() {
        for (variables, want) in [
            ([("HOME", "/h"), ("XDG_DATA_HOME", "/d")], Ok("/d/callao")),
            (
                [("HOME", "/h"), ("XDG_DATA_HOME", "")],
                Ok("/h/.local/share/callao"),
            ),
            (
                [("HOME", "/h"), ("XDG_DATA_HOME", "d")],
                Err("$XDG_DATA_HOME is `d`, which is not an absolute path"),
            ),
            (
                [("HOME", ""), ("XDG_DATA_HOME", "")],
                Err("neither $XDG_DATA_HOME nor $HOME is set"),
            ),
        ] {
            let host = Host::with_variables(variables);
            assert_eq!(
                host.data_dir(),
                want.map(PathBuf::from).map_err(String::from)
            );
        }
    }

    #[test]
    fn paths_are_the_users() {
        let host = Host::with_variables([("HOME", "/h")]);
        assert_eq!(host.path("a.img"), PathBuf::from("/here/a.img"));
        assert_eq!(host.path("/a.img"), PathBuf::from("/a.img"));
        assert_eq!(host.path("~/a.img"), PathBuf::from("/h/a.img"));
    }
}
