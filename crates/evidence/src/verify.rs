//! Verifying a signed audit package: without a network, without a database, without trust in whoever made it.
//!
//! The checks run in a fixed order and stop at the first thing that is wrong; `docs/verify/cavra_verify.py` does the
//! same in another language.

use std::collections::{BTreeMap, BTreeSet};

use cavra_domain::audit_package::{FilterNote, LeftOut, PackageRoute, Population};
use cavra_domain::evidence::{EvidenceKind, payload as document_of};
use cavra_domain::replay::Replay;
use cavra_domain::route::{Cycles, FilterTerms, RouteCounts, RouteFilter};
use cavra_domain::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::canonical::canonical_value;
use crate::digest::Digest;
use crate::dsse::Message;
use crate::leaf::Leaf;
use crate::merkle::{RootBuilder, leaf_hash, verify_consistency, verify_inclusion};
use crate::note::{Checkpoint, VerifierKey};
use crate::package::{KeyHistory, PAYLOAD_TYPE, PackedConsistency, Scope, scope_of};
use crate::strict::{self, Around};

mod moment;
mod packed;
mod witness;

pub use moment::MAKING_TOLERANCE_SECONDS;
use moment::Moment;
use packed::{Packed, unquoted};
use witness::Checkpoints;
pub use witness::{CLOCK_TOLERANCE_SECONDS, Cosignature};

/// The checks, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckName {
    /// It is a DSSE envelope of a package.
    Envelope,
    /// Its payload is a package of a schema that is known.
    Payload,
    /// Each key is endorsed by the one before it.
    Keys,
    /// The current key has signed it, and leads back to the key that is trusted.
    Signature,
    /// The checkpoint is the log's, signed by the same key.
    Checkpoint,
    /// The manifest says what is there.
    Manifest,
    /// Every record has its digest, its canonical form and its place in the log.
    Records,
    /// The package's own record names this very text.
    Package,
    /// Every route is what its evidence says.
    Routes,
    /// The counts, the population and the level follow from the routes.
    Counts,
    /// The witnesses that were asked for have seen the evidence.
    Witnesses,
    /// The log of an earlier package is the beginning of this one's.
    Consistency,
}

/// What is wrong first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The check.
    pub check: CheckName,
    /// The element, as `record 17` or `route gordroute-...`; the check's name when it has none.
    pub element: String,
    /// What is wrong with it.
    pub problem: String,
}

/// How much a verification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is right, and signed by the key that was given.
    Verified,
    /// Everything fits together; nobody has said which key to trust.
    ConsistentOnly,
    /// Something is wrong.
    Failed,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The verdict.
    pub verdict: Verdict,
    /// What is wrong first.
    pub failure: Option<Failure>,
    /// The checks that passed.
    pub passed: Vec<CheckName>,
    /// The key that signed; none when nobody did.
    pub signed_by: Option<String>,
    /// The package.
    pub audit_id: Option<String>,
    /// When it was made, as it says.
    pub generated_at: Option<String>,
    /// How far it proves that nothing is left out.
    pub scope: Option<Scope>,
    /// Leaves of its log.
    pub tree_size: Option<u64>,
    /// Root of its log.
    pub root: Option<Digest>,
    /// Records in it.
    pub record_count: u64,
    /// Of those, how many were stored before there was a log.
    pub upgraded_count: u64,
    /// Of those, how many came from elsewhere.
    pub imported_count: u64,
    /// Plans, acknowledgements and undos that were being recorded while a whole package was made, and are not in it.
    pub meanwhile_count: u64,
    /// Routes in it.
    pub route_count: u64,
    /// What witnesses have signed.
    pub cosignatures: Vec<Cosignature>,
    /// The earlier package's tree size, when it was compared.
    pub previous_tree_size: Option<u64>,
}

impl Verification {
    /// What is found before anything is looked at.
    const fn nothing() -> Self {
        Self {
            verdict: Verdict::Failed,
            failure: None,
            passed: Vec::new(),
            signed_by: None,
            audit_id: None,
            generated_at: None,
            scope: None,
            tree_size: None,
            root: None,
            record_count: 0,
            upgraded_count: 0,
            imported_count: 0,
            meanwhile_count: 0,
            route_count: 0,
            cosignatures: Vec::new(),
            previous_tree_size: None,
        }
    }
}

