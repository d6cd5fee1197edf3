//! Verifying a token (RFC 9068 4, RFC 8725). Pure: keys and time are arguments.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cavra_domain::public_safe::{Field, Text};
use cavra_domain::time::Timestamp;
use serde_json::{Map, Value};

use crate::identity::{Identity, subject_hash};
use crate::keys::{Algorithm, Choice, KeySet};
use crate::policy::GROUP;

/// Longest token, in bytes: looked at before anything is decoded.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Most groups that a token may list. More than that, and the provider would better filter them.
pub const MAX_GROUPS: usize = 200;

const MICROS: i64 = 1_000_000;
const ISSUER: Field = Field::line("issuer", 255);
/// OpenID Connect Core 2: at most 255 characters.
const SUBJECT: Field = Field::line("subject", 255);
const DISPLAY: Field = Field::line("display", 200);

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal;)*) => {
        /// Why somebody is not let in: for logs and metrics. Callers only learn that their token is not valid.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The reason as logs and metrics write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

reasons! {
    /// No token at all.
    Missing = "no_token";
    /// An `Authorization` of another scheme, or `Bearer` with nothing.
    Scheme = "not_bearer";
    /// Several tokens in one request.
    SeveralCarriers = "several_carriers";
    /// Longer than a token may be.
    TooLong = "token_too_long";
    /// Not three parts of strict base64url, or not strict JSON in them.
    Malformed = "malformed";
    /// `alg` is not one of the allowed ones.
    Algorithm = "algorithm_not_allowed";
    /// `crit` names something that has to be understood.
    Critical = "critical_header";
    /// `typ` is not that of an access token.
    Type = "wrong_type";
    /// `kid` names no key.
    UnknownKey = "unknown_key";
    /// There is no `kid`, and there are several keys.
    NoKeyId = "no_key_id";
    /// The key is for another algorithm.
    KeyMismatch = "key_mismatch";
    /// The signature is not the key's.
    Signature = "bad_signature";
    /// A claim is missing or has the wrong type.
    Claim = "bad_claim";
    /// Another issuer.
    Issuer = "wrong_issuer";
    /// For somebody else.
    Audience = "wrong_audience";
    /// For a client that may not call here.
    Client = "wrong_client";
    /// Over.
    Expired = "expired";
    /// Not yet valid, or issued in the future.
    NotYet = "not_yet_valid";
    /// Valid for longer than is allowed here.
    Lifetime = "lifetime_too_long";
    /// An ID token, which is for signing in.
    IdToken = "id_token";
    /// More groups than are taken, or none because there are too many.
    Groups = "groups_unusable";
    /// The subject cannot stand in evidence.
    Subject = "subject_unusable";
    /// The nonce is not that of this sign-in.
    Nonce = "wrong_nonce";
    /// The sign-in was not begun here, or too long ago.
    SignInState = "wrong_sign_in_state";
    /// The provider refused the sign-in.
    SignInRefused = "sign_in_refused";
    /// There are more sessions than are kept.
    NoRoom = "no_room_for_sessions";
    /// A session that is not known, or over.
    Session = "no_session";
    /// A write with a session cookie that does not come from the console's own page.
    CrossSite = "cross_site";
    /// Proven, and without the right.
    Permission = "insufficient_scope";
    /// The keys cannot be had.
    KeysUnavailable = "keys_unavailable";
}

/// A refusal, with what a log may say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The issuer, as far as the token says one that can be logged.
    pub issuer: Option<String>,
    /// Issuer and subject, hashed; claimed only, unless the reason is about rights.
    pub subject_hash: Option<String>,
    /// The key that the token names, when that can be logged.
    pub kid: Option<String>,
}

impl Refusal {
    /// A refusal without any token behind it.
    pub const fn bare(reason: Reason) -> Self {
        Self {
            reason,
            issuer: None,
            subject_hash: None,
            kid: None,
        }
    }

    /// A refusal of somebody proven.
    pub fn of(reason: Reason, identity: &Identity) -> Self {
        Self {
            reason,
            issuer: Some(identity.issuer().as_str().to_owned()),
            subject_hash: Some(subject_hash(
                identity.issuer().as_str(),
                identity.subject().as_str(),
            )),
            kid: None,
        }
    }

    /// What a bad token says of itself, for the log and for the limit per subject. None of it is proven.
    pub(crate) fn claimed(reason: Reason, token: &str) -> Self {
        let mut refusal = Self::bare(reason);
        if token.len() > MAX_TOKEN_BYTES {
            return refusal;
        }
        let mut parts = token.split('.');
        let header = parts.next().and_then(|part| object(part).ok());
        let payload = parts.next().and_then(|part| object(part).ok());
        let text = |members: &Option<Map<String, Value>>, name: &str, field| {
            let text = members.as_ref()?.get(name)?.as_str()?;
            Text::parse(field, text).ok().map(|text| text.as_str().to_owned())
        };
        refusal.kid = text(&header, "kid", Field::line("kid", 100));
        refusal.issuer = text(&payload, "iss", ISSUER);
        refusal.subject_hash = text(&payload, "sub", SUBJECT)
            .map(|subject| subject_hash(refusal.issuer.as_deref().unwrap_or_default(), &subject));
        refusal
    }
}

