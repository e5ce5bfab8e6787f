//! YAML as Kubernetes reads it: streams, lines, and the habits of `sigs.k8s.io/yaml`.
//!
//! Plain scalars follow YAML 1.1 as Go's parser does (`yes`, `on` and `n` are booleans, `010` is
//! octal, `1_000` is a number, a date is text), because the same file must mean the same thing to
//! `kubectl`, to helm and to us. Stricter on one point: a key that appears twice in one mapping is
//! an error, because it is nearly always a missing `---`.

mod build;
mod scalar;
mod split;
pub mod tree;

use serde_json::Value;
use std::collections::HashMap;

/// Why a document could not be read, and where (both counted from 1, within the whole file).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// Line within the file, from 1.
    pub line: usize,
    /// Column within the line, from 1.
    pub column: usize,
    /// What is wrong; never holds a value of the document.
    pub message: String,
}

/// One document of a stream. Documents without content (only comments) are left out.
#[derive(Debug, Clone)]
pub struct Document {
    /// Line of the document's first content, or of its error; from 1, within the file.
    pub line: usize,
    /// The document as JSON, or why it cannot be read.
    pub result: Result<Value, YamlError>,
    /// Where its fields stand.
    pub lines: Lines,
}

/// Where the fields of a document stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Line of the document's first content.
    first: usize,
    /// JSON pointer of every mapping entry and sequence item -> line.
    fields: HashMap<String, usize>,
}

impl Lines {
    /// The line of the field at a JSON pointer (`/metadata/labels/app`), or of its nearest
    /// ancestor that the document has; from 1, within the file.
    pub fn of(&self, pointer: &str) -> usize {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.fields.get(pointer) {
                return *line;
            }
            match pointer.rfind('/') {
                Some(at) => pointer = &pointer[..at],
                None => return self.first,
            }
        }
    }
}

/// Reads a text of at most one document; a text without content is `null`.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    let mut documents = documents(text).into_iter();
    let Some(first) = documents.next() else {
        return Ok(Value::Null);
    };
    let value = first.result?;
    match documents.next() {
        None => Ok(value),
        Some(second) => Err(YamlError {
            line: second.line,
            column: 1,
            message: "a second document begins here, but one is expected".to_owned(),
        }),
    }
}

/// Reads every document of a stream, so that a broken one does not take the others with it.
pub fn documents(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    for chunk in split::chunks(text) {
        match chunk.conflict {
            Some(error) => found.push(Document { line: error.line, result: Err(error), lines: Lines::default() }),
            None => build::read(chunk.text, chunk.first_line - 1, &mut found),
        }
    }
    found
}

/// The text of each document of a stream, with the `---` line before it, comments included. Joined
/// they are the stream again.
pub fn split(text: &str) -> Vec<&str> {
    split::cut(text).into_iter().map(|(text, _)| text).collect()
}

#[cfg(test)]
mod tests;
