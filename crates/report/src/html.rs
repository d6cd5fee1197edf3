//! A page for people: one file without script that asks nobody for anything, to read, to print and to keep.
//!
//! The verdict comes first, stands in the title and in the margin of every printed page, and where it is not a good one it
//! stays on the screen. Texts of the package are escaped, and characters that would hide or turn a text are named.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use cavra_domain::time::Timestamp;
use cavra_evidence::package::Scope;
use cavra_evidence::verify::Cosignature;

use crate::content::{Entry, Group, Header, Route, Term};
use crate::words::{self, CHECKS, CONTROLS, Outcome, deceives};
use crate::{Report, Standing};

const STYLE: &str = include_str!("html/style.css");

/// Somebody else's text.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(|c| matches!(c, '&' | '<' | '>' | '"' | '\'') || deceives(c)) {
            let (before, from) = rest.split_at(at);
            f.write_str(before)?;
            let mut chars = from.chars();
            match chars.next() {
                Some('&') => f.write_str("&amp;")?,
                Some('<') => f.write_str("&lt;")?,
                Some('>') => f.write_str("&gt;")?,
                Some('"') => f.write_str("&quot;")?,
                Some('\'') => f.write_str("&#39;")?,
                Some(c) => write!(f, "&lt;U+{:04X}&gt;", u32::from(c))?,
                None => {}
            }
            rest = chars.as_str();
        }
        f.write_str(rest)
    }
}

/// A time as people read it; what is no time stays as it is.
struct When<'a>(&'a str);

impl fmt::Display for When<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(at) = Timestamp::parse(self.0) else {
            return Text(self.0).fmt(f);
        };
        let text = at.to_string();
        let (date, time) = text.split_once('T').unwrap_or((&text, ""));
        let time = time.strip_suffix('Z').unwrap_or(time);
        let time = time.strip_suffix(".000000").unwrap_or(time);
        write!(f, "{date} {time} UTC")
    }
}

/// The same for a column whose heading says UTC.
struct Utc<'a>(&'a str);

impl fmt::Display for Utc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = When(self.0).to_string();
        f.write_str(text.strip_suffix(" UTC").unwrap_or(&text))
    }
}

/// Words of this program: what stands between backticks is code.
struct Words<'a>(&'a str);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (piece, code) in self.0.split('`').zip([false, true].into_iter().cycle()) {
            if code {
                write!(f, "<code>{}</code>", Text(piece))?;
            } else {
                write!(f, "{}", Text(piece))?;
            }
        }
        Ok(())
    }
}

/// A number with its thousands apart.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

fn count(number: usize) -> Count {
    Count(u64::try_from(number).unwrap_or(u64::MAX))
}

/// So many routes.
fn routes_of(number: u64) -> String {
    format!("{} route{}", Count(number), if number == 1 { "" } else { "s" })
}

/// Writes the page.
///
/// # Errors
/// The writer's.
pub fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    head(report, out)?;
    about(report, out)?;
    checks(report, out)?;
    controls(report, out)?;
    if let Some(problem) = report.content.unreadable {
        writeln!(out, "<p class=no>{problem}</p>")?;
    }
    if let Some(header) = &report.content.header {
        scope(report, header, out)?;
        counts(report, header, out)?;
    }
    log(report, out)?;
    schedules(report, out)?;
    routes(report, out)?;
    write!(
        out,
        "<p class=end>End of the report: {}. <span class=stamp>{}</span></p>\n</main>\n</body>\n</html>\n",
        routes_of(count(report.content.route_count()).0),
        stamp(report.standing()),
    )?;
    out.flush()
}

/// What stands in the title, on every page and at the end.
const fn stamp(standing: Standing) -> &'static str {
    match standing {
        Standing::Verified => "Verified",
        Standing::ConsistentOnly => "Consistent with itself only, not verified",
        Standing::Unsigned => "Unsigned, not verified",
        Standing::Failed => "NOT VERIFIED",
    }
}