/// Whom to trust.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// The key that was given out of band.
    pub key: Option<&'a VerifierKey>,
}

/// What a package is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Whom to trust.
    pub trust: Trust<'a>,
    /// An earlier package of the same log: it is verified as well, and nothing may have been rewritten since.
    pub previous: Option<&'a [u8]>,
    /// Witnesses' keys that were given out of band.
    pub witnesses: &'a [VerifierKey],
    /// How many of them have to have seen the evidence; none for all.
    pub witnesses_needed: Option<usize>,
}

/// Verifies a package.
pub fn verify(envelope: &[u8], trust: Trust<'_>) -> Verification {
    verify_with(envelope, None, trust)
}

/// Verifies a package, and that the log of an earlier one, which is verified as well, was not rewritten since.
pub fn verify_with(envelope: &[u8], previous: Option<&[u8]>, trust: Trust<'_>) -> Verification {
    let asked = Asked {
        trust,
        previous,
        ..Asked::default()
    };
    verify_asked(envelope.to_vec(), &asked)
}

/// Verifies a package against all that is asked. It works in the memory that holds the envelope.
pub fn verify_asked(envelope: Vec<u8>, asked: &Asked<'_>) -> Verification {
    verify_and_keep(envelope, asked).0
}

/// The same, and what was in the envelope, right or wrong, for whoever shows it; none when it is no envelope.
pub fn verify_and_keep(envelope: Vec<u8>, asked: &Asked<'_>) -> (Verification, Option<Message>) {
    let mut found = Verification::nothing();
    let message = match open(envelope) {
        Ok(message) => message,
        Err(failure) => {
            found.failure = Some(failure);
            return (found, None);
        }
    };
    let checked = check(&message, asked, &mut found).and_then(|opened| match asked.previous {
        None => Ok(()),
        Some(previous) => {
            consistent(&opened, previous, asked.trust, &mut found)?;
            found.passed.push(CheckName::Consistency);
            Ok(())
        }
    });
    match checked {
        Err(failure) => found.failure = Some(failure),
        Ok(()) if asked.trust.key.is_some() => found.verdict = Verdict::Verified,
        Ok(()) => found.verdict = Verdict::ConsistentOnly,
    }
    (found, Some(message))
}

fn open(envelope: Vec<u8>) -> Result<Message, Failure> {
    Message::open(envelope).map_err(|error| whole(CheckName::Envelope, error.to_string()))
}

fn fail(check: CheckName, element: impl Into<String>, problem: impl Into<String>) -> Failure {
    Failure {
        check,
        element: element.into(),
        problem: problem.into(),
    }
}

/// A failure of a check as a whole.
fn whole(check: CheckName, problem: impl Into<String>) -> Failure {
    let element = match serde_json::to_value(check) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    };
    fail(check, element, problem)
}

/// What is kept of a package whose checks passed.
struct Opened {
    scope: Scope,
    consistency: Vec<PackedConsistency>,
    checkpoint: Checkpoint,
    keys: KeyHistory,
    /// Every leaf hash of a whole package.
    leaves: Vec<Digest>,
}

