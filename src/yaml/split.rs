//! Cuts a stream at its `---` lines before anything is parsed.
//!
//! YAML forbids a line that begins with `---` inside any scalar, so the cut needs no parser, and a
//! syntax error stays inside its own document.

use super::YamlError;

/// The text of one document, from its `---` line (if it has one) to the next.
pub(super) struct Chunk<'a> {
    pub(super) text: &'a str,
    /// Line of the chunk's first character within the stream, from 1.
    pub(super) first_line: usize,
    /// Set when an unresolved merge conflict touches the chunk.
    pub(super) conflict: Option<YamlError>,
}

/// The text of each document with the `---` line before it, and its first line, from 1. Joined
/// they are the stream again.
pub(super) fn cut(text: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) && offset > start {
            found.push((&text[start..offset], first_line));
            (start, first_line) = (offset, index + 1);
        }
        offset += line.len();
    }
    found.push((&text[start..], first_line));
    found
}

/// The chunks with content; those of comments, blank lines and `%` directives are left out.
pub(super) fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let conflicts = conflicts(text);
    let mut told = Vec::new();
    cut(text)
        .into_iter()
        .map(|(text, first_line)| chunk(text, first_line, &conflicts))
        .filter(|chunk| match &chunk.conflict {
            // Each conflict is told once, however many documents it spoils.
            Some(conflict) => {
                let new = !told.contains(&conflict.line);
                told.push(conflict.line);
                new
            }
            None => has_content(chunk.text),
        })
        .collect()
}

fn chunk<'a>(text: &'a str, first_line: usize, conflicts: &[(usize, usize)]) -> Chunk<'a> {
    let last_line = first_line + text.lines().count().saturating_sub(1);
    let conflict =
        conflicts.iter().find(|(from, to)| *from <= last_line && *to >= first_line).map(|(from, _)| YamlError {
            line: *from,
            column: 1,
            message: "a merge conflict was committed here (`<<<<<<<`): resolve it and remove the \
                      markers"
                .to_owned(),
        });
    Chunk { text, first_line, conflict }
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

fn has_content(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.strip_prefix("---").unwrap_or(line).trim();
        !line.is_empty() && !line.starts_with(['#', '%'])
    })
}

/// First and last line of each region between conflict markers.
fn conflicts(text: &str) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut open = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.starts_with("<<<<<<< ") {
            found.push((number, number));
            open = true;
        } else if line.starts_with(">>>>>>> ") {
            match found.last_mut().filter(|_| open) {
                Some(region) => region.1 = number,
                None => found.push((number, number)),
            }
            open = false;
        }
    }
    if open && let Some(region) = found.last_mut() {
        region.1 = usize::MAX;
    }
    found
}
