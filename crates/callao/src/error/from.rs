//! The libraries' errors in the words of the command line: which exit code, which details, what to do about it.

use std::error::Error as _;

use callao_fetch::error::{Error as FetchError, Refusal};
use callao_fetch::source::SourceError;
use callao_store::error::Error as StoreError;

use super::{CommandError, disk_hint};
use crate::exit_code::ExitCode;
use crate::output::human;

const LOCK_HINT: &str = "wait for the other process, or give it more time with --lock-seconds";
const ROOM_HINT: &str =
    "make room (callao cache prune --help tells how), or name another place with --cache-dir";

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Locked { .. } => ExitCode::Locked,
            StoreError::DigestMismatch { .. }
            | StoreError::Changed { .. }
            | StoreError::CorruptLeaf { .. } => ExitCode::Integrity,
            StoreError::Content { source, .. } => content_kind(source),
            StoreError::BadCar { .. } => ExitCode::Integrity,
            StoreError::NotARepository { .. }
            | StoreError::UnsupportedDatastore { .. }
            | StoreError::BadSharding { .. } => ExitCode::Usage,
            StoreError::BadKey { .. }
            | StoreError::OutOfBounds { .. }
            | StoreError::LayoutChanged { .. } => ExitCode::Unexpected,
            _ => ExitCode::Disk,
        };
        let cause = error.source().map(ToString::to_string);
        let message = match cause {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        let failed = CommandError::new(kind, message);
        match &error {
            StoreError::Locked { .. } => failed.hint(LOCK_HINT),
            StoreError::DiskFull { .. } => failed.hint(ROOM_HINT),
            StoreError::Io { source, .. } => match disk_hint(source) {
                Some(hint) => failed.hint(hint),
                None => failed,
            },
            _ => failed,
        }
    }
}

impl From<callao_vm::Error> for CommandError {
    fn from(error: callao_vm::Error) -> Self {
        use callao_vm::Error::{Busy, Io, NotFound, SocketPath};
        let (kind, hint) = match &error {
            NotFound { .. } => (
                ExitCode::NotFound,
                Some("callao list shows those there are"),
            ),
            Busy { .. } => (ExitCode::Locked, Some("wait for it, or see callao list")),
            Io { source, .. } => (ExitCode::Disk, disk_hint(source)),
            SocketPath { .. } => (
                ExitCode::Machine,
                Some("give it a shorter name with --name, or set $XDG_DATA_HOME to a shorter path"),
            ),
            _ => (ExitCode::Machine, None),
        };
        let failed = CommandError::new(kind, error.to_string());
        match hint {
            Some(hint) => failed.hint(hint),
            None => failed,
        }
    }
}

/// Errors of the parts of `callao-vm`: what they say is all there is to say.
macro_rules! of_machines {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                CommandError::new(ExitCode::Machine, error.to_string())
            }
        })*
    };
}

of_machines!(
    callao_vm::disk::DiskError,
    callao_vm::unpack::UnpackError,
    callao_vm::qemu::accel::AccelError,
    callao_vm::qemu::probe::ProbeError,
    callao_vm::ssh::client::Error,
);

impl From<callao_template::UnknownArch> for CommandError {
    fn from(error: callao_template::UnknownArch) -> Self {
        CommandError::usage(error.to_string())
    }
}

impl From<callao_content::Error> for CommandError {
    fn from(error: callao_content::Error) -> Self {
        let failed = CommandError::new(content_kind(&error), error.to_string());
        match error {
            callao_content::Error::NotAFile {
                kind: "directory", ..
            } => failed.hint("name a file in it: ipfs://CID/NAME"),
            _ => failed,
        }
    }
}

impl From<callao_template::Error> for CommandError {
    fn from(error: callao_template::Error) -> Self {
        let text = error.to_string();
        let mut lines = text.lines();
        let mut failed = CommandError::new(ExitCode::Template, lines.next().unwrap_or_default());
        failed
            .details
            .extend(lines.map(|line| line.trim_start_matches("  ").to_string()));
        failed
    }
}

