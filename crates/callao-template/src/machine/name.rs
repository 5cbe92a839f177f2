//! Names of instances and of their guests. It must not know whether an instance of a name exists.

use crate::limits;
use crate::validate;

/// A name that no instance can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("instance name `{name}` {reason}")]
pub struct BadName {
    /// The name, shortened.
    pub name: String,
    /// Why.
    pub reason: &'static str,
}

/// Whether an instance may be called so, by the rules of Lima (`pkg/identifiers` and `pkg/instance`).
///
/// # Errors
/// Why not.
pub fn check_name(text: &str) -> Result<(), BadName> {
    let is_wrong = |part: &str| part.is_empty() || !part.bytes().all(|c| c.is_ascii_alphanumeric());
    let reason = if text.is_empty() {
        "is empty"
    } else if text.len() > limits::INSTANCE_NAME_BYTES_MAX {
        "is longer than 76 characters"
    } else if text.split(['.', '_', '-']).any(is_wrong) {
        "must be letters and digits, with single `.`, `_` and `-` between them"
    } else if [".yml", ".yaml"].iter().any(|end| text.ends_with(end)) {
        "ends as the file of a template does"
    } else {
        return Ok(());
    };
    Err(BadName {
        name: validate::shown(text),
        reason,
    })
}

/// What the guest of an instance is called (`pkg/instance/hostname`): `lima-` and the name, with `-` for what a host name
/// cannot have. Unlike Lima's it is cut at what Linux takes, since a guest would keep its old name otherwise.
#[must_use]
pub fn hostname(name: &str) -> String {
    let mut host = format!("lima-{}", name.replace(['.', '_'], "-"));
    if host.len() > limits::HOST_NAME_BYTES_MAX && host.is_ascii() {
        host.truncate(limits::HOST_NAME_BYTES_MAX);
        host.truncate(host.trim_end_matches('-').len());
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_lima() {
        for name in ["default", "a", "0", "ubuntu-24.04", "A_b-c.9", "yaml"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(&"a".repeat(76)), Ok(()));
        let form = "must be letters and digits, with single `.`, `_` and `-` between them";
        let cases = [
            ("", "is empty"),
            ("-", form),
            ("a--b", form),
            ("a.-b", form),
            (".a", form),
            ("a.", form),
            ("..", form),
            ("a/b", form),
            ("a b", form),
            ("ä", form),
            ("a\n", form),
            ("a.yaml", "ends as the file of a template does"),
            ("a.yml", "ends as the file of a template does"),
        ];
        for (name, expected) in cases {
            let reason = check_name(name).map_err(|error| error.reason);
            assert_eq!(reason, Err(expected), "{name:?}");
        }
        let long = check_name(&"a".repeat(77)).map_err(|error| error.reason);
        assert_eq!(long, Err("is longer than 76 characters"));
    }

    #[test]
    fn a_bad_name_is_told_word_for_word() {
        let error = check_name("a b").expect_err("a space");
        assert_eq!(
            error.to_string(),
            "instance name `a b` must be letters and digits, with single `.`, `_` and `-` between them"
        );
    }

    #[test]
    fn hosts_are_called_as_in_lima() {
        assert_eq!(hostname("default"), "lima-default");
        assert_eq!(hostname("my_example.com"), "lima-my-example-com");
        assert_eq!(hostname(&"a".repeat(76)).len(), 63);
        let dashed = format!("{}-b", "a".repeat(57));
        assert_eq!(hostname(&dashed), format!("lima-{}", "a".repeat(57)));
    }
}
