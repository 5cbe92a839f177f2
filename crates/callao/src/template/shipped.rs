//! The templates that callao brings along. Each also works with limactl.

/// Name and text, sorted by name.
pub(super) const ALL: [(&str, &str); 5] = [
    ("alpine", include_str!("../../../../templates/alpine.yaml")),
    ("debian", include_str!("../../../../templates/debian.yaml")),
    ("fedora", include_str!("../../../../templates/fedora.yaml")),
    ("ubuntu", include_str!("../../../../templates/ubuntu.yaml")),
    (
        "ubuntu-24.04",
        include_str!("../../../../templates/ubuntu-24.04.yaml"),
    ),
];

/// The text of a template of this name, which may end in `.yaml`.
pub(super) fn text(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".yaml").unwrap_or(name);
    let found = ALL.iter().find(|(known, _)| *known == name)?;
    Some(found.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_template::{Arch, File, SelectOptions, parse, select};

    #[test]
    fn every_shipped_template_is_pinned_and_has_an_image_for_both_common_architectures() {
        for (name, text) in ALL {
            let parsed = parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(parsed.warnings, [], "{name}");
            let template = parsed.template;
            let files: Vec<&File> = template.images.iter().map(|image| &image.file).collect();
            for file in &files {
                assert!(file.digest.is_some(), "{name}: {}", file.location);
                assert!(file.arch.is_some(), "{name}: {}", file.location);
                assert!(
                    file.location.starts_with("https://"),
                    "{name}: {}",
                    file.location
                );
            }
            for arch in [Arch::X86_64, Arch::Aarch64] {
                let chosen = select(&template, arch, &SelectOptions::default());
                assert!(!chosen.expect(name).images.is_empty(), "{name} {arch}");
            }
        }
    }

    #[test]
    fn the_images_of_the_proposal_carry_their_cids() {
        let cids: Vec<String> = parse(text("ubuntu-24.04").expect("a template"), "t")
            .expect("a good template")
            .template
            .images
            .iter()
            .filter_map(|image| image.file.cid.as_ref().map(callao_content::cid::text))
            .collect();
        assert_eq!(
            cids,
            [
                "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui",
                "bafybeidyzm3zkljztw3xqqjjapcqzsr4odz4evnmk4kfhdmmgird6citbi"
            ]
        );
    }

    #[test]
    fn names_are_found_with_and_without_their_ending() {
        assert!(text("ubuntu-24.04").is_some() && text("ubuntu-24.04.yaml").is_some());
        assert!(text("ubuntu-24").is_none() && text("").is_none());
        assert!(ALL.is_sorted_by_key(|(name, _)| *name));
    }
}