fn head(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let standing = report.standing();
    let stamp = stamp(standing);
    let class = match standing {
        Standing::Verified => "verified",
        Standing::ConsistentOnly | Standing::Unsigned => "unproven",
        Standing::Failed => "failed",
    };
    let audit_id = report.content.audit_id();
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri \
         'none'; form-action 'none'\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{stamp}: audit package {}</title>\n<style>\n{STYLE}\
         @page{{size:A4 landscape;margin:13mm 12mm 15mm;@bottom-left{{content:\"{stamp}\";font:bold 9pt sans-serif}}\
         @bottom-right{{content:counter(page) \" / \" counter(pages);font:9pt sans-serif}}}}\n</style>\n</head>\n\
         <body class=\"{class}\">\n",
        Text(audit_id)
    )?;
    if standing != Standing::Verified {
        writeln!(out, "<div class=bar aria-hidden=\"true\">{stamp}</div>")?;
    }
    write!(
        out,
        "<main>\n<h1>Audit package of rollback drills</h1>\n<p class=sub><code>{}</code></p>\n\
         <div class=verdict role=\"status\"><b>{stamp}</b><p>{}</p>",
        Text(audit_id),
        standing.sentence(),
    )?;
    if let Some(failure) = &report.found.failure {
        write!(
            out,
            "<p>First wrong element: <strong>{}</strong>: {}.</p>",
            Text(&failure.element),
            Text(&failure.problem)
        )?;
    }
    out.write_all(b"</div>\n")
}

/// The package, the keys and files that it was compared with, and when.
fn about(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "<table class=facts><caption>What this report is about</caption><tbody>"
    )?;
    if let Some(header) = &report.content.header {
        fact(out, "In short", &in_short(report, header))?;
        fact(
            out,
            "Package made",
            &format_args!(
                "{}, by {}{}",
                When(&header.generated_at),
                Text(&header.generated_by),
                actor(header)
            ),
        )?;
        if let Some(as_of) = &header.as_of {
            fact(
                out,
                "Shows an earlier state",
                &format_args!(
                    "of {}, log position {}",
                    When(&as_of.at),
                    Count(as_of.log_position)
                ),
            )?;
        }
        fact(
            out,
            "Made with",
            &format_args!(
                "{} {}",
                Text(&header.software.name),
                Text(&header.software.version)
            ),
        )?;
    }
    fact(
        out,
        "File, SHA-256",
        &format_args!("<code>{}</code>", report.digest),
    )?;
    match &report.trusted {
        Some(key) => fact(
            out,
            "Key given out of band",
            &format_args!("<code>{}</code>", Text(key)),
        )?,
        None => fact(out, "Key given out of band", &"none")?,
    }
    about_witnesses(report, out)?;
    match (report.previous_digest, report.found.previous_tree_size) {
        (None, _) => fact(out, "Earlier package", &"none given")?,
        (Some(digest), Some(size)) => fact(
            out,
            "Earlier package",
            &format_args!(
                "of a log with {} leaves; its file's SHA-256 is <code>{digest}</code>",
                Count(size)
            ),
        )?,
        (Some(digest), None) => fact(
            out,
            "Earlier package",
            &format_args!("given, not compared; its file's SHA-256 is <code>{digest}</code>"),
        )?,
    }
    fact(
        out,
        "Report made",
        &format_args!(
            "{}, with cavra {}, without network and database",
            When(&report.made_at.to_string()),
            env!("CARGO_PKG_VERSION")
        ),
    )?;
    out.write_all(b"</tbody></table>\n")
}

/// Who was asked to have seen the log, and who has.
fn about_witnesses(report: &Report, out: &mut impl Write) -> io::Result<()> {
    if report.witnesses.is_empty() {
        fact(out, "Witnesses", &"none given")?;
    } else {
        fact(
            out,
            "Witnesses",
            &format_args!(
                "{} asked for, of these: <code>{}</code>",
                report.witnesses_needed,
                Text(&report.witnesses.join(", "))
            ),
        )?;
    }
    for seen in &report.found.cosignatures {
        let Cosignature {
            witness, tree_size, ..
        } = seen;
        match seen.cosigned_at {
            Some(at) if seen.checked => fact(
                out,
                "Seen by a witness",
                &format_args!(
                    "<code>{}</code>, the log of {} leaves, at {}",
                    Text(witness),
                    Count(*tree_size),
                    When(&at.to_string())
                ),
            )?,
            _ => fact(
                out,
                "Not checked",
                &format_args!(
                    "a signature on the log of {} leaves that says it is of the witness <code>{}</code>",
                    Count(*tree_size),
                    Text(witness)
                ),
            )?,
        }
    }
    Ok(())
}

/// The package in a line.
fn in_short(report: &Report, header: &Header) -> String {
    let states = [
        ("outstanding", header.outstanding_count),
        ("escalated", header.escalated_count),
        ("acknowledged", header.acknowledged_count),
        ("resolved", header.resolved_count),
        ("dismissed", header.dismissed_count),
        ("suppressed", header.suppressed_count),
    ];
    let states: Vec<String> = states
        .into_iter()
        .filter(|(_, number)| *number > 0)
        .map(|(name, number)| format!("{} {name}", Count(number)))
        .collect();
    let scope = match report.scope() {
        Some(Scope::Whole) => "the whole population",
        Some(Scope::Filtered) => "a filtered scope",
        None => "an unknown scope",
    };
    format!(
        "<strong>{}</strong>, {scope}: {}. <strong{}>{} breached.</strong>",
        routes_of(header.route_count.saturating_add(header.suppressed_count)),
        states.join(", "),
        if header.breached_count > 0 {
            " class=no"
        } else {
            ""
        },
        Count(header.breached_count)
    )
}

fn fact(out: &mut impl Write, name: &str, value: &dyn fmt::Display) -> io::Result<()> {
    writeln!(out, "<tr><th scope=row>{name}</th><td>{value}</td></tr>")
}

/// How sure it is who made the package.
fn actor(header: &Header) -> String {
    if header.actor.verified {
        format!(
            " (proven by a token of {}, subject {})",
            Text(&header.actor.issuer),
            Text(&header.actor.subject)
        )
    } else {
        " (name as given)".to_owned()
    }
}

fn checks(report: &Report, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "<h2>What was checked</h2>\n<table class=c><caption>The checks of the verification, in their order; it ends at the first that \
         fails</caption>\n<thead><tr><th scope=col>Check</th><th scope=col>Result</th><th scope=col>What it shows when it passes</th></tr>\
         </thead><tbody>\n"
    )?;
    for check in CHECKS {
        let outcome = report.outcome(check);
        let class = match outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "no",
            Outcome::Absent | Outcome::NotReached | Outcome::NotAsked => "q",
        };
        writeln!(
            out,
            "<tr><th scope=row>{check:?}</th><td class={class}>{}</td><td>{}</td></tr>",
            outcome.as_str(),
            report.explained(check)
        )?;
    }
    write!(out, "</tbody></table>\n<h2>What it does not show</h2>\n<ul>\n")?;
    for limit in report.limits() {
        writeln!(out, "<li>{}</li>", Words(limit))?;
    }
    out.write_all(b"</ul>\n")
}

