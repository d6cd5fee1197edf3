//! What an archive says the hash of an object is.

use std::fmt;

use crate::digest::hex;

/// A hash as an archive observed it.
///
/// ```
/// use cavra_domain::archive::ArchiveHash;
///
/// let bare = ArchiveHash::parse(&"AB".repeat(32));
/// assert_eq!(bare, ArchiveHash::parse(&format!(" sha256:{} ", "ab".repeat(32))));
/// assert_eq!(bare, ArchiveHash::Sha256([0xab; 32]));
/// assert_eq!(ArchiveHash::parse(""), ArchiveHash::Missing);
/// assert_eq!(ArchiveHash::parse("etag-17"), ArchiveHash::Malformed);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveHash {
    /// Nothing was given.
    Missing,
    /// A SHA-256.
    Sha256([u8; 32]),
    /// A hash for which two files with the same value can be made: it identifies nothing in front of somebody
    /// hostile.
    Weak {
        /// `md5` or `sha1`.
        algorithm: &'static str,
        /// Its value, lower-case hexadecimal.
        digest: String,
    },
    /// Anything else.
    Malformed,
}

/// An algorithm, the names by which it may be given, and the number of its hexadecimal digits.
const ALGORITHMS: [(&str, [&str; 2], usize); 3] = [
    (SHA256, ["sha256:", "sha-256:"], 64),
    ("sha1", ["sha1:", "sha-1:"], 40),
    ("md5", ["md5:", "md-5:"], 32),
];
const SHA256: &str = "sha256";

impl ArchiveHash {
    /// Reads free text, trimmed and without regard to upper and lower case: `sha256:` and 64 hexadecimal digits, or
    /// the digits alone; `sha1:` with 40 and `md5:` with 32 likewise. `sha-256:` and the like are read too.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Missing;
        }
        for (algorithm, prefixes, digits) in ALGORITHMS {
            let named = prefixes.iter().find_map(|prefix| behind(text, prefix));
            let digest = named.unwrap_or(text);
            let hexadecimal = digest.len() == digits && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            match (hexadecimal, algorithm == SHA256) {
                (true, true) => return bytes(digest).map_or(Self::Malformed, Self::Sha256),
                (true, false) => {
                    return Self::Weak {
                        algorithm,
                        digest: digest.to_ascii_lowercase(),
                    };
                }
                (false, _) if named.is_some() => return Self::Malformed,
                (false, _) => {}
            }
        }
        Self::Malformed
    }

    /// Algorithm and value, of a hash that has them.
    pub(super) fn parts(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Sha256(value) => Some((SHA256, hex(value))),
            Self::Weak { algorithm, digest } => Some((algorithm, digest.clone())),
            Self::Missing | Self::Malformed => None,
        }
    }
}

/// What follows a prefix, in whatever case that is written.
fn behind<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The bytes that 64 hexadecimal digits write.
fn bytes(digits: &str) -> Option<[u8; 32]> {
    let nibble = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let mut value = [0; 32];
    for (byte, pair) in value.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = nibble(high)? << 4 | nibble(low)?;
    }
    Some(value)
}

/// A readable hash as documents keep it: algorithm, colon, lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedHash(String);

impl ObservedHash {
    /// The hash that a text gives; `None` when it is missing or malformed.
    pub fn of(hash: &ArchiveHash) -> Option<Self> {
        hash.parts()
            .map(|(algorithm, digest)| Self(format!("{algorithm}:{digest}")))
    }

    /// The hash as text: `sha256:`, `sha1:` or `md5:` and the digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObservedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sha_256_is_read_in_upper_and_lower_case_with_and_without_its_name() {
        let lower = "0123456789abcdef".repeat(4);
        let read = ArchiveHash::parse(&lower);
        assert!(matches!(read, ArchiveHash::Sha256(value) if value[0] == 0x01 && value[31] == 0xef));
        for text in [
            lower.to_uppercase(),
            format!("sha256:{lower}"),
            format!("SHA-256:{}", lower.to_uppercase()),
            format!("\t sha256:{lower} \n"),
        ] {
            assert_eq!(ArchiveHash::parse(&text), read, "{text}");
        }
        assert_eq!(
            ObservedHash::of(&read).unwrap().to_string(),
            format!("sha256:{lower}")
        );
    }

    #[test]
    fn md5_and_sha_1_are_weak_whether_they_are_named_or_told_by_their_length() {
        for (algorithm, digits) in [("md5", 32), ("sha1", 40)] {
            let digest = "a".repeat(digits);
            let weak = ArchiveHash::Weak {
                algorithm,
                digest: digest.clone(),
            };
            assert_eq!(ArchiveHash::parse(&digest), weak);
            assert_eq!(
                ArchiveHash::parse(&format!("{algorithm}:{digest}").to_uppercase()),
                weak
            );
            assert_eq!(
                ObservedHash::of(&weak).unwrap().as_str(),
                format!("{algorithm}:{digest}")
            );
        }
    }

    #[test]
    fn white_space_is_a_missing_hash_and_anything_else_is_malformed() {
        for text in ["", " ", "\t\n"] {
            assert_eq!(ArchiveHash::parse(text), ArchiveHash::Missing);
        }
        let sha256 = "a".repeat(64);
        for text in [
            "sha256:",
            "sha256",
            "none",
            "\"etag\"",
            &format!("sha256: {sha256}"),
            &format!("sha256:sha256:{sha256}"),
            &format!("md5:{sha256}"),
            &format!("sha256:{}", "a".repeat(40)),
            &format!("sha512:{}", "a".repeat(128)),
            &"a".repeat(63),
            &"a".repeat(65),
            &"g".repeat(64),
            &"é".repeat(32),
            &format!("+{}", "a".repeat(63)),
        ] {
            assert_eq!(ArchiveHash::parse(text), ArchiveHash::Malformed, "{text}");
            assert_eq!(ObservedHash::of(&ArchiveHash::parse(text)), None);
        }
    }

    proptest! {
        #[test]
        fn a_hash_as_written_reads_as_the_same_hash(value in any::<[u8; 32]>()) {
            let hash = ArchiveHash::Sha256(value);
            let written = ObservedHash::of(&hash).unwrap();
            prop_assert_eq!(ArchiveHash::parse(written.as_str()), hash);
        }

        #[test]
        fn no_text_stops_the_reading(text in any::<String>()) {
            let read = ArchiveHash::parse(&text);
            prop_assert_eq!(read == ArchiveHash::Missing, text.trim().is_empty());
        }
    }
}
