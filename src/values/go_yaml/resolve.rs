//! What go-yaml v2 would read an unquoted text as.

use std::sync::LazyLock;

use regex::Regex;

static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$").expect("the pattern is a constant")
});

static FRACTION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?$").expect("the pattern is a constant"));

static BASE_60: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$").expect("the pattern is a constant")
});

static TIMESTAMP: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^(?<year>[0-9]{4})-(?<month>[0-9]{1,2})-(?<day>[0-9]{1,2})",
        r"(?:(?:(?<zoned>[Tt])| +)(?<hour>[0-9]{1,2}):(?<minute>[0-9]{1,2}):(?<second>[0-9]{1,2})",
        r"(?:[.,][0-9]+)?(?<zone>Z|[-+](?<zh>[0-9]{2}):(?<zm>[0-9]{2}))?)?$"
    ))
    .expect("the pattern is a constant")
});

/// Whether the text, written without quotes, would be read as a text again by go-yaml, and by
/// parsers that know YAML 1.1's base 60 numbers.
pub(super) fn reads_as_text(text: &str) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    match first {
        'y' | 'Y' | 'n' | 'N' | 't' | 'T' | 'f' | 'F' | 'o' | 'O' | '~' => !is_word(text),
        '.' => !is_word(text) && !is_fraction(text),
        '+' | '-' | '0'..='9' => !(is_word(text) || is_number(text) || is_timestamp(text) || BASE_60.is_match(text)),
        _ => true,
    }
}

/// Booleans, nulls and the special floats.
fn is_word(text: &str) -> bool {
    matches!(
        text,
        "y" | "Y"
            | "yes"
            | "Yes"
            | "YES"
            | "true"
            | "True"
            | "TRUE"
            | "on"
            | "On"
            | "ON"
            | "n"
            | "N"
            | "no"
            | "No"
            | "NO"
            | "false"
            | "False"
            | "FALSE"
            | "off"
            | "Off"
            | "OFF"
            | "~"
            | "null"
            | "Null"
            | "NULL"
            | ".nan"
            | ".NaN"
            | ".NAN"
            | ".inf"
            | ".Inf"
            | ".INF"
            | "+.inf"
            | "+.Inf"
            | "+.INF"
            | "-.inf"
            | "-.Inf"
            | "-.INF"
    )
}

fn is_float(text: &str) -> bool {
    FLOAT.is_match(text) && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `strconv.ParseFloat` of a text that begins with a point: one underscore may part two digits.
fn is_fraction(text: &str) -> bool {
    FRACTION.is_match(text) && text.replace('_', "").parse::<f64>().is_ok_and(f64::is_finite)
}

fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    // go-yaml reads the digits after `0b` by themselves, with a sign of their own.
    let binary = |digits: &str| i64::from_str_radix(digits, 2).is_ok();
    is_integer(&plain) || is_float(&plain) || plain.strip_prefix("0b").is_some_and(binary)
}

/// `strconv.ParseInt` or `ParseUint` with base 0: the prefix names the base.
fn is_integer(plain: &str) -> bool {
    let (negative, digits) = match plain.as_bytes().first() {
        Some(b'-') => (true, &plain[1..]),
        Some(b'+') => (false, &plain[1..]),
        _ => (false, plain),
    };
    let signed = digits.len() < plain.len();
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let Ok(magnitude) = u64::from_str_radix(digits, radix) else {
        return false;
    };
    // Rust reads a second sign, which Go refuses.
    digits.as_bytes()[0] != b'+'
        && (!signed || magnitude <= i64::MAX.unsigned_abs() || (negative && magnitude == i64::MIN.unsigned_abs()))
}

fn is_timestamp(text: &str) -> bool {
    let Some(found) = TIMESTAMP.captures(text) else {
        return false;
    };
    let number = |name: &str| found.name(name).map_or(0, |part| part.as_str().parse::<i16>().unwrap_or(i16::MAX));
    let narrow = |name: &str| i8::try_from(number(name)).unwrap_or(-1);
    let day_exists = jiff::civil::Date::new(number("year"), narrow("month"), narrow("day")).is_ok();
    let time_exists = number("hour") < 24 && number("minute") < 60 && number("second") < 60;
    let zone_exists = number("zh") <= 24 && number("zm") <= 60;
    // `2006-1-2T15:4:5` needs a zone, `2006-1-2 15:4:5` must not have one.
    let zone_fits = found.name("zoned").is_some() == found.name("zone").is_some();
    day_exists && time_exists && zone_exists && zone_fits
}
