//! The text that is locked: where it comes from, and how it goes back. Knows nothing of YAML.

use std::path::PathBuf;

use crate::app::App;
use crate::commands::{beside, print_text};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, FileKind};

/// limactl's own limit is 4 MiB; the rest is read to be able to say how large it is.
const TEMPLATE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A template that was read.
#[derive(Debug)]
pub(super) struct Target {
    /// As messages call it.
    pub(super) name: String,
    pub(super) text: String,
    /// `None` is stdin and stdout.
    path: Option<PathBuf>,
}

impl Target {
    /// Reads a template from a path or, as `-`, from stdin.
    ///
    /// # Errors
    /// Usage and not found; template, if it is no text.
    pub(super) fn read(app: &App, given: &str) -> Result<Self, CommandError> {
        if given == "-" {
            let bytes = host::read_stdin(TEMPLATE_BYTES_MAX);
            return Self::of("<stdin>", None, bytes);
        }
        let is_elsewhere = given.starts_with("template:")
            || given
                .split_once("://")
                .is_some_and(|(scheme, _)| scheme != "file");
        if is_elsewhere {
            return Err(CommandError::usage(format!(
                "`{given}` is not a file that could be changed"
            ))
            .hint("give the path of a template, or its text on stdin: callao lock - < TEMPLATE"));
        }
        let path = app
            .host
            .path(given.strip_prefix("file://").unwrap_or(given));
        match host::kind_of(&path) {
            None => Err(CommandError::new(
                ExitCode::NotFound,
                format!("there is no file `{given}`"),
            )),
            Some(FileKind::Directory) => {
                Err(CommandError::usage(format!("`{given}` is a directory")))
            }
            Some(FileKind::File { .. }) => {
                // A link stays a link: the file that it leads to is changed.
                let path = host::real_path(&path);
                let bytes = host::read_small_file(&path, TEMPLATE_BYTES_MAX);
                Self::of(given, Some(path), bytes)
            }
        }
    }

    fn of(
        name: &str,
        path: Option<PathBuf>,
        bytes: std::io::Result<Vec<u8>>,
    ) -> Result<Self, CommandError> {
        let wrong = |message| CommandError::new(ExitCode::Template, message);
        let bytes =
            bytes.map_err(|error| wrong(format!("failed to read template {name}: {error}")))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong(format!("template {name} is not UTF-8 text")))?;
        Ok(Target {
            name: name.to_owned(),
            text,
            path,
        })
    }

    /// Whether the result goes to stdout.
    pub(super) fn is_stream(&self) -> bool {
        self.path.is_none()
    }

    /// The template has this text now.
    ///
    /// # Errors
    /// Template: somebody else has changed the file meanwhile; it stays as it is. Disk.
    pub(super) fn write(&self, app: &App, text: &str) -> Result<(), CommandError> {
        let Some(path) = &self.path else {
            return match app.output.style().json {
                true => Ok(()),
                false => print_text(text.as_bytes()),
            };
        };
        if text == self.text {
            return Ok(());
        }
        let _guard = app.interrupt.guard();
        app.interrupt.check()?;
        let replaced =
            host::replace_file(path, &beside(path), self.text.as_bytes(), text.as_bytes());
        match replaced {
            Ok(true) => Ok(()),
            Ok(false) => Err(CommandError::new(
                ExitCode::Template,
                format!(
                    "template {} was changed by somebody else meanwhile: nothing was written",
                    self.name
                ),
            )
            .hint("run the same command again; what was fetched is in the cache")),
            Err(error) => Err(CommandError::new(
                ExitCode::Disk,
                format!("failed to write template {}: {error}", self.name),
            )),
        }
    }
}
