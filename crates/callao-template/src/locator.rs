//! Where templates are: what a locator means, and relative ones made absolute (`pkg/limatmpl/locator.go` and `abs.go`
//! of Lima v2.2). It must not know whether anything is there, nor where this computer's directories are.

/// What a locator of a template means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// `template:NAME`: looked for in the directories of templates.
    Named {
        /// `NAME`, such as `_images/ubuntu`.
        name: String,
        /// Written as `template://NAME`, which Lima has left behind.
        old_form: bool,
    },
    /// `http://` or `https://`.
    Http,
    /// `file://` with this path.
    File(String),
    /// `-`: the standard input.
    Stdin,
    /// Any other scheme, in lower case: a plugin may know it.
    Custom {
        /// The scheme.
        scheme: String,
        /// What follows `scheme:`, which is what a plugin is given.
        rest: String,
    },
    /// A path, perhaps with `~/` in front.
    Path,
}

impl Locator {
    /// Reads a locator.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if text == "-" {
            return Self::Stdin;
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return Self::Path;
        };
        match scheme.as_str() {
            "template" if rest.starts_with('/') || rest.is_empty() => Self::Named {
                name: clean(rest.trim_start_matches('/')),
                old_form: true,
            },
            "template" => Self::Named {
                name: rest.to_owned(),
                old_form: false,
            },
            "http" | "https" => Self::Http,
            "file" => Self::File(rest.strip_prefix("//").unwrap_or(rest).to_owned()),
            _ => Self::Custom {
                scheme,
                rest: rest.to_owned(),
            },
        }
    }
}

/// Scheme in lower case, and what follows the colon. A single letter is no scheme but a drive.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// The locator that `text` means in the template that was read from `of`. Absolute ones stay as they are; relative ones
/// are looked for beside the template, never above it.
///
/// # Errors
/// Why it means nothing there: a fragment that follows the locator.
pub fn absolute(text: &str, of: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.chars().any(char::is_control) {
        return Err("contains a control character");
    }
    if split_scheme(text).is_some() || text == "~" || text.starts_with("~/") {
        return Ok(text.to_owned());
    }
    if text.starts_with('/') {
        return Ok(clean(text));
    }
    if of == "-" {
        return Err("is relative, and a template on stdin is nowhere");
    }
    if text.contains("../") || text.contains("..\\") {
        return Err("leads out of the directory of its template with `..`");
    }
    let Some((scheme, rest)) = split_scheme(of) else {
        return Ok(clean(&format!("{}/{text}", directory(of))));
    };
    match rest.strip_prefix("//") {
        Some(place) if scheme != "template" => {
            let place = place.split(['?', '#']).next().unwrap_or(place);
            let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
            let joined = clean(&format!("/{}/{text}", directory(path)));
            Ok(format!("{scheme}://{host}{joined}"))
        }
        _ => {
            let beside = directory(rest.trim_start_matches('/'));
            let joined = clean(&format!("{beside}/{text}"));
            Ok(format!("{scheme}:{}", joined.trim_start_matches('/')))
        }
    }
}

/// Everything before the last slash; nothing, if there is none.
fn directory(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

/// The path without `.`, doubled slashes and what `..` takes back.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            _ => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_recognised() {
        let named = |name: &str, old_form| Locator::Named {
            name: name.to_owned(),
            old_form,
        };
        let custom = |scheme: &str, rest: &str| Locator::Custom {
            scheme: scheme.to_owned(),
            rest: rest.to_owned(),
        };
        let cases = [
            ("template:ubuntu", named("ubuntu", false)),
            ("template:_images/ubuntu", named("_images/ubuntu", false)),
            (
                "template://experimental/vnc",
                named("experimental/vnc", true),
            ),
            ("TEMPLATE:x", named("x", false)),
            ("http://h/t.yaml", Locator::Http),
            ("HTTPS://h/t.yaml", Locator::Http),
            ("file:///d/t.yaml", Locator::File("/d/t.yaml".into())),
            ("file:t.yaml", Locator::File("t.yaml".into())),
            ("-", Locator::Stdin),
            ("ipfs://bafy/t.yaml", custom("ipfs", "//bafy/t.yaml")),
            ("ipfs:bafy", custom("ipfs", "bafy")),
            ("github:lima-vm", custom("github", "lima-vm")),
            ("t.yaml", Locator::Path),
            ("/d/t.yaml", Locator::Path),
            ("~/t.yaml", Locator::Path),
            ("c:/t.yaml", Locator::Path),
            ("a b:c", Locator::Path),
            ("1a:c", Locator::Path),
        ];
        for (text, expected) in cases {
            assert_eq!(Locator::read(text), expected, "{text}");
        }
    }

    /// The table of Lima's `abs_test.go`, and more.
    #[test]
    fn relative_locators_lie_beside_their_template() {
        let cases = [
            ("bar.yaml", "template:foo", "template:bar.yaml"),
            ("bar.yaml", "template://foo", "template:bar.yaml"),
            (
                "a.sh",
                "template:experimental/foo",
                "template:experimental/a.sh",
            ),
            (
                "a.sh",
                "template://experimental/foo",
                "template:experimental/a.sh",
            ),
            ("foo", "http://host/e", "http://host/foo"),
            ("foo", "http://host/d/e.yaml?x=/y", "http://host/d/foo"),
            ("foo", "http://host", "http://host/foo"),
            ("d/./foo", "file:///e/t.yaml", "file:///e/d/foo"),
            ("foo", "fedora:_images/x", "fedora:_images/foo"),
            ("foo", "ipfs://bafy/t.yaml", "ipfs://bafy/foo"),
            ("foo", "/d/t.yaml", "/d/foo"),
            ("./foo", "/t.yaml", "/foo"),
            ("/a//b", "template:foo", "/a/b"),
            ("~/foo", "http://host/e", "~/foo"),
            ("template:foo", "/d/t.yaml", "template:foo"),
            ("https://h/t", "-", "https://h/t"),
            ("/t.yaml", "-", "/t.yaml"),
        ];
        for (text, of, expected) in cases {
            assert_eq!(
                absolute(text, of).as_deref(),
                Ok(expected),
                "{text} of {of}"
            );
        }
    }

    #[test]
    fn locators_that_mean_nothing_are_refused() {
        let cases = [
            ("", "/d/t.yaml", "is empty"),
            (
                "foo",
                "-",
                "is relative, and a template on stdin is nowhere",
            ),
            (
                "../foo",
                "/d/t.yaml",
                "leads out of the directory of its template with `..`",
            ),
            (
                "d/..\\foo",
                "template:x",
                "leads out of the directory of its template with `..`",
            ),
            ("a\nb", "/d/t.yaml", "contains a control character"),
        ];
        for (text, of, reason) in cases {
            assert_eq!(absolute(text, of), Err(reason), "{text:?} of {of}");
        }
    }
}
