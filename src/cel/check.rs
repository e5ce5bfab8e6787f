//! What can be told of an expression before it is evaluated.

use super::Fault;
use super::ast::{Fold, Kind, Node, Operator};
use super::call;
use super::value::Value;

/// Checks a condition over known variables.
pub fn condition(root: &Node, variables: &[&str]) -> Result<(), Fault> {
    let mut scope: Vec<&str> = variables.to_vec();
    names(root, &mut scope)?;
    match certain_type(root) {
        Some(other) if other != "bool" => Err(Fault::new(root.at, format!("gives {other}, and has to give bool"))),
        _ => Ok(()),
    }
}

/// Checks an expression that has to give a text over known variables.
pub fn giving_text(root: &Node, variables: &[&str]) -> Result<(), Fault> {
    names(root, &mut variables.to_vec())?;
    match certain_type(root) {
        // Texts are added, too.
        Some("string" | "a sum") | None => Ok(()),
        Some(other) => Err(Fault::new(root.at, format!("gives {other}, and has to give string"))),
    }
}

/// Refuses names that nothing stands for.
fn names<'n>(node: &'n Node, scope: &mut Vec<&'n str>) -> Result<(), Fault> {
    match &node.kind {
        Kind::Variable(name) if !scope.contains(&name.as_str()) && call::type_named(name).is_none() => {
            Err(Fault::new(node.at, format!("undeclared reference to '{name}'")))
        }
        Kind::Fold { range, variable, condition, body, .. } => {
            names(range, scope)?;
            scope.push(variable);
            let inner = condition.iter().chain(std::iter::once(body)).try_for_each(|inner| names(inner, scope));
            scope.pop();
            inner
        }
        Kind::OptionalMap { target, variable, body, .. } => {
            names(target, scope)?;
            scope.push(variable);
            let inner = names(body, scope);
            scope.pop();
            inner
        }
        other => other.children().into_iter().try_for_each(|child| names(child, scope)),
    }
}

/// The type of the result where it is the same whatever the variables are.
fn certain_type(node: &Node) -> Option<&'static str> {
    match &node.kind {
        Kind::Literal(value) => Some(Value::type_name(value)),
        Kind::List(_) | Kind::Fold { fold: Fold::Filter | Fold::Map, .. } => Some("list"),
        Kind::Map(_) => Some("map"),
        Kind::Has { .. } | Kind::Not(_) | Kind::And(..) | Kind::Or(..) | Kind::Fold { .. } => Some("bool"),
        Kind::Negate(_) => Some("a number"),
        Kind::Binary(operator, ..) => match operator {
            Operator::Add => Some("a sum"),
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => Some("a number"),
            _ => Some("bool"),
        },
        Kind::Conditional(parts) => {
            let [_, yes, no] = parts.as_ref();
            certain_type(yes).filter(|found| certain_type(no) == Some(found))
        }
        Kind::Call { function, .. } => call::result_type(function),
        Kind::OptionalMap { .. } => Some("optional_type"),
        Kind::Select { optional, .. } | Kind::Index { optional, .. } => optional.then_some("optional_type"),
        Kind::Variable(_) => None,
    }
}
