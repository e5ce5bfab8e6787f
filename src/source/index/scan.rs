//! One chart's entries in an `index.yaml` of any size, in the layout that helm writes: found by
//! indentation, so that only they are read as YAML, each on its own. Pure, but for the reader.

use std::io::{self, BufRead, Read as _};

/// The longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1024 * 1024;
/// The longest entry that is read, in bytes.
pub const LONGEST_ENTRY: usize = 1024 * 1024;

/// A part of the text that is YAML by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its first line, from 1.
    pub line: usize,
    /// The text: a sequence of one entry, or a mapping from the chart to all of its entries. None
    /// when it is longer than [`LONGEST_ENTRY`].
    pub text: Option<String>,
}

/// What a scan came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The index has the chart.
    Found,
    /// It has not.
    Absent,
    /// There are no entries at all, or the text has another layout.
    Unusual,
}

/// Gives every chunk of a chart to `take`.
pub fn scan(reader: impl BufRead, chart: &str, take: impl FnMut(Chunk)) -> io::Result<Scan> {
    let mut scanner = Scanner { chart, take, place: Place::Outside, indent: None, chunk: None, found: Scan::Unusual };
    let mut reader = reader;
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        let read = (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            break;
        }
        number += 1;
        if read as u64 == LONGEST_LINE || !scanner.line(number, &String::from_utf8_lossy(&bytes)) {
            return Ok(Scan::Unusual);
        }
    }
    scanner.flush();
    Ok(scanner.found)
}

/// Where in the text a scan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not below `entries`.
    Outside,
    /// Below it, in another chart.
    Elsewhere,
    /// In the chart, before its first entry, whose key stands in the pending chunk.
    Begun,
    /// Among its entries, whose dashes stand in this column.
    Items(usize),
    /// In the chart, which is not a list of one entry after the other.
    Whole,
}

struct Scanner<'s, F> {
    chart: &'s str,
    take: F,
    place: Place,
    /// The column of the charts' names.
    indent: Option<usize>,
    chunk: Option<Chunk>,
    found: Scan,
}

impl<F: FnMut(Chunk)> Scanner<'_, F> {
    /// Takes a line; false when the layout is another one.
    fn line(&mut self, number: usize, line: &str) -> bool {
        let body = line.trim_start_matches(' ');
        let column = line.len() - body.len();
        let body = body.trim_end();
        if body.is_empty() {
            self.append("\n");
            return true;
        }
        if body.starts_with('#') && !matches!(self.place, Place::Items(dash) if column > dash) {
            return true;
        }
        if column == 0 {
            self.top(body)
        } else if self.place == Place::Outside {
            true
        } else {
            self.inside(number, line, column, body)
        }
    }

    fn top(&mut self, body: &str) -> bool {
        let inside = self.place != Place::Outside;
        if inside && is_item(body) {
            return false;
        }
        self.flush();
        self.place = Place::Outside;
        let body = body.trim_start_matches('\u{feff}');
        if let Some((key, rest)) = key_of(body)
            && key == "entries"
        {
            let once = self.found == Scan::Unusual;
            self.found = Scan::Absent;
            match rest {
                "" => self.place = Place::Elsewhere,
                "{}" | "null" | "~" => {}
                _ => return false,
            }
            return once;
        }
        true
    }

    fn inside(&mut self, number: usize, line: &str, column: usize, body: &str) -> bool {
        let indent = *self.indent.get_or_insert(column);
        if column < indent || body.starts_with('\t') {
            return false;
        }
        if column == indent && !is_item(body) {
            return self.chart(number, line, body);
        }
        match self.place {
            Place::Begun if is_item(body) => self.item(number, line, column),
            Place::Items(dash) if column == dash && is_item(body) => self.item(number, line, column),
            // Less than its dash, and not a chart's name.
            Place::Items(dash) if column <= dash => return false,
            Place::Begun => {
                self.place = Place::Whole;
                self.append(line);
            }
            Place::Items(_) | Place::Whole => self.append(line),
            Place::Elsewhere | Place::Outside => {}
        }
        true
    }

    /// A line with the name of a chart.
    fn chart(&mut self, number: usize, line: &str, body: &str) -> bool {
        self.flush();
        self.place = Place::Elsewhere;
        let Some((key, rest)) = key_of(body) else { return false };
        if key == self.chart {
            self.found = Scan::Found;
            self.place = if rest.is_empty() { Place::Begun } else { Place::Whole };
            self.chunk = Some(Chunk { line: number, text: Some(line.to_owned()) });
        }
        true
    }

    fn item(&mut self, number: usize, line: &str, column: usize) {
        if self.place == Place::Begun {
            // The chart's name alone says nothing.
            self.chunk = None;
        }
        self.flush();
        self.place = Place::Items(column);
        self.chunk = Some(Chunk { line: number, text: Some(line.to_owned()) });
    }

    fn append(&mut self, line: &str) {
        if let Some(Chunk { text, .. }) = &mut self.chunk {
            let fits = text.as_ref().is_some_and(|text| text.len() + line.len() <= LONGEST_ENTRY);
            match text {
                Some(text) if fits => text.push_str(line),
                other => *other = None,
            }
        }
    }

    fn flush(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            (self.take)(chunk);
        }
    }
}

