//! The flags of `callao doctor`.

use clap::Args;

use super::SourceArgs;

const DOCTOR_AFTER_HELP: &str = "\
Looks at the cache, the settings, Lima, kubo, gateways and routers, proxies,
certificates, the clock, QEMU and KVM, and says of each whether it is as it
should be, and what to do if it is not. Who is asked over the network depends
on the same flags and settings as for `get`.

Exit code 0 when `get` can work; otherwise the one that `get` would end with.

Examples:
  callao doctor
  callao doctor --discovery public --json
  callao doctor --gateway https://gateway.example";

/// `callao doctor`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = DOCTOR_AFTER_HELP)]
pub struct DoctorArgs {
    /// Where to look.
    #[command(flatten)]
    pub sources: SourceArgs,
}
