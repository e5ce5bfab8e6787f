//! Where the nodes of a document stand in its text, for edits that leave all other bytes alone.

use std::ops::Range;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, StructureStyle, Tag};
use std::borrow::Cow;

use super::YamlError;

/// How deep a document may nest.
const MAX_DEPTH: usize = 200;

/// A node and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Bytes of a scalar, of an alias, or of a collection between braces; only the start counts of a
    /// block collection.
    pub span: Range<usize>,
    /// Neither an anchor nor a tag stands before it.
    pub bare: bool,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Entries in their order.
    Mapping {
        /// Written between braces.
        flow: bool,
        /// The entries, a key that appears twice included.
        entries: Vec<Entry>,
    },
    /// Items in their order.
    Sequence(Vec<Node>),
    /// A scalar.
    Scalar {
        /// Its text after escapes.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A reference to an anchor.
    Alias,
}

/// An entry of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key's text; none for one that is no text.
    pub key: Option<String>,
    /// Bytes of the key.
    pub span: Range<usize>,
    /// Characters before the key on its line.
    pub column: usize,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The last entry of a mapping with this key, which is the one that counts in Go.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping { entries, .. } => entries.iter().rev().find(|entry| entry.key.as_deref() == Some(key)),
            _ => None,
        }
    }

    /// The value of the last entry with this key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }
}

/// The roots of the documents in a text, in their order; lines of errors count from 1 in the text.
pub fn read(text: &str) -> Result<Vec<Node>, YamlError> {
    let mut options = granit_parser::options! { block_scalar_eof_without_line_feed: true };
    options.set_emit_comments(false);
    let mut reader = Reader { parser: Parser::new_from_str_with_options(text, options), depth: 0 };
    let mut roots = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(roots),
            (Event::DocumentStart(..), _) => {
                let (event, span) = reader.next()?;
                roots.push(reader.node(event, &span)?);
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => Err(fault(error.marker(), error.info())),
            Some(Ok(spanned)) => Ok(spanned),
        }
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, YamlError> {
        let start = at(&span.start);
        let bare = |anchor: usize, tag: Option<&Cow<'_, Tag>>| anchor == 0 && tag.is_none();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (plain, end) = (style == ScalarStyle::Plain, at(&span.end));
                // The parser says `~` where nothing is written.
                let text = if plain && start == end { String::new() } else { text.into_owned() };
                let content = Content::Scalar { text, plain };
                Ok(Node { span: start..end, bare: bare(anchor, tag.as_ref()), content })
            }
            Event::Alias(_) => Ok(Node { span: start..at(&span.end), bare: true, content: Content::Alias }),
            Event::SequenceStart(_, anchor, tag) => {
                let (items, end) = self.nested(span, Self::items)?;
                Ok(Node { span: start..end, bare: bare(anchor, tag.as_ref()), content: Content::Sequence(items) })
            }
            Event::MappingStart(style, anchor, tag) => {
                let (entries, end) = self.nested(span, Self::entries)?;
                let content = Content::Mapping { flow: style == StructureStyle::Flow, entries };
                Ok(Node { span: start..end, bare: bare(anchor, tag.as_ref()), content })
            }
            _ => Err(fault(&span.start, "a value is missing here".to_owned())),
        }
    }

    fn nested<T>(&mut self, span: &Span, read: impl FnOnce(&mut Self) -> Result<T, YamlError>) -> Result<T, YamlError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault(&span.start, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let found = read(self)?;
        self.depth -= 1;
        Ok(found)
    }

    fn items(&mut self) -> Result<(Vec<Node>, usize), YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, span) => return Ok((items, at(&span.end))),
                (event, span) => items.push(self.node(event, &span)?),
            }
        }
    }

    fn entries(&mut self) -> Result<(Vec<Entry>, usize), YamlError> {
        let mut entries = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok((entries, at(&span.end)));
            }
            let column = span.start.col();
            let key = self.node(event, &span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?;
            entries.push(Entry { key: key.text().map(str::to_owned), span: key.span, column, value });
        }
    }
}

fn at(marker: &Marker) -> usize {
    marker.byte_offset().expect("a parser of text knows bytes")
}

fn fault(marker: &Marker, message: String) -> YamlError {
    YamlError { line: marker.line(), column: marker.col() + 1, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_stand_where_they_stand() {
        let text = "---\n# ä\nmeta:\n  a: &x 'ü'\n  a: plain\n  b: {c: 1, \"d\": [2]}\n  e:\n---\n- *y\n";
        let text = text.replace("- *y", "- k: v");
        let roots = read(&text).expect("reads");
        let meta = roots[0].get("meta").expect("an entry");
        let shown = |node: &Node| text[node.span.clone()].to_owned();
        let last = meta.entry("a").expect("an entry");
        assert_eq!((shown(&last.value).as_str(), last.column, last.value.bare), ("plain", 2, true));
        let Content::Mapping { entries, flow: false } = &meta.content else { panic!("{meta:?}") };
        assert!(!entries[0].value.bare);
        assert_eq!((entries[0].value.text(), entries.len()), (Some("ü"), 4));
        assert_eq!(shown(meta.get("b").expect("an entry")), "{c: 1, \"d\": [2]}");
        assert_eq!(meta.get("e").and_then(Node::text), Some(""));
        let Content::Sequence(items) = &roots[1].content else { panic!("{roots:?}") };
        assert_eq!(items[0].entry("k").map(|entry| entry.column), Some(2));
    }

    #[test]
    fn what_cannot_be_read_has_a_line() {
        assert_eq!(read("a: 1\nb: [1\nc: 2\n").expect_err("broken").line, 3);
        let deep = "[".repeat(300);
        assert!(read(&deep).is_err());
        let deep = format!("{}1", "- ".repeat(220));
        assert!(read(&deep).expect_err("too deep").message.contains("nested deeper"));
        assert_eq!(read("# nothing\n").expect("reads"), []);
    }
}
