//! `callao explain`: where each file would come from and why, on stdout.

use crate::app::App;
use crate::cli::{ExplainArgs, GetArgs};
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::explain::judge::Choice;
use crate::explain::{self, Explanation, text};
use crate::get::sources::Places;
use crate::host;

pub(crate) fn run(app: &App, args: ExplainArgs) -> Result<(), CommandError> {
    // The same WHAT and the same flags mean the same as for `get`.
    let mut args = GetArgs {
        what: args.what,
        template: args.template,
        digest: args.digest,
        cid: args.cid,
        mirror: args.mirror,
        sources: args.sources,
        ..GetArgs::default()
    };
    let needs = super::get::needs(app, &mut args)?;
    let places = Places::new(app, &args.sources, &args.mirror)?;
    let all = explain::all(app, &places, &needs)?;
    let now = host::unix_now();
    for (index, one) in all.iter().enumerate() {
        app.output.json(one);
        let gap = if index == 0 { "" } else { "\n" };
        app.output.result(format!("{gap}{}", text::of(one, now)));
    }
    for one in explain::not_tried(&needs) {
        app.output.json(&one);
        app.output.result(text::not_tried(&one));
    }
    match missing(&all) {
        missing if missing.is_empty() => Ok(()),
        missing => Err(nobody_has(&missing)),
    }
}

/// Files of entries that cannot be had, where no other entry of the same need can be.
fn missing(all: &[Explanation]) -> Vec<&Explanation> {
    let mut missing = Vec::new();
    let mut failed: Vec<&Explanation> = Vec::new();
    for one in all {
        match one.choice {
            Choice::Taken | Choice::NotReached => failed.clear(),
            Choice::Fails => failed.extend((!one.verdict.is_possible()).then_some(one)),
        }
        if one.entry == one.entries && one.is_last {
            missing.extend(failed.drain(..).filter(|one| one.otherwise.is_none()));
        }
    }
    missing
}

fn nobody_has(missing: &[&Explanation]) -> CommandError {
    let not_found = |message| CommandError::new(ExitCode::NotFound, message);
    let mut error = match missing {
        [one] => not_found(format!("nobody who may be asked has `{}`", one.location)),
        several => not_found(format!(
            "nobody who may be asked has {} of the files",
            several.len()
        )),
    };
    if missing.len() > 1 {
        let names = missing.iter().map(|one| format!("`{}`", one.location));
        error.details.extend(names);
    }
    error.hint("the lines above say why; --discovery, --gateway, --kubo, --car and --mirror allow more places")
}
