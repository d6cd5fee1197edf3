//! Rows for spreadsheets: RFC 4180, in the order of the package.
//!
//! Every row begins with what the verification found, so that a row taken alone cannot pretend to be verified, and there
//! is always at least one row. What a spreadsheet would take for a formula gets an apostrophe, see [`neutral`].

use std::borrow::Cow;
use std::io::{self, Write};

use crate::content::{Entry, Route};
use crate::{Report, words};

/// What a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// A route, with the acknowledgement that holds its state.
    Routes,
    /// An entry of a route's history; a route without any has one row as well.
    Acknowledgements,
}

/// The columns that every row begins with.
const PACKAGE: [&str; 9] = [
    "verification",
    "first_wrong_element",
    "scope",
    "signed_by",
    "trusted_key",
    "audit_id",
    "judged_at",
    "package_file_sha256",
    "row",
];

const ROUTE: [&str; 16] = [
    "schedule_id",
    "plan_id",
    "plan_origin",
    "route_id",
    "provider",
    "owner",
    "escalation_owner",
    "route_action",
    "category",
    "route_created_at",
    "acknowledgement_minutes",
    "deadline_at",
    "age_minutes",
    "state",
    "breached",
    "revision",
];

const ANSWER: [&str; 11] = [
    "acknowledged_by",
    "acknowledged_at",
    "external_ref",
    "notes",
    "acknowledgement_id",
    "actor_issuer",
    "actor_subject",
    "actor_verified",
    "record_origin",
    "record_log_position",
    "record_recorded_at",
];

const OF_ROUTES: [&str; 1] = ["acknowledgement_count"];

const OF_HISTORY: [&str; 5] = ["number", "said", "effect", "undoes", "holds_the_state"];

/// Writes the rows.
///
/// # Errors
/// The writer's.
pub fn write(report: &Report, rows: Rows, out: &mut impl Write) -> io::Result<()> {
    let last: &[&str] = match rows {
        Rows::Routes => &OF_ROUTES,
        Rows::Acknowledgements => &OF_HISTORY,
    };
    let mut row = Row::new(out);
    for name in PACKAGE.iter().chain(&ROUTE).chain(&ANSWER).chain(last) {
        row.plain(name)?;
    }
    row.end()?;
    let content = &report.content;
    for number in 0..content.route_count() {
        let Some(route) = content.route(number) else {
            // Not a route: its text stands where notes do.
            of_package(&mut row, report, "unreadable")?;
            row.empty(ROUTE.len() + 3)?;
            row.text(content.raw(number))?;
            row.empty(ANSWER.len() - 4 + last.len())?;
            row.end()?;
            continue;
        };
        match rows {
            Rows::Routes => {
                of_package(&mut row, report, "route")?;
                of_route(&mut row, report, &route)?;
                match route.standing() {
                    Some(entry) => of_answer(&mut row, report, entry)?,
                    None => standing(&mut row, &route)?,
                }
                row.plain(&route.acknowledgements.len().to_string())?;
                row.end()?;
            }
            Rows::Acknowledgements if route.acknowledgements.is_empty() => {
                of_package(&mut row, report, "route")?;
                of_route(&mut row, report, &route)?;
                row.empty(ANSWER.len() + OF_HISTORY.len())?;
                row.end()?;
            }
            Rows::Acknowledgements => {
                for (entry, number) in route.acknowledgements.iter().zip(1_u64..) {
                    of_package(&mut row, report, "acknowledgement")?;
                    of_route(&mut row, report, &route)?;
                    of_answer(&mut row, report, entry)?;
                    row.plain(&number.to_string())?;
                    row.text(&entry.acknowledgement_state)?;
                    row.text(&entry.effect)?;
                    row.text(&entry.undoes)?;
                    row.plain(boolean(route.holds(entry)))?;
                    row.end()?;
                }
            }
        }
    }
    if content.route_count() == 0 {
        of_package(&mut row, report, "no routes")?;
        row.empty(ROUTE.len() + ANSWER.len() + last.len())?;
        row.end()?;
    }
    row.out.flush()
}

fn of_package(row: &mut Row<impl Write>, report: &Report, kind: &str) -> io::Result<()> {
    let found = &report.found;
    row.plain(report.standing().label())?;
    let wrong = found.failure.as_ref();
    row.text(&wrong.map_or_else(String::new, |wrong| {
        format!("{}: {}", wrong.element, wrong.problem)
    }))?;
    row.plain(report.scope_name().unwrap_or_default())?;
    row.text(found.signed_by.as_deref().unwrap_or_default())?;
    row.text(report.trusted.as_deref().unwrap_or_default())?;
    row.text(report.content.audit_id())?;
    row.text(
        report
            .content
            .header
            .as_ref()
            .map_or("", |header| header.judged_at()),
    )?;
    row.plain(&report.digest.to_hex())?;
    row.plain(kind)
}

fn of_route(row: &mut Row<impl Write>, report: &Report, route: &Route<'_>) -> io::Result<()> {
    row.text(&route.schedule_id)?;
    row.text(&route.plan_id)?;
    row.plain(words::origin(report.content.mark(&route.plan_id)))?;
    row.text(&route.route_id)?;
    row.text(&route.provider)?;
    row.text(&route.owner)?;
    row.text(&route.escalation_owner)?;
    row.text(&route.route_action)?;
    row.text(&route.category)?;
    row.text(&route.route_created_at)?;
    row.plain(&route.acknowledgement_minutes.to_string())?;
    row.plain(&route.deadline_at())?;
    // A number of this program's own, so its minus is no formula.
    row.plain(&route.age_minutes.to_string())?;
    row.text(&route.acknowledgement_state)?;
    row.plain(boolean(route.breached))?;
    row.plain(&route.revision.to_string())
}

