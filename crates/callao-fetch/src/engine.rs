//! Fetches one file: runs attempts and decides what a failed one means.
//!
//! * The bytes behind the CID have another digest: the digest decides. The CID is reported as wrong, and the file is
//!   fetched once more without it (`strict`: stop).
//! * The whole digest does not fit and several sources (or an earlier run) contributed: each source is tried alone;
//!   when one of them is right, the others that differ are named as liars.
//! * Only a CID is wanted and nobody had its inner nodes: the known ways to make a CID are tried on the bytes.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use callao_content::Cid;
use callao_content::address::IpfsAddress;
use callao_content::import::Importer;
use callao_content::layout::Layout;
use callao_content::path::Target;
use callao_content::profile::Profile;
use callao_store::staging::Staging;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::{Attempt, Outcome, Surroundings, blocking};
use crate::error::{Error, Refusal};
use crate::event::{Event, Observer, Proof, Report, Share};
use crate::layouts::BlockFinder;
use crate::limits::BUFFER_BYTES;
use crate::plan::swarm::{self, Me};
use crate::request::Wanted;
use crate::source::{Source, SourceError, SourceId};

/// One file to fetch, and with what.
pub struct Fetch {
    /// Which bytes.
    pub wanted: Wanted,
    /// Where they go.
    pub staging: Arc<Staging>,
    /// The layout, if it is known already (its root must be `wanted.cid`).
    pub layout: Option<Arc<Layout>>,
    /// Whom to ask.
    pub sources: Vec<Arc<dyn Source>>,
    /// Further sources, as they are found. Close it when there will be no more.
    pub late: Option<mpsc::Receiver<Arc<dyn Source>>>,
    /// What the other hosts of a swarm know this one by: the peer id of the node that serves the staging file to them.
    /// Empty: nobody serves it.
    pub host: String,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Ends the fetch; what arrived stays in `staging`.
    pub cancel: CancellationToken,
}

/// A file that is complete, proven and durable in its staging file.
pub struct Finished {
    /// What happened.
    pub report: Report,
    /// Its layout.
    pub layout: Arc<Layout>,
}

/// Fetches one file. All tasks and threads have ended on return, and all clones of `staging` are dropped.
pub async fn run(fetch: Fetch) -> Result<Finished, Error> {
    let Fetch {
        mut wanted,
        staging,
        layout,
        sources,
        mut late,
        host,
        observer,
        cancel,
    } = fetch;
    let around = Surroundings {
        staging,
        observer,
        cancel,
        started: Instant::now(),
        me: match &*host {
            "" => Me::Guest(rand::random()),
            name => Me::Host(swarm::name_of(name)),
        },
        claims: Mutex::default(),
    };
    let mut wrong_cid = None;
    let mut outcome = Attempt::run(&wanted, &around, sources.clone(), &mut late, layout).await;
    if let Some(givers) = refuted(&wanted, &around, &outcome) {
        around.staging.start_over()?;
        let others = without_peers(&sources);
        outcome = Attempt::run(&wanted, &around, others, &mut None, None).await;
        if let Ok(outcome) = &mut outcome {
            outcome.refusals.extend(givers);
        }
    }
    if changed_since(&around, &outcome) {
        around.staging.start_over()?;
        outcome = Attempt::run(&wanted, &around, sources.clone(), &mut late, None).await;
    }
    let mut outcome = outcome?;
    if outcome.proven && !digest_fits(&wanted, &outcome) {
        wrong_cid = Some(contradiction(&wanted, &around, &outcome)?);
        wanted.cid = None;
        wanted.size = None;
        around.staging.start_over()?;
        let by_place = without_peers(&sources)
            .iter()
            .filter(|source| !source.traits().needs_layout)
            .cloned()
            .collect();
        outcome = match Attempt::run(&wanted, &around, by_place, &mut None, None).await {
            Err(Error::NoSource { .. }) => return Err(mismatch(&wanted, &outcome, wrong_cid)),
            other => other?,
        };
    }
    if !digest_fits(&wanted, &outcome) {
        outcome = one_by_one(&wanted, &around, &sources, outcome).await?;
    }
    finish(&wanted, &around, outcome, wrong_cid).await
}

/// The file that an IPFS address names: through directories, or the address itself. Further sources may come through
/// `late`; they are waited for when no other has a block.
pub async fn resolve(
    address: &IpfsAddress,
    sources: &[Arc<dyn Source>],
    late: Option<mpsc::Receiver<Arc<dyn Source>>>,
    cancel: &CancellationToken,
) -> Result<Target, Error> {
    let mut finder = BlockFinder::new(sources.to_vec(), late);
    tokio::select! {
        () = cancel.cancelled() => Err(Error::Interrupted),
        target = finder.resolve(address) => target,
    }
}

