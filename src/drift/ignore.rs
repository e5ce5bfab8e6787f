//! What may differ: objects that opt out, and fields that the rules of a release or folder leave alone.

use json_patch::jsonptr::PointerBuf;
use serde_json::Value;

use super::compare::partner;
use crate::api::kustomize::IgnoreRule;
use crate::selector::{ObjectSelector, SelectorError};

/// Label or annotation on an object that switches the detection off for it.
pub const DRIFT_DETECTION: &str = "helm.toolkit.fluxcd.io/driftDetection";
/// Its value.
pub const DISABLED: &str = "disabled";

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IgnoreError {
    /// Its target cannot be read.
    #[error("{field}[{rule}].target.{source}")]
    Target {
        /// The field with the rules.
        field: &'static str,
        /// The number of the rule, from 0.
        rule: usize,
        /// What is wrong with the target.
        source: SelectorError,
    },
    /// One of its paths is no JSON pointer.
    #[error("{field}[{rule}].paths: `{path}` is no JSON pointer: write it as `/spec/replicas`")]
    Path {
        /// The field with the rules.
        field: &'static str,
        /// The number of the rule, from 0.
        rule: usize,
        /// The path.
        path: String,
    },
}

/// The rules of a release or folder, ready to be used.
#[derive(Debug, Default)]
pub struct IgnoreRules(Vec<(Option<ObjectSelector>, Vec<Pointer>)>);

/// The decoded steps of a JSON pointer; none for the whole object.
pub type Pointer = Vec<String>;

impl IgnoreRules {
    /// Reads the rules of this field.
    pub fn new(field: &'static str, rules: &[IgnoreRule]) -> Result<Self, IgnoreError> {
        let read = |(number, rule): (usize, &IgnoreRule)| {
            let target = rule.target.as_ref().map(ObjectSelector::new).transpose();
            let target = target.map_err(|source| IgnoreError::Target { field, rule: number, source })?;
            let paths = rule
                .paths
                .iter()
                .map(|path| pointer(path).ok_or_else(|| IgnoreError::Path { field, rule: number, path: path.clone() }));
            Ok((target, paths.collect::<Result<_, IgnoreError>>()?))
        };
        rules.iter().enumerate().map(read).collect::<Result<_, IgnoreError>>().map(Self)
    }

    /// The fields of an object that may differ. The object is given as it is made, with
    /// the namespace that it lives in.
    pub fn of(&self, object: &Value) -> Vec<&Pointer> {
        let for_it = |target: &Option<ObjectSelector>| target.as_ref().is_none_or(|target| target.matches(object));
        self.0.iter().filter(|(target, _)| for_it(target)).flat_map(|(_, paths)| paths).collect()
    }
}

fn pointer(path: &str) -> Option<Pointer> {
    let parsed = PointerBuf::parse(path).ok()?;
    Some(parsed.tokens().map(|token| token.decoded().into_owned()).collect())
}

/// Whether an object, as rendered or as it is, opts out of the detection.
pub fn opts_out(object: &Value) -> bool {
    ["annotations", "labels"].into_iter().any(|kind| object["metadata"][kind][DRIFT_DETECTION] == DISABLED)
}

/// Removes the ignored fields of a live object from it and from what it should be.
pub fn remove(live: &mut Value, wanted: &mut Value, pointers: &[&Pointer]) {
    for pointer in pointers {
        if let Some(theirs) = translated(pointer, live, wanted) {
            take(wanted, &theirs);
        }
        take(live, pointer);
    }
}

/// Gives the ignored fields of a manifest the values that they have in the live object, so that an
/// apply leaves them as they are: to leave them out would give them up, and the API server would
/// reset them.
pub fn carry_over(manifest: &mut Value, live: &Value, pointers: &[&Pointer]) {
    for pointer in pointers {
        let Some(ours) = translated(pointer, live, manifest) else {
            continue;
        };
        let Some(value) = get(live, pointer) else {
            take(manifest, &ours);
            continue;
        };
        let Some((last, parents)) = ours.split_last() else {
            continue;
        };
        match get_mut(manifest, parents) {
            Some(Value::Object(fields)) => drop(fields.insert(last.clone(), value.clone())),
            Some(Value::Array(items)) => {
                if let Some(item) = last.parse().ok().and_then(|position: usize| items.get_mut(position)) {
                    *item = value.clone();
                }
            }
            _ => {}
        }
    }
}

/// The pointer of the same field in another form of the object, whose lists may be in another
/// order; `None` when it lacks an item on the way.
fn translated(pointer: &[String], from: &Value, to: &Value) -> Option<Pointer> {
    let (mut from, mut to) = (Some(from), Some(to));
    let mut steps = Vec::with_capacity(pointer.len());
    for step in pointer {
        let mut theirs = step.clone();
        if let (Some(Value::Array(ours)), Some(Value::Array(others))) = (from, to) {
            theirs = partner(ours, step.parse().ok()?, others)?.to_string();
        }
        from = from.and_then(|value| child(value, step));
        to = to.and_then(|value| child(value, &theirs));
        steps.push(theirs);
    }
    Some(steps)
}

fn child<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

fn get<'v>(value: &'v Value, pointer: &[String]) -> Option<&'v Value> {
    pointer.iter().try_fold(value, |value, step| child(value, step))
}

fn get_mut<'v>(value: &'v mut Value, pointer: &[String]) -> Option<&'v mut Value> {
    pointer.iter().try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}

fn take(value: &mut Value, pointer: &[String]) {
    let Some((last, parents)) = pointer.split_last() else {
        return;
    };
    match get_mut(value, parents) {
        Some(Value::Object(fields)) => drop(fields.remove(last)),
        Some(Value::Array(items)) => {
            if let Some(position) = last.parse().ok().filter(|position: &usize| *position < items.len()) {
                items.remove(position);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
