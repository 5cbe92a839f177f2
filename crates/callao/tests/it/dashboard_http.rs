//! The dashboard as programs see it that are no browser, or pretend to be one.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dashboard_stand::Stand;

/// A request as a browser sends it from our own page, with these lines on top.
fn ask(stand: &Stand, method: &str, path: &str, lines: &str, body: &str) -> String {
    let (address, length) = (stand.address, body.len());
    stand.say(&format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n{lines}\r\n{body}"
    ))
}

fn add(stand: &Stand, query: &str, body: &str) -> String {
    let lines = format!("Origin: {}\r\nSec-Fetch-Site: same-origin\r\n", stand.url());
    ask(
        stand,
        "POST",
        &format!("/callao/v1/add?{query}"),
        &lines,
        body,
    )
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn a_file_is_added_under_its_name_and_never_over_another() {
    let stand = Stand::new();
    let first = body(&add(&stand, "name=disk-arm64.img", "hello\n"));
    assert_eq!((&first["v"], &first["type"]), (&1.into(), &"result".into()));
    assert_eq!(first["size"], 6);
    assert_eq!(
        first["digest"],
        "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    );
    // As `ipfs add --cid-version=1` of the same bytes says.
    assert_eq!(
        first["cid"],
        "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"
    );
    let second = body(&add(&stand, "name=disk-arm64.img", "other\n"));
    assert!(
        second["path"]
            .as_str()
            .expect("a path")
            .ends_with("/added/disk-arm64-2.img")
    );
    assert_eq!(stand.names(), ["disk-arm64-2.img", "disk-arm64.img"]);
    let kept = std::fs::read(stand.added().join("disk-arm64.img")).expect("the first");
    assert_eq!(kept, b"hello\n");
}

#[test]
fn hostile_names_stay_in_the_folder() {
    let stand = Stand::new();
    for (query, wanted) in [
        ("name=..%2F..%2F..%2Fetc%2Fpasswd", "passwd"),
        ("name=C%3A%5Cx%5Cboot.img", "boot.img"),
        ("name=.hidden", "hidden"),
        ("name=%00a%0Ab", "ab"),
        ("name=%3Cimg%20src%3Dx%3E", "<img src=x>"),
    ] {
        let answer = body(&add(&stand, query, "x"));
        let path = stand.added().join(wanted);
        assert!(path.is_file(), "{query}: {answer}");
    }
    assert_eq!(stand.names().len(), 5);
    for query in ["", "name=", "name=..", "name=%2F", "nam=a"] {
        let answer = add(&stand, query, "x");
        assert_eq!(status(&answer), "400", "{query}: {answer}");
        assert_eq!(body(&answer)["type"], "error");
    }
    assert_eq!(stand.names().len(), 5);
}

#[test]
fn only_the_page_itself_may_send_a_file() {
    let stand = Stand::new();
    for (lines, wanted) in [
        ("", "400"),
        ("Origin: http://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Origin: http://127.0.0.1:1\r\n", "403"),
        ("Sec-Fetch-Site: cross-site\r\n", "403"),
        ("Sec-Fetch-Site: same-site\r\n", "403"),
    ] {
        let answer = ask(&stand, "POST", "/callao/v1/add?name=a", lines, "x");
        assert_eq!(status(&answer), wanted, "{lines}: {answer}");
    }
    assert_eq!(
        status(&ask(&stand, "GET", "/callao/v1/add?name=a", "", "")),
        "400"
    );
    assert_eq!(stand.names(), [""; 0]);
}

#[test]
fn another_name_of_this_computer_gets_nothing() {
    let stand = Stand::new();
    for path in ["/", "/app.js", "/callao/v1/status", "/callao/v1/add?name=a"] {
        for host in ["evil.example", "127.0.0.1.evil.example", "192.168.1.2"] {
            let answer = stand.say(&format!(
                "GET {path} HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n",
                stand.address.port()
            ));
            assert_eq!(status(&answer), "403", "{host}{path}");
            assert!(!answer.contains("peer_id"));
        }
    }
}

#[test]
fn pages_come_with_their_policies_and_only_once() {
    let stand = Stand::new();
    let page = ask(&stand, "GET", "/", "", "");
    assert_eq!(status(&page), "200");
    for line in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "content-type: text/html; charset=utf-8",
    ] {
        assert!(page.contains(&format!("\r\n{line}\r\n")), "{line}\n{page}");
    }
    assert!(!page.to_lowercase().contains("access-control-allow-origin"));
    let tag = page
        .lines()
        .find_map(|line| line.strip_prefix("etag: "))
        .expect("a tag");
    let again = ask(&stand, "GET", "/", &format!("If-None-Match: {tag}\r\n"), "");
    assert_eq!(status(&again), "304");
}

#[test]
fn an_interrupted_upload_leaves_nothing() {
    let stand = Stand::new();
    let mut stream = stand.connect();
    let head = format!(
        "POST /callao/v1/add?name=half.img HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Length: 100000\r\n\r\n",
        stand.address
    );
    stream.write_all(head.as_bytes()).expect("the head");
    stream.write_all(&[7; 50_000]).expect("half of it");
    until("the file begins", || !stand.names().is_empty());
    stream.shutdown(Shutdown::Write).expect("it ends here");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap_or(0);
    drop(stream);
    until("nothing is left", || stand.names().is_empty());
}

#[test]
fn a_file_that_no_disk_has_room_for_is_refused_before_it_comes() {
    let stand = Stand::new();
    let answer = stand.say(&format!(
        "POST /callao/v1/add?name=big HTTP/1.1\r\nHost: {0}\r\nOrigin: http://{0}\r\nContent-Length: {1}\r\n\
         Connection: close\r\n\r\n",
        stand.address,
        1_u64 << 60
    ));
    assert_eq!(status(&answer), "507");
    let error = body(&answer);
    assert!(
        error["message"]
            .as_str()
            .expect("a message")
            .starts_with("there is no room for this file in `"),
        "{error}"
    );
    assert_eq!(stand.names(), [""; 0]);
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
