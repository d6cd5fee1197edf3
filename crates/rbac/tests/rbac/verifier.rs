//! Whatever the token, the verifier answers, and accepts nothing that was not signed as it is.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cavra_domain::time::Timestamp;
use cavra_rbac::{KeySet, OidcConfig, Reason, verify};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::signing::{Signer, encode, jwks};

const NOW: &str = "2026-06-01T12:00:00Z";
const ISSUER: &str = "https://idp.example.test";
const AUDIENCE: &str = "https://drills.example.test";

fn now() -> Timestamp {
    Timestamp::parse(NOW).unwrap()
}

fn seconds() -> i64 {
    now().micros() / 1_000_000
}

fn payload() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "operator", "client_id": "operator", "jti": "1",
        "iat": seconds() - 10, "exp": seconds() + 290, "groups": ["release-operators"],
    })
}

struct World {
    signers: Vec<Signer>,
    config: OidcConfig,
    tokens: Vec<String>,
}

impl World {
    fn keys(&self) -> &KeySet {
        self.config.static_keys().expect("the keys are in the file")
    }

    fn verify(&self, token: &str) -> Result<String, Reason> {
        verify(token, self.keys(), self.config.rules(), now()).map(|who| who.subject().as_str().to_owned())
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let signers = vec![
        Signer::rs256("r1", 0),
        Signer::ps256("p1", 1),
        Signer::es256("e1", 7),
        Signer::eddsa("d1", 7),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("oidc.json");
    let keys = jwks(&signers.iter().collect::<Vec<_>>());
    let file = json!({ "issuer": ISSUER, "audience": AUDIENCE, "jwks": keys, "leeway_seconds": 30 });
    std::fs::write(&path, file.to_string()).unwrap();
    let config = OidcConfig::load(&path).unwrap();
    let tokens = signers.iter().map(|signer| signer.sign(&payload())).collect();
    World {
        signers,
        config,
        tokens,
    }
});

#[test]
fn tokens_of_all_four_algorithms_are_accepted() {
    for token in &WORLD.tokens {
        assert_eq!(WORLD.verify(token), Ok("operator".to_owned()));
    }
}

/// One claim changed, or gone where `None`.
fn with(claim: &str, value: Option<Value>) -> String {
    let mut payload = payload();
    match value {
        Some(value) => payload[claim] = value,
        None => {
            payload.as_object_mut().unwrap().remove(claim);
        }
    }
    WORLD.signers[2].sign(&payload)
}

#[test]
fn every_required_claim_has_to_be_there_with_its_type() {
    for claim in ["iss", "aud", "sub", "client_id", "jti", "iat", "exp"] {
        assert_eq!(WORLD.verify(&with(claim, None)), Err(Reason::Claim), "{claim}");
        for wrong in [json!(null), json!(true), json!({ "a": 1 }), json!([7])] {
            assert!(
                WORLD.verify(&with(claim, Some(wrong.clone()))).is_err(),
                "{claim} {wrong}"
            );
        }
    }
    for claim in ["iat", "exp", "nbf"] {
        let text = json!(format!("{}", seconds()));
        assert_eq!(
            WORLD.verify(&with(claim, Some(text))),
            Err(Reason::Claim),
            "{claim}"
        );
    }
    for claim in ["iss", "sub", "jti", "azp"] {
        assert!(WORLD.verify(&with(claim, Some(json!(5)))).is_err(), "{claim}");
    }
    assert_eq!(WORLD.verify(&with("sub", Some(json!("")))), Err(Reason::Claim));
    assert_eq!(
        WORLD.verify(&with("sub", Some(json!("a\nb")))),
        Err(Reason::Subject)
    );
    assert_eq!(
        WORLD.verify(&with("sub", Some(json!("x".repeat(256))))),
        Err(Reason::Subject)
    );
}

#[test]
fn times_are_held_to_the_leeway_on_both_sides_and_to_the_longest_lifetime() {
    let at = |offset: i64| Some(json!(seconds() + offset));
    assert!(WORLD.verify(&with("exp", at(-29))).is_ok());
    assert_eq!(WORLD.verify(&with("exp", at(-30))), Err(Reason::Expired));
    assert!(WORLD.verify(&with("nbf", at(30))).is_ok());
    assert_eq!(WORLD.verify(&with("nbf", at(31))), Err(Reason::NotYet));
    assert!(WORLD.verify(&with("iat", at(30))).is_ok());
    assert_eq!(WORLD.verify(&with("iat", at(31))), Err(Reason::NotYet));
    assert_eq!(WORLD.verify(&with("exp", at(7191))), Err(Reason::Lifetime));
    // Numbers need not be whole (RFC 7519 2), and have to be numbers.
    assert!(
        WORLD
            .verify(&with(
                "exp",
                Some(serde_json::from_str(&format!("{}.5", seconds() + 100)).unwrap())
            ))
            .is_ok()
    );
    assert_eq!(WORLD.verify(&with("exp", Some(json!(-1)))), Err(Reason::Expired));
    let header = WORLD.signers[2].header().to_string();
    for number in ["1e300", "1e999", "-1e300", "9007199254740993", "NaN"] {
        let text = payload().to_string().replace(
            &format!("\"exp\":{}", seconds() + 290),
            &format!("\"exp\":{number}"),
        );
        assert!(text.contains(number));
        assert!(
            WORLD
                .verify(&WORLD.signers[2].sign_texts(&header, &text))
                .is_err(),
            "{number}"
        );
    }
}

#[test]
fn duplicate_members_and_deep_nesting_are_refused_in_header_and_payload() {
    let signer = &WORLD.signers[2];
    let header = signer.header().to_string();
    let payload = payload().to_string();
    let twice = payload.replacen('{', "{\"sub\":\"root\",", 1);
    assert_eq!(
        WORLD.verify(&signer.sign_texts(&header, &twice)),
        Err(Reason::Malformed)
    );
    let twice = header.replacen('{', "{\"alg\":\"none\",", 1);
    assert_eq!(
        WORLD.verify(&signer.sign_texts(&twice, &payload)),
        Err(Reason::Malformed)
    );
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(
        WORLD.verify(&signer.sign_texts(&header, &deep)),
        Err(Reason::Malformed)
    );
    assert_eq!(
        WORLD.verify(&signer.sign_texts(&deep, &payload)),
        Err(Reason::Malformed)
    );
}

#[test]
fn what_the_header_asks_to_be_understood_is_refused_and_what_it_brings_is_not_looked_at() {
    let signer = &WORLD.signers[2];
    let with = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        WORLD.verify(&signer.sign_texts(&header.to_string(), &payload().to_string()))
    };
    assert_eq!(with("crit", json!(["exp"])), Err(Reason::Critical));
    assert_eq!(with("crit", json!([])), Err(Reason::Critical));
    assert_eq!(with("b64", json!(false)), Err(Reason::Critical));
    assert!(with("jku", json!("http://127.0.0.1:1/keys")).is_ok());
    for kind in ["JWT", "dpop+jwt", "at+jwtx", ""] {
        assert_eq!(with("typ", json!(kind)), Err(Reason::Type), "{kind}");
    }
    assert!(with("typ", json!("application/AT+JWT")).is_ok());
    assert_eq!(with("kid", json!(7)), Err(Reason::Malformed));
    assert_eq!(with("kid", json!("r1")), Err(Reason::KeyMismatch));
}

