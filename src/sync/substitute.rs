//! `${name}` in texts, with the functions of bash that Flux has (`fluxcd/pkg/envsubst`). Pure.

mod functions;
mod parse;

use parse::{Call, Node, Operation};
use std::collections::{BTreeMap, BTreeSet};

/// Why a text cannot be substituted in. Names variables, never their values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// `${}`, `${ x }`.
    #[error("a `${{` is not followed by the name of a variable")]
    NoName,
    /// `${x`.
    #[error("the expression `${{{0}` has no closing brace")]
    Unclosed(String),
    /// `${x!}`.
    #[error("the expression `${{{0}…` is none that substitution knows")]
    Malformed(String),
    /// A missing variable, where that is an error.
    #[error("the variable `{0}` is not set and has no default")]
    Unset(String),
    /// Expressions within expressions without end.
    #[error("expressions nest deeper than {0} levels")]
    TooDeep(usize),
    /// A text that no manifest needs.
    #[error("substitution makes more than {0} MiB of text")]
    TooLarge(usize),
}

impl SubstituteError {
    /// Whether it names what may not be meant as a variable at all.
    pub fn quotes(&self) -> bool {
        matches!(self, Self::Unclosed(_) | Self::Malformed(_))
    }
}

/// A variable's value.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// The value, without line breaks.
    pub text: String,
    /// Whether it must not show anywhere.
    pub secret: bool,
}

/// Variables by name.
#[derive(Clone, Default)]
pub struct Variables {
    /// Values by name.
    pub values: BTreeMap<String, Variable>,
    /// Whether a variable that is not set is an error where no default is given.
    pub strict: bool,
}

/// A text after substitution.
#[derive(Default)]
pub struct Substituted {
    /// The text.
    pub text: String,
    /// What secret variables became in it.
    pub secrets: BTreeSet<String>,
}

/// Whether substitution could change a text at all.
pub fn concerns(text: &str) -> bool {
    text.contains('$')
}

/// Substitutes variables in a text.
pub fn substitute(text: &str, variables: &Variables) -> Result<Substituted, SubstituteError> {
    let mut evaluation = Evaluation { variables, secrets: BTreeSet::new() };
    let text = evaluation.all(&parse::parse(text)?)?;
    Ok(Substituted { text, secrets: evaluation.secrets })
}

/// Whether a variable can have this name.
pub fn is_name(name: &str) -> bool {
    let letter = |character: char| character.is_ascii_alphabetic() || character == '_';
    name.starts_with(letter) && name.chars().all(|character| letter(character) || character.is_ascii_digit())
}

struct Evaluation<'v> {
    variables: &'v Variables,
    secrets: BTreeSet<String>,
}

impl Evaluation<'_> {
    fn all(&mut self, nodes: &[Node]) -> Result<String, SubstituteError> {
        let mut text = String::new();
        for node in nodes {
            match node {
                Node::Text(own) => text.push_str(own),
                Node::Call(call) => text.push_str(&self.call(call)?),
            }
            functions::fits(text.len())?;
        }
        Ok(text)
    }

    fn call(&mut self, call: &Call) -> Result<String, SubstituteError> {
        let (mut arguments, mut length) = (Vec::with_capacity(call.arguments.len()), 0);
        for argument in &call.arguments {
            let argument = self.all(std::slice::from_ref(argument))?;
            length += argument.len();
            functions::fits(length)?;
            arguments.push(argument);
        }
        let variable = self.variables.values.get(&call.name);
        if variable.is_none() && self.variables.strict && call.operation != Operation::Default {
            return Err(SubstituteError::Unset(call.name.clone()));
        }
        let value = variable.map_or("", |variable| variable.text.as_str());
        let result = functions::apply(call.operation, value, &arguments)?;
        if variable.is_some_and(|variable| variable.secret) {
            self.secrets.insert(result.clone());
        }
        Ok(result)
    }
}

#[cfg(test)]
pub(super) mod tests;
