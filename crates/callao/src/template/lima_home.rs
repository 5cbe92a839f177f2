//! Lima's own directory: `$LIMA_HOME`, else `~/.lima`, and the three files in it that are around every template.
//! Must not know what is in them.

use std::io::ErrorKind;
use std::path::PathBuf;

use callao_template::limits::TEMPLATE_SIZE_BYTES_MAX;
use callao_template::load::{Around, Document};

use super::loader;
use crate::app::App;
use crate::env_vars;
use crate::error::CommandError;
use crate::host::{self, Host};

/// Where Lima keeps instances, templates and settings, whether it exists or not.
pub(crate) fn dir(host: &Host) -> Option<PathBuf> {
    let named = host.text_variable(env_vars::LIMA_HOME);
    let dir = named.map(|text| host.working_dir.join(text));
    dir.or_else(|| host.home().map(|home| home.join(".lima")))
}

/// `_config/base.yaml`, `default.yaml` and `override.yaml`, as far as they are there.
pub(super) fn around(app: &App) -> Result<Around, CommandError> {
    let Some(config) = dir(&app.host).map(|dir| dir.join("_config")) else {
        return Ok(Around::default());
    };
    let read = |name: &str| {
        let path = config.join(name);
        match host::read_small_file(&path, TEMPLATE_SIZE_BYTES_MAX as u64) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(error) => Err(loader::unreadable(&path.display().to_string(), &error)),
            Ok(bytes) => loader::text_of(bytes, &path.display().to_string()).map(|text| {
                Some(Document {
                    name: path.display().to_string(),
                    locator: path.display().to_string(),
                    text,
                })
            }),
        }
    };
    let base = config.join("base.yaml");
    Ok(Around {
        first_base: host::kind_of(&base).map(|_| base.display().to_string()),
        default: read("default.yaml")?,
        over: read("override.yaml")?,
        scripts: false,
    })
}
