//! What the bytes mean for an entry: what is to be written, what is wrong, what is missing. Pure.

use callao_content::Cid;
use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_template::edit::{Change, FileEntry, Part};

use super::gather::Facts;
use super::work::{Item, Work};
use crate::get::plan::{Location, Place};

/// What is to be done about one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What its `digest:` is, or would be.
    pub(super) digest: Option<Digest>,
    /// What its `cid:` is, or would be.
    pub(super) cid: Option<Cid>,
    /// Keys that are to be written: `digest`, `cid`.
    pub(super) lacks: Vec<&'static str>,
    /// Why it does not name its bytes.
    pub(super) faults: Vec<String>,
}

/// Compares an entry with the bytes that it leads to.
pub(super) fn of(item: &Item, facts: &Facts, profile: &str) -> Verdict {
    let (entry, names) = (&item.entry, &facts.names);
    let mut verdict = Verdict {
        digest: entry.digest,
        cid: entry.cid.or_else(|| cid_of_location(item, facts)),
        ..Verdict::default()
    };
    let got = |algorithm: Algorithm| {
        let mut digests = names.digests.iter();
        digests.find(|digest| digest.algorithm() == algorithm)
    };
    match &entry.digest {
        Some(digest) if !names.digests.contains(digest) => {
            let got = got(digest.algorithm()).map_or_else(String::new, ToString::to_string);
            let fault = format!("digest: expected `{digest}`, got `{got}`");
            verdict.faults.push(fault);
        }
        Some(_) => {}
        None => {
            verdict.digest = got(Algorithm::Sha256).copied();
            verdict.lacks.push("digest");
        }
    }
    if let Some(listed) = &item.listed
        && !names.digests.contains(&listed.digest)
    {
        let got = got(listed.digest.algorithm()).map_or_else(String::new, ToString::to_string);
        verdict.faults.push(format!(
            "{} lists `{}`, got `{got}`",
            listed.url, listed.digest
        ));
    }
    let mut wrong = |what: &str, claim: &Cid| {
        verdict.faults.push(format!(
            "{what}: {} names other bytes; these have {} (profile {profile})",
            cid::text(claim),
            cid::text(&names.cid)
        ));
    };
    let is_true = |claim: &Cid| {
        let mut all = names.confirmed.iter().chain(&names.roots);
        all.any(|known| cid::same_block(known, claim))
    };
    if let Some(claim) = entry.cid.filter(|claim| !is_true(claim)) {
        wrong("cid", &claim);
    }
    if let Some(claim) = whole_address(item).filter(|claim| !is_true(claim)) {
        wrong("location", &claim);
    }
    if verdict.cid.is_none() {
        verdict.cid = Some(names.cid);
        verdict.lacks.push("cid");
    }
    verdict
}

/// An entry that nobody looked up: what it lacks can be seen without its bytes.
pub(super) fn unseen(entry: &FileEntry) -> Verdict {
    let location = Location::read(&entry.location);
    let address = location.address().filter(|address| address.path.len() <= 1);
    let cid = entry.cid.or(address.map(|address| address.cid));
    let mut lacks = Vec::new();
    if entry.digest.is_none() {
        lacks.push("digest");
    }
    if cid.is_none() {
        lacks.push("cid");
    }
    Verdict {
        digest: entry.digest,
        cid,
        lacks,
        faults: Vec::new(),
    }
}

/// `ipfs://CID`: the CID is that of the file.
fn whole_address(item: &Item) -> Option<Cid> {
    let address = item.want.locations.first()?.address()?;
    address.path.is_empty().then_some(address.cid)
}

/// `ipfs://CID/name`, where the CID has turned out to be that of the file: a `cid:` would only repeat it.
fn cid_of_location(item: &Item, facts: &Facts) -> Option<Cid> {
    let location = item.want.locations.first()?;
    let Place::Ipfs(address) = &location.place else {
        return None;
    };
    let mut roots = facts.names.roots.iter();
    (address.path.len() <= 1 && roots.any(|root| cid::same_block(root, &address.cid)))
        .then_some(address.cid)
}

