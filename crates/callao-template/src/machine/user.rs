//! `user:` (`LimaUser` in `pkg/osutil/user.go`, and `FillDefault`). It must not know how a guest makes its users.

use std::collections::BTreeMap;

use super::expand::{Names, expand};
use super::paths;
use super::section::Section;
use super::{Surroundings, User};
use crate::error::Error;
use crate::limits;
use crate::validate::shown;

/// Where Linux has home directories.
pub(super) const HOMES: &str = "/home";
/// The user where the host's cannot be one of the guest.
const FALLBACK_NAME: &str = "lima";
/// The first ID of ordinary users, which nearly every distribution shares.
const FALLBACK_UID: u32 = 1000;
const DEFAULT_SHELL: &str = "/bin/bash";

/// The user of the guest.
pub(super) fn user(
    top: &Section<'_>,
    around: &Surroundings,
    param: &BTreeMap<String, String>,
    plain: bool,
) -> Result<User, Error> {
    let section = top.section("user")?;
    let name = name(&section, around)?;
    let uid = match section.number("uid", 0..=u32::MAX - 1)? {
        Some(0) => {
            let reason = "must not be 0, the superuser's; the user has `sudo`";
            return Err(section.bad("uid", reason));
        }
        Some(uid) => uid,
        // The user of the guest is a new account beside the guest's own root, who has the ID 0 already. Whoever runs
        // callao as root gets the ordinary user that Lima falls back to.
        None if around.uid == 0 => FALLBACK_UID,
        None => around.uid,
    };
    let passwordless_sudo = section.said("passwordlessSudo")?.unwrap_or(true);
    if !passwordless_sudo && !plain {
        let reason =
            "can be false with `plain: true` only: mounts and containerd are set up by `sudo`";
        return Err(section.bad("passwordlessSudo", reason));
    }
    let shell = section.text("shell")?.unwrap_or(DEFAULT_SHELL);
    Ok(User {
        comment: comment(&section, around, &name)?,
        home: home(&section, around, &name, uid, param)?,
        shell: paths::absolute(&section, "shell", shell)?,
        name,
        uid,
        passwordless_sudo,
    })
}

fn name(section: &Section<'_>, around: &Surroundings) -> Result<String, Error> {
    if let Some(name) = section.text("name")? {
        if !is_user_name(name) {
            let reason = format!(
                "must be at most {} of a-z, 0-9, `_` and `-`, and begin with a letter or `_`, not `{}`",
                limits::USER_NAME_BYTES_MAX,
                shown(name)
            );
            return Err(section.bad("name", reason));
        }
        if name == "root" {
            let reason = "must not be `root`, whom every guest has; the user has `sudo`";
            return Err(section.bad("name", reason));
        }
        return Ok(name.to_owned());
    }
    // `admin` is a group on many images, and the name of the user that cloud images bring along (Lima v1.0).
    let is_usable = is_user_name(&around.user) && around.user != "admin";
    Ok(if is_usable && around.uid != 0 {
        around.user.clone()
    } else {
        FALLBACK_NAME.to_owned()
    })
}

/// `^[a-z_][a-z0-9_-]*$`, and as long as `useradd` allows.
fn is_user_name(name: &str) -> bool {
    name.len() <= limits::USER_NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'_' | b'-'))
}

/// The host's GECOS is only the first of its parts, and without what a line of `passwd` cannot have.
fn comment(section: &Section<'_>, around: &Surroundings, name: &str) -> Result<String, Error> {
    let is_wrong = |c: char| c == ':' || c.is_control();
    match section.text("comment")? {
        Some(comment) if comment.contains(is_wrong) => Err(section.bad(
            "comment",
            "must have no colon, no line break and no other control character",
        )),
        Some(comment) => Ok(comment.to_owned()),
        None if around.uid == 0 => Ok(name.to_owned()),
        None => {
            let full_name = around.user_comment.split(',').next().unwrap_or_default();
            Ok(full_name.replace(is_wrong, ""))
        }
    }
}

fn home(
    section: &Section<'_>,
    around: &Surroundings,
    name: &str,
    uid: u32,
    param: &BTreeMap<String, String>,
) -> Result<String, Error> {
    let Some(home) = section.text("home")? else {
        // Not the host's: a mount of the host's home directory would hide the guest's.
        return Ok(format!("{HOMES}/{name}.guest"));
    };
    let names = Names::of_home(around, name, uid, param);
    let home = expand(home, &names).map_err(|reason| section.bad("home", reason))?;
    let home = paths::absolute(section, "home", &home)?;
    if home.contains(':') || home == "/" || home == HOMES {
        let reason = format!(
            "must be a directory for the user alone, not `{}`",
            shown(&home)
        );
        return Err(section.bad("home", reason));
    }
    Ok(home)
}
