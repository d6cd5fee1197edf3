//! Request bodies and query parameters. Unknown keys are refused; keys that published clients send and this
//! service has no use for are named here and do nothing (see `docs/compatibility.md`).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use cavra_app::acknowledge::{Acknowledge, Undo};
use cavra_app::as_of::AsOf;
use cavra_app::bulk::{Bulk, BulkSelection, UndoBulk};
use cavra_app::plan::Deliver;
use cavra_app::views::{DEFAULT_PAGE, HistoryFilter, MAX_PAGE, Paging, RouteSort, SummaryBy};
use cavra_domain::acknowledgement::{AckState, EXTERNAL_REF, NOTES};
use cavra_domain::actor::Actor;
use cavra_domain::bulk::{BulkMode, ListedRoute, MAX_LISTED_ROUTES};
use cavra_domain::escalation::EscalationPolicy;
use cavra_domain::evidence::HistoryTerm;
use cavra_domain::id::{AcknowledgementId, BulkId, PlanId, ScheduleId};
use cavra_domain::preview::is_digest;
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::route::{Cycles, FilterTerms, MAX_NAME_CHARS, Provider, RouteFilter, StateName};
use cavra_domain::schedule::RequestedProviders;
use cavra_domain::undo::REASON;
use cavra_rbac::Caller;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::error::{Code, Problem};
use crate::extract::Checks;

mod release;

pub(crate) use release::{
    ArchiveHealthBody, ArchiveHealthQuery, ArchiveReferenceBody, DeliveryBody, ExportBody, RetryPlanBody,
};

/// Who makes something when the request does not say: what published clients get.
const DEFAULT_AUTHOR: &str = "console";

/// What a published client sends and this service does nothing with.
type Ignored = Option<Value>;

/// An owner's name.
const OWNER: Field = Field::line("owner", MAX_NAME_CHARS);

/// A value of a history filter.
const TERM: Field = Field::line("parameter", 300);

/// A nested body that has to be a JSON object: serde would take a list of the members' values as well.
#[derive(Debug)]
pub struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// An optional text, where an empty one is none.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.trim().is_empty())
}

/// The actor of a request that has to name one, unless a token does.
fn actor(checks: &mut Checks, caller: Caller, field: &'static str, name: Option<&String>) -> Option<Actor> {
    let Some(name) = given(name).or_else(|| caller.verified().map(|_| "")) else {
        checks.missing(format!("/{field}"));
        return None;
    };
    checks.safe(format!("/{field}"), caller.actor(field, name))
}

/// The actor of a request that may leave it open.
fn author(checks: &mut Checks, caller: Caller, name: Option<&String>) -> Option<Actor> {
    author_named(checks, caller, "generated_by", name)
}

/// The same, under the name that the operation has for it.
fn author_named(
    checks: &mut Checks,
    caller: Caller,
    field: &'static str,
    name: Option<&String>,
) -> Option<Actor> {
    checks.safe(
        format!("/{field}"),
        caller.actor(field, given(name).unwrap_or(DEFAULT_AUTHOR)),
    )
}

fn state(checks: &mut Checks, value: Option<&String>) -> Option<AckState> {
    let Some(value) = given(value) else {
        return Some(AckState::Acknowledged);
    };
    let state = AckState::parse(value);
    if state.is_none() {
        checks.invalid(
            "/acknowledgement_state",
            "must be one of acknowledged, dismissed, escalated, resolved",
        );
    }
    state
}

fn text(checks: &mut Checks, pointer: String, field: Field, value: Option<&String>) -> Option<Text> {
    checks.safe(pointer, Text::parse(field, value.map_or("", String::as_str)))
}

fn some_text(checks: &mut Checks, pointer: String, field: Field, value: Option<&String>) -> Option<Text> {
    given(value).and_then(|value| checks.safe(pointer, Text::parse(field, value.trim())))
}

fn plan_id(checks: &mut Checks, pointer: String, value: Option<&String>) -> Option<PlanId> {
    given(value).and_then(|value| checks.safe(pointer, PlanId::parse(value.trim())))
}

fn provider(checks: &mut Checks, pointer: String, value: Option<&String>) -> Option<Provider> {
    let Some(value) = given(value) else {
        checks.missing(pointer);
        return None;
    };
    checks.safe(pointer, Provider::parse(value))
}

/// A problem for parts whose checks passed and that are missing all the same: never reached.
fn incomplete() -> Problem {
    Problem::new(Code::Internal, "the request could not be taken apart")
}

