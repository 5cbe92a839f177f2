//! Fetches the files that limactl will want before limactl runs: the template as limactl understands it, the files
//! that it would choose, each under every location that names the same bytes. Must not decide for limactl: whatever
//! cannot be worked out or had here is left to it, and said. Only wrong bytes stop everything.

use std::collections::HashMap;
use std::ffi::OsString;

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_template::Template;
use callao_template::locator::Locator;

use super::instance::{self, Subject};
use super::line::{self, Meaning, Order};
use super::url;
use crate::app::App;
use crate::cli::{SourceArgs, TemplateArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::needs::{self, Choice};
use crate::get::plan::{Need, Noun, Pins, Place};
use crate::get::run::Job;
use crate::get::satisfy;
use crate::get::sources::Places;
use crate::host;
use crate::limactl::{Limactl, Source};
use crate::template;

/// limactl's own limit for a template.
const TEMPLATE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// limactl's command line, when everything is there.
pub(super) struct Ready {
    pub(super) arguments: Vec<OsString>,
    /// A template that was read from stdin, which limactl wants to read again.
    pub(super) stdin: Option<Vec<u8>>,
}

/// What has to be done before limactl runs.
///
/// # Errors
/// Integrity and interrupts. Everything else is a warning.
pub(super) fn before(
    app: &App,
    limactl: &Limactl,
    sources: &SourceArgs,
    arguments: Vec<OsString>,
) -> Result<Ready, CommandError> {
    let mut ready = Ready {
        arguments,
        stdin: None,
    };
    let order = match line::read(&ready.arguments) {
        Meaning::Instance(order) => order,
        Meaning::Other => return Ok(ready),
        Meaning::Unclear(flag) => {
            app.output.warning(format!(
                "callao does not know limactl's flag `{flag}`, so it fetches nothing beforehand"
            ));
            return Ok(ready);
        }
    };
    match fetch(app, limactl, sources, &order, &mut ready) {
        Ok(()) => Ok(ready),
        Err(error) if is_final(&error) || has_lost_stdin(&order, &ready) => {
            Err(error.detail("limactl was not started"))
        }
        Err(error) => {
            warn(app, &error, "nothing was fetched beforehand");
            Ok(ready)
        }
    }
}

/// Wrong bytes must not be papered over by whatever limactl finds elsewhere.
fn is_final(error: &CommandError) -> bool {
    matches!(error.kind, ExitCode::Integrity | ExitCode::Interrupted)
}

/// What was read of it cannot be given back.
fn has_lost_stdin(order: &Order, ready: &Ready) -> bool {
    order.what.as_ref().is_some_and(|(_, what)| what == "-") && ready.stdin.is_none()
}

/// Says why something was not done, and what follows from that.
fn warn(app: &App, error: &CommandError, so: &str) {
    let mut text = format!("{}; {so}", error.message);
    for detail in &error.details {
        text.extend(["\n  ", detail]);
    }
    app.output.warning(text);
}

fn fetch(
    app: &App,
    limactl: &Limactl,
    sources: &SourceArgs,
    order: &Order,
    ready: &mut Ready,
) -> Result<(), CommandError> {
    let (locator, changes, has_disk) = match instance::subject(&app.host, order) {
        Subject::Nothing => return Ok(()),
        Subject::There { template, has_disk } => (
            template.display().to_string(),
            order.changes.always.clone(),
            has_disk,
        ),
        Subject::New { locator } => {
            let all = order.changes.always.iter().chain(&order.changes.when_new);
            (locator, all.cloned().collect(), false)
        }
    };
    if locator == "-" {
        ready.stdin = Some(host::read_stdin(TEMPLATE_BYTES_MAX).map_err(|error| {
            CommandError::new(
                ExitCode::Template,
                format!("failed to read the template on stdin: {error}"),
            )
        })?);
    }
    let locator = here(app, sources, order, locator, ready)?;
    let source = Source {
        locator: &locator,
        stdin: ready.stdin.as_deref(),
    };
    let text = limactl.fill_with(app, source, &changes)?;
    let name = format!("{locator}, as limactl fills it in");
    let mut template = callao_template::parse(&text, &name)?.template;
    known_cids(app, sources, source).give(&mut template);
    let needs = wanted(app, sources, template, has_disk)?;
    let job = Job::new(app, Places::new(app, sources, &[])?, None, false);
    all_of(&job, &needs)
}

/// The locator as limactl can read it without a plugin: an `ipfs:` one becomes the file that its template has here.
fn here(
    app: &App,
    sources: &SourceArgs,
    order: &Order,
    locator: String,
    ready: &mut Ready,
) -> Result<String, CommandError> {
    let (Some((at, _)), Locator::Custom { scheme, rest }) = (&order.what, Locator::read(&locator))
    else {
        return Ok(locator);
    };
    if scheme != "ipfs" {
        return Ok(locator);
    }
    let path = url::template_file(app, sources, &rest)?;
    ready.arguments[*at] = path.clone().into();
    Ok(path.display().to_string())
}

/// Fetches what is needed, as much of it as can be had.
fn all_of(job: &Job<'_>, needs: &[Need]) -> Result<(), CommandError> {
    for need in needs {
        match satisfy::any_of(job, need) {
            Ok(_) => {}
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                let rest = match need.unpinned.first() {
                    Some(_) => "limactl will try itself, and may take a file that nothing verifies",
                    None => "limactl will try itself",
                };
                warn(job.app, &error, rest);
            }
        }
    }
    Ok(())
}

