//! Retry plans: which failed deliveries of auditor exports may be sent again, and when (contract wire 1.11, 3.5,
//! decisions 8).
//!
//! A plan is a function of the recorded deliveries, a [`RetryPolicy`] and a time. The deliveries of one export over
//! one provider form a group. A success clears the failures before it; what is left of a group is [`Undelivered`],
//! and only that is decided. Nothing is sent here.
//!
//! A plan may have a hundred thousand decisions, so it is made and written in pieces: [`RetryPlanner`] holds one
//! group at a time, and [`RetryPlan::OPEN`], one [`RetryDecision`] after the other with commas between them and
//! [`RetryPlanHeader::close`] are, joined, one JSON object. What counts the decisions stands behind them, so that the
//! text can be digested and stored while it is made.
//!
//! ```
//! use cavra_domain::id::{DeliveryId, ExportId};
//! use cavra_domain::public_safe::Text;
//! use cavra_domain::retry::{DeliveryAttempt, RetryAction, RetryPlanner, RetryPolicy};
//! use cavra_domain::route::Provider;
//! use cavra_domain::time::Timestamp;
//!
//! let at = Timestamp::parse("2026-01-02T03:04:06Z")?;
//! let failed = DeliveryAttempt {
//!     delivery_id: DeliveryId::parse("rcd-1")?,
//!     export_id: ExportId::parse("gordackfinalauditor-1")?,
//!     provider: Provider::parse("webhook")?,
//!     at,
//!     success: false,
//!     status_code: Some(503),
//!     retry_after_seconds: None,
//!     verification_id: Text::empty(),
//!     release_record_ref: Text::empty(),
//!     export_known: true,
//! };
//! let policy = RetryPolicy::default();
//! let mut planner = RetryPlanner::new(&policy, at.plus_minutes(15));
//! assert_eq!(planner.attempt(failed), None);
//! assert_eq!(planner.finish().map(|decision| decision.action), Some(RetryAction::Retry));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use crate::actor::Actor;
use crate::digest::sha256_of;
use crate::evidence::{DocumentDigest, EvidenceKind, MetadataRecord, PRODUCT};
use crate::id::{DeliveryId, ExportId, RetryPlanId};
use crate::public_safe::Text;
use crate::route::{Level, Provider, text_enum};
use crate::time::{MICROS_PER_MINUTE, Timestamp};

/// Schema of the plan.
pub const RETRY_PLAN_SCHEMA: &str =
    "cavra.go-backend-pilot.rollback-drill-final-reporting-auditor-export-delivery-retry-plan.v1";

/// Answers that another attempt does not change: the request itself is refused (contract decisions 8).
pub const PERMANENT_STATUS_CODES: [u16; 8] = [400, 401, 403, 404, 405, 410, 413, 422];

/// The security properties that the plan states of itself.
const CONTROLS: [&str; 3] = [
    "public-safe-fields-only",
    "plan-only-no-redelivery",
    "every-failed-delivery-counted",
];

// ---- what happened ----

/// One provider's part of a delivery record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The record.
    pub delivery_id: DeliveryId,
    /// What was delivered.
    pub export_id: ExportId,
    /// Over which provider; attempts are grouped by its key.
    pub provider: Provider,
    /// When it happened.
    pub at: Timestamp,
    /// Whether the provider took it.
    pub success: bool,
    /// The provider's answer: none when there was none or nobody knows, 0 when it was unreachable.
    pub status_code: Option<u16>,
    /// How long the provider asked to wait.
    pub retry_after_seconds: Option<u64>,
    /// The export's verification; empty when unknown.
    pub verification_id: Text,
    /// The release; empty when unknown.
    pub release_record_ref: Text,
    /// Whether the export is in the store: imported deliveries may name one that is not.
    pub export_known: bool,
}

impl DeliveryAttempt {
    /// Until when the provider asked to wait, at most [`Timestamp::MAX`].
    fn retry_after_until(&self) -> Option<Timestamp> {
        let micros = self.retry_after_seconds?.saturating_mul(1_000_000);
        Some(self.at.plus_micros(i64::try_from(micros).unwrap_or(i64::MAX)))
    }
}

/// The failures of one export over one provider since its last success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    latest: DeliveryAttempt,
    failure_count: u64,
    first_failed_at: Timestamp,
    retry_after_until: Option<Timestamp>,
}

impl Undelivered {
    /// The group after one more attempt; attempts come in the order of time, then position. A success clears what
    /// was before it.
    #[must_use]
    pub fn fold(group: Option<Self>, attempt: DeliveryAttempt) -> Option<Self> {
        if attempt.success {
            return None;
        }
        let asked = attempt.retry_after_until();
        let Some(before) = group else {
            return Some(Self {
                failure_count: 1,
                first_failed_at: attempt.at,
                retry_after_until: asked,
                latest: attempt,
            });
        };
        let known = |new: Text, old: Text| if new.as_str().is_empty() { old } else { new };
        Some(Self {
            // A count that stands still at the top is as exhausted as one that goes on.
            failure_count: before.failure_count.saturating_add(1),
            first_failed_at: before.first_failed_at,
            retry_after_until: before.retry_after_until.max(asked),
            latest: DeliveryAttempt {
                verification_id: known(attempt.verification_id, before.latest.verification_id),
                release_record_ref: known(attempt.release_record_ref, before.latest.release_record_ref),
                ..attempt
            },
        })
    }

    /// The newest failure. A verification or release that it does not name is that of the failure before it.
    pub const fn latest(&self) -> &DeliveryAttempt {
        &self.latest
    }

    /// Failures since the last success; at least one.
    pub const fn failure_count(&self) -> u64 {
        self.failure_count
    }

    /// When the first of them happened.
    pub const fn first_failed_at(&self) -> Timestamp {
        self.first_failed_at
    }

    /// The latest time until which any of them was asked to wait.
    pub const fn retry_after_until(&self) -> Option<Timestamp> {
        self.retry_after_until
    }

    fn is_group_of(&self, attempt: &DeliveryAttempt) -> bool {
        self.latest.export_id == attempt.export_id && self.latest.provider.key() == attempt.provider.key()
    }
}

// ---- the policy ----

text_enum! {
    /// How the delays of groups that failed together are spread.
    Jitter {
        /// They are not.
        None = "none",
        /// Half of the delay is fixed, the other half derived from the ids.
        Equal = "equal",
    }
}

/// When a failed delivery may be sent again.
///
/// Times are exact integers: the multiplier is kept in thousandths, delays in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    max_retry_attempts: u32,
    base_retry_delay_minutes: u32,
    allow_immediate_retry: bool,
    backoff_multiplier_thousandths: u32,
    max_delay_minutes: u32,
    max_age_hours: Option<u32>,
    jitter: Jitter,
    /// The delay in microseconds after one failure, after two, and so on; the last one holds from there on. Made
    /// once, so that neither many groups nor many failures cost anything.
    delays: Arc<[i64]>,
}

/// What a request says about the policy, as it stands there. Where there are two names for one thing, the second is
/// the published alias. A missing member and null are the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct RetryPolicyTerms<'a> {
    /// Failures, the first one included, after which a delivery is given up.
    pub max_retry_attempts: Option<&'a Value>,
    /// Alias of `max_retry_attempts`.
    pub max_retries: Option<&'a Value>,
    /// Minutes to wait after the first failure.
    pub retry_delay_minutes: Option<&'a Value>,
    /// Alias of `retry_delay_minutes`.
    pub delay_minutes: Option<&'a Value>,
    /// By what the wait grows with each further failure.
    pub backoff_multiplier: Option<&'a Value>,
    /// Alias of `backoff_multiplier`.
    pub multiplier: Option<&'a Value>,
    /// Whether the wait may be zero.
    pub allow_immediate_retry: Option<&'a Value>,
    /// The longest wait that the multiplier can lead to.
    pub max_delay_minutes: Option<&'a Value>,
    /// How old the first failure may be.
    pub max_age_hours: Option<&'a Value>,
    /// A [`Jitter`].
    pub jitter: Option<&'a Value>,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{key}` {problem}")]
pub struct RetryPolicyError {
    /// The member of the policy.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// Reads members, and collects what is wrong with them.
#[derive(Default)]
struct Reader(Vec<RetryPolicyError>);

impl Reader {
    fn fault(&mut self, key: &'static str, problem: impl Into<String>) {
        let problem = problem.into();
        self.0.push(RetryPolicyError { key, problem });
    }

    /// The value of a member; `None` when it is not given or wrong.
    fn one<T>(
        &mut self,
        key: &'static str,
        value: Option<&Value>,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        match read(value.filter(|value| !value.is_null())?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.fault(key, problem);
                None
            }
        }
    }

    /// The value of a member with an alias; only one of the two may be given.
    fn either<T>(
        &mut self,
        (key, value): (&'static str, Option<&Value>),
        (alias, other): (&'static str, Option<&Value>),
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let given = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
        if given(value) && given(other) {
            self.fault(alias, format!("is another name of `{key}`: give one of them"));
        }
        let first = self.one(key, value, &read);
        let second = self.one(alias, other, read);
        first.or(second)
    }
}

/// A whole number, written as one: neither a text nor a fraction is taken for it.
fn whole(value: &Value, unit: &str, least: u32, most: u32, or: &str) -> Result<u32, String> {
    value
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("must be a whole number {unit}from {least} to {most}{or}"))
}

/// A multiplier in thousandths; 0 as 0.
fn thousandths(value: &Value) -> Result<u32, String> {
    let read = || {
        let number = value.as_f64()?;
        if number == 0.0 {
            return Some(0);
        }
        if !(1.0..=f64::from(RetryPolicy::MAX_MULTIPLIER)).contains(&number) {
            return None;
        }
        // The shortest text that means this number has more than three decimals exactly when the request has.
        let text = number.to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        if decimals.len() > 3 {
            return None;
        }
        format!("{whole}{decimals:0<3}").parse().ok()
    };
    read().ok_or_else(|| {
        format!(
            "must be a number from 1 to {} with at most three decimals, or 0 for the default",
            RetryPolicy::MAX_MULTIPLIER
        )
    })
}

impl RetryPolicy {
    /// Failures after which a delivery is given up, where the policy does not say.
    pub const DEFAULT_ATTEMPTS: u32 = 3;
    /// Minutes after the first failure, where the policy neither says nor allows an immediate retry.
    pub const DEFAULT_DELAY_MINUTES: u32 = 15;
    /// The default multiplier: the wait doubles.
    pub const DEFAULT_MULTIPLIER_THOUSANDTHS: u32 = 2_000;
    /// The longest backoff, where the policy does not say: one day.
    pub const DEFAULT_MAX_DELAY_MINUTES: u32 = 1_440;
    /// The most attempts that a policy can allow.
    pub const MAX_ATTEMPTS: u32 = 1_000_000;
    /// Ten years: more is no delay.
    pub const MAX_MINUTES: u32 = 5_256_000;
    /// The highest multiplier.
    pub const MAX_MULTIPLIER: u32 = 1_000;
    /// A hundred years: more is no age.
    pub const MAX_AGE_HOURS: u32 = 876_000;

