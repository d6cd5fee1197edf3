//! The only door through which free text enters a stored document (decisions, section 11).
//!
//! [`PublicSafe`] holds text, or a whole imported record, that was looked at and found fit to be shown to anybody
//! who may read evidence: not too long, no control or direction-changing characters, nothing that works as a
//! credential. There is no unchecked way in, hence no `Deserialize`.
//!
//! # What counts as a secret
//! One pass over the bytes stops at two kinds of places: the start of a word, where the known forms begin (token
//! prefixes, JWTs, PEM headers, `Bearer`, `Basic`, webhook hosts), and `=` or `:`, where the URL rules and the
//! assignment rules look back at a bounded piece of what came before. Every look is bounded or is never repeated,
//! so the time is linear in the text.
//!
//! *Assignments.* A value counts if the name before it ends in a secret's name (`password`, `client_secret`,
//! `apiKey`, `GITHUB_TOKEN`, ...), it is not a redaction (`REDACTED`, `***`, `xxxx`, `<...>`, `${...}`, or a plain word of
//! state such as `none`, `rotated`, `required`), and
//! - after `=`, or in quotes: it has at least 4 characters (after `:` with spaces in it only where the name is quoted
//!   too);
//! - after `:` and a password's name: it has at least 6 characters and mixes letters with digits or symbols in one
//!   word (`hunter2`; not `90days`, not `see vault`);
//! - after `:` and any other name: it has at least 8 characters and looks made by a machine: 20 letters or digits on
//!   end, or a word that mixes at least 3 letters with 2 digits, or digits and letters that keep alternating.
//!   `cavra-oidc-2026` is the *name* of a secret and passes;
//! - after `Authorization:`, with or without a scheme: the same;
//! - in a URL (`?name=`, `&name=`, `#name=`): it is not empty.
//!
//! *Keys of a record.* A string below a key that names a secret must be a redaction, whatever it looks like. Keys that
//! say something about a secret (`secret_name`, `signing_key_id`, `authorization_scheme`) name none.
//!
//! *Disguises.* Characters that are not seen (joiners, soft hyphens, variation selectors, tags) are allowed, being
//! needed for scripts and emoji, but text that has some is read a second time without them; so is text with JSON
//! escapes, percent-encoding or the wide `：` and `＝`.

use std::{borrow::Cow, fmt, sync::LazyLock};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use UnsafeKind::{
    BasicCredential, BearerCredential, BidirectionalOverride, CloudKey, ControlCharacter, CredentialedUrl,
    JsonWebToken, PrivateKey, ProviderToken, SecretValue, SignedUrl, TooLong, WebhookUrl,
};

/// How far a rule looks at one value; what decides is at its beginning.
const LOOK: usize = 256;
/// The longest key of a record, in characters.
const MAX_KEY_CHARS: usize = 512;

/// What a text field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The field's name as the caller knows it; errors carry it.
    pub name: &'static str,
    /// The longest text, in characters (Unicode scalar values).
    pub max_chars: usize,
    /// Whether `\n`, `\r\n` and `\t` are allowed.
    pub multiline: bool,
}

impl Field {
    /// A field of one line.
    pub const fn line(name: &'static str, max_chars: usize) -> Self {
        Self {
            name,
            max_chars,
            multiline: false,
        }
    }

    /// A field of any number of lines.
    pub const fn lines(name: &'static str, max_chars: usize) -> Self {
        Self {
            name,
            max_chars,
            multiline: true,
        }
    }
}

/// Why a text is not public-safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnsafeKind {
    /// More characters than the field takes.
    TooLong,
    /// A control character, an unwanted line break or a zero-width space.
    ControlCharacter,
    /// A character that changes the direction of the text around it (Unicode TR 36, "Trojan Source").
    BidirectionalOverride,
    /// A private key: PEM, OpenSSH, PGP, `PuTTY`, age, JWK.
    PrivateKey,
    /// A JSON Web Token, signed, unsigned or encrypted (RFC 7515, 7516, 7519).
    JsonWebToken,
    /// `Bearer` and a token (RFC 6750).
    BearerCredential,
    /// `Basic` and an encoded user and password (RFC 7617).
    BasicCredential,
    /// A URL that carries its own permission: a signature, a token, a password among its parameters.
    SignedUrl,
    /// A URL with a password or a token before its host.
    CredentialedUrl,
    /// A webhook address: whoever knows it can post.
    WebhookUrl,
    /// A key of a cloud provider.
    CloudKey,
    /// A token in the form of a known service.
    ProviderToken,
    /// A value given to the name of a secret.
    SecretValue,
}

impl UnsafeKind {
    /// Every kind.
    #[rustfmt::skip]
    pub const ALL: [Self; 13] = [
        TooLong, ControlCharacter, BidirectionalOverride, PrivateKey, JsonWebToken, BearerCredential, BasicCredential,
        SignedUrl, CredentialedUrl, WebhookUrl, CloudKey, ProviderToken, SecretValue,
    ];

    /// The kind's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TooLong => "too_long",
            ControlCharacter => "control_character",
            BidirectionalOverride => "bidirectional_override",
            PrivateKey => "private_key",
            JsonWebToken => "json_web_token",
            BearerCredential => "bearer_credential",
            BasicCredential => "basic_credential",
            SignedUrl => "signed_url",
            CredentialedUrl => "credentialed_url",
            WebhookUrl => "webhook_url",
            CloudKey => "cloud_key",
            ProviderToken => "provider_token",
            SecretValue => "secret_value",
        }
    }

    /// What is wrong and what to do about it.
    pub fn explanation(self) -> &'static str {
        match self {
            TooLong => "it is too long; shorten it or refer to where the rest is kept",
            ControlCharacter => "it has a control, line break or zero-width character; remove it",
            BidirectionalOverride => "it has a character that changes the direction of text; remove it",
            PrivateKey => "looks like a private key; refer to it by name instead",
            JsonWebToken => "looks like a JSON Web Token; name its issuer and subject instead",
            BearerCredential => "looks like a bearer token; leave it out or write `Bearer REDACTED`",
            BasicCredential => "looks like an encoded user and password; name the account instead",
            SignedUrl => {
                "looks like a URL with a signature or token in it; give the URL without its parameters"
            }
            CredentialedUrl => {
                "looks like a URL with a password or token before its host; give the URL without it"
            }
            WebhookUrl => "looks like a webhook address; name the channel instead",
            CloudKey => "looks like a cloud provider's key; refer to it by name instead",
            ProviderToken => "looks like a service's access token; refer to it by name instead",
            SecretValue => "gives a value to a name that stands for a secret; write `REDACTED` in its place",
        }
    }
}

/// A text that was refused. It says where and why, never what the text was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is not public-safe: {}{}", place(.field), .kind.explanation(), limit(*.max_chars))]
pub struct NotPublicSafe {
    /// The field's name; for a record the JSON pointer (RFC 6901) of the value, or of the object whose key it is.
    pub field: String,
    /// What is wrong.
    pub kind: UnsafeKind,
    /// The limit, where the text is too long.
    pub max_chars: Option<usize>,
}

impl NotPublicSafe {
    fn new(field: &str, kind: UnsafeKind, max_chars: usize) -> Self {
        Self {
            field: field.to_owned(),
            kind,
            max_chars: (kind == TooLong).then_some(max_chars),
        }
    }

    /// The same refusal, seen from one level further up. A key gets here only after it passed.
    fn under(self, segment: &str) -> Self {
        let segment = segment.replace('~', "~0").replace('/', "~1");
        Self {
            field: format!("/{segment}{}", self.field),
            ..self
        }
    }
}

fn place(field: &str) -> Cow<'static, str> {
    if field.is_empty() {
        "the record".into()
    } else {
        format!("`{field}`").into()
    }
}

fn limit(max_chars: Option<usize>) -> String {
    max_chars
        .map(|limit| format!(" (at most {limit} characters)"))
        .unwrap_or_default()
}

/// Text, or a record, that passed the checks of this module.
///
/// ```
/// use cavra_domain::public_safe::{Field, PublicSafe, UnsafeKind};
///
/// const NOTES: Field = Field::lines("notes", 4_000);
/// let notes = PublicSafe::parse(NOTES, "Paged the owner, see CHG-123")?;
/// assert_eq!(notes.as_str(), "Paged the owner, see CHG-123");
///
/// let refused = PublicSafe::parse(NOTES, "fixed with password=hunter2").unwrap_err();
/// assert_eq!((refused.field.as_str(), refused.kind), ("notes", UnsafeKind::SecretValue));
/// assert!(!refused.to_string().contains("hunter2"));
/// # Ok::<(), cavra_domain::public_safe::NotPublicSafe>(())
/// ```
///
/// It cannot be deserialized, which would be a second, unguarded door:
///
/// ```compile_fail
/// let text: cavra_domain::public_safe::Text = serde_json::from_str("\"x\"").expect("never compiles");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicSafe<T>(T);