/// What is to be written for an entry that lacks something.
pub(super) fn changes(part: Part, verdict: &Verdict) -> Vec<Change> {
    let mut changes = Vec::new();
    for lack in &verdict.lacks {
        changes.extend(match *lack {
            "digest" => verdict.digest.map(|digest| Change::Digest(part, digest)),
            _ => verdict.cid.map(|cid| Change::Cid(part, cid)),
        });
    }
    changes
}

/// The changes that are going to be made, with other values: to see whether they can be.
pub(super) fn trial(with_ipfs: bool, work: &Work) -> Vec<Change> {
    let digest = Digest::of(Algorithm::Sha256, b"");
    let cid = cid::raw_sha256([0; 32]);
    let mut changes = Vec::new();
    for item in work.items.iter().filter(|item| item.group.is_some()) {
        let part = item.entry.part;
        for lack in unseen(&item.entry).lacks {
            changes.push(match lack {
                "digest" => Change::Digest(part, digest),
                _ => Change::Cid(part, cid),
            });
        }
        if with_ipfs && may_have_front(item) {
            changes.push(Change::InFront(part, "ipfs://CID/name".into()));
        }
    }
    changes
}

/// Whether an entry with an `ipfs://` location can come in front of it.
fn may_have_front(item: &Item) -> bool {
    let is_in_a_list = !matches!(item.entry.part, Part::Kernel(_) | Part::Initrd(_));
    let place = item.want.locations.first().map(|location| &location.place);
    is_in_a_list && !matches!(place, None | Some(Place::Ipfs(_) | Place::Local(_)))
}

/// Entries with an `ipfs://` location in front of those that have a CID now, unless there is one already.
pub(super) fn fronts(files: &[FileEntry], judged: &[(&Item, &Verdict)]) -> Vec<Change> {
    let mut there: Vec<(FileEntry, Cid)> = files
        .iter()
        .filter_map(|file| {
            let location = Location::read(&file.location);
            let Place::Ipfs(address) = &location.place else {
                return None;
            };
            Some((file.clone(), address.cid))
        })
        .collect();
    let mut changes = Vec::new();
    for (item, verdict) in judged {
        let (entry, Some(cid)) = (&item.entry, verdict.cid) else {
            continue;
        };
        let has_one = there
            .iter()
            .any(|(file, other)| cid::same_block(other, &cid) && is_alternative(file, entry));
        if !may_have_front(item) || has_one {
            continue;
        }
        there.push((entry.clone(), cid));
        // In a URL the CID is always version 1: parsers fold the host to lower case.
        let in_url = Cid::new_v1(cid.codec(), cid.hash().to_owned());
        let location = format!("ipfs://{}/{}", cid::text(&in_url), item.want.base_name());
        changes.push(Change::InFront(entry.part, location));
    }
    changes
}

