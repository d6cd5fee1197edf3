//! Small rules about files.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::Context as _;
use toml::{Table, Value};

use crate::no_problems;
use crate::workspace::Workspace;

/// A larger file belongs somewhere else: everybody who clones gets it for ever.
const LARGEST_BYTES: u64 = 500 * 1000;

/// Text that no Rust file contains. In two parts, because this is a Rust file.
const UNFINISHED: &[(&str, &str)] = &[
    (concat!("to", "do!("), "unfinished code"),
    (concat!("unimpl", "emented!("), "unfinished code"),
    (concat!("#[ig", "nore"), "a test that does not run"),
];

/// Where a nested `clippy.toml` has to be.
const DOMAIN_CLIPPY: &str = "crates/domain/clippy.toml";

/// `cargo xtask tidy`.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let files = workspace.files()?;
    let mut problems = manifests(workspace)?;
    problems.extend(clippy_files(workspace, &files)?);
    for file in &files {
        let path = workspace.path(file);
        let kind = path.symlink_metadata()?;
        if !kind.is_file() {
            continue;
        }
        problems.extend(size_problem(file, kind.len()));
        let extension = extension(file);
        if !matches!(extension, Some("rs" | "md" | "toml")) {
            continue;
        }
        let text = workspace.read(file)?;
        problems.extend(whitespace_problems(file, &text));
        match extension {
            Some("rs") => problems.extend(unfinished_problems(file, &text)),
            Some("md") => problems.extend(link_problems(file, &text, &files)),
            _ => {}
        }
    }
    problems.extend(decisions(workspace, &files)?);
    no_problems(&problems, "each line says what to change")?;
    println!(
        "{} files of {} members are tidy",
        files.len(),
        workspace.metadata.packages.len()
    );
    Ok(())
}

fn extension(file: &str) -> Option<&str> {
    Path::new(file).extension()?.to_str()
}

fn table(file: &str, text: &str) -> anyhow::Result<Table> {
    text.parse::<Table>()
        .with_context(|| format!("cannot read {file}"))
}

fn manifests(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let root = table("Cargo.toml", &workspace.read("Cargo.toml")?)?;
    let mut problems = Vec::new();
    let mut members = Vec::new();
    for package in &workspace.metadata.packages {
        let file = workspace.show(&package.manifest_path).to_string();
        let manifest = table(&file, &workspace.read(&file)?)?;
        problems.extend(manifest_problems(&file, &manifest));
        members.push(manifest);
    }
    problems.extend(unused_dependencies(&root, &members));
    Ok(problems)
}

/// Whether the value under these keys is `{ workspace = true }`.
fn inherits(manifest: &Table, section: &str, key: Option<&str>) -> bool {
    let section = manifest.get(section);
    let value = match key {
        None => section,
        Some(key) => section.and_then(|section| section.get(key)),
    };
    value
        .and_then(|value| value.get("workspace"))
        .and_then(Value::as_bool)
        == Some(true)
}

/// What every member inherits.
fn manifest_problems(file: &str, manifest: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    if !inherits(manifest, "lints", None) {
        problems.push(format!("{file}: needs `[lints] workspace = true`"));
    }
    for key in ["edition", "publish"] {
        if !inherits(manifest, "package", Some(key)) {
            problems.push(format!("{file}: needs `{key}.workspace = true` in [package]"));
        }
    }
    problems
}

/// Entries of `[workspace.dependencies]` that no member takes.
fn unused_dependencies(root: &Table, members: &[Table]) -> Vec<String> {
    let used: BTreeSet<&str> = members.iter().flat_map(inherited_dependencies).collect();
    let offered = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    offered
        .into_iter()
        .flat_map(Table::keys)
        .filter(|name| !used.contains(name.as_str()))
        .map(|name| format!("Cargo.toml: no member uses `{name}` of [workspace.dependencies]: remove it"))
        .collect()
}

fn inherited_dependencies(manifest: &Table) -> Vec<&str> {
    const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values);
    let places = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    places
        .flat_map(|place| TABLES.iter().filter_map(|table| place.get(*table)?.as_table()))
        .flat_map(Table::iter)
        .filter(|(_, value)| value.get("workspace").and_then(Value::as_bool) == Some(true))
        .map(|(name, _)| name.as_str())
        .collect()
}

