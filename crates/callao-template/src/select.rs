//! limactl's choice among the files of a template (`pkg/instance/start.go`, Lima v2.2).
//! It must not know where files come from, nor try any: it puts the candidates in order.

use crate::error::Error;
use crate::model::{Arch, File, Image, Template};
use crate::validate;

/// What `--image-variant` and `--arch-variant` of limactl say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SelectOptions<'a> {
    /// Only images of this `variant`.
    pub variant: Option<&'a str>,
    /// Only images of this `archVariant`.
    pub arch_variant: Option<&'a str>,
    /// The `vmType` of a template that does not say it; QEMU, if nothing is said here either.
    pub default_vm: Option<&'a str>,
}

/// The candidates. One image and one archive are needed: each list is tried in its order until one succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Images for the architecture and variant, in the order of the template.
    pub images: Vec<Image>,
    /// containerd archives for the architecture, in the order of the template. May be empty.
    pub archives: Vec<File>,
    /// UEFI code that QEMU is to use, in the order of the template. limactl falls back to what is installed.
    pub firmware: Vec<File>,
    /// Drivers for a Windows guest, in the order of the template.
    pub virtio_win: Vec<File>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
}

/// A file that is not a candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its location.
    pub location: String,
    /// Why: a fragment such as `for aarch64`.
    pub reason: String,
}

/// Chooses for one architecture.
///
/// Files without `arch:` are for the architecture of the template, and `arch` overrides that one, as `--arch` of limactl
/// does. The variants of the first image that is left decide which others are alternatives to it.
///
/// # Errors
/// No entry for the architecture; no image of the variant asked for; a kernel or initrd for another architecture.
pub fn select(
    template: &Template,
    arch: Arch,
    options: &SelectOptions<'_>,
) -> Result<Selection, Error> {
    let mut skipped = Vec::new();
    let images = images(template, arch, options, &mut skipped)?;
    let archives = archives(template, arch, &mut skipped);
    if template.images.is_empty() && !template.archives.iter().any(|file| is_for(file, arch)) {
        return Err(no_entry(template, arch));
    }
    Ok(Selection {
        images,
        archives,
        firmware: firmware(template, arch, options, &mut skipped),
        virtio_win: virtio_win(template, arch, &mut skipped),
        skipped,
    })
}

fn images(
    template: &Template,
    arch: Arch,
    options: &SelectOptions<'_>,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Image>, Error> {
    if template.images.is_empty() {
        return Ok(Vec::new());
    }
    let (mut left, others): (Vec<&Image>, Vec<&Image>) = template
        .images
        .iter()
        .partition(|image| is_for(&image.file, arch));
    skipped.extend(others.iter().map(|image| other_arch(&image.file)));
    if left.is_empty() {
        return Err(no_entry(template, arch));
    }
    let axes: [Axis<'_>; 2] = [
        Axis {
            what: "variant",
            wanted: options.variant,
            of: |image| image.variant.as_deref(),
        },
        Axis {
            what: "archVariant",
            wanted: options.arch_variant,
            of: |image| image.arch_variant.as_deref(),
        },
    ];
    for axis in &axes {
        let Some(wanted) = axis.wanted else { continue };
        if !left.iter().any(|image| (axis.of)(image) == Some(wanted)) {
            return Err(axis.no_such(template, arch, wanted, &left));
        }
        left = axis.keep(left, Some(wanted), skipped);
    }
    for axis in &axes {
        let Some(target) = left.first().map(|image| (axis.of)(image)) else {
            break;
        };
        left = axis.keep(left, target, skipped);
    }
    for (index, image) in template.images.iter().enumerate() {
        if left.iter().any(|chosen| std::ptr::eq(*chosen, image)) {
            validate::arches_agree(
                image,
                &format!("images[{index}]"),
                Some(arch),
                &template.name,
            )?;
        }
    }
    Ok(left.into_iter().cloned().collect())
}

/// One of the two properties that images for the same architecture may differ in.
struct Axis<'o> {
    what: &'static str,
    wanted: Option<&'o str>,
    of: fn(&Image) -> Option<&str>,
}

