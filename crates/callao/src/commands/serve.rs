//! `callao serve`: from the flags to what the daemon is asked for.

use std::sync::Arc;

use crate::app::App;
use crate::cli::ServeArgs;
use crate::daemon::{self, Wish};
use crate::error::CommandError;
use crate::output::Output;
use crate::settings::serve;

pub(crate) fn run(app: App, output: &Output, args: ServeArgs) -> Result<(), CommandError> {
    let settings = &app.settings.serve;
    let gateway = match &args.gateway {
        Some(text) => serve::gateway("--gateway", text)?,
        None => settings.gateway,
    };
    let lan = match &args.lan {
        Some(text) => Some(serve::lan_gateway("--lan", text)?),
        None => settings.lan,
    };
    let listen = match args.listen.is_empty() {
        true => daemon::listen_by_settings(&app),
        false => args.listen,
    };
    let wish = Wish {
        gateway,
        lan,
        listen,
        peers: args.peer,
    };
    daemon::run(Arc::new(app), output, wish)
}