/// One acknowledgement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementBody {
    /// The provider whose notification is answered. Compared after trim and lower case, `-` equal to `_`.
    #[schemars(required)]
    provider: Option<String>,
    /// The owner whose route is answered; every owner of the provider when it is left out.
    owner: Option<String>,
    /// The cycle; the schedule's current one when it is left out.
    plan_id: Option<String>,
    /// Who answers. In open local mode it is required and kept as unverified; next to a token it means nothing, and
    /// who the token names is kept.
    acknowledged_by: Option<String>,
    /// `acknowledged` (default), `dismissed`, `escalated` or `resolved`.
    acknowledgement_state: Option<String>,
    /// Ticket or change number, at most 500 characters.
    external_ref: Option<String>,
    /// Free text, at most 4000 characters.
    notes: Option<String>,
}

impl AcknowledgementBody {
    pub(crate) fn command(self, schedule_id: &str, caller: Caller) -> Result<Acknowledge, Problem> {
        let mut checks = Checks::default();
        let schedule = if schedule_id.trim().is_empty() {
            checks.missing("schedule_id");
            None
        } else {
            checks.safe("schedule_id", ScheduleId::parse(schedule_id.trim()))
        };
        let provider = provider(&mut checks, "/provider".into(), self.provider.as_ref());
        let actor = actor(
            &mut checks,
            caller,
            "acknowledged_by",
            self.acknowledged_by.as_ref(),
        );
        let said = state(&mut checks, self.acknowledgement_state.as_ref());
        let owner = some_text(&mut checks, "/owner".into(), OWNER, self.owner.as_ref());
        let plan_id = plan_id(&mut checks, "/plan_id".into(), self.plan_id.as_ref());
        let external_ref = text(
            &mut checks,
            "/external_ref".into(),
            EXTERNAL_REF,
            self.external_ref.as_ref(),
        );
        let notes = text(&mut checks, "/notes".into(), NOTES, self.notes.as_ref());
        checks.finish()?;
        let parts = (schedule, provider, said, external_ref, notes, actor);
        let (Some(schedule_id), Some(provider), Some(said), Some(external_ref), Some(notes), Some(actor)) =
            parts
        else {
            return Err(incomplete());
        };
        Ok(Acknowledge {
            schedule_id,
            provider,
            owner,
            plan_id,
            said,
            external_ref,
            notes,
            actor,
        })
    }
}

/// One listed route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedRouteBody {
    /// The schedule.
    #[schemars(required)]
    schedule_id: Option<String>,
    /// The provider.
    #[schemars(required)]
    provider: Option<String>,
    /// The owner; every owner of the provider whose route is delivered when it is left out.
    owner: Option<String>,
    /// The cycle; it must be the current one.
    plan_id: Option<String>,
    /// The route's own reference, instead of the shared one.
    external_ref: Option<String>,
    /// The route's own notes, instead of the shared ones.
    notes: Option<String>,
}

/// A route filter: the same terms in bodies and in queries. An empty text is no term.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FilterBody {
    /// Exact.
    schedule_id: Option<String>,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    owner: Option<String>,
    /// Compared after trim and lower case, `-` equal to `_`.
    provider: Option<String>,
    /// `outstanding`, `acknowledged`, `escalated`, `dismissed` or `resolved`.
    state: Option<String>,
    /// `deliver` or `suppress`.
    action: Option<String>,
    /// `deliver`, `maintenance_window`, `owner_calendar`, `healthy_schedule` or `other`.
    category: Option<String>,
    /// Outstanding or escalated and past the deadline, or not.
    breached: Option<bool>,
}

impl FilterBody {
    fn terms(&self) -> FilterTerms<'_> {
        fn part(text: Option<&String>) -> &str {
            text.map_or("", String::as_str)
        }
        FilterTerms {
            schedule_id: part(self.schedule_id.as_ref()),
            owner: part(self.owner.as_ref()),
            provider: part(self.provider.as_ref()),
            state: part(self.state.as_ref()),
            action: part(self.action.as_ref()),
            category: part(self.category.as_ref()),
            breached: self.breached,
        }
    }
}

