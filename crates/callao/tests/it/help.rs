//! What the program says about itself, and about command lines that make no sense.

use insta::assert_snapshot;

use crate::env::TestEnvironment;

#[test]
fn help_teaches() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["--help"]).stdout, @"");
}

#[test]
fn help_of_get() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["get", "--help"]).stdout, @"");
}

#[test]
fn help_of_add() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["add", "--help"]).stdout, @"");
}

#[test]
fn help_of_cache() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["cache", "--help"]).stdout, @"");
}

#[test]
fn usage_errors_have_exit_code_2() {
    let env = TestEnvironment::new();
    let lines: [&[&str]; 12] = [
        &[],
        &["no-such-command"],
        &["get"],
        &["get", "template.yaml", "--no-such-flag"],
        &["get", "oci://host/image"],
        &["get", "https://host/a.img", "--digest", "sha256:abc"],
        &["get", "https://host/a.img", "--cid", "bafyx"],
        &["get", "https://host/a.img", "--mirror", "ftp://host/a.img"],
        &["get", "https://host/a.img", "--kubo", "nowhere"],
        &[
            "get",
            "https://host/a.img",
            "https://host/b.img",
            "--digest",
            "sha256:abc",
        ],
        &["get", "https://host/a.img", "--only", "carrier-pigeon"],
        &["add"],
    ];
    for line in lines {
        assert_eq!(env.run(line).code, Some(2), "{line:?}");
    }
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--digest", "sha256:abc"])), @"");
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--cid", "bafyx"])), @"");
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--kubo", "nowhere"])), @"");
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--mirror", "ftp://host/a.img"])), @"");
    assert_snapshot!(env.told(&env.run(&["get"])), @"");
}

#[test]
fn what_is_not_there_has_exit_code_3() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.told(&env.run(&["get", "missing.img"])), @"");
    assert_snapshot!(env.told(&env.run(&["add", "missing.img"])), @"");
}

#[test]
fn wrong_settings_are_named() {
    let mut env = TestEnvironment::new();
    env.set("discovry = \"none\"\n");
    assert_snapshot!(env.told(&env.run(&["cache", "list"])), @"");
}

#[test]
fn completions_and_the_manual_are_printed() {
    let env = TestEnvironment::new();
    assert!(
        env.succeed(&["completions", "bash"])
            .stdout
            .contains("complete -F _callao")
    );
    let page = env.succeed(&["man"]).stdout;
    assert!(
        page.starts_with(".ie")
            && page.contains("EXIT CODES")
            && page.contains("discovery = \"public\"")
    );
}