fn check(message: &Message, asked: &Asked<'_>, found: &mut Verification) -> Result<Opened, Failure> {
    use CheckName as Check;
    if message.payload_type() != PAYLOAD_TYPE {
        return Err(whole(Check::Envelope, "its payload is of another type"));
    }
    found.passed.push(Check::Envelope);

    let payload = Packed::open(message.payload()).map_err(|problem| whole(Check::Payload, problem))?;
    found.passed.push(Check::Payload);

    let keys =
        KeyHistory::parse(payload.keys.clone()).map_err(|error| whole(Check::Keys, error.to_string()))?;
    found.passed.push(Check::Keys);

    signature(message, &keys, asked.trust)?;
    found.signed_by = keys.current().map(VerifierKey::key_id);
    found.passed.push(Check::Signature);

    let checkpoints = Checkpoints::open(&payload, &keys)?;
    let own = checkpoints.own().clone();
    found.tree_size = Some(own.size);
    found.root = Some(own.root);
    found.passed.push(Check::Checkpoint);

    let text = payload.audit_package();
    manifest(&payload, &text, &own, &keys)?;
    found.audit_id = Some(payload.manifest.audit_id.clone());
    found.scope = Some(payload.manifest.scope);
    found.passed.push(Check::Manifest);

    let records = Records::read(&payload, found)?;
    let leaves = places(&payload, &records, &own)?;
    found.record_count = payload.manifest.record_count;
    found.passed.push(Check::Records);

    let package = package(&payload, &text, &records, &own)?;
    found.generated_at = package
        .members
        .get("generated_at")
        .and_then(Value::as_str)
        .map(str::to_owned);
    found.passed.push(Check::Package);

    let scope =
        ScopeOf::read(&package.members).ok_or_else(|| whole(Check::Routes, "its filters cannot be read"))?;
    found.meanwhile_count = scope.moment.complete(&payload, &records)?;
    let replay = records.replay?;
    let matched = routes(&replay, &package, &scope)?;
    found.route_count = u64::try_from(matched.entries).unwrap_or(u64::MAX);
    found.passed.push(Check::Routes);

    counts(&payload, &package.members, &scope, &matched)?;
    found.passed.push(Check::Counts);

    found.cosignatures = checkpoints.cosignatures(asked, &keys, &records.opened)?;
    if !asked.witnesses.is_empty() {
        found.passed.push(Check::Witnesses);
    }
    Ok(Opened {
        scope: payload.manifest.scope,
        consistency: payload.consistency,
        checkpoint: own,
        keys,
        leaves,
    })
}

fn signature(envelope: &Message, keys: &KeyHistory, trust: Trust<'_>) -> Result<(), Failure> {
    let wrong = |problem: &str| Err(whole(CheckName::Signature, problem));
    let Some(current) = keys.current() else {
        if envelope.signature_count() > 0 {
            return wrong("it has a signature and names no key");
        }
        return match trust.key {
            None => Ok(()),
            Some(_) => wrong("it is not signed"),
        };
    };
    if let Some(trusted) = trust.key
        && !keys.keys().contains(trusted)
    {
        return wrong("it is not signed by the key that is trusted, nor by one that this key leads to");
    }
    if envelope.signed_by(current) {
        Ok(())
    } else {
        wrong("the signature is missing or wrong")
    }
}

fn manifest(
    payload: &Packed<'_>,
    text: &str,
    checkpoint: &Checkpoint,
    keys: &KeyHistory,
) -> Result<(), Failure> {
    let said = &payload.manifest;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let wrong = |field: &str| Err(fail(CheckName::Manifest, field, "the manifest says otherwise"));
    if (said.tree_size, said.root) != (checkpoint.size, checkpoint.root) {
        return wrong("checkpoint");
    }
    if said.record_count != count(payload.records.len()) {
        return wrong("records");
    }
    if said.leaf_count != count(payload.leaves.len()) {
        return wrong("leaves");
    }
    if said.signed != keys.current().is_some() {
        return wrong("keys");
    }
    if (said.package_sha256, said.package_bytes) != (Digest::of(text), count(text.len())) {
        return wrong("audit_package");
    }
    Ok(())
}

/// What is kept of a record whose digest and form are right.
struct OpenRecord {
    leaf: Leaf,
    hash: Digest,
}

/// A leaf out of its bytes; only as this crate writes it.
fn read_leaf(text: &str) -> Option<Leaf> {
    let leaf: Leaf = serde_json::from_str(text).ok()?;
    (leaf.text() == text && leaf.position > 0).then_some(leaf)
}

/// The records of a package. They are read once, one at a time: what they say about routes is followed on the way, and
/// what cannot be followed is said when the routes are checked.
struct Records {
    opened: Vec<OpenRecord>,
    replay: Result<Replay, Failure>,
    /// The ids so far: a log takes each once.
    ids: BTreeSet<String>,
    /// The last record: the package's own.
    own: Value,
}

