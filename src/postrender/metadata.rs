//! Labels and annotations set on every object of a document, as Flux does it: they win over those
//! of the object, and the items of a `List` get them instead of the list.
//!
//! The text is edited where it can be: no other byte changes, so numbers, odd strings, comments
//! and block texts stay what they are. Every edit is checked by reading the result again; where an
//! edit is not possible (aliases, anchors, merge keys) the document is written anew, as JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use serde_json::{Map, Value, json};

use super::document::Document;
use crate::api::kustomize::CommonMetadata;
use crate::yaml::tree::{Content, Entry, Node};
use crate::yaml::{self, YamlError};

/// The document with these labels and annotations on its objects.
pub fn set<'t>(document: &Document<'t>, wanted: &CommonMetadata) -> Result<Cow<'t, str>, YamlError> {
    let roots = document.roots.as_ref().map_err(Clone::clone)?;
    let mut edits = Edits::default();
    let complete = roots.iter().all(|root| edits.object(root, wanted));
    let edited = edits.apply(document.text);
    let mut values = match values(document.text) {
        Ok(values) => values,
        // A reader less strict than ours (a key given twice) takes it, and so shall it be.
        Err(_) if complete => return Ok(edited),
        Err(error) => return Err(error),
    };
    for value in &mut values {
        put(value, wanted);
    }
    if complete && self::values(&edited).as_ref() == Ok(&values) {
        return Ok(edited);
    }
    let written: Vec<String> = values.iter().map(flow).collect();
    Ok(Cow::Owned(format!("---\n{}\n", written.join("\n---\n"))))
}

fn values(text: &str) -> Result<Vec<Value>, YamlError> {
    yaml::documents(text).into_iter().map(|document| document.result).collect()
}

/// Sets them on a value that is an object, or a list of objects.
fn put(value: &mut Value, wanted: &CommonMetadata) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion").is_empty() || text("kind").is_empty() {
        return;
    }
    if text("kind").ends_with("List")
        && let Some(items) = value.get_mut("items").and_then(Value::as_array_mut)
    {
        for item in items {
            put(item, wanted);
        }
        return;
    }
    for (field, texts) in fields(wanted) {
        let Some(metadata) = mapping(value, "metadata") else { return };
        let Some(found) = metadata.entry(field).or_insert(Value::Null).as_object_or_null() else { continue };
        found.extend(texts.iter().map(|(key, text)| (key.clone(), json!(text))));
    }
}

/// The mapping at a key, made where there is none; nothing where something else is.
fn mapping<'v>(value: &'v mut Value, key: &str) -> Option<&'v mut Map<String, Value>> {
    value.as_object_mut()?.entry(key).or_insert(Value::Null).as_object_or_null()
}

trait AsObject {
    fn as_object_or_null(&mut self) -> Option<&mut Map<String, Value>>;
}

impl AsObject for Value {
    fn as_object_or_null(&mut self) -> Option<&mut Map<String, Value>> {
        if self.is_null() {
            *self = json!({});
        }
        self.as_object_mut()
    }
}

/// The fields that there is something to set in.
fn fields(wanted: &CommonMetadata) -> impl Iterator<Item = (&'static str, &BTreeMap<String, String>)> {
    [("labels", &wanted.labels), ("annotations", &wanted.annotations)]
        .into_iter()
        .filter(|(_, texts)| !texts.is_empty())
}

