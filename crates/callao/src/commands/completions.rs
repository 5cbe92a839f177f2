//! `callao completions`: the script that a shell loads once, and the answers to it. The script asks callao itself each
//! time, so that names of templates, files and URLs in the cache complete as well as commands and flags.

use clap_complete::Shell;
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Zsh};

use crate::cli::CompletionsArgs;
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::Host;

mod candidates;

/// Its own: bash cuts words at colons, of which URLs and names of templates are full.
const BASH: &str = include_str!("completions/bash.sh");
const PROGRAM: &str = "callao";

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), CommandError> {
    let mut script = Vec::new();
    match other_than_bash(args.shell.to_string().as_str()) {
        Some(shell) => shell
            .write_registration(
                env_vars::CALLAO_COMPLETE,
                PROGRAM,
                PROGRAM,
                PROGRAM,
                &mut script,
            )
            .map_err(|error| unexpected(&error))?,
        None => script.extend_from_slice(BASH.as_bytes()),
    }
    super::print_text(&script)
}

/// Prints how the words after `--` can go on, as the shell wants it. Opens no socket and hashes nothing.
///
/// # Errors
/// Unexpected: nothing can be said of such a command line.
pub(crate) fn answer(host: &Host, shell: &str) -> Result<(), CommandError> {
    let words = host.arguments.get(2..).unwrap_or_default().to_vec();
    let mut command = candidates::command(host, &words);
    let mut text = Vec::new();
    match other_than_bash(shell) {
        Some(shell) => shell
            .write_complete(&mut command, words, Some(&host.working_dir), &mut text)
            .map_err(|error| unexpected(&error))?,
        None => text.extend(for_bash(host, command, words)?),
    }
    super::print_text(&text)
}

/// One candidate a line. Flags are offered where something of them was typed, or where nothing else can follow.
fn for_bash(
    host: &Host,
    mut command: clap::Command,
    words: Vec<std::ffi::OsString>,
) -> Result<Vec<u8>, CommandError> {
    let Some(last) = words.len().checked_sub(1) else {
        return Ok(Vec::new());
    };
    let is_begun = !words[last].is_empty();
    let found = clap_complete::engine::complete(&mut command, words, last, Some(&host.working_dir));
    let found: Vec<String> = found
        .map_err(|error| unexpected(&error))?
        .iter()
        .filter_map(|candidate| candidate.get_value().to_str().map(str::to_owned))
        .collect();
    let is_flag = |text: &String| text.starts_with('-');
    let only_flags = found.iter().all(is_flag);
    let mut text = String::new();
    for candidate in found {
        if is_begun || only_flags || !is_flag(&candidate) {
            text.extend([candidate.as_str(), "\n"]);
        }
    }
    Ok(text.into_bytes())
}

fn other_than_bash(shell: &str) -> Option<&'static dyn EnvCompleter> {
    const SHELLS: [&dyn EnvCompleter; 4] = [&Elvish, &Fish, &Powershell, &Zsh];
    let is_bash = shell == Shell::Bash.to_string();
    SHELLS.into_iter().find(|known| !is_bash && known.is(shell))
}

fn unexpected(error: &std::io::Error) -> CommandError {
    CommandError::new(
        ExitCode::Unexpected,
        format!("failed to make completions: {error}"),
    )
}
