//! `callao demo --vm IMAGE`: a virtual machine from an image that comes by bitswap from the demo's own node, from nothing to
//! a shell and to the end. Every claim is checked; whatever happens, no process is left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callao_store::places::Places;
use callao_vm::qemu::probe;
use callao_vm::ssh::client;
use serde_json::Value;

use super::{claim, untrue};
use crate::demo::child::Run;
use crate::demo::node::Node;
use crate::demo::user::User;
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, FileKind, Host};
use crate::interrupt::Interrupt;
use crate::output::{Output, human};
use crate::process;

/// The instance, and its template.
const NAME: &str = "demo";
const TEMPLATE: &str = "demo.yaml";
/// What the guest is called.
const GUEST: &str = "lima-demo";
/// How long it is tried to remove an instance that was interrupted: its supervisor may be busy ending it.
const REMOVE_MAX: Duration = Duration::from_secs(60);
const REMOVE_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(
    host: &Host,
    given: &Path,
    keep: bool,
    output: &Arc<Output>,
) -> Result<(), CommandError> {
    let image = image(host, given)?;
    let interrupt = Interrupt::install(Arc::clone(output)).map_err(|error| {
        let what = format!("failed to listen for signals: {error}");
        CommandError::new(ExitCode::Unexpected, what)
    })?;
    // Everything that was started is ended before this process is.
    let _guard = interrupt.guard();
    super::in_throw_away_dir(keep, output, |dir| {
        let giver = User::new(host, dir.join("a"), &interrupt)?;
        let taker = User::new(host, dir.join("b"), &interrupt)?;
        let story = Story { output, taker };
        let told = story.tell(&giver, &image);
        match &told {
            Ok(()) => output.result("Everything was as claimed."),
            Err(_) => story.remove_machine()?,
        }
        told
    })
}

/// The image, if it and everything that runs it are there.
fn image(host: &Host, given: &Path) -> Result<Image, CommandError> {
    if !cfg!(feature = "p2p") {
        return Err(CommandError::usage(
            "--vm: this callao was built without peers (feature `p2p`)",
        ));
    }
    let path = host.working_dir.join(given);
    let Some(FileKind::File { size }) = host::kind_of(&path) else {
        return Err(CommandError::new(
            ExitCode::NotFound,
            format!("there is no file `{}`", given.display()),
        ));
    };
    // What `start` would say after the image has been added.
    let dirs: Vec<PathBuf> = process::path_dirs(host.variable(env_vars::PATH)).collect();
    let arch = host.arch().parse()?;
    let instead = host.text_variable(&probe::variable(arch));
    probe::locate(arch, &dirs, instead.as_deref())?;
    probe::qemu_img(&dirs)?;
    client::find(&dirs, host.text_variable(env_vars::SSH).as_deref())?;
    Ok(Image {
        path: path.display().to_string(),
        size,
        arch: host.arch(),
    })
}

/// What is to be booted.
struct Image {
    path: String,
    size: u64,
    arch: &'static str,
}

/// What `callao add` says of it.
struct Added {
    /// `ipfs://CID/NAME`.
    location: String,
    /// The entry for a template.
    entry: Vec<String>,
}

/// The stage.
struct Story<'a> {
    output: &'a Output,
    /// Who has nothing in the beginning, and a machine in the end.
    taker: User<'a>,
}