impl Axis<'_> {
    fn keep<'t>(
        &self,
        images: Vec<&'t Image>,
        target: Option<&str>,
        skipped: &mut Vec<Skipped>,
    ) -> Vec<&'t Image> {
        let (kept, others) = images
            .into_iter()
            .partition::<Vec<_>, _>(|image| (self.of)(image) == target);
        skipped.extend(others.into_iter().map(|image| Skipped {
            location: image.file.location.clone(),
            reason: match (self.of)(image) {
                Some(other) => format!(
                    "{} is {other}, not {}",
                    self.what,
                    target.unwrap_or("empty")
                ),
                None => format!("{} is empty, not {}", self.what, target.unwrap_or("empty")),
            },
        }));
        kept
    }

    fn no_such(&self, template: &Template, arch: Arch, wanted: &str, images: &[&Image]) -> Error {
        let mut have: Vec<String> = Vec::new();
        for image in images {
            let variant = (self.of)(image).unwrap_or_default().to_owned();
            if !have.contains(&variant) {
                have.push(variant);
            }
        }
        Error::NoSuchVariant {
            name: template.name.clone(),
            arch,
            what: self.what,
            wanted: validate::shown(wanted),
            have,
        }
    }
}

/// limactl fetches an archive only if the guest gets containerd.
fn archives(template: &Template, arch: Arch, skipped: &mut Vec<Skipped>) -> Vec<File> {
    let off = if template.wants_containerd(arch) {
        None
    } else if template.plain == Some(true) {
        Some("the template is plain: no containerd".to_owned())
    } else if template.containerd.user == Some(false) {
        Some("containerd is switched off".to_owned())
    } else {
        Some(format!(
            "containerd is off by default for {arch} guests of this system"
        ))
    };
    let mut archives = Vec::new();
    for file in &template.archives {
        if !is_for(file, arch) {
            skipped.push(other_arch(file));
        } else if let Some(reason) = &off {
            skipped.push(Skipped {
                location: file.location.clone(),
                reason: reason.clone(),
            });
        } else {
            archives.push(file.clone());
        }
    }
    archives
}

/// limactl fetches firmware only for QEMU, for guests that boot by UEFI (`pkg/driver/qemu`).
fn firmware(
    template: &Template,
    arch: Arch,
    options: &SelectOptions<'_>,
    skipped: &mut Vec<Skipped>,
) -> Vec<File> {
    const QEMU: &str = "qemu";
    let said = template.vm_type.as_deref().filter(|vm| *vm != "default");
    let vm = said.or(options.default_vm).unwrap_or(QEMU);
    let legacy =
        template.firmware.legacy_bios == Some(true) && matches!(arch, Arch::X86_64 | Arch::Armv7l);
    let without = legacy || matches!(arch, Arch::Ppc64le | Arch::S390x);
    let mut firmware = Vec::new();
    for image in &template.firmware.images {
        let file = &image.file;
        let reason = if !is_for(file, arch) {
            skipped.push(other_arch(file));
            continue;
        } else if without {
            format!("firmware for a {arch} guest without UEFI")
        } else if vm != QEMU {
            format!("firmware for QEMU, not {}", validate::shown(vm))
        } else if image.vm_type.as_deref().is_some_and(|of| of != QEMU) {
            "firmware for another vmType".to_owned()
        } else {
            firmware.push(file.clone());
            continue;
        };
        skipped.push(Skipped {
            location: file.location.clone(),
            reason,
        });
    }
    firmware
}

fn virtio_win(template: &Template, arch: Arch, skipped: &mut Vec<Skipped>) -> Vec<File> {
    let is_windows = template.os.as_deref() == Some("Windows");
    let (wanted, others): (Vec<&File>, Vec<&File>) = template
        .virtio_win
        .iter()
        .partition(|file| is_windows && is_for(file, arch));
    skipped.extend(others.into_iter().map(|file| Skipped {
        location: file.location.clone(),
        reason: if is_windows {
            other_arch(file).reason
        } else {
            "drivers for a Windows guest".to_owned()
        },
    }));
    wanted.into_iter().cloned().collect()
}

fn is_for(file: &File, arch: Arch) -> bool {
    file.arch.is_none_or(|of_file| of_file == arch)
}

fn other_arch(file: &File) -> Skipped {
    let reason = file.arch.map_or_else(
        || "for another architecture".to_owned(),
        |arch| format!("for {arch}"),
    );
    Skipped {
        location: file.location.clone(),
        reason,
    }
}

fn no_entry(template: &Template, arch: Arch) -> Error {
    let images = template.images.iter().map(|image| &image.file);
    let mut have: Vec<Arch> = Vec::new();
    let files: Vec<&File> = if template.images.is_empty() {
        template.archives.iter().collect()
    } else {
        images.collect()
    };
    for of_file in files.into_iter().filter_map(|file| file.arch) {
        if !have.contains(&of_file) {
            have.push(of_file);
        }
    }
    Error::NoEntryForArch {
        name: template.name.clone(),
        arch,
        have,
    }
}
