//! Directories of the host in a real guest: which way they go, who may write, and what is said of those that cannot be had.

use std::fs;

use crate::vm_world::{World, kill};

/// A directory of the host with a file.
fn shared(world: &World, name: &str) -> String {
    let dir = world.env.path(name);
    fs::create_dir_all(&dir).expect("a directory");
    fs::write(dir.join("hello"), "from the host").expect("a file");
    dir.display().to_string()
}

#[test]
fn over_ssh_read_only_unless_the_template_says_otherwise() {
    let Some(world) = World::new() else { return };
    let (ro, rw) = (shared(&world, "read only"), shared(&world, "rw"));
    world.create(
        "ssh",
        &format!(
            "mountType: reverse-sshfs\nmounts:\n- {{location: \"{ro}\", mountPoint: /mnt/ro}}\n\
             - {{location: \"{rw}\", mountPoint: /mnt/rw, writable: true}}\n"
        ),
    );
    let run = world.succeed(&["start", "ssh"]);
    assert!(!run.stderr.contains("is not mounted"), "{}", run.stderr);
    let check = || {
        assert_eq!(
            world.shell("ssh", &["cat", "/mnt/ro/hello"]),
            "from the host"
        );
        let refused = world.run(&["shell", "ssh", "sudo", "sh", "-c", "echo x > /mnt/ro/hello"]);
        assert_ne!(refused.code, Some(0));
        assert_eq!(
            fs::read_to_string(format!("{ro}/hello")).expect("it"),
            "from the host"
        );
        world.shell(
            "ssh",
            &["sudo", "sh", "-c", "echo from the guest > /mnt/rw/back"],
        );
        let back = fs::read_to_string(format!("{rw}/back")).expect("what the guest wrote");
        assert_eq!(back, "from the guest\n");
        fs::remove_file(format!("{rw}/back")).expect("it can be removed");
    };
    check();
    // Where the host is covered by a mount, a shell begins there.
    let mut command = world.command(&["shell", "ssh", "pwd"]);
    let output = command
        .current_dir(&rw)
        .output()
        .expect("the program starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "/mnt/rw");
    // Another supervisor mounts them again: the connection that carried them is gone.
    kill(world.pid("ssh", "hostAgentPID"));
    world.until("ssh", "Broken");
    world.succeed(&["start", "ssh"]);
    check();
}

#[test]
fn the_best_way_is_taken_and_what_the_guest_cannot_do_is_said() {
    let Some(world) = World::new() else { return };
    let dir = shared(&world, "any");
    world.create(
        "any",
        &format!("mounts: [{{location: \"{dir}\", mountPoint: /mnt/any}}]\n"),
    );
    let run = world.succeed(&["start", "any"]);
    assert!(!run.stderr.contains("is not mounted"), "{}", run.stderr);
    assert_eq!(
        world.shell("any", &["cat", "/mnt/any/hello"]),
        "from the host"
    );
    let refused = world.run(&["shell", "any", "sudo", "touch", "/mnt/any/new"]);
    assert_ne!(refused.code, Some(0));
    world.succeed(&["stop", "any"]);

    // The kernel of the guest has no 9p.
    world.create(
        "nine",
        &format!("mountType: 9p\nmounts: [{{location: \"{dir}\", mountPoint: /mnt/any}}]\n"),
    );
    let run = world.succeed(&["start", "nine"]);
    assert!(
        run.stderr
            .contains("is not mounted at `/mnt/any` in the guest"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("9p"), "{}", run.stderr);
}
