//! Paths in a template: on the host with `~`, in the guest without. It must not know whether anything is there.

use super::expand::{Names, expand};
use super::section::Section;
use crate::error::Error;
use crate::limits;
use crate::locator::clean;
use crate::validate::shown;

/// A path of the host: `~` and `~/x` are below `home`; names are expanded if there are any.
pub(super) fn on_host(
    section: &Section<'_>,
    key: &str,
    text: &str,
    names: Option<&Names<'_>>,
    home: &str,
) -> Result<String, Error> {
    let text = match names {
        Some(names) => expand(text, names).map_err(|reason| section.bad(key, reason))?,
        None => text.to_owned(),
    };
    let path = match text.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => format!("{home}{rest}"),
        Some(_) => {
            let reason = format!(
                "must begin with `~/`, not with the name of a user: `{}`",
                shown(&text)
            );
            return Err(section.bad(key, reason));
        }
        None => text,
    };
    absolute(section, key, &path)
}

/// A path in the guest.
pub(super) fn in_guest(
    section: &Section<'_>,
    key: &str,
    text: &str,
    names: &Names<'_>,
) -> Result<String, Error> {
    let path = expand(text, names).map_err(|reason| section.bad(key, reason))?;
    if path.starts_with('~') {
        let reason = "must not begin with `~`; {{.Home}} is the home directory in the guest";
        return Err(section.bad(key, reason));
    }
    absolute(section, key, &path)
}

/// The path without `.`, `..` and doubled slashes.
pub(super) fn absolute(section: &Section<'_>, key: &str, path: &str) -> Result<String, Error> {
    if path.chars().any(char::is_control) {
        return Err(section.bad(key, "contains a control character"));
    }
    if !path.starts_with('/') {
        let reason = format!("must be an absolute path, not `{}`", shown(path));
        return Err(section.bad(key, reason));
    }
    Ok(clean(path))
}

/// Refuses the path of a socket that the system would not take.
pub(super) fn fits_a_socket(section: &Section<'_>, key: &str, path: &str) -> Result<(), Error> {
    if path.len() <= limits::SOCKET_PATH_BYTES_MAX {
        return Ok(());
    }
    let reason = format!(
        "is longer than the {} bytes that the path of a unix socket may have: `{}`",
        limits::SOCKET_PATH_BYTES_MAX,
        shown(path)
    );
    Err(section.bad(key, reason))
}
