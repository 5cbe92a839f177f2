//! Which QEMU is found, real and feigned.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use callao_template::Arch;
use callao_vm::qemu::probe::{self, VERSION_MIN};

use crate::tools;

#[tokio::test]
async fn the_real_one_says_its_version_and_what_it_can() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let Some((qemu, img)) = tools::qemu(arch).await else {
            continue;
        };
        assert!(qemu.version >= VERSION_MIN);
        assert!(qemu.system.ends_with(format!("qemu-system-{arch}")) && img.ends_with("qemu-img"));
        // Debian's has both.
        println!(
            "{arch}: {}, 9p: {}, virtiofs: {}",
            qemu.version, qemu.has_nine_p, qemu.has_virtiofs
        );
        assert!(qemu.first_arguments.is_empty());
    }
}

/// A shell script in place of QEMU.
fn feigned(dir: &tempfile::TempDir, script: &str) -> Vec<PathBuf> {
    let path = dir.path().join("qemu-system-x86_64");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("executable");
    vec![dir.path().to_owned()]
}

#[tokio::test]
async fn the_old_and_the_strange_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("qemu-system-x86_64").display().to_string();
    let table = [
        (
            "echo 'QEMU emulator version 4.2.1 (Debian 1:4.2-3ubuntu6.30)'",
            format!("{program} is QEMU 4.2.1, which is too old: at least 6.2.0 is needed"),
        ),
        (
            "echo 'hello `you`'",
            format!("{program} does not say which version of QEMU it is: `hello you `"),
        ),
        (
            "echo 'libx.so: not found' >&2; exit 127",
            format!("{program} ended with exit status: 127: `libx.so: not found`"),
        ),
    ];
    for (script, expected) in table {
        let dirs = feigned(&dir, script);
        let error = probe::qemu(Arch::X86_64, &dirs, None)
            .await
            .expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn what_it_can_is_what_it_lists() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = r#"case $* in
        *--version) echo "QEMU emulator version 10.0.2 (x)";;
        *"-device help") echo 'name "virtio-9p-pci", bus PCI, alias "virtio-9p"'; echo "$1" > "$0.first";;
    esac"#;
    let dirs = feigned(&dir, script);
    let qemu = probe::qemu(Arch::X86_64, &dirs, Some("qemu-system-x86_64 -own"))
        .await
        .expect("good");
    assert!(qemu.has_nine_p && !qemu.has_virtiofs);
    assert_eq!(qemu.version.to_string(), "10.0.2");
    assert_eq!(qemu.first_arguments, ["-own"]);
    let first = std::fs::read_to_string(dir.path().join("qemu-system-x86_64.first"));
    assert_eq!(first.expect("it was asked"), "-own\n");
}
