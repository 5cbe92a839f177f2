//! The committed corpus of the fuzz target `qmp`, and faults in it: whatever the bytes, the codec answers.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[expect(unreachable_pub, reason = "the fuzz target has it as a module too")]
#[path = "../../../../fuzz/src/qmp.rs"]
mod body;

/// Every file of the corpus.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/qmp");
    let entries = fs::read_dir(&folder).expect("the corpus is there");
    let read = |entry: std::io::Result<fs::DirEntry>| fs::read(entry.expect("an entry").path());
    entries.map(|entry| read(entry).expect("a file")).collect()
}

#[test]
fn the_corpus_is_answered() {
    let all = corpus();
    assert!(all.len() >= 7, "{} files", all.len());
    for bytes in all {
        body::qmp(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        body::qmp(&bytes);
    }

    #[test]
    fn faults_in_good_bytes_are_answered(
        which in any::<prop::sample::Index>(),
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let seeds = corpus();
        let mut bytes = seeds[which.index(seeds.len())].clone();
        for (place, value) in faults {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
        body::qmp(&bytes);
    }
}