/// The files that limactl would fetch, in its order.
fn wanted(
    app: &App,
    sources: &SourceArgs,
    template: Template,
    has_disk: bool,
) -> Result<Vec<Need>, CommandError> {
    let choice = Choice {
        template: &TemplateArgs::default(),
        sources,
        pins: Pins::Preferred,
        digest: None,
        cid: None,
    };
    let mut needs = needs::of_loaded(app, &choice, template)?.needs;
    needs.retain(|need| !(is_local(need) || (has_disk && is_for_disk(need))));
    Ok(needs)
}

fn is_for_disk(need: &Need) -> bool {
    let first = need.alternatives.first().and_then(|one| one.wants.first());
    first.is_some_and(|want| want.noun == Noun::Image)
}

/// limactl reads files of this computer where they are.
fn is_local(need: &Need) -> bool {
    let mut locations = need
        .alternatives
        .iter()
        .flat_map(|one| &one.wants)
        .flat_map(|want| &want.locations);
    locations.all(|location| matches!(location.place, Place::Local(_)))
}

/// The CIDs of a template, which limactl leaves out when it fills it in.
#[derive(Debug, Default)]
struct Cids(HashMap<String, (Option<Digest>, Cid)>);

impl Cids {
    fn take(&mut self, template: &mut Template) {
        for file in files(template) {
            if let Some(cid) = file.cid {
                self.0.insert(file.location.clone(), (file.digest, cid));
            }
        }
    }

    /// To the same entries: the same location, and no other digest.
    fn give(&self, template: &mut Template) {
        for file in files(template) {
            if let Some((digest, cid)) = self.0.get(&file.location)
                && *digest == file.digest
            {
                file.cid.get_or_insert(*cid);
            }
        }
    }
}

/// The files of a template that can have a CID.
fn files(template: &mut Template) -> impl Iterator<Item = &mut callao_template::File> {
    let images = template.images.iter_mut().flat_map(|image| {
        std::iter::once(&mut image.file)
            .chain(&mut image.kernel)
            .chain(&mut image.initrd)
    });
    images.chain(&mut template.archives)
}

/// Reads a template once more, for its CIDs. Without them everything works, only from fewer sources.
fn known_cids(app: &App, sources: &SourceArgs, source: Source<'_>) -> Cids {
    let loaded = match source.stdin {
        Some(bytes) => {
            let text = String::from_utf8_lossy(bytes);
            callao_template::parse(&text, "on stdin")
                .map(|parsed| parsed.template)
                .map_err(CommandError::from)
        }
        None => template::load(app, sources, source.locator),
    };
    let mut template = match loaded {
        Ok(template) => template,
        Err(error) => {
            app.output
                .detail(format!("The CIDs of the template are not known: {error}"));
            return Cids::default();
        }
    };
    let mut cids = Cids::default();
    cids.take(&mut template);
    cids
}
