//! What an image is, by its own bytes: before any program opens it that would follow the names in it.
//!
//! It must not know a file or a program. Headers: QEMU's `docs/interop/qcow2.txt`, `block/vmdk.c`, `block/vhdx.h`, `block/vpc.c`,
//! `block/vdi.c`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::unpack::Packed;

/// A format that a disk may be based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's own, versions 2 and 3.
    Qcow2,
    /// The bytes of the disk.
    Raw,
    /// VMware's.
    Vmdk,
    /// Hyper-V's.
    Vhdx,
    /// Virtual PC's, `.vhd`.
    Vpc,
    /// VirtualBox's.
    Vdi,
}

impl Format {
    /// As QEMU calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Vmdk => "vmdk",
            Self::Vhdx => "vhdx",
            Self::Vpc => "vpc",
            Self::Vdi => "vdi",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why an image is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing in it.
    #[error("it is empty")]
    Empty,
    /// It has to be unpacked first.
    #[error("it is compressed ({})", .0.name())]
    Compressed(Packed),
    /// An installer or a live system.
    #[error("it is an ISO image: only images of disks are supported")]
    Iso,
    /// A format that is not taken.
    #[error("images of the format {0} are not supported")]
    Format(String),
    /// No format, and no disk.
    #[error(
        "it is no image of a disk: no format is marked, and its length of {bytes} bytes is not a multiple of 512"
    )]
    NoDisk {
        /// Its length.
        bytes: u64,
    },
    /// It could name any file of this computer.
    #[error(
        "it has a backing file, which could be any file of this computer: make it stand alone with qemu-img convert"
    )]
    BackingFile,
    /// As above.
    #[error(
        "its data are in another file, which could be any of this computer: make it stand alone with qemu-img convert"
    )]
    OtherFiles,
    /// There is no key.
    #[error("it is encrypted")]
    Encrypted,
    /// QEMU found it damaged.
    #[error("it is marked as damaged (try qemu-img check)")]
    Corrupt,
}

/// Judges an image by its first bytes (`limits::IMAGE_HEAD_BYTES`, or all there are), its last 512, and its length.
///
/// # Errors
/// It is not taken.
pub fn judge(head: &[u8], tail: &[u8], bytes: u64) -> Result<Format, Refusal> {
    if bytes == 0 {
        return Err(Refusal::Empty);
    }
    if head.starts_with(b"QFI\xfb") {
        return qcow2(head);
    }
    if let Some(packed) = Packed::of(head) {
        return Err(Refusal::Compressed(packed));
    }
    let foreign: [(&[u8], &str); 6] = [
        (b"QED\0", "qed"),
        (b"LUKS\xba\xbe", "luks"),
        (b"WithoutFreeSpace", "parallels"),
        (b"WithouFreSpacExt", "parallels"),
        (b"Bochs Virtual HD Image", "bochs"),
        (b"#!/bin/sh\n#V2.0 Format", "cloop"),
    ];
    if let Some((_, name)) = foreign.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Refusal::Format((*name).to_owned()));
    }
    if head.starts_with(b"KDMV") || head.starts_with(b"COWD") {
        return Ok(Format::Vmdk);
    }
    // A description alone: the disk itself is in files that it names.
    if head.starts_with(b"# Disk DescriptorFile") {
        return Err(Refusal::OtherFiles);
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(Format::Vhdx);
    }
    // Those of a fixed size have it at the end only.
    if head.starts_with(b"conectix") || tail.starts_with(b"conectix") {
        return Ok(Format::Vpc);
    }
    if head.get(0x40..0x44) == Some(&0xbeda_107f_u32.to_le_bytes()) {
        return Ok(Format::Vdi);
    }
    if head.get(32769..32774) == Some(b"CD001") {
        return Err(Refusal::Iso);
    }
    if bytes.is_multiple_of(512) {
        Ok(Format::Raw)
    } else {
        Err(Refusal::NoDisk { bytes })
    }
}

