//! The judgement of one export and its archive references (contract wire 3.7, decisions 9).
//!
//! Only verified exports are judged. An export without a reference has one alert. Otherwise its newest reference is
//! judged for hash, retention, hold and times; the older ones only take part in conflicts. The newest is the one
//! with the latest time, which is the earlier of "archived" and "recorded": a reference dated in the future does not
//! stay the newest for ever. At one time the later record counts.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::alert::{ArchiveAlert, ArchiveAlertKind};
use super::hash::ArchiveHash;
use crate::id::{ArchiveReferenceId, ExportId};
use crate::public_safe::Text;
use crate::route::normalised;
use crate::time::{MICROS_PER_DAY, Timestamp};

/// How many days ahead the end of a retention is announced.
pub const DEFAULT_EXPIRING_WITHIN_DAYS: u32 = 30;

/// What health needs to know of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFacts {
    /// The export.
    pub export_id: ExportId,
    /// When it was made.
    pub generated_at: Timestamp,
    /// SHA-256 of its bytes, as its record has it.
    pub export_hash: Text,
    /// Whether its verification passed.
    pub verified: bool,
    /// Its release record.
    pub release_record_ref: Text,
    /// Its verification.
    pub verification_id: Text,
}

/// What health needs to know of a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceFacts {
    /// The reference.
    pub reference_id: ArchiveReferenceId,
    /// The export that it names; nobody may know it.
    pub export_id: ExportId,
    /// When the export was archived, as the reference says.
    pub archived_at: Timestamp,
    /// When the reference became known here.
    pub recorded_at: Timestamp,
    /// Its position in the evidence: of two references of one time the later one counts.
    pub position: u64,
    /// Where in the archive.
    pub archive_ref: Text,
    /// Which archive.
    pub archive_provider: Text,
    /// The hash as it was given.
    pub archive_hash: Text,
    /// The retention date as it was given.
    pub retention_until: Text,
    /// Whether the object is under legal hold.
    pub legal_hold: bool,
    /// The release record that the reference names.
    pub release_record_ref: Text,
}

impl ReferenceFacts {
    /// The time that counts: a reference cannot be true before it happened, nor newer than it was recorded.
    pub fn effective_at(&self) -> Timestamp {
        self.archived_at.min(self.recorded_at)
    }

    /// Where it stands among the references of its export.
    fn place(&self) -> (Timestamp, u64) {
        (self.effective_at(), self.position)
    }

    fn hash(&self) -> ArchiveHash {
        ArchiveHash::parse(self.archive_hash.as_str())
    }

    fn retention(&self) -> Retention {
        let text = self.retention_until.as_str().trim();
        if text.is_empty() {
            return Retention::Missing;
        }
        Timestamp::parse_published(text).map_or(Retention::Invalid, Retention::Until)
    }

    /// Archive and object; `None` when no object is named.
    fn object(&self) -> Option<(String, &str)> {
        let object = self.archive_ref.as_str().trim();
        (!object.is_empty()).then(|| (normalised(self.archive_provider.as_str()), object))
    }
}

enum Retention {
    Missing,
    Invalid,
    Until(Timestamp),
}

/// What the keeping of an export is held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HealthPolicy {
    /// Whether a reference without a hash is an alert.
    pub require_archive_hash: bool,
    /// Whether a reference without a retention date is an alert.
    pub require_retention_until: bool,
    /// The shortest time from archiving to the end of the retention; null for none.
    pub minimum_retention_days: Option<u32>,
    /// How many days ahead the end of a retention is announced; 0 for not at all.
    pub expiring_within_days: u32,
    /// Whether a reference without legal hold is an alert.
    pub require_legal_hold: bool,
    /// The only release record whose exports are judged; null for all.
    pub release_record_ref: Option<Text>,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self {
            require_archive_hash: true,
            require_retention_until: true,
            minimum_retention_days: None,
            expiring_within_days: DEFAULT_EXPIRING_WITHIN_DAYS,
            require_legal_hold: false,
            release_record_ref: None,
        }
    }
}

impl HealthPolicy {
    /// Whether a release record is one that the policy speaks of. For a known export that is the export's release
    /// record, whatever its references name; for a reference to an unknown export it is the reference's own.
    pub fn in_scope(&self, release_record_ref: &Text) -> bool {
        self.release_record_ref
            .as_ref()
            .is_none_or(|scope| scope.as_str().trim() == release_record_ref.as_str().trim())
    }

    /// When the end of a retention begins to be announced.
    pub fn expiring_from(&self, retention_until: Timestamp) -> Timestamp {
        retention_until.plus_micros(-days(self.expiring_within_days))
    }
}

/// Days in microseconds. More than an `i64` holds is more than lies between any two times, so the largest does.
fn days(days: u32) -> i64 {
    i64::from(days).saturating_mul(MICROS_PER_DAY)
}

/// One export, or an id that references name and nobody knows, with the references that name it: the unit of
/// judging.
#[derive(Debug, Clone, Copy)]
pub struct Custody<'a> {
    /// The export's id; every reference names it.
    pub export_id: &'a ExportId,
    /// The export; none when it is not known.
    pub export: Option<&'a ExportFacts>,
    /// Its references in any order: all of them, or of a verified export what is [`essential`] of them. References to
    /// any other export are judged each by itself, so they may come one by one.
    pub references: &'a [ReferenceFacts],
}

impl<'a> Custody<'a> {
    /// The export, when it is one to judge: verified and in the policy's scope.
    pub fn judged(&self, policy: &HealthPolicy) -> Option<&'a ExportFacts> {
        self.export
            .filter(|export| export.verified && policy.in_scope(&export.release_record_ref))
    }

    /// The references, oldest first.
    fn in_order(&self) -> Vec<&'a ReferenceFacts> {
        oldest_first(self.references.iter().collect())
    }
}

fn oldest_first(mut references: Vec<&ReferenceFacts>) -> Vec<&ReferenceFacts> {
    references.sort_by(|a, b| {
        a.place()
            .cmp(&b.place())
            .then_with(|| a.reference_id.cmp(&b.reference_id))
    });
    references
}

/// Everything that is, was or will be wrong with the keeping of one export, as of `now`: in the order of
/// [`ArchiveAlertKind`], references of one kind oldest first. The order of the input does not matter.
///
/// The policy's scope is applied here too, so a caller that selects too much still gets the right answer.
pub fn assess(custody: &Custody<'_>, policy: &HealthPolicy, now: Timestamp) -> Vec<ArchiveAlert> {
    findings(custody, policy)
        .into_iter()
        .filter(|finding| finding.holds.at(now))
        .map(|finding| {
            ArchiveAlert::new(
                finding.kind,
                custody.export_id,
                finding
                    .reference
                    .map_or("", |reference| reference.reference_id.as_str()),
                finding.release_record_ref,
                finding.since,
            )
        })
        .collect()
}

