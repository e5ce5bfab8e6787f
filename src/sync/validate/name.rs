//! Names that Kubernetes accepts, and what is wrong with the others.

use crate::sync::inventory::ObjectId;

const LONGEST_LABEL: usize = 63;
const LONGEST_SUBDOMAIN: usize = 253;

/// Groups of built-in kinds whose names are DNS names. Others may have rules of their own (RBAC
/// names hold colons), which the API server knows.
const GROUPS: [&str; 8] =
    ["", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "apiextensions.k8s.io", "discovery.k8s.io"];

/// What is wrong with an object's name; `None` when nothing is, or when its kind has other rules.
pub(super) fn object_name(id: &ObjectId) -> Option<String> {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Namespace" | "Service") => label(&id.name),
        (group, _) if GROUPS.contains(&group) || group.ends_with(".toolkit.fluxcd.io") => subdomain(&id.name),
        _ => None,
    }
}

/// What is wrong with a DNS label (RFC 1123: at most 63 of `a-z`, `0-9` and `-`).
pub(super) fn label(name: &str) -> Option<String> {
    wrong(name, LONGEST_LABEL, b"-", "a-z, 0-9 and `-`")
}

fn subdomain(name: &str) -> Option<String> {
    wrong(name, LONGEST_SUBDOMAIN, b"-.", "a-z, 0-9, `-` and `.`")
        .or_else(|| name.split('.').find_map(|part| edges(name, part)))
}

fn wrong(name: &str, longest: usize, extra: &[u8], allowed: &str) -> Option<String> {
    let fits = |character: &char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || matches_byte(*character, extra)
    };
    if let Some(character) = name.chars().find(|character| !fits(character)) {
        return Some(format!("`{name}` is no valid name: `{}` is not among {allowed}", character.escape_default()));
    }
    if name.len() > longest {
        return Some(format!("`{name}` is no valid name: it is longer than {longest} characters"));
    }
    edges(name, name)
}

fn matches_byte(character: char, bytes: &[u8]) -> bool {
    u8::try_from(character).is_ok_and(|byte| bytes.contains(&byte))
}

fn edges(name: &str, part: &str) -> Option<String> {
    let word = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    if part.is_empty() {
        return Some(format!("`{name}` is no valid name: a part of it is empty"));
    }
    if !part.ends_with(word) {
        return Some(format!("`{name}` is no valid name: it must not end with `-` (is an id missing?)"));
    }
    if !part.starts_with(word) {
        return Some(format!("`{name}` is no valid name: it must begin with a letter or a digit"));
    }
    None
}
