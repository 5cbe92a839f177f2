//! `callao publish` without `--to`: files become known as `callao add` makes them, and the running daemon serves them from
//! where they lie. Starts no daemon, and does not fail without one.

use std::time::{Duration, Instant};

use callao_content::{Cid, cid};

use super::{Publishing, show};
use crate::app::App;
use crate::cli::PublishArgs;
use crate::commands::add::measured::{self, Measured};
use crate::commands::add::{self, registered};
use crate::daemon::ask;
use crate::daemon::state::{self, Running};
use crate::daemon::status::Status;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::run::new_runtime;
use crate::output::json;

/// How long the daemon may take to see a file. It looks every few seconds even if it is not asked to.
const APPEAR_MAX: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What is published.
enum Item {
    File(Box<Measured>),
    /// The roots of a CAR.
    Car(Vec<Cid>),
}

pub(super) fn run(app: &App, args: &PublishArgs) -> Result<(), CommandError> {
    check(args)?;
    let publishing = Publishing::of(args)?;
    let mut items = Vec::new();
    for given in &args.files {
        items.push(match registered::is_car(given) {
            true => Item::Car(registered::add(app, given, false)?),
            false => {
                let file = measured::measure(app, given, publishing.shape)?;
                file.make_known(app)?;
                Item::File(Box::new(file))
            }
        });
    }
    let gateway = who_serves(app, &items)?;
    for item in &items {
        tell(app, item, gateway.as_deref());
    }
    Ok(())
}

fn check(args: &PublishArgs) -> Result<(), CommandError> {
    if !args.arch.is_empty() {
        return Err(CommandError::usage(
            "--arch needs --to oci://REGISTRY/REPOSITORY",
        ));
    }
    if args.nocopy {
        return Err(CommandError::usage(
            "--nocopy needs --to kubo; without --to nothing is copied anyway",
        ));
    }
    Ok(())
}

/// The gateway of the daemon that serves all of them now; otherwise says why there is none.
fn who_serves(app: &App, items: &[Item]) -> Result<Option<String>, CommandError> {
    let Some(running) = state::running(&app.host)? else {
        app.output
            .info("No `callao serve` runs; when one does, it serves what is published here");
        app.output
            .info("Start it with `callao serve`, or for good with `callao service install --now`");
        return Ok(None);
    };
    if app.settings.offline {
        app.output
            .info("Offline: the running `callao serve` is not asked whether it serves this");
        return Ok(None);
    }
    let roots: Vec<String> = items.iter().flat_map(Item::roots).map(cid::text).collect();
    let runtime = new_runtime()?;
    let appeared = runtime.block_on(async {
        tokio::select! {
            () = app.interrupt.token().cancelled() => Err(CommandError::interrupted()),
            appeared = appear(app, &running, &roots) => appeared,
        }
    });
    match appeared {
        Ok(()) => Ok(Some(running.gateway)),
        // It is known: that nobody serves it yet is no failure.
        Err(error) if error.kind != ExitCode::Interrupted => {
            app.output.warning(error.message);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Waits until the daemon serves all of these.
async fn appear(app: &App, running: &Running, roots: &[String]) -> Result<(), CommandError> {
    let since = Instant::now();
    ask::look(running).await?;
    loop {
        let status = ask::status(running).await?;
        let own = app.settings.cache_dir.display().to_string();
        if status.settings.cache_dir != own {
            return Err(not_served(format!(
                "the running `callao serve` (process {}) looks into the cache `{}`, not into `{own}`",
                running.pid, status.settings.cache_dir
            )));
        }
        let Some(missing) = roots.iter().find(|root| !is_served(&status, root)) else {
            return Ok(());
        };
        if since.elapsed() > APPEAR_MAX {
            return Err(not_served(format!(
                "the running `callao serve` (process {}) does not serve {missing}: {}",
                running.pid,
                why_not(&status, missing)
            )));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn not_served(why: String) -> CommandError {
    CommandError::new(ExitCode::NotFound, why)
}

fn is_served(status: &Status, root: &String) -> bool {
    let mut files = status.files.iter();
    files.any(|file| file.complete && file.served && file.roots.contains(root))
}

fn why_not(status: &Status, root: &String) -> String {
    let mut files = status.files.iter();
    let found = files.find(|file| file.roots.contains(root));
    found
        .and_then(|file| file.why_not.clone())
        .unwrap_or_else(|| "it has not seen it".into())
}

fn tell(app: &App, item: &Item, gateway: Option<&str>) {
    if let Item::File(file) = item {
        let gateway = gateway.map(str::to_owned);
        show(app, file, json::PublishedTo::Serve { gateway });
    }
    let Some(gateway) = gateway else {
        return;
    };
    for root in item.roots() {
        let name = match item {
            Item::File(file) => format!("?filename={}", add::percent_encoded(&file.name)),
            Item::Car(_) => String::new(),
        };
        let root = cid::text(root);
        app.output
            .info(format!("Served now: {gateway}/ipfs/{root}{name}"));
    }
}

impl Item {
    fn roots(&self) -> &[Cid] {
        match self {
            Item::File(file) => std::slice::from_ref(file.layout.root()),
            Item::Car(roots) => roots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::status::File;

    fn status(files: Vec<File>) -> Status {
        let empty = serde_json::json!({
            "v": 1, "version": "", "peer_id": null, "addresses": [], "gateway": "", "uptime_seconds": 0,
            "settings": {"discovery": "none", "offline": false, "enabled": true, "lan": null, "upload_rate_max": null,
                "upload_slots": 1, "private_origins": false, "file": null, "cache_dir": ""},
            "files": [], "fetches": [], "clients": [], "peers": [],
            "totals": {"sent_bytes": 0, "received_bytes": 0},
        });
        let mut status: Status = serde_json::from_value(empty).expect("a status");
        status.files = files;
        status
    }

    fn file(complete: bool, why_not: Option<&str>) -> File {
        File {
            name: "a.img".into(),
            size: 1,
            roots: vec!["bafya".into(), "bafyb".into()],
            digests: Vec::new(),
            url: None,
            path: "/a.img".into(),
            kind: "user".into(),
            complete,
            served: why_not.is_none(),
            why_not: why_not.map(str::to_owned),
        }
    }

    #[test]
    fn served_is_what_is_whole_and_may_be_given_away() {
        let root = "bafyb".to_owned();
        let cases = [
            (vec![], false, "it has not seen it"),
            (vec![file(true, None)], true, "it has not seen it"),
            (vec![file(false, None)], false, "it has not seen it"),
            (vec![file(true, Some("private"))], false, "private"),
            (
                vec![file(true, Some("private")), file(true, None)],
                true,
                "private",
            ),
        ];
        for (files, served, why) in cases {
            let status = status(files);
            assert_eq!(is_served(&status, &root), served);
            assert_eq!(why_not(&status, &root), why);
            assert!(!is_served(&status, &"bafyc".to_owned()));
        }
    }
}
