//! `callao demo`: tells the story, checks every claim on the way, and fails if one is not true. The story of a virtual
//! machine is in `machine`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use callao_content::cid;
use callao_content::digest::{Algorithm, Digest, Hasher};
use callao_content::layout::Layout;
use callao_store::disk::{Disk, DiskFile, RealDisk};
use callao_store::places::Places;

use crate::cli::DemoArgs;
use crate::demo::child::Run;
use crate::demo::gateway::Gateway;
use crate::demo::get::get;
use crate::demo::mirror::Mirror;
use crate::demo::server::Server;
use crate::demo::{copy, image};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, Host};
use crate::output::{Output, human};

mod machine;

const MIB: u64 = 1024 * 1024;
const SIZE_BYTES_MIN: u64 = 16 * MIB;
const SIZE_BYTES_MAX: u64 = 16 * 1024 * MIB;
/// What the slow mirror gives.
const SLOW_BYTES_PER_S: u64 = 8 * MIB;
/// What the gateway gives until the kill, so that there is a middle to be killed in.
const FIRST_RUN_BYTES_PER_S: u64 = 48 * MIB;
/// The lying mirror is wrong once in every so many bytes.
const LIE_EVERY_BYTES: u64 = 8 * MIB;
/// What a kill may cost: bytes that were on their way.
const LOST_BYTES_MAX: u64 = 32 * MIB;

pub(crate) fn run(host: &Host, args: &DemoArgs, output: &Arc<Output>) -> Result<(), CommandError> {
    if let Some(image) = &args.vm {
        return machine::run(host, image, args.keep, output);
    }
    let size = human::parse_size(&args.size).ok_or_else(|| {
        CommandError::usage(format!("--size is `{}`; write it like 256MiB", args.size))
    })?;
    if !(SIZE_BYTES_MIN..=SIZE_BYTES_MAX).contains(&size) {
        return Err(CommandError::usage(
            "--size must be between 16MiB and 16GiB",
        ));
    }
    in_throw_away_dir(args.keep, output, |home| {
        Story::begin(host, output, home.to_owned(), size).and_then(|story| story.tell())
    })
}

/// Tells a story in a directory of its own, which is gone afterwards unless somebody wants to `keep` it.
fn in_throw_away_dir(
    keep: bool,
    output: &Output,
    tell: impl FnOnce(&Path) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let dir =
        host::new_temporary_dir("callao-demo").map_err(failed("make a throw-away directory"))?;
    let told = tell(&dir);
    if keep {
        output.result(format!("Everything is kept in {}", dir.display()));
        return told;
    }
    let removed = host::remove_tree(&dir).map_err(|error| CommandError::io("remove", &dir, &error));
    // What went wrong first is what is to be told.
    told.and(removed)
}

/// The stage.
struct Story<'a> {
    host: &'a Host,
    output: &'a Output,
    home: PathBuf,
    file: Arc<dyn DiskFile>,
    layout: Arc<Layout>,
    digest: Digest,
    gateway: Server,
    slow: Server,
    liar: Server,
}

impl<'a> Story<'a> {
    /// Makes the image and starts the servers.
    fn begin(
        host: &'a Host,
        output: &'a Output,
        home: PathBuf,
        size: u64,
    ) -> Result<Self, CommandError> {
        output.result("1. An image, and three servers on loopback that have it");
        let path = home.join("origin.img");
        let file = RealDisk
            .create_new(&path)
            .map_err(|error| CommandError::io("create", &path, &error))?;
        let started = Instant::now();
        let (layout, digest) =
            image::make(&*file, size).map_err(|error| CommandError::io("write", &path, &error))?;
        let layout = Arc::new(layout);
        output.result(format!(
            "   made and imported {} in {}",
            human::bytes(size),
            human::duration(started.elapsed())
        ));
        output.result(format!("   digest  {digest}"));
        output.result(format!(
            "   cid     {} ({} leaves, {} inner nodes)",
            cid::text(layout.root()),
            layout.leaves().len(),
            layout.nodes().len()
        ));
        let start = |name: &str, lie_every| {
            let mirror = Mirror {
                file: Arc::clone(&file),
                size,
                etag: format!("\"{}\"", &digest.hex()[..16]),
                lie_every,
            };
            Server::start(name, move |request| mirror.answer(request))
                .map_err(failed("start a server"))
        };
        let (slow, liar) = (
            start("slow mirror", None)?,
            start("lying mirror", Some(LIE_EVERY_BYTES))?,
        );
        slow.set_rate(SLOW_BYTES_PER_S);
        let shown = Gateway::new(Arc::clone(&file), Arc::clone(&layout));
        let gateway = Server::start("gateway", move |request| shown.answer(request))
            .map_err(failed("start a server"))?;
        output.result(format!("   gateway {} trustless, honest", gateway.url()));
        output.result(format!(
            "   mirror  {} slow: {}/s a connection",
            slow.url(),
            human::bytes(SLOW_BYTES_PER_S)
        ));
        output.result(format!(
            "   mirror  {} lies: one wrong bit in every {}",
            liar.url(),
            human::bytes(LIE_EVERY_BYTES)
        ));
        Ok(Story {
            host,
            output,
            home,
            file,
            layout,
            digest,
            gateway,
            slow,
            liar,
        })
    }

