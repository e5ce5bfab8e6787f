//! Conversions between types.

use jiff::Timestamp;

use super::call::no_overload;
use super::time;
use super::value::Value;

/// Converts a value into the type that the function is named after.
pub fn convert(function: &str, value: &Value) -> Result<Value, String> {
    let otherwise = || no_overload(function, std::slice::from_ref(value));
    match function {
        "int" => int(value).ok_or_else(otherwise)?.map(Value::Int),
        "uint" => uint(value).ok_or_else(otherwise)?.map(Value::Uint),
        "double" => double(value).ok_or_else(otherwise)?.map(Value::Double),
        "string" => string(value).ok_or_else(otherwise)?.map(Value::text),
        "bytes" => match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
            _ => Err(otherwise()),
        },
        "bool" => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::String(text) => match text.as_ref() {
                "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                _ => Err("the text is neither true nor false".to_owned()),
            },
            _ => Err(otherwise()),
        },
        "timestamp" => match value {
            Value::Timestamp(_) => Ok(value.clone()),
            Value::Int(seconds) => {
                Timestamp::from_second(*seconds).map(Value::Timestamp).map_err(|_| out_of_range("timestamp"))
            }
            Value::String(text) => {
                text.parse().map(Value::Timestamp).map_err(|_| "the text is no RFC 3339 time".to_owned())
            }
            _ => Err(otherwise()),
        },
        _ => match value {
            Value::Duration(_) => Ok(value.clone()),
            Value::String(text) => {
                time::duration(text).map(Value::Duration).ok_or_else(|| "the text is no duration".to_owned())
            }
            _ => Err(otherwise()),
        },
    }
}

type Converted<T> = Option<Result<T, String>>;

fn out_of_range(type_: &str) -> String {
    format!("the value is out of the range of {type_}")
}

fn int(value: &Value) -> Converted<i64> {
    let range = || out_of_range("int");
    Some(match value {
        Value::Int(value) => Ok(*value),
        Value::Uint(value) => i64::try_from(*value).map_err(|_| range()),
        Value::Double(value) => whole(*value).and_then(|whole| i64::try_from(whole).ok()).ok_or_else(range),
        Value::String(text) => text.parse().map_err(|_| "the text is no whole number".to_owned()),
        Value::Timestamp(time) => Ok(time.as_second()),
        Value::Duration(duration) => Ok(duration.as_secs()),
        _ => return None,
    })
}

fn uint(value: &Value) -> Converted<u64> {
    let range = || out_of_range("uint");
    Some(match value {
        Value::Uint(value) => Ok(*value),
        Value::Int(value) => u64::try_from(*value).map_err(|_| range()),
        Value::Double(value) => whole(*value).and_then(|whole| u64::try_from(whole).ok()).ok_or_else(range),
        Value::String(text) => text.parse().map_err(|_| "the text is no whole number".to_owned()),
        _ => return None,
    })
}

fn whole(value: f64) -> Option<i128> {
    Value::Double(value.trunc()).whole()
}

fn double(value: &Value) -> Converted<f64> {
    #[allow(clippy::cast_precision_loss, reason = "CEL converts to the nearest double")]
    Some(match value {
        Value::Double(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Uint(value) => Ok(*value as f64),
        Value::String(text) => text.parse().map_err(|_| "the text is no number".to_owned()),
        _ => return None,
    })
}

/// A value as text, where it has one.
pub fn string(value: &Value) -> Converted<String> {
    Some(Ok(match value {
        Value::String(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(duration) => time::shown(*duration),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Some(Err("the bytes are not UTF-8".to_owned())),
        },
        _ => return None,
    }))
}
