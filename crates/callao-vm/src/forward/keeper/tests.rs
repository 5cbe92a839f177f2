//! Differences, command lines and refusals. Real forwards are tested with a guest (`tests/it/ssh.rs`).

use std::os::unix::net::UnixListener;

use super::*;
use crate::forward::rules::Target;

fn tcp(text: &str) -> End {
    End::Tcp(text.parse().expect("an address"))
}

fn socket(path: &str) -> End {
    End::Socket(path.to_owned())
}

fn entry(host: End, guest: End) -> Entry {
    Entry {
        reverse: false,
        host,
        guest,
        is_asked: true,
    }
}

fn plan(entries: &[Entry]) -> BTreeMap<Forward, Entry> {
    entries
        .iter()
        .map(|entry| (forward_of(entry), entry.clone()))
        .collect()
}

#[test]
fn ssh_is_told_who_listens_and_who_is_connected_to() {
    let table = [
        (
            entry(tcp("127.0.0.1:80"), tcp("127.0.0.1:8080")),
            "-L 127.0.0.1:80:127.0.0.1:8080",
        ),
        (
            entry(tcp("[::1]:80"), tcp("[::1]:81")),
            "-L [::1]:80:[::1]:81",
        ),
        (
            entry(socket("/tmp/a b"), socket("/run/a:b")),
            "-L /tmp/a b:/run/a\\:b",
        ),
        (
            entry(tcp("127.0.0.1:80"), socket("/run/a")),
            "-L 127.0.0.1:80:/run/a",
        ),
        (
            Entry {
                reverse: true,
                ..entry(socket("/tmp/host"), socket("/run/guest"))
            },
            "-R /run/guest:/tmp/host",
        ),
    ];
    for (entry, expected) in table {
        let Forward { reverse, spec } = forward_of(&entry);
        let option = if reverse { "-R" } else { "-L" };
        assert_eq!(format!("{option} {spec}"), expected);
    }
}

#[test]
fn everything_that_is_wanted_becomes_a_forward() {
    let target = Target {
        guest: tcp("127.0.0.1:80"),
        is_asked: false,
    };
    let wanted = Wanted {
        to_guest: [(tcp("127.0.0.1:80"), target)].into(),
        to_host: [("/run/guest".to_owned(), "/tmp/host".to_owned())].into(),
    };
    let entries: Vec<Entry> = entries(wanted).into_values().collect();
    assert_eq!(entries.len(), 2);
    assert!(entries.contains(&Entry {
        is_asked: false,
        ..entry(tcp("127.0.0.1:80"), tcp("127.0.0.1:80"))
    }));
    assert!(entries.contains(&Entry {
        reverse: true,
        ..entry(socket("/tmp/host"), socket("/run/guest"))
    }));
}

#[test]
fn only_what_changed_is_closed_and_opened() {
    let stays = entry(tcp("127.0.0.1:1"), tcp("127.0.0.1:1"));
    let goes = entry(tcp("127.0.0.1:2"), tcp("127.0.0.1:2"));
    let comes = entry(tcp("127.0.0.1:3"), tcp("127.0.0.1:3"));
    let before = entry(tcp("127.0.0.1:4"), tcp("127.0.0.1:4"));
    let after = entry(tcp("127.0.0.1:4"), tcp("[::1]:4"));
    let open = plan(&[stays.clone(), goes.clone(), before.clone()]);
    let wanted = plan(&[stays.clone(), comes.clone(), after.clone()]);
    let (close, add) = difference(&open, &wanted);
    let close: Vec<Entry> = close.into_iter().map(|(_, entry)| entry).collect();
    let add: Vec<Entry> = add.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(close, [goes, before]);
    assert_eq!(add, [comes, after]);
    let (close, add) = difference(&open, &open);
    assert!(close.is_empty() && add.is_empty());
}

#[test]
fn a_port_that_is_taken_or_not_ours_is_refused_with_a_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    assert_eq!(
        free_port(address),
        Err("something else listens there".to_owned())
    );
    drop(taken);
    assert_eq!(free_port(address), Ok(()));
    // TEST-NET-1 (RFC 5737) is no address of anybody.
    let nowhere = "192.0.2.1:8080".parse().expect("an address");
    assert_eq!(
        free_port(nowhere),
        Err("the host has no such address".to_owned())
    );
}

#[test]
fn a_socket_that_was_left_behind_makes_room_and_others_do_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("deep").join("a.sock");
    assert_eq!(free_socket(&path), Ok(()));
    assert!(files::is_dir(path.parent().expect("a directory")));

    let listener = UnixListener::bind(&path).expect("a socket");
    assert_eq!(
        free_socket(&path),
        Err("something else listens there".to_owned())
    );
    drop(listener);
    assert!(files::is_there(&path));
    assert_eq!(free_socket(&path), Ok(()));
    assert!(!files::is_there(&path));

    files::replace(&path, b"text", 0o600).expect("a file");
    assert_eq!(
        free_socket(&path),
        Err("there is a file that is no socket".to_owned())
    );
    let under_a_file = path.join("b.sock");
    let why = free_socket(&under_a_file).expect_err("no directory");
    assert!(why.starts_with(&format!("{}: ", path.display())), "{why}");
}

#[test]
fn notes_say_what_where_and_why() {
    let one = entry(tcp("127.0.0.1:80"), tcp("127.0.0.1:8080"));
    let other = Entry {
        reverse: true,
        ..entry(socket("/tmp/host"), socket("/run/guest"))
    };
    let table = [
        (
            Note::Opened(one.clone()),
            "forwarding 127.0.0.1:80 of the host to 127.0.0.1:8080 of the guest",
        ),
        (
            Note::Closed(other),
            "no longer forwarding /run/guest of the guest to /tmp/host of the host",
        ),
        (
            Note::Refused {
                entry: one,
                why: "something else listens there".to_owned(),
            },
            "not forwarding 127.0.0.1:80 of the host to 127.0.0.1:8080 of the guest: something else listens there",
        ),
        (
            Note::Blind {
                why: "the guest's loop ended".to_owned(),
            },
            "what listens in the guest is not known, so new ports are not forwarded for now: the guest's loop ended",
        ),
    ];
    for (note, text) in table {
        assert_eq!(note.to_string(), text);
    }
}