    /// Reads a policy. Good values mean what they mean in the published service (contract wire 3.5): 0 attempts and
    /// a multiplier of 0 are the default, a delay of 0 is one minute unless an immediate retry is allowed.
    ///
    /// # Errors
    /// Every [`RetryPolicyError`] at once: a value that the published service would coerce, cut or fail on, is
    /// refused.
    pub fn parse(terms: &RetryPolicyTerms<'_>) -> Result<Self, Vec<RetryPolicyError>> {
        let mut reader = Reader::default();
        let max_retry_attempts = reader
            .either(
                ("max_retry_attempts", terms.max_retry_attempts),
                ("max_retries", terms.max_retries),
                |value| whole(value, "", 0, Self::MAX_ATTEMPTS, " (0 for the default)"),
            )
            .filter(|attempts| *attempts > 0)
            .unwrap_or(Self::DEFAULT_ATTEMPTS);
        let delay = reader.either(
            ("retry_delay_minutes", terms.retry_delay_minutes),
            ("delay_minutes", terms.delay_minutes),
            |value| whole(value, "of minutes ", 0, Self::MAX_MINUTES, ""),
        );
        let backoff_multiplier_thousandths = reader
            .either(
                ("backoff_multiplier", terms.backoff_multiplier),
                ("multiplier", terms.multiplier),
                thousandths,
            )
            .filter(|multiplier| *multiplier > 0)
            .unwrap_or(Self::DEFAULT_MULTIPLIER_THOUSANDTHS);
        let allow_immediate_retry = reader
            .one("allow_immediate_retry", terms.allow_immediate_retry, |value| {
                value.as_bool().ok_or_else(|| "must be true or false".to_owned())
            })
            .unwrap_or(false);
        let max_delay_minutes = reader
            .one("max_delay_minutes", terms.max_delay_minutes, |value| {
                whole(value, "of minutes ", 1, Self::MAX_MINUTES, "")
            })
            .unwrap_or(Self::DEFAULT_MAX_DELAY_MINUTES);
        let max_age_hours = reader.one("max_age_hours", terms.max_age_hours, |value| {
            whole(value, "of hours ", 1, Self::MAX_AGE_HOURS, "")
        });
        let jitter = reader
            .one("jitter", terms.jitter, |value| {
                let names = Jitter::ALL.iter().map(|jitter| jitter.as_str());
                value
                    .as_str()
                    .and_then(Jitter::parse)
                    .ok_or_else(|| format!("must be one of {}", names.collect::<Vec<_>>().join(", ")))
            })
            .unwrap_or(Jitter::None);
        if !reader.0.is_empty() {
            return Err(reader.0);
        }
        let base_retry_delay_minutes = if allow_immediate_retry {
            delay.unwrap_or(0)
        } else {
            delay.unwrap_or(Self::DEFAULT_DELAY_MINUTES).max(1)
        };
        Ok(Self {
            delays: delays(
                base_retry_delay_minutes,
                backoff_multiplier_thousandths,
                max_delay_minutes,
            ),
            max_retry_attempts,
            base_retry_delay_minutes,
            allow_immediate_retry,
            backoff_multiplier_thousandths,
            max_delay_minutes,
            max_age_hours,
            jitter,
        })
    }

    /// Failures, the first one included, after which a delivery is given up.
    pub const fn max_retry_attempts(&self) -> u32 {
        self.max_retry_attempts
    }

    /// Minutes to wait after the first failure.
    pub const fn base_retry_delay_minutes(&self) -> u32 {
        self.base_retry_delay_minutes
    }

    /// Whether the wait may be zero.
    pub const fn allow_immediate_retry(&self) -> bool {
        self.allow_immediate_retry
    }

    /// The multiplier as it is published; it is kept in thousandths.
    pub fn backoff_multiplier(&self) -> f64 {
        f64::from(self.backoff_multiplier_thousandths) / 1000.0
    }

    /// The longest backoff.
    pub const fn max_delay_minutes(&self) -> u32 {
        self.max_delay_minutes
    }

    /// How old the first failure may be.
    pub const fn max_age_hours(&self) -> Option<u32> {
        self.max_age_hours
    }

    /// How delays are spread.
    pub const fn jitter(&self) -> Jitter {
        self.jitter
    }

    /// The backoff after so many failures, before jitter.
    pub fn delay_micros(&self, failure_count: u64) -> i64 {
        usize::try_from(failure_count.saturating_sub(1))
            .ok()
            .and_then(|index| self.delays.get(index))
            .or_else(|| self.delays.last())
            .copied()
            .unwrap_or_default()
    }

    /// The backoff of a group, jitter included.
    fn group_delay_micros(&self, group: &Undelivered) -> i64 {
        let delay = self.delay_micros(group.failure_count);
        match self.jitter {
            Jitter::None => delay,
            Jitter::Equal => delay - delay / 2 + share(group, delay / 2),
        }
    }

    /// What is true of a group whatever the time: enough to find it by an index when its time has come.
    pub fn standing(&self, group: &Undelivered) -> Standing {
        self.standing_after(group, self.group_delay_micros(group))
    }

    fn standing_after(&self, group: &Undelivered, delay_micros: i64) -> Standing {
        let latest = &group.latest;
        if latest
            .status_code
            .is_some_and(|code| PERMANENT_STATUS_CODES.contains(&code))
        {
            return Standing::Suppressed(RetryReason::PermanentFailure);
        }
        if group.failure_count >= u64::from(self.max_retry_attempts) {
            return Standing::Suppressed(RetryReason::AttemptsExhausted);
        }
        let backoff_until = latest.at.plus_micros(delay_micros);
        let (due_at, why) = match group.retry_after_until {
            Some(asked) if asked > backoff_until => (asked, RetryReason::RetryAfter),
            Some(_) | None => (backoff_until, RetryReason::Backoff),
        };
        Standing::DueAt {
            due_at,
            gives_up_after: self.max_age_hours.map(|hours| {
                let age_micros = i64::from(hours) * 60 * MICROS_PER_MINUTE;
                group.first_failed_at.plus_micros(age_micros)
            }),
            why,
        }
    }

    /// The decision about a group at `now`.
    pub fn decide(&self, group: &Undelivered, now: Timestamp) -> RetryDecision {
        self.settle(group.clone(), now)
    }

    /// As [`RetryPolicy::decide`], of a group that nobody needs any more.
    fn settle(&self, group: Undelivered, now: Timestamp) -> RetryDecision {
        let delay_micros = self.group_delay_micros(&group);
        let standing = self.standing_after(&group, delay_micros);
        let (action, reason) = standing.at(now);
        let next_retry_at = match (action, standing) {
            (RetryAction::Retry | RetryAction::Wait, Standing::DueAt { due_at, .. }) => due_at.to_string(),
            (RetryAction::Suppress, _) | (_, Standing::Suppressed(_)) => String::new(),
        };
        let latest = group.latest;
        RetryDecision {
            export_id: latest.export_id,
            verification_id: latest.verification_id,
            release_record_ref: latest.release_record_ref,
            provider: latest.provider,
            action,
            reason: reason.sentence(),
            retry_count: group.failure_count,
            max_retry_attempts: self.max_retry_attempts,
            // The delay is neither negative nor longer than ten years.
            retry_delay_minutes: u32::try_from(delay_micros / MICROS_PER_MINUTE).unwrap_or_default(),
            latest_delivery_id: latest.delivery_id,
            latest_delivery_at: latest.at,
            next_retry_at,
            failed_status_codes: vec![latest.status_code],
            reason_code: reason,
            first_failed_at: group.first_failed_at,
            retry_after_until: group.retry_after_until,
            export_known: latest.export_known,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let (delay, multiplier, most) = (
            Self::DEFAULT_DELAY_MINUTES,
            Self::DEFAULT_MULTIPLIER_THOUSANDTHS,
            Self::DEFAULT_MAX_DELAY_MINUTES,
        );
        Self {
            max_retry_attempts: Self::DEFAULT_ATTEMPTS,
            base_retry_delay_minutes: delay,
            allow_immediate_retry: false,
            backoff_multiplier_thousandths: multiplier,
            max_delay_minutes: most,
            max_age_hours: None,
            jitter: Jitter::None,
            delays: delays(delay, multiplier, most),
        }
    }
}

/// The delays after one failure, two, and so on, until they stay the same: at the cap, or from the start when nothing
/// grows. One minute that grows by a thousandth reaches ten years after 15,483 steps, so the list is short.
fn delays(base_minutes: u32, multiplier_thousandths: u32, max_delay_minutes: u32) -> Arc<[i64]> {
    let cap = i64::from(max_delay_minutes) * MICROS_PER_MINUTE;
    let mut delay = (i64::from(base_minutes) * MICROS_PER_MINUTE).min(cap);
    let mut delays = vec![delay];
    loop {
        // A product beyond an i64 is, divided, over 29 times the ten years that a cap can be at most.
        let next = delay
            .checked_mul(i64::from(multiplier_thousandths))
            .map_or(cap, |product| (product / 1000).min(cap));
        if next == delay {
            return delays.into();
        }
        delays.push(next);
        delay = next;
    }
}

/// A share of `most`, from 0 to all of it, that is the same whenever the plan is made again from the same failures.
fn share(group: &Undelivered, most: i64) -> i64 {
    let latest = &group.latest;
    let failures = group.failure_count.to_string();
    let digest = sha256_of([
        latest.export_id.as_str(),
        latest.provider.key(),
        &failures,
        latest.delivery_id.as_str(),
    ]);
    let mut first = [0; 8];
    for (target, byte) in first.iter_mut().zip(digest) {
        *target = byte;
    }
    // The first 64 bits as a fraction of 2^64, of `most` + 1 values. `most` is not negative.
    let share = (u128::from(u64::from_be_bytes(first)) * (u128::from(most.unsigned_abs()) + 1)) >> 64;
    i64::try_from(share).unwrap_or(most)
}

// ---- what follows ----

text_enum! {
    /// What to do about an undelivered export (contract wire 3.5).
    RetryAction {
        /// Send it again now.
        Retry = "retry",
        /// Not yet.
        Wait = "wait",
        /// Do not send it again; somebody has to look.
        Suppress = "suppress",
    }
}

text_enum! {
    /// Why (contract decisions 8).
    RetryReason {
        /// Nothing speaks against another attempt.
        Eligible = "eligible",
        /// The policy's delay has not passed.
        Backoff = "backoff",
        /// The time that the provider asked for has not come.
        RetryAfter = "retry_after",
        /// It failed as often as the policy allows.
        AttemptsExhausted = "attempts_exhausted",
        /// The provider refused it for good.
        PermanentFailure = "permanent_failure",
        /// The first failure is older than the policy allows.
        MaxAgeExceeded = "max_age_exceeded",
    }
}

impl RetryReason {
    /// The reason for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Eligible => "the delivery failed and its wait is over: it may be sent again now",
            Self::Backoff => "the delay after the last failure has not passed yet",
            Self::RetryAfter => "the provider asked to wait longer, and that time has not come yet",
            Self::AttemptsExhausted => "the delivery has failed as often as the policy allows",
            Self::PermanentFailure => {
                "the provider refused the delivery in a way that repeating does not change"
            }
            Self::MaxAgeExceeded => "the first failure is older than the policy allows",
        }
    }
}

/// What is true of an undelivered group whatever the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Given up, for good or until somebody delivers it: a permanent failure, or attempts exhausted.
    Suppressed(RetryReason),
    /// To be sent again at some time.
    DueAt {
        /// From this time on.
        due_at: Timestamp,
        /// Up to and including this time, if the policy has an age.
        gives_up_after: Option<Timestamp>,
        /// What it waits for until it is due.
        why: RetryReason,
    },
}