/// The judgement of one export taken apart for an index: what holds at any time, and the two times at which one
/// alert comes or goes. [`CustodyStanding::alert_count`] puts it together again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CustodyStanding {
    /// Alerts that hold whatever the time.
    pub lasting_alerts: u64,
    /// The judged reference's retention date, when it is readable: one alert (expiring, then expired) from
    /// [`HealthPolicy::expiring_from`] it on.
    pub retention_until: Option<Timestamp>,
    /// When the judged reference says that the export was archived: one alert while that is in the future.
    pub archived_at_in_future: Option<Timestamp>,
}

impl CustodyStanding {
    /// How many alerts there are at `now`, under the policy that the standing was taken with.
    pub fn alert_count(&self, policy: &HealthPolicy, now: Timestamp) -> u64 {
        let ends = self
            .retention_until
            .is_some_and(|until| policy.expiring_from(until) <= now);
        let ahead = self.archived_at_in_future.is_some_and(|at| at > now);
        self.lasting_alerts + u64::from(ends) + u64::from(ahead)
    }
}

/// The standing of one export; as [`assess`] at every time.
pub fn standing(custody: &Custody<'_>, policy: &HealthPolicy) -> CustodyStanding {
    standing_of(findings(custody, policy))
}

fn standing_of(findings: Vec<Finding<'_>>) -> CustodyStanding {
    let mut standing = CustodyStanding::default();
    for finding in findings {
        match finding.holds {
            Holds::Always => standing.lasting_alerts += 1,
            Holds::Before(at) => standing.archived_at_in_future = Some(at),
            // Expiring and expired are one alert in two stages; the second says when the first ends.
            Holds::Between(..) => {}
            Holds::From(until) => standing.retention_until = Some(until),
        }
    }
    standing
}

/// When a finding is an alert.
#[derive(Debug, Clone, Copy)]
enum Holds {
    Always,
    /// While the time is before this one.
    Before(Timestamp),
    /// From the first time on, up to and without the second.
    Between(Timestamp, Timestamp),
    /// From this time on.
    From(Timestamp),
}

impl Holds {
    fn at(self, now: Timestamp) -> bool {
        match self {
            Self::Always => true,
            Self::Before(end) => now < end,
            Self::Between(start, end) => start <= now && now < end,
            Self::From(start) => start <= now,
        }
    }
}

/// Something that is an alert at some time.
struct Finding<'a> {
    kind: ArchiveAlertKind,
    reference: Option<&'a ReferenceFacts>,
    release_record_ref: &'a Text,
    since: Timestamp,
    holds: Holds,
}

/// Everything that is ever wrong with the keeping of one export, in the order of [`ArchiveAlertKind`].
fn findings<'a>(custody: &Custody<'a>, policy: &HealthPolicy) -> Vec<Finding<'a>> {
    let references = custody.in_order();
    let mut findings = match custody.export {
        None => references
            .into_iter()
            .filter(|reference| policy.in_scope(&reference.release_record_ref))
            .map(|reference| {
                let release = &reference.release_record_ref;
                lasting(ArchiveAlertKind::ReferenceOrphaned, reference, release)
            })
            .collect(),
        Some(export) if !policy.in_scope(&export.release_record_ref) => Vec::new(),
        Some(export) if !export.verified => references
            .into_iter()
            .map(|reference| {
                let release = &export.release_record_ref;
                lasting(ArchiveAlertKind::ReferenceOfUnverifiedExport, reference, release)
            })
            .collect(),
        Some(export) => match references.last() {
            None => vec![Finding {
                kind: ArchiveAlertKind::ArchiveReferenceMissing,
                reference: None,
                release_record_ref: &export.release_record_ref,
                since: export.generated_at,
                holds: Holds::Always,
            }],
            Some(newest) => {
                let mut findings = judge(export, newest, policy);
                findings.extend(
                    newest_in_conflict(&references)
                        .map(|reference| conflict(reference, &export.release_record_ref)),
                );
                findings
            }
        },
    };
    // Stable: references of one kind stay in their order.
    findings.sort_by_key(|finding| finding.kind);
    findings
}

fn lasting<'a>(kind: ArchiveAlertKind, reference: &'a ReferenceFacts, release: &'a Text) -> Finding<'a> {
    Finding {
        kind,
        reference: Some(reference),
        release_record_ref: release,
        since: reference.effective_at(),
        holds: Holds::Always,
    }
}

fn conflict<'a>(reference: &'a ReferenceFacts, release: &'a Text) -> Finding<'a> {
    lasting(ArchiveAlertKind::ReferencesConflict, reference, release)
}

/// What is wrong with the newest reference of a verified export.
fn judge<'a>(export: &'a ExportFacts, newest: &'a ReferenceFacts, policy: &HealthPolicy) -> Vec<Finding<'a>> {
    let release = &export.release_record_ref;
    let hash = match newest.hash() {
        ArchiveHash::Missing => policy
            .require_archive_hash
            .then_some(ArchiveAlertKind::ArchiveHashMissing),
        ArchiveHash::Malformed => Some(ArchiveAlertKind::ArchiveHashMalformed),
        ArchiveHash::Weak { .. } => Some(ArchiveAlertKind::ArchiveHashWeak),
        // An export without a readable hash of its own is matched by none. Equal texts need no second reading.
        observed @ ArchiveHash::Sha256(_) => (newest.archive_hash != export.export_hash
            && ArchiveHash::parse(export.export_hash.as_str()) != observed)
            .then_some(ArchiveAlertKind::ArchiveHashMismatch),
    };
    let before = (newest.archived_at < export.generated_at).then_some(ArchiveAlertKind::ArchivedBeforeExport);
    let hold =
        (policy.require_legal_hold && !newest.legal_hold).then_some(ArchiveAlertKind::LegalHoldMissing);
    let mut findings: Vec<_> = [hash, before, hold]
        .into_iter()
        .flatten()
        .map(|kind| lasting(kind, newest, release))
        .collect();
    findings.extend(retention(newest, release, policy));
    findings.push(Finding {
        holds: Holds::Before(newest.archived_at),
        ..lasting(ArchiveAlertKind::ArchivedInFuture, newest, release)
    });
    findings
}

