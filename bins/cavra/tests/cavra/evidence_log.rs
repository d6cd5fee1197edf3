//! Keys, signed packages and the log, as people use them.

use std::os::unix::fs::PermissionsExt as _;

use cavra_evidence::note::{Note, SigningKey, VerifierKey};
use serde_json::json;

use crate::program::{B, Folder, Serving, cavra, finish, run};

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A signed package of the quickstart data, out of a running service.
fn package(serving: &Serving, scope: &serde_json::Value) -> String {
    let path = format!("{B}/acknowledgements/audit-package");
    let mut answer = ureq::post(serving.url(&path))
        .header("content-type", "application/json")
        .header("accept", "application/vnd.dsse+json")
        .send(scope.to_string())
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/vnd.dsse+json");
    answer.body_mut().read_to_string().unwrap()
}

#[test]
fn a_key_is_made_listed_and_rotated_and_nothing_is_overwritten() {
    let folder = Folder::new();
    let (first, second) = (folder.file("first"), folder.file("second"));
    let made = run(&[
        "keys",
        "generate",
        "--out",
        &first,
        "--name",
        "drills.example.org/log",
    ])
    .succeeded();
    assert!(made.text().starts_with("drills.example.org/log+"));
    assert_eq!((mode(&first), mode(&format!("{first}.pub"))), (0o600, 0o644));
    let before = folder.content();
    run(&["keys", "generate", "--out", &first]).failed(2, &["first", "nothing is overwritten"]);
    assert_eq!(folder.content(), before);
    run(&["keys", "rotate", "--key", &first, "--out", &second]).succeeded();
    let listed = run(&["keys", "list", &second]).succeeded().text();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].ends_with("first key") && lines[1].contains("endorsed by drills.example.org/log+"),
        "{listed}"
    );
    run(&[
        "keys",
        "generate",
        "--out",
        &folder.file("x"),
        "--name",
        "two words",
    ])
    .failed(2, &["name"]);
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = Folder::new();
    let key = folder.file("key");
    run(&["keys", "generate", "--out", &key]).succeeded();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let database = folder.file("cavra.db");
    run(&[
        "api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        &database,
        "--signing-key",
        &key,
    ])
    .failed(2, &["can be read by others"]);
    assert!(!std::path::Path::new(&database).exists());
}

#[test]
fn a_key_comes_from_one_place_only() {
    let folder = Folder::new();
    let key = folder.file("key");
    run(&["keys", "generate", "--out", &key]).succeeded();
    let mut command = cavra(&[
        "api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        &folder.file("x"),
        "--signing-key",
        &key,
    ]);
    command.env("CAVRA_SIGNING_KEY", std::fs::read_to_string(&key).unwrap());
    finish(command).failed(2, &["several signing keys"]);
    let mut command = cavra(&["api", "--listen", "127.0.0.1:0", "--database", &folder.file("x")]);
    command.env("CAVRA_SIGNING_KEY", "PRIVATE+KEY+log+00000000+secret");
    let done = finish(command).failed(2, &["CAVRA_SIGNING_KEY"]);
    assert!(!done.err.contains("secret"), "{}", done.err);
}

