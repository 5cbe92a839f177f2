//! What can be wrong with a template, told with the line and the value that is wrong.
//! It must not know exit codes or how a message is shown.

use crate::model::{ARCHES, Arch};

/// Why a template cannot be used. Every variant carries the name under which the template was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is larger than limactl would read.
    #[error("template {name} has {size} bytes; a template has at most {max}")]
    TooBig {
        /// The template.
        name: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The text is not YAML, or is YAML made to exhaust its reader.
    #[error("template {name} is not usable YAML: {reason}{}{}", position(*.line, *.column), indented(.excerpt))]
    Yaml {
        /// The template.
        name: String,
        /// Line, from 1, where known.
        line: Option<usize>,
        /// Column in characters, from 1, where known.
        column: Option<usize>,
        /// What the parser says.
        reason: String,
        /// The faulty line with a caret below the column; empty if unknown.
        excerpt: String,
    },
    /// A value has another type than the field.
    #[error("template {name}, line {line}: {field} must be {expected}, not {found}")]
    WrongType {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field, such as `images[0].location`.
        field: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A file without a location.
    #[error("template {name}, line {line}: {field} has no location")]
    NoLocation {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The file, such as `images[0].kernel`.
        field: String,
    },
    /// A location that cannot name a file.
    #[error("template {name}, line {line}: {field} {reason}")]
    BadLocation {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// Why.
        reason: &'static str,
    },
    /// A digest that limactl would refuse as well.
    #[error("template {name}, line {line}: digest of {location}: {reason}: `{digest}`")]
    BadDigest {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The file that the digest belongs to.
        location: String,
        /// The text as it stands.
        digest: String,
        /// Why, in go-digest's words, followed by what would be right.
        reason: String,
    },
    /// A CID that cannot be read or that nothing can be verified with.
    #[error("template {name}, line {line}: cid of {location}: {reason}: `{cid}`")]
    BadCid {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The file that the CID belongs to.
        location: String,
        /// The text as it stands.
        cid: String,
        /// Why.
        reason: String,
    },
    /// An architecture that Lima does not have.
    #[error("template {name}, line {line}: {field}: {source}")]
    BadArch {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// The name that is not one.
        source: UnknownArch,
    },
    /// A kernel or initrd for another architecture than its image.
    #[error(
        "template {name}, line {line}: {field} is for {arch}, but its image {image} is for {image_arch}"
    )]
    ArchDiffers {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The file, such as `images[0].kernel`.
        field: String,
        /// Its architecture.
        arch: Arch,
        /// Location of the image.
        image: String,
        /// Architecture of the image.
        image_arch: Arch,
    },
    /// A locator in `base:` or `file:` that means nothing where it stands.
    #[error("template {name}, line {line}: {field} `{locator}` {reason}")]
    BadLocator {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field: `base`, or that of a script's file.
        field: String,
        /// The locator, shortened.
        locator: String,
        /// Why.
        reason: &'static str,
    },
    /// A base that leads back to itself.
    #[error("the bases of template {name} go round in a circle: {}", chained(.chain))]
    BaseLoop {
        /// The template that was given.
        name: String,
        /// From the template that comes again to where it comes again.
        chain: Vec<String>,
    },
    /// A base that was merged before, on another way.
    #[error(
        "template {name}, line {line}: base `{locator}` is merged already; limactl takes each base once"
    )]
    BaseTwice {
        /// The template that names it the second time.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The base.
        locator: String,
    },
    /// More bases, or deeper ones, than anybody needs.
    #[error(
        "template {name} has too many bases: at most {count_max}, nested at most {depth_max} deep, are read"
    )]
    TooManyBases {
        /// The template that was given.
        name: String,
        /// How many there may be.
        count_max: usize,
        /// How deep they may be.
        depth_max: usize,
    },
    /// A template and its bases are larger together than limactl would keep.
    #[error("template {name} and its bases have more than {max} bytes together")]
    TooBigTogether {
        /// The template that was given.
        name: String,
        /// The limit in bytes.
        max: usize,
    },
    /// Something that cannot be changed without changing more than that.
    #[error("template {name}, line {line}: {field} cannot be edited: {reason}")]
    NotEditable {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The file, such as `images[0]`.
        field: String,
        /// Why, and what would help.
        reason: &'static str,
    },
    /// A field that says what no machine can be.
    #[error("template {name}, line {line}: {field} {reason}")]
    BadField {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field, such as `mounts[0].mountPoint`.
        field: String,
        /// Why, and what would be right.
        reason: String,
    },
    /// Something that Lima can do and callao cannot.
    #[error("template {name}, line {line}: {field}{} is not supported: {help}", valued(.value.as_deref()))]
    Unsupported {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// The value, where it is the value that is not supported.
        value: Option<String>,
        /// What would help.
        help: &'static str,
    },
    /// An option of the command line that fits no machine, or not this one.
    #[error("{option} {reason}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Why, and what would be right.
        reason: String,
    },
    /// A list with an absurd number of entries.
    #[error("template {name}, line {line}: {field} has {count} entries; at most {max} are read")]
    TooMany {
        /// The template.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The list.
        field: String,
        /// Entries there are.
        count: usize,
        /// Entries allowed.
        max: usize,
    },
    /// Nothing to fetch in it.
    #[error("template {name} names no files: it has neither `images:` nor `archives:`")]
    NoFiles {
        /// The template.
        name: String,
    },
    /// Files, but none for the architecture asked for.
    #[error("template {name} has nothing for {arch}; it has {}", listed(.have))]
    NoEntryForArch {
        /// The template.
        name: String,
        /// The architecture asked for.
        arch: Arch,
        /// The architectures there are.
        have: Vec<Arch>,
    },
    /// Images for the architecture, but not of the variant asked for.
    #[error("template {name} has no image of {what} `{wanted}` for {arch}; it has {}", quoted(.have))]
    NoSuchVariant {
        /// The template.
        name: String,
        /// The architecture asked for.
        arch: Arch,
        /// `variant` or `archVariant`.
        what: &'static str,
        /// The one asked for.
        wanted: String,
        /// Those there are; an empty text stands for an image without one.
        have: Vec<String>,
    },
}

/// A name that is none of Lima's architectures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{arch}`; it is one of {}", listed(&ARCHES))]
pub struct UnknownArch {
    /// The name as given.
    pub arch: String,
}

fn position(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!(" at line {line}, column {column}"),
        (Some(line), None) => format!(" at line {line}"),
        _ => String::new(),
    }
}

fn indented(excerpt: &str) -> String {
    excerpt.lines().map(|line| format!("\n  {line}")).collect()
}

fn listed(arches: &[Arch]) -> String {
    arches
        .iter()
        .map(|arch| arch.name())
        .collect::<Vec<_>>()
        .join(", ")
}

fn valued(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!(" `{value}`"))
}

fn chained(chain: &[String]) -> String {
    chain.join(" -> ")
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| {
            if name.is_empty() {
                "none".to_owned()
            } else {
                format!("`{name}`")
            }
        })
        .collect();
    names.join(", ")
}
