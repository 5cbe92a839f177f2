//! Errors as the user sees them: a kind (which is the exit code), one sentence, details, and what to do about it.
//! The only place that turns the libraries' errors into words of advice.

use std::fmt;

use crate::exit_code::ExitCode;

mod from;

/// Why a command failed.
#[derive(Debug, Clone)]
pub struct CommandError {
    /// Decides the exit code.
    pub kind: ExitCode,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// Further lines: one reason a line.
    pub details: Vec<String>,
    /// What the user can do.
    pub hints: Vec<String>,
}

impl CommandError {
    /// An error without details.
    pub fn new(kind: ExitCode, message: impl Into<String>) -> Self {
        CommandError {
            kind,
            message: message.into(),
            details: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// The command line or the settings are wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        CommandError::new(ExitCode::Usage, message)
    }

    /// SIGINT or SIGTERM.
    pub fn interrupted() -> Self {
        CommandError::new(ExitCode::Interrupted, "interrupted")
    }

    /// Adds a line of details.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says what was being done: the old message becomes the rest of the new one.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// An I/O error at a path.
    pub fn io(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let failed = CommandError::new(
            ExitCode::Disk,
            format!("failed to {doing} `{}`: {error}", path.display()),
        );
        match disk_hint(error) {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        for detail in &self.details {
            write!(f, "\n  {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CommandError {}

/// What to do about a disk that refuses.
pub fn disk_hint(error: &std::io::Error) -> Option<&'static str> {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
            "make room (callao cache prune --help tells how), or name another place with --cache-dir",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("check the permissions of this directory, or name another place with --cache-dir")
        }
        _ => None,
    }
}
