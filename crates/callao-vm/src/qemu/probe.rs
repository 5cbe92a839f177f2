//! Finds QEMU and qemu-img, and asks which version it is and what it can do.
//!
//! It must not know the environment: directories and overrides are handed in. Nothing is remembered between calls.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use callao_template::Arch;

use crate::limits;
use crate::program::{self, ProgramError};

/// The oldest QEMU that is taken: `-blockdev` and `-machine` as they are used here are older, but Lima's soft minimum on
/// Linux (`pkg/driver/qemu/qemu.go`) is what distributions that are still served have.
pub const VERSION_MIN: Version = Version {
    major: 6,
    minor: 2,
    patch: 0,
};

/// A version of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// A QEMU that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// `qemu-system-...`.
    pub system: PathBuf,
    /// What comes before our own arguments, from the override.
    pub first_arguments: Vec<OsString>,
    /// Its version.
    pub version: Version,
    /// Whether it has 9p.
    pub has_nine_p: bool,
    /// Whether it has virtiofs (vhost-user-fs).
    pub has_virtiofs: bool,
}

/// There is no QEMU that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It is not installed.
    #[error(
        "{program} was not found: install it (Debian, Ubuntu: {debian}; Fedora: {fedora}; Arch: {arch_linux})"
    )]
    Missing {
        /// The program.
        program: String,
        /// Package of Debian.
        debian: &'static str,
        /// Package of Fedora.
        fedora: &'static str,
        /// Package of Arch Linux.
        arch_linux: &'static str,
    },
    /// The override names nothing that can be run.
    #[error("{variable} names `{value}`, which is not a program")]
    Override {
        /// The environment variable.
        variable: String,
        /// What it says.
        value: String,
    },
    /// callao runs no such guests.
    #[error("guests of the architecture {arch} are not supported: only x86_64 and aarch64 are")]
    Architecture {
        /// The architecture.
        arch: Arch,
    },
    /// Too old.
    #[error("{} is QEMU {found}, which is too old: at least {VERSION_MIN} is needed", program.display())]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: Version,
    },
    /// It says no version.
    #[error("{} does not say which version of QEMU it is: `{said}`", program.display())]
    NoVersion {
        /// The program.
        program: PathBuf,
        /// What it says.
        said: String,
    },
    /// It cannot be asked.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// The environment variable with which Lima's users name another QEMU, such as `QEMU_SYSTEM_X86_64`.
#[must_use]
pub fn variable(arch: Arch) -> String {
    format!("QEMU_SYSTEM_{}", arch.name().to_uppercase())
}

/// Finds the QEMU for an architecture and asks it. `instead` is the value of `variable(arch)`: a program and perhaps
/// arguments, with blanks between them.
///
/// # Errors
/// It is missing, too old, or cannot be asked.
pub async fn qemu(arch: Arch, dirs: &[PathBuf], instead: Option<&str>) -> Result<Qemu, ProbeError> {
    let (system, first_arguments) = locate(arch, dirs, instead)?;
    let run = async |argument: &'static [&'static str]| {
        let mut arguments = first_arguments.clone();
        arguments.extend(argument.iter().map(OsString::from));
        program::ask_well(&system, &arguments, limits::PROBE_WAIT).await
    };
    let (said, devices) = tokio::join!(run(&["--version"]), run(&["-device", "help"]));
    let said = said?;
    let Some(version) = version(&said) else {
        return Err(ProbeError::NoVersion {
            program: system,
            said: program::shown(&said),
        });
    };
    if version < VERSION_MIN {
        return Err(ProbeError::TooOld {
            program: system,
            found: version,
        });
    }
    let devices = devices?;
    Ok(Qemu {
        has_nine_p: has_device(&devices, "virtio-9p-pci"),
        has_virtiofs: has_device(&devices, "vhost-user-fs-pci"),
        system,
        first_arguments,
        version,
    })
}

/// Finds qemu-img.
///
/// # Errors
/// It is missing.
pub fn qemu_img(dirs: &[PathBuf]) -> Result<PathBuf, ProbeError> {
    program::find("qemu-img", dirs).ok_or(ProbeError::Missing {
        program: "qemu-img".to_owned(),
        debian: "qemu-utils",
        fedora: "qemu-img",
        arch_linux: "qemu-img",
    })
}

/// Finds the QEMU for an architecture without running it: the program, and what comes before our own arguments.
///
/// # Errors
/// It is missing, or the override names nothing.
pub fn locate(
    arch: Arch,
    dirs: &[PathBuf],
    instead: Option<&str>,
) -> Result<(PathBuf, Vec<OsString>), ProbeError> {
    let (debian, fedora, arch_linux) = match arch {
        Arch::X86_64 => ("qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"),
        Arch::Aarch64 => (
            "qemu-system-arm",
            "qemu-system-aarch64-core",
            "qemu-system-aarch64",
        ),
        _ => return Err(ProbeError::Architecture { arch }),
    };
    if let Some(value) = instead.filter(|value| !value.trim().is_empty()) {
        let mut words = value.split_whitespace();
        let found = words.next().and_then(|name| program::find(name, dirs));
        return match found {
            Some(path) => Ok((path, words.map(OsString::from).collect())),
            None => Err(ProbeError::Override {
                variable: variable(arch),
                value: program::shown(value),
            }),
        };
    }
    let program = format!("qemu-system-{arch}");
    match program::find(&program, dirs) {
        Some(path) => Ok((path, Vec::new())),
        None => Err(ProbeError::Missing {
            program,
            debian,
            fedora,
            arch_linux,
        }),
    }
}

