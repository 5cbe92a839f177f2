//! Whom to ask for one file: the places that were named, and those that the settings allow. Opens files; connections
//! are opened by the engine.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callao_content::Cid;
use callao_fetch::answer::Waits;
use callao_fetch::client::{self, ClientOptions};
use callao_fetch::names::Records;
use callao_fetch::netfilter::Scope;
use callao_fetch::oci::reference::Reference;
use callao_fetch::oci::registry::Registry;
use callao_fetch::source::blocks::Blocks;
use callao_fetch::source::file::LocalFile;
use callao_fetch::source::gateway::{Gateway, GatewayOptions};
use callao_fetch::source::http::Http;
use callao_fetch::source::kubo_rpc::{self, KuboOptions, KuboRpc};
use callao_fetch::source::{Source, SourceKind};
use callao_store::catalogue::Catalogue;
use callao_store::disk::RealDisk;
use callao_store::foreign::BlockReader;
use callao_store::foreign::car::CarFile;
use callao_store::foreign::flatfs::Flatfs;
use reqwest::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use super::own_daemon::OwnDaemon;
use super::peers::{Around, Lent, Names, Peers, Told, Wish};
use super::plan::{Place, Want};
use crate::app::App;
use crate::cli::{Discovery, Kind, SourceArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, FileKind};
use crate::http;
use crate::output::Output;
use crate::registries::Registries;

mod looking;

pub(crate) use looking::{Search, Unasked};

/// Providers that are on their way to the engine.
const LATE_COUNT_MAX: usize = 16;
const API_FILE_BYTES_MAX: u64 = 1024;

/// The places to ask, for all files of one command.
pub(crate) struct Places {
    /// None are given: every kind is allowed.
    only: Vec<Kind>,
    offline: bool,
    waits: Waits,
    mirrors: Vec<Url>,
    gateways: Vec<Url>,
    routers: Vec<Url>,
    kubos: Vec<Daemon>,
    /// A daemon may be asked for what it has, not to look for it.
    kubo_offline: bool,
    files: Vec<PathBuf>,
    readers: Vec<Reader>,
    /// CARs that were added, opened when they are first needed.
    registered: OnceCell<Vec<Reader>>,
    registries: Registries,
    peers: Peers,
    own_daemon: OwnDaemon,
    /// There would be peers to look for, if all kinds were allowed.
    has_peers: bool,
    output: Arc<Output>,
    clients: Clients,
}

/// Blocks on this computer, and what the user is shown of where they are.
type Reader = (SourceKind, String, Arc<dyn BlockReader>);

/// Sources that are found while a fetch runs: by routers, and by the node of this process.
pub(crate) struct Late {
    pub(crate) sources: mpsc::Receiver<Arc<dyn Source>>,
    /// Those who ask routers; they end when this is dropped.
    pub(crate) tasks: JoinSet<()>,
}

/// A kubo daemon.
struct Daemon {
    api: Url,
    /// What it wrote into its repository, where that is known.
    gateway: Option<Url>,
}

/// HTTP clients, made when they are first needed.
struct Clients {
    options: ClientOptions,
    plain: OnceCell<Client>,
    blocks: OnceCell<Client>,
    routed: OnceCell<Client>,
    lan: OnceCell<Client>,
}

