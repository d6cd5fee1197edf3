//! The leaf of a record: what the log commits to.
//!
//! A leaf is canonical JSON: the record's place, when it was taken, whether it came from elsewhere, its kind, and
//! the SHA-256 of its own canonical JSON. Not the record itself: a bundle of leaves (C2SP `tlog-tiles`) takes at most
//! 65,535 bytes of each, and whoever may see that there is a record need not be able to read it. See ADR 0021.

use cavra_domain::evidence::EvidenceKind;
use cavra_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::merkle::leaf_hash;

/// A leaf. Its members are in canonical order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Whether the record came from elsewhere.
    pub imported: bool,
    /// Its kind; empty when it names none.
    pub kind: String,
    /// Its place in the log, from 1. The leaf's index in the tree is one less.
    pub position: u64,
    /// When this service took it.
    pub recorded_at: Timestamp,
    /// SHA-256 of its canonical JSON.
    pub sha256: Digest,
    /// Whether the record was stored before there was a log: then its leaf was made when the database was upgraded,
    /// and says nothing about the time before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub upgraded: bool,
}

impl Leaf {
    /// The leaf's bytes.
    pub fn text(&self) -> String {
        // Bools, integers and texts always serialise, and serde writes them as RFC 8785 does.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Its hash in the tree.
    pub fn hash(&self) -> Digest {
        leaf_hash(self.text())
    }

    /// Whether the record says something about routes: a plan, an acknowledgement or the undo of one.
    pub fn is_route_evidence(&self) -> bool {
        matches!(
            EvidenceKind::of(&self.kind),
            EvidenceKind::NotificationPlan | EvidenceKind::NotificationAck | EvidenceKind::AckUndo
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical_json;

    #[test]
    fn a_leaf_is_canonical_json_and_names_an_upgrade_only_when_there_was_one() {
        let mut leaf = Leaf {
            imported: true,
            kind: "a \"kind\" with é and \u{1f600}".to_owned(),
            position: 7,
            recorded_at: Timestamp::EPOCH,
            sha256: Digest::of("x"),
            upgraded: false,
        };
        assert_eq!(leaf.text(), canonical_json(&leaf).unwrap());
        assert!(!leaf.text().contains("upgraded"));
        assert_eq!(serde_json::from_str::<Leaf>(&leaf.text()).unwrap(), leaf);
        let before = leaf.hash();
        leaf.upgraded = true;
        assert_eq!(leaf.text(), canonical_json(&leaf).unwrap());
        assert_ne!(leaf.hash(), before);
    }
}
