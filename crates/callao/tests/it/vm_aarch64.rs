//! A machine of another architecture than this computer's: QEMU's `virt`, which boots by UEFI alone.

use callao_testkit::real::TinyGuest;

use crate::vm_world::World;

#[test]
fn a_guest_for_aarch64() {
    let Some(world) = TinyGuest::find_aarch64().map(World::with) else {
        return;
    };
    let text = format!(
        "images:\n- location: \"{}\"\n  arch: aarch64\narch: aarch64\ncpus: 1\nmemory: 512MiB\ndisk: 1GiB\n\
         containerd: {{user: false}}\nuser: {{shell: /bin/sh}}\n",
        world.image()
    );
    world.env.write("arm.yaml", text);
    world.succeed(&["start", "arm.yaml"]);
    assert_eq!(world.listed("arm")["arch"], "aarch64");
    assert_eq!(world.shell("arm", &["uname", "-m"]), "aarch64");
    assert_eq!(
        world.shell("arm", &["ls", "-d", "/sys/firmware/efi"]),
        "/sys/firmware/efi"
    );
    world.fail(&["shell", "arm", "sh", "-c", "exit 7"], 7);
    assert!(world.dir("arm").join("vars.fd").exists());
    world.succeed(&["stop", "arm"]);
    assert_eq!(world.status("arm"), "Stopped");
    world.succeed(&["delete", "arm"]);
}
