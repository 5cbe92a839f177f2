//! Where templates come from: paths, names, the standard input, the web, IPFS, plugins; and what is around each of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use callao_content::layout::Layout;
use callao_testkit::gateway::{Gateway, GatewayBehaviour};
use callao_testkit::origin::{Behaviour, Early, Origin, Redirect, Status, Times};
use insta::assert_snapshot;

use crate::env::{Run, Sample, TestEnvironment};

/// A template with one image that nobody has, and no containerd.
const PLAIN: &str = "plain: true\nimages: [{location: \"https://h/a.img\", arch: x86_64}]\n";

/// Runs `callao get` with more variables and this on stdin.
fn run(env: &TestEnvironment, variables: &[(&str, &str)], stdin: &str, arguments: &[&str]) -> Run {
    let mut command = env.command(arguments);
    command.envs(variables.iter().copied());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(stdin.as_bytes()).unwrap_or(());
    drop(pipe);
    Run::of(child.wait_with_output().expect("the program ends"))
}

/// The locations that `callao get WHAT --list` prints, in order.
fn listed(env: &TestEnvironment, variables: &[(&str, &str)], what: &str) -> Vec<String> {
    let run = run(
        env,
        variables,
        "",
        &["get", what, "--list", "--json", "--arch", "x86_64"],
    );
    assert_eq!(run.code, Some(0), "{what}: {}", run.stderr);
    let lines = run.json().into_iter();
    lines
        .filter(|line| line["type"] == "file")
        .map(|line| line["location"].as_str().expect("a location").to_owned())
        .collect()
}

fn image(location: &str) -> String {
    format!("plain: true\nimages: [{{location: \"{location}\"}}]\n")
}