/// The nearest `clippy.toml` replaces the root's, so that a nested one has to repeat every ban.
fn clippy_files(workspace: &Workspace, files: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    let root = table("clippy.toml", &workspace.read("clippy.toml")?)?;
    let mut problems = Vec::new();
    if !files.contains(DOMAIN_CLIPPY) {
        problems.push(format!(
            "{DOMAIN_CLIPPY}: is missing; it keeps the domain free of I/O, clocks and hash order"
        ));
    }
    for file in files
        .iter()
        .filter(|file| file.ends_with("/clippy.toml") || file.ends_with("/.clippy.toml"))
    {
        let nested = table(file, &workspace.read(file)?)?;
        problems.extend(missing_bans(file, &root, &nested));
    }
    Ok(problems)
}

fn missing_bans(file: &str, root: &Table, nested: &Table) -> Vec<String> {
    let nested = bans(nested);
    bans(root)
        .into_iter()
        .filter(|ban| !nested.contains(ban))
        .map(|(key, path)| format!("{file}: does not repeat the root's ban of `{path}` in {key}"))
        .collect()
}

fn bans(clippy: &Table) -> BTreeSet<(&str, &str)> {
    fn path(entry: &Value) -> Option<&str> {
        entry.as_str().or_else(|| entry.get("path")?.as_str())
    }
    clippy
        .iter()
        .filter(|(key, _)| key.starts_with("disallowed-"))
        .flat_map(|(key, list)| {
            list.as_array()
                .into_iter()
                .flatten()
                .filter_map(move |entry| Some((key.as_str(), path(entry)?)))
        })
        .collect()
}

fn size_problem(file: &str, bytes: u64) -> Option<String> {
    (bytes > LARGEST_BYTES)
        .then(|| format!("{file}: {bytes} bytes; a file in git has at most {LARGEST_BYTES}"))
}

fn whitespace_problems(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, number) in text.split('\n').zip(1..) {
        if line.contains('\t') {
            problems.push(format!("{file}:{number}: a tab"));
        }
        if line.ends_with([' ', '\r', '\t']) {
            problems.push(format!("{file}:{number}: whitespace at the end of the line"));
        }
    }
    problems
}

fn unfinished_problems(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for (words, meaning) in UNFINISHED {
            if line.contains(words) {
                problems.push(format!("{file}:{number}: `{words}` is {meaning}"));
            }
        }
    }
    problems
}

/// Links of a Markdown file that lead to no file or folder of the repository. Links to other hosts are not looked at.
fn link_problems(file: &str, text: &str, files: &BTreeSet<String>) -> Vec<String> {
    let mut problems = Vec::new();
    for (number, link) in links(text) {
        let Some(path) = linked_path(&link) else { continue };
        let exists = resolve(file, &path).is_some_and(|target| {
            target.is_empty()
                || files.contains(&target)
                || files
                    .range(format!("{target}/")..)
                    .next()
                    .is_some_and(|next| next.starts_with(&format!("{target}/")))
        });
        if !exists {
            problems.push(format!(
                "{file}:{number}: the link `{link}` leads to nothing in this repository"
            ));
        }
    }
    problems
}

/// The path in a link, if it leads to a file at all.
fn linked_path(link: &str) -> Option<String> {
    let path = link.split(['#', '?']).next().unwrap_or_default();
    let has_scheme = path.split_once(':').is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    (!path.is_empty() && !has_scheme && !path.starts_with("//")).then(|| path.replace("%20", " "))
}

/// The path from the root, or none if it leads out of the repository. From the root if it starts with `/`.
fn resolve(file: &str, link: &str) -> Option<String> {
    let start = match link.strip_prefix('/') {
        Some(_) => Path::new(""),
        None => Path::new(file).parent()?,
    };
    let mut parts: Vec<&str> = Vec::new();
    let path = start.join(link.trim_start_matches('/'));
    for component in path.components() {
        match component {
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(parts.join("/"))
}

/// The links of a Markdown text with their line numbers: inline, by reference and in HTML; not those in code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for (line, number) in text.lines().zip(1..) {
        let start = line.trim_start();
        let marks = ["```", "~~~"].into_iter().find(|marks| start.starts_with(marks));
        match (fence, marks) {
            (None, Some(marks)) => fence = Some(marks),
            (Some(open), Some(marks)) if open == marks => fence = None,
            (Some(_), _) => {}
            (None, None) => links.extend(links_of_line(&without_code(line)).map(|link| (number, link))),
        }
    }
    links
}

