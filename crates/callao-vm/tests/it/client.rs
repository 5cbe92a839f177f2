//! The client against a server that misbehaves as QEMU does not, and as it does now and then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use callao_vm::limits;
use callao_vm::qemu::client::{Client, ClientError};
use callao_vm::qemu::qmp::Event;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

const WAIT: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(80);
const GREETING: &str =
    r#"{"QMP": {"version": {"qemu": {"micro": 1, "minor": 2, "major": 8}}, "capabilities": []}}"#;

/// The other end.
struct Server {
    lines: Lines<BufReader<OwnedReadHalf>>,
    out: OwnedWriteHalf,
}

impl Server {
    fn new(stream: UnixStream) -> Self {
        let (read, out) = stream.into_split();
        Self {
            lines: BufReader::new(read).lines(),
            out,
        }
    }

    async fn say(&mut self, text: &str) {
        self.out
            .write_all(text.as_bytes())
            .await
            .expect("the client listens");
        self.out
            .write_all(b"\r\n")
            .await
            .expect("the client listens");
    }

    /// The next command and its number.
    async fn hear(&mut self) -> (String, u64) {
        let line = self
            .lines
            .next_line()
            .await
            .expect("readable")
            .expect("a command");
        let command: Value = serde_json::from_str(&line).expect("JSON");
        let name = command["execute"].as_str().expect("a name").to_owned();
        (name, command["id"].as_u64().expect("a number"))
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("qmp.sock")
}

/// A client and a server that have greeted each other.
async fn pair(dir: &Path) -> (Client, Server) {
    let listener = UnixListener::bind(socket(dir)).expect("bound");
    let path = socket(dir);
    let serve = async {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut server = Server::new(stream);
        server.say(GREETING).await;
        let (name, id) = server.hear().await;
        assert_eq!(name, "qmp_capabilities");
        server
            .say(&format!("{{\"return\": {{}}, \"id\": {id}}}"))
            .await;
        server
    };
    let (client, server) = tokio::join!(Client::connect(&path, WAIT), serve);
    (client.expect("greeted"), server)
}

#[tokio::test]
async fn events_between_are_kept_and_late_answers_are_dropped() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut client, mut server) = pair(dir.path()).await;
    assert_eq!(client.version(), (8, 2, 1));
    let late = client
        .execute("query-status", None, SHORT)
        .await
        .expect_err("no answer");
    assert_eq!(
        late.to_string(),
        format!(
            "QEMU at {} did not answer query-status in time",
            socket(dir.path()).display()
        )
    );
    let (_, first) = server.hear().await;
    let talk = async {
        let (name, id) = server.hear().await;
        assert_eq!(name, "query-version");
        server
            .say(&format!(
                "{{\"return\": {{\"late\": true}}, \"id\": {first}}}"
            ))
            .await;
        server.say("{\"event\": \"STOP\"}").await;
        // In two pieces.
        server
            .out
            .write_all(b"{\"return\": {\"ri")
            .await
            .expect("sent");
        tokio::task::yield_now().await;
        server.say(&format!("ght\": 1}}, \"id\": {id}}}")).await;
        server.say("{\"event\": \"RESUME\"}").await;
    };
    let (answer, ()) = tokio::join!(client.execute("query-version", None, WAIT), talk);
    assert_eq!(answer.expect("an answer")["right"], 1);
    assert_eq!(
        client.next_event().await.expect("an event"),
        Some(Event::Stop)
    );
    assert_eq!(
        client.next_event().await.expect("an event"),
        Some(Event::Resume)
    );
    // Waiting may be given up without losing half a line.
    server
        .out
        .write_all(b"{\"event\": \"POWER")
        .await
        .expect("sent");
    let nothing = tokio::time::timeout(SHORT, client.next_event()).await;
    assert!(nothing.is_err());
    server.say("DOWN\"}").await;
    assert_eq!(
        client.next_event().await.expect("an event"),
        Some(Event::Powerdown)
    );
    drop(server);
    assert_eq!(client.next_event().await.expect("the end"), None);
    let closed = client
        .execute("quit", None, WAIT)
        .await
        .expect_err("closed");
    assert!(matches!(closed, ClientError::Closed { .. }), "{closed}");
}

#[tokio::test]
async fn refusals_have_the_words_of_qemu() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut client, mut server) = pair(dir.path()).await;
    let talk = async {
        let (_, id) = server.hear().await;
        server
            .say(&format!(
                "{{\"id\": {id}, \"error\": {{\"class\": \"GenericError\", \"desc\": \"no\"}}}}"
            ))
            .await;
    };
    let (answer, ()) = tokio::join!(client.execute("x", None, WAIT), talk);
    assert_eq!(
        answer.expect_err("refused").to_string(),
        "QEMU refused x: GenericError: `no`"
    );
}

#[tokio::test]
async fn nonsense_and_endless_lines_are_errors() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut client, mut server) = pair(dir.path()).await;
    server.say("hello").await;
    let error = client.next_event().await.expect_err("nonsense");
    let place = socket(dir.path()).display().to_string();
    assert_eq!(
        error.to_string(),
        format!("at {place}: QEMU said something that is no JSON object: `hello`")
    );
    let flood = async {
        let block = vec![b' '; 64 << 10];
        // Until the client has had enough.
        while server.out.write_all(&block).await.is_ok() {}
    };
    let listen = async {
        let error = client.next_event().await.expect_err("too long");
        drop(client);
        error
    };
    let (error, ()) = tokio::join!(listen, flood);
    let bytes = limits::QMP_LINE_BYTES_MAX;
    assert_eq!(
        error.to_string(),
        format!("at {place}: a line of QMP is longer than {bytes} bytes")
    );
}

#[tokio::test]
async fn a_flood_of_events_drops_the_oldest() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut client, mut server) = pair(dir.path()).await;
    let talk = async {
        let (_, id) = server.hear().await;
        server.say("{\"event\": \"STOP\"}").await;
        for _ in 0..limits::QMP_EVENTS_COUNT_MAX {
            server.say("{\"event\": \"RESUME\"}").await;
        }
        server
            .say(&format!("{{\"return\": {{}}, \"id\": {id}}}"))
            .await;
        drop(server);
    };
    let (answer, ()) = tokio::join!(client.execute("x", None, WAIT), talk);
    answer.expect("an answer");
    let mut count = 0;
    while let Some(event) = client.next_event().await.expect("an event") {
        assert_eq!(event, Event::Resume);
        count += 1;
    }
    assert_eq!(count, limits::QMP_EVENTS_COUNT_MAX);
}

#[tokio::test]
async fn nobody_is_waited_for_until_the_deadline_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = socket(dir.path());
    let error = Client::connect(&path, SHORT).await.expect_err("nobody");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot reach QEMU at {}: No such file or directory (os error 2)",
            path.display()
        )
    );
    // What can never be there is not waited for.
    let long = dir.path().join("x".repeat(108));
    let error = Client::connect(&long, WAIT).await.expect_err("too long");
    assert!(error.to_string().contains("SUN_LEN"), "{error}");
    // Somebody who says nothing.
    let _listener = UnixListener::bind(&path).expect("bound");
    let error = Client::connect(&path, SHORT).await.expect_err("silence");
    assert_eq!(
        error.to_string(),
        format!(
            "QEMU at {} did not answer a connection in time",
            path.display()
        )
    );
}
