//! From the tree to the model: types, and which fields there are.
//! It must not know how a digest or a CID is spelt (`validate`), nor who is going to be chosen (`select`).

use crate::error::Error;
use crate::model::{Arch, Containerd, File, Firmware, FirmwareImage, Image, Template};
use crate::tree::{Node, Value};
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
    /// The template that it is about: the one that was given, or one of its bases.
    pub template: String,
    /// Line in the template, from 1, where there is one.
    pub line: Option<usize>,
    /// The sentence, with the line in it.
    pub message: String,
}

/// Reads one template by itself: its `base:` is not followed. `name` is how messages call it; nothing is opened.
///
/// # Errors
/// Not YAML, too big, a field of a wrong type, a bad digest, CID, architecture or location, no files.
pub fn parse(text: &str, name: &str) -> Result<Parsed, Error> {
    let root = tree::read(text, name)?;
    let warnings = keys::unknown(&root);
    Ok(Parsed {
        template: template(root, name)?,
        warnings,
    })
}

/// The model of a tree that is complete.
pub(crate) fn template(root: Node, name: &str) -> Result<Template, Error> {
    let mut template = Reader.template(&root, name)?;
    if template.images.is_empty() && template.archives.is_empty() {
        return Err(Error::NoFiles {
            name: name.to_owned(),
        });
    }
    template.tree = root;
    Ok(template)
}

/// Looks at one of several trees that make a template, so that what is wrong is told as it stands there.
pub(crate) fn check(root: &Node) -> Result<(), Error> {
    Reader.template(root, &root.template).map(drop)
}

/// Reads nodes.
pub(crate) struct Reader;

impl Reader {
    fn template(&self, root: &Node, name: &str) -> Result<Template, Error> {
        self.map(root, "the template")?;
        let arch = self.arch(root, "")?;
        let images = self.list(root, "images", "images", |node, field| {
            self.image(node, field, arch)
        })?;
        let mut containerd = Containerd::default();
        let mut archives = Vec::new();
        if let Some(node) = root.get("containerd") {
            self.map(node, "containerd")?;
            containerd.system = self.boolean(node, "system", "containerd.system")?;
            containerd.user = self.boolean(node, "user", "containerd.user")?;
            archives = self.list(node, "archives", "containerd.archives", |node, field| {
                self.file(node, field)
            })?;
        }
        archives.extend(self.list(root, "archives", "archives", |node, field| {
            self.file(node, field)
        })?);
        Ok(Template {
            name: name.to_owned(),
            os: self.text(root, "os", "os")?.map(str::to_owned),
            vm_type: self.text(root, "vmType", "vmType")?.map(str::to_owned),
            arch,
            images,
            archives,
            containerd,
            plain: self.boolean(root, "plain", "plain")?,
            firmware: self.firmware(root)?,
            virtio_win: self.virtio_win(root)?,
            tree: Node::made(Value::Null, root.line, &root.template),
        })
    }

    fn firmware(&self, root: &Node) -> Result<Firmware, Error> {
        let Some(node) = root.get("firmware") else {
            return Ok(Firmware::default());
        };
        self.map(node, "firmware")?;
        Ok(Firmware {
            legacy_bios: self.boolean(node, "legacyBIOS", "firmware.legacyBIOS")?,
            images: self.list(node, "images", "firmware.images", |node, field| {
                Ok(FirmwareImage {
                    file: self.file(node, field)?,
                    vm_type: self
                        .text(node, "vmType", &format!("{field}.vmType"))?
                        .map(str::to_owned),
                })
            })?,
        })
    }

    /// `osOpts.Windows.virtioWin`.
    fn virtio_win(&self, root: &Node) -> Result<Vec<File>, Error> {
        let windows = root.get("osOpts").and_then(|node| node.get("Windows"));
        let Some(node) = windows else {
            return Ok(Vec::new());
        };
        let field = "osOpts.Windows.virtioWin";
        self.list(node, "virtioWin", field, |node, field| {
            self.file(node, field)
        })
    }

    fn image(&self, node: &Node, field: &str, top: Option<Arch>) -> Result<Image, Error> {
        let file = self.file(node, field)?;
        let image = Image {
            kernel: self.part(node, "kernel", field)?,
            initrd: self.part(node, "initrd", field)?,
            variant: self
                .text(node, "variant", &format!("{field}.variant"))?
                .map(str::to_owned),
            arch_variant: self
                .text(node, "archVariant", &format!("{field}.archVariant"))?
                .map(str::to_owned),
            file,
        };
        validate::arches_agree(&image, field, top, &node.template)?;
        Ok(image)
    }

