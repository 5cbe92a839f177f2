//! A template with everything that belongs to it: its bases, `default.yaml` and `override.yaml`, and the scripts that it
//! names. It must not know where any of them is: a [`Loader`] is handed in.

use std::collections::HashSet;

use crate::error::Error;
use crate::parse::{Parsed, Warning};
use crate::tree::{Entry, Node, Value};
use crate::{combine, fill, keys, limits, locator, merge, parse, tree, validate};

/// The text of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// How messages call it.
    pub name: String,
    /// Where it is: relative locators in it lie beside this one.
    pub locator: String,
    /// What it says.
    pub text: String,
}

/// Who asks for a template or a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker<'a> {
    /// The template that names it.
    pub template: &'a str,
    /// The line where it does, from 1.
    pub line: usize,
    /// The field: `base`, or that of a script's file.
    pub field: &'a str,
}

/// Whoever knows where templates are.
pub trait Loader {
    /// Why something cannot be loaded; this crate's own errors can be among it.
    type Error: From<Error>;

    /// The text behind a locator, which is absolute.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn load(&self, locator: &str, asker: &Asker<'_>) -> Result<Document, Self::Error>;
}

/// What belongs to every template.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// `_config/base.yaml`: the first base of the template.
    pub first_base: Option<String>,
    /// `_config/default.yaml`.
    pub default: Option<Document>,
    /// `_config/override.yaml`.
    pub over: Option<Document>,
    /// Whether the scripts that `provision[].file` and `probes[].file` name are read too.
    pub scripts: bool,
}

/// Loads whatever a template is based on and makes one of it.
///
/// # Errors
/// Those of the loader; anything that is wrong with one of the texts; bases that go round in a circle, are named twice,
/// have a digest, or are too many or too large.
pub fn load<L: Loader>(
    loader: &L,
    document: Document,
    around: &Around,
) -> Result<Parsed, L::Error> {
    let name = document.name.clone();
    let mut embedding = Embedding {
        loader,
        name: &name,
        scripts: around.scripts,
        seen: HashSet::new(),
        chain: vec![document.locator.clone()],
        bytes: 0,
        warnings: Vec::new(),
    };
    let mut root = embedding.read(&document)?;
    let first_base = around.first_base.as_deref();
    embedding.embed(
        &mut root,
        &document.locator,
        first_base.filter(|base| *base != document.locator),
    )?;
    combine::combine(&mut root)?;
    let mut layer = |document: &Option<Document>| match document {
        Some(document) => embedding
            .read(document)
            .map(|root| Some(root).filter(|root| !matches!(root.value, Value::Null))),
        None => Ok(None),
    };
    let (default, over) = (layer(&around.default)?, layer(&around.over)?);
    let root = fill::fill(root, default, over);
    Ok(Parsed {
        template: parse::template(root, &name)?,
        warnings: embedding.warnings,
    })
}

/// The state of one template's loading.
struct Embedding<'l, L> {
    loader: &'l L,
    /// The template that was given.
    name: &'l str,
    scripts: bool,
    /// Bases that were merged, or are being merged.
    seen: HashSet<String>,
    /// From the template that was given to the one that is looked at.
    chain: Vec<String>,
    bytes: usize,
    warnings: Vec<Warning>,
}

/// One entry of `base:`.
struct Base {
    locator: String,
    line: usize,
}

