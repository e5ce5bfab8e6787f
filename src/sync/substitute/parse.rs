//! The syntax of substitutions.

use super::SubstituteError;

/// How deep expressions may nest.
const MAX_DEPTH: usize = 20;

/// A piece of a text.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    /// Stands for itself.
    Text(String),
    /// Stands for what becomes of a variable.
    Call(Call),
}

/// `${name…}`.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) arguments: Vec<Node>,
}

/// What is done with the value of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// `${x}`, and signs that mean nothing (`${x,^}`).
    Value,
    /// `${#x}`.
    Length,
    /// `${x=…}`, `${x:=…}`, `${x-…}`, `${x:-…}`, and Flux's reading of `${x:?…}` and `${x:+…}`.
    Default,
    /// `${x:1}`, `${x:1:2}`.
    Substring,
    /// `${x^}`, `${x^^}`, `${x,}`, `${x,,}`.
    Case { upper: bool, all: bool },
    /// `${x#…}`, `${x##…}`, `${x%…}`, `${x%%…}`.
    Remove { end: bool, longest: bool },
    /// `${x/a/b}`.
    ReplaceFirst,
    /// `${x//a/b}`.
    ReplaceAll,
    /// `${x/#a/b}`.
    ReplacePrefix,
    /// `${x/%a/b}`.
    ReplaceSuffix,
}

/// Which characters a backslash or a dollar sign takes the meaning of.
#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    None,
    /// `$$` is a dollar sign.
    Dollar,
    /// So is it here, and `\/` and `\\` are what follows the backslash.
    All,
}

/// Takes a text apart.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, SubstituteError> {
    let mut parser = Parser { rest: text, depth: 0 };
    let mut nodes = Vec::new();
    while !parser.rest.is_empty() {
        let node = if parser.open() { parser.call()? } else { Node::Text(parser.text(|_| false, Escapes::Dollar)) };
        nodes.push(node);
    }
    Ok(nodes)
}

struct Parser<'t> {
    rest: &'t str,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn open(&mut self) -> bool {
        self.eat("${")
    }

    /// What stands before the next `${`, before a character that ends it, or before the end.
    fn text(&mut self, ends: impl Fn(char) -> bool, escapes: Escapes) -> String {
        let mut text = String::new();
        while let Some(character) = self.peek().filter(|_| !self.rest.starts_with("${")) {
            let mut following = self.rest.chars();
            following.next();
            let next = following.clone().next();
            let is_escape = match (character, next) {
                ('$', Some('$')) => escapes != Escapes::None,
                ('\\', Some('/' | '\\')) => escapes == Escapes::All,
                _ => false,
            };
            if let Some(next) = next.filter(|_| is_escape) {
                text.push(next);
                following.next();
            } else if ends(character) {
                break;
            } else {
                text.push(character);
            }
            self.rest = following.as_str();
        }
        text
    }

    /// The rest of an expression after its `${`.
    fn call(&mut self) -> Result<Node, SubstituteError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SubstituteError::TooDeep(MAX_DEPTH));
        }
        let length = self.eat("#");
        let name = self.text(|character| !(character.is_alphanumeric() || character == '_'), Escapes::None);
        if name.is_empty() {
            return Err(SubstituteError::NoName);
        }
        let found = if length { Ok((Operation::Length, Vec::new())) } else { self.operation() };
        let closed = found.and_then(|found| if self.eat("}") { Ok(found) } else { Err(self.unfinished()) });
        let (operation, arguments) = closed.map_err(|fault| fault.of(&name))?;
        self.depth -= 1;
        Ok(Node::Call(Call { name, operation, arguments }))
    }

    fn unfinished(&self) -> Fault {
        if self.rest.is_empty() { Fault::Unclosed } else { Fault::Malformed }
    }

    fn operation(&mut self) -> Result<(Operation, Vec<Node>), Fault> {
        for sign in [":=", ":-", ":?", ":+", "=", "-"] {
            if self.eat(sign) {
                return Ok((Operation::Default, self.default()?));
            }
        }
        for (sign, end, longest) in [("##", false, true), ("#", false, false), ("%%", true, true), ("%", true, false)] {
            if self.eat(sign) {
                return Ok((Operation::Remove { end, longest }, vec![self.argument(|c| c == '}', Escapes::None)?]));
            }
        }
        let replacements = [
            ("//", Operation::ReplaceAll),
            ("/#", Operation::ReplacePrefix),
            ("/%", Operation::ReplaceSuffix),
            ("/", Operation::ReplaceFirst),
        ];
        for (sign, operation) in replacements {
            if self.eat(sign) {
                return Ok((operation, self.replacement()?));
            }
        }
        match self.peek() {
            Some(':') => Ok((Operation::Substring, self.substring()?)),
            Some('^' | ',') => Ok((self.case(), Vec::new())),
            _ => Ok((Operation::Value, Vec::new())),
        }
    }

    /// One argument: an expression, or a text that is not empty.
    fn argument(&mut self, ends: impl Fn(char) -> bool, escapes: Escapes) -> Result<Node, Fault> {
        if self.open() {
            return self.call().map_err(Fault::Inner);
        }
        let text = self.text(ends, escapes);
        if text.is_empty() { Err(self.unfinished()) } else { Ok(Node::Text(text)) }
    }

    /// Texts and expressions, in any number.
    fn default(&mut self) -> Result<Vec<Node>, Fault> {
        let mut arguments = Vec::new();
        while self.peek() != Some('}') {
            arguments.push(self.argument(|c| c == '}', Escapes::None)?);
        }
        Ok(arguments)
    }

    fn substring(&mut self) -> Result<Vec<Node>, Fault> {
        self.eat(":");
        let mut arguments = vec![self.argument(|c| matches!(c, ':' | '}'), Escapes::None)?];
        if self.peek() == Some(':') {
            self.rest = self.rest.trim_start_matches(':');
            arguments.push(self.argument(|c| c == '}', Escapes::None)?);
        }
        Ok(arguments)
    }

    fn replacement(&mut self) -> Result<Vec<Node>, Fault> {
        let mut arguments = vec![self.argument(|c| c == '/', Escapes::All)?];
        if self.peek() != Some('/') {
            return Err(self.unfinished());
        }
        self.rest = self.rest.trim_start_matches('/');
        if self.peek() != Some('}') {
            arguments.push(self.argument(|c| c == '}', Escapes::All)?);
        }
        Ok(arguments)
    }

    /// Up to two signs; a mixture of the two means nothing.
    fn case(&mut self) -> Operation {
        for (signs, upper, all) in [("^^", true, true), (",,", false, true)] {
            if self.eat(signs) {
                return Operation::Case { upper, all };
            }
        }
        if self.eat("^,") || self.eat(",^") {
            return Operation::Value;
        }
        let upper = self.eat("^");
        if !upper {
            self.eat(",");
        }
        Operation::Case { upper, all: false }
    }
}

/// What is wrong with an expression whose name is known.
enum Fault {
    Unclosed,
    Malformed,
    Inner(SubstituteError),
}

impl Fault {
    fn of(self, name: &str) -> SubstituteError {
        match self {
            Self::Unclosed => SubstituteError::Unclosed(name.to_owned()),
            Self::Malformed => SubstituteError::Malformed(name.to_owned()),
            Self::Inner(error) => error,
        }
    }
}
