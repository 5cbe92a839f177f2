//! What callao reads out of templates is what limactl reads: the same files with the same digests, in the same order.
//! `CALLAO_TEST_LIMACTL` names a limactl, `CALLAO_TEST_LIMA_TEMPLATES` a directory of templates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use callao_template::{Arch, File, Template, parse};
use callao_testkit::real;
use serde_json::Value;

use crate::env::TestEnvironment;

const TEMPLATES_VARIABLE: &str = "CALLAO_TEST_LIMA_TEMPLATES";

/// One file: what it is, its architecture, location and digest.
type Named = (String, String, String, String);

#[test]
fn every_template_of_lima_names_the_same_files() {
    let Some(limactl) = real::limactl() else {
        return;
    };
    let Some(dir) = std::env::var_os(TEMPLATES_VARIABLE).map(PathBuf::from) else {
        real::say_skipped(&format!(
            "{TEMPLATES_VARIABLE} names no directory of templates"
        ));
        return;
    };
    let env = TestEnvironment::new();
    let mut names = Vec::new();
    collect(&dir, "", &mut names);
    assert!(
        names.len() > 20,
        "{} holds {} templates",
        dir.display(),
        names.len()
    );
    let mut failed_in_both = Vec::new();
    for name in &names {
        let locator = format!("template:{name}");
        compare(&env, &limactl, &dir, &locator, &mut failed_in_both);
        compare(
            &env,
            &limactl,
            &dir,
            &dir.join(format!("{name}.yaml")).display().to_string(),
            &mut failed_in_both,
        );
    }
    // What needs the network is one template of a hundred.
    assert!(failed_in_both.len() <= 4, "{failed_in_both:?}");
}

#[test]
fn callaos_own_templates_are_limas_too() {
    let Some(limactl) = real::limactl() else {
        return;
    };
    let env = TestEnvironment::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
    let mut names = Vec::new();
    collect(&dir, "", &mut names);
    assert_eq!(
        names,
        ["alpine", "debian", "fedora", "ubuntu-24.04", "ubuntu"]
    );
    let mut failed_in_both = Vec::new();
    for name in &names {
        let locator = format!("template:{name}");
        compare(&env, &limactl, &dir, &locator, &mut failed_in_both);
    }
    assert!(failed_in_both.is_empty(), "{failed_in_both:?}");
}

#[test]
fn templates_made_to_differ_name_the_same_files() {
    let Some(limactl) = real::limactl() else {
        return;
    };
    let env = TestEnvironment::new();
    let all = made_to_differ();
    fs::create_dir_all(env.path("t")).expect("made");
    for (name, text) in &all {
        env.write(
            &format!("t/{name}.yaml"),
            text.replace("b1]", "b1.yaml]").replace("b3]", "b3.yaml]"),
        );
    }
    let mut failed_in_both = Vec::new();
    for name in [
        "both", "null", "empty", "text", "image", "twice", "circle", "digest", "windows", "b1",
        "b2", "b3",
    ] {
        let path = env
            .path("t")
            .join(format!("{name}.yaml"))
            .display()
            .to_string();
        compare(&env, &limactl, &env.path("t"), &path, &mut failed_in_both);
    }
    fs::create_dir_all(env.path("lima/_config")).expect("made");
    env.write("lima/_config/base.yaml", image("config-base"));
    env.write("lima/_config/default.yaml", image("default"));
    env.write(
        "lima/_config/override.yaml",
        format!("{}arch: x86_64\n", image("override")),
    );
    for name in ["empty", "text", "windows", "null"] {
        let path = env
            .path("t")
            .join(format!("{name}.yaml"))
            .display()
            .to_string();
        compare(&env, &limactl, &env.path("t"), &path, &mut failed_in_both);
    }
    let names: Vec<&str> = failed_in_both
        .iter()
        .filter_map(|path| Path::new(path).file_stem()?.to_str())
        .collect();
    assert_eq!(names, ["twice", "circle", "digest"]);
}

/// Names and texts of templates.
fn made_to_differ() -> [(&'static str, String); 12] {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    [
        (
            "b1",
            format!(
                "base: [b3]\n{}containerd: {{archives: [{{location: \"https://h/n1\", digest: \"{}\"}}]}}\n",
                image("b1"),
                digest("1")
            ),
        ),
        (
            "b2",
            format!(
                "arch: aarch64\n{}containerd: {{archives: [{{location: \"https://h/n2\"}}]}}\n",
                image("b2")
            ),
        ),
        (
            "b3",
            format!(
                "images:\n- location: \"https://h/b3.img\"\n  kernel: {{location: \"https://h/k\", digest: \"{}\"}}\n",
                digest("0")
            ),
        ),
        (
            "both",
            format!("base: [b1.yaml, {{url: b2.yaml}}]\n{}", image("t")),
        ),
        (
            "null",
            "base: [b1]\nimages: null\ncontainerd: {archives: null}\n".to_owned(),
        ),
        ("empty", "base: [b1]\nimages: []\n".to_owned()),
        ("text", "base: b1.yaml\narch: riscv64\n".to_owned()),
        (
            "image",
            "base: https://h/FreeBSD-15-arm64.qcow2\n".to_owned(),
        ),
        ("twice", "base: [b1, b3]\n".to_owned()),
        ("circle", "base: circle\n".to_owned()),
        ("digest", "base: [{url: b1, digest: x}]\n".to_owned()),
        (
            "windows",
            "os: Windows\nimages: [{location: \"~/a.iso\"}]\n".to_owned(),
        ),
    ]
}

