//! The real limactl in an installation of its own, with nothing of the user's around it, which can reach nothing but
//! loopback. `CALLAO_TEST_LIMACTL` names it; without it there is no judge.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use callao_testkit::gateway::Gateway;
use callao_testkit::real;

use crate::env::{Run, TestEnvironment};

/// limactl wants to know what an image is, and how large; that is not what is tested here.
const QEMU_IMG: &str = r#"#!/bin/sh
for last; do :; done
[ "$1" != info ] || echo "{\"filename\":\"$last\",\"format\":\"raw\",\"virtual-size\":1048576}"
"#;

/// limactl in an installation of its own: it looks for its files beside the name under which it is called.
pub(crate) struct Judge {
    pub(crate) env: TestEnvironment,
    gateway: RefCell<String>,
}

impl Judge {
    pub(crate) fn new() -> Option<Self> {
        let limactl = real::limactl()?;
        let env = TestEnvironment::new();
        for dir in ["lima/bin", "lima/share/lima/templates"] {
            fs::create_dir_all(env.path(dir)).expect("a directory");
        }
        symlink(limactl, env.path("lima/bin/limactl")).expect("a link");
        for arch in ["x86_64", "aarch64"] {
            env.write(
                &format!("lima/share/lima/lima-guestagent.Linux-{arch}"),
                "not run",
            );
        }
        program(&env, "lima/bin/qemu-img", QEMU_IMG);
        Some(Judge {
            env,
            gateway: RefCell::default(),
        })
    }

    /// `PATH`: limactl and what it needs, callao, and nothing of the user's.
    fn path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.env.path("lima/bin").display())
    }

    fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("PATH", self.path())
            .env("LIMA_HOME", self.env.path("h"))
            .env("LIMA_TEMPLATES_PATH", self.env.path("templates"))
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("NO_PROXY", "127.0.0.1")
            .env("IPFS_GATEWAY", &*self.gateway.borrow())
    }

    /// callao beside this limactl.
    pub(crate) fn callao(&self, arguments: &[&str]) -> Run {
        run(self.surround(&mut self.env.command(arguments)))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // The environment of callao is as empty as that of limactl should be.
        let callao = self.env.command(&[]);
        let mut command = Command::new(self.env.path("lima/bin/limactl"));
        command.env_clear().current_dir(self.env.path("."));
        for (name, value) in callao.get_envs() {
            command.env(name, value.expect("a value"));
        }
        self.surround(&mut command);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn limactl(&self, arguments: &[&str]) -> Run {
        run(&mut self.command(arguments))
    }

    /// From now on callao asks this gateway, whoever starts it.
    pub(crate) fn asks(&self, gateway: &Gateway) {
        self.gateway.replace(gateway.url());
    }

    /// The disk of an instance.
    pub(crate) fn disk(&self, name: &str) -> Vec<u8> {
        fs::read(self.env.path("h").join(name).join("disk")).unwrap_or_default()
    }

    /// Creates an instance, which must succeed.
    pub(crate) fn create(&self, name: &str, template: &str) -> Run {
        let name = format!("--name={name}");
        let run = self.limactl(&["create", "--tty=false", &name, template]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        run
    }
}

/// Writes a program.
pub(crate) fn program(env: &TestEnvironment, name: &str, text: &str) {
    let path = env.write(name, text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a program");
}

fn run(command: &mut Command) -> Run {
    let output = command.output().expect("the program starts");
    Run {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
