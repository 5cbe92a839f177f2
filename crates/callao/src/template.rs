//! Templates as the user means them: found by any locator that limactl knows, merged with their bases and with what the
//! computer has for every template. What a template means is `callao-template`'s business; which of its files are needed
//! is `get`'s.

use callao_template::load::{Around, Document};
use callao_template::{Arch, Template, image_locator};

use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;

pub(crate) mod archives;
pub(crate) mod image_name;
pub(crate) mod lima_home;
mod loader;
pub(crate) mod plugins;
pub(crate) mod references;
pub(crate) mod search;
mod shipped;
mod web;

/// Loads a template with its bases; warnings about it are printed. `sources` are where `ipfs://` may be asked for.
///
/// # Errors
/// Not found, network, template: it, or one of its bases, is not there or is wrong.
pub(crate) fn load(
    app: &App,
    sources: &SourceArgs,
    locator: &str,
) -> Result<Template, CommandError> {
    read(app, sources, locator, false)
}

/// As [`load`], with the scripts that the template names.
///
/// # Errors
/// As [`load`]; a script that is not there.
pub(crate) fn load_with_scripts(
    app: &App,
    sources: &SourceArgs,
    locator: &str,
) -> Result<Template, CommandError> {
    read(app, sources, locator, true)
}

fn read(
    app: &App,
    sources: &SourceArgs,
    locator: &str,
    scripts: bool,
) -> Result<Template, CommandError> {
    let loader = loader::Finder::new(app, sources);
    let document = loader.first(locator)?;
    complete(app, &loader, document, scripts)
}

/// The template that an image stands for, with what the computer has for every template. Its architecture is that of
/// its name, else `otherwise`.
///
/// # Errors
/// As [`load`].
pub(crate) fn of_image(
    app: &App,
    sources: &SourceArgs,
    location: &str,
    otherwise: Arch,
) -> Result<Template, CommandError> {
    let (text, _) = image_locator::template_of(location, otherwise);
    let document = Document {
        name: location.to_string(),
        locator: location.to_string(),
        text,
    };
    complete(app, &loader::Finder::new(app, sources), document, true)
}

fn complete(
    app: &App,
    loader: &loader::Finder<'_>,
    document: Document,
    scripts: bool,
) -> Result<Template, CommandError> {
    let around = Around {
        scripts,
        ..lima_home::around(app)?
    };
    let parsed = callao_template::load::load(loader, document, &around)?;
    for warning in &parsed.warnings {
        app.output.warning(format!(
            "template {}: {}",
            warning.template, warning.message
        ));
    }
    Ok(parsed.template)
}

/// This computer's architecture.
///
/// # Errors
/// Usage: Lima does not know it.
pub(crate) fn host_arch(app: &App) -> Result<Arch, CommandError> {
    let name = app.host.arch();
    name.parse().map_err(|_| {
        CommandError::usage(format!(
            "this computer is a {name}, which Lima does not know"
        ))
        .hint("say --arch")
    })
}
