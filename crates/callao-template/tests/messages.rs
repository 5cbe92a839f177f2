//! Every message about a faulty template, word for word.

use callao_template::parse;

/// The message for a text that cannot be used.
fn message(text: &str) -> String {
    match parse(text, "t.yaml") {
        Ok(parsed) => panic!("{text:?} was accepted: {parsed:?}"),
        Err(error) => error.to_string(),
    }
}

/// What follows `template t.yaml` in the message, for each text.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(
            message(text),
            format!("template t.yaml{expected}"),
            "{text:?}"
        );
    }
}

#[test]
fn wrong_types_are_told_with_field_and_line() {
    check(&[
        ("", ", line 1: the template must be a mapping, not nothing"),
        (
            "just text\n",
            ", line 1: the template must be a mapping, not a text",
        ),
        (
            "- a\n",
            ", line 1: the template must be a mapping, not a list",
        ),
        (
            "images: yes please\n",
            ", line 1: images must be a list, not a text",
        ),
        (
            "images:\n- https://x/y\n",
            ", line 2: images[0] must be a mapping, not a text",
        ),
        (
            "images:\n- location: [a]\n",
            ", line 2: images[0].location must be a text, not a list",
        ),
        (
            "containerd: {user: 1}\nimages: [{location: a}]\n",
            ", line 1: containerd.user must be true or false, not a text",
        ),
    ]);
}

#[test]
fn files_that_cannot_be_are_told_with_field_and_line() {
    check(&[
        (
            "cpus: 4\n",
            " names no files: it has neither `images:` nor `archives:`",
        ),
        (
            "images:\narchives: []\n",
            " names no files: it has neither `images:` nor `archives:`",
        ),
        (
            "images:\n-\n  arch: x86_64\n",
            ", line 3: images[0] has no location",
        ),
        (
            "images:\n- location: a\n  kernel: {}\n",
            ", line 3: images[0].kernel has no location",
        ),
        (
            "images:\n- location: \" \"\n",
            ", line 2: images[0].location is blank",
        ),
        (
            "images:\n- location: \"a\\nb\"\n",
            ", line 2: images[0].location contains a control character",
        ),
        (
            "images: [{location: a}]\nfirmware:\n  images:\n  - arch: x86_64\n",
            ", line 4: firmware.images[0] has no location",
        ),
        (
            "images: [{location: a}]\nosOpts: {Windows: {virtioWin: a.iso}}\n",
            ", line 2: osOpts.Windows.virtioWin must be a list, not a text",
        ),
    ]);
}

#[test]
fn wrong_architectures_are_told_with_field_and_line() {
    check(&[
        (
            "arch: sparc\nimages: [{location: a}]\n",
            ", line 1: arch: unknown architecture `sparc`; \
             it is one of x86_64, aarch64, armv7l, ppc64le, riscv64, s390x",
        ),
        (
            "images:\n- location: a\n  kernel:\n    location: k\n    arch: x86\n",
            ", line 5: images[0].kernel.arch: unknown architecture `x86`; \
             it is one of x86_64, aarch64, armv7l, ppc64le, riscv64, s390x",
        ),
        (
            "images:\n- location: a\n  arch: x86_64\n  initrd: {location: k, arch: aarch64}\n",
            ", line 4: images[0].initrd is for aarch64, but its image a is for x86_64",
        ),
        (
            "arch: x86_64\nimages:\n- location: a\n  kernel: {location: k, arch: aarch64}\n",
            ", line 4: images[0].kernel is for aarch64, but its image a is for x86_64",
        ),
    ]);
}

#[test]
fn a_bad_digest_names_line_and_location() {
    check(&[
        (
            "images:\n- location: https://example.com/a.img\n  digest: \"sha256:32a9d30d\"\n",
            ", line 3: digest of https://example.com/a.img: invalid checksum digest length: \
             sha256 has 64 digits, not 8: `sha256:32a9d30d`",
        ),
        (
            "images:\n- location: a.img\n  digest: md5:0123\n",
            ", line 3: digest of a.img: unsupported digest algorithm: \
             it is one of sha256, sha384, sha512: `md5:0123`",
        ),
        (
            "archives:\n- location: a.tgz\n  digest: sha256:ABCD\n",
            ", line 3: digest of a.tgz: invalid checksum digest format: write it in lower case: `sha256:ABCD`",
        ),
    ]);
}