impl Places {
    /// Reads flags and settings; opens CAR files and kubo repositories.
    ///
    /// # Errors
    /// Usage, for a URL that is none or a repository that is none; disk and integrity, for a CAR that cannot be read.
    pub(crate) fn new(
        app: &App,
        args: &SourceArgs,
        mirrors: &[String],
    ) -> Result<Self, CommandError> {
        let settings = &app.settings;
        let options = http::options(settings);
        let allows = |kind| args.only.is_empty() || args.only.contains(&kind);
        let wish = Wish::of(settings, &args.peer, allows);
        let mut places = Places {
            peers: Peers::new(wish, &args.peer)?,
            own_daemon: OwnDaemon::new(app),
            has_peers: Wish::of(settings, &args.peer, |_| true).is_something(),
            output: Arc::clone(&app.output),
            only: args.only.clone(),
            offline: settings.offline,
            waits: options.waits,
            mirrors: Vec::new(),
            gateways: urls("--gateway", &args.gateway)?,
            routers: Vec::new(),
            kubos: Vec::new(),
            kubo_offline: settings.discovery == Discovery::None,
            files: Vec::new(),
            readers: Vec::new(),
            registered: OnceCell::new(),
            registries: Registries::new(app, &args.registries)?,
            clients: Clients {
                options,
                plain: OnceCell::new(),
                blocks: OnceCell::new(),
                routed: OnceCell::new(),
                lan: OnceCell::new(),
            },
        };
        for mirror in mirrors {
            places.mirror(app, mirror)?;
        }
        places
            .gateways
            .extend(urls("$IPFS_GATEWAY", settings.named_gateway.as_slice())?);
        if settings.discovery == Discovery::Public {
            places
                .gateways
                .extend(urls("gateways in the settings", &settings.gateways)?);
            places.routers = urls("routers in the settings", &settings.routers)?;
        }
        for path in &args.car {
            places.car(&app.host.working_dir.join(path))?;
        }
        for named in &args.kubo {
            places.named_kubo(app, named)?;
        }
        if args.kubo.is_empty() && settings.discovery != Discovery::None {
            places.kubo_of_this_computer(app);
        }
        Ok(places)
    }

    /// Looks for peers with a node that runs already, as [`Peers::borrow`] says.
    pub(crate) fn borrow_node(&mut self, lent: Lent) {
        self.peers.borrow(lent);
    }

    /// Whether a kind of source may be asked.
    pub(crate) fn allows(&self, kind: Kind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }

    /// Whether nothing but local places may be asked.
    pub(crate) fn offline(&self) -> bool {
        self.offline
    }

    /// The running daemon of this user.
    pub(crate) fn own_daemon(&self) -> &OwnDaemon {
        &self.own_daemon
    }

    /// The sources of a file; `cid` is that of the file (or, to resolve a path, of the directory), as far as known.
    pub(crate) fn sources(
        &self,
        app: &App,
        want: &Want,
        cid: Option<Cid>,
    ) -> Result<Vec<Arc<dyn Source>>, CommandError> {
        let mut sources: Vec<Arc<dyn Source>> = Vec::new();
        if cid.is_some() {
            for (kind, place, reader) in self.readers(app) {
                let allowed = if *kind == SourceKind::Car {
                    Kind::Car
                } else {
                    Kind::Kubo
                };
                if self.allows(allowed) {
                    sources.push(Arc::new(Blocks::new(
                        *kind,
                        place.clone(),
                        Arc::clone(reader),
                    )));
                }
            }
        }
        if self.allows(Kind::File) {
            for path in &self.files {
                let opened = LocalFile::open(&RealDisk, path);
                let failed = |error| {
                    CommandError::new(
                        ExitCode::NotFound,
                        format!("--mirror `{}`: {error}", path.display()),
                    )
                };
                sources.push(Arc::new(opened.map_err(failed)?));
            }
        }
        if self.offline {
            return Ok(sources);
        }
        if self.allows(Kind::Http) {
            for url in self.plain_urls(want) {
                sources.push(Arc::new(Http::new(self.clients.plain()?, url, self.waits)));
            }
        }
        let Some(cid) = cid else { return Ok(sources) };
        if self.allows(Kind::Kubo) {
            for daemon in &self.kubos {
                let options = KuboOptions {
                    waits: self.waits,
                    offline: self.kubo_offline,
                    gateway: daemon.gateway.clone(),
                };
                sources.push(Arc::new(KuboRpc::new(
                    self.clients.blocks()?,
                    daemon.api.clone(),
                    cid,
                    options,
                )));
            }
        }
        if self.allows(Kind::Gateway) {
            for base in &self.gateways {
                sources.push(Arc::new(self.gateway(
                    self.clients.blocks()?,
                    base.clone(),
                    cid,
                )));
            }
        }
        Ok(sources)
    }

