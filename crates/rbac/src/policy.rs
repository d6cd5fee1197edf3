//! The RBAC file, and the one decision: who may do what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cavra_domain::public_safe::{Field, Text};
use serde::Deserialize;
use serde_json::Value;

use crate::file::{ConfigError, Source};
use crate::identity::Identity;
use crate::permission::{Permission, Role};

/// A group as an identity provider names it.
pub(crate) const GROUP: Field = Field::line("groups", 200);

/// Where somebody wants to act. Rights hold for the whole service today; the argument is there so that a narrower
/// scope, once there is one, cannot be forgotten by a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that the service keeps.
    Service,
}

/// The caller lacks the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied(
    /// What was needed.
    pub Permission,
);

/// The caller has the permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The groups that give it; evidence keeps them.
    pub groups: Vec<Text>,
}

/// Who may do what: groups of the provider, mapped to roles, and what the roles may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The provider's group -> the name that it is mapped to.
    mappings: BTreeMap<String, (Text, String)>,
    roles: BTreeMap<String, BTreeSet<Permission>>,
    rules: Vec<RepositoryRule>,
}

/// A published rule about approvals. Approvals have no part in this service: rules are read and shown, and give
/// no right here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRule {
    /// The repository; none for any.
    pub repository: Option<String>,
    /// The approver group; none for any.
    pub approver_group: Option<String>,
    /// What the rule lets do.
    pub actions: Vec<String>,
    /// Who must hold one of these groups.
    pub groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    group_mappings: BTreeMap<String, String>,
    roles: Option<BTreeMap<String, Vec<String>>>,
    repository_permissions: Option<Vec<FileRule>>,
    repositories: Option<Vec<FileRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    repository: Option<String>,
    approver_group: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    actions: Option<Vec<String>>,
}

/// Published verbs and their meaning.
const ACTIONS: [(&str, &str); 6] = [
    ("approved", "approved"),
    ("denied", "denied"),
    ("expired", "expired"),
    ("approve", "approved"),
    ("deny", "denied"),
    ("expire", "expired"),
];

