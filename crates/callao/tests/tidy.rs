//! The habits of `STYLE.md` that a machine can check: sizes, headers, names, and what must not be in the tree.
//!
//! Reads every text file of the project; knows nothing of what the code does.
#![expect(
    clippy::disallowed_methods,
    reason = "the test reads the files of the project"
)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FILE_LINES_MEDIAN_MAX: usize = 250;
const COLUMNS_MAX: usize = 140;
/// A quarter of them come with OpenPGP, whose library has every cipher of the standard, and a quarter with libp2p.
const PACKAGES_COUNT_MAX: usize = 580;
/// What nothing here needs, and what has been dangerous: each of them can be made to panic or to flood from afar.
const NOT_WANTED: [&str; 4] = [
    "libp2p-gossipsub",
    "libp2p-rendezvous",
    "libp2p-stream",
    "openssl-sys",
];

/// Folders with Rust files of ours.
const RUST_FOLDERS: [&str; 3] = ["crates", "tests", "fuzz"];

/// Built, downloaded or foreign; nothing in them is ours.
const SKIPPED_FOLDERS: [&str; 7] = [
    "target",
    ".git",
    "fuzz/target",
    "fuzz/corpus",
    "fuzz/artifacts",
    "tests/guests",
    "tests/peers/bin",
];

/// What ends a name that says nothing.
const EMPTY_NAMES: [&str; 7] = [
    "util", "utils", "common", "core", "helper", "helpers", "misc",
];

/// What a limit counts. A `Duration` carries its unit in its type.
const UNITS: [&str; 15] = [
    "BYTES", "MS", "COUNT", "CHARS", "LINES", "LEAVES", "NODES", "BLOCKS", "ROOTS", "SEGMENTS",
    "THREADS", "BUFFERS", "DEPTH", "FANOUT", "PER_NODE",
];

/// A file of the project, its path relative to the root and with forward slashes.
struct Text {
    path: String,
    text: String,
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let wrong = rust_files()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.path);
    none("files that do not open with `//!`", wrong);
}

#[test]
fn no_rust_file_is_long() {
    let files = rust_files();
    let mut lines: Vec<usize> = files.iter().map(|file| file.text.lines().count()).collect();
    let long = files
        .iter()
        .zip(&lines)
        .filter(|(_, lines)| **lines > FILE_LINES_MAX);
    none(
        "files that are too long",
        long.map(|(file, lines)| format!("{}: {lines} lines", file.path)),
    );
    lines.sort_unstable();
    let median = lines[lines.len() / 2];
    assert!(
        median <= FILE_LINES_MEDIAN_MAX,
        "the median file has {median} lines"
    );
}

#[test]
fn no_line_is_wide() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                wrong.push(format!("{}:{}: {columns} columns", file.path, number + 1));
            }
        }
    }
    none("lines that are too wide", wrong);
}

#[test]
fn nothing_is_left_undone() {
    let needles = [["to", "do!("].concat(), ["unimple", "mented!("].concat()];
    none("what is left undone", places(&rust_files(), &needles));
}

#[test]
fn every_name_says_something() {
    let mut wrong = Vec::new();
    for file in rust_files() {
        let stems = file
            .path
            .split('/')
            .map(|part| part.strip_suffix(".rs").unwrap_or(part));
        let crate_ends = stems
            .clone()
            .filter_map(|part| part.strip_prefix("callao-"));
        wrong.extend(
            stems
                .chain(crate_ends)
                .filter(|name| EMPTY_NAMES.contains(name))
                .map(|name| format!("{}: {name}", file.path)),
        );
        let modules = file
            .text
            .lines()
            .filter_map(|line| line.split_once("mod ").map(|(_, name)| name));
        let modules = modules.map(|name| name.trim_end_matches([' ', '{', ';']));
        wrong.extend(
            modules
                .filter(|name| EMPTY_NAMES.contains(name))
                .map(|name| format!("{}: mod {name}", file.path)),
        );
    }
    none("names that say nothing", wrong);
}

#[test]
fn limits_end_in_their_unit() {
    let mut wrong = Vec::new();
    for file in rust_files()
        .into_iter()
        .filter(|file| file.path.ends_with("/limits.rs"))
    {
        for line in file.text.lines() {
            let Some((_, constant)) = line.split_once("const ") else {
                continue;
            };
            let Some((name, kind)) = constant.split_once(':') else {
                continue;
            };
            let last = name
                .strip_suffix("_MAX")
                .or_else(|| name.strip_suffix("_MIN"))
                .unwrap_or(name);
            let has_unit = UNITS
                .iter()
                .any(|unit| last == *unit || last.ends_with(&format!("_{unit}")));
            if line.starts_with("pub") && !has_unit && !kind.trim_start().starts_with("Duration") {
                wrong.push(format!("{}: {name}", file.path));
            }
        }
    }
    none("limits that do not say what they count", wrong);
}

/// The project can be built anywhere, from anywhere: no path of one computer, no address of one registry.
#[test]
fn nothing_names_a_machine_or_a_registry() {
    let needles = [
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/ho", "me/"].concat(),
        ["index.crates", ".io"].concat(),
        ["static.crates", ".io"].concat(),
        ["crates.io", "-index"].concat(),
        ["proxy.golang", ".org"].concat(),
        ["registry.npmjs", ".org"].concat(),
        ["pypi", ".org"].concat(),
    ];
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    // Cargo writes where each package comes from into its lock file.
    files.retain(|file| !file.path.ends_with("Cargo.lock"));
    // A home directory of nobody in particular may stand in an example.
    let named = places(&files, &needles)
        .into_iter()
        .filter(|place| !place.contains(&["/ho", "me/user"].concat()));
    none("machine paths or registries", named);
}

#[test]
fn the_lock_file_stays_within_its_budget() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file can be read");
    let packages = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(
        packages <= PACKAGES_COUNT_MAX,
        "{packages} packages; at most {PACKAGES_COUNT_MAX} are wanted"
    );
    let there: Vec<&str> = NOT_WANTED
        .into_iter()
        .filter(|name| lock.contains(&format!("name = \"{name}\"\n")))
        .collect();
    assert_eq!(there, Vec::<&str>::new(), "packages that nobody wants");
}

/// Every line that contains one of the needles, as `path:line: text`.
fn places(files: &[Text], needles: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.text.lines().enumerate() {
            if needles.iter().any(|needle| line.contains(needle.as_str())) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}

fn none(what: &str, wrong: impl IntoIterator<Item = String>) {
    let wrong: Vec<String> = wrong.into_iter().collect();
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

fn rust_files() -> Vec<Text> {
    let mut files = Vec::new();
    for folder in RUST_FOLDERS {
        if root().join(folder).is_dir() {
            collect(&root().join(folder), folder, &mut files);
        }
    }
    files.retain(|file| file.path.ends_with(".rs"));
    assert!(!files.is_empty(), "no Rust files found");
    files
}

/// All text files below a folder; what is not UTF-8 is not text.
fn collect(folder: &Path, prefix: &str, files: &mut Vec<Text>) {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry
            .file_type()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&path.as_str()) {
            collect(&entry.path(), &path, files);
        } else if kind.is_file() {
            files.extend(
                fs::read_to_string(entry.path())
                    .ok()
                    .map(|text| Text { path, text }),
            );
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
