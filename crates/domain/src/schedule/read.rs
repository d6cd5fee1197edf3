//! Reading untrusted JSON in the two manners that the parent module describes.

use std::fmt;

use serde_json::{Map, Value};

use super::ScheduleError;
use crate::public_safe::{Field, NotPublicSafe, Text};
use crate::route::{DEFAULT_ACKNOWLEDGEMENT_MINUTES, MAX_NAME_CHARS, Provider};
use crate::time::{TimeError, Timestamp};

/// What an unknown key may hold before an error or a note names it.
const KEY: Field = Field::line("key", MAX_NAME_CHARS);

/// Where a value stands: a JSON pointer that is only written when something is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    /// The start.
    Root(&'static str),
    /// A member of an object. Keys from outside are looked at before they get here.
    Key(&'a At<'a>, &'a str),
    /// An element of a list.
    Index(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(name) => write!(f, "/{name}"),
            Self::Key(parent, key) => write!(f, "{parent}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// A member of an object; null when it is not there.
pub(super) fn member<'v>(object: &'v Map<String, Value>, key: &str) -> &'v Value {
    object.get(key).unwrap_or(&Value::Null)
}

/// The trimmed text, if it may stand in a document.
pub(super) fn safe(at: At<'_>, field: Field, raw: &str) -> Result<Text, ScheduleError> {
    Text::parse(field, raw.trim()).map_err(|error| unsafe_at(at, error))
}

/// The refusal with the JSON pointer in place of the field's own name.
pub(super) fn unsafe_at(at: At<'_>, mut error: NotPublicSafe) -> ScheduleError {
    error.field = at.to_string();
    ScheduleError::NotPublicSafe(error)
}

/// A time as the published system reads it (contract wire 0.1): RFC 3339, without offset as UTC, or a date.
pub(super) fn published_time(text: &str) -> Result<Timestamp, TimeError> {
    let text = text.trim();
    if text.len() == "2026-01-02".len() {
        return Timestamp::parse_published(&format!("{text}T00:00:00"));
    }
    Timestamp::parse_published(text)
}

/// Providers sorted by key, each once; of several spellings the first stays.
pub(super) fn sorted_unique(mut providers: Vec<Provider>) -> Vec<Provider> {
    providers.sort_by(|a, b| a.key().cmp(b.key()));
    providers.dedup_by(|a, b| a.key() == b.key());
    providers
}

/// What the published system calls falsy: such a value counts as not given.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// A text, and its index if it came in a list.
type Placed<'v> = (Option<usize>, &'v str);

/// Reads values and keeps, or raises, what is wrong with them.
///
/// Every method that reads a value gives `Ok(None)` for one that is wrong, after the problem was kept; null is
/// never wrong and reads as the empty value.
#[derive(Debug)]
pub(super) struct Reader {
    strict: bool,
    problems: Vec<ScheduleError>,
    unread_keys: Vec<String>,
}

impl Reader {
    /// For a request: the first problem is an error.
    pub(super) const fn strict() -> Self {
        Self {
            strict: true,
            problems: Vec::new(),
            unread_keys: Vec::new(),
        }
    }

    /// For a file: problems are kept. Only a text that is not public-safe is an error.
    pub(super) const fn tolerant() -> Self {
        Self {
            strict: false,
            problems: Vec::new(),
            unread_keys: Vec::new(),
        }
    }

    /// The problems since the last call.
    pub(super) fn take_problems(&mut self) -> Vec<ScheduleError> {
        std::mem::take(&mut self.problems)
    }

    /// The JSON pointers of the keys that nothing was read from.
    pub(super) fn into_unread_keys(self) -> Vec<String> {
        self.unread_keys
    }

    /// Raises or keeps a problem.
    pub(super) fn problem(&mut self, problem: ScheduleError) -> Result<(), ScheduleError> {
        if self.strict {
            return Err(problem);
        }
        self.problems.push(problem);
        Ok(())
    }

    /// Raises or keeps that a value is not what it should be.
    pub(super) fn wrong<T>(
        &mut self,
        at: At<'_>,
        expected: &'static str,
    ) -> Result<Option<T>, ScheduleError> {
        self.problem(ScheduleError::Expected {
            pointer: at.to_string(),
            expected,
        })?;
        Ok(None)
    }

    /// An object with no other keys than these. An unknown key is raised, or kept as unread.
    pub(super) fn object<'v>(
        &mut self,
        at: At<'_>,
        value: &'v Value,
        keys: &[&str],
    ) -> Result<Option<&'v Map<String, Value>>, ScheduleError> {
        let Value::Object(members) = value else {
            return self.wrong(at, "an object");
        };
        for key in members.keys().filter(|key| !keys.contains(&key.as_str())) {
            Text::parse(KEY, key).map_err(|error| unsafe_at(at, error))?;
            let pointer = At::Key(&at, key).to_string();
            if self.strict {
                return Err(ScheduleError::UnknownKey { pointer });
            }
            self.unread_keys.push(pointer);
        }
        Ok(Some(members))
    }

    /// The member that has one of two names, and which. Two of them are raised; in a file the first that says
    /// something counts, as the contract has it.
    pub(super) fn either<'v>(
        &mut self,
        at: At<'_>,
        members: &'v Map<String, Value>,
        names: [&'static str; 2],
    ) -> Result<Option<(&'static str, &'v Value)>, ScheduleError> {
        let given = names.map(|name| members.get(name).map(|value| (name, value)));
        if let [Some((first, a)), Some((second, b))] = given
            && self.strict
            && !a.is_null()
            && !b.is_null()
        {
            let pointer = |name| At::Key(&at, name).to_string();
            return Err(ScheduleError::TwoNames {
                first: pointer(first),
                second: pointer(second),
            });
        }
        let mut given = given.into_iter().flatten();
        let first = given.clone().next();
        Ok(given.find(|(_, value)| !says_nothing(value)).or(first))
    }

    /// A text.
    pub(super) fn text(
        &mut self,
        at: At<'_>,
        field: Field,
        value: &Value,
    ) -> Result<Option<Text>, ScheduleError> {
        match value {
            Value::Null => Ok(Some(Text::empty())),
            Value::String(raw) => safe(at, field, raw).map(Some),
            _ => self.wrong(at, "a text"),
        }
    }

    /// A text member; empty when it is not there or wrong.
    pub(super) fn member_text(
        &mut self,
        at: At<'_>,
        object: &Map<String, Value>,
        field: Field,
    ) -> Result<Text, ScheduleError> {
        let text = self.text(At::Key(&at, field.name), field, member(object, field.name))?;
        Ok(text.unwrap_or_default())
    }

    /// A time.
    pub(super) fn time(&mut self, at: At<'_>, value: &Value) -> Result<Option<Timestamp>, ScheduleError> {
        let Value::String(text) = value else {
            return self.wrong(at, "a time");
        };
        match published_time(text) {
            Ok(time) => Ok(Some(time)),
            Err(cause) => {
                self.problem(ScheduleError::Time {
                    pointer: at.to_string(),
                    cause,
                })?;
                Ok(None)
            }
        }
    }

    /// Start and end of a window, each under one of two names.
    pub(super) fn window(
        &mut self,
        at: At<'_>,
        members: &Map<String, Value>,
        starts: [&'static str; 2],
        ends: [&'static str; 2],
    ) -> Result<Option<(Timestamp, Timestamp)>, ScheduleError> {
        let [mut start, mut end] = [None, None];
        for (names, time) in [(starts, &mut start), (ends, &mut end)] {
            let [name, _] = names;
            let (name, value) = self.either(at, members, names)?.unwrap_or((name, &Value::Null));
            *time = self.time(At::Key(&at, name), value)?;
        }
        let (Some(start), Some(end)) = (start, end) else {
            return Ok(None);
        };
        if end < start {
            self.problem(ScheduleError::Reversed {
                pointer: at.to_string(),
            })?;
            return Ok(None);
        }
        Ok(Some((start, end)))
    }

    /// One text or a list of texts, none of them blank, each with its place in the list.
    fn strings<'v>(
        &mut self,
        at: At<'_>,
        value: &'v Value,
    ) -> Result<Option<Vec<Placed<'v>>>, ScheduleError> {
        match value {
            Value::Null => Ok(Some(Vec::new())),
            Value::String(text) if text.trim().is_empty() => Ok(Some(Vec::new())),
            Value::String(text) => Ok(Some(vec![(None, text)])),
            Value::Array(items) => {
                let mut strings = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    match item.as_str().filter(|text| !text.trim().is_empty()) {
                        Some(text) => strings.push((Some(index), text)),
                        None => return self.wrong(At::Index(&at, index), "a non-empty text"),
                    }
                }
                Ok(Some(strings))
            }
            _ => self.wrong(at, "a text or a list of texts"),
        }
    }

    /// Names: one, or a list; null and an empty text are none.
    pub(super) fn names(
        &mut self,
        at: At<'_>,
        field: Field,
        value: &Value,
    ) -> Result<Option<Vec<Text>>, ScheduleError> {
        let Some(strings) = self.strings(at, value)? else {
            return Ok(None);
        };
        strings
            .into_iter()
            .map(|(index, raw)| safe(place(&at, index), field, raw))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Providers in the order given: a text with commas between them, or a list; null and an empty text are none.
    pub(super) fn providers(
        &mut self,
        at: At<'_>,
        value: &Value,
    ) -> Result<Option<Vec<Provider>>, ScheduleError> {
        let Some(strings) = self.strings(at, value)? else {
            return Ok(None);
        };
        let mut providers = Vec::with_capacity(strings.len());
        for (index, raw) in strings {
            let names = if index.is_none() {
                raw.split(',').collect()
            } else {
                vec![raw]
            };
            for name in names {
                let provider = Provider::parse(name).map_err(|error| unsafe_at(place(&at, index), error))?;
                if provider.is_empty() {
                    return self.wrong(at, "provider names with commas between them");
                }
                providers.push(provider);
            }
        }
        Ok(Some(providers))
    }

    /// Acknowledgement minutes (contract wire 3.1, step 6): zero for what counts as not given, 60 for what is no
    /// positive number.
    pub(super) fn minutes(&mut self, at: At<'_>, value: &Value) -> Result<Option<u32>, ScheduleError> {
        let whole: i128 = match value {
            Value::Null => return Ok(Some(0)),
            _ if says_nothing(value) && (value.is_number() || value.is_string()) => return Ok(Some(0)),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(whole), ..) => i128::from(whole),
                (None, Some(whole), _) => i128::from(whole),
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "truncating is the rule, and the cast saturates"
                )]
                (None, None, float) => float.unwrap_or_default() as i128,
            },
            Value::String(text) => parse_whole(text.trim()).unwrap_or_default(),
            _ => return self.wrong(at, "a number of minutes"),
        };
        if whole <= 0 {
            return Ok(Some(DEFAULT_ACKNOWLEDGEMENT_MINUTES));
        }
        if let Ok(minutes) = u32::try_from(whole) {
            return Ok(Some(minutes));
        }
        self.problem(ScheduleError::MinutesTooLarge {
            pointer: at.to_string(),
        })?;
        Ok(None)
    }
}

