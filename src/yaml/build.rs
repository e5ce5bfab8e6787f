//! Parser events -> JSON values, with the line of every field.

use super::{Document, Lines, YamlError, scalar};
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;

/// How deep a document may nest, aliases included.
const MAX_DEPTH: usize = 200;
/// How much all aliases of one document may expand to, in weight (text bytes plus 16 a node).
const MAX_ALIAS_WEIGHT: usize = 8 << 20;

/// The namespace of `!!str` and the other standard tags.
const TAGS: &str = "tag:yaml.org,2002:";

/// Reads the documents of one chunk (more than one only after a `...` line).
pub(super) fn read(text: &str, lines_before: usize, found: &mut Vec<Document>) {
    // Go's parser adds no line feed to a block scalar that ends with the file, either.
    let mut options = granit_parser::options! { block_scalar_eof_without_line_feed: true };
    options.set_emit_comments(false);
    let mut builder = Builder {
        parser: Parser::new_from_str_with_options(text, options),
        lines_before,
        lines: HashMap::new(),
        pointer: String::new(),
        anchors: HashMap::new(),
        alias_weight: 0,
        depth: 0,
    };
    loop {
        match builder.document() {
            Ok(None) => return,
            Ok(Some((line, value))) => {
                let lines = Lines { first: line, fields: std::mem::take(&mut builder.lines) };
                if !value.is_null() {
                    found.push(Document { line, result: Ok(value), lines });
                }
            }
            Err(error) => {
                found.push(Document { line: error.line, result: Err(error), lines: Lines::default() });
                return;
            }
        }
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines_before: usize,
    lines: HashMap<String, usize>,
    /// JSON pointer of the node being read.
    pointer: String,
    anchors: HashMap<usize, Node>,
    alias_weight: usize,
    /// How many collections the node being read is in.
    depth: usize,
}

/// A value with what it costs to copy it.
#[derive(Clone)]
struct Node {
    value: Value,
    weight: usize,
    depth: usize,
}

impl Node {
    fn leaf(value: Value) -> Self {
        let text = value.as_str().map_or(0, str::len);
        Self { value, weight: 16 + text, depth: 1 }
    }
}

/// A collection's running cost.
#[derive(Default)]
struct Cost {
    weight: usize,
    depth: usize,
}

impl Cost {
    fn add(&mut self, node: &Node) {
        self.weight += node.weight;
        self.depth = self.depth.max(node.depth);
    }

    fn node(self, value: Value) -> Node {
        Node { value, weight: self.weight + 16, depth: self.depth + 1 }
    }
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<(usize, Value)>, YamlError> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart(..), _) => break,
                _ => {}
            }
        }
        self.anchors.clear();
        self.alias_weight = 0;
        self.depth = 0;
        self.pointer.clear();
        let (event, span) = self.next()?;
        let line = self.line(&span.start);
        let node = self.node(event, span)?;
        // Read up to the end, so that an error behind the root belongs to this document.
        while !matches!(self.next()?.0, Event::DocumentEnd) {}
        Ok(Some((line, node.value)))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(error)) => Err(self.error(error.marker(), error.info())),
            Some(Ok(spanned)) => Ok(spanned),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span) -> Result<Node, YamlError> {
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value =
                    resolve(&text, style, tag.as_deref()).map_err(|message| self.error(&span.start, message))?;
                (Node::leaf(value), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.nested(&span, Self::sequence)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.nested(&span, |builder| builder.mapping(&span))?, anchor),
            Event::Alias(id) => (self.alias(id, &span)?, 0),
            _ => return Err(self.error(&span.start, "a value is missing here".to_owned())),
        };
        // Aliases nest without being read.
        if node.depth > MAX_DEPTH {
            return Err(self.too_deep(&span));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Reads a collection. How deep it is has to be known on the way down, or a line of brackets
    /// would end the process by its stack.
    fn nested(
        &mut self,
        span: &Span,
        read: impl FnOnce(&mut Self) -> Result<Node, YamlError>,
    ) -> Result<Node, YamlError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        let node = read(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn too_deep(&self, span: &Span) -> YamlError {
        self.error(&span.start, format!("nested deeper than {MAX_DEPTH} levels"))
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(self.error(&span.start, "an alias refers to itself".to_owned()));
        };
        if self.alias_weight + node.weight > MAX_ALIAS_WEIGHT {
            let message = format!("the document's aliases expand to more than {} MiB", MAX_ALIAS_WEIGHT >> 20);
            return Err(self.error(&span.start, message));
        }
        self.alias_weight += node.weight;
        Ok(node.clone())
    }

    fn sequence(&mut self) -> Result<Node, YamlError> {
        let mut items = Vec::new();
        let mut cost = Cost::default();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(cost.node(Value::Array(items)));
            }
            let parent = self.enter(&items.len().to_string(), &span.start);
            let node = self.node(event, span)?;
            self.pointer.truncate(parent);
            cost.add(&node);
            items.push(node.value);
        }
    }

    fn mapping(&mut self, start: &Span) -> Result<Node, YamlError> {
        let mut map = Map::new();
        let mut first_lines: HashMap<String, usize> = HashMap::new();
        let mut merged = Vec::new();
        let mut cost = Cost::default();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            if is_merge(&event) {
                let parent = self.enter("<<", &span.start);
                let (event, span) = self.next()?;
                let node = self.node(event, span)?;
                self.pointer.truncate(parent);
                cost.add(&node);
                self.merge_sources(node.value, &span, &mut merged)?;
                continue;
            }
            let key = self.key(event, span, start)?;
            let line = self.line(&span.start);
            if let Some(first) = first_lines.insert(key.clone(), line) {
                return Err(self.error(&span.start, duplicate(&key, first, &self.pointer)));
            }
            let parent = self.enter(&key, &span.start);
            let (event, span) = self.next()?;
            let node = self.node(event, span)?;
            self.pointer.truncate(parent);
            cost.add(&node);
            map.insert(key, node.value);
        }
        for source in merged {
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
        }
        Ok(cost.node(Value::Object(map)))
    }

    fn key(&mut self, event: Event<'a>, span: Span, start: &Span) -> Result<String, YamlError> {
        let template = matches!(event, Event::MappingStart(..));
        let node = self.node(event, span)?;
        scalar::key(&node.value).ok_or_else(|| {
            let message = match node.value {
                Value::Null => "a key is missing before `:`",
                _ if template && span.start.index() == start.start.index() + 1 => {
                    "`{{ … }}` is a placeholder that nothing has filled in; fill it in, or quote it"
                }
                _ => "a key must be text, not a list or a mapping",
            };
            self.error(&span.start, message.to_owned())
        })
    }

    /// Collects the mappings that a `<<` key names; the first one to hold a key wins.
    fn merge_sources(&self, value: Value, span: &Span, merged: &mut Vec<Map<String, Value>>) -> Result<(), YamlError> {
        let sources = match value {
            Value::Array(items) => items,
            single => vec![single],
        };
        for source in sources {
            let Value::Object(map) = source else {
                let message = "`<<` needs a mapping or a list of mappings".to_owned();
                return Err(self.error(&span.start, message));
            };
            merged.push(map);
        }
        Ok(())
    }

    /// Steps into a child, noting its line; returns the length to truncate the pointer back to.
    fn enter(&mut self, key: &str, start: &Marker) -> usize {
        let parent = self.pointer.len();
        self.pointer.push('/');
        for character in key.chars() {
            match character {
                '~' => self.pointer.push_str("~0"),
                '/' => self.pointer.push_str("~1"),
                other => self.pointer.push(other),
            }
        }
        self.lines.insert(self.pointer.clone(), self.line(start));
        parent
    }

    fn line(&self, marker: &Marker) -> usize {
        self.lines_before + marker.line()
    }

    fn error(&self, marker: &Marker, message: String) -> YamlError {
        YamlError { line: self.line(marker), column: marker.col() + 1, message }
    }
}

fn resolve(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        Some(tag) => match tag.suffix_in_namespace(TAGS) {
            Some(core) => scalar::tagged(&core, text),
            None => Ok(Value::String(text.to_owned())),
        },
        None if style == ScalarStyle::Plain => scalar::plain(text),
        None => Ok(Value::String(text.to_owned())),
    }
}

fn is_merge(event: &Event<'_>) -> bool {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, _, tag) => {
            text == "<<" && tag.as_ref().map(Cow::as_ref).is_none_or(is_merge_tag)
        }
        _ => false,
    }
}

fn is_merge_tag(tag: &Tag) -> bool {
    tag.suffix_in_namespace(TAGS).as_deref() == Some("merge")
}

fn duplicate(key: &str, first: usize, parent: &str) -> String {
    let hint = if parent.is_empty() { "; is a `---` line missing between two objects?" } else { "" };
    format!("`{key}` is given twice, first on line {first}{hint}")
}
