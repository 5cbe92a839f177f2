//! The fuzz target of this crate, run over its committed corpus as an ordinary test.
#![expect(
    clippy::disallowed_methods,
    reason = "the corpus is files in the repository"
)]

use std::path::Path;

#[expect(unreachable_pub, reason = "it is shared with the fuzz target")]
#[path = "../../../fuzz/src/templates.rs"]
mod templates;

#[test]
fn the_target_runs_over_its_corpus_and_over_pieces_of_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/merge");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).expect("a corpus") {
        let path = entry.expect("a readable directory").path();
        let bytes = std::fs::read(&path).expect("a readable file");
        templates::merge(&bytes);
        for at in (0..bytes.len()).step_by(3) {
            templates::merge(&bytes[..at]);
            templates::merge(&[&bytes[..at], &bytes[at + 1..]].concat());
        }
        count += 1;
    }
    assert!(count >= 5, "{count} files");
}