/// Whether limactl would try the one for the other.
fn is_alternative(one: &FileEntry, other: &FileEntry) -> bool {
    let list = |file: &FileEntry| match file.part {
        Part::Image(_) => 0,
        Part::ContainerdArchive(_) => 1,
        Part::Archive(_) => 2,
        Part::Kernel(_) | Part::Initrd(_) => 3,
    };
    list(one) == list(other)
        && one.arch == other.arch
        && one.variant == other.variant
        && one.arch_variant == other.arch_variant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::lock::names::Names;
    use crate::output::json;
    use callao_fetch::event::Proof;
    use callao_template::edit::Document;

    const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";
    const OTHER: &str = "bafybeidyzm3zkljztw3xqqjjapcqzsr4odz4evnmk4kfhdmmgird6citbi";

    fn facts() -> Facts {
        let known = cid::parse(CID).expect("a CID");
        Facts {
            got: json::Got {
                kind: "result",
                what: "image",
                path: "/d/data".into(),
                location: "l".into(),
                from: json::From::Cache,
                digest: None,
                cid: None,
                size: 1,
                sources: Vec::new(),
                resumed: 0,
                proof: Proof::Digest,
                elapsed_ms: 0,
            },
            names: Names {
                digests: [Algorithm::Sha256, Algorithm::Sha512]
                    .map(|algorithm| Digest::of(algorithm, b"x"))
                    .to_vec(),
                cid: known,
                confirmed: Vec::new(),
                roots: vec![known],
            },
        }
    }

    fn judged(entry: &str) -> Verdict {
        let text = format!("images:\n- {{{entry}}}\n");
        let document = Document::read(&text, "t").expect("a template");
        let work = Work::of(document.files(), &[], true);
        of(&work.items[0], &facts(), "kubo-cid-v1")
    }

    #[test]
    fn what_is_missing_is_written_and_what_is_there_is_compared() {
        let sha256 = Digest::of(Algorithm::Sha256, b"x");
        let (sha512, false_one) = (
            Digest::of(Algorithm::Sha512, b"x"),
            Digest::of(Algorithm::Sha512, b"y"),
        );
        let all = judged("location: 'http://h/a'");
        assert_eq!(
            (all.lacks, all.digest),
            (vec!["digest", "cid"], Some(sha256))
        );
        let kept = judged(&format!("location: 'http://h/a', digest: '{sha512}'"));
        assert_eq!((kept.lacks, kept.digest), (vec!["cid"], Some(sha512)));
        let none = judged(&format!(
            "location: 'http://h/a', digest: '{sha512}', cid: {CID}"
        ));
        assert!(none.lacks.is_empty() && none.faults.is_empty());
        let wrong = judged(&format!(
            "location: 'http://h/a', digest: '{false_one}', cid: {OTHER}"
        ));
        assert_eq!(
            wrong.faults,
            [
                format!("digest: expected `{false_one}`, got `{sha512}`"),
                format!("cid: {OTHER} names other bytes; these have {CID} (profile kubo-cid-v1)")
            ]
        );
    }

    #[test]
    fn a_cid_in_the_location_needs_no_key() {
        for location in [format!("ipfs://{CID}"), format!("ipfs://{CID}/a.img")] {
            let verdict = judged(&format!("location: '{location}'"));
            assert_eq!(verdict.lacks, ["digest"], "{location}");
        }
        // The CID is that of a directory: that of the file is not known from it.
        assert_eq!(
            judged(&format!("location: 'ipfs://{OTHER}/a.img'")).lacks,
            ["digest", "cid"]
        );
        let wrong = judged(&format!("location: 'ipfs://{OTHER}'"));
        assert_eq!(
            wrong.faults,
            [format!(
                "location: {OTHER} names other bytes; these have {CID} (profile kubo-cid-v1)"
            )]
        );
    }

    #[test]
    fn what_is_missing_is_seen_without_the_bytes() {
        let text = format!(
            "images:\n- location: a\n- {{location: 'ipfs://{CID}/a'}}\n- {{location: b, cid: {CID}, digest: 'sha256:{}'}}\n",
            "a".repeat(64)
        );
        let document = Document::read(&text, "t").expect("a template");
        let lacks: Vec<_> = document
            .files()
            .iter()
            .map(|file| unseen(file).lacks)
            .collect();
        assert_eq!(lacks, [vec!["digest", "cid"], vec!["digest"], vec![]]);
    }

    #[test]
    fn an_entry_of_ipfs_is_put_in_front_once() {
        let text = format!(
            "images:\n- {{location: 'http://h/x/a.img?y', arch: x86_64, variant: v, kernel: {{location: 'http://h/k'}}}}\n\
             - {{location: 'http://h/b.img', arch: x86_64, variant: v}}\n- {{location: 'http://h/c.img', arch: x86_64}}\n\
             - {{location: /here/d.img}}\n- {{location: 'ipfs://{CID}/e.img', arch: x86_64}}\n"
        );
        let document = Document::read(&text, "t").expect("a template");
        let work = Work::of(document.files(), &[], true);
        let facts = facts();
        let verdicts: Vec<Verdict> = work
            .items
            .iter()
            .map(|item| of(item, &facts, "p"))
            .collect();
        let judged: Vec<_> = work.items.iter().zip(&verdicts).collect();
        assert_eq!(
            fronts(document.files(), &judged),
            [Change::InFront(
                Part::Image(0),
                format!("ipfs://{CID}/a.img")
            )]
        );
    }
}
