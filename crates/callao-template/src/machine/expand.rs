//! What Lima's templates put into Go's braces: names such as `{{.User}}` and `{{.Param.key}}` (`executeGuestTemplate` and
//! `executeHostTemplate` in `pkg/limayaml/defaults.go`), and `{{if .Param.key}}`. It must not know which field a text
//! comes from.
//!
//! limactl keeps a text that it cannot expand, with a warning. A script with braces left in it does something else than
//! was meant, so here it is an error.

use std::collections::BTreeMap;

use super::braces::{Piece, literal_of, path_of, pieces};
use super::condition::{Fault, holds};
use super::name::hostname;
use super::{Surroundings, User};
use crate::validate::shown;

/// As Go calls it.
const HOST_OS: &str = if cfg!(target_os = "macos") {
    "darwin"
} else {
    std::env::consts::OS
};

/// What the names stand for.
#[derive(Debug, Clone)]
pub(super) struct Names<'p> {
    values: Vec<(&'static str, String)>,
    param: &'p BTreeMap<String, String>,
}

impl<'p> Names<'p> {
    /// The names for what is about the guest.
    pub(super) fn of_guest(
        around: &Surroundings,
        user: &User,
        param: &'p BTreeMap<String, String>,
    ) -> Self {
        let mut names = Self::of_home(around, &user.name, user.uid, param);
        names.values.push(("Home", user.home.clone()));
        names
    }

    /// The names for the home directory itself.
    pub(super) fn of_home(
        around: &Surroundings,
        user: &str,
        uid: u32,
        param: &'p BTreeMap<String, String>,
    ) -> Self {
        let values = vec![
            ("Name", around.name.clone()),
            ("Hostname", hostname(&around.name)),
            ("UID", uid.to_string()),
            ("User", user.to_owned()),
        ];
        Self { values, param }
    }

    /// The names for what is about the host.
    pub(super) fn of_host(around: &Surroundings, param: &'p BTreeMap<String, String>) -> Self {
        let values = vec![
            ("Dir", around.dir.clone()),
            ("Name", around.name.clone()),
            ("UID", around.uid.to_string()),
            ("User", around.user.clone()),
            ("Home", around.home.clone()),
            ("GlobalTempDir", "/tmp".to_owned()),
            ("TempDir", around.temporary_dir.clone()),
        ];
        Self { values, param }
    }

    /// The names for `message:`: those of an instance (`limactl list --format`).
    pub(super) fn of_message(around: &Surroundings, param: &'p BTreeMap<String, String>) -> Self {
        let mut names = Self::of_host(around, param);
        names.values.push(("Hostname", hostname(&around.name)));
        names.values.push(("HostOS", HOST_OS.to_owned()));
        names
    }

    /// Parameters and nothing else.
    #[cfg(test)]
    pub(super) fn of_params(param: &'p BTreeMap<String, String>) -> Self {
        let values = Vec::new();
        Self { values, param }
    }

    /// What a path, such as `User` or `Param.key`, stands for.
    pub(super) fn get(&self, path: &str) -> Option<&str> {
        if let Some(key) = path.strip_prefix("Param.") {
            return self.param.get(key).map(String::as_str);
        }
        let (_, value) = self.values.iter().find(|(name, _)| *name == path)?;
        Some(value)
    }

    fn listed(&self) -> String {
        let names = self.values.iter().map(|(name, _)| (*name).to_owned());
        let params = self.param.keys().map(|key| format!("Param.{key}"));
        let names = names.chain(params).map(|name| format!("{{{{.{name}}}}}"));
        names.collect::<Vec<_>>().join(", ")
    }
}

/// A conditional that is open.
struct Branch<'t> {
    /// `{{if ...}}`, for messages.
    whole: &'t str,
    /// What is around it is wanted.
    around: bool,
    /// One of its parts was wanted already.
    taken: bool,
    /// This part is wanted.
    wanted: bool,
}

/// Expands all names and conditionals.
///
/// # Errors
/// Why it cannot be, to follow the name of the field.
pub(super) fn expand(text: &str, names: &Names<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut open: Vec<Branch<'_>> = Vec::new();
    for piece in pieces(text) {
        let wanted = open.last().is_none_or(|branch| branch.wanted);
        match piece {
            Piece::Text(text) if wanted => expanded.push_str(text),
            Piece::Text(_) => {}
            Piece::Action { whole, inner } => {
                if branched(&mut open, whole, inner, names)? || !wanted {
                    continue;
                }
                expanded.push_str(&value(whole, inner, names)?);
            }
            Piece::Open(rest) => {
                let line = rest.lines().next().unwrap_or(rest);
                return Err(format!("has `{{{{` without `}}}}`: `{}`", shown(line)));
            }
        }
    }
    match open.last() {
        Some(branch) => Err(format!(
            "has `{}` without `{{{{end}}}}`",
            shown(branch.whole)
        )),
        None => Ok(expanded),
    }
}

