//! What cannot be done: a message that says why and what to do, an exit code, and nothing changed.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::program::{Folder, cavra, finish, published_store, quickstart, record, run};

/// The commands that open a database that is there.
fn opening(database: &str) -> [Vec<String>; 5] {
    let with = |arguments: &[&str]| {
        let all = [arguments, &["--database", database]].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    [
        with(&["api", "--listen", "127.0.0.1:0"]),
        with(&["import", &quickstart()]),
        with(&["export-evidence"]),
        with(&["check"]),
        with(&["backup", &format!("{database}.copy")]),
    ]
}

/// Every command refuses the database with these words and leaves the folder as it is.
#[track_caller]
fn refused_by_all(folder: &Folder, database: &str, said: &[&str]) {
    let before = folder.content();
    for arguments in opening(database) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = run(&arguments);
        assert!(matches!(done.code, Some(1 | 2)), "{arguments:?}: {}", done.err);
        let code = done.code.unwrap();
        done.failed(code, said);
        assert!(folder.content() == before, "{arguments:?} changed something");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = Folder::new();
    let database = folder.write(
        "cavra.db",
        "this is my shopping list, not a database\n".repeat(500),
    );
    refused_by_all(&folder, &database, &["cavra.db", "not a cavra database"]);
}

#[test]
fn a_damaged_database_is_refused_or_reported_and_left_alone() {
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    let good = std::fs::read(&database).unwrap();
    // Cut short, as after a copy that did not finish.
    std::fs::write(&database, &good[..good.len() / 3]).unwrap();
    refused_by_all(&folder, &database, &["damaged"]);
    // The head of a database, and nothing that makes sense behind it.
    let mut bad = good.clone();
    bad[100..8_192].fill(0xa5);
    std::fs::write(&database, &bad).unwrap();
    refused_by_all(&folder, &database, &["damaged"]);
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    let mut newer = std::fs::read(&database).unwrap();
    // The header's `user_version` (SQLite file format 1.3).
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(&database, newer).unwrap();
    refused_by_all(&folder, &database, &["cavra.db", "99", "newer program"]);
}

#[test]
fn a_published_store_is_no_database_but_can_be_imported() {
    let folder = Folder::new();
    let database = folder.write("published.sqlite", std::fs::read(published_store()).unwrap());
    refused_by_all(
        &folder,
        &database,
        &["published.sqlite", "not a cavra database", "cavra import"],
    );
    run(&["import", &database, "--database", &folder.file("cavra.db")]).succeeded();
}

#[test]
fn a_folder_is_no_database() {
    let folder = Folder::new();
    let database = folder.file("folder");
    std::fs::create_dir(&database).unwrap();
    refused_by_all(&folder, &database, &["folder", "cannot open"]);
}

#[test]
fn a_database_that_is_not_there_is_not_made_by_commands_that_only_read() {
    let folder = Folder::new();
    let database = folder.file("missing.db");
    let copy = folder.file("copy.db");
    for arguments in [&["check"][..], &["export-evidence"], &["backup", &copy]] {
        run(&[arguments, &["--database", &database]].concat()).failed(2, &["missing.db"]);
        assert!(folder.content().is_empty(), "{arguments:?}");
    }
}

/// The program as somebody who may not write, also where the tests run as root. `folder` is for a copy of it: the
/// build's own folder may be closed to others.
fn powerless(folder: &Folder, arguments: &[&str]) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        return cavra(arguments);
    }
    let program = folder.file("cavra");
    std::fs::copy(env!("CARGO_BIN_EXE_cavra"), &program).unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", &program])
        .args(arguments);
    command
}

#[test]
fn a_database_that_may_not_be_written_is_refused_and_left_alone() {
    let outer = Folder::new();
    let folder = Folder::new();
    let database = folder.quickstart_database("cavra.db");
    std::fs::set_permissions(&database, Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    let before = folder.content();
    for arguments in [
        &["api", "--listen", "127.0.0.1:0"][..],
        &["import", &quickstart()],
    ] {
        let arguments = [arguments, &["--database", &database]].concat();
        finish(powerless(&outer, &arguments)).failed(2, &["cavra.db", "read-only"]);
    }
    assert!(folder.content() == before);
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    run(&[
        "api",
        "--listen",
        &address,
        "--database",
        &folder.file("cavra.db"),
    ])
    .failed(2, &["cannot listen", &address]);
}

#[test]
fn an_address_beyond_this_machine_is_refused() {
    let folder = Folder::new();
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8000"] {
        run(&["api", "--listen", address, "--database", &folder.file("cavra.db")])
            .failed(2, &[address, "not a loopback address", "127.0.0.1"]);
    }
    let created = std::path::PathBuf::from(folder.file("cavra.db")).exists();
    assert!(!created, "a start that cannot succeed creates no database");
}