fn links_of_line(line: &str) -> impl Iterator<Item = String> {
    let inline = line
        .match_indices("](")
        .filter_map(|(at, marks)| line.get(at + marks.len()..))
        .map(destination);
    let html = [r#"href=""#, r#"src=""#]
        .into_iter()
        .flat_map(|name| line.match_indices(name))
        .filter_map(|(at, name)| line.get(at + name.len()..)?.split('"').next());
    let reference = line
        .trim_start()
        .strip_prefix('[')
        .filter(|rest| !rest.starts_with('^'))
        .and_then(|rest| rest.split_once("]: "))
        .filter(|(label, _)| !label.contains(['[', ']']))
        .map(|(_, rest)| destination(rest));
    inline
        .chain(html)
        .chain(reference)
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// The destination at the start of this text: in angle brackets, or up to a space or the closing parenthesis.
fn destination(text: &str) -> &str {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('<') {
        return rest.split('>').next().unwrap_or_default();
    }
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 0 => return text.get(..at).unwrap_or_default(),
            ')' => open -= 1,
            c if c.is_whitespace() => return text.get(..at).unwrap_or_default(),
            _ => {}
        }
    }
    text
}

/// The line without its code spans: what stands between two runs of equally many backticks.
fn without_code(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let (before, code) = rest.split_at(at);
        kept.push_str(before);
        let inner = code.trim_start_matches('`');
        let marks = code.len() - inner.len();
        rest = match end_of_code(inner, marks) {
            Some(after) => after,
            None => inner,
        };
    }
    kept + rest
}

/// What follows the first run of exactly `marks` backticks.
fn end_of_code(text: &str, marks: usize) -> Option<&str> {
    let mut rest = text;
    loop {
        let run = rest.get(rest.find('`')?..)?;
        let after = run.trim_start_matches('`');
        if run.len() - after.len() == marks {
            return Some(after);
        }
        rest = after;
    }
}

/// A decision that its index does not list is not found by whoever is about to undo it.
fn decisions(workspace: &Workspace, files: &BTreeSet<String>) -> anyhow::Result<Vec<String>> {
    const INDEX: &str = "docs/adr/README.md";
    if !files.contains(INDEX) {
        return Ok(Vec::new());
    }
    Ok(unlisted(INDEX, &workspace.read(INDEX)?, files))
}