/// Public-safe text.
pub type Text = PublicSafe<String>;

impl PublicSafe<String> {
    /// Takes the text as it is (nothing is trimmed or replaced), or says why it cannot be stored.
    ///
    /// # Errors
    /// [`NotPublicSafe`] names the field and the first thing found.
    pub fn parse(field: Field, raw: &str) -> Result<Self, NotPublicSafe> {
        let breaks = if field.multiline {
            Breaks::Lines
        } else {
            Breaks::None
        };
        match fault(raw, field.max_chars, breaks) {
            None => Ok(Self(raw.to_owned())),
            Some(kind) => Err(NotPublicSafe::new(field.name, kind, field.max_chars)),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The empty text.
    pub const fn empty() -> Self {
        Self(String::new())
    }
}

impl PublicSafe<Value> {
    /// Takes a whole imported record as it is after looking at every key and every string in it, depth first.
    ///
    /// `max_chars` limits each string by itself. Strings may have `\n`, `\r` and `\t`; keys are one line of at most
    /// 512 characters.
    ///
    /// # Errors
    /// [`NotPublicSafe`] with the JSON pointer of the first thing found.
    pub fn parse_record(record: Value, max_chars: usize) -> Result<Self, NotPublicSafe> {
        walk(&record, max_chars)?;
        Ok(Self(record))
    }

    /// The record.
    pub fn as_value(&self) -> &Value {
        &self.0
    }

    /// The record, out of its wrapper.
    pub fn into_value(self) -> Value {
        self.0
    }
}

impl<T> PublicSafe<T> {
    /// What is inside.
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// What is inside, out of its wrapper.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> AsRef<T> for PublicSafe<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

impl Default for PublicSafe<String> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: fmt::Display> fmt::Display for PublicSafe<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<T: Serialize> Serialize for PublicSafe<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The schema of what is inside: a plain string for text.
impl<T: JsonSchema> JsonSchema for PublicSafe<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

// ---- records ----

/// Recurses as deep as the record does; `serde_json` reads at most 128 levels.
fn walk(value: &Value, max_chars: usize) -> Result<(), NotPublicSafe> {
    let refuse = |kind, limit| Err(NotPublicSafe::new("", kind, limit));
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => {
            fault(text, max_chars, Breaks::Any).map_or(Ok(()), |kind| refuse(kind, max_chars))
        }
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(at, item)| {
                walk(item, max_chars).map_err(|error| error.under(&at.to_string()))
            })
        }
        Value::Object(members) => {
            let key_limit = max_chars.min(MAX_KEY_CHARS);
            for (key, member) in members {
                if let Some(kind) = fault(key, key_limit, Breaks::None) {
                    return refuse(kind, key_limit);
                }
                walk(member, max_chars).map_err(|error| error.under(key))?;
                if holds_secret(key, member) {
                    return refuse(SecretValue, max_chars).map_err(|error| error.under(key));
                }
            }
            if is_private_jwk(members) {
                refuse(PrivateKey, max_chars)
            } else {
                pair(members, max_chars)
            }
        }
    }
}

/// `{"name": "password", "value": "..."}` says the same as `{"password": "..."}`.
fn pair(members: &Map<String, Value>, max_chars: usize) -> Result<(), NotPublicSafe> {
    let Some(value) = members.get("value") else {
        return Ok(());
    };
    let secret = |name| {
        members
            .get(name)
            .and_then(Value::as_str)
            .is_some_and(|key| holds_secret(key, value))
    };
    if ["name", "key", "header"].into_iter().any(secret) {
        return Err(NotPublicSafe::new("/value", SecretValue, max_chars));
    }
    Ok(())
}

/// A JSON Web Key (RFC 7517) with its private (`d`) or symmetric (`k`) part.
fn is_private_jwk(members: &Map<String, Value>) -> bool {
    let has = |key| {
        members
            .get(key)
            .and_then(Value::as_str)
            .is_some_and(|part| !redacted(part))
    };
    has("kty") && (has("d") || has("k"))
}

/// Whether a key names a secret and the strings right below it are more than a redaction.
fn holds_secret(key: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => key_rule(key).is_some_and(|weak| {
            let text = scheme(text.trim()).map_or(text.as_str(), |(_, rest)| rest);
            !redacted(text) && (!weak || credential_like(text))
        }),
        Value::Array(items) => items
            .iter()
            .any(|item| item.is_string() && holds_secret(key, item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// `Some(false)` for a key that names a secret, `Some(true)` for one that only may.
fn key_rule(key: &str) -> Option<bool> {
    const INSIDE: &str =
        "password passwd passphrase secret privatekey signingkey apikey accesskey authorization";
    /// Last words of keys that say something about a secret without being it, as in `secret_name`.
    const ABOUT: &str = "algorithm at count env file fingerprint header method mode name owner policy provider \
                         reason ref reference required scheme status type verified version";
    const HINTS: [&[u8; 3]; 7] = [b"pas", b"pwd", b"sec", b"tok", b"key", b"aut", b"coo"];
    let hint = |three: &[u8]| HINTS.iter().any(|hint| three.eq_ignore_ascii_case(*hint));
    if !key.as_bytes().windows(3).any(hint) {
        return None; // what nearly every key comes to
    }
    let squashed: String = key
        .chars()
        .filter(|c| alnum(*c))
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let inside = || INSIDE.split(' ').any(|word| squashed.contains(word)) && !squashed.contains("secretar");
    let naming = naming(key);
    if naming == Some(Naming::Weak) {
        return Some(!squashed.ends_with("cookie"));
    }
    if naming.is_none() && !inside() {
        return None;
    }
    let last = key.rsplit(['_', '-', '.']).next().unwrap_or_default();
    let key_id = squashed.ends_with("keyid") && naming.is_none(); // `signing_key_id`, not Google's `private_key_id`
    let about = key_id || ABOUT.split(' ').any(|word| last.eq_ignore_ascii_case(word));
    (!about).then_some(false)
}

// ---- one string ----

/// Which line breaks and tabs a string may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaks {
    None,
    Lines,
    Any,
}

/// The first thing that is wrong with a string.
fn fault(text: &str, max_chars: usize, breaks: Breaks) -> Option<UnsafeKind> {
    if text.len() > max_chars && text.chars().nth(max_chars).is_some() {
        return Some(TooLong);
    }
    // no early end in these two, so that they compile to a few wide instructions
    let plain = text
        .bytes()
        .fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte));
    let escapes = text.bytes().filter(|byte| matches!(byte, b'%' | b'\\')).count() > 0;
    let disguised = if plain {
        false
    } else {
        match survey(text, breaks) {
            Ok(disguised) => disguised,
            Err(kind) => return Some(kind),
        }
    };
    find_secret(text, false).or_else(|| {
        let copy = (disguised || escapes)
            .then(|| undisguised(text))
            .filter(|copy| copy.len() < text.len())?;
        find_secret(&copy, disguised)
    })
}

/// Looks for characters that have no place; otherwise says whether some cannot be seen or stand in for others.
fn survey(text: &str, breaks: Breaks) -> Result<bool, UnsafeKind> {
    let mut disguised = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let allowed = match character {
            ' '..='~' => true,
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => breaks != Breaks::None,
            '\r' => breaks == Breaks::Any || (breaks == Breaks::Lines && characters.peek() == Some(&'\n')),
            '\u{200b}' | '\u{2060}' | '\u{feff}' => false,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                return Err(BidirectionalOverride);
            }
            _ => !character.is_control(),
        };
        if !allowed {
            return Err(ControlCharacter);
        }
        disguised |= is_unseen(character) || matches!(character, '：' | '＝');
    }
    Ok(disguised)
}