/// Pieces of text and what to write in their place, in the order of the text.
#[derive(Default)]
struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Sets them on an object, or on the items of a list; false where the text does not allow it.
    fn object(&mut self, node: &Node, wanted: &CommonMetadata) -> bool {
        let text = |key: &str| node.get(key).and_then(Node::text).unwrap_or_default();
        if text("apiVersion").is_empty() || text("kind").is_empty() {
            return true;
        }
        if text("kind").ends_with("List")
            && let Some(Content::Sequence(items)) = node.get("items").map(|items| &items.content)
        {
            return items.iter().all(|item| self.object(item, wanted));
        }
        match node.entry("metadata") {
            None => self.insert(node, "metadata", &json!(wanted_fields(wanted))),
            Some(entry) if is_null(&entry.value) => self.replace_null(entry, &json!(wanted_fields(wanted))),
            Some(entry) => fields(wanted).all(|(field, texts)| self.field(&entry.value, field, texts)),
        }
    }

    /// Sets texts in a field of the metadata.
    fn field(&mut self, metadata: &Node, field: &str, texts: &BTreeMap<String, String>) -> bool {
        let Some(entry) = metadata.entry(field) else {
            return self.insert(metadata, field, &json!(texts));
        };
        if is_null(&entry.value) {
            return self.replace_null(entry, &json!(texts));
        }
        match &entry.value.content {
            Content::Mapping { entries, .. } if entries.is_empty() => {
                self.0.push((entry.value.span.clone(), flow(&json!(texts))));
                true
            }
            Content::Mapping { .. } => texts.iter().all(|(key, text)| match entry.value.entry(key) {
                Some(old) => self.replace(old, text),
                None => self.insert(&entry.value, key, &json!(text)),
            }),
            _ => false,
        }
    }

    fn replace(&mut self, old: &Entry, text: &str) -> bool {
        let scalar = matches!(old.value.content, Content::Scalar { .. }) && old.value.bare;
        if is_null(&old.value) {
            return self.replace_null(old, &json!(text));
        }
        self.0.push((old.value.span.clone(), quoted(text)));
        scalar
    }

    /// Puts an entry before the first one of a mapping.
    fn insert(&mut self, mapping: &Node, key: &str, value: &Value) -> bool {
        match &mapping.content {
            Content::Mapping { flow: true, entries } => {
                let start = mapping.span.start + 1;
                let comma = if entries.is_empty() { "" } else { ", " };
                self.0.push((start..start, format!("{}: {}{comma}", quoted(key), flow(value))));
                true
            }
            Content::Mapping { flow: false, entries } => {
                let Some(first) = entries.first() else { return false };
                let mut text = String::new();
                block(&mut text, key, value, first.column);
                text.push_str(&" ".repeat(first.column));
                self.0.push((first.span.start..first.span.start, text));
                true
            }
            _ => false,
        }
    }

    /// Writes a value where nothing stands, or a null.
    fn replace_null(&mut self, entry: &Entry, value: &Value) -> bool {
        if entry.value.text() == Some("") {
            // The colon after the key; a space or a comment follows it.
            let colon = entry.span.end;
            self.0.push((colon + 1..colon + 1, format!(" {}", flow(value))));
        } else {
            self.0.push((entry.value.span.clone(), flow(value)));
        }
        true
    }

    /// The text with every edit; the same text without any. Edits that no text has room for leave
    /// one that does not read as wanted.
    fn apply(mut self, text: &str) -> Cow<'_, str> {
        if self.0.is_empty() {
            return Cow::Borrowed(text);
        }
        self.0.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(text.len() + 1024);
        let mut done = 0;
        for (range, new) in self.0 {
            out.push_str(text.get(done..range.start).unwrap_or_default());
            out.push_str(&new);
            done = range.end;
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }
}

fn wanted_fields(wanted: &CommonMetadata) -> BTreeMap<&'static str, &BTreeMap<String, String>> {
    fields(wanted).collect()
}

fn is_null(node: &Node) -> bool {
    let null = |text: &str| matches!(text, "" | "~" | "null" | "Null" | "NULL");
    node.bare && matches!(&node.content, Content::Scalar { text, plain: true } if null(text))
}

/// An entry in block style, its first line without indentation, with a line feed at the end.
fn block(out: &mut String, key: &str, value: &Value, indent: usize) {
    match value {
        Value::Object(entries) => {
            out.push_str(&quoted(key));
            out.push_str(":\n");
            for (key, value) in entries {
                out.push_str(&" ".repeat(indent + 2));
                block(out, key, value, indent + 2);
            }
        }
        other => {
            let value = other.as_str().map_or_else(|| flow(other), quoted);
            out.push_str(&[&quoted(key), ": ", &value, "\n"].concat());
        }
    }
}

/// A text as a scalar: in quotes unless every YAML reader takes it for a text without.
fn quoted(text: &str) -> String {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(tame);
    if plain && yaml::parse(text) == Ok(json!(text)) { text.to_owned() } else { flow(&json!(text)) }
}

/// A value as JSON that is YAML too: what YAML takes for a line break or forbids is escaped.
fn flow(value: &Value) -> String {
    let mut out = String::new();
    for character in value.to_string().chars() {
        match character {
            '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("writing to a string cannot fail");
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
