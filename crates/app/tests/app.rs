//! The use cases over a store in memory and over files: every test asks what a caller sees, and what is recorded.
#![cfg(test)]

mod app {
    mod acknowledging;
    mod as_of;
    mod bulk;
    mod forged;
    mod importing;
    mod judging;
    mod odd;
    mod once;
    mod packages;
    mod planning;
    mod releasing;
    mod replay;
    mod scope;
    mod signed;
    mod support;
    mod two_operators;
    mod undoing;
    mod viewing;
    mod witnesses;
}