/// Characters that are allowed and not seen: a secret must not hide behind them.
#[rustfmt::skip]
fn is_unseen(character: char) -> bool {
    character >= '\u{ad}' && matches!(character, '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200c}' | '\u{200d}' | '\u{2061}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{3164}'
        | '\u{ffa0}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text without unseen characters, wide `：` and `＝`, JSON escapes and percent-encoding; shorter, if it had any.
fn undisguised(text: &str) -> String {
    let mut copy = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let hex = |range| {
            u8::from_str_radix(rest.get(range)?, 16)
                .ok()
                .filter(u8::is_ascii_graphic)
        };
        let (plain, used) = match (character, rest.as_bytes().get(1)) {
            ('\\', Some(b'n' | b'r' | b't')) => (Some(b' '), 2),
            ('\\', Some(&next @ (b'/' | b'"' | b'\\'))) => (Some(next), 2),
            ('\\', Some(b'u')) if rest.starts_with("\\u00") => (hex(4..6), 6),
            ('%', _) => (hex(1..3), 3),
            ('：', _) => (Some(b':'), 3),
            ('＝', _) => (Some(b'='), 3),
            _ => (None, 0),
        };
        if !is_unseen(character) {
            copy.push(plain.map_or(character, char::from));
        }
        rest = rest
            .get(plain.map_or(character.len_utf8(), |_| used)..)
            .unwrap_or_default();
    }
    copy
}

/// The one pass. `anywhere` also takes known forms that start inside a word.
fn find_secret(text: &str, anywhere: bool) -> Option<UnsafeKind> {
    let beginnings = &*BEGINNINGS;
    let bytes = text.as_bytes();
    let mut in_word = false;
    let mut jwt_end = 0; // of the last run that was looked at as a JWT's header
    for (at, &byte) in bytes.iter().enumerate() {
        let word = byte.is_ascii_alphanumeric();
        let begins = word && (anywhere || !in_word);
        in_word = word;
        if begins {
            let seconds = beginnings.get(usize::from(byte)).copied().unwrap_or_default();
            if seconds & second_bit(bytes.get(at + 1)) == 0 {
                continue;
            }
        } else if !matches!(byte, b'=' | b':' | b'>') {
            continue;
        }
        let (before, rest) = text.split_at_checked(at)?;
        let found = if !begins {
            separator(before, byte, rest.get(1..)?)
        } else if at >= jwt_end && rest.starts_with("eyJ") {
            let (header, found) = json_web_token(rest);
            jwt_end = at + header;
            found.then_some(JsonWebToken)
        } else {
            known_form(before, rest)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// For each first byte of a known form, the second bytes there are: what most words fail at.
static BEGINNINGS: LazyLock<[u32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let Ok(first) = u8::try_from(byte) else { return 0 };
        let lower = char::from(first.to_ascii_lowercase());
        let exact = forms(char::from(first))
            .iter()
            .map(|(prefix, ..)| *prefix)
            .chain(["eyJ"]);
        let words = hooks(lower).iter().map(|(host, ..)| *host).chain(WORDS);
        exact
            .filter(|prefix| prefix.as_bytes().first() == Some(&first))
            .chain(words.filter(|word| word.starts_with([lower, lower.to_ascii_uppercase()])))
            .fold(0, |seconds, prefix| {
                seconds | second_bit(prefix.as_bytes().get(1))
            })
    })
});

/// One of 32 bits, the same for both cases of a letter.
fn second_bit(byte: Option<&u8>) -> u32 {
    byte.map_or(0, |byte| 1 << (byte & 31))
}

// ---- known forms ----

fn alnum(character: char) -> bool {
    character.is_ascii_alphanumeric()
}
fn upper(character: char) -> bool {
    character.is_ascii_uppercase() || character.is_ascii_digit()
}
fn digit(character: char) -> bool {
    character.is_ascii_digit()
}
fn hex(character: char) -> bool {
    character.is_ascii_hexdigit()
}
fn wordy(character: char) -> bool {
    alnum(character) || character == '_'
}
fn base64url(character: char) -> bool {
    alnum(character) || matches!(character, '_' | '-')
}
fn token68(character: char) -> bool {
    base64url(character) || matches!(character, '.' | '~' | '+' | '/' | '=')
}
fn url_part(character: char) -> bool {
    !character.is_whitespace() && !matches!(character, '"' | '\'' | '`' | '<' | '>')
}

/// A prefix, what has to follow it, and how much of that.
type Form = (&'static str, fn(char) -> bool, usize, UnsafeKind);

/// Token forms by their first letter, in the case in which they are issued.
#[rustfmt::skip]
fn forms(first: char) -> &'static [Form] {
    const T: UnsafeKind = ProviderToken;
    match first {
        'A' => &[
            ("AKIA", upper, 16, CloudKey), ("ASIA", upper, 16, CloudKey), ("ABIA", upper, 16, CloudKey),
            ("AIza", base64url, 35, CloudKey), ("ATATT3x", token68, 16, T), ("ATCTT3x", token68, 16, T),
            ("ATBB", alnum, 28, T),
        ],
        'C' => &[("CFPAT-", base64url, 40, T)],
        'E' => &[("EAACEdEose0cBA", alnum, 8, T)],
        'L' => &[("LTAI", alnum, 12, CloudKey)],
        'P' => &[("PMAK-", base64url, 24, T)],
        'S' => &[("SK", hex, 32, T)],
        'b' => &[("b3BlbnNzaC1rZXktdjE", alnum, 1, PrivateKey), ("bkua_", alnum, 20, T)],
        'c' => &[("cio", alnum, 32, T)],
        'd' => &[
            ("dop_v1_", alnum, 20, CloudKey), ("doo_v1_", alnum, 20, CloudKey), ("dor_v1_", alnum, 20, CloudKey),
            ("dckr_pat_", base64url, 16, T), ("dckr_oat_", base64url, 16, T), ("dp.pt.", alnum, 20, T),
            ("dp.st.", token68, 20, T), ("dp.ct.", alnum, 20, T), ("dp.sa.", alnum, 20, T), ("dapi", hex, 32, T),
            ("dt0c01.", token68, 24, T),
        ],
        'f' => &[("figd_", base64url, 20, T), ("fm2_", token68, 20, T)],
        'g' => &[
            ("ghp_", wordy, 20, T), ("gho_", wordy, 20, T), ("ghu_", wordy, 20, T), ("ghs_", wordy, 20, T),
            ("ghr_", wordy, 20, T), ("github_pat_", wordy, 20, T), ("glpat-", base64url, 16, T),
            ("glptt-", base64url, 16, T), ("gldt-", base64url, 16, T), ("glrt-", base64url, 16, T),
            ("glcbt-", base64url, 16, T), ("glft-", base64url, 16, T), ("gloas-", base64url, 16, T),
            ("glsa_", wordy, 20, T), ("glc_", token68, 32, T),
        ],
        'h' => &[
            ("hf_", alnum, 20, T), ("hvs.", base64url, 20, T), ("hvb.", base64url, 20, T), ("hvr.", base64url, 20, T),
        ],
        'l' => &[("lin_api_", alnum, 20, T), ("lin_oauth_", alnum, 20, T)],
        'n' => &[("npm_", alnum, 36, T), ("ntn_", alnum, 36, T)],
        'p' => &[
            ("pypi-AgEI", base64url, 16, T), ("pul-", hex, 40, T), ("pscale_tkn_", base64url, 20, T),
            ("pscale_pw_", base64url, 20, T),
        ],
        'r' => &[("rk_live_", wordy, 16, T), ("rk_test_", wordy, 16, T), ("rubygems_", hex, 40, T)],
        's' => &[
            ("sk_live_", wordy, 16, T), ("sk_test_", wordy, 16, T), ("sk-ant-", base64url, 16, T),
            ("sk-proj-", base64url, 16, T), ("sk-svcacct-", base64url, 16, T), ("sk-admin-", base64url, 16, T),
            ("sk-", alnum, 20, T), ("shpat_", alnum, 20, T), ("shpca_", alnum, 20, T), ("shppa_", alnum, 20, T),
            ("shpss_", alnum, 20, T), ("sntrys_", token68, 20, T), ("sbp_", hex, 40, T), ("squ_", hex, 40, T),
            ("sqp_", hex, 40, T), ("secret_", alnum, 40, T),
        ],
        't' => &[("tskey-", base64url, 16, T)],
        'w' => &[("whsec_", token68, 16, T)],
        'x' => &[
            ("xapp-", base64url, 16, T), ("xkeysib-", alnum, 32, T), ("xoxa-", base64url, 10, T),
            ("xoxb-", base64url, 10, T), ("xoxc-", base64url, 10, T), ("xoxd-", base64url, 10, T),
            ("xoxe-", base64url, 10, T), ("xoxe.", token68, 10, T), ("xoxo-", base64url, 10, T),
            ("xoxp-", base64url, 10, T), ("xoxr-", base64url, 10, T), ("xoxs-", base64url, 10, T),
        ],
        'y' => &[("ya29.", base64url, 20, T)],
        _ => &[],
    }
}

/// A webhook's host, the beginning of its path, and what the secret comes after.
type Hook = (&'static str, &'static str, &'static str);

/// Webhook addresses by their first letter.
#[rustfmt::skip]
fn hooks(first: char) -> &'static [Hook] {
    match first {
        'a' => &[("alert.victorops.com", "/integrations/", "")],
        'c' => &[("chat.googleapis.com", "/v1/spaces/", "key=")],
        'd' => &[("discord.com", "/api/", "webhooks/"), ("discordapp.com", "/api/", "webhooks/")],
        'e' => &[("events.pagerduty.com", "/integration/", ""), ("events.eu.pagerduty.com", "/integration/", "")],
        'h' => &[
            ("hooks.slack.com", "/services/", ""), ("hooks.slack.com", "/workflows/", ""),
            ("hooks.slack.com", "/triggers/", ""), ("hooks.slack-gov.com", "/services/", ""),
            ("hooks.zapier.com", "/hooks/catch/", ""),
        ],
        'l' => &[("logic.azure.com", "/workflows/", "sig=")],
        'm' => &[("maker.ifttt.com", "/trigger/", "/key/")],
        'o' => &[
            ("outlook.office.com", "/webhook/", ""), ("outlook.office365.com", "/webhook/", ""),
            ("open.feishu.cn", "/open-apis/bot/", "hook/"), ("open.larksuite.com", "/open-apis/bot/", "hook/"),
        ],
        'w' => &[("webhook.office.com", "/webhookb2/", "")],
        _ => &[],
    }
}

/// What begins a known form in any case.
const WORDS: [&str; 8] = [
    "AGE-SECRET-KEY-1",
    "BEGIN ",
    "END ",
    "PuTTY-User-Key-File-",
    "Bearer",
    "Basic",
    "Splunk ",
    "SG.",
];

fn known_form(before: &str, rest: &str) -> Option<UnsafeKind> {
    let first = rest.chars().next()?;
    let second = rest.as_bytes().get(1);
    let issued = |(prefix, class, least, _): &&Form| {
        if prefix.as_bytes().get(1) != second {
            return false;
        }
        let tail = rest.strip_prefix(prefix).and_then(|tail| tail.get(..*least));
        tail.is_some_and(|tail| tail.chars().all(class) && !masked(tail))
    };
    if let Some((_, _, _, kind)) = forms(first).iter().find(issued) {
        return Some(*kind);
    }
    let first = first.to_ascii_lowercase();
    let after = |word| strip_word(rest, word);
    match first {
        'a' if after("AGE-SECRET-KEY-1").is_some() => Some(PrivateKey),
        'b' if after("BEGIN ").is_some_and(|label| is_armour(before, label)) => Some(PrivateKey),
        'e' if after("END ").is_some_and(|label| is_armour(before, label)) => Some(PrivateKey),
        'p' if after("PuTTY-User-Key-File-").is_some() => Some(PrivateKey),
        'b' if after("Bearer").is_some_and(is_bearer) => Some(BearerCredential),
        'b' if after("Basic").is_some_and(is_basic) => Some(BasicCredential),
        's' if after("Splunk ").is_some_and(is_uuid) || after("SG.").is_some_and(is_sendgrid) => {
            Some(ProviderToken)
        }
        _ => hooks(first)
            .iter()
            .any(|hook| is_hook(rest, hook))
            .then_some(WebhookUrl),
    }
}

/// `-----BEGIN OPENSSH PRIVATE KEY-----` and its relatives, from behind the `BEGIN `.
fn is_armour(before: &str, label: &str) -> bool {
    let label = leading(label, |c| !matches!(c, '-' | '\n'), 64).to_ascii_uppercase();
    before.trim_end().ends_with("--") && label.contains("PRIVATE KEY")
}

/// The length of the run that begins here, and whether it is the header of a JWT (the payload that follows is an
/// object too) or of a JWE (four more parts follow).
fn json_web_token(rest: &str) -> (usize, bool) {
    let header = leading(rest, base64url, usize::MAX).len();
    let mut rest = rest.get(header..).unwrap_or_default();
    let signed = rest
        .strip_prefix(".eyJ")
        .is_some_and(|payload| leading(payload, base64url, 5).len() == 5);
    let mut part = |least: &usize| {
        let Some(from) = rest.strip_prefix('.') else {
            return false;
        };
        let length = leading(from, base64url, usize::MAX).len();
        rest = from.get(length..).unwrap_or_default();
        length >= *least
    };
    (
        header,
        header >= 12 && (signed || [0, 8, 1, 16].iter().all(&mut part)),
    )
}

fn is_bearer(rest: &str) -> bool {
    let from = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ':' | '=' | '"' | '\''));
    let token = leading(from, token68, LOOK);
    from.len() < rest.len() && token.len() >= 12 && !redacted(token) && credential_like(token)
}

