//! `provision:`, `probes:` and `copyToHost:` (`FillDefault` and `Validate` in `pkg/limayaml`). It must not know when or how
//! a script is run.

use super::expand::{Names, expand};
use super::section::Section;
use super::{CopyToHost, Probe, Provision, Surroundings, paths};
use crate::error::Error;
use crate::validate::shown;

/// What belongs to `mode: data` alone.
const DATA_KEYS: [&str; 5] = ["content", "overwrite", "owner", "path", "permissions"];

/// `provision:`.
pub(super) fn provision(top: &Section<'_>, names: &Names<'_>) -> Result<Vec<Provision>, Error> {
    let sections = top.sections("provision")?;
    sections.iter().map(|one| step(one, names)).collect()
}

fn step(section: &Section<'_>, names: &Names<'_>) -> Result<Provision, Error> {
    let mode = section.text("mode")?.unwrap_or("system");
    match mode {
        "system" | "user" | "boot" | "dependency" | "data" => {}
        "yq" => {
            let help = "write the file with `mode: data`, or change it in a script";
            return Err(section.unsupported_value("mode", Some(mode), help));
        }
        "ansible" => {
            let help = "run ansible-playbook yourself once the machine runs";
            return Err(section.unsupported_value("mode", Some(mode), help));
        }
        _ => {
            let reason = format!(
                "must be system, user, boot, dependency or data, not `{}`",
                shown(mode)
            );
            return Err(section.bad("mode", reason));
        }
    }
    inlined(section)?;
    let is_dependency = mode == "dependency";
    if section.get("skipDefaultDependencyResolution").is_some() && !is_dependency {
        let reason = "can stand in an entry of `mode: dependency` only";
        return Err(section.bad("skipDefaultDependencyResolution", reason));
    }
    if mode == "data" {
        return data(section, names);
    }
    if let Some(key) = DATA_KEYS.into_iter().find(|key| section.get(key).is_some()) {
        return Err(section.bad(key, "can stand in an entry of `mode: data` only"));
    }
    let script = expanded(section, "script", names)?.unwrap_or_default();
    if script.is_empty() {
        return Err(section.bad("script", "is missing or empty"));
    }
    Ok(match mode {
        "user" => Provision::User { script },
        "boot" => Provision::Boot { script },
        "dependency" => Provision::Dependency {
            script,
            skip_default: section.is_set("skipDefaultDependencyResolution")?,
        },
        _ => Provision::System { script },
    })
}

fn data(section: &Section<'_>, names: &Names<'_>) -> Result<Provision, Error> {
    if section
        .long_text("script")?
        .is_some_and(|text| !text.is_empty())
    {
        let reason = "cannot stand in an entry of `mode: data`, which has `content:`";
        return Err(section.bad("script", reason));
    }
    let Some(path) = section.text("path")? else {
        return Err(section.bad("path", "is missing: `mode: data` writes a file"));
    };
    let owner = section.text("owner")?.unwrap_or("root:root");
    let owner = expand(owner, names).map_err(|reason| section.bad("owner", reason))?;
    if !is_owner(&owner) {
        let reason = format!("must be a user, or user:group, not `{}`", shown(&owner));
        return Err(section.bad("owner", reason));
    }
    let permissions = section.text("permissions")?.unwrap_or("644");
    let is_octal = permissions.bytes().all(|c| matches!(c, b'0'..=b'7'));
    if !is_octal || permissions.len() > 4 {
        let reason = format!(
            "must be an octal number such as 644, not `{}`",
            shown(permissions)
        );
        return Err(section.bad("permissions", reason));
    }
    Ok(Provision::Data {
        content: expanded(section, "content", names)?.unwrap_or_default(),
        path: paths::in_guest(section, "path", path, names)?,
        owner,
        permissions: permissions.to_owned(),
        overwrite: section.said("overwrite")?.unwrap_or(true),
    })
}

/// Names or numbers, as `chown` takes them.
fn is_owner(owner: &str) -> bool {
    let is_name = |part: &str| {
        !part.starts_with('-')
            && part
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.'))
    };
    let (user, group) = owner.split_once(':').unwrap_or((owner, ""));
    !user.is_empty() && is_name(user) && is_name(group)
}

/// `probes:`.
pub(super) fn probes(top: &Section<'_>, names: &Names<'_>) -> Result<Vec<Probe>, Error> {
    let sections = top.sections("probes")?;
    let count = sections.len();
    let each = |(index, section): (usize, &Section<'_>)| {
        if let Some(mode) = section.text("mode")?.filter(|mode| *mode != "readiness") {
            let reason = format!("can only be readiness, not `{}`", shown(mode));
            return Err(section.bad("mode", reason));
        }
        inlined(section)?;
        let script = expanded(section, "script", names)?.unwrap_or_default();
        if !script.starts_with("#!") {
            return Err(section.bad("script", "must begin with a `#!` line"));
        }
        let description = section.text("description")?.map(str::to_owned);
        Ok(Probe {
            description: description.unwrap_or_else(|| format!("user probe {}/{count}", index + 1)),
            script,
            hint: section.long_text("hint")?.unwrap_or_default().to_owned(),
        })
    };
    sections.iter().enumerate().map(each).collect()
}

/// A script must be there itself: whoever loads the template reads its files.
fn inlined(section: &Section<'_>) -> Result<(), Error> {
    match section.get("file") {
        Some(_) => Err(section.bad("file", "cannot be read here: write its text in its place")),
        None => Ok(()),
    }
}

fn expanded(section: &Section<'_>, key: &str, names: &Names<'_>) -> Result<Option<String>, Error> {
    let Some(text) = section.long_text(key)? else {
        return Ok(None);
    };
    let expanded = expand(text, names).map_err(|reason| section.bad(key, reason))?;
    Ok(Some(expanded))
}

/// `copyToHost:`.
pub(super) fn copies(
    top: &Section<'_>,
    around: &Surroundings,
    (guest, host): (&Names<'_>, &Names<'_>),
) -> Result<Vec<CopyToHost>, Error> {
    let each = |section: &Section<'_>| {
        let needed = |key: &'static str| {
            let text = section.text(key)?;
            text.ok_or_else(|| section.bad(key, "is missing"))
        };
        let from = paths::in_guest(section, "guest", needed("guest")?, guest)?;
        let to = paths::on_host(section, "host", needed("host")?, Some(host), &around.home)?;
        Ok(CopyToHost {
            guest: from,
            host: to,
            skip_if_missing: section.is_set("skipIfMissing")?,
            delete_on_stop: section.is_set("deleteOnStop")?,
        })
    };
    top.sections("copyToHost")?.iter().map(each).collect()
}
