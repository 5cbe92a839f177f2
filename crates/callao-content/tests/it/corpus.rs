//! The fuzz targets, run over their committed corpus as an ordinary test.
#![expect(
    clippy::disallowed_methods,
    reason = "the corpus is files in the repository"
)]

use std::path::Path;

#[expect(unreachable_pub, reason = "in its own crate the file is a library")]
#[path = "../../../../fuzz/src/lib.rs"]
pub(crate) mod bodies;

#[test]
fn every_target_runs_over_its_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (name, body) in bodies::ALL {
        assert!(
            std::fs::exists(fuzz.join(format!("fuzz_targets/{name}.rs")))
                .expect("a readable directory"),
            "{name}"
        );
        let mut count = 0;
        for entry in
            std::fs::read_dir(fuzz.join("corpus").join(name)).expect("a corpus for every target")
        {
            let path = entry.expect("a readable directory").path();
            body(&std::fs::read(&path).expect("a readable file"));
            count += 1;
        }
        assert!(count >= 3, "{name} has {count} files");
    }
}
