//! The one form in which evidence is hashed and stored: canonical JSON, RFC 8785 (JCS).
//!
//! Keys sorted by UTF-16 code unit, no white space, numbers as ECMAScript prints them. The text is written by
//! `serde_json_canonicalizer`. That crate rounds integers beyond 2^53 silently; RFC 8785 section 3.1 wants
//! I-JSON, so here a document with such a number is refused, and with it everything else that [`strict`]
//! would not read back.
//!
//! ```
//! use cavra_evidence::canonical::canonical_json;
//!
//! #[derive(serde::Serialize)]
//! struct Delivery<'a> {
//!     provider: &'a str,
//!     attempt_count: u64,
//! }
//!
//! let text = canonical_json(&Delivery { provider: "slack", attempt_count: 2 })?;
//! assert_eq!(text, r#"{"attempt_count":2,"provider":"slack"}"#);
//! assert!(canonical_json(&Delivery { provider: "slack", attempt_count: 1 << 53 }).is_err());
//! # Ok::<(), cavra_evidence::canonical::CanonicalError>(())
//! ```

use std::cmp::Ordering;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::strict::{self, MAX_DEPTH, StrictError};

/// Why a document has no canonical form.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// The document cannot be written as JSON: its `Serialize` failed, a key is not a string or comes twice,
    /// or a number is not finite.
    #[error("cannot be written as canonical JSON")]
    Serialize(#[source] serde_json::Error),
    /// Written, but outside the bounds of strict reading: a number beyond ±(2^53 - 1), or nested too deep.
    #[error("outside the bounds of canonical JSON")]
    OutOfBounds(#[source] StrictError),
}

/// The canonical form of a document (RFC 8785). [`strict::parse`] reads it back.
///
/// # Errors
/// [`CanonicalError`]; for a number out of range it carries the JSON pointer.
pub fn canonical_json<T: Serialize>(value: &T) -> Result<String, CanonicalError> {
    check(serde_json_canonicalizer::to_string(value).map_err(CanonicalError::Serialize)?)
}

/// Refuses a canonical text that strict reading would not take back.
fn check(text: String) -> Result<String, CanonicalError> {
    if may_be_out_of_bounds(&text) {
        strict::parse_str(&text).map_err(CanonicalError::OutOfBounds)?;
    }
    Ok(text)
}

/// The canonical form of a JSON value, checked as by [`canonical_json`]: a value that came from
/// [`strict::parse`] and was not changed since always has one.
///
/// # Errors
/// [`CanonicalError`], for a value that was made or changed in another way.
pub fn canonical_value(value: &Value) -> Result<String, CanonicalError> {
    if has_float(value) {
        return canonical_json(value);
    }
    let text = serde_json::to_string(&Sorted(value)).map_err(CanonicalError::Serialize)?;
    check(text)
}

/// Whether a number in the value needs ECMAScript's way of printing.
fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(members) => members.values().any(has_float),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// A value whose objects are written with their keys in canonical order. `serde_json` writes strings, integers and
/// literals as RFC 8785 wants them, so without floats nothing else is needed; a property test holds the result
/// against the crate. It takes less than half the crate's time, and every record passes here.
struct Sorted<'a>(&'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(Sorted)),
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by(|(a, _), (b, _)| utf16_order(a, b));
                serializer.collect_map(sorted.into_iter().map(|(key, value)| (key, Sorted(value))))
            }
            plain => plain.serialize(serializer),
        }
    }
}

