//! The text of `ssh.config`, with which any ssh client gets into a machine (`ssh -F`), as Lima's. Pure.
//! Must not know whether the machine runs.

use std::fmt::Write as _;
use std::path::Path;

use callao_template::machine::Ssh;

/// What a configuration is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Name of the instance.
    pub name: &'a str,
    /// The private key.
    pub key: &'a Path,
    /// Login name in the guest.
    pub user: &'a str,
    /// Port of the host that leads to the guest's port 22.
    pub port: u16,
    /// The master's socket.
    pub control: &'a Path,
    /// What the template says of ssh.
    pub ssh: &'a Ssh,
}

/// The name under which ssh knows an instance: `lima-NAME`, as with Lima, so that editors and scripts find it.
#[must_use]
pub fn host_of(name: &str) -> String {
    format!("lima-{name}")
}

/// The text of `ssh.config` (Lima: `pkg/sshutil`).
///
/// Lima's clients become masters that outlive them. Here the supervisor keeps the master, so a client only uses it; and
/// not where it wants its own agent or display, which a shared connection takes from the one who opened it.
#[must_use]
pub fn text(entry: &Entry<'_>) -> String {
    let own_connection = entry.ssh.forward_agent || entry.ssh.forward_x11;
    let control = if own_connection {
        "none".to_owned()
    } else {
        path(entry.control)
    };
    let port = entry.port.to_string();
    let host = host_of(entry.name);
    let key = path(entry.key);
    let mut options: Vec<(&str, &str)> = vec![
        ("IdentityFile", &key),
        ("StrictHostKeyChecking", "no"),
        ("UserKnownHostsFile", "/dev/null"),
        ("NoHostAuthenticationForLocalhost", "yes"),
        ("PreferredAuthentications", "publickey"),
        ("Compression", "no"),
        ("BatchMode", "yes"),
        ("IdentitiesOnly", "yes"),
        ("LogLevel", "ERROR"),
        ("User", entry.user),
        ("ControlMaster", "no"),
        ("ControlPath", &control),
        ("Hostname", "127.0.0.1"),
        ("Port", &port),
    ];
    let wanted = [
        ("ForwardAgent", entry.ssh.forward_agent),
        ("ForwardX11", entry.ssh.forward_x11),
        ("ForwardX11Trusted", entry.ssh.forward_x11_trusted),
    ];
    options.extend(
        wanted
            .into_iter()
            .filter(|(_, is_on)| *is_on)
            .map(|(key, _)| (key, "yes")),
    );
    let mut text = format!(
        "# Use it with `ssh -F`. Written by callao whenever the machine starts: what is changed here is lost.\nHost {host}\n"
    );
    for (key, value) in options {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {key} {value}");
    }
    text
}

/// A path as ssh reads it back: quoted, and without what ssh would expand (`%h`).
fn path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let escaped = text
        .replace('%', "%%")
        .replace('\\', "\\\\")
        .replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn entry(ssh: &Ssh) -> Entry<'_> {
        Entry {
            name: "test",
            key: Path::new("/home/user/.lima/_config/user"),
            user: "user",
            port: 60022,
            control: Path::new("/home/user/.lima/test/ssh.sock"),
            ssh,
        }
    }

    #[test]
    fn the_text_is_lima_s_without_masters_of_its_own() {
        insta::assert_snapshot!(text(&entry(&Ssh::default())), @r#"
        # Use it with `ssh -F`. Written by callao whenever the machine starts: what is changed here is lost.
        Host lima-test
          IdentityFile "/home/user/.lima/_config/user"
          StrictHostKeyChecking no
          UserKnownHostsFile /dev/null
          NoHostAuthenticationForLocalhost yes
          PreferredAuthentications publickey
          Compression no
          BatchMode yes
          IdentitiesOnly yes
          LogLevel ERROR
          User user
          ControlMaster no
          ControlPath "/home/user/.lima/test/ssh.sock"
          Hostname 127.0.0.1
          Port 60022
        "#);
    }

    #[test]
    fn who_forwards_an_agent_or_a_display_has_a_connection_of_its_own() {
        let agent = Ssh {
            forward_agent: true,
            ..Ssh::default()
        };
        let agent = text(&entry(&agent));
        assert!(agent.contains("  ControlPath none\n"), "{agent}");
        assert!(agent.ends_with("  ForwardAgent yes\n"), "{agent}");
        let display = Ssh {
            forward_x11: true,
            forward_x11_trusted: true,
            ..Ssh::default()
        };
        let display = text(&entry(&display));
        assert!(display.contains("  ControlPath none\n"), "{display}");
        assert!(
            display.ends_with("  ForwardX11 yes\n  ForwardX11Trusted yes\n"),
            "{display}"
        );
    }

    #[test]
    fn ssh_reads_back_paths_with_spaces_quotes_and_percents() {
        let ssh = Ssh::default();
        let odd = Entry {
            key: Path::new("/tmp/a b/it's \"100%h\" \\ of it/user"),
            control: Path::new("/tmp/a b/ssh.sock"),
            ..entry(&ssh)
        };
        let file = tempfile::NamedTempFile::new().expect("a file");
        crate::files::replace(file.path(), text(&odd).as_bytes(), 0o600).expect("written");
        let output = Command::new("ssh")
            .arg("-F")
            .arg(file.path())
            .args(["-G", "lima-test"])
            .output()
            .expect("ssh");
        let shown = String::from_utf8(output.stdout).expect("a text");
        let errors = String::from_utf8_lossy(&output.stderr);
        for line in [
            // `-G` shows what was read, before `%` is expanded.
            "identityfile /tmp/a b/it's \"100%%h\" \\ of it/user",
            "controlpath /tmp/a b/ssh.sock",
            "hostname 127.0.0.1",
            "port 60022",
            "user user",
            "controlmaster false",
        ] {
            assert!(
                shown.lines().any(|shown| shown == line),
                "{line}: {shown} {errors}"
            );
        }
    }
}