/// A bulk acknowledgement: either `routes` or `filter`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkBody {
    /// The routes, 1 to 10000 of them.
    #[schemars(length(max = 10_000))]
    routes: Option<Vec<Object<ListedRouteBody>>>,
    /// Or: every current route that this filter means. Its `action` is `deliver` when it is left out.
    filter: Option<Object<FilterBody>>,
    /// Who answers. In open local mode it is required and kept as unverified; next to a token it means nothing, and
    /// who the token names is kept.
    acknowledged_by: Option<String>,
    /// `acknowledged` (default), `dismissed`, `escalated` or `resolved`.
    acknowledgement_state: Option<String>,
    /// Shared reference, at most 500 characters.
    external_ref: Option<String>,
    /// Shared notes, at most 4000 characters.
    notes: Option<String>,
    /// The cycle of listed routes that name none.
    plan_id: Option<String>,
    /// `strict` (default): a refused or unknown route stops everything. `best_effort`: the rest is changed.
    mode: Option<String>,
    /// Give the same answer and write nothing.
    #[serde(default)]
    dry_run: bool,
    /// The `selection_digest` of a preview: when the selection is not the same any more, nothing is written.
    expected_digest: Option<String>,
}

impl BulkBody {
    pub(crate) fn command(self, caller: Caller, minimal: bool) -> Result<Bulk, Problem> {
        let mut checks = Checks::default();
        let actor = actor(
            &mut checks,
            caller,
            "acknowledged_by",
            self.acknowledged_by.as_ref(),
        );
        let said = state(&mut checks, self.acknowledgement_state.as_ref());
        let external_ref = text(
            &mut checks,
            "/external_ref".into(),
            EXTERNAL_REF,
            self.external_ref.as_ref(),
        );
        let notes = text(&mut checks, "/notes".into(), NOTES, self.notes.as_ref());
        let shared_plan = plan_id(&mut checks, "/plan_id".into(), self.plan_id.as_ref());
        let mode = match given(self.mode.as_ref()) {
            None => Some(cavra_app::DEFAULT_BULK_MODE),
            Some(mode) => BulkMode::parse(mode),
        };
        if mode.is_none() {
            checks.invalid("/mode", "must be strict or best_effort");
        }
        let expected_digest = given(self.expected_digest.as_ref()).map(str::to_owned);
        if expected_digest
            .as_deref()
            .is_some_and(|digest| !is_digest(digest))
        {
            checks.invalid(
                "/expected_digest",
                "is not a selection_digest: sha256: and 64 hexadecimal digits",
            );
        }
        let selection = match (self.routes, self.filter) {
            (Some(_), Some(_)) => {
                checks.invalid("/filter", "cannot stand beside routes; give one of the two");
                None
            }
            (None, None) => {
                checks.missing("/routes");
                checks.missing("/filter");
                None
            }
            (Some(routes), None) => {
                if routes.len() > MAX_LISTED_ROUTES {
                    let detail = format!(
                        "{} routes are listed; one request lists at most {MAX_LISTED_ROUTES}, a filter selects any number",
                        routes.len()
                    );
                    return Err(Problem::at(Code::TooManyRoutes, "/routes", detail));
                }
                if routes.is_empty() {
                    checks.invalid("/routes", "must not be empty");
                }
                Some(BulkSelection::Listed(listed(
                    &mut checks,
                    &routes,
                    shared_plan.as_ref(),
                )))
            }
            (None, Some(filter)) => {
                if shared_plan.is_some() {
                    checks.invalid(
                        "/plan_id",
                        "goes with routes; a filter selects routes of the current cycles",
                    );
                }
                match checks.ok("/filter", RouteFilter::parse(&filter.0.terms())) {
                    Some(filter) if filter.is_empty() => {
                        let detail = "has no term; whoever means every route says {\"action\": \"deliver\"}";
                        checks.invalid("/filter", detail);
                        None
                    }
                    filter => filter.map(BulkSelection::Filter),
                }
            }
        };
        checks.finish()?;
        let parts = (selection, said, external_ref, notes, mode, actor);
        let (Some(selection), Some(said), Some(external_ref), Some(notes), Some(mode), Some(actor)) = parts
        else {
            return Err(incomplete());
        };
        Ok(Bulk {
            selection,
            said,
            external_ref,
            notes,
            mode,
            dry_run: self.dry_run,
            expected_digest,
            minimal,
            actor,
        })
    }
}

