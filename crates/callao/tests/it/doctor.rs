//! `callao doctor`: what it finds in good and in bad surroundings, and how it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::kubo::{FakeKubo, KuboBehaviour};
use callao_testkit::origin::{Behaviour, Origin};
use callao_testkit::real::Kubo;
use callao_testkit::router::{Router, RouterBehaviour};
use insta::assert_snapshot;
use serde_json::Value;

use crate::env::{Run, Sample, TestEnvironment};

/// State and words of the findings with this name.
fn found(run: &Run, name: &str) -> Vec<(String, String)> {
    let all = run.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.iter()
        .filter(|value| value["type"] == "finding" && value["name"] == name)
        .map(|value| (text(&value["state"]), text(&value["found"])))
        .collect()
}

fn states(run: &Run, name: &str) -> Vec<String> {
    let found = found(run, name);
    found.into_iter().map(|(state, _)| state).collect()
}

#[test]
fn a_new_user_sees_what_is_there_and_what_is_not() {
    let env = TestEnvironment::new();
    let mut command = env.command(&["doctor"]);
    // Those that keep tests off the public network.
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name);
    }
    let run = Run::of(command.output().expect("it runs"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // Free space, certificates and KVM are those of the computer that runs the tests; UEFI firmware may be.
    let own = ["free space", "certificates", "QEMU", "ssh", "KVM"];
    let begins = ["ok ", "note ", "warning ", "problem "];
    let steady: String = env
        .steady(&run.stdout)
        .replace("$DIR/home", "~")
        .split_inclusive('\n')
        .filter(|line| begins.iter().any(|word| line.starts_with(word)))
        .filter(|line| !own.iter().any(|name| line.contains(name)))
        .collect();
    assert_snapshot!(steady, @r##"
    ok       settings         `$DIR/config.toml` is valid; the environment sets CALLAO_DISCOVERY, CALLAO_CONFIG
    ok       cache            `$DIR/cache` is not there yet; it is made with the first file
    note     links            not tried: the cache is not there yet, or cannot be written to
    ok       catalogue        there is none yet
    note     limactl          there is none on PATH: `get` works without
    note     Lima home        `~/.lima` (the usual place) is not there
    ok       discovery        `none`: only the places that you or a template name
    note     kubo repository  `~/.ipfs` is not there: `get` works without
    ok       proxies          the environment names none
    ok       clock            plausible; nobody was heard who could confirm it
    "##);
    assert!(!env.cache_dir().exists(), "nothing was made");
    let names: Vec<Value> = env.run(&["doctor", "--json"]).json();
    for name in own.iter().take(4) {
        assert!(names.iter().any(|value| &value["name"] == name), "{name}");
    }
}

#[test]
fn a_cache_in_use_is_looked_at_and_left_alone() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(420, 100_000));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    env.succeed(&["get", &origin.url(), "--digest", &sample.digest.to_string()]);
    let list = |dir: &std::path::Path| -> Vec<_> {
        let entries = fs::read_dir(dir).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").file_name())
            .filter(|name| !name.to_string_lossy().starts_with("catalogue.sqlite-"))
            .collect()
    };
    let dirs = [
        env.cache_dir(),
        env.cache_dir().join("callao/v1"),
        env.cache_dir().join("lima/download/by-url-sha256"),
    ];
    let before: Vec<_> = dirs.iter().map(|dir| list(dir)).collect();
    let run = env.run(&["doctor", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    let after: Vec<_> = dirs.iter().map(|dir| list(dir)).collect();
    assert_eq!(before, after, "what was tried is gone again");
    assert_eq!(states(&run, "cache"), ["ok"]);
    assert_eq!(states(&run, "links"), ["ok"]);
    let words = &found(&run, "catalogue")[0].1;
    assert!(words.starts_with("1 files known, "), "{words}");
}

#[test]
fn a_cache_that_cannot_be_used_is_a_problem() {
    let env = TestEnvironment::new();
    fs::write(env.cache_dir(), "not a directory").expect("a file");
    let run = env.run(&["doctor", "--json"]);
    assert_eq!(run.code, Some(6));
    let expected = "cannot be used: `$DIR/cache` is not a directory";
    let (state, words) = found(&run, "cache")[0].clone();
    assert_eq!(state, "problem");
    assert!(env.steady(&words).contains(expected), "{words}");
    assert_eq!(
        run.last("error")["message"],
        "callao get cannot work here: cache"
    );
    // get ends with the same code.
    let sample = Sample::random(421, 1000);
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let get = env.run(&["get", &origin.url(), "--digest", &sample.digest.to_string()]);
    assert_eq!(get.code, Some(6), "{}", get.stderr);
}

#[test]
fn a_cache_that_others_may_write_to_is_a_warning() {
    let env = TestEnvironment::new();
    fs::create_dir(env.cache_dir()).expect("a cache");
    fs::set_permissions(env.cache_dir(), fs::Permissions::from_mode(0o777)).expect("a mode");
    let run = env.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, states(&run, "permissions")),
        (Some(0), vec!["warning".into()])
    );
}

