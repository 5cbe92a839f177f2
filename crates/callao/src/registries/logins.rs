//! The user's logins for registries: the files of Docker and podman, and the credential helpers that they name. What
//! is in a file is understood by callao-fetch; here is who reads it, and what is said when that fails.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use callao_fetch::oci::login::{self, Login, LoginFile, Logins, Says};

use crate::app::App;
use crate::env_vars;
use crate::host::{self, Host};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::process::Program;

const LOGIN_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const HELPER_OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// What helpers print when they simply have nothing (docker-credential-helpers).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Finds logins, each once.
pub(super) struct UserLogins {
    files: Vec<PathBuf>,
    interrupt: Interrupt,
    output: Arc<Output>,
    found: Mutex<HashMap<(String, String), Option<Login>>>,
}

impl UserLogins {
    /// Looks at nothing yet.
    pub(super) fn new(app: &App) -> Self {
        UserLogins {
            files: files(&app.host),
            interrupt: app.interrupt.clone(),
            output: Arc::clone(&app.output),
            found: Mutex::default(),
        }
    }

    fn look(&self, key: &str, repository: &str) -> Option<Login> {
        for path in &self.files {
            let text = match host::read_small_file(path, LOGIN_FILE_BYTES_MAX) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.warn(path, &error.to_string());
                    continue;
                }
            };
            let file = match LoginFile::parse(&text) {
                Ok(file) => file,
                Err(error) => {
                    self.warn(path, &error);
                    continue;
                }
            };
            match file.find(key, repository) {
                Says::Login(login) => return Some(login),
                Says::Helper(name) => match self.ask(&name, key) {
                    Ok(Some(login)) => return Some(login),
                    Ok(None) => {}
                    Err(why) => self.output.warning(format!(
                        "docker-credential-{name}, which has the login for {key}, failed: {why}; it is asked without a login"
                    )),
                },
                Says::Broken(why) => self.warn(path, &format!("{key}: {why}")),
                Says::Nothing => {}
            }
        }
        None
    }

    /// `docker-credential-NAME get`, the registry on stdin. `None`: it has no login.
    fn ask(&self, name: &str, key: &str) -> Result<Option<Login>, String> {
        let helper = Program::new(format!("docker-credential-{name}"))
            .argument("get")
            .stdin(key)
            .output_bytes_max(HELPER_OUTPUT_BYTES_MAX);
        let ended = helper
            .run(&self.interrupt)
            .map_err(|error| error.to_string())?;
        if ended.code == 0 {
            return login::helper_answer(&ended.stdout)
                .map(Some)
                .map_err(str::to_string);
        }
        // Helpers say why on stdout. A secret is there only after success.
        let said = ended.stdout_text();
        let said = match said.trim() {
            "" => ended.stderr_text(),
            text => text.to_string(),
        };
        if said.contains(NOT_FOUND) {
            return Ok(None);
        }
        let line: String = said
            .lines()
            .next()
            .unwrap_or("")
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        Err(match line.is_empty() {
            true => format!("exit code {}", ended.code),
            false => line,
        })
    }

    fn warn(&self, path: &std::path::Path, why: &str) {
        self.output.warning(format!(
            "the logins in `{}` are not used: {why}",
            path.display()
        ));
    }
}

impl Logins for UserLogins {
    fn find(&self, key: &str, repository: &str) -> Option<Login> {
        let name = (key.to_string(), repository.to_string());
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = found().get(&name) {
            return known.clone();
        }
        let login = self.look(key, repository);
        found().insert(name, login.clone());
        login
    }
}

/// Where logins are kept, the strongest first. `$REGISTRY_AUTH_FILE` is meant to be the only one.
fn files(host: &Host) -> Vec<PathBuf> {
    if let Some(path) = host.text_variable(env_vars::REGISTRY_AUTH_FILE) {
        return vec![host.path(&path)];
    }
    let home = host.home();
    let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let variable = |name: &str| host.text_variable(name).map(|text| host.path(&text));
    let docker = variable(env_vars::DOCKER_CONFIG).or_else(|| below_home(".docker"));
    let runtime = variable(env_vars::XDG_RUNTIME_DIR);
    let config = variable(env_vars::XDG_CONFIG_HOME).or_else(|| below_home(".config"));
    [
        docker.map(|dir| dir.join("config.json")),
        runtime.map(|dir| dir.join("containers/auth.json")),
        config.map(|dir| dir.join("containers/auth.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_for_where_docker_and_podman_keep_them() {
        let plain = Host::with_variables([("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/1")]);
        let wanted = [
            "/h/.docker/config.json",
            "/run/1/containers/auth.json",
            "/h/.config/containers/auth.json",
        ];
        assert_eq!(files(&plain), wanted.map(PathBuf::from));
        let moved = Host::with_variables([
            ("HOME", "/h"),
            ("DOCKER_CONFIG", "/d"),
            ("XDG_CONFIG_HOME", "/c"),
        ]);
        assert_eq!(
            files(&moved),
            ["/d/config.json", "/c/containers/auth.json"].map(PathBuf::from)
        );
        let one = Host::with_variables([("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json")]);
        assert_eq!(files(&one), [PathBuf::from("/a.json")]);
    }
}
