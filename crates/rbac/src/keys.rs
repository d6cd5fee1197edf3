//! Signing keys of a provider (RFC 7517), and which of them may prove anything.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::JsonWebKey as _;
use openidconnect::core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// More keys than any provider publishes.
const MAX_KEYS: usize = 100;

/// RFC 7518 3.3 asks for 2048 bits; beyond 4096 the library does not verify.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// An algorithm that a token may be signed with. All are asymmetric: with a secret shared with the provider, whoever
/// verifies could also sign (RFC 8725 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: &'static [Self] = &[Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// The name as tokens write it (RFC 7518 3.1, RFC 8037 3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this name. `Ed25519` (RFC 9864) is the same as `EdDSA`, which no other curve has here.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.iter().copied().find(|one| one.as_str() == name)
    }

    const fn family(self) -> Family {
        match self {
            Self::Rs256 | Self::Ps256 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::EdDsa => Family::Ed25519,
        }
    }

    pub(crate) const fn library(self) -> CoreJwsSigningAlgorithm {
        match self {
            Self::Rs256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
            Self::Ps256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
            Self::Es256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
            Self::EdDsa => CoreJwsSigningAlgorithm::EdDsa,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Rsa,
    P256,
    Ed25519,
}

/// Why a key set is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    /// Not strict JSON.
    #[error("the key set is not JSON: {0}")]
    Json(String),
    /// Not an object with a list of keys.
    #[error("`keys` must be a list of at most {MAX_KEYS} keys")]
    Shape,
    /// A private key lies in the open.
    #[error("`keys[{0}]` holds private key material: whoever reads it can sign; replace that key")]
    Private(usize),
    /// Nothing to verify with.
    #[error("`keys` holds no key that can verify RS256, PS256, ES256 or EdDSA (RSA from 2048 to 4096 bits)")]
    NoneUsable,
}

/// One public key.
#[derive(Debug, Clone)]
struct Key {
    kid: Option<String>,
    family: Family,
    /// The only algorithm that the key is for, when it says so (RFC 7517 4.4).
    only: Option<Algorithm>,
    jwk: CoreJsonWebKey,
}

/// The keys of a provider that may verify a token.
#[derive(Debug, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: usize,
}

/// Which key a token asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One was found, and the signature is its own.
    Signed,
    /// One was found, and the signature is not its own.
    NotSigned,
    /// The name is not known here; newer keys may have it.
    UnknownKid,
    /// The token names none, and there are several.
    NoKid,
    /// The key is there and is for something else.
    WrongKind,
}

impl KeySet {
    /// Reads a key set strictly.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, KeysError> {
        let value =
            cavra_evidence::strict::parse(bytes).map_err(|error| KeysError::Json(error.to_string()))?;
        Self::parse(&value)
    }

    /// Takes what can verify; keys for other purposes, or too weak, are left aside and counted.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn parse(value: &Value) -> Result<Self, KeysError> {
        let listed = value
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(KeysError::Shape)?;
        if listed.len() > MAX_KEYS {
            return Err(KeysError::Shape);
        }
        let mut keys = Vec::new();
        for (index, key) in listed.iter().enumerate() {
            let members = key.as_object().ok_or(KeysError::Shape)?;
            // `k` is a shared secret, `d` the private part of every other kind (RFC 7518 6).
            if members.contains_key("d") || members.contains_key("k") {
                return Err(KeysError::Private(index));
            }
            keys.extend(Key::parse(members));
        }
        let skipped = listed.len() - keys.len();
        if keys.is_empty() {
            return Err(KeysError::NoneUsable);
        }
        Ok(Self { keys, skipped })
    }

    /// How many keys can verify.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without keys is refused.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys were left aside.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Holds a signature against the key that the token names.
    pub(crate) fn verify(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Choice {
        let named: Vec<&Key> = match (kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys
                .iter()
                .filter(|key| key.kid.as_deref() == Some(kid))
                .collect(),
            (None, [only]) => vec![only],
            (None, _) => return Choice::NoKid,
        };
        if named.is_empty() {
            return Choice::UnknownKid;
        }
        // Two keys of different kinds may share a name (RFC 7517 4.5).
        let mut fitting = named.into_iter().filter(|key| key.fits(algorithm)).peekable();
        if fitting.peek().is_none() {
            return Choice::WrongKind;
        }
        let signed = fitting.any(|key| {
            key.jwk
                .verify_signature(&algorithm.library(), signed, signature)
                .is_ok()
        });
        if signed { Choice::Signed } else { Choice::NotSigned }
    }

    /// The same keys for the library's own verification of ID tokens.
    pub(crate) fn library(&self) -> CoreJsonWebKeySet {
        CoreJsonWebKeySet::new(self.keys.iter().map(|key| key.jwk.clone()).collect())
    }
}

impl Key {
    /// A key that can verify, or nothing.
    fn parse(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        if members.contains_key("use") && text("use") != Some("sig") {
            return None;
        }
        let operations = members.get("key_ops").map(|operations| operations.as_array());
        if operations.is_some_and(|list| list.is_none_or(|list| !list.contains(&json!("verify")))) {
            return None;
        }
        let kid = match members.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().filter(|kid| !kid.is_empty())?.to_owned()),
        };
        let (family, parts): (Family, &[&str]) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Family::Rsa, &["n", "e"]),
            ("EC", Some("P-256")) => (Family::P256, &["crv", "x", "y"]),
            ("OKP", Some("Ed25519")) => (Family::Ed25519, &["crv", "x"]),
            _ => return None,
        };
        let sound = match family {
            Family::Rsa => RSA_BITS.contains(&bits(&bytes("n")?)) && exponent_is_sound(&bytes("e")?),
            Family::P256 => bytes("x")?.len() == 32 && bytes("y")?.len() == 32,
            Family::Ed25519 => bytes("x")?.len() == 32,
        };
        let only = match members.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::parse(name.as_str()?)?),
        };
        if !sound || only.is_some_and(|only| only.family() != family) {
            return None;
        }
        // Only what verifying needs: nothing else of the provider's key has a say.
        let mut plain = Map::new();
        plain.insert("kty".to_owned(), json!(text("kty")?));
        plain.insert("use".to_owned(), json!("sig"));
        if let Some(kid) = &kid {
            plain.insert("kid".to_owned(), json!(kid));
        }
        for part in parts {
            plain.insert((*part).to_owned(), json!(text(part)?));
        }
        let jwk = serde_json::from_value(Value::Object(plain)).ok()?;
        Some(Self {
            kid,
            family,
            only,
            jwk,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.family == algorithm.family() && self.only.is_none_or(|only| only == algorithm)
    }
}

/// The length of a big-endian number, without leading zeros.
fn bits(number: &[u8]) -> usize {
    let mut significant = number.iter().skip_while(|byte| **byte == 0);
    let Some(first) = significant.next() else {
        return 0;
    };
    significant.count() * 8 + (8 - first.leading_zeros() as usize)
}

/// Odd, and at least 3.
fn exponent_is_sound(exponent: &[u8]) -> bool {
    bits(exponent) >= 2 && exponent.last().is_some_and(|last| last % 2 == 1)
}
