//! `callao lima` with a limactl that is a shell script: what it is asked, what it is given, and how it ends.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use callao_testkit::origin::{Behaviour, Origin, Status, Times};
use insta::assert_snapshot;

use crate::env::{Run, Sample, TestEnvironment};

const SIZE: usize = 600 * 1024 + 17;

/// Writes down how it was called, answers for a template what is in a file beside it, and otherwise says what it got
/// and ends with 7. Uses nothing but the shell.
const SCRIPT: &str = r#"#!/bin/sh
say() { while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done; }
[ "$1" = --version ] || { for word in "$@"; do printf '[%s]' "$word"; done; echo; } >> "$0.log"
case "$1 $2" in
"--version "*) [ ! -e "$0.says" ] || { say < "$0.says" >&2; exit 1; }; say < "$0.version"; exit 0 ;;
"template copy" | "template yq")
    [ ! -e "$0.says" ] || { say < "$0.says" >&2; exit 1; }
    case "$4$5" in -*) say >> "$0.stdin" ;; esac
    say < "$0.template"
    exit 0 ;;
esac
echo "limactl in ${XDG_CACHE_HOME-nowhere}"
say
exit 7
"#;

/// An environment with such a limactl.
struct Scene {
    env: TestEnvironment,
    limactl: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let env = TestEnvironment::new();
        let limactl = env.write("limactl", SCRIPT);
        fs::set_permissions(&limactl, fs::Permissions::from_mode(0o755)).expect("a program");
        env.write("limactl.version", "limactl version 2.2.0\n");
        Scene { env, limactl }
    }

    /// What limactl answers when it is asked for a template.
    fn template(&self, text: &str) {
        self.env.write("limactl.template", text);
    }

    /// What limactl complains about.
    fn refuses(&self, text: &str) {
        self.env.write("limactl.says", text);
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], stdin: &str) -> Run {
        let mut command = self.env.command(&[&["lima"], arguments].concat());
        command
            .env("CALLAO_LIMACTL", &self.limactl)
            .env("LIMA_HOME", self.env.path("lima-home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let mut pipe = child.stdin.take().expect("its stdin");
        pipe.write_all(stdin.as_bytes()).expect("stdin is written");
        drop(pipe);
        let output = child.wait_with_output().expect("it ends");
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// How limactl was called, one call a line.
    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.env.path("limactl.log")).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    fn instance(&self, name: &str, files: &[&str]) {
        let dir = self.env.path("lima-home").join(name);
        fs::create_dir_all(&dir).expect("an instance");
        for file in files {
            fs::write(dir.join(file), "images: []\n").expect("a file");
        }
    }
}

fn image(url: &str, digest: impl std::fmt::Display) -> String {
    format!("images:\n- location: \"{url}\"\n  digest: \"{digest}\"\n")
}

const NO_ARCHIVES: &str = "containerd: {user: false, system: false}\n";

#[test]
fn every_other_command_goes_to_limactl_as_it_stands() {
    let scene = Scene::new();
    let run = scene.run_with(&["list", "--json", "a b", "--help", "-q"], "through\n");
    assert_eq!(run.code, Some(7), "{}", run.stderr);
    assert!(run.stdout.ends_with("\nthrough\n"), "{}", run.stdout);
    scene.run(&["start", "--help"]);
    scene.run(&["create", "--list-templates"]);
    assert_eq!(
        scene.calls(),
        [
            "[list][--json][a b][--help][-q]",
            "[start][--help]",
            "[create][--list-templates]"
        ]
    );
}

#[test]
fn the_files_are_there_before_limactl_runs() {
    let (scene, sample) = (Scene::new(), Sample::random(400, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (url, twin) = (origin.url_of("/a.img"), origin.url_of("/b.img"));
    // limactl would ask for the second location if the first one failed: it finds both.
    scene.template(&format!(
        "images:\n- {{location: \"{url}\", digest: \"{digest}\"}}\n- {{location: \"{twin}\", digest: \"{digest}\"}}\n\
         - {{location: \"{latest}\"}}\n{NO_ARCHIVES}",
        digest = sample.digest,
        latest = origin.url_of("/latest.img"),
    ));
    let run = scene.run(&["create", "--name=vm", "t.yaml"]);
    assert_eq!(run.code, Some(7), "{}", run.stderr);
    scene.env.assert_nothing_false_in_lima(&sample);
    for location in [&url, &twin] {
        assert!(
            scene.env.entry(location).join("sha256.digest").exists(),
            "{location}"
        );
    }
    assert!(!scene.env.entry(&origin.url_of("/latest.img")).exists());
    assert_eq!(
        scene.calls(),
        [
            "[template][copy][--fill][--][t.yaml][-]",
            "[create][--name=vm][t.yaml]"
        ]
    );
    // Only limactl speaks on stdout.
    assert_eq!(scene.env.steady(&run.stdout), "limactl in $DIR/cache\n");
}

#[test]
fn flags_that_change_the_template_are_left_to_limactl() {
    let (scene, sample) = (Scene::new(), Sample::random(401, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let url = origin.url();
    scene.template(&(image(&url, sample.digest) + "plain: true\n"));
    scene.run(&[
        "create",
        "--set",
        ".images = []",
        "t.yaml",
        "--arch=x86_64",
        "--plain",
    ]);
    assert_eq!(
        scene.calls()[0],
        "[template][yq][--][t.yaml][.images = [] | .arch = \"x86_64\" | .plain = true]"
    );
    assert!(scene.env.entry(&url).join("data").exists());
}

#[test]
fn without_a_template_it_is_the_default_one() {
    let scene = Scene::new();
    scene.template("images: []\n");
    scene.run(&["start"]);
    scene.run(&["start", "new-name"]);
    assert_eq!(
        scene.calls(),
        [
            "[template][copy][--fill][--][template:default][-]",
            "[start]",
            "[template][copy][--fill][--][template:default][-]",
            "[start][new-name]"
        ]
    );
}

#[test]
fn a_template_on_stdin_is_read_by_both() {
    let (scene, sample) = (Scene::new(), Sample::random(402, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let text = image(&origin.url(), sample.digest) + NO_ARCHIVES;
    scene.template(&text);
    let run = scene.run_with(&["create", "--name=vm", "-"], &text);
    assert_eq!(run.code, Some(7), "{}", run.stderr);
    assert!(run.stdout.ends_with(&text), "{}", run.stdout);
    let filled = fs::read_to_string(scene.env.path("limactl.stdin")).expect("what was filled");
    assert_eq!(filled, text);
    assert!(scene.env.entry(&origin.url()).join("data").exists());
}

#[test]
fn a_template_on_stdin_that_is_too_large_is_refused() {
    let scene = Scene::new();
    let text = "#".repeat(4 * 1024 * 1024 + 1);
    let run = scene.run_with(&["create", "--name=vm", "-"], &text);
    assert_snapshot!(scene.env.told(&run), @r##"
    exit 8
    error: failed to read the template on stdin: file too large
      limactl was not started
    "##);
    assert!(scene.calls().is_empty());
}

#[test]
fn an_instance_that_is_there_needs_less() {
    let (scene, sample) = (Scene::new(), Sample::random(403, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    let (disk, archive) = (origin.url_of("/disk.img"), origin.url_of("/nerdctl.tgz"));
    scene.template(&format!(
        "{}containerd:\n  user: true\n  archives:\n  - {{location: \"{archive}\", digest: \"{}\"}}\n",
        image(&disk, sample.digest),
        sample.digest
    ));
    scene.instance("stopped", &["lima.yaml", "disk"]);
    scene.instance("running", &["lima.yaml", "disk", "ha.pid"]);
    scene.run(&["start", "running"]);
    scene.run(&["create", "--name", "stopped"]);
    scene.run(&["create", "Stopped.yaml"]);
    assert_eq!(
        scene.calls(),
        [
            "[start][running]",
            "[create][--name][stopped]",
            "[create][Stopped.yaml]"
        ]
    );
    scene.run(&["start", "stopped", "--set=.cpus = 1", "--arch=riscv64"]);
    let calls = scene.calls();
    let steady = scene.env.steady(&calls[3]);
    // --arch is for new instances alone.
    assert_eq!(
        steady.trim(),
        "[template][yq][--][$DIR/in/lima-home/stopped/lima.yaml][.cpus = 1]"
    );
    assert!(scene.env.entry(&archive).join("data").exists());
    assert!(!scene.env.entry(&disk).exists());
}

#[test]
fn a_cid_that_limactl_leaves_out_is_not_lost() {
    let (scene, sample) = (Scene::new(), Sample::random(404, SIZE));
    scene.env.write("a.img", &sample.bytes);
    scene.env.succeed(&[
        "add",
        "--only-hash",
        "a.img",
        "--car",
        "a.car",
        "--cache-dir",
        "other",
    ]);
    let dead = "http://127.0.0.1:9/a.img";
    let template = image(dead, sample.digest) + NO_ARCHIVES;
    scene.template(&template);
    scene.env.write(
        "t.yaml",
        template.replace("  digest", &format!("  cid: {}\n  digest", sample.cid())),
    );
    let run = scene.run(&["--car=a.car", "create", "t.yaml"]);
    assert_eq!(run.code, Some(7), "{}", run.stderr);
    assert!(
        scene.env.entry(dead).join("data").exists(),
        "{}",
        run.stderr
    );
}

#[test]
fn what_cannot_be_fetched_is_left_to_limactl() {
    let (scene, sample) = (Scene::new(), Sample::random(405, SIZE));
    let gone = Behaviour {
        status: Some(Status {
            code: 404,
            retry_after: None,
            times: Times::Always,
        }),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), gone);
    scene.template(&format!(
        "{}- {{location: \"{}\"}}\n{NO_ARCHIVES}",
        image(&origin.url_of("/a.img"), sample.digest),
        origin.url_of("/latest.img")
    ));
    let run = scene.run(&["--discovery=none", "create", "t.yaml"]);
    assert_snapshot!(scene.env.told(&run), @r##"
    exit 7
    Attempting to download the image  arch=x86_64  digest="sha256:807cdf77d839..."  
          location="http://127.0.0.1:PORT/a.img"
    Downloading the image (a.img)
    warning: failed to download the image `http://127.0.0.1:PORT/a.img`: no source could deliver the image; 
          limactl will try itself, and may take a file that nothing verifies
      http://127.0.0.1:PORT/a.img: does not have it: HTTP 404 Not Found
      not tried, since it has neither digest nor CID: `http://127.0.0.1:PORT/latest.img`
    "##);
    assert_eq!(scene.calls().len(), 2);
}

#[test]
fn wrong_bytes_stop_everything() {
    let (scene, sample) = (Scene::new(), Sample::random(406, SIZE));
    let origin = Origin::start(Sample::random(407, SIZE).bytes, Behaviour::default());
    scene.template(&(image(&origin.url(), sample.digest) + NO_ARCHIVES));
    let run = scene.run(&["create", "t.yaml"]);
    assert_snapshot!(scene.env.told(&run), @r##"
    exit 5
    Attempting to download the image  arch=x86_64  digest="sha256:2053189d4250..."  
          location="http://127.0.0.1:PORT/image.img"
    Downloading the image (image.img)
    error: failed to download the image `http://127.0.0.1:PORT/image.img`: expected digest 
          `sha256:2053189d4250...`, got `sha256:e0b740146f57...`
      these bytes came from http://127.0.0.1:PORT/image.img
      limactl was not started
    hint: either the digest is out of date, or these sources give out other bytes; nothing was put into the cache
    "##);
    assert_eq!(scene.calls(), ["[template][copy][--fill][--][t.yaml][-]"]);
}

#[test]
fn a_signal_ends_it_before_limactl_runs() {
    let (scene, sample) = (Scene::new(), Sample::random(409, 4 * 1024 * 1024));
    let slow = Behaviour {
        rate: Some(1024 * 1024),
        ..Behaviour::default()
    };
    let origin = Origin::start(sample.bytes.clone(), slow);
    scene.template(&(image(&origin.url(), sample.digest) + NO_ARCHIVES));
    let mut command = scene.env.command(&["lima", "create", "t.yaml"]);
    command
        .env("CALLAO_LIMACTL", &scene.limactl)
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    while origin.bytes_sent() == 0 && child.try_wait().expect("a child").is_none() {
        std::thread::yield_now();
    }
    let id = i32::try_from(child.id()).expect("an id");
    let callao = rustix::process::Pid::from_raw(id).expect("an id");
    rustix::process::kill_process(callao, rustix::process::Signal::INT).expect("a signal");
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("limactl was not started"), "{stderr}");
    assert_eq!(scene.calls(), ["[template][copy][--fill][--][t.yaml][-]"]);
}

#[test]
fn a_limactl_that_refuses_is_heard() {
    let scene = Scene::new();
    scene.refuses("limactl: must not run as the root user\n");
    assert_snapshot!(scene.env.told(&scene.run(&["create", "t.yaml"])), @r##"
    exit 7
    warning: `$DIR/in/limactl` failed to read `t.yaml`: limactl: must not run as the root user; nothing was 
          fetched beforehand
    "##);
    // The template is the reason: the version is all right.
    fs::remove_file(scene.env.path("limactl.says")).expect("removed");
    scene.template("images: [nonsense");
    assert_snapshot!(scene.env.told(&scene.run(&["create", "t.yaml"])), @r##"
    exit 7
    warning: template t.yaml, as limactl fills it in is not usable YAML: unclosed bracket '[' at line 1, column 
          9; nothing was fetched beforehand
      1 | images: [nonsense
      |         ^
    "##);
}

#[test]
fn a_limactl_that_is_too_old_is_named() {
    let scene = Scene::new();
    scene
        .env
        .write("limactl.version", "limactl version 1.2.1\n");
    let old = SCRIPT.replace(
        "\"template copy\" | \"template yq\")",
        "\"template copy\") echo 'unknown command' >&2; exit 1 ;;\n\"never\")",
    );
    scene.env.write("limactl", old);
    assert_snapshot!(scene.env.told(&scene.run(&["create", "t.yaml"])), @r##"
    exit 7
    warning: `$DIR/in/limactl` is version 1.2.1; callao needs v2.0 or newer; nothing was fetched beforehand
    "##);
    assert_snapshot!(scene.env.told(&scene.run(&["plugins", "install", "--dir", "bin"])), @r##"
    exit 2
    error: `$DIR/in/limactl` is version 1.2.1; callao needs v2.0 or newer
    hint: install a newer Lima, or name another limactl in $CALLAO_LIMACTL
    "##);
    assert!(!scene.env.path("bin").exists());
}

#[test]
fn without_limactl_there_is_nothing_to_run() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.told(&env.run(&["lima", "start"])), @r##"
    exit 2
    error: there is no limactl on PATH
    hint: install Lima (https://lima-vm.io), or name the program in $CALLAO_LIMACTL
    "##);
    let mut command = env.command(&["lima", "start"]);
    let output = command
        .env("CALLAO_LIMACTL", env.path("none"))
        .output()
        .expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_snapshot!(env.steady(&stderr), @"error: $CALLAO_LIMACTL is `$DIR/in/none`, which is not a program");
}

#[test]
fn a_flag_that_nobody_knows_here_is_said() {
    let scene = Scene::new();
    assert_snapshot!(scene.env.told(&scene.run(&["create", "--new-flag", "t.yaml"])), @r##"
    exit 7
    warning: callao does not know limactl's flag `--new-flag`, so it fetches nothing beforehand
    "##);
    assert_eq!(scene.calls(), ["[create][--new-flag][t.yaml]"]);
}

#[test]
fn limactl_reads_the_cache_that_callao_fills() {
    let (scene, sample) = (Scene::new(), Sample::random(408, SIZE));
    let origin = Origin::start(sample.bytes.clone(), Behaviour::default());
    scene.template(&(image(&origin.url(), sample.digest) + NO_ARCHIVES));
    let mut command = scene
        .env
        .command(&["--cache-dir", "other", "lima", "create", "t.yaml"]);
    command.env("CALLAO_LIMACTL", &scene.limactl);
    let output = command.output().expect("it starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(scene.env.steady(&stdout), "limactl in $DIR/in/other\n");
    assert!(scene.env.path("other/lima/download").exists());
}

#[test]
fn plugins_are_written_where_limactl_finds_them_and_removed() {
    let scene = Scene::new();
    let run = scene.run(&["plugins", "install", "--dir", "bin"]);
    assert_snapshot!(scene.env.told(&run), @r##"
    exit 0
    warning: `$DIR/in/bin` is not on PATH: limactl will not find them there
    "##);
    assert_eq!(
        scene.env.steady(&run.stdout),
        "$DIR/in/bin/limactl-callao\n$DIR/in/bin/limactl-url-ipfs\n"
    );
    let plugin = std::process::Command::new(scene.env.path("bin/limactl-callao"))
        .args(["cache", "--no-such-flag"])
        .output()
        .expect("it runs");
    assert_eq!(plugin.status.code(), Some(2));
    // Twice is as good as once.
    assert_eq!(
        scene.run(&["plugins", "install", "--dir", "bin"]).code,
        Some(0)
    );
    let run = scene.run(&["plugins", "remove", "--dir", "bin"]);
    assert_eq!(run.stdout.lines().count(), 2);
    assert_eq!(
        fs::read_dir(scene.env.path("bin"))
            .expect("a directory")
            .count(),
        0
    );
    assert_snapshot!(scene.env.told(&scene.run(&["plugins", "remove", "--dir", "bin"])), @r##"
    exit 0
    There are no plugins of callao to remove
    "##);
}

#[test]
fn files_of_others_are_left_as_they_are() {
    let scene = Scene::new();
    fs::create_dir(scene.env.path("bin")).expect("a directory");
    scene.env.write("bin/limactl-url-ipfs", "#!/bin/sh\n");
    assert_snapshot!(scene.env.told(&scene.run(&["plugins", "install", "--dir", "bin"])), @r##"
    exit 2
    error: `$DIR/in/bin/limactl-url-ipfs` is there already and not from callao: it is left as it is
    hint: remove it yourself, or name another directory with --dir
    "##);
    assert_snapshot!(scene.env.told(&scene.run(&["plugins", "remove", "--dir", "bin"])), @r##"
    exit 0
    warning: `$DIR/in/bin/limactl-url-ipfs` is not from callao: it is left as it is
    There are no plugins of callao to remove
    "##);
    assert!(scene.env.path("bin/limactl-url-ipfs").exists());
    assert!(!scene.env.path("bin/limactl-callao").exists());
}

#[test]
fn plugins_go_to_a_directory_of_the_users() {
    let scene = Scene::new();
    let home = scene.env.path("../home");
    let home = fs::canonicalize(home).expect("a home");
    let install = |path: String| {
        let mut command = scene.env.command(&["lima", "plugins", "install"]);
        command.env("HOME", &home).env("PATH", path);
        command.env("CALLAO_LIMACTL", &scene.limactl);
        let output = command.output().expect("it starts");
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    };
    let (local, own) = (home.join(".local/bin"), home.join("own"));
    fs::create_dir(&own).expect("a directory");
    assert_snapshot!(scene.env.told(&install("/usr/bin:/bin".into())), @r##"
    exit 2
    error: no directory on PATH is below your home directory and writable
    hint: name one with --dir, such as --dir ~/.local/bin, and add it to PATH
    "##);
    let first = install(format!("/usr/bin:{}", own.display()));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(own.join("limactl-callao").exists());
    let second = install(format!("{}:{}", own.display(), local.display()));
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert!(local.join("limactl-url-ipfs").exists());
}
