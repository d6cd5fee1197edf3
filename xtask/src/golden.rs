//! Files that the program itself writes, committed so that a change of the interface shows in a diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use crate::no_problems;
use crate::process;
use crate::workspace::Workspace;

/// The OpenAPI document.
pub const OPENAPI: &str = "docs/openapi.json";

/// One file per document's JSON Schema.
pub const SCHEMAS: &str = "docs/schemas";

/// With which features `cavra` is built: those of the packages that are built with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// As `cargo run -p cavra` builds it: quick, and other crates may be broken meanwhile.
    Alone,
    /// As `cargo test --workspace` has built it: nothing to compile after that.
    AsTested,
}

/// Builds `cavra` and returns the path of the program.
pub fn build_cavra(workspace: &Workspace, build: Build) -> anyhow::Result<PathBuf> {
    self::build(workspace, build, "cavra")
}

/// Builds a program and returns its path.
pub fn build(workspace: &Workspace, build: Build, name: &str) -> anyhow::Result<PathBuf> {
    let mut command = workspace.cargo();
    command
        .arg("build")
        .arg("--message-format=json-render-diagnostics");
    match build {
        Build::Alone => command.args(["--package", name, "--bin", name]),
        Build::AsTested => command.args(["--workspace", "--lib", "--bins", "--tests", "--examples"]),
    };
    program_in(&process::output(&mut command)?, name)
        .with_context(|| format!("`{}` built no program called {name}", process::describe(&command)))
}

/// The path of a program in cargo's messages, one JSON object per line.
fn program_in(messages: &str, name: &str) -> Option<PathBuf> {
    let path = |message: &Value| {
        let target = message.get("target")?;
        let is_meant = target.get("name")? == name
            && target.get("kind")?.as_array()?.iter().any(|kind| kind == "bin")
            && message.pointer("/profile/test")? == false;
        is_meant.then_some(())?;
        message.get("executable")?.as_str().map(PathBuf::from)
    };
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| path(&message))
        .next_back()
}

/// `cargo xtask openapi`.
pub fn openapi(workspace: &Workspace, build: Build, check: bool) -> anyhow::Result<()> {
    let document = printed_by_cavra(workspace, build, "openapi")?;
    let files = BTreeMap::from([(PathBuf::from(OPENAPI), pretty(&document)?)]);
    settle(workspace.root(), &files, &[], "openapi", check)
}

/// `cargo xtask schemas`.
pub fn schemas(workspace: &Workspace, build: Build, check: bool) -> anyhow::Result<()> {
    let Value::Object(schemas) = printed_by_cavra(workspace, build, "schemas")? else {
        bail!("`cavra schemas` prints one JSON object, from a document's name to its schema");
    };
    let files = schema_files(&schemas)?;
    let stale = stale_schemas(&workspace.path(SCHEMAS), &files)?;
    settle(workspace.root(), &files, &stale, "schemas", check)
}

fn printed_by_cavra(workspace: &Workspace, build: Build, subcommand: &str) -> anyhow::Result<Value> {
    let program = build_cavra(workspace, build)?;
    let mut command = Command::new(program);
    command.current_dir(workspace.root()).arg(subcommand);
    serde_json::from_str(&process::output(&mut command)?)
        .with_context(|| format!("`cavra {subcommand}` printed something that is not one JSON document"))
}

/// The files' own layout, whatever the program prints: a diff shows changes of content only.
fn pretty(value: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn schema_files(schemas: &Map<String, Value>) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    if schemas.is_empty() {
        bail!("`cavra schemas` printed no schema");
    }
    let file = |(name, schema): (&String, &Value)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            bail!("`cavra schemas` printed the name `{name}`, which cannot be a file's");
        }
        Ok((Path::new(SCHEMAS).join(format!("{name}.json")), pretty(schema)?))
    };
    schemas.iter().map(file).collect()
}

/// Schemas in `folder` of documents that do not exist any more.
fn stale_schemas(folder: &Path, files: &BTreeMap<PathBuf, String>) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = Path::new(SCHEMAS).join(entry?.file_name());
        if path.extension().is_some_and(|extension| extension == "json") && !files.contains_key(&path) {
            stale.push(path);
        }
    }
    stale.sort();
    Ok(stale)
}

/// Compares the files below `root` with what they should be, or writes them.
fn settle(
    root: &Path,
    files: &BTreeMap<PathBuf, String>,
    stale: &[PathBuf],
    subcommand: &str,
    check: bool,
) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    let mut written = 0;
    for (name, wanted) in files {
        let path = root.join(name);
        let found = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", name.display())),
        };
        if found.as_deref() == Some(wanted.as_str()) {
            continue;
        }
        if check {
            problems.push(match found {
                None => format!("{} is missing", name.display()),
                Some(found) => format!("{} differs\n{}", name.display(), first_difference(&found, wanted)),
            });
        } else {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&path, wanted).with_context(|| format!("cannot write {}", name.display()))?;
            println!("wrote {}", name.display());
            written += 1;
        }
    }
    for name in stale {
        if check {
            problems.push(format!("{} belongs to no document", name.display()));
        } else {
            std::fs::remove_file(root.join(name))
                .with_context(|| format!("cannot remove {}", name.display()))?;
            println!("removed {}", name.display());
            written += 1;
        }
    }
    no_problems(
        &problems,
        &format!("run `cargo xtask {subcommand}`, read the diff and commit it"),
    )?;
    if written == 0 {
        println!(
            "{} up to date",
            if files.len() == 1 {
                "1 file is"
            } else {
                "all files are"
            }
        );
    }
    Ok(())
}

