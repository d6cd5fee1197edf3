//! Strict JSON reading for everything that will be hashed or stored.
//!
//! `serde_json` keeps the last of duplicate keys and turns long integers into doubles; canonical JSON would
//! then digest something that the sender did not write. This reader holds input to I-JSON (RFC 7493, sections
//! 2.1 to 2.3) and a bound on depth, and refuses instead of repairing:
//!
//! - text that is not UTF-8, and escapes of lone surrogates;
//! - the same key twice in one object, compared after unescaping;
//! - numbers beyond ±[`MAX_SAFE_INTEGER`], however they are written (`1e300` too: every double out there is
//!   an integer);
//! - containers nested deeper than [`MAX_DEPTH`];
//! - anything but white space after the value.
//!
//! `-0` is accepted; its canonical form is `0`. A fraction with more digits than a double holds is rounded to
//! the nearest double, and one too small for a double becomes zero. Noncharacters such as U+FFFE, which RFC
//! 7493 section 2.1 also excludes, are accepted.
//!
//! `serde_json`'s `arbitrary_precision` must stay off: it hands numbers over as maps, past the range check.
//!
//! ```
//! use cavra_evidence::strict::{self, StrictError};
//!
//! let refused = strict::parse(br#"{"routes": [{"owner": "a", "owner": "b"}]}"#);
//! assert_eq!(
//!     refused,
//!     Err(StrictError::DuplicateKey { key: "owner".into(), pointer: "/routes/0".into() })
//! );
//! ```

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, map::Entry};

/// The largest magnitude of a number, 2^53 - 1 (RFC 7493 section 2.2): not every integer beyond is a double.
pub const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// How deep arrays and objects may nest; the outermost container is level 1.
pub const MAX_DEPTH: usize = 64;

const MAX_SAFE_FLOAT: f64 = 9_007_199_254_740_991.0;

/// How many characters of a key an error shows.
const SHOWN_KEY_CHARS: usize = 60;

/// What serde carries up while the fault itself waits in the [`Trail`].
const REFUSED: &str = "refused by strict reading";

/// Why a text was refused. Says where, and never repeats the input except for key names, which are shortened
/// to 60 characters with control characters escaped.
///
/// `pointer` is a JSON pointer (RFC 6901) to the place, empty for the whole document; `line` counts from 1
/// and `column` is the byte within that line, as `serde_json` reports them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// The bytes are not UTF-8 from this byte offset on.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Number of bytes before the first invalid one.
        offset: usize,
    },
    /// Not JSON (RFC 8259), or the text ends too early.
    #[error("{reason} at line {line} column {column}")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// Byte within the line.
        column: usize,
        /// What the grammar expected; a fixed phrase, never a piece of the input.
        reason: String,
    },
    /// A `\uD800` to `\uDFFF` escape without its other half (RFC 7493 section 2.1).
    #[error("lone surrogate escape at line {line} column {column}")]
    LoneSurrogate {
        /// Line of the fault, from 1.
        line: usize,
        /// Byte within the line.
        column: usize,
    },
    /// Something other than white space follows the value.
    #[error("data after the JSON value at line {line} column {column}")]
    TrailingData {
        /// Line of the fault, from 1.
        line: usize,
        /// Byte within the line.
        column: usize,
    },
    /// An object has the same key twice (RFC 7493 section 2.3).
    #[error("duplicate key `{key}` in the object at `{pointer}`")]
    DuplicateKey {
        /// The key, unescaped and shortened.
        key: String,
        /// The object that has it twice.
        pointer: String,
    },
    /// A number beyond ±(2^53 - 1), or beyond what a double holds (RFC 7493 section 2.2).
    #[error("number at `{pointer}` is beyond ±(2^53 - 1)")]
    NumberOutOfRange {
        /// The number.
        pointer: String,
    },
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at `{pointer}`")]
    TooDeep {
        /// The container that is one level too deep.
        pointer: String,
    },
}

