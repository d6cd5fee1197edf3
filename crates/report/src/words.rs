//! What reports say, once for every form of them.

use cavra_domain::route::StateName;
use cavra_evidence::package::Scope;
use cavra_evidence::verify::CheckName;

use crate::content::Mark;
use crate::{Report, Standing};

/// The checks in their order.
pub(crate) const CHECKS: [CheckName; 12] = [
    CheckName::Envelope,
    CheckName::Payload,
    CheckName::Keys,
    CheckName::Signature,
    CheckName::Checkpoint,
    CheckName::Manifest,
    CheckName::Records,
    CheckName::Package,
    CheckName::Routes,
    CheckName::Counts,
    CheckName::Witnesses,
    CheckName::Consistency,
];

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// There are no keys and no signatures, and nobody asked for any.
    Absent,
    /// An earlier check failed, so this one was not made.
    NotReached,
    /// Nobody asked for it.
    NotAsked,
}

impl Outcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Absent => "nothing there",
            Self::NotReached => "not reached",
            Self::NotAsked => "not asked for",
        }
    }
}

/// A control that packages support, as `docs/auditors.md` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its id in NIST SP 800-53, as OSCAL catalogs write it.
    pub id: &'static str,
    /// Its title there.
    pub title: &'static str,
    /// The same in another framework, if one is named.
    pub related: Option<&'static str>,
    /// By what a package supports it.
    pub by: &'static str,
}

/// The controls that packages support. Whether one is met is for an auditor to judge.
pub const CONTROLS: [Control; 5] = [
    Control {
        id: "au-9",
        title: "Protection of audit information",
        related: Some("ISO/IEC 27001:2022 A.8.15"),
        by: "append-only log with proofs; `cavra check`",
    },
    Control {
        id: "au-10",
        title: "Non-repudiation",
        related: None,
        by: "signature, key history with endorsements; for persons only where the actor is verified",
    },
    Control {
        id: "au-3",
        title: "Content of audit records",
        related: None,
        by: "who, what, when, origin per acknowledgement",
    },
    Control {
        id: "cp-4",
        title: "Contingency plan testing",
        related: None,
        by: "each drill's routes, answers and breaches",
    },
    Control {
        id: "ir-3",
        title: "Incident response testing",
        related: None,
        by: "escalations and their answers",
    },
];

impl Standing {
    /// In two or three words: what stands on every page, in every row.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::ConsistentOnly => "consistent with itself only",
            Self::Unsigned => "unsigned, consistent with itself only",
            Self::Failed => "NOT VERIFIED",
        }
    }

    /// In a sentence.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Verified => {
                "Everything in this package was checked and is right, and it was signed with the key that was given out of \
                 band, or with one that this key leads to."
            }
            Self::ConsistentOnly => {
                "No key was given out of band, so anybody may have made and signed this package. It is consistent with \
                 itself, and proves nothing about who made it."
            }
            Self::Unsigned => {
                "Nobody has signed this package, so anybody may have made it. It is consistent with itself, and proves \
                 nothing about who made it."
            }
            Self::Failed => {
                "This package is NOT VERIFIED. What follows is what the file says, as far as it can be read. Do not rely on \
                 any of it."
            }
        }
    }
}

impl Report {
    /// What came of a check.
    pub(crate) fn outcome(&self, check: CheckName) -> Outcome {
        if self.found.passed.contains(&check) {
            let by_keys = matches!(check, CheckName::Keys | CheckName::Signature);
            return if by_keys && self.content.keys.is_empty() {
                Outcome::Absent
            } else {
                Outcome::Passed
            };
        }
        match &self.found.failure {
            Some(failure) if failure.check == check => Outcome::Failed,
            // A later check than one that failed. Two are only made when they are asked for.
            Some(_) if self.asks_for(check) => Outcome::NotReached,
            _ => Outcome::NotAsked,
        }
    }

    fn asks_for(&self, check: CheckName) -> bool {
        match check {
            CheckName::Consistency => self.previous_digest.is_some(),
            CheckName::Witnesses => !self.witnesses.is_empty(),
            _ => true,
        }
    }