fn controls(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let says = match report.standing() {
        Standing::Verified => "Whether a control is met is your judgement. This package supports it.",
        Standing::ConsistentOnly | Standing::Unsigned => {
            "Whether a control is met is your judgement. This package would support it if a key from out of band showed who made it."
        }
        Standing::Failed => "This package is NOT VERIFIED and supports none of them.",
    };
    write!(
        out,
        "<h2>Controls</h2>\n<p>{says}</p>\n<table><caption>NIST SP 800-53 Rev. 5 controls that verified packages \
         support</caption>\n<thead><tr><th scope=col>Control</th><th scope=col>A verified package supports it by</th></tr></thead>\
         <tbody>\n"
    )?;
    for control in CONTROLS {
        let related = control
            .related
            .map_or_else(String::new, |related| format!("; {related}"));
        writeln!(
            out,
            "<tr><th scope=row>{} {}{related}</th><td>{}</td></tr>",
            control.id.to_uppercase(),
            control.title,
            Words(control.by)
        )?;
    }
    out.write_all(b"</tbody></table>\n")
}

fn scope(report: &Report, header: &Header, out: &mut impl Write) -> io::Result<()> {
    let population = &header.population;
    write!(
        out,
        "<h2>Scope and population</h2>\n<p>{}</p>\n<p>Of {} known routes in {}, {} are in the package.</p>\n\
         <table class=small><caption>What each term of the filter left out; a route counts under the first that leaves it \
         out</caption>\n<thead><tr><th scope=col>Term</th><th scope=col>Asked for</th><th scope=col class=n>Routes left out</th>\
         </tr></thead><tbody>\n",
        report.scope_sentence(),
        Count(population.known),
        match header.filters.cycle.as_str() {
            "all" => "all cycles",
            _ => "the current cycles",
        },
        Count(population.matched),
    )?;
    for Term {
        name,
        asked,
        left_out,
    } in header.terms()
    {
        writeln!(
            out,
            "<tr><th scope=row>{}</th><td>{}</td><td class=n>{}</td></tr>",
            name.replace('_', " "),
            if asked.is_empty() {
                "any".to_owned()
            } else {
                Text(asked).to_string()
            },
            Count(left_out)
        )?;
    }
    out.write_all(b"</tbody></table>\n")
}

