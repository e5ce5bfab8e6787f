//! Server-side apply refuses an object for one field that its kind does not have. This finds the
//! fields in the refusal and takes them out, which is what every other write to the API does.

use serde_json::Value;

const NOT_DECLARED: &str = ": field not declared in schema";

/// One step of a path as structured-merge-diff prints it.
#[derive(Debug, PartialEq)]
enum Step {
    Field(String),
    Index(usize),
    /// An item of a keyed list: `[name="web",protocol="TCP"]`.
    Keys(Vec<(String, Value)>),
}

/// Takes the undeclared fields that the message names out of the manifest; returns their paths
/// without the leading dot. Empty when the message names none that the manifest has.
pub(super) fn remove(manifest: &mut Value, message: &str) -> Vec<String> {
    let mut removed = Vec::new();
    for path in undeclared(message) {
        if let Some(steps) = steps(path)
            && take(manifest, &steps).is_some()
        {
            removed.push(path.trim_start_matches('.').to_owned());
        }
    }
    removed
}

/// Whether the message names this field of the object itself.
pub(super) fn names(message: &str, field: &str) -> bool {
    undeclared(message).any(|path| path.strip_prefix('.') == Some(field))
}

/// The paths in `…: .spec.a: field not declared in schema`, one a line or alone.
fn undeclared(message: &str) -> impl Iterator<Item = &str> {
    message.lines().filter_map(|line| {
        let end = line.find(NOT_DECLARED)?;
        let before = &line[..end];
        let start = before.rfind(": .").map_or(0, |at| at + 2);
        Some(before[start..].trim())
    })
}

fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Field(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            let inner = rest.strip_prefix('[')?;
            let end = inner.find(']')?;
            steps.push(bracket(&inner[..end])?);
            rest = &inner[end + 1..];
        }
    }
    (!steps.is_empty()).then_some(steps)
}

fn bracket(inner: &str) -> Option<Step> {
    if let Ok(index) = inner.parse() {
        return Some(Step::Index(index));
    }
    let keys = inner.split(',').map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((key.to_owned(), serde_json::from_str(value).ok()?))
    });
    keys.collect::<Option<_>>().map(Step::Keys)
}

fn take(manifest: &mut Value, steps: &[Step]) -> Option<Value> {
    let (Step::Field(last), parents) = steps.split_last()? else {
        return None;
    };
    let mut node = manifest;
    for step in parents {
        node = match step {
            Step::Field(name) => node.get_mut(name)?,
            Step::Index(index) => node.get_mut(index)?,
            Step::Keys(keys) => node
                .as_array_mut()?
                .iter_mut()
                .find(|item| keys.iter().all(|(key, value)| item.get(key).is_none_or(|given| given == value)))?,
        };
    }
    node.as_object_mut()?.remove(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fields_that_a_refusal_names_are_taken_out() {
        let mut manifest = json!({
            "metadata": {"name": "a", "tags": ["x"]},
            "spec": {"releasename": "a", "containers": [{"name": "web", "imag": "x"}]},
        });
        let single = "failed to create typed patch object (ns/a; helm.toolkit.fluxcd.io/v2, \
                      Kind=HelmRelease): .spec.releasename: field not declared in schema";
        assert_eq!(remove(&mut manifest, single), ["spec.releasename"]);
        let many = "failed to create typed patch object (ns/a; v1, Kind=Pod): errors:\n  \
                    .metadata.tags: field not declared in schema\n  \
                    .spec.containers[name=\"web\"].imag: field not declared in schema";
        assert_eq!(remove(&mut manifest, many), ["metadata.tags", "spec.containers[name=\"web\"].imag"]);
        assert_eq!(manifest, json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "web"}]}}));
        assert!(remove(&mut manifest, many).is_empty());
    }

    #[test]
    fn a_field_of_the_object_itself_is_told_from_others() {
        let message = "errors:\n  .sops: field not declared in schema\n  .spec.tags: field not declared in schema";
        assert!(names(message, "sops") && names(".a: field not declared in schema", "a"));
        for other in ["tags", "spec", "sop", "errors"] {
            assert!(!names(message, other), "{other}");
        }
    }

    #[test]
    fn a_shortened_refusal_and_a_defaulted_list_key_will_do() {
        let mut manifest = json!({"spec": {"ports": [{"port": 80, "nane": "x"}]}});
        let message = ".spec.ports[port=80,protocol=\"TCP\"].nane: field not declared in schema";
        assert_eq!(remove(&mut manifest, message).len(), 1);
        assert_eq!(manifest, json!({"spec": {"ports": [{"port": 80}]}}));
    }

    #[test]
    fn other_refusals_take_nothing_out() {
        let mut manifest = json!({"spec": {"replicas": "3"}});
        let message = "failed to create typed patch object (ns/a; apps/v1, Kind=Deployment): \
                       .spec.replicas: expected numeric (int or float), got string";
        assert!(remove(&mut manifest, message).is_empty());
    }
}
