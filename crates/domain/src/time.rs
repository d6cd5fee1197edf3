//! Times as integers of microseconds, and the clock as an argument.
//!
//! Inside, a time is microseconds since 1970-01-01T00:00:00Z. Outside it is RFC 3339 in UTC with six
//! fractional digits and `Z` (contract decisions 3). Ages and deadlines are integer arithmetic, so that no
//! boundary depends on a float.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime, UtcDateTime};

/// Microseconds in one minute.
pub const MICROS_PER_MINUTE: i64 = 60_000_000;

/// Microseconds in one day.
pub const MICROS_PER_DAY: i64 = 24 * 60 * MICROS_PER_MINUTE;

/// 0000-01-01T00:00:00Z, the earliest time that RFC 3339 can write.
const EARLIEST_MICROS: i64 = -62_167_219_200_000_000;

/// 9999-12-31T23:59:59.999999Z, the latest time that RFC 3339 can write.
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

/// A point in time, in whole microseconds, within the years that RFC 3339 can write.
///
/// ```
/// use cavra_domain::time::Timestamp;
///
/// let at = Timestamp::parse("2026-01-02T04:04:05.5+01:00")?;
/// assert_eq!(at.to_string(), "2026-01-02T03:04:05.500000Z");
/// assert_eq!(at.plus_minutes(15).minutes_since(at), 15.0);
/// # Ok::<(), cavra_domain::time::TimeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimeError {
    /// The text is not RFC 3339.
    #[error("not an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z")]
    NotRfc3339,
    /// The time lies outside the years 0000 to 9999.
    #[error("outside the years 0000 to 9999")]
    OutOfRange,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The latest time that can be written.
    pub const MAX: Self = Self(LATEST_MICROS);
    /// The earliest time that can be written.
    pub const MIN: Self = Self(EARLIEST_MICROS);

    /// The time so many microseconds after the epoch, if RFC 3339 can write it.
    pub const fn from_micros(micros: i64) -> Option<Self> {
        if micros < EARLIEST_MICROS || micros > LATEST_MICROS {
            None
        } else {
            Some(Self(micros))
        }
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, as a `UUIDv7` carries them; times before the epoch give 0.
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1000)).unwrap_or(0)
    }

    /// Reads an RFC 3339 time with any offset. Digits beyond the sixth are cut off.
    ///
    /// # Errors
    /// [`TimeError`] when the text is not RFC 3339; a time without an offset is not.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimeError::NotRfc3339)?;
        Self::from_nanos(parsed.unix_timestamp_nanos())
    }

    /// Reads a time as the published store wrote it: as [`Timestamp::parse`], and a time without an offset is
    /// taken as UTC (contract wire 0.1). Only for imported records.
    ///
    /// # Errors
    /// [`TimeError`] when the text is neither.
    pub fn parse_published(text: &str) -> Result<Self, TimeError> {
        let text = text.trim();
        // Python writes and reads both separators.
        let text = match text.as_bytes().get(10) {
            Some(b' ') => Cow::Owned(text.replacen(' ', "T", 1)),
            _ => Cow::Borrowed(text),
        };
        if let Ok(at) = Self::parse(&text) {
            return Ok(at);
        }
        let naive =
            PrimitiveDateTime::parse(&format!("{text}Z"), &Rfc3339).map_err(|_| TimeError::NotRfc3339)?;
        Self::from_nanos(naive.assume_utc().unix_timestamp_nanos())
    }

    fn from_nanos(nanos: i128) -> Result<Self, TimeError> {
        i64::try_from(nanos.div_euclid(1000))
            .ok()
            .and_then(Self::from_micros)
            .ok_or(TimeError::OutOfRange)
    }

    /// This time plus whole minutes, at most [`Timestamp::MAX`].
    #[must_use]
    pub const fn plus_minutes(self, minutes: u32) -> Self {
        // u32::MAX minutes are 2.6e17 microseconds, so the product and the sum fit an i64.
        let micros = self.0 + minutes as i64 * MICROS_PER_MINUTE;
        if micros > LATEST_MICROS {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// This time plus microseconds, held within the times that can be written.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        let sum = self.0.saturating_add(micros);
        if sum > LATEST_MICROS {
            Self::MAX
        } else if sum < EARLIEST_MICROS {
            Self::MIN
        } else {
            Self(sum)
        }
    }

    /// Microseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Minutes from `earlier` to this time, rounded to hundredths: for people and for the published
    /// `age_minutes` field, never for a decision.
    #[expect(
        clippy::cast_precision_loss,
        reason = "hundredths of minutes over 10,000 years stay below 2^53"
    )]
    pub fn minutes_since(self, earlier: Self) -> f64 {
        let micros = i128::from(self.micros_since(earlier));
        // Rounded half up in integers, then divided once.
        let hundredths = (micros * 2 + 600_000).div_euclid(1_200_000);
        i64::try_from(hundredths).unwrap_or(i64::MAX) as f64 / 100.0
    }
}