impl Standing {
    /// What follows from it at `now`.
    pub fn at(self, now: Timestamp) -> (RetryAction, RetryReason) {
        match self {
            Self::Suppressed(reason) => (RetryAction::Suppress, reason),
            Self::DueAt {
                gives_up_after: Some(last),
                ..
            } if now > last => (RetryAction::Suppress, RetryReason::MaxAgeExceeded),
            Self::DueAt { due_at, why, .. } if now < due_at => (RetryAction::Wait, why),
            Self::DueAt { .. } => (RetryAction::Retry, RetryReason::Eligible),
        }
    }
}

/// The decision about one undelivered group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RetryDecision {
    /// The export.
    pub export_id: ExportId,
    /// Its verification; empty when unknown.
    pub verification_id: Text,
    /// The release; empty when unknown.
    pub release_record_ref: Text,
    /// The provider, as the newest failure names it.
    pub provider: Provider,
    /// What to do.
    pub action: RetryAction,
    /// Why, for people.
    pub reason: &'static str,
    /// Failures since the last success.
    pub retry_count: u64,
    /// After how many the delivery is given up.
    pub max_retry_attempts: u32,
    /// The backoff after the newest failure, cut to whole minutes.
    pub retry_delay_minutes: u32,
    /// The newest failure.
    pub latest_delivery_id: DeliveryId,
    /// When it happened.
    pub latest_delivery_at: Timestamp,
    /// From when on it may be sent again; empty when it may not.
    pub next_retry_at: String,
    /// What this provider answered to the newest failure: null when unknown, 0 when it was unreachable.
    pub failed_status_codes: Vec<Option<u16>>,
    /// Why.
    pub reason_code: RetryReason,
    /// The first failure since the last success.
    pub first_failed_at: Timestamp,
    /// Until when the provider asked to wait; null when it did not.
    pub retry_after_until: Option<Timestamp>,
    /// Whether the export is known here.
    pub export_known: bool,
}

/// Decides group after group. The attempts come in the order of export, provider key, time and position; decisions go
/// out in the order of export and provider key. One group is in memory at a time.
#[derive(Debug)]
pub struct RetryPlanner<'a> {
    policy: &'a RetryPolicy,
    now: Timestamp,
    group: Option<Undelivered>,
}

impl<'a> RetryPlanner<'a> {
    /// A planner for one policy and time.
    pub const fn new(policy: &'a RetryPolicy, now: Timestamp) -> Self {
        Self {
            policy,
            now,
            group: None,
        }
    }

    /// Takes the next attempt; gives the decision about the group before it, if that ended undelivered.
    pub fn attempt(&mut self, attempt: DeliveryAttempt) -> Option<RetryDecision> {
        let before = self.group.take();
        let (same, ended) = match before {
            Some(group) if group.is_group_of(&attempt) => (Some(group), None),
            other => (None, other),
        };
        self.group = Undelivered::fold(same, attempt);
        ended.map(|group| self.policy.settle(group, self.now))
    }

    /// The decision about the last group, if that ended undelivered.
    pub fn finish(self) -> Option<RetryDecision> {
        self.group.map(|group| self.policy.settle(group, self.now))
    }
}

/// Counts over decisions. The three actions partition `decision_count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryCounts {
    /// Undelivered groups.
    pub decision_count: u64,
    /// Of these, to be sent again now.
    pub retryable_count: u64,
    /// Of these, not yet.
    pub waiting_count: u64,
    /// Of these, given up.
    pub suppressed_count: u64,
    /// Of these, about an export that is not known here.
    pub unknown_export_count: u64,
}

impl RetryCounts {
    /// Adds one decision.
    pub fn add(&mut self, decision: &RetryDecision) {
        self.decision_count += 1;
        match decision.action {
            RetryAction::Retry => self.retryable_count += 1,
            RetryAction::Wait => self.waiting_count += 1,
            RetryAction::Suppress => self.suppressed_count += 1,
        }
        self.unknown_export_count += u64::from(!decision.export_known);
    }

    /// Critical when anything can be sent or is given up, for both need somebody; a warning when everything only
    /// waits (contract decisions 8).
    pub const fn level(&self) -> Level {
        if self.retryable_count > 0 || self.suppressed_count > 0 {
            Level::Critical
        } else if self.waiting_count > 0 {
            Level::Warning
        } else {
            Level::Healthy
        }
    }
}

// ---- the document ----

/// The evidence that a plan was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RetryPlanEvidence {
    /// Sequence number of the newest record that was looked at; 0 when there is none.
    pub log_position: u64,
}

/// What a plan is built from, besides its decisions.
#[derive(Debug, Clone)]
pub struct RetryPlanInput<'a> {
    /// Its id.
    pub retry_plan_id: RetryPlanId,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: &'a Actor,
    /// By which policy.
    pub policy: &'a RetryPolicy,
    /// Counts over its decisions.
    pub counts: RetryCounts,
    /// Evidence.
    pub log_position: u64,
}

/// Everything of a plan but its decisions.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RetryPlanHeader {
    /// [`RETRY_PLAN_SCHEMA`].
    pub schema_version: &'static str,
    /// Always `CAVRA`.
    pub product: &'static str,
    /// This plan.
    pub retry_plan_id: RetryPlanId,
    /// When it was made, and for which time it holds.
    pub generated_at: Timestamp,
    /// Display name of the actor.
    pub generated_by: Text,
    /// Critical when anything can be sent or is given up, a warning when everything only waits.
    pub alert_level: Level,
    /// Undelivered exports, counted per provider. The three counts that follow add up to it.
    pub decision_count: u64,
    /// To be sent again now.
    pub retryable_count: u64,
    /// Not yet.
    pub waiting_count: u64,
    /// Given up.
    pub suppressed_count: u64,
    /// Failures, the first one included, after which a delivery is given up.
    pub max_retry_attempts: u32,
    /// Minutes to wait after the first failure.
    pub base_retry_delay_minutes: u32,
    /// Whether the wait may be zero.
    pub allow_immediate_retry: bool,
    /// By what the wait grows with each further failure.
    pub backoff_multiplier: f64,
    /// The longest backoff.
    pub max_delay_minutes: u32,
    /// How old the first failure may be; null for any age.
    pub max_age_hours: Option<u32>,
    /// How the delays are spread.
    pub jitter: Jitter,
    /// Decisions about an export that is not known here, as imported deliveries may name one.
    pub unknown_export_count: u64,
    /// What it was made from.
    pub evidence: RetryPlanEvidence,
    /// Who made it.
    pub actor: Actor,
}

impl RetryPlanHeader {
    /// The header of a plan.
    pub fn new(input: RetryPlanInput<'_>) -> Self {
        let RetryPlanInput {
            retry_plan_id,
            at,
            actor,
            policy,
            counts,
            log_position,
        } = input;
        Self {
            schema_version: RETRY_PLAN_SCHEMA,
            product: PRODUCT,
            retry_plan_id,
            generated_at: at,
            generated_by: actor.actor.clone(),
            alert_level: counts.level(),
            decision_count: counts.decision_count,
            retryable_count: counts.retryable_count,
            waiting_count: counts.waiting_count,
            suppressed_count: counts.suppressed_count,
            max_retry_attempts: policy.max_retry_attempts,
            base_retry_delay_minutes: policy.base_retry_delay_minutes,
            allow_immediate_retry: policy.allow_immediate_retry,
            backoff_multiplier: policy.backoff_multiplier(),
            max_delay_minutes: policy.max_delay_minutes,
            max_age_hours: policy.max_age_hours,
            jitter: policy.jitter,
            unknown_export_count: counts.unknown_export_count,
            evidence: RetryPlanEvidence { log_position },
            actor: actor.clone(),
        }
    }

    /// The end of the plan's text, from the end of the list of decisions on.
    pub fn close(&self) -> String {
        // A struct of texts and numbers always serialises.
        let mut members = serde_json::to_string(self).unwrap_or_default();
        members.pop();
        members.replace_range(..members.len().min(1), "],");
        format!("{members},\"controls\":{}}}", json!(CONTROLS))
    }

    /// The evidence record of a plan that is kept elsewhere because it is large: everything but the decisions, how
    /// many these are, and what the whole is recognised by.
    pub fn record(&self, whole: &DocumentDigest) -> MetadataRecord {
        let mut summary = serde_json::to_value(self).unwrap_or(Value::Null);
        if let Value::Object(members) = &mut summary {
            members.insert("retry_decisions_omitted".into(), json!(self.decision_count));
            members.insert("document_sha256".into(), json!(whole.sha256));
            members.insert("document_bytes".into(), json!(whole.bytes));
            members.insert("controls".into(), json!(CONTROLS));
        }
        self.record_with(summary)
    }

    fn record_with(&self, document: Value) -> MetadataRecord {
        MetadataRecord {
            kind: EvidenceKind::ExportRetryPlan,
            session_id: self.retry_plan_id.as_str().to_owned(),
            created_at: self.generated_at,
            signer: self.generated_by.as_str().to_owned(),
            decision_count: self.decision_count,
            blocked_count: self.suppressed_count,
            approval_required_count: self.retryable_count,
            fields: vec![
                ("retry_plan_id", json!(self.retry_plan_id)),
                ("alert_level", json!(self.alert_level)),
                ("retryable_count", json!(self.retryable_count)),
                ("waiting_count", json!(self.waiting_count)),
                ("suppressed_count", json!(self.suppressed_count)),
            ],
            payload: (EvidenceKind::ExportRetryPlan.payload_key(), document),
        }
    }
}

/// A whole plan: its shape for schemas, and small plans in memory.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "RetryPlan")]
pub struct RetryPlan {
    /// One per undelivered export and provider, in this order.
    pub retry_decisions: Vec<RetryDecision>,
    /// Everything but the decisions.
    #[serde(flatten)]
    pub header: RetryPlanHeader,
    /// Security properties, as labels.
    pub controls: Vec<&'static str>,
}

impl RetryPlan {
    /// The beginning of every plan's text, up to the list of decisions.
    pub const OPEN: &'static str = "{\"retry_decisions\":[";

    /// A plan of decisions in memory.
    pub fn new(header: RetryPlanHeader, retry_decisions: Vec<RetryDecision>) -> Self {
        Self {
            header,
            retry_decisions,
            controls: CONTROLS.to_vec(),
        }
    }

