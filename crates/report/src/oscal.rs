//! OSCAL assessment results (NIST, version 1.1.3): what was verified, every route, and which controls the package
//! supports.
//!
//! OSCAL knows two states of a finding, `satisfied` and `not-satisfied`. Whether a control is met is for an assessor to
//! judge, so no finding here is ever `satisfied`: each is `not-satisfied` for the reason `other` ("not determined"), or
//! `fail` when the package is not verified. The property `support` says what the package is worth. See ADR 0030.

use std::cell::Cell;
use std::io::{self, Write};

use cavra_domain::time::Timestamp;
use cavra_evidence::digest::Digest;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::content::{Entry, Route};
use crate::words::{self, CHECKS, CONTROLS, Outcome, deceives};
use crate::{Report, Standing};

/// The version of the model.
pub const OSCAL_VERSION: &str = "1.1.3";

/// The namespace of the properties that OSCAL does not define.
pub const NAMESPACE: &str = "https://github.com/cavra-drills/cavra/ns/oscal";

/// Writes the document, one observation after the other.
///
/// # Errors
/// The writer's.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let made = Made::of(report);
    let mut serializer = serde_json::Serializer::new(&mut *out);
    made.serialize(&mut serializer)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Names of things in the document. The same package gives the same ids, whoever verifies it and whenever.
struct Ids(Uuid);

impl Ids {
    fn of(package: Digest) -> Self {
        let own = Uuid::new_v5(&Uuid::NAMESPACE_URL, NAMESPACE.as_bytes());
        Self(Uuid::new_v5(&own, package.to_hex().as_bytes()))
    }

    fn id(&self, name: &str) -> String {
        Uuid::new_v5(&self.0, name.as_bytes()).to_string()
    }
}

struct Made<'a> {
    report: &'a Report,
    ids: Ids,
    /// When the package's evidence stands.
    collected: String,
}

impl<'a> Made<'a> {
    fn of(report: &'a Report) -> Self {
        let judged = report
            .content
            .header
            .as_ref()
            .map(super::content::Header::judged_at);
        Self {
            report,
            ids: Ids::of(report.digest),
            collected: judged
                .and_then(|at| Timestamp::parse(at).ok())
                .map_or_else(|| time(report.made_at), time),
        }
    }

    /// The document's own id: another verification of the same package is another document.
    fn document(&self) -> String {
        let report = self.report;
        let previous = report.previous_digest.map(|digest| digest.to_hex());
        let parts = [
            "assessment-results",
            &time(report.made_at),
            report.standing().label(),
            report.trusted.as_deref().unwrap_or_default(),
            previous.as_deref().unwrap_or_default(),
            &report.witnesses.join(" "),
        ];
        self.ids.id(&parts.join("\n"))
    }

    fn metadata(&self) -> Value {
        let label = self.report.standing().label();
        json!({
            "title": format!("Audit package of rollback drills: {label}"),
            "last-modified": time(self.report.made_at),
            "version": "1",
            "oscal-version": OSCAL_VERSION,
            "props": props(&[
                ("verification", label),
                ("package-file-sha256", &self.report.digest.to_hex()),
            ]),
            "remarks": format!(
                "{} Made by `cavra report` {} out of a signed audit package, without an assessment plan.",
                self.report.standing().sentence(),
                env!("CARGO_PKG_VERSION")
            ),
        })
    }

    fn result_head(&self) -> Vec<(&'static str, Value)> {
        let report = self.report;
        let label = report.standing().label();
        vec![
            ("uuid", json!(self.ids.id("result"))),
            (
                "title",
                json!(format!("Verification of an audit package: {label}")),
            ),
            (
                "description",
                json!(format!(
                    "{} {}",
                    report.standing().sentence(),
                    report.scope_sentence()
                )),
            ),
            ("start", json!(self.collected)),
            ("end", json!(self.collected)),
            ("props", props(&[("verification", label)])),
            (
                "local-definitions",
                json!({ "assessment-assets": { "assessment-platforms": [{
                    "uuid": self.ids.id("platform"),
                    "title": format!("cavra report {}", env!("CARGO_PKG_VERSION")),
                }] } }),
            ),
            (
                "reviewed-controls",
                json!({
                    "description": "Controls that such a package supports. Whether one is met is for an assessor to judge.",
                    "control-selections": [{ "include-controls":
                        CONTROLS.iter().map(|control| json!({ "control-id": control.id })).collect::<Vec<_>>() }],
                }),
            ),
        ]
    }