impl Records {
    fn read(payload: &Packed<'_>, found: &mut Verification) -> Result<Self, Failure> {
        let mut records = Self {
            opened: Vec::with_capacity(payload.records.len()),
            replay: Ok(Replay::default()),
            ids: BTreeSet::new(),
            own: Value::Null,
        };
        for (number, packed) in payload.records.iter().enumerate() {
            let nameless = || {
                fail(
                    CheckName::Records,
                    format!("records[{number}]"),
                    "its leaf cannot be read",
                )
            };
            let text = unquoted(packed.leaf);
            let leaf = read_leaf(&text).ok_or_else(nameless)?;
            let last = records.opened.last();
            if last.is_some_and(|last| last.leaf.position >= leaf.position) {
                let element = format!("record {}", leaf.position);
                return Err(fail(
                    CheckName::Records,
                    element,
                    "it does not stand in log order",
                ));
            }
            let value = read_record(&leaf, &unquoted(packed.record))
                .map_err(|problem| fail(CheckName::Records, format!("record {}", leaf.position), problem))?;
            if let Some(id) = named(&value)
                && !records.ids.insert(id.to_owned())
            {
                let element = format!("record {}", leaf.position);
                return Err(fail(CheckName::Records, element, "another record has its id"));
            }
            found.upgraded_count += u64::from(leaf.upgraded);
            found.imported_count += u64::from(leaf.imported);
            records.follow(&leaf, &value);
            records.own = value;
            records.opened.push(OpenRecord {
                hash: leaf_hash(text.as_bytes()),
                leaf,
            });
        }
        records.ids = BTreeSet::new();
        Ok(records)
    }

    fn follow(&mut self, leaf: &Leaf, value: &Value) {
        if !leaf.is_route_evidence() {
            return;
        }
        let Ok(replay) = &mut self.replay else {
            return;
        };
        if let Err(error) = replay.apply(leaf.position, leaf.recorded_at, leaf.imported, value) {
            self.replay = Err(fail(
                CheckName::Routes,
                format!("record {}", leaf.position),
                format!("it cannot be understood: {error}"),
            ));
        }
    }
}

/// The id of a record.
fn named(record: &Value) -> Option<&str> {
    let id = record.get("session_id").and_then(Value::as_str);
    id.filter(|id| !id.is_empty())
}

fn read_record(leaf: &Leaf, record: &str) -> Result<Value, &'static str> {
    if Digest::of(record) != leaf.sha256 {
        return Err("its digest is not the one in the log");
    }
    let value = strict::parse_str(record).map_err(|_| "it is not strict JSON")?;
    if !canonical_value(&value).is_ok_and(|canonical| canonical == record) {
        return Err("it is not canonical JSON");
    }
    let kind = value.get("metadata_kind").and_then(Value::as_str);
    if kind.unwrap_or_default() != leaf.kind {
        return Err("its kind is not the one in the log");
    }
    Ok(value)
}

