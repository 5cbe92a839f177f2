//! `callao service`: the unit that it writes, and what systemd is told. A script stands in for `systemctl`; it runs what the
//! unit says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use callao_testkit::real::say_skipped;
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::env::{Run, TestEnvironment};
use crate::serve_world::serve;

/// A user with a systemd.
struct World {
    env: TestEnvironment,
    bin: PathBuf,
}

impl World {
    fn new() -> Self {
        let mut env = TestEnvironment::new();
        env.set_section(
            "[serve]\ngateway = \"127.0.0.1:0\"\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n",
        );
        let bin = env.program("systemctl", include_str!("systemctl.sh"));
        World { env, bin }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.env.command(arguments);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()));
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).output();
        Run::of(output.expect("the program starts"))
    }

    fn succeed(&self, arguments: &[&str]) -> Run {
        let run = self.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}\n{}", run.stderr);
        run
    }

    /// stdout and stderr.
    fn all(&self, run: &Run) -> String {
        let stderr = self.env.told(run);
        let stderr = stderr.replace("$DIR/home", "~");
        format!("{}\n{stderr}", self.steady(&run.stdout))
    }

    /// Without what differs from run to run.
    fn steady(&self, text: &str) -> String {
        self.env.steady(text).replace("$DIR/home", "~")
    }

    fn unit(&self) -> PathBuf {
        self.env.home().join(".config/systemd/user/callao.service")
    }

    /// What systemctl was told since the last time, without what it was only asked.
    fn told(&self) -> String {
        let file = self.bin.join("told");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let orders = text.lines().filter(|line| !line.contains(" is-"));
        let text = orders.fold(String::new(), |all, line| all + line + "\n");
        fs::write(&file, "").expect("it is forgotten");
        self.steady(&text)
    }

    /// Something that the stand-in finds.
    fn mark(&self, name: &str, text: &str) {
        fs::write(self.bin.join(name), text).expect("a file");
    }

    fn status(&self) -> Value {
        self.succeed(&["service", "status", "--json"])
            .last("service")
    }
}

impl Drop for World {
    /// Of a test that failed nothing keeps running.
    fn drop(&mut self) {
        let text = fs::read_to_string(self.bin.join("pid")).unwrap_or_default();
        if let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::KILL).unwrap_or(());
        }
    }
}

