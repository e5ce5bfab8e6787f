//! What is wrong with an object can mostly be told before the API server sees it, with the line.

use super::decrypt;
use super::inventory::ObjectId;
use super::manifest::Manifest;
use super::problem::Problem;
use crate::dns_name::{label, subdomain};
use serde_json::Value;
use std::collections::BTreeMap;

/// Groups of built-in kinds whose names are DNS names. Others may have rules of their own (RBAC
/// names hold colons), which the API server knows.
const GROUPS: [&str; 8] =
    ["", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "apiextensions.k8s.io", "discovery.k8s.io"];

/// Sorts manifests into objects that can be applied, and problems.
///
/// Of two manifests for one object the first is kept (in the order of files and lines), so that the
/// result does not depend on which one came last.
pub fn validate(manifests: Vec<Manifest>) -> (Vec<Manifest>, Vec<Problem>) {
    sort(manifests, check)
}

/// As [`validate`], but only what kustomize needs: every object is one, with a name of its own.
pub fn distinct(manifests: Vec<Manifest>) -> (Vec<Manifest>, Vec<Problem>) {
    sort(manifests, identity)
}

fn sort(manifests: Vec<Manifest>, check: fn(&Manifest) -> Vec<Problem>) -> (Vec<Manifest>, Vec<Problem>) {
    let (mut valid, mut problems) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<ObjectId, usize> = BTreeMap::new();
    for manifest in manifests.into_iter().flat_map(Manifest::flatten) {
        if is_for_kustomize(&manifest.object) {
            continue;
        }
        let found = check(&manifest);
        if !found.is_empty() {
            problems.extend(found);
            continue;
        }
        let id = manifest.id();
        if let Some(first) = seen.get(&id) {
            problems.push(duplicate(&valid[*first], &manifest, &id));
        } else {
            seen.insert(id, valid.len());
            valid.push(manifest);
        }
    }
    (valid, problems)
}

/// A stray `kustomization.yaml` under another name is no object of the cluster.
fn is_for_kustomize(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with("kustomize.config.k8s.io/"))
}

fn duplicate(first: &Manifest, second: &Manifest, id: &ObjectId) -> Problem {
    let place = first.place("");
    if first.object == second.object {
        let reason = format!("the same object stands in {place} as well; one of the two is enough");
        return Problem::error(second.place(""), reason).about(id).warning();
    }
    let reason = format!("the same object stands in {place}, which is the one that is applied");
    Problem::error(second.place(""), reason)
        .about(id)
        .misnamed(Some(&id.namespace))
        .fix("remove one of the two, or rename it")
}

fn check(manifest: &Manifest) -> Vec<Problem> {
    let identity = identity(manifest);
    if !identity.is_empty() {
        return identity;
    }
    let id = manifest.id();
    if id.kind == "Secret" && decrypt::is_encrypted(&manifest.object) && !decrypt::stays_encrypted(&manifest.object) {
        let reason = "the Secret is encrypted by sops, and the Kustomization does not say how to decrypt it";
        return vec![Problem::error(manifest.place("/sops"), reason).about(&id).fix("set spec.decryption")];
    }
    let names = names(manifest, &id);
    let mut problems = names;
    problems.extend(text_maps(manifest, &id));
    problems
}

/// Without these nobody knows which object it is, so that nothing may be pruned.
fn identity(manifest: &Manifest) -> Vec<Problem> {
    let object = &manifest.object;
    let unreadable = |pointer: &str, reason: String| Problem::unreadable(manifest.place(pointer), reason);
    if !object.is_object() {
        return vec![unreadable("", format!("{} is no Kubernetes object", kind_of_value(object)))];
    }
    let mut problems = Vec::new();
    for (pointer, field) in [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")] {
        let problem = match object.pointer(pointer) {
            Some(Value::String(text)) if !text.is_empty() => continue,
            Some(Value::String(_) | Value::Null) | None => format!("`{field}` is missing"),
            Some(other) => format!("`{field}` must be text, and is {}; quote it", kind_of_value(other)),
        };
        let generated = field == "metadata.name" && object.pointer("/metadata/generateName").is_some();
        let fix = if generated { "generateName cannot be used here: give the object a name" } else { "" };
        problems.push(unreadable(pointer, problem).fix(fix));
    }
    if !matches!(object.pointer("/metadata/namespace"), None | Some(Value::Null | Value::String(_))) {
        problems.push(unreadable("/metadata/namespace", "`metadata.namespace` must be text; quote it".to_owned()));
    }
    problems
}

fn names(manifest: &Manifest, id: &ObjectId) -> Vec<Problem> {
    let name = object_name(id);
    let namespace = Some(&id.namespace).filter(|namespace| !namespace.is_empty()).and_then(|ns| label(ns));
    let held_in = namespace.is_none().then_some(id.namespace.as_str());
    let fields = [("/metadata/name", "metadata.name", name), ("/metadata/namespace", "metadata.namespace", namespace)];
    let wrong = fields.into_iter().filter_map(|(pointer, field, reason)| Some((pointer, field, reason?)));
    let problems = wrong.map(|(pointer, field, reason)| {
        Problem::error(manifest.place(pointer), reason).about(id).field(field).misnamed(held_in)
    });
    problems.collect()
}

/// What is wrong with an object's name; `None` when nothing is, or when its kind has other rules.
fn object_name(id: &ObjectId) -> Option<String> {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Namespace" | "Service") => label(&id.name),
        (group, _) if GROUPS.contains(&group) || group.ends_with(".toolkit.fluxcd.io") => subdomain(&id.name),
        _ => None,
    }
}

/// Maps whose values Kubernetes wants as text. Values are never repeated: they may be secret.
fn text_maps(manifest: &Manifest, id: &ObjectId) -> Vec<Problem> {
    let mut maps = vec!["metadata.labels", "metadata.annotations"];
    match id.kind.as_str() {
        "Secret" if id.group.is_empty() => maps.extend(["data", "stringData"]),
        "ConfigMap" if id.group.is_empty() => maps.extend(["data", "binaryData"]),
        _ => {}
    }
    let mut problems = Vec::new();
    for field in maps {
        let pointer = format!("/{}", field.replace('.', "/"));
        match manifest.object.pointer(&pointer) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) => {
                let wrong = map.iter().filter(|(_, value)| !value.is_string());
                problems.extend(wrong.map(|(key, value)| {
                    let key_pointer = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
                    let reason = format!("must be text, and is {}", kind_of_value(value));
                    let fix = if value.is_null() { "give it a value, or remove it" } else { "quote it" };
                    Problem::error(manifest.place(&key_pointer), reason)
                        .about(id)
                        .field(format!("{field}.{key}"))
                        .fix(fix)
                }));
            }
            Some(other) => {
                let reason = format!("must be a mapping, and is {}", kind_of_value(other));
                problems.push(Problem::error(manifest.place(&pointer), reason).about(id).field(field));
            }
        }
    }
    problems
}

fn kind_of_value(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "plain text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests;
