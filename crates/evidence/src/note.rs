//! Signed notes and keys (C2SP `signed-note`, `tlog-checkpoint`, `tlog-cosignature`), with Ed25519.
//!
//! A key is written as Go's `sumdb/note` writes it, so that existing tools read ours: `NAME+HASH+BASE64` for the
//! public one, `PRIVATE+KEY+NAME+HASH+BASE64` for the private one.

use std::cell::RefCell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cavra_domain::time::Timestamp;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use ed25519_dalek::{Signature, Signer as _, SigningKey as Secret, VerifyingKey as Public};
use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::Digest;

/// A plain Ed25519 key.
const ED25519: u8 = 1;
/// A witness's key, which signs cosignatures with a time.
const COSIGNATURE: u8 = 4;

const PRIVATE: &str = "PRIVATE+KEY+";

/// First line of a note by which a key vouches for its successor.
const ROTATION: &str = "cavra-key-rotation/v1";

/// Why a key or a note cannot be used. Never repeats a private key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text is no key of this kind.
    #[error("not an Ed25519 key of the form NAME+HASH+BASE64")]
    Key,
    /// The hash in a key is not that of its name and bytes.
    #[error("the key's hash does not fit its name and bytes")]
    KeyHash,
    /// A name that no key may have.
    #[error("a key's name has 1 to 200 characters, no white space and no `+`")]
    Name,
    /// The text is no note.
    #[error("not a signed note")]
    Note,
    /// The note is no checkpoint.
    #[error("not a checkpoint")]
    Checkpoint,
    /// The note has no signature of this key.
    #[error("no signature by the key `{0}`")]
    Unsigned(String),
    /// The note has a signature of this key, and it is wrong.
    #[error("the signature by the key `{0}` is wrong")]
    Signature(String),
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let fits = (1..=200).contains(&name.chars().count())
        && name
            .chars()
            .all(|char| !char.is_whitespace() && !char.is_control() && char != '+');
    if fits { Ok(()) } else { Err(NoteError::Name) }
}

/// The first four bytes of the hash that tells keys of one name apart.
fn key_hash(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(name);
    hasher.update([b'\n', kind]);
    hasher.update(public);
    let mut hash = [0; 4];
    for (target, byte) in hash.iter_mut().zip(hasher.finalize()) {
        *target = byte;
    }
    hash
}

fn hash_text(hash: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(hash))
}

/// The key in these bytes: a point of the curve in its one spelling. One of small order, under which some signature fits
/// any message, is none.
fn sound(bytes: &[u8; 32]) -> Option<Public> {
    let key = Public::from_bytes(bytes).ok()?;
    (!key.is_weak() && key.to_edwards().compress().as_bytes() == bytes).then_some(key)
}

/// A public key with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: u8,
    public: Public,
}

