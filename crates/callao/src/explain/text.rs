//! An explanation as people read it: one block of indented lines for each file. Pure.

use std::time::Duration;

use super::ask::{Answer, Asked, AskedRouter};
use super::copies::{Copy, State};
use super::judge::{Choice, Verdict};
use super::past::Fetched;
use super::{Explanation, NotTried};
use crate::history::{Given, Happening, Who};
use crate::output::human;

/// The whole block; `now` in seconds since 1970.
pub(crate) fn of(one: &Explanation, now: i64) -> String {
    let mut lines = vec![format!("the {} `{}`", one.what, one.location)];
    let other = one.locations.iter().skip(1);
    lines.extend(other.map(|location| format!("  also      `{location}`")));
    lines.push(format!("  wanted    {}", wanted(one)));
    if one.entries > 1 {
        lines.push(format!("  entry     {}", entry(one)));
    }
    lines.push(match (one.verdict, one.otherwise) {
        (Verdict::Fail, Some(otherwise)) => format!("  get would go on without it: {otherwise}"),
        (verdict, _) => format!("  get would {}", words(verdict)),
    });
    lines.extend(section("here", one.copies.iter().map(copy), "nothing"));
    lines.push(format!("  layout    {}", layout(one)));
    if let Some(kept) = &one.kept {
        let who = match kept.in_use {
            true => "another process is fetching it now",
            false => "of an interrupted fetch; hashed before they count",
        };
        lines.push(format!(
            "  kept      at most {} of {}: {who}",
            human::bytes(kept.bytes_at_most),
            human::bytes(kept.size)
        ));
    }
    let followed = one.not_followed.iter();
    lines.extend(followed.map(|why| format!("  address   could not be followed: {why}")));
    lines.extend(section("asked", one.sources.iter().map(asked), "nobody"));
    lines.extend(section("", one.routers.iter().map(router), ""));
    let not_asked = one.not_asked.iter();
    lines.extend(section(
        "not asked",
        not_asked.map(|one| format!("{}: {}", one.what, one.why)),
        "",
    ));
    let history = one.history.iter().flat_map(|past| fetched(past, now));
    lines.extend(section("history", history, "no fetch is remembered"));
    lines.join("\n")
}

/// An entry that is not tried.
pub(crate) fn not_tried(one: &NotTried) -> String {
    format!("not tried: `{}`: {}", one.location, one.reason)
}

/// A heading and its lines below each other; without any, `none` says so, or nothing does.
fn section(name: &str, items: impl Iterator<Item = String>, none: &str) -> Vec<String> {
    let mut items: Vec<String> = items.collect();
    if items.is_empty() && !none.is_empty() {
        items.push(none.into());
    }
    let heading = |index: usize| if index == 0 { name } else { "" };
    let line = |(index, item): (usize, String)| format!("  {:<9} {item}", heading(index));
    items.into_iter().enumerate().map(line).collect()
}

fn wanted(one: &Explanation) -> String {
    let mut parts = Vec::new();
    parts.extend(one.digest.as_ref().map(|digest| format!("digest {digest}")));
    parts.extend(one.cid.as_ref().map(|cid| format!("CID {cid}")));
    if parts.is_empty() {
        parts.push("nothing says which bytes are the right ones".into());
    }
    parts.extend(one.arch.as_ref().map(|arch| format!("for {arch}")));
    parts.join(", ")
}

fn entry(one: &Explanation) -> String {
    let why = match one.choice {
        Choice::Taken => "this one is taken",
        Choice::Fails => "cannot be had",
        Choice::NotReached => "not reached: an earlier one is taken",
    };
    format!("{} of {}: {why}", one.entry, one.entries)
}

fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Use => "use the file that is here, and ask nobody",
        Verdict::HashOnce => "hash the file that is here once, and use it if it is the right one",
        Verdict::AskServer => "ask the server whether the file that is here is still the same",
        Verdict::Link => "give the file that is here this name as well, and ask nobody",
        Verdict::Fetch => "fetch it",
        Verdict::Fail => "fail: nobody who may be asked has it",
    }
}

fn copy(copy: &Copy) -> String {
    let size = copy
        .size
        .map_or(String::new(), |size| format!(" ({})", human::bytes(size)));
    let verified = match copy.verified {
        Some("content-only") => "with nothing to compare it with".into(),
        Some("both") => "by digest and CID".into(),
        Some(how) => format!("by {how}"),
        None => String::new(),
    };
    let state = match copy.state {
        State::Trusted => format!("verified {verified}, unchanged since"),
        State::Touched => "touched since it was verified".into(),
        State::Unverified => "not known to be the right one".into(),
        State::Unpinned => "nothing says what it should be".into(),
        State::OtherBytes => "holds other bytes".into(),
        State::NoData => "an entry without data".into(),
    };
    let limactl = match copy.digest_files.first() {
        Some(_) => "; limactl believes its digest file",
        None => "",
    };
    let same = match (&copy.location, copy.is_wanted_place) {
        (Some(location), false) => format!("; the same bytes, published as `{location}`"),
        _ => String::new(),
    };
    format!("`{}`{size}: {state}{same}{limactl}", copy.path)
}

