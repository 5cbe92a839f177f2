//! limactl's command line as far as it decides which files limactl will want (`cmd/limactl/start.go` and
//! `cmd/limactl/editflags`, Lima v2.2). Pure: nothing is looked up, and nothing is changed in it.

use std::ffi::{OsStr, OsString};

/// Flags of `limactl`, `limactl create` and `limactl start` that take a value.
const WITH_VALUE: [&str; 23] = [
    "--arch",
    "--audio-device",
    "--audio-interface",
    "--containerd",
    "--cpus",
    "--disk",
    "--dns",
    "--image-variant",
    "--log-format",
    "--log-level",
    "--memory",
    "--mount",
    "--mount-only",
    "--mount-type",
    "--name",
    "--network",
    "--param",
    "--port-forward",
    "--set",
    "--shell",
    "--ssh-port",
    "--timeout",
    "--vm-type",
];
/// Flags that take none, or one after `=`.
const WITHOUT_VALUE: [&str; 13] = [
    "--debug",
    "--foreground",
    "--mount-inotify",
    "--mount-none",
    "--mount-writable",
    "--nested-virt",
    "--plain",
    "--progress",
    "--rosetta",
    "--tty",
    "--video",
    "--yes",
    "-y",
];
/// With these, limactl only prints something.
const PRINTING: [&str; 6] = [
    "--help",
    "-h",
    "--version",
    "-v",
    "--list-templates",
    "--list-drivers",
];

/// What a command line of limactl is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An instance is created or started.
    Instance(Order),
    /// No instance is.
    Other,
    /// An instance may be, but this flag is not one that is known here.
    Unclear(String),
}

/// Which instance, and how its template is changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Order {
    /// `start`: an instance that is there is started.
    pub(crate) starts: bool,
    /// The template locator or the name of an instance, and where it stands among the arguments.
    pub(crate) what: Option<(usize, String)>,
    /// `--name`.
    pub(crate) name: Option<String>,
    /// What the flags change in the template, as yq expressions in limactl's order. Of the flags that limactl turns
    /// into expressions, only those that can decide about files are here.
    pub(crate) changes: Changes,
}

/// Changes of the template by flags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Changes {
    /// Of any instance.
    pub(crate) always: Vec<String>,
    /// Only of one that is created.
    pub(crate) when_new: Vec<String>,
}

/// Reads the arguments after `limactl`.
pub(crate) fn read(arguments: &[OsString]) -> Meaning {
    let mut flags = Flags::default();
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut rest = arguments.iter().enumerate();
    let mut only_words = false;
    while let Some((at, argument)) = rest.next() {
        let Some(text) = argument.to_str() else {
            return Meaning::Unclear(argument.to_string_lossy().into_owned());
        };
        if only_words || !text.starts_with('-') || text == "-" {
            words.push((at, text.to_string()));
            if !matches!(words[0].1.as_str(), "create" | "start") {
                return Meaning::Other;
            }
        } else if text == "--" {
            only_words = true;
        } else if PRINTING.contains(&text) {
            return Meaning::Other;
        } else {
            let mut next = || rest.next().and_then(|(_, next)| text_of(next));
            if flags.take(text, &mut next).is_none() {
                return Meaning::Unclear(text.to_string());
            }
        }
    }
    match &words[..] {
        [(_, command), what @ ..] if what.len() <= 1 => Meaning::Instance(Order {
            starts: command == "start",
            what: what.first().cloned(),
            name: flags.last("--name"),
            changes: flags.changes(),
        }),
        // limactl will say that there are too many.
        _ => Meaning::Other,
    }
}

fn text_of(argument: &OsStr) -> Option<String> {
    argument.to_str().map(str::to_string)
}

/// The flags with their values, in the order in which they stand.
#[derive(Debug, Default)]
struct Flags(Vec<(String, String)>);