fn listed(
    checks: &mut Checks,
    routes: &[Object<ListedRouteBody>],
    shared_plan: Option<&PlanId>,
) -> Vec<ListedRoute> {
    let mut listed = Vec::with_capacity(routes.len());
    for (index, Object(route)) in routes.iter().enumerate() {
        let at = |key: &str| format!("/routes/{index}/{key}");
        let schedule_id = match given(route.schedule_id.as_ref()) {
            None => {
                checks.missing(at("schedule_id"));
                None
            }
            Some(id) => checks.safe(at("schedule_id"), ScheduleId::parse(id.trim())),
        };
        let provider = provider(checks, at("provider"), route.provider.as_ref());
        let owner = some_text(checks, at("owner"), OWNER, route.owner.as_ref());
        let plan_id = plan_id(checks, at("plan_id"), route.plan_id.as_ref()).or_else(|| shared_plan.cloned());
        let external_ref = some_text(
            checks,
            at("external_ref"),
            EXTERNAL_REF,
            route.external_ref.as_ref(),
        );
        let notes =
            given(route.notes.as_ref()).and_then(|notes| checks.safe(at("notes"), Text::parse(NOTES, notes)));
        if let (Some(schedule_id), Some(provider)) = (schedule_id, provider) {
            listed.push(ListedRoute {
                schedule_id,
                provider,
                owner,
                plan_id,
                external_ref,
                notes,
            });
        }
    }
    listed
}

/// An audit package: the filter's terms stand at the top level, as published.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditPackageBody {
    /// Exact.
    schedule_id: Option<String>,
    /// Compared after trim and lower case, `-` equal to `_`.
    provider: Option<String>,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    owner: Option<String>,
    /// `outstanding`, `acknowledged`, `escalated`, `dismissed` or `resolved`.
    state: Option<String>,
    /// `deliver` (default) or `suppress`.
    action: Option<String>,
    /// `deliver`, `maintenance_window`, `owner_calendar`, `healthy_schedule` or `other`.
    category: Option<String>,
    /// Outstanding or escalated and past the deadline, or not.
    breached: Option<bool>,
    /// `current` (default), or `all` for earlier cycles as well.
    cycle: Option<String>,
    /// Who makes it; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
    /// Only for the signed form: the size of an earlier log, as an earlier package or checkpoint names it. The
    /// package then proves that nothing was rewritten since.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    consistent_with: Option<u64>,
    /// The state as it was: an RFC 3339 time, or a position of the log.
    as_of: Option<String>,
}

impl AuditPackageBody {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("/as_of", self.as_of.as_ref())
    }

    pub(crate) const fn consistent_with(&self) -> Option<u64> {
        self.consistent_with
    }

    pub(crate) fn command(self, caller: Caller) -> Result<(RouteFilter, Cycles, Actor), Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let cycles = cycles(&mut checks, "/cycle", self.cycle.as_ref());
        let filter = FilterBody {
            schedule_id: self.schedule_id,
            owner: self.owner,
            provider: self.provider,
            state: self.state,
            action: self.action,
            category: self.category,
            breached: self.breached,
        };
        let filter = checks.ok("", RouteFilter::parse(&filter.terms()));
        checks.finish()?;
        let (Some(actor), Some(cycles), Some(filter)) = (actor, cycles, filter) else {
            return Err(incomplete());
        };
        Ok((filter, cycles, actor))
    }
}

/// An earlier state, when one is named.
fn as_of(pointer: &str, value: Option<&String>) -> Result<Option<AsOf>, Problem> {
    let Some(value) = given(value) else {
        return Ok(None);
    };
    let problem = || {
        let detail = "must be an RFC 3339 time or a position of the log";
        Problem::at(Code::InvalidValue, pointer, detail)
    };
    AsOf::parse(value).map(Some).ok_or_else(problem)
}

/// Parameters of the dashboard.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DashboardQuery {
    /// The dashboard as it was: an RFC 3339 time, or a position of the log.
    as_of: Option<String>,
}

impl DashboardQuery {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("as_of", self.as_of.as_ref())
    }
}

/// Parameters of a stored package.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageQuery {
    /// Only for the signed form: the size of an earlier log, as an earlier package or checkpoint names it. The
    /// package then proves that nothing was rewritten since.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    consistent_with: Option<u64>,
}

impl PackageQuery {
    pub(crate) const fn consistent_with(&self) -> Option<u64> {
        self.consistent_with
    }
}

/// An undo.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoBody {
    /// Why, at most 4000 characters.
    #[schemars(required)]
    reason: Option<String>,
    /// Who undoes it. In open local mode it is required and kept as unverified.
    undone_by: Option<String>,
}

