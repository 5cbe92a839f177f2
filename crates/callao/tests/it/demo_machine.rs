//! `callao demo --vm` is true, and leaves neither a file nor a process behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::env::{Run, TestEnvironment};
use crate::vm_world::World;

/// Command lines of the processes that have to do with a directory.
fn processes_in(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().expect("text");
    let all = fs::read_dir("/proc").expect("the processes").flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(dir))
        .collect()
}

#[test]
fn its_machine_boots_from_an_image_that_came_from_its_own_node() {
    let Some(world) = World::new() else { return };
    let temporary = world.env.path("t");
    fs::create_dir(&temporary).expect("a directory");
    let mut command = world.command(&["demo", "--keep", "--vm", &world.image()]);
    let output = command.env("TMPDIR", &temporary).output();
    let run = Run::of(output.expect("the program starts"));
    assert_eq!(run.code, Some(0), "{}\n{}", run.stdout, run.stderr);
    for claim in [
        "tiny.qcow2",
        "came by bitswap from that node, and none from elsewhere",
        "Linux lima-demo",
        "Running",
        "Stopped",
        "nothing of the machine is left",
        "Everything was as claimed",
    ] {
        assert!(run.stdout.contains(claim), "{claim}\n{}", run.stdout);
    }
    assert_eq!(processes_in(&temporary), [""; 0]);
    let kept = fs::read_dir(&temporary).expect("the directory").flatten();
    let kept: Vec<_> = kept.map(|entry| entry.path()).collect();
    let [kept] = kept.as_slice() else {
        panic!("one directory is kept, and not {kept:?}")
    };
    assert!(
        run.stdout.contains(&format!("kept in {}", kept.display())),
        "{}",
        run.stdout
    );
    assert!(kept.join("b/demo.yaml").exists());
}

#[test]
fn an_interrupt_leaves_neither_a_process_nor_a_file() {
    let Some(world) = World::new() else { return };
    let temporary = world.env.path("t");
    fs::create_dir(&temporary).expect("a directory");
    let mut command = world.command(&["demo", "--vm", &world.image()]);
    command.env("TMPDIR", &temporary);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut told = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    while !told.contains("waiting for the guest's ssh") {
        let read = stdout.read_line(&mut told).expect("a line");
        assert!(read > 0, "{told}");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("a signal is sent");
    let reading = std::thread::spawn(move || {
        let lines = stdout.lines().map_while(Result::ok);
        lines.map(|line| line + "\n").collect::<String>()
    });
    let run = Run::of(child.wait_with_output().expect("it ends"));
    let rest = reading.join().expect("it is read");
    assert_eq!(run.code, Some(130), "{told}{rest}\n{}", run.stderr);
    assert_eq!(processes_in(&temporary), [""; 0]);
    assert_eq!(fs::read_dir(&temporary).expect("the directory").count(), 0);
}

#[test]
fn what_its_machine_needs_is_named_before_anything_is_done() {
    let env = TestEnvironment::new();
    env.write("a.qcow2", "");
    let run = env.run(&["demo", "--vm", "a.qcow2"]);
    assert_eq!(run.code, Some(9), "{}", run.stderr);
    let qemu = format!(
        "qemu-system-{} was not found: install it",
        std::env::consts::ARCH
    );
    assert!(run.stderr.contains(&qemu), "{}", run.stderr);
    let run = env.run(&["demo", "--vm", "b.qcow2"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(
        run.stderr.contains("there is no file `b.qcow2`"),
        "{}",
        run.stderr
    );
    let both = ["demo", "--vm", "a.qcow2", "--size", "64MiB"];
    assert_eq!(env.run(&both).code, Some(2));
}
