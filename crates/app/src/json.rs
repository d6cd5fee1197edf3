//! JSON as `serde_json` writes it, byte for byte, in about half the time.
//!
//! The elements of long documents are records with many short texts. `serde_json` looks at every byte of them, and of
//! the names of members, for what has to be escaped, one byte at a time. Here eight are looked at together; a text that
//! needs an escape, and every number, `serde_json` writes itself.

use std::io;

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Error;

/// Writes a value behind what is there.
pub(crate) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> io::Result<()> {
    Ok(value.serialize(Writer(out))?)
}

/// Bytes of which none has to be escaped, eight at a time.
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // For each byte, its highest bit: whether the byte is below `limit`, which is at most 128.
    let below = |eight: u64, limit: u64| eight.wrapping_sub(ONES * limit) & !eight & HIGHS;
    let is = |eight: u64, byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    let has = |eight: u64| (below(eight, 0x20) | is(eight, b'"') | is(eight, b'\\')) != 0;
    let (eights, rest) = text.as_chunks::<8>();
    !eights.iter().any(|eight| has(u64::from_le_bytes(*eight)))
        && !rest
            .iter()
            .any(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))
}

struct Writer<'a>(&'a mut Vec<u8>);

impl<'a> Writer<'a> {
    fn whole(self) -> serde_json::Serializer<&'a mut Vec<u8>> {
        serde_json::Serializer::new(self.0)
    }

    /// A name in quotes: of a member or a variant.
    fn name(&mut self, name: &str) -> Result<(), Error> {
        Writer(self.0).serialize_str(name)
    }

    /// Opens the only member of an object, which is how a variant with something inside is written.
    fn variant(&mut self, name: &str) -> Result<(), Error> {
        self.0.push(b'{');
        self.name(name)?;
        self.0.push(b':');
        Ok(())
    }

    fn list(self, open: u8, close: &'static [u8]) -> Parts<'a> {
        self.0.push(open);
        Parts {
            out: self.0,
            first: true,
            close,
        }
    }
}

/// What stands between two brackets, with commas in between.
struct Parts<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
    close: &'static [u8],
}

impl Parts<'_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.comma();
        value.serialize(Writer(self.out))
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.comma();
        Writer(self.out).name(name)?;
        self.out.push(b':');
        value.serialize(Writer(self.out))
    }

    fn close(self) {
        self.out.extend_from_slice(self.close);
    }
}

