//! DSSE envelopes (secure-systems-lab, version 1.0.2): a payload, its type, and signatures over both.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::note::{SigningKey, VerifierKey};

/// The media type of an envelope.
pub const ENVELOPE_TYPE: &str = "application/vnd.dsse+json";

/// What goes in front of a payload before it is signed (DSSE pre-authentication encoding).
pub fn pae_prefix(payload_type: &str, payload_bytes: u64) -> String {
    format!("DSSEv1 {} {payload_type} {payload_bytes} ", payload_type.len())
}

/// What is signed.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
    let mut message = pae_prefix(payload_type, length).into_bytes();
    message.extend_from_slice(payload);
    message
}

/// Why an envelope cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the JSON of an envelope.
    #[error("not a DSSE envelope")]
    Json,
    /// Base64 that is wrong or spelt in another way than it is written here.
    #[error("the payload or a signature is not base64")]
    Base64,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeSignature {
    /// Which key: [`VerifierKey::key_id`].
    pub key_id: String,
    /// The signature.
    pub bytes: Vec<u8>,
}

/// An envelope, read and not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The payload's type.
    pub payload_type: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The signatures; none on an unsigned envelope.
    pub signatures: Vec<EnvelopeSignature>,
}

/// What has to be a JSON object: serde would take a list of the members' values as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData)).map(Object)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Json<'a> {
    #[serde(borrow)]
    payload: Cow<'a, str>,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Object<JsonSignature>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSignature {
    keyid: String,
    sig: String,
}

/// An envelope as the message that is signed, made in the memory that held its text: an envelope may have hundreds
/// of megabytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
    /// What is signed: the payload, and in front of it its type and length.
    bytes: Vec<u8>,
    payload_at: usize,
}

impl Message {
    /// Reads an envelope: exactly its three members, each once.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open(text: Vec<u8>) -> Result<Self, EnvelopeError> {
        let Object(json): Object<Json<'_>> =
            serde_json::from_slice(&text).map_err(|_| EnvelopeError::Json)?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| EnvelopeError::Base64);
        let payload_type = json.payload_type;
        let signatures = json
            .signatures
            .into_iter()
            .map(|Object(signature)| {
                Ok(EnvelopeSignature {
                    bytes: decode(&signature.sig)?,
                    key_id: signature.keyid,
                })
            })
            .collect::<Result<_, _>>()?;
        let length = decoded_length(&json.payload).ok_or(EnvelopeError::Base64)?;
        let prefix = pae_prefix(&payload_type, length).into_bytes();
        let payload_at = prefix.len();
        let bytes = match json.payload {
            Cow::Borrowed(encoded) if prefix.len() < MOST_IN_FRONT => {
                let start = encoded.as_ptr().addr() - text.as_ptr().addr();
                let end = start + encoded.len();
                decode_in_place(text, start..end, &prefix)?
            }
            // Somebody has written characters of it as escapes, or a type of kilobytes.
            encoded => {
                let mut bytes = prefix;
                STANDARD
                    .decode_vec(encoded.as_ref(), &mut bytes)
                    .map_err(|_| EnvelopeError::Base64)?;
                bytes
            }
        };
        Ok(Self {
            payload_type,
            signatures,
            bytes,
            payload_at,
        })
    }

    /// The payload's type.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload_at..).unwrap_or_default()
    }

    /// How many signatures there are.
    pub const fn signature_count(&self) -> usize {
        self.signatures.len()
    }

    /// Whether the envelope has exactly one signature, made by this key. A signature that says that it is another
    /// key's, or a second one, is not overlooked.
    pub fn signed_by(&self, key: &VerifierKey) -> bool {
        match self.signatures.as_slice() {
            [only] => only.key_id == key.key_id() && key.verifies(&self.bytes, &only.bytes),
            _ => false,
        }
    }
}

/// How many base64 characters are decoded at once, and the bytes that they hold.
const PIECE_CHARS: usize = 16_384;
const PIECE_BYTES: usize = PIECE_CHARS / 4 * 3;

/// What may stand in front of a payload that is decoded in place: after each piece there is at least so much room.
const MOST_IN_FRONT: usize = PIECE_CHARS - PIECE_BYTES;

