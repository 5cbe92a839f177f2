//! `callao get`: from the flags to needs, and through the alternatives of each need until one of them is there.

use callao_content::cid;
use callao_template::{Arch, SelectOptions};

use crate::app::App;
use crate::cli::GetArgs;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::out_path;
use crate::get::plan::{self, Alternative, Location, Need, Noun, Pins, Place, Want};
use crate::get::run::{self, Job};
use crate::get::sources::Places;
use crate::get::what::{self, What};
use crate::host;

/// limactl's own limit is 4 MiB; the rest is read to be able to say how large it is.
const TEMPLATE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(crate) fn run(app: &App, mut args: GetArgs) -> Result<(), CommandError> {
    take_what_from_lists(&mut args, &app.host.arguments);
    if args.what.is_empty() {
        return Err(
            CommandError::usage("WHAT is missing").hint("callao get --help tells what it can be")
        );
    }
    let mut whats = Vec::new();
    for text in &args.what {
        whats.push(what::read(text, &app.host, &host::kind_of)?);
    }
    check_flags(&args, &whats)?;
    let mut needs = Vec::new();
    for what in whats {
        needs.extend(needs_of(app, &args, what)?);
    }
    if args.output.is_some()
        && needs
            .iter()
            .map(|need| {
                need.alternatives
                    .iter()
                    .map(|one| one.wants.len())
                    .max()
                    .unwrap_or(0)
            })
            .sum::<usize>()
            > 1
    {
        return Err(
            CommandError::usage("-o takes one file, and WHAT names several")
                .hint("--no-archives leaves out the archives of a template"),
        );
    }
    let output = args
        .output
        .as_deref()
        .map(|out| out_path(app, out))
        .transpose()?;
    let job = Job::new(app, Places::new(app, &args)?, output, args.strict);
    for need in &needs {
        satisfy(&job, need)?;
    }
    Ok(())
}

/// Flags that take several values swallow a WHAT that comes after them: `--mirror URL WHAT -o FILE`. If no other
/// WHAT is there, the last value of such a list is it.
fn take_what_from_lists(args: &mut GetArgs, arguments: &[std::ffi::OsString]) {
    const LISTS: [&str; 4] = ["--mirror", "--gateway", "--kubo", "--car"];
    if !args.what.is_empty() {
        return;
    }
    let texts: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    let lists = texts
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, text)| LISTS.contains(text));
    for (at, flag) in lists {
        let values: Vec<&str> = texts[at + 1..]
            .iter()
            .copied()
            .take_while(|text| !text.starts_with('-'))
            .collect();
        let [_, .., what] = values[..] else { continue };
        match *flag {
            "--mirror" => remove(&mut args.mirror, what),
            "--gateway" => remove(&mut args.gateway, what),
            "--kubo" => remove(&mut args.kubo, what),
            _ => remove(&mut args.car, std::path::Path::new(what)),
        }
        args.what.push(what.into());
        return;
    }
}

/// Removes the last of these values.
fn remove<T: PartialEq<U>, U: ?Sized>(list: &mut Vec<T>, value: &U) {
    if let Some(at) = list.iter().rposition(|one| one == value) {
        list.remove(at);
    }
}

fn check_flags(args: &GetArgs, whats: &[What]) -> Result<(), CommandError> {
    let has_template = whats
        .iter()
        .any(|what| matches!(what, What::Template { .. }));
    let for_one_file = [
        ("--digest", args.digest.is_some()),
        ("--cid", args.cid.is_some()),
        ("--mirror", !args.mirror.is_empty()),
    ];
    for (flag, given) in for_one_file {
        if given && (has_template || whats.len() > 1) {
            return Err(CommandError::usage(format!(
                "{flag} is for a single file, and WHAT names several"
            )));
        }
    }
    Ok(())
}

fn pins(args: &GetArgs) -> Pins {
    match (args.require_pin, args.allow_unpinned) {
        (true, _) => Pins::Required,
        (_, true) => Pins::Optional,
        _ => Pins::Preferred,
    }
}