fn unlisted(index: &str, text: &str, files: &BTreeSet<String>) -> Vec<String> {
    let listed: BTreeSet<String> = links(text)
        .iter()
        .filter_map(|(_, link)| resolve(index, &linked_path(link)?))
        .collect();
    files
        .range("docs/adr/".to_owned()..)
        .take_while(|file| file.starts_with("docs/adr/"))
        .filter(|file| extension(file) == Some("md") && *file != index && !listed.contains(*file))
        .map(|file| format!("{index}: does not link to {file}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use toml::Table;

    use super::{
        link_problems, links, manifest_problems, missing_bans, size_problem, unfinished_problems, unlisted,
        unused_dependencies, whitespace_problems,
    };

    fn table(text: &str) -> Table {
        text.parse().expect("the text is TOML")
    }

    fn files(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_member_inherits_lints_edition_and_publish() {
        let good = "[package]\nedition.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true";
        assert_eq!(
            manifest_problems("a/Cargo.toml", &table(good)),
            Vec::<String>::new()
        );
        let bad = "[package]\nedition = \"2024\"\n[lints]\nworkspace = false";
        assert_eq!(
            manifest_problems("a/Cargo.toml", &table(bad)),
            [
                "a/Cargo.toml: needs `[lints] workspace = true`",
                "a/Cargo.toml: needs `edition.workspace = true` in [package]",
                "a/Cargo.toml: needs `publish.workspace = true` in [package]",
            ]
        );
    }

    #[test]
    fn a_workspace_dependency_is_used_by_some_member_in_some_table() {
        let root = table("[workspace.dependencies]\na = \"1\"\nb = \"1\"\nc = \"1\"\nd = \"1\"\ne = \"1\"");
        let members = [
            table("[dependencies]\na.workspace = true\n[dev-dependencies]\nb = { workspace = true }"),
            table(
                "[build-dependencies]\nd.workspace = true\n[target.'cfg(unix)'.dependencies]\nc.workspace = true",
            ),
            table("[dependencies]\ne = \"1\""),
        ];
        let found = unused_dependencies(&root, &members);
        assert_eq!(
            found,
            ["Cargo.toml: no member uses `e` of [workspace.dependencies]: remove it"]
        );
    }

    #[test]
    fn a_nested_clippy_toml_repeats_the_bans_of_the_root() {
        let root =
            table("disallowed-methods = [{ path = \"a::now\", reason = \"r\" }, \"b::now\"]\nallow-x = true");
        let good = table("disallowed-methods = [\"a::now\", { path = \"b::now\" }, \"c::now\"]");
        assert_eq!(missing_bans("c/clippy.toml", &root, &good), Vec::<String>::new());
        let bad = table("disallowed-types = [\"a::now\"]\ndisallowed-methods = [\"b::now\"]");
        assert_eq!(
            missing_bans("c/clippy.toml", &root, &bad),
            ["c/clippy.toml: does not repeat the root's ban of `a::now` in disallowed-methods"]
        );
    }

    #[test]
    fn a_file_may_be_as_large_as_the_limit() {
        assert_eq!(size_problem("a", 500_000), None);
        assert!(size_problem("a", 500_001).is_some());
    }

    #[test]
    fn whitespace_and_unfinished_code_are_found_with_their_lines() {
        assert_eq!(whitespace_problems("a.md", "a\n\nb\n"), Vec::<String>::new());
        assert_eq!(
            whitespace_problems("a.md", "a \n\tb\nc\r\n"),
            [
                "a.md:1: whitespace at the end of the line",
                "a.md:2: a tab",
                "a.md:3: whitespace at the end of the line"
            ]
        );
        let code = format!("fn a() {{\n    {}o!()\n}}\n// todo: words are fine\n", "tod");
        assert_eq!(unfinished_problems("a.rs", &code).len(), 1);
        assert_eq!(
            unfinished_problems("a.rs", &format!("#[{}]\nfn a() {{}}", "ignore")).len(),
            1
        );
    }

    #[test]
    fn links_are_found_where_markdown_has_them_and_not_in_code() {
        let text = "\
[a](one.md) ![b](<two words.png> \"title\") and `[c](no.md)` and ``[d](no`.md)`` [e](three_(x).md)
```
[f](no.md)
```
[g]: four.md \"title\"
[^1]: a footnote
<img src=\"five.png\"> a [lone bracket]: no, and a lone ` before [h](six.md)
";
        let found: Vec<(usize, String)> = links(text);
        let found: Vec<(usize, &str)> = found.iter().map(|(line, link)| (*line, link.as_str())).collect();
        assert_eq!(
            found,
            [
                (1, "one.md"),
                (1, "two words.png"),
                (1, "three_(x).md"),
                (5, "four.md"),
                (7, "six.md"),
                (7, "five.png"),
            ]
        );
    }

    #[test]
    fn a_link_leads_to_a_file_or_folder_of_the_repository() {
        let files = files(&["README.md", "docs/a b.md", "docs/adr/0001.md", "docs/x.md"]);
        let good = "[](adr/0001.md) [](../README.md#top) [](adr) [](adr/) [](..) [](/docs/x.md) [](#here) [](a%20b.md)
            [](https://example.org/x.md) [](mailto:a@example.org)";
        assert_eq!(link_problems("docs/x.md", good, &files), Vec::<String>::new());
        let bad = "[](adr/0002.md) [](../../main/README.md) [](ad) [](README.md)";
        assert_eq!(link_problems("docs/x.md", bad, &files).len(), 4);
    }

    #[test]
    fn the_index_of_decisions_links_to_every_one() {
        let files = files(&[
            "docs/adr/0001-a.md",
            "docs/adr/0002-b.md",
            "docs/adr/README.md",
            "docs/b.md",
        ]);
        let found = unlisted("docs/adr/README.md", "- [one](0001-a.md)\n- `0002-b.md`", &files);
        assert_eq!(found, ["docs/adr/README.md: does not link to docs/adr/0002-b.md"]);
    }
}
