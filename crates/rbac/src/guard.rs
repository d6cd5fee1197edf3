//! Who is let in: tokens, sessions, and how often somebody may be wrong.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cavra_domain::time::{Clock, Timestamp};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::config::{KeySource, OidcConfig};
use crate::file::ConfigError;
use crate::identity::{Caller, Identity, Verified};
use crate::limit::BadTokens;
use crate::policy::Policy;
use crate::provider::{Asker, Current, KeysUnavailable, Provider, ProviderStats};
use crate::session::{Begun, Callback, Full, Live, SignIn, SignedIn};
use crate::token::{self, Reason, Refusal, Rules};

/// How long a verified token is remembered at most.
const REMEMBER_MICROS: i64 = 60 * 1_000_000;

/// How many verified tokens are remembered; verifying one again costs less than a millisecond.
const MAX_REMEMBERED: usize = 10_000;

/// Why identity cannot be set up.
#[derive(Debug, Error)]
pub enum SetUpError {
    /// A file is not what it should be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The thread that fetches keys cannot be started.
    #[error("the thread that fetches the provider's keys cannot be started")]
    Thread(#[source] std::io::Error),
}

/// Nobody is let in or refused: the answer is not known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The token is not valid.
    Token(Refusal),
    /// The keys to tell cannot be had.
    Unavailable(KeysUnavailable),
}

#[derive(Debug)]
enum Keys {
    Static(Current),
    Provider(Provider),
}

/// A token that was verified.
#[derive(Debug)]
struct Remembered {
    identity: Arc<Identity>,
    until: Timestamp,
    generation: u64,
}

/// What is known of the identity side, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// How the provider answers; zeros for keys out of a file.
    pub provider: ProviderStats,
    /// Sessions that are kept.
    pub sessions: usize,
}

/// Identity as configured.
#[derive(Debug)]
pub struct Guard {
    rules: Rules,
    keys: Keys,
    policy: Arc<Policy>,
    anonymous_read: bool,
    remembered: Mutex<HashMap<[u8; 32], Remembered>>,
    bad_tokens: BadTokens,
    sign_in: Option<Arc<SignIn>>,
    clock: Arc<dyn Clock>,
    redirect_host: Option<String>,
}

impl Guard {
    /// Reads the files and starts fetching keys, where the provider has them.
    ///
    /// # Errors
    /// [`SetUpError`]; a message names the key at fault.
    pub fn load(
        oidc: &Path,
        rbac: Option<&Path>,
        anonymous_read: bool,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetUpError> {
        let config = OidcConfig::load(oidc)?;
        let policy = rbac.map(Policy::load).transpose()?.unwrap_or_else(|| {
            tracing::warn!("there is no RBAC file: whoever signs in or brings a token has no right at all");
            Policy::default()
        });
        let unknown = policy.unknown_roles();
        if !unknown.is_empty() {
            tracing::warn!(names = ?unknown, "`group_mappings` leads to names that are no roles here; they give no right");
        }
        let redirect_host = config.redirect_host().map(str::to_owned);
        let keys = match config.keys {
            KeySource::Static(keys) => Keys::Static(Current {
                keys: Arc::new(keys),
                generation: 0,
                metadata: None,
            }),
            KeySource::Discovery => Keys::Provider(
                Provider::start(
                    config.issuer,
                    config.rules.issuer.clone(),
                    config.fetch,
                    Arc::clone(&clock),
                )
                .map_err(SetUpError::Thread)?,
            ),
        };
        let sign_in = match (&keys, config.sign_in) {
            (Keys::Provider(provider), Some(rules)) => Some(Arc::new(SignIn::new(
                rules,
                provider.fetcher().clone(),
                Arc::clone(&clock),
            ))),
            _ => None,
        };
        Ok(Self {
            rules: config.rules,
            keys,
            policy: Arc::new(policy),
            anonymous_read,
            remembered: Mutex::default(),
            bad_tokens: BadTokens::new(config.bad_tokens_per_minute, Arc::clone(&clock)),
            sign_in,
            clock,
            redirect_host,
        })
    }

    /// The algorithms that tokens may be signed with.
    pub fn algorithms(&self) -> Vec<&'static str> {
        self.rules.algorithms.iter().map(|one| one.as_str()).collect()
    }

    /// The host under which browsers come back from the provider.
    pub fn redirect_host(&self) -> Option<&str> {
        self.redirect_host.as_deref()
    }

    /// Whether people can sign in with a browser.
    pub fn has_sign_in(&self) -> bool {
        self.sign_in.is_some()
    }

    /// Whether rights are configured.
    pub fn has_policy(&self) -> bool {
        *self.policy != Policy::default()
    }

    /// Somebody without any token, where readers need none.
    pub fn anonymous(&self) -> Option<Caller> {
        self.anonymous_read.then_some(Caller::Anonymous)
    }

    /// What metrics show.
    pub fn stats(&self) -> Stats {
        Stats {
            provider: match &self.keys {
                Keys::Static(_) => ProviderStats::default(),
                Keys::Provider(provider) => provider.stats(),
            },
            sessions: self.sign_in.as_ref().map_or(0, |sign_in| sign_in.len()),
        }
    }

