//! The template excerpt of lima-vm/lima#2407 works as it stands, and what limactl would choose is chosen.

use callao_template::{Arch, Error, SelectOptions, parse, select};

const SEED: &str = include_str!("data/seed-example.yaml");

fn chosen(text: &str, arch: Arch, options: &SelectOptions<'_>) -> Result<Vec<String>, Error> {
    let parsed = parse(text, "test.yaml")?;
    let selection = select(&parsed.template, arch, options)?;
    Ok(selection
        .images
        .into_iter()
        .map(|image| image.file.location)
        .collect())
}

#[test]
fn the_example_parses_without_a_warning() {
    let parsed = parse(SEED, "seed.yaml").expect("a good template");
    assert_eq!(parsed.warnings, []);
    let template = parsed.template;
    assert_eq!((template.images.len(), template.archives.len()), (4, 2));
    let first = &template.images[0].file;
    assert_eq!(first.line, Some(3));
    assert_eq!(first.arch, Some(Arch::X86_64));
    assert_eq!(
        first.digest.map(|digest| digest.to_string()).as_deref(),
        Some("sha256:32a9d30d18803da72f5936cf2b7b9efcb4d0bb63c67933f17e3bdfd1751de3f3")
    );
    let cid = first.cid.as_ref().map(callao_content::cid::text);
    assert_eq!(
        cid.as_deref(),
        Some("bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui")
    );
    assert!(template.images[2].file.digest.is_none() && template.images[2].file.cid.is_none());
}

#[test]
fn the_example_gives_two_images_and_an_archive_for_each_of_its_architectures() {
    let template = parse(SEED, "seed.yaml").expect("a good template").template;
    for (arch, part) in [(Arch::X86_64, "amd64"), (Arch::Aarch64, "arm64")] {
        let selection =
            select(&template, arch, &SelectOptions::default()).expect("there are entries");
        assert_eq!((selection.images.len(), selection.archives.len()), (2, 1));
        assert!(
            selection
                .images
                .iter()
                .all(|image| image.file.location.ends_with(&format!("-{part}.img")))
        );
        assert!(
            selection.images[0].file.digest.is_some() && selection.images[1].file.digest.is_none()
        );
        assert!(
            selection.archives[0]
                .location
                .ends_with(&format!("-{part}.tar.gz"))
        );
        assert_eq!(selection.skipped.len(), 3);
    }
    let error = select(&template, Arch::Riscv64, &SelectOptions::default()).expect_err("no entry");
    assert_eq!(
        error.to_string(),
        "template seed.yaml has nothing for riscv64; it has x86_64, aarch64"
    );
}

#[test]
fn ipfs_as_primary_location_is_an_ordinary_location() {
    let text = "images:\n- location: \"ipfs://bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui/a.img\"\n";
    let got = chosen(text, Arch::S390x, &SelectOptions::default()).expect("no arch: any");
    assert_eq!(
        got,
        ["ipfs://bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui/a.img"]
    );
}

const VARIANTS: &str = "
images:
- {location: a64, arch: aarch64, variant: server}
- {location: s3, arch: x86_64, variant: server, archVariant: v3}
- {location: s, arch: x86_64, variant: server}
- {location: m, arch: x86_64, variant: minimal}
- {location: m3, arch: x86_64, variant: minimal, archVariant: v3}
- {location: none, arch: x86_64}
- {location: s3b, variant: server, archVariant: v3}
";

