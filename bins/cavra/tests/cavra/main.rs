//! The program `cavra`, run as people run it.
#![cfg(test)]

mod commands;
mod crash;
mod evidence_log;
mod job;
mod program;
mod refusals;
mod reporting;
mod serving;