/// A program in the working directory of the test.
fn script(env: &TestEnvironment, name: &str, lines: &str) {
    let path = env.path(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
}

fn told(env: &TestEnvironment, variables: &[(&str, &str)], what: &str) -> String {
    env.told(&run(
        env,
        variables,
        "",
        &["get", what, "--list", "--arch", "x86_64"],
    ))
}

#[test]
fn bases_and_the_files_of_limas_directory_are_merged() {
    let env = TestEnvironment::new();
    for dir in ["d/sub", "lima/_config"] {
        fs::create_dir_all(env.path(dir)).expect("made");
    }
    env.write("d/t.yaml", format!("base: [sub/one.yaml]\n{}", image("t")));
    env.write(
        "d/sub/one.yaml",
        format!("base: two.yaml\n{}", image("one")),
    );
    env.write("d/sub/two.yaml", "images: [{location: two}]\nimgs: 1\n");
    env.write("lima/_config/base.yaml", "images: [{location: base}]\n");
    env.write(
        "lima/_config/default.yaml",
        "images: [{location: default}]\n",
    );
    env.write(
        "lima/_config/override.yaml",
        "images: [{location: override}]\n",
    );
    let lima = env.path("lima").display().to_string();
    assert_eq!(listed(&env, &[], "d/t.yaml"), ["t", "one", "two"]);
    assert_eq!(
        listed(&env, &[("LIMA_HOME", &lima)], "d/t.yaml"),
        ["override", "t", "base", "one", "two", "default"]
    );
    let run = env.succeed(&["get", "d/t.yaml", "--list"]);
    assert_eq!(
        run.stderr,
        format!(
            "warning: template {}: unknown key `imgs` at line 2; did you mean `images`?\n",
            env.path("d/sub/two.yaml").display()
        )
    );
}

#[test]
fn names_are_looked_for_where_limactl_looks() {
    let env = TestEnvironment::new();
    for dir in [
        "lima/_templates/_images",
        "one",
        "two/sub",
        "prefix/bin",
        "prefix/share/lima/templates",
    ] {
        fs::create_dir_all(env.path(dir)).expect("made");
    }
    env.write(
        "lima/_templates/mine.yaml",
        format!("base: _images/x-1.0\n{}", image("mine")),
    );
    env.write("lima/_templates/_images/x-1.0.yaml", image("x"));
    env.write("one/both.yaml", image("one"));
    env.write("two/both.yaml", image("two"));
    env.write("two/sub/deep.yaml", "base: template:both\n");
    env.write("prefix/share/lima/templates/shared.yaml", image("shared"));
    script(&env, "prefix/bin/limactl", "exit 1");
    let path = |name: &str| env.path(name).display().to_string();
    let (lima, limactl) = (path("lima"), path("prefix/bin/limactl"));
    let usual = [
        ("LIMA_HOME", lima.as_str()),
        ("CALLAO_LIMACTL", limactl.as_str()),
    ];
    assert_eq!(listed(&env, &usual, "template:mine"), ["mine", "x"]);
    assert_eq!(listed(&env, &usual, "template:shared"), ["shared"]);
    let dirs = format!("{}:{}", path("one"), path("two"));
    let named = [
        ("LIMA_TEMPLATES_PATH", dirs.as_str()),
        ("LIMA_HOME", lima.as_str()),
    ];
    assert_eq!(listed(&env, &named, "template:both"), ["one"]);
    assert_eq!(listed(&env, &named, "template://sub/deep"), ["one"]);

    assert_snapshot!(told(&env, &named, "template:mine"), @r##"
    exit 3
    error: there is no template `mine`
      not in `$DIR/in/one`
      not in `$DIR/in/two`
      callao's own are alpine, debian, fedora, ubuntu, ubuntu-24.04
    hint: Lima brings many more: install it, or name their directory in $LIMA_TEMPLATES_PATH
    "##);
    assert_snapshot!(told(&env, &named, "template:ubuntu-2"), @r##"
    exit 3
    error: there is no template `ubuntu-2`
      not in `$DIR/in/one`
      not in `$DIR/in/two`
    hint: there are template:ubuntu, template:ubuntu-24.04
    "##);
    assert_snapshot!(told(&env, &named, "template:../x"), @r##"
    exit 8
    error: `template:../x`: the name of a template must not contain `..`
    "##);
    assert!(told(&env, &named, "template://sub/deep").contains(
        "warning: template locator `template://sub/deep` is written `template:sub/deep` since Lima v2.0\n"
    ));
}

#[test]
fn callaos_own_templates_need_no_lima() {
    let env = TestEnvironment::new();
    let all = listed(&env, &[], "template:ubuntu-24.04");
    assert!(
        all[0].contains("release-20240423") && all.len() > 6,
        "{all:?}"
    );
    let run = env.succeed(&["get", "template:alpine", "--list", "--arch", "aarch64"]);
    assert!(run.stdout.contains("fetch    image"), "{}", run.stdout);
    env.write(
        "mine.yaml",
        "base: template:alpine\nimages: [{location: mine}]\n",
    );
    assert_eq!(listed(&env, &[], "mine.yaml").len(), 3);
}

#[test]
fn a_template_can_come_from_stdin() {
    let env = TestEnvironment::new();
    let arguments = ["get", "-", "--list", "--arch", "x86_64"];
    let good = run(&env, &[], PLAIN, &arguments);
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    assert!(good.stdout.starts_with("fetch    image"), "{}", good.stdout);
    assert_snapshot!(env.told(&run(&env, &[], "base: b.yaml\n", &arguments)), @r##"
    exit 8
    error: template on stdin, line 1: base `b.yaml` is relative, and a template on stdin is nowhere
    "##);
    let large = "#".repeat(4 * 1024 * 1024 + 1);
    assert_snapshot!(env.told(&run(&env, &[], &large, &arguments)), @r##"
    exit 8
    error: failed to read template on stdin: it has more than 4194304 bytes
    "##);
    assert_snapshot!(env.told(&run(&env, &[], "base: [\"-\"]\n", &arguments)), @r##"
    exit 8
    error: template on stdin, line 1: base `-` is relative, and a template on stdin is nowhere
    "##);
}

fn serve(text: &str, behaviour: Behaviour) -> Origin {
    Origin::start(text.as_bytes().to_vec(), behaviour)
}

#[test]
fn templates_are_read_over_http() {
    let env = TestEnvironment::new();
    let origin = serve("plain: true\nbase: other/b.img\n", Behaviour::default());
    let url = origin.url_of("/d/t.yaml?x=1");
    assert_eq!(listed(&env, &[], &url), [origin.url_of("/d/other/b.img")]);
    let redirected = serve(
        "",
        Behaviour {
            redirect: Some(Redirect::To(url.clone())),
            ..Behaviour::default()
        },
    );
    let moved = redirected.url_of("/t.yaml");
    assert_eq!(
        listed(&env, &[], &moved),
        [redirected.url_of("/other/b.img")]
    );
    assert_snapshot!(env.told(&env.run(&["get", &url, "--offline"])), @r##"
    exit 3
    error: template `http://127.0.0.1:PORT/d/t.yaml?x=1` is on the web, and --offline allows nothing to be asked
    "##);
}

#[test]
fn a_web_server_that_has_no_template_is_told_with_who_asked() {
    let env = TestEnvironment::new();
    let status = |code| Behaviour {
        status: Some(Status {
            code,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    };
    let told = |behaviour: Behaviour, text: &str| {
        let origin = serve(text, behaviour);
        env.write("t.yaml", format!("\nbase: {}\n", origin.url_of("/b.yaml")));
        told(&env, &[], "t.yaml")
    };
    assert_snapshot!(told(status(404), ""), @r##"
    exit 3
    error: template t.yaml, line 2: base: failed to get template `http://127.0.0.1:PORT/b.yaml`: the server 
          answers 404 Not Found
    "##);
    assert_snapshot!(told(status(503), ""), @r##"
    exit 4
    error: template t.yaml, line 2: base: failed to get template `http://127.0.0.1:PORT/b.yaml`: the server 
          answers 503 Service Unavailable
    "##);
    let silent = Behaviour {
        never_answer: true,
        ..Behaviour::default()
    };
    assert_snapshot!(told(silent, ""), @r##"
    exit 4
    error: template t.yaml, line 2: base: failed to get template `http://127.0.0.1:PORT/b.yaml`: the server does 
          not answer
    "##);
    let stalls = Behaviour {
        stall: Some(Early {
            after: 5,
            times: Times::Always,
        }),
        ..Behaviour::default()
    };
    assert_snapshot!(told(stalls, PLAIN), @r##"
    exit 4
    error: template t.yaml, line 2: base: failed to get template `http://127.0.0.1:PORT/b.yaml`: the server 
          stopped in the middle
    "##);
    let circle = Behaviour {
        redirect: Some(Redirect::Loop),
        ..Behaviour::default()
    };
    assert_snapshot!(told(circle, ""), @r##"
    exit 4
    error: template t.yaml, line 2: base: failed to get template `http://127.0.0.1:PORT/b.yaml`: too many 
          redirects
    "##);
    let large = "#".repeat(5 * 1024 * 1024);
    assert_snapshot!(told(Behaviour::default(), &large), @r##"
    exit 8
    error: template t.yaml, line 2: base: template `http://127.0.0.1:PORT/b.yaml` has more than 4194304 bytes
    "##);
    let page = Behaviour {
        html: true,
        ..Behaviour::default()
    };
    let page = told(page, "");
    assert!(
        page.starts_with("exit 8\nerror: template http://127.0.0.1:PORT/b.yaml"),
        "{page}"
    );
}

#[test]
fn a_template_on_ipfs_is_proven_and_kept() {
    let env = TestEnvironment::new();
    let text = PLAIN.as_bytes();
    let layout: Layout =
        callao_content::import::import(text, callao_content::profile::Profile::KuboCidV1.shape())
            .expect("a layout");
    let cid = callao_content::cid::text(layout.root());
    let files = vec![(layout, text.into())];
    let gateway = Gateway::start(files, Vec::new(), GatewayBehaviour::default());
    let locator = format!("ipfs://{cid}/t.yaml");
    let list = ["get", locator.as_str(), "--list", "--arch", "x86_64"];
    let online = env.succeed(&[&list[..], &["--gateway", &gateway.url()]].concat());
    assert!(
        online.stdout.contains("https://h/a.img"),
        "{}",
        online.stdout
    );
    assert!(env.entry(&locator).join("data").exists());
    let again = env.succeed(&[&list[..], &["--offline"]].concat());
    assert_eq!(again.stdout, online.stdout);
    env.write("t.yaml", format!("base: ipfs:{cid}/t.yaml\n"));
    assert_eq!(
        env.run(&["get", "t.yaml", "--list", "--offline"]).code,
        Some(0)
    );
}

#[test]
fn plugins_say_where_a_template_is() {
    let env = TestEnvironment::new();
    env.write("t.yaml", PLAIN);
    env.write("b.yaml", "base: shelf:_images/x\n");
    let yaml = env.path("t.yaml").display().to_string();
    script(
        &env,
        "bin/limactl-url-shelf",
        &format!("echo shelf2:$1\ntest \"$1\" != _images/x || echo {yaml} >&2"),
    );
    script(&env, "bin/limactl-url-shelf2", &format!("echo ' {yaml} '"));
    script(&env, "bin/limactl-url-round", "echo other:$1");
    script(&env, "bin/limactl-url-other", "echo round:$1");
    script(&env, "bin/limactl-url-endless", "echo endless:x$1");
    script(
        &env,
        "bin/limactl-url-sad",
        "echo 'no such thing' >&2; echo second >&2; exit 3",
    );
    script(&env, "bin/limactl-url-silent", "exit 0");
    script(&env, "bin/limactl-url-two", "echo a; echo b");
    script(&env, "bin/limactl-url-same", "echo same:$1");
    script(&env, "bin/limactl-url-long", "while echo x; do :; done");
    let path = format!("{}:/usr/bin:/bin", env.path("bin").display());
    let variables = [("PATH", path.as_str())];
    assert_eq!(listed(&env, &variables, "shelf:x"), ["https://h/a.img"]);
    assert_eq!(listed(&env, &variables, "SHELF://x"), ["https://h/a.img"]);
    assert_eq!(listed(&env, &variables, "b.yaml"), ["https://h/a.img"]);
    assert_snapshot!(told(&env, &variables, "round:x"), @r##"
    exit 8
    error: plugins send `round:x` round in a circle
      round:x -> other:x -> round:x
    "##);
    assert!(
        told(&env, &variables, "endless:")
            .starts_with("exit 8\nerror: plugins send `endless:` round in a circle\n")
    );
    assert_snapshot!(told(&env, &variables, "sad:x"), @r##"
    exit 8
    error: `$DIR/in/bin/limactl-url-sad x` failed: no such thing
      second
    "##);
    assert_snapshot!(told(&env, &variables, "silent:x"), @r##"
    exit 8
    error: `$DIR/in/bin/limactl-url-silent x` does not say where the template is
    "##);
    assert_snapshot!(told(&env, &variables, "two:x"), @r##"
    exit 8
    error: `$DIR/in/bin/limactl-url-two x` says what is not one locator
    "##);
    assert_snapshot!(told(&env, &variables, "long:x"), @r##"
    exit 8
    error: `$DIR/in/bin/limactl-url-long` said more than 65536 bytes and was ended
    "##);
    let name = "x".repeat(5000);
    assert_snapshot!(told(&env, &variables, &format!("shelf:{name}")), @r##"
    exit 8
    error: the locator of a template is too long
    "##);
    assert_snapshot!(told(&env, &variables, "same:x"), @r##"
    exit 3
    error: failed to read template same:x: there is no such file
    "##);
}

#[test]
fn schemes_that_nobody_knows_are_refused() {
    let env = TestEnvironment::new();
    assert_snapshot!(told(&env, &[], "unknown://x"), @r##"
    exit 2
    error: `unknown://x`: unknown:// is not supported
    hint: a program `limactl-url-unknown` on PATH could tell where such a template is
    "##);
    assert_snapshot!(told(&env, &[], "github:lima-vm/lima"), @r##"
    exit 8
    error: `github:lima-vm/lima`: templates of github: are not supported
    hint: name the file itself: https://raw.githubusercontent.com/OWNER/REPOSITORY/BRANCH/PATH
    "##);
}

#[test]
fn bases_that_lead_nowhere_have_an_exit_code_and_a_reason() {
    let env = TestEnvironment::new();
    env.write("a.yaml", "base: b.yaml\n");
    env.write("b.yaml", "base: a.yaml\n");
    env.write("gone.yaml", "\nbase: nowhere.yaml\n");
    env.write("file.yaml", "base: file:nowhere.yaml\n");
    env.write("dir.yaml", "base: ./\n");
    env.write("github.yaml", "base: github:lima-vm/lima\n");
    env.write("ipfs.yaml", "base: ipfs://nothing/t.yaml\n");
    env.write("latin.yaml", "base: latin1.yaml\n");
    env.write("latin1.yaml", b"# \xe4\n");
    env.write(
        "image.yaml",
        "plain: true\nbase: [\"https://h/a.img\", \"https://h/b-amd64.img\"]\n",
    );
    assert_snapshot!(told(&env, &[], "a.yaml"), @r##"
    exit 8
    error: the bases of template a.yaml go round in a circle: $DIR/in/a.yaml -> $DIR/in/b.yaml -> $DIR/in/a.yaml
    "##);
    assert_snapshot!(told(&env, &[], "gone.yaml"), @r##"
    exit 3
    error: template gone.yaml, line 2: base: failed to read template $DIR/in/nowhere.yaml: there is no such file
    "##);
    assert_snapshot!(told(&env, &[], "file.yaml"), @r##"
    exit 2
    error: template file.yaml, line 1: base: `file:nowhere.yaml` is not an absolute path, as file:// needs it
    "##);
    assert_snapshot!(told(&env, &[], "dir.yaml"), @r##"
    exit 2
    error: template dir.yaml, line 1: base: failed to read template $DIR/in: it is a directory
    "##);
    assert_snapshot!(told(&env, &[], "ipfs.yaml"), @r##"
    exit 2
    error: template ipfs.yaml, line 1: base: `ipfs://nothing/t.yaml` is no address on IPFS
    "##);
    assert_snapshot!(told(&env, &[], "latin.yaml"), @r##"
    exit 8
    error: template latin.yaml, line 1: base: template $DIR/in/latin1.yaml is not UTF-8 text
    "##);
    let image = told(&env, &[], "image.yaml");
    assert!(
        image.contains(
            "warning: `https://h/a.img` does not say its architecture: it is taken for that of this computer\n"
        ),
        "{image}"
    );
    assert_snapshot!(told(&env, &[], "github.yaml"), @r##"
    exit 8
    error: template github.yaml, line 1: base: `github:lima-vm/lima`: templates of github: are not supported
    hint: name the file itself: https://raw.githubusercontent.com/OWNER/REPOSITORY/BRANCH/PATH
    "##);
}

#[test]
fn what_is_fetched_and_what_not_can_be_listed() {
    let env = TestEnvironment::new();
    let zeros = "0".repeat(64);
    env.write("t.yaml", format!(
        "images:\n\
         - {{location: \"https://h/a.img\", arch: x86_64, digest: \"sha256:{zeros}\", kernel: {{location: \"https://h/k\"}}}}\n\
         - {{location: \"https://h/b.img\", arch: x86_64, digest: \"sha512:{zeros}{zeros}\"}}\n\
         - {{location: \"https://h/latest.img\", arch: x86_64}}\n\
         - {{location: \"https://h/min.img\", arch: x86_64, variant: minimal}}\n\
         - {{location: \"https://h/arm.img\", arch: aarch64}}\n\
         firmware: {{images: [{{location: \"https://h/fw\", arch: x86_64}}, {{location: \"https://h/vz\", vmType: vz}}]}}\n\
         osOpts: {{Windows: {{virtioWin: [{{location: \"https://h/w.iso\"}}]}}}}\n"
    ));
    let run = env.succeed(&["get", "t.yaml", "--list", "--arch", "x86_64"]);
    let stdout = run.stdout.replace(&zeros, "0").replace(
        "b697295c623639734aaab737523c808fd3cc8d3046039fd94fff1744e4c317aa",
        "HEX",
    );
    let stdout = stdout.replace(
        "6e4b687f1d138e750a3c8372abc0f81d3d7490b6359c48c0562fc7dfe98859b2",
        "HEX",
    );
    let stdout = stdout.replace(
        "https://github.com/containerd/nerdctl/releases/download/v2.3.5/",
        "https://.../",
    );
    assert_snapshot!(stdout, @r##"
    fetch    image               x86_64   https://h/a.img sha256:0 -
    fetch    kernel              x86_64   https://h/k - -
    next     image               x86_64   https://h/b.img sha512:00 -
    unpinned image               x86_64   https://h/latest.img - -
    skipped  image               x86_64   https://h/min.img - - (variant is minimal, not empty)
    skipped  image               aarch64  https://h/arm.img - - (for aarch64)
    skipped  virtio-win drivers  x86_64   https://h/w.iso - - (drivers for a Windows guest)
    fetch    nerdctl archive     x86_64   https://.../nerdctl-full-2.3.5-linux-amd64.tar.gz sha256:HEX -
    skipped  nerdctl archive     aarch64  https://.../nerdctl-full-2.3.5-linux-arm64.tar.gz sha256:HEX - (for aarch64)
    fetch    UEFI code           x86_64   https://h/fw - -
    skipped  UEFI code           x86_64   https://h/vz - - (firmware for another vmType)
    "##);
    let json = env.succeed(&[
        "get",
        "t.yaml",
        "--list",
        "--arch",
        "x86_64",
        "--json",
        "--no-archives",
    ]);
    let first = &json.json()[0];
    assert_eq!(
        (&first["type"], &first["state"], &first["what"]),
        (&"file".into(), &"fetch".into(), &"image".into())
    );
    assert!(!json.stdout.contains("nerdctl"), "{}", json.stdout);
    assert!(!env.cache_dir().join("lima").exists());

    let single = env.succeed(&["get", "https://h/x.img", "--list"]);
    assert_eq!(
        single.stdout,
        "fetch    image               -        https://h/x.img - -\n"
    );
}

#[test]
fn firmware_that_cannot_be_had_is_no_reason_to_fail() {
    let (env, sample) = (TestEnvironment::new(), Sample::random(81, 1000));
    let image = env.write("a.img", &sample.bytes);
    let origin = serve(
        "",
        Behaviour {
            status: Some(Status {
                code: 404,
                retry_after: None,
                times: Times::Always,
            }),
            ..Behaviour::default()
        },
    );
    let firmware = Sample::random(82, 1000);
    let good = Origin::start(firmware.bytes.clone(), Behaviour::default());
    let template = |url: &str| {
        format!(
            "plain: true\narch: x86_64\nimages: [{{location: \"{}\"}}]\nfirmware: {{images: [{{location: \"{url}\"}}]}}\n",
            image.display()
        )
    };
    env.write("t.yaml", template(&origin.url_of("/fw.fd")));
    let run = env.succeed(&["get", "t.yaml"]);
    assert_eq!(run.paths().len(), 1);
    assert!(
        run.stderr
            .contains("limactl takes the firmware that is installed with QEMU"),
        "{}",
        run.stderr
    );
    env.write("t.yaml", template(&good.url_of("/fw.fd")));
    let paths = env.succeed(&["get", "t.yaml"]);
    assert_eq!(
        paths.paths()[1],
        env.entry(&good.url_of("/fw.fd")).join("data")
    );
}

#[test]
fn the_archives_of_limactl_are_asked_for_once() {
    let env = TestEnvironment::new();
    env.write("t.yaml", "arch: x86_64\nimages: [{location: a.img}]\n");
    let count = env.path("count").display().to_string();
    let yaml = "containerd:\\n  archives:\\n  - {location: \"https://h/n.tgz\", arch: x86_64, digest: \"sha256:";
    let say = |digit: &str| {
        let digest = digit.repeat(64);
        script(
            &env,
            "bin/limactl",
            &format!("echo x >> {count}\nprintf '{yaml}{digest}\"}}\\n'"),
        );
    };
    let limactl = env.path("bin/limactl").display().to_string();
    let variables = [
        ("CALLAO_LIMACTL", limactl.as_str()),
        ("PATH", "/usr/bin:/bin"),
    ];
    let asked = || {
        fs::read_to_string(&count)
            .unwrap_or_default()
            .lines()
            .count()
    };
    say("0");
    for _ in 0..2 {
        assert_eq!(
            listed(&env, &variables, "t.yaml"),
            ["a.img", "https://h/n.tgz"]
        );
        assert_eq!(asked(), 1);
    }
    // Another limactl, and a file that somebody damaged.
    say("1234");
    fs::remove_file(&limactl).unwrap_or(());
    say("1");
    script(
        &env,
        "bin/limactl",
        &format!(
            "echo x >> {count}\n# longer\nprintf '{yaml}{}\"}}\\n'",
            "1".repeat(64)
        ),
    );
    assert_eq!(listed(&env, &variables, "t.yaml").len(), 2);
    assert_eq!(asked(), 2);
    let kept = env.cache_dir().join("callao/v1/containerd-archives.yaml");
    let mark = fs::read_to_string(&kept)
        .expect("kept")
        .lines()
        .next()
        .expect("a line")
        .to_owned();
    fs::write(&kept, format!("{mark}\nrubbish: [\n")).expect("damaged");
    assert_eq!(listed(&env, &variables, "t.yaml").len(), 2);
    assert_eq!(asked(), 3);

    script(
        &env,
        "bin/limactl",
        "echo 'limactl: must not run as the root user' >&2; exit 1",
    );
    let run = run(&env, &variables, "", &["get", "t.yaml", "--list"]);
    assert!(
        run.stdout.contains("nerdctl-full-2.3.5-linux-amd64")
            && run.stderr.contains("those of Lima v2.2.0 are taken:"),
        "{}",
        run.stderr
    );
}

#[test]
fn it_is_said_whose_archives_are_taken() {
    let env = TestEnvironment::new();
    env.write("t.yaml", "arch: x86_64\nimages: [{location: a.img}]\n");
    let verbose = ["get", "t.yaml", "--list", "--verbose"];
    assert_snapshot!(env.told(&env.succeed(&verbose)), @r##"
    exit 0
    The template names no containerd archives: those of Lima v2.2.0 are taken, since no limactl is installed
    Not needed: 
          `https://github.com/containerd/nerdctl/releases/download/v2.3.5/nerdctl-full-2.3.5-linux-arm64.tar.gz` 
          (for aarch64)
    "##);
    script(
        &env,
        "bin/limactl",
        "printf 'archives: [{location: \"https://h/n.tgz\"}]'",
    );
    let limactl = env.path("bin/limactl").display().to_string();
    let variables = [("CALLAO_LIMACTL", limactl.as_str()), ("PATH", "/bin")];
    let run = |arguments: &[&str]| env.told(&run(&env, &variables, "", arguments));
    assert_snapshot!(run(&verbose), @r##"
    exit 0
    The template names no containerd archives: those of `$DIR/in/bin/limactl` are taken
    "##);
    // Nothing can be kept where the directory is a file.
    fs::create_dir_all(env.path("cache")).expect("made");
    env.write("cache/callao", "");
    let told = run(&[&verbose[..], &["--cache-dir", "cache"]].concat());
    assert!(
        told.contains(
            "What limactl says is not kept in `$DIR/in/cache/callao/v1/containerd-archives.yaml`: "
        ),
        "{told}"
    );
}
