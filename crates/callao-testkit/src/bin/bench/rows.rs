//! The rows of the benchmark, one job each.

mod add;
mod bitswap;
mod disk;
mod first;
mod held;
mod https;
mod kill;
mod kubo;
mod lan;
mod latency;
mod lima;
mod lock;
mod machines;
mod memory;
mod mirrors;
mod oci;
mod repair;
mod serve;
mod swarm;
mod templates;

use crate::Outcome;
use crate::report::Section;
use crate::scene::Scene;

/// One row.
pub(crate) struct Row {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// Heading.
    pub(crate) title: &'static str,
    /// Measures it.
    pub(crate) run: fn(&Scene) -> Outcome<Section>,
}

/// In the order in which they are printed.
pub(crate) const ALL: &[Row] = &[
    Row {
        name: "https",
        title: "One file from one web server, verified and synced",
        run: https::run,
    },
    Row {
        name: "kubo-repo",
        title: "From a kubo repository on disk",
        run: kubo::repository,
    },
    Row {
        name: "kubo-daemon",
        title: "Through a running kubo",
        run: kubo::daemon,
    },
    Row {
        name: "mirrors",
        title: "Two mirrors of 20 MiB/s each (nginx limit_rate)",
        run: mirrors::nginx,
    },
    Row {
        name: "mirrors-paced",
        title: "Two mirrors of 20 MiB/s per connection, without bursts",
        run: mirrors::paced,
    },
    Row {
        name: "mirror-stops",
        title: "One of two mirrors stops half-way",
        run: mirrors::stops,
    },
    Row {
        name: "kill",
        title: "kill -9 at a random point, then again",
        run: kill::run,
    },
    Row {
        name: "add",
        title: "Digest and CID of a file",
        run: add::run,
    },
    Row {
        name: "again",
        title: "A second get of the same URL",
        run: held::again,
    },
    Row {
        name: "other-url",
        title: "The same bytes under another URL",
        run: held::other,
    },
    Row {
        name: "lock",
        title: "Digest and CID of two images into a template",
        run: lock::run,
    },
    Row {
        name: "oci",
        title: "A blob of a registry (docker-registry)",
        run: oci::run,
    },
    Row {
        name: "repair",
        title: "One damaged leaf in an image",
        run: repair::run,
    },
    Row {
        name: "templates",
        title: "Templates: start, merging, and one whose files are held",
        run: templates::run,
    },
    Row {
        name: "bitswap",
        title: "Between peers: bitswap, and whatever else they offer",
        run: bitswap::run,
    },
    Row {
        name: "latency",
        title: "Between peers that are 60 ms apart (round trip)",
        run: latency::run,
    },
    Row {
        name: "lan",
        title: "From a callao of the local network, by HTTP",
        run: lan::run,
    },
    Row {
        name: "first",
        title: "The first bytes from a callao that nobody named",
        run: first::run,
    },
    Row {
        name: "disk",
        title: "Disk that is used after a fetch, while it is served",
        run: disk::run,
    },
    Row {
        name: "swarm",
        title: "Eight hosts of one network that start together",
        run: swarm::run,
    },
    Row {
        name: "serve",
        title: "What callao serve needs, idle and busy",
        run: serve::run,
    },
    Row {
        name: "memory",
        title: "Peak memory",
        run: memory::run,
    },
    Row {
        name: "machine-boot",
        title: "From callao start to a guest that answers",
        run: machines::boot::run,
    },
    Row {
        name: "machine-shell",
        title: "From start to a shell in a Debian, beside limactl",
        run: machines::shell::run,
    },
    Row {
        name: "machine-create",
        title: "A machine of an image that is held",
        run: machines::create::run,
    },
    Row {
        name: "machine-list",
        title: "A list of 20 machines",
        run: machines::list::run,
    },
    Row {
        name: "machine-idle",
        title: "What looks after a machine while nothing happens",
        run: machines::idle::run,
    },
    Row {
        name: "lima",
        title: "Beside a cold limactl create",
        run: lima::run,
    },
];
