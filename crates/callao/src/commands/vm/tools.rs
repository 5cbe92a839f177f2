//! What runs machines, found and checked: QEMU, its disk tool, ssh, and what this user's environment says of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use callao_template::machine::Machine;
use callao_vm::launch::Launch;
use callao_vm::qemu::accel::{self, Chosen};
use callao_vm::qemu::probe;
use callao_vm::spec::Spec;
use callao_vm::ssh::client;

use super::path_dirs;
use crate::app::App;
use crate::env_vars;
use crate::error::CommandError;
use crate::get::run::new_runtime;
use crate::host;

const PUBLIC_KEY_BYTES_MAX: u64 = 16 << 10;
/// Keys of a user; somebody with more of them has an agent.
const PUBLIC_KEYS_COUNT_MAX: usize = 32;

/// Runs something asynchronous to its end on this thread.
///
/// # Errors
/// Unexpected: there is no runtime.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    Ok(new_runtime()?.block_on(work))
}

/// The tool for disk images.
///
/// # Errors
/// Virtual machine: it is not installed.
pub(super) fn qemu_img(app: &App) -> Result<PathBuf, CommandError> {
    Ok(probe::qemu_img(&path_dirs(app))?)
}

/// Whether everything is there that such a machine needs to run, and what would run it.
///
/// # Errors
/// Virtual machine: what is missing, and how to get it.
pub(super) fn check(app: &App, machine: &Machine) -> Result<Chosen, CommandError> {
    let dirs = path_dirs(app);
    let instead = qemu_override(app, machine);
    probe::locate(machine.arch, &dirs, instead.as_deref())?;
    client::find(&dirs, app.host.text_variable(env_vars::SSH).as_deref())?;
    let host = accel::read();
    Ok(accel::choose(
        app.settings.accelerator,
        machine.arch,
        &host,
    )?)
}

/// What a machine is started with.
///
/// # Errors
/// Usage: no data directory is known.
pub(super) fn launch(
    app: &App,
    spec: &Spec,
    ready_within: Duration,
) -> Result<Launch, CommandError> {
    let mut proxies = BTreeMap::new();
    for name in env_vars::PROXIES {
        if let Some(value) = app.host.text_variable(name) {
            proxies.insert(name.to_string(), value);
        }
    }
    Ok(Launch {
        path_dirs: path_dirs(app),
        qemu: qemu_override(app, &spec.machine),
        ssh: app.host.text_variable(env_vars::SSH),
        accelerator: app.settings.accelerator,
        firmware_dirs: firmware_dirs(app),
        key_dir: key_dir(app)?,
        public_keys: match spec.machine.ssh.load_dot_ssh_pub_keys {
            true => public_keys(app),
            false => Vec::new(),
        },
        proxies,
        ready_within,
    })
}

/// Where the key is that gets into every machine.
///
/// # Errors
/// Usage: no data directory is known.
pub(super) fn key_dir(app: &App) -> Result<PathBuf, CommandError> {
    let dir = app.host.data_dir().map_err(CommandError::usage)?;
    Ok(dir.join("ssh"))
}

fn qemu_override(app: &App, machine: &Machine) -> Option<String> {
    app.host.text_variable(&probe::variable(machine.arch))
}

/// Where a user may keep firmware of their own, as Lima looks for it.
pub(crate) fn firmware_dirs(app: &App) -> Vec<PathBuf> {
    let home = app.host.home();
    home.map(|home| home.join(".local/share/qemu"))
        .into_iter()
        .collect()
}

/// `~/.ssh/*.pub`.
fn public_keys(app: &App) -> Vec<String> {
    let Some(dir) = app.host.home().map(|home| home.join(".ssh")) else {
        return Vec::new();
    };
    let names = host::names_in(&dir);
    let files = names
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pub"));
    files
        .take(PUBLIC_KEYS_COUNT_MAX)
        .filter_map(|path| host::read_small_file(&path, PUBLIC_KEY_BYTES_MAX).ok())
        .filter_map(|bytes| String::from_utf8(bytes).ok())
        .map(|text| text.trim().to_string())
        .filter(|text| !text.is_empty())
        .collect()
}