#[test]
fn wrong_settings_are_a_finding_and_end_it() {
    let mut env = TestEnvironment::new();
    env.set("discovery = \"everywhere\"\n");
    let run = env.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, states(&run, "settings")),
        (Some(2), vec!["problem".into()])
    );
    let mut env = TestEnvironment::new();
    env.set("gateways = [\"ftp://gateway\"]\nrouters = []\n");
    let run = env.run(&["doctor", "--json", "--discovery", "public"]);
    assert_eq!(run.code, Some(2));
    assert_eq!(
        found(&run, "places"),
        [(
            "problem".to_string(),
            "gateways in the settings: `ftp://gateway` is neither http nor https".to_string()
        )]
    );
}

#[test]
fn a_damaged_catalogue_is_replaced_and_told() {
    let env = TestEnvironment::new();
    let own = env.cache_dir().join("callao/v1");
    fs::create_dir_all(&own).expect("a directory");
    fs::write(own.join("catalogue.sqlite"), b"not a database".repeat(400)).expect("a file");
    let run = env.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, states(&run, "catalogue")),
        (Some(0), vec!["warning".into()])
    );
    assert_eq!(states(&env.run(&["doctor", "--json"]), "catalogue"), ["ok"]);
    fs::remove_file(own.join("catalogue.sqlite")).expect("the database");
    fs::create_dir(own.join("catalogue.sqlite")).expect("a directory in its place");
    let run = env.run(&["doctor", "--json"]);
    assert_eq!(
        (run.code, states(&run, "catalogue")),
        (Some(0), vec!["warning".into()])
    );
}

#[test]
fn gateways_routers_and_daemons_are_asked_where_that_is_allowed() {
    let mut env = TestEnvironment::new();
    let good = Gateway::start(Vec::new(), Vec::new(), GatewayBehaviour::default());
    let busy = Gateway::start(
        Vec::new(),
        Vec::new(),
        GatewayBehaviour {
            busy: Some((1000, None)),
            ..GatewayBehaviour::default()
        },
    );
    let router = Router::start(RouterBehaviour::default());
    let silent = Router::start(RouterBehaviour {
        never_answer: true,
        ..RouterBehaviour::default()
    });
    let kubo = FakeKubo::start(Vec::new(), Vec::new(), KuboBehaviour::default());
    env.set(&format!(
        "gateways = [\"{}\", \"{}\"]\nrouters = [\"{}\", \"{}\"]\n",
        good.url(),
        busy.url(),
        router.url(),
        silent.url()
    ));
    let run = env.run(&[
        "doctor",
        "--json",
        "--discovery",
        "public",
        "--kubo",
        &kubo.url(),
    ]);
    assert_eq!(run.code, Some(0), "warnings do not fail: {}", run.stdout);
    assert_eq!(states(&run, "gateway"), ["ok", "warning"]);
    let words: Vec<_> = found(&run, "gateway")
        .into_iter()
        .map(|(_, words)| words)
        .collect();
    assert!(words[0].contains("gives blocks and CARs"), "{words:?}");
    assert!(
        words[1].ends_with("HTTP 429 Too Many Requests"),
        "{words:?}"
    );
    assert_eq!(states(&run, "router"), ["ok", "warning"]);
    assert_eq!(states(&run, "kubo daemon"), ["ok"]);
    let asked = good.requests().len();
    for flags in [
        vec!["--offline"],
        vec!["--discovery", "none"],
        vec!["--discovery", "lan"],
    ] {
        let run = env.run(&[&["doctor", "--json"], &flags[..]].concat());
        assert_eq!(states(&run, "gateway"), [] as [&str; 0], "{flags:?}");
        assert_eq!(states(&run, "router"), [] as [&str; 0], "{flags:?}");
    }
    assert_eq!((good.requests().len(), router.requests().len()), (asked, 1));
}

