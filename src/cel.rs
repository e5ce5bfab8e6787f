//! The Common Expression Language, as far as Flux's fields use it: CEL's standard functions and
//! macros, optional values, and the string, set and encoder extensions.
//!
//! An own interpreter, because an expression comes from a tenant and runs inside the operator:
//! reading and evaluating one is total. Every input ends in a value or in an error that names its
//! position, after a bounded number of steps, within a bounded depth, and without a panic.

mod ast;
mod call;
mod check;
mod convert;
mod eval;
mod lexer;
mod parser;
mod text;
mod time;
mod value;

use std::collections::HashMap;
use std::fmt;

pub use value::Value;

use ast::Node;

/// What an expression is evaluated over: the value of each variable.
pub type Variables = HashMap<String, Value>;

/// Why an expression cannot be read or gives no result, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CelError {
    line: usize,
    column: usize,
    message: String,
}

impl fmt::Display for CelError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(formatter, "line {}, ", self.line)?;
        }
        write!(formatter, "column {}: {}", self.column, self.message)
    }
}

/// An error at a byte of the text.
#[derive(Clone, Debug)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    fn in_text(self, text: &str) -> CelError {
        let before = text.get(..self.at.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        CelError { line: before.matches('\n').count() + 1, column, message: self.message }
    }
}

/// An expression that was read.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    root: Node,
}

impl Expression {
    /// Reads an expression over whatever variables there will be.
    pub fn parse(text: &str) -> Result<Self, CelError> {
        let root = parser::parse(text).map_err(|fault| fault.in_text(text))?;
        Ok(Self { text: text.to_owned(), root })
    }

    /// Reads a condition over these variables: naming another one, and a result that cannot be
    /// true or false, are errors.
    pub fn condition(text: &str, variables: &[&str]) -> Result<Self, CelError> {
        let expression = Self::parse(text)?;
        check::condition(&expression.root, variables).map_err(|fault| fault.in_text(text))?;
        Ok(expression)
    }

    /// Reads an expression over these variables that gives a text.
    pub fn giving_text(text: &str, variables: &[&str]) -> Result<Self, CelError> {
        let expression = Self::parse(text)?;
        check::giving_text(&expression.root, variables).map_err(|fault| fault.in_text(text))?;
        Ok(expression)
    }

    /// The text that the expression gives.
    pub fn text(&self, variables: &Variables) -> Result<String, CelError> {
        let result = match eval::evaluate(&self.root, variables) {
            Ok(Value::String(text)) => Ok(text.as_ref().to_owned()),
            Ok(other) => Err(Fault::new(self.root.at, format!("gives {}, not string", other.type_name()))),
            Err(fault) => Err(fault),
        };
        result.map_err(|fault| fault.in_text(&self.text))
    }

    /// Whether the expression holds.
    pub fn holds(&self, variables: &Variables) -> Result<bool, CelError> {
        let result = match eval::evaluate(&self.root, variables) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(Fault::new(self.root.at, format!("gives {}, not bool", other.type_name()))),
            Err(fault) => Err(fault),
        };
        result.map_err(|fault| fault.in_text(&self.text))
    }
}

/// The fields of an object as variables.
pub fn fields(object: &serde_json::Value) -> Variables {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), Value::from(value))).collect()
}

#[cfg(test)]
mod tests;
