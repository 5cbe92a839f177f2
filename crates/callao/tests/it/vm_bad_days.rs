//! Virtual machines on bad days: what is missing, taken, full, damaged or not supported, and what is said about it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::disk::SmallDisk;
use crate::env::{Run, TestEnvironment};
use crate::vm_world::{World, kill};

const PATIENCE: Duration = Duration::from_secs(120);

/// Without QEMU: what a machine that is never started needs.
fn run(env: &TestEnvironment, path: &str, arguments: &[&str]) -> Run {
    let output = env.command(arguments).env("PATH", path).output();
    Run::of(output.expect("the program starts"))
}

fn fails(world: &World, arguments: &[&str], code: i32) -> String {
    world.fail(arguments, code).stderr
}

#[test]
fn what_a_template_cannot_have_is_named() {
    let env = TestEnvironment::new();
    let image = env.write("a.img", vec![0; 1 << 20]);
    let template = |more: &str| {
        let text = format!(
            "images:\n- location: \"{}\"\n  arch: x86_64\n{more}\n",
            image.display()
        );
        env.write("t.yaml", text)
    };
    let table = [
        ("vmType: vz", "vmType"),
        ("vmType: wsl2", "vmType"),
        ("vmType: krunkit", "vmType"),
        ("networks: [{lima: shared}]", "networks"),
        ("os: Darwin", "os"),
        ("additionalDisks: [data]", "additionalDisks"),
        (
            "provision: [{mode: yq, path: /x, expression: .x}]",
            "provision[0].mode",
        ),
    ];
    for (more, field) in table {
        template(more);
        let run = run(
            &env,
            "/usr/bin:/bin",
            &["create", "t.yaml", "--containerd", "none"],
        );
        assert_eq!(run.code, Some(8), "{more}: {}", run.stderr);
        assert!(run.stderr.contains(field), "{more}: {}", run.stderr);
        assert!(run.stderr.contains("line 4"), "{more}: {}", run.stderr);
    }
}