/// Whether base64 follows that decodes to printable `user:password`.
fn is_basic(rest: &str) -> bool {
    let from = rest.trim_start();
    let encoded = leading(from, |c| base64url(c) || matches!(c, '+' | '/'), LOOK).as_bytes();
    let mut decoded = Vec::with_capacity(encoded.len());
    for group in encoded.chunks(4) {
        let bits = group.iter().fold(0, |bits, byte| {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                _ => 63,
            };
            (bits << 6) | u32::from(sextet)
        });
        let [_, octets @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        decoded.extend(octets.iter().take(group.len() * 3 / 4));
    }
    let text = std::str::from_utf8(&decoded).unwrap_or_default();
    from.len() < rest.len() && encoded.len() >= 4 && text.contains(':') && !text.contains(char::is_control)
}

fn is_uuid(rest: &str) -> bool {
    let shape = |(at, c): (usize, char)| {
        if matches!(at, 8 | 13 | 18 | 23) {
            c == '-'
        } else {
            hex(c)
        }
    };
    rest.get(..36)
        .is_some_and(|uuid| uuid.chars().enumerate().all(shape))
}

/// An id, a dot and a key.
fn is_sendgrid(rest: &str) -> bool {
    let id = leading(rest, base64url, 64).len();
    let key = rest.get(id..).and_then(|rest| rest.strip_prefix('.'));
    id >= 16 && key.is_some_and(|key| leading(key, base64url, 16).len() == 16)
}

fn is_hook(rest: &str, (host, path, marker): &Hook) -> bool {
    let Some(rest) = strip_word(rest, host) else {
        return false;
    };
    let rest = rest
        .strip_prefix(':')
        .map_or(rest, |port| port.trim_start_matches(digit));
    let tail = strip_word(rest, path).map(|tail| leading(tail, url_part, 2 * LOOK));
    let Some((_, secret)) = tail.and_then(|tail| tail.split_once(marker)) else {
        return false;
    };
    let secret = leading(secret, |c| !matches!(c, '?' | '&' | '#'), LOOK);
    secret.len() >= 8 && secret.split('/').any(|part| !redacted(part))
}

// ---- `=`, `:` and `>` ----

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Password,
    Secret,
    /// An `Authorization` header.
    Header,
    /// A cloud provider's name for a secret.
    Cloud,
    /// A name that has other uses as well.
    Weak,
}

/// What a name stands for by its end, whatever its case and separators.
fn naming(name: &str) -> Option<Naming> {
    let name = name.trim_end_matches(|c: char| !c.is_ascii_alphabetic()); // `token_2`, `__password__`
    let ends = |words: &[&str]| words.iter().any(|word| ends_in(name, word));
    let key_of = |names: &str| {
        let name = name.get(..name.len().saturating_sub(3)).unwrap_or_default();
        names.split(' ').any(|word| ends_in(name, word))
    };
    match name.bytes().next_back()?.to_ascii_lowercase() {
        b'd' if ends(&["password", "passwd", "pwd"]) => Some(Naming::Password),
        b'd' if ends(&["privatekeyid"]) => Some(Naming::Cloud),
        b'e' if ends(&["passphrase", "passcode"]) => Some(Naming::Password),
        b'e' if ends(&["cookie"]) => Some(Naming::Weak),
        b'n' if ends(&["authorization"]) => Some(Naming::Header),
        b'n' if ends(&["pagetoken", "nexttoken", "continuationtoken", "cancellationtoken"]) => None,
        b'n' if ends(&["token"]) => Some(Naming::Secret),
        b't' if ends(&["secret"]) => Some(Naming::Secret),
        b'y' if !ends(&["key"]) => None,
        b'y' if key_of("secretaccess account sharedaccess") => Some(Naming::Cloud),
        b'y' if key_of(
            "api secret access private signing encryption master auth subscription application functions",
        ) =>
        {
            Some(Naming::Secret)
        }
        b'y' if key_of("routing integration") => Some(Naming::Weak),
        _ => None,
    }
}

