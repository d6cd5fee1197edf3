//! Opening files: ours, newer ones, other people's, damaged ones, and ones that cannot be written.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};

use cavra_domain::route::{Cycles, RouteFilter};
use cavra_storage::StorageError;
use cavra_storage::sqlite::{FORMAT, SqliteStore};
use rusqlite::Connection;

use super::published::published_store;
use super::support::{Place, append, log, noon, note, open, position, quickstart, read, routes, view};

#[test]
fn reopening_finds_everything() {
    let place = Place::new();
    let store = open(&place.file());
    append(store.as_ref(), quickstart(), noon());
    let seen = (
        log(store.as_ref()),
        view(store.as_ref()),
        read(store.as_ref(), |tx| tx.counters()).unwrap(),
        routes(store.as_ref(), &RouteFilter::default(), Cycles::All, noon()),
    );
    drop(store);
    assert_eq!(
        place.content().keys().collect::<Vec<_>>(),
        ["cavra.db"],
        "nothing is left beside the file"
    );
    let store = open(&place.file());
    let again = (
        log(store.as_ref()),
        view(store.as_ref()),
        read(store.as_ref(), |tx| tx.counters()).unwrap(),
        routes(store.as_ref(), &RouteFilter::default(), Cycles::All, noon()),
    );
    assert_eq!(seen, again);
    append(store.as_ref(), vec![note("later", noon())], noon());
    assert_eq!(position(store.as_ref()), 185);
}

#[test]
fn what_was_answered_is_there_although_the_process_ended_at_once() {
    let place = Place::new();
    let store = open(&place.file());
    append(store.as_ref(), quickstart(), noon());
    // What another process would find after a crash: the files as they are, with nothing closed.
    let crashed = Place::new();
    for (name, content) in place.content() {
        if !name.ends_with("-shm") {
            std::fs::write(crashed.named(&name), content).unwrap();
        }
    }
    let found = open(&crashed.file());
    assert_eq!(log(found.as_ref()), log(store.as_ref()));
    assert_eq!(found.check(&mut |_| {}).unwrap().findings, []);
}

#[test]
fn many_programs_may_open_a_new_file_at_the_same_time() {
    const OPENERS: usize = 12;
    for _ in 0..5 {
        let place = Place::new();
        let start = Arc::new(Barrier::new(OPENERS));
        let openers: Vec<_> = (0..OPENERS)
            .map(|number| {
                let (path, start) = (place.file(), Arc::clone(&start));
                std::thread::spawn(move || {
                    start.wait();
                    let store = SqliteStore::open(&path).unwrap();
                    append(&store, vec![note(&format!("n{number}"), noon())], noon());
                })
            })
            .collect();
        for opener in openers {
            opener.join().unwrap();
        }
        assert_eq!(position(open(&place.file()).as_ref()), OPENERS as u64);
    }
}

/// Opens a file that has to be refused, and gives the error; the folder has to stay as it is.
fn refused(place: &Place, path: &Path) -> StorageError {
    let before = place.content();
    let error = SqliteStore::open(path).expect_err("a file that has to be refused");
    let after = place.content();
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        after.keys().collect::<Vec<_>>()
    );
    assert!(before == after, "the refused file was changed");
    error
}

