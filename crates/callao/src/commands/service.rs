//! `callao service`: the systemd unit of this user that runs `callao serve`. It carries a mark, and a file without it is
//! never touched. Must not know what the daemon does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::app::App;
use crate::cli::{Common, InstallArgs, ServiceCommand};
use crate::daemon;
use crate::daemon::state::{self, Running};
use crate::error::CommandError;
use crate::exit_code::{self, ExitCode};
use crate::host;
use crate::output::json;

mod manager;
mod status;
mod surroundings;
mod unit;

use manager::Manager;
use unit::MARK;

/// What systemd calls it.
const UNIT: &str = "callao.service";
const UNIT_BYTES_MAX: u64 = 256 << 10;
/// How long the daemon may take until it answers.
const START_MAX: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn run(
    app: &App,
    common: &Common,
    command: &ServiceCommand,
) -> Result<(), CommandError> {
    let path = unit_path(app)?;
    match command {
        ServiceCommand::Install(args) => install(app, common, args, &path),
        ServiceCommand::Status => status::run(app, &path),
        ServiceCommand::Remove => remove(app, &path),
    }
}

fn unit_path(app: &App) -> Result<PathBuf, CommandError> {
    let dir = app.host.config_dir();
    let dir =
        dir.ok_or_else(|| CommandError::usage("neither $XDG_CONFIG_HOME nor $HOME is set"))?;
    Ok(app
        .host
        .working_dir
        .join(dir)
        .join("systemd/user")
        .join(UNIT))
}

fn install(
    app: &App,
    common: &Common,
    args: &InstallArgs,
    path: &Path,
) -> Result<(), CommandError> {
    daemon::check_sockets(app)?;
    let before = File::at(path);
    before.must_be_ours(path)?;
    let manager = Manager::find(app)?;
    if args.now {
        no_other_daemon(app, &manager)?;
    }
    let unit = surroundings::unit(app, common, manager.version)?;
    let text = unit
        .text()
        .map_err(|error| CommandError::usage(error.to_string()))?;
    surroundings::make_dirs(app)?;
    host::write_private_text(path, &text)
        .map_err(|error| CommandError::io("write", path, &error))?;
    let change = before.change(&text);
    app.output.result(format!("{change}: {}", path.display()));
    manager.reload()?;
    manager.enable(path)?;
    app.output
        .result("Enabled: `callao serve` starts when you log in");
    let running = match args.now {
        true => Some(start(app, &manager)?),
        false => None,
    };
    app.output
        .info("To have it run without a login as well: loginctl enable-linger");
    app.output.json(&json::Service {
        change: Some(change.word()),
        enabled: Some(manager.is_enabled()?),
        active: Some(manager.is_active()?),
        daemon: running.map(|running| json::ServiceDaemon {
            pid: running.pid,
            gateway: running.gateway,
            answers: Some(true),
        }),
        ..json::Service::of(path, File::at(path).word())
    });
    Ok(())
}

/// A daemon that the service is not would keep the service from starting.
fn no_other_daemon(app: &App, manager: &Manager<'_>) -> Result<(), CommandError> {
    let Some(other) = state::running(&app.host)? else {
        return Ok(());
    };
    if matches!(&*manager.is_active()?, "active" | "reloading") {
        return Ok(());
    }
    let what = format!(
        "`callao serve` runs already, and not as a service: process {}, gateway {}",
        other.pid, other.gateway
    );
    Err(CommandError::new(ExitCode::Locked, what)
        .hint("end it first; or leave out --now, and the service starts at the next login"))
}

/// Starts it, and waits until it answers.
fn start(app: &App, manager: &Manager<'_>) -> Result<Running, CommandError> {
    // Failures of before count no more.
    manager.forget()?;
    manager.restart()?;
    let since = Instant::now();
    loop {
        if let Some(running) = state::running(&app.host)? {
            app.output.result(format!(
                "Running: gateway and dashboard at {}/",
                running.gateway
            ));
            return Ok(running);
        }
        let active = manager.is_active()?;
        // `activating`: it has failed, and is about to be started again.
        if active != "active" || since.elapsed() > START_MAX {
            return Err(not_started(manager, &active)?);
        }
        app.interrupt.check()?;
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn not_started(manager: &Manager<'_>, active: &str) -> Result<CommandError, CommandError> {
    let what = match manager.exit_status()? {
        _ if active == "active" => {
            "the service runs, and `callao serve` does not answer".to_owned()
        }
        Some(code) => {
            let meaning = exit_code::meaning(code).map(|meaning| format!(" ({meaning})"));
            let meaning = meaning.unwrap_or_default();
            format!("the service ended at once, with exit code {code}{meaning}")
        }
        None => "the service did not start".to_owned(),
    };
    Ok(CommandError::new(ExitCode::Unexpected, what)
        .hint("journalctl --user --unit callao tells why; it is enabled and starts again at the next login"))
}

fn remove(app: &App, path: &Path) -> Result<(), CommandError> {
    let before = File::at(path);
    if before == File::Missing {
        app.output.info(format!(
            "There is no service to remove: no `{}`",
            path.display()
        ));
        app.output.json(&json::Service::of(path, before.word()));
        return Ok(());
    }
    before.must_be_ours(path)?;
    let manager = Manager::find(app)?;
    manager.disable()?;
    let removed = app.disk.remove(path);
    removed.map_err(|error| CommandError::io("remove", path, &error))?;
    manager.reload()?;
    manager.forget()?;
    app.output.result(format!("Removed: {}", path.display()));
    app.output.json(&json::Service {
        change: Some("removed"),
        ..json::Service::of(path, File::Missing.word())
    });
    Ok(())
}

/// What is where the unit belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
enum File {
    Missing,
    /// Ours, and what it says.
    Ours(String),
    Foreign,
}

/// What `install` did to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Written,
    Updated,
    Unchanged,
}

impl File {
    fn at(path: &Path) -> Self {
        let bytes = match host::read_small_file(path, UNIT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return File::Missing,
            Err(_) => return File::Foreign,
        };
        match String::from_utf8(bytes) {
            Ok(text) if text.lines().any(|line| line == MARK) => File::Ours(text),
            _ => File::Foreign,
        }
    }

    fn must_be_ours(&self, path: &Path) -> Result<(), CommandError> {
        match self {
            File::Foreign => Err(CommandError::usage(format!(
                "`{}` is not from callao: it is left as it is",
                path.display()
            ))
            .hint(
                "to have callao write its own, end and remove that one first (systemctl --user disable --now callao)",
            )),
            File::Missing | File::Ours(_) => Ok(()),
        }
    }

    fn change(&self, text: &str) -> Change {
        match self {
            File::Ours(before) if before == text => Change::Unchanged,
            File::Ours(_) => Change::Updated,
            File::Missing | File::Foreign => Change::Written,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            File::Missing => "missing",
            File::Ours(_) => "callao",
            File::Foreign => "foreign",
        }
    }
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Written => "written",
            Change::Updated => "updated",
            Change::Unchanged => "unchanged",
        }
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Change::Written => "Written",
            Change::Updated => "Updated",
            Change::Unchanged => "Unchanged",
        })
    }
}