impl VerifierKey {
    /// Reads `NAME+HASH+BASE64`; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        check_name(name)?;
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((kind @ (&ED25519 | &COSIGNATURE), public)) = bytes.split_first() else {
            return Err(NoteError::Key);
        };
        let public: [u8; 32] = public.try_into().map_err(|_| NoteError::Key)?;
        if hash != hash_text(key_hash(name, *kind, &public)) {
            return Err(NoteError::KeyHash);
        }
        Ok(Self {
            name: name.to_owned(),
            kind: *kind,
            public: sound(&public).ok_or(NoteError::Key)?,
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> [u8; 4] {
        key_hash(&self.name, self.kind, self.public.as_bytes())
    }

    /// Name and hash: how envelopes and people name the key.
    pub fn key_id(&self) -> String {
        format!("{}+{}", self.name, hash_text(self.hash()))
    }

    /// Whether the key is a witness's.
    pub const fn is_witness(&self) -> bool {
        self.kind == COSIGNATURE
    }

    /// Whether `signature` is this key's over `message`. Strict: no malleable signature, no weak key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.public.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind];
        bytes.extend_from_slice(self.public.as_bytes());
        write!(formatter, "{}+{}", self.key_id(), STANDARD.encode(bytes))
    }
}

/// A private key with its name. Shows nothing of itself, and is wiped when dropped.
#[derive(Clone)]
pub struct SigningKey {
    name: String,
    secret: Secret,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SigningKey")
            .field("key_id", &self.verifier().key_id())
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// The key of a name and 32 random bytes.
    ///
    /// # Errors
    /// [`NoteError::Name`].
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            secret: Secret::from_bytes(seed),
        })
    }

    /// Reads `PRIVATE+KEY+NAME+HASH+BASE64`; surrounding white space is dropped.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let rest = text.trim().strip_prefix(PRIVATE).ok_or(NoteError::Key)?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519, seed)) = bytes.split_first() else {
            return Err(NoteError::Key);
        };
        let key = Self::new(name, seed.try_into().map_err(|_| NoteError::Key)?)?;
        if hash_text(key.verifier().hash()) == hash {
            Ok(key)
        } else {
            Err(NoteError::KeyHash)
        }
    }

    /// The text of the private key, for the file that keeps it.
    pub fn to_private_text(&self) -> String {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.secret.as_bytes());
        format!("{PRIVATE}{}+{}", self.verifier().key_id(), STANDARD.encode(bytes))
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        VerifierKey {
            name: self.name.clone(),
            kind: ED25519,
            public: self.secret.verifying_key(),
        }
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.secret.sign(message).to_bytes()
    }

    /// Signs a message that is too long to be held: it is gone through twice, a piece at a time.
    ///
    /// # Errors
    /// Those of `pass`.
    pub fn sign_streamed<E>(
        &self,
        pass: impl Fn(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<[u8; 64], E> {
        let expanded = ExpandedSecretKey::from(self.secret.as_bytes());
        let failed = RefCell::new(None);
        let signature = raw_sign_byupdate::<Sha512, _>(
            &expanded,
            |hasher: &mut Sha512| {
                pass(&mut |piece| hasher.update(piece)).map_err(|error| {
                    failed.replace(Some(error));
                    ed25519_dalek::SignatureError::new()
                })
            },
            &self.secret.verifying_key(),
        );
        match (signature, failed.into_inner()) {
            (_, Some(error)) => Err(error),
            (Ok(signature), None) => Ok(signature.to_bytes()),
            // Only `pass` can fail.
            (Err(_), None) => Ok([0; 64]),
        }
    }

    /// The note with this text, signed. The text ends with a newline.
    pub fn note(&self, text: &str) -> String {
        let mut bytes = self.verifier().hash().to_vec();
        bytes.extend_from_slice(&self.sign(text.as_bytes()));
        format!("{text}\n— {} {}\n", self.name, STANDARD.encode(bytes))
    }

    /// The public half as a witness's key, which signs with [`SigningKey::cosign`].
    pub fn witness(&self) -> VerifierKey {
        VerifierKey {
            kind: COSIGNATURE,
            ..self.verifier()
        }
    }

    /// The line by which a witness says that it saw a checkpoint with this text at a time in Unix seconds (C2SP
    /// `tlog-cosignature`).
    pub fn cosign(&self, text: &str, unix_seconds: u64) -> NoteSignature {
        let message = format!("cosignature/v1\ntime {unix_seconds}\n{text}");
        let mut bytes = unix_seconds.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.sign(message.as_bytes()));
        NoteSignature {
            name: self.name.clone(),
            hash: self.witness().hash(),
            bytes,
        }
    }

    /// The note by which this key vouches for its successor.
    pub fn endorse(&self, next: &VerifierKey, at: Timestamp) -> String {
        self.note(&format!("{ROTATION}\n{}\n{next}\n{at}\n", self.verifier()))
    }
}

/// One signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    hash: [u8; 4],
    bytes: Vec<u8>,
}

