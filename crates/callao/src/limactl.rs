//! The limactl of this computer: where it is, which version it has, where Lima's own files are, and what it makes of
//! a template. Nothing of it is trusted: what it says is read with bounds. Must not know what its answers are for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::app::App;
use crate::env_vars;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::host::{self, Host};
use crate::process::{self, Ended, ProcessError, Program};

const NAME: &str = "limactl";
/// The first version with plugins and with `template copy --fill`.
const VERSION_MIN: [u64; 3] = [2, 0, 0];
const VERSION_SECONDS_MAX: u64 = 20;
/// Filling may fetch a template's bases, and plugins that it calls may fetch more.
const FILL_SECONDS_MAX: u64 = 300;
const MESSAGE_CHARS_MAX: usize = 2000;

/// An installed limactl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limactl {
    path: PathBuf,
}

/// Where a template is.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its locator, as limactl reads it.
    pub locator: &'a str,
    /// What limactl reads for the locator `-`.
    pub stdin: Option<&'a [u8]>,
}

/// A version of Lima.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    text: String,
    /// `None` for a build without a number, which counts as the newest, as it does for Lima.
    numbers: Option<[u64; 3]>,
}

impl Limactl {
    /// `$CALLAO_LIMACTL`, whether it is there or not; otherwise the first `limactl` on `PATH`.
    pub fn find(host: &Host) -> Option<Limactl> {
        let named = host
            .text_variable(env_vars::CALLAO_LIMACTL)
            .map(|text| host.path(&text));
        let path = named
            .or_else(|| process::on_path(host.variable(env_vars::PATH), NAME, &host::is_program))?;
        Some(Limactl { path })
    }

    /// As [`Limactl::find`], for those who cannot do without.
    ///
    /// # Errors
    /// Usage: there is none.
    pub fn needed(host: &Host) -> Result<Limactl, CommandError> {
        match Limactl::find(host) {
            Some(limactl) if host::is_program(&limactl.path) => Ok(limactl),
            Some(limactl) => Err(CommandError::usage(format!(
                "$CALLAO_LIMACTL is `{}`, which is not a program",
                limactl.path.display()
            ))),
            None => Err(CommandError::usage("there is no limactl on PATH")
                .hint("install Lima (https://lima-vm.io), or name the program in $CALLAO_LIMACTL")),
        }
    }

    /// Where it is, as it was found: Lima looks for its files beside this name as well.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories `share/lima` of its installation, as `pkg/usrlocal` finds them: beside the name under which it
    /// was found, and beside the file that the name leads to.
    pub fn share_dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        for program in [self.path.clone(), host::real_path(&self.path)] {
            let Some(prefix) = program.parent().and_then(Path::parent) else {
                continue;
            };
            let dir = prefix.join("share/lima");
            if !dirs.contains(&dir) && !host::names_in(&dir).is_empty() {
                dirs.push(dir);
            }
        }
        dirs
    }

    /// Which version it is.
    ///
    /// # Errors
    /// It cannot be run, or refuses.
    pub fn version(&self, app: &App) -> Result<Version, CommandError> {
        let ended = self.ask(app, &["--version"], None, VERSION_SECONDS_MAX)?;
        if ended.code != 0 {
            return Err(self.refused("tell its version", &ended, ExitCode::Usage));
        }
        let text = ended.stdout_text();
        let word = text.split_whitespace().last().unwrap_or_default();
        Ok(Version::read(word))
    }

    /// Fails if it is too old for what callao wants of it.
    ///
    /// # Errors
    /// Usage: older than v2.0.
    pub fn check_version(&self, app: &App) -> Result<Version, CommandError> {
        self.new_enough(self.version(app)?)
    }

    fn new_enough(&self, version: Version) -> Result<Version, CommandError> {
        if version.is_new_enough() {
            return Ok(version);
        }
        let [major, minor, _] = VERSION_MIN;
        Err(CommandError::usage(format!(
            "`{}` is version {version}; callao needs v{major}.{minor} or newer",
            self.path.display()
        ))
        .hint("install a newer Lima, or name another limactl in $CALLAO_LIMACTL"))
    }

    /// The template as limactl understands it: merged with its bases, all defaults filled in, as YAML. Keys that Lima
    /// does not know (`cid`) are lost.
    ///
    /// # Errors
    /// Template: what limactl says about it. Usage: limactl is too old.
    pub fn fill(&self, app: &App, locator: &str) -> Result<String, CommandError> {
        let source = Source {
            locator,
            stdin: None,
        };
        self.fill_with(app, source, &[])
    }

    /// As [`Limactl::fill`], then changed by expressions of yq.
    ///
    /// # Errors
    /// As [`Limactl::fill`].
    pub fn fill_with(
        &self,
        app: &App,
        source: Source<'_>,
        changes: &[String],
    ) -> Result<String, CommandError> {
        let Source { locator, stdin } = source;
        let expression = changes.join(" | ");
        let ended = match changes {
            [] => {
                let arguments = ["template", "copy", "--fill", "--", locator, "-"];
                self.ask(app, &arguments, stdin, FILL_SECONDS_MAX)
            }
            _ => {
                let arguments = ["template", "yq", "--", locator, &expression];
                self.ask(app, &arguments, stdin, FILL_SECONDS_MAX)
            }
        }?;
        if ended.code == 0 {
            return String::from_utf8(ended.stdout).map_err(|_| {
                CommandError::new(
                    ExitCode::Template,
                    format!(
                        "`{}` fills `{locator}` with what is not UTF-8 text",
                        self.path.display()
                    ),
                )
            });
        }
        // Too old explains more than the message of one that does not know the command.
        if let Ok(version) = self.version(app) {
            self.new_enough(version)?;
        }
        Err(self.refused(&format!("read `{locator}`"), &ended, ExitCode::Template))
    }

    fn ask(
        &self,
        app: &App,
        arguments: &[&str],
        stdin: Option<&[u8]>,
        seconds: u64,
    ) -> Result<Ended, CommandError> {
        let mut program = Program::new(&self.path)
            .arguments(arguments)
            .deadline(Duration::from_secs(seconds));
        if let Some(bytes) = stdin {
            program = program.stdin(bytes);
        }
        program.run(&app.interrupt).map_err(|error| {
            let is_missing = matches!(
                error,
                ProcessError::NotFound { .. } | ProcessError::NotStarted { .. }
            );
            let mut failed = CommandError::from(error);
            if is_missing {
                failed.kind = ExitCode::Usage;
            }
            failed
        })
    }

    /// What it said when it failed.
    fn refused(&self, doing: &str, ended: &Ended, kind: ExitCode) -> CommandError {
        let mut lines = message(&ended.stderr_text()).into_iter();
        let first = lines
            .next()
            .unwrap_or_else(|| format!("exit code {}", ended.code));
        let mut failed = CommandError::new(
            kind,
            format!("`{}` failed to {doing}: {first}", self.path.display()),
        );
        failed.details = lines.collect();
        failed
    }
}