/// Expands everything if all of it is known, otherwise the names that are: what is said to people may be incomplete.
pub(super) fn expand_known(text: &str, names: &Names<'_>) -> String {
    if let Ok(expanded) = expand(text, names) {
        return expanded;
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    for piece in pieces(text) {
        let Piece::Action { whole, inner } = piece else {
            continue;
        };
        let Some((before, after)) = rest.split_once(whole) else {
            break;
        };
        let known = path_of(inner).and_then(|path| names.get(path));
        expanded.push_str(before);
        expanded.push_str(known.filter(|_| !whole.contains('-')).unwrap_or(whole));
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

/// Whether the action is one of a conditional, whose parts are opened and closed here.
fn branched<'t>(
    open: &mut Vec<Branch<'t>>,
    whole: &'t str,
    inner: &str,
    names: &Names<'_>,
) -> Result<bool, String> {
    let (word, rest) = inner
        .split_once(char::is_whitespace)
        .map_or((inner, ""), |(word, rest)| (word, rest.trim()));
    let truth = |text: &str| holds(text, names).map_err(|fault| worded(&fault, whole, names));
    match (word, rest) {
        ("if", _) => {
            let around = open.last().is_none_or(|branch| branch.wanted);
            let wanted = around && truth(rest)?;
            open.push(Branch {
                whole,
                around,
                taken: wanted,
                wanted,
            });
        }
        ("end", "") if open.pop().is_some() => {}
        ("else", _) => {
            let Some(branch) = open.last_mut() else {
                return Ok(false);
            };
            let asked = branch.around && !branch.taken;
            branch.wanted = match rest.strip_prefix("if ") {
                Some(condition) => asked && truth(condition.trim())?,
                None if rest.is_empty() => asked,
                None => return Ok(false),
            };
            branch.taken |= branch.wanted;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What an action stands for.
fn value(whole: &str, inner: &str, names: &Names<'_>) -> Result<String, String> {
    if inner.starts_with("/*") && inner.ends_with("*/") && inner.len() >= 4 {
        return Ok(String::new());
    }
    // The way to write braces that are meant for the guest, such as those of `docker ps --format`.
    if let Some(literal) = literal_of(inner) {
        return Ok(literal.to_owned());
    }
    let value = match path_of(inner) {
        Some(path) => names.get(path).ok_or(Fault::Unknown),
        None => Err(Fault::Foreign),
    };
    value
        .map(str::to_owned)
        .map_err(|fault| worded(&fault, whole, names))
}

fn worded(fault: &Fault, whole: &str, names: &Names<'_>) -> String {
    match fault {
        Fault::Foreign => format!(
            "has `{}`, of which callao understands names and conditions only, such as {{{{.User}}}}; braces that the \
             guest should see are written {{{{`…`}}}}",
            shown(whole)
        ),
        Fault::Unknown => format!(
            "has `{}`, which is not known there; known are {}",
            shown(whole),
            names.listed()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::user::HOMES;
    use crate::model::Arch;

    fn around() -> Surroundings {
        Surroundings {
            name: "my_vm".to_owned(),
            dir: "/data/my_vm".to_owned(),
            arch: Arch::X86_64,
            host_cpus: 8,
            host_memory_bytes: 16 << 30,
            user: "anna".to_owned(),
            user_comment: String::new(),
            uid: 501,
            home: "/Users/anna".to_owned(),
            temporary_dir: "/var/tmp".to_owned(),
            timezone: None,
        }
    }

    fn user() -> User {
        User {
            name: "guest".to_owned(),
            comment: String::new(),
            home: format!("{HOMES}/guest.guest"),
            shell: "/bin/sh".to_owned(),
            uid: 1001,
            passwordless_sudo: true,
        }
    }

    fn param() -> BTreeMap<String, String> {
        BTreeMap::from([
            ("key".to_owned(), "{{.User}} \"x\"".to_owned()),
            ("none".to_owned(), String::new()),
        ])
    }

    fn in_guest(text: &str) -> Result<String, String> {
        let param = param();
        expand(text, &Names::of_guest(&around(), &user(), &param))
    }

    #[test]
    fn names_of_the_guest_are_expanded() {
        let home = user().home;
        let cases = [
            ("", ""),
            ("plain { text } }}", "plain { text } }}"),
            ("{{.Name}} {{.Hostname}}", "my_vm lima-my-vm"),
            ("{{.UID}}:{{.User}}", "1001:guest"),
            ("{{ .User }}{{\t.User\n}}", "guestguest"),
            ("{{.Home}}/x", &format!("{home}/x")),
            // What a parameter holds is not looked into.
            ("<{{.Param.key}}>", "<{{.User}} \"x\">"),
            ("a \n{{- .User -}}\n b", "aguestb"),
            ("a {{- .User -}} {{- .User}}", "aguestguest"),
            ("a{{/* a note */}}b", "ab"),
            ("{{if .Param.key}}a{{end}}b", "ab"),
            ("{{if .Param.none}}a{{else}}b{{end}}c", "bc"),
            ("x\n{{- if not .Param.none -}}\n a \n{{- end}}\nb", "xa\nb"),
            (
                "{{if .Param.none}}a{{else if eq .User \"guest\"}}b{{else if true}}c{{else}}d{{end}}",
                "b",
            ),
            (
                "{{if true}}{{if false}}a{{else}}b{{end}}{{else}}{{if true}}c{{end}}{{.Nothing}}{{end}}",
                "b",
            ),
            ("{{\"{{.Names}}\"}}", "{{.Names}}"),
            ("{{`{{ json . }}`}}", "{{ json . }}"),
            ("{{`a\nb`}}", "a\nb"),
        ];
        for (text, expected) in cases {
            assert_eq!(in_guest(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn names_of_the_host_are_expanded() {
        let param = param();
        let names = Names::of_host(&around(), &param);
        let cases = [
            ("{{.Dir}}/sock/{{.Name}}", "/data/my_vm/sock/my_vm"),
            ("{{.UID}} {{.User}} {{.Home}}", "501 anna /Users/anna"),
            ("{{.GlobalTempDir}} {{.TempDir}}", "/tmp /var/tmp"),
            ("{{.Param.key}}", "{{.User}} \"x\""),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, &names).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn everything_else_is_told() {
        let listed = "which is not known there; known are {{.Name}}, {{.Hostname}}, {{.UID}}, {{.User}}, {{.Home}}, \
                      {{.Param.key}}, {{.Param.none}}";
        let cases = [
            ("x{{.Dir}}", format!("has `{{{{.Dir}}}}`, {listed}")),
            ("{{.Param.other}}", format!("has `{{{{.Param.other}}}}`, {listed}")),
            ("{{ .user }}", format!("has `{{{{ .user }}}}`, {listed}")),
            ("{{if .Param.other}}{{end}}", format!("has `{{{{if .Param.other}}}}`, {listed}")),
            (
                "a {{ json . }}",
                "has `{{ json . }}`, of which callao understands names and conditions only, such as {{.User}}; braces \
                 that the guest should see are written {{`…`}}"
                    .to_owned(),
            ),
            ("{{if true}}{{.User}}", "has `{{if true}}` without `{{end}}`".to_owned()),
            ("a {{.User\nb", "has `{{` without `}}`: `{{.User`".to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(in_guest(text), Err(expected), "{text:?}");
        }
        let more = [
            "{{}}",
            "{{.}}",
            "{{..User}}",
            "{{.User.}}",
            "{{User}}",
            "{{\"a\\n\"}}",
            "{{\"}}",
            "{{end}}",
            "{{else}}",
            "{{if}}{{end}}",
            "{{if true}}{{else x}}{{end}}",
            "{{if true}}{{end x}}",
            "{{range .Param}}{{end}}",
        ];
        for text in more {
            assert!(in_guest(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_message_keeps_what_is_not_known() {
        let param = param();
        let names = Names::of_message(&around(), &param);
        let cases = [
            (
                "unix://{{.Dir}}{{if eq .HostOS \"none\"}} --remote{{end}} {{ .Hostname }}",
                "unix:///data/my_vm lima-my-vm",
            ),
            (
                "{{.Dir}}\n{{- if .Instance.x}} {{- .Dir}} {{end}} {{ .Hostname }} {{",
                "/data/my_vm\n{{- if .Instance.x}} {{- .Dir}} {{end}} lima-my-vm {{",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(expand_known(text, &names), expected, "{text}");
        }
    }
}