/// The first lines that differ, with what stands before them.
fn first_difference(found: &str, wanted: &str) -> String {
    const BEFORE: usize = 3;
    const SHOWN: usize = 8;
    let (found, wanted): (Vec<&str>, Vec<&str>) = (found.lines().collect(), wanted.lines().collect());
    let same = found
        .iter()
        .zip(&wanted)
        .take_while(|(found, wanted)| found == wanted)
        .count();
    // Where both end alike, what lies between is what was changed.
    let same_end = found
        .iter()
        .rev()
        .zip(wanted.iter().rev())
        .take_while(|(found, wanted)| found == wanted)
        .count();
    let same_end = same_end.min(found.len() - same).min(wanted.len() - same);
    let between = |lines: &[&str], mark: char| {
        let lines = lines.get(same..lines.len() - same_end).unwrap_or_default();
        let mut text = String::new();
        for line in lines.iter().take(SHOWN) {
            let _ = writeln!(text, "    {mark} {line}");
        }
        if lines.len() > SHOWN {
            let _ = writeln!(text, "    {mark} ... and {} more lines", lines.len() - SHOWN);
        }
        text
    };
    let mut text = format!(
        "    first difference in line {} (- committed, + generated):\n",
        same + 1
    );
    for line in found.iter().take(same).skip(same.saturating_sub(BEFORE)) {
        let _ = writeln!(text, "      {line}");
    }
    text += &between(&found, '-');
    text += &between(&wanted, '+');
    if same == found.len() && same == wanted.len() {
        text += "    only the line ends or the end of the file\n";
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::{first_difference, program_in, schema_files, settle, stale_schemas};

    #[test]
    fn the_program_is_found_among_the_messages_and_its_tests_are_not_mistaken_for_it() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"cavra","kind":["bin"]},"profile":{"test":false},"executable":"/t/cavra"}
{"reason":"compiler-artifact","target":{"name":"cavra","kind":["bin"]},"profile":{"test":true},"executable":"/t/deps/cavra-1"}
{"reason":"compiler-artifact","target":{"name":"cavra_http","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(program_in(messages, "cavra"), Some(PathBuf::from("/t/cavra")));
        assert_eq!(
            program_in("{\"reason\":\"build-finished\",\"success\":true}", "cavra"),
            None
        );
    }

    #[test]
    fn a_difference_is_shown_from_its_first_line_on() {
        let found = "a\nb\nc\nd\ne\nf\ng\n";
        let wanted = "a\nb\nc\nd\nX\nY\nf\ng\n";
        assert_eq!(
            first_difference(found, wanted),
            "    first difference in line 5 (- committed, + generated):\n      b\n      c\n      d\n    - e\n    + X\n    + Y"
        );
    }

    #[test]
    fn a_long_difference_is_cut_and_repeated_lines_do_not_confuse_it() {
        let found = "a\n".repeat(2);
        let wanted = "a\n".repeat(22);
        let text = first_difference(&found, &wanted);
        assert!(text.contains("+ ... and 12 more lines"), "{text}");
        assert!(!text.contains("    - "), "{text}");
        assert!(first_difference("a\n", "a").ends_with("only the line ends or the end of the file"));
    }

    #[test]
    fn writing_makes_the_check_pass_and_removes_what_is_stale() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let schemas = json!({"package": {"type": "object"}, "route": {"type": "object"}});
        let files = schema_files(schemas.as_object().expect("it is one")).expect("the names are good");
        let check = |check| {
            let stale =
                stale_schemas(&root.path().join("docs/schemas"), &files).expect("the folder can be read");
            settle(root.path(), &files, &stale, "schemas", check)
        };
        assert!(check(true).is_err());
        check(false).expect("the files are written");
        check(true).expect("they are what they should be");
        std::fs::write(root.path().join("docs/schemas/gone.json"), "{}").expect("the file is written");
        assert!(check(true).is_err());
        check(false).expect("the stale file is removed");
        assert!(!root.path().join("docs/schemas/gone.json").exists());
        check(true).expect("they are what they should be");
    }

    #[test]
    fn a_schema_name_cannot_lead_out_of_its_folder() {
        for name in ["", "../x", "a/b", ".hidden"] {
            let schemas = serde_json::Map::from_iter([(name.to_owned(), json!({}))]);
            assert!(schema_files(&schemas).is_err(), "{name}");
        }
        let none: BTreeMap<PathBuf, String> = BTreeMap::new();
        assert_eq!(
            stale_schemas(Path::new("/no/such/folder"), &none).expect("that is fine"),
            Vec::<PathBuf>::new()
        );
    }
}