/// Methods that `serde_json` does as it does them.
macro_rules! whole {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            self.whole().$method(value)
        })*
    };
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    whole! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_bytes(&[u8]);
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        if !is_plain(text.as_bytes()) {
            return self.whole().serialize_str(text);
        }
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(mut self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.name(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(Writer(self.0))?;
        self.0.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Error> {
        Ok(self.list(b'[', b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Error> {
        Ok(self.list(b'[', b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Error> {
        Ok(self.list(b'[', b"]"))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Error> {
        self.variant(variant)?;
        Ok(self.list(b'[', b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Error> {
        Ok(self.list(b'{', b"}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>, Error> {
        // JSON text that is to be taken over as it is comes as a struct of this crate's own.
        if name.starts_with("$serde_json::private::") {
            return Err(Error::custom("no raw JSON can be written here"));
        }
        Ok(self.list(b'{', b"}"))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Error> {
        self.variant(variant)?;
        Ok(self.list(b'{', b"}}"))
    }
}

/// Lists, whose elements have no names.
macro_rules! elements {
    ($($what:ident::$method:ident;)*) => {$(
        impl $what for Parts<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq::serialize_element;
    SerializeTuple::serialize_element;
    SerializeTupleStruct::serialize_field;
    SerializeTupleVariant::serialize_field;
}

/// Objects, whose members have names.
macro_rules! members {
    ($($what:ident;)*) => {$(
        impl $what for Parts<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
                self.member(name, value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    )*};
}

members! {
    SerializeStruct;
    SerializeStructVariant;
}

impl SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.comma();
        let start = self.out.len();
        key.serialize(Writer(self.out))?;
        match self.out.get(start) {
            Some(b'"') => {}
            // A number or a truth becomes a text.
            Some(b'0'..=b'9' | b'-' | b't' | b'f') => {
                self.out.insert(start, b'"');
                self.out.push(b'"');
            }
            _ => return Err(Error::custom("a key has to be a text")),
        }
        self.out.push(b':');
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(Writer(self.out))
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;
    use serde_json::value::RawValue;

    use super::*;

    fn written<T: Serialize + ?Sized>(value: &T) -> String {
        let mut out = b"before ".to_vec();
        write(&mut out, value).unwrap();
        String::from_utf8(out.split_off(7)).unwrap()
    }

    fn expected<T: Serialize + ?Sized>(value: &T) -> String {
        serde_json::to_string(value).unwrap()
    }

    #[derive(Serialize)]
    enum Shape {
        Unit,
        One(u8),
        Two(u8, String),
        Named { at: Option<f64>, word: char },
    }

    #[derive(Serialize)]
    struct Marker;

    #[derive(Serialize)]
    struct Pair(i64, &'static str);

    #[derive(Serialize)]
    struct Everything {
        shapes: Vec<Shape>,
        #[serde(rename = "quoted \" name")]
        marker: Marker,
        pair: Pair,
        tuple: (bool, f32),
        numbered: BTreeMap<i32, Option<u8>>,
        decided: BTreeMap<bool, [u8; 2]>,
        none: Option<u64>,
        #[serde(flatten)]
        more: BTreeMap<String, Value>,
    }

    #[test]
    fn every_shape_is_written_as_serde_json_writes_it() {
        let everything = Everything {
            shapes: vec![
                Shape::Unit,
                Shape::One(1),
                Shape::Two(2, "two\n".to_owned()),
                Shape::Named {
                    at: Some(0.1),
                    word: '"',
                },
                Shape::Named {
                    at: Some(f64::NAN),
                    word: 'ü',
                },
            ],
            marker: Marker,
            pair: Pair(i64::MIN, "\u{7f}"),
            tuple: (true, 1.5),
            numbered: [(-1, None), (10, Some(1))].into(),
            decided: [(false, [0, 1]), (true, [2, 3])].into(),
            none: None,
            more: [("a".to_owned(), Value::Null)].into(),
        };
        assert_eq!(written(&everything), expected(&everything));
        assert_eq!(written::<[u8]>(&[]), "[]");
        assert_eq!(written(&BTreeMap::<String, u8>::new()), "{}");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let refused = |error: io::Error| error.to_string();
        let raw = RawValue::from_string("[1]".to_owned()).unwrap();
        let mut out = Vec::new();
        assert_eq!(
            refused(write(&mut out, &raw).unwrap_err()),
            "no raw JSON can be written here"
        );
        let listed: BTreeMap<Vec<u8>, u8> = [(vec![1], 1)].into();
        assert_eq!(
            refused(write(&mut out, &listed).unwrap_err()),
            "a key has to be a text"
        );
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~\u{0}-\u{1f}\u{7f}-\u{ff}]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6).prop_map(Value::from_iter),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_written_as_serde_json_writes_it(value in any_value()) {
            prop_assert_eq!(written(&value), expected(&value));
        }

        #[test]
        fn one_byte_to_escape_is_seen_wherever_it_stands(
            mut text in prop::collection::vec(0x20..0xff_u8, 0..40), at in any::<prop::sample::Index>(), byte: u8,
        ) {
            text.retain(|byte| !matches!(byte, b'"' | b'\\'));
            prop_assert!(is_plain(&text));
            text.insert(at.index(text.len() + 1), byte);
            prop_assert_eq!(is_plain(&text), byte >= 0x20 && !matches!(byte, b'"' | b'\\'));
        }
    }
}
