//! The arrows between the crates: `docs/layers.txt` against the manifests.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail};

use crate::no_problems;
use crate::workspace::{Dependency, Kind, Metadata, Package, Workspace};

/// Where the rules are.
pub const RULES: &str = "docs/layers.txt";

/// What [`RULES`] says. The file explains its own format.
#[derive(Debug, Default)]
pub struct Rules {
    arrows: BTreeMap<String, Targets>,
    dev: BTreeMap<String, BTreeSet<String>>,
    only: Vec<Only>,
}

#[derive(Debug)]
enum Targets {
    Any,
    These(BTreeSet<String>),
}

/// An external crate that has a home.
#[derive(Debug)]
struct Only {
    pattern: String,
    members: BTreeSet<String>,
}

impl Only {
    fn covers(&self, external: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => external.starts_with(prefix),
            None => external == self.pattern,
        }
    }
}

impl Rules {
    /// Reads the file's text. Every line is understood or it is an error that shows its number.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut rules = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let rule = line.split_once('#').map_or(line, |(rule, _)| rule);
            let words: Vec<&str> = rule.split_whitespace().collect();
            rules
                .line(&words)
                .with_context(|| format!("{RULES}:{number}: `{}`", line.trim()))?;
        }
        Ok(rules)
    }

    fn line(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let names = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<BTreeSet<_>>();
        match words {
            [] => {}
            ["dev", from, "->", to @ ..] if !to.is_empty() => {
                if self.dev.insert((*from).to_owned(), names(to)).is_some() {
                    bail!("there is already a `dev` line for `{from}`");
                }
            }
            ["only", external, "in", members @ ..] if !members.is_empty() => {
                self.only.push(Only {
                    pattern: (*external).to_owned(),
                    members: names(members),
                });
            }
            [from, "->", to @ ..] => {
                let targets = if to == ["*"] {
                    Targets::Any
                } else {
                    Targets::These(names(to))
                };
                if self.arrows.insert((*from).to_owned(), targets).is_some() {
                    bail!("there is already a line for `{from}`");
                }
            }
            _ => bail!("this is neither `A -> B C`, nor `dev A -> B`, nor `only E in A B`"),
        }
        Ok(())
    }

    /// Compares the rules with the manifests. Each problem is one line that names both ends.
    pub fn problems(&self, metadata: &Metadata) -> Vec<String> {
        let members: BTreeSet<&str> = metadata
            .packages
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        let mut problems = self.strangers(&members);
        for package in &metadata.packages {
            if !self.arrows.contains_key(&package.name) {
                problems.push(format!(
                    "`{}` is a member that {RULES} does not know: give it a line",
                    package.name
                ));
                continue;
            }
            for dependency in &package.dependencies {
                problems.extend(self.refusal(&members, package, dependency));
            }
        }
        problems.sort();
        problems.dedup();
        problems
    }

    /// Names in the file that are no member: a misspelt rule protects nothing.
    fn strangers(&self, members: &BTreeSet<&str>) -> Vec<String> {
        let mut named: BTreeMap<&str, &str> = BTreeMap::new();
        for (from, to) in &self.arrows {
            named.insert(from, from);
            if let Targets::These(to) = to {
                named.extend(to.iter().map(|to| (to.as_str(), from.as_str())));
            }
        }
        named.extend(self.dev.keys().map(|from| (from.as_str(), from.as_str())));
        for only in &self.only {
            named.extend(
                only.members
                    .iter()
                    .map(|member| (member.as_str(), only.pattern.as_str())),
            );
        }
        named
            .into_iter()
            .filter(|(name, _)| !members.contains(name))
            .map(|(name, line)| {
                format!("{RULES} names `{name}` in the line of `{line}`, but it is no member")
            })
            .collect()
    }

    fn refusal(
        &self,
        members: &BTreeSet<&str>,
        package: &Package,
        dependency: &Dependency,
    ) -> Option<String> {
        let (from, to) = (package.name.as_str(), dependency.name.as_str());
        let is_dev = dependency.kind == Kind::Dev;
        let table = match dependency.kind {
            Kind::Normal => "[dependencies]",
            Kind::Build => "[build-dependencies]",
            Kind::Dev => "[dev-dependencies]",
        };
        if is_dev && (from == to || self.dev.get(from).is_some_and(|wider| wider.contains(to))) {
            return None;
        }
        if members.contains(to) {
            let allowed = match self.arrows.get(from)? {
                Targets::Any => true,
                Targets::These(targets) => targets.contains(to),
            };
            return (!allowed)
                .then(|| format!("`{from}` -> `{to}` in its {table} is not an arrow of {RULES}"));
        }
        let home = self
            .only
            .iter()
            .find(|only| only.covers(to) && !only.members.contains(from))?;
        let members = home
            .members
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        Some(format!(
            "`{from}` -> `{to}` in its {table}: {RULES} keeps `{}` in {members}",
            home.pattern
        ))
    }
}