fn ends_in(name: &str, word: &str) -> bool {
    let mut letters = name.bytes().rev().filter(u8::is_ascii_alphanumeric);
    word.bytes().rev().all(|wanted| {
        letters
            .next()
            .is_some_and(|letter| letter.eq_ignore_ascii_case(&wanted))
    })
}

/// What a `=`, `:` or `>` between `before` and `after` reveals.
fn separator(before: &str, mark: u8, after: &str) -> Option<UnsafeKind> {
    if mark == b':' {
        if let Some(rest) = after.strip_prefix("//") {
            return has_userinfo_secret(rest).then_some(CredentialedUrl);
        }
        if is_telegram(before, after) {
            return Some(ProviderToken);
        }
    }
    // the name, and what stands before it; digits at its end fall away, a space before `key` belongs to it
    let in_url = |edge: &str| edge.ends_with(['?', '&', '#']) || edge.ends_with("&amp;");
    let part = |c: char| alnum(c) || matches!(c, '_' | '-' | '.');
    let head = before.trim_end_matches(|c: char| {
        c.is_whitespace() || digit(c) || matches!(c, '"' | '\'' | '`' | ']' | '*')
    });
    let mut edge = head.trim_end_matches(part);
    if head
        .get(edge.len()..)
        .is_some_and(|name| name.eq_ignore_ascii_case("key"))
    {
        edge = edge
            .strip_suffix(' ')
            .map_or(edge, |head| head.trim_end_matches(part));
    }
    let name = head.get(edge.len()..)?;
    match mark {
        b'=' if in_url(edge) && is_signed(name, after) => return Some(SignedUrl),
        b'>' => return (edge.ends_with('<') && is_element(name, after)).then_some(SecretValue),
        // `Token::new`, and `arn:aws:secretsmanager:...:secret:name`, which is a name
        b':' if after.starts_with(':') || (edge.ends_with(':') && !after.starts_with(' ')) => return None,
        _ => {}
    }
    let naming = naming(name)?;
    let equals = mark == b'=' || after.starts_with('=');
    let after = after.strip_prefix("** ").unwrap_or(after); // from `**Password:** `
    let after =
        after.trim_start_matches(|c: char| matches!(c, '=' | '>' | '`') || (c.is_whitespace() && c != '\n'));
    if after.starts_with('/') && ends_in(name, "pwd") {
        return None; // a working directory
    }
    let quoted_name = before.get(head.len()..)?.contains(['"', '\'']);
    assigned(naming, after, equals, quoted_name)
}

/// The assignment rule of the module's documentation; `after` begins with the value.
fn assigned(naming: Naming, after: &str, equals: bool, quoted_name: bool) -> Option<UnsafeKind> {
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
    let line = leading(
        after.get(quote.iter().count()..)?,
        |c| c != '\n' && quote != Some(c),
        LOOK,
    );
    let word = |line| {
        leading(
            line,
            |c| !c.is_whitespace() && !matches!(c, ',' | ';' | '&' | '"' | '\'' | '`'),
            LOOK,
        )
    };
    if naming == Naming::Header {
        let (kind, credential) = scheme(line).unwrap_or((SecretValue, line));
        let credential = word(credential);
        return (credential.len() >= 8 && !redacted(credential) && credential_like(credential))
            .then_some(kind);
    }
    let value = if quote.is_some() { line } else { word(line) };
    let found = match naming {
        Naming::Password | Naming::Secret | Naming::Cloud if equals || quote.is_some() => {
            value.len() >= 4 && (equals || quoted_name || !value.contains(char::is_whitespace))
        }
        Naming::Password => value.len() >= 6 && password_like(value),
        Naming::Secret | Naming::Header | Naming::Cloud | Naming::Weak => {
            value.len() >= 8 && credential_like(value)
        }
    };
    let kind = if naming == Naming::Cloud {
        CloudKey
    } else {
        SecretValue
    };
    (found && !redacted(value)).then_some(kind)
}

/// `<password>value</`
fn is_element(name: &str, after: &str) -> bool {
    let value = leading(after, |c| !matches!(c, '<' | '\n'), LOOK);
    let closed = after
        .get(value.len()..)
        .is_some_and(|rest| rest.starts_with("</"));
    closed
        && value.len() >= 4
        && naming(name).is_some_and(|naming| naming != Naming::Weak)
        && !redacted(value)
}

/// Whether the parameter of a URL carries a permission.
fn is_signed(name: &str, after: &str) -> bool {
    const SIGNING: [&str; 4] = [
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Goog-Signature",
        "X-Goog-Credential",
    ];
    let named = |names: &[&str]| names.iter().any(|other| other.eq_ignore_ascii_case(name));
    let value = leading(after, |c| url_part(c) && !matches!(c, '&' | '#' | ';'), LOOK);
    let secret = (named(&["sig", "signature"]) && value.len() >= 16)
        || (named(&["key"]) && value.starts_with("AIza"))
        || named(&SIGNING)
        || naming(name).is_some_and(|naming| naming != Naming::Weak);
    secret && !redacted(value)
}

/// Whether `user:password@` or `token@` stands here, behind `://`.
fn has_userinfo_secret(rest: &str) -> bool {
    let mut authority = leading(rest, |c| url_part(c) && !matches!(c, '/' | '?' | '#'), 2 * LOOK);
    let no_port = |(host, port): (&str, &str)| !host.starts_with('[') && !port.chars().all(digit);
    if !authority.contains('@') && authority.split_once(':').is_some_and(no_port) {
        authority = leading(rest, url_part, LOOK); // a password with a `/` in it
    }
    let Some((user, _)) = authority.rsplit_once('@') else {
        return false;
    };
    let password = user.split_once(':').map(|(_, password)| password);
    password.map_or(user.len() >= 16 && credential_like(user), |password| {
        !redacted(password)
    })
}

/// A bot's number, `:AA` and 33 more.
fn is_telegram(before: &str, after: &str) -> bool {
    let number = before
        .bytes()
        .rev()
        .take(11)
        .take_while(u8::is_ascii_digit)
        .count();
    after.starts_with("AA") && (8..=10).contains(&number) && leading(after, base64url, 35).len() == 35
}

// ---- values ----

/// The scheme of an `Authorization` header and what follows it.
fn scheme(value: &str) -> Option<(UnsafeKind, &str)> {
    let (name, rest) = value.split_once(char::is_whitespace)?;
    let kind = match name.to_ascii_lowercase().as_str() {
        "bearer" => BearerCredential,
        "basic" => BasicCredential,
        "splunk" | "geniekey" => ProviderToken,
        "token" | "digest" | "apikey" | "dpop" | "negotiate" => SecretValue,
        _ => return None,
    };
    Some((kind, rest.trim_start()))
}

/// Whether a value stands for one that was taken out, or only says how things are.
fn redacted(value: &str) -> bool {
    const STATES: &str = "redacted masked hidden removed scrubbed filtered omitted sanitized withheld protected encrypted \
                          confidential none null nil n/a na unset empty blank rotated revoked expired invalid missing \
                          required optional unknown undefined unavailable true false yes changed unchanged pending \
                          approved denied granted rejected failed valid verified present absent enabled disabled stored";
    let value = value.trim();
    let core =
        value.trim_matches(|c: char| c.is_ascii_punctuation() && !matches!(c, '$' | '*' | '<' | '{' | '%'));
    let variable = |name: &str| name.chars().all(|c| upper(c) || c == '_');
    core.is_empty()
        || masked(value)
        || core
            .strip_prefix('<')
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
        || ["${", "$(", "{{"].iter().any(|open| core.starts_with(open))
        || core
            .strip_prefix('{')
            .is_some_and(|name| value.contains('}') && name.chars().all(wordy))
        || core.strip_prefix('$').is_some_and(variable)
        || core
            .strip_prefix('%')
            .and_then(|name| name.strip_suffix('%'))
            .is_some_and(variable)
        || strip_word(core, "redacted")
            .is_some_and(|rest| !rest.contains(|c| !matches!(c, '_' | '-' | 'A'..='Z' | 'a'..='z')))
        || STATES.split(' ').any(|state| core.eq_ignore_ascii_case(state))
}