#[test]
fn the_first_match_fixes_the_variant_unless_options_do() {
    let options = |variant, arch_variant| SelectOptions {
        variant,
        arch_variant,
        ..SelectOptions::default()
    };
    let cases: [(SelectOptions<'_>, &[&str]); 6] = [
        (options(None, None), &["s3", "s3b"]),
        (options(Some("server"), None), &["s3", "s3b"]),
        (options(Some("minimal"), None), &["m"]),
        (options(Some("minimal"), Some("v3")), &["m3"]),
        (options(None, Some("v3")), &["s3", "s3b"]),
        (options(Some("server"), Some("v3")), &["s3", "s3b"]),
    ];
    for (options, expected) in cases {
        assert_eq!(
            chosen(VARIANTS, Arch::X86_64, &options).as_deref(),
            Ok(&expected.map_owned()[..]),
            "{options:?}"
        );
    }
    assert_eq!(
        chosen(VARIANTS, Arch::Aarch64, &options(None, None)).as_deref(),
        Ok(&["a64".to_owned()][..])
    );
    assert_eq!(
        chosen(VARIANTS, Arch::S390x, &options(None, None)).as_deref(),
        Ok(&["s3b".to_owned()][..])
    );
}

/// Short names for the table above.
trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

#[test]
fn what_is_left_out_is_said_with_the_reason() {
    let template = parse(VARIANTS, "test.yaml").expect("valid").template;
    let selection = select(&template, Arch::X86_64, &SelectOptions::default()).expect("entries");
    let skipped: Vec<String> = selection
        .skipped
        .iter()
        .map(|skipped| format!("{}: {}", skipped.location, skipped.reason))
        .collect();
    assert_eq!(
        skipped,
        [
            "a64: for aarch64",
            "m: variant is minimal, not server",
            "m3: variant is minimal, not server",
            "none: variant is empty, not server",
            "s: archVariant is empty, not v3",
        ]
    );
}

#[test]
fn a_variant_that_is_not_there_lists_those_that_are() {
    let missing = SelectOptions {
        variant: Some("desktop"),
        arch_variant: None,
        ..SelectOptions::default()
    };
    let error = chosen(VARIANTS, Arch::X86_64, &missing).expect_err("no such variant");
    assert_eq!(
        error.to_string(),
        "template test.yaml has no image of variant `desktop` for x86_64; it has `server`, `minimal`, none"
    );
    let missing = SelectOptions {
        variant: Some("minimal"),
        arch_variant: Some("v4"),
        ..SelectOptions::default()
    };
    let error = chosen(VARIANTS, Arch::X86_64, &missing).expect_err("no such variant");
    assert_eq!(
        error.to_string(),
        "template test.yaml has no image of archVariant `v4` for x86_64; it has none, `v3`"
    );
}

#[test]
fn archives_come_from_both_lists_and_only_if_the_guest_gets_containerd() {
    let with = |extra: &str| {
        let text = format!(
            "images: [{{location: i}}]\narchives: [{{location: top}}, {{location: other, arch: s390x}}]\n\
             containerd: {{archives: [{{location: inner}}], {extra}}}\n"
        );
        let template = parse(&text, "test.yaml").expect("valid").template;
        let selection =
            select(&template, Arch::X86_64, &SelectOptions::default()).expect("entries");
        selection
            .archives
            .into_iter()
            .map(|file| file.location)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for extra in [
        "",
        "user: true",
        "system: true, user: false",
        "user: null",
        "system: false",
    ] {
        assert_eq!(with(extra), "inner top", "{extra}");
    }
    assert_eq!(with("user: false"), "");
    assert_eq!(with("user: false, system: false"), "");

    let plain = parse(
        "plain: true\nimages: [{location: i}]\narchives: [{location: a}]\n",
        "t",
    )
    .expect("valid");
    let selection =
        select(&plain.template, Arch::X86_64, &SelectOptions::default()).expect("entries");
    assert_eq!(
        selection.skipped[0].reason,
        "the template is plain: no containerd"
    );
}

#[test]
fn a_template_may_have_archives_alone() {
    let text = "archives:\n- {location: a, arch: x86_64}\n- {location: b, arch: amd64}\n- {location: c, arch: arm64}\n";
    let template = parse(text, "test.yaml").expect("valid").template;
    let selection = select(&template, Arch::X86_64, &SelectOptions::default()).expect("entries");
    assert_eq!(selection.archives.len(), 2);
    let error = select(&template, Arch::Armv7l, &SelectOptions::default()).expect_err("none");
    assert_eq!(
        error.to_string(),
        "template test.yaml has nothing for armv7l; it has x86_64, aarch64"
    );
}

#[test]
fn an_image_without_arch_takes_its_kernel_to_task_when_chosen() {
    let text = "images:\n- location: i\n  kernel: {location: k, arch: aarch64}\n";
    assert_eq!(
        chosen(text, Arch::Aarch64, &SelectOptions::default()).as_deref(),
        Ok(&["i".to_owned()][..])
    );
    let error = chosen(text, Arch::X86_64, &SelectOptions::default()).expect_err("kernel differs");
    assert_eq!(
        error.to_string(),
        "template test.yaml, line 3: images[0].kernel is for aarch64, but its image i is for x86_64"
    );
}
