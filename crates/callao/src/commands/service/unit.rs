//! The text of the systemd unit that runs `callao serve`. Pure: must not know where it is written, nor which variables
//! are set here.
//!
//! Only what an ordinary user's manager can do is asked for. `CapabilityBoundingSet`, `ProtectClock` and
//! `ProtectKernelLogs` need rights that it does not have, and end the service before it starts (218/CAPABILITIES).
//! `PrivateTmp` would hide files that were added from below /tmp.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::exit_code::ExitCode;

/// The line by which a unit is known as ours.
pub(super) const MARK: &str =
    "# Written by `callao service install`; `callao service remove` removes it.";

/// Between two attempts to start it.
const RESTART_SECONDS: u32 = 5;
/// So often within so many seconds; then it is given up.
const STARTS_COUNT_MAX: u32 = 10;
const STARTS_SECONDS: u32 = 600;
/// The daemon lets answers under way end, which takes at most 12 s.
const STOP_SECONDS_MAX: u32 = 30;
/// The first version in which a user's manager makes a user namespace by itself where another setting needs one.
const NAMESPACE_BY_ITSELF_VERSION: u32 = 253;

/// What a unit says.
#[derive(Debug)]
pub(super) struct Unit {
    /// The program; absolute.
    pub(super) program: PathBuf,
    /// What stands after `serve`, in pairs.
    pub(super) flags: Vec<(&'static str, PathBuf)>,
    /// Variables of its environment.
    pub(super) variables: Vec<(&'static str, std::ffi::OsString)>,
    /// Directories that it may write to; everything else is read-only.
    pub(super) writable: Vec<PathBuf>,
    /// Version of the manager.
    pub(super) systemd: Option<u32>,
    /// Whether the kernel lets ordinary users make user namespaces.
    pub(super) user_namespaces: bool,
}

/// What cannot stand in a unit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotPlain {
    #[error(
        "the program is `{0}`; systemd takes no quotes, backslashes or control characters there"
    )]
    Program(String),
    #[error("{what} is `{value}`; a unit takes only text without control characters")]
    Value { what: String, value: String },
}

impl Unit {
    /// The file.
    pub(super) fn text(&self) -> Result<String, NotPlain> {
        let mut text = format!(
            "{MARK}\n\
             # To change it: systemctl --user edit callao\n\
             [Unit]\n\
             Description=callao serve: images of the cache, for others\n\
             StartLimitIntervalSec={STARTS_SECONDS}\n\
             StartLimitBurst={STARTS_COUNT_MAX}\n\
             \n\
             [Service]\n\
             Type=exec\n\
             ExecStart={}\n",
            self.line()?
        );
        for (name, value) in &self.variables {
            let value = plain(&format!("${name}"), value)?;
            let line = quoted(&format!("{name}={value}"));
            text.extend(["Environment=", &line, "\n"]);
        }
        text.push_str(&restarts());
        text.push_str(&self.sandbox()?);
        text.push_str("\n[Install]\nWantedBy=default.target\n");
        Ok(text)
    }

    fn line(&self) -> Result<String, NotPlain> {
        let shown = || NotPlain::Program(self.program.display().to_string());
        let program = self.program.to_str().ok_or_else(shown)?;
        if program.contains(['"', '\'', '\\']) || program.contains(char::is_control) {
            return Err(shown());
        }
        let mut line = format!("{} serve", quoted(program));
        for (flag, value) in &self.flags {
            let value = plain(flag, value.as_os_str())?;
            // In the arguments, and not in the program, variables are replaced.
            let value = quoted(value).replace('$', "$$");
            line.extend([" ", flag, " ", &value]);
        }
        Ok(line)
    }

    fn sandbox(&self) -> Result<String, NotPlain> {
        let mut text = String::from("\n# What callao serve cannot do, since it need not.\n");
        text.push_str("NoNewPrivileges=yes\n");
        if self.needs_namespace() {
            text.push_str("PrivateUsers=yes\n");
        }
        text.push_str("ProtectSystem=strict\n");
        for dir in &self.writable {
            // `-`: one that is removed later does not keep the service from starting.
            let dir = plain("a directory", dir.as_os_str())?;
            let line = quoted(&format!("-{dir}"));
            text.extend(["ReadWritePaths=", &line, "\n"]);
        }
        text.push_str(
            "LockPersonality=yes\n\
             MemoryDenyWriteExecute=yes\n\
             RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX\n\
             RestrictNamespaces=yes\n\
             RestrictRealtime=yes\n\
             RestrictSUIDSGID=yes\n\
             SystemCallArchitectures=native\n\
             SystemCallFilter=@system-service\n\
             SystemCallErrorNumber=EPERM\n\
             UMask=0077\n",
        );
        Ok(text)
    }

    /// Whether `ProtectSystem` does nothing unless a user namespace is asked for. Asked for, it must be possible, or the
    /// service does not start; newer managers try, and do without.
    fn needs_namespace(&self) -> bool {
        let is_old = self
            .systemd
            .is_some_and(|version| version < NAMESPACE_BY_ITSELF_VERSION);
        is_old && self.user_namespaces
    }
}

