//! The shapes of `--json`: one object a line, each with `"v":1` and a `type`. Events of a fetch come from
//! callao-fetch as they are; here are those of the commands.

use callao_fetch::event::{Proof, Share};
use serde::Serialize;

use crate::error::CommandError;
use crate::exit_code::ExitCode;

/// The version of the shapes; it changes when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// Any object, with the version in front.
#[derive(Serialize)]
pub struct Line<'a, T: Serialize> {
    /// [`VERSION`].
    pub v: u32,
    /// The object itself.
    #[serde(flatten)]
    pub value: &'a T,
}

/// A warning.
#[derive(Serialize)]
pub struct Warning<'a> {
    /// `warning`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The text.
    pub message: &'a str,
}

/// A failure: the last line of a command that fails.
#[derive(Serialize)]
pub struct Failure<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: ExitCode,
    exit_code: u8,
    message: &'a str,
    details: &'a [String],
    hints: &'a [String],
}

impl<'a> Failure<'a> {
    /// From the error that the command ends with.
    pub fn new(error: &'a CommandError) -> Self {
        Failure {
            kind: "error",
            error: error.kind,
            exit_code: error.kind.number(),
            message: &error.message,
            details: &error.details,
            hints: &error.hints,
        }
    }
}

/// An event of a fetch with the file that it belongs to.
#[derive(Serialize)]
pub struct FileEvent<'a> {
    /// The location that is attempted.
    pub location: &'a str,
    /// The event.
    #[serde(flatten)]
    pub event: &'a callao_fetch::event::Event,
}

/// Something that a command does now.
#[derive(Serialize)]
pub struct Attempt<'a> {
    /// `attempt`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `image`, `kernel`, `initrd`, `nerdctl archive`, `file`.
    pub what: &'a str,
    /// The location.
    pub location: &'a str,
    /// The wanted digest.
    pub digest: Option<String>,
    /// The wanted CID.
    pub cid: Option<String>,
}

/// A file that is there now.
#[derive(Debug, Clone, Serialize)]
pub struct Got {
    /// `result`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `image`, `kernel`, `initrd`, `nerdctl archive`, `file`.
    pub what: &'static str,
    /// Where it is.
    pub path: String,
    /// Its first location.
    pub location: String,
    /// Where it came from.
    pub from: From,
    /// `algo:hex`.
    pub digest: Option<String>,
    /// The root of its layout, where it is known.
    pub cid: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Who gave how much.
    pub sources: Vec<Share>,
    /// Bytes kept from an earlier, interrupted run.
    pub resumed: u64,
    /// How it was proven.
    pub proof: Proof,
    /// Milliseconds that the fetch took.
    pub elapsed_ms: u64,
}

/// Where a file came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The entry was there.
    Cache,
    /// The same bytes were there under another name.
    Link,
    /// It was fetched.
    Fetch,
    /// It is a local file, verified in place.
    Local,
}

/// A file that was published.
#[derive(Debug, Clone, Serialize)]
pub struct Published {
    /// `result`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where it is, pinned by the digest of what was pushed.
    pub location: String,
    /// The address with its tag.
    pub tag: String,
    /// Digest of the manifest or index that the tag names now.
    pub manifest: String,
    /// In an index.
    pub arch: Option<&'static str>,
    /// `sha256:hex` of the file.
    pub digest: String,
    /// Its CID.
    pub cid: String,
    /// Bytes.
    pub size: u64,
}

/// A file that was published by its CID.
#[derive(Debug, Clone, Serialize)]
pub struct PublishedFile {
    /// `result`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `ipfs://CID/NAME`.
    pub location: String,
    /// Where the file is.
    pub path: String,
    /// `sha256:hex` of the file.
    pub digest: String,
    /// Its CID.
    pub cid: String,
    /// Bytes.
    pub size: u64,
    /// Where it was published.
    #[serde(flatten)]
    pub to: PublishedTo,
}

