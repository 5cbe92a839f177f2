//! YAML text into a tree that remembers its lines, within fixed budgets.
//! It must not know what a template means.
//!
//! Scalars keep the text of the source: a CID made of digits only is a text here, not a number.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::error::Error;
use crate::limits;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The line, from 1, where it is used.
    pub line: usize,
    /// The template that it comes from, as messages call it.
    pub template: Arc<str>,
    /// Where it stands in the text, without a byte order mark, in bytes: of a scalar all of it with its quotes, of a
    /// list or a mapping only the start counts.
    pub(crate) span: Option<Range<usize>>,
    /// It stands elsewhere: here is an alias of it.
    pub(crate) is_alias: bool,
}

/// The value itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A scalar.
    Scalar {
        /// As written.
        text: String,
        /// Its value, if it is a plain YAML boolean.
        boolean: Option<bool>,
    },
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the source; the parser has refused keys that come twice.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Line of the key, from 1.
    pub line: usize,
    /// Where the key stands, as `Node::span`.
    pub(crate) span: Option<Range<usize>>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// A value that stands nowhere as it is: it was made of what stands at this place.
    pub(crate) fn made(value: Value, line: usize, template: &Arc<str>) -> Self {
        Node {
            value,
            line,
            template: Arc::clone(template),
            span: None,
            is_alias: false,
        }
    }

    /// The value of a key of a mapping, unless it is absent or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        (!matches!(entry.value.value, Value::Null)).then_some(&entry.value)
    }

    /// The text of a scalar that is not empty.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text.as_str()).filter(|text| !text.is_empty()),
            _ => None,
        }
    }

    /// The items of a list; nothing, if it is none.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
}

impl Entry {
    /// An entry that stands nowhere as it is.
    pub(crate) fn made(key: &str, value: Node) -> Self {
        Entry {
            key: key.to_owned(),
            line: value.line,
            span: None,
            value,
        }
    }
}

impl Value {
    /// What it is, for messages of the form "must be X, not Y".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar {
                boolean: Some(_), ..
            } => "a boolean",
            Self::Scalar { text, .. } if text.len() > limits::TEXT_BYTES_MAX => "a long text",
            Self::Scalar { .. } => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads one YAML document.
///
/// # Errors
/// `TooBig`, or `Yaml` with position and excerpt: syntax, doubled keys, exceeded budgets.
pub(crate) fn read(text: &str, name: &str) -> Result<Node, Error> {
    if text.len() > limits::TEMPLATE_SIZE_BYTES_MAX {
        return Err(Error::TooBig {
            name: name.to_owned(),
            size: text.len(),
            max: limits::TEMPLATE_SIZE_BYTES_MAX,
        });
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| yaml_error(&error, text, name))?;
    Ok(finish(raw, text, &name.into()))
}

/// Comments are not collected: a long block of them, as Lima's default template has, would hit a budget of its own.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits::YAML_DEPTH_COUNT_MAX,
            flow_nesting_limit: limits::YAML_DEPTH_COUNT_MAX,
            max_nodes: limits::YAML_NODES_COUNT_MAX,
            max_aliases: limits::YAML_ALIASES_COUNT_MAX,
            max_anchors: limits::YAML_ALIASES_COUNT_MAX,
            max_recorded_anchor_events: limits::YAML_REPLAYED_COUNT_MAX,
            max_recorded_anchor_bytes: limits::YAML_ANCHORED_BYTES_MAX,
            max_merge_keys: limits::YAML_ALIASES_COUNT_MAX,
            max_total_scalar_bytes: limits::YAML_TEXT_BYTES_MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: limits::YAML_REPLAYED_COUNT_MAX,
            max_replay_stack_depth: limits::YAML_ALIAS_DEPTH_COUNT_MAX,
        },
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        emit_comments: false,
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        with_snippet: false,
    }
}

