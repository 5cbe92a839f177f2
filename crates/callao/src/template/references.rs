//! Templates read only for what they refer to: nothing is said about them, and one that names no files is none the worse
//! for it. Must not know what the references are for.

use callao_template::load::{self, Asker, Document, Loader};
use callao_template::{Error, Template};

use super::lima_home;
use super::loader::Finder;
use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;

/// A template with its bases; `None` if it names no files, such as one that is only there to be a base.
///
/// # Errors
/// As [`super::load`].
pub(crate) fn of(app: &App, locator: &str) -> Result<Option<Template>, CommandError> {
    let sources = SourceArgs::default();
    let around = lima_home::around(app)?;
    let finder = Finder::new(app, &sources);
    let document = finder.first(locator)?;
    match load::load(&Silent(&finder), document, &around) {
        Ok(parsed) => Ok(Some(parsed.template)),
        Err(Refused::NoFiles) => Ok(None),
        Err(Refused::Other(error)) => Err(error),
    }
}

/// Why there is no model.
enum Refused {
    NoFiles,
    Other(CommandError),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error {
            Error::NoFiles { .. } => Refused::NoFiles,
            other => Refused::Other(other.into()),
        }
    }
}

/// The finder, with errors that can be told apart.
struct Silent<'l, 'a>(&'l Finder<'a>);

impl Loader for Silent<'_, '_> {
    type Error = Refused;

    fn load(&self, locator: &str, asker: &Asker<'_>) -> Result<Document, Refused> {
        self.0.load(locator, asker).map_err(Refused::Other)
    }
}
