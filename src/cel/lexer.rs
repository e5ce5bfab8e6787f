//! Text to tokens.

use super::Fault;

/// Bytes that an expression may have.
const LENGTH: usize = 32 * 1024;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A name, or a keyword such as `in` and `true`.
    Name(String),
    /// A name in backticks, which only a field can be.
    Quoted(String),
    /// A whole number, without its sign.
    Int(u64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// An operator or bracket.
    Mark(&'static str),
    End,
}

/// Operators and brackets; of two that begin alike the longer one comes first.
const MARKS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}", "+", "-", "*", "/", "%", "!",
    "<", ">", "=",
];

/// Splits a text into tokens, each with the byte it begins at; the last one is [`Token::End`].
pub fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Fault> {
    if text.len() > LENGTH {
        return Err(Fault::new(0, format!("longer than {LENGTH} bytes")));
    }
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blank();
        let at = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        found.push((at, token));
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c: char| !wanted(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn skip_blank(&mut self) {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.eat("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn token(&mut self) -> Result<Token, Fault> {
        let Some(next) = self.peek() else { return Ok(Token::End) };
        if let Some(literal) = self.literal()? {
            return Ok(literal);
        }
        let fraction = || self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if next.is_ascii_digit() || (next == '.' && fraction()) {
            return self.number();
        }
        if next == '_' || next.is_ascii_alphabetic() {
            return Ok(Token::Name(self.take_while(|c| c == '_' || c.is_ascii_alphanumeric()).to_owned()));
        }
        if next == '`' {
            return self.quoted();
        }
        match MARKS.into_iter().find(|mark| self.eat(mark)) {
            Some("=") => Err(Fault::new(self.at - 1, "'=' is no operator, equality is '=='")),
            Some(mark) => Ok(Token::Mark(mark)),
            None => Err(Fault::new(self.at, format!("unexpected character '{next}'"))),
        }
    }

    fn quoted(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        self.bump();
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || "_.-/ ".contains(c)).to_owned();
        if name.is_empty() || !self.eat("`") {
            return Err(Fault::new(start, "a name in backticks does not end"));
        }
        Ok(Token::Quoted(name))
    }

    fn number(&mut self) -> Result<Token, Fault> {
        let start = self.at;
        let bad = |what: &str| Fault::new(start, what);
        if self.eat("0x") || self.eat("0X") {
            let digits = self.take_while(|c| c.is_ascii_hexdigit());
            let value = u64::from_str_radix(digits, 16).map_err(|_| bad("not a number that fits 64 bits"))?;
            let unsigned = self.eat("u") || self.eat("U");
            return Ok(if unsigned { Token::Uint(value) } else { Token::Int(value) });
        }
        self.take_while(|c| c.is_ascii_digit());
        let mut double = false;
        let mut ahead = self.rest().chars();
        if ahead.next() == Some('.') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
            double = true;
            self.bump();
            self.take_while(|c| c.is_ascii_digit());
        }
        double |= self.exponent();
        let digits = self.text.get(start..self.at).unwrap_or_default();
        if double {
            return digits.parse().map(Token::Double).map_err(|_| bad("not a number"));
        }
        let value = digits.parse().map_err(|_| bad("not a number that fits 64 bits"))?;
        Ok(if self.eat("u") || self.eat("U") { Token::Uint(value) } else { Token::Int(value) })
    }

    fn exponent(&mut self) -> bool {
        let start = self.at;
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            if !self.take_while(|c| c.is_ascii_digit()).is_empty() {
                return true;
            }
            self.at = start;
        }
        false
    }

    /// A text or bytes literal, if one begins here.
    fn literal(&mut self) -> Result<Option<Token>, Fault> {
        let start = self.at;
        let prefix = self.rest().chars().take_while(|c| "rRbB".contains(*c)).take(2).collect::<String>();
        let after = self.rest().chars().nth(prefix.len());
        let twice = prefix.len() == 2 && prefix.chars().all(|c| "rR".contains(c) == "rR".contains(&prefix[..1]));
        if !matches!(after, Some('"' | '\'')) || twice {
            return Ok(None);
        }
        self.at += prefix.len();
        let raw = prefix.contains(['r', 'R']);
        let bytes = prefix.contains(['b', 'B']);
        let quote = match after {
            Some('"') if self.rest().starts_with("\"\"\"") => "\"\"\"",
            Some('"') => "\"",
            _ if self.rest().starts_with("'''") => "'''",
            _ => "'",
        };
        self.at += quote.len();
        let mut found = Literal { bytes: Vec::new(), as_bytes: bytes };
        loop {
            if self.eat(quote) {
                break;
            }
            match self.bump() {
                None => return Err(Fault::new(start, "a text does not end")),
                Some('\n' | '\r') if quote.len() == 1 => {
                    return Err(Fault::new(start, "a text does not end on its line"));
                }
                Some('\\') if !raw => self.escape(&mut found)?,
                Some(c) => found.push(c),
            }
        }
        if bytes {
            return Ok(Some(Token::Bytes(found.bytes)));
        }
        let text = String::from_utf8(found.bytes).map_err(|_| Fault::new(start, "a text is not UTF-8"))?;
        Ok(Some(Token::Text(text)))
    }

    fn escape(&mut self, found: &mut Literal) -> Result<(), Fault> {
        let start = self.at - 1;
        let bad = || Fault::new(start, "not an escape sequence");
        let c = self.bump().ok_or_else(bad)?;
        let plain = match c {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '?' | '"' | '\'' | '`' => c,
            'x' | 'X' => return found.code(self.digits(2, 16).ok_or_else(bad)?).ok_or_else(bad),
            'u' if !found.as_bytes => return found.code(self.digits(4, 16).ok_or_else(bad)?).ok_or_else(bad),
            'U' if !found.as_bytes => return found.code(self.digits(8, 16).ok_or_else(bad)?).ok_or_else(bad),
            '0'..='3' => {
                self.at -= 1;
                return found.code(self.digits(3, 8).ok_or_else(bad)?).ok_or_else(bad);
            }
            _ => return Err(bad()),
        };
        found.push(plain);
        Ok(())
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let digits = self.rest().get(..count)?;
        self.at += count;
        // A sign is no digit.
        let all = digits.chars().all(|c| c.is_digit(radix));
        u32::from_str_radix(digits, radix).ok().filter(|_| all)
    }
}

struct Literal {
    bytes: Vec<u8>,
    as_bytes: bool,
}

impl Literal {
    fn push(&mut self, c: char) {
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// A character by its number, or a byte in bytes.
    fn code(&mut self, code: u32) -> Option<()> {
        if self.as_bytes {
            self.bytes.push(u8::try_from(code).ok()?);
        } else {
            self.push(char::from_u32(code)?);
        }
        Some(())
    }
}