/// A signed note, read and not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is signed, with its last newline.
    pub text: String,
    /// The signatures.
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    /// Reads a note. One without any signature line is only its text.
    ///
    /// # Errors
    /// [`NoteError::Note`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let Some(split) = note.rfind("\n\n") else {
            return if note.ends_with('\n') && note.len() > 1 {
                Ok(Self {
                    text: note.to_owned(),
                    signatures: Vec::new(),
                })
            } else {
                Err(NoteError::Note)
            };
        };
        let (text, lines) = (note.get(..=split), note.get(split + 2..));
        let (Some(text), Some(lines)) = (text, lines) else {
            return Err(NoteError::Note);
        };
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Note)?;
        let signatures = lines.split('\n').map(signature_line).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            signatures,
        })
    }

    /// Verifies the signature of one key; for a witness's key, the time of its cosignature in Unix seconds is
    /// given as well.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] or [`NoteError::Signature`].
    pub fn verify(&self, key: &VerifierKey) -> Result<Option<u64>, NoteError> {
        let mut of_key = self.signatures.iter().filter(|signature| signature.is_by(key));
        let Some(signature) = of_key.next() else {
            return Err(NoteError::Unsigned(key.key_id()));
        };
        let wrong = || NoteError::Signature(key.key_id());
        if of_key.next().is_some() {
            return Err(wrong());
        }
        if !key.is_witness() {
            return if key.verifies(self.text.as_bytes(), &signature.bytes) {
                Ok(None)
            } else {
                Err(wrong())
            };
        }
        let (time, bytes) = signature.bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
        let time = u64::from_be_bytes(*time);
        let message = format!("cosignature/v1\ntime {time}\n{}", self.text);
        if key.verifies(message.as_bytes(), bytes) {
            Ok(Some(time))
        } else {
            Err(wrong())
        }
    }
}

impl NoteSignature {
    /// Reads a signature line, without its newline.
    ///
    /// # Errors
    /// [`NoteError::Note`].
    pub fn parse(line: &str) -> Result<Self, NoteError> {
        signature_line(line)
    }

    /// Name and hash of the key, as [`VerifierKey::key_id`] gives them.
    pub fn key_id(&self) -> String {
        format!("{}+{}", self.name, hash_text(self.hash))
    }

    /// Whether the line says that it is this key's.
    pub fn is_by(&self, key: &VerifierKey) -> bool {
        self.name == key.name && self.hash == key.hash()
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.hash.to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(formatter, "— {} {}", self.name, STANDARD.encode(bytes))
    }
}

fn signature_line(line: &str) -> Result<NoteSignature, NoteError> {
    let rest = line.strip_prefix("— ").ok_or(NoteError::Note)?;
    let (name, encoded) = rest.split_once(' ').ok_or(NoteError::Note)?;
    check_name(name).map_err(|_| NoteError::Note)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| NoteError::Note)?;
    let (hash, bytes) = bytes.split_first_chunk::<4>().ok_or(NoteError::Note)?;
    Ok(NoteSignature {
        name: name.to_owned(),
        hash: *hash,
        bytes: bytes.to_vec(),
    })
}

/// What a log says of itself at one size (C2SP `tlog-checkpoint`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: the name of its key.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The checkpoint's text.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root.as_bytes())
        )
    }

    /// Reads a checkpoint's text; extension lines are refused, since nothing here writes any.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let parse = || {
            let mut lines = text.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let root: [u8; 32] = STANDARD.decode(root).ok()?.try_into().ok()?;
            let read = Self {
                origin: origin.to_owned(),
                size: size.parse().ok()?,
                root: Digest::from_bytes(root),
            };
            (!origin.is_empty() && read.text() == text).then_some(read)
        };
        parse().ok_or(NoteError::Checkpoint)
    }
}

