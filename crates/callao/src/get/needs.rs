//! From a WHAT to what it needs: the files of a template, or the one file that it names. Opens no socket, unless the
//! template itself is elsewhere.

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_template::{Arch, SelectOptions, Selection, Template};

use super::plan::{self, Alternative, Location, Need, Noun, Pins, Place, Want};
use super::run::{self, Job};
use super::sources::Places;
use super::what::What;
use crate::app::App;
use crate::cli::{SourceArgs, TemplateArgs};
use crate::error::CommandError;
use crate::output::json;
use crate::template;

/// What the user said about the files of a WHAT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// Which files of a template.
    pub(crate) template: &'a TemplateArgs,
    /// Where a template that is on IPFS may be asked for.
    pub(crate) sources: &'a SourceArgs,
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
        What::Template { locator } => {
            return Ok(of_template(app, choice, &locator)?.needs);
        }
        What::Url { text, address } => Location {
            text,
            place: Place::Http(address),
        },
        What::Ipfs { text, address } => Location {
            text,
            place: Place::Ipfs(address),
        },
        What::Oci { text, reference } => Location {
            text,
            place: Place::Oci(reference),
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
    let arch = match &location.place {
        Place::Oci(_) => Some(chosen_arch(app, choice.template)?),
        _ => None,
    };
    let want = Want {
        noun,
        arch,
        locations: vec![location],
        digest: choice.digest,
        cid: choice.cid.or(whole),
    };
    Ok(vec![plan::need(vec![Alternative::of(want)], choice.pins)])
}

/// A template, what was chosen from it, and what that needs.
pub(crate) struct TemplateNeeds {
    pub(crate) template: Template,
    /// The architecture that was chosen.
    pub(crate) arch: Arch,
    pub(crate) selection: Selection,
    pub(crate) needs: Vec<Need>,
}

/// What the template at a locator needs.
///
/// # Errors
/// Template, not found, network: it cannot be loaded or has nothing for the architecture.
pub(crate) fn of_template(
    app: &App,
    choice: &Choice<'_>,
    locator: &str,
) -> Result<TemplateNeeds, CommandError> {
    let template = template::load(app, choice.sources, locator)?;
    of_loaded(app, choice, template)
}

/// What a template that is loaded already needs.
///
/// # Errors
/// Template: it has nothing for the architecture.
pub(crate) fn of_loaded(
    app: &App,
    choice: &Choice<'_>,
    mut template: Template,
) -> Result<TemplateNeeds, CommandError> {
    let args = choice.template;
    let arch = match args.arch.as_deref() {
        Some(text) => text.parse()?,
        None => match template.arch {
            Some(arch) => arch,
            None => template::host_arch(app)?,
        },
    };
    if !args.no_archives {
        template::archives::complete(app, &mut template, arch)?;
    }
    let options = SelectOptions {
        variant: args.image_variant.as_deref(),
        arch_variant: args.arch_variant.as_deref(),
        default_vm: Some(default_vm(app, arch)),
    };
    let selection = callao_template::select(&template, arch, &options)?;
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
    Ok(TemplateNeeds {
        template,
        arch,
        selection,
        needs,
    })
}

/// `--arch`, or that of this computer.
fn chosen_arch(app: &App, args: &TemplateArgs) -> Result<Arch, CommandError> {
    match args.arch.as_deref() {
        Some(text) => Ok(text.parse()?),
        None => template::host_arch(app),
    }
}

/// The driver that limactl takes when a template names none (`DefaultDriver`).
fn default_vm(app: &App, arch: Arch) -> &'static str {
    match cfg!(target_os = "macos") && app.host.arch() == arch.name() {
        true => "vz",
        false => "qemu",
    }
}

/// Fetches the one file at an `ipfs://` location into the cache.
///
/// # Errors
/// As `callao get` of it.
pub(crate) fn fetch_one(
    app: &App,
    sources: &SourceArgs,
    location: &str,
    noun: Noun,
) -> Result<json::Got, CommandError> {
    let location = Location::read(location);
    let Place::Ipfs(address) = &location.place else {
        return Err(CommandError::usage(format!(
            "`{}` is no address on IPFS",
            location.text
        )));
    };
    let whole = address.path.is_empty().then_some(address.cid);
    let want = Want {
        noun,
        arch: None,
        locations: vec![location],
        digest: None,
        cid: whole,
    };
    let job = Job::new(app, Places::new(app, sources, &[])?, None, false);
    run::get(&job, &want)
}
