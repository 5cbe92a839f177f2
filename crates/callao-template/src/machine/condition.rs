//! The conditions that Lima's templates ask for in `{{if ...}}`: a name, `not`, `and`, `or`, `eq`, `ne`, and parentheses,
//! with the meaning of Go's `text/template`. It must not know what depends on them.

use super::braces::{literal_of, path_of};
use super::expand::Names;
use crate::limits;

/// Why a condition is neither true nor false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A name that stands for nothing.
    Unknown,
    /// Anything that is not understood here.
    Foreign,
}

/// What a part of a condition stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer<'c> {
    Text(&'c str),
    Truth(bool),
}

impl Answer<'_> {
    /// An empty text is not true; any other is, `false` as a text as well.
    fn holds(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Truth(truth) => *truth,
        }
    }
}

/// Whether a condition is true.
pub(super) fn holds(text: &str, names: &Names<'_>) -> Result<bool, Fault> {
    let mut rest = text;
    let answer = expression(&mut rest, names, 0)?;
    if rest.is_empty() {
        Ok(answer.holds())
    } else {
        Err(Fault::Foreign)
    }
}

/// A function with its operands, or one operand, up to the end or to a closing parenthesis.
fn expression<'c>(
    rest: &mut &'c str,
    names: &'c Names<'_>,
    depth: usize,
) -> Result<Answer<'c>, Fault> {
    let start = *rest;
    let function = word(rest);
    let is_function = matches!(function, "and" | "or" | "not" | "eq" | "ne");
    if !is_function {
        *rest = start;
    }
    let mut operands = Vec::new();
    while !rest.is_empty() && !rest.starts_with(')') {
        operands.push(operand(rest, names, depth)?);
    }
    let truth = match (is_function.then_some(function), operands.as_slice()) {
        (None, [one]) => return Ok(one.clone()),
        (Some("not"), [one]) => !one.holds(),
        (Some("and"), [_, ..]) => operands.iter().all(Answer::holds),
        (Some("or"), [_, ..]) => operands.iter().any(Answer::holds),
        (Some("eq"), [first, others @ ..]) if comparable(first, others) => others.contains(first),
        (Some("ne"), [first, others @ ..]) if others.len() == 1 && comparable(first, others) => {
            !others.contains(first)
        }
        _ => return Err(Fault::Foreign),
    };
    Ok(Answer::Truth(truth))
}

/// Go refuses to compare a text with a truth.
fn comparable(first: &Answer<'_>, others: &[Answer<'_>]) -> bool {
    let kind = std::mem::discriminant(first);
    !others.is_empty()
        && others
            .iter()
            .all(|other| std::mem::discriminant(other) == kind)
}

fn operand<'c>(
    rest: &mut &'c str,
    names: &'c Names<'_>,
    depth: usize,
) -> Result<Answer<'c>, Fault> {
    if let Some(inside) = rest.strip_prefix('(') {
        if depth == limits::CONDITION_DEPTH_MAX {
            return Err(Fault::Foreign);
        }
        *rest = inside.trim_start();
        let answer = expression(rest, names, depth + 1)?;
        *rest = rest.strip_prefix(')').ok_or(Fault::Foreign)?.trim_start();
        return Ok(answer);
    }
    match word(rest) {
        "true" => Ok(Answer::Truth(true)),
        "false" => Ok(Answer::Truth(false)),
        word => match (literal_of(word), path_of(word)) {
            (Some(literal), _) => Ok(Answer::Text(literal)),
            (None, Some(path)) => names.get(path).map(Answer::Text).ok_or(Fault::Unknown),
            (None, None) => Err(Fault::Foreign),
        },
    }
}

/// The next word, or quoted text with its quotes; what follows it is left, without white space.
fn word<'c>(rest: &mut &'c str) -> &'c str {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '`'));
    let end = match quote {
        Some(quote) => rest[1..].find(quote).map_or(rest.len(), |at| at + 2),
        None => rest
            .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '`'))
            .unwrap_or(rest.len()),
    };
    let (word, after) = rest.split_at(end);
    *rest = after.trim_start();
    word
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn param() -> BTreeMap<String, String> {
        let pairs = [("url", "x"), ("token", ""), ("no", "false")];
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn conditions_mean_what_they_mean_in_go() {
        let param = param();
        let names = Names::of_params(&param);
        let cases = [
            (".Param.url", Ok(true)),
            (".Param.token", Ok(false)),
            (".Param.no", Ok(true)),
            ("true", Ok(true)),
            ("(false)", Ok(false)),
            ("\"\"", Ok(false)),
            ("not .Param.token", Ok(true)),
            ("not ( and .Param.url .Param.token )", Ok(true)),
            ("not (or .Param.url .Param.token)", Ok(false)),
            ("and (not .Param.token) .Param.url", Ok(true)),
            ("eq .Param.url \"x\"", Ok(true)),
            ("eq .Param.url `y` \"x\"", Ok(true)),
            ("eq .Param.url \"a b)\"", Ok(false)),
            ("ne .Param.url \"x\"", Ok(false)),
            ("eq (eq .Param.url \"x\") true", Ok(true)),
            ("((((true))))", Ok(true)),
            (".Param.other", Err(Fault::Unknown)),
            ("or .Param.url .User", Err(Fault::Unknown)),
            ("", Err(Fault::Foreign)),
            ("not", Err(Fault::Foreign)),
            ("and", Err(Fault::Foreign)),
            ("not true true", Err(Fault::Foreign)),
            ("eq .Param.url", Err(Fault::Foreign)),
            ("eq .Param.url true", Err(Fault::Foreign)),
            ("ne \"a\" \"b\" \"c\"", Err(Fault::Foreign)),
            (".Param.url .Param.url", Err(Fault::Foreign)),
            ("(true", Err(Fault::Foreign)),
            ("true)", Err(Fault::Foreign)),
            ("()", Err(Fault::Foreign)),
            ("\"a", Err(Fault::Foreign)),
            ("len .Param.url", Err(Fault::Foreign)),
            ("$x", Err(Fault::Foreign)),
            (".Param.url | not", Err(Fault::Foreign)),
        ];
        for (text, expected) in cases {
            assert_eq!(holds(text, &names), expected, "{text}");
        }
    }

    #[test]
    fn parentheses_are_not_followed_for_ever() {
        let param = param();
        let names = Names::of_params(&param);
        let nested = |depth| format!("{}true{}", "(".repeat(depth), ")".repeat(depth));
        assert_eq!(
            holds(&nested(limits::CONDITION_DEPTH_MAX), &names),
            Ok(true)
        );
        assert_eq!(holds(&nested(100_000), &names), Err(Fault::Foreign));
    }
}