    fn result_tail(&self) -> Vec<(&'static str, Value)> {
        vec![
            (
                "findings",
                CONTROLS.iter().map(|control| self.finding(control)).collect(),
            ),
            (
                "remarks",
                json!(format!(
                    "What this package does not show:\n\n* {}",
                    self.report.limits().join("\n* ")
                )),
            ),
        ]
    }

    fn observation(&self, name: &str, title: &str, description: &str, properties: &Value) -> Value {
        let mut made = json!({
            "uuid": self.ids.id(name),
            "title": title,
            "description": description,
            "props": properties,
            "methods": ["TEST"],
            "types": ["finding"],
            "origins": [{ "actors": [{ "type": "assessment-platform", "actor-uuid": self.ids.id("platform") }] }],
            "subjects": [{ "subject-uuid": self.ids.id("package"), "type": "resource" }],
            "collected": self.collected,
        });
        if properties.as_array().is_none_or(Vec::is_empty)
            && let Some(members) = made.as_object_mut()
        {
            members.shift_remove("props");
        }
        made
    }

    /// What was found about the package as a whole.
    fn verification(&self) -> Value {
        let report = self.report;
        let found = &report.found;
        let mut lines = vec![report.standing().sentence().to_owned()];
        if let Some(failure) = &found.failure {
            lines.push(format!(
                "First wrong element: {}: {}.",
                markup(&failure.element),
                markup(&failure.problem)
            ));
        }
        let mut pairs: Vec<(String, String)> =
            vec![("verification".into(), report.standing().label().into())];
        if let Some(failure) = &found.failure {
            pairs.push(("first-wrong-element".into(), failure.element.clone()));
            pairs.push(("first-problem".into(), failure.problem.clone()));
        }
        for check in CHECKS {
            let outcome = report.outcome(check);
            pairs.push((format!("check-{}", check_name(check)), outcome.as_str().into()));
            if outcome != Outcome::NotAsked {
                lines.push(format!(
                    "* {} ({}): {}",
                    check_name(check),
                    outcome.as_str(),
                    report.explained(check)
                ));
            }
        }
        for (name, value) in [
            ("signed-by", found.signed_by.clone()),
            ("trusted-key", report.trusted.clone()),
            ("tree-size", found.tree_size.map(|size| size.to_string())),
            ("root", found.root.map(|root| root.to_hex())),
            (
                "previous-tree-size",
                found.previous_tree_size.map(|size| size.to_string()),
            ),
            (
                "previous-file-sha256",
                report.previous_digest.map(|digest| digest.to_hex()),
            ),
        ] {
            pairs.extend(value.map(|value| (name.to_owned(), value)));
        }
        for seen in &found.cosignatures {
            let name = if seen.checked {
                "cosigned-by"
            } else {
                "cosignature-not-checked"
            };
            let at = seen.cosigned_at.map_or(String::new(), |at| format!(" at {at}"));
            pairs.push((
                name.into(),
                format!("{}, {} leaves{at}", seen.witness, seen.tree_size),
            ));
        }
        self.observation(
            "verification",
            "Verification of the package",
            &lines.join("\n"),
            &owned_props(&pairs),
        )
    }