/// What a token has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub(crate) issuer: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    /// Types in lower case; an empty one stands for none.
    pub(crate) types: Vec<String>,
    pub(crate) accept_id_tokens: bool,
    pub(crate) groups_claim: String,
    /// Clients that may call; empty for any.
    pub(crate) clients: Vec<String>,
    pub(crate) leeway: Duration,
    pub(crate) max_lifetime: Duration,
}

impl Rules {
    /// The rules for ID tokens of a sign-in: the same care, for the client itself.
    pub(crate) fn for_id_tokens(&self, client_id: &str) -> Self {
        Self {
            audiences: vec![client_id.to_owned()],
            types: vec![String::new(), "jwt".to_owned()],
            accept_id_tokens: true,
            clients: Vec::new(),
            ..self.clone()
        }
    }
}

/// A token taken apart, before its signature is looked at.
struct Parts<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    kind: String,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

/// Verifies a token. The order is that of RFC 8725: size, form, header, key, signature, and only then the claims.
///
/// # Errors
/// The [`Reason`], for the log.
pub fn verify(token: &str, keys: &KeySet, rules: &Rules, now: Timestamp) -> Result<Identity, Reason> {
    let parts = take_apart(token, rules)?;
    match keys.verify(
        parts.kid.as_deref(),
        parts.algorithm,
        parts.signed.as_bytes(),
        &parts.signature,
    ) {
        Choice::Signed => {}
        Choice::NotSigned => return Err(Reason::Signature),
        Choice::UnknownKid => return Err(Reason::UnknownKey),
        Choice::NoKid => return Err(Reason::NoKeyId),
        Choice::WrongKind => return Err(Reason::KeyMismatch),
    }
    let claims = object(parts.payload)?;
    check_claims(&claims, &parts.kind, rules, now)
}

fn take_apart<'a>(token: &'a str, rules: &Rules) -> Result<Parts<'a>, Reason> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(Reason::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(Reason::Malformed)?;
    if payload.contains('.') {
        return Err(Reason::Malformed);
    }
    let header = object(header)?;
    // Of what the header may bring itself (`jwk`, `jku`, `x5u`, `x5c`), nothing is looked at (RFC 8725 3.10).
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Reason::Critical);
    }
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .and_then(Algorithm::parse)
        .filter(|algorithm| rules.algorithms.contains(algorithm))
        .ok_or(Reason::Algorithm)?;
    let typ = match header.get("typ") {
        None => String::new(),
        Some(Value::String(typ)) => {
            let typ = typ.to_ascii_lowercase();
            // RFC 7515 4.1.9: the prefix may be left out.
            typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
        }
        Some(_) => return Err(Reason::Type),
    };
    if !rules.types.contains(&typ) {
        return Err(Reason::Type);
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(Reason::Malformed),
    };
    let signature = decoded(signature)?;
    Ok(Parts {
        algorithm,
        kid,
        kind: typ,
        signed,
        payload,
        signature,
    })
}

/// Strict base64url: no padding, no other alphabet, no bits left over.
fn decoded(part: &str) -> Result<Vec<u8>, Reason> {
    if part.is_empty() {
        return Err(Reason::Malformed);
    }
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::Malformed)
}

/// A JSON object without duplicate members, not too deep.
fn object(part: &str) -> Result<Map<String, Value>, Reason> {
    match cavra_evidence::strict::parse(&decoded(part)?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) | Err(_) => Err(Reason::Malformed),
    }
}

fn check_claims(
    claims: &Map<String, Value>,
    kind: &str,
    rules: &Rules,
    now: Timestamp,
) -> Result<Identity, Reason> {
    let issuer = text(claims, "iss")?.ok_or(Reason::Claim)?;
    if issuer != rules.issuer {
        return Err(Reason::Issuer);
    }
    check_audience(claims, rules)?;
    check_client(claims, kind, rules)?;
    let expires = check_times(claims, rules, now)?;
    // The last is Keycloak's word for it.
    let id_token = ["nonce", "at_hash", "c_hash"]
        .iter()
        .any(|claim| claims.contains_key(*claim))
        || claims.get("typ").and_then(Value::as_str) == Some("ID");
    if id_token && !rules.accept_id_tokens {
        return Err(Reason::IdToken);
    }
    let subject = text(claims, "sub")?
        .filter(|subject| !subject.is_empty())
        .ok_or(Reason::Claim)?;
    let subject = Text::parse(SUBJECT, subject).map_err(|_| Reason::Subject)?;
    Ok(Identity {
        issuer: Text::parse(ISSUER, issuer).map_err(|_| Reason::Issuer)?,
        display: display(claims).unwrap_or_else(|| subject.clone()),
        subject,
        groups: groups(claims, rules)?,
        expires_at: expires,
    })
}