/// Reads one JSON value from bytes. Time and memory are linear in the length of the input.
///
/// # Errors
/// [`StrictError`], for the first thing that is refused.
pub fn parse(bytes: &[u8]) -> Result<Value, StrictError> {
    let text = std::str::from_utf8(bytes).map_err(|error| StrictError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    parse_str(text)
}

/// Reads one JSON value from text, as [`parse`] does.
///
/// # Errors
/// [`StrictError`], for the first thing that is refused.
pub fn parse_str(text: &str) -> Result<Value, StrictError> {
    let mut trail = Trail::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = match (Node {
        trail: &mut trail,
        depth: 0,
    })
    .deserialize(&mut reader)
    {
        Ok(value) => value,
        Err(error) => return Err(trail.explain(&error)),
    };
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(StrictError::TrailingData {
            line: error.line(),
            column: error.column(),
        }),
    }
}

/// An object read strictly whose one long list stays text.
#[derive(Clone, Debug)]
pub struct Around<'a> {
    /// The other members; also the one that was to be the list, when it is none.
    pub members: Map<String, Value>,
    /// The elements of the list, each as it is written; none when there is no such member or it is no list.
    pub list: Option<Vec<&'a RawValue>>,
}

/// Reads an object as [`parse_str`] does, and keeps the elements of the list `name` as text, so that memory holds one
/// of their values at a time. Anything but an object has no members.
///
/// # Errors
/// [`StrictError`]; places inside an element of the list count from that element.
pub fn parse_around<'a>(text: &'a str, name: &str) -> Result<Around<'a>, StrictError> {
    let mut trail = Trail::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let outer = Outer {
        trail: &mut trail,
        name,
    };
    let (mut members, member) = match reader.deserialize_map(outer) {
        Ok(read) => read,
        Err(error) => return Err(trail.explain(&error)),
    };
    reader.end().map_err(|error| StrictError::TrailingData {
        line: error.line(),
        column: error.column(),
    })?;
    let Some(member) = member else {
        return Ok(Around { members, list: None });
    };
    let inside = |text: &str, depth| {
        let mut trail = Trail::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let node = Node {
            trail: &mut trail,
            depth,
        };
        node.deserialize(&mut reader)
            .map_err(|error| trail.explain(&error))
    };
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(member.get()) else {
        members.insert(name.to_owned(), inside(member.get(), 1)?);
        return Ok(Around { members, list: None });
    };
    for element in &list {
        inside(element.get(), 2)?;
    }
    Ok(Around {
        members,
        list: Some(list),
    })
}

/// Reads the object of [`parse_around`].
struct Outer<'t> {
    trail: &'t mut Trail,
    name: &'t str,
}

impl<'de> Visitor<'de> for Outer<'_> {
    type Value = (Map<String, Value>, Option<&'de RawValue>);

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut member) = (Map::new(), None);
        while let Some(key) = access.next_key::<String>()? {
            if members.contains_key(&key) || (key == self.name && member.is_some()) {
                return Err(self.trail.refuse(Fault::DuplicateKey(shown(&key))));
            }
            if key == self.name {
                member = Some(access.next_value()?);
                continue;
            }
            let node = Node {
                trail: &mut *self.trail,
                depth: 1,
            };
            match access.next_value_seed(node) {
                Ok(value) => drop(members.insert(key, value)),
                Err(error) => {
                    self.trail.inside_out.push(shown(&key));
                    return Err(error);
                }
            }
        }
        Ok((members, member))
    }
}

/// A value read strictly, for callers that stream: deserialise each element of a long array as `Strict` and
/// each is checked as [`parse`] checks a whole text (depth and pointers count from the element).
///
/// Refusals travel as serde errors with the text of the [`StrictError`]. Meant for `serde_json`'s text
/// readers: what was a [`Value`] before has already lost its duplicate keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut trail = Trail::default();
        match (Node {
            trail: &mut trail,
            depth: 0,
        })
        .deserialize(deserializer)
        {
            Ok(value) => Ok(Self(value)),
            Err(error) => match trail.take_fault() {
                // The suffix is serde_json's " at line 1 column 2": it reads it back from a custom message.
                Some(fault) => {
                    let position = error.to_string();
                    let position = position.strip_prefix(REFUSED).unwrap_or_default();
                    Err(de::Error::custom(format_args!("{fault}{position}")))
                }
                None => Err(error),
            },
        }
    }
}

