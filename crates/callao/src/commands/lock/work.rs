//! What has to be looked up: the files that are meant, and which of them are the same bytes. Pure.

use callao_template::Arch;
use callao_template::edit::{FileEntry, Part};

use super::sums::Listed;
use crate::get::plan::{Location, Noun, Place, Want};

/// One file of the template.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) entry: FileEntry,
    pub(super) want: Want,
    /// Which of the groups looks it up; `None`: nothing says which bytes it has, and nobody asked to find out.
    pub(super) group: Option<usize>,
    /// What the checksums of its origin say (`--sums`).
    pub(super) listed: Option<Listed>,
}

impl Item {
    /// Nothing says which bytes it has.
    pub(super) fn is_latest(&self) -> bool {
        !is_pinned(&self.want)
    }
}

/// What there is to do.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    pub(super) items: Vec<Item>,
    /// One file each, under all of its names.
    pub(super) groups: Vec<Want>,
}

impl Work {
    /// Of these files those for `arches` (all, if there are none), where those without `arch:` are for any.
    pub(super) fn of(files: &[FileEntry], arches: &[Arch], with_latest: bool) -> Self {
        let mut work = Work::default();
        let is_meant = |file: &&FileEntry| {
            arches.is_empty() || file.arch.is_none_or(|arch| arches.contains(&arch))
        };
        for entry in files.iter().filter(is_meant) {
            let want = want(entry);
            let group = (with_latest || is_pinned(&want)).then(|| work.group(&want));
            work.items.push(Item {
                entry: entry.clone(),
                want,
                group,
                listed: None,
            });
        }
        work
    }

    /// The group of a file, a new one if its bytes are not certainly those of another.
    fn group(&mut self, want: &Want) -> usize {
        let has_same_name = |group: &Want| {
            !is_pinned(group) && !is_pinned(want) && group.location() == want.location()
        };
        let known = self
            .groups
            .iter()
            .position(|group| group.is_same_file(want) || has_same_name(group));
        match known {
            Some(index) => {
                self.groups[index].take_over(want.clone());
                index
            }
            None => {
                self.groups.push(want.clone());
                self.groups.len() - 1
            }
        }
    }
}

/// Whether something says which bytes are the right ones. A file that is here says so itself.
fn is_pinned(want: &Want) -> bool {
    let is_here = |location: &Location| matches!(location.place, Place::Local(_));
    want.is_pinned() || want.locations.iter().all(is_here)
}

fn want(entry: &FileEntry) -> Want {
    let location = Location::read(&entry.location);
    let whole = location
        .address()
        .filter(|address| address.path.is_empty())
        .map(|address| address.cid);
    Want {
        noun: noun(entry.part),
        arch: entry.arch,
        locations: vec![location],
        digest: entry.digest,
        cid: entry.cid.or(whole),
    }
}

fn noun(part: Part) -> Noun {
    match part {
        Part::Image(_) => Noun::Image,
        Part::Kernel(_) => Noun::Kernel,
        Part::Initrd(_) => Noun::Initrd,
        Part::ContainerdArchive(_) | Part::Archive(_) => Noun::Archive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_template::edit::Document;

    const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";

    fn work(text: &str, arches: &[Arch], with_latest: bool) -> Vec<Option<usize>> {
        let document = Document::read(text, "t").expect("a template");
        let work = Work::of(document.files(), arches, with_latest);
        work.items.iter().map(|item| item.group).collect()
    }

    #[test]
    fn the_same_bytes_are_looked_up_once() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            "images:\n- {{location: 'http://h/a', digest: '{digest}'}}\n- {{location: 'http://h/b', digest: '{digest}', cid: {CID}}}\n\
             - {{location: 'http://h/c'}}\n- {{location: 'ipfs://{CID}/a'}}\n\
             - {{location: 'http://h/c', variant: v}}\n- {{location: /here}}\n"
        );
        assert_eq!(
            work(&text, &[], true),
            [Some(0), Some(0), Some(1), Some(0), Some(1), Some(2)]
        );
        assert_eq!(
            work(&text, &[], false),
            [Some(0), Some(0), None, Some(0), None, Some(1)]
        );
    }

    #[test]
    fn files_for_any_architecture_are_always_meant() {
        let text = "images:\n- {location: a, arch: x86_64}\n- {location: b, arch: aarch64, kernel: {location: k}}\n- {location: c}\n";
        assert_eq!(work(text, &[Arch::Aarch64], true).len(), 3);
        assert_eq!(work(text, &[Arch::X86_64, Arch::Aarch64], true).len(), 4);
        assert_eq!(work(text, &[Arch::S390x], true).len(), 1);
    }
}
