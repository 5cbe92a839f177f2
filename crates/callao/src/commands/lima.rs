//! `callao lima`: limactl with its files fetched beforehand, and the plugins that make limactl ask callao.

use std::ffi::OsString;

use crate::app::App;
use crate::cli::{LimaArgs, LimaCommand, SourceArgs};
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host;
use crate::limactl::Limactl;

mod instance;
mod line;
mod plugins;
mod seed;
mod url;

pub(crate) fn run(app: &App, args: LimaArgs) -> Result<(), CommandError> {
    match args.command {
        LimaCommand::Plugins(command) => plugins::run(app, command),
        LimaCommand::Url { address } => url::run(app, &args.sources, &address),
        LimaCommand::Limactl(arguments) => limactl(app, &args.sources, arguments),
    }
}

/// Fetches what limactl will want and becomes limactl.
fn limactl(app: &App, sources: &SourceArgs, arguments: Vec<OsString>) -> Result<(), CommandError> {
    let limactl = Limactl::needed(&app.host)?;
    let ready = seed::before(app, &limactl, sources, arguments)?;
    app.interrupt.check()?;
    // From here on limactl decides: its messages, its exit code, and signals reach it alone.
    let error = host::become_program(
        limactl.path(),
        &ready.arguments,
        &cache_of_limactl(app),
        ready.stdin,
    );
    Err(CommandError::new(
        ExitCode::Usage,
        format!("failed to run `{}`: {error}", limactl.path().display()),
    ))
}

/// The variables with which limactl reads the cache that callao writes.
fn cache_of_limactl(app: &App) -> Vec<(&'static str, OsString)> {
    if reads_our_cache(app) {
        return Vec::new();
    }
    if cfg!(target_os = "macos") {
        app.output
            .warning("limactl reads its usual cache on macOS, not the one that callao was told");
    }
    vec![(
        env_vars::XDG_CACHE_HOME,
        app.places.cache().as_os_str().to_owned(),
    )]
}

/// Whether limactl, left alone, would read the cache that callao writes.
fn reads_our_cache(app: &App) -> bool {
    app.host
        .user_cache_dir()
        .is_ok_and(|dir| host::real_path(&dir) == host::real_path(app.places.cache()))
}
