//! A template and one of its bases become one, by the rules of limactl (`mergeDocuments` in `pkg/limatmpl/embed.go` of
//! Lima v2.2): the template wins. It must not know where bases come from.
//!
//! A key that the template has keeps its value, `null` included; mappings are merged key by key; lists of the base come
//! after those of the template, except for scripts, which run before it.

use std::cmp::Ordering;

use crate::tree::{Entry, Node, Value};

/// Lists whose entries of the base come first: the base prepares what the template builds on.
const BASE_FIRST: [&str; 2] = ["provision", "probes"];

/// Takes from `base` what `template` does not say itself.
pub(crate) fn with_base(template: &mut Node, mut base: Node) {
    let higher = higher_versions(template, &base);
    if has_items(template, "dns") {
        remove(&mut base, "dns");
    }
    if matches!(template.value, Value::Null) {
        template.value = Value::Map(Vec::new());
    }
    if let (Value::Map(mine), Value::Map(theirs)) = (&mut template.value, base.value) {
        merge_maps(mine, theirs, true);
        if let Some(entry) = mine
            .iter_mut()
            .find(|entry| entry.key == "mountTypesUnsupported")
        {
            keep_first_of_each(&mut entry.value);
        }
    }
    for (path, node) in higher {
        set(template, path, node);
    }
}

fn merge_maps(mine: &mut Vec<Entry>, theirs: Vec<Entry>, top: bool) {
    for entry in theirs {
        match mine.iter_mut().find(|own| own.key == entry.key) {
            None => mine.push(entry),
            Some(own) => {
                let base_first = top && BASE_FIRST.contains(&entry.key.as_str());
                merge_values(&mut own.value, entry.value, base_first);
            }
        }
    }
}

fn merge_values(mine: &mut Node, theirs: Node, base_first: bool) {
    match (&mut mine.value, theirs.value) {
        (Value::Map(mine), Value::Map(theirs)) => merge_maps(mine, theirs, false),
        (Value::List(mine), Value::List(mut theirs)) if base_first => {
            theirs.append(mine);
            *mine = theirs;
        }
        (Value::List(mine), Value::List(theirs)) => mine.extend(theirs),
        _ => {}
    }
}

/// The two versions of which the higher one counts, if that is the base's.
fn higher_versions(template: &Node, base: &Node) -> Vec<(&'static [&'static str], Node)> {
    const PATHS: [&[&str]; 2] = [
        &["minimumLimaVersion"],
        &["vmOpts", "qemu", "minimumVersion"],
    ];
    let at = |root: &Node, path: &[&str]| {
        path.iter()
            .try_fold(root.clone(), |node, key| node.get(key).cloned())
    };
    let mut higher = Vec::new();
    for path in PATHS {
        if let (Some(mine), Some(theirs)) = (at(template, path), at(base, path))
            && let (Some(own), Some(other)) = (mine.text(), theirs.text())
            && compare_versions(other, own) == Ordering::Greater
        {
            higher.push((path, theirs));
        }
    }
    higher
}

/// Semantic versions, as far as they can be read; what cannot be read is the highest, as in limactl.
pub(crate) fn compare_versions(one: &str, other: &str) -> Ordering {
    fn numbers(text: &str) -> Option<Vec<u64>> {
        let text = text.trim_start_matches('v');
        let text = text.split(['-', '+']).next().unwrap_or(text);
        text.split('.').map(|part| part.parse().ok()).collect()
    }
    match (numbers(one), numbers(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
    }
}

/// Puts a value where one is already.
fn set(root: &mut Node, path: &[&str], node: Node) {
    let Some((key, rest)) = path.split_first() else {
        *root = node;
        return;
    };
    if let Value::Map(entries) = &mut root.value
        && let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key)
    {
        set(&mut entry.value, rest, node);
    }
}

fn has_items(root: &Node, key: &str) -> bool {
    root.get(key).is_some_and(|node| !node.items().is_empty())
}

/// Takes a key out of a mapping.
pub(crate) fn remove(root: &mut Node, key: &str) {
    if let Value::Map(entries) = &mut root.value {
        entries.retain(|entry| entry.key != key);
    }
}