/// Where a file was published by its CID.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum PublishedTo {
    /// Made known, for `callao serve`.
    Serve {
        /// The gateway of the daemon that serves it now; `None` if none does.
        gateway: Option<String>,
    },
    /// In a CAR file.
    Car {
        /// Its path.
        car: String,
    },
    /// In a kubo.
    Kubo {
        /// The address of its API.
        api: String,
        /// The path in its Files.
        files: String,
        /// The name of the pin.
        pin: String,
        /// Kubo refers to the file and has no copy.
        nocopy: bool,
        /// It was announced.
        announced: bool,
    },
}

/// A CAR that `callao add` registered.
#[derive(Debug, Clone, Serialize)]
pub struct AddedCar {
    /// `result`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// As given on the command line.
    pub path: String,
    /// Bytes of the CAR.
    pub size: u64,
    /// Different blocks.
    pub blocks: usize,
    /// What its header names.
    pub roots: Vec<CarRoot>,
    /// It ends in the middle of a block.
    pub truncated: bool,
}

/// One root of a CAR.
#[derive(Debug, Clone, Serialize)]
pub struct CarRoot {
    /// Its CID.
    pub cid: String,
    /// `file`, `directory`, `symlink`, `block of another kind`, `missing block`.
    pub is: &'static str,
    /// Bytes, of a file.
    pub size: Option<u64>,
}

/// What became of a file that came by the dashboard.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Arrived {
    /// It is registered as a file.
    File(Added),
    /// It is registered as a CAR.
    Car(AddedCar),
}

/// What `callao add` found.
#[derive(Debug, Clone, Serialize)]
pub struct Added {
    /// `result`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// As given on the command line.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:hex`.
    pub digest: String,
    /// The root.
    pub cid: String,
    /// The profile's name, or `custom`.
    pub profile: String,
}

/// A peer of the running daemon.
#[derive(Debug, Serialize)]
pub struct ConnectedPeer<'a> {
    /// `peer`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// As the daemon's status has it.
    #[serde(flatten)]
    pub peer: &'a crate::daemon::status::Peer,
}

/// The service of this user that runs `callao serve`.
#[derive(Debug, Serialize)]
pub struct Service {
    /// `service`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Where its unit is, or would be.
    pub unit: String,
    /// Whose that file is: `callao`, `foreign`, `missing`.
    pub file: &'static str,
    /// `written`, `updated`, `unchanged`, `removed`; `None` if nothing was to be done.
    pub change: Option<&'static str>,
    /// What `systemctl is-enabled` says.
    pub enabled: Option<String>,
    /// What `systemctl is-active` says.
    pub active: Option<String>,
    /// Why systemd could not be asked.
    pub why_not: Option<String>,
    /// The daemon that runs, as a service or not.
    pub daemon: Option<ServiceDaemon>,
}

/// A daemon that runs.
#[derive(Debug, Serialize)]
pub struct ServiceDaemon {
    /// Its process.
    pub pid: u32,
    /// `http://127.0.0.1:PORT`
    pub gateway: String,
    /// Whether it answers; `None` if it was not asked.
    pub answers: Option<bool>,
}

impl Service {
    /// Of which nothing but the file is known.
    pub fn of(unit: &std::path::Path, file: &'static str) -> Self {
        Service {
            kind: "service",
            unit: unit.display().to_string(),
            file,
            change: None,
            enabled: None,
            active: None,
            why_not: None,
            daemon: None,
        }
    }
}

/// The daemon is ready: the first line of `callao serve --json`.
#[derive(Debug, Serialize)]
pub struct Ready<'a> {
    /// `ready`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Base58btc; `None` if this callao was built without peers.
    pub peer_id: Option<&'a str>,
    /// Multiaddrs that end in `/p2p/ID`.
    pub addresses: &'a [String],
    /// `http://127.0.0.1:PORT`
    pub gateway: &'a str,
    /// Gateway for the local network, as `http://ADDRESS:PORT`.
    pub lan: Option<&'a str>,
}
