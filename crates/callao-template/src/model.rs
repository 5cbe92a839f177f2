//! What callao knows of a Lima template: the files it names and what decides between them.
//! Everything else is kept in `tree` as it stands. No YAML in here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use callao_content::cid::Cid;
use callao_content::digest::Digest;

use crate::error::UnknownArch;
use crate::tree::Node;

/// A template as far as callao uses it. Lists keep the order of the template: it is the order in which limactl tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The name under which the template was given, for messages.
    pub name: String,
    /// `os:`; absent means Linux.
    pub os: Option<String>,
    /// `vmType:`; absent means the default of the computer.
    pub vm_type: Option<String>,
    /// Top-level `arch:`, which files without their own `arch:` take over.
    pub arch: Option<Arch>,
    /// `images:`.
    pub images: Vec<Image>,
    /// `containerd.archives:`, then the top-level `archives:` of lima-vm/lima#2407.
    pub archives: Vec<File>,
    /// Which containerd the guest gets.
    pub containerd: Containerd,
    /// `plain:`, with which limactl leaves containerd out.
    pub plain: Option<bool>,
    /// `firmware:`.
    pub firmware: Firmware,
    /// `osOpts.Windows.virtioWin`: drivers for Windows guests.
    pub virtio_win: Vec<File>,
    /// The whole template as a tree: bases, default and override merged in.
    pub tree: Node,
}

impl Template {
    /// Whether the guest is Linux.
    #[must_use]
    pub fn is_linux(&self) -> bool {
        let os = self.os.as_deref().unwrap_or("default");
        matches!(os, "default" | "Linux")
    }

    /// Whether a guest of this architecture gets containerd, by limactl's rules (`FillDefault`).
    #[must_use]
    pub fn wants_containerd(&self, arch: Arch) -> bool {
        let usual = self.is_linux() && matches!(arch, Arch::X86_64 | Arch::Aarch64);
        self.plain != Some(true)
            && (self.containerd.user.unwrap_or(usual) || self.containerd.system == Some(true))
    }
}

/// `firmware:`: what QEMU boots from instead of what is installed with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firmware {
    /// `firmware.legacyBIOS:`, which needs no image.
    pub legacy_bios: Option<bool>,
    /// `firmware.images:`.
    pub images: Vec<FirmwareImage>,
}

/// One entry of `firmware.images:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareImage {
    /// The UEFI code.
    pub file: File,
    /// `vmType:`, for which alone it is meant.
    pub vm_type: Option<String>,
}

/// `containerd:` without its archives. Absent means Lima's default, which depends on the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Containerd {
    /// `containerd.system:`.
    pub system: Option<bool>,
    /// `containerd.user:`.
    pub user: Option<bool>,
}

/// One file to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `location:`, byte for byte: Lima's cache key is made from it.
    pub location: String,
    /// `arch:`.
    pub arch: Option<Arch>,
    /// `digest:`.
    pub digest: Option<Digest>,
    /// `cid:` (lima-vm/lima#2407), the CID of the file itself.
    pub cid: Option<Cid>,
    /// Line of the entry in the template, from 1.
    pub line: Option<usize>,
}

/// One entry of `images:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The disk image.
    pub file: File,
    /// `kernel:`, to boot without a boot loader.
    pub kernel: Option<File>,
    /// `initrd:`, which goes with the kernel.
    pub initrd: Option<File>,
    /// `variant:`, such as `server` or `minimal`.
    pub variant: Option<String>,
    /// `archVariant:`, such as `v3`.
    pub arch_variant: Option<String>,
}

/// Lima's architectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// `x86_64`, also understood as `amd64`.
    X86_64,
    /// `aarch64`, also understood as `arm64`.
    Aarch64,
    /// `armv7l`.
    Armv7l,
    /// `ppc64le`.
    Ppc64le,
    /// `riscv64`.
    Riscv64,
    /// `s390x`.
    S390x,
}

/// All of them, in the order in which messages list them.
pub const ARCHES: [Arch; 6] = [
    Arch::X86_64,
    Arch::Aarch64,
    Arch::Armv7l,
    Arch::Ppc64le,
    Arch::Riscv64,
    Arch::S390x,
];

impl Arch {
    /// The name as Lima writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Armv7l => "armv7l",
            Self::Ppc64le => "ppc64le",
            Self::Riscv64 => "riscv64",
            Self::S390x => "s390x",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(text: &str) -> Result<Self, UnknownArch> {
        match text {
            "amd64" => return Ok(Self::X86_64),
            "arm64" => return Ok(Self::Aarch64),
            _ => {}
        }
        let known = ARCHES.into_iter().find(|arch| arch.name() == text);
        known.ok_or_else(|| UnknownArch {
            arch: text.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_reads_back_its_own_name() {
        for arch in ARCHES {
            assert_eq!(arch.name().parse(), Ok(arch));
            assert_eq!(arch.to_string(), arch.name());
        }
        assert_eq!("amd64".parse(), Ok(Arch::X86_64));
        assert_eq!("arm64".parse(), Ok(Arch::Aarch64));
    }

    #[test]
    fn other_names_are_refused_with_the_list() {
        let error = "sparc".parse::<Arch>().expect_err("no such architecture");
        assert_eq!(
            error.to_string(),
            "unknown architecture `sparc`; it is one of x86_64, aarch64, armv7l, ppc64le, riscv64, s390x"
        );
        assert!("X86_64".parse::<Arch>().is_err());
        assert!("".parse::<Arch>().is_err());
    }
}
