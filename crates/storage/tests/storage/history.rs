//! Pages of history.

use std::collections::BTreeSet;

use cavra_domain::evidence::{EvidenceKind, HistoryTerm, history_terms};
use cavra_domain::time::Timestamp;
use cavra_storage::sqlite::SqliteStore;
use cavra_storage::{COUNTED_AT_MOST, HistoryCursor, HistoryQuery, StoredRecord, Total};
use serde_json::{Value, json};

use super::support::{append, append_one, in_memory, log, noon, note, quickstart, read, write};

fn page(
    store: &SqliteStore,
    terms: &[HistoryTerm],
    after: Option<HistoryCursor>,
    limit: u64,
) -> Vec<StoredRecord> {
    let query = HistoryQuery {
        terms,
        after,
        offset: 0,
        limit,
        except: None,
    };
    read(store, |tx| tx.history(&query)).unwrap()
}

fn behind(records: &[StoredRecord]) -> Option<HistoryCursor> {
    records.last().map(|last| HistoryCursor {
        created_at: last.created_at,
        position: last.position,
    })
}

/// Every record with its terms, newest first.
fn listed(store: &SqliteStore) -> Vec<(StoredRecord, BTreeSet<HistoryTerm>)> {
    let mut records: Vec<_> = log(store)
        .into_iter()
        .map(|record| {
            let value: Value = serde_json::from_str(&record.json).unwrap();
            let terms = history_terms(&record.kind, &value);
            (record, terms)
        })
        .collect();
    records.sort_by_key(|(record, _)| std::cmp::Reverse((record.created_at, record.position)));
    records
}

#[test]
fn terms_combine_and_are_counted_exactly() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let records = listed(&store);
    let every: BTreeSet<HistoryTerm> = records.iter().flat_map(|(_, terms)| terms.clone()).collect();
    assert!(every.len() > 40, "{every:?}");
    let mut pairs = 0;
    for first in &every {
        for second in &every {
            let terms = [first.clone(), second.clone()];
            let expected: Vec<&StoredRecord> = records
                .iter()
                .filter(|(_, has)| has.contains(first) && has.contains(second))
                .map(|(record, _)| record)
                .collect();
            let total = read(&store, |tx| tx.count_history(&terms)).unwrap();
            assert_eq!(total, Total::Exact(expected.len() as u64), "{terms:?}");
            // Every page would be too slow here; a sample of them is held against the list.
            if pairs % 7 == 0 {
                let found = page(&store, &terms, None, 500);
                assert!(found.iter().eq(expected), "{terms:?}");
            }
            pairs += 1;
        }
    }
}

#[test]
fn a_term_that_no_record_has_finds_nothing() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let terms = [HistoryTerm::listed(), HistoryTerm::schedule("no-such-schedule")];
    assert_eq!(page(&store, &terms, None, 10), []);
    assert_eq!(
        read(&store, |tx| tx.count_history(&terms)).unwrap(),
        Total::Exact(0)
    );
}

#[test]
fn records_outside_the_area_are_kept_and_not_listed() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let found = page(&store, &[HistoryTerm::listed()], None, 500);
    let hidden = ["policy-pack-publication", EvidenceKind::SuppressionTrend.as_str()];
    assert!(found.iter().all(|record| !hidden.contains(&record.kind.as_str())));
    let kept = log(&store);
    for kind in hidden {
        assert!(kept.iter().any(|record| record.kind.as_str() == kind), "{kind}");
    }
}

#[test]
fn an_offset_and_an_exception_leave_records_out() {
    let store = in_memory();
    append(
        &store,
        (0..6).map(|number| note(&format!("n{number}"), noon())).collect(),
        noon(),
    );
    let terms = [HistoryTerm::listed()];
    let query = |offset, except| HistoryQuery {
        terms: &terms,
        after: None,
        offset,
        limit: 3,
        except,
    };
    let ids = |query| -> Vec<u64> {
        let found = read(&store, |tx| tx.history(&query)).unwrap();
        found.iter().map(|record| record.position).collect()
    };
    assert_eq!(ids(query(0, None)), [6, 5, 4]);
    assert_eq!(ids(query(2, None)), [4, 3, 2]);
    assert_eq!(ids(query(0, Some(5))), [6, 4, 3]);
    assert_eq!(ids(query(5, None)), [1]);
    assert_eq!(ids(query(9, None)), [0_u64; 0]);
}