/// What was refused, and the way to it: tokens are pushed while the error travels outwards, so that reading
/// something acceptable pays nothing for them.
#[derive(Default)]
struct Trail {
    fault: Option<Fault>,
    inside_out: Vec<String>,
}

enum Fault {
    DuplicateKey(String),
    NumberOutOfRange,
    TooDeep,
}

impl Trail {
    fn refuse<E: de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom(REFUSED)
    }

    fn pointer(&self) -> String {
        let mut pointer = String::new();
        for token in self.inside_out.iter().rev() {
            pointer.push('/');
            pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }

    fn take_fault(&mut self) -> Option<StrictError> {
        let pointer = self.pointer();
        self.fault.take().map(|fault| match fault {
            Fault::DuplicateKey(key) => StrictError::DuplicateKey { key, pointer },
            Fault::NumberOutOfRange => StrictError::NumberOutOfRange { pointer },
            Fault::TooDeep => StrictError::TooDeep { pointer },
        })
    }

    /// `serde_json` tells its syntax errors apart only by their text; the tests below hold these phrases.
    fn explain(mut self, error: &serde_json::Error) -> StrictError {
        if let Some(fault) = self.take_fault() {
            return fault;
        }
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text
            .strip_suffix(&format!(" at line {line} column {column}"))
            .unwrap_or(&text);
        match reason {
            "number out of range" => StrictError::NumberOutOfRange {
                pointer: self.pointer(),
            },
            "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
                StrictError::LoneSurrogate { line, column }
            }
            _ => StrictError::Syntax {
                line,
                column,
                reason: reason.to_owned(),
            },
        }
    }
}

/// Reads the value at one place of the document; `depth` is the number of containers around it.
struct Node<'t> {
    trail: &'t mut Trail,
    depth: usize,
}

