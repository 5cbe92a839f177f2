//! The text that is cut: its lines, its quotes, and where things end in it.
//! It must not know what the text says.

use std::ops::Range;

use crate::tree::{Entry, Node, Value};

/// The text of a template, without a byte order mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'t> {
    text: &'t str,
}

/// A range of the text and what comes in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) range: Range<usize>,
    pub(super) new: String,
}

/// How a scalar is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    Plain,
    Single,
    Double,
}

impl Quotes {
    /// `text` in these quotes. Plain only what cannot be anything but a text; the result is read again in any case.
    pub(super) fn around(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Single => format!("'{}'", text.replace('\'', "''")),
            Self::Double => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        }
    }
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Source { text }
    }

    /// A piece of the text; nothing if there is no such piece.
    pub(super) fn piece(&self, range: Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or_default()
    }

    /// The line, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.piece(0..at).matches('\n').count() + 1
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        self.piece(0..at).rfind('\n').map_or(0, |end| end + 1)
    }

    /// What is in front of this place in its line.
    pub(super) fn before(&self, at: usize) -> &'t str {
        self.piece(self.line_start(at)..at)
    }

    /// The rest of the line behind this place, without its end.
    pub(super) fn rest_of_line(&self, at: usize) -> &'t str {
        let rest = self.piece(at..self.text.len());
        rest.split('\n')
            .next()
            .unwrap_or(rest)
            .trim_end_matches('\r')
    }

    /// The end of this line as the text writes it; where it is the last one and has none, that of the others.
    pub(super) fn line_end(&self, at: usize) -> &'static str {
        let rest = self.piece(at..self.text.len());
        let line = match rest.find('\n') {
            Some(end) => &rest[..end],
            None => self.text.lines().next().unwrap_or_default(),
        };
        let ends_in_cr = |line: &str| line.ends_with('\r');
        let is_last = !rest.contains('\n');
        if ends_in_cr(line) || is_last && self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    /// Where the next line begins; `None` in the last one.
    pub(super) fn next_line(&self, at: usize) -> Option<usize> {
        let rest = self.piece(at..self.text.len());
        rest.find('\n').map(|end| at + end + 1)
    }

    pub(super) fn end(&self) -> usize {
        self.text.len()
    }

    pub(super) fn starts_with(&self, at: usize, c: char) -> bool {
        self.piece(at..self.text.len()).starts_with(c)
    }

    /// How a scalar is quoted, by its span.
    pub(super) fn quotes(&self, node: &Node) -> Quotes {
        let piece = node.span.clone().map_or("", |span| self.piece(span));
        match piece.chars().next() {
            Some('"') => Quotes::Double,
            Some('\'') => Quotes::Single,
            _ => Quotes::Plain,
        }
    }

    /// Where the value of an entry ends: behind the scalar, the closing bracket, or the last value of a block. `None`
    /// where the text is not as expected.
    pub(super) fn end_of(&self, entry: &Entry) -> Option<usize> {
        let colon = self.behind_colon(entry)?;
        self.end_of_node(&entry.value, colon)
    }

    /// Behind the colon of a key.
    pub(super) fn behind_colon(&self, entry: &Entry) -> Option<usize> {
        let end = entry.span.as_ref()?.end;
        let rest = self.piece(end..self.text.len());
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        rest[blanks..].starts_with(':').then_some(end + blanks + 1)
    }

    fn end_of_node(&self, node: &Node, at_least: usize) -> Option<usize> {
        let span = node.span.clone()?;
        if node.is_alias {
            return Some(span.end);
        }
        let inner = match &node.value {
            Value::Null if span.start < at_least || self.piece(span.clone()).trim().is_empty() => {
                return Some(at_least);
            }
            // A block of text reaches to the beginning of what follows.
            Value::Null | Value::Scalar { .. } => {
                let piece = self.piece(span.clone());
                return Some(span.start + piece.trim_end().len());
            }
            Value::List(items) => items.last().map(|item| self.end_of_node(item, span.end)),
            Value::Map(entries) => {
                let own = entries.iter().rfind(|entry| !is_merged(entry));
                own.map(|entry| self.end_of(entry))
            }
        };
        let inner = match inner {
            Some(end) => end?,
            None => span.end,
        };
        match self.piece(span.start..self.text.len()).chars().next()? {
            '{' => self.behind_bracket(inner.max(span.end), '}'),
            '[' => self.behind_bracket(inner.max(span.end), ']'),
            _ => Some(inner),
        }
    }

    /// Behind the next closing bracket, with nothing but blanks, commas and comments before it.
    fn behind_bracket(&self, from: usize, bracket: char) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = self.piece(at..self.text.len());
            let skipped = rest.trim_start_matches([' ', '\t', '\r', '\n', ',']);
            at += rest.len() - skipped.len();
            if skipped.starts_with('#') {
                at = self.next_line(at)?;
                continue;
            }
            return skipped.starts_with(bracket).then_some(at + 1);
        }
    }

    /// The text with these cuts; those at the same place in the order given. The error is where two of them overlap.
    pub(super) fn with(&self, mut cuts: Vec<Cut>) -> Result<String, usize> {
        cuts.sort_by_key(|cut| cut.range.start);
        let (mut out, mut at) = (String::with_capacity(self.text.len()), 0);
        for cut in cuts {
            if cut.range.start < at {
                return Err(cut.range.start);
            }
            out.push_str(self.piece(at..cut.range.start));
            out.push_str(&cut.new);
            at = cut.range.end;
        }
        out.push_str(self.piece(at..self.text.len()));
        Ok(out)
    }
}

/// Whether an entry is not written here but comes from a merged mapping (`<<: *x`).
pub(super) fn is_merged(entry: &Entry) -> bool {
    entry.value.is_alias && entry.span == entry.value.span
}
