//! The edges between the crates are those of `ARCHITECTURE.md` and no others, and some crates stay free of whole
//! worlds: no network client below `callao-fetch`, libp2p in `callao-p2p` alone.
//!
//! Reads the manifests; knows nothing of the code.
#![expect(
    clippy::disallowed_methods,
    reason = "the test reads the manifests of the workspace"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Crate, then what it may depend on among our own.
const EDGES: [(&str, &[&str]); 8] = [
    (
        "callao",
        &[
            "callao-content",
            "callao-fetch",
            "callao-p2p",
            "callao-store",
            "callao-template",
            "callao-vm",
        ],
    ),
    ("callao-vm", &["callao-content", "callao-template"]),
    (
        "callao-p2p",
        &["callao-content", "callao-fetch", "callao-store"],
    ),
    ("callao-fetch", &["callao-content", "callao-store"]),
    ("callao-store", &["callao-content"]),
    ("callao-template", &["callao-content"]),
    ("callao-testkit", &["callao-content"]),
    ("callao-content", &[]),
];

/// The kit is a dependency of tests, and depends on content itself.
const TESTKIT: &str = "callao-testkit";
const WITHOUT_TESTKIT: [&str; 2] = ["callao-content", TESTKIT];

/// Crates that open no socket and know no async runtime, not even in their tests.
const OFFLINE: [&str; 3] = ["callao-content", "callao-store", "callao-template"];
/// The only crate that names libp2p.
const LIBP2P_CRATE: &str = "callao-p2p";
const ONLINE_CRATES: [&str; 6] = [
    "tokio",
    "tokio-util",
    "reqwest",
    "hyper",
    "futures",
    "async-std",
];

/// A dependency as a manifest states it.
struct Dependency {
    name: String,
    /// Only for tests.
    dev: bool,
}

#[test]
fn the_crates_are_those_of_the_design() {
    let mut found: Vec<String> = manifests().into_iter().map(|(name, _)| name).collect();
    found.sort_unstable();
    let mut known: Vec<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    known.sort_unstable();
    assert_eq!(
        found, known,
        "a new crate needs a line in EDGES and in ARCHITECTURE.md"
    );
}

#[test]
fn only_the_allowed_edges_exist() {
    let mut wrong = Vec::new();
    for (name, manifest) in manifests() {
        let allowed = EDGES
            .iter()
            .find(|(known, _)| *known == name)
            .map_or(&[][..], |(_, to)| to);
        for dependency in dependencies(&manifest) {
            let to = dependency.name.as_str();
            if !(to == "callao" || to.starts_with("callao-")) || allowed.contains(&to) {
                continue;
            }
            let testing =
                dependency.dev && to == TESTKIT && !WITHOUT_TESTKIT.contains(&name.as_str());
            if !testing {
                wrong.push(format!(
                    "{name} -> {to}{}",
                    if dependency.dev { " (dev)" } else { "" }
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn offline_crates_name_no_network_and_no_runtime() {
    let mut wrong = Vec::new();
    for (name, manifest) in manifests() {
        for dependency in dependencies(&manifest) {
            let online = OFFLINE.contains(&name.as_str())
                && ONLINE_CRATES.contains(&dependency.name.as_str());
            let libp2p = dependency.name.starts_with("libp2p") && name != LIBP2P_CRATE;
            if online || libp2p {
                wrong.push(format!("{name} -> {}", dependency.name));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_kit_and_the_fakes_are_in_no_release() {
    for (name, manifest) in manifests() {
        let normal = dependencies(&manifest)
            .into_iter()
            .find(|dependency| !dependency.dev && dependency.name == TESTKIT);
        assert!(normal.is_none(), "{name} uses {TESTKIT} outside its tests");
    }
}

/// Name and manifest of every crate of the workspace.
fn manifests() -> Vec<(String, toml::Table)> {
    let crates = root().join("crates");
    let mut manifests = Vec::new();
    for entry in fs::read_dir(&crates).expect("the folder of crates can be listed") {
        let path = entry
            .expect("an entry of the folder of crates")
            .path()
            .join("Cargo.toml");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let manifest: toml::Table = text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = manifest["package"]["name"]
            .as_str()
            .expect("a package has a name")
            .to_owned();
        manifests.push((name, manifest));
    }
    manifests
}

/// Of all kinds and for all targets, under their real names.
fn dependencies(manifest: &toml::Table) -> Vec<Dependency> {
    let targets = manifest
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flatten();
    let tables = targets
        .filter_map(|(_, table)| table.as_table())
        .chain([manifest]);
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let entries = table
                .get(kind)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten();
            found.extend(entries.map(|(name, value)| {
                let renamed = value.get("package").and_then(toml::Value::as_str);
                Dependency {
                    name: renamed.unwrap_or(name).to_owned(),
                    dev: kind == "dev-dependencies",
                }
            }));
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
