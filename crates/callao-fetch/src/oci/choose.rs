//! Which manifest of an index, which layer of a manifest, and what has to be done with its bytes. Pure.
//!
//! The rules are those that people rely on: containerd's for platforms, ORAS's for titles, podman machine's for disks,
//! KubeVirt's for disks inside of a container image.

use super::manifest::{Descriptor, Manifest, TITLE};

/// The kind of disk in an index of podman machine: `qemu`, `applehv`, `hyperv`, `wsl`.
pub const DISK_TYPE: &str = "disktype";
/// ORAS: the layer is an archive of a directory.
const UNPACK: &str = "io.deis.oras.content.unpack";
/// BuildKit: what is listed is about another manifest, not for a computer.
const ABOUT_ANOTHER: &str = "vnd.docker.reference.type";

/// For what computer something is wanted. Names are Go's (`amd64`); those of Lima mean the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `amd64`, `arm64`, `arm`, ...
    pub architecture: String,
    /// `v7`; `None`: the usual one.
    pub variant: Option<String>,
}

/// Why nothing could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    /// The index has nothing for this computer.
    #[error("the index has nothing for {wanted}; it has {there}")]
    Platform {
        /// As wanted.
        wanted: String,
        /// What there is.
        there: String,
    },
    /// No layer has this title.
    #[error("no layer has the title `{file}`; there is {there}")]
    File {
        /// As wanted.
        file: String,
        /// What there is.
        there: String,
    },
    /// Several layers, and nothing says which.
    #[error("there are several layers: {there}")]
    Several {
        /// What there is.
        there: String,
    },
    /// No layer at all.
    #[error("there is no layer")]
    Nothing,
}

/// What the bytes of a layer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The file itself, compressed or not: its title says so.
    Plain,
    /// The file, compressed once more.
    Packed(Packing),
    /// An archive with the file in it.
    Tar {
        /// How the archive is compressed.
        packing: Option<Packing>,
        /// The path in it; `None`: the only file that is a disk, or the only file.
        member: Option<String>,
    },
    /// Compressed: the file or, as the media type says and nothing else does, an archive. Its first bytes tell.
    FileOrTar(Packing),
}

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The layer that is the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The blob.
    pub layer: Descriptor,
    /// What to do with it.
    pub form: Form,
    /// Its file name, as far as it has one.
    pub title: Option<String>,
}

impl Wanted {
    /// From Lima's name of an architecture.
    pub fn of_lima(arch: &str) -> Self {
        let (architecture, variant) = match arch {
            "armv7l" => ("arm", Some("v7".to_string())),
            other => (go_name(other), None),
        };
        Wanted {
            architecture: architecture.into(),
            variant,
        }
    }

    fn text(&self) -> String {
        match &self.variant {
            Some(variant) => format!("linux/{}/{variant}", self.architecture),
            None => format!("linux/{}", self.architecture),
        }
    }
}

/// The manifests of an index that are for this computer, the best first: `linux` before other systems, what has no
/// platform at all last; a disk for QEMU (which Lima can use everywhere) before other disks.
pub fn manifests<'a>(
    all: &'a [Descriptor],
    wanted: &Wanted,
) -> Result<Vec<&'a Descriptor>, NoChoice> {
    let real = || {
        all.iter()
            .filter(|one| !one.annotations.contains_key(ABOUT_ANOTHER))
    };
    let mut ranked: Vec<(u8, &Descriptor)> = real()
        .filter_map(|one| Some((rank(one, wanted)?, one)))
        .collect();
    // Stable: of equals, the first in the index is it.
    ranked.sort_by_key(|(rank, _)| *rank);
    if ranked.is_empty() {
        let there: Vec<String> = real().map(platform_text).collect();
        return Err(NoChoice::Platform {
            wanted: wanted.text(),
            there: listed(there),
        });
    }
    Ok(ranked.into_iter().map(|(_, one)| one).collect())
}

