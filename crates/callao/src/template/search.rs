//! Where `template:NAME` is looked for (`pkg/templatestore` of Lima v2.2): `$LIMA_TEMPLATES_PATH` alone, if it is set;
//! otherwise the user's templates, those of the installed Lima, and at last callao's own in either case.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use callao_template::limits::TEMPLATE_SIZE_BYTES_MAX;

use super::{lima_home, loader, shipped};
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, FileKind, Host};
use crate::limactl::Limactl;

/// Deepest directory below one of templates. Lima's own are 1 deep.
const DEPTH_MAX: usize = 4;
/// Most templates that are listed.
const INSTALLED_COUNT_MAX: usize = 10_000;

/// Most names of templates in a hint.
const SIMILAR_COUNT_MAX: usize = 8;

/// A template that a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    /// As in `template:NAME`.
    pub(crate) name: String,
    /// Where it is; none, if it is callao's own.
    pub(crate) path: Option<PathBuf>,
}

/// The text of the template of this name.
///
/// # Errors
/// Not found; template, if the name cannot be one or the file cannot be read.
pub(super) fn read(host: &Host, name: &str) -> Result<String, CommandError> {
    let locator = format!("template:{name}");
    if name.contains("..") {
        return Err(CommandError::new(
            ExitCode::Template,
            format!("`{locator}`: the name of a template must not contain `..`"),
        ));
    }
    let dirs = dirs(host);
    let file = file_name(name);
    for dir in &dirs {
        let path = dir.join(&file);
        match host::read_small_file(&path, TEMPLATE_SIZE_BYTES_MAX as u64) {
            Ok(bytes) => return loader::text_of(bytes, &locator),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(loader::unreadable(&path.display().to_string(), &error)),
        }
    }
    if let Some(text) = shipped::text(&file) {
        return Ok(text.to_owned());
    }
    Err(not_there(host, name, &dirs))
}

/// Where it was looked for, and what is there instead.
fn not_there(host: &Host, name: &str, dirs: &[PathBuf]) -> CommandError {
    let mut error = CommandError::new(ExitCode::NotFound, format!("there is no template `{name}`"));
    error.details = dirs
        .iter()
        .map(|dir| format!("not in `{}`", dir.display()))
        .collect();
    let mut similar: Vec<String> = installed(host)
        .into_iter()
        .map(|template| template.name)
        .filter(|known| known.contains(name) || name.contains(known.as_str()))
        .collect();
    // What is meant for users first: names that begin with an underscore are parts of other templates.
    similar.sort_by_key(|known| (known.starts_with('_'), known.len()));
    let similar: Vec<String> = similar
        .iter()
        .take(SIMILAR_COUNT_MAX)
        .map(|known| format!("template:{known}"))
        .collect();
    if similar.is_empty() {
        let own: Vec<&str> = shipped::ALL.iter().map(|(name, _)| *name).collect();
        return error
            .detail(format!("callao's own are {}", own.join(", ")))
            .hint("Lima brings many more: install it, or name their directory in $LIMA_TEMPLATES_PATH");
    }
    error.hint(format!("there are {}", similar.join(", ")))
}

/// `.yaml` is added unless there is an ending that is none of a version: `docker.sh`, but `ubuntu-24.04.yaml`.
fn file_name(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    let ending = last.rsplit_once('.').map(|(_, ending)| ending);
    match ending {
        Some(ending) if !ending.is_empty() && !ending.starts_with(|c: char| c.is_numeric()) => {
            name.to_owned()
        }
        _ => format!("{name}.yaml"),
    }
}

/// The directories, in the order in which they are looked into.
fn dirs(host: &Host) -> Vec<PathBuf> {
    if let Some(list) = host.variable(env_vars::LIMA_TEMPLATES_PATH) {
        return std::env::split_paths(list)
            .map(|dir| host.working_dir.join(dir))
            .collect();
    }
    let own = lima_home::dir(host).map(|dir| dir.join("_templates"));
    let shared = Limactl::find(host).map(|limactl| limactl.share_dirs());
    let shared = shared.unwrap_or_default().into_iter();
    own.into_iter()
        .chain(shared.map(|dir| dir.join("templates")))
        .collect()
}

/// Every template that `template:NAME` can name, sorted by name; the first one of a name counts.
pub(crate) fn installed(host: &Host) -> Vec<Installed> {
    let mut found: Vec<Installed> = Vec::new();
    for dir in dirs(host) {
        collect(&dir, "", 0, &mut found);
    }
    found.extend(shipped::ALL.iter().map(|(name, _)| Installed {
        name: (*name).to_owned(),
        path: None,
    }));
    // Stable: of one name, the earlier directory stays in front.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|later, earlier| later.name == earlier.name);
    found
}

fn collect(dir: &Path, prefix: &str, depth: usize, found: &mut Vec<Installed>) {
    for name in host::names_in(dir) {
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if found.len() >= INSTALLED_COUNT_MAX {
            return;
        }
        let path = dir.join(name);
        match host::kind_of(&path) {
            Some(FileKind::Directory) if depth < DEPTH_MAX => {
                collect(&path, &format!("{prefix}{name}/"), depth + 1, found);
            }
            Some(FileKind::File { .. }) => {
                found.extend(name.strip_suffix(".yaml").map(|stem| Installed {
                    name: format!("{prefix}{stem}"),
                    path: Some(path),
                }))
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_is_added_as_limactl_does() {
        let cases = [
            ("ubuntu", "ubuntu.yaml"),
            ("ubuntu-24.04", "ubuntu-24.04.yaml"),
            ("_images/ubuntu-24.04", "_images/ubuntu-24.04.yaml"),
            ("a.d/x", "a.d/x.yaml"),
            ("docker.sh", "docker.sh"),
            ("t.yaml", "t.yaml"),
            ("x.", "x..yaml"),
        ];
        for (name, file) in cases {
            assert_eq!(file_name(name), file, "{name}");
        }
    }

    #[test]
    fn a_path_in_the_environment_replaces_the_usual_directories() {
        let usual = Host::with_variables([("HOME", "/h")]);
        assert_eq!(dirs(&usual), [PathBuf::from("/h/.lima/_templates")]);
        let moved = Host::with_variables([("HOME", "/h"), ("LIMA_HOME", "/l")]);
        assert_eq!(dirs(&moved), [PathBuf::from("/l/_templates")]);
        let named = Host::with_variables([("HOME", "/h"), ("LIMA_TEMPLATES_PATH", "/a:b")]);
        assert_eq!(
            dirs(&named),
            [PathBuf::from("/a"), PathBuf::from("/here/b")]
        );
    }
}
