//! A user with virtual machines: a home whose instances are ended when the test ends, and the tiny guest as an image.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use callao_testkit::real::guest::TinyGuest;
use serde_json::Value;

use crate::env::{Run, TestEnvironment};

/// Longer than anything takes on a computer that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A user with virtual machines.
pub(crate) struct World {
    pub(crate) env: TestEnvironment,
    pub(crate) guest: TinyGuest,
    variables: Vec<(String, String)>,
}

impl World {
    /// `None`, said: there is no QEMU or no guest to run.
    pub(crate) fn new() -> Option<Self> {
        TinyGuest::find().map(World::with)
    }

    /// With such a guest.
    pub(crate) fn with(guest: TinyGuest) -> Self {
        World {
            env: TestEnvironment::new(),
            guest,
            variables: vec![("CALLAO_ACCELERATOR".into(), "tcg".into())],
        }
    }

    /// Sets a variable of every command that follows.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.command(arguments);
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output();
        Run::of(output.expect("the program starts"))
    }

    pub(crate) fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(
            run.code,
            Some(0),
            "{arguments:?}\n{}{}",
            run.stderr,
            self.logs()
        );
        run
    }

    pub(crate) fn fail(&self, arguments: &[&str], code: i32) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(code), "{arguments:?}\n{}", run.stderr);
        run
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// The image of the tiny guest, as an argument.
    pub(crate) fn image(&self) -> String {
        self.guest.guest.qcow2.display().to_string()
    }

    /// Makes an instance of the tiny guest that needs little and boots by BIOS, as a template says it.
    pub(crate) fn create(&self, name: &str, more: &str) {
        let template = self.template(name, more);
        self.succeed(&["create", &template]);
    }

    /// A template of the tiny guest.
    pub(crate) fn template(&self, name: &str, more: &str) -> String {
        let text = format!(
            "images:\n- location: \"{}\"\n  arch: x86_64\ncpus: 1\nmemory: 256MiB\ndisk: 1GiB\n\
             firmware: {{legacyBIOS: true}}\ncontainerd: {{system: false, user: false}}\nuser: {{shell: /bin/sh}}\n{more}",
            self.image()
        );
        let path = self.env.write(&format!("{name}.yaml"), text);
        path.display().to_string()
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.env
            .home()
            .join(".local/share/callao/instances")
            .join(name)
    }

    /// What `list --json` says of an instance.
    pub(crate) fn listed(&self, name: &str) -> Value {
        let run = self.succeed(&["list", "--json", name]);
        serde_json::from_str(run.stdout.trim()).expect("one object")
    }

    pub(crate) fn status(&self, name: &str) -> String {
        self.listed(name)["status"]
            .as_str()
            .expect("a status")
            .to_string()
    }

    /// Waits until an instance is so.
    pub(crate) fn until(&self, name: &str, status: &str) {
        let begun = Instant::now();
        while self.status(name) != status {
            assert!(
                begun.elapsed() < PATIENCE,
                "{name} is {} and not {status}{}",
                self.status(name),
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a command in the guest says.
    pub(crate) fn shell(&self, name: &str, command: &[&str]) -> String {
        let mut arguments = vec!["shell", name];
        arguments.extend(command);
        self.succeed(&arguments).stdout.trim_end().to_string()
    }

    /// A process of an instance, from `list`.
    pub(crate) fn pid(&self, name: &str, key: &str) -> i32 {
        let listed = self.listed(name);
        let pid = listed[key].as_i64();
        i32::try_from(pid.unwrap_or_else(|| panic!("no {key} in {listed}"))).expect("a process")
    }

    /// The logs of every instance, for a test that fails.
    fn logs(&self) -> String {
        let root = self.dir("x").parent().expect("a parent").to_owned();
        let mut all = String::new();
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            for log in ["supervisor.log", "qemu.log", "serial.log", "state.json"] {
                let text = fs::read(entry.path().join(log)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let tail: Vec<&str> = text.lines().rev().take(30).collect();
                all.extend(["\n--- ", log, "\n"]);
                all.extend(tail.into_iter().rev().map(|line| format!("{line}\n")));
            }
        }
        all
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let names = self.run(&["-q", "list"]).stdout;
        for name in names.lines() {
            self.run(&["delete", "--force", name]);
        }
    }
}

/// Ends a process as nobody can prevent.
pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is killed");
}

/// The body of a file, if a server answers.
pub(crate) fn http(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.to_string())
}

/// A port of this computer that nobody uses.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