    /// Looks for whoever else has the file: asks routers, and peers. Sources come through the channel as they are found; it
    /// closes when nobody is left to look for. `None`: there is nobody to ask. Whoever looks ends when this is dropped.
    /// Must be called on a runtime.
    pub(crate) fn late(&self, names: Names) -> Result<Option<Late>, CommandError> {
        let (found, late) = mpsc::channel::<Arc<dyn Source>>(LATE_COUNT_MAX);
        let told = self.look_for_peers(names, found.clone())?;
        let searches = self.searches(names.root)?;
        if searches.is_empty() && told.is_none() {
            return Ok(None);
        }
        let mut tasks = JoinSet::new();
        for search in searches {
            let (found, told) = (found.clone(), told.clone());
            let output = Arc::clone(&self.output);
            tasks.spawn(async move {
                let place = search.place().to_owned();
                // Full or closed: there are more than enough, or nobody wants any more.
                let mut give = |source| found.try_send(source).unwrap_or(());
                let mut tell = tell_through(told.as_ref());
                // A router that fails is no reason to stop: it only knows of further places.
                match search.run(&mut give, &mut tell).await {
                    Ok(answered) if answered.refused > 0 => output.detail(format!(
                        "Router {place} named {} addresses of a private network: they are not dialled",
                        answered.refused
                    )),
                    Ok(_) => {}
                    Err(error) => output.detail(format!("Router {place}: {error}")),
                }
            });
        }
        Ok(Some(Late {
            sources: late,
            tasks,
        }))
    }

    /// Looks for peers alone, as [`Peers::search`] does.
    pub(crate) fn look_for_peers(
        &self,
        names: Names,
        found: mpsc::Sender<Arc<dyn Source>>,
    ) -> Result<Option<mpsc::Sender<Told>>, CommandError> {
        let around = || {
            Ok(Around {
                output: Arc::clone(&self.output),
                client: self.clients.lan()?,
                waits: self.waits,
                ourselves: self.own_daemon.ourselves(),
            })
        };
        self.peers.search(around, names, found)
    }

    /// Whether somebody may be found who has a file with these names, besides the places that are known.
    pub(crate) fn may_find(&self, names: Names) -> Result<bool, CommandError> {
        Ok(self.peers.may_find(names) || !self.searches(names.root)?.is_empty())
    }

    /// The repository that a location names, to read from.
    pub(crate) fn registry(&self, reference: &Reference) -> Result<Arc<Registry>, CommandError> {
        self.registries
            .open(self.clients.blocks()?, reference, false)
    }

    /// Who may have records of `/ipns` names: routers and gateways, those of a kubo among them.
    pub(crate) fn records(&self) -> Result<Vec<Records>, CommandError> {
        let kubos = self.kubos.iter().filter_map(|kubo| kubo.gateway.as_ref());
        let gateways = self.gateways.iter().chain(kubos).cloned();
        let client = self.clients.blocks()?;
        let gateways = gateways.map(|url| Records::of_gateway(client.clone(), url, self.waits));
        let routers = self.routers.iter().cloned();
        let routers = routers.map(|url| Records::of_router(client.clone(), url, self.waits));
        Ok(gateways.chain(routers).collect())
    }

    /// The client for plain files.
    pub(crate) fn plain_client(&self) -> Result<Client, CommandError> {
        self.clients.plain()
    }

    fn plain_urls(&self, want: &Want) -> Vec<Url> {
        let is_http = |place: &Place| matches!(place, Place::Http(_));
        let own = want
            .locations
            .iter()
            .filter(|location| is_http(&location.place));
        let own = own.filter_map(|location| Url::parse(&location.text).ok());
        let mut urls: Vec<Url> = Vec::new();
        for url in own.chain(self.mirrors.iter().cloned()) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        urls
    }

