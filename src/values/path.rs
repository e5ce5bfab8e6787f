//! `targetPath`: a value set at a path, in the syntax of `helm --set`.
//!
//! Path and value are read as one `path=value` line, as helm reads it: a comma in the value
//! begins another assignment, `{a,b}` is a list, a backslash takes the next character as it is.

use std::cell::RefCell;
use std::iter::Peekable;
use std::rc::Rc;
use std::str::Chars;

use serde_json::Value;

use super::node::{Node, SharedList, SharedMap};

/// Highest list index that a path may name.
const HIGHEST_INDEX: usize = 65_536;

/// Most dots that a path may hold.
const DEEPEST: usize = 30;

/// Most indexes that a path may hold, one behind the other or with keys between them.
const MOST_INDEXES: usize = 100;

/// Most items by which all paths of one text may make lists longer: four of the longest.
const MOST_ITEMS: usize = 4 * (HIGHEST_INDEX + 1);

/// Why a value cannot be set at a path. The value itself is never part of the message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The text ends or a comma follows where a `key=value` is expected.
    #[error("a part of it is not `key=value`; escape each comma of the value as `\\,` or set `literal: true`")]
    NoValue,
    /// A key on the way holds something else than a mapping.
    #[error("a key on the path holds a value that is not a mapping")]
    NotAMapping,
    /// An index on the way is put on something else than a list.
    #[error("an index on the path is put on a value that is not a list")]
    NotAList,
    /// The text in brackets is not an index from 0 to 65536.
    #[error("an index on the path is not a number from 0 to {HIGHEST_INDEX}")]
    BadIndex,
    /// Something stands between `]` and the next `.`, `[` or `=`.
    #[error("only `.`, `[` or `=` may follow an index")]
    AfterIndex,
    /// More levels than helm reads.
    #[error("the path has more than {DEEPEST} levels")]
    TooDeep,
    /// More indexes than any list needs.
    #[error("a path has more than {MOST_INDEXES} indexes")]
    TooManyIndexes,
    /// More memory than any list needs.
    #[error("the lists become longer than {MOST_ITEMS} items in all")]
    TooManyItems,
    /// A value begins with `{` and has no `}`.
    #[error("the value begins a list with `{{` but has no `}}`; escape it as `\\{{` or set `literal: true`")]
    OpenList,
}

/// How the value is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As `helm --set`: whole numbers, `true`, `false` and `null` get their type. A value in
    /// quotes loses them and stays text.
    Typed,
    /// As it is, to the last byte.
    Literal,
}

/// Sets `value` at `path`.
pub(super) fn set(target: &SharedMap, path: &str, value: &str, reading: Reading) -> Result<(), PathError> {
    let quoted = ['\'', '"'].into_iter().any(|quote| value.starts_with(quote) && value.ends_with(quote));
    let (line, typed) = match reading {
        Reading::Literal => (format!("{path}={}", escape(value)), false),
        Reading::Typed if quoted => (format!("{path}={}", value.trim_matches(['\'', '"'])), false),
        Reading::Typed => (format!("{path}={value}"), true),
    };
    let mut parser = Parser { rest: line.chars().peekable(), typed, indexes: 0, room: MOST_ITEMS };
    while parser.key(target, 0)? == Progress::More {
        parser.indexes = 0;
    }
    Ok(())
}

fn escape(value: &str) -> String {
    let special = |character| matches!(character, '\\' | ',' | '[' | ']' | '{' | '}');
    value.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[derive(Debug, PartialEq)]
enum Progress {
    More,
    End,
}

struct Parser<'t> {
    rest: Peekable<Chars<'t>>,
    typed: bool,
    /// Indexes of the path so far.
    indexes: usize,
    /// Items by which lists may still become longer.
    room: usize,
}

