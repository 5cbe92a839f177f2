//! Facts about the programs that are near: Lima and QEMU, and whether this computer can run machines quickly.

use std::path::Path;
use std::time::Duration;

use super::facts::{KvmFacts, LimaHomeFacts, LimactlFacts, QemuFacts};
use crate::app::App;
use crate::env_vars;
use crate::host::{self, FileKind};
use crate::limactl::Limactl;
use crate::process::{self, Program};
use crate::template::lima_home;

const VERSION_SECONDS_MAX: u64 = 10;
const VERSION_BYTES_MAX: usize = 64 * 1024;
/// A computer with very many processors.
const CPUINFO_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// UEFI firmware as distributions place it, for x86_64.
const FIRMWARE_X86_64: [&str; 6] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/qemu/edk2-x86_64-code.fd",
    "/usr/share/qemu/ovmf-x86_64-code.bin",
];
/// The same for aarch64.
const FIRMWARE_AARCH64: [&str; 4] = [
    "/usr/share/AAVMF/AAVMF_CODE.fd",
    "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
    "/usr/share/qemu/edk2-aarch64-code.fd",
    "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
];

pub(crate) fn limactl(app: &App) -> LimactlFacts {
    let Some(limactl) = Limactl::find(&app.host) else {
        return LimactlFacts::Missing;
    };
    let version = limactl.version(app);
    LimactlFacts::Found {
        path: limactl.path().display().to_string(),
        version: version
            .map(|version| (version.to_string(), version.is_new_enough()))
            .map_err(|error| error.to_string()),
    }
}

pub(crate) fn lima_home(app: &App) -> LimaHomeFacts {
    let named = app.host.text_variable(env_vars::LIMA_HOME);
    let path = lima_home::dir(&app.host).unwrap_or_default();
    let is_instance =
        |name: &std::ffi::OsString| host::kind_of(&path.join(name).join("lima.yaml")).is_some();
    LimaHomeFacts {
        path: path.display().to_string(),
        is_named: named.is_some(),
        is_there: host::kind_of(&path) == Some(FileKind::Directory),
        instances: host::names_in(&path)
            .iter()
            .filter(|name| is_instance(name))
            .count(),
    }
}

pub(crate) fn qemu(app: &App) -> QemuFacts {
    let arch = app.host.arch();
    let name = match arch {
        "armv7l" => "arm",
        "ppc64le" => "ppc64",
        other => other,
    };
    let program = format!("qemu-system-{name}");
    let find =
        |name: &str| process::on_path(app.host.variable(env_vars::PATH), name, &host::is_program);
    let path = find(&program);
    let places: &[&str] = match arch {
        "x86_64" => &FIRMWARE_X86_64,
        "aarch64" => &FIRMWARE_AARCH64,
        _ => &[],
    };
    let there = |path: &&&str| host::kind_of(Path::new(path)).is_some();
    QemuFacts {
        version: path.as_deref().and_then(|path| version(app, path)),
        path: path.map(|path| path.display().to_string()),
        has_img: find("qemu-img").is_some(),
        firmware: places.iter().find(there).map(|path| (*path).to_string()),
        needs_firmware: arch == "aarch64",
        program,
    }
}

/// `QEMU emulator version 10.0.2 (Debian ...)`.
fn version(app: &App, path: &Path) -> Option<String> {
    let ended = Program::new(path)
        .argument("--version")
        .deadline(Duration::from_secs(VERSION_SECONDS_MAX))
        .output_bytes_max(VERSION_BYTES_MAX)
        .run(&app.interrupt)
        .ok()?;
    let text = ended.stdout_text();
    let (_, rest) = text.lines().next()?.split_once("version ")?;
    rest.split_whitespace().next().map(str::to_string)
}

/// `None` where there is no KVM because there is no Linux.
pub(crate) fn kvm(app: &App) -> Option<KvmFacts> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let module = |name: &str| host::kind_of(&Path::new("/sys/module").join(name)).is_some();
    let processor = match app.host.arch() {
        "x86_64" => host::read_small_file(Path::new("/proc/cpuinfo"), CPUINFO_BYTES_MAX)
            .ok()
            .map(|text| has_flag(&String::from_utf8_lossy(&text))),
        _ => None,
    };
    Some(KvmFacts {
        processor,
        has_module: module("kvm_intel") || module("kvm_amd"),
        refused: host::may_use(Path::new("/dev/kvm"))
            .err()
            .map(|error| error.to_string()),
    })
}

/// Whether the processor says that it has virtualisation, Intel's or AMD's.
fn has_flag(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    let mut words = flags.unwrap_or_default().split_whitespace();
    words.any(|word| matches!(word, "vmx" | "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_says_whether_it_can() {
        let line =
            |flags: &str| format!("processor\t: 0\nflags\t\t: fpu {flags} sse\nvmx flags\t: x\n");
        assert!(has_flag(&line("vmx")) && has_flag(&line("svm")));
        assert!(!has_flag(&line("hypervisor")) && !has_flag(""));
    }
}
