//! Which template a command line of limactl means, and whether its instance is there already (`loadOrCreateInstance` in
//! `cmd/limactl/start.go`, Lima v2.2). Looks at Lima's directory, and writes nothing.

use std::path::{Path, PathBuf};

use callao_template::machine::check_name;

use super::line::Order;
use crate::host::{self, Host};
use crate::template::lima_home;

const DEFAULT_NAME: &str = "default";
const DEFAULT_TEMPLATE: &str = "template:default";
/// One of these is the disk of an instance; the last two are those of older versions.
const DISKS: [&str; 4] = ["disk", "image", "diffdisk", "basedisk"];

/// What limactl will want files for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// A new instance of this template.
    New {
        /// Its locator.
        locator: String,
    },
    /// An instance that is there and does not run.
    There {
        /// Its template.
        template: PathBuf,
        /// It needs no image any more.
        has_disk: bool,
    },
    /// Nothing will be fetched: the instance runs, or limactl is going to refuse.
    Nothing,
}

/// What an order is about.
pub(super) fn subject(host: &Host, order: &Order) -> Subject {
    let what = order.what.as_ref().map(|(_, text)| text.as_str());
    let Some(home) = lima_home::dir(host) else {
        return Subject::Nothing;
    };
    match what {
        Some(locator) if check_name(locator).is_err() => {
            let name = order.name.clone().or_else(|| name_of(locator));
            if name.is_some_and(|name| is_there(&home.join(name))) {
                return Subject::Nothing;
            }
            Subject::New {
                locator: locator.to_string(),
            }
        }
        _ => named(&home, order, what),
    }
}

/// An instance by its name.
fn named(home: &Path, order: &Order, what: Option<&str>) -> Subject {
    let name = order.name.as_deref();
    if let (Some(what), Some(name)) = (what, name)
        && what != name
    {
        return Subject::Nothing;
    }
    let dir = home.join(what.or(name).unwrap_or(DEFAULT_NAME));
    if !is_there(&dir) {
        return Subject::New {
            locator: DEFAULT_TEMPLATE.into(),
        };
    }
    if !order.starts || host::kind_of(&dir.join("ha.pid")).is_some() {
        return Subject::Nothing;
    }
    Subject::There {
        template: dir.join("lima.yaml"),
        has_disk: DISKS
            .iter()
            .any(|disk| host::kind_of(&dir.join(disk)).is_some()),
    }
}

fn is_there(dir: &Path) -> bool {
    host::kind_of(&dir.join("lima.yaml")).is_some()
}

/// The name that an instance gets from the locator of its template.
fn name_of(locator: &str) -> Option<String> {
    let path = locator.split(['?', '#']).next().unwrap_or(locator);
    let last = path.rsplit(['/', ':']).next()?.to_ascii_lowercase();
    let stem = last.strip_suffix(".yml").unwrap_or(&last);
    let stem = stem.strip_suffix(".yaml").unwrap_or(stem);
    check_name(stem).ok().map(|()| stem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_called_as_its_template() {
        let cases = [
            ("t.yaml", Some("t")),
            ("dir/Ubuntu-24.04.yml", Some("ubuntu-24.04")),
            ("template:debian-12", Some("debian-12")),
            ("template:experimental/vz", Some("vz")),
            ("https://h/x/alpine.yaml?a=b", Some("alpine")),
            ("a b.yaml", None),
            ("-", None),
        ];
        for (locator, name) in cases {
            assert_eq!(name_of(locator).as_deref(), name, "{locator}");
        }
    }
}
