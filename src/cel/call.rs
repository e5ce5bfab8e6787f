//! The functions: which there are, and where each is done.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::eval::Machine;
use super::value::Value;
use super::{convert, text, time};

/// A function: its name, whether it is called on a value, how many arguments it may have besides
/// that, and the type of its result where that is always the same.
type Signature = (&'static str, bool, usize, usize, Option<&'static str>);

const ANY: Option<&str> = None;
const BOOL: Option<&str> = Some("bool");
const INT: Option<&str> = Some("int");
const TEXT: Option<&str> = Some("string");
const LIST: Option<&str> = Some("list");

const FUNCTIONS: [Signature; 64] = [
    ("size", false, 1, 1, INT),
    ("size", true, 0, 0, INT),
    ("type", false, 1, 1, Some("type")),
    ("dyn", false, 1, 1, ANY),
    ("int", false, 1, 1, INT),
    ("uint", false, 1, 1, Some("uint")),
    ("double", false, 1, 1, Some("double")),
    ("string", false, 1, 1, TEXT),
    ("bytes", false, 1, 1, Some("bytes")),
    ("bool", false, 1, 1, BOOL),
    ("timestamp", false, 1, 1, Some("timestamp")),
    ("duration", false, 1, 1, Some("duration")),
    ("matches", false, 2, 2, BOOL),
    ("matches", true, 1, 1, BOOL),
    ("contains", true, 1, 1, BOOL),
    ("startsWith", true, 1, 1, BOOL),
    ("endsWith", true, 1, 1, BOOL),
    ("charAt", true, 1, 1, TEXT),
    ("indexOf", true, 1, 2, INT),
    ("lastIndexOf", true, 1, 2, INT),
    ("join", true, 0, 1, TEXT),
    ("lowerAscii", true, 0, 0, TEXT),
    ("upperAscii", true, 0, 0, TEXT),
    ("replace", true, 2, 3, TEXT),
    ("split", true, 1, 2, LIST),
    ("substring", true, 1, 2, TEXT),
    ("trim", true, 0, 0, TEXT),
    ("reverse", true, 0, 0, TEXT),
    ("format", true, 1, 1, TEXT),
    ("strings.quote", false, 1, 1, TEXT),
    ("base64.encode", false, 1, 1, TEXT),
    ("base64.decode", false, 1, 1, Some("bytes")),
    ("sets.contains", false, 2, 2, BOOL),
    ("sets.equivalent", false, 2, 2, BOOL),
    ("sets.intersects", false, 2, 2, BOOL),
    ("optional.of", false, 1, 1, Some("optional_type")),
    ("optional.none", false, 0, 0, Some("optional_type")),
    ("optional.ofNonZeroValue", false, 1, 1, Some("optional_type")),
    ("hasValue", true, 0, 0, BOOL),
    ("value", true, 0, 0, ANY),
    ("or", true, 1, 1, Some("optional_type")),
    ("orValue", true, 1, 1, ANY),
    ("first", true, 0, 0, Some("optional_type")),
    ("last", true, 0, 0, Some("optional_type")),
    ("optional.unwrap", false, 1, 1, LIST),
    ("unwrapOpt", true, 0, 0, LIST),
    ("getFullYear", true, 0, 1, INT),
    ("getMonth", true, 0, 1, INT),
    ("getDate", true, 0, 1, INT),
    ("getDayOfMonth", true, 0, 1, INT),
    ("getDayOfWeek", true, 0, 1, INT),
    ("getDayOfYear", true, 0, 1, INT),
    ("getHours", true, 0, 1, INT),
    ("getMinutes", true, 0, 1, INT),
    ("getSeconds", true, 0, 1, INT),
    ("getMilliseconds", true, 0, 1, INT),
    // What only looks like a function: macros with the wrong number of arguments.
    ("all", true, 2, 2, BOOL),
    ("exists", true, 2, 2, BOOL),
    ("exists_one", true, 2, 2, BOOL),
    ("existsOne", true, 2, 2, BOOL),
    ("filter", true, 2, 2, LIST),
    ("map", true, 2, 3, LIST),
    ("optMap", true, 2, 2, Some("optional_type")),
    ("optFlatMap", true, 2, 2, Some("optional_type")),
];