#[test]
fn base64url_is_taken_strictly() {
    let token = &WORLD.tokens[2];
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let padded = format!("{signed}.{signature}==");
    assert_eq!(WORLD.verify(&padded), Err(Reason::Malformed));
    // The last character of 86 carries four bits that have to be zero.
    let last = signature.chars().last().unwrap();
    let loose: String = format!("{signed}.{}", &signature[..signature.len() - 1])
        + &char::from_u32(u32::from(last) + 1).unwrap().to_string();
    assert!(WORLD.verify(&loose).is_err());
    assert_eq!(
        WORLD
            .verify(&format!("{signed}.{}", signature.replace(['-', '_'], "+")))
            .is_ok(),
        !signature.contains(['-', '_'])
    );
    for odd in [
        format!(" {token}"),
        format!("{token}\n"),
        token.replace('.', ". "),
    ] {
        assert!(WORLD.verify(&odd).is_err());
    }
}

#[test]
fn what_marks_an_id_token_is_refused_in_an_access_token() {
    for (claim, value) in [("nonce", "n"), ("at_hash", "h"), ("c_hash", "h"), ("typ", "ID")] {
        assert_eq!(
            WORLD.verify(&with(claim, Some(json!(value)))),
            Err(Reason::IdToken),
            "{claim}"
        );
    }
    assert!(WORLD.verify(&with("typ", Some(json!("Bearer")))).is_ok());
}

#[test]
fn groups_are_a_short_list_of_texts_or_the_token_is_refused() {
    assert_eq!(
        WORLD.verify(&with("groups", Some(json!([{ "x": 1 }, null, 7])))),
        Err(Reason::Claim)
    );
    let many = |count: usize| {
        Some(json!(
            (0..count).map(|index| format!("g{index}")).collect::<Vec<_>>()
        ))
    };
    assert!(WORLD.verify(&with("groups", many(200))).is_ok());
    assert_eq!(WORLD.verify(&with("groups", many(201))), Err(Reason::Groups));
    assert_eq!(
        WORLD.verify(&with("hasgroups", Some(json!(true)))),
        Err(Reason::Groups)
    );
    assert_eq!(
        WORLD.verify(&with("_claim_names", Some(json!({ "groups": "src1" })))),
        Err(Reason::Groups)
    );
    assert!(WORLD.verify(&with("groups", None)).is_ok());
    assert!(
        WORLD
            .verify(&with("groups", Some(json!("release-operators"))))
            .is_ok()
    );
}

