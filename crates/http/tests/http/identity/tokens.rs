//! Rows about tokens. "401 it" is one answer, whatever was wrong, and nothing is written.

use base64::Engine as _;
use rsa::sha2::{Digest as _, Sha256};
use serde_json::{Value, json};

use super::signing::{Signer, encode};
use super::site::{AUDIENCE, ISSUER, Site, ack, ack_with, claims, now};

fn operator() -> Value {
    claims("operator", &["release-operators"])
}

fn with(claim: &str, value: Value) -> Value {
    let mut payload = operator();
    payload[claim] = value;
    payload
}

fn without(claim: &str) -> Value {
    let mut payload = operator();
    payload.as_object_mut().unwrap().remove(claim);
    payload
}

#[track_caller]
fn is_operator(actor: &Value) {
    assert_eq!(
        (&actor["issuer"], &actor["subject"], &actor["verified"]),
        (&json!(ISSUER), &json!("operator"), &json!(true)),
        "{actor}"
    );
    assert_eq!(
        actor["groups"],
        json!(["release-operators"]),
        "the groups that gave the right"
    );
    assert_eq!(actor["actor"], "operator@example.test");
}

#[test]
fn row_01_a_valid_rs256_access_token_of_an_operator() {
    let site = Site::start();
    is_operator(&site.taken(&ack().bearer(&site.rs.sign(&operator()))));
}

#[test]
fn row_02_a_valid_es256_token() {
    let site = Site::start();
    is_operator(&site.taken(&ack().bearer(&site.es.sign(&operator()))));
}

#[test]
fn row_03_a_valid_eddsa_token() {
    let site = Site::start();
    is_operator(&site.taken(&ack().bearer(&site.ed.sign(&operator()))));
}

#[test]
fn row_05_an_audience_list_that_has_ours() {
    let site = Site::start();
    let payload = with("aud", json!(["https://other.example.test", AUDIENCE]));
    is_operator(&site.taken(&ack().bearer(&site.es.sign(&payload))));
}

#[test]
fn row_06_expired_within_the_leeway() {
    let site = Site::start();
    is_operator(&site.taken(&ack().bearer(&site.es.sign(&with("exp", json!(now() - 5))))));
}

#[test]
fn row_07_the_token_wins_over_the_name_in_the_body() {
    let site = Site::start();
    let request = ack_with(&json!({ "acknowledged_by": "somebody else" })).bearer(&site.operator());
    let answer = site.send(&request).ok();
    is_operator(&answer["actor"]);
    assert!(!answer.to_string().contains("somebody else"), "{answer}");
}

#[test]
fn row_08_the_scheme_in_any_case() {
    let site = Site::start();
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let value = format!("{scheme} {}", site.operator());
        is_operator(&site.taken(&ack().header("authorization", &value)));
    }
}

#[test]
fn row_24_no_algorithm() {
    let site = Site::start();
    for alg in ["none", "NonE", "NONE", ""] {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": "es-1" }).to_string();
        let signed = site.es.sign_texts(&header, &operator().to_string());
        site.invalid(&signed);
        let unsigned = format!("{}.", signed.rsplit_once('.').unwrap().0);
        site.invalid(&unsigned);
    }
}

#[test]
fn row_25_a_mac_with_the_public_key_as_its_secret() {
    let site = Site::start();
    let jwk = site.rs.jwk();
    let modulus = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(jwk["n"].as_str().unwrap())
        .unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        jwk["n"].as_str().unwrap()
    );
    for secret in [pem.as_bytes(), &modulus, b"", jwk.to_string().as_bytes()] {
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": "rs-1" }).to_string();
        let signed = format!("{}.{}", encode(header), encode(operator().to_string()));
        site.invalid(&format!(
            "{signed}.{}",
            encode(hmac_sha256(secret, signed.as_bytes()))
        ));
    }
}

/// HMAC (RFC 2104), which only an attacker needs here.
fn hmac_sha256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let mut key = if secret.len() > 64 {
        Sha256::digest(secret).to_vec()
    } else {
        secret.to_vec()
    };
    key.resize(64, 0);
    let pad = |byte: u8| key.iter().map(|one| one ^ byte).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36).as_slice(), message].concat());
    Sha256::digest([pad(0x5c).as_slice(), inner.as_slice()].concat()).to_vec()
}

