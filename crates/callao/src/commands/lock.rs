//! `callao lock`: digest and CID of every file of a template, written into its text; or whether they are there and true.

use std::str::FromStr;

use callao_content::profile::Profile;
use callao_template::Arch;
use callao_template::edit::{Change, Document};

use crate::app::App;
use crate::cli::LockArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

mod gather;
mod judge;
mod names;
mod report;
mod sums;
mod target;
mod verdicts;
mod work;

use target::Target;
use verdicts::Verdicts;
use work::Work;

pub(crate) fn run(app: &App, args: &LockArgs) -> Result<(), CommandError> {
    let arches = arches(args)?;
    let profile =
        Profile::from_str(&args.profile).map_err(|error| CommandError::usage(error.to_string()))?;
    let target = Target::read(app, &args.template)?;
    let document = Document::read(&target.text, &target.name)?;
    for warning in document.warnings() {
        app.output
            .warning(format!("template {}: {}", target.name, warning.message));
    }
    let mut work = Work::of(document.files(), &arches, args.pin_latest);
    if work.items.is_empty() {
        return Err(nothing_to_lock(&target, &document, &arches));
    }
    if document.has_base() {
        app.output.info(format!(
            "Files of the `base:` of {} are not in it, and are left alone",
            target.name
        ));
    }
    if !args.check {
        // Told before anything is fetched.
        document.apply(&judge::trial(args.add_ipfs, &work))?;
    }
    if args.sums {
        sums::attach(app, args, &mut work)?;
    }
    let answers = gather::all(app, &args.sources, &work, profile)?;
    let verdicts = Verdicts::of(app, &work, answers, profile);
    verdicts.tell(app, args);
    if args.check {
        return verdicts.checked(args, &target.name);
    }
    verdicts.lockable(&target.name)?;
    let edited = document.apply(&changes(args, &document, &verdicts))?;
    finish(app, args, &target, &edited)
}

fn arches(args: &LockArgs) -> Result<Vec<Arch>, CommandError> {
    let parse = |text: &String| Ok(text.parse()?);
    args.arch.iter().map(parse).collect()
}

/// Why there is no file to lock.
fn nothing_to_lock(target: &Target, document: &Document<'_>, arches: &[Arch]) -> CommandError {
    let name = target.name.clone();
    let mut have: Vec<Arch> = document
        .files()
        .iter()
        .filter_map(|file| file.arch)
        .collect();
    have.sort_unstable();
    have.dedup();
    match arches.first() {
        Some(arch) if !have.is_empty() => callao_template::Error::NoEntryForArch {
            name,
            arch: *arch,
            have,
        }
        .into(),
        _ if document.has_base() => CommandError::new(
            ExitCode::Template,
            format!("template {name} names no files of its own: they are in its `base:`"),
        )
        .hint(format!(
            "lock the base itself, or the whole template: limactl template copy --embed {name} whole.yaml"
        )),
        _ => callao_template::Error::NoFiles { name }.into(),
    }
}

fn changes(args: &LockArgs, document: &Document<'_>, verdicts: &Verdicts<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let judged = verdicts.judged();
    for (item, verdict) in &judged {
        changes.extend(judge::changes(item.entry.part, verdict));
    }
    if args.add_ipfs {
        changes.extend(judge::fronts(document.files(), &judged));
    }
    changes
}

fn finish(app: &App, args: &LockArgs, target: &Target, edited: &str) -> Result<(), CommandError> {
    let name = &target.name;
    if args.dry_run {
        report::diff(app, name, &target.text, edited);
        return Ok(());
    }
    if target.is_stream() {
        report::text(app, edited);
    }
    target.write(app, edited)?;
    if edited == target.text {
        app.output.info(format!("{name} is locked already"));
    } else if !target.is_stream() {
        app.output.info(format!("Wrote {name}"));
    }
    Ok(())
}