impl UndoBody {
    fn parts(self, caller: Caller) -> Result<(Text, Actor), Problem> {
        let mut checks = Checks::default();
        let actor = actor(&mut checks, caller, "undone_by", self.undone_by.as_ref());
        let reason = if let Some(reason) = given(self.reason.as_ref()) {
            checks.safe("/reason", Text::parse(REASON, reason))
        } else {
            checks.missing("/reason");
            None
        };
        checks.finish()?;
        let (Some(reason), Some(actor)) = (reason, actor) else {
            return Err(incomplete());
        };
        Ok((reason, actor))
    }

    pub(crate) fn one(self, acknowledgement_id: AcknowledgementId, caller: Caller) -> Result<Undo, Problem> {
        let (reason, actor) = self.parts(caller)?;
        Ok(Undo {
            acknowledgement_id,
            reason,
            actor,
        })
    }

    pub(crate) fn bulk(self, bulk_id: BulkId, caller: Caller, minimal: bool) -> Result<UndoBulk, Problem> {
        let (reason, actor) = self.parts(caller)?;
        Ok(UndoBulk {
            bulk_id,
            reason,
            minimal,
            actor,
        })
    }
}

fn cycles(checks: &mut Checks, pointer: &str, value: Option<&String>) -> Option<Cycles> {
    match given(value) {
        None | Some("current") => Some(Cycles::Current),
        Some("all") => Some(Cycles::All),
        Some(_) => {
            checks.invalid(pointer, "must be current or all");
            None
        }
    }
}

/// A notification plan.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverBody {
    /// The schedule (schema `cavra.go-backend-rollback-drill-schedule.v1`); a configured one when it is left out.
    schedule: Option<Map<String, Value>>,
    /// Which configured schedule; needed when several are configured.
    schedule_id: Option<String>,
    /// Owner rules, maintenance windows and calendars that go before the schedule's own.
    routing_policy: Option<Map<String, Value>>,
    /// `all` (default) or provider names, separated by commas.
    provider: Option<String>,
    /// Notify although nothing is due.
    #[serde(default)]
    force: bool,
    /// Who makes it; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
    /// Accepted from published clients; nothing is sent, so nothing is tried again.
    #[expect(dead_code, reason = "accepted and ignored")]
    retries: Ignored,
    /// Accepted from published clients; nothing is sent, so nothing is waited for.
    #[expect(dead_code, reason = "accepted and ignored")]
    timeout_seconds: Ignored,
}

impl DeliverBody {
    pub(crate) fn command(self, caller: Caller) -> Result<Deliver, Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let requested = checks.ok(
            "",
            RequestedProviders::parse(self.provider.as_deref().unwrap_or("all")),
        );
        let schedule_id = given(self.schedule_id.as_ref())
            .and_then(|id| checks.safe("/schedule_id", ScheduleId::parse(id.trim())));
        if self.schedule.is_some() && schedule_id.is_some() {
            checks.invalid(
                "/schedule_id",
                "goes with configured schedules; the schedule in the body has its own",
            );
        }
        checks.finish()?;
        let (Some(actor), Some(requested)) = (actor, requested) else {
            return Err(incomplete());
        };
        Ok(Deliver {
            schedule: self.schedule.map(Value::Object),
            schedule_id,
            routing_policy: self.routing_policy.map(Value::Object),
            requested,
            force: self.force,
            actor,
        })
    }
}

/// An escalation plan.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationBody {
    /// Minutes that replace those of the routes, for this plan.
    policy: Option<Object<EscalationPolicyBody>>,
    /// Who makes it; `console` when it is left out. In open local mode it is kept as unverified.
    generated_by: Option<String>,
}

/// The policy of an escalation plan.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationPolicyBody {
    /// Minutes for every route, 1 to 5256000.
    acknowledgement_minutes: Option<u64>,
    /// The same, as published policies nest it.
    default_slo: Option<Object<DefaultSloBody>>,
}

/// The nested form of the policy's minutes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultSloBody {
    /// Minutes for every route, 1 to 5256000.
    acknowledgement_minutes: Option<u64>,
}

impl EscalationBody {
    pub(crate) fn command(self, caller: Caller) -> Result<(EscalationPolicy, Actor), Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let policy = match self.policy {
            None => Some(EscalationPolicy::default()),
            Some(Object(policy)) => {
                let nested = policy
                    .default_slo
                    .and_then(|Object(slo)| slo.acknowledgement_minutes);
                checks.ok(
                    "",
                    EscalationPolicy::parse(policy.acknowledgement_minutes, nested),
                )
            }
        };
        checks.finish()?;
        let (Some(policy), Some(actor)) = (policy, actor) else {
            return Err(incomplete());
        };
        Ok((policy, actor))
    }
}