    fn gateway(&self, client: Client, base: Url, cid: Cid) -> Gateway {
        Gateway::new(
            client,
            base,
            cid,
            GatewayOptions {
                waits: self.waits,
                ..GatewayOptions::default()
            },
        )
    }

    /// `--mirror`: a URL, or a file that is here.
    fn mirror(&mut self, app: &App, text: &str) -> Result<(), CommandError> {
        let path = app.host.path(text.strip_prefix("file://").unwrap_or(text));
        if text.starts_with("http://") || text.starts_with("https://") {
            self.mirrors.extend(urls("--mirror", &[text.to_string()])?);
        } else if matches!(host::kind_of(&path), Some(FileKind::File { .. })) {
            self.files.push(path);
        } else {
            return Err(CommandError::usage(format!(
                "--mirror: `{text}` is neither an http(s) URL nor a file"
            )));
        }
        Ok(())
    }

    fn car(&mut self, path: &Path) -> Result<(), CommandError> {
        let car =
            CarFile::open(path).map_err(|error| CommandError::from(error).context("--car"))?;
        self.readers
            .push((SourceKind::Car, path.display().to_string(), Arc::new(car)));
        Ok(())
    }

    /// Blocks on this computer, the CARs first.
    fn readers(&self, app: &App) -> impl Iterator<Item = &Reader> {
        let (cars, kubos) = self.readers.split_at(
            self.readers
                .partition_point(|(kind, ..)| *kind == SourceKind::Car),
        );
        let registered = self.allows(Kind::Car).then(|| self.registered(app));
        let cars = cars.iter().chain(registered.unwrap_or_default());
        cars.chain(kubos)
    }

    /// CARs that were added and are not named now. Nobody named them, so it is no error if one of them is gone.
    fn registered(&self, app: &App) -> &[Reader] {
        self.registered.get_or_init(|| self.open_registered(app))
    }

    fn open_registered(&self, app: &App) -> Vec<Reader> {
        if host::kind_of(&app.places.catalogue()).is_none() {
            // A catalogue is made by those who have something to note.
            return Vec::new();
        }
        let cars = app.catalogue().map(Catalogue::cars);
        let mut readers: Vec<Reader> = Vec::new();
        for record in cars.and_then(Result::ok).unwrap_or_default() {
            let place = record.path.display().to_string();
            if self.readers.iter().any(|(_, known, _)| *known == place) {
                continue;
            }
            match CarFile::open(&record.path) {
                Ok(car) => readers.push((SourceKind::Car, place, Arc::new(car))),
                Err(error) => app
                    .output
                    .detail(format!("A registered CAR is not used: {error}")),
            }
        }
        readers
    }

    /// `--kubo`: an address or a directory.
    fn named_kubo(&mut self, app: &App, named: &str) -> Result<(), CommandError> {
        let dir = app.host.path(named);
        if host::kind_of(&dir).is_none()
            && let Some(api) = kubo_rpc::api_url(named)
        {
            self.kubos.push(Daemon { api, gateway: None });
            return Ok(());
        }
        if host::kind_of(&dir) != Some(FileKind::Directory) {
            return Err(CommandError::new(ExitCode::Usage, format!("--kubo `{named}` is neither an address nor a directory"))
                .hint("give the address of the RPC API, such as http://127.0.0.1:5001, or the repository, such as ~/.ipfs"));
        }
        match Flatfs::open(&dir) {
            Ok(repository) => self.repository(&dir, repository),
            // Its blocks are not readable from outside, but the daemon may be up.
            Err(error) if daemon(&dir).is_none() => {
                return Err(CommandError::from(error).context("--kubo"));
            }
            Err(_) => {}
        }
        self.kubos.extend(daemon(&dir));
        Ok(())
    }