fn qcow2(head: &[u8]) -> Result<Format, Refusal> {
    const CORRUPT: u64 = 1 << 1;
    const EXTERNAL_DATA: u64 = 1 << 2;
    let number = |at: usize, length: usize| {
        let bytes = head.get(at..at + length).unwrap_or_default();
        bytes
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
    };
    let version = number(4, 4);
    if !(2..=3).contains(&version) {
        return Err(Refusal::Format(format!("qcow, version {version}")));
    }
    if number(8, 8) != 0 {
        return Err(Refusal::BackingFile);
    }
    if number(32, 4) != 0 {
        return Err(Refusal::Encrypted);
    }
    let features = if version == 3 { number(72, 8) } else { 0 };
    if features & EXTERNAL_DATA != 0 {
        return Err(Refusal::OtherFiles);
    }
    if features & CORRUPT != 0 {
        return Err(Refusal::Corrupt);
    }
    Ok(Format::Qcow2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2_with(changes: &[(usize, u8)]) -> Vec<u8> {
        let mut head = vec![0; 104];
        head[..4].copy_from_slice(b"QFI\xfb");
        head[7] = 3;
        for (at, value) in changes {
            head[*at] = *value;
        }
        head
    }

    #[test]
    fn images_are_known_by_their_bytes() {
        let at = |offset: usize, magic: &[u8]| {
            let mut head = vec![0; 33 << 10];
            head[offset..offset + magic.len()].copy_from_slice(magic);
            head
        };
        let format = |name: &str| Err(Refusal::Format(name.to_owned()));
        let table: [(Vec<u8>, Result<Format, Refusal>); 21] = [
            (qcow2_with(&[]), Ok(Format::Qcow2)),
            (qcow2_with(&[(7, 2), (79, 4)]), Ok(Format::Qcow2)),
            // Lazy reference counts, dirty: QEMU mends it.
            (qcow2_with(&[(79, 1)]), Ok(Format::Qcow2)),
            // Compressed with zstd.
            (qcow2_with(&[(79, 8), (104 - 1, 1)]), Ok(Format::Qcow2)),
            (qcow2_with(&[(7, 1)]), format("qcow, version 1")),
            (qcow2_with(&[(15, 1)]), Err(Refusal::BackingFile)),
            (qcow2_with(&[(35, 2)]), Err(Refusal::Encrypted)),
            (qcow2_with(&[(79, 4)]), Err(Refusal::OtherFiles)),
            (qcow2_with(&[(79, 2)]), Err(Refusal::Corrupt)),
            (at(0, b"KDMV"), Ok(Format::Vmdk)),
            (
                at(0, b"# Disk DescriptorFile\nversion=1"),
                Err(Refusal::OtherFiles),
            ),
            (at(0, b"vhdxfile"), Ok(Format::Vhdx)),
            (at(0, b"conectix"), Ok(Format::Vpc)),
            (at(64, b"\x7f\x10\xda\xbe"), Ok(Format::Vdi)),
            (at(32769, b"CD001"), Err(Refusal::Iso)),
            (at(0, b"QED\0"), format("qed")),
            (at(0, b"LUKS\xba\xbe"), format("luks")),
            (
                at(0, b"\x1f\x8b\x08"),
                Err(Refusal::Compressed(Packed::Gzip)),
            ),
            (at(510, b"\x55\xaa"), Ok(Format::Raw)),
            (at(0, b""), Ok(Format::Raw)),
            (b"QFI\xfb".to_vec(), format("qcow, version 0")),
        ];
        for (head, expected) in table {
            assert_eq!(
                judge(&head, &[0; 512], 1 << 20),
                expected,
                "{:?}",
                &head[..4]
            );
        }
        let mut tail = [0; 512];
        tail[..8].copy_from_slice(b"conectix");
        assert_eq!(judge(&[0; 512], &tail, 1 << 20), Ok(Format::Vpc));
        assert_eq!(judge(b"", b"", 0), Err(Refusal::Empty));
        let page = b"<!DOCTYPE html><title>404</title>";
        let refusal = judge(page, page, page.len() as u64).expect_err("a page");
        assert_eq!(
            refusal.to_string(),
            "it is no image of a disk: no format is marked, and its length of 33 bytes is not a multiple of 512"
        );
    }
}
