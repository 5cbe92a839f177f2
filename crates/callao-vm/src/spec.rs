//! What an instance is: written once when it is created, changed by `edit` alone. Must not know whether it runs.

use std::path::Path;

use callao_template::machine::Machine;
use serde::{Deserialize, Serialize};

use crate::disk::Format;
use crate::error::Error;
use crate::{files, limits};

/// The version of the file.
const VERSION: u32 = 1;

/// What an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    v: u32,
    /// Its name.
    pub name: String,
    /// The instance ID that cloud-init sees: the same for as long as the instance lives.
    pub instance_id: String,
    /// Unix time in seconds.
    pub created: i64,
    /// The version of callao that made it.
    pub callao: String,
    /// Where its image came from, as a template or the command line names it.
    pub image: String,
    /// The digest of the image, `algo:hex`.
    pub digest: Option<String>,
    /// What the base is.
    pub format: Format,
    /// Command line of the kernel, if it is booted without a boot loader.
    pub kernel_command_line: Option<String>,
    /// Everything else.
    pub machine: Machine,
}

impl Spec {
    /// A new instance of this name.
    #[must_use]
    pub fn new(origin: Origin, format: Format, machine: Machine) -> Self {
        Spec {
            v: VERSION,
            instance_id: format!("callao-{}-{}", origin.name, origin.created),
            name: origin.name,
            created: origin.created,
            callao: env!("CARGO_PKG_VERSION").into(),
            image: origin.image,
            digest: origin.digest,
            format,
            kernel_command_line: origin.kernel_command_line,
            machine,
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Damaged`]: it cannot be read, or is not what this version writes.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let damaged = |reason: String| Error::Damaged {
            path: path.to_owned(),
            reason,
        };
        let text = files::read_text(path, limits::SPEC_BYTES_MAX)
            .map_err(|error| damaged(error.to_string()))?;
        let spec: Spec = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if spec.v != VERSION {
            return Err(damaged(format!(
                "it is of version {}, and this callao knows {VERSION}",
                spec.v
            )));
        }
        Ok(spec)
    }

    /// Writes it, as a whole.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        files::replace(path, &text, files::PRIVATE_FILE)
            .map_err(|source| Error::io("write", path, source))
    }
}

/// Where an instance comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// Unix time in seconds.
    pub created: i64,
    /// Location of the image.
    pub image: String,
    /// Digest of the image.
    pub digest: Option<String>,
    /// For a kernel that is booted without a boot loader.
    pub kernel_command_line: Option<String>,
}
