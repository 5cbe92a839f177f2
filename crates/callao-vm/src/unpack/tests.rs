//! What the real programs pack is unpacked; what is damaged is not.
#![expect(
    clippy::disallowed_methods,
    reason = "tests make files and look at them"
)]

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use super::*;

/// `callao\n` as gzip, bzip2, xz and zstd pack it.
const VECTORS: [(Packed, &str); 4] = [
    (
        Packed::Gzip,
        "1f8b08000000000002034b4eccc949cce702006fb80d8207000000",
    ),
    (
        Packed::Bzip2,
        "425a683931415926535935183ab3000001c10000102804a0002183419a031a0b8bb9229c28481a8c1d5980",
    ),
    (
        Packed::Xz,
        "fd377a585a000004e6d6b4460200210116000000742fe5a301000663616c6c616f0a0000bba4ce3da39525ac00011f07162eb8731fb6f37d010000000004595a",
    ),
    (Packed::Zstd, "28b52ffd240739000063616c6c616f0a04f127ac"),
];

fn vector(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Unpacks and gives the bytes; when it fails there must be nothing but the input.
    fn unpack(&self, packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
        self.unpack_at_most(packed, 1 << 30)
    }

    fn unpack_at_most(&self, packed: &[u8], limit_bytes: u64) -> Result<Vec<u8>, UnpackError> {
        let (from, to) = (self.path("in"), self.path("out"));
        std::fs::write(&from, packed).expect("written");
        let _ = std::fs::remove_file(&to);
        let mut last = None;
        let mut progress = |now: Progress| last = Some(now);
        let cancel = CancellationToken::new();
        let result = unpack_at_most(&from, &to, limit_bytes, &mut progress, &cancel);
        match result {
            Ok(bytes) => {
                let last = last.expect("there was progress");
                assert_eq!(last.unpacked_bytes, bytes);
                assert_eq!(
                    (last.read_bytes, last.of_bytes),
                    (packed.len() as u64, packed.len() as u64)
                );
                let out = std::fs::read(&to).expect("it is there");
                assert_eq!(out.len() as u64, bytes);
                Ok(out)
            }
            Err(error) => {
                assert_eq!(files::names_in(self.dir.path()), ["in"], "{error}");
                Err(error)
            }
        }
    }

    fn message(&self, packed: &[u8]) -> String {
        let error = self.unpack(packed).expect_err("it is damaged");
        error
            .to_string()
            .replace(&self.path("in").display().to_string(), "IN")
    }
}

#[test]
fn small_files_of_every_kind_are_unpacked() {
    let place = Place::new();
    for (kind, hex) in VECTORS {
        let packed = vector(hex);
        assert_eq!(Packed::of(&packed), Some(kind));
        assert_eq!(
            place.unpack(&packed).expect("good"),
            b"callao\n",
            "{kind:?}"
        );
        // Several, one after the other, are one.
        let twice = [packed.as_slice(), &packed, &packed].concat();
        let unpacked = place.unpack(&twice).expect("good");
        assert_eq!(unpacked, b"callao\ncallao\ncallao\n", "{kind:?}");
    }
}

#[test]
fn what_is_cut_off_is_told_from_what_is_damaged() {
    let place = Place::new();
    for (kind, hex) in VECTORS {
        let packed = vector(hex);
        for end in 6..packed.len() {
            let expected = format!(
                "IN ends in the middle of its {} data: it is not complete",
                kind.name()
            );
            assert_eq!(place.message(&packed[..end]), expected, "{end}");
        }
        let garbage = [
            packed.as_slice(),
            b"and then something else that is long enough",
        ]
        .concat();
        let said = place.message(&garbage);
        let expected = format!(
            "IN is damaged, or something else follows its {} data, 7 bytes into",
            kind.name()
        );
        // Where it is found depends on how much is asked for at once: nothing of it is kept either way.
        let early = expected.replace("7 bytes", "0 bytes");
        assert!(
            said.starts_with(&expected) || said.starts_with(&early),
            "{said}"
        );
        if kind != Packed::Zstd {
            let mut wrong = packed.clone();
            let middle = wrong.len() / 2;
            wrong[middle] ^= 0x10;
            assert!(!place.message(&wrong).is_empty());
        }
    }
    assert_eq!(
        place.message(b""),
        "IN is compressed neither by gzip, bzip2, xz nor zstd"
    );
    assert_eq!(
        place.message(b"QFI\xfb"),
        "IN is compressed neither by gzip, bzip2, xz nor zstd"
    );
}

