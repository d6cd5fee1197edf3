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
use serde_json::{Map, Value, json};

use crate::canonical::canonical_value;
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::leaf::Leaf;
use crate::merkle::{RootBuilder, leaf_hash, verify_consistency, verify_inclusion};
use crate::note::{Checkpoint, Note, VerifierKey};
use crate::package::{KeyHistory, PACKAGE_SCHEMA, PAYLOAD_TYPE, Payload, Scope, UNSIGNED_ORIGIN, scope_of};
use crate::strict;

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
    /// Routes in it.
    pub route_count: u64,
    /// The earlier package's tree size, when it was compared.
    pub previous_tree_size: Option<u64>,
}

/// Whom to trust.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// The key that was given out of band.
    pub key: Option<&'a VerifierKey>,
}

/// Verifies a package.
pub fn verify(envelope: &[u8], trust: Trust<'_>) -> Verification {
    verify_with(envelope, None, trust)
}

/// Verifies a package, and that the log of an earlier one, which is verified as well, was not rewritten since.
pub fn verify_with(envelope: &[u8], previous: Option<&[u8]>, trust: Trust<'_>) -> Verification {
    let mut found = Verification {
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
        route_count: 0,
        previous_tree_size: None,
    };
    let checked = check(envelope, trust, &mut found).and_then(|opened| match previous {
        None => Ok(()),
        Some(previous) => {
            consistent(&opened, previous, trust, &mut found)?;
            found.passed.push(CheckName::Consistency);
            Ok(())
        }
    });
    match checked {
        Err(failure) => found.failure = Some(failure),
        Ok(()) if trust.key.is_some() => found.verdict = Verdict::Verified,
        Ok(()) => found.verdict = Verdict::ConsistentOnly,
    }
    found
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

/// A package whose checks passed.
struct Opened {
    payload: Payload,
    checkpoint: Checkpoint,
    /// Every leaf hash of a whole package.
    leaves: Vec<Digest>,
}

fn check(envelope: &[u8], trust: Trust<'_>, found: &mut Verification) -> Result<Opened, Failure> {
    use CheckName as Check;
    let envelope = Envelope::parse(envelope).map_err(|error| whole(Check::Envelope, error.to_string()))?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(whole(Check::Envelope, "its payload is of another type"));
    }
    found.passed.push(Check::Envelope);

    let payload: Payload = serde_json::from_slice(&envelope.payload)
        .map_err(|_| whole(Check::Payload, "it is not the JSON of a signed audit package"))?;
    // One spelling: what is hashed and signed is what was read.
    if !payload.to_text().is_ok_and(|text| text == envelope.payload) {
        return Err(whole(
            Check::Payload,
            "it is not written as a signed audit package is",
        ));
    }
    if payload.schema_version != PACKAGE_SCHEMA {
        return Err(whole(Check::Payload, "its schema is not one that is known here"));
    }
    found.passed.push(Check::Payload);

    let keys =
        KeyHistory::parse(payload.keys.clone()).map_err(|error| whole(Check::Keys, error.to_string()))?;
    found.passed.push(Check::Keys);

    signature(&envelope, &keys, trust)?;
    found.signed_by = keys.current().map(VerifierKey::key_id);
    found.passed.push(Check::Signature);

    let checkpoint = checkpoint(&payload.checkpoint, &keys)?;
    found.tree_size = Some(checkpoint.size);
    found.root = Some(checkpoint.root);
    found.passed.push(Check::Checkpoint);

    manifest(&payload, &checkpoint, &keys)?;
    found.audit_id = Some(payload.manifest.audit_id.clone());
    found.scope = Some(payload.manifest.scope);
    found.passed.push(Check::Manifest);

    let records = records(&payload, found)?;
    let leaves = places(&payload, &records, &checkpoint)?;
    found.record_count = payload.manifest.record_count;
    found.passed.push(Check::Records);

    let package = package(&payload, &records, &checkpoint)?;
    found.generated_at = package
        .get("generated_at")
        .and_then(Value::as_str)
        .map(str::to_owned);
    found.passed.push(Check::Package);

    let scope = ScopeOf::read(&package).ok_or_else(|| whole(Check::Routes, "its filters cannot be read"))?;
    let matched = routes(&payload, &package, &records, &scope)?;
    found.route_count = u64::try_from(matched.entries).unwrap_or(u64::MAX);
    found.passed.push(Check::Routes);

    counts(&payload, &package, &scope, &matched)?;
    found.passed.push(Check::Counts);
    Ok(Opened {
        payload,
        checkpoint,
        leaves,
    })
}