/// Which schedule to report about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleQuery {
    /// A configured schedule; the first one when it is left out.
    schedule_id: Option<String>,
}

impl ScheduleQuery {
    pub(crate) fn schedule_id(&self) -> Result<Option<ScheduleId>, Problem> {
        let mut checks = Checks::default();
        let id = given(self.schedule_id.as_ref())
            .and_then(|id| checks.safe("schedule_id", ScheduleId::parse(id.trim())));
        checks.finish()?;
        Ok(id)
    }
}

/// Which routes to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutesQuery {
    /// Exact.
    schedule_id: Option<String>,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    owner: Option<String>,
    /// Compared after trim and lower case, `-` equal to `_`.
    provider: Option<String>,
    /// `outstanding`, `acknowledged`, `escalated`, `dismissed` or `resolved`.
    state: Option<String>,
    /// `deliver` or `suppress`.
    action: Option<String>,
    /// `deliver`, `maintenance_window`, `owner_calendar`, `healthy_schedule` or `other`.
    category: Option<String>,
    /// Outstanding or escalated and past the deadline, or not.
    breached: Option<bool>,
    /// `current` (default), or `all` for earlier cycles as well.
    cycle: Option<String>,
    /// Most routes of the page; 50 when it is left out.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u64>,
    /// Routes to leave out in front.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    offset: Option<u64>,
    /// `newest` (default), `urgency` (what waits for an answer first, by deadline), `deadline`, `owner`, `provider` or
    /// `schedule_id`; a `-` in front turns it around.
    #[schemars(regex(pattern = "^(-?(newest|urgency|deadline|owner|provider|schedule_id))?$"))]
    sort: Option<String>,
    /// `next_cursor` of an earlier page, which was sorted in the same way.
    cursor: Option<String>,
    /// The routes as they were: an RFC 3339 time, or a position of the log.
    as_of: Option<String>,
}

impl RoutesQuery {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("as_of", self.as_of.as_ref())
    }

    pub(crate) fn command(self) -> Result<(RouteFilter, Cycles, RouteSort, Paging), Problem> {
        let mut checks = Checks::default();
        let paging = paging(&mut checks, self.limit, self.offset, self.cursor);
        let sort = given(self.sort.as_ref()).map_or(Some(RouteSort::Newest), RouteSort::parse);
        if sort.is_none() {
            checks.invalid(
                "sort",
                "must be newest, urgency, deadline, owner, provider or schedule_id, or one of them with `-` in front",
            );
        }
        let cycles = cycles(&mut checks, "/cycle", self.cycle.as_ref());
        let filter = FilterBody {
            schedule_id: self.schedule_id,
            owner: self.owner,
            provider: self.provider,
            state: self.state,
            action: self.action,
            category: self.category,
            breached: self.breached,
        };
        let filter = checks.ok("", RouteFilter::parse(&filter.terms()));
        checks.finish()?;
        let (Some(cycles), Some(filter), Some(sort)) = (cycles, filter, sort) else {
            return Err(incomplete());
        };
        Ok((filter, cycles, sort, paging))
    }
}

/// Which routes to count, and by what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryQuery {
    /// Exact.
    schedule_id: Option<String>,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    owner: Option<String>,
    /// Compared after trim and lower case, `-` equal to `_`.
    provider: Option<String>,
    /// `outstanding`, `acknowledged`, `escalated`, `dismissed` or `resolved`.
    state: Option<String>,
    /// `deliver` or `suppress`.
    action: Option<String>,
    /// `deliver`, `maintenance_window`, `owner_calendar`, `healthy_schedule` or `other`.
    category: Option<String>,
    /// Outstanding or escalated and past the deadline, or not.
    breached: Option<bool>,
    /// `current` (default), or `all` for earlier cycles as well.
    cycle: Option<String>,
    /// `owner` (default), `provider`, `schedule_id` or `category`.
    #[schemars(regex(pattern = "^(owner|provider|schedule_id|category)?$"))]
    by: Option<String>,
    /// Most groups; 50 when it is left out.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u64>,
    /// The counts as they were: an RFC 3339 time, or a position of the log.
    as_of: Option<String>,
}