fn of_answer(row: &mut Row<impl Write>, report: &Report, entry: &Entry<'_>) -> io::Result<()> {
    let mark = report.content.mark(&entry.acknowledgement_id);
    row.text(&entry.acknowledged_by)?;
    row.text(&entry.acknowledged_at)?;
    row.text(&entry.external_ref)?;
    row.text(&entry.notes)?;
    row.text(&entry.acknowledgement_id)?;
    row.text(&entry.issuer)?;
    row.text(&entry.subject)?;
    row.plain(boolean(entry.verified))?;
    row.plain(words::origin(mark))?;
    row.plain(&mark.map_or_else(String::new, |mark| mark.position.to_string()))?;
    row.plain(&mark.map_or_else(String::new, |mark| mark.recorded_at.to_string()))
}

/// What a route says of its answer when no entry of its history is that answer.
fn standing(row: &mut Row<impl Write>, route: &Route<'_>) -> io::Result<()> {
    row.text(&route.acknowledged_by)?;
    row.text(&route.acknowledged_at)?;
    row.text(&route.external_ref)?;
    row.text(&route.notes)?;
    row.text(&route.acknowledgement_id)?;
    row.empty(ANSWER.len() - 5)
}

const fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// One row after the other.
struct Row<W> {
    out: W,
    begun: bool,
}

impl<W: Write> Row<W> {
    const fn new(out: W) -> Self {
        Self { out, begun: false }
    }

    /// A cell whose text is this program's own.
    fn plain(&mut self, cell: &str) -> io::Result<()> {
        if self.begun {
            self.out.write_all(b",")?;
        }
        self.begun = true;
        // A semicolon and a tab need no quotes here; programs that take them for separators want them all the same.
        if cell.contains([',', '"', '\r', '\n', ';', '\t']) {
            self.out.write_all(b"\"")?;
            self.out.write_all(cell.replace('"', "\"\"").as_bytes())?;
            self.out.write_all(b"\"")
        } else {
            self.out.write_all(cell.as_bytes())
        }
    }

    /// A cell whose text is somebody else's.
    fn text(&mut self, cell: &str) -> io::Result<()> {
        self.plain(&neutral(cell))
    }

    fn empty(&mut self, cells: usize) -> io::Result<()> {
        (0..cells).try_for_each(|_| self.plain(""))
    }

    fn end(&mut self) -> io::Result<()> {
        self.begun = false;
        self.out.write_all(b"\r\n")
    }
}

/// A text that no spreadsheet takes for a formula: an apostrophe is put before what would begin one.
///
/// A formula begins with `=`, `+`, `-` or `@`, also full-width, after any white space; at the beginning of the text, and
/// after a semicolon, a tab or a line break, where a spreadsheet set to another separator would begin a cell. An
/// apostrophe that stands in such a place gets another one, so that taking one away in each such place gives the text
/// back: see [`original`].
pub fn neutral(text: &str) -> Cow<'_, str> {
    if !starts(text).any(|(at, _)| begins_formula(text, at)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 4);
    for (at, end) in starts(text) {
        if begins_formula(text, at) {
            safe.push('\'');
        }
        safe.push_str(text.get(at..end).unwrap_or_default());
    }
    Cow::Owned(safe)
}

/// The text that [`neutral`] was given.
pub fn original(safe: &str) -> String {
    starts(safe)
        .filter_map(|(at, end)| safe.get(at..end))
        .map(|piece| piece.strip_prefix('\'').unwrap_or(piece))
        .collect()
}

/// Where a cell could begin, and where the piece from there on ends.
fn starts(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    text.split_inclusive([';', '\t', '\n', '\r']).map(move |piece| {
        let begin = at;
        at += piece.len();
        (begin, at)
    })
}

fn begins_formula(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let visible = rest.chars().find(|c| !c.is_whitespace() && !words::deceives(*c));
    rest.starts_with('\'') || matches!(visible, Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_a_formula_is_none() {
        for text in [
            "=1+1",
            "+1",
            "-2+3",
            "@SUM(A1)",
            " =1",
            "\t=1",
            "\r=1",
            "\u{feff}=1",
            "\u{a0}=1",
            "＝1",
            "'=1",
        ] {
            assert_eq!(neutral(text).chars().next(), Some('\''), "{text:?}");
            assert_eq!(original(&neutral(text)), text);
        }
        assert_eq!(neutral("a;=cmd\n- b"), "a;'=cmd\n'- b");
        for text in [
            "",
            "CHG-4711",
            "a=b",
            "ana@example.org",
            "it's",
            "a, -b",
            "2026-06-01",
        ] {
            assert_eq!(neutral(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_neutral_text_gives_the_original_back(text in "[=+@a' ;\t\r\n\\-\u{feff}＝\"]{0,12}") {
            let safe = neutral(&text);
            prop_assert_eq!(original(&safe), text.as_str());
            for (at, end) in starts(&safe) {
                let visible = safe[at..end].chars().find(|c| !c.is_whitespace() && !words::deceives(*c));
                prop_assert!(!matches!(visible, Some('=' | '+' | '-' | '@' | '＝')), "{:?}", safe);
            }
        }
    }
}
