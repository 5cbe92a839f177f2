//! Which record counts: the one that is held, the one that others have, or none. Pure; the time is handed in.
//!
//! A record is never replaced by an older one, not even by one that has not expired when the newer one has: whoever could
//! bring that about could roll a name back.

use std::time::SystemTime;

use callao_content::ipns::Record;

/// What counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The record that others have.
    Found(Record),
    /// The one that is held: others have none, or an older one.
    Held(Record),
    /// There is none.
    Nothing,
    /// The newest one has expired.
    Expired,
    /// Others have an older one than the held one, which has expired.
    Older,
}

/// Decides.
pub(super) fn judge(held: Option<&Record>, found: Option<&Record>, now: SystemTime) -> Verdict {
    let is_newest = |held: &&Record| found.is_none_or(|found| held.replaces(found));
    match (held.filter(is_newest), found) {
        (Some(held), _) if !held.is_expired(now) => Verdict::Held(held.clone()),
        (Some(_), Some(found)) if !found.is_expired(now) => Verdict::Older,
        (None, Some(found)) if !found.is_expired(now) => Verdict::Found(found.clone()),
        (None, None) => Verdict::Nothing,
        _ => Verdict::Expired,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callao_content::peer_id;

    use super::*;

    fn record(bytes: &[u8]) -> Record {
        let name = "k51qzi5uqu5dguzwleig8sytsvxqgb6d1wxwquj7oz30lczvhx9m5fk24le4yc";
        let name = peer_id::parse(name).expect("a name");
        Record::verify(&name, bytes).expect("a record")
    }

    #[test]
    fn a_name_goes_forward_and_never_back() {
        // Sequence 0, counts until the 29th; sequence 1, counts until the 28th.
        let old = record(include_bytes!(
            "../../../../callao-content/tests/data/ipns/first.ipns-record"
        ));
        let new = record(include_bytes!(
            "../../../../callao-content/tests/data/ipns/second.ipns-record"
        ));
        let day = Duration::from_secs(24 * 60 * 60);
        let early = new.valid_until() - day;
        let between = new.valid_until() + Duration::from_secs(1);
        let late = old.valid_until();
        for (held, found, now, wanted) in [
            (None, None, early, Verdict::Nothing),
            (None, Some(&old), early, Verdict::Found(old.clone())),
            (None, Some(&old), late, Verdict::Expired),
            (None, Some(&new), between, Verdict::Expired),
            (Some(&old), None, early, Verdict::Held(old.clone())),
            (Some(&old), None, late, Verdict::Expired),
            (Some(&old), Some(&old), early, Verdict::Found(old.clone())),
            (Some(&old), Some(&new), early, Verdict::Found(new.clone())),
            (Some(&old), Some(&new), between, Verdict::Expired),
            (Some(&new), Some(&old), early, Verdict::Held(new.clone())),
            (Some(&new), Some(&old), between, Verdict::Older),
            (Some(&new), Some(&old), late, Verdict::Expired),
        ] {
            assert_eq!(judge(held, found, now), wanted, "{held:?} {found:?}");
        }
    }
}