    async fn current(&self) -> Result<Current, KeysUnavailable> {
        match &self.keys {
            Keys::Static(current) => Ok(current.clone()),
            Keys::Provider(provider) => provider.current().await,
        }
    }

    fn caller(&self, identity: Arc<Identity>) -> Caller {
        Caller::Verified(Verified::new(identity, Arc::clone(&self.policy)))
    }

    /// Who a bearer token proves.
    ///
    /// # Errors
    /// [`Refused`] when it proves nobody, or when that cannot be told now.
    pub async fn bearer(&self, token: &str) -> Result<Caller, Refused> {
        let refused = |reason| Err(Refused::Token(Refusal::claimed(reason, token)));
        if token.len() > token::MAX_TOKEN_BYTES {
            return refused(Reason::TooLong);
        }
        // First of all: without keys that are young enough, nothing remembered counts either.
        let mut current = self.current().await.map_err(Refused::Unavailable)?;
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = self.clock.now();
        if let Some(identity) = self.recall(&digest, current.generation, now) {
            return Ok(self.caller(identity));
        }
        let mut verified = token::verify(token, &current.keys, &self.rules, now);
        if let (Err(Reason::UnknownKey), Keys::Provider(provider)) = (&verified, &self.keys)
            && let Some(newer) = provider.newer(current.generation, Asker::Stranger).await
        {
            current = newer;
            verified = token::verify(token, &current.keys, &self.rules, self.clock.now());
        }
        match verified {
            Ok(identity) => {
                let identity = Arc::new(identity);
                self.remember(digest, Arc::clone(&identity), current.generation, now);
                Ok(self.caller(identity))
            }
            Err(reason) => refused(reason),
        }
    }

    fn recall(&self, digest: &[u8; 32], generation: u64, now: Timestamp) -> Option<Arc<Identity>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let found = remembered.get(digest)?;
        (found.generation == generation && now < found.until).then(|| Arc::clone(&found.identity))
    }

    fn remember(&self, digest: [u8; 32], identity: Arc<Identity>, generation: u64, now: Timestamp) {
        let until = identity.expires_at().min(now.plus_micros(REMEMBER_MICROS));
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, one| one.generation == generation && now < one.until);
        }
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(
                digest,
                Remembered {
                    identity,
                    until,
                    generation,
                },
            );
        }
    }

    /// Counts one more bad token of an address, and of the subject that it claims. Gives the seconds to wait when
    /// those are too many.
    pub fn count_bad_token(&self, address: Option<IpAddr>, refusal: &Refusal) -> Option<u64> {
        self.bad_tokens.count(address, refusal.subject_hash.as_deref())
    }

    /// The session of a cookie, and its caller.
    pub fn session(&self, cookie: &str) -> Option<(Caller, Live)> {
        let live = self.sign_in.as_ref()?.live(cookie)?;
        Some((self.caller(Arc::clone(&live.identity)), live))
    }

    /// Ends the session of a cookie.
    pub fn end_session(&self, cookie: &str) {
        if let Some(sign_in) = &self.sign_in {
            sign_in.end(cookie);
        }
    }

    /// Begins a sign-in; nothing when there is none. `return_to` comes from [`crate::return_path`].
    ///
    /// # Errors
    /// [`KeysUnavailable`] when the provider cannot be asked, or too many sign-ins are under way.
    pub async fn begin_sign_in(&self, return_to: String) -> Result<Option<Begun>, KeysUnavailable> {
        let Some(sign_in) = &self.sign_in else {
            return Ok(None);
        };
        let current = self.current().await?;
        let unavailable = KeysUnavailable { retry_after: 60 };
        let metadata = current.metadata.ok_or(unavailable)?;
        sign_in
            .begin(&metadata, return_to)
            .map(Some)
            .map_err(|Full| unavailable)
    }

    /// Finishes a sign-in.
    ///
    /// # Errors
    /// [`Refused`] when the answer of the provider proves nobody, or cannot be judged now.
    pub async fn finish_sign_in(&self, cookie: String, callback: Callback) -> Result<SignedIn, Refused> {
        let refused = |reason| Refused::Token(Refusal::bare(reason));
        let Some(sign_in) = self.sign_in.clone() else {
            return Err(refused(Reason::SignInState));
        };
        let current = self.current().await.map_err(Refused::Unavailable)?;
        let (rules, metadata) = (self.rules.clone(), current.metadata.clone());
        let asking = Arc::clone(&sign_in);
        let exchanged = tokio::task::spawn_blocking(move || {
            asking.exchange(&cookie, callback, metadata.as_deref(), &rules)
        });
        let exchanged = exchanged
            .await
            .map_err(|_| refused(Reason::SignInRefused))?
            .map_err(Refused::Token)?;
        let mut accepted = sign_in.accept(&exchanged, &current, &self.rules);
        let unknown_key = accepted
            .as_ref()
            .is_err_and(|refusal| refusal.reason == Reason::UnknownKey);
        if let (true, Keys::Provider(provider)) = (unknown_key, &self.keys)
            && let Some(newer) = provider.newer(current.generation, Asker::Provider).await
        {
            accepted = sign_in.accept(&exchanged, &newer, &self.rules);
        }
        accepted.map_err(Refused::Token)
    }
}