fn ours() -> Place {
    let place = Place::new();
    append(open(&place.file()).as_ref(), quickstart(), noon());
    place
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let place = ours();
    let connection = Connection::open(place.file()).unwrap();
    connection
        .pragma_update(None, "user_version", FORMAT + 41)
        .unwrap();
    drop(connection);
    let error = refused(&place, &place.file());
    assert!(
        matches!(error, StorageError::Newer { found, known, .. } if (found, known) == (FORMAT + 41, FORMAT)),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(
        said.contains("cavra.db") && said.contains(&format!("format {}", FORMAT + 41)),
        "{said}"
    );
    assert!(said.contains(&format!("up to {FORMAT}")), "{said}");
}

#[test]
fn a_format_that_never_was_is_refused() {
    for format in [0, -1] {
        let place = ours();
        let connection = Connection::open(place.file()).unwrap();
        connection.pragma_update(None, "user_version", format).unwrap();
        drop(connection);
        let error = refused(&place, &place.file());
        assert!(matches!(error, StorageError::Corrupt(_)), "{error:?}");
    }
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    for content in [
        "{\"items\": []}".repeat(400).into_bytes(),
        b"x".to_vec(),
        vec![0; 4096],
        b"SQLite format 2\0".repeat(400),
    ] {
        let place = Place::new();
        std::fs::write(place.file(), &content).unwrap();
        let error = refused(&place, &place.file());
        assert!(matches!(error, StorageError::NotOurs(_)), "{error:?}");
        let said = error.to_string();
        assert!(
            said.contains("cavra.db") && said.contains("cavra import"),
            "{said}"
        );
    }
}

#[test]
fn a_published_store_is_refused_with_the_way_to_take_its_records() {
    let place = Place::new();
    published_store(&place.file(), &quickstart());
    let error = refused(&place, &place.file());
    assert!(matches!(error, StorageError::NotOurs(_)), "{error:?}");
    assert!(error.to_string().contains("cavra import"), "{error}");
}

#[test]
fn a_database_of_another_application_is_refused_although_it_has_no_table_yet() {
    let place = Place::new();
    let connection = Connection::open(place.file()).unwrap();
    connection.pragma_update(None, "application_id", 7).unwrap();
    drop(connection);
    assert!(matches!(refused(&place, &place.file()), StorageError::NotOurs(_)));
}

#[test]
fn a_cut_file_is_refused_as_damaged() {
    let whole = std::fs::read(ours().file()).unwrap();
    for length in [whole.len() / 2, whole.len() - 4096, 4096, 1000] {
        let place = Place::new();
        std::fs::write(place.file(), &whole[..length]).unwrap();
        let error = refused(&place, &place.file());
        assert!(
            matches!(error, StorageError::Corrupt(_) | StorageError::NotOurs(_)),
            "{length}: {error:?}"
        );
        assert!(error.to_string().contains("cavra.db"), "{error}");
    }
}

#[test]
fn a_file_with_a_damaged_schema_is_refused() {
    let whole = std::fs::read(ours().file()).unwrap();
    // The head of the first page's tree, and the text of a table, wherever SQLite has copied it.
    let declared = b"CREATE TABLE evidence";
    let texts = whole
        .windows(declared.len())
        .enumerate()
        .filter_map(|(from, bytes)| (bytes == declared).then_some(from));
    for places in [vec![100], texts.collect()] {
        assert!(!places.is_empty());
        let place = Place::new();
        let mut damaged = whole.clone();
        for from in places {
            damaged[from..from + 8].fill(0x5a);
        }
        std::fs::write(place.file(), damaged).unwrap();
        let error = refused(&place, &place.file());
        assert!(matches!(error, StorageError::Corrupt(_)), "{error:?}");
        assert!(error.to_string().contains("cavra.db"), "{error}");
    }
}

/// As root no permission keeps SQLite from writing, so the file is given by a name that says it: SQLite's own
/// `mode=ro` opens the file as it would without the permission to write.
fn only_readable(path: &Path) -> PathBuf {
    PathBuf::from(format!("file:{}?mode=ro", path.display()))
}

#[test]
fn a_file_that_can_only_be_read_is_refused_by_name() {
    let place = ours();
    // A file whose journal is not kept beside it, so that SQLite can read it without making others.
    let connection = Connection::open(place.file()).unwrap();
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "delete");
    drop(connection);
    let path = only_readable(&place.file());
    let error = refused(&place, &path);
    assert!(
        matches!(error, StorageError::ReadOnly(ref named) if *named == path),
        "{error:?}"
    );
    assert!(error.to_string().contains("read-only"), "{error}");
}

#[test]
fn a_missing_or_empty_file_is_no_existing_database() {
    let place = Place::new();
    let missing = SqliteStore::open_existing(&place.file()).unwrap_err();
    assert!(matches!(missing, StorageError::Open { .. }), "{missing:?}");
    assert!(missing.source().is_some());
    std::fs::write(place.file(), "").unwrap();
    let empty = SqliteStore::open_existing(&place.file()).unwrap_err();
    assert!(matches!(empty, StorageError::NotOurs(_)), "{empty:?}");
    assert_eq!(place.content()["cavra.db"], b"");
    // A new database may begin in an empty file.
    assert_eq!(position(open(&place.file()).as_ref()), 0);
    assert_eq!(position(&SqliteStore::open_existing(&place.file()).unwrap()), 0);
}

#[test]
fn a_folder_is_no_database() {
    let place = Place::new();
    std::fs::create_dir(place.named("folder")).unwrap();
    let error = SqliteStore::open(&place.named("folder")).unwrap_err();
    assert!(matches!(error, StorageError::Open { .. }), "{error:?}");
    let error = SqliteStore::open(&place.named("no/such/folder/cavra.db")).unwrap_err();
    assert!(matches!(error, StorageError::Open { .. }), "{error:?}");
}

#[test]
fn a_backup_is_the_same_database_and_never_replaces_a_file() {
    let place = ours();
    let store = open(&place.file());
    store.backup(&place.named("copy.db")).unwrap();
    let again = store.backup(&place.named("copy.db")).unwrap_err();
    assert!(matches!(again, StorageError::Open { .. }), "{again:?}");
    append(store.as_ref(), vec![note("later", noon())], noon());
    let copy = open(&place.named("copy.db"));
    assert_eq!(position(copy.as_ref()), 184);
    assert_eq!(log(copy.as_ref()), log(store.as_ref())[..184]);
    assert_eq!(copy.check(&mut |_| {}).unwrap().findings, []);
}
