//! Digests and CIDs into the text of a template: every byte that need not change stays, comments and quotes included.
//! It must not know where a digest comes from, nor where the text is kept.
//!
//! A change is a cut in the text at the byte spans that the tree remembers. What comes out is read again and compared
//! with what was meant, in all of its keys and values: an edit that would change anything else is refused.

use callao_content::cid;
use callao_content::digest::Digest;

use crate::error::Error;
use crate::model::Arch;
use crate::parse::Warning;
use crate::tree::{self, Node, Value};
use crate::{keys, limits};

mod insert;
mod listing;
mod meant;
mod set;
mod source;

use source::{Cut, Source};

/// A template as text, with the files that stand in it. Templates that it has as `base:` are not read.
#[derive(Debug)]
pub struct Document<'t> {
    name: &'t str,
    has_bom: bool,
    source: Source<'t>,
    root: Node,
    files: Vec<FileEntry>,
}

/// Which file of a template, by its place in the lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// `images[n]`.
    Image(usize),
    /// `images[n].kernel`.
    Kernel(usize),
    /// `images[n].initrd`.
    Initrd(usize),
    /// `containerd.archives[n]`.
    ContainerdArchive(usize),
    /// `archives[n]`, the top-level list of lima-vm/lima#2407.
    Archive(usize),
}

/// One file, as it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Which one.
    pub part: Part,
    /// Line, from 1.
    pub line: usize,
    /// `location:`, byte for byte.
    pub location: String,
    /// `arch:`, for a kernel and an initrd that of the image unless they have their own; `None` is any.
    pub arch: Option<Arch>,
    /// `digest:`.
    pub digest: Option<Digest>,
    /// `cid:`.
    pub cid: Option<cid::Cid>,
    /// `variant:` of an image.
    pub variant: Option<String>,
    /// `archVariant:` of an image.
    pub arch_variant: Option<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `digest:` of a file is this.
    Digest(Part, Digest),
    /// `cid:` of a file is this.
    Cid(Part, cid::Cid),
    /// In front of this entry of a list comes another one, which differs in its location and has no `cid:`.
    InFront(Part, String),
}

impl Part {
    /// As messages name it.
    #[must_use]
    pub fn field(self) -> String {
        match self {
            Self::Image(n) => format!("images[{n}]"),
            Self::Kernel(n) => format!("images[{n}].kernel"),
            Self::Initrd(n) => format!("images[{n}].initrd"),
            Self::ContainerdArchive(n) => format!("containerd.archives[{n}]"),
            Self::Archive(n) => format!("archives[{n}]"),
        }
    }

    /// Keys and index that lead to it from the top: of its list, in the list, and in the entry.
    fn path(self) -> (&'static [&'static str], usize, Option<&'static str>) {
        match self {
            Self::Image(n) => (&["images"], n, None),
            Self::Kernel(n) => (&["images"], n, Some("kernel")),
            Self::Initrd(n) => (&["images"], n, Some("initrd")),
            Self::ContainerdArchive(n) => (&["containerd", "archives"], n, None),
            Self::Archive(n) => (&["archives"], n, None),
        }
    }
}

impl<'t> Document<'t> {
    /// Reads a template. `name` is how messages call it; nothing is opened.
    ///
    /// # Errors
    /// Not YAML, too big, or a file that is wrong.
    pub fn read(text: &'t str, name: &'t str) -> Result<Self, Error> {
        let root = tree::read(text, name)?;
        let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
        let files = listing::files(&root, name)?;
        Ok(Document {
            name,
            has_bom: bare.len() < text.len(),
            source: Source::new(bare),
            root,
            files,
        })
    }

    /// The files that stand in this text, in the order of their lists: images with kernel and initrd, archives.
    #[must_use]
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Whether it names other templates, whose files are not in this text.
    #[must_use]
    pub fn has_base(&self) -> bool {
        let Value::Map(entries) = &self.root.value else {
            return false;
        };
        let base = entries.iter().find(|entry| entry.key == "base");
        base.is_some_and(|base| match &base.value.value {
            Value::Null => false,
            Value::Scalar { text, .. } => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(_) => true,
        })
    }

    /// Unknown keys, in the order of the text.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        keys::unknown(&self.root)
    }

    /// The text with these changes and no others.
    ///
    /// # Errors
    /// `NotEditable`: an entry behind an alias, a value from a merged mapping, and whatever else cannot be changed on its
    /// own.
    pub fn apply(&self, changes: &[Change]) -> Result<String, Error> {
        let (fronts, values): (Vec<_>, Vec<_>) = changes
            .iter()
            .cloned()
            .partition(|change| matches!(change, Change::InFront(..)));
        let text = self.cut(&values)?;
        if fronts.is_empty() {
            return Ok(text);
        }
        // New entries repeat the digests that have just been written.
        Document::read(&text, self.name)?.cut(&fronts)
    }

    fn cut(&self, changes: &[Change]) -> Result<String, Error> {
        let mut cuts: Vec<Cut> = Vec::new();
        for change in changes {
            cuts.push(match change {
                Change::Digest(part, digest) => {
                    set::value(self, *part, "digest", &digest.to_string())?
                }
                Change::Cid(part, cid) => set::value(self, *part, "cid", &cid::text(cid))?,
                Change::InFront(part, location) => insert::in_front(self, *part, location)?,
            });
        }
        let bare = self.source.with(cuts).map_err(|at| {
            let line = self.source.line_of(at);
            self.refusal(line, "the template", "two changes meet in one place")
        })?;
        meant::check(self, changes, &bare)?;
        let bom = if self.has_bom { "\u{feff}" } else { "" };
        Ok(format!("{bom}{bare}"))
    }

    /// The mapping of a file, and the list that it is in.
    fn find(&self, part: Part) -> Result<(&Node, &Node), Error> {
        let (keys, index, inner) = part.path();
        let none = || self.refusal(1, &part.field(), "there is no such entry");
        let mut list = &self.root;
        for key in keys {
            list = child(list, key).ok_or_else(none)?;
        }
        let Value::List(items) = &list.value else {
            return Err(none());
        };
        let mut node = items.get(index).ok_or_else(none)?;
        if let Some(key) = inner {
            node = child(node, key).ok_or_else(none)?;
        }
        if node.is_alias || list.is_alias {
            let why = "it is an alias; write the entry itself in its place";
            return Err(self.refusal(node.line, &part.field(), why));
        }
        Ok((node, list))
    }

    fn refusal(&self, line: usize, field: &str, reason: &'static str) -> Error {
        Error::NotEditable {
            name: self.name.to_owned(),
            line: line.max(1),
            field: field.chars().take(limits::EXCERPT_CHARS_MAX).collect(),
            reason,
        }
    }
}

fn child<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    entries
        .iter()
        .find(|entry| entry.key == key)
        .map(|entry| &entry.value)
}
