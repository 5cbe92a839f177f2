//! limactl beside callao: with a home of its own and the cache into which callao fetched the image. Must not know what is
//! compared.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use callao_testkit::real;

use crate::Outcome;
use crate::measure;
use crate::scene::Scene;

/// limactl has KVM run a guest wherever its device exists, even where it does not work, and has no setting for that. This
/// asks QEMU for its own translator instead, with the words that limactl has where there is no KVM.
const TRANSLATING: &str = "\
#!/bin/sh
kvm=
for word; do
    shift
    case $word in
        *,accel=kvm*) word=${word%,accel=kvm*}${word#*,accel=kvm} kvm=1 ;;
        host) word=max ;;
        host,*) word=max,${word#host,} ;;
    esac
    set -- \"$@\" \"$word\"
done
[ -z \"$kvm\" ] || set -- \"$@\" -accel tcg,thread=multi,tb-size=512
exec qemu-system-x86_64 \"$@\"
";

/// limactl in a world of callao's machines. Its instances are ended and removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Lima<'a> {
    scene: &'a Scene,
    program: PathBuf,
    home: PathBuf,
    cache: PathBuf,
    qemu: PathBuf,
}

impl<'a> Lima<'a> {
    /// The limactl that the environment names, if it runs, for the machines in `world`.
    pub(crate) fn find(scene: &'a Scene, world: &Path) -> Outcome<Option<Self>> {
        let Some(program) = real::limactl() else {
            return Ok(None);
        };

        let qemu = world.join("translating-qemu");
        fs::write(&qemu, TRANSLATING)?;
        fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755))?;
        Ok(Some(Self {
            scene,
            program,
            home: scene.lasting("lima"),
            cache: world.join("cache"),
            qemu,
        }))
    }

    /// Why there is none.
    pub(crate) fn missing() -> String {
        format!(
            "{} names no limactl that runs here (it refuses root)",
            real::LIMACTL_VARIABLE
        )
    }

    /// A command of it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--tty=false")
            .args(arguments)
            .env("LIMA_HOME", &self.home)
            .env("XDG_CACHE_HOME", &self.cache)
            .env("QEMU_SYSTEM_X86_64", &self.qemu)
            // Proxies are not taken for loopback: anything else fails at once instead of leaving this computer.
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("HTTPS_PROXY", "http://127.0.0.1:1");
        command
    }

    /// Directory of an instance.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// Ends and removes an instance, if there is one.
    pub(crate) fn delete(&self, name: &str) -> Outcome<()> {
        let mut delete = self.command(&["delete", "--force", name]);
        measure::run(&mut delete, self.scene.notes()).map(drop)
    }
}

impl Drop for Lima<'_> {
    fn drop(&mut self) {
        let mut list = self.command(&["list", "--quiet"]);
        let listed = list.stderr(Stdio::null()).output();
        let names = listed.map(|output| output.stdout).unwrap_or_default();
        for name in String::from_utf8_lossy(&names).lines() {
            drop(self.delete(name));
        }
    }
}
