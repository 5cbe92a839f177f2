//! Peers on a network, by mDNS: two network namespaces that the test makes, joined by a cable. Needs root and iproute2.

use std::fs::File;
use std::process::Command;
use std::sync::mpsc;

use callao_p2p::{NodeOptions, Scope};
use callao_testkit::real;
use rustix::fd::AsFd as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::env::{Run, Sample, TestEnvironment};
use crate::holder::Holder;

const SIZE: usize = 3 * 1024 * 1024 + 17;

/// Two namespaces; they are gone when dropped.
struct Cable {
    ends: [String; 2],
}

impl Cable {
    /// `None` where that is not allowed, which has then been said.
    fn new() -> Option<Self> {
        let id = std::process::id();
        let ends = ["a", "b"].map(|end| format!("callao-{id}-{end}"));
        let cable = Cable { ends };
        match cable.lay() {
            Ok(()) => Some(cable),
            Err(why) => {
                real::skip(&format!("no network namespaces: {why}"));
                None
            }
        }
    }

    fn lay(&self) -> Result<(), String> {
        let [a, b] = &self.ends;
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        ip(&[
            "link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b,
        ])?;
        for (end, address) in [(a, "10.77.0.1/24"), (b, "10.77.0.2/24")] {
            ip(&["-n", end, "addr", "add", address, "dev", "wire"])?;
            ip(&["-n", end, "link", "set", "lo", "up"])?;
            ip(&["-n", end, "link", "set", "wire", "up"])?;
            // A real network has a default route, which multicast takes.
            ip(&["-n", end, "route", "add", "default", "dev", "wire"])?;
        }
        Ok(())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for end in &self.ends {
            // It was never made, if making it failed.
            ip(&["netns", "delete", end]).unwrap_or(());
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Makes a peer at one end, in threads that live there; gives its ID. It ends when the sender is dropped.
fn holder_at(end: &str, sample: &Sample) -> (String, mpsc::Sender<()>) {
    let space = File::open(format!("/run/netns/{end}")).expect("the namespace");
    let files = vec![sample.file()];
    let (told, id) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(space.as_fd(), network).expect("root may");
        let holder = Holder::serving(
            files,
            NodeOptions {
                listen: vec!["/ip4/0.0.0.0/tcp/0".into()],
                mdns: true,
                // What it dials does not matter: it is found.
                scope: Scope::Public,
                ..Holder::options()
            },
        );
        told.send(holder.peer_id()).expect("the test waits");
        // An error means that the test is over.
        ended.recv().unwrap_or(());
    });
    (id.recv().expect("it started"), end)
}

/// Runs a command at one end.
fn run_at(end: &str, command: &Command) -> Run {
    let mut inside = Command::new("ip");
    inside
        .args(["netns", "exec", end])
        .arg(command.get_program());
    inside.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        inside.envs(value.map(|value| (name, value)));
    }
    inside.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    inside.current_dir(command.get_current_dir().expect("it has one"));
    Run::of(inside.output().expect("it runs"))
}

#[test]
fn a_peer_on_the_network_is_found_and_asked() {
    let Some(cable) = Cable::new() else { return };
    let (mut env, sample) = (TestEnvironment::new(), Sample::random(720, SIZE));
    env.set_peers("bootstrap = []\n");
    let (peer, _holder) = holder_at(&cable.ends[0], &sample);
    let cid = sample.cid();
    let get = |scope| env.command(&["get", &cid, "--json", "--discovery", scope]);
    let run = run_at(&cable.ends[1], &get("none"));
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let run = run_at(&cable.ends[1], &get("lan"));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let share = &run.last("result")["sources"][0];
    assert_eq!(
        (
            share["source"]["kind"].as_str(),
            share["source"]["place"].as_str()
        ),
        (Some("bitswap"), Some(&*peer))
    );
    env.assert_nothing_false_in_lima(&sample);
}
