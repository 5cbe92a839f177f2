//! `callao ssh-config`: what ssh, and every program that uses it, needs to know to get in.

use callao_vm::requests::Request;

use super::{ask, find};
use crate::app::App;
use crate::cli::SshConfigArgs;
use crate::commands::print_text;
use crate::error::CommandError;
use crate::host;

const CONFIG_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(app: &App, args: &SshConfigArgs) -> Result<(), CommandError> {
    let instance = find(app, &args.name)?;
    // The port is that of this start.
    ask(&instance, Request::Enter)?;
    let path = instance.places().ssh_config();
    let text = host::read_small_file(&path, CONFIG_BYTES_MAX)
        .map_err(|error| CommandError::io("read", &path, &error))?;
    print_text(&text)
}
