//! From a WHAT to what it needs: the files of a template, or the one file that it names. Opens no socket.

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_template::{Arch, SelectOptions};

use super::plan::{self, Alternative, Location, Need, Noun, Pins, Place, Want};
use super::what::What;
use crate::app::App;
use crate::cli::TemplateArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;

/// limactl's own limit is 4 MiB; the rest is read to be able to say how large it is.
const TEMPLATE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What the user said about the files of a WHAT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// Which files of a template.
    pub(crate) template: &'a TemplateArgs,
    pub(crate) pins: Pins,
    /// What a WHAT that is not a template must be.
    pub(crate) digest: Option<Digest>,
    pub(crate) cid: Option<Cid>,
}

/// What a WHAT needs.
///
/// # Errors
/// Template and usage: a template that cannot be read or has nothing for the architecture.
pub(crate) fn of(app: &App, what: What, choice: &Choice<'_>) -> Result<Vec<Need>, CommandError> {
    let location = match what {
        What::Template { text, path } => return template_needs(app, choice, &text, &path),
        What::Url { text, address } => Location {
            text,
            place: Place::Http(address),
        },
        What::Ipfs { text, address } => Location {
            text,
            place: Place::Ipfs(address),
        },
        What::Local { text, path } => Location {
            text,
            place: Place::Local(path.display().to_string()),
        },
    };
    let whole = location
        .address()
        .filter(|address| address.path.is_empty())
        .map(|address| address.cid);
    let noun = Noun::of_location(&location.text);
    let want = Want {
        noun,
        arch: None,
        locations: vec![location],
        digest: choice.digest,
        cid: choice.cid.or(whole),
    };
    Ok(vec![plan::need(vec![Alternative::of(want)], choice.pins)])
}

fn template_needs(
    app: &App,
    choice: &Choice<'_>,
    name: &str,
    path: &std::path::Path,
) -> Result<Vec<Need>, CommandError> {
    let bytes = host::read_small_file(path, TEMPLATE_BYTES_MAX).map_err(|error| {
        CommandError::new(
            ExitCode::Template,
            format!("failed to read template {name}: {error}"),
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        CommandError::new(
            ExitCode::Template,
            format!("template {name} is not UTF-8 text"),
        )
    })?;
    let parsed = callao_template::parse(&text, name)?;
    for warning in &parsed.warnings {
        app.output
            .warning(format!("template {name}: {}", warning.message));
    }
    let args = choice.template;
    let arch = match args.arch.as_deref() {
        Some(text) => text
            .parse()
            .map_err(|error: callao_template::UnknownArch| {
                CommandError::usage(error.to_string())
            })?,
        None => match parsed.template.arch {
            Some(arch) => arch,
            None => host_arch(app)?,
        },
    };
    let options = SelectOptions {
        variant: args.image_variant.as_deref(),
        arch_variant: args.arch_variant.as_deref(),
    };
    let selection = callao_template::select(&parsed.template, arch, &options)?;
    for skipped in &selection.skipped {
        app.output.detail(format!(
            "Not needed: `{}` ({})",
            skipped.location, skipped.reason
        ));
    }
    let mut needs = plan::of_selection(&selection, !args.no_archives, choice.pins);
    for want in needs
        .iter_mut()
        .flat_map(|need| &mut need.alternatives)
        .flat_map(|one| &mut one.wants)
    {
        want.arch = want.arch.or(Some(arch));
    }
    Ok(needs)
}

/// The architecture of this computer.
///
/// # Errors
/// Usage: one that Lima does not know.
pub(crate) fn host_arch(app: &App) -> Result<Arch, CommandError> {
    let name = app.host.arch();
    name.parse().map_err(|_| {
        CommandError::usage(format!(
            "this computer is a {name}, which Lima does not know"
        ))
        .hint("say --arch")
    })
}