impl SummaryQuery {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("as_of", self.as_of.as_ref())
    }

    pub(crate) fn command(self) -> Result<(RouteFilter, Cycles, SummaryBy, u64), Problem> {
        let mut checks = Checks::default();
        let limit = paging(&mut checks, self.limit, None, None).limit;
        let cycles = cycles(&mut checks, "/cycle", self.cycle.as_ref());
        let by = given(self.by.as_ref()).map_or(Some(SummaryBy::Owner), SummaryBy::parse);
        if by.is_none() {
            checks.invalid("by", "must be owner, provider, schedule_id or category");
        }
        let filter = FilterBody {
            schedule_id: self.schedule_id,
            owner: self.owner,
            provider: self.provider,
            state: self.state,
            action: self.action,
            category: self.category,
            breached: self.breached,
        };
        let filter = checks.ok("", RouteFilter::parse(&filter.terms()));
        checks.finish()?;
        let (Some(cycles), Some(filter), Some(by)) = (cycles, filter, by) else {
            return Err(incomplete());
        };
        Ok((filter, cycles, by, limit))
    }
}

/// How to listen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Whether the answer goes on (default) or ends after one event, for callers that ask now and then.
    pub(crate) follow: Option<bool>,
}

/// The scope and the times of a trend of route states.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTrendQuery {
    /// Exact.
    schedule_id: Option<String>,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    owner: Option<String>,
    /// Compared after trim and lower case, `-` equal to `_`.
    provider: Option<String>,
    /// How far back; 24 when it is left out.
    #[schemars(range(min = 1, max = 2160))]
    hours: Option<u32>,
    /// At how many times, both ends included; 25 when it is left out.
    #[schemars(range(min = 2, max = 200))]
    points: Option<u32>,
    /// The trend as it was then: an RFC 3339 time, or a position of the log.
    as_of: Option<String>,
}

impl RouteTrendQuery {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("as_of", self.as_of.as_ref())
    }

    pub(crate) fn command(self) -> Result<(RouteFilter, u32, u32), Problem> {
        let mut checks = Checks::default();
        let (hours, points) = (self.hours.unwrap_or(24), self.points.unwrap_or(25));
        if !(1..=2160).contains(&hours) {
            checks.invalid("hours", "must be from 1 to 2160");
        }
        if !(2..=200).contains(&points) {
            checks.invalid("points", "must be from 2 to 200");
        }
        let filter = FilterBody {
            schedule_id: self.schedule_id,
            owner: self.owner,
            provider: self.provider,
            ..FilterBody::default()
        };
        let filter = checks.ok("", RouteFilter::parse(&filter.terms()));
        checks.finish()?;
        let filter = filter.ok_or_else(incomplete)?;
        Ok((filter, hours, points))
    }
}

fn paging(checks: &mut Checks, limit: Option<u64>, offset: Option<u64>, cursor: Option<String>) -> Paging {
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        checks.invalid("limit", format!("must be from 1 to {MAX_PAGE}"));
    }
    let offset = offset.unwrap_or_default();
    if offset > 9_007_199_254_740_991 {
        checks.invalid("offset", "is larger than any list");
    }
    let cursor = cursor.filter(|cursor| !cursor.is_empty());
    if cursor.is_some() && offset > 0 {
        checks.invalid("offset", "cannot stand beside cursor; give one of the two");
    }
    Paging {
        limit,
        offset,
        cursor,
    }
}

/// The scope of a suppression trend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrendQuery {
    /// Exact.
    schedule_id: Option<String>,
    /// Compared after trim and lower case, `-` equal to `_`.
    provider: Option<String>,
    /// A part of the owner's or the escalation owner's name, upper and lower case alike.
    owner: Option<String>,
    /// Who looks; `console` when it is left out.
    generated_by: Option<String>,
}

impl TrendQuery {
    pub(crate) fn command(self, caller: Caller) -> Result<(RouteFilter, Text), Problem> {
        let mut checks = Checks::default();
        let actor = author(&mut checks, caller, self.generated_by.as_ref());
        let filter = FilterBody {
            schedule_id: self.schedule_id,
            owner: self.owner,
            provider: self.provider,
            ..FilterBody::default()
        };
        let filter = checks.ok("", RouteFilter::parse(&filter.terms()));
        checks.finish()?;
        let (Some(actor), Some(filter)) = (actor, filter) else {
            return Err(incomplete());
        };
        Ok((filter, actor.actor))
    }
}

