//! Names that a folder of kustomize makes, where it cannot be built: files beside it must not refer to what they were
//! called before.

use super::super::manifest::Manifest;
use super::super::problem::{Hold, Place, Problem};
use super::super::scan;
use super::references::NAMING;
use crate::yaml;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Takes out the manifests that mention one of these names, which the build of this place would make; says why of each.
/// They stay as they are in the cluster.
pub fn withhold(manifests: &mut Vec<Manifest>, names: &BTreeSet<String>, place: &Place) -> Vec<Problem> {
    let mentions = |manifest: &Manifest| {
        let parts = manifest.object.as_object().into_iter().flatten();
        parts.filter(|(field, _)| *field != "metadata").any(|(_, value)| mentions(value, names))
    };
    let (withheld, rest): (Vec<_>, Vec<_>) = std::mem::take(manifests).into_iter().partition(mentions);
    *manifests = rest;
    let told = |manifest: Manifest| {
        let reason = format!("refers to a name of '{}', which cannot be built", place.file);
        Problem::error(manifest.place(""), reason).about(&manifest.id())
    };
    withheld.into_iter().map(told).collect()
}

/// What is told of files and folders that cannot be one build: each is built alone.
pub fn not_followed(problem: Problem) -> Problem {
    let reason = format!("names that folders below make are not followed: {}", problem.reason);
    Problem { hold: Hold::Nothing, reason, ..problem }.warning()
}

/// Whatever is called a name in the files of a folder that makes names.
pub fn of(kustomization: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(kustomization).unwrap_or_default();
    let mut names = BTreeSet::new();
    if !NAMING.iter().any(|field| text.contains(field)) {
        return names;
    }
    let files = kustomization.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let files = files.map(|file| file.path()).filter(|file| scan::is_yaml(file) || file == kustomization);
    for text in files.filter_map(|file| fs::read_to_string(file).ok()) {
        for document in yaml::documents(&text).into_iter().filter_map(|document| document.result.ok()) {
            collect(&document, &mut names);
        }
    }
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            names.extend(fields.get("name").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, names)),
        _ => {}
    }
}

fn mentions(value: &Value, names: &BTreeSet<String>) -> bool {
    match value {
        Value::String(text) => names.contains(text),
        Value::Object(fields) => fields.values().any(|value| mentions(value, names)),
        Value::Array(items) => items.iter().any(|item| mentions(item, names)),
        _ => false,
    }
}