fn restarts() -> String {
    format!(
        "Restart=on-failure\n\
         RestartSec={RESTART_SECONDS}\n\
         # Wrong usage or settings; another daemon runs: trying again changes neither.\n\
         RestartPreventExitStatus={} {}\n\
         TimeoutStopSec={STOP_SECONDS_MAX}\n",
        ExitCode::Usage.number(),
        ExitCode::Locked.number()
    )
}

fn plain<'a>(what: &str, value: &'a OsStr) -> Result<&'a str, NotPlain> {
    let text = value.to_str();
    text.filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| NotPlain::Value {
            what: what.to_owned(),
            value: Path::new(value).display().to_string(),
        })
}

/// One word, with systemd's quotes and without its specifiers.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> Unit {
        Unit {
            program: "/usr/bin/callao".into(),
            flags: Vec::new(),
            variables: Vec::new(),
            writable: Vec::new(),
            systemd: Some(257),
            user_namespaces: true,
        }
    }

    fn line(unit: &Unit, key: &str) -> String {
        let text = unit.text().expect("a unit");
        let key = format!("{key}=");
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix(&*key))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn the_whole_unit() {
        let unit = Unit {
            variables: vec![("XDG_CACHE_HOME", "/big".into())],
            writable: vec!["/big".into(), "/h/.local/state/callao".into()],
            systemd: Some(252),
            ..unit()
        };
        insta::assert_snapshot!(unit.text().expect("a unit"), @r##"
        # Written by `callao service install`; `callao service remove` removes it.
        # To change it: systemctl --user edit callao
        [Unit]
        Description=callao serve: images of the cache, for others
        StartLimitIntervalSec=600
        StartLimitBurst=10

        [Service]
        Type=exec
        ExecStart="/usr/bin/callao" serve
        Environment="XDG_CACHE_HOME=/big"
        Restart=on-failure
        RestartSec=5
        # Wrong usage or settings; another daemon runs: trying again changes neither.
        RestartPreventExitStatus=2 7
        TimeoutStopSec=30

        # What callao serve cannot do, since it need not.
        NoNewPrivileges=yes
        PrivateUsers=yes
        ProtectSystem=strict
        ReadWritePaths="-/big"
        ReadWritePaths="-/h/.local/state/callao"
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
    }

    #[test]
    fn what_means_something_to_systemd_is_taken_as_it_is() {
        let unit = Unit {
            program: "/opt/a b%h$HOME;é/callao".into(),
            flags: vec![("--config", "/x/$HOME ${q} %h \"q\" \\ ' ;".into())],
            variables: vec![("A", "b %h $HOME \"q\" \\ '".into())],
            writable: vec!["/h/a b%h\"q\"\\x".into()],
            ..unit()
        };
        assert_eq!(
            line(&unit, "ExecStart"),
            r#""/opt/a b%%h$HOME;é/callao" serve --config "/x/$$HOME $${q} %%h \"q\" \\ ' ;""#
        );
        assert_eq!(line(&unit, "Environment"), r#""A=b %%h $HOME \"q\" \\ '""#);
        assert_eq!(line(&unit, "ReadWritePaths"), r#""-/h/a b%%h\"q\"\\x""#);
    }

    #[test]
    fn what_a_unit_cannot_say_is_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        for program in ["/it's/callao", "/a\"/callao", "/a\\/callao", "/a\n/callao"] {
            let unit = Unit {
                program: program.into(),
                ..unit()
            };
            assert_eq!(unit.text(), Err(NotPlain::Program(program.into())));
        }
        let latin = OsStr::from_bytes(b"/caf\xe9");
        for (value, shown) in [(OsStr::new("/a\nb"), "/a\nb"), (latin, "/caf\u{fffd}")] {
            let refused = |what: &str| NotPlain::Value {
                what: what.into(),
                value: shown.into(),
            };
            let unit = |flag: bool, variable: bool| Unit {
                flags: flag
                    .then(|| ("--config", value.into()))
                    .into_iter()
                    .collect(),
                variables: variable.then(|| ("A", value.into())).into_iter().collect(),
                writable: vec![value.into()],
                ..unit()
            };
            assert_eq!(unit(true, true).text(), Err(refused("--config")));
            assert_eq!(unit(false, true).text(), Err(refused("$A")));
            assert_eq!(unit(false, false).text(), Err(refused("a directory")));
        }
        assert_eq!(
            NotPlain::Program("/it's".into()).to_string(),
            "the program is `/it's`; systemd takes no quotes, backslashes or control characters there"
        );
    }

    #[test]
    fn a_namespace_is_asked_for_where_it_is_needed_and_possible() {
        for (systemd, user_namespaces, wanted) in [
            (Some(252), true, "yes"),
            (Some(252), false, ""),
            (Some(253), true, ""),
            (None, true, ""),
        ] {
            let unit = Unit {
                systemd,
                user_namespaces,
                ..unit()
            };
            assert_eq!(line(&unit, "PrivateUsers"), wanted, "{unit:?}");
        }
    }
}
