//! Where things are: the root, the target directory, the members and their direct dependencies, the files in git.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::Deserialize;

use crate::process;

/// The part of `cargo metadata` that the checks need.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    /// With `--no-deps`: the members of the workspace.
    pub packages: Vec<Package>,
    /// Where cargo builds.
    pub target_directory: PathBuf,
    /// The folder of the root manifest.
    pub workspace_root: PathBuf,
}

/// A member of the workspace.
#[derive(Debug, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The path of its `Cargo.toml`.
    pub manifest_path: PathBuf,
    /// What its manifest names, of every kind and for every platform.
    pub dependencies: Vec<Dependency>,
}

/// A line of a dependency table.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    /// The name of the package, also where the manifest renames it.
    pub name: String,
    /// Which table.
    #[serde(default)]
    pub kind: Kind,
}

/// Which table a dependency is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "Option<KindName>")]
pub enum Kind {
    /// `[dependencies]`: null in cargo's output.
    #[default]
    Normal,
    /// `[build-dependencies]`.
    Build,
    /// `[dev-dependencies]`.
    Dev,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum KindName {
    Build,
    Dev,
}

impl From<Option<KindName>> for Kind {
    fn from(name: Option<KindName>) -> Self {
        match name {
            None => Self::Normal,
            Some(KindName::Build) => Self::Build,
            Some(KindName::Dev) => Self::Dev,
        }
    }
}

impl Metadata {
    /// Reads the output of `cargo metadata --format-version 1 --no-deps`.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        serde_json::from_str(json).context("cargo metadata printed something unexpected")
    }
}

/// The workspace that this xtask belongs to.
#[derive(Debug)]
pub struct Workspace {
    /// What cargo knows about it.
    pub metadata: Metadata,
}

impl Workspace {
    /// Asks cargo.
    pub fn load() -> anyhow::Result<Self> {
        // At run time, because one target directory can serve two checkouts; built by cargo in any case.
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let mut command = process::cargo(&xtask);
        command.args(["metadata", "--format-version", "1", "--no-deps"]);
        let metadata = Metadata::parse(&process::output(&mut command)?)?;
        Ok(Self { metadata })
    }

    /// The folder of the root manifest.
    pub fn root(&self) -> &Path {
        &self.metadata.workspace_root
    }

    /// A file or folder of the repository.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root().join(relative)
    }

    /// Where cargo builds.
    pub fn target(&self) -> &Path {
        &self.metadata.target_directory
    }

    /// A path as it is shown to people: relative to the root if it is below it.
    pub fn show<'path>(&self, path: &'path Path) -> std::path::Display<'path> {
        path.strip_prefix(self.root()).unwrap_or(path).display()
    }

    /// cargo, started at the root.
    pub fn cargo(&self) -> Command {
        process::cargo(self.root())
    }

    /// The text of a file of the repository.
    pub fn read(&self, relative: impl AsRef<Path>) -> anyhow::Result<String> {
        let path = self.path(&relative);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", self.show(&path)))
    }

    /// The files that git tracks or would add, as paths relative to the root with `/` between the parts.
    pub fn files(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut command = Command::new("git");
        command.current_dir(self.root()).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
        ]);
        let output = process::output(&mut command).context("the list of files comes from git")?;
        let exists = |file: &&str| self.path(file).symlink_metadata().is_ok();
        Ok(output
            .split('\0')
            .filter(|file| !file.is_empty())
            .filter(exists)
            .map(str::to_owned)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Metadata};

    #[test]
    fn the_three_kinds_of_dependency_are_told_apart() {
        let metadata = Metadata::parse(
            r#"{"packages": [{"name": "a", "manifest_path": "/w/a/Cargo.toml", "dependencies": [
                {"name": "n", "kind": null}, {"name": "b", "kind": "build"}, {"name": "d", "kind": "dev"}
            ]}], "target_directory": "/w/target", "workspace_root": "/w"}"#,
        )
        .expect("the text is well formed");
        let kinds: Vec<Kind> = metadata.packages[0]
            .dependencies
            .iter()
            .map(|dependency| dependency.kind)
            .collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Build, Kind::Dev]);
    }

    #[test]
    fn an_unknown_kind_of_dependency_is_an_error_and_not_a_normal_one() {
        let result = Metadata::parse(
            r#"{"packages": [{"name": "a", "manifest_path": "/w/a/Cargo.toml", "dependencies": [
                {"name": "n", "kind": "later"}
            ]}], "target_directory": "/w/target", "workspace_root": "/w"}"#,
        );
        assert!(result.is_err());
    }
}
