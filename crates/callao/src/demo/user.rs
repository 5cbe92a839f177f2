//! A user of the demo: a home of their own, and the callaos that they run there. Each of these ends with the story, whoever
//! interrupts it. Knows no command.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::child::{self, Heard, Run};
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, Host};
use crate::interrupt::Interrupt;

/// Longer than a big image takes to boot where nothing but QEMU's translator runs it.
const COMMAND_MAX: Duration = Duration::from_secs(20 * 60);
/// What a user has of the real environment: which programs run machines, and how.
const KEPT: [&str; 5] = [
    env_vars::PATH,
    env_vars::CALLAO_ACCELERATOR,
    env_vars::QEMU_SYSTEM_X86_64,
    env_vars::QEMU_SYSTEM_AARCH64,
    env_vars::SSH,
];

/// A user.
pub(crate) struct User<'a> {
    host: &'a Host,
    home: PathBuf,
    interrupt: Option<&'a Interrupt>,
}

impl<'a> User<'a> {
    /// A user with this home, which is made.
    ///
    /// # Errors
    /// The disk.
    pub(crate) fn new(
        host: &'a Host,
        home: PathBuf,
        interrupt: &'a Interrupt,
    ) -> Result<Self, CommandError> {
        host::make_private_dir(&home).map_err(|error| CommandError::io("make", &home, &error))?;
        Ok(User {
            host,
            home,
            interrupt: Some(interrupt),
        })
    }

    /// The same user, who puts things in order after an interrupt.
    pub(crate) fn undisturbed(&self) -> Self {
        User {
            host: self.host,
            home: self.home.clone(),
            interrupt: None,
        }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// A callao in this home, which finds nobody who is not named. It is in a group of its own: the terminal interrupts the
    /// demo alone, which ends everything in order.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(&self.host.program);
        command
            .env_clear()
            .env(env_vars::HOME, &self.home)
            .env(env_vars::CALLAO_DISCOVERY, "none")
            .args(arguments)
            .current_dir(&self.home)
            .process_group(0);
        for name in KEPT {
            if let Some(value) = self.host.variable(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs a callao to its end; it must succeed. `tell` gets what it says on stderr as it comes.
    ///
    /// # Errors
    /// It fails, or takes too long; interrupted.
    pub(crate) fn succeed(
        &self,
        arguments: &[&str],
        tell: &mut dyn FnMut(&str),
    ) -> Result<Run, CommandError> {
        let shown = format!("callao {}", arguments.join(" "));
        let run = self.run(arguments, tell).map_err(|error| {
            CommandError::new(
                ExitCode::Unexpected,
                format!("failed to run `{shown}`: {error}"),
            )
        })?;
        if let Some(interrupt) = self.interrupt {
            interrupt.check()?;
        }
        if run.status.success() {
            return Ok(run);
        }
        let mut error = CommandError::new(
            ExitCode::Unexpected,
            format!("the demo failed: `{shown}` did ({})", run.status),
        );
        error.details.extend(run.messages);
        Err(error)
    }

    fn run(&self, arguments: &[&str], tell: &mut dyn FnMut(&str)) -> std::io::Result<Run> {
        let since = Instant::now();
        child::run(&mut self.command(arguments), &mut |heard| {
            if let Heard::Message(line) = heard {
                tell(line);
            }
            let is_interrupted = self.interrupt.is_some_and(Interrupt::is_set);
            match is_interrupted || since.elapsed() > COMMAND_MAX {
                true => ControlFlow::Break(Signal::TERM),
                false => ControlFlow::Continue(()),
            }
        })
    }
}