fn is_item(body: &str) -> bool {
    body == "-" || body.starts_with("- ")
}

/// The key of a line `key: rest`, and the rest without a comment. None where the line is none, or
/// where it takes a YAML parser to tell.
fn key_of(body: &str) -> Option<(&str, &str)> {
    let (key, rest) = match body.chars().next()? {
        quote @ ('"' | '\'') => {
            let (key, rest) = body[1..].split_once(quote)?;
            (key, rest.trim_start().strip_prefix(':')?)
        }
        '?' | '-' | '{' | '[' | '&' | '*' | '!' | '|' | '>' | '%' | '@' | '`' => return None,
        _ => match body.split_once(": ") {
            Some(found) => found,
            None => (body.strip_suffix(':')?, ""),
        },
    };
    if key.contains('\\') {
        return None;
    }
    let rest = rest.trim_start();
    let rest = if rest.starts_with('#') { "" } else { rest.split(" #").next().unwrap_or(rest).trim_end() };
    Some((key.trim_end(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str, chart: &str) -> (Scan, Vec<(usize, String)>) {
        let mut found = Vec::new();
        let scan =
            scan(text.as_bytes(), chart, |chunk| found.push((chunk.line, chunk.text.unwrap_or_default()))).unwrap();
        (scan, found)
    }

    const INDEX: &str = "apiVersion: v1\nentries:\n  nginx:\n  - name: nginx\n    description: |\n      # no comment\n      - no item\n\n      text\n  # a comment\n  - name: nginx\n  \"quoted\": # here\n    - a: 1\n\n    - b: 2\n  flow: [{a: 1},\n    {b: 2}]\n  later:\n    [{a: 1}]\n  empty: []\ngenerated: now\n";

    #[test]
    fn entries_are_found_by_their_indentation() {
        let (scan, found) = chunks(INDEX, "nginx");
        assert_eq!(scan, Scan::Found);
        let first = "  - name: nginx\n    description: |\n      # no comment\n      - no item\n\n      text\n";
        assert_eq!(found, [(4, first.to_owned()), (11, "  - name: nginx\n".to_owned())]);
        let (_, found) = chunks(INDEX, "quoted");
        assert_eq!(found, [(13, "    - a: 1\n\n".to_owned()), (15, "    - b: 2\n".to_owned())]);
        assert_eq!(chunks(INDEX, "flow").1, [(16, "  flow: [{a: 1},\n    {b: 2}]\n".to_owned())]);
        assert_eq!(chunks(INDEX, "later").1, [(18, "  later:\n    [{a: 1}]\n".to_owned())]);
        assert_eq!(chunks(INDEX, "empty").1, [(20, "  empty: []\n".to_owned())]);
        assert_eq!(chunks(INDEX, "generated"), (Scan::Absent, Vec::new()));
        assert_eq!(chunks("entries: {}\n", "nginx"), (Scan::Absent, Vec::new()));
    }

    #[test]
    fn any_other_layout_is_left_to_a_parser() {
        for text in [
            "",
            "<html></html>\n",
            "entries: {nginx: []}\n",
            "entries:\n- a\n",
            "entries:\n  ? nginx\n  : []\n",
            "entries:\n  &a nginx:\n  - a: 1\n",
            "entries:\n    a:\n    - x: 1\n  nginx:\n  - x: 1\n",
            "entries:\n  a:\n    - x: 1\n   - y: 1\n",
            "entries:\n  a:\n  - x: 1\nentries:\n  a:\n  - x: 1\n",
        ] {
            assert_eq!(chunks(text, "a").0, Scan::Unusual, "{text:?}");
        }
    }

    #[test]
    fn an_entry_that_is_too_long_is_not_kept() {
        let long = format!("entries:\n  a:\n  - x: 1\n{}  - y: 1\n", "    z: 0123456789\n".repeat(80_000));
        let found = chunks(&long, "a").1;
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], (3, String::new()));
        let line = format!("entries:\n  a:\n  - x: {}\n", "0".repeat(2 << 20));
        assert_eq!(chunks(&line, "a").0, Scan::Unusual);
    }
}
