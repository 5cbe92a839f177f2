//! The real programs that tests talk to: where they are, how they are started, and what happens when one is missing.
//!
//! A program is taken from its environment variable, else from `PATH`, else from `tests/peers/bin`, where `scripts/test`
//! puts what it builds. Everything started here listens on loopback, keeps all its files in the directory it is given,
//! and ends, by its process id, when dropped.

pub mod chromium;
pub mod guest;
pub mod kubo;
pub mod netns;
pub mod nginx;
pub mod oras;
pub mod process;
pub mod registry;
pub mod serve;
pub mod systemd;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use chromium::Chromium;
pub use guest::TinyGuest;
pub use kubo::{Daemon, Kubo};
pub use netns::Network;
pub use nginx::{Nginx, NginxOptions};
pub use oras::Oras;
pub use registry::Registry;
pub use serve::Serve;
pub use systemd::UserManager;

/// Names the nginx to use.
pub const NGINX_VARIABLE: &str = "CALLAO_TEST_NGINX";
/// Names the kubo (`ipfs`) to use.
pub const KUBO_VARIABLE: &str = "CALLAO_TEST_KUBO";
/// Names the docker-registry to use.
pub const REGISTRY_VARIABLE: &str = "CALLAO_TEST_REGISTRY";
/// Names the oras to use.
pub const ORAS_VARIABLE: &str = "CALLAO_TEST_ORAS";
/// Names the Chromium to use.
pub const CHROMIUM_VARIABLE: &str = "CALLAO_TEST_CHROMIUM";
/// Names the limactl to use; there is no other way to find one.
pub const LIMACTL_VARIABLE: &str = "CALLAO_TEST_LIMACTL";

/// Says, past the capture of the test runner, that a test was skipped and why.
///
/// # Panics
/// When `CI` is `true`: there everything must be present.
pub fn skip(why: &str) {
    say_skipped(why);
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "skipped in CI: {why}"
    );
}

/// The limactl that [`LIMACTL_VARIABLE`] names, if it runs (limactl refuses root); otherwise says that the test was
/// skipped, which is never a failure.
pub fn limactl() -> Option<PathBuf> {
    let Some(path) = std::env::var_os(LIMACTL_VARIABLE).map(PathBuf::from) else {
        say_skipped(&format!("{LIMACTL_VARIABLE} names no limactl"));
        return None;
    };
    match Command::new(&path).arg("--version").output() {
        Ok(output) if output.status.success() => Some(path),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            say_skipped(&format!("{} does not run: {text}", path.display()));
            None
        }
        Err(error) => {
            say_skipped(&format!("{} does not run: {error}", path.display()));
            None
        }
    }
}

/// A program by its variable, `PATH`, or `tests/peers/bin`; otherwise [`skip`].
pub(crate) fn find(program: &str, variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        if path.is_file() {
            return Some(path);
        }
        skip(&format!(
            "{variable} names {}, which is no file",
            path.display()
        ));
        return None;
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).flat_map(|bin| {
        // Servers are in sbin, which an ordinary user's PATH often lacks.
        let sbin = bin.with_file_name("sbin");
        [bin, sbin]
    });
    let found = directories
        .chain([built])
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(&format!(
            "no {program}: neither {variable}, nor PATH, nor tests/peers/bin has it (scripts/test installs it)"
        ));
    }
    found
}

/// Says, past the capture of the test runner, that a test was skipped, where that is no failure even in CI.
pub fn say_skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    say(&format!("skipped: {test}: {why}"));
}

/// Says something past the capture of the test runner: what was measured, and no test may depend on.
pub fn say(what: &str) {
    // Not eprintln!, which the test runner captures.
    drop(writeln!(std::io::stderr(), "{what}"));
}