/// The place of an item that came alone or in a list.
const fn place<'a>(at: &'a At<'a>, index: Option<usize>) -> At<'a> {
    match index {
        None => *at,
        Some(index) => At::Index(at, index),
    }
}

/// A whole number in decimal digits; one that is too large for any type is as large as it can be.
fn parse_whole(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(if text.starts_with('-') {
        i128::MIN
    } else {
        i128::MAX
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROOT: At<'_> = At::Root("x");

    #[test]
    fn pointers_escape_as_rfc_6901_says() {
        let list = At::Key(&ROOT, "a/b~c");
        assert_eq!(At::Index(&list, 3).to_string(), "/x/a~1b~0c/3");
    }

    #[test]
    fn a_time_may_lack_its_offset_or_be_a_date() {
        for text in [
            "2026-01-02T00:00:00Z",
            "2026-01-02T01:00:00+01:00",
            "2026-01-02 00:00:00",
            " 2026-01-02 ",
        ] {
            assert_eq!(
                published_time(text).unwrap().to_string(),
                "2026-01-02T00:00:00.000000Z",
                "{text}"
            );
        }
        for text in ["", "2026-13-02", "soon", "2026-01-0é"] {
            assert!(published_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn minutes_follow_the_published_rule() {
        let cases = [
            (json!(null), 0),
            (json!(0), 0),
            (json!(0.0), 0),
            (json!(" "), 0),
            (json!(45), 45),
            (json!(45.9), 45),
            (json!(0.5), 60),
            (json!(-1), 60),
            (json!("45"), 45),
            (json!(" +7 "), 7),
            (json!("0"), 60),
            (json!("-99999999999999999999999999999999999999999999"), 60),
            (json!("soon"), 60),
            (json!("4.5"), 60),
            (json!(u32::MAX), u32::MAX),
        ];
        for (value, expected) in cases {
            assert_eq!(
                Reader::strict().minutes(ROOT, &value),
                Ok(Some(expected)),
                "{value}"
            );
        }
    }

    #[test]
    fn minutes_beyond_any_calendar_or_of_another_type_are_a_problem() {
        let large = [
            "4294967296",
            "18446744073709551615",
            "1e300",
            "\"99999999999999999999999999999999999999999999\"",
        ];
        for text in large {
            let value: Value = serde_json::from_str(text).unwrap();
            let error = Reader::strict().minutes(ROOT, &value).unwrap_err();
            assert_eq!(
                error,
                ScheduleError::MinutesTooLarge { pointer: "/x".into() },
                "{text}"
            );
        }
        for value in [json!(true), json!(false), json!([]), json!([5]), json!({})] {
            let mut reader = Reader::tolerant();
            assert_eq!(reader.minutes(ROOT, &value), Ok(None), "{value}");
            assert_eq!(reader.take_problems().len(), 1, "{value}");
        }
    }

    #[test]
    fn of_two_spellings_the_first_stays() {
        let mut reader = Reader::strict();
        let providers = reader
            .providers(ROOT, &json!("teams, Slack,slack ,Pager-Duty"))
            .unwrap()
            .unwrap();
        let names: Vec<_> = sorted_unique(providers)
            .iter()
            .map(|p| p.as_str().to_owned())
            .collect();
        assert_eq!(names, ["Pager-Duty", "Slack", "teams"]);
        assert!(reader.providers(ROOT, &json!("slack,,teams")).is_err());
        assert!(reader.providers(ROOT, &json!(["slack", ""])).is_err());
    }

    #[test]
    fn a_secret_is_refused_in_both_manners_and_never_repeated() {
        let secret = "ghp_0123456789abcdefghij";
        for reader in [Reader::strict, Reader::tolerant] {
            let errors = [
                reader().text(ROOT, KEY, &json!(secret)).unwrap_err(),
                reader().names(ROOT, KEY, &json!(["fine", secret])).unwrap_err(),
                reader().providers(ROOT, &json!([secret])).unwrap_err(),
                reader().object(ROOT, &json!({ secret: 1 }), &[]).unwrap_err(),
            ];
            for (error, pointer) in errors.iter().zip(["/x", "/x/1", "/x/0", "/x"]) {
                assert!(matches!(error, ScheduleError::NotPublicSafe(_)), "{error:?}");
                assert_eq!(error.pointer(), Some(pointer));
                assert!(!error.to_string().contains(secret));
            }
        }
    }
}
