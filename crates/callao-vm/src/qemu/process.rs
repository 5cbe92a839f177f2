//! Starts QEMU and keeps its log. What it says there is shown when it fails.
//!
//! It must not know what the arguments mean, nor when QEMU ought to end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::{files, limits};

/// A QEMU that was started.
#[derive(Debug)]
pub struct Started {
    /// The process. Dropping it does not end QEMU.
    pub child: Child,
    log: PathBuf,
    log_from: u64,
}

/// QEMU could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Its log cannot be written.
    #[error("cannot write the log {}: {source}", log.display())]
    Log {
        /// The log.
        log: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Starts a program that keeps running: in a process group of its own, so that ctrl-C in a terminal does not reach it,
/// with nothing to read, and with both outputs at the end of a log.
///
/// # Errors
/// The log cannot be written or the program not be started.
pub fn spawn(program: &Path, arguments: &[OsString], log: &Path) -> Result<Started, ProcessError> {
    let log_error = |source| ProcessError::Log {
        log: log.to_owned(),
        source,
    };
    keep_short(log).map_err(log_error)?;
    let out = files::append(log).map_err(log_error)?;
    let err = out.try_clone().map_err(log_error)?;
    let log_from = files::size(log).map_err(log_error)?;
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .process_group(0)
        .spawn()
        .map_err(|source| ProcessError::Start {
            program: program.to_owned(),
            source,
        })?;
    Ok(Started {
        child,
        log: log.to_owned(),
        log_from,
    })
}

impl Started {
    /// What it said since it was started.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(&self.log, self.log_from)
    }
}

/// The last lines of a log from an offset on, without control characters; empty if there is none.
#[must_use]
pub fn last_words(log: &Path, from: u64) -> String {
    let bytes = files::read_end(log, from, limits::LAST_WORDS_BYTES_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(printable).collect();
    let lines: Vec<&str> = lines
        .iter()
        .map(|line| line.trim_end())
        .filter(|line| !line.is_empty())
        .collect();
    let first = lines.len().saturating_sub(limits::LAST_WORDS_LINES_MAX);
    lines[first..].join("\n")
}

/// Without control characters and without the escape sequences (ECMA-48) with which consoles are coloured.
fn printable(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // Parameters, and then one letter.
            while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
            chars.next();
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    out
}

/// Puts a log aside as `NAME.old` once it is long. Logs are added to at every start: the boot before this one is often the
/// one that explains what went wrong.
///
/// # Errors
/// It cannot be renamed.
pub fn keep_short(log: &Path) -> std::io::Result<()> {
    if files::size(log).is_ok_and(|size| size > limits::LOG_BYTES_MAX) {
        files::rename(log, &old(log))?;
    }
    Ok(())
}

/// The same for a log that QEMU has open, whatever its guest says: a copy is put aside, and QEMU, which adds to its end,
/// finds it empty. What is added in between is lost.
///
/// # Errors
/// It cannot be copied or emptied.
pub fn keep_bounded(log: &Path) -> std::io::Result<()> {
    if files::size(log).is_ok_and(|size| size > limits::OPEN_LOG_BYTES_MAX) {
        files::move_content(log, &old(log))?;
    }
    Ok(())
}

fn old(log: &Path) -> PathBuf {
    let mut old = log.as_os_str().to_owned();
    old.push(".old");
    old.into()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write logs")]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn last_words_are_those_of_this_run() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("qemu.log");
        std::fs::write(&log, "of yesterday\n").expect("written");
        let script = "echo one; printf 'two\\033[1;31m red\\033[0m\\r\\n\\n' >&2; exit 1";
        let mut started =
            spawn(Path::new("/bin/sh"), &["-c".into(), script.into()], &log).expect("it starts");
        let status = started.child.wait().await.expect("it ends");
        assert_eq!(status.code(), Some(1));
        assert_eq!(started.last_words(), "one\ntwo red");
        assert_eq!(last_words(&log, 0), "of yesterday\none\ntwo red");
        assert_eq!(last_words(&dir.path().join("none"), 0), "");
    }

    #[test]
    fn last_words_are_few() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let text: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&log, text).expect("written");
        let words = last_words(&log, 0);
        assert_eq!(words.lines().count(), limits::LAST_WORDS_LINES_MAX);
        assert!(
            words.starts_with("line 4980\n") && words.ends_with("line 4999"),
            "{words}"
        );
    }

    #[test]
    fn a_long_log_is_put_aside() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        keep_short(&log).expect("nothing is there");
        std::fs::write(&log, vec![b'x'; 1 << 20]).expect("written");
        keep_short(&log).expect("short enough");
        assert!(files::is_there(&log));
        std::fs::write(&log, vec![b'x'; (1 << 20) + 1]).expect("written");
        keep_short(&log).expect("renamed");
        assert!(!files::is_there(&log) && files::is_there(&dir.path().join("log.old")));
    }

    #[test]
    fn a_log_that_is_written_is_emptied_when_it_is_too_long() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        let mut guest = files::append(&log).expect("a log");
        let most = usize::try_from(limits::OPEN_LOG_BYTES_MAX).expect("a size");
        guest.write_all(&vec![b'x'; most]).expect("written");
        keep_bounded(&log).expect("short enough");
        assert_eq!(last_words(&log, most as u64), "");
        guest.write_all(b"y\n").expect("written");
        keep_bounded(&log).expect("emptied");
        guest.write_all(b"of today\n").expect("written");
        // Whoever has read further begins at its start.
        assert_eq!(last_words(&log, most as u64), "of today");
        let old = std::fs::read(dir.path().join("log.old")).expect("what was there");
        assert!(old.len() == most + 2 && old.ends_with(b"y\n"));
    }

    #[tokio::test]
    async fn what_cannot_be_started_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = spawn(Path::new("/nowhere/qemu"), &[], &dir.path().join("log"));
        assert_eq!(
            error.expect_err("it is not there").to_string(),
            "cannot start /nowhere/qemu: No such file or directory (os error 2)"
        );
    }
}