/// RFC 8785 3.2.3. Among ASCII keys bytes sort as UTF-16 code units do.
fn utf16_order(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// Whether a canonical text needs a closer look; never false for one that is out of bounds. Looking at the
/// output loses nothing: a number out of range is still out of range after rounding, and has 16 digits in a
/// row or `e+`.
fn may_be_out_of_bounds(canonical: &str) -> bool {
    const DIGITS_OF_MAX_SAFE_INTEGER: usize = 16;
    let (mut in_string, mut escaped) = (false, false);
    let (mut depth, mut digits) = (0_usize, 0_usize);
    for byte in canonical.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if digits == DIGITS_OF_MAX_SAFE_INTEGER || byte == b'+' || depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::strict::tests::any_document;

    fn canonical(text: &str) -> String {
        canonical_value(&strict::parse_str(text).unwrap()).unwrap()
    }

    /// The pointer of the number that was refused.
    fn refused_number<T: Serialize>(value: &T) -> String {
        match canonical_json(value) {
            Err(CanonicalError::OutOfBounds(StrictError::NumberOutOfRange { pointer })) => pointer,
            other => panic!("not refused for a number: {other:?}"),
        }
    }

    /// RFC 8785 sections 3.2.2 to 3.2.4; its `1E30` is beyond our bound and has a test of its own.
    #[test]
    fn the_example_of_rfc_8785_comes_out_as_printed_there() {
        let text = r#"{
            "numbers": [333333333.33333329, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let expected = concat!(
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,4.5,0.002,1e-27],"#,
            r#""string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
        assert_eq!(canonical(text), expected);
    }

    #[test]
    fn the_number_1e30_of_the_rfc_example_is_refused_by_reader_and_writer() {
        assert!(strict::parse_str(r#"{"numbers": [4.5, 1E30]}"#).is_err());
        assert_eq!(refused_number(&json!({"numbers": [4.5, 1e30]})), "/numbers/1");
    }

    /// RFC 8785 section 3.2.3: UTF-16 puts the emoji (D83D DE00) before U+FB33, code points would not.
    #[test]
    fn keys_are_sorted_by_utf_16_code_unit() {
        let text = r#"{
            "\u20ac": "Euro Sign",
            "\r": "Carriage Return",
            "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One",
            "\ud83d\ude00": "Emoji: Grinning Face",
            "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#;
        let expected = concat!(
            r#"{"\r":"Carriage Return","1":"One","#,
            "\"\u{80}\":\"Control\",",
            r#""ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","#,
            "\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        );
        assert_eq!(canonical(text), expected);
    }

    /// RFC 8785 appendix B. Beyond 2^53 - 1 the writer underneath prints what the RFC says and we refuse.
    #[test]
    fn the_number_samples_of_rfc_8785_come_out_as_printed_there_or_are_refused() {
        let in_range = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        let beyond = [
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
        ];
        for (bits, text) in in_range {
            assert_eq!(canonical_json(&f64::from_bits(bits)).unwrap(), text, "{bits:x}");
        }
        for (bits, text) in beyond {
            let number = f64::from_bits(bits);
            assert_eq!(
                serde_json_canonicalizer::to_string(&number).unwrap(),
                text,
                "{bits:x}"
            );
            assert_eq!(refused_number(&number), "", "{text}");
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                matches!(canonical_json(&number), Err(CanonicalError::Serialize(_))),
                "{number}"
            );
        }
    }

    /// See `fixtures/canonical/README.md`.
    #[test]
    fn numbers_are_written_as_an_ecmascript_engine_writes_them() {
        let lines = include_str!("../../../fixtures/canonical/numbers.txt");
        let mut count = 0;
        for line in lines.lines() {
            let (bits, text) = line.split_once(',').unwrap();
            let number = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
            assert_eq!(canonical_json(&number).unwrap(), text, "{bits}");
            // As a record's number goes: read from text, written again.
            assert_eq!(canonical(&format!("[{number:e}]")), format!("[{text}]"), "{bits}");
            count += 1;
        }
        assert_eq!(count, 6_000);
    }

    /// The vectors that RFC 8785 names in its appendix F (`testdata` of `cyberphone/json-canonicalization`). `values` is
    /// the example of section 3.2.2, above.
    #[test]
    fn the_test_vectors_of_rfc_8785_come_out() {
        let vectors = [
            (
                "arrays",
                r#"[ 56, { "d": true, "10": null, "1": [ ] } ]"#,
                r#"[56,{"1":[],"10":null,"d":true}]"#,
            ),
            (
                "french",
                r#"{ "peach": "This sorting order", "péché": "is wrong according to French",
                     "pêche": "but canonicalization MUST", "sin":   "ingnore locale" }"#,
                concat!(
                    r#"{"peach":"This sorting order","péché":"is wrong according to French","#,
                    r#""pêche":"but canonicalization MUST","sin":"ingnore locale"}"#
                ),
            ),
            (
                "structures",
                r#"{ "1": {"f": {"f": "hi","F": 5} ,"\n": 56.0}, "10": { }, "": "empty", "a": { }, "111": [ { } ], "A": { } }"#,
                r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{}],"A":{},"a":{}}"#,
            ),
            (
                "unicode",
                r#"{ "Unnormalized Unicode":"\u1e0d\u0307" }"#,
                "{\"Unnormalized Unicode\":\"\u{1e0d}\u{307}\"}",
            ),
            (
                "weird",
                r#"{ "\u20ac": "Euro Sign", "\r": "Carriage Return", "\u000a": "Newline", "1": "One",
                     "\u0080": "Control\u007f", "\ud83d\ude02": "Smiley",
                     "\u00f6": "Latin Small Letter O With Diaeresis",
                     "\ufb33": "Hebrew Letter Dalet With Dagesh", "</script>": "Browser Challenge" }"#,
                concat!(
                    r#"{"\n":"Newline","\r":"Carriage Return","1":"One","</script>":"Browser Challenge","#,
                    "\"\u{80}\":\"Control\u{7f}\",",
                    r#""ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","#,
                    "\"😂\":\"Smiley\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}"
                ),
            ),
        ];
        for (name, text, expected) in vectors {
            assert_eq!(canonical(text), expected, "{name}");
        }
    }

    #[test]
    fn integers_of_every_type_are_refused_beyond_two_to_the_53() {
        const MAX: i64 = 9_007_199_254_740_991;
        assert_eq!(canonical_json(&MAX).unwrap(), "9007199254740991");
        assert_eq!(canonical_json(&-MAX).unwrap(), "-9007199254740991");
        assert_eq!(
            refused_number(&BTreeMap::from([("a/b", vec![0, MAX + 1])])),
            "/a~1b/1"
        );
        assert_eq!(refused_number(&[-MAX - 1]), "/0");
        assert_eq!(refused_number(&u64::MAX), "");
        assert_eq!(refused_number(&i128::MIN), "");
        assert_eq!(refused_number(&(i128::from(u64::MAX) + 1)), "");
    }

    #[test]
    fn minus_zero_and_whole_floats_come_out_as_integers() {
        assert_eq!(canonical("[-0, -0.0, 0, 1.0, 10e2, 1E-7]"), "[0,0,0,1,1000,1e-7]");
    }

    #[test]
    fn digits_and_brackets_inside_strings_are_no_reason_to_refuse() {
        let text = r#"{"[[\"{{\\":"99999999999999999999 1e+99 \\\" [[["}"#;
        assert_eq!(canonical(text), text);
        assert!(!may_be_out_of_bounds(text));
    }

    #[test]
    fn a_document_that_could_not_be_read_back_is_not_written() {
        fn nested(levels: usize) -> Value {
            (1..levels).fold(json!([]), |inner, _| json!([inner]))
        }
        assert!(canonical_value(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(
            canonical_value(&nested(MAX_DEPTH + 1)),
            Err(CanonicalError::OutOfBounds(StrictError::TooDeep { .. }))
        ));
    }

    #[test]
    fn a_flattened_key_that_comes_twice_is_refused() {
        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(flatten)]
            more: BTreeMap<&'static str, u8>,
        }
        let twice = Twice {
            a: 1,
            more: BTreeMap::from([("a", 2)]),
        };
        assert!(matches!(
            canonical_json(&twice),
            Err(CanonicalError::Serialize(_))
        ));
    }

    /// The same document with the members of every object in another order.
    fn reordered(value: &Value, by: usize) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| reordered(item, by)).collect(),
            Value::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|(key, member)| (key.clone(), reordered(member, by)))
                    .collect();
                members.reverse();
                let middle = by % members.len().max(1);
                members.rotate_left(middle);
                Value::Object(members.into_iter().collect())
            }
            leaf => leaf.clone(),
        }
    }

    proptest! {
        #[test]
        fn our_writer_and_the_crate_agree_on_every_value(value in any_document()) {
            prop_assert_eq!(canonical_value(&value).unwrap(), canonical_json(&value).unwrap());
        }

        #[test]
        fn reading_canonical_text_and_writing_it_again_changes_nothing(document in any_document()) {
            let text = canonical_value(&document).unwrap();
            let read = strict::parse_str(&text).unwrap();
            prop_assert_eq!(canonical_value(&read).unwrap(), text);
        }

        #[test]
        fn the_order_of_keys_makes_no_difference(document in any_document(), by in 0..6_usize) {
            let other = canonical_value(&reordered(&document, by)).unwrap();
            prop_assert_eq!(canonical_value(&document).unwrap(), other);
        }

        #[test]
        fn whatever_was_read_strictly_has_a_canonical_form(bytes in r#"[\[\]{},:"\\0-9eE+. a-]{0,30}"#) {
            if let Ok(value) = strict::parse_str(&bytes) {
                prop_assert!(canonical_value(&value).is_ok());
            }
        }

        #[test]
        fn a_number_is_written_exactly_if_it_can_be_read_strictly(number in any::<f64>()) {
            let readable = strict::parse_str(&json!([number]).to_string()).is_ok() && number.is_finite();
            prop_assert_eq!(canonical_json(&[number]).is_ok(), readable);
        }

        #[test]
        fn an_integer_is_written_exactly_if_it_is_safe(integer in any::<i64>(), shift in 0..64_u32) {
            let integer = integer >> shift;
            let written = canonical_json(&integer).ok();
            let safe = integer.unsigned_abs() <= strict::MAX_SAFE_INTEGER;
            prop_assert_eq!(written, safe.then(|| integer.to_string()));
        }
    }
}