/// Verifies that `note` is the endorsement of `next` by `old`.
///
/// # Errors
/// [`NoteError`].
pub fn verify_endorsement(note: &str, old: &VerifierKey, next: &VerifierKey) -> Result<Timestamp, NoteError> {
    let note = Note::parse(note)?;
    note.verify(old)?;
    let said = note
        .text
        .strip_prefix(&format!("{ROTATION}\n{old}\n{next}\n"))
        .and_then(|rest| rest.strip_suffix('\n'));
    said.and_then(|at| Timestamp::parse(at).ok())
        .ok_or(NoteError::Note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, byte: u8) -> SigningKey {
        SigningKey::new(name, &[byte; 32]).unwrap()
    }

    /// The example of Go's `golang.org/x/mod/sumdb/note` documentation.
    #[test]
    fn a_key_and_a_note_of_gos_note_package_are_read_and_verified() {
        let verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let key = VerifierKey::parse(verifier).unwrap();
        assert_eq!(key.to_string(), verifier);
        assert_eq!(Note::parse(note).unwrap().verify(&key), Ok(None));
        let private = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let signer = SigningKey::parse(private).unwrap();
        assert_eq!(signer.to_private_text(), private);
        let text = Note::parse(note).unwrap().text;
        assert_eq!(signer.note(&text), note);
    }

    /// RFC 8032 7.1, test 1: the seed, its public key and the signature of nothing.
    #[test]
    fn the_first_test_of_rfc_8032_comes_out() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2)
                .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
                .collect()
        };
        let seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let key = SigningKey::new("rfc", &seed.try_into().unwrap()).unwrap();
        assert_eq!(
            key.verifier().public.as_bytes().to_vec(),
            hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        );
        let signature = hex(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        );
        assert_eq!(key.sign(b"").to_vec(), signature);
        assert!(key.verifier().verifies(b"", &signature));
    }

    #[test]
    fn a_message_signed_piece_by_piece_has_the_signature_of_the_whole() {
        let key = key("log", 7);
        let pieces = [b"one".as_slice(), b"", b" and two"];
        let streamed: Result<_, ()> = key.sign_streamed(|take| {
            for piece in pieces {
                take(piece);
            }
            Ok(())
        });
        assert_eq!(streamed, Ok(key.sign(&pieces.concat())));
        assert_eq!(key.sign_streamed(|_| Err("gone")), Err("gone"));
    }

    #[test]
    fn another_key_name_text_or_a_changed_signature_does_not_verify() {
        let (ours, other) = (key("log", 1), key("log", 2));
        let note = Note::parse(&ours.note("origin\n1\n")).unwrap();
        assert_eq!(note.verify(&ours.verifier()), Ok(None));
        assert!(matches!(
            note.verify(&other.verifier()),
            Err(NoteError::Unsigned(_))
        ));
        assert!(matches!(
            note.verify(&key("dog", 1).verifier()),
            Err(NoteError::Unsigned(_))
        ));
        let mut changed = note.clone();
        changed.text.push('x');
        assert!(matches!(
            changed.verify(&ours.verifier()),
            Err(NoteError::Signature(_))
        ));
        let mut twice = note.clone();
        twice.signatures.extend(note.signatures);
        assert!(twice.verify(&ours.verifier()).is_err());
    }

    #[test]
    fn what_is_no_key_or_note_is_refused() {
        let good = key("log", 1).verifier().to_string();
        for bad in [
            "",
            "log",
            "log+00000000",
            "log++",
            &good.replace("log", "dog"),
            &good[..good.len() - 4],
        ] {
            assert!(VerifierKey::parse(bad).is_err(), "{bad}");
        }
        assert!(SigningKey::new("a b", &[0; 32]).is_err());
        assert!(SigningKey::new("", &[0; 32]).is_err());
        assert!(SigningKey::parse(&good).is_err());
        for bad in [
            "",
            "\n",
            "text",
            "text\n\nno dash\n",
            "text\n\n— a\n",
            "text\n\n— a AAAA",
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// The text of a public key with these bytes, whatever they are.
    fn spelt(bytes: [u8; 32]) -> String {
        let data = [&[ED25519], bytes.as_slice()].concat();
        format!(
            "log+{}+{}",
            hash_text(key_hash("log", ED25519, &bytes)),
            STANDARD.encode(data)
        )
    }

    #[test]
    fn a_key_under_which_any_message_is_signed_or_that_is_no_point_is_none() {
        let hex = |text: &str| -> [u8; 32] {
            let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
            std::array::from_fn(byte)
        };
        let (zeros, ff) = ("00".repeat(30), "ff".repeat(30));
        for bad in [
            // The points of order 1, 2, 4 and 8.
            &format!("01{zeros}00"),
            &format!("ec{ff}7f"),
            &format!("00{zeros}00"),
            &format!("00{zeros}80"),
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            // Another spelling of 0, of 1 and of the point with y = 3, and what is no point.
            &format!("ed{ff}7f"),
            &format!("ee{ff}7f"),
            &format!("f0{ff}7f"),
            &format!("02{zeros}00"),
        ] {
            assert_eq!(VerifierKey::parse(&spelt(hex(bad))), Err(NoteError::Key), "{bad}");
        }
        let three = format!("03{zeros}00");
        assert!(VerifierKey::parse(&spelt(hex(&three))).is_ok());
        let good = key("log", 1).verifier();
        assert_eq!(VerifierKey::parse(&spelt(*good.public.as_bytes())), Ok(good));
    }

    #[test]
    fn a_signature_has_one_form() {
        let key = key("log", 1);
        let signature = key.sign(b"text");
        assert!(key.verifier().verifies(b"text", &signature));
        // S + L says the same to a verifier that does not look.
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut malleable = signature;
        let mut carry = 0;
        for (byte, more) in malleable.iter_mut().skip(32).zip(order) {
            let sum = u16::from(*byte) + more + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert!(!key.verifier().verifies(b"text", &malleable));
        // The neutral point as R: made by who has the private key, and taken by OpenSSL.
        let mut neutral = [0; 64];
        neutral[0] = 1;
        neutral[32..].copy_from_slice(&[
            0xfb, 0xa9, 0x7e, 0xf6, 0xbd, 0x87, 0xc3, 0x0e, 0xbd, 0x9e, 0x29, 0xcb, 0x03, 0x28, 0xf7, 0x42,
            0x33, 0xb4, 0x41, 0x2b, 0x33, 0xd8, 0x7c, 0x48, 0x21, 0x4d, 0x10, 0x99, 0x67, 0xca, 0x62, 0x09,
        ]);
        assert!(!key.verifier().verifies(b"text", &neutral));
        assert!(!key.verifier().verifies(b"text", &signature[..63]));
        assert!(
            !key.verifier()
                .verifies(b"text", &[signature.as_slice(), &[0]].concat())
        );
    }

    #[test]
    fn a_private_key_shows_nothing_of_itself() {
        let key = key("log", 9);
        let shown = format!("{key:?}");
        assert!(
            shown.contains("log+") && !shown.contains(&key.to_private_text()[20..]),
            "{shown}"
        );
    }

    #[test]
    fn a_checkpoint_comes_back_from_its_text_and_from_no_other() {
        let checkpoint = Checkpoint {
            origin: "log".into(),
            size: 12,
            root: Digest::of("x"),
        };
        let text = checkpoint.text();
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
        for bad in [
            &text[..text.len() - 1],
            &text.replace("12", "012"),
            &format!("{text}more\n"),
            "",
            "\n1\n",
        ] {
            assert_eq!(Checkpoint::parse(bad), Err(NoteError::Checkpoint), "{bad:?}");
        }
    }

    #[test]
    fn a_key_vouches_for_its_successor_only() {
        let (old, next, third) = (key("log", 1), key("log", 2), key("log", 3));
        let at = Timestamp::parse("2026-01-02T03:04:05Z").unwrap();
        let note = old.endorse(&next.verifier(), at);
        assert_eq!(
            verify_endorsement(&note, &old.verifier(), &next.verifier()),
            Ok(at)
        );
        assert!(verify_endorsement(&note, &old.verifier(), &third.verifier()).is_err());
        assert!(verify_endorsement(&note, &third.verifier(), &next.verifier()).is_err());
    }

    #[test]
    fn a_cosignature_covers_its_time() {
        let (log, witness) = (key("log", 1), key("witness", 5));
        let public = witness.witness();
        assert_eq!(VerifierKey::parse(&public.to_string()), Ok(public.clone()));
        let text = "log\n1\nAAAA\n";
        let line = witness.cosign(text, 1_700_000_000);
        let note = format!("{}{line}\n", log.note(text));
        let note = Note::parse(&note).unwrap();
        assert_eq!(note.verify(&log.verifier()), Ok(None));
        assert_eq!(note.verify(&public), Ok(Some(1_700_000_000)));
        let mut later = note.clone();
        later.signatures[1].bytes[7] ^= 1;
        assert!(later.verify(&public).is_err());
    }
}
