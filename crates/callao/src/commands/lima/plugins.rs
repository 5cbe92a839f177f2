//! `callao lima plugins`: shell scripts by which limactl finds callao. They carry a mark, and files without it are
//! never touched.

use std::path::{Path, PathBuf};

use crate::app::App;
use crate::cli::PluginsCommand;
use crate::env_vars;
use crate::error::CommandError;
use crate::host::{self, FileKind};
use crate::limactl::Limactl;
use crate::process;

/// The line by which our scripts are known.
const MARK: &str =
    "# Written by `callao lima plugins install`; `callao lima plugins remove` removes it.";
const SCRIPT_BYTES_MAX: u64 = 64 * 1024;
const PROGRAM: &str = "callao";

/// A script: its name, what limactl's help says of it, and what it runs of callao.
struct Plugin {
    name: &'static str,
    description: &'static str,
    command: &'static str,
}

const PLUGINS: [Plugin; 2] = [
    Plugin {
        name: "limactl-callao",
        description: "Fetch and verify images from every source at once",
        command: "",
    },
    Plugin {
        name: "limactl-url-ipfs",
        description: "Templates and images by their ipfs: address",
        command: " --quiet --no-progress lima url --",
    },
];

pub(super) fn run(app: &App, command: PluginsCommand) -> Result<(), CommandError> {
    match command {
        PluginsCommand::Install { dir } => install(app, dir.as_deref()),
        PluginsCommand::Remove { dir } => remove(app, dir.as_deref()),
    }
}

fn install(app: &App, dir: Option<&Path>) -> Result<(), CommandError> {
    if let Some(limactl) = Limactl::find(&app.host) {
        limactl.check_version(app)?;
    } else {
        app.output
            .warning("there is no limactl on PATH yet that could use them");
    }
    let dir = match dir {
        Some(dir) => app.host.working_dir.join(dir),
        None => default_dir(app)?,
    };
    for plugin in &PLUGINS {
        let path = dir.join(plugin.name);
        if state(&path) == State::Foreign {
            return Err(CommandError::usage(format!(
                "`{}` is there already and not from callao: it is left as it is",
                path.display()
            ))
            .hint("remove it yourself, or name another directory with --dir"));
        }
    }
    let created = app.disk.create_dir_all(&dir);
    created.map_err(|error| CommandError::io("create", &dir, &error))?;
    let program = app.host.lasting_program();
    for plugin in &PLUGINS {
        let path = dir.join(plugin.name);
        let written = host::write_program(&path, &script(plugin, &program));
        written.map_err(|error| CommandError::io("write", &path, &error))?;
        app.output.result(path.display().to_string());
    }
    if !on_path(app).contains(&dir) {
        app.output.warning(format!(
            "`{}` is not on PATH: limactl will not find them there",
            dir.display()
        ));
    }
    Ok(())
}

fn remove(app: &App, dir: Option<&Path>) -> Result<(), CommandError> {
    let dirs = match dir {
        Some(dir) => vec![app.host.working_dir.join(dir)],
        None => on_path(app),
    };
    let mut found = false;
    for path in dirs
        .iter()
        .flat_map(|dir| PLUGINS.iter().map(|plugin| dir.join(plugin.name)))
    {
        match state(&path) {
            State::Ours => {
                let removed = app.disk.remove(&path);
                removed.map_err(|error| CommandError::io("remove", &path, &error))?;
                app.output.result(path.display().to_string());
                found = true;
            }
            State::Foreign => app.output.warning(format!(
                "`{}` is not from callao: it is left as it is",
                path.display()
            )),
            State::Missing => {}
        }
    }
    if !found {
        app.output.info("There are no plugins of callao to remove");
    }
    Ok(())
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    Ours,
    Foreign,
}

fn state(path: &Path) -> State {
    match host::read_small_file(path, SCRIPT_BYTES_MAX) {
        Ok(bytes)
            if String::from_utf8_lossy(&bytes)
                .lines()
                .any(|line| line == MARK) =>
        {
            State::Ours
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => State::Missing,
        _ => State::Foreign,
    }
}

/// The directories of `PATH`, each once.
fn on_path(app: &App) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    for dir in process::path_dirs(app.host.variable(env_vars::PATH)) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs
}

/// `~/.local/bin` if it is on `PATH`; otherwise the first directory there that is the user's own.
fn default_dir(app: &App) -> Result<PathBuf, CommandError> {
    let none = || {
        CommandError::usage("no directory on PATH is below your home directory and writable")
            .hint("name one with --dir, such as --dir ~/.local/bin, and add it to PATH")
    };
    let home = app.host.home().ok_or_else(none)?;
    let dirs = on_path(app);
    let usual = home.join(".local/bin");
    if dirs.contains(&usual) {
        return Ok(usual);
    }
    dirs.into_iter()
        .find(|dir| {
            dir.starts_with(&home)
                && host::kind_of(dir) == Some(FileKind::Directory)
                && host::is_writable(dir)
        })
        .ok_or_else(none)
}

fn script(plugin: &Plugin, program: &Path) -> String {
    let quoted = program.display().to_string().replace('\'', "'\\''");
    format!(
        "#!/bin/sh\n# <limactl-desc>{}</limactl-desc>\n{MARK}\n\
         callao='{quoted}'\n[ -x \"$callao\" ] || callao={PROGRAM}\nexec \"$callao\"{} \"$@\"\n",
        plugin.description, plugin.command
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_it_is_and_survives_any_path() {
        assert_eq!(
            script(&PLUGINS[0], Path::new("/opt/it's/callao")),
            "#!/bin/sh\n# <limactl-desc>Fetch and verify images from every source at once</limactl-desc>\n\
             # Written by `callao lima plugins install`; `callao lima plugins remove` removes it.\n\
             callao='/opt/it'\\''s/callao'\n[ -x \"$callao\" ] || callao=callao\nexec \"$callao\" \"$@\"\n"
        );
        let url = script(&PLUGINS[1], Path::new("/c"));
        assert!(
            url.ends_with("exec \"$callao\" --quiet --no-progress lima url -- \"$@\"\n"),
            "{url}"
        );
    }
}
