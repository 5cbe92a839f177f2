//! What the values of a command line can be: files, templates, URLs that are in the cache, and instances. Reads directories
//! and small files only.

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
use crate::commands::vm;
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
    /// Names of instances.
    Instance,
    /// An instance, or what a new one is made of.
    Startable,
    /// Files, here and in instances.
    Copied,
}

impl Kind {
    fn has_instances(self) -> bool {
        matches!(self, Kind::Instance | Kind::Startable)
    }

    fn has_templates(self) -> bool {
        matches!(self, Kind::What | Kind::Template | Kind::Startable)
    }

    fn has_files(self) -> bool {
        !matches!(self, Kind::Url | Kind::Instance)
    }

    fn has_urls(self) -> bool {
        matches!(
            self,
            Kind::What | Kind::Cached | Kind::Url | Kind::Startable
        )
    }
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
    with_values(Cli::command(), Below::Others, &Arc::new(Mutex::new(known)))
}

/// Which command an argument belongs to, where that makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// `cache` and what is below it.
    Cache,
    /// `start`.
    Start,
    Others,
}

fn with_values(command: Command, below: Below, known: &Arc<Mutex<Known>>) -> Command {
    let below = match command.get_name() {
        "cache" => Below::Cache,
        "start" => Below::Start,
        _ => below,
    };
    command
        .mut_args(|arg| match kind(&arg, below) {
            Some(kind) => {
                let known = Arc::clone(known);
                arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
                    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.candidates(kind, typed)
                }))
            }
            None => arg,
        })
        .mut_subcommands(|command| with_values(command, below, known))
}

/// By what the help calls the value.
fn kind(arg: &Arg, below: Below) -> Option<Kind> {
    let names = arg.get_value_names()?;
    let name = names.first()?.as_str();
    match (name, below) {
        ("WHAT", Below::Cache) => Some(Kind::Cached),
        ("WHAT", Below::Start) => Some(Kind::Startable),
        ("WHAT", Below::Others) => Some(Kind::What),
        ("TEMPLATE", _) => Some(Kind::Template),
        ("URL", _) if arg.get_id() != "gateway" => Some(Kind::Url),
        // `--name` is the name of something new.
        ("NAME" | "NAMES", _) if arg.is_positional() => Some(Kind::Instance),
        ("FROM... TO", _) => Some(Kind::Copied),
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
        if kind.has_instances() {
            found.extend(matching(self.instances().into_iter(), typed));
        }
        if kind == Kind::Copied {
            let names = self.instances().into_iter();
            found.extend(matching(names.map(|name| name + ":"), typed));
        }
        if kind.has_templates() {
            found.extend(self.templates(typed));
        }
        if kind.has_files() {
            let paths = PathCompleter::any().current_dir(&self.working_dir);
            found.extend(sorted(paths.complete(typed)));
        }
        if kind.has_urls() {
            found.extend(self.urls(typed));
        }
        found
    }

    fn instances(&self) -> Vec<String> {
        let all = self.app.as_ref().and_then(|app| vm::instances(app).ok());
        all.map(|all| all.names()).unwrap_or_default()
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
