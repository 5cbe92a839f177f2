//! What a user reads about a file on the way, in limactl's words, and the JSON that says the same. Decides nothing.

use std::path::Path;

use callao_content::cid;
use callao_content::layout::Layout;
use callao_fetch::event::{Proof, Report};
use callao_store::lima::Published;
use callao_store::links::How;

use super::held::Found;
use super::plan::Want;
use super::publish::root_text;
use super::run::Job;
use crate::app::App;
use crate::output::{human, json};

/// A file is wanted now.
pub(crate) fn attempt(app: &App, want: &Want) {
    let digest = want.digest.map(|digest| digest.to_string());
    let cid = want.cid.as_ref().map(cid::text);
    let mut line = format!("Attempting to download {}", want.noun.text());
    if let Some(arch) = want.arch {
        line.extend([format!("  arch={arch}")]);
    }
    for (name, value) in [("digest", &digest), ("cid", &cid)] {
        if let Some(value) = value {
            line.extend([format!("  {name}=\"{value}\"")]);
        }
    }
    for location in &want.locations {
        line.extend([format!("  location=\"{}\"", location.text)]);
    }
    app.output.info(line);
    app.output.json(&json::Attempt {
        kind: "attempt",
        what: want.noun.bare(),
        location: want.location(),
        digest,
        cid,
    });
}

/// Bytes are asked for.
pub(crate) fn downloading(app: &App, want: &Want) {
    app.output.info(format!(
        "Downloading {} ({})",
        want.noun.text(),
        want.base_name()
    ));
}

/// The entry was there.
pub(crate) fn cached(app: &App, path: &Path) {
    app.output.info(format!("Using cache `{}`", path.display()));
}

/// The same bytes were there under another name.
pub(crate) fn linked(app: &App, from: &Path, published: &Published) {
    let how = match published.how {
        How::HardLinked | How::Renamed => "a hard link, no new bytes on disk",
        How::Reflinked => "a clone, no new bytes on disk",
        How::Copied => "a copy",
        How::AlreadyThere => "it was there already",
    };
    app.output.info(format!(
        "Using `{}`, which has the same bytes ({how})",
        from.display()
    ));
}

/// A local file was verified in place.
pub(crate) fn local(job: &Job<'_>, want: &Want, found: &Found) {
    let app = job.app;
    app.output.info(format!(
        "Using `{}` as it stands: {}",
        found.path.display(),
        proof_words(found.proof)
    ));
    if found.proof == Proof::Nothing && job.teaches_to_lock {
        how_to_lock(
            app,
            want,
            &digest_text(found),
            root_text(&found.known).as_deref(),
        );
    }
}

/// A file that is here was copied to the user's file.
pub(crate) fn copied(app: &App, from: &Path, out: &Path) {
    app.output.info(format!(
        "Copied `{}` to `{}`",
        from.display(),
        out.display()
    ));
}

/// A file was fetched: from whom, and why not from the others.
pub(crate) fn fetched(job: &Job<'_>, want: &Want, report: &Report, layout: &Layout) {
    let app = job.app;
    app.output.info(format!(
        "Downloaded {} from `{}`: {} in {} ({}), {}",
        want.noun.text(),
        want.location(),
        human::bytes(report.size),
        human::duration(report.elapsed),
        human::rate(
            report.size - report.resumed.min(report.size),
            report.elapsed
        ),
        proof_words(report.proof)
    ));
    if report.resumed > 0 {
        app.output.info(format!(
            "  {:>3}%  kept from an earlier run",
            human::percent(report.resumed, report.size)
        ));
    }
    for share in report.shares.iter().filter(|share| share.bytes > 0) {
        let percent = human::percent(share.bytes, report.size);
        app.output.info(format!(
            "  {percent:>3}%  {} ({})",
            human::source(&share.source),
            human::bytes(share.bytes)
        ));
    }
    for (source, reason) in &report.reasons {
        app.output
            .info(format!("    -   {}: {reason}", human::source(source)));
    }
    if let Some(wrong) = &report.wrong_cid {
        app.output.warning(format!(
            "the CID {} names other bytes than the digest; correct the template",
            cid::text(wrong)
        ));
    }
    if report.proof == Proof::Nothing && job.teaches_to_lock {
        let digest = report
            .digests
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        how_to_lock(app, want, &digest, Some(&cid::text(layout.root())));
    }
}

/// A file came out of what was fetched.
pub(crate) fn unpacked(app: &App, size: u64, packed: u64) {
    app.output.info(format!(
        "Unpacked {} from {}",
        human::bytes(size),
        human::bytes(packed)
    ));
}

/// Nothing said which bytes are the right ones: say it from now on.
fn how_to_lock(app: &App, want: &Want, digest: &str, cid: Option<&str>) {
    let cid_line = cid
        .map(|cid| format!("\n    cid: {cid}"))
        .unwrap_or_default();
    app.output.warning(format!(
        "nothing says which bytes {} must have, so nobody could verify it. To lock it, add to its entry:\n    \
         digest: \"{digest}\"{cid_line}",
        want.noun.text()
    ));
}

/// The result of something that was here.
pub(crate) fn held(want: &Want, found: &Found, from: json::From) -> json::Got {
    json::Got {
        kind: "result",
        what: want.noun.bare(),
        path: found.path.display().to_string(),
        location: want.location().into(),
        from,
        digest: Some(digest_text(found)).filter(|text| !text.is_empty()),
        cid: root_text(&found.known),
        size: found.known.size,
        sources: Vec::new(),
        resumed: 0,
        proof: found.proof,
        elapsed_ms: 0,
    }
}

/// The result of a fetch.
pub(crate) fn got(want: &Want, report: &Report, path: &Path) -> json::Got {
    json::Got {
        kind: "result",
        what: want.noun.bare(),
        path: path.display().to_string(),
        location: want.location().into(),
        from: json::From::Fetch,
        digest: report.digests.first().map(ToString::to_string),
        cid: Some(cid::text(&report.root)),
        size: report.size,
        sources: report.shares.clone(),
        resumed: report.resumed,
        proof: report.proof,
        elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

fn digest_text(found: &Found) -> String {
    found
        .known
        .digests
        .first()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn proof_words(proof: Proof) -> &'static str {
    match proof {
        Proof::DigestAndCid => "digest and CID verified",
        Proof::Digest => "digest verified",
        Proof::Cid => "CID verified",
        Proof::Nothing => "not verified",
    }
}