#[test]
fn row_26_an_attackers_key_under_the_same_name() {
    let site = Site::start();
    for attacker in [
        Signer::rs256("rs-1", 1),
        Signer::es256("es-1", 66),
        Signer::eddsa("ed-1", 66),
    ] {
        site.invalid(&attacker.sign(&operator()));
    }
}

#[test]
fn row_27_an_attackers_key_in_the_header() {
    let site = Site::start();
    for kid in ["es-1", "mine"] {
        let attacker = Signer::es256(kid, 66);
        let mut header = attacker.header();
        header["jwk"] = attacker.jwk();
        site.invalid(&attacker.sign_texts(&header.to_string(), &operator().to_string()));
        header.as_object_mut().unwrap().remove("kid");
        site.invalid(&attacker.sign_texts(&header.to_string(), &operator().to_string()));
    }
}

#[test]
fn row_30_another_payload_under_the_same_signature() {
    let site = Site::start();
    let token = site.es.sign(&claims("nobody", &[]));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header = signed.split_once('.').unwrap().0;
    site.invalid(&format!(
        "{header}.{}.{signature}",
        encode(operator().to_string())
    ));
}

#[test]
fn row_31_another_algorithm_in_the_header() {
    // PS256 is allowed here, so that the key's own word and the signature are what stands in the way.
    let site = Site::with(
        &json!({ "algorithms": ["RS256", "PS256", "ES256", "EdDSA"] }),
        false,
    );
    let token = site.rs.sign(&operator());
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let payload = rest.split_once('.').unwrap().1;
    for alg in ["PS256", "ES256", "EdDSA", "RS512"] {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": "rs-1" }).to_string();
        site.invalid(&format!("{}.{payload}.{signature}", encode(header)));
    }
    // Rightly signed, with an algorithm that the key is not for.
    site.invalid(&Signer::ps256("rs-1", 0).sign(&operator()));
}

#[test]
fn row_32_a_signature_that_is_empty_cut_flipped_or_zero() {
    let site = Site::start();
    for signer in [&site.rs, &site.es, &site.ed] {
        let token = signer.sign(&operator());
        let signed = token.rsplit_once('.').unwrap().0;
        let whole = signer.signature(signed);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for signature in [&[], &whole[..whole.len() - 1], &flipped, &vec![0; whole.len()]] {
            site.invalid(&format!("{signed}.{}", encode(signature)));
        }
    }
}

#[test]
fn row_35_the_wrong_number_of_parts() {
    let site = Site::start();
    let token = site.operator();
    let parts: Vec<&str> = token.split('.').collect();
    for token in [
        parts[..2].join("."),
        format!("{token}.{}", parts[2]),
        format!("{token}.{}.{}", parts[1], parts[2]),
        "..".to_owned(),
        ".".to_owned(),
        format!("{}..{}", parts[0], parts[2]),
        parts[0].to_owned(),
    ] {
        site.invalid(&token);
    }
}

#[test]
fn row_39_a_token_of_a_megabyte_is_not_parsed() {
    let site = Site::start();
    let token = format!("{}.{}", site.operator(), "a".repeat(1 << 20));
    let before = site.server.position();
    // The server may also hang up: the head is larger than any that it reads.
    if let Some(answer) = ack()
        .bearer(&token)
        .send_with(site.server.address, &[], crate::client::Then::Wait)
    {
        assert!(matches!(answer.status, 400 | 401 | 431), "{}", answer.status);
    }
    assert_eq!(site.server.position(), before);
    // As long as a head may be, and longer than a token may be, rightly signed.
    let mut payload = operator();
    payload["padding"] = json!("x".repeat(9000));
    site.invalid(&site.es.sign(&payload));
}

#[test]
fn row_40_a_signed_payload_that_is_no_object() {
    let site = Site::start();
    let header = site.es.header().to_string();
    for payload in [
        "[1, 2]",
        "not json",
        "\"text\"",
        "null",
        "7",
        "",
        "{",
        "{\"sub\":\"a\",\"sub\":\"b\"}",
    ] {
        site.invalid(&site.es.sign_texts(&header, payload));
    }
}