impl Parser<'_> {
    fn key(&mut self, map: &SharedMap, depth: usize) -> Result<Progress, PathError> {
        let (key, stop) = self.until(&['=', '[', ',', '.']);
        match stop {
            None if key.is_empty() => Ok(Progress::End),
            None | Some(',') => Err(PathError::NoValue),
            Some('[') => {
                let list = match map.borrow().get(&key) {
                    None => SharedList::default(),
                    Some(Node::List(list)) => Rc::clone(list),
                    Some(_) => return Err(PathError::NotAList),
                };
                let index = self.index()?;
                let (list, progress) = self.item(&list, index, depth)?;
                assign(map, key, Node::List(list));
                Ok(progress)
            }
            Some('=') => {
                let (value, progress) = self.value()?;
                assign(map, key, value);
                Ok(progress)
            }
            Some(_) => self.inner(map, key, depth + 1),
        }
    }

    fn inner(&mut self, map: &SharedMap, key: String, depth: usize) -> Result<Progress, PathError> {
        if depth > DEEPEST {
            return Err(PathError::TooDeep);
        }
        let inner = match map.borrow().get(&key) {
            None => SharedMap::default(),
            Some(Node::Map(inner)) => Rc::clone(inner),
            Some(_) => return Err(PathError::NotAMapping),
        };
        let progress = self.key(&inner, depth)?;
        if !inner.borrow().is_empty() {
            assign(map, key, Node::Map(inner));
        } else if progress == Progress::More {
            return Err(PathError::NoValue);
        }
        Ok(progress)
    }

    fn index(&mut self) -> Result<usize, PathError> {
        // Each one is a level that the reader is in, of keys as well, which helm counts by dots.
        self.indexes += 1;
        if self.indexes > MOST_INDEXES {
            return Err(PathError::TooManyIndexes);
        }
        let (digits, Some(_)) = self.until(&[']']) else {
            return Err(PathError::BadIndex);
        };
        digits.parse().ok().filter(|&index| index <= HIGHEST_INDEX).ok_or(PathError::BadIndex)
    }

    fn item(&mut self, list: &SharedList, index: usize, depth: usize) -> Result<(SharedList, Progress), PathError> {
        let (between, stop) = self.until(&['[', '.', '=']);
        if !between.is_empty() {
            return Err(PathError::AfterIndex);
        }
        let old = list.borrow().get(index).cloned();
        let (node, progress) = match stop {
            None => return Err(PathError::NoValue),
            // Helm drops what the end of the text means here, and meets it again at the next key.
            Some('=') => (self.value()?.0, Progress::More),
            Some('[') => {
                let below = match old {
                    None | Some(Node::Leaf(Value::Null)) => SharedList::default(),
                    Some(Node::List(below)) => below,
                    Some(_) => return Err(PathError::NotAList),
                };
                let next = self.index()?;
                match self.item(&below, next, depth)? {
                    (_, Progress::End) => return Ok((Rc::clone(list), Progress::End)),
                    (below, progress) => (Node::List(below), progress),
                }
            }
            Some(_) => {
                let below = mapping_at(list, index);
                match self.key(&below, depth)? {
                    // Helm forgets a new item whose value is the empty end of the text.
                    Progress::End => return Ok((Rc::clone(list), Progress::End)),
                    progress @ Progress::More => (Node::Map(below), progress),
                }
            }
        };
        Ok((self.with_item(list, index, node)?, progress))
    }

    /// The list with the item: itself when it is long enough, a longer copy otherwise, as in Go.
    fn with_item(&mut self, list: &SharedList, index: usize, node: Node) -> Result<SharedList, PathError> {
        if let Some(place) = list.borrow_mut().get_mut(index) {
            *place = node;
            return Ok(Rc::clone(list));
        }
        let mut longer = list.borrow().clone();
        let more = index + 1 - longer.len();
        self.room = self.room.checked_sub(more).ok_or(PathError::TooManyItems)?;
        longer.resize(index + 1, Node::Leaf(Value::Null));
        longer[index] = node;
        Ok(Rc::new(RefCell::new(longer)))
    }

    fn value(&mut self) -> Result<(Node, Progress), PathError> {
        match self.rest.peek() {
            None => Ok((Node::Leaf(Value::String(String::new())), Progress::End)),
            Some('{') => {
                self.rest.next();
                Ok((self.list()?, Progress::More))
            }
            Some(_) => {
                let (text, _) = self.until(&[',']);
                Ok((self.scalar(text), Progress::More))
            }
        }
    }

    fn list(&mut self) -> Result<Node, PathError> {
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            let stop = stop.ok_or(PathError::OpenList)?;
            items.push(self.scalar(text));
            if stop == '}' {
                self.rest.next_if_eq(&',');
                return Ok(Node::List(Rc::new(RefCell::new(items))));
            }
        }
    }

    fn scalar(&self, text: String) -> Node {
        Node::Leaf(if self.typed { typed(text) } else { Value::String(text) })
    }

    /// The text up to one of the characters, which is consumed; none of them at the end.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            if stops.contains(&character) {
                return (text, Some(character));
            }
            text.extend(if character == '\\' { self.rest.next() } else { Some(character) });
        }
        (text, None)
    }
}

/// Sets a key; helm ignores an empty one.
fn assign(map: &SharedMap, key: String, node: Node) {
    if !key.is_empty() {
        map.borrow_mut().insert(key, node);
    }
}

/// The mapping at the index; a new one, put there if the list is long enough.
fn mapping_at(list: &SharedList, index: usize) -> SharedMap {
    match list.borrow_mut().get_mut(index) {
        Some(Node::Map(map)) => Rc::clone(map),
        Some(other) => {
            let map = SharedMap::default();
            *other = Node::Map(Rc::clone(&map));
            map
        }
        None => SharedMap::default(),
    }
}

fn typed(text: String) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Value::Null;
    }
    if text == "0" {
        return Value::from(0);
    }
    // A leading zero keeps a text: `0644` and build numbers are not meant as numbers.
    match text.parse::<i64>() {
        Ok(number) if !text.starts_with('0') => Value::from(number),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_at(path: &str, value: &str) -> Result<(), PathError> {
        set(&SharedMap::default(), path, value, Reading::Typed)
    }

    #[test]
    fn what_a_path_can_use_is_bounded() {
        assert_eq!(set_at(&format!("a{}", "[0]".repeat(100)), "x"), Ok(()));
        for piece in ["[0]", "[0].a"] {
            // A value may go on as other paths, of any length.
            let value = format!("1,a{}=2", piece.repeat(100_000));
            assert_eq!(set_at("b", &value), Err(PathError::TooManyIndexes), "{piece}");
        }
        let long = ["1", "l0[65536]=1", "l1[65536]=1", "l2[65536]=1", "l3[65536]=1", "l4[65536]=1"].join(",");
        assert_eq!(set_at("b", &long), Err(PathError::TooManyItems));
        assert_eq!(set_at("b[65536]", "1"), Ok(()));
    }
}
