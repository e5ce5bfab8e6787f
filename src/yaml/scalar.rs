//! What a scalar means: Go's YAML 1.1 rules, as `sigs.k8s.io/yaml` applies them.

use base64::Engine as _;
use serde_json::{Number, Value};

/// The value of an untagged plain scalar; `Err` names a number that JSON cannot hold.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => {
            return Err(format!("`{text}` has no place in Kubernetes, quote it"));
        }
        _ => number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    })
}

/// The value of a scalar with an explicit core tag (`str`, `int`, …).
pub(super) fn tagged(tag: &str, text: &str) -> Result<Value, String> {
    let mismatch = || format!("the value is not what its tag `!!{tag}` promises");
    match tag {
        "null" => Ok(Value::Null),
        "binary" => binary(text).map(Value::String).ok_or_else(mismatch),
        "bool" => Some(plain(text)?).filter(Value::is_boolean).ok_or_else(mismatch),
        "int" => number(text).filter(|n| !n.is_f64()).map(Value::Number).ok_or_else(mismatch),
        "float" => {
            number(text).and_then(|n| n.as_f64()).and_then(Number::from_f64).map(Value::Number).ok_or_else(mismatch)
        }
        // `!!str`, and the tags that Kubernetes reads as text (`!!timestamp`, unknown ones).
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// The text of a mapping key; `None` when this value cannot be a key.
pub(super) fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) if number.is_f64() => {
            // Kubernetes' converter prints float keys with single precision.
            #[allow(clippy::cast_possible_truncation)]
            number.as_f64().map(|value| (value as f32).to_string())
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn binary(text: &str) -> Option<String> {
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(compact).ok()?;
    String::from_utf8(bytes).ok()
}

fn number(text: &str) -> Option<Number> {
    let first = *text.as_bytes().first()?;
    if first == b'.' {
        return float(text);
    }
    if !(first.is_ascii_digit() || first == b'+' || first == b'-') {
        return None;
    }
    let text = text.replace('_', "");
    integer(&text).or_else(|| float(&text))
}

fn integer(text: &str) -> Option<Number> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = radix(unsigned);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map(Number::from).or_else(|_| u64::try_from(value).map(Number::from)).ok()
}

fn radix(text: &str) -> (u32, &str) {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.get(1)) {
        (Some(b'0'), Some(b'x' | b'X')) => (16, &text[2..]),
        (Some(b'0'), Some(b'o' | b'O')) => (8, &text[2..]),
        (Some(b'0'), Some(b'b' | b'B')) => (2, &text[2..]),
        (Some(b'0'), Some(_)) => (8, &text[1..]),
        _ => (10, text),
    }
}

fn float(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let shaped = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let starts = unsigned.bytes().next().is_some_and(|byte| byte == b'.' || byte.is_ascii_digit());
    if !shaped || !starts {
        return None;
    }
    // An overflow to infinity is not a number to Go either: the text stays text.
    text.parse().ok().and_then(Number::from_f64)
}