#[test]
fn it_is_installed_started_shown_and_removed() {
    let world = World::new();
    let run = world.succeed(&["service", "install", "--now"]);
    assert_snapshot!(world.all(&run), @r##"
    Written: ~/.config/systemd/user/callao.service
    Enabled: `callao serve` starts when you log in
    Running: gateway and dashboard at http://127.0.0.1:PORT/

    exit 0
    To have it run without a login as well: loginctl enable-linger
    "##);
    assert_snapshot!(world.told(), @r##"
    --user show --property=Version --value
    --user daemon-reload
    --user enable ~/.config/systemd/user/callao.service
    --user reset-failed callao.service
    --user restart callao.service
    "##);
    let mode = fs::metadata(world.unit()).expect("the unit").permissions();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode);
    // A proxy may have a password in its URL.
    assert_eq!(mode & 0o777, 0o600);
    let status = world.status();
    assert_eq!(
        (&status["file"], &status["enabled"], &status["active"]),
        (&json!("callao"), &json!("enabled"), &json!("active"))
    );
    assert_eq!(status["daemon"]["answers"], true, "{status}");
    let first = status["daemon"]["pid"].clone();
    let pid = fs::read_to_string(world.bin.join("pid")).expect("a pid");
    assert_eq!(first.to_string(), pid.trim());
    let shown = world.steady(&world.succeed(&["service", "status"]).stdout);
    assert_snapshot!(shown.replace(pid.trim(), "PID"), @r##"
    Unit:    ~/.config/systemd/user/callao.service
    systemd: enabled, active
    Daemon:  process PID answers at http://127.0.0.1:PORT/
    "##);
    installed_again(&world, &first);
    removed(&world);
}

fn installed_again(world: &World, first: &Value) {
    // Once more: nothing changes but the process.
    world.told();
    let again = world
        .succeed(&["service", "install", "--now", "--json"])
        .last("service");
    assert_eq!(again["change"], "unchanged");
    assert_ne!(again["daemon"]["pid"], *first);
    // What is exported now is taken over now.
    let mut command = world.command(&["service", "install", "--json"]);
    let output = command
        .env("IPFS_GATEWAY", "http://127.0.0.1:1/50%")
        .output();
    let run = Run::of(output.expect("it starts"));
    assert_eq!(run.last("service")["change"], "updated", "{}", run.stderr);
    let text = fs::read_to_string(world.unit()).expect("the unit");
    assert!(
        text.contains("Environment=\"IPFS_GATEWAY=http://127.0.0.1:1/50%%\"\n"),
        "{text}"
    );
}

fn removed(world: &World) {
    world.told();
    let run = world.succeed(&["service", "remove"]);
    assert_snapshot!(world.all(&run), @r##"
    Removed: ~/.config/systemd/user/callao.service

    exit 0
    "##);
    assert_snapshot!(world.told(), @r##"
    --user show --property=Version --value
    --user disable --now callao.service
    --user daemon-reload
    --user reset-failed callao.service
    "##);
    assert!(!world.unit().exists());
    let status = world.status();
    assert_eq!(status["file"], "missing");
    assert_eq!(
        (&status["enabled"], &status["active"], &status["daemon"]),
        (&json!("not-found"), &json!("inactive"), &Value::Null)
    );
    world.told();
    assert_snapshot!(world.all(&world.succeed(&["service", "remove"])), @r##"
    exit 0
    There is no service to remove: no `~/.config/systemd/user/callao.service`
    "##);
    assert_eq!(world.told(), "");
}

#[test]
fn the_unit_has_what_the_daemon_needs() {
    let world = World::new();
    world.succeed(&["service", "install", "--cache-dir", "big $1"]);
    let text = fs::read_to_string(world.unit()).expect("the unit");
    let program = env!("CARGO_BIN_EXE_callao");
    let text = world.steady(&text.replace(program, "$CALLAO"));
    assert_snapshot!(text, @r##"
    # Written by `callao service install`; `callao service remove` removes it.
    # To change it: systemctl --user edit callao
    [Unit]
    Description=callao serve: images of the cache, for others
    StartLimitIntervalSec=600
    StartLimitBurst=10

    [Service]
    Type=exec
    ExecStart="$CALLAO" serve --cache-dir "$DIR/in/big $$1"
    Environment="CALLAO_CONFIG=$DIR/config.toml"
    Environment="XDG_CACHE_HOME=$DIR/cache"
    Environment="CALLAO_DISCOVERY=none"
    Environment="HTTPS_PROXY=http://127.0.0.1:PORT"
    Environment="HTTP_PROXY=http://127.0.0.1:PORT"
    Environment="NO_PROXY=127.0.0.1,localhost,[::1]"
    Restart=on-failure
    RestartSec=5
    # Wrong usage or settings; another daemon runs: trying again changes neither.
    RestartPreventExitStatus=2 7
    TimeoutStopSec=30

    # What callao serve cannot do, since it need not.
    NoNewPrivileges=yes
    PrivateUsers=yes
    ProtectSystem=strict
    ReadWritePaths="-$DIR/in/big $1"
    ReadWritePaths="-~/.local/state/callao"
    ReadWritePaths="-~/.local/share/callao"
    LockPersonality=yes
    MemoryDenyWriteExecute=yes
    RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
    RestrictNamespaces=yes
    RestrictRealtime=yes
    RestrictSUIDSGID=yes
    SystemCallArchitectures=native
    SystemCallFilter=@system-service
    SystemCallErrorNumber=EPERM
    UMask=0077

    [Install]
    WantedBy=default.target
    "##);
    for dir in [
        "home/.local/state/callao",
        "home/.local/share/callao",
        "in/big $1",
    ] {
        let dir = world.env.home().with_file_name(dir);
        assert!(dir.is_dir(), "{}", dir.display());
    }
    // It is not started.
    assert_eq!(world.status()["daemon"], Value::Null);
}

#[test]
fn what_systemd_makes_of_the_unit_is_no_complaint() {
    let world = World::new();
    world.succeed(&["service", "install", "--cache-dir", "big $1 %h \"x\""]);
    let runtime = world.env.path("runtime");
    fs::create_dir(&runtime).expect("a directory");
    let verified = Command::new("systemd-analyze")
        .args(["--user", "verify", "--man=no", "--recursive-errors=no"])
        .arg(world.unit())
        .env("HOME", world.env.home())
        .env("XDG_RUNTIME_DIR", &runtime)
        .output();
    let Ok(verified) = verified else {
        say_skipped("no systemd-analyze");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_unit_of_somebody_else_is_left_as_it_is() {
    let world = World::new();
    fs::create_dir_all(world.unit().parent().expect("a directory")).expect("made");
    let foreign = "[Service]\nExecStart=/bin/true\n";
    fs::write(world.unit(), foreign).expect("written");
    let run = world.run(&["service", "install", "--now"]);
    assert_snapshot!(world.all(&run), @r##"

    exit 2
    error: `~/.config/systemd/user/callao.service` is not from callao: it is left as it is
    hint: to have callao write its own, end and remove that one first (systemctl --user disable --now callao)
    "##);
    let again = world.run(&["service", "remove"]);
    assert_eq!(again.code, Some(2));
    assert_eq!(again.stderr, run.stderr);
    let text = fs::read_to_string(world.unit()).expect("it is there");
    assert_eq!(text, foreign);
    assert_eq!(world.told(), "");
    assert_eq!(world.status()["file"], "foreign");
}

#[test]
fn without_systemd_nothing_is_written_and_it_is_said_why() {
    let world = World::new();
    let mut command = world.command(&["service", "install"]);
    let output = command.env("PATH", "/nowhere").output();
    let run = Run::of(output.expect("it starts"));
    assert_snapshot!(world.all(&run), @r##"
    exit 2
    error: there is no systemctl on PATH, so there is no systemd to tell
    hint: have whatever starts programs on this computer run `callao serve`
    "##);
    world.mark("no-bus", "");
    assert_snapshot!(world.all(&world.run(&["service", "install", "--now"])), @r##"
    exit 2
    error: systemd runs no services for this user here
      Failed to connect to bus: No medium found
    hint: log in as this user (by ssh or at the console; `su` and `sudo` are no logins), or have its services run 
          without a login: loginctl enable-linger USER
    hint: without systemd (a container, say), have whatever starts programs there run `callao serve`
    "##);
    assert!(!world.env.home().join(".config").exists());
    assert_snapshot!(world.all(&world.succeed(&["service", "status"])), @r##"
    Unit:    not there
    systemd: systemd runs no services for this user here
      Failed to connect to bus: No medium found
    Daemon:  none runs

    exit 0
    "##);
    assert_eq!(world.succeed(&["service", "remove"]).code, Some(0));
}

#[test]
fn a_daemon_that_runs_already_is_not_fought_with() {
    let world = World::new();
    let mut other = serve(&world.env, &[]);
    let run = world.run(&["service", "install", "--now"]);
    let pid = other.pid().to_string();
    assert_snapshot!(world.all(&run).replace(&pid, "PID"), @r##"
    exit 7
    error: `callao serve` runs already, and not as a service: process PID, gateway http://127.0.0.1:PORT
    hint: end it first; or leave out --now, and the service starts at the next login
    "##);
    assert!(!world.unit().exists());
    assert_eq!(world.status()["daemon"]["pid"], other.pid());
    // For the next login it can be installed.
    world.succeed(&["service", "install"]);
    assert_eq!(world.status()["active"], "inactive");
    other.stop();
    world.succeed(&["service", "install", "--now"]);
    assert_eq!(world.status()["active"], "active");
    world.succeed(&["service", "remove"]);
}

#[test]
fn what_does_not_start_and_what_systemd_refuses_is_told() {
    let world = World::new();
    world.mark("status", "4");
    assert_snapshot!(world.all(&world.run(&["service", "install", "--now"])), @r##"
    Written: ~/.config/systemd/user/callao.service
    Enabled: `callao serve` starts when you log in

    exit 1
    error: the service ended at once, with exit code 4 (network error)
    hint: journalctl --user --unit callao tells why; it is enabled and starts again at the next login
    "##);
    world.mark("status", "226");
    let run = world.run(&["service", "install", "--now"]);
    assert!(
        run.stderr.contains("with exit code 226\n"),
        "{}",
        run.stderr
    );
    world.mark("refuses-enable", "");
    assert_snapshot!(world.all(&world.run(&["service", "install"])), @r##"
    Unchanged: ~/.config/systemd/user/callao.service

    exit 1
    error: `systemctl --user enable ~/.config/systemd/user/callao.service` failed
      Failed to enable unit: Access denied
    "##);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut world = World::new();
    assert_eq!(world.run(&["service"]).code, Some(2));
    world.env.set("offline = true\n");
    assert_snapshot!(world.all(&world.run(&["service", "install"])), @r##"
    exit 2
    error: `offline` in the settings (or $CALLAO_OFFLINE) allows no socket at all
    "##);
    assert_eq!(world.told(), "");
}
