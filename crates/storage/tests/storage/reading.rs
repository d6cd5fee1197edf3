//! Reads beside writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use cavra_storage::{Store, Verdict};

use super::support::{Place, append, append_one, noon, note, open, position, read, verdict, write};

#[test]
fn a_read_does_not_wait_for_a_long_write_and_sees_nothing_of_it() {
    let place = Place::new();
    let store = open(&place.file());
    append(store.as_ref(), vec![note("n1", noon())], noon());
    let (release, released) = channel::<()>();
    let (started, writing) = channel::<()>();
    let writer = {
        let store = Arc::clone(&store);
        std::thread::spawn(move || {
            verdict(store.as_ref(), Verdict::Commit, move |tx| {
                append_one(tx, &note("n2", noon()), noon()).unwrap();
                started.send(()).unwrap();
                released.recv().unwrap();
            })
        })
    };
    writing.recv().unwrap();
    // The write is under way and stays so until it is released below: were the reads to wait, nothing would end.
    for _ in 0..20 {
        assert_eq!(position(store.as_ref()), 1);
    }
    release.send(()).unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(
        position(store.as_ref()),
        2,
        "an answered write is seen by the next read"
    );
}

#[test]
fn one_read_sees_one_state_although_writes_end_meanwhile() {
    let place = Place::new();
    let store = open(&place.file());
    append(store.as_ref(), vec![note("n1", noon())], noon());
    read(store.as_ref(), |tx| {
        assert_eq!(tx.head()?.position, 1);
        append(store.as_ref(), vec![note("n2", noon())], noon());
        assert_eq!(tx.head()?.position, 1);
        assert!(tx.record("n2")?.is_none());
        Ok(())
    })
    .unwrap();
    assert_eq!(position(store.as_ref()), 2);
}

#[test]
fn many_readers_see_whole_jobs_only() {
    const JOBS: usize = 60;
    let place = Place::new();
    let store = open(&place.file());
    let done = Arc::new(AtomicBool::new(false));
    // More readers than the pool has connections.
    let readers: Vec<_> = (0..12)
        .map(|_| {
            let (store, done) = (Arc::clone(&store), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut last = 0;
                loop {
                    let end = done.load(Ordering::SeqCst);
                    let (head, counted) = read(store.as_ref(), |tx| {
                        Ok((
                            tx.head()?.position,
                            tx.counters()?.get("escalation_plan_count").copied(),
                        ))
                    })
                    .unwrap();
                    assert_eq!(head % 3, 0, "a part of a job is seen");
                    assert_eq!(counted.unwrap_or_default(), head);
                    assert!(head >= last, "what was seen is gone");
                    last = head;
                    if end {
                        return last;
                    }
                }
            })
        })
        .collect();
    let writers: Vec<_> = (0..JOBS)
        .map(|job| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                write(store.as_ref(), move |tx| {
                    for part in 0..3 {
                        append_one(tx, &note(&format!("n{job}-{part}"), noon()), noon())?;
                    }
                    Ok(())
                })
                .unwrap();
                // Whoever was answered sees the own write.
                assert!(
                    read(store.as_ref(), |tx| tx.record(&format!("n{job}-2")))
                        .unwrap()
                        .is_some(),
                    "an answered write is not there"
                );
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 3 * JOBS as u64);
    }
}

#[test]
fn two_stores_over_one_file_see_each_others_writes() {
    let place = Place::new();
    let (first, second) = (open(&place.file()), open(&place.file()));
    for (number, store) in [&first, &second, &first, &second].into_iter().enumerate() {
        append(store.as_ref(), vec![note(&format!("n{number}"), noon())], noon());
    }
    assert_eq!((position(first.as_ref()), position(second.as_ref())), (4, 4));
    assert_eq!(second.check(&mut |_| {}).unwrap().findings, []);
}

#[test]
fn a_store_in_memory_is_shared_by_its_threads() {
    let store: Arc<dyn Store> = Arc::new(cavra_storage::sqlite::SqliteStore::in_memory().unwrap());
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                append(store.as_ref(), vec![note(&format!("n{number}"), noon())], noon());
                position(store.as_ref())
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().unwrap() >= 1);
    }
    assert_eq!(position(store.as_ref()), 8);
}
