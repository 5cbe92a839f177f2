//! What the tests need from this computer: programs, the directory of a test guest, a free port. What is missing is said.

use std::net::TcpListener;
use std::path::PathBuf;

use callao_template::Arch;
use callao_vm::program;
use callao_vm::qemu::probe::{self, Qemu};

/// Names a directory with `tiny.qcow2`, `vmlinuz`, `initrd.img` and `cmdline`.
const GUEST_VARIABLE: &str = "CALLAO_TEST_GUEST";

/// Says why a test does nothing.
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// The directories of PATH.
pub(crate) fn dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect()
}

/// A QEMU that can be used, and qemu-img.
pub(crate) async fn qemu(arch: Arch) -> Option<(Qemu, PathBuf)> {
    let found = probe::qemu(arch, &dirs(), None).await;
    match (found, probe::qemu_img(&dirs())) {
        (Ok(qemu), Ok(img)) => Some((qemu, img)),
        (Err(error), _) | (_, Err(error)) => {
            skipped(&error.to_string());
            None
        }
    }
}

/// qemu-img.
pub(crate) fn qemu_img() -> Option<PathBuf> {
    let found = program::find("qemu-img", &dirs());
    if found.is_none() {
        skipped("there is no qemu-img");
    }
    found
}

/// The directory of a guest that boots.
pub(crate) fn guest() -> Option<PathBuf> {
    let dir = std::env::var_os(GUEST_VARIABLE).map(PathBuf::from);
    let found = dir.filter(|dir| dir.join("tiny.qcow2").is_file());
    if found.is_none() {
        skipped(&format!(
            "{GUEST_VARIABLE} names no directory with a test guest"
        ));
    }
    found
}

/// A port of the loopback that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
