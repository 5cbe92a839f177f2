//! Which accelerator QEMU gets: KVM where it really works, TCG otherwise, and why.
//!
//! It must not know how the choice was set, nor what QEMU makes of it.

use std::path::Path;

use callao_template::Arch;

use crate::{files, limits};

const KVM_DEVICE: &str = "/dev/kvm";
const CPUINFO: &str = "/proc/cpuinfo";
const KVM_MODULES: [&str; 2] = ["/sys/module/kvm_intel", "/sys/module/kvm_amd"];

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The CPU itself.
    Kvm,
    /// QEMU's translator: slower, everywhere, and for every architecture.
    Tcg,
}

impl Accel {
    /// As QEMU and the settings call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// KVM where it works.
    #[default]
    Auto,
    /// This one, or an error.
    Force(Accel),
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The accelerator.
    pub accel: Accel,
    /// Why it is not KVM, for a notice. None when it was asked for.
    pub why: Option<String>,
}

/// What a host says of itself. See `read`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its architecture, where callao knows it.
    pub arch: Option<Arch>,
    /// Whether the CPU or the kernel says that it has hardware virtualisation. On x86_64 only: elsewhere the device is
    /// there only if it works.
    pub has_virtualisation: bool,
    /// Whether `/dev/kvm` opened for reading and writing, or else why not.
    pub device: Device,
}

/// How `/dev/kvm` was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// It opens.
    Opens,
    /// It is not there.
    Missing,
    /// It is there and does not open.
    Refused(String),
}

/// KVM was asked for by name and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccelError {
    /// The device is missing or refused.
    #[error("the accelerator kvm was asked for, but {why}")]
    Device {
        /// What is wrong with it.
        why: String,
    },
    /// The guest's CPU is not the host's.
    #[error(
        "the accelerator kvm was asked for, but it runs only guests of the host's own architecture, and this one is {guest}"
    )]
    Foreign {
        /// The guest's architecture.
        guest: Arch,
    },
}

/// Chooses an accelerator.
///
/// "`/dev/kvm` opens" is not "KVM works": on a host without hardware virtualisation a module of software may answer, with
/// which QEMU aborts or crawls. So the CPU has to say that it can. (Lima asks only whether the device is there.)
///
/// # Errors
/// KVM was forced where there is no device to open, or for a guest of another architecture.
pub fn choose(choice: Choice, guest: Arch, host: &Host) -> Result<Chosen, AccelError> {
    let because = |why: String| Chosen {
        accel: Accel::Tcg,
        why: Some(why),
    };
    let is_own = host.arch == Some(guest);
    match choice {
        Choice::Force(Accel::Tcg) => Ok(Chosen {
            accel: Accel::Tcg,
            why: None,
        }),
        Choice::Force(Accel::Kvm) if !is_own => Err(AccelError::Foreign { guest }),
        Choice::Force(Accel::Kvm) => match trouble(&host.device) {
            Some(why) => Err(AccelError::Device { why }),
            None => Ok(Chosen {
                accel: Accel::Kvm,
                why: None,
            }),
        },
        Choice::Auto if !is_own => Ok(because(format!(
            "the guest is {guest}, and this computer is not"
        ))),
        Choice::Auto => Ok(match trouble(&host.device) {
            Some(why) => because(why),
            None if guest == Arch::X86_64 && !host.has_virtualisation => because(format!(
                "{KVM_DEVICE} is there, but this CPU has neither vmx nor svm"
            )),
            None => Chosen {
                accel: Accel::Kvm,
                why: None,
            },
        }),
    }
}

fn trouble(device: &Device) -> Option<String> {
    match device {
        Device::Opens => None,
        Device::Missing => Some(format!("there is no {KVM_DEVICE}")),
        Device::Refused(why) => Some(format!(
            "{KVM_DEVICE} cannot be opened for reading and writing: {why} (is the user in the group kvm?)"
        )),
    }
}

/// Whether a `/proc/cpuinfo` of x86_64 has one of the flags of hardware virtualisation.
#[must_use]
pub fn has_flag(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "flags").then_some(value)
    });
    flags
        .flat_map(str::split_whitespace)
        .any(|flag| flag == "vmx" || flag == "svm")
}

