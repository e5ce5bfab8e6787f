//! Functions of texts. Positions count characters, as in CEL.

use regex::RegexBuilder;

use super::convert;
use super::eval::{LONGEST_TEXT, too_long};
use super::value::Value;
use crate::source::digest::hex;

/// Bytes that a compiled pattern may take.
const PATTERN_SIZE: usize = 256 * 1024;
/// Digits after the point that a format may ask for.
const PRECISION: usize = 100;

type Answer = Result<Value, String>;

/// Calls a function of texts, or of a list of texts; `None` for arguments that it does not take.
pub fn call(function: &str, arguments: &[Value]) -> Option<Answer> {
    match arguments {
        [Value::String(text)] => unary(function, text),
        [Value::List(items)] => of_list(function, items, ""),
        [Value::List(items), Value::String(separator)] => of_list(function, items, separator),
        [Value::String(text), Value::String(other)] => binary(function, text, other, None),
        [Value::String(text), Value::Int(number)] => numbered(function, text, *number, None),
        [Value::String(text), Value::Int(number), Value::Int(end)] => numbered(function, text, *number, Some(*end)),
        [Value::String(text), Value::String(other), Value::Int(number)] => binary(function, text, other, Some(*number)),
        [Value::String(text), Value::String(from), Value::String(to)] => replace(function, text, from, to, None),
        [Value::String(text), Value::String(from), Value::String(to), Value::Int(most)] => {
            replace(function, text, from, to, Some(*most))
        }
        [Value::String(text), Value::List(items)] if function == "format" => Some(format(text, items)),
        _ => None,
    }
}

fn unary(function: &str, text: &str) -> Option<Answer> {
    Some(Ok(Value::text(match function {
        "lowerAscii" => text.to_ascii_lowercase(),
        "upperAscii" => text.to_ascii_uppercase(),
        "trim" => text.trim().to_owned(),
        "reverse" => text.chars().rev().collect(),
        "strings.quote" => quoted(text),
        _ => return None,
    })))
}

fn quoted(text: &str) -> String {
    let mut found = String::with_capacity(text.len() + 2);
    found.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => found.push_str("\\a"),
            '\u{8}' => found.push_str("\\b"),
            '\u{c}' => found.push_str("\\f"),
            '\n' => found.push_str("\\n"),
            '\r' => found.push_str("\\r"),
            '\t' => found.push_str("\\t"),
            '\u{b}' => found.push_str("\\v"),
            '\\' | '"' => found.extend(['\\', c]),
            other => found.push(other),
        }
    }
    found.push('"');
    found
}

fn of_list(function: &str, items: &[Value], separator: &str) -> Option<Answer> {
    if function == "reverse" {
        return Some(Ok(Value::list(items.iter().rev().cloned().collect())));
    }
    if function != "join" {
        return None;
    }
    let mut found = String::new();
    for (number, item) in items.iter().enumerate() {
        let Value::String(text) = item else { return Some(Err("join() takes a list of texts".to_owned())) };
        if found.len() + text.len() + separator.len() > LONGEST_TEXT {
            return Some(Err(too_long()));
        }
        found.push_str(if number == 0 { "" } else { separator });
        found.push_str(text);
    }
    Some(Ok(Value::text(found)))
}

fn binary(function: &str, text: &str, other: &str, number: Option<i64>) -> Option<Answer> {
    let holds = |holds: bool| Some(Ok(Value::Bool(holds)));
    match (function, number) {
        ("contains", None) => holds(text.contains(other)),
        ("startsWith", None) => holds(text.starts_with(other)),
        ("endsWith", None) => holds(text.ends_with(other)),
        ("matches", None) => Some(matches(text, other).map(Value::Bool)),
        ("indexOf", from) => Some(index_of(text, other, from.unwrap_or(0))),
        ("lastIndexOf", from) => Some(last_index_of(text, other, from)),
        ("split", most) => Some(Ok(split(text, other, most.unwrap_or(-1)))),
        _ => None,
    }
}

fn matches(text: &str, pattern: &str) -> Result<bool, String> {
    let built = RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_SIZE).build();
    built.map(|pattern| pattern.is_match(text)).map_err(|_| "not a regular expression, or a too large one".to_owned())
}

/// The byte at which a character begins; the end of the text counts too.
fn byte_at(text: &str, character: i64) -> Option<usize> {
    let character = usize::try_from(character).ok()?;
    let ends = std::iter::once(text.len());
    text.char_indices().map(|(at, _)| at).chain(ends).nth(character)
}

fn position(text: &str, byte: Option<usize>) -> Value {
    let count = byte.map(|byte| text.get(..byte).unwrap_or(text).chars().count());
    Value::Int(count.and_then(|count| i64::try_from(count).ok()).unwrap_or(-1))
}

fn outside(number: i64) -> String {
    format!("position {number} is outside of the text")
}