/// Whether everything has its place in the log. Gives all leaf hashes of a whole package.
fn places(payload: &Packed<'_>, records: &Records, checkpoint: &Checkpoint) -> Result<Vec<Digest>, Failure> {
    let mut last = Timestamp::MIN;
    if payload.manifest.scope == Scope::Filtered {
        if !payload.leaves.is_empty() {
            return Err(fail(CheckName::Records, "leaves", "a filtered package has none"));
        }
        for (packed, opened) in payload.records.iter().zip(&records.opened) {
            let position = opened.leaf.position;
            verify_inclusion(
                opened.hash,
                position - 1,
                checkpoint.size,
                &packed.proof,
                checkpoint.root,
            )
            .map_err(|error| {
                fail(
                    CheckName::Records,
                    format!("record {position}"),
                    error.to_string(),
                )
            })?;
            rises(&mut last, opened.leaf.recorded_at, || {
                format!("record {position}")
            })?;
        }
        return Ok(Vec::new());
    }
    let mut hashes: BTreeMap<u64, (Timestamp, Digest)> = BTreeMap::new();
    for (packed, opened) in payload.records.iter().zip(&records.opened) {
        let position = opened.leaf.position;
        if !packed.proof.is_empty() {
            let problem = "a whole package has leaves and no proofs";
            return Err(fail(CheckName::Records, format!("record {position}"), problem));
        }
        hashes.insert(position, (opened.leaf.recorded_at, opened.hash));
    }
    for (number, raw) in payload.leaves.iter().enumerate() {
        let element = format!("leaves[{number}]");
        let text = unquoted(raw);
        let Some(leaf) = read_leaf(&text) else {
            return Err(fail(CheckName::Records, element, "it cannot be read"));
        };
        let entry = (leaf.recorded_at, leaf_hash(text.as_bytes()));
        if hashes.insert(leaf.position, entry).is_some() {
            return Err(fail(CheckName::Records, element, "another leaf has its place"));
        }
    }
    let mut builder = RootBuilder::default();
    for (expected, (position, (recorded_at, hash))) in (1..).zip(&hashes) {
        if *position != expected {
            let problem = "it is missing, so something may be left out";
            return Err(fail(CheckName::Records, format!("leaf {expected}"), problem));
        }
        rises(&mut last, *recorded_at, || format!("leaf {expected}"))?;
        builder.push(*hash);
    }
    if builder.size() != checkpoint.size {
        let problem = "the leaves are not as many as the log has";
        return Err(fail(CheckName::Records, "leaves", problem));
    }
    if builder.root() != checkpoint.root {
        return Err(fail(CheckName::Records, "leaves", "they lead to another root"));
    }
    Ok(hashes.into_values().map(|(_, hash)| hash).collect())
}

/// Places and times rise together: nothing was recorded before what stands before it.
fn rises(
    last: &mut Timestamp,
    recorded_at: Timestamp,
    element: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if recorded_at < *last {
        let problem = "it is said to be recorded before what stands before it";
        return Err(fail(CheckName::Records, element(), problem));
    }
    *last = recorded_at;
    Ok(())
}

fn package<'a>(
    payload: &Packed<'_>,
    said: &'a str,
    records: &Records,
    checkpoint: &Checkpoint,
) -> Result<Around<'a>, Failure> {
    let wrong = |problem: &str| whole(CheckName::Package, problem);
    let is_own = |record: &OpenRecord| {
        record.leaf.position == checkpoint.size
            && !record.leaf.imported
            && EvidenceKind::of(&record.leaf.kind) == EvidenceKind::AuditPackage
    };
    if !records.opened.last().is_some_and(is_own) {
        return Err(wrong("its own record is not the newest of the log"));
    }
    let own = &records.own;
    let summary = document_of(&EvidenceKind::AuditPackage, own);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let bytes = u64::try_from(said.len()).unwrap_or(u64::MAX);
    if text(own, "session_id").as_ref() != Some(&payload.manifest.audit_id) {
        return Err(wrong("its own record is another package's"));
    }
    // The manifest has been held against the text.
    if text(summary, "package_sha256") != Some(payload.manifest.package_sha256.to_hex())
        || summary.get("package_bytes").and_then(Value::as_u64) != Some(bytes)
    {
        return Err(wrong("it is not the text that was recorded"));
    }
    let package =
        strict::parse_around(said, "routes").map_err(|_| wrong("it is not a strict JSON object"))?;
    if package.members.get("audit_id").and_then(Value::as_str) != Some(payload.manifest.audit_id.as_str()) {
        return Err(wrong("its text names another package"));
    }
    let filters = package.members.get("filters").and_then(Value::as_object);
    let scope = filters.map(scope_of);
    if scope != Some(payload.manifest.scope) {
        return Err(wrong("its filters have another scope than the manifest says"));
    }
    Ok(package)
}

/// What a package speaks of.
struct ScopeOf {
    filter: RouteFilter,
    cycles: Cycles,
    moment: Moment,
}