fn needs_of(app: &App, args: &GetArgs, what: What) -> Result<Vec<Need>, CommandError> {
    let location = match what {
        What::Template { text, path } => return template_needs(app, args, &text, &path),
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
    let digest = args.digest.as_deref().map(str::parse).transpose();
    let digest = digest.map_err(|error: callao_content::Error| {
        CommandError::usage(format!("--digest: {error}"))
    })?;
    let cid = args.cid.as_deref().map(cid::parse).transpose();
    let cid = cid.map_err(|error| CommandError::usage(format!("--cid: {error}")))?;
    let whole = location
        .address()
        .filter(|address| address.path.is_empty())
        .map(|address| address.cid);
    let noun = Noun::of_location(&location.text);
    let want = Want {
        noun,
        arch: None,
        locations: vec![location],
        digest,
        cid: cid.or(whole),
    };
    Ok(vec![plan::need(vec![Alternative::of(want)], pins(args))])
}

fn template_needs(
    app: &App,
    args: &GetArgs,
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
    let mut needs = plan::of_selection(&selection, !args.no_archives, pins(args));
    for want in needs
        .iter_mut()
        .flat_map(|need| &mut need.alternatives)
        .flat_map(|one| &mut one.wants)
    {
        want.arch = want.arch.or(Some(arch));
    }
    Ok(needs)
}

fn host_arch(app: &App) -> Result<Arch, CommandError> {
    let name = app.host.arch();
    name.parse().map_err(|_| {
        CommandError::usage(format!(
            "this computer is a {name}, which Lima does not know"
        ))
        .hint("say --arch")
    })
}

/// Tries the alternatives in order until one of them is there.
fn satisfy(job: &Job<'_>, need: &Need) -> Result<(), CommandError> {
    let mut failures: Vec<CommandError> = Vec::new();
    for alternative in &need.alternatives {
        if let Some(last) = failures.last() {
            job.app
                .output
                .warning(format!("{}; trying the next entry", last.message));
        }
        match all_of(job, alternative) {
            Ok(()) => return Ok(()),
            // The next entry would meet the same.
            Err(error)
                if matches!(
                    error.kind,
                    ExitCode::Disk
                        | ExitCode::Locked
                        | ExitCode::Interrupted
                        | ExitCode::Unexpected
                ) =>
            {
                return Err(error);
            }
            Err(error) => failures.push(error),
        }
    }
    Err(none_worked(need, failures))
}

fn all_of(job: &Job<'_>, alternative: &Alternative) -> Result<(), CommandError> {
    let mut done = Vec::new();
    for want in &alternative.wants {
        done.push(run::get(job, want)?);
    }
    for got in done {
        job.app.output.result(&got.path);
        job.app.output.json(&got);
    }
    Ok(())
}

/// Why nothing was got, and what was not tried.
fn none_worked(need: &Need, mut failures: Vec<CommandError>) -> CommandError {
    let mut error = match failures.len() {
        0 => CommandError::new(
            ExitCode::Integrity,
            "there is no entry with a digest or a CID, and --require-pin forbids all others",
        ),
        1 => failures.remove(0),
        count => {
            let kind = failures
                .iter()
                .map(|error| error.kind)
                .max_by_key(|kind| severity(*kind))
                .unwrap_or(ExitCode::Unexpected);
            let mut all = CommandError::new(
                kind,
                format!("none of the {count} entries could be downloaded"),
            );
            for failure in failures {
                all.details.push(failure.to_string());
                all.hints.extend(failure.hints);
            }
            all
        }
    };
    for location in &need.unpinned {
        error.details.push(format!(
            "not tried, since it has neither digest nor CID: `{location}`"
        ));
    }
    if !need.unpinned.is_empty() {
        error.hints.push(
            "--allow-unpinned tries such entries as well, as limactl does: nothing verifies them"
                .into(),
        );
    }
    error.hints.dedup();
    error
}

/// Wrong bytes are worse than a network that fails, which is worse than nothing there.
fn severity(kind: ExitCode) -> u8 {
    match kind {
        ExitCode::Integrity => 2,
        ExitCode::Network => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(line: &str) -> GetArgs {
        use clap::Parser;
        let arguments: Vec<std::ffi::OsString> = line.split(' ').map(Into::into).collect();
        let cli = crate::cli::Cli::try_parse_from(&arguments).expect("a command line");
        let crate::cli::Command::Get(mut args) = cli.command else {
            panic!("not get")
        };
        take_what_from_lists(&mut args, &arguments);
        *args
    }

    #[test]
    fn what_may_follow_a_list() {
        assert_eq!(taken("callao get W --mirror a b").mirror, ["a", "b"]);
        let after = taken("callao get --mirror a W");
        assert_eq!(
            (after.what, after.mirror),
            (vec!["W".to_string()], vec!["a".to_string()])
        );
        let car = taken("callao get --car a.car W");
        assert_eq!((car.what, car.car.len()), (vec!["W".to_string()], 1));
        let middle = taken("callao get --gateway a --car a.car W -o out --offline");
        assert_eq!(
            (middle.what, middle.gateway.len(), middle.car.len()),
            (vec!["W".to_string()], 1, 1)
        );
        assert!(taken("callao get --mirror a").what.is_empty());
        assert!(taken("callao get --mirror a --gateway b").what.is_empty());
    }

    #[test]
    fn entries_that_were_not_tried_are_named() {
        let need = Need {
            alternatives: Vec::new(),
            unpinned: vec!["https://h/latest.img".into()],
        };
        let error = none_worked(&need, vec![CommandError::new(ExitCode::NotFound, "gone")]);
        assert_eq!(
            error.details,
            ["not tried, since it has neither digest nor CID: `https://h/latest.img`"]
        );
        assert_eq!(error.hints.len(), 1);
    }
}
