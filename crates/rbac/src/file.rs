//! Reading identity files: JSON or YAML, strictly, and with errors that name the key and repeat no value.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

/// Largest identity file: a JWKS with certificates is some kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why an identity file stops the start.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is neither JSON nor YAML, or says something twice.
    #[error("`{}` is not valid {format}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// `JSON` or `YAML`.
        format: &'static str,
        /// Where and why, without the file's values.
        reason: String,
    },
    /// A key is unknown, missing, or has a value that cannot be used.
    #[error("`{}`: `{key}` {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key at fault, with its place.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A file that names its problems.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
}

impl Source {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// A problem of one key.
    pub(crate) fn key(&self, key: impl Into<String>, problem: impl Into<String>) -> ConfigError {
        ConfigError::Key {
            path: self.path.clone(),
            key: key.into(),
            problem: problem.into(),
        }
    }

    /// A path in this file is relative to its folder.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        self.path
            .parent()
            .map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// The file's value: YAML by its name's ending, else JSON.
    pub(crate) fn value(&self) -> Result<Value, ConfigError> {
        let text = self.text()?;
        let yaml = self
            .path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("yaml") || ending.eq_ignore_ascii_case("yml"));
        if yaml {
            // Duplicate keys and tags that would build types are errors; the library bounds aliases and depth.
            serde_saphyr::from_str(&text).map_err(|error| self.syntax("YAML", yaml_reason(&error)))
        } else {
            cavra_evidence::strict::parse_str(&text).map_err(|error| self.syntax("JSON", error.to_string()))
        }
    }

    /// The file's text, as long as an identity file may be.
    pub(crate) fn text(&self) -> Result<String, ConfigError> {
        let read = || {
            let mut text = String::new();
            File::open(&self.path)?
                .take(MAX_BYTES + 1)
                .read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| ConfigError::Read {
            path: self.path.clone(),
            source,
        })?;
        if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
            return Err(self.syntax("configuration", format!("it is larger than {MAX_BYTES} bytes")));
        }
        Ok(text)
    }

    fn syntax(&self, format: &'static str, reason: String) -> ConfigError {
        ConfigError::Syntax {
            path: self.path.clone(),
            format,
            reason,
        }
    }

    /// Reads a value into what it should be.
    pub(crate) fn read<T: DeserializeOwned>(&self, value: Value) -> Result<T, ConfigError> {
        if value.as_object().is_none_or(serde_json::Map::is_empty) {
            return Err(self.key("(the whole file)", "must be an object with at least one key"));
        }
        serde_path_to_error::deserialize(value).map_err(|error| {
            let message = error.inner().to_string();
            // The path ends with the key at fault, also when the key itself is.
            let place = error.path().to_string();
            if message.starts_with("unknown field") {
                let known = message.split_once("expected ").map_or("", |(_, known)| known);
                return self.key(place, format!("is not a key of this file; it may have {known}"));
            }
            if let Some(rest) = message.strip_prefix("missing field `") {
                return self.key(rest.split('`').next().unwrap_or_default(), "is missing");
            }
            // The message repeats the value, and a value may be a secret; only what was expected is safe to say.
            let expected = message
                .rsplit_once("expected ")
                .map_or("of another type", |(_, expected)| expected);
            self.key(place, format!("must be {expected}"))
        })
    }
}

/// The first line of the library's message: where and why. The lines below it quote the file.
fn yaml_reason(error: &serde_saphyr::Error) -> String {
    error
        .without_snippet()
        .to_string()
        .lines()
        .next()
        .unwrap_or("it cannot be read")
        .chars()
        .filter(|character| !character.is_control())
        .take(200)
        .collect()
}