#[test]
fn a_real_kubo_is_found_with_its_datastore_and_its_version() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &[]) else {
        return;
    };
    let doctor = |scope: &str| {
        let mut command = env.command(&["doctor", "--json", "--discovery", scope]);
        let output = command.env("IPFS_PATH", kubo.repository()).output();
        let output = output.expect("it runs");
        Run::of(output)
    };
    let run = doctor("lan");
    let (state, words) = found(&run, "kubo repository")[0].clone();
    assert_eq!(state, "ok");
    assert!(words.contains("flatfs, read in place"), "{words}");
    assert!(words.ends_with("no daemon runs on it"), "{words}");
    let words = found(&doctor("none"), "kubo repository")[0].1.clone();
    assert!(words.contains("it is not looked at"), "{words}");
    let mut daemon = kubo.daemon(true);
    let run = doctor("lan");
    let (state, words) = found(&run, "kubo daemon")[0].clone();
    assert_eq!(state, "ok");
    assert!(words.contains(" is kubo 0."), "{words}");
    assert!(words.contains("bytes come by its gateway"), "{words}");
    // As a gateway it says what time it is.
    let run = env.run(&["doctor", "--json", "--gateway", daemon.gateway_url()]);
    assert_eq!(states(&run, "gateway"), ["ok"]);
    assert!(
        found(&run, "clock")[0]
            .1
            .starts_with("agrees with that of http://127.0.0.1:"),
        "{}",
        run.stdout
    );
    // A killed daemon leaves its `api` file behind.
    daemon.kill();
    let run = doctor("lan");
    assert_eq!(
        (states(&run, "kubo daemon"), run.code),
        (vec!["warning".into()], Some(0))
    );
}

#[test]
fn a_repository_that_only_kubo_reads() {
    let env = TestEnvironment::new();
    let Some(kubo) = Kubo::init(&env.path("repository"), &["pebbleds"]) else {
        return;
    };
    let mut command = env.command(&["doctor", "--discovery", "lan"]);
    let output = command
        .env("IPFS_PATH", kubo.repository())
        .output()
        .expect("it runs");
    let text = env.steady(&String::from_utf8_lossy(&output.stdout));
    let (_, finding) = text
        .split_once("\nwarning  kubo repository")
        .expect("it warns");
    let lines: Vec<_> = finding.lines().take(3).collect();
    assert_snapshot!(lines.join("\n"), @r##"
      $DIR/in/repository keeps its blocks in pebbleds, which only kubo itself can read: 
          start the daemon and give its API address instead
                              -> start its daemon: then it is asked instead
    "##);
}

#[test]
fn proxies_and_certificates_of_the_environment() {
    let env = TestEnvironment::new();
    let run = |variables: &[(&str, &str)]| {
        let mut command = env.command(&["doctor", "--json"]);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name);
        }
        let output = command
            .envs(variables.iter().copied())
            .output()
            .expect("it runs");
        Run::of(output)
    };
    assert_eq!(
        found(&run(&[]), "proxies"),
        [("ok".into(), "the environment names none".into())]
    );
    let with_proxy = run(&[
        ("HTTPS_PROXY", "http://me:secret@127.0.0.1:1"),
        ("NO_PROXY", "a,b"),
    ]);
    assert_eq!(
        found(&with_proxy, "proxies"),
        [(
            "ok".into(),
            "HTTPS_PROXY=http://...@127.0.0.1:1 NO_PROXY=a,b".into()
        )]
    );
    assert!(!with_proxy.stdout.contains("secret"));
    let missing = run(&[("SSL_CERT_FILE", "missing.pem")]);
    assert_eq!(
        (missing.code, states(&missing, "certificates")),
        (Some(2), vec!["problem".into()])
    );
    env.write("empty.pem", "nothing");
    let empty = run(&[("SSL_CERT_FILE", "empty.pem")]);
    assert_eq!(states(&empty, "certificates"), ["problem"]);
    env.write("ca.pem", "-----BEGIN CERTIFICATE-----\n");
    let good = run(&[("SSL_CERT_FILE", "ca.pem")]);
    assert_eq!(
        (good.code, states(&good, "certificates")),
        (Some(0), vec!["ok".into()])
    );
}

