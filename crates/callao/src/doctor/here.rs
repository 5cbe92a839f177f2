//! Facts about settings and disk. What is tried with real files is taken away again; directories that are not there are
//! not made.

use std::path::{Path, PathBuf};

use callao_store::catalogue::Catalogue;

use super::facts::{
    CatalogueFacts, CertificateFacts, DirFacts, DirKind, DiskFacts, ProxyFacts, SettingsFacts,
    Tried,
};
use crate::app::App;
use crate::env_vars;
use crate::host::{self, FileKind};

const CERTIFICATES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where Linux systems and BSDs keep their certificates.
const CERTIFICATE_PLACES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
];

pub(crate) fn settings(app: &App) -> SettingsFacts {
    let own = env_vars::TABLE.iter().map(|(name, _)| *name);
    let set = own.filter(|name| name.starts_with("CALLAO_") && app.host.variable(name).is_some());
    SettingsFacts {
        file: app
            .settings
            .file
            .as_ref()
            .map(|path| path.display().to_string()),
        variables: set.map(str::to_string).collect(),
    }
}

pub(crate) fn disk(app: &App) -> DiskFacts {
    let places = &app.places;
    let (lima, own) = (places.lima_download(), places.own());
    let (from, to) = (nearest(&own), nearest(&lima));
    let device = |path: &Path| app.disk.stat(path).ok().flatten().map(|stamp| stamp.dev);
    let mut facts = DiskFacts {
        cache: dir(app, places.cache()),
        lima: dir(app, &lima),
        own: dir(app, &own),
        free_bytes: host::free_bytes(&from).ok(),
        is_one_file_system: device(&from) == device(&to),
        ..DiskFacts::default()
    };
    let is_inside = |path: &Path| path.starts_with(places.cache());
    let is_usable = |dir: &DirFacts| dir.refused.is_none() && dir.kind != DirKind::NoDirectory;
    if is_inside(&from) && is_inside(&to) && is_usable(&facts.lima) && is_usable(&facts.own) {
        (facts.hard_link, facts.reflink) = links(app, &from, &to);
    }
    facts
}

/// The first directory on the way up that is there.
fn nearest(path: &Path) -> PathBuf {
    let mut ways = path.ancestors();
    ways.find(|path| host::kind_of(path).is_some())
        .unwrap_or(path)
        .to_owned()
}

fn dir(app: &App, path: &Path) -> DirFacts {
    let near = nearest(path);
    let kind = match host::kind_of(&near) {
        Some(FileKind::Directory) if near == path => DirKind::There,
        Some(FileKind::Directory) | None => DirKind::Missing,
        Some(FileKind::File { .. }) => DirKind::NoDirectory,
    };
    let is_inside = near.starts_with(app.places.cache());
    let refused = match kind {
        DirKind::NoDirectory => Some(format!("`{}` is not a directory", near.display())),
        _ if is_inside => try_file(app, &near).err(),
        // Outside the cache nothing is tried out.
        _ => host::may_write(&near)
            .err()
            .map(|error| format!("`{}`: {error}", near.display())),
    };
    let owner = host::owner_and_mode(path);
    DirFacts {
        path: path.display().to_string(),
        kind,
        refused,
        mode: owner.map(|(_, mode)| mode),
        is_foreign: owner.is_some_and(|(owner, _)| owner != host::user_id()),
    }
}

fn try_file(app: &App, dir: &Path) -> Result<(), String> {
    let path = temporary(dir, "file");
    let made = app
        .disk
        .create_new(&path)
        .and_then(|file| file.write_at(b"callao", 0));
    let removed = app.disk.remove(&path);
    made.and(removed.map(drop))
        .map_err(|error| format!("`{}`: {error}", dir.display()))
}