#[test]
fn pages_by_cursor_repeat_and_lose_nothing_while_records_arrive() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let before = page(&store, &[HistoryTerm::listed()], None, 500);
    let mut seen: Vec<StoredRecord> = Vec::new();
    for round in 0.. {
        let next = page(&store, &[HistoryTerm::listed()], behind(&seen), 7);
        if next.is_empty() {
            break;
        }
        let oldest = next.last().map(|record| record.created_at).unwrap();
        seen.extend(next);
        // New ones, ones of the same time as where the page ended, and old ones that are imported late.
        append(
            &store,
            vec![
                note(&format!("new-{round}"), noon().plus_minutes(round)),
                note(&format!("same-{round}"), oldest),
                note(
                    &format!("old-{round}"),
                    Timestamp::EPOCH.plus_minutes(1_000 - round),
                ),
            ],
            noon(),
        );
        assert!(round < 100, "the pages never end");
        if round > 30 {
            break;
        }
    }
    let positions: Vec<u64> = seen.iter().map(|record| record.position).collect();
    let distinct: BTreeSet<u64> = positions.iter().copied().collect();
    assert_eq!(distinct.len(), positions.len(), "a record came twice");
    assert!(
        before.iter().all(|record| distinct.contains(&record.position)),
        "a record was lost"
    );
    assert!(seen.is_sorted_by(|a, b| (b.created_at, b.position) < (a.created_at, a.position)));
    assert!(
        !seen.iter().any(|record| record.session_id.starts_with("new-")),
        "newer than the first page"
    );
}

#[test]
fn combined_terms_are_counted_up_to_a_bound() {
    let store = in_memory();
    let many = COUNTED_AT_MOST + 5;
    write(&store, move |tx| {
        for number in 0..many {
            append_one(tx, &note(&format!("n{number}"), noon()), noon())?;
        }
        Ok(())
    })
    .unwrap();
    let count = |terms: &[HistoryTerm]| read(&store, |tx| tx.count_history(terms)).unwrap();
    let kind = HistoryTerm::kind(EvidenceKind::EscalationPlan.as_str());
    assert_eq!(count(std::slice::from_ref(&kind)), Total::Exact(many));
    assert_eq!(
        count(&[kind.clone(), HistoryTerm::level("healthy")]),
        Total::AtLeast(COUNTED_AT_MOST)
    );
    // The rarest term leads, so a rare one is counted exactly however many have the others.
    let rare = json!({"session_id": "rare", "created_at": noon(), "alert_level": "critical",
        "metadata_kind": EvidenceKind::EscalationPlan.as_str()});
    append(&store, vec![rare], noon());
    assert_eq!(count(&[kind, HistoryTerm::level("critical")]), Total::Exact(1));
}

#[test]
fn records_are_read_in_log_order_by_kind_and_time() {
    let store = in_memory();
    append(&store, quickstart(), noon());
    let whole = log(&store);
    let visit = |after, kind: Option<&str>, since| {
        let mut found = Vec::new();
        read(&store, |tx| {
            tx.visit_records(after, kind, since, &mut |record| {
                found.push(record);
                Ok(std::ops::ControlFlow::Continue(()))
            })
        })
        .unwrap();
        found
    };
    let since = noon().plus_minutes(0).plus_micros(-3_600_000_000);
    let kind = EvidenceKind::NotificationAck.as_str();
    assert_eq!(visit(180, None, None), whole[180..]);
    assert!(
        visit(0, Some(kind), None)
            .iter()
            .eq(whole.iter().filter(|record| record.kind.as_str() == kind))
    );
    assert!(
        visit(0, None, Some(since))
            .iter()
            .eq(whole.iter().filter(|record| record.created_at >= since))
    );
    assert_eq!(visit(0, Some("no-such-kind"), None), []);
}
