//! How far a fetch is: a bar on a terminal, a line every few seconds elsewhere. Fed by the engine's events; decides
//! nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use callao_fetch::event::{Event, Observer, Share};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, human, json};

/// Where there is no terminal, a line this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the events of one file.
pub struct Shown {
    output: Arc<Output>,
    location: String,
    noun: String,
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    last_line: Instant,
    seen: Seen,
}

/// What the rest of the program wants to know after the fetch, also when it failed.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Sources and why they are out.
    pub dropped: Vec<(callao_fetch::source::SourceId, String)>,
    /// Bytes that are proven.
    pub done: u64,
}

impl Shown {
    /// For the file at `location`; `noun` is what it is called, such as `the image`.
    pub fn new(output: Arc<Output>, location: &str, noun: &str) -> Arc<Self> {
        let state = State {
            bar: None,
            last_line: Instant::now(),
            seen: Seen::default(),
        };
        Arc::new(Shown {
            output,
            location: location.into(),
            noun: noun.into(),
            state: Mutex::new(state),
        })
    }

    /// Takes the bar away.
    pub fn finish(&self) -> Seen {
        let mut state = self.lock();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        state.seen.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self, done: u64, size: Option<u64>, rate: u64, shares: &[Share]) {
        let mut state = self.lock();
        state.seen.done = done;
        let style = self.output.style();
        if !style.progress || self.output.style().verbosity == super::Verbosity::Quiet {
            return;
        }
        if style.terminal {
            let bar = state
                .bar
                .get_or_insert_with(|| self.output.bars().add(new_bar()));
            // The engine's rate: what was kept from an earlier run counts as done, not as fast.
            let (before, after) = around_the_bar(done, size, rate, shares);
            bar.set_length(size.unwrap_or(done.max(1)));
            bar.set_position(done);
            bar.set_prefix(before);
            bar.set_message(after);
            return;
        }
        if state.last_line.elapsed() >= LINE_INTERVAL {
            state.last_line = Instant::now();
            drop(state);
            self.output.info(line(&self.noun, done, size, rate, shares));
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Asked { source } => self
                .output
                .detail(format!("Asking {}", human::source(source))),
            Event::Resumed { bytes } if *bytes > 0 => {
                self.output.info(format!(
                    "Going on where it stopped: {} are here already",
                    human::bytes(*bytes)
                ));
            }
            Event::Layout {
                source,
                leaves,
                size,
            } => self.output.detail(format!(
                "Layout known: {} in {leaves} leaves, from {}",
                human::bytes(*size),
                source.as_ref().map_or("disk".into(), human::source)
            )),
            Event::Paused {
                source,
                reason,
                pause_ms,
            } => {
                self.output.detail(format!(
                    "{}: {reason}; asked again in {pause_ms} ms",
                    human::source(source)
                ));
            }
            Event::Dropped {
                source,
                reason,
                lied: true,
            } => self.output.warning(format!(
                "{} is not to be trusted: {reason}",
                human::source(source)
            )),
            Event::Dropped { source, reason, .. } => self
                .output
                .detail(format!("{} is out: {reason}", human::source(source))),
            Event::CidContradictsDigest { cid, got } => self.output.warning(format!(
                "the CID {cid} names other bytes (`{got}`) than the digest; the digest decides"
            )),
            Event::StartingAgain { reason } => {
                self.output.warning(format!("starting again: {reason}"))
            }
            _ => {}
        }
    }
}

impl Observer for Shown {
    fn event(&self, event: Event) {
        match &event {
            Event::Progress {
                done,
                size,
                rate,
                shares,
            } => self.progress(*done, *size, *rate, shares),
            Event::Dropped { source, reason, .. } => {
                self.lock()
                    .seen
                    .dropped
                    .push((source.clone(), reason.clone()));
                self.tell(&event);
            }
            _ => self.tell(&event),
        }
        self.output.json(&json::FileEvent {
            location: &self.location,
            event: &event,
        });
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    let template = "{prefix} [{bar:20}] {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("->_"));
    }
    bar
}

/// Files below this are read before a bar could be.
const READING_BAR_BYTES_MIN: u64 = 128 * 1024 * 1024;

/// A bar for reading a long file, on a terminal; hidden otherwise.
pub fn reading_bar(output: &Output, size: u64) -> ProgressBar {
    let style = output.style();
    if !style.progress || !style.terminal || size < READING_BAR_BYTES_MIN {
        return ProgressBar::hidden();
    }
    let bar = output.bars().add(ProgressBar::new(size));
    let template =
        "{binary_bytes} / {binary_total_bytes} [{bar:40}] {percent}% {binary_bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("->_"));
    }
    bar
}

/// `http 60% gateway 40%`.
fn mix(shares: &[Share]) -> String {
    let total: u64 = shares.iter().map(|share| share.bytes).sum();
    let mut parts: Vec<&Share> = shares.iter().filter(|share| share.bytes > 0).collect();
    parts.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    let name = |share: &Share| {
        format!(
            "{} {}%",
            short_place(&share.source),
            human::percent(share.bytes, total)
        )
    };
    parts.into_iter().map(name).collect::<Vec<_>>().join("  ")
}

/// The host of a URL, or the kind of a local place.
fn short_place(source: &callao_fetch::source::SourceId) -> String {
    let host = source
        .place
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?']).next());
    host.filter(|host| !host.is_empty())
        .map_or_else(|| source.kind.name().to_string(), str::to_string)
}

fn line(noun: &str, done: u64, size: Option<u64>, rate: u64, shares: &[Share]) -> String {
    let (before, after) = around_the_bar(done, size, rate, shares);
    format!("{noun}: {before}, {after}")
}

/// `12.00 MiB / 40.00 MiB`, and `30% 15.00 MiB/s ETA 1.87 s  host 100%`.
fn around_the_bar(done: u64, size: Option<u64>, rate: u64, shares: &[Share]) -> (String, String) {
    let (here, speed, mix) = (human::bytes(done), human::bytes(rate), mix(shares));
    let Some(size) = size else {
        return (here, format!("{speed}/s  {mix}"));
    };
    let left = size.saturating_sub(done) as f64 / rate.max(1) as f64;
    let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
    let percent = human::percent(done, size);
    let eta = if rate == 0 {
        "?".into()
    } else {
        human::duration(left)
    };
    (
        format!("{here} / {}", human::bytes(size)),
        format!("{percent}% {speed}/s ETA {eta}  {mix}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_fetch::source::{SourceId, SourceKind};

    #[test]
    fn a_line_says_how_far_and_from_where() {
        let share = |place: &str, bytes| Share {
            source: SourceId {
                kind: SourceKind::Http,
                place: place.into(),
            },
            bytes,
        };
        let shares = [
            share("http://a.example/x", 1 << 20),
            share("http://b.example/x", 3 << 20),
            share("c", 0),
        ];
        assert_eq!(
            line("the image", 4 << 20, Some(8 << 20), 2 << 20, &shares),
            "the image: 4.00 MiB / 8.00 MiB, 50% 2.00 MiB/s ETA 2.00 s  b.example 75%  a.example 25%"
        );
        assert_eq!(
            line("the image", 1024, None, 0, &[]),
            "the image: 1.00 KiB, 0 B/s  "
        );
    }
}
