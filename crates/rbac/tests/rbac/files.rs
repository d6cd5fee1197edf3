//! Identity files: what stops the start, and that the message names the key and repeats no value.

use std::path::PathBuf;

use cavra_rbac::{OidcConfig, Policy};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::signing::{Signer, jwks};

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// An error and its causes, as somebody at a terminal reads them.
fn message(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn oidc(text: &str) -> Result<OidcConfig, String> {
    let files = Files::new();
    OidcConfig::load(&files.write("oidc.json", text)).map_err(|error| message(&error))
}

fn rbac(text: &str) -> Result<Policy, String> {
    let files = Files::new();
    Policy::load(&files.write("rbac.json", text)).map_err(|error| message(&error))
}

fn plain() -> Value {
    let keys = jwks(&[&Signer::es256("e", 3)]);
    json!({ "issuer": "https://idp.example.test", "audience": "drills", "jwks": keys })
}

fn with(key: &str, value: Value) -> Result<OidcConfig, String> {
    let mut file = plain();
    file[key] = value;
    oidc(&file.to_string())
}

#[test]
fn row_68_a_configuration_that_cannot_be_meant_stops_the_start_and_names_the_key() {
    let secret = "hunter2-correct-horse";
    for (key, value) in [
        ("issuer", json!("not a url")),
        ("issuer", json!("http://idp.example.test")),
        (
            "issuer",
            json!("https://user:hunter2-correct-horse@idp.example.test"),
        ),
        ("issuer", json!(7)),
        ("audience", json!("")),
        ("audience", json!([])),
        ("audience", json!({ "hunter2-correct-horse": 1 })),
        ("jwks", json!({ "keys": [] })),
        ("jwks", json!("hunter2-correct-horse")),
        ("leeway_seconds", json!(3600)),
        ("leeway_seconds", json!("hunter2-correct-horse")),
        ("algorithms", json!(["none"])),
        ("algorithms", json!(["HS256"])),
        ("algorithms", json!(["RS256", "HS512"])),
        ("algorithms", json!([])),
        ("algorithms", json!("RS256")),
        ("accept_typ", json!([])),
        ("groups_claim", json!("")),
        ("max_lifetime_seconds", json!(1_000_000)),
        ("client_secret", json!("hunter2-correct-horse")),
        ("client_secret_env", json!("SOME_NAME")),
        (
            "redirect_url",
            json!("https://drills.example.test/console/callback"),
        ),
        ("client_id", json!("console")),
        ("aud", json!("drills")),
        ("leeway", json!(5)),
        ("allowed_clients", json!([])),
        ("jwks_ttl_seconds", json!(0)),
        ("ca_file", json!("/nowhere/ca.pem")),
    ] {
        let message = with(key, value.clone()).expect_err(key);
        assert!(message.contains(&format!("`{key}")), "{key} {value}: {message}");
        assert!(!message.contains(secret), "{key}: {message}");
    }
    for missing in ["issuer", "audience"] {
        let mut file = plain();
        file.as_object_mut().unwrap().remove(missing);
        let message = oidc(&file.to_string()).expect_err(missing);
        assert!(message.contains(&format!("`{missing}` is missing")), "{message}");
    }
}

#[test]
fn row_68_a_file_that_is_missing_broken_or_empty_stops_the_start() {
    let message_of = |path: &str| message(&OidcConfig::load(std::path::Path::new(path)).unwrap_err());
    assert!(message_of("/nowhere/oidc.json").contains("/nowhere/oidc.json"));
    for text in [
        "",
        "{",
        "{}",
        "[]",
        "null",
        "{\"issuer\": \"a\", \"issuer\": \"b\"}",
    ] {
        assert!(oidc(text).is_err(), "{text}");
        assert!(rbac(text).is_err(), "{text}");
    }
    assert!(
        rbac("{\"group_mappings\": {}}")
            .unwrap_err()
            .contains("`group_mappings`")
    );
    assert!(rbac("{\"approval_rbac\": {}}").is_err());
}

#[test]
fn row_68_an_rbac_file_with_a_key_or_name_that_means_nothing_stops_the_start() {
    for (text, place) in [
        (r#"{"group_mapings": {"a": "auditor"}}"#, "`group_mapings`"),
        (r#"{"group_mappings": ["a"]}"#, "`group_mappings`"),
        (r#"{"group_mappings": {"a": 7}}"#, "`group_mappings.a`"),
        (r#"{"group_mappings": {"a": ""}}"#, "`group_mappings.a`"),
        (
            r#"{"group_mappings": {"a": "x"}, "roles": {"x": []}}"#,
            "`roles.x`",
        ),
        (
            r#"{"group_mappings": {"a": "x"}, "roles": {"x": ["drill.acknowledge"]}}"#,
            "`roles.x[`drill.acknowledge`]`",
        ),
        (
            r#"{"group_mappings": {"a": "x"}, "roles": {"x": "drill.ack"}}"#,
            "`roles.x`",
        ),
        (
            r#"{"group_mappings": {"a": "auditor"}, "repository_permissions": [{"repo": "x"}]}"#,
            "`repository_permissions[0].repo`",
        ),
        (
            r#"{"group_mappings": {"a": "auditor"}, "repository_permissions": [{"actions": ["all"]}]}"#,
            "`repository_permissions[0].actions`",
        ),
        (
            r#"{"group_mappings": {"a": "auditor"}, "repository_permissions": [], "repositories": []}"#,
            "`repositories`",
        ),
    ] {
        let message = rbac(text).expect_err(text);
        assert!(message.contains(place), "{text}: {message}");
    }
}

#[test]
fn published_files_are_read_as_they_are() {
    let files = Files::new();
    let keys = jwks(&[&Signer::rs256("r", 0)]).to_string();
    files.write("identity/keys/approval-jwks.json", &keys);
    let path = files.write(
        "identity/approval-oidc.json",
        r#"{"provider": "okta", "issuer": "https://example.okta.com/oauth2/default", "audience": "api://cavra",
            "metadata_url": "https://example.okta.com/.well-known/x", "jwks_path": "keys/approval-jwks.json",
            "leeway_seconds": 60}"#,
    );
    let config = OidcConfig::load(&path).unwrap();
    assert_eq!(config.static_keys().map(cavra_rbac::KeySet::len), Some(1));
    let path = files.write(
        "identity/approval-rbac.yaml",
        "approval_rbac:\n  group_mappings:\n    okta-cab: Change Advisory Board\n    okta-release: release-manager\n\
         \x20 repository_permissions:\n    - repository: payments\n      approver_group: platform\n\
         \x20     groups: [Change Advisory Board]\n      actions: [approve, deny]\n",
    );
    let policy = Policy::load(&path).unwrap();
    assert_eq!(
        policy.unknown_roles().into_iter().collect::<Vec<_>>(),
        ["Change Advisory Board"]
    );
}

#[test]
fn yaml_is_held_to_the_same_rules_as_json() {
    let files = Files::new();
    for (name, text) in [
        (
            "twice.yaml",
            "group_mappings:\n  a: auditor\n  a: platform-owner\n",
        ),
        ("unknown.yml", "group_mapping:\n  a: auditor\n"),
        ("list.yaml", "- a\n- b\n"),
        ("empty.yaml", ""),
        ("broken.yaml", "group_mappings: [a\n"),
        (
            "two.yaml",
            "group_mappings: {a: auditor}\n---\ngroup_mappings: {a: platform-owner}\n",
        ),
        ("number.yaml", "group_mappings: {a: 7}\n"),
    ] {
        let path = files.write(name, text);
        assert!(Policy::load(&path).is_err(), "{name}");
    }
    let path = files.write(
        "good.yaml",
        "# who may do what\ngroup_mappings:\n  'idp:ops': incident-commander\n",
    );
    assert!(Policy::load(&path).is_ok());
}

#[test]
fn a_secret_comes_from_a_file_or_the_environment_and_sign_in_needs_a_place_to_come_back_to() {
    let files = Files::new();
    let base = |extra: Value| {
        let mut file =
            json!({ "issuer": "https://idp.example.test", "audience": "drills", "client_id": "console" });
        file.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let path = files.write("oidc.json", &file.to_string());
        OidcConfig::load(&path).map_err(|error| message(&error))
    };
    files.write("secret", "s3cret-of-the-console\n");
    files.write("nothing", "\n");
    let redirect = "https://drills.example.test/console/callback";
    assert_eq!(
        base(json!({ "redirect_url": redirect, "client_secret_file": "secret" }))
            .unwrap()
            .redirect_host(),
        Some("drills.example.test")
    );
    assert!(base(json!({ "redirect_url": "http://127.0.0.1:8000/console/callback" })).is_ok());
    for (extra, key) in [
        (json!({}), "`redirect_url`"),
        (
            json!({ "redirect_url": "http://drills.example.test/console/callback" }),
            "`redirect_url`",
        ),
        (
            json!({ "redirect_url": "https://drills.example.test/elsewhere" }),
            "`redirect_url`",
        ),
        (
            json!({ "redirect_url": redirect, "client_secret_file": "nowhere" }),
            "`client_secret_file`",
        ),
        (
            json!({ "redirect_url": redirect, "client_secret_file": "nothing" }),
            "`client_secret_file`",
        ),
        (
            json!({ "redirect_url": redirect, "client_secret_env": "CAVRA_NO_SUCH_VARIABLE" }),
            "`client_secret_env`",
        ),
        (
            json!({ "redirect_url": redirect, "client_secret_env": "A", "client_secret_file": "secret" }),
            "`client_secret_env`",
        ),
        (
            json!({ "redirect_url": redirect, "session_idle_minutes": 600 }),
            "`session_idle_minutes`",
        ),
    ] {
        let message = base(extra).expect_err(key);
        assert!(message.contains(key), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