fn counts(report: &Report, header: &Header, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "<h2>Counts</h2>\n<p>As of {}. The level is <strong>{}</strong>.</p>\n<table class=small><caption>Routes of the package by \
         state</caption>\n<thead><tr><th scope=col>State</th><th scope=col class=n>Routes</th></tr></thead><tbody>\n",
        When(header.judged_at()),
        Text(&header.alert_level)
    )?;
    for (name, number) in [
        ("Outstanding: nobody has answered", header.outstanding_count),
        ("Escalated: passed on, not yet answered", header.escalated_count),
        ("Acknowledged", header.acknowledged_count),
        ("Resolved", header.resolved_count),
        ("Dismissed", header.dismissed_count),
        ("All that wait, or waited, for an answer", header.route_count),
        (
            "Of these breached: open and past the deadline",
            header.breached_count,
        ),
        ("Suppressed: no answer required", header.suppressed_count),
    ] {
        writeln!(
            out,
            "<tr><th scope=row>{name}</th><td class=n>{}</td></tr>",
            Count(number)
        )?;
    }
    write!(
        out,
        "</tbody></table>\n<p>Made from {} records of plans, acknowledgements and undos; the newest is number {} of the log. \
         {} acknowledgements stand in the histories below; {} in the evidence answer no known route.</p>\n",
        Count(header.evidence.record_count),
        Count(header.evidence.log_position),
        Count(header.acknowledgement_count),
        Count(header.evidence.orphaned_acknowledgement_count),
    )?;
    let found = &report.found;
    if found.failure.is_none() {
        writeln!(
            out,
            "<p>Of the {} records in the package {} were imported from elsewhere, and {} were stored before there was a log.</p>",
            Count(found.record_count),
            Count(found.imported_count),
            Count(found.upgraded_count)
        )?;
        if found.meanwhile_count > 0 {
            writeln!(
                out,
                "<p>{} more were being recorded while the package was made, and are not in it.</p>",
                Count(found.meanwhile_count)
            )?;
        }
    }
    Ok(())
}

fn log(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let content = &report.content;
    if content.manifest.is_none() {
        return Ok(());
    }
    writeln!(out, "<h2>Signer and keys</h2>")?;
    match &report.found.signed_by {
        Some(key) => writeln!(out, "<p>Signed by <code>{}</code>.</p>", Text(key))?,
        None if content.keys.is_empty() => writeln!(out, "<p>Nobody has signed this package.</p>")?,
        None => writeln!(out, "<p class=no>No signature was found to be right.</p>")?,
    }
    if !content.keys.is_empty() {
        write!(
            out,
            "<table><caption>The keys of the log, oldest first; each new key is endorsed by the one before it</caption>\n\
             <thead><tr><th scope=col>Key</th><th scope=col>Public key</th><th scope=col>Endorsed</th></tr></thead><tbody>\n"
        )?;
        for (index, key) in content.keys.iter().enumerate() {
            let given = report.trusted.as_deref() == Some(key.text.as_str());
            writeln!(
                out,
                "<tr><th scope=row>{}{}</th><td><code>{}</code></td><td>{}</td></tr>",
                key.id
                    .as_deref()
                    .map_or_else(|| "not a key".to_owned(), |id| Text(id).to_string()),
                if given { " <em>given out of band</em>" } else { "" },
                Text(&key.text),
                match key.endorsed_at {
                    Some(at) => When(&at.to_string()).to_string(),
                    None if index == 0 => "first key".to_owned(),
                    None => "<span class=no>not endorsed</span>".to_owned(),
                }
            )?;
        }
        out.write_all(b"</tbody></table>\n")?;
    }
    write!(
        out,
        "<h2>Log and checkpoint</h2>\n<table class=facts><caption>The log that the package was made from</caption><tbody>\n"
    )?;
    if let Some(manifest) = &content.manifest {
        fact(out, "Scope", &report.scope_name().unwrap_or_default())?;
        fact(out, "Leaves of the log", &Count(manifest.tree_size))?;
        fact(out, "Root", &format_args!("<code>{}</code>", manifest.root))?;
        fact(
            out,
            "In the package",
            &format_args!(
                "{} records, {} leaves of other records",
                Count(manifest.record_count),
                Count(manifest.leaf_count)
            ),
        )?;
        fact(
            out,
            "Package text, SHA-256",
            &format_args!(
                "<code>{}</code>, {} bytes",
                manifest.package_sha256,
                Count(manifest.package_bytes)
            ),
        )?;
    }
    out.write_all(b"</tbody></table>\n")?;
    if let Some(checkpoint) = &content.checkpoint {
        write!(
            out,
            "<p>The checkpoint, to compare with others and to keep:</p>\n<pre>{}</pre>\n",
            Text(checkpoint)
        )?;
    }
    Ok(())
}

