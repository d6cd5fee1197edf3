//! The layers of the real workspace: `cargo test` fails on a forbidden arrow as `cargo xtask layers` does.
#![cfg(test)]

use xtask::layers;
use xtask::workspace::Workspace;

#[test]
fn the_crates_of_this_workspace_keep_to_docs_layers_txt() {
    let workspace = Workspace::load().expect("cargo metadata describes this workspace");
    let (problems, seen) = layers::check(&workspace).expect("docs/layers.txt is readable");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen > 0, "no dependency was looked at");
}
