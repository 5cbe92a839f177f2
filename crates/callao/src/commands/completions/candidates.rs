//! What the values of a command line can be: files, templates, and URLs that are in the cache. Reads directories and
//! small files only.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use callao_store::lima;
use clap::{Arg, Command, CommandFactory};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use crate::app::App;
use crate::cli::{Cli, Common};
use crate::host::Host;
use crate::output::{Output, Style, Verbosity};
use crate::settings::Overrides;
use crate::template;

/// What the values of one kind of argument can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `get` and whoever takes the same: templates, files, URLs.
    What,
    /// Templates and files.
    Template,
    /// What is in the cache: URLs and files.
    Cached,
    /// URLs that are in the cache.
    Url,
}

/// The command line with what its values can be. `words` are those typed so far.
pub(super) fn command(host: &Host, words: &[OsString]) -> Command {
    let known = Known {
        app: App::new(
            host.clone(),
            &common(words),
            &Overrides::default(),
            &Arc::new(Output::new(silent())),
        )
        .ok(),
        working_dir: host.working_dir.clone(),
    };
    with_values(Cli::command(), false, &Arc::new(Mutex::new(known)))
}

fn with_values(command: Command, in_cache: bool, known: &Arc<Mutex<Known>>) -> Command {
    let in_cache = in_cache || command.get_name() == "cache";
    command
        .mut_args(|arg| match kind(&arg, in_cache) {
            Some(kind) => {
                let known = Arc::clone(known);
                arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
                    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.candidates(kind, typed)
                }))
            }
            None => arg,
        })
        .mut_subcommands(|below| with_values(below, in_cache, known))
}

/// By what the help calls the value.
fn kind(arg: &Arg, in_cache: bool) -> Option<Kind> {
    let names = arg.get_value_names()?;
    let name = names.first()?.as_str();
    match (name, in_cache) {
        ("WHAT", true) => Some(Kind::Cached),
        ("WHAT", false) => Some(Kind::What),
        ("TEMPLATE", _) => Some(Kind::Template),
        ("URL", _) if arg.get_id() != "gateway" => Some(Kind::Url),
        _ => None,
    }
}

/// Flags that decide where the cache is.
fn common(words: &[OsString]) -> Common {
    let value = |flag: &str| -> Option<PathBuf> {
        let mut words = words.iter().filter_map(|word| word.to_str());
        let joined = format!("{flag}=");
        while let Some(word) = words.next() {
            if word == flag {
                return words.next().map(PathBuf::from);
            }
            if let Some(value) = word.strip_prefix(&joined) {
                return Some(PathBuf::from(value));
            }
        }
        None
    };
    Common {
        config: value("--config"),
        cache_dir: value("--cache-dir"),
        ..Common::default()
    }
}

/// A shell shows what comes on stdout; nothing else is to be seen.
fn silent() -> Style {
    Style {
        verbosity: Verbosity::Quiet,
        json: false,
        progress: false,
        terminal: false,
        colours: false,
    }
}

struct Known {
    /// None, if the settings are wrong: then only files complete.
    app: Option<App>,
    working_dir: PathBuf,
}

impl Known {
    fn candidates(&self, kind: Kind, typed: &OsStr) -> Vec<CompletionCandidate> {
        let mut found = Vec::new();
        if matches!(kind, Kind::What | Kind::Template) {
            found.extend(self.templates(typed));
        }
        if kind != Kind::Url {
            let paths = PathCompleter::any().current_dir(&self.working_dir);
            found.extend(sorted(paths.complete(typed)));
        }
        if kind != Kind::Template {
            found.extend(self.urls(typed));
        }
        found
    }

    /// The names only when somebody wants one: there may be many.
    fn templates(&self, typed: &OsStr) -> Vec<CompletionCandidate> {
        const SCHEME: &str = "template:";
        let (Some(app), Some(text)) = (&self.app, typed.to_str()) else {
            return Vec::new();
        };
        if !text.starts_with(SCHEME) {
            return matching(std::iter::once(SCHEME.to_owned()), typed);
        }
        let installed = template::search::installed(&app.host).into_iter();
        matching(
            installed.map(|installed| format!("{SCHEME}{}", installed.name)),
            typed,
        )
    }

    /// Locations of entries, whoever made them.
    fn urls(&self, typed: &OsStr) -> Vec<CompletionCandidate> {
        let Some(app) = &self.app else {
            return Vec::new();
        };
        let entries = lima::list_entries(&*app.disk, &app.places).unwrap_or_default();
        let urls = entries
            .into_iter()
            .filter(|entry| entry.stamp.is_some())
            .filter_map(|entry| entry.url);
        matching(urls, typed)
    }
}

fn matching(values: impl Iterator<Item = String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else {
        return Vec::new();
    };
    sorted(
        values
            .filter(|value| value.starts_with(typed))
            .map(CompletionCandidate::new)
            .collect(),
    )
}

fn sorted(mut candidates: Vec<CompletionCandidate>) -> Vec<CompletionCandidate> {
    candidates.sort();
    candidates
}
