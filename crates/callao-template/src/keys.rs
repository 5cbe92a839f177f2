//! Which keys Lima templates have, and a warning for every other one.
//! It must not know what a key means: values are read in `parse`.
//!
//! Source: `pkg/limatype/lima_yaml.go` of Lima v2.2, plus `cid` of a file and the top-level `archives` and `ipfs` of
//! lima-vm/lima#2407 and #2408.

use crate::limits;
use crate::parse::Warning;
use crate::tree::{Entry, Node, Value};

/// What may stand below a key.
enum Shape {
    /// Not looked into: scalars, free mappings, and what drivers define themselves.
    Any,
    /// A mapping with these keys. A scalar in its place is another way to write it.
    Keys(&'static [(&'static str, &'static Shape)]),
    /// A list of these.
    List(&'static Shape),
}

use Shape::{Any, Keys, List};

const ANY: &Shape = &Any;

const TOP: &Shape = &Keys(&[
    (
        "additionalDisks",
        &List(&Keys(&[
            ("name", ANY),
            ("format", ANY),
            ("fsType", ANY),
            ("fsArgs", ANY),
        ])),
    ),
    ("arch", ANY),
    ("archives", &List(FILE)),
    ("audio", &Keys(&[("device", ANY), ("interface", ANY)])),
    ("base", ANY),
    (
        "caCerts",
        &Keys(&[("removeDefaults", ANY), ("files", ANY), ("certs", ANY)]),
    ),
    (
        "containerd",
        &Keys(&[("system", ANY), ("user", ANY), ("archives", &List(FILE))]),
    ),
    (
        "copyToHost",
        &List(&Keys(&[
            ("guest", ANY),
            ("host", ANY),
            ("skipIfMissing", ANY),
            ("deleteOnStop", ANY),
        ])),
    ),
    ("cpuType", ANY),
    ("cpus", ANY),
    ("disk", ANY),
    ("dns", ANY),
    ("env", ANY),
    (
        "firmware",
        &Keys(&[("legacyBIOS", ANY), ("images", &List(FIRMWARE_IMAGE))]),
    ),
    ("guestInstallPrefix", ANY),
    (
        "hostResolver",
        &Keys(&[("enabled", ANY), ("ipv6", ANY), ("hosts", ANY)]),
    ),
    ("images", &List(IMAGE)),
    ("ipfs", ANY),
    ("memory", ANY),
    ("message", ANY),
    ("minimumLimaVersion", ANY),
    ("mountInotify", ANY),
    ("mountType", ANY),
    ("mountTypesUnsupported", ANY),
    ("mounts", &List(MOUNT)),
    ("nestedVirtualization", ANY),
    ("networks", &List(NETWORK)),
    ("os", ANY),
    (
        "osOpts",
        &Keys(&[
            ("Windows", &Keys(&[("virtioWin", &List(FILE))])),
            ("Linux", ANY),
            ("Darwin", ANY),
            ("FreeBSD", ANY),
        ]),
    ),
    ("param", ANY),
    ("plain", ANY),
    ("portForwards", &List(PORT_FORWARD)),
    (
        "probes",
        &List(&Keys(&[
            ("mode", ANY),
            ("description", ANY),
            ("script", ANY),
            ("file", FILE_REF),
            ("hint", ANY),
        ])),
    ),
    ("propagateProxyEnv", ANY),
    ("provision", &List(PROVISION)),
    ("rosetta", &Keys(&[("enabled", ANY), ("binfmt", ANY)])),
    ("ssh", SSH),
    ("timezone", ANY),
    ("tpm", ANY),
    ("upgradePackages", ANY),
    ("user", USER),
    (
        "video",
        &Keys(&[("display", ANY), ("vnc", &Keys(&[("display", ANY)]))]),
    ),
    ("vmOpts", ANY),
    ("vmType", ANY),
]);

const FILE: &Shape = &Keys(&[
    ("location", ANY),
    ("arch", ANY),
    ("digest", ANY),
    ("cid", ANY),
]);

const KERNEL: &Shape = &Keys(&[
    ("location", ANY),
    ("arch", ANY),
    ("digest", ANY),
    ("cid", ANY),
    ("cmdline", ANY),
]);

const IMAGE: &Shape = &Keys(&[
    ("location", ANY),
    ("arch", ANY),
    ("digest", ANY),
    ("cid", ANY),
    ("kernel", KERNEL),
    ("initrd", FILE),
    ("variant", ANY),
    ("archVariant", ANY),
]);

const FIRMWARE_IMAGE: &Shape = &Keys(&[
    ("location", ANY),
    ("arch", ANY),
    ("digest", ANY),
    ("cid", ANY),
    ("vmType", ANY),
]);

const MOUNT: &Shape = &Keys(&[
    ("location", ANY),
    ("mountPoint", ANY),
    ("writable", ANY),
    (
        "sshfs",
        &Keys(&[("cache", ANY), ("followSymlinks", ANY), ("sftpDriver", ANY)]),
    ),
    (
        "9p",
        &Keys(&[
            ("securityModel", ANY),
            ("protocolVersion", ANY),
            ("msize", ANY),
            ("cache", ANY),
        ]),
    ),
    ("virtiofs", &Keys(&[("queueSize", ANY)])),
]);

const NETWORK: &Shape = &Keys(&[
    ("lima", ANY),
    ("socket", ANY),
    ("vzNAT", ANY),
    ("macAddress", ANY),
    ("interface", ANY),
    ("metric", ANY),
]);

const PORT_FORWARD: &Shape = &Keys(&[
    ("guestIP", ANY),
    ("guestIPMustBeZero", ANY),
    ("guestPort", ANY),
    ("guestPortRange", ANY),
    ("guestSocket", ANY),
    ("hostIP", ANY),
    ("hostPort", ANY),
    ("hostPortRange", ANY),
    ("hostSocket", ANY),
    ("proto", ANY),
    ("reverse", ANY),
    ("ignore", ANY),
    ("static", ANY),
]);

const PROVISION: &Shape = &Keys(&[
    ("mode", ANY),
    ("script", ANY),
    ("file", FILE_REF),
    ("playbook", ANY),
    ("skipDefaultDependencyResolution", ANY),
    ("content", ANY),
    ("overwrite", ANY),
    ("owner", ANY),
    ("path", ANY),
    ("permissions", ANY),
    ("expression", ANY),
    ("format", ANY),
]);

const FILE_REF: &Shape = &Keys(&[("url", ANY), ("digest", ANY)]);

const SSH: &Shape = &Keys(&[
    ("localPort", ANY),
    ("loadDotSSHPubKeys", ANY),
    ("forwardAgent", ANY),
    ("forwardX11", ANY),
    ("forwardX11Trusted", ANY),
    ("overVsock", ANY),
]);

const USER: &Shape = &Keys(&[
    ("name", ANY),
    ("comment", ANY),
    ("home", ANY),
    ("shell", ANY),
    ("uid", ANY),
    ("passwordlessSudo", ANY),
]);

/// One warning per unknown key, in the order of the template, at most `limits::WARNINGS_COUNT_MAX`.
pub(crate) fn unknown(root: &Node) -> Vec<Warning> {
    let mut found = Vec::new();
    look(root, TOP, "", &mut found);
    let rest = found.len().saturating_sub(limits::WARNINGS_COUNT_MAX);
    if rest > 0 {
        found.truncate(limits::WARNINGS_COUNT_MAX - 1);
        found.push(Warning {
            template: root.template.to_string(),
            line: None,
            message: format!("{} more unknown keys", rest + 1),
        });
    }
    found
}

fn look(node: &Node, shape: &Shape, path: &str, found: &mut Vec<Warning>) {
    match (&node.value, shape) {
        (Value::Map(entries), Keys(known)) => {
            for entry in entries {
                let path = if path.is_empty() {
                    entry.key.clone()
                } else {
                    format!("{path}.{}", entry.key)
                };
                match known.iter().find(|(name, _)| *name == entry.key) {
                    Some((_, below)) => look(&entry.value, below, &path, found),
                    None => found.push(warning(entry, &path, known)),
                }
            }
        }
        (Value::List(items), List(each)) => {
            for (index, item) in items.iter().enumerate() {
                look(item, each, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn warning(entry: &Entry, path: &str, known: &[(&'static str, &Shape)]) -> Warning {
    let path: String = path
        .chars()
        .filter(|c| !c.is_control())
        .take(limits::EXCERPT_CHARS_MAX)
        .collect();
    let advice = match nearest(&entry.key, known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    };
    Warning {
        template: entry.value.template.to_string(),
        line: Some(entry.line),
        message: format!("unknown key `{path}` at line {}{advice}", entry.line),
    }
}

/// The known key that begins like this one, or else that differs in the fewest letters, if those are few for its length.
fn nearest(key: &str, known: &[(&'static str, &Shape)]) -> Option<&'static str> {
    let key: Vec<char> = key
        .chars()
        .take(limits::EXCERPT_CHARS_MAX)
        .flat_map(char::to_lowercase)
        .collect();
    let begins = |name: &str| {
        key.len() > 2
            && name
                .to_lowercase()
                .chars()
                .take(key.len())
                .eq(key.iter().copied())
    };
    if let Some((name, _)) = known.iter().find(|(name, _)| begins(name)) {
        return Some(name);
    }
    let (distance, name) = known
        .iter()
        .map(|(name, _)| {
            (
                distance(&key, &name.to_lowercase().chars().collect::<Vec<_>>()),
                *name,
            )
        })
        .min()?;
    (distance <= (name.len().max(key.len()) / 3).max(1) && distance < key.len()).then_some(name)
}

/// Insertions, deletions, replacements, and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, right) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(left != right);
            row[j + 1] = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *left == b[j - 1] && a[i - 1] == *right {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = above;
        above = row;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn messages(text: &str) -> Vec<String> {
        let root = tree::read(text, "t").expect("valid YAML");
        unknown(&root)
            .into_iter()
            .map(|warning| warning.message)
            .collect()
    }

    #[test]
    fn every_unknown_key_names_its_line_and_the_nearest_known_one() {
        let cases = [
            (
                "cpus: 2\n\nimges: []\n",
                "unknown key `imges` at line 3; did you mean `images`?",
            ),
            (
                "Images: []\n",
                "unknown key `Images` at line 1; did you mean `images`?",
            ),
            (
                "iamges: []\n",
                "unknown key `iamges` at line 1; did you mean `images`?",
            ),
            (
                "images:\n- digets: x\n",
                "unknown key `images[0].digets` at line 2; did you mean `digest`?",
            ),
            (
                "images:\n- url: x\n",
                "unknown key `images[0].url` at line 2",
            ),
            (
                "images:\n- arch_variant: v3\n",
                "unknown key `images[0].arch_variant` at line 2; did you mean `archVariant`?",
            ),
            (
                "images:\n- kernel: {cmd: x}\n",
                "unknown key `images[0].kernel.cmd` at line 2; did you mean `cmdline`?",
            ),
            (
                "archives:\n- cids: x\n",
                "unknown key `archives[0].cids` at line 2; did you mean `cid`?",
            ),
            (
                "containerd:\n  archive: []\n",
                "unknown key `containerd.archive` at line 2; did you mean `archives`?",
            ),
            ("flavour: x\n", "unknown key `flavour` at line 1"),
            ("a: x\n", "unknown key `a` at line 1"),
            ("\"\": x\n", "unknown key `` at line 1"),
            (
                "mounts:\n- writeable: true\n",
                "unknown key `mounts[0].writeable` at line 2; did you mean `writable`?",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(messages(text), [expected], "{text:?}");
        }
    }

    #[test]
    fn what_lima_knows_does_not_warn() {
        let cases = [
            "cpus: 4\nmemory: 4GiB\nvmOpts: {qemu: {anything: 1}}\nenv: {FOO: bar}\nparam: {x: y}\n",
            "mounts:\n- location: \"~\"\n  9p: {msize: 128KiB}\n  virtiofs: {queueSize: 1}\n",
            "provision:\n- mode: system\n  script: |\n    #!/bin/sh\n- mode: yq\n  expression: .x\n- file: {url: x}\n",
            "probes:\n- script: x\n  file: y\n",
            "additionalDisks: [data, {name: x, fsArgs: [a]}]\n",
            "images: nonsense\nipfs: true\nbase: {url: x}\n",
            "video: {vnc: {display: x}}\nssh: {overVsock: true}\nfirmware: {images: [{vmType: qemu}]}\n",
            "- not\n- a mapping\n",
            "",
        ];
        for text in cases {
            assert_eq!(messages(text), Vec::<String>::new(), "{text:?}");
        }
    }

    #[test]
    fn many_unknown_keys_are_counted() {
        let text: String = (0..100).map(|i| format!("zz{i}: 1\n")).collect();
        let messages = messages(&text);
        assert_eq!(messages.len(), limits::WARNINGS_COUNT_MAX);
        assert_eq!(
            messages.last().map(String::as_str),
            Some("81 more unknown keys")
        );
    }
}
