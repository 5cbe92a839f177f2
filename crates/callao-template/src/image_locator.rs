//! A locator that ends like an image stands for a template with that image alone (`imageTemplate` in
//! `pkg/limatmpl/locator.go` of Lima v2.2). It must not know whether the image exists.

use crate::model::Arch;

/// What the name of an image says of architectures.
const ARCH_WORDS: [(&str, Arch); 10] = [
    ("aarch64", Arch::Aarch64),
    ("amd64", Arch::X86_64),
    ("arm64", Arch::Aarch64),
    ("armhf", Arch::Armv7l),
    ("armv7l", Arch::Armv7l),
    ("ppc64el", Arch::Ppc64le),
    ("ppc64le", Arch::Ppc64le),
    ("riscv64", Arch::Riscv64),
    ("s390x", Arch::S390x),
    ("x86_64", Arch::X86_64),
];

/// Whether a locator names an image, not a template.
#[must_use]
pub fn is_image(locator: &str) -> bool {
    let plain = [".gz", ".xz", ".bz2", ".zstd"]
        .iter()
        .find_map(|ending| locator.strip_suffix(ending))
        .unwrap_or(locator);
    [".img", ".qcow2", ".raw", ".iso", ".ipsw"]
        .iter()
        .any(|ending| plain.ends_with(ending))
}

/// The template that such a locator stands for, and whether its architecture had to be assumed: `host`, then.
#[must_use]
pub fn template_of(locator: &str, host: Arch) -> (String, bool) {
    let os = if has_word(&locator.to_lowercase(), "freebsd") {
        "FreeBSD"
    } else if has_word(&locator.to_lowercase(), "macos") || locator.ends_with(".ipsw") {
        "Darwin"
    } else {
        "Linux"
    };
    let said = ARCH_WORDS
        .iter()
        .find(|(word, _)| has_word(locator, word))
        .map(|(_, arch)| *arch);
    // macOS guests have never had another architecture.
    let arch = match os {
        "Darwin" => said.unwrap_or(Arch::Aarch64),
        _ => said.unwrap_or(host),
    };
    let quoted = locator.replace('\\', "\\\\").replace('"', "\\\"");
    let text = format!(
        "os: \"{os}\"\narch: \"{arch}\"\nimages:\n- location: \"{quoted}\"\n  arch: \"{arch}\"\n"
    );
    (text, said.is_none() && os != "Darwin")
}

/// Whether the word stands there with no letter, digit or underscore around it.
fn has_word(text: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, found)| {
        !text[..at].ends_with(is_word) && !text[at + found.len()..].starts_with(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_ending() {
        for image in [
            "a.img",
            "https://h/a.qcow2",
            "a.raw.xz",
            "a.iso",
            "a.ipsw",
            "a.img.zstd",
        ] {
            assert!(is_image(image), "{image}");
        }
        for other in [
            "a.yaml",
            "img",
            "a.img.zst",
            "a.img?x",
            "a.gz",
            "a.IMG",
            "template:img",
        ] {
            assert!(!is_image(other), "{other}");
        }
    }

    #[test]
    fn os_and_architecture_are_guessed_from_words() {
        let cases = [
            (
                "https://h/lima-linux-riscv64.img",
                "Linux",
                "riscv64",
                false,
            ),
            (
                "https://h/ubuntu-24.04-server-cloudimg-amd64.img",
                "Linux",
                "x86_64",
                false,
            ),
            (
                "https://h/debian-12-generic-ppc64el.qcow2",
                "Linux",
                "ppc64le",
                false,
            ),
            (
                "https://h/FreeBSD-16.0-arm64-aarch64-BASIC.qcow2.xz",
                "FreeBSD",
                "aarch64",
                false,
            ),
            (
                "https://h/UniversalMac_15.6.1_24G90_Restore.ipsw",
                "Darwin",
                "aarch64",
                false,
            ),
            ("https://h/my_x86_64.img", "Linux", "s390x", true),
            ("https://h/plain.img", "Linux", "s390x", true),
        ];
        for (locator, os, arch, assumed) in cases {
            let (text, was_assumed) = template_of(locator, Arch::S390x);
            assert_eq!(was_assumed, assumed, "{locator}");
            assert_eq!(
                text,
                format!(
                    "os: \"{os}\"\narch: \"{arch}\"\nimages:\n- location: \"{locator}\"\n  arch: \"{arch}\"\n"
                )
            );
        }
    }

    #[test]
    fn the_template_holds_the_location_byte_for_byte() {
        let odd = "https://h/a\"b\\c.img";
        let (text, _) = template_of(odd, Arch::X86_64);
        let parsed = crate::parse(&text, "t").expect("a good template");
        assert_eq!(parsed.template.images[0].file.location, odd);
    }
}