fn index_of(text: &str, wanted: &str, from: i64) -> Answer {
    let start = byte_at(text, from).ok_or_else(|| outside(from))?;
    let found = text.get(start..).and_then(|rest| rest.find(wanted)).map(|at| start + at);
    Ok(position(text, found))
}

fn last_index_of(text: &str, wanted: &str, from: Option<i64>) -> Answer {
    let Some(from) = from else { return Ok(position(text, text.rfind(wanted))) };
    let start = byte_at(text, from).ok_or_else(|| outside(from))?;
    let mut end = start.saturating_add(wanted.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Ok(position(text, text.get(..end).and_then(|rest| rest.rfind(wanted))))
}

/// At most `most` parts; all of them for a negative number.
fn split(text: &str, separator: &str, most: i64) -> Value {
    let part = |part: &str| Value::text(part);
    let characters = |parts: usize| -> Vec<Value> {
        let mut rest = text;
        let mut found = Vec::new();
        while let Some(first) = rest.chars().next() {
            if found.len() + 1 == parts {
                break;
            }
            found.push(Value::text(first.to_string()));
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
        if !rest.is_empty() {
            found.push(part(rest));
        }
        found
    };
    Value::list(match usize::try_from(most) {
        Ok(0) => Vec::new(),
        Ok(most) if separator.is_empty() => characters(most),
        Err(_) if separator.is_empty() => characters(usize::MAX),
        Ok(most) => text.splitn(most, separator).map(part).collect(),
        Err(_) => text.split(separator).map(part).collect(),
    })
}

fn numbered(function: &str, text: &str, number: i64, end: Option<i64>) -> Option<Answer> {
    match (function, end) {
        ("charAt", None) => Some(byte_at(text, number).ok_or_else(|| outside(number)).map(|at| {
            let rest = text.get(at..).unwrap_or_default();
            Value::text(rest.chars().take(1).collect::<String>())
        })),
        ("substring", end) => Some(substring(text, number, end)),
        _ => None,
    }
}

fn substring(text: &str, start: i64, end: Option<i64>) -> Answer {
    let from = byte_at(text, start).ok_or_else(|| outside(start))?;
    let to = match end {
        None => text.len(),
        Some(end) => byte_at(text, end).ok_or_else(|| outside(end))?,
    };
    text.get(from..to).map(Value::text).ok_or_else(|| outside(start))
}

fn replace(function: &str, text: &str, from: &str, to: &str, most: Option<i64>) -> Option<Answer> {
    if function != "replace" {
        return None;
    }
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
    let places = text.matches(from).take(most).count();
    if places.saturating_mul(to.len()).saturating_add(text.len()) > LONGEST_TEXT {
        return Some(Err(too_long()));
    }
    Some(Ok(Value::text(text.replacen(from, to, most))))
}

/// Fills the verbs of a format: `%s`, `%d`, `%f`, `%e`, `%x`, `%X`, `%o`, `%b` and `%%`.
fn format(text: &str, items: &[Value]) -> Answer {
    let mut items = items.iter();
    let mut found = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            found.push(c);
            continue;
        }
        let mut precision = None;
        if rest.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let wanted = digits.parse().ok().filter(|wanted| *wanted <= PRECISION);
            precision = Some(wanted.ok_or("not a precision")?);
        }
        let verb = rest.next().ok_or("a format ends in '%'")?;
        if verb == '%' {
            found.push('%');
            continue;
        }
        let item = items.next().ok_or("a format has more verbs than values")?;
        found.push_str(&formatted(verb, precision.unwrap_or(6), item)?);
        if found.len() > LONGEST_TEXT {
            return Err(too_long());
        }
    }
    Ok(Value::text(found))
}

fn formatted(verb: char, precision: usize, item: &Value) -> Result<String, String> {
    let wrong = || format!("'%{verb}' cannot show {}", item.type_name());
    Ok(match (verb, item) {
        ('s', Value::Null) => "null".to_owned(),
        ('s', Value::Type(name)) => (*name).to_owned(),
        ('s', _) | ('d', Value::Int(_) | Value::Uint(_)) => convert::string(item).ok_or_else(wrong)??,
        ('f', Value::Double(number)) => format!("{number:.precision$}"),
        ('e', Value::Double(number)) => format!("{number:.precision$e}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('x', Value::String(text)) => hex(text.as_bytes()),
        ('X', Value::String(text)) => hex(text.as_bytes()).to_ascii_uppercase(),
        (_, Value::Int(number)) => {
            let sign = if *number < 0 { "-" } else { "" };
            format!("{sign}{}", based(verb, number.unsigned_abs()).ok_or_else(wrong)?)
        }
        (_, Value::Uint(number)) => based(verb, *number).ok_or_else(wrong)?,
        _ => return Err(wrong()),
    })
}

fn based(verb: char, number: u64) -> Option<String> {
    Some(match verb {
        'x' => format!("{number:x}"),
        'X' => format!("{number:X}"),
        'o' => format!("{number:o}"),
        'b' => format!("{number:b}"),
        _ => return None,
    })
}