/// `xxxxxxxx`, `****`, `...`, and what leaves at most four characters to be seen: `****1234`.
fn masked(value: &str) -> bool {
    let shown = value
        .chars()
        .filter(|c| !matches!(c, '*' | '.' | '-' | '_' | '#' | '?' | '•' | '…'))
        .count();
    let row = || ["***", "...", "•••", "…"].iter().any(|row| value.contains(row));
    shown == 0 || (shown <= 4 && row()) || (value.len() >= 3 && value.chars().all(|c| matches!(c, 'x' | 'X')))
}

/// Whether something looks made by a machine; names such as `cavra-oidc-2026` or `CHG-1234` do not.
fn credential_like(value: &str) -> bool {
    const ALGORITHMS: [&str; 8] = [
        "rsa", "ecdsa", "ed25519", "secp", "sha256", "sha512", "aes", "hmac",
    ];
    let algorithm = value.len() <= 16 && ALGORITHMS.iter().any(|name| strip_word(value, name).is_some());
    let mut turns = 0;
    let mut machine_made = |word: &str| {
        let digits = word.chars().filter(|c| digit(*c)).count();
        turns += word
            .as_bytes()
            .windows(2)
            .filter(|two| matches!(two, [a, b] if a.is_ascii_digit() != b.is_ascii_digit()))
            .count();
        word.len() >= 20 || (word.len() >= 6 && digits >= 2 && word.len() - digits >= 3) || turns >= 4
    };
    let found = value.split(|c| !alnum(c)).any(&mut machine_made)
        || (value.len() >= 8 && value.contains(digit) && has_symbol(value, "!$%^*"));
    let scheme = |(scheme, _): (&str, &str)| {
        scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || matches!(c, '+' | '-'))
    };
    found && !algorithm && !value.split_once("://").is_some_and(scheme)
}

/// Whether a word of prose looks like a password: `hunter2`, `P@ssword`, not `90days` or an e-mail address.
fn password_like(value: &str) -> bool {
    const HASHES: [&str; 5] = ["argon2", "pbkdf2", "bcrypt", "sha256", "sha512"];
    let hash = HASHES
        .iter()
        .any(|name| strip_word(value, name).is_some_and(|rest| rest.len() <= 4));
    let mailbox = |text: &str| text.chars().all(|c| token68(c) && c != '/');
    let email = value.split_once('@').is_some_and(|(user, host)| {
        let host = host.trim_end_matches(|c| !alnum(c));
        mailbox(user) && mailbox(host) && host.contains('.')
    });
    let mixed = |word: &str| {
        let rest = word.trim_start_matches(digit);
        let amount = rest.len() < word.len() && !rest.contains(digit);
        word.len() >= 3 && word.contains(digit) && !rest.is_empty() && !amount
    };
    !email && !hash && (value.split(|c| !alnum(c)).any(mixed) || has_symbol(value, "!$%^*@#"))
}

/// Whether a value has letters and, inside or along with digits, one of some symbols.
fn has_symbol(value: &str, symbols: &str) -> bool {
    let inner = value.trim_matches(|c| !alnum(c));
    let place = if value.contains(digit) { value } else { inner };
    value.contains(|c: char| c.is_ascii_alphabetic()) && place.contains(|c| symbols.contains(c))
}

/// The run of a class of characters at the beginning, up to a number of bytes.
fn leading(text: &str, class: impl Fn(char) -> bool, longest: usize) -> &str {
    let text = text.get(..text.floor_char_boundary(longest)).unwrap_or_default();
    text.find(|c| !class(c))
        .and_then(|end| text.get(..end))
        .unwrap_or(text)
}