fn image(name: &str) -> String {
    format!("images: [{{location: \"https://h/{name}.img\", arch: x86_64}}]\n")
}

/// Both read it, and name the same; or both refuse it.
fn compare(
    env: &TestEnvironment,
    limactl: &Path,
    dir: &Path,
    locator: &str,
    failed_in_both: &mut Vec<String>,
) {
    let by_lima = filled(env, limactl, dir, locator);
    let arch = by_lima.as_ref().ok().and_then(arch_with_image);
    let by_callao = listed(env, limactl, dir, locator, arch);
    match (by_lima, by_callao) {
        (Ok(lima), Ok(callao)) => {
            let mut expected = named(&lima);
            let is_archive = |file: &Named| file.0 == "nerdctl archive";
            // limactl lists archives of its own even for a guest that gets no containerd, and does not fetch them then.
            let unwanted = lima.arch.is_some_and(|arch| !lima.wants_containerd(arch));
            if unwanted && !callao.iter().any(is_archive) {
                expected.retain(|file| !is_archive(file));
            }
            assert_eq!(callao, expected, "{locator}");
        }
        // Half a template, which no guest can be made of.
        (Ok(lima), Err(error)) if lima.images.is_empty() => {
            assert!(error.contains(" names no files: "), "{locator}: {error}");
        }
        (Err(_), Err(_)) => failed_in_both.push(locator.to_owned()),
        (Ok(_), Err(error)) => panic!("callao refuses {locator}: {error}"),
        (Err(error), Ok(_)) => panic!("limactl refuses {locator}: {error}"),
    }
}

/// The architecture to ask callao for, if there is no image for the usual one.
fn arch_with_image(template: &Template) -> Option<Arch> {
    let usual = template.arch;
    let mut arches = template
        .images
        .iter()
        .map(|image| image.file.arch.or(usual));
    let first = arches.clone().next()?;
    if arches.any(|arch| arch == usual) {
        None
    } else {
        first
    }
}

fn surround(env: &TestEnvironment, dir: &Path, command: &mut Command) {
    command
        .env("LIMA_HOME", env.path("lima"))
        .env("LIMA_TEMPLATES_PATH", dir)
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .env("HTTP_PROXY", "http://127.0.0.1:1");
}

/// What `limactl template copy --fill` names.
fn filled(
    env: &TestEnvironment,
    limactl: &Path,
    dir: &Path,
    locator: &str,
) -> Result<Template, String> {
    let mut command = Command::new(limactl);
    surround(env, dir, &mut command);
    let output = command
        .args(["template", "copy", "--fill", locator, "-"])
        .env("HOME", env.path("home"))
        .output()
        .expect("limactl starts");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("text");
    let parsed = parse(&text, locator).map_err(|error| error.to_string())?;
    Ok(parsed.template)
}

fn named(template: &Template) -> Vec<Named> {
    let own = template.arch.map_or("", Arch::name);
    let one = |what: &str, file: &File, arch: &'static str| {
        (
            what.to_owned(),
            file.arch.map_or(arch, Arch::name).to_owned(),
            file.location.clone(),
            file.digest
                .map(|digest| digest.to_string())
                .unwrap_or_default(),
        )
    };
    let mut all = Vec::new();
    for image in &template.images {
        let arch = image.file.arch.map_or(own, Arch::name);
        all.push(one("image", &image.file, own));
        all.extend(image.kernel.iter().map(|file| one("kernel", file, arch)));
        all.extend(image.initrd.iter().map(|file| one("initrd", file, arch)));
    }
    all.extend(
        template
            .virtio_win
            .iter()
            .map(|file| one("virtio-win drivers", file, own)),
    );
    all.extend(
        template
            .archives
            .iter()
            .map(|file| one("nerdctl archive", file, own)),
    );
    all.extend(
        template
            .firmware
            .images
            .iter()
            .map(|image| one("UEFI code", &image.file, own)),
    );
    all
}

/// What `callao get --list` names. limactl lists its own archives even where the guest gets no containerd; callao only
/// where they are fetched.
fn listed(
    env: &TestEnvironment,
    limactl: &Path,
    dir: &Path,
    locator: &str,
    arch: Option<Arch>,
) -> Result<Vec<Named>, String> {
    let mut command = env.command(&["get", locator, "--list", "--json"]);
    if let Some(arch) = arch {
        command.args(["--arch", arch.name()]);
    }
    surround(env, dir, &mut command);
    let output = command
        .env("CALLAO_LIMACTL", limactl)
        .output()
        .expect("callao starts");
    let stdout = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    if !output.status.success() {
        return Err(format!(
            "{stdout}\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let files = lines.iter().filter(|line| line["type"] == "file");
    Ok(files
        .map(|line| {
            (
                text(&line["what"]),
                text(&line["arch"]),
                text(&line["location"]),
                text(&line["digest"]),
            )
        })
        .collect())
}

/// The names of all templates below a directory.
fn collect(dir: &Path, prefix: &str, names: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(dir)
        .expect("a directory of templates")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name")
            .to_owned();
        if path.is_dir() {
            collect(&path, &format!("{prefix}{name}/"), names);
        } else if let Some(stem) = name.strip_suffix(".yaml") {
            names.push(format!("{prefix}{stem}"));
        }
    }
}
