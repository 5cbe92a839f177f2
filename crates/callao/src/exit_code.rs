//! The exit codes: a stable, documented table. Knows nothing of where an error came from.

use serde::Serialize;

/// Why the process ends, as its exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// Everything was done.
    Done,
    /// Something that callao did not expect: a defect, most likely.
    Unexpected,
    /// The command line or the settings are wrong.
    Usage,
    /// No source has it.
    NotFound,
    /// The network, or the servers, failed.
    Network,
    /// The bytes are not those that the digest or the CID names.
    Integrity,
    /// The disk is full, not writable or failing.
    Disk,
    /// Another process holds the lock for longer than the settings allow.
    Locked,
    /// The template is wrong or not supported.
    Template,
    /// A virtual machine failed, or is not in a state for what was asked.
    Machine,
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Every code with its meaning, for `--help`, the man page and the README.
pub const TABLE: &[(ExitCode, &str)] = &[
    (ExitCode::Done, "done"),
    (ExitCode::Unexpected, "unexpected error"),
    (ExitCode::Usage, "wrong usage or settings"),
    (ExitCode::NotFound, "not found by any source"),
    (ExitCode::Network, "network error"),
    (
        ExitCode::Integrity,
        "bytes that are not what the digest or CID names",
    ),
    (ExitCode::Disk, "disk full, not writable or failing"),
    (ExitCode::Locked, "locked by another process"),
    (ExitCode::Template, "template wrong or not supported"),
    (ExitCode::Machine, "virtual machine failed"),
    (
        ExitCode::Interrupted,
        "interrupted; run the same command again to go on",
    ),
];

impl ExitCode {
    /// The number that the shell sees.
    pub fn number(self) -> u8 {
        match self {
            ExitCode::Done => 0,
            ExitCode::Unexpected => 1,
            ExitCode::Usage => 2,
            ExitCode::NotFound => 3,
            ExitCode::Network => 4,
            ExitCode::Integrity => 5,
            ExitCode::Disk => 6,
            ExitCode::Locked => 7,
            ExitCode::Template => 8,
            ExitCode::Machine => 9,
            ExitCode::Interrupted => 130,
        }
    }

    /// In one word, as JSON and the history have it.
    pub fn name(self) -> &'static str {
        match self {
            ExitCode::Done => "done",
            ExitCode::Unexpected => "unexpected",
            ExitCode::Usage => "usage",
            ExitCode::NotFound => "not_found",
            ExitCode::Network => "network",
            ExitCode::Integrity => "integrity",
            ExitCode::Disk => "disk",
            ExitCode::Locked => "locked",
            ExitCode::Template => "template",
            ExitCode::Machine => "machine",
            ExitCode::Interrupted => "interrupted",
        }
    }

    /// The table as text, one code a line.
    pub fn table() -> String {
        TABLE
            .iter()
            .map(|(code, meaning)| format!("{:>5}  {meaning}\n", code.number()))
            .collect()
    }
}

/// What the table says of a code, if it is one of ours.
pub fn meaning(number: i32) -> Option<&'static str> {
    let mut entries = TABLE.iter();
    let entry = entries.find(|(code, _)| i32::from(code.number()) == number);
    entry.map(|(_, meaning)| *meaning)
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_code_once_in_order() {
        let numbers: Vec<u8> = TABLE.iter().map(|(code, _)| code.number()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
    }

    #[test]
    fn codes_of_others_mean_nothing() {
        assert_eq!(meaning(4), Some("network error"));
        assert_eq!(meaning(226), None);
    }

    #[test]
    fn names_are_those_of_json() {
        for (code, _) in TABLE {
            let json = serde_json::to_string(code).expect("JSON");
            assert_eq!(json, format!("\"{}\"", code.name()));
        }
    }
}