    fn tell(&self) -> Result<(), CommandError> {
        self.kill_and_resume()?;
        let path = self.home_places().entry(&self.location()).join("data");
        self.check_independently(&path)?;
        self.what_limactl_finds()?;
        self.again()?;
        self.compare_with_a_copy()?;
        self.output.result("Everything was as claimed.");
        Ok(())
    }

    fn kill_and_resume(&self) -> Result<(), CommandError> {
        let size = self.layout.size();
        self.output
            .result("2. callao get, killed with SIGKILL on the way, and run again");
        self.gateway.set_rate(FIRST_RUN_BYTES_PER_S.min(size / 2));
        let first = self.get(&self.location(), &self.places(), Some(size * 2 / 5))?;
        self.show(&first);
        let Some(killed_at) = first.killed_at else {
            return Err(untrue(
                "the first run ended before it could be killed",
                &first,
            ));
        };
        self.output.result(format!(
            "   killed when {} ({}%) were proven",
            human::bytes(killed_at),
            human::percent(killed_at, size)
        ));
        let entry = self.home_places().entry(&self.location()).join("data");
        if host::kind_of(&entry).is_some() {
            return Err(untrue("an unfinished file is in Lima's cache", &first));
        }
        self.gateway.set_rate(0);
        let second = self.get(&self.location(), &self.places(), None)?;
        self.show(&second);
        let result = second
            .first("result")
            .ok_or_else(|| untrue("the second run had no result", &second))?;
        let resumed = result["resumed"].as_u64().unwrap_or(0);
        let sent = self.gateway.sent() + self.slow.sent();
        self.output.result(format!(
            "   kept from the first run: {}; sent by the honest servers in both runs: {} for {} (by the liar: {})",
            human::bytes(resumed),
            human::bytes(sent),
            human::bytes(size),
            human::bytes(self.liar.sent())
        ));
        claim(resumed > 0, "nothing was kept from the first run", &second)?;
        claim(
            sent <= size + LOST_BYTES_MAX,
            "more was fetched again than was on its way",
            &second,
        )?;
        let liar = self.liar.url();
        let caught = |run: &Run| {
            run.lines.iter().any(|line| {
                line["type"] == "dropped"
                    && line["lied"] == true
                    && line["source"]["place"]
                        .as_str()
                        .is_some_and(|place| place.starts_with(&liar))
            })
        };
        claim(
            caught(&first) || caught(&second),
            "the lying mirror was not caught",
            &second,
        )
    }

    fn check_independently(&self, path: &Path) -> Result<(), CommandError> {
        self.output.result("3. The file, read again by another way");
        let file = RealDisk
            .open_read(path)
            .map_err(|error| CommandError::io("open", path, &error))?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut piece = vec![0; MIB as usize];
        let mut offset = 0;
        loop {
            match file
                .read_at(&mut piece, offset)
                .map_err(|error| CommandError::io("read", path, &error))?
            {
                0 => break,
                read => {
                    hasher.update(&piece[..read]);
                    offset += read as u64;
                }
            }
        }
        let digest = hasher.finish();
        if digest != self.digest || offset != self.layout.size() {
            return Err(CommandError::new(
                ExitCode::Integrity,
                format!("`{}` has digest {digest}", path.display()),
            ));
        }
        self.output
            .result(format!("   {} has {digest}: right", path.display()));
        Ok(())
    }

    fn what_limactl_finds(&self) -> Result<(), CommandError> {
        self.output.result("4. What limactl would find");
        let dir = self.home_places().entry(&self.location());
        self.output.result(format!("   {}/", dir.display()));
        let names = RealDisk
            .list(&dir)
            .map_err(|error| CommandError::io("list", &dir, &error))?;
        for name in &names {
            let path = dir.join(name);
            match host::read_small_file(&path, 4096) {
                Ok(text) => self
                    .output
                    .result(format!("     {name:<15}{}", String::from_utf8_lossy(&text))),
                Err(_) => self.output.result(format!(
                    "     {name:<15}({})",
                    human::bytes(self.layout.size())
                )),
            }
        }
        let mark = host::read_small_file(&dir.join("sha256.digest"), 4096).unwrap_or_default();
        let url = host::read_small_file(&dir.join("url"), 4096).unwrap_or_default();
        if mark != self.digest.to_string().as_bytes() || url != self.location().as_bytes() {
            return Err(CommandError::new(
                ExitCode::Integrity,
                "the entry is not what limactl needs",
            ));
        }
        self.output.result(
            "   a template with this location and digest starts without a request: `Using cache`",
        );
        Ok(())
    }