/// What is, or will be, wrong with the retention of a reference. A legal hold excuses nothing: it can be lifted at
/// any time, and then the retention decides.
fn retention<'a>(newest: &'a ReferenceFacts, release: &'a Text, policy: &HealthPolicy) -> Vec<Finding<'a>> {
    let until = match newest.retention() {
        // A reference without a date cannot be held against a minimum either.
        Retention::Missing if policy.require_retention_until || policy.minimum_retention_days.is_some() => {
            return vec![lasting(ArchiveAlertKind::RetentionUntilMissing, newest, release)];
        }
        Retention::Missing => return Vec::new(),
        Retention::Invalid => return vec![lasting(ArchiveAlertKind::RetentionInvalid, newest, release)],
        Retention::Until(until) => until,
    };
    let announced = policy.expiring_from(until);
    let mut findings = vec![
        Finding {
            since: announced,
            holds: Holds::Between(announced, until),
            ..lasting(ArchiveAlertKind::RetentionExpiring, newest, release)
        },
        // Retained means `now < retention_until`.
        Finding {
            since: until,
            holds: Holds::From(until),
            ..lasting(ArchiveAlertKind::RetentionExpired, newest, release)
        },
    ];
    if policy
        .minimum_retention_days
        .is_some_and(|minimum| until.micros_since(newest.archived_at) < days(minimum))
    {
        findings.push(lasting(ArchiveAlertKind::RetentionBelowPolicy, newest, release));
    }
    findings
}

/// The newest reference that contradicts another one; `references` are oldest first.
fn newest_in_conflict<'a>(references: &[&'a ReferenceFacts]) -> Option<&'a ReferenceFacts> {
    if references.len() < 2 {
        return None;
    }
    let mut said = Said::default();
    let mut newest = None;
    for (index, reference) in references.iter().enumerate() {
        if !said.contradicted_by(index, reference).is_empty() {
            newest = Some(*reference);
        }
    }
    newest
}

/// What references have said so far, as far as a later one can contradict it, and which of them said it: references are
/// numbered as they come.
///
/// Two references contradict each other when they give different digests of one algorithm, or when they name one
/// object and the later one gives an earlier retention date or no legal hold any more: an immutable archive can
/// only extend. What was not said before, or is not said again, contradicts nothing.
#[derive(Default)]
struct Said<'a> {
    /// Of each algorithm the first two digests that differ: with two, every further one contradicts one of them.
    digests: BTreeMap<&'static str, Vec<(String, usize)>>,
    objects: BTreeMap<(String, &'a str), Claims>,
}

/// What was said of one object.
#[derive(Default)]
struct Claims {
    longest: Option<(Timestamp, usize)>,
    held: Option<usize>,
}

impl<'a> Said<'a> {
    /// Takes a later reference; gives which of those before it contradicts.
    fn contradicted_by(&mut self, index: usize, reference: &'a ReferenceFacts) -> Vec<usize> {
        let mut contradicted = Vec::new();
        if let Some((algorithm, digest)) = reference.hash().parts() {
            let known = self.digests.entry(algorithm).or_default();
            let others = known.iter().filter(|(other, _)| *other != digest);
            contradicted.extend(others.map(|(_, index)| *index));
            if known.len() < 2 && known.iter().all(|(other, _)| *other != digest) {
                known.push((digest, index));
            }
        }
        if let Some(object) = reference.object() {
            let claims = self.objects.entry(object).or_default();
            if let Retention::Until(until) = reference.retention() {
                match claims.longest {
                    Some((longest, by)) if until < longest => contradicted.push(by),
                    Some((longest, _)) if until == longest => {}
                    _ => claims.longest = Some((until, index)),
                }
            }
            match claims.held {
                Some(by) if !reference.legal_hold => contradicted.push(by),
                None if reference.legal_hold => claims.held = Some(index),
                _ => {}
            }
        }
        contradicted
    }
}

/// Of the references to a verified export, those without which a judgement of all of them, and of later ones, would be
/// another one: the newest, the newest that contradicts another one with those that it contradicts, and who made each
/// claim that a later one can contradict. They grow with the objects that are named, not with the references.
pub fn essential(references: Vec<ReferenceFacts>) -> Vec<ReferenceFacts> {
    let mut needed = BTreeSet::new();
    {
        let in_order = oldest_first(references.iter().collect());
        let mut said = Said::default();
        let mut conflict = Vec::new();
        for (index, reference) in in_order.iter().enumerate() {
            let contradicted = said.contradicted_by(index, reference);
            if !contradicted.is_empty() {
                conflict = contradicted;
                conflict.push(index);
            }
        }
        let mut indexes = conflict;
        indexes.extend(in_order.len().checked_sub(1));
        indexes.extend(said.digests.values().flatten().map(|(_, index)| *index));
        for claims in said.objects.values() {
            indexes.extend(claims.longest.map(|(_, index)| index));
            indexes.extend(claims.held);
        }
        let named = |index: usize| in_order.get(index).map(|facts| facts.reference_id.clone());
        needed.extend(indexes.into_iter().filter_map(named));
    }
    let mut essential = references;
    essential.retain(|facts| needed.contains(&facts.reference_id));
    essential
}

/// References on one side of the place of another one, closest to it.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// In any order; all of that side, or as many as are worth a look.
    pub references: &'a [ReferenceFacts],
    /// Whether these are all of that side.
    pub all: bool,
}

impl Beside<'_> {
    /// Whether no other reference of that side matters for what some of these say.
    fn says(&self, what: impl Fn(&ReferenceFacts) -> bool) -> bool {
        self.all || self.references.iter().any(what)
    }
}

/// The standing of an export's custody, and the references around the place of one that comes.
#[derive(Debug, Clone, Copy)]
pub struct CustodySoFar<'a> {
    /// The export, if it is known.
    pub export: Option<&'a ExportFacts>,
    /// The standing with all references so far, under the same policy.
    pub standing: CustodyStanding,
    /// The newest reference so far; none when there is none.
    pub newest: Option<&'a ReferenceFacts>,
    /// References before the place of the one that comes.
    pub before: Beside<'a>,
    /// References behind it; none when it is the newest.
    pub behind: Beside<'a>,
}

impl CustodySoFar<'_> {
    /// Whether of references that are in harmony only those beside it can be contradicted by this one, or contradict
    /// it. In harmony all digests of an algorithm are equal, and for one object neither date nor hold ever goes back: so
    /// one digest speaks for all, and the closest date and hold of each side for that side.
    fn decides(&self, reference: &ReferenceFacts) -> bool {
        let (before, behind) = (&self.before, &self.behind);
        let digest = reference.hash().parts().is_none_or(|(algorithm, _)| {
            let same =
                |facts: &ReferenceFacts| facts.hash().parts().is_some_and(|(known, _)| known == algorithm);
            before.references.iter().chain(behind.references).any(same) || (before.all && behind.all)
        });
        let object = reference.object().is_none_or(|object| {
            let same = |facts: &ReferenceFacts| facts.object().is_some_and(|known| known == object);
            let dated =
                |facts: &ReferenceFacts| same(facts) && matches!(facts.retention(), Retention::Until(_));
            let date = !matches!(reference.retention(), Retention::Until(_))
                || (before.says(dated) && behind.says(dated));
            // A hold is contradicted by a later reference without one, a missing hold by an earlier one with.
            let hold = if reference.legal_hold { behind } else { before };
            date && hold.says(same)
        });
        digest && object
    }
}