    /// Whether nothing but what the package's own log says limits it; none while that is not known.
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.content.manifest.as_ref().map(|manifest| manifest.scope)
    }

    /// The scope in a word.
    pub(crate) fn scope_name(&self) -> Option<&'static str> {
        self.scope().map(|scope| match scope {
            Scope::Whole => "whole",
            Scope::Filtered => "filtered",
        })
    }

    /// What a check is about.
    pub(crate) fn explained(&self, check: CheckName) -> &'static str {
        let whole = self.scope() != Some(Scope::Filtered);
        let signed = !self.content.keys.is_empty();
        match check {
            CheckName::Envelope => "The file is a DSSE envelope around an audit package.",
            CheckName::Payload => {
                "The payload has a known schema and is written in the one way in which such payloads are written."
            }
            CheckName::Keys if signed => "Each key of the log is endorsed by the key before it.",
            CheckName::Keys => "The log has no key.",
            CheckName::Signature => match (signed, &self.trusted) {
                (true, Some(_)) => {
                    "The log's newest key signed this very payload, and the key that was given out of band is one of the log's \
                     keys."
                }
                (true, None) => {
                    "The log's newest key signed this very payload. No key was given out of band to compare it with."
                }
                (false, _) => "Nobody has signed the package.",
            },
            CheckName::Checkpoint if signed => {
                "The checkpoint names this log, its size and its root; the same key signed it."
            }
            CheckName::Checkpoint => "The checkpoint has the log's size and root. Nobody signed it.",
            CheckName::Manifest => "Sizes, counts and digests in the manifest are those of what is there.",
            CheckName::Records if whole => {
                "Every record has the digest of its leaf, and all leaves of the log, the first to the last, give its root."
            }
            CheckName::Records => {
                "Every record has the digest of its leaf, and a proof leads from each leaf to the root of the log."
            }
            CheckName::Package => {
                "The log's own record of this package names the very text that is shown here."
            }
            CheckName::Routes => {
                "Plans, acknowledgements and undos were replayed: every route, its state, breach and history came out as shown."
            }
            CheckName::Counts if whole => "All counts, the level and the population follow from the routes.",
            CheckName::Counts => {
                "All counts and the level follow from the routes. Of the population only the sum was checked."
            }
            CheckName::Witnesses => {
                "As many of the witnesses whose keys were given out of band as were asked for have seen all evidence in it."
            }
            CheckName::Consistency => {
                "The log of the earlier package is the beginning of this log: nothing was rewritten or removed since."
            }
        }
    }

    /// What the scope means, in a sentence.
    pub(crate) fn scope_sentence(&self) -> &'static str {
        if self.standing() == Standing::Failed {
            return match self.scope() {
                Some(Scope::Whole) => {
                    "It says that it holds the whole population. That it does is not verified, like all the rest."
                }
                Some(Scope::Filtered) => {
                    "It says that it holds a filtered scope. That it does is not verified, like all the rest."
                }
                None => "Which scope it has cannot be read.",
            };
        }
        match self.scope() {
            Some(Scope::Whole) => {
                "Whole population: every leaf of the log is in the package, so no plan, acknowledgement or route can be left \
                 out without the verification failing."
            }
            Some(Scope::Filtered) => {
                "Filtered: every record in it is proven to be in the log, and the routes follow from them. That no other record \
                 of these schedules is in the log, such as a later answer or a newer plan, and which routes the filter left \
                 out, is the word of whoever made it. Ask for the whole population where that matters."
            }
            None => "Which scope it has cannot be read.",
        }
    }

    /// What this package does not show, whatever its verification found.
    pub(crate) fn limits(&self) -> Vec<&'static str> {
        let mut limits = vec![
            "That a record is true: an acknowledgement says what somebody answered. Where no token proved the actor, the name is \
             only what the request said.",
            "That something which never reached the service did not happen.",
            "When something was recorded, beyond the word of the service's clock. Witnesses can cosign checkpoints.",
            "That there is only one log: somebody with the key could show another one to others. Compare checkpoints with them.",
            "What happened to imported records before they were imported, and to upgraded records before there was a log.",
        ];
        if self.found.meanwhile_count > 0 {
            limits.push(
                "What was being recorded while the package was made, in the five minutes before it or after: plans, \
                 acknowledgements or undos that are in the log and not in the package.",
            );
        }
        if self.scope() != Some(Scope::Whole) {
            limits.push(
                "Completeness: that nothing about the schedules in it was left out, and what lies outside the filter, is said by \
                 whoever made the package, and not proven.",
            );
        }
        if self.previous_digest.is_none() {
            limits.push(
                "That nothing was rewritten since an earlier package: none was given to compare it with (`--previous`).",
            );
        }
        if self.witnesses.is_empty() {
            limits.push("That anybody else has seen this log: no witness's key was given (`--witness`).");
        }
        if self.trusted.is_none() {
            limits.push("Who made it: no key was given out of band (`--key`).");
        }
        limits
    }
}

/// What an entry of a history did.
pub(crate) fn effect(effect: &str) -> &str {
    match effect {
        "change" => "changed the state",
        "repeat" => "one more signature, state unchanged",
        "final" => "without effect: resolved is final",
        "undo" => "took back the answer that stood",
        "stale" => "without effect: what it takes back did not stand",
        other => other,
    }
}

/// A state as people read it.
pub(crate) fn state(state: &str) -> &str {
    match state {
        cavra_domain::audit_package::NOT_REQUIRED => "suppressed, no answer required",
        other => other,
    }
}

/// States in the order in which people read them; others come after them.
pub(crate) fn state_rank(state: &str) -> usize {
    [
        StateName::Outstanding,
        StateName::Escalated,
        StateName::Acknowledged,
        StateName::Resolved,
        StateName::Dismissed,
    ]
    .iter()
    .position(|known| known.as_str() == state)
    .unwrap_or(usize::MAX)
}

/// How a record came into the log.
pub(crate) const fn origin(mark: Option<Mark>) -> &'static str {
    match mark {
        None => "not in the package",
        Some(Mark {
            imported: true,
            upgraded: true,
            ..
        }) => "imported, upgraded",
        Some(Mark { imported: true, .. }) => "imported",
        Some(Mark { upgraded: true, .. }) => "upgraded",
        Some(_) => "recorded here",
    }
}

/// Characters that show as nothing, or turn the text around them: nobody reads a name that has them as it is.
pub(crate) fn deceives(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
