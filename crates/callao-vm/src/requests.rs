//! What may be asked of an instance in which state. Pure: the table of the state machine that opens `machine`.

use crate::status::Status;

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Run it.
    Start,
    /// End it in good order.
    Stop,
    /// End it at once.
    StopForced,
    /// Remove it.
    Delete,
    /// End it at once, and remove it.
    DeleteForced,
    /// Change its size.
    Edit,
    /// Get in.
    Enter,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Do it.
    Go,
    /// It is so already.
    Already,
    /// Somebody else is at it: wait for how that ends.
    Wait,
    /// Not now.
    Refuse {
        /// What hinders, after the instance's name.
        why: &'static str,
        /// What to do first.
        hint: &'static str,
    },
}

/// What is to be done about a request.
#[must_use]
pub fn answer(request: Request, status: Status) -> Answer {
    use Request::{Delete, DeleteForced, Edit, Enter, Start, Stop, StopForced};
    use Status::{Broken, Created, Running, Starting, Stopped, Stopping};
    match (request, status) {
        (Start, Created | Stopped | Broken) => Answer::Go,
        (Start, Starting) => Answer::Wait,
        (Start, Running) => Answer::Already,
        (Start, Stopping) => refuse("is being stopped", "start it when it has stopped"),

        (Stop | StopForced, Created | Stopped) => Answer::Already,
        (Stop, Stopping) => Answer::Wait,
        (Stop | StopForced, _) => Answer::Go,

        (Delete | Edit, Created | Stopped | Broken) | (DeleteForced, _) => Answer::Go,
        (Delete, _) => refuse("runs", "stop it first, or say --force"),
        (Edit, _) => refuse("runs", "stop it first: its size changes when it starts"),

        (Enter, Running) => Answer::Go,
        (Enter, Starting) => Answer::Wait,
        (Enter, _) => refuse("does not run", "callao start NAME starts it"),
    }
}

fn refuse(why: &'static str, hint: &'static str) -> Answer {
    Answer::Refuse { why, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter for each state: created, starting, running, stopping, stopped, broken.
    #[test]
    fn the_table_is_what_the_diagram_shows() {
        const STATES: [Status; 6] = [
            Status::Created,
            Status::Starting,
            Status::Running,
            Status::Stopping,
            Status::Stopped,
            Status::Broken,
        ];
        let table = [
            (Request::Start, "g w a r g g"),
            (Request::Stop, "a g g w a g"),
            (Request::StopForced, "a g g g a g"),
            (Request::Delete, "g r r r g g"),
            (Request::DeleteForced, "g g g g g g"),
            (Request::Edit, "g r r r g g"),
            (Request::Enter, "r w g r r r"),
        ];
        for (request, expected) in table {
            let letters: Vec<&str> = STATES
                .into_iter()
                .map(|status| match answer(request, status) {
                    Answer::Go => "g",
                    Answer::Already => "a",
                    Answer::Wait => "w",
                    Answer::Refuse { .. } => "r",
                })
                .collect();
            assert_eq!(letters.join(" "), expected, "{request:?}");
        }
    }
}
