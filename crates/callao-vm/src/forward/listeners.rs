//! What listens in the guest: a loop in the guest that prints it whenever it changes, and the reader of what it prints.
//! The guest looks, so that neither side of the connection has anything to do while nothing changes.
//! Must not know what is done with it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use crate::limits::{LISTENERS_COUNT_MAX, LISTENERS_LINE_BYTES_MAX, LISTENERS_PAUSE};

/// What ends a list. No address looks like it.
const END: &str = ".";

/// The loop, for the `sh` of any guest; `sed` is in every one.
///
/// Without a terminal nothing tells the loop that the connection ended, and it prints so seldom that it would stay for
/// ever: the end of its standard input ends it. (What runs behind has an empty standard input, hence the descriptor 3.)
#[must_use]
pub fn script() -> String {
    format!(
        "exec 3<&0
(cat <&3 >/dev/null; kill $$) >/dev/null 2>&1 &
exec 3<&-
before=x
while :; do
  now=$(sed -n 's/^ *[0-9]*: \\([0-9A-F]*:[0-9A-F]*\\) [0-9A-F]*:[0-9A-F]* 0A .*$/\\1/p' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  if [ \"$now\" != \"$before\" ]; then
    printf '%s\\n{END}\\n' \"$now\" || exit 0
    before=$now
  fi
  sleep {}
done
",
        LISTENERS_PAUSE.as_secs()
    )
}

/// The next list that the loop prints; `None` when it ended.
///
/// # Errors
/// It prints something else.
pub async fn next<R: AsyncBufRead + Unpin>(
    stream: &mut R,
) -> io::Result<Option<BTreeSet<SocketAddr>>> {
    let mut listeners = BTreeSet::new();
    loop {
        let mut line = String::new();
        let mut limited = (&mut *stream).take(LISTENERS_LINE_BYTES_MAX);
        limited.read_line(&mut line).await?;
        let text = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        if text == END {
            return Ok(Some(listeners));
        }
        if text.is_empty() {
            continue;
        }
        let address = address(text).ok_or_else(|| {
            let line: String = text.chars().filter(|c| !c.is_control()).collect();
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("no address of a listener: `{line}`"),
            )
        })?;
        if listeners.len() < LISTENERS_COUNT_MAX {
            listeners.insert(address);
        }
    }
}

/// An address as in `/proc/net/tcp` and `tcp6` (proc(5)): words of 32 bits in hex, each in the order of a little-endian
/// machine, which is what all our guests are; and the port in plain hex.
#[must_use]
pub fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let is_hex = ip
        .bytes()
        .chain(port.bytes())
        .all(|byte| byte.is_ascii_hexdigit());
    if !is_hex {
        return None;
    }
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for word in ip.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        // What listens on an IPv4 address through IPv6 is reached by IPv4.
        32 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::BufReader;

    use super::*;

    #[test]
    fn addresses_are_words_of_a_little_endian_machine() {
        let table = [
            ("0100007F:1F90", Some("127.0.0.1:8080")),
            ("00000000:0016", Some("0.0.0.0:22")),
            ("0F05A8C0:0050", Some("192.168.5.15:80")),
            ("00000000000000000000000000000000:0016", Some("[::]:22")),
            ("00000000000000000000000001000000:0CEA", Some("[::1]:3306")),
            (
                "0000000000000000FFFF00000100007F:0050",
                Some("127.0.0.1:80"),
            ),
            (
                "000080FE00000000FF005450563412FE:0050",
                Some("[fe80::5054:ff:fe12:3456]:80"),
            ),
            ("0100007F", None),
            ("0100007F:", None),
            ("0100007F:1FFFF", None),
            ("0100007:1F90", None),
            ("+100007F:1F90", None),
            ("", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|text| text.parse().expect("an address"));
            assert_eq!(address(text), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn lists_are_read_one_by_one() {
        let mut text: &[u8] = b"0100007F:1F90\n00000000:0016\n.\n\n.\n0100007F:1F90\n";
        let first = next(&mut text).await.expect("a list").expect("a list");
        assert_eq!(first.len(), 2);
        assert_eq!(
            next(&mut text).await.expect("a list"),
            Some(BTreeSet::new())
        );
        assert_eq!(next(&mut text).await.expect("the end"), None);
        for wrong in ["sh: sed: not found\n.\n".to_owned(), "A".repeat(1 << 20)] {
            let error = next(&mut wrong.as_bytes()).await.expect_err("no list");
            assert!(
                error.to_string().starts_with("no address of a listener: `"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn of_too_many_listeners_the_rest_is_left_out() {
        let lines: Vec<String> = (0..=LISTENERS_COUNT_MAX)
            .map(|port| format!("0100007F:{port:04X}"))
            .collect();
        let text = format!("{}\n.\n", lines.join("\n"));
        let listeners = next(&mut text.as_bytes())
            .await
            .expect("a list")
            .expect("a list");
        assert_eq!(listeners.len(), LISTENERS_COUNT_MAX);
    }

    /// The loop in this machine's own `sh`.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_loop_sees_what_comes_and_goes_and_ends_with_its_input() {
        let mut child = tokio::process::Command::new("sh")
            .args(["-c", &script()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let stdin = child.stdin.take().expect("its input");
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        // The first list is there at once.
        assert!(next(&mut stdout).await.expect("a list").is_some());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        // Other tests listen too.
        while !next(&mut stdout)
            .await
            .expect("a list")
            .expect("no end")
            .contains(&address)
        {}
        drop(listener);
        while next(&mut stdout)
            .await
            .expect("a list")
            .expect("no end")
            .contains(&address)
        {}
        drop(stdin);
        let status = child.wait().await.expect("it ends");
        assert!(!status.success());
    }
}
