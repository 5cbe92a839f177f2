//! Where the guests are that `scripts/make-tiny-image`, `scripts/make-debian-image` and `scripts/make-nerdctl-archive`
//! make, and whether this computer can run them. Starts nothing: that is what the product is tested for.

use std::path::{Path, PathBuf};

use super::{say_skipped, skip};

/// Names the directory of the tiny guest for `x86_64`.
pub const TINY_VARIABLE: &str = "CALLAO_TEST_GUEST";
/// Names the directory of the tiny guest for `aarch64`.
pub const TINY_AARCH64_VARIABLE: &str = "CALLAO_TEST_GUEST_AARCH64";
/// Names the directory of the Debian image; only `scripts/test --full` sets it.
pub const DEBIAN_VARIABLE: &str = "CALLAO_TEST_DEBIAN";
/// Names the archive of containerd, which has its image beside it; only `scripts/test --full` sets it.
pub const NERDCTL_VARIABLE: &str = "CALLAO_TEST_NERDCTL";

/// What is needed beside the guest to start one and to talk to it.
const HOST_PROGRAMS: [&str; 4] = ["qemu-img", "ssh", "scp", "sftp"];

/// A guest that can be booted from its disk (BIOS for `x86_64`, UEFI), or from its kernel and initrd.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The disk, a compressed qcow2.
    pub qcow2: PathBuf,
    /// The kernel on it.
    pub kernel: PathBuf,
    /// The initrd on it.
    pub initrd: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
}

/// A guest that answers within seconds: busybox and dropbear in an initramfs, and a small `/data` on the disk.
/// `scripts/tiny-guest/init` says what it does, and how to have it misbehave.
#[derive(Clone, Debug)]
pub struct TinyGuest {
    /// Its parts.
    pub guest: Guest,
    /// The same disk, raw.
    pub raw: PathBuf,
}

/// An archive of the layout of nerdctl-full, and an image for its containerd.
#[derive(Clone, Debug)]
pub struct NerdctlArchive {
    /// To be unpacked in `/usr/local`: containerd, ctr, runc, rootlesskit, and the unit of containerd.
    pub archive: PathBuf,
    /// An OCI layout with the image `busybox:latest`.
    pub image: PathBuf,
    /// The same as one file, for `ctr images import`.
    pub image_tar: PathBuf,
}

impl TinyGuest {
    /// The one for `x86_64`. `None` when it, QEMU or OpenSSH is missing, which has then been said.
    ///
    /// # Panics
    /// As [`skip`] does.
    pub fn find() -> Option<Self> {
        Self::find_for("x86_64", TINY_VARIABLE)
    }

    /// The one for `aarch64`.
    ///
    /// # Panics
    /// As [`skip`] does.
    pub fn find_aarch64() -> Option<Self> {
        Self::find_for("aarch64", TINY_AARCH64_VARIABLE)
    }

    fn find_for(arch: &str, variable: &str) -> Option<Self> {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let directory = named.unwrap_or_else(|| built(&format!("tiny-{arch}")));
        let found = host_can_run(arch).and_then(|()| {
            Ok(Self {
                guest: guest(&directory, "tiny.qcow2")?,
                raw: file(&directory, "tiny.raw")?,
            })
        });
        found
            .map_err(|why| skip(&format!("{why} ({variable}; scripts/test makes it)")))
            .ok()
    }
}

/// The Debian image with the real cloud-init, systemd and OpenSSH. `None` without [`DEBIAN_VARIABLE`], which is never a
/// failure, or when what it names is not complete.
///
/// # Panics
/// As [`skip`] does, for what the variable names.
pub fn debian() -> Option<Guest> {
    let directory = full(DEBIAN_VARIABLE)?;
    host_can_run("x86_64")
        .and_then(|()| guest(&directory, "disk.qcow2"))
        .map_err(|why| skip(&format!("{DEBIAN_VARIABLE}: {why}")))
        .ok()
}

/// The archive of containerd. `None` without [`NERDCTL_VARIABLE`], which is never a failure, or when what it names is
/// not complete.
///
/// # Panics
/// As [`skip`] does, for what the variable names.
pub fn nerdctl() -> Option<NerdctlArchive> {
    let archive = full(NERDCTL_VARIABLE)?;
    let parts = || {
        let directory = archive.parent().unwrap_or(Path::new("."));
        file(&directory.join("image"), "index.json")?;
        Ok(NerdctlArchive {
            image: directory.join("image"),
            image_tar: file(directory, "image.tar")?,
            archive: archive
                .is_file()
                .then(|| archive.clone())
                .ok_or_else(|| format!("{} is no file", archive.display()))?,
        })
    };
    parts()
        .map_err(|why: String| skip(&format!("{NERDCTL_VARIABLE}: {why}")))
        .ok()
}

/// What only `scripts/test --full` makes.
fn full(variable: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    if named.is_none() {
        say_skipped(&format!("{variable} is not set (scripts/test --full)"));
    }
    named
}

fn guest(directory: &Path, disk: &str) -> Result<Guest, String> {
    let cmdline = file(directory, "cmdline")?;
    let cmdline = std::fs::read_to_string(&cmdline)
        .map_err(|error| format!("{}: {error}", cmdline.display()))?;
    Ok(Guest {
        qcow2: file(directory, disk)?,
        kernel: file(directory, "vmlinuz")?,
        initrd: file(directory, "initrd.img")?,
        cmdline: cmdline.trim_end().to_owned(),
    })
}

fn file(directory: &Path, name: &str) -> Result<PathBuf, String> {
    let path = directory.join(name);
    let there = path.is_file();
    there
        .then(|| path.clone())
        .ok_or_else(|| format!("no {}", path.display()))
}

fn host_can_run(arch: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let qemu = format!("qemu-system-{arch}");
    let missing: Vec<&str> = HOST_PROGRAMS
        .into_iter()
        .chain([qemu.as_str()])
        .filter(|program| !std::env::split_paths(&path).any(|bin| bin.join(program).is_file()))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(format!("no {} in PATH", missing.join(", no ")))
    }
}

fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/guests")
        .join(name)
}