impl From<FetchError> for CommandError {
    fn from(error: FetchError) -> Self {
        let message = error.to_string();
        match error {
            FetchError::NoSource { .. } => CommandError::new(ExitCode::NotFound, message),
            FetchError::AllFailed { kept, refusals, .. } => {
                let mut failed = CommandError::new(kind_of_refusals(&refusals), message);
                failed.details = refusals
                    .iter()
                    .map(|refusal| format!("{}: {}", human::source(&refusal.source), refusal.error))
                    .collect();
                if kept > 0 {
                    failed.hints.push(format!(
                        "{} are kept; run the same command again to go on",
                        human::bytes(kept)
                    ));
                }
                failed
            }
            FetchError::DigestMismatch { sources, .. } => {
                let mut failed = CommandError::new(ExitCode::Integrity, message);
                failed.details = sources
                    .iter()
                    .map(|source| format!("these bytes came from {}", human::source(source)))
                    .collect();
                failed.hint("either the digest is out of date, or these sources give out other bytes; nothing was put into the cache")
            }
            FetchError::Contradiction { .. } => CommandError::new(ExitCode::Integrity, message)
                .hint("one of the two is wrong; without --strict the digest decides"),
            FetchError::CidUnproven { .. } => CommandError::new(ExitCode::Integrity, message)
                .hint("name a source that has the blocks: --gateway, --kubo or --car"),
            FetchError::Content(error) => error.into(),
            FetchError::Store(error) => error.into(),
            FetchError::Interrupted => {
                CommandError::interrupted().hint("run the same command again to go on")
            }
            _ => CommandError::new(ExitCode::Unexpected, message),
        }
    }
}

/// Broken trees and wrong bytes are a matter of integrity; what was typed wrong is usage.
fn content_kind(error: &callao_content::Error) -> ExitCode {
    use callao_content::Error;
    match error {
        Error::NotACid { .. }
        | Error::NotADigest { .. }
        | Error::NotAnAddress { .. }
        | Error::NotAFile { .. }
        | Error::PathThroughFile { .. }
        | Error::Shape { .. } => ExitCode::Usage,
        Error::NoSuchName { .. } => ExitCode::NotFound,
        _ => ExitCode::Integrity,
    }
}

/// Nobody has it; or somebody lied and nobody else was there; or the network.
fn kind_of_refusals(refusals: &[Refusal]) -> ExitCode {
    let not_there = |refusal: &Refusal| {
        matches!(
            refusal.error,
            SourceError::NotFound(_) | SourceError::Unsupported(_)
        )
    };
    let lied = |refusal: &Refusal| matches!(refusal.error, SourceError::False(_));
    if refusals.iter().all(not_there) {
        ExitCode::NotFound
    } else if refusals
        .iter()
        .all(|refusal| lied(refusal) || not_there(refusal))
    {
        ExitCode::Integrity
    } else {
        ExitCode::Network
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_fetch::source::{SourceId, SourceKind};

    fn refusal(error: SourceError) -> Refusal {
        Refusal {
            source: SourceId {
                kind: SourceKind::Http,
                place: "http://h/a".into(),
            },
            error,
        }
    }

    #[test]
    fn the_reasons_decide_the_exit_code() {
        let absent = || refusal(SourceError::NotFound("404".into()));
        let broken = || refusal(SourceError::Network("connection refused".into()));
        let liar = || refusal(SourceError::False("leaf 3".into()));
        assert_eq!(kind_of_refusals(&[absent(), absent()]), ExitCode::NotFound);
        assert_eq!(kind_of_refusals(&[absent(), broken()]), ExitCode::Network);
        assert_eq!(kind_of_refusals(&[absent(), liar()]), ExitCode::Integrity);
        assert_eq!(kind_of_refusals(&[broken(), liar()]), ExitCode::Network);
    }

    #[test]
    fn what_is_kept_and_why_it_failed_is_said() {
        let error = FetchError::AllFailed {
            name: "the image".into(),
            kept: 1 << 20,
            refusals: vec![refusal(SourceError::Network("connection refused".into()))],
        };
        let failed = CommandError::from(error);
        assert_eq!(failed.kind, ExitCode::Network);
        assert_eq!(
            human::error(&failed, "error:", "hint:"),
            "error: no source could deliver the image\n  http://h/a: connection refused\n\
             hint: 1.00 MiB are kept; run the same command again to go on"
        );
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let failed = CommandError::from(StoreError::DiskFull {
            path: "/c/x.part".into(),
            needed: 10,
        });
        assert_eq!((failed.kind, failed.hints.len()), (ExitCode::Disk, 1));
    }
}
