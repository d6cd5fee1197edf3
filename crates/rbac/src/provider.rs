//! The keys of a provider, kept fresh.
//!
//! One thread asks the provider; requests wait for it, never for each other. Keys are fresh for a time (TTL), and
//! renewed before it ends. When they cannot be renewed they serve for a bounded time more, and after that nobody is
//! let in: the answer is 503, never open. A token with an unknown key id makes one renewal in a while, however many
//! such tokens come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cavra_domain::time::{Clock, Timestamp};
use openidconnect::core::CoreProviderMetadata;
use openidconnect::url::Url;
use thiserror::Error;
use tokio::sync::watch;

use crate::config::FetchRules;
use crate::fetch::{FetchError, Fetcher};
use crate::keys::{KeySet, KeysError};

/// How long a discovery document is good for, in lifetimes of the keys.
const METADATA_TTLS: i64 = 12;

/// Why the provider's keys could not be renewed.
#[derive(Debug, Error)]
enum RenewError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the discovery document cannot be read: {0}")]
    Metadata(String),
    #[error("the discovery document is of the issuer `{found}`, not of the configured one")]
    Issuer { found: String },
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// Keys, and where they came from.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) keys: Arc<KeySet>,
    /// Counts changes of the keys.
    pub(crate) generation: u64,
    pub(crate) metadata: Option<Arc<CoreProviderMetadata>>,
}

/// Who brought a key id that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Anybody with a token: one renewal in a while for all of them.
    Stranger,
    /// The provider itself, in exchange for a code: nobody else can make that happen, nor hold it up.
    Provider,
}

/// The keys cannot be had now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysUnavailable {
    /// When to ask again, in seconds.
    pub retry_after: u64,
}

/// How the provider has answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProviderStats {
    /// Renewals that worked.
    pub renewed: u64,
    /// Renewals that failed.
    pub failed: u64,
    /// How old the keys are, in seconds; none without any.
    pub age_seconds: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<(Current, Vec<u8>)>,
    fetched_at: Option<Timestamp>,
    metadata_at: Option<Timestamp>,
    in_flight: bool,
    failed_at: Option<Timestamp>,
    /// When an unknown key id last made a renewal.
    asked_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Shared {
    issuer: Url,
    /// The issuer as configured and as tokens write it.
    issuer_text: String,
    rules: FetchRules,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Counts finished renewals.
    finished: watch::Sender<u64>,
    renewed: AtomicU64,
    failed: AtomicU64,
}

/// A provider that publishes its keys.
#[derive(Debug)]
pub(crate) struct Provider {
    shared: Arc<Shared>,
    /// Wakes the thread; without it the thread ends.
    orders: SyncSender<()>,
}

/// What a request does about keys.
enum Step {
    Done(Result<Current, KeysUnavailable>),
    Wait(watch::Receiver<u64>),
}