/// The standing after one more reference, when that follows from those beside its place: as [`standing`] over all of
/// them. `None` when it does not, because the reference speaks of what none of these speaks of.
///
/// Of an export's references most say of one object what those beside them say, and then the number of the others does
/// not matter.
pub fn standing_with(
    so_far: &CustodySoFar<'_>,
    reference: &ReferenceFacts,
    policy: &HealthPolicy,
) -> Option<CustodyStanding> {
    let before = so_far.standing;
    let one_more = |counts: bool| CustodyStanding {
        lasting_alerts: before.lasting_alerts + u64::from(counts),
        ..before
    };
    let export = match so_far.export {
        None => return Some(one_more(policy.in_scope(&reference.release_record_ref))),
        Some(export) if !policy.in_scope(&export.release_record_ref) => return Some(before),
        Some(export) if !export.verified => return Some(one_more(true)),
        Some(export) => export,
    };
    let previous = so_far.newest?;
    // Beside what was wrong with the newest reference there is at most one lasting alert: a conflict. It stays, for two
    // references that contradict each other do so whatever comes in between.
    let conflict = before.lasting_alerts > standing_of(judge(export, previous, policy)).lasting_alerts || {
        let mut around: Vec<_> = so_far.before.references.iter().collect();
        around.extend(so_far.behind.references);
        around.push(reference);
        newest_in_conflict(&oldest_first(around)).is_some()
    };
    if !conflict && !so_far.decides(reference) {
        return None;
    }
    let newest = if previous.place() < reference.place() {
        reference
    } else {
        previous
    };
    let now = standing_of(judge(export, newest, policy));
    Some(CustodyStanding {
        lasting_alerts: now.lasting_alerts + u64::from(conflict),
        ..now
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{
        Kept, any_kept, any_policy, any_time, day, healthy_references, reference, right_hash, until,
    };
    use super::*;
    use crate::testing::text;
    use ArchiveAlertKind::{
        ArchiveHashMalformed, ArchiveHashMismatch, ArchiveHashMissing, ArchiveHashWeak,
        ArchiveReferenceMissing, ArchivedBeforeExport, ArchivedInFuture, LegalHoldMissing,
        ReferenceOfUnverifiedExport, ReferenceOrphaned, ReferencesConflict, RetentionBelowPolicy,
        RetentionExpired, RetentionExpiring, RetentionInvalid, RetentionUntilMissing,
    };

    /// The day on which most examples are judged.
    const JUDGED: i64 = 10;

    /// The export `e-1` with one reference, changed.
    fn with(change: impl FnOnce(&mut ReferenceFacts)) -> Kept {
        let mut facts = reference(1);
        change(&mut facts);
        Kept::of([facts])
    }

    fn hash(value: &str) -> Kept {
        with(|facts| facts.archive_hash = text(value))
    }

    fn retained(value: &str) -> Kept {
        with(|facts| facts.retention_until = text(value))
    }

    fn since(kept: &Kept, policy: &HealthPolicy, now: Timestamp) -> Vec<Timestamp> {
        let alerts = assess(&kept.custody(), policy, now);
        alerts.into_iter().map(|alert| alert.since).collect()
    }

    // ---- references ----

    #[test]
    fn archive_reference_missing_is_a_verified_export_without_any_reference() {
        let kept = Kept::of([]);
        assert_eq!(kept.kinds(day(JUDGED)), [ArchiveReferenceMissing]);
        let alerts = assess(&kept.custody(), &HealthPolicy::default(), day(JUDGED));
        assert_eq!(alerts[0].since, day(0));
        assert_eq!(alerts[0].reference_id, "");
        assert_eq!(alerts[0].release_record_ref.as_str(), "REL-2026-01");
        assert_eq!(Kept::of([reference(1)]).kinds(day(JUDGED)), []);
    }

    #[test]
    fn an_export_that_is_not_verified_is_ignored_unless_a_reference_names_it() {
        let mut kept = Kept::of([]);
        kept.export.as_mut().unwrap().verified = false;
        assert_eq!(kept.kinds(day(JUDGED)), []);
    }

    #[test]
    fn reference_of_unverified_export_is_each_reference_to_one_and_nothing_else_is_judged_there() {
        let mut kept = Kept::of([reference(2), reference(1)]);
        kept.references[0].archive_hash = text("etag");
        kept.export.as_mut().unwrap().verified = false;
        assert_eq!(
            kept.alerts(&HealthPolicy::default(), day(JUDGED)),
            [
                (ReferenceOfUnverifiedExport, "r-1".to_owned()),
                (ReferenceOfUnverifiedExport, "r-2".to_owned()),
            ]
        );
        assert_eq!(
            since(&kept, &HealthPolicy::default(), day(JUDGED)),
            [day(1), day(2)]
        );
    }

    #[test]
    fn reference_orphaned_is_each_reference_to_an_unknown_export() {
        let mut kept = Kept::of([reference(1), reference(2)]);
        kept.export = None;
        kept.references[1].release_record_ref = text("REL-9");
        let alerts = assess(&kept.custody(), &HealthPolicy::default(), day(JUDGED));
        let said: Vec<_> = alerts
            .iter()
            .map(|alert| {
                (
                    alert.alert_id,
                    alert.reference_id.as_str(),
                    alert.release_record_ref.as_str(),
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                (ReferenceOrphaned, "r-1", "REL-2026-01"),
                (ReferenceOrphaned, "r-2", "REL-9")
            ]
        );
        assert_eq!(alerts[0].export_id, kept.export_id);
    }

    // ---- hash ----

    #[test]
    fn archive_hash_missing_is_an_empty_hash_that_the_policy_asks_for() {
        assert_eq!(hash(" ").kinds(day(JUDGED)), [ArchiveHashMissing]);
        let policy = HealthPolicy {
            require_archive_hash: false,
            ..HealthPolicy::default()
        };
        assert_eq!(hash("").kinds_under(&policy, day(JUDGED)), []);
    }

    #[test]
    fn a_hash_that_the_policy_does_not_ask_for_is_judged_when_it_is_there() {
        let policy = HealthPolicy {
            require_archive_hash: false,
            ..HealthPolicy::default()
        };
        for (value, kind) in [
            ("etag", ArchiveHashMalformed),
            (&"cd".repeat(32), ArchiveHashMismatch),
            (&"a".repeat(40), ArchiveHashWeak),
        ] {
            assert_eq!(hash(value).kinds_under(&policy, day(JUDGED)), [kind]);
        }
    }

    #[test]
    fn archive_hash_malformed_is_what_no_algorithm_writes() {
        for value in ["etag", "sha256:abc", &format!("{}0", right_hash())] {
            assert_eq!(hash(value).kinds(day(JUDGED)), [ArchiveHashMalformed], "{value}");
        }
        assert_eq!(hash(&right_hash()).kinds(day(JUDGED)), []);
    }

    #[test]
    fn archive_hash_weak_is_an_md5_or_a_sha_1() {
        for value in ["a".repeat(32), format!("sha1:{}", "a".repeat(40))] {
            assert_eq!(hash(&value).kinds(day(JUDGED)), [ArchiveHashWeak], "{value}");
        }
    }

    #[test]
    fn archive_hash_mismatch_compares_the_hexadecimal_values() {
        let other = format!("{}ac", "ab".repeat(31));
        assert_eq!(hash(&other).kinds(day(JUDGED)), [ArchiveHashMismatch]);
        let upper = right_hash().to_uppercase();
        for archived in [
            upper.clone(),
            format!("sha256:{upper}"),
            format!("sha256:{}", right_hash()),
        ] {
            for own in [right_hash(), upper.clone(), format!("SHA256:{}", right_hash())] {
                let mut kept = hash(&archived);
                kept.export.as_mut().unwrap().export_hash = text(&own);
                assert_eq!(kept.kinds(day(JUDGED)), [], "{archived} {own}");
            }
        }
    }

    #[test]
    fn archive_hash_mismatch_is_also_a_sha_256_of_an_export_whose_own_hash_cannot_be_read() {
        for own in ["", "unknown", &"a".repeat(32)] {
            let mut kept = hash(&right_hash());
            kept.export.as_mut().unwrap().export_hash = text(own);
            assert_eq!(kept.kinds(day(JUDGED)), [ArchiveHashMismatch], "{own}");
        }
    }

    // ---- retention ----

    #[test]
    fn retention_until_missing_is_an_empty_date_that_the_policy_asks_for() {
        assert_eq!(retained(" ").kinds(day(JUDGED)), [RetentionUntilMissing]);
        let policy = HealthPolicy {
            require_retention_until: false,
            ..HealthPolicy::default()
        };
        assert_eq!(retained("").kinds_under(&policy, day(JUDGED)), []);
        assert_eq!(
            retained("soon").kinds_under(&policy, day(JUDGED)),
            [RetentionInvalid]
        );
    }

    #[test]
    fn a_legal_hold_excuses_no_retention_date_and_no_end_of_it() {
        for (date, kind) in [
            ("", RetentionUntilMissing),
            ("soon", RetentionInvalid),
            ("2026-01-03T00:00:00Z", RetentionExpired),
        ] {
            let mut kept = retained(date);
            kept.references[0].legal_hold = true;
            assert_eq!(kept.kinds(day(JUDGED)), [kind], "{date}");
        }
    }

    #[test]
    fn retention_invalid_is_what_is_no_time_and_published_forms_are_read() {
        for date in ["never", "2033", "2033-13-01T00:00:00Z", "01/02/2033"] {
            assert_eq!(retained(date).kinds(day(JUDGED)), [RetentionInvalid], "{date}");
        }
        for date in [
            "2033-01-01T00:00:00",
            "2033-01-01 00:00:00",
            "2033-01-01T00:00:00+02:00",
            " 2033-01-01T00:00:00.5Z",
        ] {
            assert_eq!(retained(date).kinds(day(JUDGED)), [], "{date}");
        }
    }

    #[test]
    fn retention_expired_begins_at_the_very_instant_and_ends_expiring() {
        let kept = Kept::of([reference(1)]);
        assert_eq!(kept.kinds(until().plus_micros(-1)), [RetentionExpiring]);
        assert_eq!(kept.kinds(until()), [RetentionExpired]);
        assert_eq!(kept.kinds(Timestamp::MAX), [RetentionExpired]);
        assert_eq!(since(&kept, &HealthPolicy::default(), until()), [until()]);
    }

    #[test]
    fn retention_expiring_begins_exactly_so_many_days_before() {
        let kept = Kept::of([reference(1)]);
        let policy = HealthPolicy {
            expiring_within_days: 7,
            ..HealthPolicy::default()
        };
        let begins = until().plus_micros(-7 * MICROS_PER_DAY);
        assert_eq!(kept.kinds_under(&policy, begins.plus_micros(-1)), []);
        assert_eq!(kept.kinds_under(&policy, begins), [RetentionExpiring]);
        assert_eq!(since(&kept, &policy, begins.plus_micros(9)), [begins]);
        let month = until().plus_micros(-30 * MICROS_PER_DAY);
        assert_eq!(kept.kinds(month.plus_micros(-1)), []);
        assert_eq!(kept.kinds(month), [RetentionExpiring]);
    }

    #[test]
    fn retention_expiring_within_no_days_is_never_announced() {
        let kept = Kept::of([reference(1)]);
        let policy = HealthPolicy {
            expiring_within_days: 0,
            ..HealthPolicy::default()
        };
        assert_eq!(kept.kinds_under(&policy, until().plus_micros(-1)), []);
        assert_eq!(kept.kinds_under(&policy, until()), [RetentionExpired]);
    }

    #[test]
    fn retention_below_policy_counts_from_archiving_to_the_microsecond() {
        let policy = HealthPolicy {
            minimum_retention_days: Some(365),
            ..HealthPolicy::default()
        };
        let enough = day(1 + 365);
        assert_eq!(
            retained(&enough.to_string()).kinds_under(&policy, day(JUDGED)),
            []
        );
        let kept = retained(&enough.plus_micros(-1).to_string());
        assert_eq!(kept.kinds_under(&policy, day(JUDGED)), [RetentionBelowPolicy]);
        assert_eq!(kept.kinds(day(JUDGED)), []);
        assert_eq!(
            kept.kinds_under(&policy, enough),
            [RetentionExpired, RetentionBelowPolicy]
        );
        assert_eq!(since(&kept, &policy, day(JUDGED)), [day(1)]);
    }

    #[test]
    fn windows_and_minimums_of_eleven_million_years_do_not_overflow() {
        let policy = HealthPolicy {
            minimum_retention_days: Some(u32::MAX),
            expiring_within_days: u32::MAX,
            ..HealthPolicy::default()
        };
        let kinds = Kept::of([reference(1)]).kinds_under(&policy, day(JUDGED));
        assert_eq!(kinds, [RetentionBelowPolicy, RetentionExpiring]);
    }

    // ---- hold and times ----

    #[test]
    fn legal_hold_missing_only_when_the_policy_asks_for_one() {
        let policy = HealthPolicy {
            require_legal_hold: true,
            ..HealthPolicy::default()
        };
        let free = Kept::of([reference(1)]);
        assert_eq!(free.kinds_under(&policy, day(JUDGED)), [LegalHoldMissing]);
        assert_eq!(free.kinds(day(JUDGED)), []);
        let held = with(|facts| facts.legal_hold = true);
        assert_eq!(held.kinds_under(&policy, day(JUDGED)), []);
    }

    #[test]
    fn archived_before_export_is_a_microsecond_earlier_and_not_the_same_time() {
        let kept = |at| with(|facts| facts.archived_at = at);
        assert_eq!(kept(day(0)).kinds(day(JUDGED)), []);
        let early = kept(day(0).plus_micros(-1));
        assert_eq!(early.kinds(day(JUDGED)), [ArchivedBeforeExport]);
        assert_eq!(
            since(&early, &HealthPolicy::default(), day(JUDGED)),
            [day(0).plus_micros(-1)]
        );
    }

    #[test]
    fn archived_in_future_ends_when_the_time_has_come() {
        let kept = with(|facts| facts.archived_at = day(JUDGED));
        assert_eq!(kept.kinds(day(JUDGED).plus_micros(-1)), [ArchivedInFuture]);
        assert_eq!(kept.kinds(day(JUDGED)), []);
        // Since the reference was recorded, which is when it began to say so.
        assert_eq!(since(&kept, &HealthPolicy::default(), day(2)), [day(1)]);
    }

    // ---- which reference is judged ----

    #[test]
    fn only_the_newest_reference_is_judged() {
        let bad = |number| ReferenceFacts {
            archive_hash: Text::empty(),
            retention_until: Text::empty(),
            ..reference(number)
        };
        assert_eq!(Kept::of([bad(1), reference(2)]).kinds(day(JUDGED)), []);
        assert_eq!(
            Kept::of([reference(1), bad(2)]).alerts(&HealthPolicy::default(), day(JUDGED)),
            [
                (ArchiveHashMissing, "r-2".to_owned()),
                (RetentionUntilMissing, "r-2".to_owned())
            ]
        );
    }

    #[test]
    fn a_reference_that_is_dated_ahead_does_not_stay_the_newest() {
        let ahead = ReferenceFacts {
            archived_at: day(1_000),
            ..reference(1)
        };
        assert_eq!(Kept::of([ahead.clone()]).kinds(day(JUDGED)), [ArchivedInFuture]);
        assert_eq!(Kept::of([ahead, reference(2)]).kinds(day(JUDGED)), []);
    }

    #[test]
    fn of_two_references_of_one_time_the_later_record_is_judged() {
        let same_time = |number, hash: &str| ReferenceFacts {
            archived_at: day(1),
            recorded_at: day(1),
            archive_hash: text(hash),
            ..reference(number)
        };
        let kept = Kept::of([same_time(2, ""), same_time(1, &right_hash())]);
        assert_eq!(kept.kinds(day(JUDGED)), [ArchiveHashMissing]);
        let kept = Kept::of([same_time(1, ""), same_time(2, &right_hash())]);
        assert_eq!(kept.kinds(day(JUDGED)), []);
    }

    // ---- conflicts ----

    /// Two references to one object, the second changed.
    fn same_object(
        first: impl FnOnce(&mut ReferenceFacts),
        second: impl FnOnce(&mut ReferenceFacts),
    ) -> Kept {
        let (mut older, mut newer) = (reference(1), reference(2));
        newer.archive_ref = older.archive_ref.clone();
        first(&mut older);
        second(&mut newer);
        Kept::of([older, newer])
    }

    const CONFLICT: [ArchiveAlertKind; 1] = [ReferencesConflict];

    #[test]
    fn references_conflict_when_two_give_different_digests_of_one_algorithm() {
        let mut older = reference(1);
        older.archive_hash = text(&"cd".repeat(32));
        let kept = Kept::of([older, reference(2)]);
        assert_eq!(
            kept.alerts(&HealthPolicy::default(), day(JUDGED)),
            [(ReferencesConflict, "r-2".to_owned())]
        );
        assert_eq!(since(&kept, &HealthPolicy::default(), day(JUDGED)), [day(2)]);
        let weak = |number, digit: &str| ReferenceFacts {
            archive_hash: text(&format!("md5:{}", digit.repeat(32))),
            ..reference(number)
        };
        assert_eq!(
            Kept::of([weak(1, "a"), weak(2, "b"), reference(3)])
                .alerts(&HealthPolicy::default(), day(JUDGED)),
            [(ReferencesConflict, "r-2".to_owned())]
        );
    }

    #[test]
    fn digests_of_different_algorithms_and_spellings_of_one_digest_are_no_conflict() {
        let spelt = |number, hash: String| ReferenceFacts {
            archive_hash: text(&hash),
            ..reference(number)
        };
        let kept = Kept::of([
            spelt(1, "a".repeat(32)),
            spelt(2, "b".repeat(40)),
            spelt(3, "etag-1".into()),
            spelt(4, "etag-2".into()),
            spelt(5, String::new()),
            spelt(6, right_hash().to_uppercase()),
            spelt(7, format!("sha256:{}", right_hash())),
        ]);
        assert_eq!(kept.kinds(day(JUDGED)), []);
    }

    #[test]
    fn references_conflict_once_and_name_the_newest_that_disagrees() {
        let differing = |number, byte: &str| ReferenceFacts {
            archive_hash: text(&byte.repeat(32)),
            ..reference(number)
        };
        let silent = ReferenceFacts {
            archive_hash: Text::empty(),
            ..reference(5)
        };
        let kept = Kept::of([
            differing(1, "cd"),
            differing(2, "ef"),
            differing(3, "cd"),
            differing(4, "ab"),
            silent,
        ]);
        assert_eq!(
            kept.alerts(&HealthPolicy::default(), day(JUDGED)),
            [
                (ReferencesConflict, "r-4".to_owned()),
                (ArchiveHashMissing, "r-5".to_owned())
            ]
        );
    }

    #[test]
    fn references_conflict_when_a_later_one_shortens_the_retention_of_an_object() {
        let until = |text_: &str| {
            let date = text(text_);
            move |facts: &mut ReferenceFacts| facts.retention_until = date
        };
        let kept = same_object(
            until("2034-01-01T00:00:00.000001Z"),
            until("2034-01-01T00:00:00Z"),
        );
        assert_eq!(kept.kinds(day(JUDGED)), CONFLICT);
        for (older, newer) in [
            ("2034-01-01T00:00:00Z", "2034-01-01T00:00:00Z"),
            ("2034-01-01T00:00:00Z", "2034-01-01T01:00:00+01:00"),
            ("2034-01-01T00:00:00Z", "2035-01-01T00:00:00Z"),
            ("", "2033-01-01T00:00:00Z"),
            ("soon", "2033-01-01T00:00:00Z"),
        ] {
            let kept = same_object(until(older), until(newer));
            assert_eq!(kept.kinds(day(JUDGED)), [], "{older} {newer}");
        }
        // What is not said again is missing, not shortened.
        let kept = same_object(|_| (), until(""));
        assert_eq!(kept.kinds(day(JUDGED)), [RetentionUntilMissing]);
    }

    #[test]
    fn references_conflict_when_a_later_one_drops_the_legal_hold_of_an_object() {
        let hold = |facts: &mut ReferenceFacts| facts.legal_hold = true;
        assert_eq!(same_object(hold, |_| ()).kinds(day(JUDGED)), CONFLICT);
        assert_eq!(same_object(|_| (), hold).kinds(day(JUDGED)), []);
        assert_eq!(same_object(hold, hold).kinds(day(JUDGED)), []);
    }

    #[test]
    fn a_later_reference_is_held_against_every_earlier_one_and_not_only_the_last() {
        let of_one_object = |number, until: &str, legal_hold| ReferenceFacts {
            archive_ref: text("worm://bucket/obj"),
            retention_until: text(until),
            legal_hold,
            ..reference(number)
        };
        let (long, short, between) = (
            "2036-01-01T00:00:00Z",
            "2034-01-01T00:00:00Z",
            "2035-01-01T00:00:00Z",
        );
        let named = |kept: &Kept| kept.alerts(&HealthPolicy::default(), day(JUDGED));
        for dates in [
            [long, short, between],
            [long, "", between],
            [long, "soon", between],
        ] {
            let kept = Kept::of(
                (1..)
                    .zip(dates)
                    .map(|(number, date)| of_one_object(number, date, false)),
            );
            assert_eq!(
                named(&kept),
                [(ReferencesConflict, "r-3".to_owned())],
                "{dates:?}"
            );
        }
        let holds = |holds: [bool; 3]| {
            Kept::of(
                (1..)
                    .zip(holds)
                    .map(|(number, hold)| of_one_object(number, long, hold)),
            )
        };
        assert_eq!(
            named(&holds([true, false, false])),
            [(ReferencesConflict, "r-3".to_owned())]
        );
        // Once dropped, a hold that comes back does not undo that it was dropped.
        assert_eq!(
            named(&holds([true, false, true])),
            [(ReferencesConflict, "r-2".to_owned())]
        );
    }

    #[test]
    fn shorter_retention_and_no_hold_on_another_object_are_no_conflict() {
        let longer = |facts: &mut ReferenceFacts| {
            facts.retention_until = text("2040-01-01T00:00:00Z");
            facts.legal_hold = true;
        };
        let elsewhere = |facts: &mut ReferenceFacts| facts.archive_provider = text("tape");
        assert_eq!(same_object(longer, elsewhere).kinds(day(JUDGED)), []);
        let unnamed = |facts: &mut ReferenceFacts| facts.archive_ref = text(" ");
        let both = same_object(
            |facts| {
                longer(facts);
                unnamed(facts);
            },
            unnamed,
        );
        assert_eq!(both.kinds(day(JUDGED)), []);
        let spelt = |facts: &mut ReferenceFacts| facts.archive_provider = text(" External-Immutable-Store");
        assert_eq!(same_object(longer, spelt).kinds(day(JUDGED)), CONFLICT);
    }

    #[test]
    fn a_hash_or_a_retention_that_is_filled_in_later_is_no_conflict() {
        let empty = |facts: &mut ReferenceFacts| {
            facts.archive_hash = Text::empty();
            facts.retention_until = Text::empty();
        };
        assert_eq!(same_object(empty, |_| ()).kinds(day(JUDGED)), []);
    }

    // ---- scope ----

    #[test]
    fn the_release_record_of_a_known_export_decides_the_scope_and_that_of_the_reference_for_an_unknown_one() {
        let scope = |release: &str| HealthPolicy {
            release_record_ref: Some(text(release)),
            ..HealthPolicy::default()
        };
        let mut kept = hash("");
        kept.references[0].release_record_ref = text("REL-other");
        assert_eq!(
            kept.kinds_under(&scope("REL-2026-01"), day(JUDGED)),
            [ArchiveHashMissing]
        );
        assert_eq!(
            kept.kinds_under(&scope(" REL-2026-01 "), day(JUDGED)),
            [ArchiveHashMissing]
        );
        assert_eq!(kept.kinds_under(&scope("REL-other"), day(JUDGED)), []);
        kept.export.as_mut().unwrap().verified = false;
        assert_eq!(
            kept.kinds_under(&scope("REL-2026-01"), day(JUDGED)),
            [ReferenceOfUnverifiedExport]
        );
        assert_eq!(kept.kinds_under(&scope("REL-other"), day(JUDGED)), []);
        kept.export = None;
        assert_eq!(kept.kinds_under(&scope("REL-2026-01"), day(JUDGED)), []);
        assert_eq!(
            kept.kinds_under(&scope("REL-other"), day(JUDGED)),
            [ReferenceOrphaned]
        );
    }

    // ---- the published rules that remain (contract wire 3.7) ----

    #[test]
    fn a_reference_without_hash_and_retention_has_exactly_the_two_published_warnings() {
        let kept = with(|facts| {
            facts.archive_hash = Text::empty();
            facts.retention_until = Text::empty();
            facts.legal_hold = true;
        });
        assert_eq!(
            kept.kinds(day(JUDGED)),
            [ArchiveHashMissing, RetentionUntilMissing]
        );
        let policy = HealthPolicy {
            require_archive_hash: false,
            require_retention_until: false,
            ..HealthPolicy::default()
        };
        assert_eq!(kept.kinds_under(&policy, day(JUDGED)), []);
    }

    #[test]
    fn alerts_stand_in_the_order_of_their_kinds() {
        let policy = HealthPolicy {
            minimum_retention_days: Some(3_650),
            require_legal_hold: true,
            ..HealthPolicy::default()
        };
        let mut older = reference(1);
        older.archive_hash = text(&"cd".repeat(32));
        let worst = ReferenceFacts {
            archived_at: day(0).plus_micros(-1),
            recorded_at: day(3),
            archive_hash: text(&"ef".repeat(32)),
            retention_until: text(&day(4).to_string()),
            ..reference(2)
        };
        older.archived_at = day(-1);
        let kinds = Kept::of([worst, older]).kinds_under(&policy, day(JUDGED));
        assert_eq!(
            kinds,
            [
                ArchiveHashMismatch,
                RetentionExpired,
                RetentionBelowPolicy,
                ReferencesConflict,
                ArchivedBeforeExport,
                LegalHoldMissing
            ]
        );
    }

    proptest! {
        #[test]
        fn the_standing_of_an_export_gives_the_alerts_of_every_time(
            kept in any_kept(), policy in any_policy(), at in any_time(),
        ) {
            let custody = kept.custody();
            let standing = standing(&custody, &policy);
            for now in kept.boundaries(&policy).into_iter().chain([at]) {
                let alerts = assess(&custody, &policy, now);
                prop_assert_eq!(standing.alert_count(&policy, now), alerts.len() as u64, "{}", now);
            }
        }

        #[test]
        fn the_order_of_the_references_does_not_matter(
            kept in any_kept(), policy in any_policy(), now in any_time(),
            keys in prop::collection::vec(any::<u32>(), 6),
        ) {
            let shuffled = kept.shuffled(&keys);
            prop_assert_eq!(
                assess(&shuffled.custody(), &policy, now),
                assess(&kept.custody(), &policy, now)
            );
        }

        #[test]
        fn a_complete_reference_keeps_a_healthy_export_healthy(
            references in healthy_references(), same_object in any::<bool>(),
        ) {
            let mut kept = Kept::of(references);
            let policy = HealthPolicy {
                minimum_retention_days: Some(365),
                require_legal_hold: true,
                ..HealthPolicy::default()
            };
            prop_assert_eq!(kept.kinds_under(&policy, day(JUDGED)), []);
            let mut complete = ReferenceFacts { legal_hold: true, ..reference(9) };
            if same_object {
                complete.archive_ref = kept.references[0].archive_ref.clone();
            }
            kept.references.push(complete);
            prop_assert_eq!(kept.kinds_under(&policy, day(JUDGED)), []);
        }

        #[test]
        fn expired_and_expiring_exclude_each_other_and_a_kind_occurs_once_per_judged_export(
            kept in any_kept(), policy in any_policy(), now in any_time(),
        ) {
            let kinds = kept.kinds_under(&policy, now);
            prop_assert!(!(kinds.contains(&RetentionExpired) && kinds.contains(&RetentionExpiring)));
            if kept.custody().judged(&policy).is_some() {
                let distinct: BTreeSet<_> = kinds.iter().collect();
                prop_assert_eq!(distinct.len(), kinds.len());
            }
        }
    }

    // ---- one reference more ----

    fn whole<'a>(kept: &'a Kept, references: &'a [ReferenceFacts]) -> Custody<'a> {
        Custody {
            references,
            ..kept.custody()
        }
    }

    /// The standing after the references in their order in the log, one at a time, with a look at a few on each side of
    /// it; and how often that was enough.
    fn followed(kept: &Kept, policy: &HealthPolicy, few: usize) -> (CustodyStanding, usize) {
        let mut known: Vec<ReferenceFacts> = Vec::new();
        let mut enough = 0;
        let mut now = standing(&whole(kept, &[]), policy);
        for reference in &kept.references {
            let in_order = whole(kept, &known).in_order();
            let (before, behind): (Vec<_>, Vec<_>) = in_order
                .iter()
                .copied()
                .partition(|other| other.place() < reference.place());
            let closest = |side: &mut dyn Iterator<Item = &ReferenceFacts>| -> Vec<ReferenceFacts> {
                side.take(few).cloned().collect()
            };
            let closest_before = closest(&mut before.iter().rev().copied());
            let closest_behind = closest(&mut behind.iter().copied());
            let so_far = CustodySoFar {
                export: kept.export.as_ref(),
                standing: now,
                newest: in_order.last().copied(),
                before: Beside {
                    references: &closest_before,
                    all: before.len() <= few,
                },
                behind: Beside {
                    references: &closest_behind,
                    all: behind.len() <= few,
                },
            };
            let next = standing_with(&so_far, reference, policy);
            known.push(reference.clone());
            enough += usize::from(next.is_some());
            now = next.unwrap_or_else(|| standing(&whole(kept, &known), policy));
        }
        (now, enough)
    }

    #[test]
    fn a_reference_that_says_what_the_one_before_said_needs_no_look_at_the_others() {
        let mut kept = Kept::of((1..=50).map(|number| ReferenceFacts {
            archive_ref: text("worm://bucket/object"),
            ..reference(number)
        }));
        let (now, enough) = followed(&kept, &HealthPolicy::default(), 1);
        assert_eq!(now, standing(&kept.custody(), &HealthPolicy::default()));
        assert_eq!(enough, 49, "the first one has none before it");
        // One that speaks of another object might contradict an old one: all are looked at.
        kept.references[30].archive_ref = text("another");
        let (now, enough) = followed(&kept, &HealthPolicy::default(), 1);
        assert_eq!(now, standing(&kept.custody(), &HealthPolicy::default()));
        assert_eq!(
            enough, 47,
            "neither it nor the one behind it is decided by the one before"
        );
    }

    #[test]
    fn a_reference_out_of_order_is_decided_by_those_beside_its_place() {
        let mut kept = Kept::of((1..=50).map(|number| ReferenceFacts {
            archive_ref: text("worm://bucket/object"),
            ..reference(number)
        }));
        // Recorded last, archived in the middle.
        let late = |number: u64, change: &dyn Fn(&mut ReferenceFacts)| {
            let mut facts = ReferenceFacts {
                position: number,
                ..kept.references[24].clone()
            };
            change(&mut facts);
            facts
        };
        let same = late(51, &|_| {});
        let shorter = late(52, &|facts| facts.retention_until = text("2027-01-01T00:00:00Z"));
        let other = late(52, &|facts| facts.archive_ref = text("another"));
        for (last, enough, conflicts) in [(shorter, 51, 1), (other, 50, 0)] {
            kept.references.truncate(50);
            kept.references.extend([same.clone(), last]);
            let found = followed(&kept, &HealthPolicy::default(), 1);
            let all = standing(&kept.custody(), &HealthPolicy::default());
            assert_eq!(found, (all, enough));
            assert_eq!(all.lasting_alerts, conflicts);
        }
    }

    proptest! {
        #[test]
        fn what_is_essential_of_references_is_judged_as_all_of_them_also_with_later_ones(
            kept in any_kept(), policy in any_policy(), now in any_time(), split in any::<prop::sample::Index>(),
        ) {
            let mut kept = kept;
            if let Some(export) = &mut kept.export {
                export.verified = true;
            }
            prop_assume!(kept.export.is_some());
            for (number, reference) in (1..).zip(&mut kept.references) {
                reference.reference_id = ArchiveReferenceId::parse(&format!("r-{number}")).unwrap();
                reference.position = number;
            }
            let all = kept.clone();
            let mut in_order: Vec<_> = all.custody().in_order().into_iter().cloned().collect();
            let later = in_order.split_off(split.index(in_order.len() + 1));
            let objects: BTreeSet<_> = in_order.iter().filter_map(ReferenceFacts::object).collect();
            let most = 2 * objects.len() + 2 * 3 + 5 + 1;
            kept.references = essential(in_order);
            prop_assert!(kept.references.len() <= most);
            kept.references.extend(later);
            prop_assert_eq!(
                assess(&kept.custody(), &policy, now),
                assess(&all.custody(), &policy, now)
            );
            prop_assert_eq!(standing(&kept.custody(), &policy), standing(&all.custody(), &policy));
        }

        #[test]
        fn following_references_one_by_one_gives_the_standing_over_all_of_them(
            kept in any_kept(),
            policy in any_policy(),
            few in 0_usize..4,
        ) {
            let mut kept = kept;
            // A log that agrees with the times is the common one; the other is where all have to be looked at.
            if few % 2 == 1 {
                kept.references.sort_by_key(ReferenceFacts::effective_at);
                for (position, reference) in (1..).zip(&mut kept.references) {
                    reference.position = position;
                }
            }
            prop_assert_eq!(followed(&kept, &policy, few).0, standing(&kept.custody(), &policy));
        }
    }
}