#[test]
fn a_bad_cid_names_line_and_location() {
    let cases = [
        ("bafybroken", "not a CID: characters outside its multibase"),
        ("QmShort", "not a CID: unknown multibase prefix"),
        ("\"!\"", "not a CID: too short"),
        (
            "12345678901234567890123",
            "not a CID: unknown multibase prefix",
        ),
        (
            "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
            "codec 0x71 holds no file: it must be raw (0x55) or dag-pb (0x70)",
        ),
        (
            "bafkrwibtltlxk6cdnvlmkxtc3p7qhrkxvtr5o3n2pcmrhtjbldtjaybmkq",
            "multihash 0x1b of 32 bytes is not accepted as proof: it must be sha2-256, sha2-512 or a short identity",
        ),
    ];
    for (cid, reason) in cases {
        let told = message(&format!(
            "images:\n- location: https://x/a.img\n  cid: {cid}\n"
        ));
        let shown = cid.trim_matches('"');
        assert_eq!(
            told,
            format!("template t.yaml, line 3: cid of https://x/a.img: {reason}: `{shown}`")
        );
    }
}

#[test]
fn text_that_is_not_yaml_is_shown_with_a_caret() {
    let start = "template t.yaml is not usable YAML: ";
    let cases = [
        (
            "images:\n- location: \"https://x\n",
            "unclosed quote at line 2, column 13\n  2 | - location: \"https://x\n    |             ^",
        ),
        (
            "images: [\n  {location: a}\n",
            "unclosed bracket '[' at line 1, column 9\n  1 | images: [\n    |         ^",
        ),
        (
            "a: b: c\n",
            "mapping values are not allowed in this context at line 1, column 5\n  1 | a: b: c\n    |     ^",
        ),
        (
            "cpus: 1\ncpus: 2\n",
            "the key `cpus` comes twice at line 2, column 1\n  2 | cpus: 2\n    | ^",
        ),
        (
            "a: *x\n",
            "alias references unknown anchor at line 1, column 4\n  1 | a: *x\n    |    ^",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "more than one document at line 3, column 1\n  3 | b: 2\n    | ^",
        ),
        (
            "a: &a [*a]\n",
            "an alias that contains itself at line 1, column 8\n  1 | a: &a [*a]\n    |        ^",
        ),
        (
            "[[[[[[[[[[[[[[[[[[[[[[[",
            "nested too deeply at line 1, column 21\n  1 | [[[[[[[[[[[[[[[[[[[[[[[\n    |                     ^",
        ),
        (
            "a:\n\t- x",
            "tabs disallowed within this context (block indentation) at line 2, column 2\n  2 |  - x\n    |  ^",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(message(text), format!("{start}{expected}"), "{text:?}");
    }
}

#[test]
fn only_the_place_of_a_fault_in_a_long_line_is_shown() {
    let told = message(&format!(
        "a: {} *x\nb: c: d{}\n",
        "y".repeat(500),
        "z".repeat(500)
    ));
    assert!(
        told.ends_with(&format!("\n  2 | b: c: d{}\n    |     ^", "z".repeat(93))),
        "{told}"
    );
}

#[test]
fn fields_that_are_empty_or_null_count_as_absent() {
    let text = "base: []\narch: default\nimages:\n- location: a\n  arch: null\n  digest: ''\n  cid:\n  kernel: ~\n\
                archives:\ncontainerd: null\nplain: null\n";
    let parsed = parse(text, "t.yaml").expect("valid");
    let image = &parsed.template.images[0];
    assert_eq!(
        (parsed.template.arch, image.file.arch, image.file.digest),
        (None, None, None)
    );
    assert!(image.file.cid.is_none() && image.kernel.is_none());
    assert_eq!(parsed.warnings, []);
}

#[test]
fn an_unquoted_cid_and_one_behind_an_alias_are_read() {
    let cid = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";
    let text = format!(
        "x-cid: &cid {cid}\nimages:\n- location: a\n  cid: {cid}\n- location: b\n  cid: *cid\n"
    );
    let parsed = parse(&text, "t.yaml").expect("valid");
    let cids: Vec<_> = parsed
        .template
        .images
        .iter()
        .map(|image| image.file.cid)
        .collect();
    assert!(cids[0].is_some());
    assert_eq!(cids[0], cids[1]);
    assert_eq!(parsed.warnings.len(), 1);
    assert_eq!(parsed.warnings[0].message, "unknown key `x-cid` at line 1");
}