/// Removes texts that an earlier entry of the list has already.
pub(crate) fn keep_first_of_each(list: &mut Node) {
    let Value::List(items) = &mut list.value else {
        return;
    };
    let mut seen: Vec<String> = Vec::new();
    items.retain(|item| {
        let Some(text) = item.text() else { return true };
        let new = !seen.iter().any(|earlier| earlier == text);
        seen.push(text.to_owned());
        new
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{flow, read};

    fn merged(template: &str, base: &str) -> String {
        let mut root = read(template, "t").expect("a template");
        with_base(&mut root, read(base, "b").expect("a base"));
        flow(&root)
    }

    /// Template, base, and what comes out.
    const MERGES: &[(&str, &str, &str)] = &[
        ("", "vmType: qemu", "{vmType: qemu}"),
        (
            "vmType: vz",
            "{arch: aarch64, vmType: qemu}",
            "{vmType: vz, arch: aarch64}",
        ),
        (
            "mountTypesUnsupported: [9p,reverse-sshfs]",
            "mountTypesUnsupported: [9p,virtiofs]",
            "{mountTypesUnsupported: [9p, reverse-sshfs, virtiofs]}",
        ),
        (
            "minimumLimaVersion: 0.8.0",
            "minimumLimaVersion: 1.0.2",
            "{minimumLimaVersion: 1.0.2}",
        ),
        (
            "minimumLimaVersion: 2.10.0",
            "minimumLimaVersion: 2.9.0",
            "{minimumLimaVersion: 2.10.0}",
        ),
        (
            "vmOpts: {qemu: {minimumVersion: 8.2.1}}",
            "vmOpts: {qemu: {minimumVersion: 9.1.0, cpuType: {x86_64: max}}, vz: {a: b}}",
            "{vmOpts: {qemu: {minimumVersion: 9.1.0, cpuType: {x86_64: max}}, vz: {a: b}}}",
        ),
        (
            "dns: [1.1.1.1]",
            "dns: [8.8.8.8, 1.2.3.4]",
            "{dns: [1.1.1.1]}",
        ),
        ("", "dns: [1.1.1.1, 8.8.8.8]", "{dns: [1.1.1.1, 8.8.8.8]}"),
        (
            "dns: []",
            "dns: [1.1.1.1, 8.8.8.8]",
            "{dns: [1.1.1.1, 8.8.8.8]}",
        ),
        (
            "{probes: [{script: 1}], provision: [{script: One}]}",
            "{probes: [{script: 2}], provision: [{script: Two}]}",
            "{probes: [{script: 2}, {script: 1}], provision: [{script: Two}, {script: One}]}",
        ),
        (
            "images: [{location: a}]",
            "images: [{location: b}]",
            "{images: [{location: a}, {location: b}]}",
        ),
        (
            "containerd: {archives: [{location: a}]}",
            "containerd: {user: false, archives: [{location: b}]}",
            "{containerd: {archives: [{location: a}, {location: b}], user: false}}",
        ),
        // Null is something that is said: it keeps the base's value out.
        (
            "{cpus: null, images: ~}",
            "{cpus: 4, images: [{location: b}]}",
            "{cpus: null, images: null}",
        ),
        (
            "ssh: {localPort: null}",
            "ssh: {localPort: 5, forwardAgent: true}",
            "{ssh: {localPort: null, forwardAgent: true}}",
        ),
        // Lists in entries of lists are the entries' own.
        (
            "additionalDisks: [{name: a, fsArgs: [1]}]",
            "additionalDisks: [{name: b, fsArgs: [2]}]",
            "{additionalDisks: [{name: a, fsArgs: [1]}, {name: b, fsArgs: [2]}]}",
        ),
        (
            "video: {display: x}",
            "video: none",
            "{video: {display: x}}",
        ),
        ("a: 1", "- x", "{a: 1}"),
        ("a: 1", "", "{a: 1}"),
    ];

    /// The cases of Lima's `embed_test.go` that concern one base, and what follows from its rules.
    #[test]
    fn a_template_wins_over_its_base() {
        for (template, base, expected) in MERGES {
            assert_eq!(merged(template, base), *expected, "{template} + {base}");
        }
    }

    #[test]
    fn versions_are_compared_by_numbers() {
        let cases = [
            ("2.0.0", "1.9.9", Ordering::Greater),
            ("v1.0.0", "1.0.0", Ordering::Equal),
            ("1.0.0-beta.1", "1.0.0", Ordering::Equal),
            ("1.2", "1.10", Ordering::Less),
            ("abacab", "1.0.0", Ordering::Greater),
            ("x", "y", Ordering::Equal),
        ];
        for (one, other, expected) in cases {
            assert_eq!(compare_versions(one, other), expected, "{one} {other}");
            assert_eq!(
                compare_versions(other, one),
                expected.reverse(),
                "{other} {one}"
            );
        }
    }
}
