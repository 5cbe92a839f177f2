//! The flags of `callao serve` and `callao peers`.

use clap::Args;

use super::Discovery;

const SERVE_AFTER_HELP: &str = "\
What lies in Lima's cache and what `callao add` made known is served from where it
lies: by bitswap to IPFS peers, by HTTP to programs of this computer. Only what is
public is given to others (docs/serve.md tells what that is), and every block is
hashed again before it leaves.

http://127.0.0.1:22552/ipfs/CID?filename=NAME is a location for limactl; what is not
here is fetched for it. http://127.0.0.1:22552/ shows what goes on.

Examples:
  callao serve
  callao serve --lan 0.0.0.0:22554      other callaos of the network fetch from here
  callao serve --discovery none --gateway 127.0.0.1:0 --json";

/// `callao serve`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = SERVE_AFTER_HELP)]
pub struct ServeArgs {
    /// Where programs of this computer find the gateway (port 0: any) [default: 127.0.0.1:22552]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub gateway: Option<String>,
    /// Where peers find it, instead of the addresses of the settings
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    pub listen: Vec<String>,
    /// Peers to be connected to always, as /ip4/ADDRESS/tcp/PORT/p2p/ID
    #[arg(long, value_name = "MULTIADDR", num_args = 1..)]
    pub peer: Vec<String>,
    /// Where to look for peers, and where to be found: everywhere, on the local network, or nowhere
    #[arg(long, value_name = "SCOPE")]
    pub discovery: Option<Discovery>,
    /// A gateway for the local network as well (0.0.0.0:PORT: on every interface)
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub lan: Option<String>,
}
