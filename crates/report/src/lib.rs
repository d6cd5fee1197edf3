//! Reports of signed audit packages: a page for people, rows for spreadsheets, OSCAL assessment results for tools.
//!
//! Every report states what the one verification ([`cavra_evidence::verify`]) found about the very bytes that it shows,
//! and nothing that is not verified looks as if it were. Pure: the package, the key and the time are arguments; the
//! same arguments give the same bytes.
//!
//! ```
//! use cavra_domain::time::Timestamp;
//! use cavra_evidence::verify::Asked;
//! use cavra_report::{Input, Report, Standing, csv, html};
//!
//! let report = Report::of(Input {
//!     package: b"no package".to_vec(),
//!     asked: Asked::default(),
//!     made_at: Timestamp::EPOCH,
//! });
//! assert_eq!(report.standing(), Standing::Failed);
//! let (mut page, mut rows) = (Vec::new(), Vec::new());
//! html::write(&report, &mut page)?;
//! csv::write(&report, csv::Rows::Routes, &mut rows)?;
//! assert!(String::from_utf8_lossy(&page).contains("NOT VERIFIED"));
//! assert!(String::from_utf8_lossy(&rows).contains("NOT VERIFIED"));
//! # Ok::<(), std::io::Error>(())
//! ```

mod content;
pub mod csv;
pub mod html;
pub mod oscal;
mod words;

use cavra_domain::time::Timestamp;
use cavra_evidence::digest::Digest;
use cavra_evidence::note::VerifierKey;
use cavra_evidence::verify::{Asked, Verdict, Verification, verify_and_keep};

use content::Content;
pub use words::{CONTROLS, Control};

/// What a report is made from.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The signed package, as it was handed over. It may have hundreds of megabytes, and is not there twice.
    pub package: Vec<u8>,
    /// What it is held against.
    pub asked: Asked<'a>,
    /// When the report is made. It stands in the report and decides nothing.
    pub made_at: Timestamp,
}

/// How a package stands after its verification: the verdict, and whether anybody signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything is right, and signed by the key that was given.
    Verified,
    /// Everything fits together and is signed; nobody has said which key to trust.
    ConsistentOnly,
    /// Everything fits together; nobody has signed it.
    Unsigned,
    /// Something is wrong.
    Failed,
}

impl Standing {
    /// The standing that a verification found.
    pub const fn of(found: &Verification) -> Self {
        match (found.verdict, &found.signed_by) {
            (Verdict::Verified, _) => Self::Verified,
            (Verdict::ConsistentOnly, Some(_)) => Self::ConsistentOnly,
            (Verdict::ConsistentOnly, None) => Self::Unsigned,
            (Verdict::Failed, _) => Self::Failed,
        }
    }
}

/// A package, verified and read.
#[derive(Debug)]
pub struct Report {
    found: Verification,
    content: Content,
    /// SHA-256 of the package's file.
    digest: Digest,
    previous_digest: Option<Digest>,
    trusted: Option<String>,
    /// The witnesses whose keys were given out of band, by name and hash.
    witnesses: Vec<String>,
    witnesses_needed: usize,
    made_at: Timestamp,
}

impl Report {
    /// Verifies a package and reads it.
    pub fn of(input: Input<'_>) -> Self {
        let asked = &input.asked;
        let digest = Digest::of(&input.package);
        let (found, message) = verify_and_keep(input.package, asked);
        Self {
            found,
            content: Content::read(message),
            digest,
            previous_digest: asked.previous.map(Digest::of),
            trusted: asked.trust.key.map(ToString::to_string),
            witnesses: asked.witnesses.iter().map(VerifierKey::key_id).collect(),
            witnesses_needed: asked.witnesses_needed.unwrap_or(asked.witnesses.len()),
            made_at: input.made_at,
        }
    }

    /// What the verification found.
    pub const fn verification(&self) -> &Verification {
        &self.found
    }

    /// How the package stands.
    pub const fn standing(&self) -> Standing {
        Standing::of(&self.found)
    }
}