impl ScopeOf {
    fn read(package: &Map<String, Value>) -> Option<Self> {
        let filters = package.get("filters")?.as_object()?;
        let text = |key: &str| filters.get(key).and_then(Value::as_str);
        let breached = match filters.get("breached")? {
            Value::Null => None,
            value => Some(value.as_bool()?),
        };
        let filter = RouteFilter::parse(&FilterTerms {
            schedule_id: text("schedule_id")?,
            owner: text("owner")?,
            provider: text("provider")?,
            state: text("state")?,
            action: text("action")?,
            category: text("category")?,
            breached,
        })
        .ok()?;
        let cycles = match text("cycle")? {
            "current" => Cycles::Current,
            "all" => Cycles::All,
            _ => return None,
        };
        // A filter that is not spelt as a package spells it is another one.
        if serde_json::to_value(FilterNote::of(&filter, cycles))
            .ok()?
            .as_object()
            != Some(filters)
        {
            return None;
        }
        Some(Self {
            filter,
            cycles,
            moment: Moment::read(package)?,
        })
    }
}

/// What the evidence says about the routes of the scope.
struct Matched {
    entries: usize,
    counts: RouteCounts,
    population: Population,
    acknowledgements: u64,
    record_count: u64,
    orphans: u64,
}

fn routes(replay: &Replay, package: &Around<'_>, scope: &ScopeOf) -> Result<Matched, Failure> {
    let said = package
        .list
        .as_ref()
        .ok_or_else(|| fail(CheckName::Routes, "routes", "there is no list of them"))?;
    let mut matched = Matched {
        entries: 0,
        counts: RouteCounts::default(),
        population: Population {
            known: 0,
            matched: 0,
            left_out: LeftOut::default(),
        },
        acknowledgements: 0,
        record_count: replay.record_count(),
        orphans: replay.orphan_count(),
    };
    let at = scope.moment.at;
    let mut acknowledgements = BTreeSet::new();
    let mut next = said.iter();
    for (tracked, history) in replay.each_route() {
        if scope.cycles == Cycles::Current && !tracked.current {
            continue;
        }
        matched.population.known += 1;
        if let Some(term) = scope.filter.left_out_by(&tracked, at) {
            matched.population.left_out.add(term, 1);
            continue;
        }
        matched.population.matched += 1;
        matched.entries += 1;
        matched
            .counts
            .add(tracked.state(), 1, u64::from(tracked.breached(at)));
        acknowledgements.extend(
            history
                .iter()
                .filter(|entry| entry.undoes.is_none())
                .map(|entry| entry.answer.acknowledgement_id.clone()),
        );
        let element = format!("route {}", tracked.route.route_id);
        let expected = PackageRoute::new(&tracked, history, at);
        match next.next() {
            Some(entry) if says(entry, &expected) => {}
            Some(_) => {
                return Err(fail(
                    CheckName::Routes,
                    element,
                    "it is not what its evidence says",
                ));
            }
            None => return Err(fail(CheckName::Routes, element, "it is left out")),
        }
    }
    if next.next().is_some() {
        let element = format!("routes[{}]", matched.entries);
        return Err(fail(
            CheckName::Routes,
            element,
            "no evidence says that there is such a route",
        ));
    }
    matched.acknowledgements = u64::try_from(acknowledgements.len()).unwrap_or(u64::MAX);
    Ok(matched)
}

/// Whether an entry of the package says what its evidence says: almost always in the very text that is expected.
fn says(entry: &RawValue, expected: &PackageRoute) -> bool {
    serde_json::to_string(expected).is_ok_and(|text| text == entry.get())
        || strict::parse_str(entry.get())
            .is_ok_and(|entry| same(&entry, &serde_json::to_value(expected).unwrap_or(Value::Null)))
}

/// Whether two values have the same canonical form: `1.0` is `1`.
fn same(a: &Value, b: &Value) -> bool {
    a == b || canonical_value(a).is_ok_and(|a| canonical_value(b).is_ok_and(|b| a == b))
}

