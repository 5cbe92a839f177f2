//! Editing a template changes what was meant and not one byte more, in every way in which people write templates.

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_template::edit::{Change, Document, Part};

const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";
const IPFS: &str = "ipfs://bafy/a.img";

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"x")
}

/// `D` and `C` stand for a digest and a CID.
fn written_out(text: &str) -> String {
    text.replace("=D=", &digest().to_string())
        .replace("=C=", CID)
}

fn both(part: Part) -> [Change; 2] {
    let cid = cid::parse(CID).expect("a CID");
    [Change::Digest(part, digest()), Change::Cid(part, cid)]
}

fn edited(text: &str, changes: &[Change]) -> String {
    let text = written_out(text);
    let document =
        Document::read(&text, "t.yaml").unwrap_or_else(|error| panic!("{text}\n{error}"));
    document
        .apply(changes)
        .unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of styles")]
fn a_digest_and_a_cid_are_written_in_the_style_of_the_entry() {
    let cases = [
        // As Lima writes it.
        (
            "# top\nimages:\n# one\n- location: \"https://h/a.img\"  # here\n  arch: \"x86_64\" # arch\n\n# end\n",
            concat!(
                "# top\n",
                "images:\n",
                "# one\n",
                "- location: \"https://h/a.img\"  # here\n",
                "  arch: \"x86_64\" # arch\n",
                "  digest: \"=D=\"\n",
                "  cid: \"=C=\"\n",
                "\n",
                "# end\n"
            ),
        ),
        // Other quotes, keys in another order, deeper indentation.
        (
            "images:\n    -   arch: x86_64\n        location: https://h/a.img\n        variant: server\n",
            concat!(
                "images:\n",
                "    -   arch: x86_64\n",
                "        location: https://h/a.img\n",
                "        digest: =D=\n",
                "        cid: =C=\n",
                "        variant: server\n"
            ),
        ),
        (
            "images:\n- location: 'https://h/a.img'\n",
            "images:\n- location: 'https://h/a.img'\n  digest: '=D='\n  cid: '=C='\n",
        ),
        // The CID as the other CIDs of the template.
        (
            "images:\n- location: \"https://h/a.img\"\n- location: \"b\"\n  digest: \"=D=\"\n  cid: =C=\n",
            concat!(
                "images:\n",
                "- location: \"https://h/a.img\"\n",
                "  digest: \"=D=\"\n",
                "  cid: =C=\n",
                "- location: \"b\"\n",
                "  digest: \"=D=\"\n",
                "  cid: =C=\n"
            ),
        ),
        // A digest is there: only the CID is new, behind it.
        (
            "images:\n- digest: '=D='\n  location: \"a\"\n",
            "images:\n- digest: '=D='\n  cid: '=C='\n  location: \"a\"\n",
        ),
        // Both are there, and nothing is.
        (
            "images:\n- {location: a, digest: =D=, cid: =C=}\n",
            "images:\n- {location: a, digest: =D=, cid: =C=}\n",
        ),
        (
            "images:\n- location: a\n  digest:\n  cid: ~ # none\n  arch: x86_64\n",
            "images:\n- location: a\n  digest: =D=\n  cid: =C= # none\n  arch: x86_64\n",
        ),
        (
            "images:\n- location: a\n  digest: \"\"\n",
            "images:\n- location: a\n  digest: \"=D=\"\n  cid: \"=C=\"\n",
        ),
        // Flow style, in one line and in several, and with quoted keys as in JSON.
        (
            "images: [{location: a, arch: x86_64}, {location: b}]\n",
            "images: [{location: a, arch: x86_64, digest: =D=, cid: =C=}, {location: b}]\n",
        ),
        (
            "images:\n- { location: \"a\" , variant: b } # c\n",
            "images:\n- { location: \"a\", digest: \"=D=\", cid: \"=C=\" , variant: b } # c\n",
        ),
        (
            "images: [\n  {\n    \"location\": \"a\", # c\n    \"arch\": \"x86_64\"\n  }\n]\n",
            concat!(
                "images: [\n",
                "  {\n",
                "    \"location\": \"a\", # c\n",
                "    \"arch\": \"x86_64\", \"digest\": \"=D=\", \"cid\": \"=C=\"\n",
                "  }\n",
                "]\n"
            ),
        ),
        (
            "images:\n- {location: a, digest: }\n",
            "images:\n- {location: a, digest: =D=, cid: =C= }\n",
        ),
        // Line ends of Windows, a byte order mark, and no end of the last line.
        (
            "\u{feff}images:\r\n- location: \"a\"\r\n  arch: x86_64",
            "\u{feff}images:\r\n- location: \"a\"\r\n  arch: x86_64\r\n  digest: \"=D=\"\r\n  cid: \"=C=\"",
        ),
        (
            "---\nimages:\n-\n  location: a",
            "---\nimages:\n-\n  location: a\n  digest: =D=\n  cid: =C=",
        ),
        // Texts over several lines, other alphabets, anchors that nobody uses for the entry.
        (
            "images:\n- location: \"a\n    b\"\n  arch: x86_64\n",
            "images:\n- location: \"a\n    b\"\n  arch: x86_64\n  digest: \"=D=\"\n  cid: \"=C=\"\n",
        ),
        (
            "# ä\nimages:\n- location: \"ä\"\n",
            "# ä\nimages:\n- location: \"ä\"\n  digest: \"=D=\"\n  cid: \"=C=\"\n",
        ),
        (
            "images:\n- &i\n  location: &l a\nx: *l\n",
            "images:\n- &i\n  location: &l a\n  digest: =D=\n  cid: =C=\nx: *l\n",
        ),
        (
            "d: &d {arch: x86_64}\nimages:\n- <<: *d\n  location: a\n",
            "d: &d {arch: x86_64}\nimages:\n- <<: *d\n  location: a\n  digest: =D=\n  cid: =C=\n",
        ),
        // An image with a kernel: what belongs to the image comes before it.
        (
            "images:\n- location: a\n  kernel:\n    location: k\n  variant: v\n",
            "images:\n- location: a\n  digest: =D=\n  cid: =C=\n  kernel:\n    location: k\n  variant: v\n",
        ),
    ];
    for (before, after) in cases {
        assert_eq!(edited(before, &both(Part::Image(0))), written_out(after));
    }
}

#[test]
fn every_kind_of_file_is_found_where_it_is() {
    let text = "images:\n- location: a\n  kernel:\n    location: k # k\n  initrd: {location: i}\n\
                containerd:\n  archives:\n  - location: c\narchives:\n- location: t\n";
    let document = Document::read(text, "t.yaml").expect("a template");
    let parts: Vec<Part> = document.files().iter().map(|file| file.part).collect();
    let all = [
        Part::Image(0),
        Part::Kernel(0),
        Part::Initrd(0),
        Part::ContainerdArchive(0),
        Part::Archive(0),
    ];
    assert_eq!(parts, all);
    let changes: Vec<Change> = all.map(|part| Change::Digest(part, digest())).to_vec();
    let expected = "images:\n- location: a\n  digest: =D=\n  kernel:\n    location: k # k\n    digest: =D=\n\
                    \x20 initrd: {location: i, digest: =D=}\n\
                    containerd:\n  archives:\n  - location: c\n    digest: =D=\narchives:\n- location: t\n  digest: =D=\n";
    assert_eq!(edited(text, &changes), written_out(expected));
}

#[test]
fn an_architecture_is_that_of_the_image_unless_a_part_says_otherwise() {
    let text = concat!(
        "images:\n",
        "- {location: a, arch: arm64, kernel: {location: k}, variant: v, archVariant: v8}\n",
        "- {location: b, arch: default}\n"
    );
    let document = Document::read(text, "t.yaml").expect("a template");
    let seen: Vec<String> = document
        .files()
        .iter()
        .map(|file| {
            let arch = file.arch.map(|arch| arch.to_string());
            format!(
                "{}:{:?}:{:?}:{:?}",
                file.line, arch, file.variant, file.arch_variant
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            "2:Some(\"aarch64\"):Some(\"v\"):Some(\"v8\")",
            "2:Some(\"aarch64\"):None:None",
            "3:None:None:None"
        ]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of styles")]
fn an_entry_in_front_repeats_everything_but_location_and_cid() {
    let cases = [
        (
            concat!(
                "images:\n",
                "# dated\n",
                "- location: \"a\"  # here\n",
                "  arch: \"x86_64\"\n",
                "  digest: \"=D=\"\n",
                "  cid: =C=\n",
                "  variant: server # v\n",
                "  archVariant: 'v3'\n",
                "# latest\n",
                "- location: b\n"
            ),
            concat!(
                "images:\n",
                "# dated\n",
                "- location: \"ipfs://bafy/a.img\"\n",
                "  arch: \"x86_64\"\n",
                "  digest: \"=D=\"\n",
                "  variant: server\n",
                "  archVariant: 'v3'\n",
                "- location: \"a\"  # here\n",
                "  arch: \"x86_64\"\n",
                "  digest: \"=D=\"\n",
                "  cid: =C=\n",
                "  variant: server # v\n",
                "  archVariant: 'v3'\n",
                "# latest\n",
                "- location: b\n"
            ),
        ),
        (
            concat!(
                "images:\n",
                "  -   location: a\n",
                "      kernel:\n",
                "        # the kernel\n",
                "        location: k\n",
                "        cmdline: x y\n",
                "      initrd: {location: i, digest: =D=}\n",
                "      digest: =D=\n"
            ),
            concat!(
                "images:\n",
                "  -   location: ipfs://bafy/a.img\n",
                "      kernel:\n",
                "        # the kernel\n",
                "        location: k\n",
                "        cmdline: x y\n",
                "      initrd: {location: i, digest: =D=}\n",
                "      digest: =D=\n",
                "  -   location: a\n",
                "      kernel:\n",
                "        # the kernel\n",
                "        location: k\n",
                "        cmdline: x y\n",
                "      initrd: {location: i, digest: =D=}\n",
                "      digest: =D=\n"
            ),
        ),
        (
            "images: [{location: a, digest: =D=}]\n",
            "images: [{location: ipfs://bafy/a.img, digest: =D=}, {location: a, digest: =D=}]\n",
        ),
        (
            "images:\n- { location: 'a' }\n",
            "images:\n- { location: 'ipfs://bafy/a.img' }\n- { location: 'a' }\n",
        ),
        (
            "images: [\n  {location: a},\n]\n",
            "images: [\n  {location: ipfs://bafy/a.img},\n  {location: a},\n]\n",
        ),
        (
            "images:\r\n-\r\n  # c\r\n  location: a",
            "images:\r\n-\r\n  location: ipfs://bafy/a.img\r\n-\r\n  # c\r\n  location: a",
        ),
        (
            "d: &d {arch: x86_64}\nimages:\n- location: a\n  <<: *d\n",
            "d: &d {arch: x86_64}\nimages:\n- location: ipfs://bafy/a.img\n  arch: \"x86_64\"\n- location: a\n  <<: *d\n",
        ),
        (
            "images:\n- &i {location: a}\n",
            "images:\n- {location: ipfs://bafy/a.img}\n- &i {location: a}\n",
        ),
    ];
    for (before, after) in cases {
        let change = Change::InFront(Part::Image(0), IPFS.into());
        assert_eq!(edited(before, &[change]), written_out(after));
    }
}

#[test]
fn new_entries_repeat_the_digests_that_are_written_with_them() {
    let text = "archives:\n- location: a\n- location: b\n";
    let changes = [
        Change::InFront(Part::Archive(0), "ipfs://1/a".into()),
        Change::Digest(Part::Archive(0), digest()),
        Change::InFront(Part::Archive(1), "ipfs://2/b".into()),
    ];
    let expected = concat!(
        "archives:\n",
        "- location: ipfs://1/a\n",
        "  digest: =D=\n",
        "- location: a\n",
        "  digest: =D=\n",
        "- location: ipfs://2/b\n",
        "- location: b\n"
    );
    assert_eq!(edited(text, &changes), written_out(expected));
}

#[test]
fn what_cannot_be_changed_on_its_own_is_refused() {
    let refused = |text: &str, changes: &[Change]| {
        let text = written_out(text);
        let document = Document::read(&text, "t.yaml").expect("a template");
        document
            .apply(changes)
            .expect_err("not to be edited")
            .to_string()
    };
    let change = both(Part::Image(0));
    let reached = "the change would reach further than this entry; write anchors, aliases and unusual forms out";
    assert_eq!(
        refused("x: &x\n  location: a\nimages:\n- *x\n", &change),
        "template t.yaml, line 4: images[0] cannot be edited: it is an alias; write the entry itself in its place"
    );
    assert_eq!(
        refused("images:\n- &x\n  location: a\ny: *x\n", &change),
        format!("template t.yaml, line 3: images[0] cannot be edited: {reached}")
    );
    assert_eq!(
        refused("d: &d =D=\nimages:\n- location: a\n  digest: *d\n", &change),
        "template t.yaml, line 4: images[0].digest cannot be edited: it is an alias; write the value itself in its place"
    );
    assert_eq!(
        refused(
            "d: &d {digest: =D=}\nimages:\n- <<: *d\n  location: a\n",
            &change
        ),
        "template t.yaml, line 3: images[0].digest cannot be edited: it comes from a merged mapping; write it into the entry"
    );
    assert_eq!(
        refused("d: &d {location: a}\nimages:\n- <<: *d\n", &change),
        "template t.yaml, line 3: images[0] cannot be edited: it has no key of its own"
    );
    let front = [Change::InFront(Part::Image(0), IPFS.into())];
    assert_eq!(
        refused(
            "d: &d {kernel: {location: k}}\nimages:\n- <<: *d\n  location: a\n",
            &front
        ),
        "template t.yaml, line 3: images[0] cannot be edited: it has a part that comes from a merged mapping"
    );
    assert_eq!(
        refused("images: [&i {location: a}]\n", &front),
        "template t.yaml, line 1: images[0] cannot be edited: it has an anchor or a tag"
    );
    assert_eq!(
        refused("images: []\n", &front),
        "template t.yaml, line 1: images[0] cannot be edited: there is no such entry"
    );
}

#[test]
fn files_of_a_base_are_elsewhere() {
    let with_base = |text| {
        Document::read(text, "t.yaml")
            .expect("a template")
            .has_base()
    };
    assert!(with_base("base: template:ubuntu\n"));
    assert!(with_base("base: [a, b]\nimages: [{location: c}]\n"));
    assert!(!with_base("base:\nimages: [{location: c}]\n"));
    assert!(!with_base("base: []\n") && !with_base("") && !with_base("base: \"\"\n"));
}

#[test]
fn wrong_files_are_told_as_elsewhere() {
    let refused = |text: &str| {
        let refused = Document::read(text, "t.yaml").expect_err("wrong");
        refused.to_string()
    };
    let cases = [
        (
            "[]",
            "template t.yaml, line 1: the template must be a mapping, not a list",
        ),
        (
            "images: {}",
            "template t.yaml, line 1: images must be a list, not a mapping",
        ),
        (
            "images:\n- a",
            "template t.yaml, line 2: images[0] must be a mapping, not a text",
        ),
        (
            "images:\n- arch: x86_64",
            "template t.yaml, line 2: images[0] has no location",
        ),
        (
            "images:\n- location: []",
            "template t.yaml, line 2: images[0].location must be a text, not a list",
        ),
        (
            "archives:\n- {location: a, arch: vax}",
            "template t.yaml, line 2: archives[0].arch: unknown architecture `vax`; \
             it is one of x86_64, aarch64, armv7l, ppc64le, riscv64, s390x",
        ),
    ];
    for (text, told) in cases {
        assert_eq!(refused(text), told);
    }
}
