//! Packages to report on, the same ones each time: a clock that is told what to do, counted ids, fixed keys.

use std::io::{BufReader, Cursor};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cavra_app::acknowledge::{Acknowledge, Undo};
use cavra_app::import::{ImportOptions, ImportSource, Unwatched};
use cavra_app::{App, Settings};
use cavra_domain::acknowledgement::{AckState, NOTES};
use cavra_domain::actor::Actor;
use cavra_domain::id::{ScheduleId, SequentialIds};
use cavra_domain::public_safe::Text;
use cavra_domain::route::{Cycles, FilterTerms, Provider, RouteFilter};
use cavra_domain::time::{Clock, Timestamp};
use cavra_evidence::digest::Digest;
use cavra_evidence::dsse::{Envelope, seal};
use cavra_evidence::leaf::Leaf;
use cavra_evidence::merkle::{RootBuilder, leaf_hash};
use cavra_evidence::note::{Checkpoint, SigningKey, VerifierKey};
use cavra_evidence::package::{KeyHistory, PAYLOAD_TYPE, Payload, Signer};
use cavra_evidence::verify::{Asked, Trust};
use cavra_report::{Input, Report};
use cavra_storage::sqlite::SqliteStore;
use serde_json::{Value, json};

/// Texts that would do harm where they are not taken for texts.
pub(crate) const HOSTILE_REFERENCE: &str = "=HYPERLINK(\"http://example.org\";\"CHG\")";
pub(crate) const HOSTILE_NOTES: &str =
    "</td></tr></table><script>alert('VERIFIED')</script> & **VERIFIED** [ok](x);+1\n@SUM(A1)";

#[derive(Debug)]
struct HandClock(Mutex<Timestamp>);

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures")
        .join(name)
}

fn text(raw: &str) -> Text {
    Text::parse(NOTES, raw).unwrap()
}

fn signing(byte: u8) -> SigningKey {
    SigningKey::new("cavra.log/reports", &[byte; 32]).unwrap()
}

/// The key that signs.
pub(crate) fn key() -> VerifierKey {
    signing(2).verifier()
}

/// A signer whose key is the second of its log.
pub(crate) fn signer() -> Signer {
    let first = KeyHistory::first(&signing(1).verifier());
    let history = first.rotated(&signing(1), &key(), at("2026-05-01T09:00:00Z"));
    Signer::new(signing(2), Some(history)).unwrap()
}

/// A service with two schedules of the quickstart store, and answers of our own.
pub(crate) struct Service {
    app: App,
    clock: Arc<HandClock>,
}

impl Service {
    pub(crate) fn new(signer: Option<Signer>) -> Self {
        Self::of(signer, &["fraud-scoring-monthly", "search-index-weekly"])
    }

