//! What `get` would do, from what is here and what was answered. Pure; the order of the rules is that of `get`.

use serde::Serialize;

use super::Explanation;
use super::ask::{Answer, Asked};
use super::copies::{Copy, State};

/// What `get` would do for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Use the file that is there, and ask nobody.
    Use,
    /// Hash the file that is there, and use it if it is the right one.
    HashOnce,
    /// Ask the server whether the file that is there is still the same.
    AskServer,
    /// Give the same bytes, which are here under another name, the wanted name as well.
    Link,
    /// Fetch it.
    Fetch,
    /// Fail: nobody has it.
    Fail,
}

impl Verdict {
    /// Whether there is somebody or something to have it from.
    pub(crate) fn is_possible(self) -> bool {
        self != Verdict::Fail
    }
}

/// What becomes of an entry among several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Choice {
    /// It is the one.
    Taken,
    /// It is tried, and cannot be had.
    Fails,
    /// An earlier one is taken.
    NotReached,
}

/// What `get` would do with these.
pub(crate) fn verdict(copies: &[Copy], sources: &[Asked]) -> Verdict {
    let mut wanted_places = copies.iter().filter(|copy| copy.is_wanted_place);
    let here = wanted_places.find_map(|copy| match copy.state {
        State::Trusted => Some(Verdict::Use),
        State::Touched | State::Unverified => Some(Verdict::HashOnce),
        State::Unpinned => Some(Verdict::AskServer),
        State::OtherBytes | State::NoData => None,
    });
    let others = || copies.iter().filter(|copy| !copy.is_wanted_place);
    here.or_else(|| {
        let trusted = others().any(|copy| copy.state == State::Trusted);
        trusted.then_some(Verdict::Link)
    })
    .or_else(|| {
        let touched = others().any(|copy| copy.state == State::Touched);
        touched.then_some(Verdict::HashOnce)
    })
    .unwrap_or_else(|| {
        if sources.iter().any(|asked| asked.answer == Answer::HasIt) {
            Verdict::Fetch
        } else {
            Verdict::Fail
        }
    })
}

/// Numbers the entries of one need and says which of them is taken: the first one whose files can all be had.
pub(crate) fn choose(entries: &mut [Vec<Explanation>]) {
    let count = entries.len();
    let mut taken = false;
    for (index, files) in entries.iter_mut().enumerate() {
        let possible = files.iter().all(|file| file.verdict.is_possible());
        let choice = match (taken, possible) {
            (true, _) => Choice::NotReached,
            (false, true) => Choice::Taken,
            (false, false) => Choice::Fails,
        };
        taken |= possible;
        let last = files.len().saturating_sub(1);
        for (position, file) in files.iter_mut().enumerate() {
            (file.entry, file.entries, file.choice) = (index + 1, count, choice);
            file.is_last = position == last;
        }
    }
}

/// Whether the sources speak of a file of the right length: that of the layout, of a copy that is trusted, of a proven
/// block; where there is none of these, they are not compared.
pub(crate) fn compare_sizes(layout: Option<u64>, copies: &[Copy], sources: &mut [Asked]) {
    let trusted = copies.iter().find(|copy| copy.state == State::Trusted);
    let proven = sources
        .iter()
        .find(|asked| asked.size_proven && asked.size.is_some());
    let right = layout
        .or(trusted.and_then(|copy| copy.size))
        .or(proven.and_then(|asked| asked.size));
    for asked in sources {
        asked.size_agrees = match (right, asked.size) {
            (Some(right), Some(said)) => Some(right == said),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use callao_fetch::source::{Abilities, SourceId, SourceKind};

    fn copy(state: State, is_wanted_place: bool) -> Copy {
        Copy {
            path: "/p".into(),
            location: None,
            owner: "lima",
            is_wanted_place,
            state,
            size: Some(5),
            verified: None,
            digests: Vec::new(),
            cids: Vec::new(),
            digest_files: Vec::new(),
        }
    }

    fn asked(answer: Answer, size: Option<u64>, size_proven: bool) -> Asked {
        Asked {
            source: SourceId {
                kind: SourceKind::Http,
                place: "https://h/a".into(),
            },
            answer,
            reason: None,
            latency_ms: 1,
            size,
            size_proven,
            size_agrees: None,
            etag: None,
            last_modified: None,
            abilities: Abilities::default(),
            found_by: None,
        }
    }

    type Case = (&'static [(State, bool)], Option<Answer>, Verdict);

    #[test]
    fn the_verdict_follows_the_order_of_get() {
        use State::{NoData, OtherBytes, Touched, Trusted, Unpinned, Unverified};
        let table: [Case; 12] = [
            (&[(Trusted, true)], None, Verdict::Use),
            (
                &[(Touched, true), (Trusted, false)],
                None,
                Verdict::HashOnce,
            ),
            (&[(Unverified, true)], None, Verdict::HashOnce),
            (&[(Unpinned, true)], None, Verdict::AskServer),
            (&[(OtherBytes, true), (Trusted, true)], None, Verdict::Use),
            (&[(NoData, true), (Trusted, false)], None, Verdict::Link),
            (&[(Touched, false), (Trusted, false)], None, Verdict::Link),
            (&[(Touched, false)], None, Verdict::HashOnce),
            (&[(OtherBytes, true)], Some(Answer::HasIt), Verdict::Fetch),
            (&[], Some(Answer::HasIt), Verdict::Fetch),
            (&[], Some(Answer::NotFound), Verdict::Fail),
            (&[], None, Verdict::Fail),
        ];
        for (copies, answer, expected) in table {
            let copies: Vec<_> = copies.iter().map(|one| copy(one.0, one.1)).collect();
            let sources: Vec<_> = answer
                .into_iter()
                .map(|answer| asked(answer, None, false))
                .collect();
            assert_eq!(verdict(&copies, &sources), expected, "{copies:?}");
        }
    }

    #[test]
    fn lengths_are_compared_with_what_is_certain() {
        let table = [
            (Some(5), vec![], Some(true)),
            (Some(6), vec![], Some(false)),
            (None, vec![copy(State::Trusted, true)], Some(true)),
            (None, vec![copy(State::Unverified, true)], None),
        ];
        for (layout, copies, expected) in table {
            let mut sources = [asked(Answer::HasIt, Some(5), false)];
            compare_sizes(layout, &copies, &mut sources);
            assert_eq!(sources[0].size_agrees, expected);
        }
        let mut sources = [
            asked(Answer::HasIt, Some(4), false),
            asked(Answer::HasIt, Some(5), true),
        ];
        compare_sizes(None, &[], &mut sources);
        assert_eq!(
            sources.map(|asked| asked.size_agrees),
            [Some(false), Some(true)]
        );
    }
}