/// What follows a word, whatever its case.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOTES: Field = Field::lines("notes", 4_000);

    /// Letters and digits without a meaning: no literal here has the form of a token.
    fn run(length: usize) -> String {
        "A1b2C3d4E5f6G7h8I9j0".chars().cycle().take(length).collect()
    }

    fn hexes(length: usize) -> String {
        "7e1312fd6a00c0cd".chars().cycle().take(length).collect()
    }

    /// Templates of one kind, a line each; `~` stands for `piece`.
    fn filled(kind: UnsafeKind, piece: &str, templates: &str) -> Vec<(String, UnsafeKind)> {
        templates
            .trim()
            .lines()
            .map(|line| (line.trim().replace('~', piece), kind))
            .collect()
    }

    #[rustfmt::skip]
    fn planted() -> Vec<(String, UnsafeKind)> {
        let up16 = run(16).to_uppercase();
        let header = "ey~bGciOiJSUzI1NiJ9".replace('~', "Jh");
        let jwt = format!("{header}.eyJ{}", "zdWIiOiIxIn0");
        let jwe = format!("{header}.{}.{}.{}.{}", run(30), run(16), run(50), run(22));
        let uuid = "0192f3a4-7c1d-7e2f-8a3b-4c5d6e7f8091";
        let mut all = vec![
            (format!("-----BEGIN {}-----\nMIIE", "PRIVATE KEY"), PrivateKey),
            (format!("Bearer\t{}", run(16)), BearerCredential),
            (format!("gh\u{200d}p_{}", run(36)), ProviderToken),
            (format!("x\u{ad}gh\u{fe0f}p_{}", run(36)), ProviderToken),
            (format!("SG.{}.{}", run(22), run(43)), ProviderToken),
            (format!("bot1234567890:AA{}", run(33)), ProviderToken),
        ];
        all.extend(filled(PrivateKey, "PRIVATE KEY", r"
            -----BEGIN RSA ~-----\nMIIE
            -----BEGIN OPENSSH ~-----
            -----BEGIN PGP ~ BLOCK-----
            -----END EC ~-----
            ---- BEGIN SSH2 ENCRYPTED ~ ----"));
        all.extend(filled(PrivateKey, "Key", "PuTTY-User-~-File-3: ssh-ed25519"));
        all.extend(filled(PrivateKey, &up16, "AGE-SECRET-KEY-1~"));
        all.extend(filled(PrivateKey, "ZXktdjE", "b3BlbnNzaC1r~ZAAAA"));
        all.extend(filled(JsonWebToken, &jwt, "~\n~.c2lnbmF0dXJl\n~."));
        all.extend(filled(JsonWebToken, &jwe, "~"));
        all.extend(filled(BearerCredential, &run(20), "Bearer ~\nBEARER: ~\nAuthorization: Bearer ~"));
        all.extend(filled(BearerCredential, uuid, "bearer ~"));
        all.extend(filled(BasicCredential, "dXNlcjpwYXNzd29yZA==", "Basic ~\nbasic  ~"));
        all.extend(filled(BasicCredential, "YW5hOmh1bnRlcjI", "authorization: basic ~"));
        all.extend(filled(SignedUrl, &run(36), r"
            https://b.example.org/o?X-Amz-Date=1&X-Amz-Signature=~
            https://b.example.org/o?X-Amz-Credential=~
            https://storage.example.org/o?X-Goog-Signature=~
            https://acc.blob.example.org/c?sv=2024-01-01&se=2026-01-02&sig=~%3D
            https://cdn.example.org/x?Expires=1&Signature=~&Key-Pair-Id=K1
            https://ci.example.org/x?token=~
            https://ci.example.org/x?a=1&amp;access_token=~
            https://ci.example.org/#access_token=~
            https://ci.example.org/x?api_key=~#part
            https://ci.example.org/x?next=%2Fy%3Fapikey%3D~
            https://ci.example.org/x?a=1\u0026sig=~
            https://maps.example.org/x?key=AIza~
            https://idp.example.org/t?client_secret=~&code=1"));
        all.extend(filled(SignedUrl, "hunter2", "https://db.example.org/?user=ana&password=~"));
        all.extend(filled(CredentialedUrl, "hunter2", r"
            https://ana:~@example.org/x
            postgres://app:~/w#1@db.internal:5432/x
            redis://:~@cache:6379"));
        all.extend(filled(CredentialedUrl, &run(36), "https://~@git.example.org/x.git"));
        all.extend(filled(WebhookUrl, "1234567890/abcdEFGH", r"
            https://hooks.slack.com/services/T0001/B0002/~
            https:\/\/hooks.slack.com\/services\/T0001\/~
            hooks.slack.com:443/workflows/T0001/~
            https://HOOKS.slack.com/triggers/~
            https://acme.webhook.office.com/webhookb2/~
            https://outlook.office.com/webhook/~
            https://discord.com/api/v10/webhooks/~
            https://discordapp.com/api/webhooks/~
            https://prod-1.eu.logic.azure.com:443/workflows/a/triggers/m/paths/invoke?sp=1&sig=~
            https://chat.googleapis.com/v1/spaces/AAA/messages?key=~
            https://hooks.zapier.com/hooks/catch/~/
            https://events.pagerduty.com/integration/~/enqueue"));
        all.extend(filled(CloudKey, &up16, "AKIA~\nASIA~\nLTAI~"));
        all.extend(filled(CloudKey, &hexes(40), r#"
            dop_v1_~
            aws_secret_access_key = ~
            AccountName=x;AccountKey=~==;
            Endpoint=sb://x/;SharedAccessKey=~=
            {"type": "service_account", "private_key_id": "~"}
            AIza~"#));
        let prefixes = "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- glptt- xoxb-12- xoxp-12- xapp-1- sk_live_ sk_test_ \
            rk_live_ whsec_ npm_ pypi-AgEI hf_ sk-ant- sk-proj- sk- dckr_pat_ hvs. hvb. ATATT3x ATCTT3x ya29. lin_api_ dp.pt. \
            EAACEdEose0cBA line\\ngho_";
        all.extend(prefixes.split_whitespace().map(|prefix| (prefix.to_owned() + &run(36), ProviderToken)));
        all.extend(["shpat_", "SK", "glsa_"].map(|prefix| (prefix.to_owned() + &hexes(32), ProviderToken)));
        all.extend(filled(ProviderToken, uuid, "Splunk ~\nAuthorization: Splunk ~"));
        all.extend(filled(SecretValue, "hunter2", r#"
            password=~
            Password: ~
            password：~
            DB_PASSWORD2='~'
            {"password": "~"}
            {"passphrase": "correct horse ~"}
            {\"clientSecret\":\"~\"}
            Server=db;User=a;Password=~;
            GITHUB_TOKEN := ~
            refresh_token => "~"
            <password>~</password>"#));
        all.extend(filled(SecretValue, "P@ssword", "**Passphrase:** ~\n__password__:\u{a0}~"));
        all.extend(filled(SecretValue, "Winter-2026!", "password: ~"));
        all.extend(filled(SecretValue, "{noop}letmein", "password=~"));
        all.extend(filled(SecretValue, &hexes(32), r"
            Authorization: Token ~
            X-Authorization: ~
            api key: ~
            x-api-key: ~
            signing key = ~
            webhook_secret: ~
            routing_key: ~
            Set-Cookie: session=~; Secure"));
        all
    }

    #[rustfmt::skip]
    const HARMLESS: [&str; 100] = [
        "", "Bearer tokens are rotated monthly", "the bearer of this ticket may enter",
        "Bearer authentication/authorization", "Bearer REDACTED", "Authorization: Bearer <token>",
        "Authorization: approved by the release board", "authorization: required before 2026-01-02T03:04:05Z",
        "basic authentication required", "Basic understanding of the runbook", "the basic plan: 3 steps",
        "Basic configuration:default", "token=REDACTED", "token=***", "token: ****1234",
        "password=<your-password>", "password=${DB_PASSWORD}", "password: $DB_PASSWORD", "password: see vault",
        "password: rotated", "Password: changed every 90 days", "password: 90days",
        "password: ask ana@example.org", "password: ana@example.org keeps it", "password reset requested",
        "secret: none", "secret: cavra-oidc-2026", "the secret: vault://prod/cavra/oidc",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-Ab1Cd2",
        "token rotation done, see CHG-123", "token: CHG-12345", "token: 2026-01-02T03:04:05.678901Z",
        "tokens: 3, secrets: 0", "page_token=abc123def456", "signing key: ed25519",
        "private key: secp256k1, kept in the HSM", "secret = required", "api_key: n/a", "api_key=xxxxxxxx",
        "PWD=/srv/cavra", "Token::from_str", "cryptography: Ken and Barbie", "cookie=enabled", "eyJ",
        "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9.not a token", "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----", "BEGIN the private key ceremony", "https://example.org/a?b=c#d",
        "https://example.org/a?token=REDACTED&sig=", "https://example.org/a?token={token}",
        "https://example.org/cb?code=abc123def456&state=x", "https://example.org/?sig=short",
        "https://example.org:8443/@scope/package@1.2.3", "https://user:***@example.org/",
        "https://user:REDACTED@example.org/", "ssh://git@github.com/acme/drills.git",
        "git+ssh://git@example.org:acme/drills.git", "https://hooks.slack.com/services/REDACTED",
        "https://hooks.slack.com/services/", "https://hooks.example.net/in?REDACTED",
        "https://discord.com/channels/1234567890/1234567890", "https://[2001:db8::1]:8443/x@y",
        "AKIA is the prefix of AWS keys",
        "ghp_ is the prefix of GitHub tokens, ghp_xxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-ant, sk-proj and sk_live_ are prefixes", "weighs_more_than_the_limit_permits_for_a_drill",
        "npm_config_registry was set, hf_transfer was not", "SK-1234, AC-5678, SG.1 and SG.ch",
        "task-12345678901234567890123456789012", "gordack-7e1312fd6a00c0cd",
        "rcd-gordackfinalauditor-0123456789abcdef-eb12d642e35d",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "go-rollback-drill-final-release-record://gordackfinalrecord-5656565656565656", "worm://bucket/obj-1",
        "immutable-archive://local/2026/01/02/package@3",
        "oci://registry.example.org/drill@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4", "CHG-123",
        "0192f3a4-7c1d-7e2f-8a3b-4c5d6e7f8091", "ana@example.org, #release-ops, @oncall",
        "2026-01-02T03:04:05.678901+00:00", "1767312000:7e1312fd6a00c0cd7e1312fd6a00c0cd7e1312fd6a00c0cd",
        "status_code=503; attempts=3; retry_after_seconds=30",
        "delivered to Splunk index main, then to PagerDuty", "first line\r\nsecond line\n\tindented",
        "# Report\n\n| owner | state |\n|---|---|\n| Ana | **ok** |\n",
        "Notfallübung abgeschlossen: Rücksetzung in 12 Minuten, Kennwort unverändert",
        "Exercice de retour arrière réussi : jeton renouvelé, mot de passe inchangé",
        "تم تأكيد مسار الإشعار من قبل المالك: انظر CHG-123", "מסלול ההתראה אושר על ידי הבעלים",
        "می‌خواهم گزارش را ببینم", "ロールバック訓練は完了しました。トークン: 更新済み", "回滚演练已完成，密码：已轮换",
        "Учения завершены: пароль сменён", "क्‍षमा करें, अभ्यास पूरा हुआ", "done 👩‍💻 👨‍👩‍👧‍👦 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "100% done \\o/ C:\\new\\token, a%20b & c &amp; d",
        "5 > 3, <b>bold</b>, <token> is needed, {\"tokens_redacted\": 4}",
    ];

    fn kind(raw: &str) -> Option<UnsafeKind> {
        PublicSafe::parse(NOTES, raw).err().map(|error| error.kind)
    }

    fn record_error(record: Value) -> (String, UnsafeKind) {
        let error = PublicSafe::parse_record(record, 100_000).expect_err("it is not public-safe");
        (error.field, error.kind)
    }

    #[test]
    fn every_planted_secret_is_found_alone_in_prose_and_in_a_record() {
        for (secret, expected) in planted() {
            assert_eq!(kind(&secret), Some(expected), "{secret}");
            for prose in [
                format!("Seen at 03:04: ({secret}) by Ana."),
                format!("Ünü says\n\"{secret}\"\nand went"),
            ] {
                assert!(kind(&prose).is_some(), "{prose}");
            }
            let (field, kind) =
                record_error(json!({"schedule": {"owners": ["Ana", format!("see {secret} there")]}}));
            assert_eq!(
                (field.as_str(), kind),
                ("/schedule/owners/1", expected),
                "{secret}"
            );
            let (field, kind) = record_error(json!({"labels": {secret.replace(['\n', '\t'], " "): true}}));
            assert_eq!((field.as_str(), kind), ("/labels", expected), "{secret}");
        }
    }

    #[test]
    fn harmless_text_passes_unchanged() {
        for text in HARMLESS {
            let parsed = PublicSafe::parse(NOTES, text);
            assert_eq!(parsed.as_ref().map(Text::as_str), Ok(text), "{text}");
            let record = json!({"notes": text, "list": [text], "name": "notes", "value": text});
            let parsed = PublicSafe::parse_record(record.clone(), 100_000);
            assert_eq!(parsed.map(PublicSafe::into_value), Ok(record), "{text}");
        }
    }

    #[test]
    fn control_and_direction_characters_are_refused_where_they_have_no_place() {
        const LINE: Field = Field::line("owner", 20);
        for text in ["a\nb", "a\rb", "a\tb", "a\u{2028}b", "a\u{2029}b"] {
            assert_eq!(
                PublicSafe::parse(LINE, text).map_err(|error| error.kind),
                Err(ControlCharacter),
                "{text:?}"
            );
        }
        for text in ["a\tb\nc\r\nd", "a\u{2028}b", "\u{200d}\u{200c}"] {
            assert_eq!(kind(text), None, "{text:?}");
        }
        for text in "\0 \u{1b}[31m \u{7f} \u{85} \u{9f} a\rb a\r \u{200b} \u{2060} \u{feff}x".split(' ') {
            assert_eq!(kind(text), Some(ControlCharacter), "{text:?}");
        }
        for character in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}".chars() {
            assert_eq!(
                kind(&format!("a{character}b")),
                Some(BidirectionalOverride),
                "{character:?}"
            );
        }
        assert!(PublicSafe::parse_record(json!(["a\rb\tc\n"]), 10).is_ok());
        assert_eq!(
            record_error(json!({"a": {"b\n": 1}})),
            ("/a".to_owned(), ControlCharacter)
        );
    }

    #[test]
    fn length_is_counted_in_characters() {
        const OWNER: Field = Field::line("owner", 3);
        assert!(PublicSafe::parse(OWNER, "ÄÖÜ").is_ok());
        let error = PublicSafe::parse(OWNER, "ÄÖÜß").expect_err("four characters");
        assert_eq!((error.kind, error.max_chars), (TooLong, Some(3)));
        assert!(error.to_string().ends_with("(at most 3 characters)"));
        let error =
            PublicSafe::parse_record(json!({"a": {"b": ["123", "1234"]}}), 3).expect_err("four characters");
        assert_eq!(
            (error.field.as_str(), error.kind, error.max_chars),
            ("/a/b/1", TooLong, Some(3))
        );
        let error = PublicSafe::parse_record(json!({"k".repeat(513): 1}), 100_000).expect_err("a long key");
        assert_eq!((error.field.as_str(), error.max_chars), ("", Some(MAX_KEY_CHARS)));
        assert!(error.to_string().starts_with("the record is not public-safe: "));
    }

    #[test]
    fn a_published_delivery_record_passes() {
        let record = json!({
            "metadata_kind": "release-connector-delivery", "session_id": "rcd-gordackfinalauditor-1-a1b2c3d4e5f6",
            "approval_required_count": 0, "tokens_redacted": 2, "token_verified": true, "password_reset": false,
            "signing_key_id": "ed25519-7e1312fd6a00c0cd", "secretary": "Ana", "authorization_scheme": "Bearer",
            "secret": {"name": "cavra-oidc"}, "api_key": "", "token": null, "page_token": "abc123def456",
            "delivery": {"deliveries": [{"provider": "slack", "error": null, "status_code": 503, "request": {
                "method": "POST", "url": "https://hooks.slack.com/services/REDACTED",
                "headers": {"authorization": "REDACTED", "X-Api-Key": "redacted", "Authorization": "Bearer ***"}}}]},
        });
        assert_eq!(
            PublicSafe::parse_record(record.clone(), 100_000).map(PublicSafe::into_inner),
            Ok(record)
        );
    }

    #[test]
    fn a_key_that_names_a_secret_holds_nothing_but_a_redaction() {
        let keys = "password DB-Password clientSecret x_api_key actor_token accessToken apikey cookie Authorization \
                    signing_key private_key_pem token_2 passwd pwd dd-application-key";
        for key in keys.split_whitespace() {
            for value in [json!("letmein"), json!(["", "letmein"])] {
                let found = record_error(json!({"a/b": [{key: value}]}));
                assert_eq!(found, (format!("/a~1b/0/{key}"), SecretValue));
            }
        }
        let pair = json!({"headers": [{"name": "Authorization", "value": "letmein"}]});
        assert_eq!(record_error(pair), ("/headers/0/value".to_owned(), SecretValue));
        let jwk = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "abc", "d": "abc"}]});
        assert_eq!(record_error(jwk), ("/keys/0".to_owned(), PrivateKey));
        assert!(PublicSafe::parse_record(json!({"kty": "OKP", "crv": "Ed25519", "x": "abc"}), 10).is_ok());
    }

    #[test]
    fn every_kind_has_a_name_and_an_explanation_of_its_own() {
        for (at, kind) in UnsafeKind::ALL.into_iter().enumerate() {
            let same = UnsafeKind::ALL
                .iter()
                .position(|other| other.as_str() == kind.as_str());
            assert_eq!(same, Some(at));
            assert!(
                !kind
                    .as_str()
                    .contains(|c: char| !c.is_ascii_lowercase() && c != '_')
            );
            assert!(!kind.explanation().ends_with('.') && kind.explanation().starts_with(char::is_lowercase));
        }
        let error = PublicSafe::parse(NOTES, "password=hunter2").expect_err("it is a password");
        assert_eq!(
            error.to_string(),
            format!("`notes` is not public-safe: {}", SecretValue.explanation())
        );
    }

    #[test]
    fn it_serializes_and_describes_itself_as_a_plain_string() {
        let text = PublicSafe::parse(NOTES, "paged").expect("harmless");
        assert_eq!(serde_json::to_value(&text).ok(), Some(json!("paged")));
        assert_eq!(schemars::schema_for!(Text), schemars::schema_for!(String));
        assert_eq!(
            (text.to_string(), text.get().as_str(), Text::default()),
            ("paged".into(), "paged", Text::empty())
        );
    }

    #[test]
    fn hostile_repetition_stays_linear() {
        let pieces = "eyJ|eyJ-|eyJaaaaaaaaa.|a://b:c/|?a=|token=|Bearer a1|Basic YTpi|hooks.slack.com/services/|-BEGIN |\
                      logic.azure.com/workflows/|password: '|key |\u{200d}gh|%3D|1234567890:AA|<|SG.a";
        for piece in pieces.split('|') {
            let text = piece.repeat(1_000_000 / piece.len());
            let _ = fault(&text, usize::MAX, Breaks::None); // a quadratic rule would take minutes here
        }
    }

    fn separated() -> impl Strategy<Value = (String, char)> {
        let text = prop_oneof![any::<String>(), "[ -~]{0,40}", "[A-Za-z .,:=]{0,40}"];
        let separator = prop::sample::select(" \n\t,;()\"|!?/…".chars().collect::<Vec<_>>());
        (
            text.prop_filter("public-safe", |text| kind(text).is_none()),
            separator,
        )
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics_and_comes_out_unchanged(raw in any::<String>()) {
            if let Ok(text) = PublicSafe::parse(NOTES, &raw) {
                prop_assert_eq!(text.as_str(), raw.as_str());
                prop_assert_eq!(text.into_inner(), raw);
            }
        }

        #[test]
        fn arbitrary_bytes_of_interest_never_panic(raw in "[=:>@/?&#.\\-_ \"'%<a-zA-Z0-9\u{200d}é\\\\]{0,80}") {
            let _ = (kind(&raw), PublicSafe::parse_record(json!({raw.clone(): raw}), 50));
        }

        #[test]
        fn a_planted_secret_is_found_between_anything_and_never_told(
            (before, open) in separated(),
            (after, close) in separated(),
            (secret, _) in prop::sample::select(planted()),
        ) {
            let text = format!("{before}{open}{secret}{close}{after}");
            let error = PublicSafe::parse(Field::lines("notes", usize::MAX), &text);
            let error = error.map_err(|error| format!("{error} {error:?}"));
            prop_assert!(error.is_err(), "{:?}", text);
            prop_assert!(!error.unwrap_err().contains(&secret));
            let error = PublicSafe::parse_record(json!({"a": [text]}), usize::MAX).map_err(|error| format!("{error} {error:?}"));
            prop_assert!(error.is_err_and(|error| error.contains("/a/0") && !error.contains(&secret)));
        }
    }
}