    /// `kernel:` or `initrd:`, whose architecture is the image's unless it says otherwise.
    fn part(&self, image: &Node, key: &str, field: &str) -> Result<Option<File>, Error> {
        match image.get(key) {
            Some(node) => self.file(node, &format!("{field}.{key}")).map(Some),
            None => Ok(None),
        }
    }

    fn file(&self, node: &Node, field: &str) -> Result<File, Error> {
        self.map(node, field)?;
        let name = || node.template.to_string();
        let at = |key: &str| node.get(key).map_or(node.line, |node| node.line);
        let Some(location) = self.text(node, "location", &format!("{field}.location"))? else {
            return Err(Error::NoLocation {
                name: name(),
                line: node.line,
                field: field.to_owned(),
            });
        };
        validate::location(location).map_err(|reason| Error::BadLocation {
            name: name(),
            line: at("location"),
            field: format!("{field}.location"),
            reason,
        })?;
        let digest = self.text(node, "digest", &format!("{field}.digest"))?;
        let digest = digest.map(|digest| {
            validate::digest(digest).map_err(|reason| Error::BadDigest {
                name: name(),
                line: at("digest"),
                location: location.to_owned(),
                digest: validate::shown(digest),
                reason,
            })
        });
        let cid = self.text(node, "cid", &format!("{field}.cid"))?;
        let cid = cid.map(|cid| {
            validate::cid(cid).map_err(|reason| Error::BadCid {
                name: name(),
                line: at("cid"),
                location: location.to_owned(),
                cid: validate::shown(cid),
                reason,
            })
        });
        Ok(File {
            location: location.to_owned(),
            arch: self.arch(node, field)?,
            digest: digest.transpose()?,
            cid: cid.transpose()?,
            line: Some(node.line),
        })
    }

    /// `arch:`; like limactl, `default` is the same as none.
    fn arch(&self, node: &Node, field: &str) -> Result<Option<Arch>, Error> {
        let field = if field.is_empty() {
            "arch".to_owned()
        } else {
            format!("{field}.arch")
        };
        let Some(text) = self
            .text(node, "arch", &field)?
            .filter(|text| *text != "default")
        else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|source| Error::BadArch {
            name: node.template.to_string(),
            line: node.get("arch").map_or(1, |node| node.line),
            field,
            source,
        })
    }

    pub(crate) fn list<T>(
        &self,
        parent: &Node,
        key: &str,
        field: &str,
        each: impl Fn(&Node, &str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Some(node) = parent.get(key) else {
            return Ok(Vec::new());
        };
        let Value::List(items) = &node.value else {
            return Err(self.wrong(node, field, "a list"));
        };
        if items.len() > limits::FILES_COUNT_MAX {
            return Err(Error::TooMany {
                name: node.template.to_string(),
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

    pub(crate) fn map(&self, node: &Node, field: &str) -> Result<(), Error> {
        match &node.value {
            Value::Map(_) => Ok(()),
            _ => Err(self.wrong(node, field, "a mapping")),
        }
    }

    /// A short scalar as written; an empty one counts as absent, as in limactl.
    pub(crate) fn text<'t>(
        &self,
        parent: &'t Node,
        key: &str,
        field: &str,
    ) -> Result<Option<&'t str>, Error> {
        let Some(node) = parent.get(key) else {
            return Ok(None);
        };
        match &node.value {
            Value::Scalar { text, .. } if text.len() <= limits::TEXT_BYTES_MAX => {
                Ok(Some(text.as_str()).filter(|text| !text.is_empty()))
            }
            _ => Err(self.wrong(node, field, "a text")),
        }
    }

    pub(crate) fn boolean(
        &self,
        parent: &Node,
        key: &str,
        field: &str,
    ) -> Result<Option<bool>, Error> {
        match parent.get(key).map(|node| (node, &node.value)) {
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

    pub(crate) fn wrong(&self, node: &Node, field: &str, expected: &'static str) -> Error {
        Error::WrongType {
            name: node.template.to_string(),
            line: node.line,
            field: field.to_owned(),
            expected,
            found: node.value.kind(),
        }
    }
}
