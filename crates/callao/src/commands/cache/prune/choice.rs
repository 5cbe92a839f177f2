//! Which entries go: every condition that is given has to let them. Pure.

use std::collections::BTreeMap;

/// An entry, as far as the choice depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Device and inode of `data`; `None` if there is no `data`.
    pub(super) inode: Option<(u64, u64)>,
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) used_unix: i64,
    /// Why it must stay, whatever the conditions are.
    pub(super) needed_by: Option<String>,
    /// A template or an instance that refers to it.
    pub(super) referred_by: Option<String>,
}

/// What the user said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Only what was not used since then, in seconds since 1970.
    pub(super) unused_since: Option<i64>,
    pub(super) keep_referred: bool,
    pub(super) budget_bytes: Option<u64>,
}

impl Rules {
    /// Without a condition nothing goes.
    pub(super) fn let_anything_go(&self) -> bool {
        self.unused_since.is_some() || self.keep_referred || self.budget_bytes.is_some()
    }

    fn let_go(&self, entry: &Candidate) -> bool {
        let old = self
            .unused_since
            .is_none_or(|since| entry.used_unix < since);
        let referred = self.keep_referred && entry.referred_by.is_some();
        self.let_anything_go() && old && !referred && entry.needed_by.is_none()
    }
}

/// For each entry whether it goes.
pub(super) fn choose(entries: &[Candidate], rules: &Rules) -> Vec<bool> {
    let may_go: Vec<bool> = entries.iter().map(|entry| rules.let_go(entry)).collect();
    let Some(budget) = rules.budget_bytes else {
        return may_go;
    };
    let files = files(entries);
    let mut total: u64 = files.values().map(|file| file.size).sum();
    // Only whole files: as long as one name is left, its bytes are.
    let mut candidates: Vec<&File> = files
        .values()
        .filter(|file| file.entries.iter().all(|&index| may_go[index]))
        .collect();
    candidates.sort_by_key(|file| file.used_unix);
    let mut goes = vec![false; entries.len()];
    for file in candidates {
        if total <= budget {
            break;
        }
        total -= file.size;
        for &index in &file.entries {
            goes[index] = true;
        }
    }
    goes
}

/// Bytes of all entries; hard links count once.
pub(super) fn total_bytes<'a>(entries: impl Iterator<Item = &'a Candidate>) -> u64 {
    let sizes: BTreeMap<_, u64> = entries
        .filter_map(|entry| Some((entry.inode?, entry.size)))
        .collect();
    sizes.values().sum()
}

/// One file under all its names in the cache.
struct File {
    size: u64,
    /// Of the name that was used last.
    used_unix: i64,
    entries: Vec<usize>,
}

fn files(entries: &[Candidate]) -> BTreeMap<(u64, u64), File> {
    let mut files: BTreeMap<(u64, u64), File> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(inode) = entry.inode else { continue };
        let file = files.entry(inode).or_insert(File {
            size: entry.size,
            used_unix: entry.used_unix,
            entries: Vec::new(),
        });
        file.used_unix = file.used_unix.max(entry.used_unix);
        file.entries.push(index);
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inode (0: no data), size, last use.
    fn entry(inode: u64, size: u64, used_unix: i64) -> Candidate {
        Candidate {
            inode: (inode > 0).then_some((1, inode)),
            size,
            used_unix,
            needed_by: None,
            referred_by: None,
        }
    }

    fn referred(entry: Candidate) -> Candidate {
        Candidate {
            referred_by: Some("template:debian".into()),
            ..entry
        }
    }

    fn needed(entry: Candidate) -> Candidate {
        Candidate {
            needed_by: Some("instance".into()),
            ..entry
        }
    }

    #[test]
    fn every_condition_has_to_let_an_entry_go() {
        let none = Rules::default();
        let age = Rules {
            unused_since: Some(100),
            ..none
        };
        let keep = Rules {
            keep_referred: true,
            ..none
        };
        let both = Rules {
            keep_referred: true,
            ..age
        };
        let entries = [
            entry(1, 10, 99),
            entry(2, 10, 100),
            referred(entry(3, 10, 1)),
            needed(entry(4, 10, 1)),
            entry(0, 0, 50),
        ];
        let cases = [
            (none, [false, false, false, false, false]),
            (age, [true, false, true, false, true]),
            (keep, [true, true, false, false, true]),
            (both, [true, false, false, false, true]),
        ];
        for (rules, expected) in cases {
            assert_eq!(choose(&entries, &rules), expected, "{rules:?}");
        }
    }

    #[test]
    fn a_budget_takes_what_was_not_used_for_longest_and_no_more() {
        let entries = [
            entry(1, 40, 300),
            entry(2, 30, 100),
            entry(3, 20, 200),
            needed(entry(4, 5, 1)),
            entry(0, 0, 1),
        ];
        let cases = [
            (95, [false, false, false, false, false]),
            (94, [false, true, false, false, false]),
            (65, [false, true, false, false, false]),
            (64, [false, true, true, false, false]),
            (0, [true, true, true, false, false]),
        ];
        for (budget, expected) in cases {
            let rules = Rules {
                budget_bytes: Some(budget),
                ..Rules::default()
            };
            assert_eq!(choose(&entries, &rules), expected, "{budget}");
        }
        assert_eq!(total_bytes(entries.iter()), 95);
    }

    #[test]
    fn hard_links_count_once_and_go_together() {
        let entries = [
            entry(1, 40, 100),
            entry(1, 40, 400),
            entry(2, 30, 200),
            entry(3, 20, 50),
            referred(entry(3, 20, 50)),
        ];
        assert_eq!(total_bytes(entries.iter()), 90);
        let rules = Rules {
            budget_bytes: Some(60),
            keep_referred: true,
            ..Rules::default()
        };
        // File 3 is older, but one of its names has to stay; file 1 was used last under its other name.
        assert_eq!(choose(&entries, &rules), [false, false, true, false, false]);
        let tighter = Rules {
            budget_bytes: Some(59),
            ..rules
        };
        assert_eq!(choose(&entries, &tighter), [true, true, true, false, false]);
    }
}