    /// Nobody named it, so it is no error if it is not there or not readable.
    fn kubo_of_this_computer(&mut self, app: &App) {
        if let Some(api) = &app.settings.kubo_api {
            self.kubos
                .extend(kubo_rpc::api_url(api).map(|api| Daemon { api, gateway: None }));
        }
        let Some(dir) = app.settings.kubo_repository.clone() else {
            return;
        };
        if host::kind_of(&dir) != Some(FileKind::Directory) {
            return;
        }
        match Flatfs::open(&dir) {
            Ok(repository) => self.repository(&dir, repository),
            Err(error) => app
                .output
                .detail(format!("The kubo repository is not used: {error}")),
        }
        self.kubos.extend(daemon(&dir));
    }

    fn repository(&mut self, dir: &Path, repository: Flatfs) {
        self.readers.push((
            SourceKind::KuboRepo,
            dir.display().to_string(),
            Arc::new(repository),
        ));
    }
}

impl Clients {
    fn plain(&self) -> Result<Client, CommandError> {
        made(&self.plain, || client::plain(&self.options))
    }

    fn blocks(&self) -> Result<Client, CommandError> {
        made(&self.blocks, || client::blocks(&self.options))
    }

    fn lan(&self) -> Result<Client, CommandError> {
        made(&self.lan, || client::lan(&self.options))
    }

    fn routed(&self) -> Result<Client, CommandError> {
        made(&self.routed, || {
            client::routed(&self.options, Scope::Public)
        })
    }
}

/// Hands peers that a router names on to whoever dials them, if there is one.
pub(crate) fn tell_through(told: Option<&mpsc::Sender<Told>>) -> impl FnMut(Told) + Send {
    // Full or closed: there are more than enough, or nobody wants any more.
    move |one| told.map_or((), |told| told.try_send(one).unwrap_or(()))
}

fn made(
    cell: &OnceCell<Client>,
    make: impl FnOnce() -> Result<Client, callao_fetch::error::Error>,
) -> Result<Client, CommandError> {
    if let Some(client) = cell.get() {
        return Ok(client.clone());
    }
    http::choose_tls();
    let client = make()?;
    Ok(cell.get_or_init(|| client).clone())
}

fn urls(what: &str, texts: &[String]) -> Result<Vec<Url>, CommandError> {
    let read = |text: &String| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) => Err(CommandError::usage(format!(
            "{what}: `{text}` is neither http nor https"
        ))),
        Err(error) => Err(CommandError::usage(format!(
            "{what}: `{text}` is not a URL: {error}"
        ))),
    };
    texts.iter().map(read).collect()
}

/// The daemon that runs on a repository, by what it wrote into it.
fn daemon(repository: &Path) -> Option<Daemon> {
    let read = |name: &str| {
        let text = host::read_small_file(&repository.join(name), API_FILE_BYTES_MAX).ok()?;
        Some(String::from_utf8_lossy(&text).trim().to_string())
    };
    let api = kubo_rpc::api_url(&read("api")?)?;
    let gateway = read("gateway").and_then(|text| Url::parse(text.lines().next()?).ok());
    Some(Daemon { api, gateway })
}

/// The RPC address of a kubo on this computer, and its repository if that is what tells the address. Nobody is asked.
pub(crate) fn kubo_api(app: &App) -> Option<(Url, Option<PathBuf>)> {
    if let Some(named) = app.settings.kubo_api.as_deref().and_then(kubo_rpc::api_url) {
        return Some((named, None));
    }
    let repository = app.settings.kubo_repository.clone()?;
    Some((daemon(&repository)?.api, Some(repository)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_urls_are_places() {
        assert!(urls("--mirror", &["https://h/a".into()]).is_ok());
        let error = urls("--mirror", &["ftp://h/a".into()]).expect_err("not http");
        assert_eq!(
            error.message,
            "--mirror: `ftp://h/a` is neither http nor https"
        );
    }
}
