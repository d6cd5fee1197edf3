//! Pages of history: records that have every term of a query, newest first.
//!
//! The rarest term leads, the others are looked up; a page therefore costs what the rarest term holds at most,
//! and the first page of any single term costs the page.

use cavra_domain::evidence::HistoryTerm;
use rusqlite::types::Value as SqlValue;
use rusqlite::{OptionalExtension, params_from_iter};

use super::append::signed;
use super::read::{RECORD, Reading};
use crate::{COUNTED_AT_MOST, HistoryQuery, StorageError, StoredRecord, Total};

impl Reading<'_> {
    /// Ids and counts of terms, rarest first; `None` when one of them is on no record.
    fn terms(&self, terms: &[HistoryTerm]) -> Result<Option<Vec<(i64, u64)>>, StorageError> {
        let mut found = Vec::with_capacity(terms.len());
        for term in terms.iter().filter(|term| !term.is_orphaned()) {
            let known: Option<(i64, u64)> = self
                .connection
                .prepare_cached("SELECT id, record_count FROM term WHERE name = ?1")?
                .query_row([term.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match known {
                Some(known) if known.1 > 0 => found.push(known),
                _ => return Ok(None),
            }
        }
        found.sort_by_key(|(_, count)| *count);
        found.dedup();
        Ok(Some(found))
    }

    fn postings(terms: &[(i64, u64)], orphaned: bool) -> (String, Vec<SqlValue>) {
        let mut sql = String::from("FROM posting p WHERE p.term = ?");
        if orphaned {
            sql.push_str(" AND p.position IN (SELECT a.position FROM acknowledgement a WHERE a.covers = 0)");
        }
        for _ in terms.iter().skip(1) {
            sql.push_str(
                " AND EXISTS (SELECT 1 FROM posting q WHERE q.term = ? AND q.created_at = p.created_at \
                 AND q.position = p.position)",
            );
        }
        (sql, terms.iter().map(|(id, _)| SqlValue::Integer(*id)).collect())
    }

    pub(super) fn history_page(&self, query: &HistoryQuery<'_>) -> Result<Vec<StoredRecord>, StorageError> {
        let Some(terms) = self.terms(query.terms)? else {
            return Ok(Vec::new());
        };
        let (mut sql, mut parameters) = Self::postings(&terms, orphaned(query.terms));
        if let Some(cursor) = query.after {
            sql.push_str(" AND (p.created_at, p.position) < (?, ?)");
            parameters.push(SqlValue::Integer(cursor.created_at.micros()));
            parameters.push(SqlValue::Integer(signed(cursor.position)?));
        }
        if let Some(except) = query.except {
            sql.push_str(" AND p.position <> ?");
            parameters.push(SqlValue::Integer(signed(except)?));
        }
        sql.push_str(" ORDER BY p.created_at DESC, p.position DESC LIMIT ? OFFSET ?");
        parameters.push(SqlValue::Integer(signed(query.limit)?));
        parameters.push(SqlValue::Integer(signed(query.offset)?));
        let sql = format!(
            "SELECT {RECORD} FROM (SELECT p.position AS position, p.created_at AS at {sql}) page \
             JOIN evidence e ON e.position = page.position ORDER BY page.at DESC, page.position DESC"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(Self::stored(row)?);
        }
        Ok(found)
    }

    pub(super) fn history_total(&self, terms: &[HistoryTerm]) -> Result<Total, StorageError> {
        let orphaned = orphaned(terms);
        let Some(terms) = self.terms(terms)? else {
            return Ok(Total::Exact(0));
        };
        if let ([(_, count)], false) = (terms.as_slice(), orphaned) {
            return Ok(Total::Exact(*count));
        }
        let (sql, parameters) = Self::postings(&terms, orphaned);
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 {sql} LIMIT {})",
            COUNTED_AT_MOST + 1
        );
        let count: u64 = self
            .connection
            .prepare_cached(&sql)?
            .query_row(params_from_iter(parameters), |row| row.get(0))?;
        Ok(if count > COUNTED_AT_MOST {
            Total::AtLeast(COUNTED_AT_MOST)
        } else {
            Total::Exact(count)
        })
    }
}

/// Whether only acknowledgements that answer no route are asked for.
fn orphaned(terms: &[HistoryTerm]) -> bool {
    terms.iter().any(HistoryTerm::is_orphaned)
}