impl Policy {
    /// Reads an RBAC file.
    ///
    /// # Errors
    /// [`ConfigError`] names the key at fault.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let source = Source::new(path);
        let mut value = source.value()?;
        // Published files may wrap everything in one key.
        if let Value::Object(members) = &mut value
            && members.len() == 1
            && let Some(inner) = members.remove("approval_rbac")
        {
            value = inner;
        }
        let file: File = source.read(value)?;
        Self::from_file(&source, file)
    }

    fn from_file(source: &Source, file: File) -> Result<Self, ConfigError> {
        let mut roles: BTreeMap<String, BTreeSet<Permission>> = Role::ALL
            .iter()
            .map(|role| {
                let all = Permission::ALL.iter().copied();
                (
                    role.as_str().to_owned(),
                    all.filter(|one| role.has(*one)).collect(),
                )
            })
            .collect();
        for (role, names) in file.roles.unwrap_or_default() {
            let place = format!("roles.{}", shown(&role));
            if names.is_empty() {
                return Err(source.key(place, "lists no permission; leave the role out instead"));
            }
            let mut permissions = BTreeSet::new();
            for name in names {
                let Some(permission) = Permission::parse(&name) else {
                    let known: Vec<&str> = Permission::ALL.iter().map(|one| one.as_str()).collect();
                    let problem = format!("names no permission; there are {}", known.join(", "));
                    return Err(source.key(format!("{place}[`{}`]", shown(&name)), problem));
                };
                permissions.insert(permission);
            }
            roles.insert(role, permissions);
        }
        if file.group_mappings.is_empty() {
            return Err(source.key(
                "group_mappings",
                "maps no group to a role, so nobody could do anything",
            ));
        }
        let mut mappings = BTreeMap::new();
        for (group, role) in file.group_mappings {
            let place = format!("group_mappings.{}", shown(&group));
            if group.trim().is_empty() || role.trim().is_empty() {
                return Err(source.key(place, "is empty, or maps to nothing"));
            }
            let text = Text::parse(GROUP, &group).map_err(|error| {
                source.key(
                    place,
                    format!("cannot stand in evidence: {}", error.kind.explanation()),
                )
            })?;
            mappings.insert(group, (text, role));
        }
        let listed = match (file.repository_permissions, file.repositories) {
            (Some(_), Some(_)) => {
                return Err(source.key(
                    "repositories",
                    "is another name of `repository_permissions`; give one",
                ));
            }
            (Some(listed), None) | (None, Some(listed)) => listed,
            (None, None) => Vec::new(),
        };
        let published = listed
            .into_iter()
            .enumerate()
            .map(|(index, rule)| rule.checked(source, index))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            mappings,
            roles,
            rules: published,
        })
    }

    /// Mapped groups whose name is no role here: they give no right. Published files have such names, for the
    /// approvals of other parts.
    pub fn unknown_roles(&self) -> BTreeSet<&str> {
        self.mappings
            .values()
            .map(|(_, role)| role.as_str())
            .filter(|role| !self.roles.contains_key(*role))
            .collect()
    }

    /// Whether the actor may do it there. Nothing is allowed that no mapped group of the actor allows.
    ///
    /// # Errors
    /// [`Denied`] when not.
    pub fn decide(&self, actor: &Identity, permission: Permission, scope: Scope) -> Result<Grant, Denied> {
        let Scope::Service = scope;
        let groups: Vec<Text> = actor
            .groups()
            .filter_map(|group| self.mappings.get(group))
            .filter(|(_, role)| {
                self.roles
                    .get(role)
                    .is_some_and(|role| role.contains(&permission))
            })
            .map(|(group, _)| group.clone())
            .collect();
        if groups.is_empty() {
            Err(Denied(permission))
        } else {
            Ok(Grant { groups })
        }
    }

    /// The actor's groups that are mapped to anything.
    pub fn mapped_groups(&self, actor: &Identity) -> Vec<Text> {
        let mapped = actor.groups().filter_map(|group| self.mappings.get(group));
        mapped.map(|(group, _)| group.clone()).collect()
    }

    /// The roles that those groups stand for, each once; names that are no role here are left out.
    pub fn roles(&self, actor: &Identity) -> BTreeSet<&str> {
        actor
            .groups()
            .filter_map(|group| self.mappings.get(group))
            .map(|(_, role)| role.as_str())
            .filter(|role| self.roles.contains_key(*role))
            .collect()
    }

    /// The published rules about approvals that the actor matches, by mapped groups only.
    pub fn matching_rules(&self, actor: &Identity) -> Vec<&RepositoryRule> {
        let held: BTreeSet<&str> = actor
            .groups()
            .filter_map(|group| self.mappings.get(group))
            .map(|(_, name)| name.as_str())
            .collect();
        let matches = |rule: &&RepositoryRule| rule.groups.iter().any(|group| held.contains(group.as_str()));
        self.rules.iter().filter(matches).collect()
    }
}

impl FileRule {
    fn checked(self, source: &Source, index: usize) -> Result<RepositoryRule, ConfigError> {
        let place = |key: &str| format!("repository_permissions[{index}].{key}");
        let given = self
            .actions
            .unwrap_or_else(|| vec!["approved".to_owned(), "denied".to_owned()]);
        let mut actions = Vec::new();
        for action in given {
            let known = ACTIONS.iter().find(|(name, _)| *name == action);
            let Some((_, action)) = known else {
                return Err(source.key(place("actions"), "must be of approved, denied, expired"));
            };
            if !actions.contains(&(*action).to_owned()) {
                actions.push((*action).to_owned());
            }
        }
        Ok(RepositoryRule {
            repository: self.repository,
            approver_group: self.approver_group,
            actions,
            groups: self.groups,
        })
    }
}

/// A name of the file as an error may repeat it.
fn shown(name: &str) -> String {
    Text::parse(Field::line("key", 80), name).map_or_else(
        |_| "(a name that is not shown)".to_owned(),
        |name| name.as_str().to_owned(),
    )
}
