//! What a package says of itself, as far as it can be read. Nothing here judges: a package that fails its verification
//! is read like any other, and every form of report says that what follows is only what the file says.
//!
//! Routes are kept as places in the package's text and read again, one at a time, by whoever writes them: a hundred
//! thousand of them take no more memory than their text does.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use cavra_domain::audit_package::NOT_REQUIRED;
use cavra_domain::time::Timestamp;
use cavra_evidence::dsse::Message;
use cavra_evidence::leaf::Leaf;
use cavra_evidence::note::{VerifierKey, verify_endorsement};
use cavra_evidence::package::{KeyEntry, Manifest};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What can be read of a package.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Why something is missing below; none when everything could be read.
    pub(crate) unreadable: Option<&'static str>,
    pub(crate) header: Option<Header>,
    pub(crate) keys: Vec<Key>,
    pub(crate) checkpoint: Option<String>,
    pub(crate) manifest: Option<Manifest>,
    /// The routes, by schedule and cycle.
    pub(crate) groups: Vec<Group>,
    /// Entries of the list of routes that are none.
    pub(crate) strange: Vec<usize>,
    text: String,
    routes: Vec<Range<usize>>,
    marks: BTreeMap<String, Mark>,
}

/// The package's header, as far as reports show it.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) audit_id: String,
    pub(crate) generated_at: String,
    pub(crate) as_of: Option<AsOf>,
    #[serde(default)]
    pub(crate) generated_by: String,
    pub(crate) filters: Filters,
    pub(crate) route_count: u64,
    pub(crate) acknowledgement_count: u64,
    pub(crate) acknowledged_count: u64,
    pub(crate) resolved_count: u64,
    pub(crate) escalated_count: u64,
    pub(crate) dismissed_count: u64,
    pub(crate) outstanding_count: u64,
    pub(crate) breached_count: u64,
    pub(crate) suppressed_count: u64,
    pub(crate) alert_level: String,
    pub(crate) population: Population,
    pub(crate) evidence: Evidence,
    // Nothing follows from these two, so that they may be missing.
    #[serde(default)]
    pub(crate) actor: Actor,
    #[serde(default)]
    pub(crate) software: Software,
}

#[derive(Debug, Deserialize)]
pub(crate) struct AsOf {
    pub(crate) log_position: u64,
    pub(crate) at: String,
}

/// The scope, term by term.
#[derive(Debug, Deserialize)]
pub(crate) struct Filters {
    pub(crate) schedule_id: String,
    pub(crate) owner: String,
    pub(crate) provider: String,
    pub(crate) state: String,
    pub(crate) action: String,
    pub(crate) category: String,
    pub(crate) breached: Option<bool>,
    pub(crate) cycle: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Population {
    pub(crate) known: u64,
    pub(crate) matched: u64,
    pub(crate) left_out: LeftOut,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) schedule_id: u64,
    pub(crate) owner: u64,
    pub(crate) provider: u64,
    pub(crate) state: u64,
    pub(crate) action: u64,
    pub(crate) category: u64,
    pub(crate) breached: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) record_count: u64,
    pub(crate) log_position: u64,
    pub(crate) orphaned_acknowledgement_count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Actor {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) verified: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Software {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A term of the filter: its name, what was asked for (empty when nothing was), how many routes it left out.
#[derive(Debug)]
pub(crate) struct Term<'a> {
    pub(crate) name: &'static str,
    pub(crate) asked: &'a str,
    pub(crate) left_out: u64,
}

impl Header {
    /// The terms of the filter in the order in which they leave routes out.
    pub(crate) fn terms(&self) -> [Term<'_>; 7] {
        let (filters, left_out) = (&self.filters, &self.population.left_out);
        let breached = match filters.breached {
            None => "",
            Some(true) => "true",
            Some(false) => "false",
        };
        [
            ("schedule_id", filters.schedule_id.as_str(), left_out.schedule_id),
            ("owner", &filters.owner, left_out.owner),
            ("provider", &filters.provider, left_out.provider),
            ("state", &filters.state, left_out.state),
            ("action", &filters.action, left_out.action),
            ("category", &filters.category, left_out.category),
            ("breached", breached, left_out.breached),
        ]
        .map(|(name, asked, left_out)| Term {
            name,
            asked,
            left_out,
        })
    }

