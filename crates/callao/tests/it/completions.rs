//! Completion, as the shells ask for it: in a real bash, and by the answers that the scripts of the others get.

use std::path::Path;
use std::process::Command;

use crate::cache::with_an_entry;
use crate::env::{Sample, TestEnvironment};

/// Words as readline cuts them for `COMP_WORDS`, and the last of them.
fn cut(line: &str) -> Vec<String> {
    let breaks = |c: char| ":=".contains(c);
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in line.chars() {
        if c == ' ' {
            // The next word begins with the next letter.
        } else if before == ' ' || breaks(c) != breaks(before) {
            words.push(c.to_string());
        } else if let Some(word) = words.last_mut() {
            word.push(c);
        }
        before = c;
    }
    if line.ends_with(' ') {
        words.push(String::new());
    }
    words
}

/// What a real bash would put in place of the last piece of the line.
fn in_bash(env: &TestEnvironment, line: &str) -> Vec<String> {
    in_bash_with(env, line, &[])
}

fn in_bash_with(env: &TestEnvironment, line: &str, variables: &[(&str, &Path)]) -> Vec<String> {
    let mut command = asking(env, "bash");
    command.envs(variables.iter().copied());
    let words = cut(line);
    let script = "source <(callao completions bash)
        COMP_LINE=$1 COMP_POINT=${#1}; shift
        COMP_WORDS=(\"$@\") COMP_CWORD=$(( $# - 1 ))
        _callao callao \"${COMP_WORDS[COMP_CWORD]}\" \"\"
        for reply in \"${COMPREPLY[@]}\"; do echo \"$reply\"; done";
    command
        .env_remove("CALLAO_COMPLETE")
        .args(["--norc", "--noprofile", "-c", script, "bash", line])
        .args(words);
    let output = command.output().expect("bash runs");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    lines(&output.stdout)
}

/// What a script of this shell gets for these words.
fn answer(env: &TestEnvironment, shell: &str, words: &[&str]) -> String {
    let index = (words.len() - 1).to_string();
    let output = asking(env, "callao")
        .env("CALLAO_COMPLETE", shell)
        .env("_CLAP_COMPLETE_INDEX", index)
        .env("_CLAP_IFS", "\n")
        .arg("--")
        .args(words)
        .output()
        .expect("callao runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

/// A program in the world of the test, with callao on its PATH.
fn asking(env: &TestEnvironment, program: &str) -> Command {
    let callao = Path::new(env!("CARGO_BIN_EXE_callao"));
    let dir = callao.parent().expect("a directory").display();
    let inside = env.command(&[]);
    let mut command = Command::new(match program {
        "callao" => callao,
        other => Path::new(other),
    });
    command.env_clear();
    for (name, value) in inside.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.current_dir(inside.get_current_dir().expect("a directory"));
    command.env("PATH", format!("{dir}:/usr/bin:/bin"));
    command
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn words_are_cut_as_readline_does() {
    assert_eq!(cut("callao get "), ["callao", "get", ""]);
    assert_eq!(cut("callao get te"), ["callao", "get", "te"]);
    assert_eq!(
        cut("callao get template:deb"),
        ["callao", "get", "template", ":", "deb"]
    );
    assert_eq!(cut("callao get https:"), ["callao", "get", "https", ":"]);
}

#[test]
fn commands_and_flags_complete_in_bash() {
    let env = TestEnvironment::new();
    assert_eq!(in_bash(&env, "callao comp"), ["completions"]);
    assert_eq!(in_bash(&env, "callao cache re"), ["repair", "rebuild"]);
    assert_eq!(in_bash(&env, "callao cache prune --o"), ["--older-than"]);
    assert_eq!(in_bash(&env, "callao get --discovery p"), ["public"]);
    assert_eq!(in_bash(&env, "callao completions fi"), ["fish"]);
}

#[test]
fn files_complete_in_bash_with_what_has_to_be_quoted() {
    let env = TestEnvironment::new();
    env.write("template.yaml", "");
    env.write("an image.img", "");
    env.write("it's.img", "");
    std::fs::create_dir(env.path("templates")).expect("a directory");
    assert_eq!(
        in_bash(&env, "callao get temp"),
        ["template:", "template.yaml", "templates/"]
    );
    assert_eq!(in_bash(&env, "callao add an"), ["an\\ image.img"]);
    assert_eq!(in_bash(&env, "callao add it"), ["it\\'s.img"]);
    assert_eq!(
        in_bash(&env, "callao get x -o templ"),
        ["template.yaml", "templates/"]
    );
    assert!(
        in_bash(&env, "callao get ").contains(&"template.yaml".to_string()),
        "flags only where one was begun"
    );
    assert!(
        in_bash(&env, "callao get ")
            .iter()
            .all(|word| !word.starts_with('-'))
    );
    assert!(in_bash(&env, "callao get 'tem").is_empty());
}

#[test]
fn urls_in_the_cache_complete_in_bash() {
    let (env, _, url) = with_an_entry(760);
    let after_colon = url.strip_prefix("http:").expect("a URL");
    for typed in ["http:", "http://127", "http://127.0.0.1:"] {
        let replies = in_bash(&env, &format!("callao cache verify {typed}"));
        let rest = match typed {
            "http://127.0.0.1:" => url.rsplit_once(':').expect("a port").1,
            _ => after_colon,
        };
        assert_eq!(replies, [rest], "{typed}");
    }
    assert_eq!(in_bash(&env, "callao get htt"), [url.as_str()]);
    assert!(in_bash(&env, "callao cache repair ").contains(&url));
    assert_eq!(in_bash(&env, "callao get x --mirror htt"), [url.as_str()]);
    assert!(in_bash(&env, "callao get x --gateway htt").is_empty());
}

#[test]
fn names_of_templates_complete_in_bash() {
    let env = TestEnvironment::new();
    let dir = env.path("all");
    std::fs::create_dir_all(dir.join("deprecated")).expect("a directory");
    for name in ["debian-12.yaml", "debian-13.yaml", "deprecated/old.yaml"] {
        std::fs::write(dir.join(name), "images: []").expect("a template");
    }
    let answer = |line: &str| in_bash_with(&env, line, &[("LIMA_TEMPLATES_PATH", &dir)]);
    assert_eq!(answer("callao get templ"), ["template:"]);
    assert_eq!(
        answer("callao get template:debian-"),
        ["debian-12", "debian-13"]
    );
    assert_eq!(answer("callao get template:dep"), ["deprecated/old"]);
    assert!(
        answer("callao get template:").contains(&"ubuntu".to_owned()),
        "callao's own"
    );
}

#[test]
fn names_of_instances_complete_in_bash() {
    let env = TestEnvironment::new();
    let all = env.home().join(".local/share/callao/instances");
    for name in ["web", "web-2", "db", ".new-1"] {
        std::fs::create_dir_all(all.join(name)).expect("a directory");
    }
    env.write("web.yaml", "");
    for command in [
        "stop",
        "stop --force",
        "restart",
        "shell",
        "delete db",
        "list",
        "logs -f",
        "edit",
        "ssh-config",
    ] {
        let line = format!("callao {command} w");
        assert_eq!(in_bash(&env, &line), ["web", "web-2"], "{command}");
    }
    assert_eq!(in_bash(&env, "callao stop "), ["db", "web", "web-2"]);
    assert_eq!(
        in_bash(&env, "callao start w"),
        ["web", "web-2", "web.yaml"]
    );
    // A new one needs a name of its own.
    assert_eq!(in_bash(&env, "callao create w"), ["web.yaml"]);
    assert_eq!(in_bash(&env, "callao start templ"), ["template:"]);
    assert_eq!(in_bash(&env, "callao create template:alp"), ["alpine"]);
    assert_eq!(
        in_bash(&env, "callao copy web"),
        ["web-2:", "web:", "web.yaml"]
    );
    assert!(!in_bash(&env, "callao shell web ").contains(&"web".to_owned()));
    assert!(in_bash(&env, "callao get x --image-variant w").is_empty());
}

#[test]
fn a_cache_that_is_named_on_the_line_is_looked_into() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(761, 1000));
    let location = "https://host.invalid/a.img";
    let other = env.path("other");
    let dir = env.entry(location);
    let below = dir.strip_prefix(env.cache_dir()).expect("an entry");
    std::fs::create_dir_all(other.join(below)).expect("an entry");
    std::fs::write(other.join(below).join("url"), location).expect("url");
    std::fs::write(other.join(below).join("data"), &sample.bytes).expect("data");
    for flag in ["--cache-dir other", "--cache-dir=other"] {
        let line = format!("callao {flag} cache verify htt");
        assert_eq!(in_bash(&env, &line), [location], "{flag}");
    }
    assert!(in_bash(&env, "callao cache verify htt").is_empty());
}

#[test]
fn the_other_shells_get_the_same_answers() {
    let (env, _, url) = with_an_entry(762);
    for (shell, words) in [
        ("fish", ["callao", "cache", "verify", "htt"]),
        ("powershell", ["callao", "cache", "verify", "htt"]),
        ("elvish", ["callao", "cache", "verify", "htt"]),
    ] {
        assert_eq!(answer(&env, shell, &words).trim(), url, "{shell}");
    }
    // zsh takes what follows a colon for a description.
    let escaped = url.replace(':', "\\:");
    let words = ["callao", "cache", "verify", "htt"];
    assert_eq!(answer(&env, "zsh", &words), escaped);
    let commands = answer(&env, "fish", &["callao", "cache", "re"]);
    assert!(
        commands.starts_with("repair\tFetch the damaged pieces"),
        "{commands}"
    );
}

#[test]
fn each_shell_has_a_script_that_asks_callao() {
    let env = TestEnvironment::new();
    for (shell, registers) in [
        ("bash", "-F _callao callao"),
        ("zsh", "#compdef callao"),
        ("fish", "--command callao"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[callao]"),
    ] {
        let script = env.succeed(&["completions", shell]).stdout;
        assert!(
            script.contains(registers) && script.contains("CALLAO_COMPLETE"),
            "{shell}: {script}"
        );
    }
}

#[test]
fn completing_changes_nothing_and_survives_wrong_settings() {
    let mut env = TestEnvironment::new();
    env.write("a.img", "");
    assert_eq!(in_bash(&env, "callao get a"), ["a.img"]);
    assert!(!env.cache_dir().exists(), "no catalogue is made");
    env.set("no_such_key = 1\n");
    assert_eq!(in_bash(&env, "callao get a"), ["a.img"]);
    // The variable alone is no question.
    let mut command = env.command(&["cache", "--help"]);
    let output = command.env("CALLAO_COMPLETE", "bash").output();
    assert!(output.expect("callao runs").status.success());
}