/// The beginning is from an earlier run, and the file is another one by now.
fn changed_since(around: &Surroundings, outcome: &Result<Outcome, Error>) -> bool {
    let changed = |refusal: &Refusal| matches!(refusal.error, SourceError::Changed(_));
    match outcome {
        Err(Error::AllFailed { refusals, .. }) => {
            around.staging.is_resumed() && refusals.iter().any(changed)
        }
        _ => false,
    }
}

/// What a peer has may be as false as what it says: where a digest was not met, only the others are asked again.
fn without_peers(sources: &[Arc<dyn Source>]) -> Vec<Arc<dyn Source>> {
    let others = sources.iter().filter(|source| source.have().is_none());
    others.cloned().collect()
}

/// The file was fetched by a root that peers named for its digest, and it is not that file, or cannot be had. Tells so,
/// and gives the peers that named it.
fn refuted(
    wanted: &Wanted,
    around: &Surroundings,
    outcome: &Result<Outcome, Error>,
) -> Option<Vec<Refusal>> {
    let root = around.claims().adopted()?;
    let lied = match outcome {
        Ok(outcome) if digest_fits(wanted, outcome) => return None,
        Ok(_) => true,
        Err(Error::AllFailed { .. } | Error::NoSource { .. } | Error::Content(_)) => false,
        Err(_) => return None,
    };
    let givers = around.claims().refute(&root);
    around.claims().close();
    let cid = callao_content::cid::text(&root);
    let reason = if lied {
        format!("named {cid}, whose bytes do not have the digest")
    } else {
        format!("named {cid}, whose bytes could not be had")
    };
    around.observer.event(Event::StartingAgain {
        reason: format!("peers {reason}"),
    });
    let refusal = |source: SourceId| {
        let error = if lied {
            SourceError::False(reason.clone())
        } else {
            SourceError::NotFound(reason.clone())
        };
        around.observer.event(Event::Dropped {
            source: source.clone(),
            reason: reason.clone(),
            lied,
        });
        Refusal { source, error }
    };
    Some(givers.into_iter().map(refusal).collect())
}

fn digest_fits(wanted: &Wanted, outcome: &Outcome) -> bool {
    wanted
        .digest
        .as_ref()
        .is_none_or(|digest| outcome.digests.contains(digest))
}

/// The CID names other bytes than the digest. Tells so; an error if that is to end it.
fn contradiction(wanted: &Wanted, around: &Surroundings, outcome: &Outcome) -> Result<Cid, Error> {
    let (Some(cid), Some(expected), Some(got)) =
        (wanted.cid, &wanted.digest, outcome.digests.first())
    else {
        return Err(Error::Internal("a contradiction without two names".into()));
    };
    if wanted.strict {
        return Err(Error::Contradiction {
            cid,
            expected: *expected,
            got: *got,
        });
    }
    let (name, got) = (callao_content::cid::text(&cid), got.to_string());
    around
        .observer
        .event(Event::CidContradictsDigest { cid: name, got });
    Ok(cid)
}

fn mismatch(wanted: &Wanted, outcome: &Outcome, wrong_cid: Option<Cid>) -> Error {
    let (Some(expected), Some(got)) = (wanted.digest, outcome.digests.first().cloned()) else {
        return Error::Internal("a mismatch without a digest".into());
    };
    match wrong_cid {
        Some(cid) => Error::Contradiction { cid, expected, got },
        None => {
            let sources = outcome
                .shares
                .iter()
                .map(|share| share.source.clone())
                .collect();
            Error::DigestMismatch {
                expected,
                got,
                sources,
            }
        }
    }
}

/// The bytes of several sources together do not have the digest: ask each of them alone.
async fn one_by_one(
    wanted: &Wanted,
    around: &Surroundings,
    sources: &[Arc<dyn Source>],
    mixed: Outcome,
) -> Result<Outcome, Error> {
    let givers: Vec<Arc<dyn Source>> = without_peers(sources)
        .iter()
        .filter(|source| !source.traits().needs_layout && source.traits().spans)
        .cloned()
        .collect();
    if mixed.shares.len() < 2 && mixed.resumed == 0 {
        let untried = givers.iter().filter(|source| {
            mixed
                .shares
                .iter()
                .all(|share| share.source != *source.id())
        });
        if untried.count() == 0 {
            around.staging.start_over()?;
            return Err(mismatch(wanted, &mixed, None));
        }
    }
    let reason = match wanted.digest.as_ref().zip(mixed.digests.first()) {
        Some((expected, got)) => format!("expected digest `{expected}`, got `{got}`"),
        None => return Err(Error::Internal("a mismatch without a digest".into())),
    };
    around.observer.event(Event::StartingAgain { reason });
    let mut refusals = mixed.refusals.clone();
    let alone = Wanted {
        cid: None,
        ..wanted.clone()
    };
    for source in givers {
        if mixed.shares.len() == 1 && mixed.resumed == 0 && mixed.shares[0].source == *source.id() {
            refusals.push(liar(source.id()));
            continue;
        }
        around.staging.start_over()?;
        match Attempt::run(&alone, around, vec![Arc::clone(&source)], &mut None, None).await {
            Ok(mut outcome) if digest_fits(wanted, &outcome) => {
                name_liars(&mixed, &outcome, around, &mut refusals);
                outcome.refusals = refusals;
                return Ok(outcome);
            }
            Ok(_) => refusals.push(liar(source.id())),
            Err(error @ (Error::Interrupted | Error::Store(_) | Error::Internal(_))) => {
                return Err(error);
            }
            Err(Error::AllFailed { refusals: more, .. }) => refusals.extend(more),
            Err(_) => {}
        }
    }
    around.staging.start_over()?;
    Err(mismatch(wanted, &mixed, None))
}

