//! The HTTP surface, driven over TCP against a server in this process.
#![cfg(test)]

mod bad_input;
mod browsers;
mod client;
mod console;
mod contract;
mod golden;
mod identity;
mod once;
mod published_client;
mod releases;
mod server;
