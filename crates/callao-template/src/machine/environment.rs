//! What the guest is told about its surroundings: variables, parameters, names, certificates, the time zone. It must not
//! know which files of the guest they end up in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::section::Section;
use super::{CaCerts, Surroundings, paths};
use crate::error::Error;
use crate::tree::{Node, Value};
use crate::validate::shown;

/// Lima reads it itself, in the network configuration of its seed.
const INTERNAL_PARAM: &str = "internal_netplanOptional";

/// They become lines of `/etc/environment`.
pub(super) fn env(top: &Section<'_>) -> Result<BTreeMap<String, String>, Error> {
    let env = top.mapping("env")?;
    for (name, value) in &env {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !is_name || !name.bytes().all(is_word) {
            let reason = format!(
                "has `{}`, which is not the name of a variable: it must be letters, digits and `_`",
                shown(name)
            );
            return Err(top.bad("env", reason));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            let reason = format!("has a control character in `{name}`");
            return Err(top.bad("env", reason));
        }
    }
    Ok(env)
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_'
}

pub(super) fn param(top: &Section<'_>, root: &Node) -> Result<BTreeMap<String, String>, Error> {
    let param = top.mapping("param")?;
    for (key, value) in &param {
        if !key.starts_with(|c: char| c.is_ascii_alphabetic()) || !key.bytes().all(is_word) {
            let reason = format!(
                "has `{}`, which cannot be a name: it must be letters, digits and `_`, a letter first",
                shown(key)
            );
            return Err(top.bad("param", reason));
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(top.bad("param", format!("has a control character in `{key}`")));
        }
        if key != INTERNAL_PARAM && !is_used(root, key) {
            let reason = format!(
                "has `{key}`, which is used nowhere: it is `{{{{.Param.{key}}}}}` in the template and \
                 `PARAM_{key}` in scripts"
            );
            return Err(top.bad("param", reason));
        }
    }
    Ok(param)
}

/// Whether a text of the template mentions the parameter.
fn is_used(node: &Node, key: &str) -> bool {
    let mentions = |text: &str, needle: &str| {
        text.match_indices(needle).any(|(at, _)| {
            let before = text[..at].bytes().next_back();
            let after = text[at + needle.len()..].bytes().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    };
    match &node.value {
        Value::Null => false,
        Value::Scalar { text, .. } => {
            mentions(text, &format!(".Param.{key}")) || mentions(text, &format!("PARAM_{key}"))
        }
        Value::List(items) => items.iter().any(|item| is_used(item, key)),
        Value::Map(entries) => entries.iter().any(|entry| is_used(&entry.value, key)),
    }
}

pub(super) fn dns(top: &Section<'_>, resolver_on: bool) -> Result<Vec<IpAddr>, Error> {
    let texts = top.texts("dns")?;
    if resolver_on && !texts.is_empty() {
        let reason = "must be empty unless hostResolver.enabled is false";
        return Err(top.bad("dns", reason));
    }
    let address = |(_, text): (&Node, &str)| {
        let reason = || format!("must have IP addresses only, not `{}`", shown(text));
        text.parse().map_err(|_| top.bad("dns", reason()))
    };
    texts.into_iter().map(address).collect()
}

/// They become lines of a file of hosts.
pub(super) fn hosts(resolver: &Section<'_>) -> Result<BTreeMap<String, String>, Error> {
    let hosts = resolver.mapping("hosts")?;
    let is_host = |text: &str| {
        !text.is_empty()
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#')
    };
    match hosts
        .iter()
        .find(|(name, to)| !is_host(name) || !is_host(to))
    {
        Some((name, to)) => {
            let reason = format!(
                "must lead from a name to a name or an address, not from `{}` to `{}`",
                shown(name),
                shown(to)
            );
            Err(resolver.bad("hosts", reason))
        }
        None => Ok(hosts),
    }
}

pub(super) fn ca_certs(section: &Section<'_>, around: &Surroundings) -> Result<CaCerts, Error> {
    let mut files = Vec::new();
    for (_, text) in section.texts("files")? {
        files.push(paths::on_host(section, "files", text, None, &around.home)?);
    }
    let certs = section.texts("certs")?;
    Ok(CaCerts {
        remove_defaults: section.is_set("removeDefaults")?,
        files,
        certs: certs.into_iter().map(|(_, text)| text.to_owned()).collect(),
    })
}

/// The host's, unless the template says another one or, with an empty text, none.
pub(super) fn timezone(
    top: &Section<'_>,
    around: &Surroundings,
    plain: bool,
) -> Result<Option<String>, Error> {
    let said = top.text("timezone")?;
    let is_zone = |text: &str| {
        text.bytes()
            .all(|c| is_word(c) || matches!(c, b'/' | b'+' | b'-'))
            && !text.starts_with('/')
    };
    if let Some(zone) = said.filter(|zone| !is_zone(zone)) {
        let reason = format!(
            "must be a time zone such as Europe/Berlin, not `{}`",
            shown(zone)
        );
        return Err(top.bad("timezone", reason));
    }
    if plain {
        return Ok(None);
    }
    Ok(match (top.get("timezone"), said) {
        (_, Some(zone)) => Some(zone.to_owned()),
        (Some(_), None) => None,
        (None, None) => around.timezone.clone().filter(|zone| is_zone(zone)),
    })
}