/// Which records of history to list. All parameters must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    /// Records about this schedule.
    schedule_id: Option<String>,
    /// Records that name this provider.
    provider: Option<String>,
    /// Records of this kind.
    metadata_kind: Option<String>,
    /// An acknowledgement state, or the status that published clients derive: `delivered`, `delivery_failed`,
    /// `critical`, `warning`, `healthy`, `indexed`, `undone`.
    acknowledgement_state: Option<String>,
    /// Records of this delivery source, declared or derived from their kind.
    connector_delivery_source: Option<String>,
    /// Deliveries that succeeded, or that failed.
    delivery_success: Option<bool>,
    /// `critical`, `warning` or `healthy`, as it was recorded.
    alert_level: Option<String>,
    /// Records about this audit package.
    audit_id: Option<String>,
    /// Records about this delivery.
    delivery_id: Option<String>,
    /// Records with this cadence.
    cadence: Option<String>,
    /// With `true`, acknowledgements that answer no route; `orphaned_acknowledgement_count` of the dashboard counts them.
    orphaned: Option<bool>,
    /// Most records of the page; 50 when it is left out.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u64>,
    /// Records to leave out in front.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    offset: Option<u64>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
    /// The history as it was: an RFC 3339 time, or a position of the log.
    as_of: Option<String>,
}

/// The statuses that are no acknowledgement state, and that clients filter by all the same (sandbox-ui 2.1).
const STATUSES: [&str; 9] = [
    "accepted",
    "deferred",
    "delivered",
    "delivery_failed",
    "critical",
    "warning",
    "healthy",
    "indexed",
    "undone",
];

/// A parameter, its value, and the term that it means.
type Named<'a> = (&'static str, Option<&'a String>, fn(&str) -> HistoryTerm);

impl HistoryQuery {
    pub(crate) fn as_of(&self) -> Result<Option<AsOf>, Problem> {
        as_of("as_of", self.as_of.as_ref())
    }

    pub(crate) fn command(self) -> Result<(HistoryFilter, Paging), Problem> {
        let mut checks = Checks::default();
        let paging = paging(&mut checks, self.limit, self.offset, self.cursor);
        let mut terms = Vec::new();
        let named: [Named<'_>; 9] = [
            ("schedule_id", self.schedule_id.as_ref(), HistoryTerm::schedule),
            ("provider", self.provider.as_ref(), HistoryTerm::provider),
            ("metadata_kind", self.metadata_kind.as_ref(), HistoryTerm::kind),
            (
                "acknowledgement_state",
                self.acknowledgement_state.as_ref(),
                HistoryTerm::status,
            ),
            (
                "connector_delivery_source",
                self.connector_delivery_source.as_ref(),
                HistoryTerm::source,
            ),
            ("alert_level", self.alert_level.as_ref(), HistoryTerm::level),
            ("audit_id", self.audit_id.as_ref(), HistoryTerm::audit),
            ("delivery_id", self.delivery_id.as_ref(), HistoryTerm::delivery),
            ("cadence", self.cadence.as_ref(), HistoryTerm::cadence),
        ];
        for (name, value, term) in named {
            let Some(value) = some_text(&mut checks, name.to_owned(), TERM, value) else {
                continue;
            };
            if name == "acknowledgement_state" && !is_status(value.as_str()) {
                checks.invalid(
                    name,
                    format!(
                        "must be an acknowledgement state or one of {}",
                        STATUSES.join(", ")
                    ),
                );
            }
            terms.push(term(value.as_str()));
        }
        terms.extend(self.delivery_success.map(HistoryTerm::delivered));
        if self.orphaned == Some(true) {
            terms.push(HistoryTerm::orphaned());
        }
        checks.finish()?;
        Ok((HistoryFilter { terms }, paging))
    }
}

fn is_status(value: &str) -> bool {
    let value = cavra_domain::route::normalised(value);
    StateName::parse(&value).is_some() || STATUSES.contains(&value.as_str())
}

/// How to import.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// Leave out records that cannot be taken; without it, one of them stops the import.
    pub(crate) skip_invalid: Option<bool>,
}

/// No parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// Where to go after signing in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInQuery {
    /// A path of this service; `/` when it is left out.
    pub(crate) return_to: Option<String>,
}

/// What the identity provider sends back. Providers add parameters of their own, so unknown ones are let pass, here
/// and nowhere else.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CallbackQuery {
    /// The code (RFC 6749 4.1.2).
    pub(crate) code: Option<String>,
    /// What the sign-in was begun with.
    pub(crate) state: Option<String>,
    /// Who answers (RFC 9207).
    pub(crate) iss: Option<String>,
    /// Why there is no code.
    pub(crate) error: Option<String>,
}
