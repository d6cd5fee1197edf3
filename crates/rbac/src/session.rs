//! Signing in with a browser: authorization code, PKCE and nonce, and the sessions that follow (RFC 9700).
//!
//! Everything is kept here, in memory: the browser has two random values in cookies and nothing else. A restart ends
//! every session, and whoever had one signs in again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cavra_domain::time::{Clock, Timestamp};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreIdToken, CoreProviderMetadata,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken, Nonce, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, TokenResponse as _,
};
use sha2::{Digest as _, Sha256};

use crate::config::SignInRules;
use crate::fetch::Fetcher;
use crate::identity::Identity;
use crate::provider::Current;
use crate::token::{self, Reason, Refusal, Rules};

/// How long somebody may take to sign in at the provider.
const PENDING_MICROS: i64 = 10 * 60 * 1_000_000;

/// Most sign-ins that are under way, and most sessions: what is beyond a real number only costs memory.
const MAX_ENTRIES: usize = 100_000;

/// Random bytes of a cookie's value.
const SECRET_BYTES: u32 = 32;

/// Longest path to come back to.
const MAX_RETURN_TO: usize = 500;

/// A random value and its digest; only the digest is kept.
type Key = [u8; 32];

fn key(secret: &str) -> Key {
    Sha256::digest(secret.as_bytes()).into()
}

fn random() -> String {
    CsrfToken::new_random_len(SECRET_BYTES).secret().clone()
}

/// A sign-in that the provider has to answer.
struct Pending {
    state: CsrfToken,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    return_to: String,
    until: Timestamp,
}

struct Session {
    identity: Arc<Identity>,
    csrf: String,
    used_at: Timestamp,
}

/// A session that is alive.
#[derive(Debug, Clone)]
pub struct Live {
    pub(crate) identity: Arc<Identity>,
    /// What a write has to bring in a header, which no other page can know.
    pub csrf_token: String,
    /// When it ends at the latest.
    pub expires_at: Timestamp,
}

impl Live {
    /// Whether a write brought the right value. Digests are compared, so that time says nothing about the value.
    pub fn is_csrf_token(&self, given: &str) -> bool {
        key(given) == key(&self.csrf_token)
    }
}

/// Where to send a browser that wants to sign in.
#[derive(Debug, Clone)]
pub struct Begun {
    /// The provider's page.
    pub location: String,
    /// The cookie that ties the answer to this browser.
    pub cookie: String,
}

/// A browser that has signed in.
#[derive(Debug, Clone)]
pub struct SignedIn {
    /// The cookie of its session.
    pub cookie: String,
    /// The path to go to.
    pub return_to: String,
    /// Who it is.
    pub identity: Arc<Identity>,
}

/// What the provider sends back.
#[derive(Debug, Clone, Default)]
pub struct Callback {
    /// The code, when the sign-in worked.
    pub code: Option<String>,
    /// What [`Begun::location`] carried.
    pub state: Option<String>,
    /// Who answers (RFC 9207).
    pub issuer: Option<String>,
    /// Why it did not work.
    pub error: Option<String>,
}

/// An ID token that has to be verified, and what it has to fit.
pub(crate) struct Exchanged {
    id_token: CoreIdToken,
    nonce: Nonce,
    return_to: String,
}

/// There is no room for one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Sign-in, and the sessions.
pub(crate) struct SignIn {
    rules: SignInRules,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    pending: Mutex<HashMap<Key, Pending>>,
    sessions: Mutex<HashMap<Key, Session>>,
}

impl std::fmt::Debug for SignIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignIn")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path of this origin to come back to; anything that could lead elsewhere is none.
pub fn return_path(given: Option<&str>) -> Option<String> {
    let path = given.unwrap_or("/");
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'\'');
    let ours = path.starts_with('/') && !path.starts_with("//") && path.len() <= MAX_RETURN_TO;
    (ours && path.bytes().all(plain)).then(|| path.to_owned())
}

