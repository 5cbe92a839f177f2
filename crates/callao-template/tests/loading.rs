//! Templates out of several texts: bases, default and override, scripts; and every message about what can be wrong.

use std::cell::RefCell;
use std::collections::BTreeMap;

use callao_template::load::{Around, Asker, Document, Loader, load};
use callao_template::{Error, Node, Parsed, limits};

/// Templates in a map.
#[derive(Default)]
struct Shelf {
    texts: BTreeMap<String, String>,
    asked: RefCell<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Template(#[from] Error),
    #[error("{asker} names `{locator}`, which is not on the shelf")]
    Missing { locator: String, asker: String },
}

impl Loader for Shelf {
    type Error = Failure;

    fn load(&self, locator: &str, asker: &Asker<'_>) -> Result<Document, Failure> {
        self.asked.borrow_mut().push(locator.to_owned());
        let text = self.texts.get(locator).ok_or_else(|| Failure::Missing {
            locator: locator.to_owned(),
            asker: format!("{}:{} {}", asker.template, asker.line, asker.field),
        })?;
        Ok(document(locator, text))
    }
}

fn document(locator: &str, text: &str) -> Document {
    Document {
        name: locator.to_owned(),
        locator: locator.to_owned(),
        text: text.to_owned(),
    }
}

fn shelf(texts: &[(&str, &str)]) -> Shelf {
    let texts = texts.iter();
    Shelf {
        texts: texts
            .map(|(locator, text)| ((*locator).to_owned(), (*text).to_owned()))
            .collect(),
        asked: RefCell::default(),
    }
}

fn of(shelf: &Shelf, text: &str) -> Result<Parsed, Failure> {
    load(shelf, document("/d/t.yaml", text), &Around::default())
}

fn locations(parsed: &Parsed) -> Vec<&str> {
    let images = parsed.template.images.iter();
    images.map(|image| image.file.location.as_str()).collect()
}

fn message(shelf: &Shelf, text: &str) -> String {
    of(shelf, text)
        .map(|parsed| locations(&parsed).join(" "))
        .expect_err("a faulty template")
        .to_string()
}

#[test]
fn bases_are_merged_depth_first_with_relative_locators() {
    let shelf = shelf(&[
        ("/d/b1.yaml", "base: sub/b3.yaml\nimages: [{location: 1}]\n"),
        ("/d/b2.yaml", "images: [{location: 2}]\narch: x86_64\n"),
        (
            "/d/sub/b3.yaml",
            "base: {url: b4.yaml}\nimages: [{location: 3}]\narch: aarch64\n",
        ),
        ("/d/sub/b4.yaml", "# nothing but a comment\n"),
        ("template:x/y", "base: z.yaml\nimages: [{location: y}]\n"),
        ("template:x/z.yaml", "images: [{location: z}]\n"),
    ]);
    let text = "base: [b1.yaml, {url: ./b2.yaml}, 'template:x/y']\nimages: [{location: 0}]\n";
    let parsed = of(&shelf, text).expect("good templates");
    assert_eq!(locations(&parsed), ["0", "1", "3", "2", "y", "z"]);
    assert_eq!(
        parsed.template.arch.map(|arch| arch.name()),
        Some("aarch64")
    );
    assert_eq!(parsed.template.tree.get("base"), None);
    assert_eq!(parsed.template.name, "/d/t.yaml");
    assert_eq!(
        *shelf.asked.borrow(),
        [
            "/d/b1.yaml",
            "/d/sub/b3.yaml",
            "/d/sub/b4.yaml",
            "/d/b2.yaml",
            "template:x/y",
            "template:x/z.yaml"
        ]
    );
}

#[test]
fn base_default_and_override_of_the_computer_are_around_every_template() {
    let shelf = shelf(&[
        ("/c/base.yaml", "images: [{location: base}]\ncpus: 1\n"),
        ("/d/b.yaml", "images: [{location: b}]\ncpus: 2\n"),
    ]);
    let around = Around {
        first_base: Some("/c/base.yaml".to_owned()),
        default: Some(document(
            "/c/default.yaml",
            "images: [{location: default}]\nmemory: 1GiB\nbase: nowhere\n",
        )),
        over: Some(document(
            "/c/override.yaml",
            "images: [{location: override}]\n",
        )),
        scripts: false,
    };
    let parsed = load(
        &shelf,
        document("/d/t.yaml", "base: b.yaml\nimages: [{location: t}]\n"),
        &around,
    )
    .expect("good templates");
    assert_eq!(
        locations(&parsed),
        ["override", "t", "base", "b", "default"]
    );
    let text = |key: &str| parsed.template.tree.get(key).and_then(Node::text);
    assert_eq!(
        (text("cpus"), text("memory"), text("base")),
        (Some("1"), Some("1GiB"), None)
    );

    let empty = Around {
        default: Some(document("/c/default.yaml", "# nothing\n")),
        first_base: Some("/d/t.yaml".to_owned()),
        ..Around::default()
    };
    let alone = load(
        &shelf,
        document("/d/t.yaml", "images: [{location: t}]\n"),
        &empty,
    );
    assert_eq!(locations(&alone.expect("a good template")), ["t"]);
}

#[test]
fn scripts_are_read_when_they_are_wanted_and_only_then() {
    let shelf = shelf(&[
        ("template:s/a.sh", "#!/bin/sh\necho a\n"),
        ("/d/data", "bytes"),
    ]);
    let text = "images: [{location: a}]\nprovision:\n- mode: user\n  file: template:s/a.sh\n- mode: data\n  file: {url: data}\n  \
                path: /x\n- mode: yq\n  file: data\n- script: kept\n  file: nowhere\nprobes:\n- file: ./data\n";
    let plain = of(&shelf, text).expect("a good template");
    assert!(shelf.asked.borrow().is_empty());
    assert!(
        plain
            .template
            .tree
            .get("provision")
            .expect("a list")
            .items()[0]
            .get("file")
            .is_some()
    );

    let around = Around {
        scripts: true,
        ..Around::default()
    };
    let parsed = load(&shelf, document("/d/t.yaml", text), &around).expect("a good template");
    let field = |list: &str, index: usize, key: &str| {
        let items = parsed.template.tree.get(list).expect("a list").items();
        items[index]
            .get(key)
            .and_then(Node::text)
            .map(str::to_owned)
    };
    assert_eq!(
        field("provision", 0, "script").as_deref(),
        Some("#!/bin/sh\necho a\n")
    );
    assert_eq!(field("provision", 0, "file"), None);
    assert_eq!(field("provision", 1, "content").as_deref(), Some("bytes"));
    assert_eq!(field("provision", 1, "path").as_deref(), Some("/x"));
    assert_eq!(
        field("provision", 2, "expression").as_deref(),
        Some("bytes")
    );
    assert_eq!(field("provision", 3, "script").as_deref(), Some("kept"));
    assert_eq!(field("probes", 0, "script").as_deref(), Some("bytes"));
}

#[test]
fn what_is_odd_or_wrong_in_a_base_names_the_base() {
    let shelf = shelf(&[
        ("/d/odd.yaml", "imags: []\n"),
        (
            "/d/wrong.yaml",
            "\nimages: [{location: a, digest: \"sha256:1\"}]\n",
        ),
        ("/d/broken.yaml", "images: [\n"),
        ("/d/list.yaml", "- a\n"),
    ]);
    let parsed = of(&shelf, "base: odd.yaml\nimages: [{location: a}]\n").expect("a good template");
    assert_eq!(parsed.warnings.len(), 1);
    assert_eq!(parsed.warnings[0].template, "/d/odd.yaml");
    assert_eq!(
        parsed.warnings[0].message,
        "unknown key `imags` at line 1; did you mean `images`?"
    );
    let cases = [
        (
            "wrong.yaml",
            "template /d/wrong.yaml, line 2: digest of a: invalid checksum digest length: \
             sha256 has 64 digits, not 1: `sha256:1`",
        ),
        (
            "broken.yaml",
            "template /d/broken.yaml is not usable YAML: unclosed bracket '[' at line 1, column 9\n  1 | images: [\n    |         ^",
        ),
        (
            "list.yaml",
            "template /d/list.yaml, line 1: the template must be a mapping, not a list",
        ),
        (
            "none.yaml",
            "/d/t.yaml:2 base names `/d/none.yaml`, which is not on the shelf",
        ),
    ];
    for (base, expected) in cases {
        assert_eq!(message(&shelf, &format!("\nbase: {base}\n")), expected);
    }
}

#[test]
fn bases_that_cannot_be_are_told_with_the_way_to_them() {
    let shelf = shelf(&[
        ("/d/a.yaml", "base: b.yaml\n"),
        ("/d/b.yaml", "base: a.yaml\n"),
        ("/d/self.yaml", "base: self.yaml\n"),
        ("/d/top.yaml", "base: t.yaml\n"),
        ("/d/c.yaml", "images: [{location: c}]\n"),
        ("/d/to-c.yaml", "\nbase: [c.yaml]\n"),
    ]);
    let cases = [
        (
            "base: a.yaml\n",
            "the bases of template /d/t.yaml go round in a circle: /d/a.yaml -> /d/b.yaml -> /d/a.yaml",
        ),
        (
            "base: self.yaml\n",
            "the bases of template /d/t.yaml go round in a circle: /d/self.yaml -> /d/self.yaml",
        ),
        (
            "base: top.yaml\n",
            "the bases of template /d/t.yaml go round in a circle: /d/t.yaml -> /d/top.yaml -> /d/t.yaml",
        ),
        (
            "base: [c.yaml, to-c.yaml]\n",
            "template /d/to-c.yaml, line 2: base `/d/c.yaml` is merged already; limactl takes each base once",
        ),
        (
            "base: [{url: c.yaml, digest: \"sha256:1\"}]\n",
            "template /d/t.yaml, line 1: base `c.yaml` has a digest, which neither limactl nor callao checks",
        ),
        (
            "base: \"\"\n",
            "template /d/t.yaml, line 1: base `` is empty",
        ),
        (
            "base: [{digest: x}]\n",
            "template /d/t.yaml, line 1: base `` has a digest, which neither limactl nor callao checks",
        ),
        (
            "base: [{}]\n",
            "template /d/t.yaml, line 1: base `` is empty",
        ),
        (
            "base: [[c.yaml]]\n",
            "template /d/t.yaml, line 1: base must be a locator, not a list",
        ),
        (
            "base: ../c.yaml\n",
            "template /d/t.yaml, line 1: base `../c.yaml` leads out of the directory of its template with `..`",
        ),
        (
            "base: \"a\\nb\"\n",
            "template /d/t.yaml, line 1: base `ab…` contains a control character",
        ),
        (
            "base: []\n",
            "template /d/t.yaml names no files: it has neither `images:` nor `archives:`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(message(&shelf, text), expected, "{text}");
    }
    let long = format!("base: {}\n", "x".repeat(limits::LOCATOR_BYTES_MAX + 1));
    assert!(message(&shelf, &long).ends_with("` is too long"));
}

#[test]
fn number_depth_and_size_of_bases_are_bounded() {
    let refused =
        "template /d/t.yaml has too many bases: at most 100, nested at most 16 deep, are read";
    let deep = Shelf {
        texts: (0..200)
            .map(|index| (format!("/d/{index}"), format!("base: '{}'\n", index + 1)))
            .collect(),
        asked: RefCell::default(),
    };
    assert_eq!(message(&deep, "base: '0'\n"), refused);
    assert_eq!(deep.asked.borrow().len(), limits::BASE_DEPTH_MAX);

    let wide = Shelf {
        texts: (0..200)
            .map(|index| (format!("/d/{index}"), String::new()))
            .collect(),
        asked: RefCell::default(),
    };
    let bases: Vec<String> = (0..200).map(|index| format!("'{index}'")).collect();
    assert_eq!(
        message(&wide, &format!("base: [{}]\n", bases.join(", "))),
        refused
    );
    assert_eq!(wide.asked.borrow().len(), limits::BASES_COUNT_MAX);

    let large = format!("#{}\n", "x".repeat(limits::TEMPLATE_SIZE_BYTES_MAX / 2));
    let heavy = shelf(&[("/d/1", &large), ("/d/2", &large), ("/d/s", &large)]);
    assert_eq!(
        message(&heavy, "base: ['1', '2']\n"),
        "template /d/t.yaml and its bases have more than 4194304 bytes together"
    );
    let around = Around {
        scripts: true,
        ..Around::default()
    };
    let scripts =
        format!("images: [{{location: a}}]\nbase: '1'\nprovision: [{{file: s}}]\n{large}");
    let error = load(&heavy, document("/d/t.yaml", &scripts), &around).expect_err("too large");
    assert_eq!(
        error.to_string(),
        "template /d/t.yaml and its bases have more than 4194304 bytes together"
    );
    let many = "- {name: a}\n".repeat(limits::FILES_COUNT_MAX + 1);
    assert_eq!(
        message(
            &heavy,
            &format!("images: [{{location: a}}]\nadditionalDisks:\n{many}")
        ),
        "template /d/t.yaml, line 3: additionalDisks has 1001 entries; at most 1000 are read"
    );
}