    /// The same with these schedules, of which `fraud-scoring-monthly` has to be one: it gets the answers.
    pub(crate) fn of(signer: Option<Signer>, schedules: &[&str]) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(at("2026-06-01T12:00:00Z"))));
        let settings = Settings {
            signer: signer.map(Arc::new),
            ..Settings::default()
        };
        let app = App::new(
            Arc::new(SqliteStore::in_memory().unwrap()),
            clock.clone(),
            Arc::new(SequentialIds::default()),
            settings,
        );
        let service = Self { app, clock };
        service.fill(schedules);
        service
    }

    fn forward(&self) {
        let mut now = self.clock.0.lock().unwrap();
        *now = now.plus_minutes(5);
    }

    fn fill(&self, schedules: &[&str]) {
        let store = std::fs::read_to_string(fixture("quickstart.json")).unwrap();
        let store: Value = serde_json::from_str(&store).unwrap();
        let records: Vec<&Value> = store["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|record| schedules.iter().any(|id| record.to_string().contains(id)))
            .collect();
        let records = json!({ "items": records }).to_string();
        let source = ImportSource::Text(Box::new(BufReader::new(Cursor::new(records))));
        self.app
            .import(
                vec![source],
                ImportOptions { skip_invalid: false },
                Box::new(Unwatched),
            )
            .unwrap();
        let ana = Actor::local("acknowledged_by", "ana@example.org").unwrap();
        let zoe = Actor {
            actor: text("Zoë Müller"),
            subject: text("user-42"),
            issuer: text("https://login.example.org"),
            groups: Vec::new(),
            repository: None,
            verified: true,
        };
        self.say(
            "service-now",
            AckState::Acknowledged,
            &zoe,
            "CHG-4711",
            "reviewed, rollback took 4 minutes",
        );
        let mistake = self.say("email", AckState::Resolved, &ana, "CHG-1", "");
        self.forward();
        self.app
            .undo(Undo {
                acknowledgement_id: mistake,
                reason: text("the wrong change number"),
                actor: ana.clone(),
            })
            .unwrap();
        self.say(
            "email",
            AckState::Escalated,
            &ana,
            HOSTILE_REFERENCE,
            HOSTILE_NOTES,
        );
        self.forward();
    }

    fn say(
        &self,
        provider: &str,
        said: AckState,
        actor: &Actor,
        reference: &str,
        notes: &str,
    ) -> cavra_domain::id::AcknowledgementId {
        self.forward();
        let said = Acknowledge {
            schedule_id: ScheduleId::parse("fraud-scoring-monthly").unwrap(),
            provider: Provider::parse(provider).unwrap(),
            owner: None,
            plan_id: None,
            said,
            external_ref: text(reference),
            notes: text(notes),
            actor: actor.clone(),
        };
        self.app
            .acknowledge(said)
            .unwrap()
            .acknowledgement
            .acknowledgement_id
    }

    /// A signed package; unsigned where the service has no key.
    pub(crate) fn package(&self, terms: &FilterTerms<'_>) -> Vec<u8> {
        self.forward();
        let actor = Actor::local("generated_by", "eve@audit.example.org").unwrap();
        let filter = RouteFilter::parse(terms).unwrap();
        let package = self.app.export_package(filter, Cycles::All, &actor).unwrap();
        let signed = self.app.signed_package(&package, None).unwrap();
        signed.into_text().unwrap().into_bytes()
    }
}

pub(crate) fn payload(envelope: &[u8]) -> Payload {
    serde_json::from_slice(&Envelope::parse(envelope).unwrap().payload).unwrap()
}

pub(crate) fn sealed(payload: &Payload) -> Vec<u8> {
    let mut out = Vec::new();
    seal(
        PAYLOAD_TYPE,
        &payload.to_text().unwrap(),
        Some(&signing(2)),
        &mut out,
    )
    .unwrap();
    out
}

/// The package with a word of it changed by somebody who has the key: only the log's own record gives it away.
pub(crate) fn forged(envelope: &[u8]) -> Vec<u8> {
    let mut payload = payload(envelope);
    let before = payload.audit_package.clone();
    payload.audit_package = before.replacen("\"breached\":true", "\"breached\":false", 1);
    assert_ne!(payload.audit_package, before);
    payload.manifest.package_sha256 = Digest::of(&payload.audit_package);
    payload.manifest.package_bytes += 1;
    sealed(&payload)
}

/// The package of a log whose records, but the last one, were all there before the log was.
pub(crate) fn upgraded(envelope: &[u8]) -> Vec<u8> {
    let mut payload = payload(envelope);
    let last = payload.records.len() - 1;
    let upgrade = |text: &mut String| {
        let mut leaf: Leaf = serde_json::from_str(text).unwrap();
        leaf.upgraded = true;
        *text = leaf.text();
    };
    payload.records[..last]
        .iter_mut()
        .for_each(|packed| upgrade(&mut packed.leaf));
    payload.leaves.iter_mut().for_each(upgrade);
    let mut leaves: Vec<(u64, String)> = payload
        .records
        .iter()
        .map(|packed| &packed.leaf)
        .chain(&payload.leaves)
        .map(|text| (serde_json::from_str::<Leaf>(text).unwrap().position, text.clone()))
        .collect();
    leaves.sort();
    let mut tree = RootBuilder::default();
    for (_, text) in &leaves {
        tree.push(leaf_hash(text));
    }
    let checkpoint = Checkpoint {
        origin: key().name().to_owned(),
        size: payload.manifest.tree_size,
        root: tree.root(),
    };
    payload.manifest.root = checkpoint.root;
    payload.checkpoint = signing(2).note(&checkpoint.text());
    sealed(&payload)
}

pub(crate) fn report(package: &[u8], previous: Option<&[u8]>, key: Option<&VerifierKey>) -> Report {
    Report::of(Input {
        package: package.to_vec(),
        asked: Asked {
            trust: Trust { key },
            previous,
            ..Asked::default()
        },
        made_at: at("2026-06-02T08:00:00Z"),
    })
}
