//! What the fuzz target `qmp` does with its bytes: everything that QEMU may say on its control socket. The same function
//! runs over the committed corpus as an ordinary test of `callao-vm`, which includes this file.

use callao_vm::qemu::qmp::{self, Event, Message};

/// Lines: whatever is accepted is short enough to show, and a command is one line whatever is in it.
pub fn qmp(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        match qmp::parse_line(line) {
            Ok(Message::Refused { class, desc, .. }) => shown(&[&class, &desc]),
            Ok(Message::Event(Event::Shutdown { reason, .. })) => shown(&[&reason]),
            Ok(Message::Event(Event::BlockIoError { device, .. })) => shown(&[&device]),
            Ok(Message::Event(Event::Other { name, .. })) => shown(&[&name]),
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().contains(['\n', '\u{1b}'])),
        }
    }
    let text = String::from_utf8_lossy(data);
    let line = qmp::command(&text, Some((&*text).into()), 7);
    assert_eq!(
        line.iter().position(|byte| *byte == b'\n'),
        Some(line.len() - 1)
    );
}

fn shown(texts: &[&str]) {
    for text in texts {
        assert!(!text.contains(char::is_control) && text.chars().count() <= 303);
    }
}