/// How many bytes a base64 text holds, if it is one.
fn decoded_length(encoded: &str) -> Option<u64> {
    let padding = encoded
        .bytes()
        .rev()
        .take(2)
        .take_while(|byte| *byte == b'=')
        .count();
    let length = (encoded.len() / 4 * 3).checked_sub(padding)?;
    if encoded.len().is_multiple_of(4) {
        u64::try_from(length).ok()
    } else {
        None
    }
}

/// Puts `prefix` and what the base64 text at `from` holds to the beginning of `bytes`, and nothing behind them. What is
/// written never reaches what is still to be read.
fn decode_in_place(mut bytes: Vec<u8>, from: Range<usize>, prefix: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let mut piece = [0; PIECE_BYTES];
    let (mut read, mut written) = (from.start, 0);
    loop {
        let until = from.end.min(read + PIECE_CHARS);
        let encoded = bytes.get(read..until).unwrap_or_default();
        let decoded = STANDARD
            .decode_slice(encoded, &mut piece)
            .map_err(|_| EnvelopeError::Base64)?;
        read = until;
        // Padding belongs to the very end.
        if read < from.end && decoded != PIECE_BYTES {
            return Err(EnvelopeError::Base64);
        }
        if written == 0 {
            put(&mut bytes, &mut written, prefix);
        }
        put(&mut bytes, &mut written, piece.get(..decoded).unwrap_or_default());
        if read == from.end {
            break;
        }
    }
    bytes.truncate(written);
    bytes.shrink_to_fit();
    Ok(bytes)
}

fn put(bytes: &mut Vec<u8>, at: &mut usize, piece: &[u8]) {
    let end = *at + piece.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    if let Some(place) = bytes.get_mut(*at..end) {
        place.copy_from_slice(piece);
    }
    *at = end;
}

impl Envelope {
    /// Reads an envelope: exactly its three members, each once.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn parse(text: &[u8]) -> Result<Self, EnvelopeError> {
        let mut message = Message::open(text.to_vec())?;
        message.bytes.drain(..message.payload_at);
        Ok(Self {
            payload_type: message.payload_type,
            payload: message.bytes,
            signatures: message.signatures,
        })
    }
}

/// The beginning of an envelope: base64 of the payload follows, see [`Base64Pieces`].
pub const ENVELOPE_OPEN: &str = "{\"payload\":\"";

/// The end of an envelope.
pub fn envelope_close(payload_type: &str, signature: Option<(&VerifierKey, &[u8])>) -> String {
    let signatures: Vec<_> = signature
        .iter()
        .map(|(key, bytes)| serde_json::json!({ "keyid": key.key_id(), "sig": STANDARD.encode(bytes) }))
        .collect();
    format!(
        "\",\"payloadType\":{},\"signatures\":{}}}",
        serde_json::json!(payload_type),
        serde_json::json!(signatures)
    )
}

/// Base64 of pieces that come one after the other.
#[derive(Debug, Default)]
pub struct Base64Pieces {
    rest: Vec<u8>,
}

impl Base64Pieces {
    /// The text for one more piece, as far as it is decided.
    pub fn push(&mut self, piece: &[u8]) -> String {
        self.rest.extend_from_slice(piece);
        let whole = self.rest.len() - self.rest.len() % 3;
        let text = STANDARD.encode(self.rest.get(..whole).unwrap_or_default());
        self.rest.drain(..whole);
        text
    }

    /// The last text.
    pub fn finish(self) -> String {
        STANDARD.encode(self.rest)
    }
}