impl Flags {
    /// Takes one flag; `None` if it is not known.
    fn take(&mut self, text: &str, next: &mut dyn FnMut() -> Option<String>) -> Option<()> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (text, None),
        };
        let value = if WITH_VALUE.contains(&name) {
            value.or_else(next)?
        } else if WITHOUT_VALUE.contains(&name) {
            value.unwrap_or_else(|| "true".into())
        } else {
            return None;
        };
        self.0.push((name.to_string(), value));
        Some(())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a String> {
        self.0
            .iter()
            .filter(move |(flag, _)| flag == name)
            .map(|(_, value)| value)
    }

    fn last(&self, name: &str) -> Option<String> {
        self.all(name).last().cloned()
    }

    /// As `YQExpressions` makes them, in its order.
    fn changes(&self) -> Changes {
        let quoted = |name| self.last(name).map(|value| quoted(&value));
        let mut always = Vec::new();
        always.extend(quoted("--vm-type").map(|value| format!(".vmType = {value}")));
        always.extend(self.all("--set").cloned());
        let mut when_new = Vec::new();
        when_new.extend(
            quoted("--image-variant")
                .map(|value| format!(".images = [.images[] | select(.variant == {value})]")),
        );
        when_new.extend(quoted("--arch").map(|value| format!(".arch = {value}")));
        if let Some(mode) = self.last("--containerd") {
            let has = |what: &str| mode.split('+').any(|part| part == what);
            when_new.push(format!(
                ".containerd.user = {} | .containerd.system = {}",
                has("user"),
                has("system")
            ));
        }
        if let Some(plain) = self.last("--plain") {
            let is_plain = matches!(plain.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
            when_new.push(format!(".plain = {is_plain}"));
        }
        Changes { always, when_new }
    }
}

/// A value as a string of yq.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_line(line: &[&str]) -> Meaning {
        let arguments: Vec<OsString> = line.iter().map(Into::into).collect();
        read(&arguments)
    }

    fn order(line: &[&str]) -> Order {
        match read_line(line) {
            Meaning::Instance(order) => order,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn what_is_created_is_found_among_the_flags() {
        type Case<'a> = (&'a [&'a str], Option<(usize, &'a str)>, Option<&'a str>);
        let cases: [Case<'_>; 9] = [
            (&["start"], None, None),
            (&["start", "vm"], Some((1, "vm")), None),
            (
                &["create", "--name=vm", "t.yaml"],
                Some((2, "t.yaml")),
                Some("vm"),
            ),
            (&["create", "--name", "vm", "-"], Some((3, "-")), Some("vm")),
            (
                &["create", "template:x", "--cpus", "2"],
                Some((1, "template:x")),
                None,
            ),
            (
                &["--tty=false", "create", "-y", "t.yaml"],
                Some((3, "t.yaml")),
                None,
            ),
            (
                &["--log-level", "debug", "start", "--timeout", "5m"],
                None,
                None,
            ),
            (&["create", "--", "--odd"], Some((2, "--odd")), None),
            (&["create", "--name=a", "--name=b"], None, Some("b")),
        ];
        for (line, what, name) in cases {
            let order = order(line);
            let found = order.what.as_ref().map(|(at, text)| (*at, text.as_str()));
            assert_eq!((found, order.name.as_deref()), (what, name), "{line:?}");
            assert_eq!(order.starts, line.contains(&"start"), "{line:?}");
        }
    }

    #[test]
    fn flags_become_the_changes_that_limactl_makes() {
        let order = order(&[
            "create",
            "--plain",
            "--set",
            ".a = 1",
            "--arch=aarch64",
            "--set=.b = \"x=y\"",
            "--containerd=user+system",
            "--vm-type",
            "qemu",
            "--image-variant",
            "minimal",
            "t.yaml",
        ]);
        assert_eq!(
            order.changes.always,
            [".vmType = \"qemu\"", ".a = 1", ".b = \"x=y\""]
        );
        assert_eq!(
            order.changes.when_new,
            [
                ".images = [.images[] | select(.variant == \"minimal\")]",
                ".arch = \"aarch64\"",
                ".containerd.user = true | .containerd.system = true",
                ".plain = true",
            ]
        );
    }

    #[test]
    fn values_cannot_become_expressions() {
        let order = order(&["create", "--arch", "x\" | load(\"f"]);
        assert_eq!(order.changes.when_new, [".arch = \"x\\\" | load(\\\"f\""]);
    }

    #[test]
    fn other_commands_are_none_of_our_business() {
        let lines: [&[&str]; 9] = [
            &[],
            &["list"],
            &["shell", "start", "create"],
            &["start", "--help"],
            &["create", "-h"],
            &["--version"],
            &["create", "--list-templates"],
            &["create", "--list-drivers"],
            &["create", "a.yaml", "b.yaml"],
        ];
        for line in lines {
            assert_eq!(read_line(line), Meaning::Other, "{line:?}");
        }
    }

    #[test]
    fn a_flag_that_is_not_known_is_named() {
        assert_eq!(
            read_line(&["create", "--new-flag", "x", "t.yaml"]),
            Meaning::Unclear("--new-flag".into())
        );
        assert_eq!(
            read_line(&["create", "t.yaml", "--name"]),
            Meaning::Unclear("--name".into())
        );
    }
}
