//! The service with a real OpenID provider (oidc-provider) and a real browser (Debian's Chromium), both on loopback.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::npm::{self, Tools};
use crate::process::{self, Background};
use crate::workspace::Workspace;

/// Provider, tests, and the versions of what they use.
const FOLDER: &str = "xtask/e2e/identity";
const SEED_DATA: &str = "fixtures/quickstart.json";
const LIMIT: Duration = Duration::from_mins(6);

/// Installs what is missing, and says what.
pub(super) fn environment(workspace: &Workspace) -> anyhow::Result<Tools> {
    let openssl = ("openssl", "version", "openssl");
    npm::environment(workspace, FOLDER, "identity", &[npm::NPM, npm::CHROMIUM, openssl])
}

/// Runs the tests; each is named in the output.
pub(super) fn run(workspace: &Workspace, tools: &Tools, program: &Path) -> anyhow::Result<()> {
    let logs = tools.folder.join("run");
    if logs.exists() {
        fs::remove_dir_all(&logs).context("cannot remove what the last run left")?;
    }
    fs::create_dir_all(&logs)?;
    let mut command = Command::new(&tools.node);
    command
        .current_dir(&tools.folder)
        .args(["--test", "--test-reporter=spec", "identity.test.mjs"])
        .env("CAVRA", program)
        .env("CHROMIUM", "/usr/bin/chromium")
        .env("SEED_DATA", workspace.path(SEED_DATA))
        .env("E2E_FOLDER", &logs)
        .stdin(Stdio::null());
    let child = command
        .spawn()
        .with_context(|| format!("cannot start `{}`", process::describe(&command)))?;
    match Background::watch("the tests with a provider and a browser", child).wait(LIMIT)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!("the tests ended with {status}; logs are in {}", logs.display()),
        None => bail!("the tests were not done after {LIMIT:?}; they have been stopped"),
    }
}