fn rank(one: &Descriptor, wanted: &Wanted) -> Option<u8> {
    let disk = match one.annotations.get(DISK_TYPE).map(String::as_str) {
        None | Some("qemu" | "qcow2") => 0,
        Some("raw" | "applehv") => 1,
        Some("hyperv" | "wsl") => 4,
        Some(_) => 3,
    };
    let Some(platform) = &one.platform else {
        return Some(16 + disk);
    };
    if go_name(&platform.architecture) != wanted.architecture {
        return None;
    }
    let variant = platform.variant.as_deref().filter(|text| !text.is_empty());
    let fits = match (&wanted.variant, variant) {
        (_, None) => true,
        (Some(wanted), Some(variant)) => wanted == variant,
        (None, Some(variant)) => matches!(
            (wanted.architecture.as_str(), variant),
            ("amd64", "v1") | ("arm64", "v8")
        ),
    };
    let system = match platform.os.as_str() {
        "linux" => 0,
        // Disks often carry no system, or that of the computer on which they were made.
        _ => 8,
    };
    fits.then_some(system + disk)
}

/// The layer that is the file: by its title, or because it is the only one.
pub fn layer(manifest: &Manifest, file: Option<&str>) -> Result<Chosen, NoChoice> {
    let layers = &manifest.layers;
    let there = || listed(layers.iter().map(layer_text).collect());
    let titled = |file: &str| layers.iter().find(|layer| title(layer) == Some(file));
    let (layer, member) = match (file, &layers[..]) {
        (_, []) => return Err(NoChoice::Nothing),
        (Some(file), _) if titled(file).is_some() => (titled(file), None),
        // A path inside of the only layer, where that is an archive.
        (Some(file), [only]) if matches!(form(only, None), Form::Tar { .. }) => {
            (Some(only), Some(file.to_string()))
        }
        (Some(file), _) => {
            return Err(NoChoice::File {
                file: file.into(),
                there: there(),
            });
        }
        (None, [only]) => (Some(only), None),
        (None, _) => return Err(NoChoice::Several { there: there() }),
    };
    let layer = layer.ok_or(NoChoice::Nothing)?;
    Ok(Chosen {
        form: form(layer, member),
        title: title(layer).map(str::to_string),
        layer: layer.clone(),
    })
}

/// What the bytes of a layer are, by its media type and its title.
fn form(layer: &Descriptor, member: Option<String>) -> Form {
    let kind = layer.media_type.to_ascii_lowercase();
    let packing = packing_of(&kind);
    let is_tar = kind.contains(".tar") || kind.contains("+tar") || kind.ends_with("/x-tar");
    let is_directory = layer
        .annotations
        .get(UNPACK)
        .is_some_and(|text| text == "true");
    match title(layer) {
        None if is_tar => Form::Tar { packing, member },
        Some(_) if is_directory => Form::Tar { packing, member },
        None => packing.map_or(Form::Plain, Form::Packed),
        // ORAS calls every file `...layer.v1.tar` if nobody says what it is: the title says that it is a file.
        Some(title) => match packing {
            Some(packing) if !is_packed_name(title) && is_tar => Form::FileOrTar(packing),
            Some(packing) if !is_packed_name(title) => Form::Packed(packing),
            _ => Form::Plain,
        },
    }
}

fn packing_of(media_type: &str) -> Option<Packing> {
    let ends = |ends: &[&str]| ends.iter().any(|end| media_type.ends_with(end));
    if ends(&["+gzip", ".gzip", "/gzip", "/x-gzip", "+gz", ".gz"]) {
        Some(Packing::Gzip)
    } else if ends(&["+zstd", ".zstd", "/zstd", "/x-zstd", "+zst"]) {
        Some(Packing::Zstd)
    } else {
        None
    }
}

/// Whether a file name says that the file is compressed.
pub fn is_packed_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".gz", ".tgz", ".zst", ".zstd", ".tzst", ".xz", ".bz2"]
        .iter()
        .any(|end| lower.ends_with(end))
}

/// Whether a file name is that of a disk.
pub fn is_disk_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".img", ".qcow2", ".raw", ".iso", ".vmdk"]
        .iter()
        .any(|end| lower.ends_with(end))
}

fn title(layer: &Descriptor) -> Option<&str> {
    layer
        .annotations
        .get(TITLE)
        .map(String::as_str)
        .filter(|title| !title.is_empty())
}

/// Go's name of an architecture that may be called as Linux calls it.
pub fn go_name(architecture: &str) -> &str {
    match architecture {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armhf" => "arm",
        other => other,
    }
}

