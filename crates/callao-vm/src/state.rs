//! How an instance is, as its supervisor last wrote it down. It may be out of date, since anything can be killed:
//! what is true is judged in `status`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::process_id::ProcessId;
use crate::{files, limits};

/// What the supervisor last said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Where in its life it is.
    pub phase: Phase,
    /// What is being done or waited for, in a few words.
    pub doing: String,
    /// Who looks after it.
    pub supervisor: Option<ProcessId>,
    /// QEMU.
    pub qemu: Option<ProcessId>,
    /// Port of this computer that leads to the guest's ssh.
    pub ssh_port: Option<u16>,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// What is not as it should be but hinders nothing: a mount that the guest cannot do, a port that is taken.
    pub notices: Vec<String>,
    /// Why it is broken, or what failed in it although it runs.
    pub error: Option<Failure>,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// Further lines, such as the end of a log.
    pub details: Vec<String>,
    /// What can be done.
    pub hint: Option<String>,
}

/// Where in its life an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// QEMU is being started, or the guest is.
    Starting,
    /// The guest is ready.
    Running,
    /// The guest was asked to end.
    Stopping,
    /// It ended as it should.
    #[default]
    Stopped,
    /// It ended as it should not, or did not start.
    Broken,
}

impl Phase {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Stopping => "stopping",
            Phase::Stopped => "stopped",
            Phase::Broken => "broken",
        }
    }
}

impl State {
    /// What is written down; `None`: nothing, it was never started.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let damaged = |reason: String| Error::Damaged {
            path: path.to_owned(),
            reason,
        };
        match files::read_text(path, limits::STATE_BYTES_MAX) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(damaged(error.to_string())),
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| damaged(error.to_string())),
        }
    }

    /// Writes it down, as a whole.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        files::replace(path, &text, files::PRIVATE_FILE)
            .map_err(|source| Error::io("write", path, source))
    }
}
