//! What every evidence record goes through before it is stored or signed: read strictly, brought into one
//! canonical form, digested, put into a Merkle log; and how a package of it is signed and verified offline. Pure:
//! no file, no socket, no clock, no randomness.
//!
//! ```
//! use cavra_evidence::{canonical::canonical_value, digest::Digest, strict};
//!
//! let record = strict::parse(br#"{"provider": "slack", "decision_count": 1.0}"#)?;
//! let text = canonical_value(&record)?;
//! assert_eq!(text, r#"{"decision_count":1,"provider":"slack"}"#);
//! assert_eq!(Digest::of(&text).to_hex().len(), 64);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod canonical;
pub mod digest;
pub mod dsse;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod package;
pub mod strict;
pub mod tiles;
pub mod verify;