/// A claim that is a text, if it is there.
fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Reason> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reason::Claim),
    }
}

fn check_audience(claims: &Map<String, Value>, rules: &Rules) -> Result<(), Reason> {
    let named: Vec<&str> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| one.as_str().ok_or(Reason::Claim))
            .collect::<Result<_, _>>()?,
        Some(_) | None => return Err(Reason::Claim),
    };
    let ours = |one: &&str| rules.audiences.iter().any(|audience| audience == one);
    if named.iter().any(ours) {
        Ok(())
    } else {
        Err(Reason::Audience)
    }
}

/// The client that got the token: `client_id` (RFC 9068 2.2) or `azp`.
fn check_client(claims: &Map<String, Value>, kind: &str, rules: &Rules) -> Result<(), Reason> {
    let (client, party) = (text(claims, "client_id")?, text(claims, "azp")?);
    if kind == "at+jwt" && (client.is_none() || text(claims, "jti")?.is_none()) {
        return Err(Reason::Claim);
    }
    if client.is_some() && party.is_some() && client != party {
        return Err(Reason::Client);
    }
    let known = |client: &str| rules.clients.iter().any(|one| one == client);
    if rules.clients.is_empty() || client.or(party).is_some_and(known) {
        Ok(())
    } else {
        Err(Reason::Client)
    }
}

/// `exp`, `iat` and `nbf`; gives the end.
fn check_times(claims: &Map<String, Value>, rules: &Rules, now: Timestamp) -> Result<Timestamp, Reason> {
    let leeway = i64::try_from(rules.leeway.as_micros()).unwrap_or(0);
    let expires = time(claims, "exp")?.ok_or(Reason::Claim)?;
    let issued = time(claims, "iat")?.ok_or(Reason::Claim)?;
    let not_before = time(claims, "nbf")?;
    if now >= expires.plus_micros(leeway) {
        return Err(Reason::Expired);
    }
    let latest = now.plus_micros(leeway);
    if issued > latest || not_before.is_some_and(|not_before| not_before > latest) {
        return Err(Reason::NotYet);
    }
    let lifetime = i64::try_from(rules.max_lifetime.as_micros()).unwrap_or(i64::MAX);
    if expires > issued.plus_micros(lifetime) {
        return Err(Reason::Lifetime);
    }
    Ok(expires)
}

/// A `NumericDate` (RFC 7519 2): a JSON number of seconds, whole or not.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Reason> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let Value::Number(seconds) = value else {
        return Err(Reason::Claim);
    };
    let micros = match seconds.as_i64() {
        Some(seconds) => seconds.checked_mul(MICROS),
        // The whole part is enough: times are compared with a leeway of seconds.
        None => seconds
            .as_f64()
            .filter(|seconds| seconds.abs() < 1e12)
            .and_then(|seconds| format!("{seconds:.0}").parse::<i64>().ok())
            .and_then(|seconds| seconds.checked_mul(MICROS)),
    };
    micros
        .and_then(Timestamp::from_micros)
        .map(Some)
        .ok_or(Reason::Claim)
}

/// The groups. A claim that says that there are too many to list is an error: deciding without them would be a guess.
fn groups(claims: &Map<String, Value>, rules: &Rules) -> Result<Vec<String>, Reason> {
    let claim = rules.groups_claim.as_str();
    // How Entra ID says it (RFC 9068 leaves it open; OpenID Connect Core 5.6.2 has `_claim_names`).
    let elsewhere = claims
        .get("_claim_names")
        .is_some_and(|names| names.as_object().is_none_or(|names| names.contains_key(claim)));
    if elsewhere
        || claims
            .get("hasgroups")
            .is_some_and(|has| *has != Value::Bool(false))
    {
        return Err(Reason::Groups);
    }
    let listed = match claims.get(claim) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::String(one)) => return Ok(vec![group(one)?]),
        Some(Value::Array(several)) => several,
        Some(_) => return Err(Reason::Claim),
    };
    if listed.len() > MAX_GROUPS {
        return Err(Reason::Groups);
    }
    listed
        .iter()
        .map(|one| group(one.as_str().ok_or(Reason::Claim)?))
        .collect()
}

fn group(name: &str) -> Result<String, Reason> {
    if name.chars().count() > GROUP.max_chars {
        return Err(Reason::Groups);
    }
    Ok(name.to_owned())
}

/// How people know the subject, from what the provider says; never who it is.
fn display(claims: &Map<String, Value>) -> Option<Text> {
    let unproven_address = claims
        .get("email_verified")
        .is_some_and(|verified| *verified != Value::Bool(true));
    ["email", "preferred_username"]
        .into_iter()
        .filter(|claim| *claim != "email" || !unproven_address)
        .filter_map(|claim| claims.get(claim)?.as_str())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .find_map(|name| Text::parse(DISPLAY, name).ok())
}