#[test]
fn an_identity_configuration_that_cannot_be_honoured_is_refused() {
    let folder = Folder::new();
    let start = |variables: &[(&str, &str)], said: &[&str]| {
        let database = folder.file("cavra.db");
        let mut command = cavra(&["api", "--listen", "127.0.0.1:0", "--database", &database]);
        command.envs(variables.iter().copied());
        finish(command).failed(2, said);
        assert!(!std::path::Path::new(&database).exists(), "nothing is created");
    };
    let oidc = "CAVRA_APPROVAL_OIDC_CONFIG";
    let rbac = "CAVRA_APPROVAL_RBAC_FILE";
    start(
        &[(oidc, "/nowhere/oidc.json")],
        &["/nowhere/oidc.json", "does not run open"],
    );
    start(&[(rbac, "/nowhere/rbac.json")], &[rbac, oidc]);
    start(&[("CAVRA_ANONYMOUS_READ", "true")], &["anonymous_read", oidc]);
    let issuer = r#""issuer": "https://idp.example.test", "audience": "drills""#;
    for (text, key) in [
        ("{}".to_owned(), "object"),
        ("{".to_owned(), "JSON"),
        (
            format!("{{{issuer}, \"leeway_seconds\": 3600}}"),
            "leeway_seconds",
        ),
        (format!("{{{issuer}, \"algorithms\": [\"HS256\"]}}"), "algorithms"),
        (format!("{{{issuer}, \"algorithms\": [\"none\"]}}"), "algorithms"),
        (
            format!("{{{issuer}, \"client_secret\": \"hunter2\"}}"),
            "client_secret",
        ),
    ] {
        let path = folder.file("oidc.json");
        std::fs::write(&path, text).unwrap();
        start(&[(oidc, path.as_str())], &[key]);
    }
    let (oidc_path, rbac_path) = (folder.file("oidc.json"), folder.file("rbac.yaml"));
    std::fs::write(&oidc_path, format!("{{{issuer}}}")).unwrap();
    for (text, key) in [
        ("", "rbac.yaml"),
        ("group_mapping: {a: auditor}\n", "group_mapping"),
    ] {
        std::fs::write(&rbac_path, text).unwrap();
        start(&[(oidc, oidc_path.as_str()), (rbac, rbac_path.as_str())], &[key]);
    }
}

#[test]
fn an_empty_identity_option_is_none() {
    let folder = Folder::new();
    for (oidc, rbac) in [("", ""), ("", "/nowhere/rbac.json")] {
        let mut command = cavra(&[
            "api",
            "--listen",
            "192.0.2.1:1",
            "--database",
            &folder.file("cavra.db"),
        ]);
        command
            .env("CAVRA_APPROVAL_OIDC_CONFIG", oidc)
            .env("CAVRA_APPROVAL_RBAC_FILE", rbac);
        let said = if rbac.is_empty() {
            "not a loopback address"
        } else {
            "CAVRA_APPROVAL_RBAC_FILE"
        };
        finish(command).failed(2, &[said]);
    }
}

#[test]
fn an_option_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let listen = ["api", "--listen", "127.0.0.1:0", "--database", &database];
    for (arguments, said) in [
        (&["--cors-origins", "*"][..], &["*", "origin"][..]),
        (
            &["--cors-origins", "https://a.example.org/path"],
            &["https://a.example.org/path", "origin"],
        ),
        (&["--workers", "0"], &["workers", "at least 1"]),
        (&["--backend-mode", "production"], &["backend_mode", "promoted"]),
        (&["--due-soon-days", "NaN"], &["due_soon_days", "number of days"]),
        (&["--log", "cavra=loudly"], &["log", "info"]),
        (&["--log-format", "xml"], &["--log-format", "json"]),
        (&["--listen", "8000"], &["--listen", "8000"]),
        (&["--frobnicate"], &["--frobnicate"]),
    ] {
        let arguments = match arguments {
            ["--listen", ..] => [&["api", "--database", &database], arguments].concat(),
            arguments => [&listen[..], arguments].concat(),
        };
        run(&arguments).failed(2, said);
    }
}

#[test]
fn a_configuration_file_that_cannot_be_used_is_named_with_the_key_at_fault() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    for (content, said) in [
        ("lissten = \"127.0.0.1:0\"\n", "lissten"),
        ("listen = 8000\n", "listen"),
        ("listen = \"127.0.0.1:0\n", "line 1"),
        ("workers = -1\n", "workers"),
    ] {
        let config = folder.write("cavra.toml", content);
        run(&["api", "--config", &config, "--database", &database]).failed(2, &["cavra.toml", said]);
    }
    run(&[
        "api",
        "--config",
        &folder.file("none.toml"),
        "--database",
        &database,
    ])
    .failed(2, &["none.toml"]);
    assert!(!folder.path().join("cavra.db").exists());
}

#[test]
fn an_import_that_cannot_be_read_takes_nothing() {
    let folder = Folder::new();
    let database = folder.file("cavra.db");
    let whole = std::fs::read_to_string(quickstart()).unwrap();
    let cut = folder.write("cut.json", &whole[..whole.len() / 2]);
    let empty = folder.write("empty.json", "");
    let text = folder.write("notes.txt", "these are my notes\n");
    let good = folder.write("good.ndjson", format!("{}\n", record(1)));
    let mut sqlite = std::fs::read(published_store()).unwrap();
    sqlite.truncate(1_500);
    let cut_sqlite = folder.write("cut.sqlite", sqlite);
    let missing = folder.file("missing.json");
    for (file, code, said) in [
        (&cut, 2, "cut"),
        (&empty, 2, "empty"),
        (&text, 1, "refused record"),
        (&cut_sqlite, 2, "cannot be read"),
        (&missing, 2, "missing.json"),
    ] {
        // The good file in front is not taken either.
        run(&["import", &good, file, "--database", &database]).failed(code, &[said]);
        if folder.path().join("cavra.db").exists() {
            assert!(
                run(&["export-evidence", "--database", &database])
                    .succeeded()
                    .out
                    .is_empty(),
                "{file}"
            );
        }
        let serve = [
            "api",
            "--listen",
            "127.0.0.1:0",
            "--database",
            &database,
            "--import",
            file,
        ];
        run(&serve).failed(code, &[said]);
    }
}
