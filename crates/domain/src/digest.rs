//! SHA-256 over texts, the same way everywhere.

use sha2::{Digest, Sha256};

/// SHA-256 over texts. Each has its length in bytes in front, as a big-endian 64-bit number, which keeps ("ab", "c")
/// apart from ("a", "bc").
pub(crate) fn sha256_of<'a>(parts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| {
        char::from(if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        })
    };
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(digit(byte >> 4));
        hex.push(digit(byte & 0x0f));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_text_ends_and_the_next_begins_matters() {
        assert_ne!(sha256_of(["ab", "c"]), sha256_of(["a", "bc"]));
        assert_ne!(sha256_of(["ab"]), sha256_of(["ab", ""]));
    }

    #[test]
    fn the_digest_is_that_of_lengths_and_texts_in_turn() {
        let by_hand = Sha256::digest(b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\x01c");
        assert_eq!(hex(&sha256_of(["ab", "c"])), hex(&by_hand));
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
    }
}
