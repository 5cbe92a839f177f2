//! Runs a program for its answer: a deadline, bounded output, and its own words when it fails.
//!
//! It must not know which programs there are; see `qemu::process` for what keeps running.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::{child, files, limits};

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

/// It could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("cannot run {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not end.
    #[error("{} did not end within {} s and was killed", program.display(), after.as_secs())]
    Late {
        /// The program.
        program: PathBuf,
        /// How long it had.
        after: Duration,
    },
    /// It ended badly.
    #[error("{} ended with {status}: `{words}`", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How.
        status: ExitStatus,
        /// Its own words.
        words: String,
    },
}

/// Runs a program until it ends.
///
/// # Errors
/// It cannot be started, or does not end in time; then it is killed.
pub async fn ask<S: AsRef<OsStr>>(
    program: &Path,
    arguments: &[S],
    wait: Duration,
) -> Result<Answer, ProgramError> {
    let mut argv = vec![program.as_os_str().to_owned()];
    argv.extend(
        arguments
            .iter()
            .map(|argument| argument.as_ref().to_owned()),
    );
    let ended = child::run(&argv, b"", limits::OUTPUT_BYTES_MAX, wait).await;
    let ended = ended.map_err(|source| match source.kind() {
        std::io::ErrorKind::TimedOut => ProgramError::Late {
            program: program.to_owned(),
            after: wait,
        },
        _ => ProgramError::Start {
            program: program.to_owned(),
            source,
        },
    })?;
    Ok(Answer {
        status: ended.status,
        stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

/// Runs a program until it ends well, and gives its standard output.
///
/// # Errors
/// As `ask`, or it ended badly.
pub async fn ask_well<S: AsRef<OsStr>>(
    program: &Path,
    arguments: &[S],
    wait: Duration,
) -> Result<String, ProgramError> {
    let answer = ask(program, arguments, wait).await?;
    if answer.status.success() {
        return Ok(answer.stdout);
    }
    Err(ProgramError::Failed {
        program: program.to_owned(),
        status: answer.status,
        words: shown(answer.stderr.trim()),
    })
}

/// Foreign text for a message: one line, without control characters, not too long.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut chars = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| *c != '`');
    let mut out: String = chars.by_ref().take(limits::SHOWN_CHARS_MAX).collect();
    if chars.next().is_some() {
        out.push_str("...");
    }
    out
}

/// The first file of a name that somebody may run, as a shell looks for it. A name with a slash is a path.
#[must_use]
pub fn find(name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    if name.contains('/') {
        let path = PathBuf::from(name);
        return files::is_program(&path).then_some(path);
    }
    // An empty entry would be the working directory: never wanted.
    dirs.iter()
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|path| files::is_program(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    fn shell() -> PathBuf {
        PathBuf::from("/bin/sh")
    }

    #[tokio::test]
    async fn an_answer_has_both_outputs_and_the_status() {
        let answer = ask(&shell(), &["-c", "echo out; echo err >&2; exit 3"], WAIT).await;
        let answer = answer.expect("it ran");
        assert_eq!(answer.status.code(), Some(3));
        assert_eq!((&*answer.stdout, &*answer.stderr), ("out\n", "err\n"));
    }

    #[tokio::test]
    async fn what_fails_is_named_with_its_own_words() {
        let error = ask_well(&shell(), &["-c", "echo 'no `disk`' >&2; exit 1"], WAIT).await;
        assert_eq!(
            error.expect_err("it failed").to_string(),
            "/bin/sh ended with exit status: 1: `no disk`"
        );
        let error = ask(Path::new("/nowhere/qemu"), &["x"], WAIT).await;
        assert_eq!(
            error.expect_err("it is not there").to_string(),
            "cannot run /nowhere/qemu: No such file or directory (os error 2)"
        );
        let error = ask(
            &shell(),
            &["-c", "exec sleep 60"],
            Duration::from_millis(50),
        )
        .await;
        assert_eq!(
            error.expect_err("it is late").to_string(),
            "/bin/sh did not end within 0 s and was killed"
        );
    }

    #[tokio::test]
    async fn output_beyond_the_bound_does_not_stop_the_program() {
        let script = "head -c 6000000 /dev/zero | tr '\\0' a";
        let answer = ask(&shell(), &["-c", script], WAIT).await.expect("it ran");
        assert!(answer.status.success());
        assert_eq!(answer.stdout.len(), limits::OUTPUT_BYTES_MAX);
    }

    #[test]
    fn programs_are_found_in_order_and_never_in_the_working_directory() {
        let dirs = [
            PathBuf::from(""),
            PathBuf::from("."),
            PathBuf::from("/nowhere"),
            PathBuf::from("/bin"),
        ];
        assert_eq!(find("sh", &dirs), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find("sh", &dirs[..3]), None);
        assert_eq!(find("/bin/sh", &[]), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find("/bin", &[]), None);
    }
}