/// Its routes by state, in the order in which people read states.
fn by_state(states: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut states: Vec<(&str, u64)> = states
        .iter()
        .map(|(state, number)| (state.as_str(), *number))
        .collect();
    states.sort_by_key(|(state, _)| words::state_rank(state));
    states
}

fn schedules(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let groups = &report.content.groups;
    if groups.is_empty() {
        return Ok(());
    }
    write!(
        out,
        "<h2>Schedules</h2>\n<table><caption>The routes below, by schedule and cycle</caption>\n<thead><tr><th \
         scope=col>Schedule</th><th scope=col>Cycle</th><th scope=col class=n>Routes</th><th scope=col class=n>Breached</th><th \
         scope=col>States</th></tr></thead><tbody>\n"
    )?;
    for (index, group) in groups.iter().enumerate() {
        let states: Vec<String> = by_state(&group.states)
            .into_iter()
            .map(|(state, number)| format!("{} {}", Count(number), Text(words::state(state))))
            .collect();
        writeln!(
            out,
            "<tr><th scope=row><a href=\"#g{index}\">{}</a></th><td><code>{}</code></td><td class=n>{}</td><td class=\"n{}\">{}\
             </td><td>{}</td></tr>",
            Text(&group.schedule_id),
            Text(&group.plan_id),
            count(group.routes.len()),
            if group.breached > 0 { " no" } else { "" },
            Count(group.breached),
            states.join(", ")
        )?;
    }
    out.write_all(b"</tbody></table>\n")
}

fn routes(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let content = &report.content;
    writeln!(out, "<h2 class=new>Routes</h2>")?;
    if report.standing() == Standing::Failed {
        writeln!(
            out,
            "<p class=no>NOT VERIFIED: what the file says, as far as it can be read.</p>"
        )?;
    }
    if content.groups.is_empty() {
        writeln!(out, "<p>There is none.</p>")?;
    }
    for (index, group) in content.groups.iter().enumerate() {
        of_group(report, index, group, out)?;
    }
    if !content.strange.is_empty() {
        write!(out, "<h3>Entries that are no routes</h3>\n<ol>\n")?;
        for number in &content.strange {
            writeln!(
                out,
                "<li>Entry {}: <code>{}</code></li>",
                number + 1,
                Text(content.raw(*number))
            )?;
        }
        out.write_all(b"</ol>\n")?;
    }
    Ok(())
}

fn of_group(report: &Report, index: usize, group: &Group, out: &mut impl Write) -> io::Result<()> {
    let content = &report.content;
    let origin = match content.mark(&group.plan_id) {
        None => "; its plan is not in the package".to_owned(),
        Some(mark) => format!(
            "; its plan is number {} of the log, {}",
            Count(mark.position),
            words::origin(Some(mark))
        ),
    };
    write!(
        out,
        "<section class=grp id=g{index}>\n<h3 id=h{index}>{}, cycle <code>{}</code></h3>\n<div class=wide tabindex=0 \
         role=group aria-labelledby=h{index}><table class=routes><caption>{}{origin}. <span class=stamp>{}</span></caption>\n<thead><tr><th scope=col class=o>Owner</th><th scope=col \
         class=p>Provider</th><th scope=col class=s>State</th><th scope=col class=d>Answer due, UTC</th><th scope=col \
         class=w>Answered by</th><th scope=col class=a>Answered at, UTC</th><th scope=col>Reference</th></tr></thead>\n",
        Text(&group.schedule_id),
        Text(&group.plan_id),
        routes_of(count(group.routes.len()).0),
        stamp(report.standing()),
    )?;
    for number in &group.routes {
        if let Some(route) = content.route(*number) {
            of_route(report, &route, out)?;
        }
    }
    out.write_all(b"</table></div>\n</section>\n")
}