impl Provider {
    /// Starts asking at once, so that the first request finds keys.
    pub(crate) fn start(
        issuer: Url,
        issuer_text: String,
        rules: FetchRules,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let fetcher = Fetcher::new(&issuer, rules.timeout, rules.ca.as_deref());
        let shared = Arc::new(Shared {
            issuer,
            issuer_text,
            rules,
            fetcher,
            clock,
            state: Mutex::new(State {
                in_flight: true,
                ..State::default()
            }),
            finished: watch::Sender::new(0),
            renewed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let (orders, ordered) = sync_channel(1);
        let working = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("cavra-keys".to_owned())
            .spawn(move || working.work(&ordered))?;
        Ok(Self { shared, orders })
    }

    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.shared.fetcher
    }

    pub(crate) fn stats(&self) -> ProviderStats {
        let now = self.shared.clock.now();
        let state = self.shared.lock();
        ProviderStats {
            renewed: self.shared.renewed.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            age_seconds: state
                .fetched_at
                .and_then(|at| u64::try_from(now.micros_since(at) / 1_000_000).ok()),
        }
    }

    /// The keys, fresh or as old as is allowed.
    pub(crate) async fn current(&self) -> Result<Current, KeysUnavailable> {
        let step = {
            let mut state = self.shared.lock();
            let now = self.shared.clock.now();
            match &state.current {
                Some((current, _)) if self.shared.is_fresh(&state, now) => Step::Done(Ok(current.clone())),
                _ if state.in_flight => Step::Wait(self.shared.finished.subscribe()),
                _ if self.shared.cools(state.failed_at, now) => Step::Done(self.shared.held(&state, now)),
                _ => Step::Wait(self.order(&mut state)),
            }
        };
        match step {
            Step::Done(result) => result,
            Step::Wait(finished) => {
                self.wait(finished).await;
                let state = self.shared.lock();
                self.shared.held(&state, self.shared.clock.now())
            }
        }
    }

    /// Keys that may know a key id which those of `generation` do not.
    pub(crate) async fn newer(&self, generation: u64, asker: Asker) -> Option<Current> {
        let finished = {
            let mut state = self.shared.lock();
            let now = self.shared.clock.now();
            let changed = state
                .current
                .as_ref()
                .filter(|(current, _)| current.generation != generation);
            if let Some((current, _)) = changed {
                return Some(current.clone());
            }
            if state.in_flight {
                self.shared.finished.subscribe()
            } else if self.shared.cools(state.failed_at, now)
                || (asker == Asker::Stranger && self.shared.cools(state.asked_at, now))
            {
                return None;
            } else {
                if asker == Asker::Stranger {
                    state.asked_at = Some(now);
                }
                self.order(&mut state)
            }
        };
        self.wait(finished).await;
        let state = self.shared.lock();
        let changed = state
            .current
            .as_ref()
            .filter(|(current, _)| current.generation != generation);
        changed.map(|(current, _)| current.clone())
    }

    /// Orders a renewal; there is none under way.
    fn order(&self, state: &mut State) -> watch::Receiver<u64> {
        let finished = self.shared.finished.subscribe();
        state.in_flight = true;
        // The thread lives as long as this sender, and the one order that fits is taken before the next is given.
        let _ = self.orders.try_send(());
        finished
    }

    async fn wait(&self, mut finished: watch::Receiver<u64>) {
        // The thread's own time-outs end it; this one is for a machine that cannot keep up.
        let _ = tokio::time::timeout(self.shared.rules.timeout, finished.changed()).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_fresh(&self, state: &State, now: Timestamp) -> bool {
        state
            .fetched_at
            .is_some_and(|at| now.micros_since(at) <= micros(self.rules.ttl))
    }

    /// Whether it is too early to try again what was tried at `at`.
    fn cools(&self, at: Option<Timestamp>, now: Timestamp) -> bool {
        at.is_some_and(|at| (0..micros(self.rules.cooldown)).contains(&now.micros_since(at)))
    }

    /// The keys that are there, unless they are too old.
    fn held(&self, state: &State, now: Timestamp) -> Result<Current, KeysUnavailable> {
        let limit = micros(self.rules.ttl).saturating_add(micros(self.rules.stale));
        match (&state.current, state.fetched_at) {
            (Some((current, _)), Some(at)) if now.micros_since(at) <= limit => Ok(current.clone()),
            _ => Err(KeysUnavailable {
                retry_after: self.rules.cooldown.as_secs().max(1),
            }),
        }
    }

    fn work(&self, ordered: &Receiver<()>) {
        // The first renewal was ordered by the start.
        let mut wanted = true;
        loop {
            if wanted {
                self.renew_and_tell();
            }
            let failed = self.lock().failed_at.is_some();
            let pause = if failed {
                self.rules.cooldown
            } else {
                self.rules.ttl.mul_f64(0.8)
            };
            wanted = match ordered.recv_timeout(pause) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => {
                    let mut state = self.lock();
                    // An order that is on its way is answered by the next round.
                    let idle = !state.in_flight;
                    state.in_flight = true;
                    idle
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
        }
    }

    fn renew_and_tell(&self) {
        let renewed = self.renew();
        let now = self.clock.now();
        let mut state = self.lock();
        state.in_flight = false;
        match renewed {
            Ok(()) => {
                state.failed_at = None;
                self.renewed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                state.failed_at = Some(now);
                self.failed.fetch_add(1, Ordering::Relaxed);
                let usable = self.held(&state, now).is_ok();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    old_keys_serve = usable,
                    "the identity provider's keys could not be renewed"
                );
            }
        }
        drop(state);
        self.finished.send_modify(|count| *count += 1);
    }

    fn renew(&self) -> Result<(), RenewError> {
        let metadata = self.metadata()?;
        let bytes = self.fetcher.get(metadata.jwks_uri().url())?;
        let keys = KeySet::from_json(&bytes)?;
        let now = self.clock.now();
        let mut state = self.lock();
        state.fetched_at = Some(now);
        let (generation, same) = match &state.current {
            Some((current, before)) => (current.generation, *before == bytes),
            None => (0, false),
        };
        if !same {
            tracing::info!(
                keys = keys.len(),
                left_aside = keys.skipped(),
                "the identity provider's keys are new"
            );
        }
        let current = Current {
            keys: Arc::new(keys),
            generation: if same { generation } else { generation + 1 },
            metadata: Some(metadata),
        };
        state.current = Some((current, bytes));
        Ok(())
    }

    /// The discovery document: asked for now and then, and held against the configuration each time.
    fn metadata(&self) -> Result<Arc<CoreProviderMetadata>, RenewError> {
        let now = self.clock.now();
        let held = {
            let state = self.lock();
            let young = state.metadata_at.is_some_and(|at| {
                now.micros_since(at) < micros(self.rules.ttl).saturating_mul(METADATA_TTLS)
            });
            let held = state
                .current
                .as_ref()
                .and_then(|(current, _)| current.metadata.clone());
            held.filter(|_| young)
        };
        if let Some(held) = held {
            return Ok(held);
        }
        let address = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.as_str().trim_end_matches('/')
        );
        let url = Url::parse(&address).map_err(|_| FetchError::Address(address))?;
        let bytes = self.fetcher.get(&url)?;
        let value =
            cavra_evidence::strict::parse(&bytes).map_err(|error| RenewError::Metadata(error.to_string()))?;
        let metadata: CoreProviderMetadata =
            serde_json::from_value(value).map_err(|error| RenewError::Metadata(error.to_string()))?;
        if metadata.issuer().as_str() != self.issuer_text {
            return Err(RenewError::Issuer {
                found: metadata
                    .issuer()
                    .as_str()
                    .chars()
                    .filter(|one| !one.is_control())
                    .take(200)
                    .collect(),
            });
        }
        self.lock().metadata_at = Some(now);
        Ok(Arc::new(metadata))
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
