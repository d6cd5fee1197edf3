//! Who did something, as evidence keeps it (contract decisions 10).

use schemars::JsonSchema;
use serde::Serialize;

use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::route::MAX_NAME_CHARS;

/// Issuer of the names that are given in open local mode, where nobody verifies them.
pub const LOCAL_ISSUER: &str = "local";

/// Issuer of the names of callers who may read without a token.
pub const ANONYMOUS_ISSUER: &str = "anonymous";

/// The person or system behind an action.
///
/// A verified actor is a pair of issuer and subject out of a token; a local one is only what the request says,
/// and the record says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Actor {
    /// Display name.
    pub actor: Text,
    /// The subject within the issuer.
    pub subject: Text,
    /// Who vouches for the subject; `local` in open local mode.
    pub issuer: Text,
    /// The groups that gave the right to act.
    pub groups: Vec<Text>,
    /// Always null here; published clients read the key.
    pub repository: Option<Text>,
    /// Whether a token proved it.
    pub verified: bool,
}

impl Actor {
    /// The actor of open local mode: the name in the request, unverified.
    ///
    /// # Errors
    /// [`NotPublicSafe`] when the name is.
    pub fn local(field: &'static str, name: &str) -> Result<Self, NotPublicSafe> {
        Self::unverified(LOCAL_ISSUER, field, name)
    }

    /// Somebody without a token, where readers need none: the name in the request, unverified. Only answers show
    /// it; nothing is written for such a caller.
    ///
    /// # Errors
    /// [`NotPublicSafe`] when the name is.
    pub fn anonymous(field: &'static str, name: &str) -> Result<Self, NotPublicSafe> {
        Self::unverified(ANONYMOUS_ISSUER, field, name)
    }

    fn unverified(issuer: &str, field: &'static str, name: &str) -> Result<Self, NotPublicSafe> {
        let name = Text::parse(Field::line(field, MAX_NAME_CHARS), name.trim())?;
        Ok(Self {
            subject: name.clone(),
            actor: name,
            issuer: Text::parse(Field::line("issuer", MAX_NAME_CHARS), issuer)?,
            groups: Vec::new(),
            repository: None,
            verified: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_local_actor_is_only_what_the_request_says() {
        assert_eq!(
            json!(Actor::local("acknowledged_by", " Ana Ünal ").unwrap()),
            json!({
                "actor": "Ana Ünal", "subject": "Ana Ünal", "issuer": "local", "groups": [], "repository": null,
                "verified": false,
            })
        );
    }

    #[test]
    fn a_local_name_that_is_not_public_safe_is_refused_under_the_name_of_its_field() {
        for name in ["password=hunter2", "a\nb", &"x".repeat(MAX_NAME_CHARS + 1)] {
            assert_eq!(
                Actor::local("acknowledged_by", name).unwrap_err().field,
                "acknowledged_by"
            );
        }
    }
}
