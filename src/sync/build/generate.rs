//! What a Kustomization's spec adds to a `kustomization.yaml`. Pure.

use super::references::is_remote;
use crate::api::kustomize::Image;
use crate::api::kustomize::v1::KustomizationSpec;
use serde_json::{Map, Value, json};

/// Annotation by which kustomize says where an object comes from.
pub const ORIGIN: &str = "config.kubernetes.io/origin";
/// The option that asks for it.
pub const ORIGIN_OPTION: &str = "originAnnotations";

/// Whether a spec asks for anything that kustomize has to do.
pub fn is_needed(spec: &KustomizationSpec) -> bool {
    spec.name_prefix.is_some()
        || spec.name_suffix.is_some()
        || !spec.patches.is_empty()
        || !spec.images.is_empty()
        || !spec.components.is_empty()
        || !spec.build_metadata.is_empty()
}

/// The components to include; `exists` says whether one is there. An error names one that cannot be.
pub fn components(spec: &KustomizationSpec, exists: impl Fn(&str) -> bool) -> Result<Vec<String>, String> {
    let mut components = Vec::new();
    for (index, component) in spec.components.iter().enumerate() {
        if is_remote(component) || component.starts_with('/') {
            return Err(format!(
                "spec.components[{index}]: `{component}` must be a path within the source, relative to spec.path"
            ));
        }
        if exists(component) {
            components.push(component.clone());
        } else if !spec.ignore_missing_components {
            return Err(format!(
                "spec.components[{index}]: `{component}` does not exist in this revision; with \
                 ignoreMissingComponents it is passed over"
            ));
        }
    }
    Ok(components)
}

/// A kustomization with what the spec adds: patches and components come last, names and the
/// namespace win, images are merged by name.
pub fn merge(kustomization: &mut Map<String, Value>, spec: &KustomizationSpec, components: Vec<String>) {
    let mut set = |field: &str, value: Option<&String>| {
        if let Some(value) = value {
            kustomization.insert(field.to_owned(), value.clone().into());
        }
    };
    set("namespace", spec.target_namespace.as_ref());
    set("namePrefix", spec.name_prefix.as_ref());
    set("nameSuffix", spec.name_suffix.as_ref());
    append(kustomization, "patches", spec.patches.iter().map(|patch| json!(patch)));
    append(kustomization, "components", components.into_iter().map(Value::from));
    for image in &spec.images {
        merge_image(kustomization, image);
    }
    if !spec.build_metadata.is_empty() {
        kustomization.insert("buildMetadata".to_owned(), json!(spec.build_metadata));
    }
}

fn append(kustomization: &mut Map<String, Value>, field: &str, more: impl Iterator<Item = Value>) {
    let mut more = more.peekable();
    if more.peek().is_none() {
        return;
    }
    let list = kustomization.entry(field).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    // Any other value is an error, which kustomize names.
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    }
}

/// A tag or digest replaces both, because a digest left over would win over a new tag.
fn merge_image(kustomization: &mut Map<String, Value>, image: &Image) {
    let images = kustomization.get_mut("images").and_then(Value::as_array_mut);
    let known = images.and_then(|images| images.iter_mut().find(|known| known["name"] == image.name.as_str()));
    let Some(known) = known.and_then(Value::as_object_mut) else {
        return append(kustomization, "images", std::iter::once(json!(image)));
    };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let Some(name) = given(&image.new_name) {
        known.insert("newName".to_owned(), name.into());
    }
    let (tag, digest) = (given(&image.new_tag), given(&image.digest));
    if tag.is_some() || digest.is_some() {
        for (field, value) in [("newTag", tag), ("digest", digest)] {
            known.remove(field);
            if let Some(value) = value {
                known.insert(field.to_owned(), value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mut value: Value) -> KustomizationSpec {
        value["interval"] = json!("1m");
        value["prune"] = json!(true);
        value["sourceRef"] = json!({"kind": "GitRepository", "name": "x"});
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_some_fields_need_kustomize() {
        let native = json!({"targetNamespace": "a", "commonMetadata": {"labels": {"a": "b"}}, "wait": true});
        assert!(!is_needed(&spec(native)));
        for needs in [
            json!({"namePrefix": "a-"}),
            json!({"nameSuffix": "-a"}),
            json!({"patches": [{"patch": "x"}]}),
            json!({"images": [{"name": "x"}]}),
            json!({"components": ["x"]}),
            json!({"buildMetadata": ["originAnnotations"]}),
        ] {
            assert!(is_needed(&spec(needs.clone())), "{needs}");
        }
    }

    #[test]
    fn what_the_spec_says_is_merged_as_flux_does() {
        let spec = spec(json!({
            "targetNamespace": "t", "namePrefix": "p-", "buildMetadata": ["originAnnotations"],
            "patches": [{"patch": "b", "target": {"kind": "Deployment"}}],
            "images": [{"name": "a", "newTag": "2"}, {"name": "b", "newName": "c"}, {"name": "d", "newTag": "1"}],
        }));
        let before = json!({
            "namespace": "old", "namePrefix": "old-", "nameSuffix": "-kept", "other": [1],
            "patches": [{"path": "a"}], "components": null,
            "images": [{"name": "a", "newName": "x", "digest": "sha256:0"}, {"name": "b", "newTag": "1"}],
        });
        let mut merged = before.as_object().unwrap().clone();
        merge(&mut merged, &spec, vec!["../c".to_owned()]);
        let expected = json!({
            "namespace": "t", "namePrefix": "p-", "nameSuffix": "-kept", "other": [1],
            "patches": [{"path": "a"}, {"patch": "b", "target": {"kind": "Deployment"}}], "components": ["../c"],
            "images": [{"name": "a", "newName": "x", "newTag": "2"}, {"name": "b", "newName": "c", "newTag": "1"},
                       {"name": "d", "newTag": "1"}],
            "buildMetadata": ["originAnnotations"],
        });
        assert_eq!(Value::Object(merged), expected);
    }

    #[test]
    fn components_are_local_and_there() {
        let table = [
            (json!(["a", "b"]), false, Err("spec.components[1]: `b` does not exist")),
            (json!(["a", "b"]), true, Ok(vec!["a".to_owned()])),
            (json!(["https://x/y"]), true, Err("spec.components[0]: `https://x/y` must be a path")),
            (json!(["/a"]), true, Err("spec.components[0]: `/a` must be a path")),
        ];
        for (components_, ignore, expected) in table {
            let spec = spec(json!({"components": components_, "ignoreMissingComponents": ignore}));
            match (components(&spec, |name| name == "a"), expected) {
                (Err(error), Err(begin)) => assert!(error.starts_with(begin), "{error}"),
                (found, expected) => assert_eq!(found.ok(), expected.ok()),
            }
        }
    }
}
