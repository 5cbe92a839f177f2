//! Virtual machines in a real QEMU: from a template to a shell, and to the end.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use callao_content::digest::{Algorithm, Digest};

use crate::env::Run;
use crate::vm_world::{World, free_port, http};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn from_a_template_to_a_shell_and_to_the_end() {
    let Some(world) = World::new() else { return };
    let port = free_port();
    let template = world.template(
        "web",
        &format!(
            "portForwards:\n- {{guestPort: 8000, hostPort: {port}, static: true}}\n\
             provision:\n- mode: system\n  script: |\n    #!/bin/sh\n    echo provisioned by {{{{.Name}}}} > /tmp/proof\n\
             message: |\n  Look at {{{{.Dir}}}}\n"
        ),
    );
    let run = world.succeed(&["start", &template]);
    let dir = world.dir("web").display().to_string();
    assert!(
        run.stderr.contains("To get in: callao shell web"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains(&format!("Look at {dir}")),
        "{}",
        run.stderr
    );
    assert_eq!(world.status("web"), "Running");

    assert_eq!(
        world.shell("web", &["cat", "/tmp/proof"]),
        "provisioned by web"
    );
    assert_eq!(world.shell("web", &["hostname"]), "lima-web");
    exit_codes_and_stdin(&world);
    both_ways(&world);
    through_a_port(&world, port);
    the_port_that_leads_nowhere_is_gone(&world);
    data_stays(&world);

    let refused = world.fail(&["delete", "web"], 9);
    assert!(
        refused.stderr.contains("instance `web` runs"),
        "{}",
        refused.stderr
    );
    world.succeed(&["stop", "web"]);
    assert_eq!(world.status("web"), "Stopped");
    let refused = world.fail(&["shell", "web", "true"], 9);
    assert!(
        refused.stderr.contains("callao start web"),
        "{}",
        refused.stderr
    );
    world.succeed(&["delete", "web"]);
    assert!(!world.dir("web").exists());
    world.fail(&["list", "web"], 3);
}

fn exit_codes_and_stdin(world: &World) {
    world.fail(&["shell", "web", "sh", "-c", "exit 7"], 7);
    let quoted = world.shell("web", &["printf", "%s|", "a b", "c'd", "$HOME", "*"]);
    assert_eq!(quoted, "a b|c'd|$HOME|*|");
    let mut command = world.command(&["shell", "web", "wc", "-c"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(&vec![b'x'; 300_000]).expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "300000");
}

fn both_ways(world: &World) {
    let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let tree = world.env.path("tree");
    fs::create_dir_all(tree.join("deep")).expect("a directory");
    fs::write(tree.join("deep/a b.bin"), &bytes).expect("a file");
    world.succeed(&["copy", "-r", "tree", "web:/tmp/"]);
    world.succeed(&["copy", "web:/tmp/tree/deep/a b.bin", "back.bin"]);
    assert_eq!(
        fs::read(world.env.path("back.bin")).expect("the copy"),
        bytes
    );
    let missing = world.fail(&["copy", "web:/tmp/nothing", "x"], 9);
    assert!(
        missing.stderr.contains("No such file"),
        "{}",
        missing.stderr
    );
}

fn through_a_port(world: &World, port: u16) {
    world.shell(
        "web",
        &[
            "sh",
            "-c",
            "mkdir -p /tmp/www && echo from the guest > /tmp/www/hello",
        ],
    );
    world.shell("web", &["httpd", "-p", "8000", "-h", "/tmp/www"]);
    assert_eq!(http(port, "/hello").as_deref(), Some("from the guest\n"));
    // A port that nobody named: it is seen, and forwarded to the same one of this computer.
    let other = free_port();
    world.shell(
        "web",
        &[
            "httpd",
            "-p",
            &format!("127.0.0.1:{other}"),
            "-h",
            "/tmp/www",
        ],
    );
    let begun = Instant::now();
    while http(other, "/hello").as_deref() != Some("from the guest\n") {
        assert!(begun.elapsed() < PATIENCE, "port {other} was not forwarded");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// By which the supervisor learned that the guest's network was up.
fn the_port_that_leads_nowhere_is_gone(world: &World) {
    let qemu = world.pid("web", "driverPID");
    let arguments = fs::read_to_string(format!("/proc/{qemu}/cmdline")).expect("it runs");
    let rules = arguments.split([',', '\0']);
    let port = rules
        .filter_map(|rule| rule.strip_prefix("hostfwd=tcp:127.0.0.1:"))
        .find_map(|rule| rule.strip_suffix("-:1"));
    let port: u16 = port.expect("a rule").parse().expect("a port");
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "port {port} is still open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn data_stays(world: &World) {
    world.shell("web", &["sh", "-c", "echo kept > ~/proof && sync"]);
    let before = world.pid("web", "driverPID");
    world.succeed(&["restart", "web"]);
    assert_ne!(world.pid("web", "driverPID"), before);
    assert_eq!(world.shell("web", &["sh", "-c", "cat ~/proof"]), "kept");
}

#[test]
fn two_instances_share_one_image_and_pruning_the_cache_breaks_nothing() {
    let Some(world) = World::new() else { return };
    // Into the cache, as any fetched image.
    let bytes = fs::read(&world.guest.guest.qcow2).expect("the image");
    let digest = Digest::of(Algorithm::Sha256, &bytes).to_string();
    let origin =
        callao_testkit::origin::Origin::start(bytes, callao_testkit::origin::Behaviour::default());
    let url = format!("{}/tiny.qcow2", origin.url());
    // A link that comes or goes is no reason to hash the image again.
    for name in ["one", "two", "one"] {
        if world.dir(name).exists() {
            world.succeed(&["delete", name]);
        }
        let run = world.succeed(&[
            "create", &url, "--digest", &digest, "--name", name, "--memory", "256MiB", "--disk",
            "1GiB",
        ]);
        assert!(!run.stderr.contains("hashed"), "{}", run.stderr);
    }
    let inode = |path: std::path::PathBuf| fs::metadata(path).expect("a file").ino();
    let entry = world.env.entry(&url).join("data");
    assert_eq!(inode(world.dir("one").join("base")), inode(entry.clone()));
    assert_eq!(inode(world.dir("two").join("base")), inode(entry.clone()));
    world.succeed(&["cache", "prune", "--space-budget", "0"]);
    assert!(!entry.exists());
    world.succeed(&["start", "one"]);
    assert_eq!(world.shell("one", &["echo", "alive"]), "alive");
    assert_eq!(world.status("two"), "Created");
    world.succeed(&["delete", "-f", "one", "two"]);
}

#[test]
fn a_guest_that_powers_itself_off_has_stopped() {
    let Some(world) = World::new() else { return };
    // Plain, and nothing to be done in it: it is ready once ssh lets in.
    world.create("off", "plain: true\npropagateProxyEnv: false\n");
    world.succeed(&["start", "off"]);
    world.run(&["shell", "off", "sudo", "poweroff", "-f"]);
    world.until("off", "Stopped");
    assert_eq!(world.listed("off")["errors"], serde_json::json!([]));
    world.succeed(&[
        "edit", "off", "--cpus", "2", "--memory", "300MiB", "--disk", "2GiB",
    ]);
    world.succeed(&["start", "off"]);
    assert_eq!(world.shell("off", &["nproc"]), "2");
    assert_eq!(
        world.shell("off", &["cat", "/sys/block/vda/size"]),
        "4194304"
    );
    let refused = world.fail(&["edit", "off", "--cpus", "1"], 9);
    assert!(
        refused.stderr.contains("stop it first"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_guest_that_restarts_itself_is_reached_again() {
    let Some(world) = World::new() else { return };
    world.create("again", "");
    world.succeed(&["start", "again"]);
    let qemu = world.pid("again", "driverPID");
    world.shell("again", &["touch", "/tmp/before"]);
    world.run(&["shell", "again", "sudo", "reboot"]);
    let begun = Instant::now();
    // Gone with the memory: this is another boot.
    while world
        .run(&["shell", "again", "test", "!", "-e", "/tmp/before"])
        .code
        != Some(0)
    {
        assert!(begun.elapsed() < PATIENCE, "it does not come back");
    }
    assert_eq!(world.pid("again", "driverPID"), qemu);
    assert_eq!(world.status("again"), "Running");
}

#[test]
fn of_two_starts_at_once_one_wins_and_both_succeed() {
    let Some(world) = World::new() else { return };
    world.create("both", "");
    let all: Vec<_> = (0..3).map(|_| world.start(&["start", "both"])).collect();
    let ended: Vec<Run> = all
        .into_iter()
        .map(|child| Run::of(child.wait_with_output().expect("it ends")))
        .collect();
    for run in &ended {
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
    let waited = ended
        .iter()
        .filter(|run| run.stderr.contains("waiting for it"));
    assert_eq!(waited.count(), 2, "{ended:?}");
}

#[test]
fn uefi_boots_as_well_and_keeps_variables_of_its_own() {
    let Some(world) = World::new() else { return };
    world.succeed(&[
        "create",
        &world.image(),
        "--name",
        "uefi",
        "--memory",
        "512MiB",
        "--disk",
        "1GiB",
    ]);
    world.succeed(&["start", "uefi"]);
    assert_eq!(
        world.shell("uefi", &["ls", "-d", "/sys/firmware/efi"]),
        "/sys/firmware/efi"
    );
    assert!(world.dir("uefi").join("vars.fd").exists());
    world.succeed(&["stop", "uefi"]);
}

#[test]
fn a_kernel_is_booted_without_a_boot_loader() {
    let Some(world) = World::new() else { return };
    let text = format!(
        "images:\n- location: \"{}\"\n  arch: x86_64\n  kernel: {{location: \"{}\", cmdline: \"{} callao.proof=1\"}}\n  \
         initrd: {{location: \"{}\"}}\ncpus: 1\nmemory: 256MiB\ndisk: 1GiB\ncontainerd: {{user: false}}\n\
         user: {{shell: /bin/sh}}\n",
        world.image(),
        world.guest.guest.kernel.display(),
        world.guest.guest.cmdline,
        world.guest.guest.initrd.display()
    );
    world.env.write("direct.yaml", text);
    world.succeed(&["start", "direct.yaml"]);
    let said = world.shell("direct", &["cat", "/proc/cmdline"]);
    assert!(said.contains("callao.proof=1"), "{said}");
}

#[test]
fn packed_images_are_unpacked_and_a_disk_is_as_large_as_it_is_asked_to_be() {
    let Some(world) = World::new() else { return };
    let raw = fs::read(&world.guest.raw).expect("the image");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&raw).expect("it is packed");
    world
        .env
        .write("tiny.raw.gz", packed.finish().expect("it is packed"));
    world.succeed(&["create", "tiny.raw.gz", "--disk", "3GiB"]);
    let base = fs::metadata(world.dir("tiny").join("base")).expect("the image");
    assert_eq!(base.len(), raw.len() as u64);
    // What is empty takes no room.
    assert!(
        base.blocks() * 512 < raw.len() as u64,
        "{} blocks",
        base.blocks()
    );
    assert_eq!(world.listed("tiny")["disk"], 3_u64 << 30);
    let refused = world.fail(
        &["create", "tiny.raw.gz", "--name", "small", "--disk", "1MiB"],
        9,
    );
    assert!(refused.stderr.contains("--disk"), "{}", refused.stderr);
    let refused = world.fail(&["edit", "tiny", "--disk", "1GiB"], 2);
    assert!(
        refused.stderr.contains("it can only grow"),
        "{}",
        refused.stderr
    );
}
