//! Entries of `additionalDisks`, `mounts` and `networks` that are about the same thing become one, after all bases are
//! merged (`combineListEntries` in `pkg/limatmpl/embed.go` of Lima v2.2). It must not know what they mean.
//!
//! The earlier entry wins and takes from the later one what it does not say; a later entry with the key `*` gives to all
//! before it.

use crate::error::Error;
use crate::limits;
use crate::tree::{Entry, Node, Value};

const WILDCARD: &str = "*";

/// Combines all three lists of a template.
///
/// # Errors
/// A list with an absurd number of entries: each is compared with all before it.
pub(crate) fn combine(root: &mut Node) -> Result<(), Error> {
    let Value::Map(entries) = &mut root.value else {
        return Ok(());
    };
    for entry in entries {
        let Value::List(items) = &mut entry.value.value else {
            continue;
        };
        let (key, own): (fn(&Node) -> Option<&str>, _) = match entry.key.as_str() {
            "additionalDisks" => (disk_name, "name"),
            "mounts" => (mount_point, "location"),
            "networks" => (interface, "interface"),
            _ => continue,
        };
        if items.len() > limits::FILES_COUNT_MAX {
            return Err(Error::TooMany {
                name: entry.value.template.to_string(),
                line: entry.value.line,
                field: entry.key.clone(),
                count: items.len(),
                max: limits::FILES_COUNT_MAX,
            });
        }
        combine_list(items, key, own);
    }
    Ok(())
}

fn disk_name(disk: &Node) -> Option<&str> {
    disk.get("name").unwrap_or(disk).text()
}

/// Where it appears in the guest, which is its place on the host if nothing else is said.
pub(crate) fn mount_point(mount: &Node) -> Option<&str> {
    let named = mount.get("mountPoint").or_else(|| mount.get("location"));
    named.and_then(Node::text)
}

pub(crate) fn interface(network: &Node) -> Option<&str> {
    network.get("interface").and_then(Node::text)
}

fn combine_list(items: &mut Vec<Node>, key: fn(&Node) -> Option<&str>, own: &str) {
    let mut at = 0;
    while let Some(item) = items.get(at) {
        let wanted = key(item).map(str::to_owned);
        let is_target = |earlier: &Node| match &wanted {
            Some(wanted) if wanted == WILDCARD => true,
            Some(wanted) => key(earlier) == Some(wanted),
            None => false,
        };
        let targets: Vec<usize> = (0..at).filter(|index| is_target(&items[*index])).collect();
        if targets.is_empty() && wanted.as_deref() != Some(WILDCARD) {
            at += 1;
            continue;
        }
        let later = items.remove(at);
        for target in targets {
            take_missing(&mut items[target], &later, own);
        }
    }
}

/// Takes every field that is missing or null; a disk that is only a name becomes a mapping first.
fn take_missing(earlier: &mut Node, later: &Node, own: &str) {
    let Value::Map(theirs) = &later.value else {
        return;
    };
    if let Value::Scalar { .. } = &earlier.value {
        let name = Entry::made("name", earlier.clone());
        earlier.value = Value::Map(vec![name]);
    }
    // A network is either Lima's or a socket: the two come together or not at all.
    let has_network = earlier.get("lima").is_some() || earlier.get("socket").is_some();
    let Value::Map(mine) = &mut earlier.value else {
        return;
    };
    for entry in theirs {
        let key = entry.key.as_str();
        let is_wildcard = entry.value.text() == Some(WILDCARD);
        if key == own || is_wildcard || (has_network && matches!(key, "lima" | "socket")) {
            continue;
        }
        match mine.iter_mut().find(|field| field.key == entry.key) {
            None => mine.push(entry.clone()),
            Some(field) if is_unset(&field.value) => field.value = entry.value.clone(),
            Some(field) if matches!(field.value.value, Value::Map(_)) => {
                take_missing(&mut field.value, &entry.value, "");
            }
            Some(_) => {}
        }
    }
}

/// Lists, such as `fsArgs`, are taken whole or not at all.
fn is_unset(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{flow, read};

    fn combined(text: &str) -> String {
        let mut root = read(text, "t").expect("a template");
        combine(&mut root).expect("short lists");
        flow(&root)
    }

    /// Lists as they stand after merging: the template's entries, then those of its bases.
    #[test]
    fn entries_about_the_same_thing_become_one() {
        let cases = [
            (
                "additionalDisks: [{name: disk1}, {name: disk2}, {name: disk1, format: true}]",
                "{additionalDisks: [{name: disk1, format: true}, {name: disk2}]}",
            ),
            (
                "additionalDisks: [{name: disk1}, {name: disk3, format: false}, disk4, {name: \"*\", format: true}, {name: disk5}]",
                "{additionalDisks: [{name: disk1, format: true}, {name: disk3, format: false}, \
                 {name: disk4, format: true}, {name: disk5}]}",
            ),
            (
                "additionalDisks: [{name: a, fsArgs: []}, {name: a, fsArgs: [-F]}, {name: a, fsArgs: [-G]}]",
                "{additionalDisks: [{name: a, fsArgs: [-F]}]}",
            ),
            (
                "mounts: [{location: loc1}, {location: loc1, mountPoint: loc2}, \
                 {location: loc1, mountPoint: loc2, writable: true, sshfs: {followSymlinks: true}}, \
                 {location: loc1, mountPoint: loc3, writable: true}]",
                "{mounts: [{location: loc1}, {location: loc1, mountPoint: loc2, writable: true, sshfs: {followSymlinks: true}}, \
                 {location: loc1, mountPoint: loc3, writable: true}]}",
            ),
            (
                "mounts: [{location: a, 9p: {cache: mmap}}, {location: b, writable: false}, \
                 {location: \"*\", writable: true, 9p: {cache: none, msize: 1}}]",
                "{mounts: [{location: a, 9p: {cache: mmap, msize: 1}, writable: true}, \
                 {location: b, writable: false, 9p: {cache: none, msize: 1}}]}",
            ),
            (
                "networks: [{interface: lima1}, {interface: lima2}, {metric: 250}, {interface: lima1, metric: 100}, \
                 {interface: \"*\", metric: 123}]",
                "{networks: [{interface: lima1, metric: 100}, {interface: lima2, metric: 123}, {metric: 250}]}",
            ),
            (
                "networks: [{interface: a, lima: shared}, {interface: a, socket: s, macAddress: m}]",
                "{networks: [{interface: a, lima: shared, macAddress: m}]}",
            ),
            (
                "mounts: [{location: \"*\", writable: true}]",
                "{mounts: []}",
            ),
            ("mounts: nonsense", "{mounts: nonsense}"),
        ];
        for (text, expected) in cases {
            assert_eq!(combined(text), expected, "{text}");
        }
    }
}
