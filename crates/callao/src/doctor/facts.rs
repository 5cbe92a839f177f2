//! What is known of this computer before anybody judges it: plain data.

use callao_vm::qemu::accel::{self, AccelError, Chosen};

use crate::cli::Discovery;
use crate::explain::ask::{Asked, AskedRouter};

/// Where the settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingsFacts {
    /// The settings file that was read.
    pub(crate) file: Option<String>,
    /// Variables of callao's own that are set.
    pub(crate) variables: Vec<String>,
}

/// One directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DirFacts {
    pub(crate) path: String,
    pub(crate) kind: DirKind,
    /// Why nothing can be written there, or why it cannot be made.
    pub(crate) refused: Option<String>,
    /// The permission bits.
    pub(crate) mode: Option<u32>,
    /// It belongs to another user.
    pub(crate) is_foreign: bool,
}

/// What a path is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DirKind {
    /// A directory.
    #[default]
    There,
    /// Not there yet.
    Missing,
    /// Something else.
    NoDirectory,
}

/// How something that was tried on the disk went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Tried {
    Works,
    Fails(String),
    #[default]
    Unknown,
}

/// The cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskFacts {
    /// The directory that holds both.
    pub(crate) cache: DirFacts,
    /// Lima's below it.
    pub(crate) lima: DirFacts,
    /// callao's own below it.
    pub(crate) own: DirFacts,
    pub(crate) free_bytes: Option<u64>,
    pub(crate) is_one_file_system: bool,
    pub(crate) hard_link: Tried,
    pub(crate) reflink: Tried,
}

/// The catalogue.
#[derive(Debug, Clone)]
pub(crate) enum CatalogueFacts {
    Missing,
    Opened {
        files: usize,
        bytes: u64,
        /// It was damaged, and has just been replaced by an empty one.
        was_damaged: bool,
    },
    Unusable(String),
}

/// limactl.
#[derive(Debug, Clone)]
pub(crate) enum LimactlFacts {
    Missing,
    Found {
        path: String,
        /// Its version, and whether that is new enough; or why it does not tell.
        version: Result<(String, bool), String>,
    },
}

/// Lima's home.
#[derive(Debug, Clone)]
pub(crate) struct LimaHomeFacts {
    pub(crate) path: String,
    pub(crate) is_named: bool,
    pub(crate) is_there: bool,
    pub(crate) instances: usize,
}

/// A kubo repository on this computer.
#[derive(Debug, Clone)]
pub(crate) enum RepositoryFacts {
    /// No path is known.
    Unknown,
    Missing(String),
    Found {
        path: String,
        /// The format's number.
        version: Option<String>,
        /// Why its blocks cannot be read in place.
        unreadable: Option<String>,
        /// The address that a running daemon wrote into it.
        api: Option<String>,
    },
}

/// Who was asked, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct NetworkFacts {
    pub(crate) discovery: Discovery,
    pub(crate) offline: bool,
    /// Why the places cannot be used at all.
    pub(crate) unusable: Option<String>,
    pub(crate) sources: Vec<Asked>,
    pub(crate) routers: Vec<AskedRouter>,
    pub(crate) clock: ClockFacts,
}

/// The clock, and what others think of it. Seconds since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClockFacts {
    pub(crate) now: i64,
    /// How far it is ahead of each clock that was heard of.
    pub(crate) ahead: Vec<(String, i64)>,
}

/// Proxy variables, without credentials; and whether each is a URL.
pub(crate) type ProxyFacts = Vec<(String, String, bool)>;

/// Certificates to trust.
#[derive(Debug, Clone)]
pub(crate) enum CertificateFacts {
    /// A variable names a file or directory; why it cannot be used.
    Named {
        variable: &'static str,
        path: String,
        unusable: Option<String>,
    },
    /// Those of the system.
    System(String),
    /// None were found where systems keep them.
    Missing,
}

/// A program or file that virtual machines need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tool {
    /// It can be used: what it is.
    Found(String),
    /// It is not there: what `callao start` says.
    Missing(String),
    /// It is there, or somebody names it, and it cannot be used: what `callao start` says.
    Unusable(String),
}

/// QEMU for guests of this computer's architecture.
#[derive(Debug, Clone)]
pub(crate) struct QemuFacts {
    pub(crate) system: Tool,
    /// The tool for disk images.
    pub(crate) img: Tool,
    /// UEFI firmware.
    pub(crate) firmware: Tool,
}

/// What runs guests of this computer's architecture.
#[derive(Debug, Clone)]
pub(crate) struct KvmFacts {
    pub(crate) host: accel::Host,
    /// What `callao start` takes, or how it fails.
    pub(crate) chosen: Result<Chosen, AccelError>,
}