/// The problems of the real workspace, and how many arrows were looked at.
pub fn check(workspace: &Workspace) -> anyhow::Result<(Vec<String>, usize)> {
    let rules = Rules::parse(&workspace.read(RULES)?)?;
    let seen = workspace
        .metadata
        .packages
        .iter()
        .map(|package| package.dependencies.len())
        .sum();
    Ok((rules.problems(&workspace.metadata), seen))
}

/// `cargo xtask layers`.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let (problems, seen) = check(workspace)?;
    no_problems(
        &problems,
        "remove the dependency, or change docs/layers.txt and say there why",
    )?;
    println!(
        "{seen} dependencies of {} members agree with {RULES}",
        workspace.metadata.packages.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Rules;
    use crate::workspace::Metadata;

    const RULES: &str = "
        domain ->                # knows nobody
        storage -> domain
        http -> domain
        tool -> *
        dev http -> storage rusqlite
        only rusqlite in storage
        only actix-* in http
    ";

    /// `(member, [(dependency, kind)])` as cargo metadata would print it.
    fn problems(packages: &[(&str, &[(&str, &str)])]) -> Vec<String> {
        problems_with(RULES, packages)
    }

    fn problems_with(rules: &str, packages: &[(&str, &[(&str, &str)])]) -> Vec<String> {
        let packages: Vec<String> = packages
            .iter()
            .map(|(name, dependencies)| {
                let dependencies: Vec<String> = dependencies
                    .iter()
                    .map(|(name, kind)| format!(r#"{{"name": "{name}", "kind": {kind}}}"#))
                    .collect();
                let dependencies = dependencies.join(",");
                format!(r#"{{"name": "{name}", "manifest_path": "/w/m", "dependencies": [{dependencies}]}}"#)
            })
            .collect();
        let packages = packages.join(",");
        let json =
            format!(r#"{{"packages": [{packages}], "target_directory": "/w/t", "workspace_root": "/w"}}"#);
        let metadata = Metadata::parse(&json).expect("the fake metadata is well formed");
        Rules::parse(rules)
            .expect("the rules are well formed")
            .problems(&metadata)
    }

    #[test]
    fn allowed_arrows_are_fine_whether_used_or_not() {
        let found = problems(&[
            ("domain", &[("serde", "null")]),
            ("storage", &[("domain", "null"), ("rusqlite", "null")]),
            ("http", &[("actix-web", "null")]),
            ("tool", &[("domain", "null"), ("storage", "\"build\"")]),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_forbidden_arrow_is_found_in_every_table_and_names_both_ends() {
        for (kind, table) in [
            ("null", "dependencies"),
            ("\"build\"", "build-dependencies"),
            ("\"dev\"", "dev-dependencies"),
        ] {
            let found = problems(&[
                ("domain", &[("storage", kind)]),
                ("storage", &[]),
                ("http", &[]),
                ("tool", &[]),
            ]);
            assert_eq!(
                found,
                [format!(
                    "`domain` -> `storage` in its [{table}] is not an arrow of docs/layers.txt"
                )]
            );
        }
    }

    #[test]
    fn a_crate_with_a_home_is_refused_elsewhere_also_by_prefix() {
        let found = problems(&[
            ("domain", &[("actix-rt", "null")]),
            ("storage", &[("actix", "null")]),
            ("http", &[("rusqlite", "null")]),
            ("tool", &[]),
        ]);
        assert_eq!(
            found,
            [
                "`domain` -> `actix-rt` in its [dependencies]: docs/layers.txt keeps `actix-*` in http",
                "`http` -> `rusqlite` in its [dependencies]: docs/layers.txt keeps `rusqlite` in storage",
            ]
        );
    }

    #[test]
    fn a_dev_line_widens_the_tests_and_nothing_else() {
        let wide: &[(&str, &str)] = &[("storage", "\"dev\""), ("rusqlite", "\"dev\"")];
        assert_eq!(
            problems(&[("domain", &[]), ("storage", &[]), ("http", wide), ("tool", &[])]),
            Vec::<String>::new()
        );
        let normal: &[(&str, &str)] = &[("storage", "null")];
        assert_eq!(
            problems(&[("domain", &[]), ("storage", &[]), ("http", normal), ("tool", &[])]).len(),
            1
        );
    }

    #[test]
    fn a_member_without_a_line_is_an_error_and_so_is_a_line_without_a_member() {
        let found = problems(&[("domain", &[]), ("storage", &[]), ("tool", &[]), ("console", &[])]);
        assert_eq!(
            found,
            [
                "`console` is a member that docs/layers.txt does not know: give it a line",
                "docs/layers.txt names `http` in the line of `actix-*`, but it is no member",
            ]
        );
    }

    #[test]
    fn a_line_that_is_not_understood_is_an_error_with_its_number() {
        for (text, number) in [
            ("a ->\nb => a", 2),
            ("only rusqlite a", 1),
            ("dev a ->", 1),
            ("a ->\n\na -> b", 3),
        ] {
            let error = Rules::parse(text).expect_err(text);
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("docs/layers.txt:{number}: ")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_member_may_depend_on_itself_in_its_tests() {
        assert_eq!(
            problems_with("a ->", &[("a", &[("a", "\"dev\"")])]),
            Vec::<String>::new()
        );
    }
}
