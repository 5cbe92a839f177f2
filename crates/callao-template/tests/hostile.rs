//! Templates made to exhaust or to crash their reader end with an error, and soon.

use callao_template::{Error, limits, parse};

fn refused(text: &str) -> String {
    match parse(text, "t.yaml") {
        Err(error @ (Error::Yaml { .. } | Error::TooBig { .. } | Error::TooMany { .. })) => {
            error.to_string()
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_text_beyond_the_limit_is_not_even_parsed() {
    let text = "#".repeat(10 * 1024 * 1024);
    assert_eq!(
        refused(&text),
        "template t.yaml has 10485760 bytes; a template has at most 4194304"
    );
}

#[test]
fn aliases_cannot_multiply() {
    let level = |level: usize| {
        let below = if level == 0 {
            "x".to_owned()
        } else {
            format!("*a{}", level - 1)
        };
        format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "))
    };
    refused(&(0..12).map(level).collect::<String>());

    let long = "y".repeat(200 * 1024);
    let repeated = "- *a\n".repeat(20_000);
    refused(&format!("a: &a \"{long}\"\nb:\n{repeated}"));
    let owned = "y\\n".repeat(400 * 1024);
    refused(&format!("a: &a \"{owned}\"\nb:\n{repeated}"));

    let merges = "- {<<: *a}\n".repeat(20_000);
    refused(&format!("a: &a {{x: 1}}\nb:\n{merges}"));
}

#[test]
fn depth_and_number_are_bounded() {
    refused(&"[".repeat(100_000));
    refused(&"{a: ".repeat(100_000));
    refused(&"- ".repeat(100_000));
    let block: String = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    refused(&block);
    let link = |level: usize| match level {
        0 => "a0: &a0 {x: [{x: [x]}]}\n".to_owned(),
        _ => format!("a{level}: &a{level} {{x: [{{x: [*a{}]}}]}}\n", level - 1),
    };
    refused(&(0..100).map(link).collect::<String>());
    refused(&format!(
        "images:\n{}",
        "- {}\n".repeat(limits::YAML_NODES_COUNT_MAX)
    ));
    refused(&format!(
        "images:\n{}",
        "- {location: a}\n".repeat(limits::FILES_COUNT_MAX + 1)
    ));
}

#[test]
fn references_to_oneself_are_refused() {
    refused("a: &a [*a]\n");
    refused("a: &a {b: *a}\n");
    refused("a: &a\n  <<: *a\n");
}

#[test]
fn long_comments_and_scripts_are_harmless() {
    let comments = "# a comment, as Lima's default template has hundreds of them\n".repeat(10_000);
    let script = "    echo hello\n".repeat(50_000);
    let text = format!(
        "{comments}images:\n{comments}- location: a\nprovision:\n- script: |\n{script}{comments}"
    );
    let parsed = parse(&text, "t.yaml").expect("a long but good template");
    assert_eq!(parsed.template.images[0].file.location, "a");
    assert_eq!(parsed.warnings, []);
}

/// Cuts, doubled pieces and swapped bytes of a good template: any answer will do, as long as there is one.
#[test]
fn damaged_templates_never_panic() {
    let good = include_str!("data/seed-example.yaml");
    for cut in (0..good.len()).filter(|cut| good.is_char_boundary(*cut)) {
        let _ = parse(&good[..cut], "t.yaml");
        let _ = parse(&good[cut..], "t.yaml");
    }
    let odd = [
        "\0",
        "\u{feff}",
        "\t",
        "&",
        "*",
        "!!binary ",
        "? ",
        "%YAML 1.2\n",
        "---\n",
        "...\n",
        "{",
        "]",
        "|",
        "\r",
        "ä",
        "<<: ",
    ];
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    for _ in 0..3_000 {
        let mut text = good.to_owned();
        for _ in 0..1 + next(4) {
            let at = next(text.len());
            if text.is_char_boundary(at) {
                text.insert_str(at, odd[next(odd.len())]);
            }
        }
        let _ = parse(&text, "t.yaml");
    }
}