#[test]
fn commands_say_what_is_not_there() {
    let env = TestEnvironment::new();
    let told = |arguments: &[&str], code: i32| {
        let run = run(&env, "/usr/bin:/bin", arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}: {}", run.stderr);
        env.steady(&run.stderr)
    };
    assert_snapshot!(told(&["shell", "nobody"], 3), @r"
    error: there is no instance `nobody`
    hint: callao list shows those there are
    ");
    assert_snapshot!(told(&["start", "nobody"], 3), @r"
    error: there is neither an instance `nobody` nor such a file
    hint: callao list shows the instances; template:nobody would be a template
    ");
    assert_snapshot!(told(&["start", "no such file.yaml"], 3), @r"
    error: there is no file `no such file.yaml`
    hint: WHAT is a template, a URL, ipfs://CID, a CID or a path; see callao get --help
    ");
    let neither = told(&["copy", "a", "b"], 2);
    assert!(
        neither.starts_with("error: copy a b: neither is in a machine"),
        "{neither}"
    );
    assert_snapshot!(told(&["delete", "nobody"], 3), @r"
    error: there is no instance `nobody`
    hint: callao list shows those there are
    ");
    assert_snapshot!(told(&["delete", "--force", "nobody"], 0), @"There is no instance `nobody`");
    assert_snapshot!(told(&["list"], 0), @"There is no instance yet; callao start --help tells how to make one");
    assert_snapshot!(told(&["create", "x.img", "--port-forward", "80"], 3), @r"
    error: there is no file `x.img`
    hint: WHAT is a template, a URL, ipfs://CID, a CID or a path; see callao get --help
    ");
    assert_eq!(run(&env, "/usr/bin", &["list", "--json"]).stdout, "");
}

#[test]
fn programs_that_are_missing_or_too_old() {
    let Some(mut world) = World::new() else {
        return;
    };
    let template = world.template("t", "");
    let run = run(&world.env, "/nowhere", &["start", &template]);
    assert_eq!(run.code, Some(9), "{}", run.stderr);
    let told = last_line(&run.stderr);
    let wanted = "error: qemu-img was not found: install it (Debian, Ubuntu: qemu-utils;";
    assert!(told.starts_with(wanted), "{told}");
    world.create("t2", "");
    let old = world.env.program(
        "old-qemu",
        "#!/bin/sh\necho 'QEMU emulator version 4.2.1'\n",
    );
    world.set(
        "QEMU_SYSTEM_X86_64",
        &old.join("old-qemu").display().to_string(),
    );
    let told = fails(&world, &["start", "t2"], 9);
    assert!(told.contains("4.2.1") && told.contains("6.2"), "{told}");
    let picky = world.env.program(
        "picky-qemu",
        "#!/bin/sh\ncase \"$*\" in *-pidfile*) exec qemu-system-x86_64 -no-such-option;; esac\n\
         exec qemu-system-x86_64 \"$@\"\n",
    );
    world.set(
        "QEMU_SYSTEM_X86_64",
        &picky.join("picky-qemu").display().to_string(),
    );
    let told = fails(&world, &["start", "t2"], 9);
    assert!(told.contains("QEMU did not start"), "{told}");
    assert!(told.contains("-no-such-option: invalid option"), "{told}");
    assert_eq!(world.status("t2"), "Broken");
    world.set("QEMU_SYSTEM_X86_64", "");
    world.succeed(&["delete", "t2"]);
}

fn last_line(text: &str) -> String {
    text.lines()
        .skip_while(|line| !line.starts_with("error:"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_port_that_is_taken() {
    let Some(world) = World::new() else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    world.create("taken", &format!("ssh: {{localPort: {port}}}\n"));
    let told = fails(&world, &["start", "taken"], 9);
    assert!(
        told.contains(&format!("port {port} of this computer, for ssh, is taken")),
        "{told}"
    );
    drop(taken);
    // A port of the template that is taken is said, and hinders nothing.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let wanted = other.local_addr().expect("an address").port();
    world.create(
        "ports",
        &format!("portForwards: [{{guestPort: 8000, hostPort: {wanted}, static: true}}]\n"),
    );
    let run = world.succeed(&["start", "ports"]);
    assert!(
        run.stderr
            .contains(&format!("not forwarding 127.0.0.1:{wanted} of the host")),
        "{}",
        run.stderr
    );
}

#[test]
fn guests_that_do_not_become_ready() {
    let Some(world) = World::new() else { return };
    world.env.write("empty.img", vec![0; 4 << 20]);
    world.succeed(&[
        "create",
        "empty.img",
        "--name",
        "empty",
        "--memory",
        "128MiB",
        "--disk",
        "1GiB",
    ]);
    let told = fails(&world, &["start", "empty", "--timeout", "8"], 9);
    assert!(told.contains("did not answer by ssh within 8 s"), "{told}");
    assert!(told.contains("hint:"), "{told}");
    assert_eq!(world.status("empty"), "Broken");

    world.create("mute", "env: {NOTE: tiny-misbehave=no-ssh}\n");
    let told = fails(&world, &["start", "mute", "--timeout", "12"], 9);
    assert!(told.contains("did not answer by ssh within 12 s"), "{told}");
    assert!(
        told.contains("the guest said last:") && told.contains("tiny: "),
        "{told}"
    );
    let log = world.succeed(&["logs", "mute"]).stdout;
    assert!(log.contains("tiny: "), "{log}");

    world.create("off", "env: {NOTE: tiny-misbehave=power-off}\n");
    let told = fails(&world, &["start", "off"], 9);
    assert!(
        told.contains("the guest switched itself off before it was ready"),
        "{told}"
    );
    assert_eq!(world.status("off"), "Stopped");
    world.succeed(&["delete", "empty", "mute", "off"]);
}

#[test]
fn a_script_that_fails_leaves_a_machine_that_runs() {
    let Some(world) = World::new() else { return };
    world.create(
        "sour",
        "provision:\n- mode: system\n  script: |\n    #!/bin/sh\n    echo a word of the script\n    exit 5\n\
         probes:\n- {description: something, script: \"#!/bin/sh\\ntrue\"}\n",
    );
    let told = fails(&world, &["start", "sour"], 9);
    assert!(
        told.contains("failed in the guest with exit code 5"),
        "{told}"
    );
    assert!(told.contains("a word of the script"), "{told}");
    assert_eq!(world.status("sour"), "Running");
    assert_eq!(world.shell("sour", &["echo", "usable"]), "usable");
}

#[test]
fn a_key_that_others_may_read() {
    let Some(world) = World::new() else { return };
    world.create("key", "");
    world.succeed(&["start", "key"]);
    world.succeed(&["stop", "key"]);
    let key = world.env.home().join(".local/share/callao/ssh/user");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("a mode");
    let told = fails(&world, &["start", "key"], 9);
    assert!(told.contains("chmod 600"), "{told}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a mode");
    world.succeed(&["start", "key"]);
}

#[test]
fn a_directory_that_is_damaged() {
    let Some(world) = World::new() else { return };
    world.create("torn", "");
    let spec = world.dir("torn").join("instance.json");
    let text = fs::read_to_string(&spec).expect("the file");
    fs::write(&spec, &text[..text.len() / 2]).expect("half of it");
    assert_eq!(world.status("torn"), "Broken");
    let told = fails(&world, &["start", "torn"], 9);
    assert!(told.contains("instance.json` is damaged"), "{told}");
    fs::write(&spec, &text).expect("all of it");
    fs::write(world.dir("torn").join("state.json"), "{").expect("a damaged state");
    assert_eq!(world.status("torn"), "Broken");
    world.succeed(&["start", "torn"]);
    world.succeed(&["stop", "torn"]);
    fs::remove_file(world.dir("torn").join("base")).expect("the image is gone");
    let told = fails(&world, &["start", "torn"], 9);
    assert!(told.contains("base"), "{told}");
    world.succeed(&["delete", "torn"]);
}

#[test]
fn a_path_that_is_too_long_for_a_socket() {
    let Some(mut world) = World::new() else {
        return;
    };
    let deep = world.env.home().join("d".repeat(60));
    world.set("XDG_DATA_HOME", &deep.display().to_string());
    let template = world.template("long", "");
    let told = fails(&world, &["create", &template], 9);
    assert!(told.contains("longer than the 107 bytes"), "{told}");
    assert!(told.contains("--name"), "{told}");
}

#[test]
fn images_that_name_other_files_are_refused() {
    let Some(world) = World::new() else { return };
    let secret = world.env.write("secret", vec![0; 1 << 20]);
    let made = std::process::Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(&secret)
        .arg(world.env.path("thief.qcow2"))
        .status();
    assert!(made.expect("qemu-img runs").success());
    let told = fails(&world, &["create", "thief.qcow2"], 9);
    assert!(told.contains("backing file"), "{told}");
    assert_eq!(world.succeed(&["-q", "list"]).stdout, "");
}

#[test]
fn a_disk_of_this_computer_that_is_full_halts_the_guest_until_there_is_room() {
    let Some(mut world) = World::new() else {
        return;
    };
    let place = world.env.path("data");
    let Some(disk) = SmallDisk::at(place.clone(), "32m") else {
        return;
    };
    world.set("XDG_DATA_HOME", &place.display().to_string());
    // Dropped before its disk.
    let world = world;
    world.create("full", "");
    world.succeed(&["start", "full"]);
    // Nothing is left, not even for a few words of the supervisor.
    disk.fill();
    let write = |file: &str| {
        let script = format!("head -c 20000000 /dev/urandom > ~/{file} && sync && echo written");
        world.start(&["shell", "full", "sh", "-c", &script])
    };
    let until_full = || {
        let begun = Instant::now();
        while !world.listed("full")["errors"]
            .to_string()
            .contains("is full")
        {
            assert!(begun.elapsed() < PATIENCE, "{}", world.listed("full"));
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    let first = write("first");
    until_full();
    assert_eq!(world.status("full"), "Running");
    disk.grow("96m");
    let run = Run::of(first.wait_with_output().expect("it ends"));
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "written\n"),
        "{}",
        run.stderr
    );
    // Whoever takes over a machine that stands still learns it.
    disk.fill();
    let second = write("second");
    until_full();
    kill(world.pid("full", "hostAgentPID"));
    world.until("full", "Broken");
    disk.grow("192m");
    world.succeed(&["start", "full"]);
    world.shell("full", &["sync"]);
    // Its connection was the supervisor's.
    drop(second.wait_with_output());
    world.succeed(&["stop", "full"]);
    world.succeed(&["delete", "full"]);
    drop(disk);
}
