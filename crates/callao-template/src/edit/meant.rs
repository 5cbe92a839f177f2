//! Whether an edited text says what was meant: everything as before, but for the changes.
//! It must not know how the text was edited.

use std::collections::BTreeMap;

use callao_content::cid;

use super::{Change, Document, Part};
use crate::error::Error;
use crate::tree::{self, Node, Value};

/// A value without its place in a text; the order of keys means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    Nothing,
    Text { text: String, boolean: Option<bool> },
    List(Vec<Meaning>),
    Map(BTreeMap<String, Meaning>),
}

/// Reads the edited text and compares.
pub(super) fn check(
    document: &Document<'_>,
    changes: &[Change],
    edited: &str,
) -> Result<(), Error> {
    let mut meant = Meaning::of(&document.root);
    let mut sorted: Vec<&Change> = changes.iter().collect();
    // From the back, so that the places of the others stay what they are.
    sorted.sort_by_key(|change| std::cmp::Reverse(part_of(change)));
    for change in sorted {
        let done = meant.change(change);
        if done.is_none() {
            let line = document.find(part_of(change))?.0.line;
            return Err(document.refusal(line, &part_of(change).field(), "it is not a mapping"));
        }
    }
    let got = tree::read(edited, document.name).map(|root| Meaning::of(&root));
    if got.as_ref() == Ok(&meant) {
        return Ok(());
    }
    let part = changes.first().map(part_of);
    let line = match part {
        Some(part) => document.find(part)?.0.line,
        None => 1,
    };
    let field = part.map_or_else(|| "the template".to_owned(), Part::field);
    let why = "the change would reach further than this entry; write anchors, aliases and unusual forms out";
    Err(document.refusal(line, &field, why))
}

fn part_of(change: &Change) -> Part {
    match change {
        Change::Digest(part, _) | Change::Cid(part, _) | Change::InFront(part, _) => *part,
    }
}

impl Meaning {
    fn of(node: &Node) -> Self {
        match &node.value {
            Value::Null => Self::Nothing,
            Value::Scalar { text, boolean } => Self::Text {
                text: text.clone(),
                boolean: *boolean,
            },
            Value::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Map(entries) => {
                let pairs = entries.iter();
                Self::Map(
                    pairs
                        .map(|entry| (entry.key.clone(), Self::of(&entry.value)))
                        .collect(),
                )
            }
        }
    }

    fn text(text: String) -> Self {
        Self::Text {
            text,
            boolean: None,
        }
    }

    fn change(&mut self, change: &Change) -> Option<()> {
        let (keys, index, inner) = part_of(change).path();
        let mut list = self;
        for key in keys {
            let Self::Map(entries) = list else {
                return None;
            };
            list = entries.get_mut(*key)?;
        }
        let Self::List(items) = list else {
            return None;
        };
        if let Change::InFront(_, location) = change {
            let mut new = items.get(index)?.clone();
            let entries = new.entries()?;
            entries.remove("cid");
            entries.insert("location".to_owned(), Self::text(location.clone()));
            items.insert(index, new);
            return Some(());
        }
        let mut entry = items.get_mut(index)?;
        if let Some(key) = inner {
            entry = entry.entries()?.get_mut(key)?;
        }
        let (key, value) = match change {
            Change::Digest(_, digest) => ("digest", digest.to_string()),
            Change::Cid(_, cid) => ("cid", cid::text(cid)),
            Change::InFront(..) => return None,
        };
        entry.entries()?.insert(key.to_owned(), Self::text(value));
        Some(())
    }

    fn entries(&mut self) -> Option<&mut BTreeMap<String, Meaning>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }
}