fn platform_text(one: &Descriptor) -> String {
    let Some(platform) = &one.platform else {
        return "something without a platform".into();
    };
    let mut text = format!("{}/{}", platform.os, platform.architecture);
    if let Some(variant) = &platform.variant {
        text.extend(["/", variant]);
    }
    quoted(&text)
}

fn layer_text(layer: &Descriptor) -> String {
    match title(layer) {
        Some(title) => quoted(title),
        None => format!("one of type {}", quoted(&layer.media_type)),
    }
}

/// Foreign text for a message.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("`{text}`")
}

/// The first few, and how many more there are.
fn listed(mut all: Vec<String>) -> String {
    const SHOWN_COUNT: usize = 8;
    all.dedup();
    let more = all.len().saturating_sub(SHOWN_COUNT);
    all.truncate(SHOWN_COUNT);
    match (all.is_empty(), more) {
        (true, _) => "nothing".into(),
        (false, 0) => all.join(", "),
        (false, more) => format!("{} and {more} more", all.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use callao_content::digest::{Algorithm, Digest};

    use super::super::manifest::Platform;
    use super::*;

    fn descriptor(media_type: &str, annotations: &[(&str, &str)]) -> Descriptor {
        let annotations = annotations
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Descriptor {
            media_type: media_type.into(),
            digest: Digest::of(Algorithm::Sha256, b""),
            size: 0,
            platform: None,
            artifact_type: None,
            annotations: annotations.collect(),
        }
    }

    /// `os/architecture[/variant][@disktype]`, or `-` for no platform; its place in the list is its size.
    fn index(texts: &str) -> Vec<Descriptor> {
        let one = |(at, text): (usize, &str)| {
            let (text, disk) = text.split_once('@').unwrap_or((text, ""));
            let mut parts = text.split('/').map(str::to_string);
            let platform = (text != "-").then(|| Platform {
                os: parts.next().unwrap_or_default(),
                architecture: parts.next().unwrap_or_default(),
                variant: parts.next(),
            });
            let annotations: &[(&str, &str)] = match disk {
                "" => &[],
                "about" => &[(ABOUT_ANOTHER, "attestation-manifest")],
                disk => &[(DISK_TYPE, disk)],
            };
            Descriptor {
                platform,
                size: at as u64,
                ..descriptor("", annotations)
            }
        };
        texts.split(' ').enumerate().map(one).collect()
    }

    #[test]
    fn the_platform_decides_and_the_order_among_equals() {
        let table = [
            ("x86_64", "linux/arm64 linux/amd64 linux/amd64", "1 2"),
            ("aarch64", "linux/amd64 linux/arm64/v8", "1"),
            ("aarch64", "linux/aarch64", "0"),
            ("armv7l", "linux/arm/v6 linux/arm/v7 linux/arm", "1 2"),
            ("x86_64", "linux/amd64/v3 linux/amd64", "1"),
            ("x86_64", "windows/amd64 linux/amd64 -", "1 0 2"),
            ("x86_64", "darwin/amd64", "0"),
            ("x86_64", "-", "0"),
            ("riscv64", "linux/riscv64", "0"),
            // podman machine: the architecture by its other name, and a disk for each hypervisor.
            (
                "x86_64",
                "linux/x86_64@wsl linux/x86_64@hyperv linux/x86_64@applehv linux/x86_64@qemu linux/aarch64@qemu",
                "3 2 0 1",
            ),
            // BuildKit's attestations have a platform of their own.
            ("x86_64", "linux/amd64@about linux/amd64", "1"),
        ];
        for (arch, texts, wanted) in table {
            let all = index(texts);
            let chosen = manifests(&all, &Wanted::of_lima(arch)).expect(texts);
            let places: Vec<String> = chosen.iter().map(|one| one.size.to_string()).collect();
            assert_eq!(places.join(" "), wanted, "{arch}: {texts}");
        }
    }

    #[test]
    fn what_there_is_is_said_where_nothing_fits() {
        let error = |arch, texts| {
            manifests(&index(texts), &Wanted::of_lima(arch))
                .expect_err("nothing")
                .to_string()
        };
        assert_eq!(
            error("riscv64", "linux/amd64 linux/arm/v7"),
            "the index has nothing for linux/riscv64; it has `linux/amd64`, `linux/arm/v7`"
        );
        assert_eq!(
            error("armv7l", "linux/arm/v6"),
            "the index has nothing for linux/arm/v7; it has `linux/arm/v6`"
        );
        let empty = manifests(&[], &Wanted::of_lima("x86_64")).expect_err("nothing");
        assert_eq!(
            empty.to_string(),
            "the index has nothing for linux/amd64; it has nothing"
        );
    }

    /// Media type and title of a layer, and what its bytes are.
    fn forms() -> Vec<(&'static str, &'static str, Form)> {
        const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
        const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let tar = |packing| Form::Tar {
            packing,
            member: None,
        };
        vec![
            // What ORAS pushes if nobody says a type.
            (TAR, "disk.qcow2", Form::Plain),
            ("application/octet-stream", "disk.qcow2", Form::Plain),
            (
                "application/vnd.x.disk+zstd",
                "disk.qcow2",
                Form::Packed(Packing::Zstd),
            ),
            (
                "application/vnd.x.disk+gzip",
                "disk.qcow2",
                Form::Packed(Packing::Gzip),
            ),
            ("application/gzip", "disk.img", Form::Packed(Packing::Gzip)),
            // podman machine.
            (
                "application/zstd",
                "podman-machine.x86_64.qemu.qcow2.zst",
                Form::Plain,
            ),
            ("application/vnd.x.disk+gzip", "disk.img.gz", Form::Plain),
            // KubeVirt.
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "",
                tar(Some(Packing::Gzip)),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                "",
                tar(Some(Packing::Zstd)),
            ),
            (DOCKER, "", tar(Some(Packing::Gzip))),
            (TAR, "", tar(None)),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "disk.qcow2",
                Form::FileOrTar(Packing::Gzip),
            ),
            (
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "rootfs.tar.gz",
                Form::Plain,
            ),
            ("application/octet-stream", "", Form::Plain),
            (
                "application/vnd.x.disk+zstd",
                "",
                Form::Packed(Packing::Zstd),
            ),
        ]
    }

    #[test]
    fn media_type_and_title_say_what_the_bytes_are() {
        for (media_type, title, wanted) in forms() {
            let annotations: &[(&str, &str)] = if title.is_empty() {
                &[]
            } else {
                &[(TITLE, title)]
            };
            let only = descriptor(media_type, annotations);
            let manifest = Manifest {
                layers: vec![only],
                ..Manifest::default()
            };
            assert_eq!(
                layer(&manifest, None).expect(media_type).form,
                wanted,
                "{media_type} {title}"
            );
        }
        let directory = descriptor(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &[(TITLE, "folder"), (UNPACK, "true")],
        );
        let unpacked = Form::Tar {
            packing: Some(Packing::Gzip),
            member: None,
        };
        assert_eq!(form(&directory, None), unpacked);
    }

    #[test]
    fn the_layer_is_named_or_the_only_one() {
        let of = |layers: Vec<Descriptor>| Manifest {
            layers,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        let titled = |title| descriptor("application/octet-stream", &[(TITLE, title)]);
        let two = of(vec![titled("a.img"), titled("b.img")]);
        let chosen = layer(&two, Some("b.img")).expect("it is there");
        assert_eq!(chosen.title.as_deref(), Some("b.img"));
        let said = |result: Result<Chosen, NoChoice>| result.expect_err("no choice").to_string();
        assert_eq!(
            said(layer(&two, None)),
            "there are several layers: `a.img`, `b.img`"
        );
        assert_eq!(
            said(layer(&two, Some("c.img"))),
            "no layer has the title `c.img`; there is `a.img`, `b.img`"
        );
        assert_eq!(said(layer(&of(Vec::new()), None)), "there is no layer");
        let image = of(vec![descriptor(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            &[],
        )]);
        let member = layer(&image, Some("disk/a.qcow2")).expect("a path in it");
        assert_eq!(
            member.form,
            Form::Tar {
                packing: Some(Packing::Gzip),
                member: Some("disk/a.qcow2".into())
            }
        );
        let many: Vec<_> = (0..12).map(|at| format!("f{at}")).collect();
        let many = of(many.iter().map(|title| titled(title)).collect());
        assert!(said(layer(&many, None)).ends_with("`f7` and 4 more"));
    }
}
