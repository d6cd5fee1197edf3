//! Storage over real files: what is written, what is read back, what is refused, and what is found damaged.
#![cfg(test)]

mod storage {
    mod appending;
    mod checking;
    mod filters;
    mod history;
    mod opening;
    mod order;
    mod published;
    mod reading;
    mod releases;
    mod support;
    mod upgrading;
}