    /// What the package says of its scope, its counts and itself.
    fn scope(&self) -> Option<Value> {
        let header = self.report.content.header.as_ref()?;
        let mut pairs: Vec<(String, String)> = [
            ("audit-id", header.audit_id.clone()),
            ("generated-at", header.generated_at.clone()),
            ("judged-at", header.judged_at().to_owned()),
            ("generated-by", header.generated_by.clone()),
            ("cycle", header.filters.cycle.clone()),
            ("routes-known", header.population.known.to_string()),
            ("routes-in-the-package", header.population.matched.to_string()),
            ("route-count", header.route_count.to_string()),
            ("outstanding-count", header.outstanding_count.to_string()),
            ("escalated-count", header.escalated_count.to_string()),
            ("acknowledged-count", header.acknowledged_count.to_string()),
            ("resolved-count", header.resolved_count.to_string()),
            ("dismissed-count", header.dismissed_count.to_string()),
            ("breached-count", header.breached_count.to_string()),
            ("suppressed-count", header.suppressed_count.to_string()),
            ("acknowledgement-count", header.acknowledgement_count.to_string()),
            ("alert-level", header.alert_level.clone()),
            ("record-count", header.evidence.record_count.to_string()),
            ("log-position", header.evidence.log_position.to_string()),
            (
                "orphaned-acknowledgement-count",
                header.evidence.orphaned_acknowledgement_count.to_string(),
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        for term in header.terms() {
            let name = term.name.replace('_', "-");
            pairs.push((format!("filter-{name}"), term.asked.to_owned()));
            pairs.push((format!("left-out-by-{name}"), term.left_out.to_string()));
        }
        Some(self.observation(
            "scope",
            "Scope, population and counts",
            self.report.scope_sentence(),
            &owned_props(&pairs),
        ))
    }

    fn route(&self, number: usize) -> Value {
        let name = format!("route {number}");
        let Some(route) = self.report.content.route(number) else {
            let shown = markup(self.report.content.raw(number));
            return self.observation(&name, "An entry that is no route", &shown, &json!([]));
        };
        let title = format!(
            "Route of {} over {}: {}{}",
            line(&route.owner),
            line(&route.provider),
            line(words::state(&route.acknowledgement_state)),
            if route.breached { ", breached" } else { "" },
        );
        let deadline = route.deadline_at();
        let description = format!(
            "{title}. Schedule {}, cycle {}; {}.",
            line(&route.schedule_id),
            line(&route.plan_id),
            if deadline.is_empty() {
                "no answer was due".to_owned()
            } else {
                format!("an answer was due at {deadline}")
            }
        );
        let properties = self.route_props(&route);
        let mut made = self.observation(&name, &title, &description, &properties);
        if let Some(members) = made.as_object_mut() {
            if !route.acknowledgements.is_empty() {
                let evidence: Vec<Value> = route
                    .acknowledgements
                    .iter()
                    .map(|entry| self.evidence(&route, entry))
                    .collect();
                members.insert("relevant-evidence".into(), json!(evidence));
            }
            if !route.notes.trim().is_empty() {
                members.insert("remarks".into(), json!(markup(&route.notes)));
            }
        }
        made
    }

    fn route_props(&self, route: &Route<'_>) -> Value {
        let mark = self.report.content.mark(&route.plan_id);
        props(&[
            ("verification", self.report.standing().label()),
            ("route-id", &route.route_id),
            ("schedule-id", &route.schedule_id),
            ("plan-id", &route.plan_id),
            ("plan-origin", words::origin(mark)),
            ("provider", &route.provider),
            ("owner", &route.owner),
            ("escalation-owner", &route.escalation_owner),
            ("route-action", &route.route_action),
            ("category", &route.category),
            ("route-created-at", &route.route_created_at),
            (
                "acknowledgement-minutes",
                &route.acknowledgement_minutes.to_string(),
            ),
            ("deadline-at", &route.deadline_at()),
            ("age-minutes", &route.age_minutes.to_string()),
            ("state", &route.acknowledgement_state),
            ("breached", if route.breached { "true" } else { "false" }),
            ("revision", &route.revision.to_string()),
            ("acknowledged-by", &route.acknowledged_by),
            ("acknowledged-at", &route.acknowledged_at),
            ("external-ref", &route.external_ref),
            ("acknowledgement-id", &route.acknowledgement_id),
        ])
    }

    /// An entry of a route's history.
    fn evidence(&self, route: &Route<'_>, entry: &Entry<'_>) -> Value {
        let mark = self.report.content.mark(&entry.acknowledgement_id);
        let mut made = json!({
            "description": format!(
                "{} by {} at {}: {}.",
                line(&entry.acknowledgement_state),
                line(&entry.acknowledged_by),
                line(&entry.acknowledged_at),
                line(words::effect(&entry.effect))
            ),
            "props": props(&[
                ("acknowledgement-id", &entry.acknowledgement_id),
                ("said", &entry.acknowledgement_state),
                ("undoes", &entry.undoes),
                ("acknowledged-by", &entry.acknowledged_by),
                ("acknowledged-at", &entry.acknowledged_at),
                ("external-ref", &entry.external_ref),
                ("actor-issuer", &entry.issuer),
                ("actor-subject", &entry.subject),
                ("actor-proven-by-token", if entry.verified { "true" } else { "false" }),
                ("effect", &entry.effect),
                ("holds-the-state", if route.holds(entry) { "true" } else { "false" }),
                ("record-origin", words::origin(mark)),
                ("record-log-position", &mark.map_or_else(String::new, |mark| mark.position.to_string())),
                ("record-recorded-at", &mark.map_or_else(String::new, |mark| mark.recorded_at.to_string())),
            ]),
        });
        if !entry.notes.trim().is_empty()
            && let Some(members) = made.as_object_mut()
        {
            members.insert("remarks".into(), json!(markup(&entry.notes)));
        }
        made
    }

    fn finding(&self, control: &words::Control) -> Value {
        let standing = self.report.standing();
        let (support, reason, says) = match standing {
            Standing::Verified => (
                "supports",
                "other",
                format!("The verified package supports {}: {}.", control.title, control.by),
            ),
            Standing::ConsistentOnly | Standing::Unsigned => (
                "supports-if-trusted",
                "other",
                format!(
                    "The package would support {} ({}), if a key from out of band showed who made it. That was not shown.",
                    control.title, control.by
                ),
            ),
            Standing::Failed => (
                "none",
                "fail",
                format!(
                    "The package is NOT VERIFIED, so it supports nothing about {}.",
                    control.title
                ),
            ),
        };
        let mut pairs = vec![("support", support)];
        pairs.extend(self.report.scope_name().map(|scope| ("scope", scope)));
        pairs.extend(control.related.map(|related| ("related-control", related)));
        let mut observations = vec![json!({ "observation-uuid": self.ids.id("verification") })];
        if self.report.content.header.is_some() {
            observations.push(json!({ "observation-uuid": self.ids.id("scope") }));
        }
        json!({
            "uuid": self.ids.id(&format!("finding {}", control.id)),
            "title": control.title,
            "description": says,
            "props": props(&pairs),
            "target": {
                "type": "objective-id",
                "target-id": format!("{}_obj", control.id),
                "status": {
                    "state": "not-satisfied",
                    "reason": reason,
                    "remarks": "OSCAL has two states. Neither this program nor a package can say that a control is satisfied, so \
                                the state is the other one. It does not mean that the control is not met: that is not determined \
                                here, and for an assessor to judge.",
                },
            },
            "related-observations": observations,
        })
    }

    fn back_matter(&self) -> Value {
        let report = self.report;
        let audit_id = line(report.content.audit_id());
        json!({ "resources": [
            {
                "uuid": self.ids.id("package"),
                "title": "The signed audit package",
                "description": format!(
                    "{}The file that was verified, `application/vnd.dsse+json`, with the SHA-256 {}.",
                    if audit_id.is_empty() { String::new() } else { format!("Package {audit_id}. ") },
                    report.digest.to_hex()
                ),
                "props": props(&[
                    ("audit-id", report.content.audit_id()),
                    ("package-file-sha256", &report.digest.to_hex()),
                ]),
            },
            {
                "uuid": self.ids.id("no plan"),
                "title": "No assessment plan",
                "description": "These results follow from a package's own evidence. No assessment plan governs them.",
            },
        ] })
    }
}

impl Serialize for Made<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut outer = serializer.serialize_map(Some(1))?;
        outer.serialize_entry("assessment-results", &Results(self))?;
        outer.end()
    }
}

