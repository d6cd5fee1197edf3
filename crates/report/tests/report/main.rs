//! Reports of packages that a real service has made.
#![cfg(test)]

mod forms;
mod golden;
mod packages;