#[test]
fn a_key_may_come_from_the_environment_or_an_inherited_descriptor() {
    let folder = Folder::new();
    let key = folder.file("key");
    run(&["keys", "generate", "--out", &key, "--name", "log.example.org"]).succeeded();
    let text = std::fs::read_to_string(&key).unwrap();
    let mut first = cavra(&[
        "api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        &folder.file("first"),
    ]);
    first.env("CAVRA_SIGNING_KEY", &text);
    // A shell opens the descriptor, as a supervisor would.
    let mut second = std::process::Command::new("sh");
    second.args([
        "-c",
        "exec \"$0\" api --listen 127.0.0.1:0 --database \"$1\" --signing-key-fd 7 7<\"$2\"",
        env!("CARGO_BIN_EXE_cavra"),
        &folder.file("second"),
        &key,
    ]);
    for command in [first, second] {
        let serving = Serving::spawn(command);
        let checkpoint = String::from_utf8(serving.bytes("/log/checkpoint")).unwrap();
        assert!(checkpoint.starts_with("log.example.org\n"), "{checkpoint}");
        let note = Note::parse(&checkpoint).unwrap();
        let public = std::fs::read_to_string(format!("{key}.pub")).unwrap();
        assert_eq!(note.verify(&VerifierKey::parse(&public).unwrap()), Ok(None));
    }
    // It is nowhere but where it was given.
    for database in ["first", "second"] {
        let stored = std::fs::read(folder.file(database)).unwrap();
        let secret = text.trim().as_bytes();
        let secret = &secret[secret.len() - 40..];
        assert!(!stored.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn a_package_is_verified_offline_and_a_changed_one_is_not() {
    let folder = Folder::new();
    let (old, key) = (folder.file("old"), folder.file("key"));
    run(&["keys", "generate", "--out", &old]).succeeded();
    run(&["keys", "rotate", "--key", &old, "--out", &key]).succeeded();
    let database = folder.quickstart_database("cavra.db");
    let serving = Serving::start(&["--database", &database, "--signing-key", &key]);
    let first = folder.write(
        "first.json",
        package(&serving, &json!({ "schedule_id": "fraud-scoring-monthly" })),
    );
    let second = folder.write(
        "second.json",
        package(&serving, &json!({ "generated_by": "eve@audit.example.org" })),
    );
    let checkpoint = folder.write("checkpoint", serving.bytes("/log/checkpoint"));
    drop(serving);

    let trusted = format!("{key}.pub");
    let said = run(&["verify", &first, &second, "--key", &trusted])
        .succeeded()
        .text();
    assert_eq!(
        said.matches("verified with the key that was given").count(),
        2,
        "{said}"
    );
    assert!(
        said.contains("whole population") && said.contains("filtered scope"),
        "{said}"
    );
    run(&[
        "verify",
        &second,
        "--key",
        &format!("{old}.pub"),
        "--previous",
        &first,
    ])
    .succeeded();
    let alone = run(&["verify", &first, "--json"]).succeeded().json();
    assert_eq!(alone["verdict"], "consistent_only");

    let changed = std::fs::read_to_string(&first).unwrap().replacen("In", "Io", 1);
    assert_ne!(
        changed,
        std::fs::read_to_string(&first).unwrap(),
        "nothing was changed"
    );
    let changed = folder.write("changed.json", changed);
    let done = run(&["verify", &changed, "--key", &trusted]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.text().contains("NOT verified") && done.text().contains("first wrong element"),
        "{}",
        done.text()
    );
    run(&["keys", "generate", "--out", &folder.file("other")]).succeeded();
    assert_eq!(
        run(&["verify", &first, "--key", &folder.file("other.pub")]).code,
        Some(1)
    );
    run(&["verify", &folder.file("missing")]).failed(2, &["missing"]);

    // The log continues what it said before, and no other log's checkpoint.
    run(&["check", "--database", &database, "--checkpoint", &checkpoint]).succeeded();
    let another = folder.file("another.db");
    run(&[
        "import",
        &crate::program::published_store(),
        "--database",
        &another,
    ])
    .succeeded();
    run(&["check", "--database", &another, "--checkpoint", &checkpoint]).failed(1, &["does not continue"]);
}

#[test]
fn only_a_witness_of_this_very_log_is_taken() {
    let folder = Folder::new();
    let key = folder.file("key");
    run(&["keys", "generate", "--out", &key]).succeeded();
    let database = folder.quickstart_database("cavra.db");
    let serving = Serving::start(&["--database", &database, "--signing-key", &key]);
    let checkpoint = folder.write("checkpoint", serving.bytes("/log/checkpoint"));
    drop(serving);
    // The log's own key is no witness, and a witness that has not signed is none either.
    run(&[
        "cosign",
        &checkpoint,
        "--key",
        &format!("{key}.pub"),
        "--witness",
        &format!("{key}.pub"),
        "--database",
        &database,
    ])
    .failed(2, &["not one of a witness"]);
    let stranger = witness(&folder, 7).0;
    run(&[
        "cosign",
        &checkpoint,
        "--key",
        &format!("{key}.pub"),
        "--witness",
        &stranger,
        "--database",
        &database,
    ])
    .failed(2, &["nothing was added"]);
}

/// A witness: the file of its public key, and what it signs with.
fn witness(folder: &Folder, number: u8) -> (String, SigningKey) {
    let name = format!("witness-{number}.example.org");
    let key = SigningKey::new(&name, &[number; 32]).unwrap();
    let public = folder.write(&format!("witness-{number}.pub"), format!("{}\n", key.witness()));
    (public, key)
}

/// A witness signs a checkpoint as it was served, now; the file of both is given.
fn cosigned(folder: &Folder, served: &[u8], key: &SigningKey) -> String {
    let served = String::from_utf8(served.to_vec()).unwrap();
    let text = Note::parse(&served).unwrap().text;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    folder.write("cosigned", format!("{served}{}\n", key.cosign(&text, now)))
}

#[test]
fn a_package_that_is_fetched_again_shows_what_witnesses_have_seen() {
    let folder = Folder::new();
    let key = folder.file("key");
    run(&["keys", "generate", "--out", &key]).succeeded();
    let log = format!("{key}.pub");
    let database = folder.quickstart_database("cavra.db");
    let serving = Serving::start(&["--database", &database, "--signing-key", &key]);
    let made = folder.write("made.json", package(&serving, &json!({})));
    let keyed = || {
        let path = format!("{B}/acknowledgements/audit-package");
        let mut answer = ureq::post(serving.url(&path))
            .header("content-type", "application/json")
            .header("accept", "application/vnd.dsse+json")
            .header("idempotency-key", "once")
            .send("{}")
            .unwrap();
        answer.body_mut().read_to_string().unwrap()
    };
    let once = keyed();
    let ((first, signs), (second, _)) = (witness(&folder, 1), witness(&folder, 2));
    let note = cosigned(&folder, &serving.bytes("/log/checkpoint"), &signs);
    run(&[
        "cosign",
        &note,
        "--key",
        &log,
        "--witness",
        &first,
        "--database",
        &database,
    ])
    .succeeded();
    let verified = run(&["verify", &made, "--key", &log, "--json"])
        .succeeded()
        .json();
    let path = format!(
        "{B}/acknowledgements/audit-packages/{}",
        verified["audit_id"].as_str().unwrap()
    );
    let mut answer = ureq::get(serving.url(&path))
        .header("accept", "application/vnd.dsse+json")
        .call()
        .unwrap();
    let fetched = folder.write("fetched.json", answer.body_mut().read_to_string().unwrap());
    assert_eq!(keyed(), once, "an answer under a key stays what it is");
    drop(serving);

    let verify = |more: &[&str]| {
        let mut arguments = vec!["verify", fetched.as_str(), "--key", log.as_str()];
        arguments.extend(more);
        run(&arguments)
    };
    let said = verify(&[]).succeeded().text();
    assert!(
        said.contains("not checked: a signature on the log of 186 leaves") && !said.contains(" saw "),
        "{said}"
    );
    let said = verify(&["--witness", &first]).succeeded().text();
    assert!(
        said.contains("witness witness-1.example.org+") && said.contains("saw the log of 186 leaves at 20"),
        "{said}"
    );
    let both = ["--witness", &first, "--witness", &second];
    let json = verify(&[&both[..], &["--witnesses", "1", "--json"]].concat())
        .succeeded()
        .json();
    assert_eq!(json["cosignatures"][0]["checked"], true);
    assert!(json["passed"].as_array().unwrap().contains(&json!("witnesses")));
    // What is asked for and missing is a failure.
    let missing = verify(&both);
    assert_eq!(missing.code, Some(1));
    assert!(
        missing.text().contains("witness-2.example.org+")
            && missing.text().contains("has signed no checkpoint"),
        "{}",
        missing.text()
    );
    reported(&fetched, &log, &first, &second);
    let never = run(&["verify", &made, "--key", &log, "--witness", &first]);
    assert_eq!(never.code, Some(1), "it was made before the witness signed");
    for (more, words) in [
        (&["--witness", log.as_str()][..], "not one of a witness"),
        (&["--witness", &first, "--witness", &first], "was given before"),
        (&["--witness", &first, "--witnesses", "2"], "from 1 to 1"),
        (&["--witness", &first, "--witnesses", "0"], "from 1 to 1"),
        (&["--witnesses", "1"], "--witness"),
    ] {
        verify(more).failed(2, &[words]);
    }
}

/// Reports ask for witnesses as the verification does, and say the same.
fn reported(package: &str, log: &str, seen: &str, missing: &str) {
    let report = |format: &str, more: &[&str]| {
        let mut arguments = vec!["report", package, "--key", log, "--format", format];
        arguments.extend(more);
        run(&arguments)
    };
    let page = report("html", &["--witness", seen]).succeeded().text();
    assert!(page.contains("Seen by a witness") && page.contains("witness-1.example.org+"));
    let page = report("html", &[]).succeeded().text();
    assert!(page.contains("says it is of the witness") && !page.contains("Seen by a witness"));
    let failed = report("oscal", &["--witness", seen, "--witness", missing]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.text().contains("NOT VERIFIED"));
}
