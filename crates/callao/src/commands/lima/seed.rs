//! Fetches the files that limactl will want before limactl runs: the template as limactl understands it, the files
//! that it would choose, each under every location that names the same bytes. Must not decide for limactl: whatever
//! cannot be worked out or had here is left to it, and said. Only wrong bytes stop everything.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use callao_content::Cid;
use callao_content::digest::Digest;
use callao_template::{SelectOptions, Template};

use super::instance::{self, Subject};
use super::line::{self, Meaning, Order};
use crate::app::App;
use crate::cli::SourceArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::plan::{self, Need, Noun, Pins, Place, Want};
use crate::get::run::Job;
use crate::get::satisfy;
use crate::get::sources::Places;
use crate::host;
use crate::limactl::{Limactl, Source};

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
        Err(error) if is_final(&error) => Err(error.detail("limactl was not started")),
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
    let source = Source {
        locator: &locator,
        stdin: ready.stdin.as_deref(),
    };
    let text = limactl.fill_with(app, source, &changes)?;
    let name = format!("{locator}, as limactl fills it in");
    let parsed = callao_template::parse(&text, &name)?;
    let cids = known_cids(app, &locator, ready.stdin.as_deref());
    let needs = needs(app, &parsed.template, &cids, has_disk)?;
    let job = Job::new(app, Places::new(app, sources, &[])?, None, false);
    all_of(&job, &needs)
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
fn needs(
    app: &App,
    template: &Template,
    cids: &Cids,
    has_disk: bool,
) -> Result<Vec<Need>, CommandError> {
    let arch = match template.arch {
        Some(arch) => arch,
        None => crate::template::host_arch(app)?,
    };
    let options = SelectOptions {
        default_vm: Some(crate::get::needs::default_vm(app, arch)),
        ..SelectOptions::default()
    };
    let selection = callao_template::select(template, arch, &options)?;
    let mut needs = plan::of_selection(&selection, true, Pins::Preferred);
    for want in wants(&mut needs) {
        want.arch = want.arch.or(Some(arch));
        if want.cid.is_none() {
            want.cid = cids.of(want);
        }
    }
    needs.retain(|need| !(is_local(need) || (has_disk && is_for_disk(need))));
    Ok(needs)
}

fn wants(needs: &mut [Need]) -> impl Iterator<Item = &mut Want> {
    needs
        .iter_mut()
        .flat_map(|need| &mut need.alternatives)
        .flat_map(|alternative| &mut alternative.wants)
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
    /// The CID of the same entry: the same location, and no other digest.
    fn of(&self, want: &Want) -> Option<Cid> {
        want.locations.iter().find_map(|location| {
            let (digest, cid) = self.0.get(&location.text)?;
            (*digest == want.digest).then_some(*cid)
        })
    }

    fn add(&mut self, file: &callao_template::File) {
        if let Some(cid) = file.cid {
            self.0.insert(file.location.clone(), (file.digest, cid));
        }
    }
}

/// Reads a template of this computer once more, for its CIDs. Without them everything works, only from fewer sources.
fn known_cids(app: &App, locator: &str, stdin: Option<&[u8]>) -> Cids {
    let mut cids = Cids::default();
    let text = match stdin {
        Some(bytes) => Some(bytes.to_vec()),
        None => read_template(app, locator),
    };
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(Ok(parsed)) = text.map(|text| callao_template::parse(&text, locator)) else {
        return cids;
    };
    for image in &parsed.template.images {
        cids.add(&image.file);
        image.kernel.iter().for_each(|file| cids.add(file));
        image.initrd.iter().for_each(|file| cids.add(file));
    }
    parsed
        .template
        .archives
        .iter()
        .for_each(|file| cids.add(file));
    cids
}

fn read_template(app: &App, locator: &str) -> Option<Vec<u8>> {
    let path = locator.strip_prefix("file://").unwrap_or(locator);
    host::read_small_file(Path::new(&app.host.path(path)), TEMPLATE_BYTES_MAX).ok()
}
