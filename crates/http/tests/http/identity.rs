//! Identity over HTTP: every row of contract identity 7 that needs no running provider is a test here, by its number;
//! the others are in `xtask/e2e/identity`.

mod keys;
mod requests;
mod rights;
#[path = "../../../rbac/tests/rbac/signing.rs"]
mod signing;
mod site;
mod tokens;
