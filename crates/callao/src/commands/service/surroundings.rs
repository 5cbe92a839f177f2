//! What the unit takes over from this very moment: program, flags, variables, directories. The service has none of them of
//! its own: a user's manager knows nothing of what a shell exports.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::unit::Unit;
use crate::app::App;
use crate::cli::Common;
use crate::env_vars;
use crate::error::CommandError;
use crate::host;

/// Variables that name a path, which may be relative to where we are.
const PATHS: [&str; 8] = [
    env_vars::CALLAO_CONFIG,
    env_vars::CALLAO_CACHE_DIR,
    env_vars::IPFS_PATH,
    env_vars::SSL_CERT_FILE,
    env_vars::XDG_CACHE_HOME,
    env_vars::XDG_CONFIG_HOME,
    env_vars::XDG_DATA_HOME,
    env_vars::XDG_STATE_HOME,
];
/// Variables that `callao serve` reads besides those.
const VALUES: [&str; 5] = [
    env_vars::CALLAO_DISCOVERY,
    env_vars::CALLAO_LOCK_SECONDS,
    env_vars::CALLAO_OFFLINE,
    env_vars::IPFS_GATEWAY,
    env_vars::SSL_CERT_DIR,
];
/// Each holds a number; 0 forbids user namespaces to ordinary users. The second one is Debian's.
const NAMESPACE_SWITCHES: [&str; 2] = [
    "/proc/sys/user/max_user_namespaces",
    "/proc/sys/kernel/unprivileged_userns_clone",
];
const SWITCH_BYTES_MAX: u64 = 64;

/// The unit for a manager of this version.
pub(super) fn unit(app: &App, common: &Common, systemd: Option<u32>) -> Result<Unit, CommandError> {
    let program = app.host.lasting_program();
    if !host::is_program(&program) {
        return Err(CommandError::usage(format!(
            "this program is not where it was started from: `{}` is no program",
            program.display()
        ))
        .hint("install callao where it stays, and run it from there"));
    }
    Ok(Unit {
        program,
        flags: flags(app, common),
        variables: variables(app),
        writable: writable(app)?.into(),
        systemd,
        user_namespaces: !NAMESPACE_SWITCHES.iter().any(is_off),
    })
}

/// Makes the directories that the daemon writes to: it cannot make them itself, everything above them is read-only for it.
pub(super) fn make_dirs(app: &App) -> Result<(), CommandError> {
    for dir in writable(app)? {
        host::make_private_dir(&dir).map_err(|error| CommandError::io("create", &dir, &error))?;
    }
    Ok(())
}

/// The cache as a whole: a rename between two places that are writable each on its own would not be possible.
fn writable(app: &App) -> Result<[PathBuf; 3], CommandError> {
    Ok([
        app.settings.cache_dir.clone(),
        app.host.state_dir().map_err(CommandError::usage)?,
        app.host.data_dir().map_err(CommandError::usage)?,
    ])
}

fn flags(app: &App, common: &Common) -> Vec<(&'static str, PathBuf)> {
    let here = |path: &PathBuf| app.host.working_dir.join(path);
    let config = common.config.as_ref().map(|path| ("--config", here(path)));
    let cache = common.cache_dir.as_ref();
    let cache = cache.map(|path| ("--cache-dir", here(path)));
    config.into_iter().chain(cache).collect()
}

fn variables(app: &App) -> Vec<(&'static str, OsString)> {
    let host = &app.host;
    let paths = PATHS.into_iter().filter_map(|name| {
        let value = host.variable(name)?;
        // What is not text is refused later, and by its name.
        let path = value.to_str().map(|text| host.path(text).into_os_string());
        Some((name, path.unwrap_or_else(|| value.to_owned())))
    });
    let values = VALUES.into_iter().chain(env_vars::PROXIES);
    let values = values.filter_map(|name| Some((name, host.variable(name)?.to_owned())));
    paths.chain(values).collect()
}

fn is_off(switch: &&str) -> bool {
    let number = host::read_small_file(Path::new(switch), SWITCH_BYTES_MAX);
    number.is_ok_and(|text| text.trim_ascii() == b"0")
}
