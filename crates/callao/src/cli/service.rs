//! The flags of `callao service`.

use clap::{Args, Subcommand};

pub(super) const SERVICE_AFTER_HELP: &str = "\
The unit is ~/.config/systemd/user/callao.service. Variables that say where callao
keeps and finds things (CALLAO_..., XDG_..., IPFS_PATH, proxies), --config and
--cache-dir are taken over as they are at this moment: install it again when they
change. What callao serve does is in the settings; callao service status shows
whether it does it.

A user's services run while the user is logged in. For a server:
  loginctl enable-linger

Exit code 2: there is no systemd that could be asked, or the unit is not from
callao; 7: another callao serve runs already.";

/// `callao service`.
#[derive(Debug, Clone, Subcommand)]
pub enum ServiceCommand {
    /// Write the unit and enable it: callao serve starts when you log in
    Install(InstallArgs),
    /// Say whether the unit is there, enabled and active, and whether a daemon answers
    Status,
    /// Stop it, disable it, and remove the unit
    Remove,
}

/// `callao service install`.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct InstallArgs {
    /// Start it as well, or again if it runs, and wait until it answers
    #[arg(long)]
    pub now: bool,
}
