//! The files that stand in one text, before anything is merged into it.
//! It must not know what is done to them.

use super::{FileEntry, Part};
use crate::error::Error;
use crate::model::Arch;
use crate::tree::{Entry, Node, Value};
use crate::{limits, validate};

/// All files, in the order of their lists.
pub(super) fn files(root: &Node, name: &str) -> Result<Vec<FileEntry>, Error> {
    let lister = Lister { name };
    let top = match &root.value {
        Value::Null => return Ok(Vec::new()),
        Value::Map(entries) => entries,
        _ => return Err(lister.wrong(root, "the template", "a mapping")),
    };
    let mut files = Vec::new();
    for (index, node) in lister.list(top, "images", "images")?.iter().enumerate() {
        let image = lister.file(node, Part::Image(index), None)?;
        let arch = image.arch;
        files.push(image);
        for (key, part) in [
            ("kernel", Part::Kernel(index)),
            ("initrd", Part::Initrd(index)),
        ] {
            let inner = lister.map(node, "images")?.iter();
            let inner = inner.filter(|entry| entry.key == key && !is_null(&entry.value));
            for entry in inner {
                files.push(lister.file(&entry.value, part, arch)?);
            }
        }
    }
    if let Some(containerd) = top
        .iter()
        .find(|entry| entry.key == "containerd" && !is_null(&entry.value))
    {
        let entries = lister.map(&containerd.value, "containerd")?;
        let list = lister.list(entries, "archives", "containerd.archives")?;
        for (index, node) in list.iter().enumerate() {
            files.push(lister.file(node, Part::ContainerdArchive(index), None)?);
        }
    }
    for (index, node) in lister.list(top, "archives", "archives")?.iter().enumerate() {
        files.push(lister.file(node, Part::Archive(index), None)?);
    }
    Ok(files)
}

fn is_null(node: &Node) -> bool {
    matches!(node.value, Value::Null)
}

/// Knows only what to call the template in an error.
struct Lister<'n> {
    name: &'n str,
}

impl Lister<'_> {
    fn file(&self, node: &Node, part: Part, arch: Option<Arch>) -> Result<FileEntry, Error> {
        let field = part.field();
        let entries = self.map(node, &field)?;
        let name = || self.name.to_owned();
        let Some((location, line)) = self.text(entries, "location", &field)? else {
            return Err(Error::NoLocation {
                name: name(),
                line: node.line,
                field,
            });
        };
        validate::location(location).map_err(|reason| Error::BadLocation {
            name: name(),
            line,
            field: format!("{field}.location"),
            reason,
        })?;
        let digest = self.text(entries, "digest", &field)?.map(|(text, line)| {
            validate::digest(text).map_err(|reason| Error::BadDigest {
                name: name(),
                line,
                location: location.to_owned(),
                digest: validate::shown(text),
                reason,
            })
        });
        let cid = self.text(entries, "cid", &field)?.map(|(text, line)| {
            validate::cid(text).map_err(|reason| Error::BadCid {
                name: name(),
                line,
                location: location.to_owned(),
                cid: validate::shown(text),
                reason,
            })
        });
        let owned = |found: Option<(&str, usize)>| found.map(|(text, _)| text.to_owned());
        Ok(FileEntry {
            part,
            line: node.line,
            location: location.to_owned(),
            arch: self.arch(entries, &field)?.or(arch),
            digest: digest.transpose()?,
            cid: cid.transpose()?,
            variant: owned(self.text(entries, "variant", &field)?),
            arch_variant: owned(self.text(entries, "archVariant", &field)?),
        })
    }

    /// `arch:`; like limactl, `default` is the same as none.
    fn arch(&self, entries: &[Entry], field: &str) -> Result<Option<Arch>, Error> {
        let found = self.text(entries, "arch", field)?;
        let Some((text, line)) = found.filter(|(text, _)| *text != "default") else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|source| Error::BadArch {
            name: self.name.to_owned(),
            line,
            field: format!("{field}.arch"),
            source,
        })
    }

    fn list<'n>(&self, entries: &'n [Entry], key: &str, field: &str) -> Result<&'n [Node], Error> {
        let found = entries.iter().find(|entry| entry.key == key);
        let Some(node) = found
            .map(|entry| &entry.value)
            .filter(|node| !is_null(node))
        else {
            return Ok(&[]);
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
        Ok(items)
    }

    fn map<'n>(&self, node: &'n Node, field: &str) -> Result<&'n [Entry], Error> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong(node, field, "a mapping")),
        }
    }

    /// A scalar and its line; an empty one counts as absent, as in limactl.
    fn text<'n>(
        &self,
        entries: &'n [Entry],
        key: &str,
        field: &str,
    ) -> Result<Option<(&'n str, usize)>, Error> {
        let found = entries.iter().find(|entry| entry.key == key);
        match found.map(|entry| (&entry.value, &entry.value.value)) {
            None | Some((_, Value::Null)) => Ok(None),
            Some((node, Value::Scalar { text, .. })) => {
                Ok(Some((text.as_str(), node.line)).filter(|(text, _)| !text.is_empty()))
            }
            Some((node, _)) => Err(self.wrong(node, &format!("{field}.{key}"), "a text")),
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
