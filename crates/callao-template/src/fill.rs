//! `default.yaml` and `override.yaml` around a template (`FillDefault` in `pkg/limayaml/defaults.go` of Lima v2.2): what
//! the override says counts, then the template, then the default. It must not know where the two files are, nor Lima's
//! built-in defaults: those depend on who uses the template.
//!
//! `null` says nothing here, unlike in a base.

use crate::combine::{interface, mount_point};
use crate::merge::{keep_first_of_each, remove};
use crate::tree::{Entry, Node, Value};

/// What limactl reads from a template alone.
const TEMPLATE_ONLY: [&str; 5] = [
    "base",
    "cpuType",
    "message",
    "minimumLimaVersion",
    "rosetta",
];

/// Mappings whose values are taken whole: they belong to one driver or operating system each.
const WHOLE_VALUES: [&str; 2] = ["vmOpts", "osOpts"];

/// Lists that the lowest priority begins, since a later entry overrides an earlier one.
const LOWEST_FIRST: [&str; 2] = ["mounts", "networks"];

/// The template with what the two files say.
pub(crate) fn fill(mut template: Node, default: Option<Node>, over: Option<Node>) -> Node {
    if default.is_none() && over.is_none() {
        return template;
    }
    let own: Vec<Entry> = TEMPLATE_ONLY
        .iter()
        .filter_map(|key| take(&mut template, key))
        .collect();
    let place = (template.line, template.template.clone());
    let layers = [over, Some(template), default];
    let mut layers: Vec<Node> = layers.into_iter().flatten().collect();
    for layer in &mut layers {
        for key in TEMPLATE_ONLY {
            remove(layer, key);
        }
    }
    let special = specials(&mut layers);
    let mut filled = Node::made(Value::Map(Vec::new()), place.0, &place.1);
    for layer in layers {
        take_weaker(&mut filled, layer, "");
    }
    if let Value::Map(entries) = &mut filled.value {
        entries.extend(own);
        entries.extend(special);
    }
    filled
}

/// Takes what `weaker` says and `stronger` does not; lists are joined, the stronger entries first.
fn take_weaker(stronger: &mut Node, weaker: Node, key: &str) {
    match (&mut stronger.value, weaker.value) {
        (Value::Map(mine), Value::Map(theirs)) if !WHOLE_VALUES.contains(&key) => {
            for entry in theirs {
                match mine.iter_mut().find(|own| own.key == entry.key) {
                    None => mine.push(entry),
                    Some(own) => take_weaker(&mut own.value, entry.value, &entry.key),
                }
            }
        }
        (Value::Map(mine), Value::Map(theirs)) => {
            for entry in theirs {
                if !mine.iter().any(|own| own.key == entry.key) {
                    mine.push(entry);
                }
            }
        }
        (Value::List(mine), Value::List(theirs)) => mine.extend(theirs),
        (Value::Null, theirs) => {
            stronger.value = theirs;
            stronger.line = weaker.line;
            stronger.template = weaker.template;
        }
        _ => {}
    }
}

/// What follows rules of its own is taken out of the layers, which stand from the highest priority to the lowest.
fn specials(layers: &mut [Node]) -> Vec<Entry> {
    let mut special = Vec::new();
    let dns: Vec<Entry> = layers
        .iter_mut()
        .filter_map(|layer| take(layer, "dns"))
        .collect();
    special.extend(
        dns.into_iter()
            .find(|entry| !entry.value.items().is_empty()),
    );
    for key in LOWEST_FIRST {
        let lists = layers.iter_mut().rev().filter_map(|layer| take(layer, key));
        special.extend(join(
            lists,
            if key == "mounts" {
                mount_point
            } else {
                interface
            },
        ));
    }
    let certificates = layers
        .iter_mut()
        .rev()
        .filter_map(|layer| take(layer, "caCerts"));
    special.extend(join_certificates(certificates));
    special
}

/// One list out of several; a later entry about the same thing overrides fields of the earlier one.
fn join(lists: impl Iterator<Item = Entry>, key: fn(&Node) -> Option<&str>) -> Option<Entry> {
    let mut joined: Option<Entry> = None;
    for list in lists {
        let Value::List(items) = list.value.value else {
            continue;
        };
        let target = joined.get_or_insert_with(|| {
            let empty = Value::List(Vec::new());
            Entry::made(
                &list.key,
                Node::made(empty, list.value.line, &list.value.template),
            )
        });
        let Value::List(all) = &mut target.value.value else {
            continue;
        };
        for item in items {
            let same = key(&item).map(str::to_owned);
            let earlier = all
                .iter_mut()
                .find(|earlier| same.is_some() && key(earlier) == same.as_deref());
            match earlier {
                Some(earlier) => {
                    let weaker = std::mem::replace(earlier, item);
                    take_weaker(earlier, weaker, "");
                }
                None => all.push(item),
            }
        }
    }
    joined
}

