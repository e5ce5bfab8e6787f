//! Scalars: which style a text gets, and how each style is written and folded.

use super::{Emitter, INDENT, Position};

/// The styles that go-yaml chooses from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// Which styles can hold a text.
#[derive(Debug, PartialEq)]
struct Allowed {
    plain: bool,
    single_quoted: bool,
    literal: bool,
}

/// Line breaks of YAML 1.1.
pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && character != '\u{feff}'
}

fn allowed(text: &[char]) -> Allowed {
    let (Some(&first), Some(&last)) = (text.first(), text.last()) else {
        return Allowed { plain: true, single_quoted: true, literal: false };
    };
    let at_end = |character: char| character == ' ' || is_break(character);
    let adjacent = |before: fn(char) -> bool, after: fn(char) -> bool| {
        text.windows(2).any(|pair| before(pair[0]) && after(pair[1]))
    };
    let is_space = |character: char| character == ' ';
    let break_space = adjacent(is_break, is_space);
    let unwritable = adjacent(is_space, is_break) || !text.iter().copied().all(is_printable);
    Allowed {
        plain: !at_end(first)
            && !at_end(last)
            && !text.iter().copied().any(is_break)
            && !unwritable
            && !has_indicator(text),
        single_quoted: !break_space && !unwritable,
        literal: last != ' ' && !unwritable,
    }
}

/// Whether a character of a plain text would be read as YAML syntax.
fn has_indicator(text: &[char]) -> bool {
    if text.starts_with(&['-', '-', '-']) || text.starts_with(&['.', '.', '.']) {
        return true;
    }
    let blank_after = |i: usize| text.get(i + 1).is_none_or(|&next| is_blank(next));
    text.iter().enumerate().any(|(i, &character)| match character {
        ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => i == 0,
        '?' | '-' => i == 0 && blank_after(i),
        ':' => blank_after(i),
        '#' => i == 0 || is_blank(text[i - 1]) || is_break(text[i - 1]) || text[i - 1] == '\0',
        _ => false,
    })
}

fn style(text: &[char], wanted: Style, position: Position) -> Style {
    let key = position == Position::SimpleKey;
    let allowed = allowed(text);
    let mut style = wanted;
    if style == Style::Plain && (!allowed.plain || (text.is_empty() && key)) {
        style = Style::SingleQuoted;
    }
    if style == Style::SingleQuoted && !allowed.single_quoted {
        style = Style::DoubleQuoted;
    }
    if style == Style::Literal && (!allowed.literal || key) {
        style = Style::DoubleQuoted;
    }
    style
}

impl Emitter {
    /// Writes a scalar in the wanted style or the nearest one that can hold it.
    pub(super) fn scalar(&mut self, text: &str, wanted: Style, position: Position) {
        let text: Vec<char> = text.chars().collect();
        let outer = self.indent;
        self.indent = Some(outer.map_or(INDENT, |columns| columns + INDENT));
        let folds = position != Position::SimpleKey;
        match style(&text, wanted, position) {
            Style::Plain => self.plain(&text, folds),
            Style::SingleQuoted => self.single_quoted(&text, folds),
            Style::DoubleQuoted => self.double_quoted(&text, folds),
            Style::Literal => self.literal(&text),
        }
        self.indent = outer;
    }

    fn plain(&mut self, text: &[char], folds: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        let mut after_space = false;
        for (i, &character) in text.iter().enumerate() {
            let fold = folds && !after_space && self.column > self.width && text.get(i + 1) != Some(&' ');
            if character == ' ' && fold {
                self.write_indent();
            } else {
                self.put(character);
            }
            after_space = character == ' ';
            if !after_space {
                self.indention = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &[char], folds: bool) {
        self.indicator("'", true, false, false);
        let (mut after_space, mut after_break) = (false, false);
        for (i, &character) in text.iter().enumerate() {
            if character == ' ' {
                let inside = i > 0 && i + 1 < text.len() && text[i + 1] != ' ';
                if folds && !after_space && self.column > self.width && inside {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else if is_break(character) {
                self.put_break(character);
                self.indention = true;
                after_break = true;
            } else {
                if after_break {
                    self.write_indent();
                }
                if character == '\'' {
                    self.put('\'');
                }
                self.put(character);
                self.indention = false;
                (after_space, after_break) = (false, false);
            }
        }
        self.indicator("'", false, false, false);
        self.indention = false;
    }

    fn double_quoted(&mut self, text: &[char], folds: bool) {
        self.indicator("\"", true, false, false);
        // go-yaml looks for a byte order mark at the start of the text, not at the character.
        let marked = text.first() == Some(&'\u{feff}');
        let mut after_space = false;
        for (i, &character) in text.iter().enumerate() {
            let special = marked || !is_printable(character) || is_break(character);
            if special || character == '"' || character == '\\' {
                self.escape(character);
                after_space = false;
            } else if character == ' ' {
                let inside = i > 0 && i + 1 < text.len();
                if folds && !after_space && self.column > self.width && inside {
                    self.write_indent();
                    if text[i + 1] == ' ' {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                after_space = true;
            } else {
                self.put(character);
                after_space = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.indention = false;
    }

    fn escape(&mut self, character: char) {
        let short = match character {
            '\0' => Some('0'),
            '\u{7}' => Some('a'),
            '\u{8}' => Some('b'),
            '\t' => Some('t'),
            '\n' => Some('n'),
            '\u{b}' => Some('v'),
            '\u{c}' => Some('f'),
            '\r' => Some('r'),
            '\u{1b}' => Some('e'),
            '"' | '\\' => Some(character),
            '\u{85}' => Some('N'),
            '\u{a0}' => Some('_'),
            '\u{2028}' => Some('L'),
            '\u{2029}' => Some('P'),
            _ => None,
        };
        let code = match (short, u32::from(character)) {
            (Some(letter), _) => letter.to_string(),
            (None, code @ ..=0xff) => format!("x{code:02X}"),
            (None, code @ ..=0xffff) => format!("u{code:04X}"),
            (None, code) => format!("U{code:08X}"),
        };
        self.put('\\');
        code.chars().for_each(|letter| self.put(letter));
    }

    fn literal(&mut self, text: &[char]) {
        self.indicator("|", true, false, false);
        if text[0] == ' ' || is_break(text[0]) {
            self.indicator(&INDENT.to_string(), false, false, false);
        }
        let broken = |from_end: usize| text.len().checked_sub(from_end).map(|i| is_break(text[i]));
        match (broken(1), broken(2)) {
            (Some(true), Some(false)) => {}
            (Some(true), _) => self.indicator("+", false, false, false),
            _ => self.indicator("-", false, false, false),
        }
        self.put_break('\n');
        self.indention = true;
        self.whitespace = true;
        let mut at_start = true;
        for &character in text {
            if is_break(character) {
                self.put_break(character);
                self.indention = true;
                at_start = true;
            } else {
                if at_start {
                    self.write_indent();
                }
                self.put(character);
                self.indention = false;
                at_start = false;
            }
        }
    }
}