/// What serde hands over; numbers and booleans are cut out of the source afterwards.
enum Raw {
    Null,
    Text(String),
    Cut {
        boolean: Option<bool>,
        otherwise: String,
    },
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl RawVisitor {
    fn cut(shown: &dyn fmt::Display) -> Raw {
        Raw::Cut {
            boolean: None,
            otherwise: shown.to_string(),
        }
    }
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Cut {
            boolean: Some(value),
            otherwise: value.to_string(),
        })
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Self::cut(&value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Self::cut(&value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Self::cut(&value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Raw, E> {
        Err(E::custom("binary values are not supported"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Raw>>()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = items.next_key::<Spanned<String>>()? {
            if key.value.len() > limits::TEXT_BYTES_MAX {
                return Err(A::Error::custom("a key is too long"));
            }
            let value = items.next_value::<Spanned<Raw>>()?;
            map.push((key, value));
        }
        Ok(Raw::Map(map))
    }
}

/// The depth of recursion is that of the document, which the budget bounds.
fn finish(raw: Spanned<Raw>, text: &str, template: &Arc<str>) -> Node {
    let line = line_of(&raw.referenced);
    let span = span_of(&raw.referenced);
    let is_alias = raw.referenced != raw.defined;
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Scalar {
            text,
            boolean: None,
        },
        Raw::Cut { boolean, otherwise } => {
            let text = source_of(&raw.defined, text).map_or(otherwise, str::to_owned);
            Value::Scalar { text, boolean }
        }
        Raw::List(list) => Value::List(
            list.into_iter()
                .map(|item| finish(item, text, template))
                .collect(),
        ),
        Raw::Map(map) => Value::Map(
            map.into_iter()
                .map(|(key, value)| Entry {
                    line: line_of(&key.referenced),
                    span: span_of(&key.referenced),
                    key: key.value,
                    value: finish(value, text, template),
                })
                .collect(),
        ),
    };
    Node {
        value,
        line,
        span,
        is_alias,
        template: Arc::clone(template),
    }
}

fn span_of(location: &Location) -> Option<Range<usize>> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let len = usize::try_from(span.byte_len()?).ok()?;
    Some(start..start.checked_add(len)?)
}

fn line_of(location: &Location) -> usize {
    usize::try_from(location.line())
        .unwrap_or(usize::MAX)
        .max(1)
}

/// The scalar as it stands in the source, if its span says where and it is short enough to be a number.
fn source_of<'t>(location: &Location, text: &'t str) -> Option<&'t str> {
    let cut = text.get(span_of(location)?)?.trim();
    (!cut.is_empty() && cut.len() <= limits::TEXT_BYTES_MAX).then_some(cut)
}

fn yaml_error(error: &serde_saphyr::Error, text: &str, name: &str) -> Error {
    let location = error.location().filter(|at| at.line() > 0);
    let line = location.map(|at| line_of(&at));
    let column = location
        .and_then(|at| usize::try_from(at.column()).ok())
        .filter(|column| *column > 0);
    Error::Yaml {
        name: name.to_owned(),
        line,
        column,
        reason: reason_of(error),
        excerpt: line
            .map(|line| excerpt(text, line, column))
            .unwrap_or_default(),
    }
}

/// The parser's words without the position, which the message gives itself; our own words where the parser's speak of
/// its options.
fn reason_of(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    use serde_saphyr::budget::BudgetBreach;

    let error = error.without_snippet();
    match error {
        E::DuplicateMappingKey { key: Some(key), .. } => {
            let key: String = key
                .chars()
                .filter(|c| !c.is_control())
                .take(limits::EXCERPT_CHARS_MAX)
                .collect();
            return format!("the key `{key}` comes twice");
        }
        E::DuplicateMappingKey { .. } => return "a key comes twice".to_owned(),
        E::MultipleDocuments { .. } => return "more than one document".to_owned(),
        E::RecursiveReferencesRequireWeakTypes { .. } => {
            return "an alias that contains itself".to_owned();
        }
        E::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => return "nested too deeply".to_owned(),
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. } => {
            return "too many entries, anchors or aliases".to_owned();
        }
        _ => {}
    }
    let shown = error.to_string();
    let first = shown.lines().next().unwrap_or_default();
    let cut = first.rfind(" at line ").map_or(first, |at| &first[..at]);
    match cut.trim_end_matches([':', ',', ' ']) {
        "recursion limit exceeded" => "nested too deeply".to_owned(),
        reason => reason.to_owned(),
    }
}

