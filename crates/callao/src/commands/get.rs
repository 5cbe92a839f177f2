//! `callao get`: from the flags to needs, and what came of them on stdout.

use callao_content::cid;

use crate::app::App;
use crate::cli::GetArgs;
use crate::error::CommandError;
use crate::get::needs::{self, Choice};
use crate::get::plan::{Need, Pins};
use crate::get::run::Job;
use crate::get::sources::Places;
use crate::get::what::{self, What};
use crate::get::{out_path, satisfy};
use crate::host;

mod list;

pub(crate) fn run(app: &App, mut args: GetArgs) -> Result<(), CommandError> {
    if args.list {
        let whats = whats(app, &mut args)?;
        return list::run(app, whats, &choice(&args)?);
    }
    let needs = needs(app, &mut args)?;
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
    let places = Places::new(app, &args.sources, &args.mirror)?;
    let job = Job::new(app, places, output, args.strict);
    for need in &needs {
        for got in satisfy::any_of(&job, need)? {
            app.output.result(&got.path);
            app.output.json(&got);
        }
    }
    Ok(())
}

/// What each WHAT needs; the flags that say what a single file must be are checked here.
///
/// # Errors
/// Usage and template.
pub(super) fn needs(app: &App, args: &mut GetArgs) -> Result<Vec<Need>, CommandError> {
    let whats = whats(app, args)?;
    let choice = choice(args)?;
    let mut needs = Vec::new();
    for what in whats {
        needs.extend(needs::of(app, what, &choice)?);
    }
    Ok(needs)
}

/// What each WHAT means, and whether the flags go with it.
fn whats(app: &App, args: &mut GetArgs) -> Result<Vec<What>, CommandError> {
    take_what_from_lists(args, &app.host.arguments);
    if args.what.is_empty() {
        return Err(
            CommandError::usage("WHAT is missing").hint("callao get --help tells what it can be")
        );
    }
    let mut whats = Vec::new();
    for text in &args.what {
        whats.push(what::read(text, &app.host, &host::kind_of)?);
    }
    check_flags(args, &whats)?;
    Ok(whats)
}

/// Flags that take several values swallow a WHAT that comes after them: `--mirror URL WHAT -o FILE`. If no other
/// WHAT is there, the last value of such a list is it.
fn take_what_from_lists(args: &mut GetArgs, arguments: &[std::ffi::OsString]) {
    const LISTS: [&str; 5] = ["--mirror", "--gateway", "--kubo", "--peer", "--car"];
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
            "--gateway" => remove(&mut args.sources.gateway, what),
            "--kubo" => remove(&mut args.sources.kubo, what),
            "--peer" => remove(&mut args.sources.peer, what),
            _ => remove(&mut args.sources.car, std::path::Path::new(what)),
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

fn choice(args: &GetArgs) -> Result<Choice<'_>, CommandError> {
    let digest = args.digest.as_deref().map(str::parse).transpose();
    let digest = digest.map_err(|error: callao_content::Error| {
        CommandError::usage(format!("--digest: {error}"))
    })?;
    let cid = args.cid.as_deref().map(cid::parse).transpose();
    let cid = cid.map_err(|error| CommandError::usage(format!("--cid: {error}")))?;
    let pins = match (args.require_pin, args.allow_unpinned) {
        (true, _) => Pins::Required,
        (_, true) => Pins::Optional,
        _ => Pins::Preferred,
    };
    Ok(Choice {
        template: &args.template,
        sources: &args.sources,
        pins,
        digest,
        cid,
    })
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
        assert_eq!(
            (car.what, car.sources.car.len()),
            (vec!["W".to_string()], 1)
        );
        let middle = taken("callao get --gateway a --car a.car W -o out --offline");
        assert_eq!(
            (
                middle.what,
                middle.sources.gateway.len(),
                middle.sources.car.len()
            ),
            (vec!["W".to_string()], 1, 1)
        );
        assert!(taken("callao get --mirror a").what.is_empty());
        assert!(taken("callao get --mirror a --gateway b").what.is_empty());
    }
}
