//! Prometheus metrics (`OpenMetrics` text).

use std::sync::atomic::AtomicU64;

use cavra_domain::route::RouteCounts;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
enum State {
    outstanding,
    acknowledged,
    escalated,
    dismissed,
    resolved,
    suppressed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteState {
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Renewal {
    result: &'static str,
}

/// What the service counts about itself.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Operation, Histogram>,
    routes: Family<RouteState, Gauge<u64, AtomicU64>>,
    breached: Gauge<u64, AtomicU64>,
    refusals: Family<Refusal, Counter>,
    renewals: Family<Renewal, Gauge<u64, AtomicU64>>,
    key_age: Gauge<u64, AtomicU64>,
    sessions: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("cavra");
        let requests = Family::<Request, Counter>::default();
        let seconds = Family::<Operation, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
        });
        let routes = Family::<RouteState, Gauge<u64, AtomicU64>>::default();
        let breached = Gauge::<u64, AtomicU64>::default();
        registry.register("http_requests", "Answered requests", requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time to answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("routes", "Current routes by state", routes.clone());
        registry.register(
            "routes_breached",
            "Current routes past their deadline",
            breached.clone(),
        );
        let refusals = Family::<Refusal, Counter>::default();
        let renewals = Family::<Renewal, Gauge<u64, AtomicU64>>::default();
        let key_age = Gauge::<u64, AtomicU64>::default();
        let sessions = Gauge::<u64, AtomicU64>::default();
        registry.register(
            "identity_refusals",
            "Refused requests by reason",
            refusals.clone(),
        );
        registry.register(
            "identity_key_renewals",
            "How often the identity provider's keys were asked for since the start, by result",
            renewals.clone(),
        );
        registry.register_with_unit(
            "identity_key_age",
            "Age of the identity provider's keys",
            Unit::Seconds,
            key_age.clone(),
        );
        registry.register("identity_sessions", "Sessions that are kept", sessions.clone());
        Self {
            registry,
            requests,
            seconds,
            routes,
            breached,
            refusals,
            renewals,
            key_age,
            sessions,
        }
    }
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, operation: &'static str, status: u16, seconds: f64) {
        self.requests.get_or_create(&Request { operation, status }).inc();
        self.seconds
            .get_or_create(&Operation { operation })
            .observe(seconds);
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Refusal { reason }).inc();
    }

    /// Takes over what is known of the identity side.
    pub(crate) fn identity(&self, stats: cavra_rbac::Stats) {
        for (result, count) in [
            ("renewed", stats.provider.renewed),
            ("failed", stats.provider.failed),
        ] {
            self.renewals.get_or_create(&Renewal { result }).set(count);
        }
        self.key_age.set(stats.provider.age_seconds.unwrap_or(0));
        self.sessions
            .set(u64::try_from(stats.sessions).unwrap_or(u64::MAX));
    }

    /// The metrics as text.
    pub(crate) fn render(&self, counts: &RouteCounts) -> String {
        let states = [
            (State::outstanding, counts.outstanding),
            (State::acknowledged, counts.acknowledged),
            (State::escalated, counts.escalated),
            (State::dismissed, counts.dismissed),
            (State::resolved, counts.resolved),
            (State::suppressed, counts.suppressed),
        ];
        for (state, count) in states {
            self.routes.get_or_create(&RouteState { state }).set(count);
        }
        self.breached.set(counts.breached);
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
