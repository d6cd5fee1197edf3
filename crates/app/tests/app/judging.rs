//! Packages by the thousand, and what a verification says of each: held against what is right, and written down for
//! the other verifier.
//!
//! With `CAVRA_MUTATIONS` set to a folder, the packages are written there with what this verifier says of each, so that
//! `cargo xtask e2e` can ask the other one.

use std::path::PathBuf;

use cavra_evidence::note::VerifierKey;
use cavra_evidence::verify::Verification;
use serde_json::json;

type Verify<'a> = Box<dyn Fn(&[u8]) -> Verification + 'a>;

/// Somebody who judges packages, in a folder of their own.
pub(super) struct Judge<'a> {
    verify: Verify<'a>,
    folder: Option<PathBuf>,
    lines: String,
}

impl<'a> Judge<'a> {
    /// One who says of a package what `verify` says. The other verifier is given these public keys.
    pub(super) fn new(
        folder: &str,
        keys: &[(&str, &VerifierKey)],
        verify: impl Fn(&[u8]) -> Verification + 'a,
    ) -> Self {
        let folder = std::env::var_os("CAVRA_MUTATIONS").map(|root| PathBuf::from(root).join(folder));
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).unwrap();
            for (file, key) in keys {
                std::fs::write(folder.join(file), key.to_string()).unwrap();
            }
        }
        Self {
            verify: Box::new(verify),
            folder,
            lines: String::new(),
        }
    }

    /// Judges a package, which is right or is not.
    pub(super) fn judge(&mut self, name: &str, package: &[u8], right: bool) -> Verification {
        let found = (self.verify)(package);
        assert_eq!(found.failure.is_none(), right, "{name}: {:?}", found.failure);
        if let Some(folder) = &self.folder {
            let name = format!("{name}.json");
            std::fs::write(folder.join(&name), package).unwrap();
            self.lines += &line(&name, &found);
        }
        found
    }

    /// Judges so many wrong packages. A change that changes nothing is none.
    pub(super) fn changes(&mut self, count: usize, mut change: impl FnMut() -> Option<Vec<u8>>) {
        let mut number = 0;
        while number < count {
            if let Some(changed) = change() {
                number += 1;
                self.judge(&format!("{number:05}"), &changed, false);
            }
        }
    }

    pub(super) fn finish(self) {
        if let Some(folder) = self.folder {
            std::fs::write(folder.join("expected.jsonl"), self.lines).unwrap();
        }
    }
}

fn line(name: &str, found: &Verification) -> String {
    let failure = found
        .failure
        .as_ref()
        .map(|failure| json!({ "check": failure.check, "element": failure.element }));
    let said = json!({
        "package": name, "verdict": found.verdict, "failure": failure, "cosignatures": found.cosignatures,
    });
    format!("{said}\n")
}