fn counts(
    payload: &Packed<'_>,
    package: &Map<String, Value>,
    scope: &ScopeOf,
    matched: &Matched,
) -> Result<(), Failure> {
    let counts = &matched.counts;
    let mut expected = vec![
        ("route_count", json!(counts.route_count)),
        ("acknowledgement_count", json!(matched.acknowledgements)),
        ("acknowledged_count", json!(counts.acknowledged)),
        ("resolved_count", json!(counts.resolved)),
        ("escalated_count", json!(counts.escalated)),
        ("dismissed_count", json!(counts.dismissed)),
        ("outstanding_count", json!(counts.outstanding)),
        ("breached_count", json!(counts.breached)),
        ("suppressed_count", json!(counts.suppressed)),
        ("alert_level", json!(counts.level())),
    ];
    if payload.manifest.scope == Scope::Whole {
        expected.push(("population", json!(matched.population)));
        let evidence = json!({
            "record_count": matched.record_count,
            "log_position": scope.moment.until,
            "orphaned_acknowledgement_count": matched.orphans,
        });
        expected.push(("evidence", evidence));
    }
    for (field, value) in expected {
        if !package.get(field).is_some_and(|said| same(said, &value)) {
            return Err(fail(
                CheckName::Counts,
                field,
                "it does not follow from the routes",
            ));
        }
    }
    // Of a filtered scope the evidence shows what is in it; what was left out only has to add up.
    let population = package.get("population");
    let number = |key: &str| {
        population
            .and_then(|population| population.get(key))
            .and_then(Value::as_u64)
    };
    let left_out = population
        .and_then(|population| population.get("left_out"))
        .and_then(Value::as_object)
        .map(|terms| terms.values().filter_map(Value::as_u64).sum::<u64>());
    let entries = u64::try_from(matched.entries).unwrap_or(u64::MAX);
    let adds_up = number("matched") == Some(entries)
        && left_out.and_then(|left_out| left_out.checked_add(entries)) == number("known");
    if !adds_up {
        return Err(fail(CheckName::Counts, "population", "it does not add up"));
    }
    Ok(())
}

/// Whether the keys of an earlier package are this log's. A key may have followed another since; which one is trusted
/// does not matter then.
fn same_log(now: &KeyHistory, before: &KeyHistory, trust: Trust<'_>) -> bool {
    match (now.current(), before.current()) {
        (Some(now), Some(before)) if now.name() != before.name() => return false,
        _ => {}
    }
    let Some(trusted) = trust.key else {
        return true;
    };
    before.keys().contains(trusted) || before.current().is_some_and(|signer| now.keys().contains(signer))
}

fn consistent(
    opened: &Opened,
    previous: &[u8],
    trust: Trust<'_>,
    found: &mut Verification,
) -> Result<(), Failure> {
    let wrong = |problem: String| whole(CheckName::Consistency, problem);
    let asked = Asked::default();
    let earlier =
        open(previous.to_vec()).and_then(|earlier| check(&earlier, &asked, &mut Verification::nothing()));
    let earlier = earlier.map_err(|failure| {
        wrong(format!(
            "the previous package is wrong itself: {}: {}",
            failure.element, failure.problem
        ))
    })?;
    if !same_log(&opened.keys, &earlier.keys, trust) {
        return Err(wrong(
            "the previous package is not signed by a key of this log".to_owned(),
        ));
    }
    let (size, root) = (earlier.checkpoint.size, earlier.checkpoint.root);
    found.previous_tree_size = Some(size);
    let now = &opened.checkpoint;
    if size > now.size {
        return Err(wrong("the previous package is the newer one".to_owned()));
    }
    if opened.scope == Scope::Whole {
        let mut builder = RootBuilder::default();
        for leaf in opened
            .leaves
            .iter()
            .take(usize::try_from(size).unwrap_or(usize::MAX))
        {
            builder.push(*leaf);
        }
        return if builder.root() == root {
            Ok(())
        } else {
            Err(wrong(
                "the log was rewritten since the previous package".to_owned(),
            ))
        };
    }
    let none: &[Digest] = &[];
    let carried = opened.consistency.iter().find(|proof| proof.size == size);
    let proof = match carried {
        Some(carried) => carried.proof.as_slice(),
        None if size == now.size => none,
        None => {
            return Err(wrong(format!(
                "it carries no proof for a log of {size}: ask for the package with `consistent_with` {size}"
            )));
        }
    };
    verify_consistency(size, now.size, proof, root, now.root)
        .map_err(|_| wrong("the log was rewritten since the previous package".to_owned()))
}
