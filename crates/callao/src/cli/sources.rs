//! The flags of every command that fetches: which places may be asked.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Where to look, and how long to wait for others.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArgs {
    /// IPFS gateways to ask
    #[arg(long, value_name = "URL", num_args = 1.., help_heading = "Where to look")]
    pub gateway: Vec<String>,
    /// RPC address of a kubo daemon, or the directory of a kubo repository
    #[arg(long, value_name = "URL|DIR", num_args = 1.., help_heading = "Where to look")]
    pub kubo: Vec<String>,
    /// CAR files to read from
    #[arg(long, value_name = "FILE", num_args = 1.., help_heading = "Where to look")]
    pub car: Vec<PathBuf>,
    /// Peers to ask, as /ip4/ADDRESS/tcp/PORT/p2p/ID
    #[arg(long, value_name = "MULTIADDR", num_args = 1.., help_heading = "Where to look")]
    pub peer: Vec<String>,
    /// Use no other kinds of source than these
    #[arg(
        long,
        value_name = "KIND",
        value_delimiter = ',',
        help_heading = "Where to look"
    )]
    pub only: Vec<Kind>,
    /// Where to look besides the places that are named: everywhere, the local network, or nowhere
    #[arg(long, value_name = "SCOPE", help_heading = "Where to look")]
    pub discovery: Option<Discovery>,
    /// Which registries may be spoken to how.
    #[command(flatten)]
    pub registries: RegistryArgs,
    /// Open no socket at all
    #[arg(long, help_heading = "Where to look")]
    pub offline: bool,
    /// How long to wait for another process that is busy with the same file
    #[arg(long, value_name = "SECONDS")]
    pub lock_seconds: Option<u64>,
}

/// How registries may be spoken to.
#[derive(Debug, Clone, Default, Args)]
pub struct RegistryArgs {
    /// Speak plain http to this registry (this computer needs no permission)
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Where to look")]
    pub allow_http: Vec<String>,
}

/// The kinds of source that `--only` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The URLs of the file and its mirrors
    Http,
    /// IPFS gateways
    Gateway,
    /// A kubo daemon or repository
    Kubo,
    /// CAR files
    Car,
    /// Local files
    File,
    /// Registries of OCI artifacts
    Oci,
    /// Peers that speak bitswap
    Bitswap,
    /// Other callaos on the local network
    Lan,
}

/// Where callao may look on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discovery {
    /// Public gateways, routers and peers, the local network, and this computer
    Public,
    /// Peers on the local network, and a kubo on this computer
    Lan,
    /// Only the places that you or the template name
    None,
}