/// A time as it is written, in ASCII. Documents have several of them in every line, so it is made without `format!`.
struct Written([u8; 27]);

impl Written {
    fn of(at: Timestamp) -> Self {
        let (seconds, micros) = (at.0.div_euclid(1_000_000), at.0.rem_euclid(1_000_000));
        // The constructor holds the range, so the fallback is never taken.
        let date = UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::UNIX_EPOCH);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |from: usize, digits: usize, mut number: u32| {
            let places = text.get_mut(from..from + digits).unwrap_or_default();
            for place in places.iter_mut().rev() {
                // A remainder of ten fits.
                *place += u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        };
        put(0, 4, date.year().unsigned_abs());
        put(5, 2, u8::from(date.month()).into());
        put(8, 2, date.day().into());
        put(11, 2, date.hour().into());
        put(14, 2, date.minute().into());
        put(17, 2, date.second().into());
        put(20, 6, u32::try_from(micros).unwrap_or_default());
        Self(text)
    }

    fn as_str(&self) -> &str {
        // Digits and the letters above are ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Written::of(*self).as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Written::of(*self).as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 in UTC with six fractional digits and Z; any offset is accepted in requests."
        })
    }
}

/// Where the current time comes from. The domain never asks for it by itself.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock that stands still: tests, examples, and the sample binary's `--frozen-clock`.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(
    /// The time that it shows.
    pub Timestamp,
);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_offset_becomes_utc_with_six_digits() {
        let cases = [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000Z"),
            ("2026-01-02T03:04:05.678901+00:00", "2026-01-02T03:04:05.678901Z"),
            ("2026-01-01T22:04:05.6789019-05:00", "2026-01-02T03:04:05.678901Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-13-02T03:04:05Z",
            "2026-02-30T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_published_time_without_offset_is_utc() {
        for text in [
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05",
            "2026-01-02 03:04:05+00:00",
            " 2026-01-02T03:04:05Z",
        ] {
            assert_eq!(
                Timestamp::parse_published(text).unwrap().to_string(),
                "2026-01-02T03:04:05.000000Z",
                "{text}"
            );
        }
        assert!(Timestamp::parse_published("unknown").is_err());
    }

    #[test]
    fn ages_round_to_hundredths_of_a_minute() {
        let at = |micros| Timestamp::from_micros(micros).unwrap();
        let age = |now: i64, then: i64| at(now).minutes_since(at(then)).to_string();
        assert_eq!(age(299_999, 0), "0");
        assert_eq!(age(300_000, 0), "0.01");
        assert_eq!(age(0, 120 * MICROS_PER_MINUTE), "-120");
    }

    #[test]
    fn sums_stay_within_the_years_that_can_be_written() {
        assert_eq!(Timestamp::MAX.plus_minutes(u32::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.plus_micros(i64::MIN), Timestamp::MIN);
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00.000000Z");
    }

    proptest! {
        #[test]
        fn writing_and_reading_gives_the_same_time(micros in EARLIEST_MICROS..=LATEST_MICROS) {
            let at = Timestamp::from_micros(micros).unwrap();
            prop_assert_eq!(Timestamp::parse(&at.to_string()).unwrap(), at);
        }
    }
}
