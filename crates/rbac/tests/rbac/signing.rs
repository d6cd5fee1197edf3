//! Keys that are made for a test, and tokens signed with them: right ones, and wrong in any way.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use rsa::rand_core::OsRng;
use rsa::sha2::{Digest as _, Sha256};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey};
use serde_json::{Value, json};

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa() -> RsaPrivateKey {
    RsaPrivateKey::new(&mut OsRng, 2048).expect("a key can be made")
}

/// Making an RSA key takes a while, so the tests of one program share two.
static RSA: LazyLock<[RsaPrivateKey; 2]> = LazyLock::new(|| [rsa(), rsa()]);

enum Material {
    Rsa(RsaPrivateKey),
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

/// A private key with its name and algorithm.
pub(crate) struct Signer {
    pub(crate) kid: String,
    pub(crate) alg: &'static str,
    material: Material,
}

impl Signer {
    fn new(kid: &str, alg: &'static str, material: Material) -> Self {
        let kid = kid.to_owned();
        Self { kid, alg, material }
    }

    /// One of two RSA keys.
    pub(crate) fn rs256(kid: &str, which: usize) -> Self {
        Self::new(kid, "RS256", Material::Rsa(RSA[which].clone()))
    }

    pub(crate) fn ps256(kid: &str, which: usize) -> Self {
        Self::new(kid, "PS256", Material::Rsa(RSA[which].clone()))
    }

    pub(crate) fn es256(kid: &str, seed: u8) -> Self {
        let key = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a key");
        Self::new(kid, "ES256", Material::P256(key))
    }

    pub(crate) fn eddsa(kid: &str, seed: u8) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        Self::new(kid, "EdDSA", Material::Ed25519(key))
    }

    /// The public key.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = match &self.material {
            Material::Rsa(key) => json!({
                "kty": "RSA", "n": encode(key.n().to_bytes_be()), "e": encode(key.e().to_bytes_be()),
            }),
            Material::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                let bytes = point.as_bytes();
                json!({ "kty": "EC", "crv": "P-256", "x": encode(&bytes[1..33]), "y": encode(&bytes[33..]) })
            }
            Material::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.verifying_key().as_bytes()) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.alg);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(crate) fn signature(&self, signed: &str) -> Vec<u8> {
        let digest = Sha256::digest(signed.as_bytes());
        match (&self.material, self.alg) {
            (Material::Rsa(key), "PS256") => key
                .sign_with_rng(&mut OsRng, Pss::new::<Sha256>(), &digest)
                .expect("it signs"),
            (Material::Rsa(key), _) => key
                .sign(Pkcs1v15Sign::new::<Sha256>(), &digest)
                .expect("it signs"),
            (Material::P256(key), _) => {
                let signature: p256::ecdsa::Signature = key.sign(signed.as_bytes());
                signature.to_bytes().to_vec()
            }
            (Material::Ed25519(key), _) => key.sign(signed.as_bytes()).to_bytes().to_vec(),
        }
    }

    /// Any two texts, signed.
    pub(crate) fn sign_texts(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.signature(&signed);
        format!("{signed}.{}", encode(signature))
    }

    /// The usual header.
    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.alg, "typ": "at+jwt", "kid": self.kid })
    }

    /// A token with the usual header.
    pub(crate) fn sign(&self, payload: &Value) -> String {
        self.sign_texts(&self.header().to_string(), &payload.to_string())
    }
}

pub(crate) fn jwks(keys: &[&Signer]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}
