//! The rules of rollback-drill governance, without I/O, clock, randomness, HTTP or SQL.
//!
//! A schedule that is due becomes a [notification plan](schedule): one [route] per provider and owner. People
//! [acknowledge](acknowledgement) routes, one by one or in [bulk]; an [escalation] plan says which are late, an
//! [audit package](audit_package) shows every route of a scope with its whole history, and a [dashboard] counts.
//! What became of the final auditor export is answered by [archive]: is it kept, unchanged, and for how long.
//! All of them ask the same functions of [route] for state, breach and level. Every document's text passes
//! [`public_safe`] first.
//!
//! Times, ids and randomness are arguments: see [`time::Clock`] and [`id::IdSource`]. The program in
//! `examples/embed.rs` plans, acknowledges and packages with nothing but this crate.

pub mod acknowledgement;
pub mod actor;
pub mod archive;
pub mod audit_package;
pub mod bulk;
pub mod dashboard;
pub mod delivery;
mod digest;
pub mod escalation;
pub mod evidence;
pub mod export;
pub mod id;
pub mod preview;
pub mod public_safe;
pub mod record;
pub mod replay;
pub mod retry;
pub mod route;
pub mod schedule;
pub mod suppression;
#[cfg(test)]
mod testing;
pub mod time;
pub mod trend;
pub mod undo;