    /// When breach and age are judged.
    pub(crate) fn judged_at(&self) -> &str {
        self.as_of
            .as_ref()
            .map_or(self.generated_at.as_str(), |as_of| as_of.at.as_str())
    }
}

/// A key of the log.
#[derive(Debug)]
pub(crate) struct Key {
    /// The whole public key.
    pub(crate) text: String,
    /// Its name and hash, when it is one.
    pub(crate) id: Option<String>,
    /// When the key before it endorsed it, if that endorsement is right.
    pub(crate) endorsed_at: Option<Timestamp>,
}

/// Where a record stands in the log, and how it came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: u64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) imported: bool,
    pub(crate) upgraded: bool,
}

/// The routes of one schedule in one cycle.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) schedule_id: String,
    pub(crate) plan_id: String,
    pub(crate) breached: u64,
    /// How many routes have which state, in the order of the alphabet.
    pub(crate) states: BTreeMap<String, u64>,
    /// Which routes, by owner and provider.
    pub(crate) routes: Vec<usize>,
}

/// A route as the package writes it.
#[expect(clippy::struct_field_names, reason = "the names of the package")]
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route<'a> {
    #[serde(borrow)]
    pub(crate) route_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) schedule_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) plan_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) provider: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) owner: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) escalation_owner: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) route_action: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) category: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) route_created_at: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) acknowledgement_state: Cow<'a, str>,
    pub(crate) acknowledged: bool,
    #[serde(borrow)]
    pub(crate) acknowledged_by: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) acknowledged_at: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) external_ref: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) notes: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) acknowledgement_id: Cow<'a, str>,
    pub(crate) breached: bool,
    pub(crate) age_minutes: f64,
    pub(crate) acknowledgement_minutes: u32,
    pub(crate) revision: u64,
    #[serde(borrow)]
    pub(crate) acknowledgements: Vec<Entry<'a>>,
}

/// An entry of a route's history.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry<'a> {
    #[serde(borrow)]
    pub(crate) acknowledgement_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) acknowledgement_state: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) undoes: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) acknowledged_by: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) acknowledged_at: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) external_ref: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) notes: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) issuer: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) subject: Cow<'a, str>,
    pub(crate) verified: bool,
    #[serde(borrow)]
    pub(crate) effect: Cow<'a, str>,
}

impl Route<'_> {
    /// The deadline, by the domain's rule; empty when there is none, or the beginning is no time.
    pub(crate) fn deadline_at(&self) -> String {
        if self.acknowledgement_state == NOT_REQUIRED {
            return String::new();
        }
        Timestamp::parse(&self.route_created_at).map_or_else(
            |_| String::new(),
            |at| at.plus_minutes(self.acknowledgement_minutes).to_string(),
        )
    }

    /// The entry whose answer stands.
    pub(crate) fn standing(&self) -> Option<&Entry<'_>> {
        self.acknowledgements.iter().find(|entry| self.holds(entry))
    }

    /// Whether an entry is the answer that stands.
    pub(crate) fn holds(&self, entry: &Entry<'_>) -> bool {
        !self.acknowledgement_id.is_empty()
            && entry.acknowledgement_id == self.acknowledgement_id
            && entry.undoes.is_empty()
    }
}

#[derive(Deserialize)]
struct Routes<'a> {
    #[serde(borrow)]
    routes: Vec<&'a RawValue>,
}

/// What reports show of a payload. Its records stay where they are until one of them is looked at.
#[derive(Deserialize)]
struct Payload<'a> {
    audit_package: String,
    #[serde(borrow)]
    records: Vec<Record<'a>>,
    keys: Vec<KeyEntry>,
    checkpoint: String,
    manifest: Manifest,
}

