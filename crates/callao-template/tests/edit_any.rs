//! Whatever a template looks like: an edit says what was meant, and every line that it need not touch is still there.

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_template::edit::{Change, Document, Part};
use proptest::prelude::*;

const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";

/// How one entry is written.
#[derive(Debug, Clone)]
struct Style {
    flow: bool,
    quote: &'static str,
    keys: Vec<(&'static str, &'static str)>,
    comment: bool,
    blank: bool,
    margin: usize,
}

fn style() -> impl Strategy<Value = Style> {
    let keys = Just(vec![
        ("location", "https://h/a.img"),
        ("arch", "x86_64"),
        ("variant", "server"),
        ("archVariant", "v3"),
        ("unknown", "z"),
    ]);
    let keys = (keys.prop_shuffle(), 1_usize..=5).prop_map(|(mut keys, count)| {
        keys.truncate(count);
        if keys.iter().all(|(key, _)| *key != "location") {
            keys.push(("location", "https://h/b.img"));
        }
        keys
    });
    (
        any::<bool>(),
        prop_oneof![Just(""), Just("'"), Just("\"")],
        keys,
        any::<bool>(),
        any::<bool>(),
        1_usize..4,
    )
        .prop_map(|(flow, quote, keys, comment, blank, margin)| Style {
            flow,
            quote,
            keys,
            comment,
            blank,
            margin,
        })
}

fn text_of(entries: &[Style], indent: usize, eol: &str, last: bool) -> String {
    let mut lines = vec!["# a template".to_owned(), "images:".to_owned()];
    let margin = " ".repeat(indent);
    for entry in entries {
        let comment = if entry.comment {
            "  # why: \"this\""
        } else {
            ""
        };
        let pair = |(key, value): &(&str, &str)| format!("{key}: {0}{value}{0}", entry.quote);
        let pairs: Vec<String> = entry.keys.iter().map(pair).collect();
        let dash = format!("{margin}-{}", " ".repeat(entry.margin));
        if entry.flow {
            lines.push(format!("{dash}{{{}}}{comment}", pairs.join(", ")));
        } else {
            let deeper = " ".repeat(dash.len());
            for (index, pair) in pairs.iter().enumerate() {
                let before = if index == 0 { &dash } else { &deeper };
                lines.push(format!("{before}{pair}{comment}"));
            }
        }
        if entry.blank {
            lines.extend([String::new(), format!("{margin}# next")]);
        }
    }
    lines.push("cpus: 2".to_owned());
    lines.join(eol) + if last { eol } else { "" }
}

proptest! {
    #[test]
    fn edits_say_what_was_meant_and_keep_all_other_lines(
        entries in prop::collection::vec(style(), 1..5),
        indent in 0_usize..4,
        windows in any::<bool>(),
        last in any::<bool>(),
        chosen in any::<prop::sample::Index>(),
        front in any::<bool>(),
    ) {
        let text = text_of(&entries, indent, if windows { "\r\n" } else { "\n" }, last);
        let index = chosen.index(entries.len());
        let part = Part::Image(index);
        let digest = Digest::of(Algorithm::Sha512, b"x");
        let cid = cid::parse(CID).expect("a CID");
        let mut changes = vec![Change::Cid(part, cid), Change::Digest(part, digest)];
        if front {
            changes.push(Change::InFront(part, "ipfs://bafy/a.img".into()));
        }
        let before = Document::read(&text, "t").expect("a template");
        let edited = before.apply(&changes).expect("an edit");
        let after = Document::read(&edited, "t").expect("still a template");

        let mut expected = before.files().to_vec();
        expected[index].digest = Some(digest);
        if front {
            let mut new = expected[index].clone();
            new.location = "ipfs://bafy/a.img".into();
            expected.insert(index, new);
        }
        expected[index + usize::from(front)].cid = Some(cid);
        let seen = after.files().iter().zip(&expected);
        prop_assert_eq!(after.files().len(), expected.len());
        for (got, wanted) in seen {
            prop_assert_eq!(&got.location, &wanted.location);
            prop_assert_eq!((got.digest, got.cid, got.arch), (wanted.digest, wanted.cid, wanted.arch));
            prop_assert_eq!((&got.variant, &got.arch_variant), (&wanted.variant, &wanted.arch_variant));
        }

        // Only a flow entry is changed within its line; all other lines are there as they were, in their order.
        let mut rest = edited.split('\n');
        let changed_line = before.files()[index].line - 1;
        for (number, line) in text.split('\n').enumerate() {
            if entries[index].flow && number == changed_line {
                continue;
            }
            prop_assert!(rest.any(|there| there == line), "{line:?} has gone from {edited:?}");
        }
    }
}