struct Results<'a>(&'a Made<'a>);

impl Serialize for Results<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let made = self.0;
        let mut results = serializer.serialize_map(Some(5))?;
        results.serialize_entry("uuid", &made.document())?;
        results.serialize_entry("metadata", &made.metadata())?;
        results.serialize_entry(
            "import-ap",
            &json!({
                "href": format!("#{}", made.ids.id("no plan")),
                "remarks": "There is no assessment plan; the resource says so.",
            }),
        )?;
        results.serialize_entry("results", &[ResultOf(made)])?;
        results.serialize_entry("back-matter", &made.back_matter())?;
        results.end()
    }
}

struct ResultOf<'a>(&'a Made<'a>);

impl Serialize for ResultOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let made = self.0;
        let mut result = serializer.serialize_map(None)?;
        for (name, value) in made.result_head() {
            result.serialize_entry(name, &value)?;
        }
        let observations = std::iter::once(made.verification())
            .chain(made.scope())
            .chain((0..made.report.content.route_count()).map(|number| made.route(number)));
        result.serialize_entry("observations", &Streamed(Cell::new(Some(observations))))?;
        for (name, value) in made.result_tail() {
            result.serialize_entry(name, &value)?;
        }
        result.end()
    }
}

/// A list whose items are made while they are written.
struct Streamed<I>(Cell<Option<I>>);