fn signature(envelope: &Envelope, keys: &KeyHistory, trust: Trust<'_>) -> Result<(), Failure> {
    let wrong = |problem: &str| Err(whole(CheckName::Signature, problem));
    let Some(current) = keys.current() else {
        if !envelope.signatures.is_empty() {
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

fn checkpoint(text: &str, keys: &KeyHistory) -> Result<Checkpoint, Failure> {
    let wrong = |problem: String| whole(CheckName::Checkpoint, problem);
    let note = Note::parse(text).map_err(|error| wrong(error.to_string()))?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| wrong(error.to_string()))?;
    let origin = keys.current().map_or(UNSIGNED_ORIGIN, VerifierKey::name);
    if checkpoint.origin != origin {
        return Err(wrong("it is the checkpoint of another log".to_owned()));
    }
    if let Some(key) = keys.current() {
        note.verify(key).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(checkpoint)
}

fn manifest(payload: &Payload, checkpoint: &Checkpoint, keys: &KeyHistory) -> Result<(), Failure> {
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
    let digest = Digest::of(&payload.audit_package);
    if (said.package_sha256, said.package_bytes) != (digest, count(payload.audit_package.len())) {
        return wrong("audit_package");
    }
    Ok(())
}

/// A record whose digest and form are right.
struct OpenRecord {
    leaf: Leaf,
    value: Value,
}

/// A leaf out of its bytes; only as this crate writes it.
fn read_leaf(text: &str) -> Option<Leaf> {
    let leaf: Leaf = serde_json::from_str(text).ok()?;
    (leaf.text() == text && leaf.position > 0).then_some(leaf)
}

fn records(payload: &Payload, found: &mut Verification) -> Result<Vec<OpenRecord>, Failure> {
    let mut opened: Vec<OpenRecord> = Vec::with_capacity(payload.records.len());
    for (number, packed) in payload.records.iter().enumerate() {
        let nameless = || {
            fail(
                CheckName::Records,
                format!("records[{number}]"),
                "its leaf cannot be read",
            )
        };
        let leaf = read_leaf(&packed.leaf).ok_or_else(nameless)?;
        let element = format!("record {}", leaf.position);
        let wrong = |problem: &str| fail(CheckName::Records, element.clone(), problem);
        if opened
            .last()
            .is_some_and(|last| last.leaf.position >= leaf.position)
        {
            return Err(wrong("it does not stand in log order"));
        }
        if Digest::of(&packed.record) != leaf.sha256 {
            return Err(wrong("its digest is not the one in the log"));
        }
        let value = strict::parse_str(&packed.record).map_err(|_| wrong("it is not strict JSON"))?;
        if !canonical_value(&value).is_ok_and(|canonical| canonical == packed.record) {
            return Err(wrong("it is not canonical JSON"));
        }
        if value
            .get("metadata_kind")
            .and_then(Value::as_str)
            .unwrap_or_default()
            != leaf.kind
        {
            return Err(wrong("its kind is not the one in the log"));
        }
        found.upgraded_count += u64::from(leaf.upgraded);
        found.imported_count += u64::from(leaf.imported);
        opened.push(OpenRecord { leaf, value });
    }
    Ok(opened)
}

/// Whether everything has its place in the log. Gives all leaf hashes of a whole package.
fn places(
    payload: &Payload,
    records: &[OpenRecord],
    checkpoint: &Checkpoint,
) -> Result<Vec<Digest>, Failure> {
    if payload.manifest.scope == Scope::Filtered {
        if !payload.leaves.is_empty() {
            return Err(fail(CheckName::Records, "leaves", "a filtered package has none"));
        }
        for (packed, opened) in payload.records.iter().zip(records) {
            let position = opened.leaf.position;
            verify_inclusion(
                leaf_hash(&packed.leaf),
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
        }
        return Ok(Vec::new());
    }
    let mut hashes: BTreeMap<u64, Digest> = BTreeMap::new();
    for (packed, opened) in payload.records.iter().zip(records) {
        let position = opened.leaf.position;
        if !packed.proof.is_empty() {
            let problem = "a whole package has leaves and no proofs";
            return Err(fail(CheckName::Records, format!("record {position}"), problem));
        }
        hashes.insert(position, leaf_hash(&packed.leaf));
    }
    for (number, text) in payload.leaves.iter().enumerate() {
        let element = format!("leaves[{number}]");
        let Some(leaf) = read_leaf(text) else {
            return Err(fail(CheckName::Records, element, "it cannot be read"));
        };
        if hashes.insert(leaf.position, leaf_hash(text)).is_some() {
            return Err(fail(CheckName::Records, element, "another leaf has its place"));
        }
    }
    let mut builder = RootBuilder::default();
    for (expected, (position, hash)) in (1..).zip(&hashes) {
        if *position != expected {
            let problem = "it is missing, so something may be left out";
            return Err(fail(CheckName::Records, format!("leaf {expected}"), problem));
        }
        builder.push(*hash);
    }
    if builder.size() != checkpoint.size {
        let problem = "the leaves are not as many as the log has";
        return Err(fail(CheckName::Records, "leaves", problem));
    }
    if builder.root() != checkpoint.root {
        return Err(fail(CheckName::Records, "leaves", "they lead to another root"));
    }
    Ok(hashes.into_values().collect())
}

fn package(
    payload: &Payload,
    records: &[OpenRecord],
    checkpoint: &Checkpoint,
) -> Result<Map<String, Value>, Failure> {
    let wrong = |problem: &str| whole(CheckName::Package, problem);
    let own = records
        .last()
        .filter(|record| record.leaf.position == checkpoint.size && !record.leaf.imported)
        .filter(|record| EvidenceKind::of(&record.leaf.kind) == EvidenceKind::AuditPackage)
        .ok_or_else(|| wrong("its own record is not the newest of the log"))?;
    let summary = document_of(&EvidenceKind::AuditPackage, &own.value);
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let bytes = u64::try_from(payload.audit_package.len()).unwrap_or(u64::MAX);
    if text(&own.value, "session_id").as_ref() != Some(&payload.manifest.audit_id) {
        return Err(wrong("its own record is another package's"));
    }
    if text(summary, "package_sha256") != Some(Digest::of(&payload.audit_package).to_hex())
        || summary.get("package_bytes").and_then(Value::as_u64) != Some(bytes)
    {
        return Err(wrong("it is not the text that was recorded"));
    }
    let package = strict::parse_str(&payload.audit_package).map_err(|_| wrong("it is not strict JSON"))?;
    let Value::Object(package) = package else {
        return Err(wrong("it is not a JSON object"));
    };
    if package.get("audit_id").and_then(Value::as_str) != Some(payload.manifest.audit_id.as_str()) {
        return Err(wrong("its text names another package"));
    }
    let filters = package.get("filters").and_then(Value::as_object);
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
    /// When breach and age were judged.
    at: Timestamp,
    /// The newest record that it was made from.
    until: u64,
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
        let at = match package.get("as_of") {
            None => package.get("generated_at")?,
            Some(as_of) => as_of.get("at")?,
        };
        Some(Self {
            filter,
            cycles,
            at: Timestamp::parse(at.as_str()?).ok()?,
            until: package.get("evidence")?.get("log_position")?.as_u64()?,
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

/// Whether the evidence in the package is all that it may be made from.
fn complete(payload: &Payload, records: &[OpenRecord], scope: &ScopeOf) -> Result<(), Failure> {
    let evidence = || records.iter().filter(|record| record.leaf.is_route_evidence());
    if let Some(late) = evidence().find(|record| record.leaf.position > scope.until) {
        let element = format!("record {}", late.leaf.position);
        return Err(fail(
            CheckName::Routes,
            element,
            "it is newer than the package says",
        ));
    }
    let newest = evidence().next_back().map_or(0, |record| record.leaf.position);
    if payload.manifest.scope == Scope::Whole {
        for text in &payload.leaves {
            let hidden =
                read_leaf(text).filter(|leaf| leaf.is_route_evidence() && leaf.position <= scope.until);
            if let Some(leaf) = hidden {
                let element = format!("record {}", leaf.position);
                return Err(fail(
                    CheckName::Routes,
                    element,
                    "it is in the log and left out of the package",
                ));
            }
        }
        if newest != scope.until {
            let problem = "the package says that it was made from another state of the log";
            return Err(fail(CheckName::Routes, "evidence", problem));
        }
    }
    Ok(())
}

fn routes(
    payload: &Payload,
    package: &Map<String, Value>,
    records: &[OpenRecord],
    scope: &ScopeOf,
) -> Result<Matched, Failure> {
    complete(payload, records, scope)?;
    let evidence = records.iter().filter(|record| record.leaf.is_route_evidence());
    let mut replay = Replay::default();
    for record in evidence {
        let leaf = &record.leaf;
        replay
            .apply(leaf.position, leaf.recorded_at, leaf.imported, &record.value)
            .map_err(|error| {
                let element = format!("record {}", leaf.position);
                fail(
                    CheckName::Routes,
                    element,
                    format!("it cannot be understood: {error}"),
                )
            })?;
    }
    let said = package
        .get("routes")
        .and_then(Value::as_array)
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
    let mut acknowledgements = BTreeSet::new();
    let mut next = said.iter();
    for (tracked, history) in replay.routes() {
        if scope.cycles == Cycles::Current && !tracked.current {
            continue;
        }
        matched.population.known += 1;
        if let Some(term) = scope.filter.left_out_by(&tracked, scope.at) {
            matched.population.left_out.add(term, 1);
            continue;
        }
        matched.population.matched += 1;
        matched.entries += 1;
        matched
            .counts
            .add(tracked.state(), 1, u64::from(tracked.breached(scope.at)));
        acknowledgements.extend(
            history
                .iter()
                .filter(|entry| entry.undoes.is_none())
                .map(|entry| entry.answer.acknowledgement_id.clone()),
        );
        let element = format!("route {}", tracked.route.route_id);
        let expected =
            serde_json::to_value(PackageRoute::new(&tracked, history, scope.at)).unwrap_or(Value::Null);
        match next.next() {
            Some(entry) if *entry == expected => {}
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

fn counts(
    payload: &Payload,
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
            "log_position": scope.until,
            "orphaned_acknowledgement_count": matched.orphans,
        });
        expected.push(("evidence", evidence));
    }
    for (field, value) in expected {
        if package.get(field) != Some(&value) {
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

fn consistent(
    opened: &Opened,
    previous: &[u8],
    trust: Trust<'_>,
    found: &mut Verification,
) -> Result<(), Failure> {
    let wrong = |problem: String| whole(CheckName::Consistency, problem);
    let earlier = verify(previous, trust);
    if let Some(failure) = earlier.failure {
        return Err(wrong(format!(
            "the previous package is wrong itself: {}: {}",
            failure.element, failure.problem
        )));
    }
    let (Some(size), Some(root)) = (earlier.tree_size, earlier.root) else {
        return Err(wrong("the previous package has no checkpoint".to_owned()));
    };
    found.previous_tree_size = Some(size);
    let now = &opened.checkpoint;
    if size > now.size {
        return Err(wrong("the previous package is the newer one".to_owned()));
    }
    if opened.payload.manifest.scope == Scope::Whole {
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
    let carried = opened.payload.consistency.iter().find(|proof| proof.size == size);
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
