//! kill -9 of everything that a virtual machine consists of, in every state: `list` tells the truth, `start` and `delete`
//! work afterwards, and the disk is not damaged.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::env::Run;
use crate::vm_world::{World, kill};

const PATIENCE: Duration = Duration::from_secs(120);

/// The disk of an instance has no damage.
fn disk_is_sound(world: &World, name: &str) {
    let disk = world.dir(name).join("disk.qcow2");
    let output = Command::new("qemu-img")
        .args(["check", "-q", "-f", "qcow2"])
        .arg(disk)
        .output()
        .expect("qemu-img runs");
    // 3: clusters that are lost, which is no damage.
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{output:?}");
}

fn errors(world: &World, name: &str) -> String {
    world.listed(name)["errors"].to_string()
}

#[test]
fn a_supervisor_that_was_killed_is_followed_by_one_that_takes_the_machine_over() {
    let Some(world) = World::new() else { return };
    world.create("orphan", "");
    world.succeed(&["start", "orphan"]);
    world.shell("orphan", &["sh", "-c", "echo still here > /tmp/proof"]);
    let qemu = world.pid("orphan", "driverPID");
    kill(world.pid("orphan", "hostAgentPID"));
    world.until("orphan", "Broken");
    assert!(errors(&world, "orphan").contains("its supervisor was killed"));
    assert_eq!(world.pid("orphan", "driverPID"), qemu);

    world.succeed(&["start", "orphan"]);
    assert_eq!(
        world.pid("orphan", "driverPID"),
        qemu,
        "QEMU was not started again"
    );
    assert_eq!(world.shell("orphan", &["cat", "/tmp/proof"]), "still here");

    // Without a supervisor it can be stopped as well.
    kill(world.pid("orphan", "hostAgentPID"));
    world.until("orphan", "Broken");
    world.succeed(&["stop", "orphan"]);
    assert_eq!(world.status("orphan"), "Stopped");
    disk_is_sound(&world, "orphan");

    world.succeed(&["start", "orphan"]);
    kill(world.pid("orphan", "hostAgentPID"));
    world.until("orphan", "Broken");
    world.succeed(&["delete", "--force", "orphan"]);
    assert!(!world.dir("orphan").exists());
}

#[test]
fn a_qemu_that_was_killed_is_noticed() {
    let Some(world) = World::new() else { return };
    world.create("dead", "");
    world.succeed(&["start", "dead"]);
    world.shell("dead", &["sh", "-c", "echo kept > ~/proof; sync"]);
    let qemu = world.pid("dead", "driverPID");
    kill(qemu);
    world.until("dead", "Broken");
    assert!(errors(&world, "dead").contains("QEMU ended without being asked"));
    disk_is_sound(&world, "dead");
    world.succeed(&["start", "dead"]);
    assert_eq!(world.shell("dead", &["sh", "-c", "cat ~/proof"]), "kept");

    let (supervisor, qemu) = (
        world.pid("dead", "hostAgentPID"),
        world.pid("dead", "driverPID"),
    );
    kill(supervisor);
    kill(qemu);
    world.until("dead", "Stopped");
    assert!(errors(&world, "dead").contains("this computer went down"));
    world.succeed(&["edit", "dead", "--memory", "300MiB"]);
    world.succeed(&["start", "dead"]);
    world.succeed(&["stop", "dead"]);
    disk_is_sound(&world, "dead");
    world.succeed(&["delete", "dead"]);
}

#[test]
fn kills_while_it_starts() {
    let Some(world) = World::new() else { return };
    world.create("early", "");
    // The command line: the machine starts without it.
    let mut cli = world.start(&["start", "early"]);
    world.until("early", "Starting");
    cli.kill().expect("it is killed");
    cli.wait().expect("it ended");
    world.until("early", "Running");
    world.succeed(&["stop", "early"]);

    // QEMU: the start fails, and says so.
    let cli = world.start(&["start", "early"]);
    kill(starting_qemu(&world, "early"));
    let run = Run::of(cli.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(9), "{}", run.stderr);
    assert!(
        run.stderr.contains("instance `early` did not start: QEMU"),
        "{}",
        run.stderr
    );
    assert_eq!(world.status("early"), "Broken");

    // The supervisor: the next one goes on where it was.
    let cli = world.start(&["start", "early"]);
    let qemu = starting_qemu(&world, "early");
    kill(world.pid("early", "hostAgentPID"));
    let run = Run::of(cli.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(9), "{}", run.stderr);
    assert_eq!(world.status("early"), "Broken");
    world.succeed(&["start", "early"]);
    assert_eq!(world.pid("early", "driverPID"), qemu);
    assert_eq!(world.shell("early", &["echo", "alive"]), "alive");
    disk_is_sound_when_stopped(&world);
}

/// The process of QEMU as soon as it is known, while the guest still boots.
fn starting_qemu(world: &World, name: &str) -> i32 {
    let begun = Instant::now();
    loop {
        let listed = world.listed(name);
        if listed["status"] == "Starting"
            && let Some(pid) = listed["driverPID"].as_i64()
        {
            return i32::try_from(pid).expect("a process");
        }
        assert!(begun.elapsed() < PATIENCE, "{listed}");
    }
}

fn disk_is_sound_when_stopped(world: &World) {
    world.succeed(&["stop", "early"]);
    disk_is_sound(world, "early");
    world.succeed(&["delete", "early"]);
}

#[test]
fn kills_while_it_stops() {
    let Some(world) = World::new() else { return };
    // A guest that does not listen to the power button keeps it stopping.
    world.create("late", "env: {NOTE: tiny-misbehave=no-power-button}\n");
    world.succeed(&["start", "late"]);
    let stop = world.start(&["stop", "late"]);
    world.until("late", "Stopping");
    let (supervisor, qemu) = (
        world.pid("late", "hostAgentPID"),
        world.pid("late", "driverPID"),
    );
    kill(supervisor);
    let run = Run::of(stop.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(9), "{}", run.stderr);
    assert_eq!(world.status("late"), "Broken");
    assert_eq!(world.pid("late", "driverPID"), qemu);
    world.succeed(&["stop", "--force", "late"]);
    assert_eq!(world.status("late"), "Stopped");

    world.succeed(&["start", "late"]);
    let stop = world.start(&["stop", "late"]);
    world.until("late", "Stopping");
    kill(world.pid("late", "driverPID"));
    let run = Run::of(stop.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(world.status("late"), "Stopped");
    disk_is_sound(&world, "late");
    world.succeed(&["delete", "late"]);
}

#[test]
fn an_instance_that_is_being_made_is_there_as_a_whole_or_not_at_all() {
    let Some(world) = World::new() else { return };
    let template = world.template("half", "");
    for pause in [0, 5, 10, 20, 40, 80, 160] {
        let mut create = world.start(&["create", &template]);
        std::thread::sleep(Duration::from_millis(pause));
        create.kill().expect("it is killed");
        create.wait().expect("it ended");
        let names = world.succeed(&["-q", "list"]).stdout;
        if !names.is_empty() {
            assert_eq!(
                (names.as_str(), world.status("half").as_str()),
                ("half\n", "Created")
            );
            disk_is_sound(&world, "half");
            world.succeed(&["delete", "half"]);
        }
    }
    world.succeed(&["create", &template]);
    // What the killed ones left behind is gone.
    let root = world.dir("half").parent().expect("a parent").to_owned();
    let left: Vec<_> = std::fs::read_dir(root)
        .expect("a directory")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["half"]);
}