impl Story<'_> {
    fn tell(&self, giver: &User<'_>, image: &Image) -> Result<(), CommandError> {
        let added = self.add(giver, image)?;
        let node = Node::start(giver)?;
        self.say("   callao serve");
        self.say(format!("   | {}", node.address));
        self.write_template(image, &added)?;
        self.start(image, &added, &node)?;
        self.use_it(image)?;
        self.end_it(image, &added)?;
        node.end()
    }

    fn say(&self, line: impl AsRef<str>) {
        self.output.result(line);
    }

    fn add(&self, giver: &User<'_>, image: &Image) -> Result<Added, CommandError> {
        self.say("1. A user who has the image makes it known, and runs a node on loopback");
        self.say(format!("   callao add {}", image.path));
        let run = giver.succeed(&["add", &image.path], &mut |_| {})?;
        self.show(&run.text);
        match run.text.split_first() {
            Some((location, entry)) if location.starts_with("ipfs://") => Ok(Added {
                location: location.clone(),
                entry: entry.to_vec(),
            }),
            _ => Err(untrue("callao add says no address", &run)),
        }
    }

    /// By BIOS where there is one: it needs no firmware, and is there sooner.
    fn write_template(&self, image: &Image, added: &Added) -> Result<(), CommandError> {
        self.say("2. Another user, who has nothing but a template with these lines");
        let firmware = match image.arch {
            "x86_64" => "firmware: {legacyBIOS: true}\n",
            _ => "",
        };
        let text = format!(
            "arch: {}\nimages:\n{}\ncpus: 1\nmemory: 512MiB\n{firmware}user: {{shell: /bin/sh}}\n\
             containerd: {{system: false, user: false}}\n",
            image.arch,
            added.entry.join("\n")
        );
        self.show(text.lines());
        let path = self.taker.home().join(TEMPLATE);
        host::write_text(&path, &text).map_err(|error| CommandError::io("write", &path, &error))
    }

    fn start(&self, image: &Image, added: &Added, node: &Node) -> Result<(), CommandError> {
        self.say("3. From that to a machine that runs");
        self.say(format!(
            "   callao start {TEMPLATE} --peer {}",
            node.address
        ));
        let line = [
            "start",
            TEMPLATE,
            "--peer",
            &node.address,
            "--json",
            "--no-progress",
        ];
        let mut tell = |line: &str| self.say(format!("   | {line}"));
        let run = self.taker.succeed(&line, &mut tell)?;
        let result = run
            .first("result")
            .ok_or_else(|| untrue("no image was fetched", &run))?;
        let pins = |key: &str| {
            let pin = result[key].as_str().unwrap_or("nothing");
            added.entry.iter().any(|line| line.contains(pin))
        };
        claim(
            result["location"] == added.location.as_str() && pins("digest") && pins("cid"),
            "the image is not the one that was added",
            &run,
        )?;
        let from_node = from_peer(result, &node.id);
        claim(
            from_node == Some(image.size) && result["size"] == image.size,
            "the image did not come from the node alone",
            &run,
        )?;
        let instance = run.first("instance").map(|instance| &instance["status"]);
        claim(
            instance.is_some_and(|status| status == "Running"),
            "the machine does not run",
            &run,
        )?;
        self.say(format!(
            "   all {} came by bitswap from that node, and none from elsewhere",
            human::bytes(image.size)
        ));
        self.say(format!(
            "   from nothing to a machine that is ready: {}",
            human::duration(run.elapsed)
        ));
        Ok(())
    }

    fn use_it(&self, image: &Image) -> Result<(), CommandError> {
        self.say("4. In it");
        self.say(format!("   callao shell {NAME} uname -a"));
        let run = self
            .taker
            .succeed(&["shell", NAME, "uname", "-a"], &mut |_| {})?;
        self.show(&run.text);
        let said = run.text.join(" ");
        let mut words = said.split_whitespace();
        claim(
            words.clone().any(|word| word == GUEST) && words.any(|word| word == image.arch),
            "this is not the guest",
            &run,
        )?;
        self.list("Running").map(drop)
    }

    fn end_it(&self, image: &Image, added: &Added) -> Result<(), CommandError> {
        self.say("5. And to its end");
        let mut tell = |line: &str| self.say(format!("   | {line}"));
        self.say(format!("   callao stop {NAME}"));
        self.taker.succeed(&["stop", NAME], &mut tell)?;
        let run = self.list("Stopped")?;
        self.say(format!("   callao delete {NAME}"));
        self.taker.succeed(&["delete", NAME], &mut tell)?;
        claim(
            host::kind_of(&self.instance_dir()).is_none(),
            "something of the machine is left",
            &run,
        )?;
        let cache = Places::new(&self.taker.home().join(".cache"));
        let entry = cache.entry(&added.location).join("data");
        claim(
            host::kind_of(&entry) == Some(FileKind::File { size: image.size }),
            "the image has left the cache",
            &run,
        )?;
        self.say(
            "   nothing of the machine is left; its image stays in the cache for the next one",
        );
        Ok(())
    }

    /// Shows `callao list`, which must name this machine with this status.
    fn list(&self, status: &str) -> Result<Run, CommandError> {
        self.say("   callao list");
        let run = self.taker.succeed(&["list"], &mut |_| {})?;
        self.show(&run.text);
        let is_it = |line: &String| line.split_whitespace().take(2).eq([NAME, status]);
        claim(
            run.text.iter().any(is_it),
            "the machine is not as it should be",
            &run,
        )?;
        Ok(run)
    }

    fn show<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) {
        for line in lines {
            self.say(format!("   | {}", line.as_ref()));
        }
    }

    fn instance_dir(&self) -> PathBuf {
        let home = self.taker.home();
        home.join(".local/share/callao/instances").join(NAME)
    }

    /// After something went wrong, or was interrupted: no machine may be left.
    fn remove_machine(&self) -> Result<(), CommandError> {
        let user = self.taker.undisturbed();
        let since = Instant::now();
        while host::kind_of(&self.instance_dir()).is_some() {
            let removed = user.succeed(&["delete", "--force", NAME], &mut |_| {});
            match removed {
                Err(error) if since.elapsed() > REMOVE_MAX => return Err(error),
                _ => std::thread::sleep(REMOVE_PAUSE),
            }
        }
        Ok(())
    }
}

/// How many bytes came, if all of them came from this peer by bitswap.
fn from_peer(result: &Value, id: &str) -> Option<u64> {
    let mut bytes = 0;
    for share in result["sources"].as_array()? {
        let source = &share["source"];
        if source["kind"] != "bitswap" || !source["place"].as_str()?.contains(id) {
            return None;
        }
        bytes += share["bytes"].as_u64()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_somebody_else_gave_is_seen() {
        let share = |kind: &str, place: &str, bytes: u64| json!({"source": {"kind": kind, "place": place}, "bytes": bytes});
        let all = |shares: &[Value]| from_peer(&json!({"sources": shares}), "12D3a");
        let own = share("bitswap", "/ip4/127.0.0.1/tcp/1/p2p/12D3a", 5);
        assert_eq!(all(&[own.clone(), own.clone()]), Some(10));
        assert_eq!(all(&[own.clone(), share("bitswap", "/p2p/12D3b", 0)]), None);
        assert_eq!(all(&[own, share("gateway", "http://h/12D3a", 5)]), None);
        assert_eq!(all(&[]), Some(0));
        assert_eq!(from_peer(&json!({}), "12D3a"), None);
    }
}
