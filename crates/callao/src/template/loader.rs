//! From a locator to the text of a template: files, the standard input, names, the web, IPFS, plugins. Must not know
//! what a template says.

use std::path::Path;

use callao_template::image_locator;
use callao_template::limits::{LOCATOR_BYTES_MAX, TEMPLATE_SIZE_BYTES_MAX};
use callao_template::load::{Asker, Document, Loader};
use callao_template::locator::Locator;

use super::{host_arch, plugins, search, web};
use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::needs;
use crate::get::plan::Noun;
use crate::host;

/// More plugins than this in a row do not come to an end.
const PLUGINS_COUNT_MAX: usize = 16;

/// Finds templates for one command.
pub(super) struct Finder<'a> {
    app: &'a App,
    sources: &'a SourceArgs,
}

impl<'a> Finder<'a> {
    pub(super) fn new(app: &'a App, sources: &'a SourceArgs) -> Self {
        Finder { app, sources }
    }

    /// The template that the user names: relative paths are those of the working directory.
    pub(super) fn first(&self, text: &str) -> Result<Document, CommandError> {
        self.read(text)
    }

    fn read(&self, named: &str) -> Result<Document, CommandError> {
        self.app.interrupt.check()?;
        let locator = self.followed(named)?;
        if image_locator::is_image(&locator) {
            let (text, assumed) = image_locator::template_of(&locator, host_arch(self.app)?);
            if assumed {
                self.app.output.warning(format!(
                    "`{locator}` does not say its architecture: it is taken for that of this computer"
                ));
            }
            return Ok(document(named, named, text));
        }
        let mut place = named.to_owned();
        let bytes = match Locator::read(&locator) {
            Locator::Named { name, .. } => {
                search::read(&self.app.host, &name).map(String::into_bytes)?
            }
            Locator::Http => web::get(self.app, &locator)?,
            Locator::Stdin => host::read_stdin(TEMPLATE_SIZE_BYTES_MAX as u64)
                .map_err(|error| unreadable("on stdin", &error))?,
            Locator::File(path) if path.starts_with('/') => read_file(Path::new(&path), named)?,
            Locator::File(_) => {
                return Err(CommandError::usage(format!(
                    "`{locator}` is not an absolute path, as file:// needs it"
                )));
            }
            Locator::Custom { scheme, rest } if scheme == "ipfs" => self.ipfs(&rest)?,
            Locator::Custom { scheme, .. } if scheme == "github" => {
                return Err(CommandError::new(
                    ExitCode::Template,
                    format!("`{locator}`: templates of github: are not supported"),
                )
                .hint("name the file itself: https://raw.githubusercontent.com/OWNER/REPOSITORY/BRANCH/PATH"));
            }
            Locator::Custom { .. } | Locator::Path => {
                let path = self.app.host.path(&locator);
                place = path.display().to_string();
                read_file(&path, named)?
            }
        };
        let text = text_of(bytes, named)?;
        Ok(document(named, &place, text))
    }

    /// Through plugins until one of them, or nobody, changes it any more.
    fn followed(&self, named: &str) -> Result<String, CommandError> {
        let mut seen: Vec<String> = Vec::new();
        let mut locator = named.to_owned();
        loop {
            if locator.len() > LOCATOR_BYTES_MAX {
                return Err(CommandError::new(
                    ExitCode::Template,
                    "the locator of a template is too long",
                ));
            }
            let next = match Locator::read(&locator) {
                Locator::Named {
                    name,
                    old_form: true,
                } => {
                    self.app.output.warning(format!(
                        "template locator `{locator}` is written `template:{name}` since Lima v2.0"
                    ));
                    format!("template:{name}")
                }
                Locator::Custom { scheme, rest }
                    if !matches!(scheme.as_str(), "ipfs" | "github") =>
                {
                    match plugins::find(&self.app.host, &scheme) {
                        Some(plugin) => plugins::ask(self.app, &plugin, &rest)?,
                        None => return Ok(locator),
                    }
                }
                _ => return Ok(locator),
            };
            if next == locator {
                return Ok(locator);
            }
            seen.push(locator);
            if seen.contains(&next) || seen.len() > PLUGINS_COUNT_MAX {
                seen.push(next);
                return Err(CommandError::new(
                    ExitCode::Template,
                    format!("plugins send `{named}` round in a circle"),
                )
                .detail(seen.join(" -> ")));
            }
            locator = next;
        }
    }

    /// `ipfs://CID/path` as any other file: fetched, proven, and kept in the cache.
    fn ipfs(&self, rest: &str) -> Result<Vec<u8>, CommandError> {
        let locator = format!("ipfs://{}", rest.trim_start_matches('/'));
        let got = needs::fetch_one(self.app, self.sources, &locator, Noun::Template)?;
        read_file(Path::new(&got.path), &locator)
    }
}

impl Loader for Finder<'_> {
    type Error = CommandError;

    fn load(&self, locator: &str, asker: &Asker<'_>) -> Result<Document, CommandError> {
        self.read(locator).map_err(|error| {
            if error.kind == ExitCode::Interrupted {
                return error;
            }
            error.context(format!(
                "template {}, line {}: {}",
                asker.template, asker.line, asker.field
            ))
        })
    }
}

fn document(name: &str, locator: &str, text: String) -> Document {
    let name = if name == "-" { "on stdin" } else { name };
    Document {
        name: name.to_owned(),
        locator: locator.to_owned(),
        text,
    }
}

fn read_file(path: &Path, named: &str) -> Result<Vec<u8>, CommandError> {
    host::read_small_file(path, TEMPLATE_SIZE_BYTES_MAX as u64)
        .map_err(|error| unreadable(named, &error))
}

/// Why a template cannot be read.
pub(super) fn unreadable(name: &str, error: &std::io::Error) -> CommandError {
    use std::io::ErrorKind;
    let (kind, reason) = match error.kind() {
        ErrorKind::NotFound => (ExitCode::NotFound, "there is no such file".to_owned()),
        ErrorKind::FileTooLarge => (
            ExitCode::Template,
            format!("it has more than {TEMPLATE_SIZE_BYTES_MAX} bytes"),
        ),
        ErrorKind::IsADirectory => (ExitCode::Usage, "it is a directory".to_owned()),
        _ => (ExitCode::Template, error.to_string()),
    };
    CommandError::new(kind, format!("failed to read template {name}: {reason}"))
}

/// A template is UTF-8.
pub(super) fn text_of(bytes: Vec<u8>, name: &str) -> Result<String, CommandError> {
    String::from_utf8(bytes).map_err(|_| {
        CommandError::new(
            ExitCode::Template,
            format!("template {name} is not UTF-8 text"),
        )
    })
}
