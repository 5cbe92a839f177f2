//! Where everything that callao prints goes through: results on stdout, everything else on stderr. Broken pipes are
//! no errors. Knows how to print, not what happened.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;
use serde::Serialize;

use crate::error::CommandError;

pub mod human;
pub mod json;
pub mod progress;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Nothing: whoever works for the daemon. What would be a warning goes into its log.
    Silent,
    /// Errors and results.
    Quiet,
    /// What a user wants to know.
    Normal,
    /// Every source that is asked.
    Verbose,
}

/// What decides how things are printed.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// How much.
    pub verbosity: Verbosity,
    /// One JSON object a line on stdout.
    pub json: bool,
    /// Progress at all.
    pub progress: bool,
    /// stderr is a terminal that can redraw lines.
    pub terminal: bool,
    /// Colours on stderr.
    pub colours: bool,
}

/// The one printer of a process.
pub struct Output {
    style: Style,
    bars: MultiProgress,
    // Keeps lines of several threads apart.
    lock: Mutex<()>,
}

impl Output {
    /// A printer.
    pub fn new(style: Style) -> Self {
        let bars = MultiProgress::new();
        if !(style.progress && style.terminal) {
            bars.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Output {
            style,
            bars,
            lock: Mutex::new(()),
        }
    }

    /// One that prints nothing.
    pub fn silent() -> Self {
        Output::new(Style {
            verbosity: Verbosity::Silent,
            json: false,
            progress: false,
            terminal: false,
            colours: false,
        })
    }

    /// How things are printed.
    pub fn style(&self) -> Style {
        self.style
    }

    /// The bars on the terminal.
    pub fn bars(&self) -> &MultiProgress {
        &self.bars
    }

    /// A line that a user wants to know.
    pub fn info(&self, line: impl AsRef<str>) {
        if self.style.verbosity >= Verbosity::Normal {
            self.stderr_line(line.as_ref());
        }
    }

    /// A line for those who asked for more.
    pub fn detail(&self, line: impl AsRef<str>) {
        if self.style.verbosity >= Verbosity::Verbose {
            self.stderr_line(line.as_ref());
        }
    }

    /// Something that is not as it should be, but hinders nothing. Printed also when quiet.
    pub fn warning(&self, line: impl AsRef<str>) {
        if self.style.verbosity == Verbosity::Silent {
            tracing::warn!("{}", line.as_ref());
            return;
        }
        self.stderr_line(&format!(
            "{} {}",
            self.paint("warning:", "33"),
            line.as_ref()
        ));
        if self.style.json {
            self.json(&json::Warning {
                kind: "warning",
                message: line.as_ref(),
            });
        }
    }

    /// Why it failed, with details and hints.
    pub fn error(&self, error: &CommandError) {
        self.stderr_line(&human::error(
            error,
            &self.paint("error:", "31"),
            &self.paint("hint:", "36"),
        ));
        if self.style.json {
            self.json(&json::Failure::new(error));
        }
    }

    /// A result line on stdout; not printed with `--json`, where [`Output::json`] says it.
    pub fn result(&self, line: impl AsRef<str>) {
        if !self.style.json && self.style.verbosity != Verbosity::Silent {
            self.stdout_line(line.as_ref());
        }
    }

    /// One JSON object on stdout, if `--json` was asked for.
    pub fn json<T: Serialize>(&self, value: &T) {
        if !self.style.json {
            return;
        }
        match serde_json::to_string(&json::Line {
            v: json::VERSION,
            value,
        }) {
            Ok(line) => self.stdout_line(&line),
            Err(error) => self.stderr_line(&format!("failed to write an event as JSON: {error}")),
        }
    }

    fn stdout_line(&self, line: &str) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stdout = std::io::stdout().lock();
        // Nobody reads any more (`| head`): that is their decision.
        self.bars.suspend(|| {
            writeln!(stdout, "{line}")
                .and_then(|()| stdout.flush())
                .unwrap_or(())
        });
    }

    fn stderr_line(&self, line: &str) {
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.bars
            .suspend(|| writeln!(std::io::stderr().lock(), "{line}").unwrap_or(()));
    }

    fn paint(&self, text: &str, colour: &str) -> String {
        if self.style.colours {
            format!("\u{1b}[1;{colour}m{text}\u{1b}[0m")
        } else {
            text.to_string()
        }
    }
}
