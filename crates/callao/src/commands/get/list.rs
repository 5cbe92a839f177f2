//! `callao get --list`: every file that a WHAT names, and what `get` would do about it. Fetches none of them.

use callao_content::cid;
use callao_template::{Arch, File};
use serde::Serialize;

use crate::app::App;
use crate::error::CommandError;
use crate::get::needs::{self, Choice, TemplateNeeds};
use crate::get::plan::{Need, Noun, Want};
use crate::get::what::What;

/// What would be done about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It is the first to be fetched of those that would do.
    Fetch,
    /// It is fetched if those before it fail.
    Next,
    /// It is not tried, since nothing says what its bytes are.
    Unpinned,
    /// It is not needed.
    Skipped,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            State::Fetch => "fetch",
            State::Next => "next",
            State::Unpinned => "unpinned",
            State::Skipped => "skipped",
        }
    }
}

/// One file, as it is printed.
#[derive(Debug, Clone, Serialize)]
struct Line {
    #[serde(rename = "type")]
    kind: &'static str,
    what: &'static str,
    arch: Option<&'static str>,
    variant: Option<String>,
    location: String,
    digest: Option<String>,
    cid: Option<String>,
    state: State,
    reason: Option<String>,
}

/// Prints them all.
///
/// # Errors
/// As `callao get`, as far as the template itself is concerned.
pub(super) fn run(app: &App, whats: Vec<What>, choice: &Choice<'_>) -> Result<(), CommandError> {
    for what in whats {
        let lines = match what {
            What::Template { locator } => {
                of_template(&needs::of_template(app, choice, &locator)?, choice)
            }
            other => {
                let needs = needs::of(app, other, choice)?;
                needs.iter().flat_map(of_need).collect()
            }
        };
        for line in lines {
            app.output.result(text(&line));
            app.output.json(&line);
        }
    }
    Ok(())
}

fn text(line: &Line) -> String {
    let reason = match &line.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let digest = line.digest.as_deref().unwrap_or("-");
    let cid = line.cid.as_deref().unwrap_or("-");
    let arch = line.arch.unwrap_or("-");
    let (state, what) = (line.state.text(), line.what);
    format!(
        "{state:<9}{what:<20}{arch:<9}{} {digest} {cid}{reason}",
        line.location
    )
}

/// A WHAT that is one file.
fn of_need(need: &Need) -> Vec<Line> {
    let wants = need.alternatives.iter().flat_map(|one| &one.wants);
    let listed = wants.map(|want| of_want(want, State::Fetch));
    let unpinned = need.unpinned.iter().map(|location| Line {
        kind: "file",
        what: Noun::of_location(location).bare(),
        arch: None,
        variant: None,
        location: location.clone(),
        digest: None,
        cid: None,
        state: State::Unpinned,
        reason: None,
    });
    listed.chain(unpinned).collect()
}

fn of_want(want: &Want, state: State) -> Line {
    Line {
        kind: "file",
        what: want.noun.bare(),
        arch: want.arch.map(Arch::name),
        variant: None,
        location: want.location().to_owned(),
        digest: want.digest.map(|digest| digest.to_string()),
        cid: want.cid.as_ref().map(cid::text),
        state,
        reason: None,
    }
}

/// Every file of a template, in its order.
fn of_template(all: &TemplateNeeds, choice: &Choice<'_>) -> Vec<Line> {
    let template = &all.template;
    let mut lines = Vec::new();
    for image in &template.images {
        let mut line = of_file(all, choice, Noun::Image, &image.file);
        line.variant.clone_from(&image.variant);
        let parts = [(Noun::Kernel, &image.kernel), (Noun::Initrd, &image.initrd)];
        let parts: Vec<Line> = parts
            .into_iter()
            .filter_map(|(noun, file)| Some((noun, file.as_ref()?)))
            .map(|(noun, file)| Line {
                arch: file.arch.map(Arch::name).or(line.arch),
                state: line.state,
                reason: line.reason.clone(),
                ..of_file(all, choice, noun, file)
            })
            .collect();
        lines.push(line);
        lines.extend(parts);
    }
    let others = [
        (
            Noun::VirtioWin,
            template.virtio_win.iter().collect::<Vec<_>>(),
        ),
        (Noun::Archive, template.archives.iter().collect()),
        (
            Noun::Firmware,
            template
                .firmware
                .images
                .iter()
                .map(|image| &image.file)
                .collect(),
        ),
    ];
    for (noun, files) in others {
        let each = files.into_iter();
        lines.extend(each.map(|file| of_file(all, choice, noun, file)));
    }
    lines
}

fn of_file(all: &TemplateNeeds, choice: &Choice<'_>, noun: Noun, file: &File) -> Line {
    let own_arch = all.template.arch.unwrap_or(all.arch);
    let (state, reason) = state_of(all, choice, noun, file);
    Line {
        kind: "file",
        what: noun.bare(),
        arch: Some(file.arch.unwrap_or(own_arch).name()),
        variant: None,
        location: file.location.clone(),
        digest: file.digest.map(|digest| digest.to_string()),
        cid: file.cid.as_ref().map(cid::text),
        state,
        reason,
    }
}

fn state_of(
    all: &TemplateNeeds,
    choice: &Choice<'_>,
    noun: Noun,
    file: &File,
) -> (State, Option<String>) {
    if let Some(arch) = file.arch.filter(|arch| *arch != all.arch) {
        return (State::Skipped, Some(format!("for {arch}")));
    }
    for need in &all.needs {
        for (index, alternative) in need.alternatives.iter().enumerate() {
            let mut wants = alternative.wants.iter();
            let is_it = |want: &Want| {
                let mut locations = want.locations.iter();
                want.noun == noun && locations.any(|one| one.text == file.location)
            };
            if wants.any(is_it) {
                let state = if index == 0 {
                    State::Fetch
                } else {
                    State::Next
                };
                return (state, None);
            }
        }
    }
    let mut skipped = all.selection.skipped.iter();
    if let Some(skipped) = skipped.find(|skipped| skipped.location == file.location) {
        return (State::Skipped, Some(skipped.reason.clone()));
    }
    if noun == Noun::Archive && choice.template.no_archives {
        return (State::Skipped, Some("--no-archives".to_owned()));
    }
    (State::Unpinned, None)
}
