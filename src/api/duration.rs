//! Durations as Go writes them.

use std::{fmt, str::FromStr, time};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time, written as Go writes it (`1h30m0s`) and never negative.
///
/// Spans above what Go can hold (about 292 years) read as that bound: the schema lets them pass,
/// and one such object must not stop all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(time::Duration);

const MAX_NANOSECONDS: u128 = i64::MAX as u128;

/// Why a text is not a duration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a duration: write numbers with the units ms, s, m and h, for instance 1m30s")]
pub struct ParseDurationError {
    text: String,
}

impl Duration {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(time::Duration::from_secs(seconds))
    }

    /// A span of milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(time::Duration::from_millis(milliseconds))
    }

    /// The same span for the standard library.
    pub const fn to_std(self) -> time::Duration {
        self.0
    }
}

impl From<time::Duration> for Duration {
    fn from(duration: time::Duration) -> Self {
        Self(duration)
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        nanoseconds(text)
            .map(|total| {
                let bounded = u64::try_from(total.min(MAX_NANOSECONDS)).unwrap_or(u64::MAX);
                Self(time::Duration::from_nanos(bounded))
            })
            .ok_or_else(|| ParseDurationError { text: text.to_owned() })
    }
}

/// The span in nanoseconds, or nothing if the text is malformed.
fn nanoseconds(text: &str) -> Option<u128> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_u128;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total = total.saturating_add(scaled(number, unit_nanoseconds(unit)?)?);
        rest = tail;
    }
    Some(total)
}

fn unit_nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`, cut off to whole nanoseconds.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let mut total = whole
        .bytes()
        .fold(0_u128, |sum, digit| sum.saturating_mul(10).saturating_add(u128::from(digit - b'0')))
        .saturating_mul(unit);
    let mut place = unit;
    let mut numerator = 0_u128;
    let mut denominator = 1_u128;
    for digit in fraction.bytes() {
        place /= 10;
        if place == 0 {
            break;
        }
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    total = total.saturating_add(numerator * unit / denominator);
    Some(total)
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanoseconds) = (self.0.as_secs(), self.0.subsec_nanos());
        if seconds == 0 && nanoseconds > 0 {
            return match nanoseconds {
                1..1_000 => write!(formatter, "{nanoseconds}ns"),
                1_000..1_000_000 => decimal(formatter, nanoseconds, 1_000, "\u{b5}s"),
                _ => decimal(formatter, nanoseconds, 1_000_000, "ms"),
            };
        }
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        if hours > 0 {
            write!(formatter, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(formatter, "{minutes}m")?;
        }
        write!(formatter, "{seconds}")?;
        if nanoseconds > 0 {
            let digits = format!("{nanoseconds:09}");
            write!(formatter, ".{}", digits.trim_end_matches('0'))?;
        }
        formatter.write_str("s")
    }
}

/// Writes `nanoseconds` in a unit of `unit` nanoseconds, without trailing zeros.
fn decimal(formatter: &mut fmt::Formatter<'_>, nanoseconds: u32, unit: u32, name: &str) -> fmt::Result {
    write!(formatter, "{}", nanoseconds / unit)?;
    let rest = nanoseconds % unit;
    if rest > 0 {
        let width = if unit == 1_000 { 3 } else { 6 };
        let digits = format!("{rest:0width$}");
        write!(formatter, ".{}", digits.trim_end_matches('0'))?;
    }
    formatter.write_str(name)
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use std::time;

    use proptest::prelude::*;

    use super::Duration;

    #[test]
    fn reads_and_writes_as_go_does() {
        let cases = [
            ("0", "0s"),
            ("0s", "0s"),
            ("60s", "1m0s"),
            ("5m", "5m0s"),
            ("1h30m", "1h30m0s"),
            ("1.5h", "1h30m0s"),
            ("2m0.25s", "2m0.25s"),
            ("500ms", "500ms"),
            ("1.5ms", "1.5ms"),
            ("10us", "10\u{b5}s"),
            ("1.5us", "1.5\u{b5}s"),
            ("7ns", "7ns"),
            ("+3s", "3s"),
            ("1s1s", "2s"),
            ("0.1234567891s", "123.456789ms"),
            (".5s", "500ms"),
            ("9999999999999999999999999999999999999999999h", "2562047h47m16.854775807s"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in ["", "5", "s", "1d", "-1s", "1.2.3s", ".s", "1 s", "s1", "one"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_span_survives_writing_and_reading(nanoseconds in 0..=i64::MAX as u64) {
            let duration = Duration::from(time::Duration::from_nanos(nanoseconds));
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[0-9.hmsnu+]{0,40}") {
            let _ = text.parse::<Duration>();
        }
    }
}