#[test]
fn keys_that_are_weak_private_or_for_something_else_verify_nothing() {
    let set = |key: Value| KeySet::parse(&json!({ "keys": [key] }));
    // 1024 bits, and 2047.
    let long = URL_SAFE_NO_PAD
        .decode(WORLD.signers[0].jwk()["n"].as_str().unwrap())
        .unwrap();
    let (mut short, mut shorter) = (WORLD.signers[0].jwk(), WORLD.signers[0].jwk());
    shorter["n"] = json!(encode(&long[128..]));
    short["n"] = json!(encode([&[long[0] & 0x7f], &long[1..]].concat()));
    assert!(set(shorter).is_err() && set(short).is_err());
    let changed = |name: &str, value: Value| {
        let mut key = WORLD.signers[0].jwk();
        key[name] = value;
        set(key)
    };
    assert!(changed("use", json!("sig")).is_ok());
    for (name, value) in [
        ("use", json!("enc")),
        ("use", json!(7)),
        ("key_ops", json!(["sign"])),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("kty", json!("oct")),
        ("n", json!("AQAB")),
        ("n", json!("!!")),
        ("e", json!("AQ")),
        ("e", json!("Ag")),
        ("d", json!("AQAB")),
        ("k", json!("AQAB")),
    ] {
        assert!(changed(name, value.clone()).is_err(), "{name} {value}");
    }
    assert!(KeySet::parse(&json!({ "keys": [] })).is_err());
    assert!(KeySet::parse(&json!([])).is_err());
}

/// A change of a real token that leaves something else than the token.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, String),
    Swap(usize, usize),
    Part(usize, Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (any::<usize>(), 1..=255u8).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        any::<usize>().prop_map(Mutation::Cut),
        (any::<usize>(), ".{1,8}").prop_map(|(at, text)| Mutation::Insert(at, text)),
        (0..4usize, 0..4usize).prop_map(|(from, to)| Mutation::Swap(from, to)),
        (0..3usize, proptest::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(part, bytes)| Mutation::Part(part, bytes)),
    ]
}

fn mutated(token: &str, mutation: &Mutation) -> String {
    let characters: Vec<char> = token.chars().collect();
    match mutation {
        Mutation::Flip(at, bits) => {
            let mut bytes = token.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= bits;
            String::from_utf8_lossy(&bytes).into_owned()
        }
        Mutation::Cut(at) => characters[..at % characters.len()].iter().collect(),
        Mutation::Insert(at, text) => {
            let at = at % characters.len();
            let (before, after) = characters.split_at(at);
            before
                .iter()
                .chain(text.chars().collect::<Vec<_>>().iter())
                .chain(after)
                .collect()
        }
        Mutation::Swap(from, to) => {
            // The signature of one token under the content of another.
            let signed = WORLD.tokens[*from].rsplit_once('.').unwrap().0;
            let signature = WORLD.tokens[*to].rsplit_once('.').unwrap().1;
            format!("{signed}.{signature}")
        }
        Mutation::Part(part, bytes) => {
            let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
            parts[*part] = encode(bytes);
            parts.join(".")
        }
    }
}

/// What a token says, without its spelling: two spellings of the same content are the same token.
fn content(token: &str) -> Option<Vec<Vec<u8>>> {
    token
        .split('.')
        .map(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_are_never_accepted_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(WORLD.verify(&text).is_err());
        // In the shape of a token, so that what is inside is reached.
        let parts: Vec<String> = bytes.chunks(200).map(encode).collect();
        prop_assert!(WORLD.verify(&parts.join(".")).is_err());
        let signer = &WORLD.signers[3];
        prop_assert!(WORLD.verify(&signer.sign_texts(&signer.header().to_string(), &text)).is_err());
    }

    #[test]
    fn a_mutated_token_is_never_accepted_and_never_a_panic(which in 0..4usize, mutation in mutation()) {
        let token = &WORLD.tokens[which];
        let changed = mutated(token, &mutation);
        prop_assume!(!WORLD.tokens.iter().any(|token| content(token) == content(&changed)));
        prop_assert!(WORLD.verify(&changed).is_err(), "{mutation:?}");
    }

    #[test]
    fn a_signed_payload_with_arbitrary_claims_is_never_a_panic(
        claim in "iss|aud|sub|exp|iat|nbf|azp|jti|client_id|groups|email|_claim_names|hasgroups",
        text in ".{0,40}",
        number in any::<f64>(),
        kind in 0..5u8,
    ) {
        let value = match kind {
            0 => json!(text),
            1 => json!(number),
            2 => json!([text, number]),
            3 => json!({ text: number }),
            _ => Value::Null,
        };
        // Whatever it says: an answer.
        let _ = WORLD.verify(&with(&claim, Some(value)));
    }
}