/// A record as it lies in a payload: two JSON texts within JSON.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    leaf: &'a RawValue,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// A record, as far as it says which one it is.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    session_id: Cow<'a, str>,
}

impl Content {
    /// Reads a package, as far as that goes; none is what is no envelope.
    pub(crate) fn read(message: Option<Message>) -> Self {
        let nothing = |unreadable| Self {
            unreadable: Some(unreadable),
            ..Self::default()
        };
        let Some(message) = message else {
            return nothing("The file is no envelope, so nothing of it can be shown.");
        };
        let read = || {
            let payload: Payload<'_> = serde_json::from_slice(message.payload()).ok()?;
            Some(Self {
                keys: keys(&payload.keys),
                checkpoint: Some(payload.checkpoint),
                manifest: Some(payload.manifest),
                marks: marks(&payload.records)?,
                text: payload.audit_package,
                ..Self::default()
            })
        };
        let Some(mut content) = read() else {
            return nothing("The payload is not that of an audit package, so nothing of it can be shown.");
        };
        drop(message);
        content.find_routes();
        content.header = serde_json::from_str(&content.text).ok();
        if content.header.is_none() {
            content.unreadable = Some("What the package says of itself cannot be read.");
        }
        content
    }

    fn find_routes(&mut self) {
        let Ok(Routes { routes }) = serde_json::from_str::<Routes<'_>>(&self.text) else {
            self.unreadable = Some("The list of routes cannot be read, so no route is shown.");
            return;
        };
        let begin = self.text.as_ptr().addr();
        let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut named: Vec<(String, String)> = Vec::with_capacity(routes.len());
        for (number, raw) in routes.iter().enumerate() {
            // Borrowed from the text, so it lies within.
            let at = raw.get().as_ptr().addr() - begin;
            self.routes.push(at..at + raw.get().len());
            let Ok(route) = serde_json::from_str::<Route<'_>>(raw.get()) else {
                self.strange.push(number);
                named.push((String::new(), String::new()));
                continue;
            };
            let key = (route.schedule_id.into_owned(), route.plan_id.into_owned());
            let groups = &mut self.groups;
            let place = *found.entry(key).or_insert_with_key(|(schedule_id, plan_id)| {
                groups.push(Group {
                    schedule_id: schedule_id.clone(),
                    plan_id: plan_id.clone(),
                    breached: 0,
                    states: BTreeMap::new(),
                    routes: Vec::new(),
                });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(place) {
                group.breached += u64::from(route.breached);
                *group
                    .states
                    .entry(route.acknowledgement_state.into_owned())
                    .or_default() += 1;
                group.routes.push(number);
            }
            named.push((route.owner.into_owned(), route.provider.into_owned()));
        }
        // By schedule; the cycles of one stay in the package's order, newest first.
        self.groups.sort_by(|a, b| a.schedule_id.cmp(&b.schedule_id));
        for group in &mut self.groups {
            group.routes.sort_by(|a, b| named.get(*a).cmp(&named.get(*b)));
        }
        if !self.strange.is_empty() {
            self.unreadable =
                Some("Some entries of the list of routes are no routes; they are shown as they are.");
        }
    }

    /// How many entries the list of routes has.
    pub(crate) const fn route_count(&self) -> usize {
        self.routes.len()
    }

    /// The text of an entry of the list of routes.
    pub(crate) fn raw(&self, number: usize) -> &str {
        self.routes
            .get(number)
            .and_then(|place| self.text.get(place.clone()))
            .unwrap_or_default()
    }

    /// A route; none where the entry is no route.
    pub(crate) fn route(&self, number: usize) -> Option<Route<'_>> {
        serde_json::from_str(self.raw(number)).ok()
    }

    /// The mark of a record: an acknowledgement, an undo or a plan.
    pub(crate) fn mark(&self, id: &str) -> Option<Mark> {
        self.marks.get(id).copied()
    }

    /// The package's id; empty when it cannot be read.
    pub(crate) fn audit_id(&self) -> &str {
        self.header.as_ref().map_or("", |header| header.audit_id.as_str())
    }
}

