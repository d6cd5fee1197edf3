//! The OIDC file.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openidconnect::url::{Host, Url};
use serde::Deserialize;
use serde_json::Value;

use crate::file::{ConfigError, Source};
use crate::keys::{Algorithm, KeySet};
use crate::token::Rules;

/// The path under which the service takes a sign-in back.
pub const CALLBACK_PATH: &str = "/console/callback";

/// The file as it is written. Unknown keys are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    issuer: String,
    audience: OneOrMany,
    jwks: Option<Value>,
    jwks_path: Option<PathBuf>,
    leeway_seconds: Option<u64>,
    /// Written by the published generators.
    #[serde(rename = "provider")]
    _provider: Option<String>,
    /// Written by the published generators.
    #[serde(rename = "metadata_url")]
    _metadata_url: Option<String>,
    algorithms: Option<Vec<String>>,
    accept_typ: Option<Vec<String>>,
    accept_id_tokens: Option<bool>,
    allowed_clients: Option<Vec<String>>,
    groups_claim: Option<String>,
    max_lifetime_seconds: Option<u64>,
    jwks_ttl_seconds: Option<u64>,
    jwks_stale_seconds: Option<u64>,
    jwks_cooldown_seconds: Option<u64>,
    fetch_timeout_seconds: Option<u64>,
    ca_file: Option<PathBuf>,
    bad_tokens_per_minute: Option<u32>,
    client_id: Option<String>,
    client_secret_file: Option<PathBuf>,
    client_secret_env: Option<String>,
    redirect_url: Option<String>,
    scopes: Option<Vec<String>>,
    session_idle_minutes: Option<u64>,
    session_max_minutes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Where the keys come from.
#[derive(Debug, Clone)]
pub(crate) enum KeySource {
    /// The configuration; they change with a restart.
    Static(KeySet),
    /// The provider's discovery document.
    Discovery,
}

/// How the provider is asked.
#[derive(Debug, Clone)]
pub(crate) struct FetchRules {
    pub(crate) ttl: Duration,
    pub(crate) stale: Duration,
    pub(crate) cooldown: Duration,
    pub(crate) timeout: Duration,
    /// Certificates to trust instead of the usual ones, as PEM.
    pub(crate) ca: Option<String>,
}

/// How people sign in.
#[derive(Clone)]
pub(crate) struct SignInRules {
    pub(crate) client_id: String,
    /// None for a public client.
    pub(crate) client_secret: Option<String>,
    pub(crate) redirect_url: Url,
    pub(crate) scopes: Vec<String>,
    pub(crate) idle: Duration,
    pub(crate) max: Duration,
}

impl std::fmt::Debug for SignInRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignInRules")
            .field("client_id", &self.client_id)
            .field("redirect_url", &self.redirect_url.as_str())
            .finish_non_exhaustive()
    }
}

/// What the OIDC file says.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    pub(crate) issuer: Url,
    pub(crate) rules: Rules,
    pub(crate) keys: KeySource,
    pub(crate) fetch: FetchRules,
    pub(crate) bad_tokens_per_minute: u32,
    pub(crate) sign_in: Option<SignInRules>,
}

/// Whether a URL leads to this machine, where plain `http` is no risk.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

impl OidcConfig {
    /// Reads an OIDC file, and the key set and the secret that it names.
    ///
    /// # Errors
    /// [`ConfigError`] names the key at fault, and never repeats a value.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let source = Source::new(path);
        let file: Written = source.read(source.value()?)?;
        let issuer = issuer(&source, &file.issuer)?;
        let rules = rules(&source, &file)?;
        let keys = keys(&source, &file)?;
        let fetch = fetch_rules(&source, &file)?;
        let bad_tokens_per_minute = within(
            &source,
            "bad_tokens_per_minute",
            file.bad_tokens_per_minute.map(u64::from),
            30,
            1..=100_000,
        )?;
        let sign_in = sign_in(&source, file)?;
        Ok(Self {
            issuer,
            rules,
            keys,
            fetch,
            bad_tokens_per_minute: u32::try_from(bad_tokens_per_minute).unwrap_or(30),
            sign_in,
        })
    }

    /// The host names by which browsers reach the service, out of `redirect_url`.
    pub fn redirect_host(&self) -> Option<&str> {
        self.sign_in
            .as_ref()
            .and_then(|sign_in| sign_in.redirect_url.host_str())
    }

    /// What tokens have to be.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The keys, where they are part of the configuration.
    pub fn static_keys(&self) -> Option<&KeySet> {
        match &self.keys {
            KeySource::Static(keys) => Some(keys),
            KeySource::Discovery => None,
        }
    }

    /// The algorithms that tokens may be signed with.
    pub fn algorithms(&self) -> Vec<&'static str> {
        self.rules.algorithms.iter().map(|one| one.as_str()).collect()
    }
}

