//! `callao service status`: what is known of the unit, of the service, and of the daemon. Changes nothing, and does not fail
//! where there is no systemd.

use std::path::Path;

use super::File;
use super::manager::Manager;
use crate::app::App;
use crate::daemon::ask;
use crate::daemon::state::{self, Running};
use crate::error::CommandError;
use crate::get::run::new_runtime;
use crate::output::json;

pub(super) fn run(app: &App, path: &Path) -> Result<(), CommandError> {
    let mut status = json::Service::of(path, File::at(path).word());
    match Manager::find(app) {
        Ok(manager) => {
            status.enabled = Some(manager.is_enabled()?);
            status.active = Some(manager.is_active()?);
        }
        Err(error) => status.why_not = Some(error.to_string()),
    }
    if let Some(running) = state::running(&app.host)? {
        status.daemon = Some(ask_whether(app, running)?);
    }
    for line in lines(&status) {
        app.output.result(line);
    }
    app.output.json(&status);
    Ok(())
}

/// Whether the daemon answers.
fn ask_whether(app: &App, running: Running) -> Result<json::ServiceDaemon, CommandError> {
    let answers = match app.settings.offline {
        true => None,
        false => match new_runtime()?.block_on(ask::status(&running)) {
            Ok(_) => Some(true),
            Err(error) => {
                app.output.warning(error.message);
                Some(false)
            }
        },
    };
    Ok(json::ServiceDaemon {
        pid: running.pid,
        gateway: running.gateway,
        answers,
    })
}

fn lines(status: &json::Service) -> [String; 3] {
    let unit = match status.file {
        "missing" => "not there".to_owned(),
        "foreign" => format!("{}, not from callao", status.unit),
        _ => status.unit.clone(),
    };
    let systemd = match (&status.enabled, &status.active) {
        (Some(enabled), Some(active)) => format!("{enabled}, {active}"),
        _ => status.why_not.clone().unwrap_or_default(),
    };
    let daemon = status.daemon.as_ref().map(|daemon| {
        let answers = match daemon.answers {
            Some(true) => "answers",
            Some(false) => "does not answer",
            None => "is not asked (offline)",
        };
        format!("process {} {answers} at {}/", daemon.pid, daemon.gateway)
    });
    [
        format!("Unit:    {unit}"),
        format!("systemd: {systemd}"),
        format!("Daemon:  {}", daemon.as_deref().unwrap_or("none runs")),
    ]
}
