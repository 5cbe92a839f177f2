//! `callao doctor`: what was found, one finding after the other, on stdout.

use std::sync::Arc;

use crate::app::App;
use crate::cli::DoctorArgs;
use crate::doctor::{self, Finding, judge, text};
use crate::error::CommandError;
use crate::output::Output;

pub(crate) fn run(app: &App, args: &DoctorArgs) -> Result<(), CommandError> {
    let findings = doctor::findings(app, &args.sources)?;
    for finding in &findings {
        print(&app.output, finding);
    }
    judge::verdict(&findings)
}

/// Settings that cannot be read are a finding like any other, though the last one.
pub(crate) fn no_settings(output: &Arc<Output>, error: CommandError) -> CommandError {
    print(output, &judge::no_settings(&error));
    error
}

fn print(output: &Output, finding: &Finding) {
    output.json(finding);
    output.result(text::of(finding));
}