#[test]
fn row_43_another_audience() {
    let site = Site::start();
    for audience in [
        json!("https://other.example.test"),
        json!(&AUDIENCE[..AUDIENCE.len() - 1]),
        json!(format!("{AUDIENCE}/")),
        json!([]),
        json!({ AUDIENCE: true }),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 7]),
        json!(""),
    ] {
        site.invalid(&site.es.sign(&with("aud", audience)));
    }
    site.invalid(&site.es.sign(&without("aud")));
}

#[test]
fn row_44_another_issuer_if_only_by_a_slash() {
    let site = Site::start();
    for issuer in [
        "https://evil.example.test",
        "https://idp.example.test/",
        "HTTPS://idp.example.test",
        "",
    ] {
        site.invalid(&site.es.sign(&with("iss", json!(issuer))));
    }
    site.invalid(&site.es.sign(&without("iss")));
}

#[test]
fn row_45_a_valid_token_of_a_second_provider() {
    let site = Site::start();
    let other = Signer::es256("other-1", 99);
    let mut payload = operator();
    payload["iss"] = json!("https://second.example.test");
    site.invalid(&other.sign(&payload));
    // One that claims to be the first.
    site.invalid(&other.sign(&operator()));
}

#[test]
fn row_46_expired_an_hour_ago() {
    let site = Site::start();
    let mut payload = with("exp", json!(now() - 3600));
    payload["iat"] = json!(now() - 7200);
    site.invalid(&site.es.sign(&payload));
}

#[test]
fn row_47_no_end_or_none_that_is_a_time() {
    let site = Site::start();
    site.invalid(&site.es.sign(&without("exp")));
    for end in [
        json!(null),
        json!(true),
        json!(-1),
        json!({}),
        json!([now() + 100]),
    ] {
        site.invalid(&site.es.sign(&with("exp", end)));
    }
}

#[test]
fn row_48_an_end_as_text() {
    let site = Site::start();
    site.invalid(&site.es.sign(&with("exp", json!((now() + 200).to_string()))));
}

#[test]
fn row_50_not_valid_for_another_hour() {
    let site = Site::start();
    for claim in ["nbf", "iat"] {
        site.invalid(&site.es.sign(&with(claim, json!(now() + 3600))));
    }
}

#[test]
fn row_52_no_key_name_where_there_are_several_keys() {
    let site = Site::start();
    let header = json!({ "alg": "ES256", "typ": "at+jwt" }).to_string();
    site.invalid(&site.es.sign_texts(&header, &operator().to_string()));
}

#[test]
fn row_54_an_id_token_is_for_signing_in() {
    // In its own form, and in one that is accepted as far as its type goes.
    for site in [
        Site::start(),
        Site::with(&json!({ "accept_typ": ["at+jwt", "JWT", ""] }), false),
    ] {
        for typ in [json!("JWT"), json!("at+jwt"), Value::Null] {
            let mut header = site.es.header();
            header["typ"] = typ.clone();
            if typ.is_null() {
                header.as_object_mut().unwrap().remove("typ");
            }
            let payload = with("nonce", json!("n-1"));
            site.invalid(&site.es.sign_texts(&header.to_string(), &payload.to_string()));
        }
    }
    let site = Site::start();
    let mut header = site.es.header();
    header["typ"] = json!("JWT");
    site.invalid(&site.es.sign_texts(&header.to_string(), &operator().to_string()));
}

#[test]
fn a_provider_that_writes_another_type_is_configured_and_then_its_tokens_count() {
    let site = Site::with(&json!({ "accept_typ": ["JWT"] }), false);
    let mut header = site.es.header();
    header["typ"] = json!("JWT");
    is_operator(
        &site.taken(&ack().bearer(&site.es.sign_texts(&header.to_string(), &operator().to_string()))),
    );
    site.invalid(&site.es.sign(&operator()));
}

#[test]
fn only_listed_clients_may_call_where_there_is_a_list() {
    let site = Site::with(&json!({ "allowed_clients": ["cli"] }), false);
    is_operator(&site.taken(&ack().bearer(&site.operator())));
    site.invalid(&site.es.sign(&with("client_id", json!("other"))));
    let mut both = with("azp", json!("other"));
    both["client_id"] = json!("cli");
    site.invalid(&site.es.sign(&both));
}