/// The version in what `--version` prints: `QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)`.
#[must_use]
pub fn version(said: &str) -> Option<Version> {
    let (_, rest) = said.lines().next()?.split_once(" version ")?;
    let numbers = rest
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .next()?;
    let mut numbers = numbers.split('.').map(str::parse::<u32>);
    Some(Version {
        major: numbers.next()?.ok()?,
        minor: numbers.next()?.ok()?,
        // A release candidate or a vendor may leave it out.
        patch: numbers.next().and_then(Result::ok).unwrap_or(0),
    })
}

/// Whether `-device help` lists a device: `name "virtio-9p-pci", bus PCI, alias "virtio-9p"`. (`-device NAME,help` ends
/// with 0 for devices that do not exist.)
fn has_device(help: &str, name: &str) -> bool {
    let line = format!("name \"{name}\"");
    help.lines().any(|candidate| candidate.starts_with(&line))
}

/// Where QEMU keeps its own files, beside a program in `bin`.
#[must_use]
pub fn share_dir(system: &Path) -> Option<PathBuf> {
    Some(system.parent()?.parent()?.join("share/qemu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_whoever_made_them() {
        let table = [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright",
                Some((7, 2, 22)),
            ),
            (
                "QEMU emulator version 10.0.2 (qemu-10.0.2-1.fc42)",
                Some((10, 0, 2)),
            ),
            (
                "QEMU emulator version 4.2.1 (Debian 1:4.2-3ubuntu6.30)",
                Some((4, 2, 1)),
            ),
            (
                "QEMU emulator version 9.1.50 (v9.1.0-12-gabcdef)",
                Some((9, 1, 50)),
            ),
            ("QEMU emulator version 8.2", Some((8, 2, 0))),
            ("QEMU emulator version 6.2.0-rc1", Some((6, 2, 0))),
            ("qemu-img version 7.2.22 (Debian)", Some((7, 2, 22))),
            ("QEMU emulator version x", None),
            ("QEMU emulator version 99999999999.1", None),
            ("usage: something", None),
            ("", None),
        ];
        for (said, expected) in table {
            let found = version(said).map(|v| (v.major, v.minor, v.patch));
            assert_eq!(found, expected, "{said}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        let at = |said: &str| version(&format!("QEMU emulator version {said}")).expect("a version");
        assert!(at("6.1.99") < VERSION_MIN && at("6.2.0") == VERSION_MIN);
        assert!(at("10.0.0") > at("9.2.4"));
    }

    #[test]
    fn devices_are_whole_names() {
        let help = "Storage devices:\nname \"virtio-9p-pci\", bus PCI, alias \"virtio-9p\"\n";
        assert!(has_device(help, "virtio-9p-pci"));
        assert!(!has_device(help, "virtio-9p"));
        assert!(!has_device(help, "vhost-user-fs-pci"));
    }

    #[test]
    fn what_is_missing_says_what_to_install() {
        let nowhere = [PathBuf::from("/nowhere")];
        let error = locate(Arch::X86_64, &nowhere, None).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "qemu-system-x86_64 was not found: install it (Debian, Ubuntu: qemu-system-x86; \
             Fedora: qemu-system-x86-core; Arch: qemu-system-x86)"
        );
        let error = locate(Arch::Aarch64, &nowhere, Some("  ")).expect_err("missing");
        assert!(error.to_string().contains("qemu-system-arm;"), "{error}");
        assert_eq!(
            qemu_img(&nowhere).expect_err("missing").to_string(),
            "qemu-img was not found: install it (Debian, Ubuntu: qemu-utils; Fedora: qemu-img; Arch: qemu-img)"
        );
        let error = locate(Arch::X86_64, &nowhere, Some("my-qemu -x")).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "QEMU_SYSTEM_X86_64 names `my-qemu -x`, which is not a program"
        );
        let error = locate(Arch::Riscv64, &nowhere, None).expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "guests of the architecture riscv64 are not supported: only x86_64 and aarch64 are"
        );
    }

    #[test]
    fn an_override_may_have_arguments() {
        let bin = [PathBuf::from("/bin")];
        let (path, arguments) = locate(Arch::X86_64, &bin, Some("sh -c  x")).expect("it is there");
        assert_eq!(path, PathBuf::from("/bin/sh"));
        assert_eq!(arguments, ["-c", "x"]);
    }
}