#[test]
fn limactl_is_found_and_asked() {
    let env = TestEnvironment::new();
    let program = |name: &str, script: &str| {
        let path = env.write(name, script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    };
    let cases = [
        (
            "new",
            "#!/bin/sh\necho limactl version 2.2.0\n",
            "ok",
            "is version 2.2.0",
        ),
        (
            "old",
            "#!/bin/sh\necho limactl version 1.2.1\n",
            "warning",
            "is version 1.2.1: too old",
        ),
        ("sick", "#!/bin/sh\necho no >&2\nexit 1\n", "warning", "no"),
    ];
    for (name, script, state, words) in cases {
        let path = program(name, script);
        let mut command = env.command(&["doctor", "--json"]);
        let output = command
            .env("CALLAO_LIMACTL", &path)
            .output()
            .expect("it runs");
        let run = Run::of(output);
        let (got, said) = found(&run, "limactl")[0].clone();
        assert_eq!((got.as_str(), run.code), (state, Some(0)), "{name}");
        assert!(said.contains(words), "{name}: {said}");
    }
}

#[test]
fn what_machines_need_is_judged_as_start_does() {
    let env = TestEnvironment::new();
    let bin = env.program("ssh", "#!/bin/sh\n");
    for name in ["scp", "ssh-keygen", "qemu-img"] {
        env.program(name, "#!/bin/sh\n");
    }
    let qemu = format!("qemu-system-{}", std::env::consts::ARCH);
    let version = |version: &str| {
        let script = format!("#!/bin/sh\necho QEMU emulator version {version}\n");
        env.program(&qemu, &script);
    };
    let doctor = |variables: &[(&str, &str)]| {
        let mut command = env.command(&["doctor", "--json"]);
        command.env("PATH", &bin).envs(variables.iter().copied());
        Run::of(command.output().expect("it runs"))
    };
    let run = doctor(&[]);
    assert_eq!(states(&run, "QEMU"), ["note"]);
    let missing = format!("{qemu} was not found: `get` works without, virtual machines do not");
    assert_eq!(found(&run, "QEMU")[0].1, missing);
    version("6.1.0");
    let (state, words) = found(&doctor(&[]), "QEMU")[0].clone();
    assert_eq!(state, "warning");
    assert!(
        words.ends_with("is QEMU 6.1.0, which is too old: at least 6.2.0 is needed"),
        "{words}"
    );
    version("10.0.2");
    let words = found(&doctor(&[]), "QEMU")[0].1.clone();
    let is_this = format!("`{}` 10.0.2; ", bin.join(&qemu).display());
    assert!(words.starts_with(&is_this), "{words}");
    let ssh = format!("`{}`, with scp and ssh-keygen", bin.join("ssh").display());
    assert_eq!(found(&doctor(&[]), "ssh"), [("ok".into(), ssh)]);
    assert_eq!(states(&doctor(&[("SSH", "'ssh")]), "ssh"), ["warning"]);
    fs::remove_file(bin.join("scp")).expect("it is there");
    assert_eq!(states(&doctor(&[]), "ssh"), ["note"]);
    let forced = doctor(&[("CALLAO_ACCELERATOR", "tcg")]);
    assert_eq!(states(&forced, "KVM"), ["ok"]);
    assert_eq!(forced.code, Some(0));
}
