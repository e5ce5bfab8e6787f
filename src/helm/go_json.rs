//! JSON exactly as Go's encoder writes it: `<`, `>`, `&` and two line separators escaped, floats
//! in Go's form, fields in the order given.

use std::fmt::Write as _;

use serde_json::Value;

use crate::values::go_number;

/// Writes the fields of one object in the order of the calls.
pub struct Object<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of a text.
    pub fn open(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    /// Writes a key and returns the text to write its value to.
    pub fn field(&mut self, key: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        text(self.out, key);
        self.out.push(':');
        self.out
    }

    /// Writes a field with any value, null for none.
    pub fn always(&mut self, key: &str, content: Option<&Value>) {
        value(self.field(key), content.unwrap_or(&Value::Null));
    }

    /// Writes a field unless its value is empty in Go's sense: absent, null, "", 0, false, [] or {}.
    pub fn omit_empty(&mut self, key: &str, content: Option<&Value>) {
        match content {
            Some(content) if !is_empty(content) => value(self.field(key), content),
            _ => {}
        }
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push('}');
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

/// Writes a list, each item by the function.
pub fn list<T>(out: &mut String, items: &[T], mut item: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (i, each) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        item(out, each);
    }
    out.push(']');
}

/// Writes any value; the keys of mappings sorted, as Go writes a map.
pub fn value(out: &mut String, content: &Value) {
    match content {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&go_number::json(number)),
        Value::String(content) => text(out, content),
        Value::Array(items) => list(out, items, value),
        Value::Object(entries) => {
            let mut object = Object::open(out);
            for (key, entry) in entries {
                value(object.field(key), entry);
            }
            object.close();
        }
    }
}

/// Writes a text in quotes.
pub fn text(out: &mut String, content: &str) {
    out.push('"');
    for character in content.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("writing to a string cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
