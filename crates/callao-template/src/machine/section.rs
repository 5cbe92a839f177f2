//! A mapping of the template together with what messages call it: fields by key, typed, with errors that name the place.
//! It must not know what a field means.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::sizes::size;
use crate::error::Error;
use crate::limits;
use crate::parse::Reader;
use crate::tree::{Node, Value};
use crate::validate::shown;

/// A mapping, or nothing where one may be.
#[derive(Debug, Clone)]
pub(super) struct Section<'t> {
    node: Option<&'t Node>,
    /// The mapping around it, for the place of what is missing.
    around: &'t Node,
    path: String,
}

impl<'t> Section<'t> {
    /// The whole template.
    pub(super) fn top(root: &'t Node) -> Result<Self, Error> {
        Reader.map(root, "the template")?;
        Ok(Self::of(root, String::new()))
    }

    fn of(node: &'t Node, path: String) -> Self {
        Self {
            node: Some(node),
            around: node,
            path,
        }
    }

    /// The field of a key, as messages call it.
    pub(super) fn field(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// The value of a key, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&'t Node> {
        self.node.and_then(|node| node.get(key))
    }

    /// The mapping of a key; absent is empty.
    pub(super) fn section(&self, key: &str) -> Result<Self, Error> {
        let field = self.field(key);
        let Some(node) = self.get(key) else {
            return Ok(Self {
                node: None,
                around: self.around,
                path: field,
            });
        };
        Reader.map(node, &field)?;
        Ok(Self::of(node, field))
    }

    /// The mappings in the list of a key.
    pub(super) fn sections(&self, key: &str) -> Result<Vec<Self>, Error> {
        self.list(key, |node, field| {
            Reader.map(node, field)?;
            Ok(Self::of(node, field.to_owned()))
        })
    }

    /// The short texts in the list of a key.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<(&'t Node, &'t str)>, Error> {
        let Some(list) = self.get(key) else {
            return Ok(Vec::new());
        };
        self.list(key, |_, _| Ok(()))?;
        let each = |(index, node): (usize, &'t Node)| match &node.value {
            Value::Scalar { text, .. } => Ok((node, text.as_str())),
            _ => Err(Reader.wrong(node, &format!("{}[{index}]", self.field(key)), "a text")),
        };
        list.items().iter().enumerate().map(each).collect()
    }

    fn list<T>(
        &self,
        key: &str,
        each: impl Fn(&'t Node, &str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let field = self.field(key);
        let Some(node) = self.get(key) else {
            return Ok(Vec::new());
        };
        // The reader says what is wrong with the list; its entries live as long as the template.
        Reader.list(self.node.unwrap_or(self.around), key, &field, |_, _| Ok(()))?;
        let items = node.items().iter().enumerate();
        items
            .map(|(index, item)| each(item, &format!("{field}[{index}]")))
            .collect()
    }

    /// How many entries the list of a key has.
    pub(super) fn count(&self, key: &str) -> Result<usize, Error> {
        self.list(key, |_, _| Ok(())).map(|entries| entries.len())
    }

    /// Texts by free keys, in the order of the keys; null is empty.
    pub(super) fn mapping(&self, key: &str) -> Result<BTreeMap<String, String>, Error> {
        let field = self.field(key);
        let Some(node) = self.section(key)?.node else {
            return Ok(BTreeMap::new());
        };
        let Value::Map(entries) = &node.value else {
            return Ok(BTreeMap::new());
        };
        if entries.len() > limits::FILES_COUNT_MAX {
            return Err(Error::TooMany {
                name: node.template.to_string(),
                line: node.line,
                field,
                count: entries.len(),
                max: limits::FILES_COUNT_MAX,
            });
        }
        let each = |entry: &crate::tree::Entry| match &entry.value.value {
            Value::Null => Ok((entry.key.clone(), String::new())),
            Value::Scalar { text, .. } => Ok((entry.key.clone(), text.clone())),
            _ => {
                let field = format!("{field}.{}", shown(&entry.key));
                Err(Reader.wrong(&entry.value, &field, "a text"))
            }
        };
        entries.iter().map(each).collect()
    }

    /// A short text that is not empty.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'t str>, Error> {
        match self.node {
            Some(node) => Reader.text(node, key, &self.field(key)),
            None => Ok(None),
        }
    }

    /// A text of any length, such as a script.
    pub(super) fn long_text(&self, key: &str) -> Result<Option<&'t str>, Error> {
        match self.get(key).map(|node| (node, &node.value)) {
            None => Ok(None),
            Some((_, Value::Scalar { text, .. })) => Ok(Some(text)),
            Some((node, _)) => Err(Reader.wrong(node, &self.field(key), "a text")),
        }
    }

    /// A boolean, where it is said.
    pub(super) fn said(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.node {
            Some(node) => Reader.boolean(node, key, &self.field(key)),
            None => Ok(None),
        }
    }

    /// A boolean that is false unless it is said to be true.
    pub(super) fn is_set(&self, key: &str) -> Result<bool, Error> {
        Ok(self.said(key)?.unwrap_or(false))
    }

    /// A whole number.
    pub(super) fn number(
        &self,
        key: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        match text.parse().ok().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(self.bad(
                key,
                format!(
                    "must be a whole number from {} to {}, not `{}`",
                    range.start(),
                    range.end(),
                    shown(text)
                ),
            )),
        }
    }

    /// A size in bytes.
    pub(super) fn bytes(
        &self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let Some(bytes) = size(text) else {
            let reason = format!("must be a size such as `4GiB`, not `{}`", shown(text));
            return Err(self.bad(key, reason));
        };
        if bytes < *range.start() {
            return Err(self.bad(
                key,
                format!("must be at least {} bytes, not `{text}`", range.start()),
            ));
        }
        if bytes > *range.end() {
            return Err(self.bad(
                key,
                format!("must be at most {} bytes, not `{text}`", range.end()),
            ));
        }
        Ok(Some(bytes))
    }

    /// An IP address.
    pub(super) fn address(&self, key: &str) -> Result<Option<IpAddr>, Error> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let reason = || format!("must be an IP address, not `{}`", shown(text));
        text.parse().map(Some).map_err(|_| self.bad(key, reason()))
    }

    /// What is wrong with the value of a key; with that of the section itself, if the key is empty.
    pub(super) fn bad(&self, key: &str, reason: impl Into<String>) -> Error {
        let place = self.place(key);
        Error::BadField {
            name: place.template.to_string(),
            line: place.line,
            field: self.field(key),
            reason: reason.into(),
        }
    }

    /// What callao cannot do, whatever is said about it.
    pub(super) fn unsupported(&self, key: &str, help: &'static str) -> Error {
        self.unsupported_value(key, None, help)
    }

    /// A value that callao cannot do.
    pub(super) fn unsupported_value(
        &self,
        key: &str,
        value: Option<&str>,
        help: &'static str,
    ) -> Error {
        let place = self.place(key);
        Error::Unsupported {
            name: place.template.to_string(),
            line: place.line,
            field: self.field(key),
            value: value.map(shown),
            help,
        }
    }

    fn place(&self, key: &str) -> &'t Node {
        let own = self.node.unwrap_or(self.around);
        self.get(key).unwrap_or(own)
    }
}
