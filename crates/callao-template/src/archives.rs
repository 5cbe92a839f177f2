//! The containerd archives that a template gets when it names none (`pkg/limayaml/containerd.yaml` of Lima).
//! It must not know which Lima is installed: its own list can be handed in instead of this one.

use crate::error::Error;
use crate::model::{Arch, File, Template};
use crate::parse::parse;

/// The Lima whose list [`built_in`] is, for messages.
pub const BUILT_IN_OF: &str = "Lima v2.2.0";

const BUILT_IN: &str = "\
archives:
- location: https://github.com/containerd/nerdctl/releases/download/v2.3.5/nerdctl-full-2.3.5-linux-amd64.tar.gz
  arch: x86_64
  digest: sha256:b697295c623639734aaab737523c808fd3cc8d3046039fd94fff1744e4c317aa
- location: https://github.com/containerd/nerdctl/releases/download/v2.3.5/nerdctl-full-2.3.5-linux-arm64.tar.gz
  arch: aarch64
  digest: sha256:6e4b687f1d138e750a3c8372abc0f81d3d7490b6359c48c0562fc7dfe98859b2
";

/// nerdctl with containerd and all that it needs, as Lima v2.2.0 has it.
///
/// # Errors
/// Never, as a test shows.
pub fn built_in() -> Result<Vec<File>, Error> {
    read(BUILT_IN)
}

/// The archives in a text: a template that limactl filled, or a list that was kept.
///
/// # Errors
/// It is no template.
pub fn read(text: &str) -> Result<Vec<File>, Error> {
    Ok(parse(text, "the archives of containerd")?.template.archives)
}

/// A list as text that [`read`] reads.
#[must_use]
pub fn write(files: &[File]) -> String {
    let mut text = String::from("archives:\n");
    for file in files {
        let quoted = file.location.replace('\\', "\\\\").replace('"', "\\\"");
        text.extend(["- location: \"", &quoted, "\"\n"]);
        if let Some(arch) = file.arch {
            text.extend(["  arch: ", arch.name(), "\n"]);
        }
        if let Some(digest) = file.digest {
            text.extend(["  digest: \"", &digest.to_string(), "\"\n"]);
        }
    }
    text
}

/// Whether limactl would add archives of its own for a guest of this architecture.
#[must_use]
pub fn are_missing(template: &Template, arch: Arch) -> bool {
    template.archives.is_empty() && template.wants_containerd(arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_list_is_pinned_and_survives_being_kept() {
        let files = built_in().expect("a good list");
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|file| file.digest.is_some()));
        let again = read(&write(&files)).expect("a good list");
        let plain = |files: Vec<File>| -> Vec<_> {
            let each = files.into_iter();
            each.map(|file| (file.location, file.arch, file.digest))
                .collect()
        };
        assert_eq!(plain(again), plain(files));
    }

    #[test]
    fn archives_are_missing_only_where_containerd_is_wanted() {
        let cases = [
            ("", Arch::X86_64, true),
            ("", Arch::Aarch64, true),
            ("", Arch::Riscv64, false),
            ("containerd: {user: true}\n", Arch::Riscv64, true),
            ("containerd: {user: false}\n", Arch::X86_64, false),
            (
                "containerd: {user: false, system: true}\n",
                Arch::X86_64,
                true,
            ),
            ("plain: true\n", Arch::X86_64, false),
            ("os: FreeBSD\n", Arch::X86_64, false),
            ("os: Linux\n", Arch::X86_64, true),
            ("os: default\n", Arch::X86_64, true),
            ("archives: [{location: a}]\n", Arch::X86_64, false),
        ];
        for (text, arch, expected) in cases {
            let text = format!("{text}images: [{{location: b}}]\n");
            let parsed = parse(&text, "t").expect("a template");
            assert_eq!(
                are_missing(&parsed.template, arch),
                expected,
                "{text} {arch}"
            );
        }
    }
}