impl Node<'_> {
    fn number<E: de::Error>(self, number: impl Into<Number>, in_range: bool) -> Result<Value, E> {
        if in_range {
            Ok(Value::Number(number.into()))
        } else {
            Err(self.trail.refuse(Fault::NumberOutOfRange))
        }
    }

    fn depth_inside<E: de::Error>(&mut self) -> Result<usize, E> {
        if self.depth < MAX_DEPTH {
            Ok(self.depth + 1)
        } else {
            Err(self.trail.refuse(Fault::TooDeep))
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.number(value, value <= MAX_SAFE_INTEGER)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.number(value, value.unsigned_abs() <= MAX_SAFE_INTEGER)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // False for a NaN, which no JSON text holds but another deserializer might.
        match Number::from_f64(value) {
            Some(number) => self.number(number, value.abs() <= MAX_SAFE_FLOAT),
            None => Err(self.trail.refuse(Fault::NumberOutOfRange)),
        }
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.depth_inside()?;
        let mut items = Vec::new();
        loop {
            match access.next_element_seed(Node {
                trail: &mut *self.trail,
                depth,
            }) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::Array(items)),
                Err(error) => {
                    self.trail.inside_out.push(items.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let depth = self.depth_inside()?;
        let mut members = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match members.entry(key) {
                Entry::Vacant(slot) => {
                    match access.next_value_seed(Node {
                        trail: &mut *self.trail,
                        depth,
                    }) {
                        Ok(value) => {
                            slot.insert(value);
                        }
                        Err(error) => {
                            self.trail.inside_out.push(shown(slot.key()));
                            return Err(error);
                        }
                    }
                }
                Entry::Occupied(slot) => {
                    return Err(self.trail.refuse(Fault::DuplicateKey(shown(slot.key()))));
                }
            }
        }
        Ok(Value::Object(members))
    }
}

/// A key as an error may show it: shortened, and nothing in it that moves a terminal's cursor or a reader's
/// eye.
fn shown(key: &str) -> String {
    let mut shown = String::new();
    let mut rest = key.chars();
    for char in rest.by_ref().take(SHOWN_KEY_CHARS) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    /// Documents that strict reading accepts: every kind of value, any Unicode text, keys in any order.
    pub(crate) fn any_document() -> impl Strategy<Value = Value> {
        let text = prop::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter);
        let safe = i64::try_from(MAX_SAFE_INTEGER).expect("2^53 - 1 is an i64");
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-safe..=safe).prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
            (prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL)
                .prop_filter("in range", |value| value.abs() <= MAX_SAFE_FLOAT)
                .prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(text.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    fn out_of_range(pointer: &str) -> Result<Value, StrictError> {
        Err(StrictError::NumberOutOfRange {
            pointer: pointer.into(),
        })
    }

    #[test]
    fn an_object_around_a_list_is_held_to_the_same_rules() {
        let text = r#"{"a": 1, "routes": [{"b": 2}, "c"], "d": null}"#;
        let around = parse_around(text, "routes").unwrap();
        assert_eq!(Value::Object(around.members), json!({ "a": 1, "d": null }));
        let list: Vec<&str> = around.list.unwrap().iter().map(|element| element.get()).collect();
        assert_eq!(list, [r#"{"b": 2}"#, r#""c""#]);
        let none = parse_around(r#"{"routes": {"a": 1}}"#, "routes").unwrap();
        assert!(none.list.is_none() && none.members["routes"]["a"] == 1);
        let deep = |levels| format!(r#"{{"routes": [{}]}}"#, nested(levels));
        for refused in [
            "[]",
            "1",
            r#"{"routes": []} 1"#,
            r#"{"routes": [1"#,
            r#"{"routes": [], "routes": []}"#,
            r#"{"a": 1, "a": 1}"#,
            r#"{"routes": [{"a": 1, "a": 1}]}"#,
            r#"{"routes": [1e300]}"#,
            r#"{"routes": ["\ud800"]}"#,
            &deep(MAX_DEPTH - 1),
        ] {
            assert!(parse_around(refused, "routes").is_err(), "{refused}");
            assert!(
                parse_str(refused).is_err() || !refused.starts_with('{'),
                "{refused}"
            );
        }
        let deepest = deep(MAX_DEPTH - 2);
        assert!(parse_around(&deepest, "routes").is_ok() && parse_str(&deepest).is_ok());
    }

    #[test]
    fn ordinary_json_is_read_as_serde_json_reads_it() {
        let text = r#" {"b": [1, -2, 0.5, 1.0, null, true], "a": {"é😀": "\u00e9\ud83d\ude00\n"}, "": ""} "#;
        let value = parse_str(text).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(
            value.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["b", "a", ""]
        );
    }

    #[test]
    fn a_duplicate_key_is_refused_with_the_object_that_has_it() {
        let refused = parse_str(r#"{"a": [0, {"x/y~z": {"k": 1, "l": 2, "k": 1}}]}"#);
        assert_eq!(
            refused,
            Err(StrictError::DuplicateKey {
                key: "k".into(),
                pointer: "/a/1/x~1y~0z".into()
            })
        );
        assert_eq!(
            refused.unwrap_err().to_string(),
            "duplicate key `k` in the object at `/a/1/x~1y~0z`"
        );
    }

    #[test]
    fn keys_that_differ_only_in_their_escapes_are_duplicates() {
        assert_eq!(
            parse_str(r#"{"a": 1, "\u0061": 2}"#),
            Err(StrictError::DuplicateKey {
                key: "a".into(),
                pointer: String::new()
            })
        );
    }

    #[test]
    fn the_same_key_in_different_objects_is_no_duplicate() {
        assert!(parse_str(r#"{"a": {"a": [{"a": 1}, {"a": 1}]}}"#).is_ok());
    }

    #[test]
    fn numbers_up_to_two_to_the_53_are_accepted_and_not_beyond_however_they_are_written() {
        for accepted in [
            "9007199254740991",
            "-9007199254740991",
            "9007199254740991.0",
            "9.007199254740991e15",
            "0",
            "1.5e-300",
            "5e-324",
        ] {
            assert!(parse_str(accepted).is_ok(), "{accepted}");
        }
        for refused in [
            "9007199254740992",
            "-9007199254740992",
            "9007199254740991.5",
            "9007199254740992.0",
            "9.007199254740992e15",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1e16",
            "1e300",
            "1e999",
            "-1e999",
            "123456789012345678901234567890123456789012345678901234567890",
        ] {
            assert_eq!(parse_str(refused), out_of_range(""), "{refused}");
            assert_eq!(
                parse_str(&format!(r#"{{"a": [0, {refused}]}}"#)),
                out_of_range("/a/1"),
                "{refused}"
            );
        }
    }

    #[test]
    fn numbers_are_numbers_and_not_the_maps_of_arbitrary_precision() {
        assert!(parse_str("1").unwrap().is_u64());
        assert!(parse_str("1.5").unwrap().is_f64());
        assert_eq!(parse_str("-0").unwrap().as_f64(), Some(0.0));
    }

    #[test]
    fn nesting_is_accepted_to_the_limit_and_not_beyond() {
        assert!(parse_str(&nested(MAX_DEPTH)).is_ok());
        let too_deep = Err(StrictError::TooDeep {
            pointer: "/0".repeat(MAX_DEPTH),
        });
        assert_eq!(parse_str(&nested(MAX_DEPTH + 1)), too_deep);
        assert_eq!(parse_str(&nested(100_000)), too_deep);
        let objects = r#"{"a":"#.repeat(MAX_DEPTH + 1);
        assert_eq!(
            parse_str(&objects),
            Err(StrictError::TooDeep {
                pointer: "/a".repeat(MAX_DEPTH)
            })
        );
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_with_their_offset() {
        assert_eq!(
            parse(b"{\"a\": \"\xff\"}"),
            Err(StrictError::NotUtf8 { offset: 7 })
        );
        assert_eq!(parse(b"[]\xc3"), Err(StrictError::NotUtf8 { offset: 2 }));
    }

    #[test]
    fn half_a_surrogate_pair_is_refused_as_such() {
        for text in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\n""#,
            r#""\ud800\ud800""#,
            r#"{"\ud83dx": 1}"#,
        ] {
            assert!(
                matches!(parse_str(text), Err(StrictError::LoneSurrogate { line: 1, .. })),
                "{text}"
            );
        }
        assert_eq!(parse_str(r#""\ud83d\ude00""#), Ok(json!("😀")));
    }

    #[test]
    fn data_after_the_value_is_refused() {
        assert_eq!(
            parse_str("{} {}"),
            Err(StrictError::TrailingData { line: 1, column: 4 })
        );
        assert_eq!(
            parse_str("1\n2"),
            Err(StrictError::TrailingData { line: 2, column: 1 })
        );
        assert_eq!(parse_str("{} \r\n\t"), Ok(json!({})));
    }

    #[test]
    fn a_syntax_error_has_its_place_and_nothing_of_the_input() {
        assert_eq!(
            parse_str("{\n  \"token\": hunter2}"),
            Err(StrictError::Syntax {
                line: 2,
                column: 12,
                reason: "expected value".into()
            })
        );
        for text in [
            "",
            " ",
            "[1,]",
            "{\"a\" 1}",
            "{a: 1}",
            "01",
            "1.",
            "\"\t\"",
            "nul",
            "\u{feff}{}",
            "{\"a\":",
        ] {
            assert!(
                matches!(parse_str(text), Err(StrictError::Syntax { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_long_or_strange_key_is_shortened_and_escaped_in_the_error() {
        let long = "k".repeat(1_000);
        let refused = parse_str(&format!(r#"{{"{long}": 1e99}}"#));
        assert_eq!(refused, out_of_range(&format!("/{}…", "k".repeat(60))));
        assert_eq!(
            parse_str(r#"{"a\n\u202e\"'\u001b[": 1e99}"#),
            out_of_range(r#"/a\n\u{202e}"'\u{1b}["#)
        );
    }

    #[test]
    fn elements_of_a_stream_are_checked_one_by_one() {
        fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
            serde_json::from_reader(text.as_bytes()).map_err(|error| error.to_string())
        }
        #[derive(Debug, serde::Deserialize)]
        struct Import {
            items: Vec<Strict>,
        }

        let import: Import = read(r#"{"items": [{"a": 1}, null, [{"b": "c"}]]}"#).unwrap();
        assert_eq!(import.items[2], Strict(json!([{"b": "c"}])));
        let twice = read::<Import>("{\"items\": [{\"a\": 1},\n{\"b\": {\"c\": 1, \"c\": 2}}]}").unwrap_err();
        assert!(
            twice.starts_with("duplicate key `c` in the object at `/b` at line 2 column "),
            "{twice}"
        );
        let too_large = read::<Strict>(r#"{"b": [9007199254740993]}"#).unwrap_err();
        assert!(
            too_large.starts_with("number at `/b/0` is beyond ±(2^53 - 1) at line 1 "),
            "{too_large}"
        );
        assert!(read::<Strict>(&nested(MAX_DEPTH)).is_ok());
        assert!(
            read::<Strict>(&nested(MAX_DEPTH + 1))
                .unwrap_err()
                .starts_with("nested deeper than 64")
        );
        assert!(read::<Strict>("[1").unwrap_err().starts_with("EOF"));
    }

    /// Writes a document as text and gives its `target`-th object a second member with the key of its first.
    fn write_with_duplicate(value: &Value, target: usize, seen: &mut usize, text: &mut String) {
        match value {
            Value::Object(members) => {
                let planted = *seen == target;
                *seen += 1;
                text.push('{');
                for (index, (key, member)) in members.iter().enumerate() {
                    write!(text, "{}{}:", if index > 0 { "," } else { "" }, json!(key)).unwrap();
                    write_with_duplicate(member, target, seen, text);
                }
                if planted && let Some(key) = members.keys().next() {
                    write!(text, ",{}:null", json!(key)).unwrap();
                } else if planted {
                    text.push_str(r#""k":1,"k":1"#);
                }
                text.push('}');
            }
            Value::Array(items) => {
                text.push('[');
                for (index, item) in items.iter().enumerate() {
                    text.push_str(if index > 0 { "," } else { "" });
                    write_with_duplicate(item, target, seen, text);
                }
                text.push(']');
            }
            leaf => text.push_str(&leaf.to_string()),
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_what_serde_json_reads(document in any_document()) {
            let text = document.to_string();
            prop_assert_eq!(parse_str(&text), Ok(serde_json::from_str(&text).unwrap()));
        }

        #[test]
        fn a_duplicate_key_planted_in_any_object_is_refused(
            document in any_document(),
            place in any::<prop::sample::Index>(),
        ) {
            let document = json!({ "document": document });
            let mut objects = 0;
            let mut untouched = String::new();
            write_with_duplicate(&document, usize::MAX, &mut objects, &mut untouched);
            prop_assert_eq!(parse_str(&untouched), Ok(document.clone()));

            let mut planted = String::new();
            write_with_duplicate(&document, place.index(objects), &mut 0, &mut planted);
            let refused = matches!(parse_str(&planted), Err(StrictError::DuplicateKey { .. }));
            prop_assert!(refused, "{}", planted);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn json_like_text_never_panics_and_is_accepted_only_if_serde_json_accepts_it(
            text in r#"([\[\]{},:"\\0-9eE+. -]|"a"|"b":|\\u[dD][89cC]00|null|1e30|é){0,30}"#,
        ) {
            if let Ok(value) = parse_str(&text) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
