//! From the tree to the model: types, and which fields there are.
//! It must not know how a digest or a CID is spelt (`validate`), nor who is going to be chosen (`select`).

use crate::error::Error;
use crate::model::{Arch, Containerd, File, Image, Template};
use crate::tree::{Entry, Node, Value};
use crate::{keys, limits, tree, validate};

/// A template and what is odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The template.
    pub template: Template,
    /// Unknown keys, in the order of the text. limactl warns about them as well and carries on.
    pub warnings: Vec<Warning>,
}

/// Something that is probably a mistake but hinders nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Line in the template, from 1, where there is one.
    pub line: Option<usize>,
    /// The sentence, with the line in it.
    pub message: String,
}

/// Reads a template. `name` is how messages call it; nothing is opened.
///
/// # Errors
/// Not YAML, too big, a field of a wrong type, a bad digest, CID, architecture or location, `base:`, no files.
pub fn parse(text: &str, name: &str) -> Result<Parsed, Error> {
    let root = tree::read(text, name)?;
    let reader = Reader { name };
    let template = reader.template(&root)?;
    Ok(Parsed {
        template,
        warnings: keys::unknown(&root),
    })
}

/// Reads nodes; knows only what to call the template in an error.
struct Reader<'n> {
    name: &'n str,
}

impl Reader<'_> {
    fn template(&self, root: &Node) -> Result<Template, Error> {
        let top = self.map(root, "the template")?;
        if let Some(base) = get(top, "base").filter(|base| !is_empty(base)) {
            return Err(Error::BaseUnsupported {
                name: self.name.to_owned(),
                line: base.line,
            });
        }
        let arch = self.arch(top, "")?;
        let images = self.list(top, "images", "images", |node, field| {
            self.image(node, field, arch)
        })?;
        let mut containerd = Containerd::default();
        let mut archives = Vec::new();
        if let Some(node) = get(top, "containerd") {
            let entries = self.map(node, "containerd")?;
            containerd.system = self.boolean(entries, "system", "containerd.system")?;
            containerd.user = self.boolean(entries, "user", "containerd.user")?;
            archives = self.list(entries, "archives", "containerd.archives", |node, field| {
                self.file(node, field)
            })?;
        }
        archives.extend(self.list(top, "archives", "archives", |node, field| {
            self.file(node, field)
        })?);
        let plain = self.boolean(top, "plain", "plain")?;
        if images.is_empty() && archives.is_empty() {
            return Err(Error::NoFiles {
                name: self.name.to_owned(),
            });
        }
        Ok(Template {
            name: self.name.to_owned(),
            arch,
            images,
            archives,
            containerd,
            plain,
        })
    }

    fn image(&self, node: &Node, field: &str, top: Option<Arch>) -> Result<Image, Error> {
        let file = self.file(node, field)?;
        let entries = self.map(node, field)?;
        let image = Image {
            kernel: self.part(entries, "kernel", field)?,
            initrd: self.part(entries, "initrd", field)?,
            variant: self
                .text(entries, "variant", &format!("{field}.variant"))?
                .map(str::to_owned),
            arch_variant: self
                .text(entries, "archVariant", &format!("{field}.archVariant"))?
                .map(str::to_owned),
            file,
        };
        validate::arches_agree(&image, field, top, self.name)?;
        Ok(image)
    }

    /// `kernel:` or `initrd:`, whose architecture is the image's unless it says otherwise.
    fn part(&self, entries: &[Entry], key: &str, field: &str) -> Result<Option<File>, Error> {
        match get(entries, key) {
            Some(node) => self.file(node, &format!("{field}.{key}")).map(Some),
            None => Ok(None),
        }
    }

    fn file(&self, node: &Node, field: &str) -> Result<File, Error> {
        let entries = self.map(node, field)?;
        let at = |key: &str| get(entries, key).map_or(node.line, |node| node.line);
        let Some(location) = self.text(entries, "location", &format!("{field}.location"))? else {
            return Err(Error::NoLocation {
                name: self.name.to_owned(),
                line: node.line,
                field: field.to_owned(),
            });
        };
        validate::location(location).map_err(|reason| Error::BadLocation {
            name: self.name.to_owned(),
            line: at("location"),
            field: format!("{field}.location"),
            reason,
        })?;
        let digest = self.text(entries, "digest", &format!("{field}.digest"))?;
        let digest = digest.map(|digest| {
            validate::digest(digest).map_err(|reason| Error::BadDigest {
                name: self.name.to_owned(),
                line: at("digest"),
                location: location.to_owned(),
                digest: validate::shown(digest),
                reason,
            })
        });
        let cid = self.text(entries, "cid", &format!("{field}.cid"))?;
        let cid = cid.map(|cid| {
            validate::cid(cid).map_err(|reason| Error::BadCid {
                name: self.name.to_owned(),
                line: at("cid"),
                location: location.to_owned(),
                cid: validate::shown(cid),
                reason,
            })
        });
        Ok(File {
            location: location.to_owned(),
            arch: self.arch(entries, field)?,
            digest: digest.transpose()?,
            cid: cid.transpose()?,
            line: Some(node.line),
        })
    }

    /// `arch:`; like limactl, `default` is the same as none.
    fn arch(&self, entries: &[Entry], field: &str) -> Result<Option<Arch>, Error> {
        let field = if field.is_empty() {
            "arch".to_owned()
        } else {
            format!("{field}.arch")
        };
        let Some(text) = self
            .text(entries, "arch", &field)?
            .filter(|text| *text != "default")
        else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|source| Error::BadArch {
            name: self.name.to_owned(),
            line: get(entries, "arch").map_or(1, |node| node.line),
            field,
            source,
        })
    }

    fn list<T>(
        &self,
        entries: &[Entry],
        key: &str,
        field: &str,
        each: impl Fn(&Node, &str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Some(node) = get(entries, key) else {
            return Ok(Vec::new());
        };
        let Value::List(items) = &node.value else {
            return Err(self.wrong(node, field, "a list"));
        };
        if items.len() > limits::FILES_COUNT_MAX {
            return Err(Error::TooMany {
                name: self.name.to_owned(),
                line: node.line,
                field: field.to_owned(),
                count: items.len(),
                max: limits::FILES_COUNT_MAX,
            });
        }
        items
            .iter()
            .enumerate()
            .map(|(index, item)| each(item, &format!("{field}[{index}]")))
            .collect()
    }

    fn map<'t>(&self, node: &'t Node, field: &str) -> Result<&'t [Entry], Error> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong(node, field, "a mapping")),
        }
    }

    /// A scalar as written; an empty one counts as absent, as in limactl.
    fn text<'t>(
        &self,
        entries: &'t [Entry],
        key: &str,
        field: &str,
    ) -> Result<Option<&'t str>, Error> {
        match get(entries, key).map(|node| (node, &node.value)) {
            None => Ok(None),
            Some((_, Value::Scalar { text, .. })) => {
                Ok(Some(text.as_str()).filter(|text| !text.is_empty()))
            }
            Some((node, _)) => Err(self.wrong(node, field, "a text")),
        }
    }

    fn boolean(&self, entries: &[Entry], key: &str, field: &str) -> Result<Option<bool>, Error> {
        match get(entries, key).map(|node| (node, &node.value)) {
            None => Ok(None),
            Some((
                _,
                Value::Scalar {
                    boolean: Some(value),
                    ..
                },
            )) => Ok(Some(*value)),
            Some((node, _)) => Err(self.wrong(node, field, "true or false")),
        }
    }

    fn wrong(&self, node: &Node, field: &str, expected: &'static str) -> Error {
        Error::WrongType {
            name: self.name.to_owned(),
            line: node.line,
            field: field.to_owned(),
            expected,
            found: node.value.kind(),
        }
    }
}

/// The value of a key, unless it is absent or null.
fn get<'t>(entries: &'t [Entry], key: &str) -> Option<&'t Node> {
    let entry = entries.iter().find(|entry| entry.key == key)?;
    (!matches!(entry.value.value, Value::Null)).then_some(&entry.value)
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Scalar { text, .. } => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::LongText => false,
    }
}
