//! Several hosts on one Ethernet, as network namespaces of this computer: a bridge, a cable to each host, and limits on the
//! cables (`tc tbf`). Needs root and iproute2; nothing outside of its own namespaces is touched, and all of them go when it
//! is dropped, whatever happened meanwhile.
//!
//! Knows nothing of what runs on the hosts.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::skip;

/// Bytes that may pass at once where a rate is limited: a few of the largest packets that the kernel makes.
const BURST_BYTES: u64 = 256 * 1024;
/// How long a packet may wait at a limit before it is dropped.
const LATENCY: &str = "100ms";

/// A network; its hosts are numbered from 0.
#[derive(Debug)]
pub struct Network {
    name: String,
    hosts: u8,
}

impl Network {
    /// `hosts` hosts that see each other and nothing else. `None` when this computer cannot make them, which has then
    /// been said.
    ///
    /// # Panics
    /// As [`super::skip`] does.
    pub fn start(hosts: u8) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let network = Network {
            name: format!("callao{}-{number}", std::process::id()),
            hosts,
        };
        match network.make() {
            Ok(()) => Some(network),
            Err(trouble) => {
                drop(network);
                skip(&format!(
                    "no network namespaces (they need root and iproute2): {trouble}"
                ));
                None
            }
        }
    }

    fn make(&self) -> Result<(), String> {
        let lan = self.namespace("lan");
        ip(&format!("netns add {lan}"))?;
        ip(&format!("-n {lan} link add br0 type bridge"))?;
        ip(&format!("-n {lan} link set br0 up"))?;
        for host in 0..self.hosts {
            let (own, address) = (self.namespace(&host.to_string()), self.address(host));
            ip(&format!("netns add {own}"))?;
            ip(&format!(
                "-n {own} link add eth0 type veth peer name port{host} netns {lan}"
            ))?;
            ip(&format!("-n {lan} link set port{host} master br0 up"))?;
            ip(&format!("-n {own} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {own} link set eth0 up"))?;
            ip(&format!("-n {own} link set lo up"))?;
            // Names of the local network are asked for by multicast.
            ip(&format!("-n {own} route add 224.0.0.0/4 dev eth0"))?;
        }
        Ok(())
    }

    /// The address of a host.
    pub fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 199, 0, host + 1)
    }

    /// Limits what a host sends and what it gets to so many bytes per second, each.
    ///
    /// # Panics
    /// When the kernel has no token bucket filter.
    pub fn limit(&self, host: u8, bytes_per_second: u64) {
        let (own, lan) = (self.namespace(&host.to_string()), self.namespace("lan"));
        for (namespace, device) in [(own, "eth0".to_owned()), (lan, format!("port{host}"))] {
            let rate = format!("rate {bytes_per_second}bps burst {BURST_BYTES} latency {LATENCY}");
            run(
                "tc",
                &format!("-n {namespace} qdisc replace dev {device} root tbf {rate}"),
            )
            .expect("tc sets a limit");
        }
    }

    /// A command that runs on a host. It replaces itself by `program`: the process id is that of the program.
    pub fn command(&self, host: u8, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(&host.to_string())])
            .arg(program);
        command
    }

    /// `command` on a host, with the environment that it sets and the search path of this process, and nothing else.
    pub fn moved(&self, host: u8, command: &Command) -> Command {
        let mut moved = self.command(host, command.get_program());
        moved.args(command.get_args()).env_clear();
        for (name, value) in command.get_envs() {
            moved.envs(value.map(|value| (name, value)));
        }
        moved.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(dir) = command.get_current_dir() {
            moved.current_dir(dir);
        }
        moved
    }

    /// Moves this thread to a host, and with it the threads that it starts from now on.
    ///
    /// # Panics
    /// When the system refuses.
    #[cfg(target_os = "linux")]
    pub fn enter(&self, host: u8) {
        use rustix::fd::AsFd as _;
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

        let path = format!("/run/netns/{}", self.namespace(&host.to_string()));
        let space = std::fs::File::open(path).expect("the namespace of a host");
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(space.as_fd(), network).expect("root may");
    }

    /// What a host has sent so far, in bytes on its cable: every layer and every repetition counts.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn sent_bytes(&self, host: u8) -> u64 {
        let counter = "/sys/class/net/eth0/statistics/tx_bytes";
        let read = self.command(host, "cat").arg(counter).output();
        let read = read.expect("cat runs");
        let text = String::from_utf8_lossy(&read.stdout);
        text.trim().parse().expect("a number of bytes")
    }

    /// Does some work on a host, in a thread of its own: sockets and programs that it opens and starts are there, also
    /// when it has ended.
    ///
    /// # Panics
    /// When the work does.
    #[cfg(target_os = "linux")]
    pub fn on<T: Send>(&self, host: u8, work: impl FnOnce() -> T + Send) -> T {
        // What is said of a skipped test names it by its thread.
        let thread = std::thread::current().name().unwrap_or("a test").to_owned();
        let there = || {
            self.enter(host);
            work()
        };
        std::thread::scope(|scope| {
            let named = std::thread::Builder::new().name(thread);
            let thread = named.spawn_scoped(scope, there).expect("a thread");
            let ended = thread.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Takes a host off the bridge. It does not notice: what it sends is lost, and nothing comes.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn unplug(&self, host: u8) {
        let lan = self.namespace("lan");
        ip(&format!("-n {lan} link set port{host} nomaster")).expect("a port leaves its bridge");
    }

    /// Puts it back.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn plug(&self, host: u8) {
        let lan = self.namespace("lan");
        ip(&format!("-n {lan} link set port{host} master br0")).expect("a port joins its bridge");
    }

    fn namespace(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let hosts = (0..self.hosts).map(|host| host.to_string());
        for part in hosts.chain(["lan".to_owned()]) {
            // An error means that it was not made.
            ip(&format!("netns del {}", self.namespace(&part))).unwrap_or(());
        }
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {arguments}: {said}"))
}
