//! Evaluation, with a budget.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Entry, Fold, Item, Kind, Node, Operator};
use super::call::{call, no_overload, type_named};
use super::value::{Key, Value};
use super::{Fault, Variables, time};

/// Steps that one evaluation may take: a node, an element, or 32 bytes of text count as one.
const STEPS: u64 = 1_000_000;
/// Bytes of the longest text that an evaluation may make.
pub const LONGEST_TEXT: usize = 1024 * 1024;

/// Evaluates an expression.
pub fn evaluate(root: &Node, variables: &Variables) -> Result<Value, Fault> {
    let mut machine = Machine { variables, scope: Vec::new(), left: STEPS };
    machine.node(root)
}

/// An evaluation under way.
pub struct Machine<'v> {
    variables: &'v Variables,
    scope: Vec<(&'v str, Value)>,
    left: u64,
}

impl<'v> Machine<'v> {
    fn spend(&mut self, steps: usize) -> Result<(), String> {
        let left = self.left.checked_sub(u64::try_from(steps).unwrap_or(u64::MAX));
        // What is left stays spent, so that no operator can absorb this error.
        self.left = left.unwrap_or(0);
        left.map(drop).ok_or_else(|| format!("takes more than {STEPS} steps"))
    }

    fn node(&mut self, node: &'v Node) -> Result<Value, Fault> {
        let here = |message: String| Fault::new(node.at, message);
        self.spend(1).map_err(here)?;
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Variable(name) => self.variable(name).map_err(here),
            Kind::Select { of, field, optional } => {
                let of = self.node(of)?;
                self.select(&of, &Value::text(field.as_str()), *optional).map_err(here)
            }
            Kind::Has { of, field } => {
                let of = self.node(of)?;
                has(&of, field).map(Value::Bool).map_err(here)
            }
            Kind::Index { of, index, optional } => {
                let of = self.node(of)?;
                let index = self.node(index)?;
                self.select(&of, &index, *optional).map_err(here)
            }
            Kind::Call { target, function, arguments } => {
                let given: Vec<&Node> = target.as_deref().into_iter().chain(arguments).collect();
                self.call(node.at, function, &given)
            }
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(node.at, entries),
            Kind::Not(inner) => match self.node(inner)? {
                Value::Bool(value) => Ok(Value::Bool(!value)),
                other => Err(here(no_overload("!", &[other]))),
            },
            Kind::Negate(inner) => negate(&self.node(inner)?).map_err(here),
            Kind::And(left, right) => self.junction(node.at, false, left, right),
            Kind::Or(left, right) => self.junction(node.at, true, left, right),
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.node(left)?, self.node(right)?);
                self.binary(*operator, &left, &right).map_err(here)
            }
            Kind::Conditional(parts) => {
                let [condition, yes, no] = parts.as_ref();
                match self.node(condition)? {
                    Value::Bool(true) => self.node(yes),
                    Value::Bool(false) => self.node(no),
                    other => Err(here(no_overload("? :", &[other]))),
                }
            }
            Kind::Fold { fold, range, variable, condition, body } => {
                let range = self.node(range)?;
                let items = elements(&range).map_err(here)?;
                let inner = Inner { variable, condition: condition.as_deref(), body };
                match fold {
                    Fold::All => self.decided(&items, &inner, false),
                    Fold::Exists => self.decided(&items, &inner, true),
                    Fold::ExistsOne | Fold::Filter | Fold::Map => self.collected(*fold, items, &inner),
                }
            }
            Kind::OptionalMap { flat, target, variable, body } => {
                let value = match self.node(target)? {
                    Value::Optional(None) => return Ok(Value::Optional(None)),
                    Value::Optional(Some(value)) => value.as_ref().clone(),
                    other => return Err(here(no_overload("optMap", &[other]))),
                };
                let result = self.with(variable, value, body)?;
                match (flat, result) {
                    (false, result) => Ok(Value::Optional(Some(Arc::new(result)))),
                    (true, result @ Value::Optional(_)) => Ok(result),
                    (true, other) => Err(here(no_overload("optFlatMap", &[other]))),
                }
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Value, String> {
        let bound = self.scope.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value);
        if let Some(value) = bound.or_else(|| self.variables.get(name)) {
            return Ok(value.clone());
        }
        type_named(name).map(Value::Type).ok_or_else(|| format!("no such attribute: {name}"))
    }

    fn with(&mut self, variable: &'v str, value: Value, body: &'v Node) -> Result<Value, Fault> {
        self.scope.push((variable, value));
        let result = self.node(body);
        self.scope.pop();
        result
    }

    /// A field of a map, an element of a list, or of what an optional holds.
    fn select(&mut self, of: &Value, key: &Value, optional: bool) -> Result<Value, String> {
        self.spend(weight(key))?;
        let wrap = |found: Option<&Value>| Value::Optional(found.cloned().map(Arc::new));
        match of {
            Value::Optional(None) => Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => match inner.as_ref() {
                Value::Optional(_) => Err(no_overload("[]", &[of.clone(), key.clone()])),
                inner => Ok(wrap(found(inner, key)?)),
            },
            _ if optional => Ok(wrap(found(of, key)?)),
            _ => match (found(of, key)?, of) {
                (Some(value), _) => Ok(value.clone()),
                (None, Value::List(items)) => Err(format!("index out of bounds, the list has {} items", items.len())),
                (None, _) => Err(format!("no such key: {}", shown(key))),
            },
        }
    }

    fn list(&mut self, items: &'v [Item]) -> Result<Value, Fault> {
        let mut found = Vec::with_capacity(items.len());
        for item in items {
            match (item.optional, self.node(&item.value)?) {
                (false, value) => found.push(value),
                (true, Value::Optional(value)) => found.extend(value.map(|value| value.as_ref().clone())),
                (true, other) => return Err(Fault::new(item.value.at, no_overload("[?]", &[other]))),
            }
        }
        Ok(Value::list(found))
    }

    fn map(&mut self, at: usize, entries: &'v [Entry]) -> Result<Value, Fault> {
        let mut found = BTreeMap::new();
        for entry in entries {
            let key = self.node(&entry.key)?;
            let key = Key::of(&key)
                .ok_or_else(|| Fault::new(entry.key.at, format!("{} cannot be the key of a map", key.type_name())))?;
            let value = match (entry.optional, self.node(&entry.value)?) {
                (false, value) => value,
                (true, Value::Optional(None)) => continue,
                (true, Value::Optional(Some(value))) => value.as_ref().clone(),
                (true, other) => return Err(Fault::new(entry.value.at, no_overload("{?}", &[other]))),
            };
            if found.insert(key, value).is_some() {
                return Err(Fault::new(at, "a key stands twice in a map"));
            }
        }
        Ok(Value::Map(Arc::new(found)))
    }

    /// `&&` and `||`: a side that decides makes an error of the other one void.
    fn junction(&mut self, at: usize, decides: bool, left: &'v Node, right: &'v Node) -> Result<Value, Fault> {
        let sign = if decides { "||" } else { "&&" };
        let truth = |value: Value| match value {
            Value::Bool(value) => Ok(value),
            other => Err(Fault::new(at, no_overload(sign, &[other]))),
        };
        let left = self.node(left).and_then(truth);
        if let Ok(value) = left
            && value == decides
        {
            return Ok(Value::Bool(decides));
        }
        let right = self.node(right).and_then(truth)?;
        if right == decides {
            return Ok(Value::Bool(decides));
        }
        left.map(Value::Bool)
    }

    /// `all` and `exists`: the first element that decides makes errors of others void.
    fn decided(&mut self, items: &[Value], inner: &Inner<'v>, decides: bool) -> Result<Value, Fault> {
        let mut fault = None;
        for item in items {
            match self.with(inner.variable, item.clone(), inner.body) {
                Ok(Value::Bool(value)) if value == decides => return Ok(Value::Bool(decides)),
                Ok(Value::Bool(_)) => {}
                Ok(other) => {
                    fault.get_or_insert(Fault::new(inner.body.at, no_overload("a condition", &[other])));
                }
                Err(found) if self.left == 0 => return Err(found),
                Err(found) => {
                    fault.get_or_insert(found);
                }
            }
        }
        fault.map_or(Ok(Value::Bool(!decides)), Err)
    }

    fn collected(&mut self, fold: Fold, items: Vec<Value>, inner: &Inner<'v>) -> Result<Value, Fault> {
        let mut found = Vec::new();
        for item in items {
            if let Some(condition) = inner.condition
                && !self.condition(inner.variable, &item, condition)?
            {
                continue;
            }
            if fold == Fold::Map {
                found.push(self.with(inner.variable, item, inner.body)?);
            } else if self.condition(inner.variable, &item, inner.body)? {
                found.push(item);
            }
        }
        Ok(if fold == Fold::ExistsOne { Value::Bool(found.len() == 1) } else { Value::list(found) })
    }

    fn condition(&mut self, variable: &'v str, item: &Value, condition: &'v Node) -> Result<bool, Fault> {
        match self.with(variable, item.clone(), condition)? {
            Value::Bool(value) => Ok(value),
            other => Err(Fault::new(condition.at, no_overload("a condition", &[other]))),
        }
    }

    fn call(&mut self, at: usize, function: &str, given: &[&'v Node]) -> Result<Value, Fault> {
        let mut arguments = Vec::with_capacity(given.len());
        for node in given {
            arguments.push(self.node(node)?);
        }
        let here = |message: String| Fault::new(at, message);
        // Reading a pattern costs far more than its length.
        let factor = if function == "matches" { 100 } else { 1 };
        self.spend(arguments.iter().map(weight).sum::<usize>().saturating_mul(factor)).map_err(here)?;
        let result = call(self, function, &arguments).map_err(here)?;
        self.spend(weight(&result)).map_err(here)?;
        Ok(result)
    }

    fn binary(&mut self, operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
        use std::cmp::Ordering::{Greater, Less};
        let ordered = |machine: &mut Self, holds: fn(std::cmp::Ordering) -> bool| {
            machine.spend(weight(left))?;
            if !left.can_be_ordered(right) {
                return Err(no_overload(operator.as_str(), &[left.clone(), right.clone()]));
            }
            Ok(Value::Bool(left.order(right).is_some_and(holds)))
        };
        match operator {
            Operator::Equal => self.equal(left, right).map(Value::Bool),
            Operator::NotEqual => self.equal(left, right).map(|equal| Value::Bool(!equal)),
            Operator::Less => ordered(self, |order| order == Less),
            Operator::LessOrEqual => ordered(self, |order| order != Greater),
            Operator::Greater => ordered(self, |order| order == Greater),
            Operator::GreaterOrEqual => ordered(self, |order| order != Less),
            Operator::In => match right {
                Value::List(items) => self.contains(items, left).map(Value::Bool),
                Value::Map(entries) => {
                    self.spend(weight(left))?;
                    Ok(Value::Bool(Value::entry(entries, left).is_some()))
                }
                _ => Err(no_overload("in", &[left.clone(), right.clone()])),
            },
            Operator::Add => {
                self.spend(weight(left) + weight(right))?;
                sum(left, right)
            }
            _ => arithmetic(operator, left, right),
        }
    }

    /// Whether two values are equal; values of different types are not, but for numbers.
    pub fn equal(&mut self, one: &Value, two: &Value) -> Result<bool, String> {
        self.spend(1)?;
        Ok(match (one, two) {
            (Value::Null, Value::Null) | (Value::Optional(None), Value::Optional(None)) => true,
            (Value::Type(one), Value::Type(two)) => one == two,
            (Value::Optional(Some(one)), Value::Optional(Some(two))) => self.equal(one, two)?,
            (Value::List(one), Value::List(two)) => {
                if one.len() != two.len() {
                    return Ok(false);
                }
                for (one, two) in one.iter().zip(two.iter()) {
                    if !self.equal(one, two)? {
                        return Ok(false);
                    }
                }
                true
            }
            (Value::Map(one), Value::Map(two)) => {
                if one.len() != two.len() {
                    return Ok(false);
                }
                for (key, one) in one.iter() {
                    match Value::entry(two, &key.value()) {
                        Some(two) if self.equal(one, two)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            _ => {
                self.spend(weight(one))?;
                one.order(two).is_some_and(std::cmp::Ordering::is_eq)
            }
        })
    }

    /// Whether a list has an item.
    pub fn contains(&mut self, items: &[Value], wanted: &Value) -> Result<bool, String> {
        for item in items {
            if self.equal(item, wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a list has each of some items.
    pub fn contains_all(&mut self, items: &[Value], wanted: &[Value]) -> Result<bool, String> {
        for one in wanted {
            if !self.contains(items, one)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The parts of a macro that are evaluated for each element.
struct Inner<'v> {
    variable: &'v str,
    condition: Option<&'v Node>,
    body: &'v Node,
}

/// Steps that a value counts as when it is read as a whole.
fn weight(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len() / 32,
        Value::Bytes(bytes) => bytes.len() / 32,
        Value::List(items) => items.len(),
        _ => 0,
    }
}

fn elements(range: &Value) -> Result<Vec<Value>, String> {
    match range {
        Value::List(items) => Ok(items.as_ref().clone()),
        Value::Map(entries) => Ok(entries.keys().map(Key::value).collect()),
        other => Err(format!("{} has no elements", other.type_name())),
    }
}

fn found<'v>(of: &'v Value, key: &Value) -> Result<Option<&'v Value>, String> {
    match of {
        Value::Map(entries) => Ok(Value::entry(entries, key)),
        Value::List(items) => match key.whole() {
            Some(index) => Ok(usize::try_from(index).ok().and_then(|index| items.get(index))),
            None => Err(format!("{} is no index of a list", key.type_name())),
        },
        other => Err(format!("{} has no field {}", other.type_name(), shown(key))),
    }
}

fn has(of: &Value, field: &str) -> Result<bool, String> {
    let key = Value::text(field);
    match of {
        Value::Optional(None) => Ok(false),
        Value::Optional(Some(inner)) => Ok(found(inner, &key)?.is_some()),
        Value::Map(entries) => Ok(Value::entry(entries, &key).is_some()),
        other => Err(format!("{} has no field '{field}'", other.type_name())),
    }
}

/// A key in an error; other values may be secret, or long.
fn shown(key: &Value) -> String {
    match key {
        Value::String(text) => format!("'{}'", text.chars().take(64).collect::<String>()),
        Value::Int(number) => number.to_string(),
        other => format!("of type {}", other.type_name()),
    }
}

fn negate(value: &Value) -> Result<Value, String> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Double(value) => Ok(Value::Double(-value)),
        other => Err(no_overload("-", std::slice::from_ref(other))),
    }
}

fn overflow() -> String {
    "the result does not fit 64 bits".to_owned()
}

fn sum(left: &Value, right: &Value) -> Result<Value, String> {
    match (left, right) {
        (Value::String(one), Value::String(two)) => {
            if one.len() + two.len() > LONGEST_TEXT {
                return Err(too_long());
            }
            Ok(Value::text(format!("{one}{two}")))
        }
        (Value::Bytes(one), Value::Bytes(two)) => {
            if one.len() + two.len() > LONGEST_TEXT {
                return Err(too_long());
            }
            Ok(Value::Bytes([one.as_ref(), two.as_ref()].concat().into()))
        }
        (Value::List(one), Value::List(two)) => Ok(Value::list(one.iter().chain(two.iter()).cloned().collect())),
        _ => arithmetic(Operator::Add, left, right),
    }
}

/// The error for a text that would be longer than allowed.
pub fn too_long() -> String {
    format!("makes a text of more than {LONGEST_TEXT} bytes")
}

fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value, String> {
    let zero = || match operator {
        Operator::Divide => "division by zero".to_owned(),
        _ => "remainder by zero".to_owned(),
    };
    let result = match (left, right) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0))
            if matches!(operator, Operator::Divide | Operator::Remainder) =>
        {
            return Err(zero());
        }
        (Value::Int(one), Value::Int(two)) => match operator {
            Operator::Add => one.checked_add(*two),
            Operator::Subtract => one.checked_sub(*two),
            Operator::Multiply => one.checked_mul(*two),
            Operator::Divide => one.checked_div(*two),
            _ => one.checked_rem(*two),
        }
        .map(Value::Int),
        (Value::Uint(one), Value::Uint(two)) => match operator {
            Operator::Add => one.checked_add(*two),
            Operator::Subtract => one.checked_sub(*two),
            Operator::Multiply => one.checked_mul(*two),
            Operator::Divide => one.checked_div(*two),
            _ => one.checked_rem(*two),
        }
        .map(Value::Uint),
        (Value::Double(one), Value::Double(two)) => match operator {
            Operator::Add => Some(Value::Double(one + two)),
            Operator::Subtract => Some(Value::Double(one - two)),
            Operator::Multiply => Some(Value::Double(one * two)),
            Operator::Divide => Some(Value::Double(one / two)),
            _ => return Err(no_overload("%", &[left.clone(), right.clone()])),
        },
        _ => {
            if !time::has_arithmetic(operator, left, right) {
                return Err(no_overload(operator.as_str(), &[left.clone(), right.clone()]));
            }
            time::arithmetic(operator, left, right)
        }
    };
    result.ok_or_else(overflow)
}
