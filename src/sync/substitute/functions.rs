//! What an expression does with the value of its variable. Characters count, not bytes.

use super::SubstituteError;
use super::parse::Operation;
use regex::Regex;

/// Longest text that a substitution may make, in bytes.
pub(super) const LARGEST: usize = 8 << 20;

/// The value after an operation; arguments that do not fit leave it as it is.
pub(super) fn apply(operation: Operation, value: &str, arguments: &[String]) -> Result<String, SubstituteError> {
    let first = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map_or("", String::as_str);
    Ok(match operation {
        Operation::Length => value.chars().count().to_string(),
        Operation::Default if value.is_empty() => arguments.concat(),
        Operation::Value | Operation::Default => value.to_owned(),
        Operation::Substring => substring(value, first, arguments.get(1).map(String::as_str)),
        Operation::Case { upper, all: true } => case(value, upper),
        Operation::Case { upper, all: false } => {
            let first = value.chars().next().map_or(0, char::len_utf8);
            case(&value[..first], upper) + &value[first..]
        }
        Operation::Remove { end, longest } => remove(value, first, end, longest).unwrap_or(value).to_owned(),
        Operation::ReplaceFirst => {
            fits(value.len() + second.len())?;
            value.replacen(first, second, 1)
        }
        Operation::ReplaceAll => {
            fits(value.matches(first).count().saturating_mul(second.len()).saturating_add(value.len()))?;
            value.replace(first, second)
        }
        Operation::ReplacePrefix => {
            value.strip_prefix(first).map_or_else(|| value.to_owned(), |rest| format!("{second}{rest}"))
        }
        Operation::ReplaceSuffix => {
            value.strip_suffix(first).map_or_else(|| value.to_owned(), |rest| format!("{rest}{second}"))
        }
    })
}

/// Refuses texts of a length that no manifest needs.
pub(super) fn fits(length: usize) -> Result<(), SubstituteError> {
    if length > LARGEST { Err(SubstituteError::TooLarge(LARGEST >> 20)) } else { Ok(()) }
}

fn case(text: &str, upper: bool) -> String {
    if upper { text.to_uppercase() } else { text.to_lowercase() }
}

/// A position below zero counts from the end, as does a length below zero.
fn substring(value: &str, position: &str, length: Option<&str>) -> String {
    let count = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    let Ok(position) = position.parse::<i64>() else { return value.to_owned() };
    let from = if position < 0 { position.saturating_add(count).max(0) } else { position };
    let to = match length.map(str::parse::<i64>) {
        None => count,
        Some(Err(_)) => return value.to_owned(),
        Some(Ok(length)) if length < 0 => length.saturating_add(count),
        Some(Ok(length)) => from.saturating_add(length),
    };
    let (from, to) = (usize::try_from(from).unwrap_or(usize::MAX), usize::try_from(to).unwrap_or(0));
    value.chars().skip(from).take(to.saturating_sub(from)).collect()
}

/// What is left without the part at the start or end that matches a shell pattern; `None` when
/// nothing matches or the pattern is malformed.
fn remove<'v>(value: &'v str, pattern: &str, end: bool, longest: bool) -> Option<&'v str> {
    // Something is always removed, if there is anything.
    let stars = pattern.chars().all(|character| character == '*');
    let expression = if stars && !longest { ".".to_owned() } else { expression(pattern, longest)? };
    if end {
        let lead = if longest { ".*?" } else { ".*" };
        let found = Regex::new(&format!(r"(?s)\A({lead}){expression}\z")).ok()?.captures(value)?;
        return found.get(1).map(|kept| kept.as_str());
    }
    let found = Regex::new(&format!(r"(?s)\A{expression}")).ok()?.find(value)?;
    Some(&value[found.end()..])
}

/// A shell pattern (`*`, `?`, `[a-z]`, `[^a-z]`, `\`) as a regular expression.
fn expression(pattern: &str, greedy: bool) -> Option<String> {
    let mut expression = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => expression.push_str(if greedy { ".*" } else { ".*?" }),
            '?' => expression.push('.'),
            '[' => class(&mut characters, &mut expression)?,
            '\\' => literal(characters.next()?, &mut expression),
            _ => literal(character, &mut expression),
        }
    }
    Some(expression)
}

fn literal(character: char, expression: &mut String) {
    expression.push_str(&regex::escape(character.encode_utf8(&mut [0; 4])));
}

/// A class after its `[`; `None` when it is malformed or can match nothing.
fn class(characters: &mut std::str::Chars<'_>, expression: &mut String) -> Option<()> {
    let negated = characters.as_str().starts_with('^');
    if negated {
        characters.next();
    }
    expression.push_str(if negated { "[^" } else { "[" });
    let mut first = true;
    loop {
        let low = match characters.next()? {
            ']' if !first => break,
            '-' | ']' => return None,
            '\\' => characters.next()?,
            character => character,
        };
        let mut high = low;
        if characters.as_str().starts_with('-') {
            characters.next();
            high = match characters.next()? {
                '-' | ']' => return None,
                '\\' => characters.next()?,
                character => character,
            };
        }
        if low > high {
            return None;
        }
        literal_in_class(low, expression);
        expression.push('-');
        literal_in_class(high, expression);
        first = false;
    }
    expression.push(']');
    Some(())
}

fn literal_in_class(character: char, expression: &mut String) {
    use std::fmt::Write as _;
    // Writing to a String cannot fail.
    let _ = write!(expression, "\\x{{{:x}}}", u32::from(character));
}
