//! The verifier and the identity files, from outside.
#![cfg(test)]

mod files;
mod signing;
mod verifier;