fn keys(entries: &[KeyEntry]) -> Vec<Key> {
    let mut before: Option<VerifierKey> = None;
    entries
        .iter()
        .map(|entry| {
            let key = VerifierKey::parse(&entry.key).ok();
            let endorsed_at = match (&entry.endorsement, &before, &key) {
                (Some(note), Some(before), Some(key)) => verify_endorsement(note, before, key).ok(),
                _ => None,
            };
            let id = key.as_ref().map(VerifierKey::key_id);
            before = key;
            Key {
                text: entry.key.clone(),
                id,
                endorsed_at,
            }
        })
        .collect()
}

/// A leaf and its record have their place by the record's own id. What cannot be read has none; where a text should be
/// and is none, nothing can be read.
fn marks(records: &[Record<'_>]) -> Option<BTreeMap<String, Mark>> {
    let mut marks: BTreeMap<String, Mark> = BTreeMap::new();
    for packed in records {
        let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
        let (leaf, record) = (text(packed.leaf)?, text(packed.record)?);
        let (Ok(leaf), Ok(named)) = (
            serde_json::from_str::<Leaf>(&leaf),
            serde_json::from_str::<Named<'_>>(&record),
        ) else {
            continue;
        };
        let mark = marks.entry(named.session_id.into_owned()).or_insert(Mark {
            position: leaf.position,
            recorded_at: leaf.recorded_at,
            imported: false,
            upgraded: false,
        });
        // Two records of one id are told apart by nobody: what is said of one of them is said of both.
        mark.imported |= leaf.imported;
        mark.upgraded |= leaf.upgraded;
    }
    Some(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = r#"{"route_id":"r","schedule_id":"s","plan_id":"p","provider":"slack","owner":"a\"b","escalation_owner":"","route_action":"deliver","category":"deliver","route_created_at":"2026-06-01T08:00:00.000000Z","acknowledgement_state":"acknowledged","acknowledged":true,"acknowledged_by":"ana","acknowledged_at":"2026-06-01T09:00:00.000000Z","external_ref":"","notes":"","acknowledgement_id":"x","breached":false,"age_minutes":95.25,"acknowledgement_minutes":45,"revision":1,"acknowledgements":[{"acknowledgement_id":"x","acknowledgement_state":"acknowledged","undoes":"","acknowledged_by":"ana","acknowledged_at":"2026-06-01T09:00:00.000000Z","external_ref":"","notes":"","issuer":"local","subject":"ana","verified":false,"effect":"change"}]}"#;

    #[test]
    fn a_route_is_read_to_the_last_member() {
        let route: Route<'_> = serde_json::from_str(ROUTE).unwrap();
        assert_eq!(serde_json::to_string(&route).unwrap(), ROUTE);
        assert_eq!(route.deadline_at(), "2026-06-01T08:45:00.000000Z");
        assert_eq!(route.standing().map(|entry| entry.subject.as_ref()), Some("ana"));
    }

    #[test]
    fn an_entry_that_is_no_route_is_kept_as_it_is() {
        let mut content = Content {
            text: format!("{{\"routes\":[{ROUTE},{{\"route_id\":7}} , 12]}}"),
            ..Content::default()
        };
        content.find_routes();
        assert_eq!(
            (content.route_count(), content.strange.as_slice()),
            (3, &[1, 2][..])
        );
        assert_eq!((content.raw(1), content.raw(2)), (r#"{"route_id":7}"#, "12"));
        assert_eq!(content.groups.len(), 1);
        assert!(content.unreadable.is_some());
    }

    #[test]
    fn what_is_no_package_is_read_as_nothing() {
        for envelope in [
            "",
            "{}",
            "[]",
            r#"{"payload":"e30=","payloadType":"x","signatures":[]}"#,
        ] {
            let content = Content::read(Message::open(envelope.as_bytes().to_vec()).ok());
            assert!(
                content.unreadable.is_some() && content.header.is_none(),
                "{envelope}"
            );
            assert_eq!(content.route_count(), 0);
        }
    }
}
