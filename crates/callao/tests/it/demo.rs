//! `callao demo` is true, and leaves nothing behind.

use std::fs;

use crate::env::TestEnvironment;

#[test]
fn the_demo_is_as_claimed() {
    let env = TestEnvironment::new();
    let temporary = env.path("");
    let mut command = env.command(&["demo", "--size", "64MiB"]);
    let output = command
        .env("TMPDIR", &temporary)
        .output()
        .expect("the program starts");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for claim in [
        "killed when",
        "is not to be trusted",
        "kept from the first run",
        ": right",
        "Using cache",
        "a hard link",
        "plain copy",
        "Everything was as claimed",
    ] {
        assert!(stdout.contains(claim), "{claim}\n{stdout}");
    }
    assert_eq!(
        fs::read_dir(temporary).expect("the directory").count(),
        0,
        "nothing is left"
    );
}

#[test]
fn its_size_is_checked() {
    let env = TestEnvironment::new();
    assert_eq!(env.run(&["demo", "--size", "many"]).code, Some(2));
    assert_eq!(env.run(&["demo", "--size", "1KiB"]).code, Some(2));
}