impl<I: Iterator<Item = Value>> Serialize for Streamed<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.take().into_iter().flatten())
    }
}

fn check_name(check: cavra_evidence::verify::CheckName) -> String {
    match serde_json::to_value(check) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// A time as OSCAL's schema takes it: years 1900 to 2999. Others are pulled to the nearer end.
fn time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.get(..4) {
        Some(year) if year < "1900" => "1900-01-01T00:00:00.000000Z".to_owned(),
        Some(year) if year > "2999" => "2999-12-31T23:59:59.999999Z".to_owned(),
        _ => text,
    }
}

/// Properties of our namespace; those without a value are left out, since OSCAL has no empty value.
fn props(pairs: &[(&str, &str)]) -> Value {
    pairs
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| json!({ "name": name, "ns": NAMESPACE, "value": property(value) }))
        .collect()
}

fn owned_props(pairs: &[(String, String)]) -> Value {
    let pairs: Vec<(&str, &str)> = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    props(&pairs)
}

fn named(c: char) -> String {
    format!("<U+{:04X}>", u32::from(c))
}

/// A text as OSCAL's values may be: one line that neither begins nor ends with white space. A character that may not
/// stand where it stands is named.
fn property(text: &str) -> String {
    let outer = |part: &str| part.chars().map(named).collect::<String>();
    let inner = text.trim();
    let begin = text.len() - text.trim_start().len();
    let mut value = outer(text.get(..begin).unwrap_or_default());
    for c in inner.chars() {
        if c == '\n' || deceives(c) {
            value.push_str(&named(c));
        } else {
            value.push(c);
        }
    }
    if !inner.is_empty() {
        value.push_str(&outer(text.get(begin + inner.len()..).unwrap_or_default()));
    }
    value
}

/// Somebody else's text within markup: nothing of it is markup.
fn markup(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) {
            escaped.push('\\');
            escaped.push_str(&named(c).replace('>', "\\>"));
            continue;
        }
        if matches!(
            c,
            '\\' | '`'
                | '*'
                | '_'
                | '{'
                | '}'
                | '['
                | ']'
                | '<'
                | '>'
                | '#'
                | '|'
                | '~'
                | '^'
                | '&'
                | '!'
                | '"'
                | '$'
        ) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The same on one line.
fn line(text: &str) -> String {
    markup(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_one_line_without_white_space_around_it() {
        for (text, value) in [
            ("a b", "a b"),
            (" a\n", "<U+0020>a<U+000A>"),
            ("a\nb\u{202e}c", "a<U+000A>b<U+202E>c"),
            ("  ", "<U+0020><U+0020>"),
        ] {
            assert_eq!(property(text), value);
        }
    }

    #[test]
    fn foreign_text_is_no_markup() {
        assert_eq!(
            markup("**VERIFIED** [x](javascript:1) <b>"),
            "\\*\\*VERIFIED\\*\\* \\[x\\](javascript:1) \\<b\\>"
        );
        assert_eq!(line("a\nb"), "a b");
    }

    #[test]
    fn a_time_outside_of_what_the_schema_takes_is_pulled_in() {
        assert_eq!(time(Timestamp::MIN), "1900-01-01T00:00:00.000000Z");
        assert_eq!(time(Timestamp::MAX), "2999-12-31T23:59:59.999999Z");
        let now = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
        assert_eq!(time(now), "2026-06-01T12:00:00.000000Z");
    }

    proptest! {
        #[test]
        fn every_text_makes_a_value_that_the_schema_takes(text in any::<String>()) {
            let value = property(&text);
            prop_assert_eq!(value.is_empty(), text.is_empty());
            prop_assert_eq!(value.trim(), value.as_str());
            let breaks = value.contains(['\n', '\r', '\u{2028}', '\u{2029}']);
            prop_assert!(!breaks);
        }
    }
}
