//! Findings as people read them. Pure.

use super::Finding;

/// One finding: its state, its name, what was found, and below that what to do.
pub(crate) fn of(finding: &Finding) -> String {
    let mut text = format!(
        "{:<8} {:<16} {}",
        finding.state.name(),
        finding.name,
        finding.found.replace('\n', "\n                          ")
    );
    if let Some(fix) = &finding.fix {
        text.extend(["\n", &" ".repeat(26), "-> ", fix]);
    }
    text
}