/// A number of the file, within what makes sense.
fn within(
    source: &Source,
    key: &str,
    given: Option<u64>,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ConfigError> {
    let value = given.unwrap_or(default);
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(source.key(key, format!("must be from {} to {}", range.start(), range.end())))
    }
}

fn issuer(source: &Source, text: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(text).map_err(|_| source.key("issuer", "must be a URL"))?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !plain || url.host().is_none() {
        return Err(source.key("issuer", "must be a URL without query, fragment or credentials"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(source.key(
            "issuer",
            "must be https; plain http is for a loopback address only",
        )),
    }
}

fn rules(source: &Source, file: &Written) -> Result<Rules, ConfigError> {
    let audiences = match &file.audience {
        OneOrMany::One(one) => vec![one.clone()],
        OneOrMany::Many(several) => several.clone(),
    };
    if audiences.is_empty() || audiences.iter().any(|audience| audience.trim().is_empty()) {
        return Err(source.key("audience", "must name at least one audience"));
    }
    let algorithms = match &file.algorithms {
        None => Algorithm::ALL.to_vec(),
        Some(names) if names.is_empty() => {
            return Err(source.key("algorithms", "is empty, so no token could be accepted"));
        }
        Some(names) => names
            .iter()
            .map(|name| {
                Algorithm::parse(name)
                    .ok_or_else(|| source.key("algorithms", "may only list RS256, PS256, ES256 and EdDSA"))
            })
            .collect::<Result<_, _>>()?,
    };
    let types: Vec<String> = match &file.accept_typ {
        None => vec!["at+jwt".to_owned()],
        Some(types) if types.is_empty() => {
            return Err(source.key("accept_typ", "is empty, so no token could be accepted"));
        }
        Some(types) => types
            .iter()
            .map(|kind| kind.to_ascii_lowercase())
            .map(|kind| {
                kind.strip_prefix("application/")
                    .map(str::to_owned)
                    .unwrap_or(kind)
            })
            .collect(),
    };
    let groups_claim = file.groups_claim.clone().unwrap_or_else(|| "groups".to_owned());
    if groups_claim.trim().is_empty() {
        return Err(source.key("groups_claim", "is empty"));
    }
    let clients = file.allowed_clients.clone().unwrap_or_default();
    if file.allowed_clients.as_ref().is_some_and(Vec::is_empty) {
        return Err(source.key("allowed_clients", "is empty, so no client could call"));
    }
    Ok(Rules {
        issuer: file.issuer.clone(),
        audiences,
        algorithms,
        types,
        accept_id_tokens: file.accept_id_tokens.unwrap_or(false),
        groups_claim,
        clients,
        leeway: Duration::from_secs(within(source, "leeway_seconds", file.leeway_seconds, 60, 0..=60)?),
        max_lifetime: Duration::from_secs(within(
            source,
            "max_lifetime_seconds",
            file.max_lifetime_seconds,
            7200,
            60..=86_400,
        )?),
    })
}

fn keys(source: &Source, file: &Written) -> Result<KeySource, ConfigError> {
    let keys = match (&file.jwks, &file.jwks_path) {
        // As published: what is written in the file itself goes first.
        (Some(jwks), _) => KeySet::parse(jwks).map_err(|error| source.key("jwks", error.to_string()))?,
        (None, Some(path)) => {
            let path = source.beside(path);
            let text = Source::new(&path).text().map_err(|error| {
                source.key(
                    "jwks_path",
                    format!("cannot be used: {error}: `{}`", path.display()),
                )
            })?;
            KeySet::from_json(text.as_bytes())
                .map_err(|error| source.key("jwks_path", format!("`{}`: {error}", path.display())))?
        }
        (None, None) => return Ok(KeySource::Discovery),
    };
    Ok(KeySource::Static(keys))
}

fn fetch_rules(source: &Source, file: &Written) -> Result<FetchRules, ConfigError> {
    let seconds =
        |key, given, default, range| within(source, key, given, default, range).map(Duration::from_secs);
    let ca = file
        .ca_file
        .as_ref()
        .map(|path| {
            let path = source.beside(path);
            let text = Source::new(&path).text().map_err(|error| {
                source.key(
                    "ca_file",
                    format!("cannot be used: {error}: `{}`", path.display()),
                )
            })?;
            crate::fetch::certificates(&text)
                .map(|_| text)
                .ok_or_else(|| source.key("ca_file", "holds no certificate in PEM form"))
        })
        .transpose()?;
    Ok(FetchRules {
        ttl: seconds("jwks_ttl_seconds", file.jwks_ttl_seconds, 300, 1..=86_400)?,
        stale: seconds("jwks_stale_seconds", file.jwks_stale_seconds, 3600, 0..=86_400)?,
        cooldown: seconds("jwks_cooldown_seconds", file.jwks_cooldown_seconds, 30, 1..=3600)?,
        timeout: seconds("fetch_timeout_seconds", file.fetch_timeout_seconds, 5, 1..=60)?,
        ca,
    })
}

fn sign_in(source: &Source, file: Written) -> Result<Option<SignInRules>, ConfigError> {
    let Some(client_id) = file.client_id else {
        let orphan = [
            ("client_secret_file", file.client_secret_file.is_some()),
            ("client_secret_env", file.client_secret_env.is_some()),
            ("redirect_url", file.redirect_url.is_some()),
            ("scopes", file.scopes.is_some()),
        ];
        return match orphan.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(source.key(key, "is for sign-in, which needs `client_id` as well")),
            None => Ok(None),
        };
    };
    if client_id.trim().is_empty() {
        return Err(source.key("client_id", "is empty"));
    }
    if file.jwks.is_some() || file.jwks_path.is_some() {
        let problem =
            "is for sign-in, which needs the provider's discovery document: leave out `jwks` and `jwks_path`";
        return Err(source.key("client_id", problem));
    }
    let client_secret = match (file.client_secret_file, file.client_secret_env) {
        (Some(_), Some(_)) => {
            return Err(source.key(
                "client_secret_env",
                "is given beside `client_secret_file`; give one",
            ));
        }
        (Some(path), None) => {
            let path = source.beside(&path);
            let text = Source::new(&path).text().map_err(|error| {
                source.key(
                    "client_secret_file",
                    format!("cannot be used: {error}: `{}`", path.display()),
                )
            })?;
            Some(text.trim().to_owned())
        }
        (None, Some(name)) => Some(std::env::var(&name).map_err(|_| {
            source.key(
                "client_secret_env",
                "names an environment variable that is not set",
            )
        })?),
        (None, None) => None,
    };
    if client_secret.as_deref().is_some_and(str::is_empty) {
        return Err(source.key(
            "client_secret_file",
            "or `client_secret_env` leads to an empty secret",
        ));
    }
    let Some(redirect_url) = file.redirect_url else {
        return Err(source.key("redirect_url", "is missing; sign-in with `client_id` needs it"));
    };
    let problem = format!("must be https (http for a loopback address) and end with {CALLBACK_PATH}");
    let redirect_url = Url::parse(&redirect_url)
        .ok()
        .filter(|url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url)))
        .filter(|url| url.path() == CALLBACK_PATH && url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| source.key("redirect_url", problem))?;
    let scopes = file
        .scopes
        .unwrap_or_else(|| vec!["profile".to_owned(), "email".to_owned()]);
    let minutes = |key, given, default| {
        within(source, key, given, default, 1..=1440).map(|minutes| Duration::from_secs(minutes * 60))
    };
    let (idle, max) = (
        minutes("session_idle_minutes", file.session_idle_minutes, 30)?,
        minutes("session_max_minutes", file.session_max_minutes, 480)?,
    );
    if idle > max {
        return Err(source.key("session_idle_minutes", "is longer than `session_max_minutes`"));
    }
    Ok(Some(SignInRules {
        client_id,
        client_secret,
        redirect_url,
        scopes,
        idle,
        max,
    }))
}