/// One line of the source, shortened around the column, and a caret below the column.
fn excerpt(text: &str, line: usize, column: Option<usize>) -> String {
    let Some(source) = text.lines().nth(line - 1) else {
        return String::new();
    };
    let at = column.map_or(0, |column| column - 1);
    let from = at.saturating_sub(limits::EXCERPT_CHARS_MAX / 2);
    let shown: String = source
        .chars()
        .skip(from)
        .take(limits::EXCERPT_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let margin = line.to_string();
    let shown = format!("{margin} | {}", shown.trim_end());
    if column.is_none() {
        return shown;
    }
    format!(
        "{shown}\n{} | {}^",
        " ".repeat(margin.len()),
        " ".repeat(at - from)
    )
}

/// A tree in one line, in YAML's flow style, for tests of what becomes of it.
#[cfg(test)]
pub(crate) fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Scalar { text, .. } => text.clone(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(flow).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}: {}", entry.key, flow(&entry.value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(node: &Node) -> String {
        match &node.value {
            Value::Null => format!("{}:null", node.line),
            Value::Scalar {
                text,
                boolean: Some(b),
            } => format!("{}:{text}={b}", node.line),
            Value::Scalar {
                text,
                boolean: None,
            } => format!("{}:{text:?}", node.line),
            Value::List(list) => {
                format!("[{}]", list.iter().map(dump).collect::<Vec<_>>().join(" "))
            }
            Value::Map(map) => {
                let entries: Vec<String> = map
                    .iter()
                    .map(|e| format!("{}@{}:{}", e.key, e.line, dump(&e.value)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn text_of_the_source_is_kept_with_its_line() {
        let cases = [
            (
                "a: 1\nb: 0x10\nc: 1_000.50\n",
                r#"{a@1:1:"1" b@2:2:"0x10" c@3:3:"1_000.50"}"#,
            ),
            (
                "a: true\nb: \"true\"\nc: yes\n",
                r#"{a@1:1:true=true b@2:2:"true" c@3:3:"yes"}"#,
            ),
            (
                "# c\n---\na:\n- x\n-\n- ~\n",
                r#"{a@3:[4:"x" 5:null 6:null]}"#,
            ),
            (
                "a: 98765432109876543210987654321\n",
                r#"{a@1:1:"98765432109876543210987654321"}"#,
            ),
            ("a: 1e999\nb: .inf\n", r#"{a@1:1:"1e999" b@2:2:".inf"}"#),
            ("ä: ü\nb: 0012\n", r#"{ä@1:1:"ü" b@2:2:"0012"}"#),
            ("a: &x 12.0\nb: *x\n", r#"{a@1:1:"12.0" b@2:2:"12.0"}"#),
            ("\u{feff}a: 12.0\n", r#"{a@1:1:"12.0"}"#),
            (
                "a: |\n  x\n  y\nb: >-\n  z\n",
                r#"{a@1:2:"x\ny\n" b@4:5:"z"}"#,
            ),
            (
                "x: &x {k: 1}\ny:\n  <<: *x\n  l: 2\n",
                r#"{x@1:{k@1:1:"1"} y@2:{l@4:4:"2" k@3:3:"1"}}"#,
            ),
            ("", "1:null"),
        ];
        for (text, expected) in cases {
            let node = read(text, "t").unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(dump(&node), expected, "{text:?}");
        }
    }

    #[test]
    fn spans_cut_scalars_and_keys_out_of_the_source() {
        let text = "\u{feff}x: &x {k: 1}\nl:\n- ä: \"b\"  # c\n  'c': *x\n  d: &d e f\n- <<: *x\n";
        let root = read(text, "t").expect("valid");
        let source = text.trim_start_matches('\u{feff}');
        let cut = |span: &Option<Range<usize>>| span.clone().map(|span| source[span].to_owned());
        let Value::Map(top) = &root.value else {
            panic!("a mapping")
        };
        let Value::List(items) = &top[1].value.value else {
            panic!("a list")
        };
        let mut found = Vec::new();
        for item in items {
            let Value::Map(entries) = &item.value else {
                panic!("a mapping")
            };
            for entry in entries {
                found.extend(
                    [cut(&entry.span), cut(&entry.value.span)].map(Option::unwrap_or_default),
                );
            }
        }
        let expected = [
            "ä", "\"b\"", "'c'", "*x", "d", "e f", // `c` is an alias,
            "*x", "*x", // and `k` of the second item comes from a merged mapping.
        ];
        assert_eq!(found, expected);
        let aliases: Vec<bool> = items
            .iter()
            .flat_map(|item| match &item.value {
                Value::Map(entries) => entries.iter().map(|entry| entry.value.is_alias).collect(),
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(aliases, [false, true, false, true]);
    }

    #[test]
    fn long_texts_are_kept_whole() {
        let long = "x".repeat(limits::TEXT_BYTES_MAX + 1);
        let root = read(&format!("a: {long}\n"), "t").expect("valid");
        let node = root.get("a").expect("a value");
        assert_eq!(node.text(), Some(long.as_str()));
        assert_eq!(node.value.kind(), "a long text");
        let script = "#!/bin/sh\necho a\n\n  echo b\n".repeat(1000);
        let indented: String = script.lines().map(|line| format!("  {line}\n")).collect();
        let root = read(&format!("a: |\n{indented}"), "t").expect("valid");
        assert_eq!(root.get("a").and_then(Node::text), Some(script.as_str()));
    }
}