impl<L: Loader> Embedding<'_, L> {
    /// Reads one text and looks whether it is a template.
    fn read(&mut self, document: &Document) -> Result<Node, Error> {
        self.bytes = self.bytes.saturating_add(document.text.len());
        let root = tree::read(&document.text, &document.name)?;
        if self.bytes > limits::TEMPLATE_SIZE_BYTES_MAX {
            return Err(Error::TooBigTogether {
                name: self.name.to_owned(),
                max: limits::TEMPLATE_SIZE_BYTES_MAX,
            });
        }
        // A base with nothing but comments in it is one.
        if !matches!(root.value, Value::Null) {
            parse::check(&root)?;
        }
        self.warnings.extend(keys::unknown(&root));
        Ok(root)
    }

    /// Merges all bases into a template, the bases of each one first.
    fn embed(&mut self, root: &mut Node, of: &str, first: Option<&str>) -> Result<(), L::Error> {
        let mut bases: Vec<Base> = first
            .map(|locator| Base {
                locator: locator.to_owned(),
                line: 1,
            })
            .into_iter()
            .collect();
        bases.extend(bases_of(root, of)?);
        merge::remove(root, "base");
        if self.scripts {
            self.embed_scripts(root, of)?;
        }
        let template = root.template.clone();
        for base in bases {
            let base_root = self.embed_base(&base, &template)?;
            merge::with_base(root, base_root);
        }
        Ok(())
    }

    fn embed_base(&mut self, base: &Base, template: &str) -> Result<Node, L::Error> {
        if let Some(at) = self.chain.iter().position(|one| *one == base.locator) {
            let mut chain: Vec<String> = self.chain.split_off(at);
            chain.push(base.locator.clone());
            return Err(L::Error::from(Error::BaseLoop {
                name: self.name.to_owned(),
                chain,
            }));
        }
        if !self.seen.insert(base.locator.clone()) {
            return Err(L::Error::from(Error::BaseTwice {
                name: template.to_owned(),
                line: base.line,
                locator: base.locator.clone(),
            }));
        }
        if self.seen.len() > limits::BASES_COUNT_MAX || self.chain.len() > limits::BASE_DEPTH_MAX {
            return Err(L::Error::from(Error::TooManyBases {
                name: self.name.to_owned(),
                count_max: limits::BASES_COUNT_MAX,
                depth_max: limits::BASE_DEPTH_MAX,
            }));
        }
        let asker = Asker {
            template,
            line: base.line,
            field: "base",
        };
        let document = self.loader.load(&base.locator, &asker)?;
        let mut root = self.read(&document)?;
        self.chain.push(base.locator.clone());
        self.embed(&mut root, &document.locator, None)?;
        self.chain.pop();
        Ok(root)
    }

    /// Puts the text of each file in the place of its name.
    fn embed_scripts(&mut self, root: &mut Node, of: &str) -> Result<(), L::Error> {
        let Value::Map(entries) = &mut root.value else {
            return Ok(());
        };
        for list in entries {
            if !matches!(list.key.as_str(), "provision" | "probes") {
                continue;
            }
            let Value::List(items) = &mut list.value.value else {
                continue;
            };
            for (index, item) in items.iter_mut().enumerate() {
                self.embed_script(item, &format!("{}[{index}].file", list.key), of)?;
            }
        }
        Ok(())
    }

    fn embed_script(&mut self, item: &mut Node, field: &str, of: &str) -> Result<(), L::Error> {
        let Some(file) = item.get("file") else {
            return Ok(());
        };
        let key = match item.get("mode").and_then(Node::text) {
            Some("data") => "content",
            Some("yq") => "expression",
            _ => "script",
        };
        if item.get(key).and_then(Node::text).is_some() {
            return Ok(());
        }
        let locator = locator_of(file, field, of)?;
        let asker = Asker {
            template: &item.template,
            line: file.line,
            field,
        };
        let text = self.loader.load(&locator, &asker)?.text;
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > limits::TEMPLATE_SIZE_BYTES_MAX {
            return Err(L::Error::from(Error::TooBigTogether {
                name: self.name.to_owned(),
                max: limits::TEMPLATE_SIZE_BYTES_MAX,
            }));
        }
        let script = Value::Scalar {
            text,
            boolean: None,
        };
        let entry = Entry::made(key, Node::made(script, file.line, &file.template));
        merge::remove(item, "file");
        merge::remove(item, key);
        if let Value::Map(entries) = &mut item.value {
            entries.push(entry);
        }
        Ok(())
    }
}

/// `base:` is a locator, or a list of them; each is a text or has a `url:`.
fn bases_of(root: &Node, of: &str) -> Result<Vec<Base>, Error> {
    let Some(node) = root.get("base") else {
        return Ok(Vec::new());
    };
    let one = |node: &Node| {
        Ok(Base {
            locator: locator_of(node, "base", of)?,
            line: node.line,
        })
    };
    match &node.value {
        Value::List(items) => items.iter().map(one).collect(),
        _ => one(node).map(|base| vec![base]),
    }
}

/// The absolute locator in a text or a `{url}`. limactl refuses digests of locators, since it would not check them.
fn locator_of(node: &Node, field: &str, of: &str) -> Result<String, Error> {
    let bad = |text: &str, reason: &'static str| Error::BadLocator {
        name: node.template.to_string(),
        line: node.line,
        field: field.to_owned(),
        locator: validate::shown(text),
        reason,
    };
    let text = match &node.value {
        Value::Scalar { text, .. } => text.as_str(),
        Value::Map(_) => node.get("url").and_then(Node::text).unwrap_or_default(),
        _ => {
            return Err(Error::WrongType {
                name: node.template.to_string(),
                line: node.line,
                field: field.to_owned(),
                expected: "a locator",
                found: node.value.kind(),
            });
        }
    };
    if node.get("digest").is_some() {
        return Err(bad(
            text,
            "has a digest, which neither limactl nor callao checks",
        ));
    }
    if text.len() > limits::LOCATOR_BYTES_MAX {
        return Err(bad(text, "is too long"));
    }
    locator::absolute(text, of).map_err(|reason| bad(text, reason))
}
