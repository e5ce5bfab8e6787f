//! YAML exactly as go-yaml v2 writes it: keys sorted by byte, two spaces, sequences of a mapping
//! not indented, long plain and quoted lines folded after column 80.
//!
//! Flux's `configDigest` is the hash of these bytes, and helm gets its values in them, because
//! what go-yaml wrote go-yaml reads back unchanged. Variables are substituted in the same text.

mod resolve;
mod scalar;

use serde_json::{Map, Value};

use self::scalar::Style;
use super::go_number;

/// The width that go-yaml has.
const WIDTH: usize = 80;

/// Spaces per level.
const INDENT: usize = 2;

/// Longest key, in bytes, that is written without a `?` indicator.
const LONGEST_SIMPLE_KEY: usize = 128;

/// The mapping as one YAML document, `{}` when it is empty.
pub fn encode(values: &Map<String, Value>) -> String {
    write(values, WIDTH)
}

/// As [`encode`], but long lines stay as they are.
pub fn encode_unfolded(values: &Map<String, Value>) -> String {
    write(values, usize::MAX)
}

fn write(values: &Map<String, Value>, width: usize) -> String {
    let mut emitter = Emitter { width, whitespace: true, indention: true, ..Emitter::default() };
    emitter.mapping(values);
    emitter.indent = None;
    emitter.write_indent();
    emitter.out
}

/// Where a node stands, as far as its form depends on it.
#[derive(Clone, Copy, PartialEq)]
enum Position {
    Item,
    Value,
    SimpleKey,
}

/// Writes nodes and keeps the state that libyaml's emitter keeps.
#[derive(Default)]
struct Emitter {
    out: String,
    column: usize,
    /// Columns after which a space in a scalar becomes a line break.
    width: usize,
    /// Indentation of the enclosing node; none outside the document.
    indent: Option<usize>,
    /// The last character was a blank or an indicator that needs none after it.
    whitespace: bool,
    /// The line so far holds only indentation and indicators that open a block.
    indention: bool,
}

impl Emitter {
    fn node(&mut self, value: &Value, position: Position) {
        match value {
            Value::Null => self.scalar("null", Style::Plain, position),
            Value::Bool(flag) => self.scalar(if *flag { "true" } else { "false" }, Style::Plain, position),
            Value::Number(number) => self.scalar(&go_number::yaml(number), Style::Plain, position),
            Value::String(text) => self.text(text, position),
            Value::Array(items) => self.sequence(items, position),
            Value::Object(entries) => self.mapping(entries),
        }
    }

    fn text(&mut self, text: &str, position: Position) {
        let wanted = if text.contains('\n') {
            Style::Literal
        } else if resolve::reads_as_text(text) {
            Style::Plain
        } else {
            Style::DoubleQuoted
        };
        self.scalar(text, wanted, position);
    }

    fn sequence(&mut self, items: &[Value], position: Position) {
        if items.is_empty() {
            return self.empty("[", "]");
        }
        let outer = self.indent;
        let indentless = position == Position::Value && !self.indention;
        self.indent = match outer {
            None => Some(0),
            Some(columns) if indentless => Some(columns),
            Some(columns) => Some(columns + INDENT),
        };
        for item in items {
            self.write_indent();
            self.indicator("-", true, false, true);
            self.node(item, Position::Item);
        }
        self.indent = outer;
    }

    fn mapping(&mut self, entries: &Map<String, Value>) {
        if entries.is_empty() {
            return self.empty("{", "}");
        }
        let outer = self.indent;
        self.indent = Some(outer.map_or(0, |columns| columns + INDENT));
        for (key, value) in entries {
            self.write_indent();
            if key.len() <= LONGEST_SIMPLE_KEY && !key.contains(scalar::is_break) {
                self.text(key, Position::SimpleKey);
                self.indicator(":", false, false, false);
            } else {
                self.indicator("?", true, false, true);
                self.text(key, Position::Value);
                self.write_indent();
                self.indicator(":", true, false, true);
            }
            self.node(value, Position::Value);
        }
        self.indent = outer;
    }

    fn empty(&mut self, open: &str, close: &str) {
        self.indicator(open, true, true, false);
        self.indicator(close, false, false, false);
    }

    fn put(&mut self, character: char) {
        self.out.push(character);
        self.column += 1;
    }

    fn put_break(&mut self, character: char) {
        self.out.push(character);
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break('\n');
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, needs_space: bool, is_space: bool, is_indention: bool) {
        if needs_space && !self.whitespace {
            self.put(' ');
        }
        text.chars().for_each(|character| self.put(character));
        self.whitespace = is_space;
        self.indention = self.indention && is_indention;
    }
}

#[cfg(test)]
mod tests;
