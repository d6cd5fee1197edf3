//! SHA-256 digests (FIPS 180-4): of bytes at hand, or of bytes that pass by.
//!
//! ```
//! use std::io::Write as _;
//! use cavra_evidence::digest::{Digest, DigestWriter};
//!
//! let mut writer = DigestWriter::new();
//! writer.write_all(b"a")?;
//! writer.write_all(b"bc")?;
//! assert_eq!(writer.finish(), Digest::of("abc"));
//! assert_eq!(
//!     Digest::of("abc").to_string(),
//!     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
//! );
//! # Ok::<(), std::io::Error>(())
//! ```

use std::{fmt, io, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

const BYTES: usize = 32;
const HEX_DIGITS: usize = 2 * BYTES;
const PREFIX: &str = "sha256:";

/// A SHA-256 digest: 32 bytes, written as 64 lower-case hexadecimal digits, also by serde.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; BYTES]);

/// Why a text is not a SHA-256 digest. Does not repeat the text: it comes from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// Not 64 digits long (a SHA-1 digest has 40, an MD5 digest 32).
    #[error("a SHA-256 digest has {HEX_DIGITS} hexadecimal digits, not {found}")]
    Length {
        /// Number of bytes after the optional prefix.
        found: usize,
    },
    /// Something that is not a hexadecimal digit.
    #[error("not a hexadecimal digit at byte {offset} of the digest")]
    NotHex {
        /// Byte offset after the optional prefix.
        offset: usize,
    },
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes the 32 bytes of a digest made earlier.
    pub const fn from_bytes(bytes: [u8; BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits, without a prefix.
    pub fn to_hex(&self) -> String {
        self.0
            .iter()
            .flat_map(|byte| [hex_digit(byte >> 4), hex_digit(byte & 0x0f)])
            .collect()
    }

    /// Reads 64 hexadecimal digits of either case, with or without `sha256:` in front.
    ///
    /// # Errors
    /// [`DigestError`], when the length is wrong or a character is no hexadecimal digit.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(PREFIX).unwrap_or(text);
        if hex.len() != HEX_DIGITS {
            return Err(DigestError::Length { found: hex.len() });
        }
        let mut bytes = [0; BYTES];
        for (offset, char) in hex.char_indices() {
            let nibble = hex_value(char).ok_or(DigestError::NotHex { offset })?;
            if let Some(byte) = bytes.get_mut(offset / 2) {
                *byte = *byte << 4 | nibble;
            }
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + nibble - 10
    })
}

fn hex_value(char: char) -> Option<u8> {
    char.to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Digests what is written to it and keeps nothing else. Does no I/O; writing never fails.
#[derive(Clone, Debug, Default)]
pub struct DigestWriter(Sha256);

impl DigestWriter {
    /// A writer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The digest of everything written.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl io::Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::of([]).to_hex(), OF_NOTHING);
        assert_eq!(DigestWriter::new().finish().to_string(), OF_NOTHING);
        assert_eq!(format!("{:?}", Digest::of([])), format!("Digest({OF_NOTHING})"));
    }

    #[test]
    fn prefix_and_upper_case_are_read_but_not_written() {
        let digest = Digest::of([]);
        assert_eq!(Digest::parse(&format!("sha256:{OF_NOTHING}")), Ok(digest));
        assert_eq!(OF_NOTHING.to_uppercase().parse(), Ok(digest));
        assert_eq!(
            serde_json::to_string(&digest).unwrap(),
            format!("\"{OF_NOTHING}\"")
        );
    }

    #[test]
    fn what_is_no_sha_256_is_refused_with_the_reason() {
        assert_eq!(Digest::parse(""), Err(DigestError::Length { found: 0 }));
        assert_eq!(
            Digest::parse(&"a".repeat(40)),
            Err(DigestError::Length { found: 40 })
        );
        assert_eq!(
            Digest::parse(&format!(" {OF_NOTHING}")),
            Err(DigestError::Length { found: 65 })
        );
        assert_eq!(
            Digest::parse(&format!("SHA256:{OF_NOTHING}")),
            Err(DigestError::Length { found: 71 })
        );
        assert_eq!(
            Digest::parse(&format!("{}g", "0".repeat(63))),
            Err(DigestError::NotHex { offset: 63 })
        );
        assert_eq!(
            Digest::parse(&"é".repeat(32)),
            Err(DigestError::NotHex { offset: 0 })
        );
        let refused = serde_json::from_str::<Digest>("\"sha1:00\"")
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("a SHA-256 digest has 64 hexadecimal digits, not 7"),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn a_digest_survives_its_hex_form(bytes in any::<[u8; 32]>()) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.as_bytes(), &bytes);
            prop_assert_eq!(Digest::parse(&digest.to_hex()), Ok(digest));
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        }

        #[test]
        fn digests_sort_as_their_hex_forms(a in any::<[u8; 32]>(), b in any::<[u8; 32]>()) {
            let (a, b) = (Digest::from_bytes(a), Digest::from_bytes(b));
            prop_assert_eq!(a.cmp(&b), a.to_hex().cmp(&b.to_hex()));
        }

        #[test]
        fn writing_in_pieces_gives_the_digest_of_the_whole(pieces: Vec<Vec<u8>>) {
            let mut writer = DigestWriter::new();
            for piece in &pieces {
                writer.write_all(piece).unwrap();
            }
            prop_assert_eq!(writer.finish(), Digest::of(pieces.concat()));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            let _ = Digest::parse(&text);
        }
    }
}
