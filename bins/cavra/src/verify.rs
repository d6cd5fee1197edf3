//! `cavra verify`: reads files, asks nobody.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use cavra_evidence::package::Scope;
use cavra_evidence::verify::{Asked, Cosignature, Trust, Verdict, Verification, verify_asked};
use serde_json::json;

use crate::arguments::Verify;
use crate::evidence::print;
use crate::keys::read_public;

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

pub(crate) fn run(verify: &Verify) -> anyhow::Result<ExitCode> {
    let key = verify.key.as_deref().map(read_public).transpose()?;
    let previous = verify.previous.as_deref().map(read).transpose()?;
    let witnesses = verify.witnesses.read()?;
    let asked = Asked {
        trust: Trust { key: key.as_ref() },
        previous: previous.as_deref(),
        witnesses: &witnesses,
        witnesses_needed: verify.witnesses.needed,
    };
    let mut code = ExitCode::SUCCESS;
    for path in &verify.packages {
        let found = verify_asked(read(path)?, &asked);
        if found.verdict == Verdict::Failed {
            code = ExitCode::from(1);
        }
        let text = if verify.json {
            let mut line = serde_json::to_value(&found)?;
            if let Some(line) = line.as_object_mut() {
                line.insert("package".to_owned(), json!(path.display().to_string()));
            }
            format!("{line}\n")
        } else {
            sentences(path, &found)
        };
        print(text.as_bytes())?;
    }
    Ok(code)
}

/// A verification for people.
pub(crate) fn sentences(path: &Path, found: &Verification) -> String {
    let mut lines = vec![format!("{}: {}", path.display(), verdict(found))];
    if let Some(failure) = &found.failure {
        lines.push(format!(
            "  first wrong element: {}: {}",
            failure.element, failure.problem
        ));
    }
    if let (Some(audit_id), Some(size), Some(root)) = (&found.audit_id, found.tree_size, found.root) {
        lines.push(format!("  package {audit_id}, log of {size} leaves, root {root}"));
    }
    if found.failure.is_none() {
        lines.push(format!(
            "  {} routes recomputed from {} records ({} imported, {} from before the log)",
            found.route_count, found.record_count, found.imported_count, found.upgraded_count
        ));
        lines.push(match found.scope {
            Some(Scope::Whole) => "  whole population: every leaf of the log is in it, nothing can be left out".to_owned(),
            _ => "  filtered scope: every record in it is proven; that no other is missing, and what the filter left out, is the \
                  signer's word"
                .to_owned(),
        });
        if found.meanwhile_count > 0 {
            lines.push(format!(
                "  {} plans, acknowledgements or undos were being recorded while it was made, and are not in it",
                found.meanwhile_count
            ));
        }
        lines.push(found.signed_by.as_ref().map_or_else(
            || "  nobody signed it".to_owned(),
            |key| format!("  signed by {key}"),
        ));
        lines.extend(found.cosignatures.iter().map(cosignature));
        if let Some(size) = found.previous_tree_size {
            lines.push(format!("  nothing was rewritten since the log had {size} leaves"));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What a witness has signed, for people.
fn cosignature(seen: &Cosignature) -> String {
    let Cosignature {
        witness, tree_size, ..
    } = seen;
    match seen.cosigned_at {
        Some(at) if seen.checked => format!("  witness {witness} saw the log of {tree_size} leaves at {at}"),
        _ => format!(
            "  not checked: a signature on the log of {tree_size} leaves that says it is of the witness {witness}; \
             its key was not given"
        ),
    }
}

/// A verdict in words.
pub(crate) const fn verdict(found: &Verification) -> &'static str {
    match found.verdict {
        Verdict::Verified => "verified with the key that was given",
        Verdict::ConsistentOnly => {
            "consistent with itself only: no key was given out of band, so anybody may have made it"
        }
        Verdict::Failed => "NOT verified",
    }
}
