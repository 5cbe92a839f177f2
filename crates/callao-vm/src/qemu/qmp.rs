//! The language of QMP: lines of JSON to QEMU and from it. See QEMU's `docs/interop/qmp-spec`.
//!
//! It does no I/O and knows no time; see `client`.

use serde_json::{Map, Value};

use crate::limits::QMP_LINE_BYTES_MAX;
use crate::program::shown;

/// What QEMU says.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first line of a connection.
    Greeting {
        /// Version of QEMU: major, minor, micro; zeros where it does not say.
        version: (u64, u64, u64),
    },
    /// A command was carried out.
    Return {
        /// The number of the command.
        id: Option<u64>,
        /// Its result.
        value: Value,
    },
    /// A command was refused.
    Refused {
        /// The number of the command; none where QEMU could not read it.
        id: Option<u64>,
        /// QEMU's class of errors, such as `GenericError`.
        class: String,
        /// QEMU's own words.
        desc: String,
    },
    /// Something happened.
    Event(Event),
}

/// Something that happened in QEMU.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The machine is about to be switched off, and QEMU to end.
    Shutdown {
        /// Whether the guest wanted it.
        guest: bool,
        /// `guest-shutdown`, `host-qmp-quit`, `host-signal`, `guest-panic`...
        reason: String,
    },
    /// The guest was asked to switch off.
    Powerdown,
    /// The machine starts again.
    Reset {
        /// Whether the guest wanted it.
        guest: bool,
    },
    /// The CPUs stand still.
    Stop,
    /// The CPUs run again.
    Resume,
    /// The disk failed: `nospace` when the host's is full.
    BlockIoError {
        /// The device.
        device: String,
        /// Whether the host's disk is full.
        no_space: bool,
    },
    /// The guest's kernel gave up.
    GuestPanicked,
    /// Any other.
    Other {
        /// Its name.
        name: String,
        /// What it says.
        data: Value,
    },
}

/// A line that is not QMP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QmpError {
    /// Too long.
    #[error("a line of QMP is longer than {QMP_LINE_BYTES_MAX} bytes")]
    TooLong,
    /// Not JSON.
    #[error("QEMU said something that is no JSON object: `{line}`")]
    NoObject {
        /// What it said.
        line: String,
    },
    /// JSON, but none of the four kinds of messages.
    #[error("QEMU said something that is neither greeting, answer nor event: `{line}`")]
    NoMessage {
        /// What it said.
        line: String,
    },
}

/// Reads one line, with or without its end.
///
/// # Errors
/// It is too long, or no message of QMP.
pub fn parse_line(line: &[u8]) -> Result<Message, QmpError> {
    if line.len() > QMP_LINE_BYTES_MAX {
        return Err(QmpError::TooLong);
    }
    let said = || shown(String::from_utf8_lossy(line).trim());
    let Ok(Value::Object(mut object)) = serde_json::from_slice(line) else {
        return Err(QmpError::NoObject { line: said() });
    };
    let id = object.get("id").and_then(Value::as_u64);
    if let Some(value) = object.remove("return") {
        return Ok(Message::Return { id, value });
    }
    if let Some(Value::Object(error)) = object.get("error") {
        return Ok(Message::Refused {
            id,
            class: text(error, "class"),
            desc: text(error, "desc"),
        });
    }
    if let Some(Value::String(name)) = object.get("event") {
        return Ok(Message::Event(event(name, object.get("data"))));
    }
    if let Some(greeting) = object.get("QMP") {
        let number = |key| greeting["version"]["qemu"][key].as_u64().unwrap_or(0);
        return Ok(Message::Greeting {
            version: (number("major"), number("minor"), number("micro")),
        });
    }
    Err(QmpError::NoMessage { line: said() })
}

fn event(name: &str, data: Option<&Value>) -> Event {
    let empty = Map::new();
    let fields = data.and_then(Value::as_object).unwrap_or(&empty);
    let is = |key| fields.get(key).and_then(Value::as_bool).unwrap_or(false);
    match name {
        "SHUTDOWN" => Event::Shutdown {
            guest: is("guest"),
            reason: text(fields, "reason"),
        },
        "POWERDOWN" => Event::Powerdown,
        "RESET" => Event::Reset { guest: is("guest") },
        "STOP" => Event::Stop,
        "RESUME" => Event::Resume,
        "BLOCK_IO_ERROR" => Event::BlockIoError {
            device: text(fields, "device"),
            no_space: is("nospace"),
        },
        "GUEST_PANICKED" => Event::GuestPanicked,
        _ => Event::Other {
            name: shown(name),
            data: data.cloned().unwrap_or(Value::Null),
        },
    }
}

