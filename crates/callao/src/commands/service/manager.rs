//! The systemd of this user, asked and told by `systemctl --user`. Must not know what the unit says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::UNIT;
use crate::app::App;
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::process::{self, Ended, Program};

const PROGRAM: &str = "systemctl";
/// Stopping a service may take as long as its unit says, 30 s.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// A manager that answers.
pub(super) struct Manager<'a> {
    app: &'a App,
    systemctl: PathBuf,
    /// The number of its version.
    pub(super) version: Option<u32>,
}

impl<'a> Manager<'a> {
    /// Finds it, and asks whether it is there.
    ///
    /// # Errors
    /// Usage: there is none, or none for this user.
    pub(super) fn find(app: &'a App) -> Result<Self, CommandError> {
        let systemctl = process::on_path(
            app.host.variable(env_vars::PATH),
            PROGRAM,
            &host::is_program,
        );
        let systemctl = systemctl.ok_or_else(|| {
            CommandError::usage("there is no systemctl on PATH, so there is no systemd to tell")
                .hint("have whatever starts programs on this computer run `callao serve`")
        })?;
        let mut manager = Manager {
            app,
            systemctl,
            version: None,
        };
        let ended = manager.ask(&["show", "--property=Version", "--value"])?;
        if ended.code != 0 {
            return Err(not_there(&ended));
        }
        manager.version = number(&ended.stdout_text());
        Ok(manager)
    }

    /// Has it read the units again.
    pub(super) fn reload(&self) -> Result<(), CommandError> {
        self.tell(&["daemon-reload"])
    }

    /// Has the service start at every login. By its path: where `$XDG_CONFIG_HOME` is another one for the manager, it would
    /// not find the unit by its name.
    pub(super) fn enable(&self, unit: &Path) -> Result<(), CommandError> {
        self.tell(&["enable", &unit.to_string_lossy()])
    }

    /// Starts it, or starts it again.
    pub(super) fn restart(&self) -> Result<(), CommandError> {
        self.tell(&["restart", UNIT])
    }

    /// Stops it and has it start no more.
    pub(super) fn disable(&self) -> Result<(), CommandError> {
        self.tell(&["disable", "--now", UNIT])
    }

    /// Has it forget that the service failed.
    pub(super) fn forget(&self) -> Result<(), CommandError> {
        // There is nothing to forget, most likely, and that is an error for it.
        self.ask(&["reset-failed", UNIT]).map(drop)
    }

    /// `enabled`, `disabled`, `linked`, `masked` and so on; `not-found`.
    pub(super) fn is_enabled(&self) -> Result<String, CommandError> {
        let word = self.word("is-enabled")?;
        Ok(if word.is_empty() {
            "not-found".into()
        } else {
            word
        })
    }

    /// `active`, `activating`, `inactive`, `failed` and so on.
    pub(super) fn is_active(&self) -> Result<String, CommandError> {
        let word = self.word("is-active")?;
        Ok(if word.is_empty() {
            "inactive".into()
        } else {
            word
        })
    }

    /// The code with which the service ended last.
    pub(super) fn exit_status(&self) -> Result<Option<i32>, CommandError> {
        let ended = self.ask(&["show", "--property=ExecMainStatus", "--value", UNIT])?;
        Ok(ended.stdout_text().trim().parse().ok())
    }

    /// The first line of an answer whose exit code says no more.
    fn word(&self, verb: &str) -> Result<String, CommandError> {
        let said = self.ask(&[verb, UNIT])?.stdout_text();
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    }

    fn tell(&self, arguments: &[&str]) -> Result<(), CommandError> {
        let ended = self.ask(arguments)?;
        if ended.code == 0 {
            return Ok(());
        }
        let what = format!("`systemctl --user {}` failed", arguments.join(" "));
        let failed = CommandError::new(ExitCode::Unexpected, what);
        let said = ended.stderr_text();
        Err(said.lines().fold(failed, CommandError::detail))
    }

    fn ask(&self, arguments: &[&str]) -> Result<Ended, CommandError> {
        let program = Program::new(&self.systemctl).argument("--user");
        let program = program.arguments(arguments).deadline(ANSWER_MAX);
        Ok(program.run(&self.app.interrupt)?)
    }
}

fn not_there(ended: &Ended) -> CommandError {
    let failed = CommandError::usage("systemd runs no services for this user here");
    let said = ended.stderr_text();
    said.lines()
        .fold(failed, CommandError::detail)
        .hint(
            "log in as this user (by ssh or at the console; `su` and `sudo` are no logins), or have its services run \
             without a login: loginctl enable-linger USER",
        )
        .hint("without systemd (a container, say), have whatever starts programs there run `callao serve`")
}

/// 252 of `252.38-1~deb12u1`, `v252` and `252`.
fn number(version: &str) -> Option<u32> {
    let digits = version.trim().trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (text, wanted) in [
            ("252.38-1~deb12u1\n", Some(252)),
            ("v256~rc1", Some(256)),
            ("257", Some(257)),
            ("", None),
            ("new", None),
        ] {
            assert_eq!(number(text), wanted, "{text}");
        }
    }
}