    fn again(&self) -> Result<(), CommandError> {
        self.output.result("5. Once more, and under another URL");
        let before = self.gateway.sent() + self.slow.sent() + self.liar.sent();
        let again = self.get(&self.location(), &self.places(), None)?;
        let other = self.get(&format!("{}/other.img", self.slow.url()), &[], None)?;
        let after = self.gateway.sent() + self.slow.sent() + self.liar.sent();
        claim(after == before, "bytes were fetched again", &other)?;
        let from = |run: &Run| {
            run.first("result")
                .map(|result| result["from"].clone())
                .unwrap_or_default()
        };
        claim(
            from(&again) == "cache" && from(&other) == "link",
            "the copy at hand was not used",
            &other,
        )?;
        self.output.result(format!(
            "   the same again: {} ms, from the cache",
            again.elapsed.as_millis()
        ));
        self.output.result(format!(
            "   under another URL: {} ms, a hard link, no byte fetched",
            other.elapsed.as_millis()
        ));
        Ok(())
    }

    fn compare_with_a_copy(&self) -> Result<(), CommandError> {
        self.output
            .result("6. Speed: the same file from one fast mirror");
        let mirror = Mirror {
            file: Arc::clone(&self.file),
            size: self.layout.size(),
            etag: "\"fast\"".into(),
            lie_every: None,
        };
        let fast = Server::start("fast mirror", move |request| mirror.answer(request))
            .map_err(failed("start a server"))?;
        let target = self.home.join("copy.img");
        let copied = copy::over_http(&fast.url(), &target).map_err(failed("copy over HTTP"))?;
        let home = self.home.join("second");
        let arguments = self.arguments(&format!("{}/demo.img", fast.url()), &[]);
        let run = get(&self.host.program, &home, &arguments, None).map_err(failed("run callao"))?;
        claim(
            run.status.success(),
            "the fetch from the fast mirror failed",
            &run,
        )?;
        let size = self.layout.size();
        let line = |name: &str, elapsed: Duration, note: &str| {
            self.output.result(format!(
                "   {name:<11}{:>8}  {:>12}  {note}",
                human::duration(elapsed),
                human::rate(size, elapsed)
            ));
        };
        line("plain copy", copied, "written and synced, nothing checked");
        line(
            "callao get",
            run.elapsed,
            "every leaf and the whole proven, synced, in Lima's cache",
        );
        Ok(())
    }

    fn show(&self, run: &Run) {
        for message in &run.messages {
            self.output.result(format!("   | {message}"));
        }
    }

    fn get(
        &self,
        location: &str,
        places: &[String],
        kill_at: Option<u64>,
    ) -> Result<Run, CommandError> {
        let arguments = self.arguments(location, places);
        let run = get(&self.host.program, &self.home, &arguments, kill_at)
            .map_err(failed("run callao"))?;
        if run.status.success() || run.killed_at.is_some() {
            Ok(run)
        } else {
            Err(untrue("callao get failed", &run))
        }
    }

    fn arguments(&self, location: &str, places: &[String]) -> Vec<String> {
        let mut arguments = vec![
            location.to_string(),
            "--digest".into(),
            self.digest.to_string(),
        ];
        arguments.extend(["--cid".into(), cid::text(self.layout.root())]);
        arguments.extend_from_slice(places);
        arguments
    }

    fn location(&self) -> String {
        format!("{}/demo.img", self.slow.url())
    }

    fn places(&self) -> [String; 4] {
        [
            "--mirror".into(),
            format!("{}/demo.img", self.liar.url()),
            "--gateway".into(),
            self.gateway.url(),
        ]
    }

    fn home_places(&self) -> Places {
        Places::new(&self.home.join("cache"))
    }
}

fn claim(holds: bool, otherwise: &str, run: &Run) -> Result<(), CommandError> {
    if holds {
        Ok(())
    } else {
        Err(untrue(otherwise, run))
    }
}

/// Something was not as claimed.
fn untrue(what: &str, run: &Run) -> CommandError {
    let mut error = CommandError::new(
        ExitCode::Unexpected,
        format!("the demo failed: {what} ({})", run.status),
    );
    error.details.extend(run.messages.iter().cloned());
    error
}

fn failed(doing: &str) -> impl Fn(std::io::Error) -> CommandError {
    let doing = doing.to_string();
    move |error| CommandError::new(ExitCode::Disk, format!("failed to {doing}: {error}"))
}