fn text(object: &Map<String, Value>, key: &str) -> String {
    shown(object.get(key).and_then(Value::as_str).unwrap_or_default())
}

/// A command, as a line with its end.
#[must_use]
pub fn command(name: &str, arguments: Option<Value>, id: u64) -> Vec<u8> {
    let mut object = Map::new();
    object.insert("execute".to_owned(), Value::from(name));
    if let Some(arguments) = arguments {
        object.insert("arguments".to_owned(), arguments);
    }
    object.insert("id".to_owned(), Value::from(id));
    let mut line = Value::Object(object).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_line_is_read() {
        let when = r#""timestamp": {"seconds": 1, "microseconds": 2}"#;
        let table = [
            (
                r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}"#
                    .to_owned(),
                Message::Greeting { version: (7, 2, 22) },
            ),
            (
                "{\"return\": {}, \"id\": 3}\r\n".to_owned(),
                Message::Return { id: Some(3), value: json!({}) },
            ),
            (
                r#"{"return": {"status": "running"}}"#.to_owned(),
                Message::Return { id: None, value: json!({"status": "running"}) },
            ),
            (
                r#"{"id": 4, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#.to_owned(),
                Message::Refused {
                    id: Some(4),
                    class: "CommandNotFound".to_owned(),
                    desc: "The command x has not been found".to_owned(),
                },
            ),
            (
                format!(r#"{{{when}, "event": "SHUTDOWN", "data": {{"guest": true, "reason": "guest-shutdown"}}}}"#),
                Message::Event(Event::Shutdown { guest: true, reason: "guest-shutdown".to_owned() }),
            ),
            (
                format!(r#"{{{when}, "event": "POWERDOWN"}}"#),
                Message::Event(Event::Powerdown),
            ),
            (
                format!(r#"{{{when}, "event": "RESET", "data": {{"guest": true, "reason": "guest-reset"}}}}"#),
                Message::Event(Event::Reset { guest: true }),
            ),
            (format!(r#"{{{when}, "event": "STOP"}}"#), Message::Event(Event::Stop)),
            (format!(r#"{{{when}, "event": "RESUME"}}"#), Message::Event(Event::Resume)),
            (
                format!(
                    r#"{{{when}, "event": "BLOCK_IO_ERROR", "data": {{"device": "", "nospace": true, "operation": "write"}}}}"#
                ),
                Message::Event(Event::BlockIoError { device: String::new(), no_space: true }),
            ),
            (
                format!(r#"{{{when}, "event": "RTC_CHANGE", "data": {{"offset": 1}}}}"#),
                Message::Event(Event::Other { name: "RTC_CHANGE".to_owned(), data: json!({"offset": 1}) }),
            ),
        ];
        for (line, expected) in table {
            assert_eq!(parse_line(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_shown() {
        let table = [
            ("", "QEMU said something that is no JSON object: ``"),
            ("[1]", "QEMU said something that is no JSON object: `[1]`"),
            (
                "SSH-2.0-x\n",
                "QEMU said something that is no JSON object: `SSH-2.0-x`",
            ),
            (
                "{\"return\": 1",
                "QEMU said something that is no JSON object: `{\"return\": 1`",
            ),
            (
                "{}",
                "QEMU said something that is neither greeting, answer nor event: `{}`",
            ),
            (
                "{\"event\": 1}",
                "QEMU said something that is neither greeting, answer nor event: `{\"event\": 1}`",
            ),
        ];
        for (line, expected) in table {
            let error = parse_line(line.as_bytes()).expect_err("no message");
            assert_eq!(error.to_string(), expected);
        }
        let long = vec![b' '; QMP_LINE_BYTES_MAX + 1];
        assert_eq!(
            parse_line(&long).expect_err("too long").to_string(),
            "a line of QMP is longer than 1048576 bytes"
        );
        // Nesting that is deep enough to overflow a stack is refused by the library.
        let deep = [b"{\"return\":".as_slice(), &vec![b'['; 100_000]].concat();
        assert!(matches!(parse_line(&deep), Err(QmpError::NoObject { .. })));
    }

    #[test]
    fn commands_are_lines() {
        assert_eq!(
            command("qmp_capabilities", None, 1),
            b"{\"execute\":\"qmp_capabilities\",\"id\":1}\n"
        );
        let with = command(
            "human-monitor-command",
            Some(json!({"command-line": "a\nb"})),
            2,
        );
        assert_eq!(with.iter().filter(|byte| **byte == b'\n').count(), 1);
        let read: Value = serde_json::from_slice(&with).expect("it is JSON");
        assert_eq!(read["arguments"]["command-line"], "a\nb");
    }
}