#[test]
fn skipped_frames_of_zstd_are_skipped() {
    let place = Place::new();
    let frame = vector(VECTORS[3].1);
    let skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
    let all = [skipped.as_slice(), &frame, skipped, skipped, &frame].concat();
    assert_eq!(place.unpack(&all).expect("good"), b"callao\ncallao\n");
    let cut = &all[..skipped.len() + frame.len() + 9];
    assert_eq!(
        place.message(cut),
        "IN ends in the middle of its zstd data: it is not complete"
    );
}

#[test]
fn bombs_and_second_thoughts_leave_nothing() {
    let place = Place::new();
    let packed = vector(VECTORS[0].1);
    let error = place.unpack_at_most(&packed, 6).expect_err("too long");
    assert!(
        error
            .to_string()
            .ends_with("in unpacks to more than 6 bytes"),
        "{error}"
    );
    assert_eq!(place.unpack_at_most(&packed, 7).expect("good"), b"callao\n");
    let (from, to) = (place.path("in"), place.path("new"));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = unpack(&from, &to, &mut |_| {}, &cancel).expect_err("cancelled");
    assert!(error.to_string().ends_with("in was cancelled"), "{error}");
    let nowhere = place.path("missing/new");
    let error = unpack(&from, &nowhere, &mut |_| {}, &CancellationToken::new());
    let error = error.expect_err("there is no such directory").to_string();
    assert!(
        error.ends_with("missing/new: No such file or directory (os error 2)"),
        "{error}"
    );
    let gone = place.path("gone");
    let error = unpack(&gone, &to, &mut |_| {}, &CancellationToken::new());
    assert!(matches!(error, Err(UnpackError::Read { .. })));
    assert!(!to.exists());
}

/// 24 MiB: noise, a hole of 16 MiB, text, and zeros at the end.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; 24 << 20];
    let mut state = 1_u64;
    for byte in &mut bytes[..2 << 20] {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = state.to_le_bytes()[7];
    }
    for (number, byte) in bytes[18 << 20..19 << 20].iter_mut().enumerate() {
        *byte = b"callao "[number % 7];
    }
    bytes
}

#[test]
fn what_the_real_programs_pack_is_the_same_again_and_sparse() {
    let place = Place::new();
    let image = image();
    std::fs::write(place.path("image"), &image).expect("written");
    let programs: [(&str, &[&str]); 8] = [
        ("gzip", &["-1"]),
        ("bzip2", &["-1"]),
        ("xz", &["-0"]),
        ("xz", &["-0", "-T2", "--block-size=1MiB", "--check=sha256"]),
        ("xz", &["-0", "--check=none", "--x86", "--lzma2=preset=0"]),
        ("zstd", &["-1"]),
        ("zstd", &["-3", "--long=27", "--no-check"]),
        ("zstd", &["-1", "-T2"]),
    ];
    for (program, arguments) in programs {
        let packed = Command::new(program)
            .args(arguments)
            .arg("-c")
            .arg(place.path("image"))
            .stderr(Stdio::null())
            .output();
        let packed = match packed {
            Ok(output) if output.status.success() => output.stdout,
            other => {
                println!("skipped: {program} {arguments:?}: {other:?}");
                continue;
            }
        };
        // A second place, so that there is nothing but the input when it fails.
        let other = Place::new();
        let unpacked = other.unpack(&packed).expect("it is good");
        assert!(unpacked == image, "{program} {arguments:?}");
        let meta = std::fs::metadata(other.path("out")).expect("it is there");
        let on_disk = meta.blocks() * 512;
        assert!(on_disk <= 4 << 20, "{program}: {on_disk} bytes on disk");
        // Cut anywhere, it is an error.
        for part in [3, 2] {
            let cut = &packed[..packed.len() - packed.len() / part];
            let error = other.unpack_after_removing(cut).expect_err("cut");
            assert!(
                matches!(error, UnpackError::Truncated { .. }),
                "{program}: {error}"
            );
        }
    }
}

impl Place {
    fn unpack_after_removing(&self, packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let _ = std::fs::remove_file(self.path("out"));
        self.unpack(packed)
    }
}