fn liar(source: &SourceId) -> Refusal {
    let error = SourceError::False("its whole file does not have the digest".into());
    Refusal {
        source: source.clone(),
        error,
    }
}

/// Compares the leaves of the mixed attempt with the right ones: who gave a differing one, lied.
fn name_liars(
    mixed: &Outcome,
    right: &Outcome,
    around: &Surroundings,
    refusals: &mut Vec<Refusal>,
) {
    let (a, b) = (mixed.layout.leaves(), right.layout.leaves());
    let differ = |range: &Range<u64>| {
        mixed.layout.size() != right.layout.size()
            || mixed
                .layout
                .leaves_in(range.clone())
                .any(|index| b.get(index).is_none_or(|leaf| leaf.form != a[index].form))
    };
    for (range, source) in &mixed.given_by {
        if differ(range) && refusals.iter().all(|refusal| refusal.source != *source) {
            let reason = format!("sent false bytes between {} and {}", range.start, range.end);
            refusals.push(Refusal {
                source: source.clone(),
                error: SourceError::False(reason.clone()),
            });
            around.observer.event(Event::Dropped {
                source: source.clone(),
                reason,
                lied: true,
            });
        }
    }
}

async fn finish(
    wanted: &Wanted,
    around: &Surroundings,
    outcome: Outcome,
    wrong_cid: Option<Cid>,
) -> Result<Finished, Error> {
    let mut layout = Arc::clone(&outcome.layout);
    let mut proof = match (outcome.proven, &wanted.digest) {
        (true, Some(_)) => Proof::DigestAndCid,
        (true, None) => Proof::Cid,
        (false, Some(_)) => Proof::Digest,
        (false, None) => Proof::Nothing,
    };
    if let Some(cid) = wanted.cid.filter(|_| !outcome.proven) {
        if layout.root() == &cid {
            proof = if wanted.digest.is_some() {
                Proof::DigestAndCid
            } else {
                Proof::Cid
            };
        } else if let Some(found) = try_profiles(cid, around, outcome.size).await? {
            layout = Arc::new(found);
            proof = if wanted.digest.is_some() {
                Proof::DigestAndCid
            } else {
                Proof::Cid
            };
        } else if wanted.digest.is_none() {
            return Err(Error::CidUnproven { cid });
        }
    }
    let reasons = outcome
        .refusals
        .into_iter()
        .map(|refusal| (refusal.source, refusal.error.to_string()))
        .collect();
    let report = Report {
        size: outcome.size,
        digests: outcome.digests,
        root: *layout.root(),
        proof,
        shares: largest_first(outcome.shares),
        resumed: outcome.resumed,
        reasons,
        wrong_cid,
        content_type: outcome.head.content_type,
        last_modified: outcome.head.last_modified,
        elapsed: around.started.elapsed(),
    };
    Ok(Finished { report, layout })
}

/// Who gave most comes first.
fn largest_first(mut shares: Vec<Share>) -> Vec<Share> {
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}

/// Makes the CID of the staged bytes in every known way; the layout of the one that fits.
async fn try_profiles(cid: Cid, around: &Surroundings, size: u64) -> Result<Option<Layout>, Error> {
    for profile in Profile::ALL {
        let staging = Arc::clone(&around.staging);
        let layout = blocking(move || import_staged(&staging, profile, size)).await??;
        if layout.root() == &cid {
            return Ok(Some(layout));
        }
        if around.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
    }
    Ok(None)
}

fn import_staged(
    staging: &Staging,
    profile: Profile,
    size: u64,
) -> Result<Layout, callao_store::error::Error> {
    let mut importer = match Importer::new(profile.shape(), &[]) {
        Ok(importer) => importer,
        Err(error) => unreachable!("the profiles have valid shapes: {error}"),
    };
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < size {
        let count = (size - at).min(BUFFER_BYTES as u64) as usize;
        staging.read(at, &mut buffer[..count])?;
        importer.update(&buffer[..count]);
        at += count as u64;
    }
    Ok(importer.finish().0)
}
