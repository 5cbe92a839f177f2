//! UEFI: where the distributions keep it, and an instance's own copy of what it writes.
//!
//! It must not know templates: whoever has a firmware image of its own hands in its path.

use std::path::{Path, PathBuf};

use callao_template::Arch;

use super::args::Boot;
use crate::{files, sparse};

/// QEMU's `virt` has two flash chips of this size (`hw/arm/virt.c`), and takes nothing shorter or longer.
const ARM_FLASH_BYTES: u64 = 64 << 20;

/// Code and the variables to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The code.
    pub code: PathBuf,
    /// Empty variables that fit it; without them x86_64 forgets its own, and aarch64 begins with an empty chip.
    pub vars: Option<PathBuf>,
}

/// Where an instance has its own copies.
#[derive(Debug, Clone, Copy)]
pub struct OwnCopies<'a> {
    /// The code, where it has to be made longer.
    pub code: &'a Path,
    /// The variables.
    pub vars: &'a Path,
}

/// No firmware.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// None of the known places has it.
    #[error(
        "no UEFI firmware for {arch} was found: install it (Debian, Ubuntu: {debian}; Fedora: {fedora}; Arch: {arch_linux}){otherwise}"
    )]
    Missing {
        /// The architecture.
        arch: Arch,
        /// Package of Debian.
        debian: &'static str,
        /// Package of Fedora.
        fedora: &'static str,
        /// Package of Arch Linux.
        arch_linux: &'static str,
        /// What can be done instead.
        otherwise: &'static str,
    },
    /// It is too long for the chip.
    #[error("the firmware {} has {bytes} bytes, but the flash of this machine only {ARM_FLASH_BYTES}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// It cannot be copied.
    #[error("cannot copy the firmware {} to {}: {source}", from.display(), to.display())]
    Copy {
        /// The file.
        from: PathBuf,
        /// The instance's own.
        to: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Pairs of code and variables of the distributions, the best first.
const X86_64: [(&str, &str); 8] = [
    // Debian, Ubuntu.
    (
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    // Fedora.
    (
        "/usr/share/edk2/ovmf/OVMF_CODE.fd",
        "/usr/share/edk2/ovmf/OVMF_VARS.fd",
    ),
    // Arch.
    (
        "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
        "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
    ),
    (
        "/usr/share/edk2-ovmf/x64/OVMF_CODE.fd",
        "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd",
    ),
    // Gentoo.
    (
        "/usr/share/edk2-ovmf/OVMF_CODE.fd",
        "/usr/share/edk2-ovmf/OVMF_VARS.fd",
    ),
    // openSUSE.
    (
        "/usr/share/qemu/ovmf-x86_64-4m-code.bin",
        "/usr/share/qemu/ovmf-x86_64-4m-vars.bin",
    ),
    (
        "/usr/share/qemu/ovmf-x86_64-code.bin",
        "/usr/share/qemu/ovmf-x86_64-vars.bin",
    ),
    // Older ones, Alpine.
    (
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
    ),
];

/// The same for aarch64.
const AARCH64: [(&str, &str); 4] = [
    // Debian, Ubuntu.
    (
        "/usr/share/AAVMF/AAVMF_CODE.fd",
        "/usr/share/AAVMF/AAVMF_VARS.fd",
    ),
    // Fedora.
    (
        "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
        "/usr/share/edk2/aarch64/vars-template-pflash.raw",
    ),
    // Arch.
    (
        "/usr/share/edk2/aarch64/QEMU_CODE.fd",
        "/usr/share/edk2/aarch64/QEMU_VARS.fd",
    ),
    // openSUSE.
    (
        "/usr/share/qemu/aavmf-aarch64-code.bin",
        "/usr/share/qemu/aavmf-aarch64-vars.bin",
    ),
];

/// Where to look, in this order: directories with QEMU's own names (`~/.local/share/qemu`, `share/qemu` beside QEMU: see
/// `probe::share_dir`), as Lima does, and then where the distributions put it.
#[must_use]
pub fn candidates(arch: Arch, qemu_dirs: &[PathBuf]) -> Vec<Firmware> {
    let (code, vars, known): (_, _, &[(&str, &str)]) = match arch {
        Arch::X86_64 => ("edk2-x86_64-code.fd", "edk2-i386-vars.fd", &X86_64),
        Arch::Aarch64 => ("edk2-aarch64-code.fd", "edk2-arm-vars.fd", &AARCH64),
        _ => return Vec::new(),
    };
    let own = qemu_dirs.iter().map(|dir| (dir.join(code), dir.join(vars)));
    let known = known
        .iter()
        .map(|(code, vars)| (PathBuf::from(code), PathBuf::from(vars)));
    own.chain(known)
        .map(|(code, vars)| Firmware {
            code,
            vars: Some(vars),
        })
        .collect()
}

/// The first firmware that is there, preferring those with variables.
///
/// # Errors
/// There is none.
pub fn find(arch: Arch, qemu_dirs: &[PathBuf]) -> Result<Firmware, FirmwareError> {
    choose(arch, candidates(arch, qemu_dirs), |path| {
        files::size(path).is_ok()
    })
}

fn choose(
    arch: Arch,
    candidates: Vec<Firmware>,
    is_there: impl Fn(&Path) -> bool,
) -> Result<Firmware, FirmwareError> {
    let mut with_code: Vec<Firmware> = candidates
        .into_iter()
        .filter(|candidate| is_there(&candidate.code))
        .collect();
    for candidate in &mut with_code {
        candidate.vars = candidate.vars.take().filter(|vars| is_there(vars));
    }
    // Sorting is stable: the order of the list decides between equals.
    with_code.sort_by_key(|candidate| candidate.vars.is_none());
    let first = with_code.into_iter().next();
    let (debian, fedora, arch_linux, otherwise) = if arch == Arch::X86_64 {
        (
            "ovmf",
            "edk2-ovmf",
            "edk2-ovmf",
            ", or set `firmware: {legacyBIOS: true}` in the template if the image boots by BIOS",
        )
    } else {
        ("qemu-efi-aarch64", "edk2-aarch64", "edk2-aarch64", "")
    };
    first.ok_or(FirmwareError::Missing {
        arch,
        debian,
        fedora,
        arch_linux,
        otherwise,
    })
}

/// Makes the instance's own copy of the variables, unless it has one, and of code that is shorter than its chip.
///
/// Variables of another length than those of the firmware are from before an update that changed the layout, with which the
/// machine would not boot: they are replaced. Images find their boot loader without them.
///
/// # Errors
/// It cannot be copied, or is longer than the chip.
pub fn prepare(firmware: &Firmware, arch: Arch, own: OwnCopies<'_>) -> Result<Boot, FirmwareError> {
    let chip = (arch == Arch::Aarch64).then_some(ARM_FLASH_BYTES);
    let code = match chip {
        Some(bytes) if fitting(&firmware.code, own.code, chip)? != bytes => {
            copy(&firmware.code, own.code, bytes)?;
            own.code.to_owned()
        }
        _ => firmware.code.clone(),
    };
    let Some(template) = firmware.vars.as_deref() else {
        let Some(bytes) = chip else {
            return Ok(Boot::Uefi { code, vars: None });
        };
        // EDK2 makes its variables on an empty chip.
        if files::size(own.vars).ok() != Some(bytes) {
            copy(Path::new("/dev/null"), own.vars, bytes)?;
        }
        let vars = Some(own.vars.to_owned());
        return Ok(Boot::Uefi { code, vars });
    };
    let bytes = chip.unwrap_or(fitting(template, own.vars, chip)?);
    if files::size(own.vars).ok() != Some(bytes) {
        fitting(template, own.vars, chip)?;
        copy(template, own.vars, bytes)?;
    }
    let vars = Some(own.vars.to_owned());
    Ok(Boot::Uefi { code, vars })
}

/// The length of a file that has to fit into the chip.
fn fitting(from: &Path, to: &Path, chip: Option<u64>) -> Result<u64, FirmwareError> {
    let bytes = files::size(from).map_err(|source| copy_error(from, to, source))?;
    if chip.is_some_and(|chip| bytes > chip) {
        return Err(FirmwareError::TooLong {
            path: from.to_owned(),
            bytes,
        });
    }
    Ok(bytes)
}

fn copy(from: &Path, to: &Path, bytes: u64) -> Result<(), FirmwareError> {
    sparse::copy(from, to, bytes).map_err(|source| copy_error(from, to, source))
}

fn copy_error(from: &Path, to: &Path, source: std::io::Error) -> FirmwareError {
    FirmwareError::Copy {
        from: from.to_owned(),
        to: to.to_owned(),
        source,
    }
}

#[cfg(test)]
#[path = "firmware/tests.rs"]
mod tests;
