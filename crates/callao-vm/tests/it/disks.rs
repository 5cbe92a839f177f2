//! Images of every format below an overlay, and those that are refused, by the real qemu-img.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use callao_vm::disk::{self, DiskError, Format, Health, Image};

use crate::tools;

const MIB: u64 = 1 << 20;

struct Place {
    dir: tempfile::TempDir,
    img: PathBuf,
}

impl Place {
    /// With `raw`: 4 MiB of which some are not zero.
    fn new() -> Option<Self> {
        let img = tools::qemu_img()?;
        let dir = tempfile::tempdir().expect("a directory");
        let mut bytes = vec![0; 4 << 20];
        for (number, byte) in bytes[100_000..1_000_000].iter_mut().enumerate() {
            *byte = b"callao"[number % 6];
        }
        std::fs::write(dir.path().join("raw"), bytes).expect("written");
        Some(Self { dir, img })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// qemu-img with arguments, in the directory; whether it could.
    fn run(&self, arguments: &[&str]) -> bool {
        let output = Command::new(&self.img)
            .args(arguments)
            .current_dir(self.dir.path())
            .output();
        let output = output.expect("it runs");
        if !output.status.success() {
            println!(
                "qemu-img {arguments:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        output.status.success()
    }

    async fn inspect(&self, name: &str) -> Result<Image, DiskError> {
        disk::inspect(&self.img, &self.path(name)).await
    }

    async fn overlay(&self, base: &str, image: Image, bytes: u64) -> Result<(), DiskError> {
        disk::create_overlay(&self.img, self.dir.path(), base, image, "disk", bytes).await
    }

    async fn refused(&self, name: &str) -> String {
        let error = self
            .inspect(name)
            .await
            .expect_err("it is refused")
            .to_string();
        error.replace(&self.path(name).display().to_string(), "IT")
    }
}

#[tokio::test]
async fn every_format_below_an_overlay_is_what_it_was() {
    let Some(place) = Place::new() else { return };
    let table: [(Format, &[&str]); 10] = [
        (Format::Qcow2, &[]),
        (Format::Qcow2, &["-c"]),
        (Format::Qcow2, &["-c", "-o", "compression_type=zstd"]),
        (Format::Qcow2, &["-o", "compat=0.10"]),
        (Format::Raw, &[]),
        (Format::Vmdk, &[]),
        (Format::Vmdk, &["-o", "subformat=streamOptimized"]),
        (Format::Vhdx, &[]),
        (Format::Vpc, &["-o", "subformat=fixed,force_size"]),
        (Format::Vdi, &[]),
    ];
    for (format, options) in table {
        let convert = [
            &["convert", "-f", "raw", "-O", format.name()],
            options,
            &["raw", "base"],
        ];
        if !place.run(&convert.concat()) {
            tools::skipped(&format!("this qemu-img cannot make {format} {options:?}"));
            continue;
        }
        let image = place.inspect("base").await.expect("it is taken");
        assert_eq!(
            (image.format, image.virtual_bytes),
            (format, 4 * MIB),
            "{options:?}"
        );
        place
            .overlay("base", image, 8 * MIB + 1)
            .await
            .expect("an overlay");
        // Both can be moved together, even with the name of the directory.
        std::fs::create_dir(place.path("moved")).expect("made");
        for name in ["base", "disk"] {
            std::fs::rename(place.path(name), place.path("moved").join(name)).expect("moved");
        }
        assert!(place.run(&["convert", "-f", "qcow2", "-O", "raw", "moved/disk", "again"]));
        let again = std::fs::read(place.path("again")).expect("it is there");
        let raw = std::fs::read(place.path("raw")).expect("it is there");
        assert_eq!(again.len() as u64, 8 * MIB + 512);
        assert!(again[..raw.len()] == raw[..], "{format} {options:?}");
        assert!(again[raw.len()..].iter().all(|byte| *byte == 0));
        std::fs::remove_dir_all(place.path("moved")).expect("removed");
    }
}

#[tokio::test]
async fn images_that_name_other_files_are_refused() {
    let Some(place) = Place::new() else { return };
    assert!(place.run(&[
        "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "raw", "backed"
    ]));
    let with_data = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "data_file=data,data_file_raw=on",
        "outer",
        "1M",
    ];
    assert!(place.run(&with_data));
    let flat = [
        "convert",
        "-f",
        "raw",
        "-O",
        "vmdk",
        "-o",
        "subformat=monolithicFlat",
        "raw",
        "flat",
    ];
    assert!(place.run(&flat));
    let backing = "the image IT cannot be used: it has a backing file, which could be any file of this computer: \
                   make it stand alone with qemu-img convert";
    let others = "the image IT cannot be used: its data are in another file, which could be any of this computer: \
                  make it stand alone with qemu-img convert";
    assert_eq!(place.refused("backed").await, backing);
    assert_eq!(place.refused("outer").await, others);
    assert_eq!(place.refused("flat").await, others);
    // A vmdk that stands alone by its first bytes, but has a parent.
    let child = [
        "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "parent", "child",
    ];
    assert!(place.run(&["convert", "-f", "raw", "-O", "vmdk", "raw", "parent"]));
    assert!(place.run(&child));
    assert_eq!(place.refused("child").await, backing);
}

#[tokio::test]
async fn what_is_no_disk_is_refused() {
    let Some(place) = Place::new() else { return };
    let mut iso = vec![0; 64 << 10];
    iso[32769..32774].copy_from_slice(b"CD001");
    let table: [(&[u8], &str); 4] = [
        (b"", "the image IT cannot be used: it is empty"),
        (
            &iso,
            "the image IT cannot be used: it is an ISO image: only images of disks are supported",
        ),
        (
            b"\xfd7zXZ\0",
            "the image IT cannot be used: it is compressed (xz)",
        ),
        (
            b"<html>",
            "the image IT cannot be used: it is no image of a disk: no format is marked, and its length of 6 bytes is not \
             a multiple of 512",
        ),
    ];
    for (bytes, expected) in table {
        std::fs::write(place.path("it"), bytes).expect("written");
        assert_eq!(place.refused("it").await, expected);
    }
    assert_eq!(
        place.refused("gone").await,
        "cannot read the image IT: it is no regular file, or not there"
    );
    // A header and nothing more: qemu-img says what is wrong.
    std::fs::write(place.path("it"), b"vhdxfile").expect("written");
    let said = place.refused("it").await;
    assert!(
        said.contains("qemu-img ended with exit status: 1: `"),
        "{said}"
    );
}

#[tokio::test]
async fn disks_grow_and_never_shrink() {
    let Some(place) = Place::new() else { return };
    let image = place.inspect("raw").await.expect("it is taken");
    let error = place
        .overlay("raw", image, 4 * MIB - 512)
        .await
        .expect_err("too small");
    assert_eq!(
        error.to_string(),
        "`disk:` is smaller than the image: 4193792 bytes are asked for, and the image has 4194304"
    );
    assert!(!place.path("disk").exists());
    place.overlay("raw", image, 4 * MIB).await.expect("as big");
    let disk = place.path("disk");
    let resize = async |bytes| disk::resize(&place.img, &disk, bytes).await;
    resize(4 * MIB).await.expect("nothing to do");
    resize(16 * MIB).await.expect("it grows");
    let error = resize(8 * MIB).await.expect_err("it does not shrink");
    let expected = format!(
        "the disk {} has 16777216 bytes and cannot be made smaller (8388608 are asked for)",
        disk.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn damage_is_found() {
    let Some(place) = Place::new() else { return };
    let image = place.inspect("raw").await.expect("it is taken");
    place
        .overlay("raw", image, 64 * MIB)
        .await
        .expect("an overlay");
    let disk = place.path("disk");
    let check = async |path: &Path| disk::check(&place.img, path).await;
    assert_eq!(check(&disk).await.expect("readable"), Health::Good);
    // A cluster that nobody uses, at the end, and counted as used: a leak.
    assert!(place.run(&["convert", "-q", "-f", "raw", "-O", "qcow2", "raw", "own"]));
    let own = place.path("own");
    assert_eq!(check(&own).await.expect("readable"), Health::Good);
    // The table of the first level points into nothing.
    let bytes = std::fs::read(&own).expect("readable");
    let table = u64::from_be_bytes(bytes[40..48].try_into().expect("eight"));
    let mut file = std::fs::File::options()
        .write(true)
        .open(&own)
        .expect("writable");
    file.seek(SeekFrom::Start(table)).expect("there");
    file.write_all(&0_u64.to_be_bytes()).expect("written");
    let leaks = check(&own).await.expect("readable");
    assert!(
        matches!(leaks, Health::Leaks { clusters } if clusters > 0),
        "{leaks:?}"
    );
    file.seek(SeekFrom::Start(table)).expect("there");
    file.write_all(&(1 << 63 | 3_u64 << 16).to_be_bytes())
        .expect("written");
    let corrupt = check(&own).await.expect("readable");
    assert!(
        matches!(corrupt, Health::Corrupt { errors } if errors > 0),
        "{corrupt:?}"
    );
    std::fs::write(&own, b"no disk").expect("written");
    let error = check(&own).await.expect_err("no disk").to_string();
    assert!(
        error.contains("qemu-img ended with exit status: 1: `"),
        "{error}"
    );
}