/// Files and certificates of all layers, the lowest first, each once; `removeDefaults` of the highest that says it.
fn join_certificates(lowest_first: impl Iterator<Item = Entry>) -> Option<Entry> {
    let mut joined: Option<Entry> = None;
    for entry in lowest_first {
        let Some(target) = &mut joined else {
            joined = Some(entry);
            continue;
        };
        let (Value::Map(mine), Value::Map(theirs)) = (&mut target.value.value, entry.value.value)
        else {
            continue;
        };
        for theirs in theirs {
            match mine.iter_mut().find(|own| own.key == theirs.key) {
                None => mine.push(theirs),
                Some(own) => match (&mut own.value.value, theirs.value.value) {
                    (Value::List(mine), Value::List(theirs)) => mine.extend(theirs),
                    (_, Value::Null) => {}
                    (mine, theirs) => *mine = theirs,
                },
            }
        }
    }
    let mut joined = joined?;
    if let Value::Map(entries) = &mut joined.value.value {
        for entry in entries {
            keep_first_of_each(&mut entry.value);
        }
    }
    Some(joined)
}

/// Takes an entry out of a mapping, if it says something.
fn take(root: &mut Node, key: &str) -> Option<Entry> {
    let Value::Map(entries) = &mut root.value else {
        return None;
    };
    let at = entries.iter().position(|entry| entry.key == key)?;
    let entry = entries.remove(at);
    (!matches!(entry.value.value, Value::Null)).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{flow, read};

    fn filled(template: &str, default: &str, over: &str) -> String {
        let tree = |text: &str| (!text.is_empty()).then(|| read(text, "t").expect("YAML"));
        let template = read(template, "t").expect("a template");
        flow(&fill(template, tree(default), tree(over)))
    }

    /// Template, default, override, and what comes out.
    const LAYERS: &[(&str, &str, &str, &str)] = &[
        (
            "cpus: 2",
            "{cpus: 1, memory: 1GiB}",
            "cpus: 3",
            "{cpus: 3, memory: 1GiB}",
        ),
        ("cpus: null", "cpus: 1", "", "{cpus: 1}"),
        ("cpus: 2", "cpus: 1", "cpus: null", "{cpus: 2}"),
        (
            "images: [{location: y}]",
            "images: [{location: d}]",
            "images: [{location: o}]",
            "{images: [{location: o}, {location: y}, {location: d}]}",
        ),
        (
            "images: null",
            "images: [{location: d}]",
            "",
            "{images: [{location: d}]}",
        ),
        (
            "containerd: {user: false, archives: [{location: y}]}",
            "containerd: {user: true, system: true, archives: [{location: d}]}",
            "",
            "{containerd: {user: false, archives: [{location: y}, {location: d}], system: true}}",
        ),
        (
            "env: {a: y, b: y}",
            "env: {b: d, c: d}",
            "env: {a: o}",
            "{env: {a: o, b: y, c: d}}",
        ),
        (
            "vmOpts: {qemu: {minimumVersion: 1}}",
            "vmOpts: {qemu: {cpuType: {x86_64: max}}, vz: {a: d}}",
            "",
            "{vmOpts: {qemu: {minimumVersion: 1}, vz: {a: d}}}",
        ),
        (
            "dns: [1.1.1.1]",
            "dns: [2.2.2.2]",
            "dns: []",
            "{dns: [1.1.1.1]}",
        ),
        ("dns: [1.1.1.1]", "", "dns: [3.3.3.3]", "{dns: [3.3.3.3]}"),
        ("a: 1", "dns: [2.2.2.2]", "", "{a: 1, dns: [2.2.2.2]}"),
        (
            "mounts: [{location: a}, {location: b}]",
            "mounts: [{location: a, writable: true, 9p: {cache: none}}, {location: c}]",
            "mounts: [{location: b, writable: true}]",
            "{mounts: [{location: a, writable: true, 9p: {cache: none}}, {location: c}, {location: b, writable: true}]}",
        ),
        (
            "networks: [{lima: a}, {interface: x, lima: y}]",
            "networks: [{lima: d}]",
            "networks: [{interface: x, metric: 1}]",
            "{networks: [{lima: d}, {lima: a}, {interface: x, metric: 1, lima: y}]}",
        ),
        (
            "caCerts: {files: [b, c], removeDefaults: false}",
            "caCerts: {files: [a, b], removeDefaults: true}",
            "caCerts: {certs: [x]}",
            "{caCerts: {files: [a, b, c], removeDefaults: false, certs: [x]}}",
        ),
        (
            "{message: y, minimumLimaVersion: 1.0.0}",
            "{message: d, base: x, cpus: 1}",
            "message: o",
            "{cpus: 1, message: y, minimumLimaVersion: 1.0.0}",
        ),
        (
            "provision: [{script: y}]",
            "provision: [{script: d}]",
            "provision: [{script: o}]",
            "{provision: [{script: o}, {script: y}, {script: d}]}",
        ),
    ];

    #[test]
    fn the_override_beats_the_template_which_beats_the_default() {
        for (template, default, over, expected) in LAYERS {
            assert_eq!(
                filled(template, default, over),
                *expected,
                "{template} | {default} | {over}"
            );
        }
    }

    #[test]
    fn without_the_two_files_a_template_stays_as_it_is() {
        assert_eq!(
            filled("{b: 1, mounts: [x], a: null}", "", ""),
            "{b: 1, mounts: [x], a: null}"
        );
    }
}
