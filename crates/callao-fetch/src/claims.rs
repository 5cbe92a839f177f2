//! Roots that peers name for a digest. Nothing proves such a claim before the last byte is hashed, so one is tried at a
//! time, the one that most peers make first, and who made a false one is remembered. Pure; knows no fetch.

use callao_content::{Cid, cid};

use crate::source::SourceId;

/// The claims about one file.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    made: Vec<Claim>,
    tried: Option<Cid>,
    closed: bool,
}

#[derive(Debug)]
struct Claim {
    root: Cid,
    by: Vec<SourceId>,
    refuted: bool,
}

impl Claims {
    /// `by` says that the wanted file has this root.
    pub(crate) fn heard(&mut self, root: Cid, by: &SourceId) {
        let known = self
            .made
            .iter_mut()
            .find(|claim| cid::same_block(&claim.root, &root));
        match known {
            Some(claim) if claim.by.contains(by) => {}
            Some(claim) => claim.by.push(by.clone()),
            None => self.made.push(Claim {
                root,
                by: vec![by.clone()],
                refuted: false,
            }),
        }
    }

    /// Whether there is a claim that may be tried.
    pub(crate) fn best(&self) -> Option<Cid> {
        if self.closed || self.tried.is_some() {
            return None;
        }
        let open = self.made.iter().rev().filter(|claim| !claim.refuted);
        // Of several with the same number, the first that was heard.
        open.max_by_key(|claim| claim.by.len())
            .map(|claim| claim.root)
    }

    /// The file is fetched by this root from now on.
    pub(crate) fn adopt(&mut self, root: Cid) {
        self.tried = Some(root);
    }

    /// The root that the file is fetched by.
    pub(crate) fn adopted(&self) -> Option<Cid> {
        self.tried
    }

    /// This root turned out to be of no use, or of another file. Tells who named it.
    pub(crate) fn refute(&mut self, root: &Cid) -> Vec<SourceId> {
        if self.tried.is_some_and(|tried| tried == *root) {
            self.tried = None;
        }
        let claim = self
            .made
            .iter_mut()
            .find(|claim| cid::same_block(&claim.root, root));
        claim.map_or(Vec::new(), |claim| {
            claim.refuted = true;
            claim.by.clone()
        })
    }

    /// No further claim is tried.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceKind;

    fn peer(place: &str) -> SourceId {
        SourceId {
            kind: SourceKind::Lan,
            place: place.into(),
        }
    }

    #[test]
    fn what_most_peers_say_is_tried_first_and_liars_are_remembered() {
        let (one, two) = (cid::raw_sha256([1; 32]), cid::raw_sha256([2; 32]));
        let mut claims = Claims::default();
        assert_eq!(claims.best(), None);
        claims.heard(one, &peer("a"));
        claims.heard(two, &peer("b"));
        assert_eq!(claims.best(), Some(one), "the first that was heard");
        claims.heard(one, &peer("a"));
        claims.heard(two, &peer("c"));
        assert_eq!(claims.best(), Some(two), "saying it twice does not count");
        claims.adopt(two);
        assert_eq!((claims.best(), claims.adopted()), (None, Some(two)));
        assert_eq!(claims.refute(&two), [peer("b"), peer("c")]);
        assert_eq!((claims.best(), claims.adopted()), (Some(one), None));
        claims.close();
        assert_eq!(claims.best(), None);
    }
}