/// Looks at this host.
#[must_use]
pub fn read() -> Host {
    // A text that cannot be read says nothing: TCG always works.
    let cpuinfo = files::read_text(Path::new(CPUINFO), limits::CPUINFO_BYTES_MAX);
    let has_module = || {
        KVM_MODULES
            .iter()
            .any(|path| files::is_dir(Path::new(path)))
    };
    let device = match files::try_read_write(Path::new(KVM_DEVICE)) {
        Ok(()) => Device::Opens,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Device::Missing,
        Err(error) => Device::Refused(error.to_string()),
    };
    Host {
        arch: std::env::consts::ARCH.parse().ok(),
        has_virtualisation: cpuinfo.is_ok_and(|text| has_flag(&text)) || has_module(),
        device,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(arch: Arch, has_virtualisation: bool, device: Device) -> Host {
        Host {
            arch: Some(arch),
            has_virtualisation,
            device,
        }
    }

    #[test]
    fn kvm_needs_a_device_a_flag_and_the_same_architecture() {
        use Arch::{Aarch64, X86_64};
        let refused = || Device::Refused("Permission denied (os error 13)".to_owned());
        let table: [(Arch, Host, Accel, Option<&str>); 7] = [
            (X86_64, host(X86_64, true, Device::Opens), Accel::Kvm, None),
            (
                X86_64,
                host(X86_64, false, Device::Opens),
                Accel::Tcg,
                Some("/dev/kvm is there, but this CPU has neither vmx nor svm"),
            ),
            (
                X86_64,
                host(X86_64, true, Device::Missing),
                Accel::Tcg,
                Some("there is no /dev/kvm"),
            ),
            (
                X86_64,
                host(X86_64, true, refused()),
                Accel::Tcg,
                Some(
                    "/dev/kvm cannot be opened for reading and writing: Permission denied (os error 13) \
                     (is the user in the group kvm?)",
                ),
            ),
            (
                Aarch64,
                host(X86_64, true, Device::Opens),
                Accel::Tcg,
                Some("the guest is aarch64, and this computer is not"),
            ),
            (
                Aarch64,
                host(Aarch64, false, Device::Opens),
                Accel::Kvm,
                None,
            ),
            (
                X86_64,
                host(Aarch64, false, Device::Opens),
                Accel::Tcg,
                Some("the guest is x86_64, and this computer is not"),
            ),
        ];
        for (guest, host, accel, why) in table {
            let chosen = choose(Choice::Auto, guest, &host).expect("automatic never fails");
            assert_eq!(
                (chosen.accel, chosen.why.as_deref()),
                (accel, why),
                "{host:?}"
            );
        }
    }

    #[test]
    fn what_is_forced_is_taken_or_refused() {
        let without = host(Arch::X86_64, false, Device::Opens);
        let forced = choose(Choice::Force(Accel::Kvm), Arch::X86_64, &without);
        assert_eq!(forced.expect("the device opens").accel, Accel::Kvm);
        let good = host(Arch::X86_64, true, Device::Opens);
        let tcg = choose(Choice::Force(Accel::Tcg), Arch::X86_64, &good).expect("always");
        assert_eq!((tcg.accel, tcg.why), (Accel::Tcg, None));
        let missing = host(Arch::X86_64, true, Device::Missing);
        let error = choose(Choice::Force(Accel::Kvm), Arch::X86_64, &missing).expect_err("none");
        assert_eq!(
            error.to_string(),
            "the accelerator kvm was asked for, but there is no /dev/kvm"
        );
        let error = choose(Choice::Force(Accel::Kvm), Arch::Aarch64, &good).expect_err("foreign");
        assert_eq!(
            error.to_string(),
            "the accelerator kvm was asked for, but it runs only guests of the host's own architecture, \
             and this one is aarch64"
        );
    }

    #[test]
    fn flags_are_whole_words_of_the_line_of_flags() {
        assert!(has_flag("processor\t: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_flag("flags : svm"));
        assert!(!has_flag("flags\t\t: fpu svm_lock vmxx\n"));
        assert!(!has_flag("model name\t: svm vmx\nvmx flags\t: vnmi\n"));
        assert!(!has_flag(""));
    }

    #[test]
    fn this_host_is_read_without_a_panic_and_has_an_architecture() {
        let host = read();
        assert_eq!(host.arch.map(Arch::name), Some(std::env::consts::ARCH));
    }
}
