//! Every template in Lima's source can be edited. Where they are is told by `CALLAO_TEST_LIMA_TEMPLATES`.
#![expect(
    clippy::disallowed_methods,
    reason = "the test reads templates that somebody else keeps"
)]

use std::path::{Path, PathBuf};

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest};
use callao_template::edit::{Change, Document, Part};

const VARIABLE: &str = "CALLAO_TEST_LIMA_TEMPLATES";
const CID: &str = "bafybeig5sch22ecfox7gq724rz7uivydwvnnpuqdcnjz72iwelgtrakzui";

#[test]
fn every_template_of_lima_can_be_edited() {
    let Some(dir) = std::env::var_os(VARIABLE) else {
        println!("skipped: {VARIABLE} names no directory");
        return;
    };
    let mut paths = Vec::new();
    collect(Path::new(&dir), &mut paths);
    assert!(!paths.is_empty(), "no templates in {}", dir.display());
    let (digest, cid) = (
        Digest::of(Algorithm::Sha256, b"x"),
        cid::parse(CID).expect("a CID"),
    );
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a text");
        let name = path.display().to_string();
        let document = Document::read(&text, &name).expect("a template");
        let mut changes = Vec::new();
        let mut added = 0;
        for file in document.files() {
            changes.extend([
                Change::Digest(file.part, digest),
                Change::Cid(file.part, cid),
            ]);
            added += usize::from(file.digest.is_none()) + usize::from(file.cid.is_none());
            if matches!(file.part, Part::Image(_)) {
                let location = format!("ipfs://{CID}/a.img");
                changes.push(Change::InFront(file.part, location));
            }
        }
        let edited = document
            .apply(&changes)
            .unwrap_or_else(|error| panic!("{error}"));
        let sets: Vec<Change> = changes
            .into_iter()
            .filter(|change| !matches!(change, Change::InFront(..)))
            .collect();
        let locked = document.apply(&sets).expect("an edit");
        assert_eq!(
            locked.lines().count(),
            text.lines().count() + added,
            "{name}: a key is a line"
        );
        let again = Document::read(&edited, &name).expect("still a template");
        let full = again
            .files()
            .iter()
            .filter(|file| file.digest == Some(digest));
        assert_eq!(full.count(), again.files().len(), "{name}");
    }
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "yaml") {
            into.push(path);
        }
    }
}
