//! Flux's digests of what changes the rendered objects: the hash of Go's JSON of the field and a
//! line feed. One wrong byte would make Flux, or us after Flux, upgrade for nothing.

use std::collections::BTreeMap;

use crate::api::helm::v2::{HelmReleaseSpec, PostRenderer};
use crate::api::kustomize::{CommonMetadata, Image, Patch, Selector};
use crate::helm::go_json::{self, Object};
use crate::release::observed::Rendering;
use crate::values::digest::digest;

/// The digests of a spec; none for a field that is not set.
pub fn rendering(spec: &HelmReleaseSpec) -> Rendering {
    Rendering {
        post_renderers: Some(&spec.post_renderers).filter(|all| !all.is_empty()).map(|all| of_post_renderers(all)),
        common_metadata: spec.common_metadata.as_ref().map(of_common_metadata),
    }
}

fn of_post_renderers(renderers: &[PostRenderer]) -> String {
    let mut out = String::new();
    go_json::list(&mut out, renderers, |out, renderer| {
        let mut object = Object::open(out);
        if let Some(kustomize) = &renderer.kustomize {
            let mut inner = Object::open(object.field("kustomize"));
            if !kustomize.patches.is_empty() {
                go_json::list(inner.field("patches"), &kustomize.patches, patch);
            }
            if !kustomize.images.is_empty() {
                go_json::list(inner.field("images"), &kustomize.images, image);
            }
            inner.close();
        }
        object.close();
    });
    out.push('\n');
    digest(out.as_bytes())
}

fn patch(out: &mut String, patch: &Patch) {
    let mut object = Object::open(out);
    go_json::text(object.field("patch"), &patch.patch);
    if let Some(target) = &patch.target {
        let Selector { group, version, kind, namespace, name, annotation_selector, label_selector } = target;
        let mut inner = Object::open(object.field("target"));
        for (key, text) in [
            ("group", group),
            ("version", version),
            ("kind", kind),
            ("namespace", namespace),
            ("name", name),
            ("annotationSelector", annotation_selector),
            ("labelSelector", label_selector),
        ] {
            optional(&mut inner, key, text.as_ref());
        }
        inner.close();
    }
    object.close();
}

fn image(out: &mut String, image: &Image) {
    let mut object = Object::open(out);
    go_json::text(object.field("name"), &image.name);
    optional(&mut object, "newName", image.new_name.as_ref());
    optional(&mut object, "newTag", image.new_tag.as_ref());
    optional(&mut object, "digest", image.digest.as_ref());
    object.close();
}

fn of_common_metadata(metadata: &CommonMetadata) -> String {
    let mut out = String::new();
    let mut object = Object::open(&mut out);
    texts(&mut object, "annotations", &metadata.annotations);
    texts(&mut object, "labels", &metadata.labels);
    object.close();
    out.push('\n');
    digest(out.as_bytes())
}

/// Go leaves out what is empty.
fn optional(object: &mut Object<'_>, key: &str, text: Option<&String>) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        go_json::text(object.field(key), text);
    }
}

fn texts(object: &mut Object<'_>, key: &str, texts: &BTreeMap<String, String>) {
    if texts.is_empty() {
        return;
    }
    let mut inner = Object::open(object.field(key));
    for (key, text) in texts {
        go_json::text(inner.field(key), text);
    }
    inner.close();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: &Value) -> Rendering {
        let mut spec = spec.clone();
        spec["interval"] = json!("1m");
        rendering(&serde_json::from_value(spec).expect("a spec"))
    }

    /// Made by Go's encoder from structs of the same fields as Flux's.
    #[test]
    fn digests_are_those_of_go() {
        let renderers = json!([
            {"kustomize": {
                "patches": [
                    {"target": {"labelSelector": "a=b", "kind": "Deployment", "name": "ui|api", "group": ""}, "patch": "- op: add\n  value: <&>\n"},
                    {"patch": "kind: Service"},
                ],
                "images": [{"name": "nginx", "newTag": "2", "digest": ""}],
            }},
            {"kustomize": {}},
            {},
        ]);
        let golden = "sha256:c2d616bb8d23aa2304a7d8db661a0e26af0c0a30dc049f9a6c7d463b89fc663f";
        let found = of(&json!({"postRenderers": renderers}));
        assert_eq!(found, Rendering { post_renderers: Some(golden.to_owned()), common_metadata: None });
        let metadata = json!({"labels": {"b": "2", "a": "1"}, "annotations": {"x": "y"}});
        let golden = "sha256:b29ec929c7fa1264fd976d660a5288502e050c45941b50fed802d17f697089aa";
        assert_eq!(of(&json!({"commonMetadata": metadata})).common_metadata.as_deref(), Some(golden));
    }

    #[test]
    fn what_is_not_set_has_no_digest() {
        assert_eq!(of(&json!({})), Rendering::default());
        assert_eq!(of(&json!({"postRenderers": []})), Rendering::default());
        assert_eq!(of(&json!({"commonMetadata": {}})).common_metadata, Some(digest(b"{}\n")));
    }
}