/// A whole envelope, signed when there is a key.
///
/// # Errors
/// The writer's.
pub fn seal(
    payload_type: &str,
    payload: &[u8],
    key: Option<&SigningKey>,
    out: &mut impl Write,
) -> io::Result<()> {
    let signature = key.map(|key| (key.verifier(), key.sign(&pae(payload_type, payload))));
    out.write_all(ENVELOPE_OPEN.as_bytes())?;
    out.write_all(STANDARD.encode(payload).as_bytes())?;
    let close = envelope_close(
        payload_type,
        signature.as_ref().map(|(key, bytes)| (key, bytes.as_slice())),
    );
    out.write_all(close.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::new("log", &[byte; 32]).unwrap()
    }

    fn sealed(key: Option<&SigningKey>) -> Vec<u8> {
        let mut out = Vec::new();
        seal("http://example.com/HelloWorld", b"hello world", key, &mut out).unwrap();
        out
    }

    /// The example of the DSSE protocol document.
    #[test]
    fn the_encoding_of_the_protocols_example_comes_out() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn an_envelope_is_read_back_and_verifies_with_its_key_only() {
        let message = Message::open(sealed(Some(&key(1)))).unwrap();
        assert_eq!(message.payload(), b"hello world");
        assert_eq!(message.payload_type(), "http://example.com/HelloWorld");
        assert!(message.signed_by(&key(1).verifier()));
        assert!(!message.signed_by(&key(2).verifier()));
        let unsigned = Message::open(sealed(None)).unwrap();
        assert!(unsigned.signature_count() == 0 && !unsigned.signed_by(&key(1).verifier()));
        let envelope = Envelope::parse(&sealed(Some(&key(1)))).unwrap();
        assert_eq!(
            (envelope.payload, envelope.signatures.len()),
            (b"hello world".to_vec(), 1)
        );
    }

    #[test]
    fn a_payload_of_any_length_and_spelling_is_decoded_where_it_lies() {
        for length in [0, 1, 2, 3, 100, 12_287, 12_288, 12_289, 12_290, 24_576, 50_001] {
            let payload: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            for payload_type in ["", "a", &"t".repeat(5_000)] {
                let mut text = Vec::new();
                seal(payload_type, &payload, Some(&key(1)), &mut text).unwrap();
                let message = Message::open(text.clone()).unwrap();
                assert_eq!(message.payload(), payload, "{length}");
                assert!(message.signed_by(&key(1).verifier()));
                if length > 0 {
                    // Its first character as an escape.
                    let text = String::from_utf8(text).unwrap();
                    let place = text.find(":\"").unwrap() + 2;
                    let escaped = format!(
                        "{}\\u{:04x}{}",
                        &text[..place],
                        text.as_bytes()[place],
                        &text[place + 1..]
                    );
                    assert_eq!(Message::open(escaped.into_bytes()), Ok(message));
                }
            }
        }
        // Padding belongs to the end, also where one piece ends and the next begins.
        let inside = format!("{}A={}AA==", "A".repeat(PIECE_CHARS - 2), "A".repeat(4));
        let text = format!(r#"{{"payload":"{inside}","payloadType":"a","signatures":[]}}"#);
        assert_eq!(Message::open(text.into_bytes()), Err(EnvelopeError::Base64));
    }

    #[test]
    fn unknown_repeated_and_missing_members_are_refused() {
        for text in [
            "",
            "{}",
            "[]",
            r#"["","a",[]]"#,
            r#"{"payload":"","payloadType":"a","signatures":[["a",""]]}"#,
            r#"{"payload":"","payloadType":"a","signatures":[],"more":1}"#,
            r#"{"payload":"","payload":"","payloadType":"a","signatures":[]}"#,
            r#"{"payload":"","payloadType":"a"}"#,
            r#"{"payload":"","payloadType":"a","signatures":[{"keyid":"a"}]}"#,
        ] {
            assert_eq!(
                Envelope::parse(text.as_bytes()),
                Err(EnvelopeError::Json),
                "{text}"
            );
        }
        for payload in ["a", "aGk", "aGl=", "aG k=", "aGk=\\n"] {
            let text = format!(r#"{{"payload":"{payload}","payloadType":"a","signatures":[]}}"#);
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{payload}");
        }
    }

    proptest! {
        #[test]
        fn base64_in_pieces_is_base64_of_the_whole(pieces: Vec<Vec<u8>>) {
            let mut encoder = Base64Pieces::default();
            let mut text: String = pieces.iter().map(|piece| encoder.push(piece)).collect();
            text.push_str(&encoder.finish());
            prop_assert_eq!(text, STANDARD.encode(pieces.concat()));
        }

        #[test]
        fn no_flipped_bit_of_an_envelope_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut text = sealed(Some(&key(1)));
            let place = at.index(text.len());
            text[place] ^= 1 << bit;
            let verified = Message::open(text).is_ok_and(|message| message.signed_by(&key(1).verifier()));
            prop_assert!(!verified);
        }
    }
}