/// Whether there is such a function, called on a value or not, with so many arguments.
pub fn check(name: &str, target: Option<()>, arguments: usize) -> Result<(), String> {
    let named: Vec<&Signature> = FUNCTIONS.iter().filter(|known| known.0 == name).collect();
    if named.is_empty() {
        return Err(format!("there is no function '{name}'"));
    }
    let fits = |known: &&Signature| known.1 == target.is_some() && (known.2..=known.3).contains(&arguments);
    if named.into_iter().any(|known| fits(&known)) {
        return Ok(());
    }
    let how = if target.is_some() { "on a value" } else { "by itself" };
    Err(format!("'{name}' cannot be called {how} with {arguments} argument(s)"))
}

/// Whether a name is the first half of functions' names.
pub fn is_namespace(name: &str) -> bool {
    matches!(name, "strings" | "base64" | "sets" | "optional")
}

/// The type of a function's result, where it is always the same.
pub fn result_type(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|known| known.0 == name)?.4
}

/// The type that a name stands for.
pub fn type_named(name: &str) -> Option<&'static str> {
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "optional_type"]
        .into_iter()
        .find(|known| *known == name)
}

/// Calls a function; a target is the first argument. What goes wrong is said in words.
pub fn call(machine: &mut Machine<'_>, function: &str, arguments: &[Value]) -> Result<Value, String> {
    match (function, arguments) {
        ("size", [value]) => size(value).map(Value::Int).ok_or_else(|| no_overload(function, arguments)),
        ("dyn", [value]) => Ok(value.clone()),
        ("type", [value]) => Ok(Value::Type(value.type_name())),
        ("int" | "uint" | "double" | "string" | "bytes" | "bool" | "timestamp" | "duration", [value]) => {
            convert::convert(function, value)
        }
        ("base64.encode", [Value::Bytes(bytes)]) => Ok(Value::text(STANDARD.encode(bytes))),
        ("base64.decode", [Value::String(text)]) => {
            let padded = STANDARD.decode(text.as_bytes()).or_else(|_| STANDARD_NO_PAD.decode(text.as_bytes()));
            padded.map(|bytes| Value::Bytes(bytes.into())).map_err(|_| "not base64".to_owned())
        }
        ("optional.of", [value]) => Ok(some(value)),
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(if value.is_zero() { Value::Optional(None) } else { some(value) }),
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("value", [Value::Optional(Some(value))]) => Ok(value.as_ref().clone()),
        ("value", [Value::Optional(None)]) => Err("the optional value is not there".to_owned()),
        ("orValue", [Value::Optional(value), otherwise]) => {
            Ok(value.as_ref().map_or_else(|| otherwise.clone(), |value| value.as_ref().clone()))
        }
        ("or", [one @ Value::Optional(value), otherwise @ Value::Optional(_)]) => {
            Ok(if value.is_some() { one.clone() } else { otherwise.clone() })
        }
        ("first", [Value::List(items)]) => Ok(items.first().map_or(Value::Optional(None), some)),
        ("last", [Value::List(items)]) => Ok(items.last().map_or(Value::Optional(None), some)),
        ("optional.unwrap" | "unwrapOpt", [Value::List(items)]) => {
            let there = items.iter().filter_map(|item| match item {
                Value::Optional(value) => value.as_ref().map(|value| value.as_ref().clone()),
                other => Some(other.clone()),
            });
            Ok(Value::list(there.collect()))
        }
        ("sets.contains", [Value::List(all), Value::List(some)]) => machine.contains_all(all, some).map(Value::Bool),
        ("sets.equivalent", [Value::List(one), Value::List(two)]) => {
            Ok(Value::Bool(machine.contains_all(one, two)? && machine.contains_all(two, one)?))
        }
        ("sets.intersects", [Value::List(one), Value::List(two)]) => {
            for item in one.iter() {
                if machine.contains(two, item)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        (_, [Value::Timestamp(_) | Value::Duration(_), ..]) => {
            time::part(function, arguments).unwrap_or_else(|| Err(no_overload(function, arguments)))
        }
        _ => text::call(function, arguments).unwrap_or_else(|| Err(no_overload(function, arguments))),
    }
}

fn some(value: &Value) -> Value {
    Value::Optional(Some(Arc::new(value.clone())))
}

fn size(value: &Value) -> Option<i64> {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => return None,
    };
    i64::try_from(size).ok()
}

/// The error for arguments of types that a function or operator does not take.
pub fn no_overload(function: &str, arguments: &[Value]) -> String {
    let types: Vec<&str> = arguments.iter().map(Value::type_name).collect();
    format!("no such overload: '{function}' with ({})", types.join(", "))
}