impl SignIn {
    pub(crate) fn new(rules: SignInRules, fetcher: Fetcher, clock: Arc<dyn Clock>) -> Self {
        Self {
            rules,
            fetcher,
            clock,
            pending: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// How many sessions are kept.
    pub(crate) fn len(&self) -> usize {
        locked(&self.sessions).len()
    }

    /// Begins a sign-in.
    pub(crate) fn begin(&self, metadata: &CoreProviderMetadata, return_to: String) -> Result<Begun, Full> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(self.rules.client_id.clone()),
            None,
        )
        .set_redirect_uri(RedirectUrl::from_url(self.rules.redirect_url.clone()));
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .set_pkce_challenge(challenge);
        for scope in self.rules.scopes.iter().filter(|scope| *scope != "openid") {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (location, state, nonce) = request.url();
        let now = self.clock.now();
        let cookie = random();
        let mut pending = locked(&self.pending);
        if pending.len() >= MAX_ENTRIES {
            pending.retain(|_, one| one.until > now);
        }
        if pending.len() >= MAX_ENTRIES {
            return Err(Full);
        }
        pending.insert(
            key(&cookie),
            Pending {
                state,
                nonce,
                verifier,
                return_to,
                until: now.plus_micros(PENDING_MICROS),
            },
        );
        Ok(Begun {
            location: location.to_string(),
            cookie,
        })
    }

    /// Takes the provider's answer and asks it for the ID token. Blocks.
    pub(crate) fn exchange(
        &self,
        cookie: &str,
        callback: Callback,
        metadata: Option<&CoreProviderMetadata>,
        rules: &Rules,
    ) -> Result<Exchanged, Refusal> {
        let refused = |reason| Err(Refusal::bare(reason));
        // Taken out before anything else: an answer counts once.
        let pending = locked(&self.pending).remove(&key(cookie));
        let now = self.clock.now();
        let Some(pending) = pending.filter(|pending| pending.until > now) else {
            return refused(Reason::SignInState);
        };
        let same = callback
            .state
            .as_ref()
            .is_some_and(|state| key(state) == key(pending.state.secret()));
        if !same || callback.issuer.is_some_and(|issuer| issuer != rules.issuer) {
            return refused(Reason::SignInState);
        }
        let (None, Some(code), Some(metadata)) = (callback.error, callback.code, metadata) else {
            return refused(Reason::SignInRefused);
        };
        let mut client = CoreClient::from_provider_metadata(
            metadata.clone(),
            ClientId::new(self.rules.client_id.clone()),
            self.rules.client_secret.clone().map(ClientSecret::new),
        )
        .set_redirect_uri(RedirectUrl::from_url(self.rules.redirect_url.clone()));
        if posts_its_secret(metadata) {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| Refusal::bare(Reason::SignInRefused))?
            .set_pkce_verifier(pending.verifier);
        // The texts of such errors can hold what the provider sent, so the log has only their kind.
        let response = request
            .request(&|request| self.fetcher.call(request))
            .map_err(|error| {
                let kind = match error {
                    openidconnect::RequestTokenError::ServerResponse(_) => "refused",
                    openidconnect::RequestTokenError::Request(_) => "unreachable",
                    openidconnect::RequestTokenError::Parse(..) => "unreadable",
                    openidconnect::RequestTokenError::Other(_) => "other",
                };
                tracing::warn!(kind, "the identity provider gave no tokens for a code");
                Refusal::bare(Reason::SignInRefused)
            })?;
        // The access token is for nobody here, so `at_hash` has nothing to protect.
        match response.id_token() {
            Some(id_token) => Ok(Exchanged {
                id_token: id_token.clone(),
                nonce: pending.nonce,
                return_to: pending.return_to,
            }),
            None => refused(Reason::SignInRefused),
        }
    }

    /// Verifies the ID token, twice, by the library and by our own rules, and begins a session when both agree.
    pub(crate) fn accept(
        &self,
        exchanged: &Exchanged,
        current: &Current,
        rules: &Rules,
    ) -> Result<SignedIn, Refusal> {
        let now = self.clock.now();
        let raw = exchanged.id_token.to_string();
        let own = rules.for_id_tokens(&self.rules.client_id);
        let identity =
            token::verify(&raw, &current.keys, &own, now).map_err(|reason| Refusal::claimed(reason, &raw))?;
        let Some(metadata) = &current.metadata else {
            return Err(Refusal::of(Reason::SignInRefused, &identity));
        };
        let client = CoreClient::from_provider_metadata(
            CoreProviderMetadata::clone(metadata).set_jwks(current.keys.library()),
            ClientId::new(self.rules.client_id.clone()),
            self.rules.client_secret.clone().map(ClientSecret::new),
        );
        let verifier = client
            .id_token_verifier()
            .set_allowed_algs(own.algorithms.iter().map(|one| one.library()))
            .set_time_fn(|| {
                // The library has no leeway of its own: what our rules let pass, it should see as valid.
                let at = now.plus_micros(-i64::try_from(own.leeway.as_micros()).unwrap_or(0));
                chrono::DateTime::from_timestamp_micros(at.micros()).unwrap_or_default()
            });
        if exchanged.id_token.claims(&verifier, &exchanged.nonce).is_err() {
            return Err(Refusal::of(Reason::Nonce, &identity));
        }
        let identity = Identity {
            expires_at: now.plus_micros(micros(self.rules.max)),
            ..identity
        };
        self.open(identity, exchanged.return_to.clone())
    }

    fn open(&self, identity: Identity, return_to: String) -> Result<SignedIn, Refusal> {
        let now = self.clock.now();
        let (cookie, identity) = (random(), Arc::new(identity));
        let mut sessions = locked(&self.sessions);
        if sessions.len() >= MAX_ENTRIES {
            sessions.retain(|_, session| self.is_alive(session, now));
        }
        if sessions.len() >= MAX_ENTRIES {
            return Err(Refusal::of(Reason::NoRoom, &identity));
        }
        sessions.insert(
            key(&cookie),
            Session {
                identity: Arc::clone(&identity),
                csrf: random(),
                used_at: now,
            },
        );
        Ok(SignedIn {
            cookie,
            return_to,
            identity,
        })
    }

    fn is_alive(&self, session: &Session, now: Timestamp) -> bool {
        now < session.identity.expires_at && now < session.used_at.plus_micros(micros(self.rules.idle))
    }

    /// The session of a cookie, which is used by that.
    pub(crate) fn live(&self, cookie: &str) -> Option<Live> {
        let now = self.clock.now();
        let key = key(cookie);
        let mut sessions = locked(&self.sessions);
        let session = sessions.get_mut(&key)?;
        if !self.is_alive(session, now) {
            sessions.remove(&key);
            return None;
        }
        session.used_at = now;
        Some(Live {
            identity: Arc::clone(&session.identity),
            csrf_token: session.csrf.clone(),
            expires_at: session.identity.expires_at,
        })
    }

    /// Ends a session.
    pub(crate) fn end(&self, cookie: &str) {
        locked(&self.sessions).remove(&key(cookie));
    }
}

/// Whether the provider takes a client's secret only in the body of a request.
fn posts_its_secret(metadata: &CoreProviderMetadata) -> bool {
    metadata
        .token_endpoint_auth_methods_supported()
        .is_some_and(|methods| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        })
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