/// The message in what limactl writes to stderr: the one that ended it if there is such a line, otherwise everything.
/// Without control characters, and not more than can be read.
pub fn message(stderr: &str) -> Vec<String> {
    let fatal = stderr.lines().rev().find_map(|line| {
        let (head, rest) = line.split_once("level=fatal msg=")?;
        head.starts_with("time=").then(|| unquoted(rest))
    });
    let text = fatal.unwrap_or_else(|| stderr.to_string());
    let short: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    short
        .lines()
        .map(|line| {
            line.replace(|c: char| c.is_control(), " ")
                .trim_end()
                .to_string()
        })
        .filter(|line| !line.is_empty())
        .collect()
}

/// A value as logrus writes it: in quotes, with Go's escapes, which for what occurs here are those of JSON.
fn unquoted(value: &str) -> String {
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
    match values.next() {
        Some(Ok(text)) => text,
        _ => value.trim_matches('"').to_string(),
    }
}

impl Version {
    fn read(text: &str) -> Self {
        let number = text.trim_start_matches('v');
        let core = number.split(['-', '+']).next().unwrap_or(number);
        let mut parts = core.split('.').map(|part| part.parse::<u64>().ok());
        let mut next = || parts.next().flatten();
        let numbers = match (next(), next()) {
            (Some(major), Some(minor)) => Some([major, minor, next().unwrap_or(0)]),
            _ => None,
        };
        Version {
            text: text.to_string(),
            numbers,
        }
    }

    /// Whether callao can work with it.
    pub fn is_new_enough(&self) -> bool {
        self.numbers.is_none_or(|numbers| numbers >= VERSION_MIN)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let cases = [
            ("2.2.0", true),
            ("2.0.0-beta.1", true),
            ("v2.2.0-153-g183a60d7", true),
            ("10.0.0", true),
            ("1.2.1", false),
            ("0.23.2", false),
            ("v1.99.99-5-gabc", false),
            ("183a60d7", true),
            ("<unknown>", true),
            ("", true),
        ];
        for (text, want) in cases {
            assert_eq!(Version::read(text).is_new_enough(), want, "{text}");
        }
    }

    #[test]
    fn the_line_that_ended_it_is_its_message() {
        let log = "time=\"2026-01-01T00:00:00Z\" level=warning msg=\"odd\"\n\
                   time=\"2026-01-01T00:00:00Z\" level=fatal msg=\"failed to do `a \\\"b\\\"`:\\nsecond\\tline\"\n";
        assert_eq!(message(log), ["failed to do `a \"b\"`:", "second line"]);
        assert_eq!(
            message("limactl: must not run as the root user\n"),
            ["limactl: must not run as the root user"]
        );
        assert_eq!(message("Error: a\n\nb\u{1b}[1m\n"), ["Error: a", "b [1m"]);
        assert_eq!(message("time=\"t\" level=fatal msg=word"), ["word"]);
        assert!(message("").is_empty());
        assert_eq!(message(&"x".repeat(9000))[0].len(), MESSAGE_CHARS_MAX);
    }

    #[test]
    fn it_is_the_one_that_is_named_or_the_one_on_the_path() {
        let named = Host::with_variables([("CALLAO_LIMACTL", "bin/limactl"), ("PATH", "/nowhere")]);
        let found = Limactl::find(&named).expect("it is named");
        assert_eq!(found.path(), Path::new("/here/bin/limactl"));
        assert_eq!(
            Limactl::find(&Host::with_variables([("PATH", "/nowhere")])),
            None
        );
        let error = Limactl::needed(&Host::with_variables([])).expect_err("there is none");
        assert_eq!(error.message, "there is no limactl on PATH");
    }
}
