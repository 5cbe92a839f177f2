//! `callao man`: one manual page for everything, made from the same definition as the parser.

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::{env_vars, settings};

pub(crate) fn run() -> Result<(), CommandError> {
    let page = page().map_err(|error| {
        CommandError::new(
            ExitCode::Unexpected,
            format!("failed to make the manual: {error}"),
        )
    })?;
    super::print_text(&page)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut root = Cli::command();
    root.build();
    let mut page = Vec::new();
    let man = Man::new(root.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    sections_below(&root, &mut page)?;
    text_section("EXIT CODES", &ExitCode::table(), &mut page);
    text_section("ENVIRONMENT", &env_vars::table(), &mut page);
    text_section("SETTINGS", settings::DEFAULT_CONFIG, &mut page);
    Ok(page)
}

/// A section for each command below this one, at any depth.
fn sections_below(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let shown = |below: &&clap::Command| below.get_name() != "help" && !below.is_hide_set();
    for below in command.get_subcommands().filter(shown) {
        command_section(below, page)?;
        sections_below(below, page)?;
    }
    Ok(())
}

fn command_section(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let name = command
        .get_bin_name()
        .unwrap_or(command.get_name())
        .to_uppercase();
    page.extend_from_slice(format!(".SH \"{name}\"\n").as_bytes());
    let man = Man::new(command.clone());
    for render in [
        Man::render_description_section,
        Man::render_synopsis_section,
        Man::render_options_section,
    ] {
        let mut section = Vec::new();
        render(&man, &mut section)?;
        // Below the heading of the command these are parts, not sections of their own.
        page.extend_from_slice(
            String::from_utf8_lossy(&section)
                .replace(".SH ", ".SS ")
                .as_bytes(),
        );
    }
    if let Some(help) = command.get_after_help() {
        literal(&help.to_string(), page);
    }
    Ok(())
}

fn text_section(title: &str, text: &str, page: &mut Vec<u8>) {
    page.extend_from_slice(format!(".SH \"{title}\"\n").as_bytes());
    literal(text, page);
}

/// Text that keeps its lines; roff's own signs are disarmed.
fn literal(text: &str, page: &mut Vec<u8>) {
    page.extend_from_slice(b".nf\n");
    for line in text.lines() {
        let line = line.replace('\\', "\\\\").replace('-', "\\-");
        let guard = if line.starts_with(['.', '\'']) {
            "\\&"
        } else {
            ""
        };
        page.extend_from_slice(format!("{guard}{line}\n").as_bytes());
    }
    page.extend_from_slice(b".fi\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_command_setting_and_exit_code() {
        let page = String::from_utf8(page().expect("a page")).expect("text");
        for part in [
            "CALLAO GET",
            "CALLAO CACHE VERIFY",
            "EXIT CODES",
            "ENVIRONMENT",
            "CALLAO_DISCOVERY",
            "wait_seconds",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
    }
}
