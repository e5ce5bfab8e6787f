//! Tokens to a tree. Macros become nodes of their own here.

use super::Fault;
use super::ast::{Entry, Fold, Item, Kind, Node, Operator, may_descend, too_deep};
use super::call;
use super::lexer::{Token, tokens};
use super::value::Value;

/// Words that can be no variable's name.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Reads a whole text.
pub fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, level: 0 };
    let root = parser.expression()?;
    match parser.token() {
        Token::End => Ok(root),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    level: u16,
}

/// Level of an infix operator: the higher it is, the closer it binds.
fn binding(token: &Token) -> Option<(u8, Infix)> {
    let strict = |level, operator| Some((level, Infix::Strict(operator)));
    match token {
        Token::Mark("||") => Some((1, Infix::Or)),
        Token::Mark("&&") => Some((2, Infix::And)),
        Token::Mark("==") => strict(3, Operator::Equal),
        Token::Mark("!=") => strict(3, Operator::NotEqual),
        Token::Mark("<") => strict(3, Operator::Less),
        Token::Mark("<=") => strict(3, Operator::LessOrEqual),
        Token::Mark(">") => strict(3, Operator::Greater),
        Token::Mark(">=") => strict(3, Operator::GreaterOrEqual),
        Token::Name(name) if name == "in" => strict(3, Operator::In),
        Token::Mark("+") => strict(4, Operator::Add),
        Token::Mark("-") => strict(4, Operator::Subtract),
        Token::Mark("*") => strict(5, Operator::Multiply),
        Token::Mark("/") => strict(5, Operator::Divide),
        Token::Mark("%") => strict(5, Operator::Remainder),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Infix {
    Or,
    And,
    Strict(Operator),
}

impl Parser {
    fn token(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(at, _)| *at)
    }

    fn take(&mut self) -> Token {
        let token = self.token().clone();
        self.next += 1;
        token
    }

    fn eat(&mut self, mark: &'static str) -> bool {
        let found = *self.token() == Token::Mark(mark);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, mark: &'static str) -> Result<(), Fault> {
        if self.eat(mark) { Ok(()) } else { Err(self.unexpected(&format!("'{mark}'"))) }
    }

    fn unexpected(&self, wanted: &str) -> Fault {
        let found = match self.token() {
            Token::Name(name) | Token::Quoted(name) => format!("'{name}'"),
            Token::Mark(mark) => format!("'{mark}'"),
            Token::End => "the end".to_owned(),
            Token::Int(_) | Token::Uint(_) | Token::Double(_) => "a number".to_owned(),
            Token::Text(_) | Token::Bytes(_) => "a text".to_owned(),
        };
        Fault::new(self.at(), format!("expected {wanted}, found {found}"))
    }

    /// `or ? or : expression`. Every way down leads through here.
    fn expression(&mut self) -> Result<Node, Fault> {
        if !may_descend(self.level) {
            return Err(too_deep(self.at()));
        }
        self.level += 1;
        let condition = self.infix(1)?;
        let at = self.at();
        let node = if self.eat("?") {
            let yes = self.infix(1)?;
            self.expect(":")?;
            let no = self.expression()?;
            Node::new(at, Kind::Conditional(Box::new([condition, yes, no])))?
        } else {
            condition
        };
        self.level -= 1;
        Ok(node)
    }

    fn infix(&mut self, lowest: u8) -> Result<Node, Fault> {
        let mut left = self.unary()?;
        while let Some((level, infix)) = binding(self.token()).filter(|(level, _)| *level >= lowest) {
            let at = self.at();
            self.next += 1;
            let right = Box::new(self.infix(level + 1)?);
            let whole = Box::new(left);
            left = Node::new(
                at,
                match infix {
                    Infix::Or => Kind::Or(whole, right),
                    Infix::And => Kind::And(whole, right),
                    Infix::Strict(operator) => Kind::Binary(operator, whole, right),
                },
            )?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        let mut signs = Vec::new();
        while matches!(self.token(), Token::Mark("!" | "-")) {
            // The sign of a number belongs to it: the least number has no positive.
            let number = matches!(self.tokens.get(self.next + 1), Some((_, Token::Int(_) | Token::Double(_))));
            if *self.token() == Token::Mark("-") && number {
                break;
            }
            signs.push((self.at(), *self.token() == Token::Mark("!")));
            self.next += 1;
        }
        let mut node = self.member()?;
        for (at, not) in signs.into_iter().rev() {
            let inner = Box::new(node);
            node = Node::new(at, if not { Kind::Not(inner) } else { Kind::Negate(inner) })?;
        }
        Ok(node)
    }

    fn member(&mut self) -> Result<Node, Fault> {
        let mut node = self.primary()?;
        loop {
            let at = self.at();
            if self.eat(".") {
                let optional = self.eat("?");
                node = self.selected(node, optional)?;
            } else if self.eat("[") {
                let optional = self.eat("?");
                let index = Box::new(self.expression()?);
                self.expect("]")?;
                node = Node::new(at, Kind::Index { of: Box::new(node), index, optional })?;
            } else {
                return Ok(node);
            }
        }
    }

    /// What follows the dot.
    fn selected(&mut self, of: Node, optional: bool) -> Result<Node, Fault> {
        let at = self.at();
        let field = match self.token() {
            Token::Name(name) if name != "in" => name.clone(),
            Token::Quoted(name) => name.clone(),
            _ => return Err(self.unexpected("a field")),
        };
        let quoted = matches!(self.take(), Token::Quoted(_));
        if optional || quoted || !self.eat("(") {
            return Node::new(at, Kind::Select { of: Box::new(of), field, optional });
        }
        let arguments = self.arguments()?;
        match fold_of(&field, arguments.len()) {
            Some(fold) => folded(at, fold, of, arguments),
            None if matches!(field.as_str(), "optMap" | "optFlatMap") && arguments.len() == 2 => {
                optional_map(at, field == "optFlatMap", of, arguments)
            }
            None => method(at, of, field, arguments),
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Fault> {
        let mut found = Vec::new();
        while !self.eat(")") {
            if !found.is_empty() {
                self.expect(",")?;
            }
            found.push(self.expression()?);
        }
        Ok(found)
    }

    fn primary(&mut self) -> Result<Node, Fault> {
        let at = self.at();
        let literal = |value| Node::new(at, Kind::Literal(value));
        if self.eat("-") {
            return match self.take() {
                Token::Int(value) => {
                    let value = 0_i64.checked_sub_unsigned(value);
                    literal(Value::Int(value.ok_or_else(|| Fault::new(at, "not a number that fits 64 bits"))?))
                }
                Token::Double(value) => literal(Value::Double(-value)),
                _ => Err(Fault::new(at, "a sign without a number")),
            };
        }
        if self.eat("(") {
            let inner = self.expression()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.eat("[") {
            return self.list(at);
        }
        if self.eat("{") {
            return self.map(at);
        }
        let _ = self.eat(".");
        match self.token().clone() {
            Token::Name(name) => {
                self.next += 1;
                self.named(at, name)
            }
            Token::Int(value) => {
                self.next += 1;
                let value = i64::try_from(value).map_err(|_| Fault::new(at, "not a number that fits 64 bits"))?;
                literal(Value::Int(value))
            }
            Token::Uint(value) => {
                self.next += 1;
                literal(Value::Uint(value))
            }
            Token::Double(value) => {
                self.next += 1;
                literal(Value::Double(value))
            }
            Token::Text(value) => {
                self.next += 1;
                literal(Value::text(value))
            }
            Token::Bytes(value) => {
                self.next += 1;
                literal(Value::Bytes(value.into()))
            }
            Token::Quoted(_) | Token::Mark(_) | Token::End => Err(self.unexpected("an expression")),
        }
    }

    fn named(&mut self, at: usize, name: String) -> Result<Node, Fault> {
        match name.as_str() {
            "true" => return Node::new(at, Kind::Literal(Value::Bool(true))),
            "false" => return Node::new(at, Kind::Literal(Value::Bool(false))),
            "null" => return Node::new(at, Kind::Literal(Value::Null)),
            "in" => return Err(Fault::new(at, "expected an expression, found 'in'")),
            reserved if RESERVED.contains(&reserved) => {
                return Err(Fault::new(at, format!("'{reserved}' is a reserved word")));
            }
            _ => {}
        }
        if !self.eat("(") {
            return Node::new(at, Kind::Variable(name));
        }
        let mut arguments = self.arguments()?;
        if name == "has" {
            return match (arguments.pop().map(|argument| argument.kind), arguments.is_empty()) {
                (Some(Kind::Select { of, field, optional: false }), true) => Node::new(at, Kind::Has { of, field }),
                _ => Err(Fault::new(at, "has() takes one field, such as has(status.phase)")),
            };
        }
        call::check(&name, None, arguments.len()).map_err(|message| Fault::new(at, message))?;
        Node::new(at, Kind::Call { target: None, function: name, arguments })
    }

    fn list(&mut self, at: usize) -> Result<Node, Fault> {
        let mut items = Vec::new();
        while !self.eat("]") {
            let optional = self.eat("?");
            items.push(Item { optional, value: self.expression()? });
            if !self.eat(",") {
                self.expect("]")?;
                break;
            }
        }
        Node::new(at, Kind::List(items))
    }

    fn map(&mut self, at: usize) -> Result<Node, Fault> {
        let mut entries = Vec::new();
        while !self.eat("}") {
            let optional = self.eat("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push(Entry { optional, key, value: self.expression()? });
            if !self.eat(",") {
                self.expect("}")?;
                break;
            }
        }
        Node::new(at, Kind::Map(entries))
    }
}

fn fold_of(name: &str, arguments: usize) -> Option<Fold> {
    match (name, arguments) {
        ("all", 2) => Some(Fold::All),
        ("exists", 2) => Some(Fold::Exists),
        ("exists_one" | "existsOne", 2) => Some(Fold::ExistsOne),
        ("filter", 2) => Some(Fold::Filter),
        ("map", 2 | 3) => Some(Fold::Map),
        _ => None,
    }
}

fn variable(node: Option<Node>, at: usize) -> Result<String, Fault> {
    match node.map(|node| (node.at, node.kind)) {
        Some((_, Kind::Variable(name))) => Ok(name),
        other => {
            let at = other.map_or(at, |(at, _)| at);
            Err(Fault::new(at, "the first argument of a macro has to be a plain name"))
        }
    }
}

fn folded(at: usize, fold: Fold, range: Node, arguments: Vec<Node>) -> Result<Node, Fault> {
    let mut arguments = arguments.into_iter();
    let variable = variable(arguments.next(), at)?;
    let first = arguments.next().map(Box::new);
    let (condition, body) = match arguments.next() {
        Some(last) => (first, Some(Box::new(last))),
        None => (None, first),
    };
    let body = body.ok_or_else(|| Fault::new(at, "a macro without a body"))?;
    Node::new(at, Kind::Fold { fold, range: Box::new(range), variable, condition, body })
}

fn optional_map(at: usize, flat: bool, target: Node, arguments: Vec<Node>) -> Result<Node, Fault> {
    let mut arguments = arguments.into_iter();
    let variable = variable(arguments.next(), at)?;
    let body = arguments.next().map(Box::new).ok_or_else(|| Fault::new(at, "a macro without a body"))?;
    Node::new(at, Kind::OptionalMap { flat, target: Box::new(target), variable, body })
}

/// `target.function(…)`, where the target may be the first half of a function's name.
fn method(at: usize, target: Node, function: String, arguments: Vec<Node>) -> Result<Node, Fault> {
    if let Kind::Variable(space) = &target.kind
        && call::is_namespace(space)
    {
        let function = format!("{space}.{function}");
        call::check(&function, None, arguments.len()).map_err(|message| Fault::new(at, message))?;
        return Node::new(target.at, Kind::Call { target: None, function, arguments });
    }
    call::check(&function, Some(()), arguments.len()).map_err(|message| Fault::new(at, message))?;
    Node::new(at, Kind::Call { target: Some(Box::new(target)), function, arguments })
}
