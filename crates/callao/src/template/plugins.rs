//! Programs that say what a locator of a scheme of their own means: `limactl-url-SCHEME`
//! (`transformCustomURL` in `pkg/limatmpl/locator.go` of Lima v2.2). What they answer is a locator, and not trusted.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callao_template::limits::LOCATOR_BYTES_MAX;

use crate::app::App;
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, Host};
use crate::limactl::Limactl;
use crate::process::Program;

/// A plugin may have to ask a server; it has no way to tell how far it is.
const SECONDS_MAX: u64 = 60;
/// The answer is one locator.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const MESSAGE_CHARS_MAX: usize = 1000;

/// The plugin for a scheme.
pub(crate) fn find(host: &Host, scheme: &str) -> Option<PathBuf> {
    let name = format!("limactl-url-{scheme}");
    dirs(host)
        .into_iter()
        .map(|dir| dir.join(&name))
        .find(|path| host::is_program(path))
}

/// Beside limactl, on `PATH`, and where Lima installs its own.
fn dirs(host: &Host) -> Vec<PathBuf> {
    let mut beside: Vec<PathBuf> = Vec::new();
    if let Some(limactl) = Limactl::find(host) {
        for program in [limactl.path().to_owned(), host::real_path(limactl.path())] {
            beside.extend(program.parent().map(Path::to_owned));
        }
    }
    let prefixes: Vec<PathBuf> = beside
        .iter()
        .filter_map(|dir| dir.parent().map(Path::to_owned))
        .collect();
    let mut dirs = beside;
    if let Some(path) = host.variable(env_vars::PATH) {
        dirs.extend(std::env::split_paths(path).filter(|dir| dir.is_absolute()));
    }
    for prefix in prefixes {
        dirs.extend([prefix.join("libexec/lima"), prefix.join("lib/lima")]);
    }
    let mut seen: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        if !seen.contains(&dir) {
            seen.push(dir);
        }
    }
    seen
}

/// What a plugin makes of what follows `SCHEME:`.
///
/// # Errors
/// Template: it fails, takes too long, says too much, or nothing.
pub(super) fn ask(app: &App, plugin: &Path, rest: &str) -> Result<String, CommandError> {
    let shown = format!("{} {rest}", plugin.display());
    let mut program = Program::new(plugin)
        .argument(rest)
        .deadline(Duration::from_secs(SECONDS_MAX))
        .output_bytes_max(ANSWER_BYTES_MAX);
    // It finds other programs where limactl would let it find them.
    if let Ok(path) = std::env::join_paths(dirs(&app.host)) {
        let path: OsString = path;
        program = program.variable(env_vars::PATH, path);
    }
    let ended = program.run(&app.interrupt).map_err(|error| {
        let mut failed = CommandError::from(error);
        if failed.kind == ExitCode::Unexpected {
            failed.kind = ExitCode::Template;
        }
        failed
    })?;
    if ended.code != 0 {
        let said: String = ended
            .stderr_text()
            .chars()
            .take(MESSAGE_CHARS_MAX)
            .collect();
        let mut lines = said
            .lines()
            .map(|line| line.replace(|c: char| c.is_control(), " "));
        let first = lines
            .next()
            .unwrap_or_else(|| format!("exit code {}", ended.code));
        let mut failed =
            CommandError::new(ExitCode::Template, format!("`{shown}` failed: {first}"));
        failed.details = lines.collect();
        return Err(failed);
    }
    let answer = ended.stdout_text().trim().to_owned();
    if answer.is_empty() {
        return Err(CommandError::new(
            ExitCode::Template,
            format!("`{shown}` does not say where the template is"),
        ));
    }
    if answer.len() > LOCATOR_BYTES_MAX || answer.chars().any(char::is_control) {
        return Err(CommandError::new(
            ExitCode::Template,
            format!("`{shown}` says what is not one locator"),
        ));
    }
    Ok(answer)
}