fn of_route(report: &Report, route: &Route<'_>, out: &mut impl Write) -> io::Result<()> {
    let standing = route.standing();
    write!(
        out,
        "<tbody><tr><th scope=rowgroup rowspan=2>{}</th><td>{}</td><td>{}{}</td><td>",
        Text(&route.owner),
        Text(&route.provider),
        Text(words::state(&route.acknowledgement_state)),
        if route.breached {
            " <b class=no>breached</b>"
        } else {
            ""
        },
    )?;
    let deadline = route.deadline_at();
    if deadline.is_empty() {
        out.write_all(b"none</td>")?;
    } else {
        write!(
            out,
            "{}<br><span class=m>within {} min</span></td>",
            Utc(&deadline),
            route.acknowledgement_minutes
        )?;
    }
    if route.acknowledged_by.is_empty() && route.acknowledgement_id.is_empty() {
        out.write_all(b"<td>nobody</td><td></td><td></td></tr>")?;
    } else {
        write!(
            out,
            "<td>{}<br><span class=m>{}</span></td><td>{}</td><td>{}</td></tr>",
            Text(&route.acknowledged_by),
            standing.map_or_else(|| "not in its history".to_owned(), proof),
            Utc(&route.acknowledged_at),
            Text(&route.external_ref),
        )?;
    }
    write!(
        out,
        "\n<tr><td colspan=6><span class=m>Route <code>{}</code>, {}",
        Text(&route.route_id),
        Text(&route.route_action)
    )?;
    if route.category != route.route_action {
        write!(out, " ({})", Text(&route.category))?;
    }
    write!(
        out,
        ", clock began {}, {} min old",
        When(&route.route_created_at),
        route.age_minutes
    )?;
    if !route.escalation_owner.is_empty() {
        write!(out, ", escalates to {}", Text(&route.escalation_owner))?;
    }
    write!(out, ", changes of state: {}</span>", route.revision)?;
    if route.acknowledgements.is_empty() {
        out.write_all(b"<br>No answer in its history.")?;
    } else {
        out.write_all(b"<ol class=h>")?;
        for entry in &route.acknowledgements {
            of_entry(report, route, entry, out)?;
        }
        out.write_all(b"</ol>")?;
    }
    out.write_all(b"</td></tr></tbody>\n")
}

/// How sure it is who somebody is. The word "verified" is for packages.
fn proof(entry: &Entry<'_>) -> String {
    if entry.verified {
        format!(
            "proven by a token of {}, subject {}",
            Text(&entry.issuer),
            Text(&entry.subject)
        )
    } else {
        "name as given".to_owned()
    }
}

fn of_entry(report: &Report, route: &Route<'_>, entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "<li><b>{}</b> by {} <span class=m>({})</span>, {}, {}",
        Text(&entry.acknowledgement_state),
        Text(&entry.acknowledged_by),
        proof(entry),
        When(&entry.acknowledged_at),
        Text(words::effect(&entry.effect)),
    )?;
    if route.holds(entry) {
        out.write_all(b", <b>holds the state</b>")?;
    }
    if !entry.undoes.is_empty() {
        write!(out, ", takes back <code>{}</code>", Text(&entry.undoes))?;
    }
    if !entry.external_ref.is_empty() {
        write!(out, ", reference {}", Text(&entry.external_ref))?;
    }
    if !entry.notes.is_empty() {
        write!(out, ", note: <span class=note>{}</span>", Text(&entry.notes))?;
    }
    write!(
        out,
        " <span class=m><code>{}</code>",
        Text(&entry.acknowledgement_id)
    )?;
    let mark = report.content.mark(&entry.acknowledgement_id);
    if let Some(mark) = mark {
        write!(
            out,
            ", number {} of the log, recorded {}",
            Count(mark.position),
            When(&mark.recorded_at.to_string())
        )?;
    }
    out.write_all(b"</span>")?;
    match mark {
        Some(mark) if !mark.imported && !mark.upgraded => {}
        mark => write!(out, " <span class=x>{}</span>", words::origin(mark))?,
    }
    out.write_all(b"</li>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup_or_hidden() {
        assert_eq!(
            Text("<b a='1' c=\"2\">&\u{202e}x\u{0}\u{200b}\nÄ").to_string(),
            "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;&lt;U+202E&gt;x&lt;U+0000&gt;&lt;U+200B&gt;\nÄ"
        );
    }

    #[test]
    fn times_and_numbers_are_for_people() {
        assert_eq!(
            When("2026-06-01T12:00:00.000000Z").to_string(),
            "2026-06-01 12:00:00 UTC"
        );
        assert_eq!(
            When("2026-06-01T12:00:00.000001Z").to_string(),
            "2026-06-01 12:00:00.000001 UTC"
        );
        assert_eq!(When("<soon>").to_string(), "&lt;soon&gt;");
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Count(number).to_string(), text);
        }
    }

    #[test]
    fn the_style_asks_nobody_for_anything() {
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    }
}