    /// The plan's text, put together from its pieces.
    pub fn text(&self) -> String {
        let mut text = Self::OPEN.to_owned();
        for (index, decision) in self.retry_decisions.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::to_string(decision).unwrap_or_default());
        }
        text.push_str(&self.header.close());
        text
    }

    /// The evidence record: with the whole document, or, when that is kept elsewhere, as
    /// [`RetryPlanHeader::record`].
    pub fn record(&self, whole: Option<&DocumentDigest>) -> MetadataRecord {
        match whole {
            None => self
                .header
                .record_with(serde_json::to_value(self).unwrap_or(Value::Null)),
            Some(whole) => self.header.record(whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::record::{Projection, interpret};
    use crate::testing::{PROVIDERS, actor, at, now, provider, text};

    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = MICROS_PER_MINUTE;
    const HOUR: i64 = 60 * MINUTE;
    const TEN_YEARS: i64 = 5_256_000 * MINUTE;
    /// 15 minutes after equal jitter, for the first failure of [`failure`]'s group, computed outside this program.
    const JITTERED_MICROS: i64 = 562_865_587;

    /// A failure of `export` over `over`, so many microseconds after [`now`].
    fn failure_of(export: &str, over: &str, number: u64, after: i64) -> DeliveryAttempt {
        DeliveryAttempt {
            delivery_id: DeliveryId::parse(&format!("rcd-{number}")).unwrap(),
            export_id: ExportId::parse(&format!("gordackfinalauditor-{export}")).unwrap(),
            provider: provider(over),
            at: now().plus_micros(after),
            success: false,
            status_code: Some(503),
            retry_after_seconds: None,
            verification_id: text("gordackfinalpacket-1"),
            release_record_ref: text("REL-2026-01"),
            export_known: true,
        }
    }

    fn failure(number: u64, after: i64) -> DeliveryAttempt {
        failure_of("a", "Pager-Duty", number, after)
    }

    fn success(number: u64, after: i64) -> DeliveryAttempt {
        DeliveryAttempt {
            success: true,
            status_code: Some(200),
            ..failure(number, after)
        }
    }

    fn answered(code: u16, attempt: DeliveryAttempt) -> DeliveryAttempt {
        DeliveryAttempt {
            status_code: Some(code),
            ..attempt
        }
    }

    fn asked_to_wait(seconds: u64, attempt: DeliveryAttempt) -> DeliveryAttempt {
        DeliveryAttempt {
            retry_after_seconds: Some(seconds),
            ..attempt
        }
    }

    fn fold(attempts: impl IntoIterator<Item = DeliveryAttempt>) -> Option<Undelivered> {
        attempts.into_iter().fold(None, Undelivered::fold)
    }

    /// A group whose failures lie a second apart, the newest one [`now`].
    fn failed_times(count: u64) -> Undelivered {
        let before = |number: u64| i64::try_from(count - number).unwrap() * -SECOND;
        fold((1..=count).map(|number| failure(number, before(number)))).unwrap()
    }

    fn terms(policy: &Value) -> RetryPolicyTerms<'_> {
        RetryPolicyTerms {
            max_retry_attempts: policy.get("max_retry_attempts"),
            max_retries: policy.get("max_retries"),
            retry_delay_minutes: policy.get("retry_delay_minutes"),
            delay_minutes: policy.get("delay_minutes"),
            backoff_multiplier: policy.get("backoff_multiplier"),
            multiplier: policy.get("multiplier"),
            allow_immediate_retry: policy.get("allow_immediate_retry"),
            max_delay_minutes: policy.get("max_delay_minutes"),
            max_age_hours: policy.get("max_age_hours"),
            jitter: policy.get("jitter"),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(..) in place"
    )]
    fn policy(json: Value) -> RetryPolicy {
        RetryPolicy::parse(&terms(&json)).unwrap()
    }

    /// The faults of a policy, as text.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write json!(..) in place"
    )]
    fn faults(json: Value) -> Vec<String> {
        let faults = RetryPolicy::parse(&terms(&json)).expect_err(&json.to_string());
        faults.iter().map(ToString::to_string).collect()
    }

    /// The published table's policy: attempts, delay, multiplier.
    fn published(attempts: u32, delay: u32, multiplier: f64) -> RetryPolicy {
        policy(json!({
            "max_retry_attempts": attempts, "retry_delay_minutes": delay, "backoff_multiplier": multiplier,
        }))
    }

    /// Action, reason and shown delay when the newest of `count` failures is `age` old.
    fn row(policy: &RetryPolicy, count: u64, age: i64) -> (RetryAction, RetryReason, u32) {
        let decision = policy.decide(&failed_times(count), now().plus_micros(age));
        (
            decision.action,
            decision.reason_code,
            decision.retry_delay_minutes,
        )
    }

    const RETRY: (RetryAction, RetryReason) = (RetryAction::Retry, RetryReason::Eligible);
    const BACKOFF: (RetryAction, RetryReason) = (RetryAction::Wait, RetryReason::Backoff);
    const ASKED: (RetryAction, RetryReason) = (RetryAction::Wait, RetryReason::RetryAfter);
    const EXHAUSTED: (RetryAction, RetryReason) = (RetryAction::Suppress, RetryReason::AttemptsExhausted);
    const PERMANENT: (RetryAction, RetryReason) = (RetryAction::Suppress, RetryReason::PermanentFailure);
    const TOO_OLD: (RetryAction, RetryReason) = (RetryAction::Suppress, RetryReason::MaxAgeExceeded);

    /// Action and reason at a time after [`now`].
    fn said(policy: &RetryPolicy, group: &Undelivered, after: i64) -> (RetryAction, RetryReason) {
        let decision = policy.decide(group, now().plus_micros(after));
        (decision.action, decision.reason_code)
    }

    fn with<A, B, C>((a, b): (A, B), c: C) -> (A, B, C) {
        (a, b, c)
    }

    // ---- the published boundary table (contract wire 3.5), row by row ----

    #[test]
    fn one_failure_waits_when_it_is_14_minutes_and_59_seconds_old() {
        let policy = published(3, 15, 2.0);
        assert_eq!(row(&policy, 1, 14 * MINUTE + 59 * SECOND), with(BACKOFF, 15));
        assert_eq!(row(&policy, 1, 15 * MINUTE - 1), with(BACKOFF, 15));
    }

    #[test]
    fn one_failure_is_retried_when_it_is_exactly_15_minutes_old() {
        assert_eq!(row(&published(3, 15, 2.0), 1, 15 * MINUTE), with(RETRY, 15));
    }

    #[test]
    fn two_failures_wait_when_the_newest_is_29_minutes_old() {
        let policy = published(3, 15, 2.0);
        assert_eq!(row(&policy, 2, 29 * MINUTE), with(BACKOFF, 30));
        assert_eq!(row(&policy, 2, 30 * MINUTE - 1), with(BACKOFF, 30));
    }

    #[test]
    fn two_failures_are_retried_when_the_newest_is_30_minutes_old() {
        assert_eq!(row(&published(3, 15, 2.0), 2, 30 * MINUTE), with(RETRY, 30));
    }

    #[test]
    fn three_failures_are_suppressed_at_any_age_and_show_60_minutes() {
        for age in [-HOUR, 0, 60 * MINUTE, TEN_YEARS] {
            assert_eq!(row(&published(3, 15, 2.0), 3, age), with(EXHAUSTED, 60), "{age}");
        }
    }

    #[test]
    fn a_delay_of_22_and_a_half_minutes_waits_to_its_end_and_is_shown_as_22() {
        let policy = published(5, 15, 1.5);
        assert_eq!(row(&policy, 2, 22 * MINUTE + 15 * SECOND), with(BACKOFF, 22));
        assert_eq!(row(&policy, 2, 22 * MINUTE + 30 * SECOND - 1), with(BACKOFF, 22));
        assert_eq!(row(&policy, 2, 22 * MINUTE + 30 * SECOND), with(RETRY, 22));
    }

    #[test]
    fn one_failure_is_retried_at_once_when_that_is_allowed_and_no_delay_is_given() {
        assert_eq!(
            row(&policy(json!({ "allow_immediate_retry": true })), 1, 0),
            with(RETRY, 0)
        );
    }

    #[test]
    fn one_failure_is_suppressed_at_any_age_when_one_attempt_is_allowed_and_shows_the_base_delay() {
        for (delay, multiplier) in [(15, 2.0), (7, 1.0), (90, 3.5)] {
            for age in [-HOUR, 0, 15 * MINUTE, TEN_YEARS] {
                assert_eq!(
                    row(&published(1, delay, multiplier), 1, age),
                    with(EXHAUSTED, delay)
                );
            }
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_published_table() {
        let policy = RetryPolicy::default();
        assert_eq!(policy, published(3, 15, 2.0));
        assert_eq!(policy, RetryPolicy::parse(&RetryPolicyTerms::default()).unwrap());
        assert_eq!(policy.max_retry_attempts(), 3);
        assert_eq!(policy.base_retry_delay_minutes(), 15);
        assert!(!policy.allow_immediate_retry());
        assert!((policy.backoff_multiplier() - 2.0).abs() < f64::EPSILON);
        assert_eq!(policy.max_delay_minutes(), 1_440);
        assert_eq!((policy.max_age_hours(), policy.jitter()), (None, Jitter::None));
    }

    #[test]
    fn the_published_example_gives_the_published_decision() {
        let attempt = DeliveryAttempt {
            delivery_id: DeliveryId::parse("rcd-gordackfinalauditor-1212121212121212-a1b2c3d4e5f6").unwrap(),
            export_id: ExportId::parse("gordackfinalauditor-1212121212121212").unwrap(),
            verification_id: text("gordackfinalpacket-3434343434343434"),
            provider: provider("webhook"),
            at: at("2026-01-02T03:04:06+00:00"),
            ..failure(1, 0)
        };
        let group = fold([attempt]).unwrap();
        let decision = RetryPolicy::default().decide(&group, at("2026-01-02T03:30:00+00:00"));
        let expected = concat!(
            r#"{"export_id":"gordackfinalauditor-1212121212121212","#,
            r#""verification_id":"gordackfinalpacket-3434343434343434","release_record_ref":"REL-2026-01","#,
            r#""provider":"webhook","action":"retry","#,
            r#""reason":"the delivery failed and its wait is over: it may be sent again now","retry_count":1,"#,
            r#""max_retry_attempts":3,"retry_delay_minutes":15,"#,
            r#""latest_delivery_id":"rcd-gordackfinalauditor-1212121212121212-a1b2c3d4e5f6","#,
            r#""latest_delivery_at":"2026-01-02T03:04:06.000000Z","next_retry_at":"2026-01-02T03:19:06.000000Z","#,
            r#""failed_status_codes":[503],"reason_code":"eligible","#,
            r#""first_failed_at":"2026-01-02T03:04:06.000000Z","retry_after_until":null,"export_known":true}"#,
        );
        assert_eq!(serde_json::to_string(&decision).unwrap(), expected);
    }

    // ---- what counts (contract decisions 8) ----

    #[test]
    fn a_success_clears_the_failures_before_it() {
        assert_eq!(
            fold([failure(1, 0), failure(2, MINUTE), success(3, 2 * MINUTE)]),
            None
        );
        let again = fold([
            answered(404, asked_to_wait(86_400, failure(1, 0))),
            success(2, MINUTE),
            failure(3, 2 * MINUTE),
        ])
        .unwrap();
        assert_eq!(
            (
                again.failure_count(),
                again.first_failed_at(),
                again.retry_after_until()
            ),
            (1, now().plus_minutes(2), None)
        );
        assert_eq!(said(&RetryPolicy::default(), &again, 17 * MINUTE), RETRY);
    }

    #[test]
    fn a_failure_at_the_time_of_a_success_counts_when_it_was_recorded_after_it() {
        assert_eq!(fold([failure(1, 0), success(2, 0)]), None);
        assert_eq!(fold([success(1, 0), failure(2, 0)]).unwrap().failure_count(), 1);
    }

    #[test]
    fn a_success_over_one_provider_says_nothing_about_another() {
        let attempts = [
            failure_of("a", "slack", 1, 0),
            DeliveryAttempt {
                success: true,
                ..failure_of("a", "webhook", 2, MINUTE)
            },
        ];
        let decisions = planned(&RetryPolicy::default(), now().plus_minutes(15), &attempts);
        assert_eq!(decisions.len(), 1);
        assert_eq!(decisions[0].provider.as_str(), "slack");
    }

    #[test]
    fn only_undelivered_groups_are_decided() {
        let delivered = |export| DeliveryAttempt {
            success: true,
            ..failure_of(export, "slack", 9, MINUTE)
        };
        let attempts = [
            delivered("a"),
            failure_of("b", "slack", 1, 0),
            delivered("b"),
            failure_of("c", "slack", 2, 0),
        ];
        let exports: Vec<_> = planned(&RetryPolicy::default(), now(), &attempts)
            .into_iter()
            .map(|decision| decision.export_id.to_string())
            .collect();
        assert_eq!(exports, ["gordackfinalauditor-c"]);
    }

    #[test]
    fn deliveries_are_grouped_by_export_and_provider_in_any_spelling_and_decided_in_that_order() {
        let attempts = [
            failure_of("b", "slack", 1, 0),
            failure_of("a", "Webhook", 2, 0),
            failure_of("a", "pager_duty", 3, 0),
            failure_of("a", " Pager-Duty ", 4, MINUTE),
        ];
        let groups: Vec<_> = planned(&RetryPolicy::default(), now(), &attempts)
            .into_iter()
            .map(|decision| {
                (
                    decision.export_id.to_string(),
                    decision.provider.to_string(),
                    decision.retry_count,
                )
            })
            .collect();
        let group = |export: &str, over: &str, count| {
            (format!("gordackfinalauditor-{export}"), over.to_owned(), count)
        };
        assert_eq!(
            groups,
            [
                group("a", "Pager-Duty", 2),
                group("a", "Webhook", 1),
                group("b", "slack", 1)
            ]
        );
    }

    #[test]
    fn all_failed_deliveries_count_and_none_is_outside_a_window() {
        let policy =
            policy(json!({ "max_retry_attempts": 1_001, "retry_delay_minutes": 1, "multiplier": 1 }));
        let year = 525_600 * MINUTE;
        let attempts: Vec<_> = (0..1_000)
            .map(|number| failure(number, i64::try_from(number).unwrap() * year))
            .collect();
        let decision = policy.decide(&fold(attempts).unwrap(), now().plus_micros(1_000 * year));
        assert_eq!(
            (decision.retry_count, decision.first_failed_at, decision.action),
            (1_000, now(), RetryAction::Retry)
        );
    }

    #[test]
    fn the_newest_failure_is_shown_with_its_own_answer_only() {
        let group = fold([answered(500, failure(1, 0)), answered(0, failure(2, MINUTE))]).unwrap();
        let decision = RetryPolicy::default().decide(&group, now());
        assert_eq!(decision.latest_delivery_id.as_str(), "rcd-2");
        assert_eq!(decision.latest_delivery_at, now().plus_minutes(1));
        assert_eq!(decision.first_failed_at, now());
        assert_eq!(decision.failed_status_codes, [Some(0)]);
    }

    #[test]
    fn a_release_that_the_newest_failure_does_not_name_is_that_of_the_one_before() {
        let silent = DeliveryAttempt {
            verification_id: Text::empty(),
            release_record_ref: Text::empty(),
            ..failure(2, MINUTE)
        };
        let decision = RetryPolicy::default().decide(&fold([failure(1, 0), silent]).unwrap(), now());
        assert_eq!(
            (decision.verification_id, decision.release_record_ref),
            (text("gordackfinalpacket-1"), text("REL-2026-01"))
        );
    }

    // ---- when (contract decisions 8) ----

    #[test]
    fn the_backoff_is_capped_at_one_day_unless_the_policy_says_otherwise() {
        let doubling = policy(json!({ "max_retry_attempts": 100 }));
        let minutes =
            |policy: &RetryPolicy, count| policy.decide(&failed_times(count), now()).retry_delay_minutes;
        assert_eq!(
            [6, 7, 8, 9].map(|count| minutes(&doubling, count)),
            [480, 960, 1_440, 1_440]
        );
        let short = policy(json!({ "max_retry_attempts": 100, "max_delay_minutes": 45 }));
        assert_eq!([1, 2, 3, 4].map(|count| minutes(&short, count)), [15, 30, 45, 45]);
        assert_eq!(said(&short, &failed_times(4), 45 * MINUTE - 1), BACKOFF);
        assert_eq!(said(&short, &failed_times(4), 45 * MINUTE), RETRY);
        let long = policy(json!({ "retry_delay_minutes": 60, "max_delay_minutes": 45 }));
        assert_eq!(minutes(&long, 1), 45);
    }

    #[test]
    fn each_step_of_the_backoff_is_exact_to_the_microsecond_and_cut_below_it() {
        let policy = published(100, 1, 1.001);
        // 60,000,000 times 1.001 four times: 60,240,360.24006, cut at each step.
        assert_eq!(
            [1, 2, 3, 4, 5].map(|count| policy.delay_micros(count)),
            [60_000_000, 60_060_000, 60_120_060, 60_180_180, 60_240_360]
        );
    }

    #[test]
    fn a_delay_that_does_not_grow_stays_the_same_for_ever() {
        for policy in [
            published(9, 7, 1.0),
            policy(json!({ "allow_immediate_retry": true, "multiplier": 1_000 })),
        ] {
            let base = i64::from(policy.base_retry_delay_minutes()) * MINUTE;
            for count in [0, 1, 2, 1_000_000, u64::MAX] {
                assert_eq!(policy.delay_micros(count), base, "{count}");
            }
            assert_eq!(policy.delays.len(), 1);
        }
    }

    #[test]
    fn the_slowest_growth_to_the_highest_cap_takes_a_bounded_number_of_steps() {
        let slowest = policy(json!({
            "retry_delay_minutes": 1, "multiplier": 1.001, "max_delay_minutes": RetryPolicy::MAX_MINUTES,
        }));
        assert_eq!(slowest.delays.len(), 15_484);
        assert_eq!(slowest.delay_micros(u64::MAX), TEN_YEARS);
    }

    #[test]
    fn a_million_failures_overflow_nothing() {
        let steep = policy(json!({
            "max_retry_attempts": RetryPolicy::MAX_ATTEMPTS, "retry_delay_minutes": RetryPolicy::MAX_MINUTES,
            "multiplier": RetryPolicy::MAX_MULTIPLIER, "max_delay_minutes": RetryPolicy::MAX_MINUTES,
            "max_age_hours": RetryPolicy::MAX_AGE_HOURS, "jitter": "equal",
        }));
        let flat = policy(json!({
            "max_retry_attempts": RetryPolicy::MAX_ATTEMPTS, "retry_delay_minutes": 1, "multiplier": 1.001,
        }));
        let one = fold([asked_to_wait(u64::MAX, failure(1, 0))]).unwrap();
        for count in [999_999, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            let mut group = Undelivered {
                failure_count: count,
                ..one.clone()
            };
            for at in [Timestamp::MIN, Timestamp::EPOCH, now(), Timestamp::MAX] {
                group.latest.at = at;
                group.first_failed_at = at;
                group.retry_after_until = group.latest.retry_after_until();
                let expected = if count < 1_000_000 {
                    "retry_after"
                } else {
                    "attempts_exhausted"
                };
                for policy in [&steep, &flat] {
                    let decision = policy.decide(&group, at);
                    // At the last moment that can be written nothing is left to wait for.
                    let last = at == Timestamp::MAX && count < 1_000_000;
                    assert_eq!(
                        decision.reason_code.as_str(),
                        if last { "eligible" } else { expected }
                    );
                    assert_eq!(decision.retry_count, count);
                    let after = Undelivered::fold(Some(group.clone()), failure(2, 0)).unwrap();
                    assert_eq!(after.failure_count(), count.saturating_add(1));
                }
            }
        }
        assert_eq!(steep.delay_micros(1_000_000), TEN_YEARS);
        assert_eq!(flat.delay_micros(1_000_000), 1_440 * MINUTE);
    }

    #[test]
    fn a_million_recorded_failures_are_a_million() {
        let attempt = failure(1, 0);
        let group = fold((0..1_000_000).map(|_| attempt.clone())).unwrap();
        let policy = policy(json!({ "max_retry_attempts": 1_000_000 }));
        assert_eq!(group.failure_count(), 1_000_000);
        assert_eq!(said(&policy, &group, 0), EXHAUSTED);
    }

    #[test]
    fn a_time_that_the_provider_asked_for_postpones_the_retry() {
        let group = fold([asked_to_wait(1_800, failure(1, 0))]).unwrap();
        let policy = RetryPolicy::default();
        assert_eq!(said(&policy, &group, 15 * MINUTE), ASKED);
        assert_eq!(said(&policy, &group, 30 * MINUTE - 1), ASKED);
        assert_eq!(said(&policy, &group, 30 * MINUTE), RETRY);
        let decision = policy.decide(&group, now());
        assert_eq!(decision.next_retry_at, now().plus_minutes(30).to_string());
        assert_eq!(decision.retry_after_until, Some(now().plus_minutes(30)));
        assert_eq!(decision.retry_delay_minutes, 15);
    }

    #[test]
    fn a_time_that_the_provider_asked_for_is_not_capped() {
        let group = fold([asked_to_wait(10 * 86_400, failure(1, 0))]).unwrap();
        let policy = policy(json!({ "max_delay_minutes": 1 }));
        assert_eq!(said(&policy, &group, 10 * 24 * HOUR - 1), ASKED);
        assert_eq!(said(&policy, &group, 10 * 24 * HOUR), RETRY);
    }

    #[test]
    fn a_shorter_time_than_the_backoff_changes_nothing_and_an_equal_one_waits_for_the_backoff() {
        for seconds in [0, 60, 900] {
            let group = fold([asked_to_wait(seconds, failure(1, 0))]).unwrap();
            assert_eq!(
                said(&RetryPolicy::default(), &group, 15 * MINUTE - 1),
                BACKOFF,
                "{seconds}"
            );
            assert_eq!(
                said(&RetryPolicy::default(), &group, 15 * MINUTE),
                RETRY,
                "{seconds}"
            );
        }
    }

    #[test]
    fn what_an_earlier_failure_was_asked_to_wait_still_holds_after_a_later_one() {
        let group = fold([
            asked_to_wait(7_200, failure(1, 0)),
            asked_to_wait(5, failure(2, MINUTE)),
        ])
        .unwrap();
        assert_eq!(said(&RetryPolicy::default(), &group, 120 * MINUTE - 1), ASKED);
        assert_eq!(said(&RetryPolicy::default(), &group, 120 * MINUTE), RETRY);
    }

    #[test]
    fn a_permanent_status_of_the_newest_failure_is_suppressed_whatever_else_holds() {
        let policy = policy(json!({ "max_retry_attempts": 1, "max_age_hours": 1 }));
        for code in [400, 401, 403, 404, 405, 410, 413, 422] {
            let group = fold([asked_to_wait(9_999, answered(code, failure(1, 0)))]).unwrap();
            for after in [-HOUR, 0, 15 * MINUTE, TEN_YEARS] {
                assert_eq!(said(&policy, &group, after), PERMANENT, "{code}");
            }
            assert_eq!(policy.decide(&group, now()).next_retry_at, "");
        }
    }

    #[test]
    fn a_status_that_may_pass_is_retried_also_when_an_earlier_failure_was_permanent() {
        for code in (100..600)
            .filter(|code| !PERMANENT_STATUS_CODES.contains(code))
            .chain([0])
        {
            let group = fold([answered(code, failure(1, 0))]).unwrap();
            assert_eq!(
                said(&RetryPolicy::default(), &group, 15 * MINUTE),
                RETRY,
                "{code}"
            );
        }
        let unknown = DeliveryAttempt {
            status_code: None,
            ..failure(2, 0)
        };
        let group = fold([answered(404, failure(1, 0)), unknown]).unwrap();
        assert_eq!(said(&RetryPolicy::default(), &group, 30 * MINUTE), RETRY);
        assert_eq!(
            RetryPolicy::default().decide(&group, now()).failed_status_codes,
            [None]
        );
    }

    #[test]
    fn a_failure_is_too_old_only_after_the_last_moment_of_the_age() {
        let policy = policy(json!({ "max_retry_attempts": 9, "max_age_hours": 24 }));
        let group = fold([failure(1, 0), failure(2, 23 * HOUR)]).unwrap();
        assert_eq!(said(&policy, &group, 24 * HOUR), RETRY);
        assert_eq!(said(&policy, &group, 24 * HOUR + 1), TOO_OLD);
        assert_eq!(
            policy
                .decide(&group, now().plus_micros(24 * HOUR + 1))
                .next_retry_at,
            ""
        );
    }

    #[test]
    fn the_age_counts_from_the_first_failure_after_the_last_success_and_is_optional() {
        let policy = policy(json!({ "max_age_hours": 1 }));
        let group = fold([failure(1, 0), success(2, HOUR), failure(3, 2 * HOUR)]).unwrap();
        assert_eq!(said(&policy, &group, 3 * HOUR), RETRY);
        assert_eq!(said(&policy, &group, 3 * HOUR + 1), TOO_OLD);
        assert_eq!(said(&RetryPolicy::default(), &group, TEN_YEARS), RETRY);
    }

    #[test]
    fn exhausted_comes_before_too_old_and_too_old_before_waiting() {
        let policy = policy(json!({ "max_retry_attempts": 2, "max_age_hours": 1 }));
        let twice = fold([failure(1, 0), failure(2, MINUTE)]).unwrap();
        assert_eq!(said(&policy, &twice, 2 * HOUR), EXHAUSTED);
        let asked = fold([asked_to_wait(86_400, failure(1, 0))]).unwrap();
        assert_eq!(said(&policy, &asked, HOUR), ASKED);
        assert_eq!(said(&policy, &asked, HOUR + 1), TOO_OLD);
    }

    #[test]
    fn a_failure_dated_ahead_waits_and_is_not_too_old() {
        let policy = policy(json!({ "max_age_hours": 1 }));
        let group = fold([failure(1, 48 * HOUR)]).unwrap();
        assert_eq!(said(&policy, &group, 0), BACKOFF);
        assert_eq!(said(&policy, &group, 48 * HOUR + 15 * MINUTE), RETRY);
    }

    #[test]
    fn equal_jitter_is_computed_from_the_ids_alone() {
        let policy = policy(json!({ "jitter": "equal" }));
        let group = failed_times(1);
        // By hand: SHA-256 over the four texts with their lengths, its first 64 bits as a fraction of half of 15 min.
        let due = now().plus_micros(JITTERED_MICROS);
        assert_eq!(policy.decide(&group, now()).next_retry_at, due.to_string());
        assert_eq!(policy.decide(&group, due).next_retry_at, due.to_string());
        assert_eq!(
            policy.decide(&group, now()).retry_delay_minutes,
            u32::try_from(JITTERED_MICROS / MINUTE).unwrap()
        );
    }

    #[test]
    fn equal_jitter_keeps_the_larger_half_of_an_odd_delay() {
        let policy = policy(json!({
            "max_retries": 100, "delay_minutes": 1, "multiplier": 1.001, "jitter": "equal",
        }));
        assert_eq!(policy.delay_micros(9), 60_481_681);
        // By hand, as above.
        assert_eq!(policy.group_delay_micros(&failed_times(9)), 53_555_420);
    }

    #[test]
    fn a_share_is_from_nothing_to_all() {
        let shares = |most| -> std::collections::BTreeSet<_> {
            (0..200)
                .map(|number| share(&fold([failure(number, 0)]).unwrap(), most))
                .collect()
        };
        assert_eq!(Vec::from_iter(shares(0)), [0]);
        assert_eq!(Vec::from_iter(shares(1)), [0, 1]);
        assert_eq!(Vec::from_iter(shares(3)), [0, 1, 2, 3]);
    }

    #[test]
    fn equal_jitter_differs_by_export_provider_count_and_newest_delivery() {
        let policy = policy(json!({ "jitter": "equal", "multiplier": 1, "max_retry_attempts": 9 }));
        let due = |attempts: Vec<DeliveryAttempt>| policy.standing(&fold(attempts).unwrap());
        let first = due(vec![failure(1, 0)]);
        let renamed = DeliveryAttempt {
            provider: provider("pager_duty"),
            ..failure(1, 0)
        };
        assert_eq!(due(vec![renamed]), first);
        for other in [
            vec![failure_of("b", "Pager-Duty", 1, 0)],
            vec![failure_of("a", "slack", 1, 0)],
            vec![failure(2, 0)],
            vec![failure(9, 0), failure(1, 0)],
        ] {
            assert_ne!(due(other), first);
        }
    }

    #[test]
    fn equal_jitter_spreads_groups_that_failed_together_over_the_whole_half() {
        let policy = policy(json!({ "jitter": "equal" }));
        let (mut early, mut late) = (0, 0);
        for number in 0..200 {
            match policy.group_delay_micros(&fold([failure(number, 0)]).unwrap()) {
                delay if delay < 15 * MINUTE * 5 / 8 => early += 1,
                delay if delay > 15 * MINUTE * 7 / 8 => late += 1,
                _ => {}
            }
        }
        assert!(
            (25..75).contains(&early) && (25..75).contains(&late),
            "{early}, {late}"
        );
    }

    // ---- the policy of a request ----

    #[test]
    fn a_policy_reads_the_published_keys_and_their_aliases() {
        let all = json!({
            "max_retry_attempts": 5, "retry_delay_minutes": 10, "backoff_multiplier": 1.5,
            "allow_immediate_retry": true, "max_delay_minutes": 60, "max_age_hours": 72, "jitter": "equal",
        });
        let aliases = json!({
            "max_retries": 5, "delay_minutes": 10, "multiplier": 1.5, "max_retry_attempts": null,
            "retry_delay_minutes": null, "backoff_multiplier": null, "allow_immediate_retry": true,
            "max_delay_minutes": 60, "max_age_hours": 72, "jitter": "equal",
        });
        let read = policy(all);
        assert_eq!(read, policy(aliases));
        assert_eq!(
            (
                read.max_retry_attempts(),
                read.base_retry_delay_minutes(),
                read.max_delay_minutes()
            ),
            (5, 10, 60)
        );
        assert!((read.backoff_multiplier() - 1.5).abs() < f64::EPSILON);
        assert_eq!(
            (read.allow_immediate_retry(), read.max_age_hours(), read.jitter()),
            (true, Some(72), Jitter::Equal)
        );
    }

    #[test]
    fn null_is_not_given_and_so_are_no_attempts_and_a_multiplier_of_zero() {
        let keys = [
            "max_retry_attempts",
            "max_retries",
            "retry_delay_minutes",
            "delay_minutes",
            "backoff_multiplier",
            "multiplier",
            "allow_immediate_retry",
            "max_delay_minutes",
            "max_age_hours",
            "jitter",
        ];
        for key in keys {
            assert_eq!(policy(json!({ key: null })), RetryPolicy::default(), "{key}");
        }
        for key in [
            "max_retry_attempts",
            "max_retries",
            "backoff_multiplier",
            "multiplier",
        ] {
            assert_eq!(policy(json!({ key: 0 })), RetryPolicy::default(), "{key}");
        }
        assert_eq!(policy(json!({ "multiplier": 0.0 })), RetryPolicy::default());
    }

    #[test]
    fn a_delay_is_at_least_one_minute_unless_an_immediate_retry_is_allowed() {
        let base = |json| policy(json).base_retry_delay_minutes();
        assert_eq!(base(json!({ "retry_delay_minutes": 0 })), 1);
        assert_eq!(
            base(json!({ "delay_minutes": 0, "allow_immediate_retry": false })),
            1
        );
        assert_eq!(
            base(json!({ "retry_delay_minutes": 0, "allow_immediate_retry": true })),
            0
        );
        assert_eq!(base(json!({ "allow_immediate_retry": true })), 0);
        assert_eq!(
            base(json!({ "retry_delay_minutes": 4, "allow_immediate_retry": true })),
            4
        );
    }

    #[test]
    fn the_bounds_of_a_policy_are_inclusive() {
        let bounds = [
            ("max_retry_attempts", 1, 1_000_000_u64),
            ("max_retries", 1, 1_000_000),
            ("retry_delay_minutes", 0, 5_256_000),
            ("delay_minutes", 0, 5_256_000),
            ("backoff_multiplier", 1, 1_000),
            ("multiplier", 1, 1_000),
            ("max_delay_minutes", 1, 5_256_000),
            ("max_age_hours", 1, 876_000),
        ];
        for (key, least, most) in bounds {
            policy(json!({ key: least }));
            policy(json!({ key: most }));
            for wrong in [most + 1, u64::from(u32::MAX) + 1 + least, u64::MAX] {
                assert_eq!(faults(json!({ key: wrong })).len(), 1, "{key} {wrong}");
            }
        }
        for key in ["max_delay_minutes", "max_age_hours"] {
            assert_eq!(faults(json!({ key: 0 })).len(), 1, "{key}");
        }
        assert_eq!(faults(json!({ "multiplier": 1_000.001 })).len(), 1);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_under_its_own_name_and_never_coerced() {
        let numbers = [
            (
                "max_retry_attempts",
                "must be a whole number from 0 to 1000000 (0 for the default)",
            ),
            (
                "max_retries",
                "must be a whole number from 0 to 1000000 (0 for the default)",
            ),
            (
                "retry_delay_minutes",
                "must be a whole number of minutes from 0 to 5256000",
            ),
            (
                "delay_minutes",
                "must be a whole number of minutes from 0 to 5256000",
            ),
            (
                "max_delay_minutes",
                "must be a whole number of minutes from 1 to 5256000",
            ),
            (
                "max_age_hours",
                "must be a whole number of hours from 1 to 876000",
            ),
        ];
        let multiplier = "must be a number from 1 to 1000 with at most three decimals, or 0 for the default";
        let wrong = [
            json!("3"),
            json!(""),
            json!([3]),
            json!([]),
            json!({}),
            json!(true),
            json!(false),
            json!(-1),
            json!(-0.5),
            json!(0.5),
        ];
        for (key, problem) in numbers {
            for value in wrong.iter().chain([&json!(2.5), &json!(1e300), &json!(i64::MIN)]) {
                assert_eq!(
                    faults(json!({ key: value })),
                    [format!("`{key}` {problem}")],
                    "{value}"
                );
            }
        }
        for key in ["backoff_multiplier", "multiplier"] {
            for value in wrong.iter().chain([
                &json!(0.999),
                &json!(1.0001),
                &json!(1.234_567_8),
                &json!(999.999_9),
                &json!(1e300),
                &json!(1.0 + f64::EPSILON),
            ]) {
                assert_eq!(
                    faults(json!({ key: value })),
                    [format!("`{key}` {multiplier}")],
                    "{value}"
                );
            }
        }
        for value in [
            json!("true"),
            json!("false"),
            json!(1),
            json!(0),
            json!([]),
            json!(""),
        ] {
            assert_eq!(
                faults(json!({ "allow_immediate_retry": value })),
                ["`allow_immediate_retry` must be true or false"]
            );
        }
        for value in [json!("full"), json!(""), json!(true), json!(0), json!(["none"])] {
            assert_eq!(
                faults(json!({ "jitter": value })),
                ["`jitter` must be one of none, equal"]
            );
        }
    }

    #[test]
    fn a_key_and_its_alias_together_are_refused_even_when_they_agree() {
        for (key, alias) in [
            ("max_retry_attempts", "max_retries"),
            ("retry_delay_minutes", "delay_minutes"),
            ("backoff_multiplier", "multiplier"),
        ] {
            for (one, other) in [(2, 2), (2, 3), (0, 2), (2, 0)] {
                assert_eq!(
                    faults(json!({ key: one, alias: other })),
                    [format!("`{alias}` is another name of `{key}`: give one of them")]
                );
            }
        }
    }

    #[test]
    fn every_fault_of_a_policy_is_named_at_once() {
        let keys: Vec<_> = RetryPolicy::parse(&terms(&json!({
            "max_retry_attempts": "3", "max_retries": -1, "retry_delay_minutes": [], "multiplier": 0.5,
            "allow_immediate_retry": "yes", "max_delay_minutes": 0, "max_age_hours": 1.5, "jitter": "full",
        })))
        .unwrap_err()
        .iter()
        .map(|fault| fault.key)
        .collect();
        assert_eq!(
            keys,
            [
                "max_retries",
                "max_retry_attempts",
                "max_retries",
                "retry_delay_minutes",
                "multiplier",
                "allow_immediate_retry",
                "max_delay_minutes",
                "max_age_hours",
                "jitter",
            ]
        );
    }

    #[test]
    fn a_fault_never_repeats_the_value() {
        for key in [
            "max_retries",
            "delay_minutes",
            "multiplier",
            "allow_immediate_retry",
            "jitter",
        ] {
            let said = faults(json!({ key: "password=hunter2" })).join(" ");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn every_multiplier_of_three_decimals_is_read_exactly_and_written_as_it_was() {
        for thousandths in (1_000..3_000).chain((3_000..=1_000_000).step_by(997)) {
            let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
            let read = policy(serde_json::from_str(&format!(r#"{{"multiplier": {text}}}"#)).unwrap());
            assert_eq!(read.backoff_multiplier_thousandths, thousandths, "{text}");
            let written = json!(read.backoff_multiplier());
            assert_eq!(written, serde_json::from_str::<Value>(&text).unwrap(), "{text}");
        }
        assert_eq!(
            serde_json::to_string(&RetryPolicy::default().backoff_multiplier()).unwrap(),
            "2.0"
        );
    }

    // ---- names ----

    #[test]
    fn every_name_is_read_back_and_every_reason_has_a_sentence_of_its_own() {
        for value in Jitter::ALL {
            assert_eq!(Jitter::parse(value.as_str()), Some(*value));
        }
        for value in RetryAction::ALL {
            assert_eq!(RetryAction::parse(value.as_str()), Some(*value));
        }
        for value in RetryReason::ALL {
            assert_eq!(RetryReason::parse(value.as_str()), Some(*value));
            assert_eq!(json!(value), value.as_str());
        }
        let sentences: std::collections::BTreeSet<_> =
            RetryReason::ALL.iter().map(|reason| reason.sentence()).collect();
        assert_eq!(sentences.len(), 6);
    }

    #[test]
    fn the_table_for_release_managers_explains_every_reason_and_every_key() {
        let page = include_str!("../../../docs/retry-plans.md");
        for reason in RetryReason::ALL {
            assert!(page.contains(&format!("| `{reason}` |")), "{reason}");
        }
        for key in [
            "max_retry_attempts",
            "retry_delay_minutes",
            "backoff_multiplier",
            "allow_immediate_retry",
            "max_delay_minutes",
            "max_age_hours",
            "jitter",
        ] {
            assert!(page.contains(&format!("| `{key}`")), "{key}");
        }
        let codes = PERMANENT_STATUS_CODES.map(|code| code.to_string()).join(", ");
        assert!(page.contains(&codes), "{codes}");
    }

    // ---- the document ----

    fn plan(policy: &RetryPolicy, at: Timestamp, attempts: &[DeliveryAttempt]) -> RetryPlan {
        let decisions = planned(policy, at, attempts);
        let mut counts = RetryCounts::default();
        for decision in &decisions {
            counts.add(decision);
        }
        let header = RetryPlanHeader::new(RetryPlanInput {
            retry_plan_id: RetryPlanId::parse("gordackfinalaudretry-1").unwrap(),
            at,
            actor: &actor("ana"),
            policy,
            counts,
            log_position: 7,
        });
        RetryPlan::new(header, decisions)
    }

    /// Sorted as the planner wants it; the place in the slice is the position.
    fn sorted(attempts: &[DeliveryAttempt]) -> Vec<DeliveryAttempt> {
        let mut sorted = attempts.to_vec();
        let key = |attempt: &DeliveryAttempt| {
            (
                attempt.export_id.clone(),
                attempt.provider.key().to_owned(),
                attempt.at,
            )
        };
        sorted.sort_by_key(key);
        sorted
    }

    fn planned(policy: &RetryPolicy, at: Timestamp, attempts: &[DeliveryAttempt]) -> Vec<RetryDecision> {
        let mut planner = RetryPlanner::new(policy, at);
        let mut decisions: Vec<_> = sorted(attempts)
            .into_iter()
            .filter_map(|attempt| planner.attempt(attempt))
            .collect();
        decisions.extend(planner.finish());
        decisions
    }

    #[test]
    fn the_level_is_critical_if_anything_can_be_sent_or_is_given_up_and_a_warning_if_all_wait() {
        let level = |retryable_count, waiting_count, suppressed_count| {
            RetryCounts {
                decision_count: retryable_count + waiting_count + suppressed_count,
                retryable_count,
                waiting_count,
                suppressed_count,
                unknown_export_count: 0,
            }
            .level()
        };
        assert_eq!(level(0, 0, 0), Level::Healthy);
        assert_eq!(level(0, 1, 0), Level::Warning);
        assert_eq!(level(1, 0, 0), Level::Critical);
        assert_eq!(level(0, 0, 1), Level::Critical);
        assert_eq!(level(0, 9, 1), Level::Critical);
        assert_eq!(level(1, 9, 0), Level::Critical);
    }

    #[test]
    fn an_empty_plan_is_a_whole_document_with_its_members_in_the_published_order_behind_the_list() {
        let plan = plan(&RetryPolicy::default(), now(), &[]);
        let expected = concat!(
            r#"{"retry_decisions":[],"#,
            r#""schema_version":"cavra.go-backend-pilot.rollback-drill-final-reporting-auditor-export-delivery-retry-plan.v1","#,
            r#""product":"CAVRA","retry_plan_id":"gordackfinalaudretry-1","#,
            r#""generated_at":"2026-01-02T03:04:05.678901Z","generated_by":"ana","alert_level":"healthy","#,
            r#""decision_count":0,"retryable_count":0,"waiting_count":0,"suppressed_count":0,"#,
            r#""max_retry_attempts":3,"base_retry_delay_minutes":15,"allow_immediate_retry":false,"#,
            r#""backoff_multiplier":2.0,"max_delay_minutes":1440,"max_age_hours":null,"jitter":"none","#,
            r#""unknown_export_count":0,"evidence":{"log_position":7},"#,
            r#""actor":{"actor":"ana","subject":"ana","issuer":"local","groups":[],"repository":null,"#,
            r#""verified":false},"#,
            r#""controls":["public-safe-fields-only","plan-only-no-redelivery","every-failed-delivery-counted"]}"#,
        );
        assert_eq!(plan.text(), expected);
    }

    /// One group to retry, one that waits, and two given up, one of them of an unknown export.
    fn mixed() -> Vec<DeliveryAttempt> {
        vec![
            failure_of("a", "slack", 1, 0),
            failure_of("b", "slack", 2, 10 * MINUTE),
            answered(404, failure_of("c", "slack", 3, 0)),
            DeliveryAttempt {
                export_known: false,
                ..answered(410, failure_of("d", "slack", 4, 0))
            },
        ]
    }

    #[test]
    fn a_plan_counts_its_decisions_and_those_about_unknown_exports() {
        let plan = plan(&RetryPolicy::default(), now().plus_minutes(15), &mixed());
        let header = &plan.header;
        assert_eq!(
            [
                header.decision_count,
                header.retryable_count,
                header.waiting_count,
                header.suppressed_count,
                header.unknown_export_count
            ],
            [4, 1, 1, 2, 1]
        );
        assert_eq!(header.alert_level, Level::Critical);
        let known: Vec<_> = plan.retry_decisions.iter().map(|one| one.export_known).collect();
        assert_eq!(known, [true, true, true, false]);
    }

    #[test]
    fn the_record_of_a_small_plan_holds_the_whole_document() {
        let plan = plan(&RetryPolicy::default(), now().plus_minutes(15), &mixed());
        let record = plan.record(None).into_value();
        assert_eq!(
            record["final_reporting_auditor_export_delivery_retry_plan"],
            serde_json::from_str::<Value>(&plan.text()).unwrap()
        );
        let envelope = json!({
            "session_id": "gordackfinalaudretry-1", "created_at": now().plus_minutes(15), "signer": "ana",
            "decision_count": 4, "blocked_count": 2, "approval_required_count": 1,
            "metadata_kind": "go-backend-rollback-drill-acknowledgement-audit-delivery-final-reporting-auditor-export-delivery-retry-plan",
            "retry_plan_id": "gordackfinalaudretry-1", "alert_level": "critical", "retryable_count": 1,
            "waiting_count": 1, "suppressed_count": 2,
        });
        for (key, value) in envelope.as_object().unwrap() {
            assert_eq!(&record[key], value, "{key}");
        }
        let read = interpret(&record, Timestamp::EPOCH).unwrap();
        assert!(matches!(read.projection, Projection::None));
        assert_eq!(
            (read.kind, read.created_at),
            (EvidenceKind::ExportRetryPlan, now().plus_minutes(15))
        );
    }

    #[test]
    fn the_record_of_a_large_plan_says_how_many_decisions_are_elsewhere_and_what_the_whole_is() {
        let plan = plan(&RetryPolicy::default(), now().plus_minutes(15), &mixed());
        let whole = DocumentDigest {
            sha256: "ab".repeat(32),
            bytes: 17,
        };
        let mut full = plan.record(None).into_value();
        let large = plan.record(Some(&whole)).into_value();
        assert_eq!(large, plan.header.record(&whole).into_value());
        let document = full["final_reporting_auditor_export_delivery_retry_plan"]
            .as_object_mut()
            .unwrap();
        document.remove("retry_decisions");
        document.insert("retry_decisions_omitted".into(), json!(4));
        document.insert("document_sha256".into(), json!("ab".repeat(32)));
        document.insert("document_bytes".into(), json!(17));
        assert_eq!(large, full);
    }

    // ---- laws ----

    fn any_attempts() -> impl Strategy<Value = Vec<DeliveryAttempt>> {
        let attempt = (
            (select(["a", "b", "c"].as_slice()), select(PROVIDERS)),
            // Few distinct times, so that some are equal.
            (0..40_i64, select([0, 1, 17 * SECOND].as_slice())),
            prop::bool::weighted(0.2),
            select(
                [
                    None,
                    Some(0),
                    Some(404),
                    Some(429),
                    Some(500),
                    Some(503),
                    Some(503),
                ]
                .as_slice(),
            ),
            option::weighted(
                0.3,
                prop_oneof![
                    9 => 0..20_000_u64,
                    1 => select([u64::MAX, 9_223_372_036_854_775_807, 250_000_000_000].as_slice()),
                ],
            ),
            any::<bool>(),
        );
        vec(attempt, 0..40).prop_map(|attempts| {
            let attempt =
                |(number, ((export, over), (step, offset), success, code, asked, known))| DeliveryAttempt {
                    success,
                    status_code: code,
                    retry_after_seconds: asked,
                    export_known: known,
                    ..failure_of(export, over, number, step * 13 * MINUTE + offset)
                };
            (0..).zip(attempts).map(attempt).collect()
        })
    }

    fn any_policy() -> impl Strategy<Value = RetryPolicy> {
        let edges = |bounds: [u32; 2]| select(bounds.as_slice().to_vec());
        (
            prop_oneof![4 => 1..8_u32, 1 => edges([1, RetryPolicy::MAX_ATTEMPTS])],
            prop_oneof![4 => 0..90_u32, 1 => edges([0, RetryPolicy::MAX_MINUTES])],
            prop_oneof![4 => 1_000..4_000_u32, 1 => edges([1_000, 1_000_000])],
            any::<bool>(),
            prop_oneof![4 => 1..2_000_u32, 1 => edges([1, RetryPolicy::MAX_MINUTES])],
            option::of(prop_oneof![4 => 1..20_u32, 1 => edges([1, RetryPolicy::MAX_AGE_HOURS])]),
            select(Jitter::ALL),
        )
            .prop_map(|(attempts, delay, multiplier, immediate, cap, age, jitter)| {
                policy(json!({
                    "max_retries": attempts, "delay_minutes": delay,
                    "multiplier": f64::from(multiplier) / 1000.0, "allow_immediate_retry": immediate,
                    "max_delay_minutes": cap, "max_age_hours": age, "jitter": jitter,
                }))
            })
    }

    /// A time around the attempts of [`any_attempts`], or the last one there is.
    fn any_now() -> impl Strategy<Value = Timestamp> {
        prop_oneof![
            9 => (-2 * HOUR..48 * HOUR).prop_map(|micros| now().plus_micros(micros)),
            1 => Just(Timestamp::MAX),
        ]
    }

    /// The attempts of a decision's group since its last success.
    fn behind<'a>(decision: &RetryDecision, attempts: &'a [DeliveryAttempt]) -> Vec<&'a DeliveryAttempt> {
        let of_group = |attempt: &&DeliveryAttempt| {
            attempt.export_id == decision.export_id && attempt.provider.key() == decision.provider.key()
        };
        let mut group: Vec<_> = attempts.iter().filter(of_group).collect();
        group.sort_by_key(|attempt| attempt.at);
        let failures = group
            .iter()
            .rposition(|attempt| attempt.success)
            .map_or(0, |last| last + 1);
        group.split_off(failures)
    }

    proptest! {
        #[test]
        fn nothing_is_retried_before_the_time_that_any_of_its_failures_was_asked_to_wait_for(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            prop_assume!(at < Timestamp::MAX);
            for decision in planned(&policy, at, &attempts) {
                if decision.action != RetryAction::Retry {
                    continue;
                }
                for failure in behind(&decision, &attempts) {
                    let asked = i128::from(failure.retry_after_seconds.unwrap_or(0)) * 1_000_000;
                    prop_assert!(i128::from(at.micros()) >= i128::from(failure.at.micros()) + asked);
                }
            }
        }

        #[test]
        fn nothing_is_retried_or_awaited_after_the_age_of_the_policy(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            for decision in planned(&policy, at, &attempts) {
                let Some(hours) = policy.max_age_hours() else {
                    prop_assert_ne!(decision.reason_code, RetryReason::MaxAgeExceeded);
                    continue;
                };
                let too_old = at.micros_since(behind(&decision, &attempts)[0].at) > i64::from(hours) * HOUR;
                if too_old {
                    prop_assert_eq!(decision.action, RetryAction::Suppress);
                } else {
                    prop_assert_ne!(decision.reason_code, RetryReason::MaxAgeExceeded);
                }
            }
        }

        #[test]
        fn a_later_success_removes_the_group_and_no_other(
            attempts in any_attempts(), policy in any_policy(), at in any_now(), which in any::<prop::sample::Index>(),
        ) {
            let mut expected = planned(&policy, at, &attempts);
            prop_assume!(!expected.is_empty());
            let removed = expected.remove(which.index(expected.len()));
            let mut attempts = attempts;
            attempts.push(DeliveryAttempt {
                success: true,
                export_id: removed.export_id,
                provider: removed.provider,
                at: removed.latest_delivery_at,
                ..failure(1_000, 0)
            });
            prop_assert_eq!(planned(&policy, at, &attempts), expected);
        }

        #[test]
        fn the_delay_grows_with_every_failure_up_to_the_cap(policy in any_policy(), count in 1..70_000_u64) {
            let cap = i64::from(policy.max_delay_minutes()) * MINUTE;
            let (delay, next) = (policy.delay_micros(count), policy.delay_micros(count + 1));
            prop_assert!((0..=cap).contains(&delay));
            prop_assert!(delay <= next);
            if delay < cap && delay > 0 && policy.backoff_multiplier() > 1.0 {
                prop_assert!(delay < next);
            }
            let exact = i128::from(delay) * i128::from(policy.backoff_multiplier_thousandths) / 1000;
            prop_assert_eq!(i128::from(next), exact.min(i128::from(cap)));
        }

        #[test]
        fn equal_jitter_keeps_half_of_the_delay_and_never_adds_to_it(
            attempts in any_attempts(), policy in any_policy(), count in 1..2_000_000_u64,
        ) {
            for attempt in attempts.into_iter().filter(|attempt| !attempt.success) {
                let group = Undelivered { failure_count: count, ..fold([attempt]).unwrap() };
                let (delay, jittered) = (policy.delay_micros(count), policy.group_delay_micros(&group));
                match policy.jitter() {
                    Jitter::None => prop_assert_eq!(jittered, delay),
                    Jitter::Equal => prop_assert!(jittered * 2 >= delay && jittered <= delay),
                }
            }
        }

        #[test]
        fn the_three_actions_partition_the_decisions_and_the_level_follows_from_them(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            let plan = plan(&policy, at, &attempts);
            let header = &plan.header;
            prop_assert_eq!(header.decision_count, plan.retry_decisions.len() as u64);
            prop_assert_eq!(
                header.retryable_count + header.waiting_count + header.suppressed_count, header.decision_count
            );
            for (action, count) in [
                (RetryAction::Retry, header.retryable_count),
                (RetryAction::Wait, header.waiting_count),
                (RetryAction::Suppress, header.suppressed_count),
            ] {
                let found = plan.retry_decisions.iter().filter(|decision| decision.action == action).count();
                prop_assert_eq!(found as u64, count);
            }
            let unknown = plan.retry_decisions.iter().filter(|decision| !decision.export_known).count();
            prop_assert_eq!(header.unknown_export_count, unknown as u64);
            prop_assert_eq!(header.alert_level == Level::Healthy, header.decision_count == 0);
            prop_assert!(header.suppressed_count == 0 || header.alert_level == Level::Critical);
        }

        #[test]
        fn every_reason_code_goes_with_its_action_and_only_what_is_given_up_has_no_next_time(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            for decision in planned(&policy, at, &attempts) {
                let action = match decision.reason_code {
                    RetryReason::Eligible => RetryAction::Retry,
                    RetryReason::Backoff | RetryReason::RetryAfter => RetryAction::Wait,
                    RetryReason::AttemptsExhausted | RetryReason::PermanentFailure | RetryReason::MaxAgeExceeded => {
                        RetryAction::Suppress
                    }
                };
                prop_assert_eq!(decision.action, action);
                prop_assert_eq!(decision.reason, decision.reason_code.sentence());
                let next = Timestamp::parse(&decision.next_retry_at).ok();
                match action {
                    RetryAction::Retry => prop_assert!(next.is_some_and(|next| next <= at)),
                    RetryAction::Wait => prop_assert!(next.is_some_and(|next| next > at)),
                    RetryAction::Suppress => prop_assert_eq!(&decision.next_retry_at, ""),
                }
            }
        }

        #[test]
        fn planning_all_groups_gives_what_folding_each_alone_gives(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            let keys: std::collections::BTreeSet<_> = attempts
                .iter()
                .map(|attempt| (attempt.export_id.clone(), attempt.provider.key().to_owned()))
                .collect();
            let alone: Vec<_> = keys
                .iter()
                .filter_map(|(export, over)| {
                    let mut group: Vec<_> = attempts
                        .iter()
                        .filter(|one| one.export_id == *export && one.provider.key() == over)
                        .cloned()
                        .collect();
                    group.sort_by_key(|attempt| attempt.at);
                    fold(group).map(|group| policy.decide(&group, at))
                })
                .collect();
            let planned = planned(&policy, at, &attempts);
            for decision in &planned {
                let failures = behind(decision, &attempts);
                prop_assert_eq!(decision.retry_count, failures.len() as u64);
                prop_assert_eq!(decision.first_failed_at, failures[0].at);
                prop_assert_eq!(&decision.latest_delivery_id, &failures[failures.len() - 1].delivery_id);
            }
            prop_assert_eq!(planned, alone);
        }

        #[test]
        fn the_same_deliveries_policy_and_time_give_the_same_bytes_in_pieces_and_as_one(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            let one = plan(&policy, at, &attempts);
            let text = one.text();
            prop_assert_eq!(&text, &plan(&policy.clone(), at, &attempts.clone()).text());
            prop_assert_eq!(&text, &serde_json::to_string(&one).unwrap());
            let entries: Vec<_> =
                one.retry_decisions.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
            prop_assert_eq!(&text, &format!("{}{}{}", RetryPlan::OPEN, entries.join(","), one.header.close()));
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value, serde_json::to_value(&one).unwrap());
        }

        #[test]
        fn the_standing_of_a_group_says_at_every_time_what_a_decision_says(
            attempts in any_attempts(), policy in any_policy(), at in any_now(),
        ) {
            let Some(group) = fold(attempts) else { return Ok(()) };
            let standing = policy.standing(&group);
            let mut times = vec![at, Timestamp::MIN, Timestamp::MAX];
            if let Standing::DueAt { due_at, gives_up_after, .. } = standing {
                for edge in [Some(due_at), gives_up_after].into_iter().flatten() {
                    times.extend([-1, 0, 1].map(|micros| edge.plus_micros(micros)));
                }
            }
            for at in times {
                let decision = policy.decide(&group, at);
                prop_assert_eq!((decision.action, decision.reason_code), standing.at(at));
                let expected = match standing {
                    Standing::Suppressed(reason) => (RetryAction::Suppress, reason),
                    Standing::DueAt { gives_up_after, .. } if gives_up_after.is_some_and(|last| at > last) => TOO_OLD,
                    Standing::DueAt { due_at, why, .. } if at < due_at => (RetryAction::Wait, why),
                    Standing::DueAt { due_at, .. } => {
                        prop_assert_eq!(&decision.next_retry_at, &due_at.to_string());
                        RETRY
                    }
                };
                prop_assert_eq!((decision.action, decision.reason_code), expected);
            }
        }
    }
}