fn layout(one: &Explanation) -> String {
    match (&one.layout, &one.cid) {
        (Some(layout), _) => format!(
            "known, on disk: {} in {} leaves",
            human::bytes(layout.size),
            layout.leaves
        ),
        (None, Some(_)) => "not known yet: the inner nodes are asked for while bytes arrive".into(),
        (None, None) => "not known: there is no CID".into(),
    }
}

fn asked(asked: &Asked) -> String {
    let name = human::source(&asked.source);
    let latency = format!("({} ms)", asked.latency_ms);
    let mut text = match (asked.answer, &asked.reason) {
        (Answer::HasIt, _) => format!("{name}: has it {latency}"),
        (_, Some(reason)) => format!("{name}: {reason} {latency}"),
        (_, None) => format!("{name}: no {latency}"),
    };
    if let Some(router) = &asked.found_by {
        text.extend([format!("; named by {router}")]);
    }
    if asked.answer == Answer::HasIt {
        text.extend([format!("; {}", abilities(asked).join(", "))]);
    }
    text
}

fn abilities(asked: &Asked) -> Vec<String> {
    let mut parts = Vec::new();
    parts.push(match (asked.size, asked.size_agrees) {
        (Some(size), Some(false)) => format!("ANOTHER LENGTH: {size} bytes"),
        (Some(size), _) => human::bytes(size),
        (None, _) => "does not tell the length".into(),
    });
    let can = [
        (asked.abilities.ranges, "ranges"),
        (asked.abilities.blocks, "blocks"),
        (asked.abilities.car, "CAR"),
    ];
    for (ability, name) in can {
        match ability {
            Some(true) => parts.push(name.into()),
            Some(false) if name == "ranges" => parts.push("no ranges".into()),
            _ => {}
        }
    }
    parts.extend(asked.etag.as_ref().map(|etag| format!("ETag {etag}")));
    let modified = asked.last_modified.as_ref();
    parts.extend(modified.map(|date| format!("modified {date}")));
    parts.extend(asked.abilities.version.clone());
    parts.extend(asked.abilities.way.as_ref().map(|way| format!("by {way}")));
    parts
}

fn router(router: &AskedRouter) -> String {
    let said = match (router.providers, &router.reason) {
        (Some(count), _) if router.refused > 0 => format!(
            "{count} peers; {} addresses of a private network are not dialled",
            router.refused
        ),
        (Some(count), _) => format!("{count} peers"),
        (None, Some(reason)) => reason.clone(),
        (None, None) => "no answer".into(),
    };
    format!("router {}: {said} ({} ms)", router.place, router.latency_ms)
}

fn fetched(past: &Fetched, now: i64) -> Vec<String> {
    let details = &past.details;
    let ago = Duration::from_secs(u64::try_from(now - past.ended_at).unwrap_or(0));
    let took = human::duration(Duration::from_millis(past.elapsed_ms));
    let outcome = match (past.outcome.as_str(), past.size) {
        ("done", Some(size)) => format!("fetched {}", human::bytes(size)),
        ("done", None) => "fetched".into(),
        (why, _) => format!("failed ({})", why.replace('_', " ")),
    };
    let mut lines = vec![format!(
        "{} ago: {outcome} from `{}` in {took}",
        human::duration(ago),
        past.location
    )];
    let whole = past.size.unwrap_or(0);
    let share = |bytes: u64| format!("  {:>3}%", human::percent(bytes, whole.max(1)));
    if details.resumed > 0 {
        lines.push(format!(
            "{}  kept from an earlier run",
            share(details.resumed)
        ));
    }
    let given = |given: &Given| {
        let (bytes, name) = (human::bytes(given.bytes), who(&given.source));
        format!("{}  {name} ({bytes})", share(given.bytes))
    };
    lines.extend(details.shares.iter().map(given));
    lines.extend(details.happenings.iter().map(happening));
    if details.omitted > 0 {
        lines.push(format!("    -   {} more of these", details.omitted));
    }
    let tried = details.instead_of.iter();
    lines.extend(tried.map(|one| {
        format!(
            "    -   after `{}` had failed: {}",
            one.location, one.reason
        )
    }));
    if details.kept > 0 {
        lines.push(format!("    -   {} were kept", human::bytes(details.kept)));
    }
    let error = details.error.iter().flat_map(|error| error.lines());
    lines.extend(error.map(|line| format!("    -   {line}")));
    lines
}

fn happening(one: &Happening) -> String {
    let times = match one.times {
        0 | 1 => String::new(),
        times => format!(" ({times} times)"),
    };
    let place = one.source.as_ref().map(who).unwrap_or_default();
    let what = match one.what.as_str() {
        "paused" => format!("{place} paused: "),
        "dropped" => format!("{place} dropped: "),
        "banned" => format!("{place} banned: "),
        "no_help" => format!("{place}: "),
        "starting_again" => "started again: ".into(),
        _ => String::new(),
    };
    format!("    -   {what}{}{times}", one.reason)
}

/// As [`human::source`] says it.
fn who(who: &Who) -> String {
    match who.kind.as_str() {
        "http" | "file" | "oci" => who.place.clone(),
        kind => format!("{kind} {}", who.place),
    }
}