/// A hard link and a clone from one directory into the other.
fn links(app: &App, from: &Path, to: &Path) -> (Tried, Tried) {
    let source = temporary(from, "link-from");
    let made = app
        .disk
        .create_new(&source)
        .and_then(|file| file.write_at(&[7; 4096], 0));
    let attempt = |name: &str, link: &dyn Fn(&Path) -> std::io::Result<()>| {
        let target = temporary(to, name);
        let linked = link(&target);
        match linked.and(app.disk.remove(&target).map(drop)) {
            Ok(()) => Tried::Works,
            Err(error) => Tried::Fails(error.to_string()),
        }
    };
    let tried = match made {
        Ok(()) => (
            attempt("hard-link", &|target| app.disk.hard_link(&source, target)),
            attempt("reflink", &|target| app.disk.reflink(&source, target)),
        ),
        Err(error) => (Tried::Fails(error.to_string()), Tried::Unknown),
    };
    // If it cannot be removed, the file system has failed, and the links have told so.
    app.disk.remove(&source).unwrap_or(false);
    tried
}

fn temporary(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".callao-doctor-{}-{name}.tmp", std::process::id()))
}

pub(crate) fn catalogue(app: &App) -> CatalogueFacts {
    let path = app.places.catalogue();
    let size = || app.disk.stat(&path).ok().flatten().map(|stamp| stamp.size);
    if size().is_none() {
        return CatalogueFacts::Missing;
    }
    let aside = path.with_added_extension("damaged");
    let moved = || app.disk.stat(&aside).ok().flatten();
    let before = moved();
    let opened = Catalogue::open(&path).and_then(|catalogue| {
        catalogue.check()?;
        catalogue.list()
    });
    match opened {
        Ok(files) => CatalogueFacts::Opened {
            files: files.len(),
            bytes: size().unwrap_or(0),
            was_damaged: moved() != before,
        },
        Err(error) => {
            let error = crate::error::CommandError::from(error);
            CatalogueFacts::Unusable(error.message)
        }
    }
}

pub(crate) fn proxies(app: &App) -> ProxyFacts {
    let set = env_vars::PROXIES.iter();
    let set = set.filter_map(|name| Some((*name, app.host.text_variable(name)?)));
    set.map(|(name, value)| {
        let is_list = name.eq_ignore_ascii_case("no_proxy");
        let url = url::Url::parse(&value).or_else(|_| url::Url::parse(&format!("http://{value}")));
        let is_good = is_list || url.as_ref().is_ok_and(url::Url::has_host);
        (name.to_string(), without_credentials(&value), is_good)
    })
    .collect()
}

/// Whatever stands before an `@` is nobody's business.
fn without_credentials(value: &str) -> String {
    let Some((before, host)) = value.rsplit_once('@') else {
        return value.to_string();
    };
    match before.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://...@{host}"),
        None => format!("...@{host}"),
    }
}

pub(crate) fn certificates(app: &App) -> CertificateFacts {
    for variable in [env_vars::SSL_CERT_FILE, env_vars::SSL_CERT_DIR] {
        let Some(text) = app.host.text_variable(variable) else {
            continue;
        };
        let path = app.host.path(&text);
        let unusable = match (variable, host::kind_of(&path)) {
            (_, None) => Some("there is nothing".to_string()),
            (env_vars::SSL_CERT_DIR, Some(FileKind::Directory)) => None,
            (env_vars::SSL_CERT_DIR, _) => Some("it is not a directory".into()),
            _ => no_certificates(&path),
        };
        return CertificateFacts::Named {
            variable,
            path: text,
            unusable,
        };
    }
    if cfg!(target_os = "macos") || cfg!(target_os = "windows") {
        return CertificateFacts::System("the system's own store".into());
    }
    let there = |path: &&&str| host::kind_of(Path::new(path)).is_some();
    match CERTIFICATE_PLACES.iter().find(there) {
        Some(path) => CertificateFacts::System((*path).to_string()),
        None => CertificateFacts::Missing,
    }
}

fn no_certificates(path: &Path) -> Option<String> {
    match host::read_small_file(path, CERTIFICATES_BYTES_MAX) {
        Ok(bytes) => {
            let mark = b"-----BEGIN CERTIFICATE-----".as_slice();
            let has_one = bytes.windows(mark.len()).any(|window| window == mark);
            (!has_one).then(|| "it holds no certificate".into())
        }
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_proxy_are_not_shown() {
        let cases = [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:secret@proxy:3128", "http://...@proxy:3128"),
            ("me:se@cret@proxy:3128", "...@proxy:3128"),
        ];
        for (value, shown) in cases {
            assert_eq!(without_credentials(value), shown);
        }
    }
}
